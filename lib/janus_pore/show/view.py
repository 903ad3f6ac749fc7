"""Looking at the molecules: a widget in JupyterLab, and a still picture everywhere.

The widget shows the membrane, the ions and the pore's water. The reservoirs are left out:
ten thousand atoms and more stall the browser, and hide what matters.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..drive.gromacs import find_gmx
from ..errors import MissingInputError
from ..spec import RunSpec
from .figures import ATOM_COLOUR, ATOM_RADIUS_NM, Atoms, FloatArray

_EXTENSION = "nglview-js-widgets"


def read_frame(gro: Path) -> tuple[list[str], FloatArray, FloatArray]:
    """Atom names, positions (n, 3) nm and box edges (3,) nm of a .gro file's first frame.

    Raises
    ------
    MissingInputError
        If the file is not there or is cut short.
    """
    if not gro.is_file():
        raise MissingInputError(f"there is no structure {gro}; build it with notebook 01_build")
    lines = gro.read_text(encoding="ascii").splitlines()
    try:
        n = int(lines[1])
        atoms = lines[2 : 2 + n]
        # the number of decimals is free in this format; two dots are one column apart
        width = atoms[0].index(".", atoms[0].index(".") + 1) - atoms[0].index(".")
        names = [line[10:15].strip() for line in atoms]
        positions = np.array(
            [
                [float(line[20 + k * width : 20 + (k + 1) * width]) for k in range(3)]
                for line in atoms
            ]
        )
        box = np.array([float(v) for v in lines[2 + n].split()[:3]])
    except (IndexError, ValueError) as error:
        raise MissingInputError(
            f"the structure {gro} is cut short or not a .gro file ({error}); delete it and make "
            "it again"
        ) from error
    return names, positions, box


def atoms_of(gro: Path, manifest: Mapping[str, Any], run: RunSpec) -> tuple[Atoms, FloatArray]:
    """A frame as pictures need it, and the dipoles of the pore's water.

    Parameters
    ----------
    gro
        Frame of all atoms.
    manifest
        The system's manifest: ``atoms``, ``pore``.
    run
        Gives the pore region that decides which water is the pore's.

    Returns
    -------
    Atoms
        All atoms, water molecules whole.
    FloatArray
        Direction of each pore water's dipole, H1 + H2 − 2 O, shape (m, 3), nm.
    """
    names, positions, box = read_frame(gro)
    kind = np.array([name.rstrip("0123456789") for name in names], dtype="<U8")
    by_lower = {name.lower(): name for name in ("Se", "Mo", "S", "K", "Cl")}
    start, stop = manifest["atoms"]["membrane"]
    kind[start:stop] = [by_lower[k.lower()] for k in kind[start:stop]]
    for species in ("K", "Cl"):
        first, last = manifest["atoms"][species]
        kind[first:last] = species
    first, last = manifest["atoms"]["water"]
    water = positions[first:last].reshape(-1, 3, 3)
    legs = water[:, 1:] - water[:, :1]
    legs -= np.rint(legs / box) * box
    water[:, 1:] = water[:, :1] + legs
    positions[first:last] = water.reshape(-1, 3)
    centre = np.asarray(manifest["pore"]["centre_yz_nm"], float)
    off = water[:, 0] - [manifest["pore"]["x_nm"], *centre]
    off -= np.rint(off / box) * box
    inside = (np.abs(off[:, 0]) < run.pore_half_length_nm) & (
        np.hypot(off[:, 1], off[:, 2]) < run.pore_radius_nm
    )
    labels: NDArray[np.str_] = np.full(water.shape[:2], "water", dtype="<U8")
    labels[inside] = ["O", "H", "H"]
    kind[first:last] = labels.ravel()
    return Atoms(positions, kind, box, centre), legs[inside].sum(axis=1)


def end_frame(segment: Path, gro: Path) -> Path:
    """Write the coordinates at a segment's end, from its checkpoint, as a .gro file.

    Parameters
    ----------
    segment
        Directory of a finished segment (``RunRecord.path``).
    gro
        File to write.

    Raises
    ------
    GromacsError
        If GROMACS is missing or cannot read the checkpoint.
    """
    source = segment.resolve()
    find_gmx().run(
        ["trjconv", "-f", source / "state.cpt", "-s", source / "segment.tpr", "-o", gro.resolve()],
        cwd=gro.resolve().parent,
        stdin="0\n",
    )
    return gro


def end_of(segment: Path, manifest: Mapping[str, Any], run: RunSpec) -> tuple[Atoms, FloatArray]:
    """As :func:`atoms_of`, for the end of a segment."""
    with tempfile.TemporaryDirectory() as scratch:
        return atoms_of(end_frame(segment, Path(scratch) / "end.gro"), manifest, run)


def live() -> bool:
    """Whether a person is looking: the kernel belongs to a JupyterLab or Notebook session.

    papermill and nbconvert start kernels without a session; there a widget would be dead.
    """
    return bool(os.environ.get("JPY_SESSION_NAME"))


def widget(atoms: Atoms) -> Any:
    """An nglview widget of the membrane, the ions and the pore's water."""
    nglview = _nglview()
    shown = np.flatnonzero(atoms.kind != "water")
    structure = nglview.TextStructure(_pdb(atoms, shown), ext="pdb")
    view = nglview.NGLWidget(structure, default_representation=False)
    for kind, colour in ATOM_COLOUR.items():
        if kind != "water" and (atoms.kind == kind).any():
            view.add_representation(
                "spacefill",
                selection=f".{kind.upper()}",
                color=colour,
                radiusType="size",
                radius=10 * ATOM_RADIUS_NM[kind],
            )
    view.camera = "orthographic"
    view.center()
    view.control.spin([0, 1, 0], math.pi)  # x to the right, as in the figures
    return view


def _nglview() -> Any:
    """Import nglview so that it names the front end that is really installed.

    Release 4.0.1 announces front end 4.0 but ships 3.1.5, and JupyterLab then refuses the
    widget. The number is read from the installed extension before nglview is imported.
    """
    from jupyter_core.paths import jupyter_path

    name = "nglview._frontend"
    if name not in sys.modules:
        for directory in jupyter_path("labextensions"):
            package = Path(directory) / _EXTENSION / "package.json"
            if package.is_file():
                stub: Any = types.ModuleType(name)
                stub.__frontend_version__ = json.loads(package.read_text("utf-8"))["version"]
                sys.modules[name] = stub
                break
    import nglview

    return nglview


def _pdb(atoms: Atoms, shown: NDArray[np.intp]) -> str:
    """The shown atoms as PDB text, each its own residue, named by its kind."""
    lines = []
    for serial, k in enumerate(shown, start=1):
        kind = str(atoms.kind[k]).upper()
        x, y, z = 10 * atoms.positions_nm[k]
        lines.append(
            f"HETATM{serial % 100000:5d} {kind:<4s} {kind:<3s} A{serial % 10000:4d}    "
            f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {kind:>2s}"
        )
    return "\n".join([*lines, "END", ""])
