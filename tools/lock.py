"""Pin every package with its hashes: ``make lock`` writes the two lock files.

``requirements.lock`` holds the project's dependencies, its tests', gmxapi's and what an
editable install needs. gmxapi itself is in ``requirements-gmxapi.lock``, because it is
built against a GROMACS that has to be there first. What a later Python needs besides is
pinned under its marker. pip-tools comes into an environment of its own that is thrown away
afterwards. Pins move only where they have to;
``make lock LOCK_OPTIONS=--upgrade`` moves all of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from common import ROOT

PYTHON = (3, 11, 2)
"""Debian 12's. Some packages refuse the first patch releases of a Python version, so that a
lock made with a later one may not install."""

LOCKS = ("requirements.lock", "requirements-gmxapi.lock")
OPTIONS = (
    "--quiet",
    "--generate-hashes",
    "--strip-extras",
    "--allow-unsafe",  # setuptools is one of the packages to pin
    # No machine's index belongs in the file.
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--no-emit-trusted-host",
)
PROJECT = (
    "--build-deps-for=editable",
    "--extra=test",
    "--extra=workflow",
    "--extra=gromacs",
    "pyproject.toml",
)

LATER, NEEDED_BY, MARKER = "aiohttp", "papermill", 'python_version == "3.12"'
"""A package that another requires on a later Python: pip-compile, which sees one Python
alone, leaves it out. A test looks for more of the kind."""


def split(text: str, package: str) -> tuple[str, str]:
    """Part a lock file into all other packages and one package, with the same header."""
    header, *blocks = re.split(r"(?m)^(?=[\w.-]+==)", text)
    # Comment lines between packages are pip-compile's remarks on its own options.
    blocks = [re.sub(r"(?m)^(#.*)?\n", "", block) for block in blocks]
    own = [block for block in blocks if block.startswith(f"{package}==")]
    rest = [block for block in blocks if not block.startswith(f"{package}==")]
    return header + "".join(rest), header + "".join(own)


def extended(text: str, later: str) -> str:
    """A lock file and, under ``MARKER``, those packages of a second one that it lacks."""
    there = set(re.findall(r"(?m)^([\w.-]+)==", text))
    _, *blocks = re.split(r"(?m)^(?=[\w.-]+==)", later.replace("via -r -\n", f"via {NEEDED_BY}\n"))
    lacking = [block for block in blocks if block.partition("==")[0] not in there]
    return text + "".join(block.replace(" ", f" ; {MARKER} ", 1) for block in lacking)


def main() -> int:
    """Run as a script."""
    if sys.version_info[:3] != PYTHON:
        print(
            "error: the lock files are made with Python {}.{}.{} (Debian 12's /usr/bin/python3), "
            "the oldest that they have to work for; make PYTHON=... lock names it".format(*PYTHON),
            file=sys.stderr,
        )
        return 1
    with tempfile.TemporaryDirectory() as name:
        python = Path(name, "venv", "bin", "python")
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
        subprocess.run([python, "-m", "pip", "-q", "install", "pip-tools"], check=True)
        # The present pins are the starting point: only what has to change changes. Those under
        # a marker for another Python would be passed over.
        present = "".join((ROOT / f).read_text("utf-8") for f in LOCKS if (ROOT / f).is_file())
        present = present.replace(f" ; {MARKER}", "")

        def compiled(*sources: str) -> str:
            out = Path(name, "compiled.lock")
            out.write_text(present, "utf-8")
            subprocess.run(
                [python, "-m", "piptools", "compile", *OPTIONS, *sys.argv[1:], "-o", out, *sources],
                cwd=ROOT,
                env={**os.environ, "CUSTOM_COMPILE_COMMAND": "make lock"},
                input=LATER,
                text=True,
                check=True,
            )
            return out.read_text("utf-8")

        main, own = split(compiled(*PROJECT), "gmxapi")
        for lock, part in zip(LOCKS, (extended(main, compiled("-")), own), strict=True):
            (ROOT / lock).write_text(part, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
