"""The steps of ``tools/setup_env.py``: Python environment, GROMACS, gmxapi, browser.

What is there already is left as it is. The chosen ``gmx`` is recorded in ``.venv/gmx-path``,
which the Makefile hands on as ``$GMX`` and the library reads where nobody does.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import debian
import install_browser
import install_gromacs
from common import ROOT, VENV, SetupError, locked, run_logged, say, writable_cache

LOCK = ROOT / "requirements.lock"
GMXAPI_LOCK = ROOT / "requirements-gmxapi.lock"
STAMP = VENV / "janus-pore-venv.json"
GMXAPI_STAMP = VENV / "janus-pore-gmxapi.json"
GMX_PATH = VENV / "gmx-path"
PYTHON = str(VENV / "bin" / "python")
PIP = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input"]


def declared_packages() -> list[str]:
    """Names of the packages that pyproject.toml asks for, tests included."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    return [re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in declared]


def conda_environment(environ: Mapping[str, str]) -> bool:
    """Whether this Python is the active conda environment's and holds all packages."""
    prefix = environ.get("CONDA_PREFIX")
    if not prefix or Path(prefix).resolve() != Path(sys.prefix).resolve():
        return False
    lacking = []
    for name in declared_packages():
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            lacking.append(name)
    if lacking:
        say(f"the active conda environment lacks {', '.join(lacking)}: not using its packages")
    return not lacking


def venv_stamp(conda: bool) -> dict[str, str]:
    """What the environment depends on; a difference means that it is made anew."""
    return {
        "packages": "conda" if conda else hashlib.sha256(LOCK.read_bytes()).hexdigest(),
        "python": f"{sys.base_prefix} {sys.version}",
        "clone": str(ROOT),
    }


def read_json(path: Path) -> object:
    """Content of a JSON file, or None if it is absent or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def make_venv(conda: bool) -> None:
    """Make ``.venv`` from the lock file and put the project itself into it.

    In a complete conda environment the packages are conda's own and ``.venv`` adds only
    the project.
    """
    stamp = venv_stamp(conda)
    if read_json(STAMP) == stamp:
        return
    log = VENV / "setup.log"
    say("making the Python environment .venv")
    # conda's own pip and setuptools serve; Python 3.11 would put older ones before them.
    options = ["--clear", *(["--system-site-packages", "--without-pip"] if conda else [])]
    made = subprocess.run(
        [sys.executable, "-m", "venv", *options, VENV], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise SetupError(f"{sys.executable} -m venv failed:\n{made.stdout}{made.stderr}")
    if not conda:
        count = len(re.findall(r"^[\w.-]+==", LOCK.read_text(encoding="utf-8"), re.MULTILINE))
        collected = 0

        def fraction(line: str) -> float | None:
            """pip names each package as it comes to it, and in the end all of them."""
            nonlocal collected
            if line.startswith("Successfully installed"):
                return 1.0
            if not line.startswith(("Collecting ", "Processing ", "Ignoring ")):
                return None
            collected += 1
            return min(0.9, 0.9 * collected / count)

        install = [*PIP, "install", "--require-hashes", "-r", str(LOCK)]
        run_logged(install, log, f"  installing {count} packages", fraction=fraction)
    project = [*PIP, "install", "--no-deps", "--no-build-isolation", "-e", str(ROOT)]
    run_logged(project, log, "  installing the project itself, editable")
    STAMP.write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")


def venv_packages() -> list[str]:
    """The distribution's packages that making a virtual environment needs."""
    return [] if importlib.util.find_spec("ensurepip") else ["python3-venv"]


def gmxapi_packages() -> list[str]:
    """The distribution's packages that building gmxapi needs and this machine lacks."""
    present = {
        "cmake": shutil.which("cmake"),
        "g++": shutil.which("c++"),
        "libopenmpi-dev": shutil.which("mpicc"),
        "python3-dev": Path(sysconfig.get_path("include"), "Python.h").is_file(),
    }
    return [package for package, there in present.items() if not there]


def gmxapi_stamp(gmx: install_gromacs.Gmx) -> dict[str, object]:
    """What the installed gmxapi, or its absence, depends on."""
    return {
        "gmx": str(gmx.path),
        "modified": gmx.path.stat().st_mtime,
        "lock": hashlib.sha256(GMXAPI_LOCK.read_bytes()).hexdigest(),
        "missing": gmxapi_packages(),
    }


def make_gmxapi(gmx: install_gromacs.Gmx) -> str:
    """Install gmxapi against ``gmx`` and say what came of it.

    Without gmxapi nothing is lost but its way of starting ensembles, so a failure is
    reported and is no error.
    """
    stamp = gmxapi_stamp(gmx)
    old = read_json(GMXAPI_STAMP)
    if isinstance(old, dict) and old.get("for") == stamp:
        return str(old["result"])
    log = VENV / "gmxapi.log"
    log.unlink(missing_ok=True)
    subprocess.run([*PIP, "-q", "uninstall", "-y", "gmxapi"], capture_output=True, check=False)
    prefix = str(gmx.path.resolve().parent.parent)
    obstacle = ""
    if not install_gromacs.libgmxapi(gmx):
        obstacle = "this GROMACS was built without libgmxapi"
    elif stamp["missing"]:
        obstacle = f"building it needs {', '.join(gmxapi_packages())}"
    else:
        install = [*PIP, "install", "--require-hashes", "--no-deps", "--no-build-isolation"]
        # A wheel kept by pip may be one built against another GROMACS.
        install += ["--no-cache-dir", "-r", str(GMXAPI_LOCK)]
        env = {**os.environ, "gmxapi_ROOT": prefix, "GROMACS_DIR": prefix}
        env["VIRTUAL_ENV"] = str(VENV)  # where CMake looks for Python and its packages
        try:
            run_logged(install, log, f"installing gmxapi against {prefix}", env=env)
            run_logged([PYTHON, "-c", "import gmxapi"], log, "  importing it")
        except SetupError as error:
            say(str(error))
            obstacle = f"it could not be installed (remove {GMXAPI_STAMP} to try again)"
    result = (
        f"gmxapi absent: {obstacle}; ensembles start the gmx executable instead"
        if obstacle
        else f"gmxapi, built against {prefix}"
    )
    GMXAPI_STAMP.write_text(json.dumps({"for": stamp, "result": result}) + "\n", encoding="utf-8")
    return result


def setup(
    environ: Mapping[str, str],
    *,
    venv: bool,
    gromacs: bool,
    browser: bool = False,
    again: bool = False,
) -> None:
    """Bring this clone to the state that was asked for.

    What is missing from the system is installed, or named in one message, before anything
    that takes long; a browser that could not be had is tried for ``again`` only if asked.
    """
    conda = conda_environment(environ)
    gmx = install_gromacs.locate(environ) if gromacs else None
    needed, useful = [], []
    if venv and read_json(STAMP) != venv_stamp(conda):
        needed += venv_packages()
    if gromacs and gmx is None:
        writable_cache()
        needed += install_gromacs.needed_packages(environ)
    has_library = install_gromacs.libgmxapi(gmx) if gmx else environ.get("GROMACS") != "apt"
    if venv and gromacs and has_library:
        useful = [name for name in gmxapi_packages() if name not in needed]
    if needed:
        debian.install([*needed, *useful], "needed to set up", apt_log())
    elif useful and debian.cannot_install(useful, "") is None:
        with contextlib.suppress(SetupError):  # gmxapi is then absent, which is said below
            debian.install(useful, "needed to build gmxapi", apt_log())
    if venv:
        make_venv(conda)
    if gromacs:
        gmx = gmx or install_gromacs.obtain(environ)
        say(str(gmx))
        if venv:
            say(make_gmxapi(gmx))
            GMX_PATH.write_text(f"{gmx.path}\n", encoding="utf-8")
    if browser:
        say(install_browser.obtain(again=again))


def apt_log() -> Path:
    """Log of what apt installs, beside the builds' logs."""
    return writable_cache() / "apt.log"


def explained(error: OSError) -> str:
    """What the system refused, on which file, and the way out."""
    refused = ": ".join(str(x) for x in (error.filename, error.strerror or error) if x)
    return (
        f"{refused}.\n  Set-up writes to {VENV}, which is made anew once it is removed, and to the "
        "cache, which XDG_CACHE_HOME moves; both need room and must be this user's to write"
    )


def main() -> int:
    """Command line; the exit status is 1 after an error."""
    parser = argparse.ArgumentParser(description="Set up all that the collection needs, once.")
    parser.add_argument("--venv", action="store_true", help="the Python environment alone")
    parser.add_argument("--gromacs", action="store_true", help="GROMACS alone")
    parser.add_argument("--browser", action="store_true", help="Chromium alone")
    wanted = vars(parser.parse_args())
    everything = not any(wanted.values())
    parts = {part: everything or asked for part, asked in wanted.items()}
    try:
        with locked(ROOT, "another set-up of this clone is running: waiting for it"):
            setup(os.environ, **parts, again=wanted["browser"])
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {explained(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; repeat the command to go on", file=sys.stderr)
        return 130
    return 0
