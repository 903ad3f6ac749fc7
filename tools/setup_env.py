"""Set up all that the collection needs, once: Python environment, GROMACS, gmxapi, browser.

``python3 tools/setup_env.py`` does everything, ``--venv`` the Python environment alone,
``--gromacs`` GROMACS alone, ``--browser`` Chromium alone.

Any Python can read this file, so that one which is too old says so.
"""

import sys

PYTHON_MINIMUM = (3, 11)
TOO_OLD = """error: Python {0[0]}.{0[1]} or newer is needed and {1} is {2[0]}.{2[1]}; name one with
  make PYTHON=python3.12 ..., or take everything from conda-forge:
    conda env create -f environment.yml
    conda activate janus-pore"""

if sys.version_info < PYTHON_MINIMUM:
    sys.exit(TOO_OLD.format(PYTHON_MINIMUM, sys.executable, sys.version_info))

if __name__ == "__main__":
    import setup_steps

    sys.exit(setup_steps.main())
