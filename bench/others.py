"""What people use today, kept apart: the distribution's GROMACS, OpenMM, LAMMPS, MAICoS.

None of it is installed on the machine. The distribution's packages are unpacked, and the
Python packages get an environment of their own, under ``bench`` in the user's cache. What
cannot be had is reported as missing and leaves its row out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

import debian  # tools/, by PYTHONPATH
from common import SetupError
from janus_pore import paths
from janus_pore.drive import gromacs
from janus_pore.errors import GromacsError

PYTHON_PACKAGES = ("lammps", "mpich", "maicos")


@dataclass(frozen=True)
class Missing:
    """Something to compare with that is not to be had here, and why."""

    why: str


def place() -> Path:
    """Where it is all kept."""
    return paths.cache_dir() / "bench"


def distribution_gromacs() -> gromacs.Gmx | Missing:
    """The distribution's binary package of GROMACS and what it links to, unpacked."""
    root = place() / "distribution"
    try:
        if not (root / "usr" / "bin" / "gmx").exists():
            with tempfile.TemporaryDirectory() as scratch:
                debian.unpack(["gromacs"], root, Path(scratch), place() / "apt.log")
        wrapper = root / "gmx"
        libraries = sorted({str(p.parent) for p in (root / "usr" / "lib").rglob("*.so*")})
        wrapper.write_text(
            f"#!/bin/sh\nexport LD_LIBRARY_PATH='{':'.join(libraries)}'\n"
            f"export GMXDATA='{root}/usr/share/gromacs' GMXLIB='{root}/usr/share/gromacs/top'\n"
            f"exec '{root}/usr/bin/gmx' \"$@\"\n",
            encoding="utf-8",
        )
        wrapper.chmod(0o755)
        return gromacs.probe(wrapper)
    except (OSError, SetupError, GromacsError, subprocess.SubprocessError) as error:
        return Missing(str(error).splitlines()[0])


def python_environment() -> Path | Missing:
    """The Python of an environment with :data:`PYTHON_PACKAGES`, made once."""
    directory = place() / "venv"
    python = directory / "bin" / "python"
    try:
        if not (directory / "whole").exists():
            venv.create(directory, with_pip=True, clear=True)
            pip = [str(python), "-m", "pip", "install", "-q", *PYTHON_PACKAGES]
            subprocess.run(pip, check=True, capture_output=True)
            (directory / "whole").touch()
    except (OSError, subprocess.SubprocessError) as error:
        return Missing(f"pip install {' '.join(PYTHON_PACKAGES)} failed: {error}")
    return python


def environment(python: Path) -> dict[str, str]:
    """For programs of that environment, and for this one's interpreter."""
    if python == Path(sys.executable):
        return dict(os.environ)
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return kept | {"LD_LIBRARY_PATH": str(python.parents[1] / "lib")}
