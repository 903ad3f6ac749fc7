"""Looking at the molecules: a widget in JupyterLab, and a page that needs no kernel.

Both show the membrane, the ions and the pore's water with its dipoles, both play what
frames there are, and both draw with NGL: the page borrows it from the front end of
nglview, which lies in this environment anyway. The reservoirs' water is left out: ten
thousand atoms and more stall the browser, and hide what matters.
"""

from __future__ import annotations

import html
import json
import math
import os
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from MDAnalysis.lib.formats.libmdaxdr import XTCFile
from numpy.typing import ArrayLike, NDArray

from ..drive.ensemble import RunRecord, end_frame
from ..drive.field import field_at
from ..errors import MissingInputError
from ..spec import RunSpec
from .figures import ATOM_COLOUR, ATOM_RADIUS_NM, Atoms, FloatArray, dipole_colour, recentred

MOST_FRAMES = 30
"""Frames of a view: more make its page heavy and show no more."""

SESSION = "JPY_SESSION_NAME"
"""Set in the environment of a kernel that belongs to a session."""

NGL = "nglview.js"
"""What the pages call the front end of nglview, which lies beside them."""

_EXTENSION = "nglview-js-widgets"
_PAGES = Path(__file__).parent / "pages"
_ARROW_NM = 0.42
_CAMERA_ANGLE_DEG = 40.0  # NGL's own
_SIDE = np.diag([-1.0, 1.0, -1.0])
_TOP = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
"""Turn the box's axes into those of NGL's camera, which sees x to the left, y up and z away:
the side has x to the right and z towards the reader, the top z to the right and −x."""


class Frame(NamedTuple):
    """One state: its atoms, the dipoles (m, 3) of the pore's water, and when it was."""

    atoms: Atoms
    dipoles: FloatArray
    label: str = ""


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
    return _known(*read_frame(gro), manifest, run)


def _known(
    names: Sequence[str],
    positions: FloatArray,
    box: FloatArray,
    manifest: Mapping[str, Any],
    run: RunSpec,
) -> tuple[Atoms, FloatArray]:
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


def end_of(segment: Path, manifest: Mapping[str, Any], run: RunSpec) -> tuple[Atoms, FloatArray]:
    """As :func:`atoms_of`, for the end of a segment."""
    with tempfile.TemporaryDirectory() as scratch:
        return atoms_of(end_frame(segment, Path(scratch) / "end.gro"), manifest, run)


def frames_of(
    record: RunRecord, manifest: Mapping[str, Any], run: RunSpec, *, most: int = MOST_FRAMES
) -> list[Frame]:
    """What can be played of a run.

    Parameters
    ----------
    record
        One driven replica.
    manifest, run
        As for :func:`atoms_of`.
    most
        Largest number of frames, evenly chosen.

    Returns
    -------
    list of Frame
        The trajectory where it was kept (``keep_trajectory``), else the states at the ends
        of the run's segments; each says its time and the applied field.
    """
    times, states = [], []
    start = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        names, positions, box = read_frame(end_frame(record.path[0], Path(scratch) / "end.gro"))
        for segment in record.path:
            about = json.loads((segment / "manifest.json").read_text("utf-8"))
            end = start + float(about["duration_ps"])
            if (xtc := segment / "trajectory.xtc").is_file():
                with XTCFile(str(xtc)) as file:
                    kept = [(float(frame.time), np.array(frame.x, float)) for frame in file]
                times += [end + time - kept[-1][0] for time, _ in kept]
                states += [x for _, x in kept]
            else:
                if segment != record.path[0]:
                    positions = read_frame(end_frame(segment, Path(scratch) / "end.gro"))[1]
                times.append(end)
                states.append(positions)
            start = end
    chosen = np.unique(np.linspace(0, len(times) - 1, most).round().astype(int))
    return [
        Frame(
            *_known(names, states[k].copy(), box, manifest, run),
            f"{times[k]:.2f} ps, E = {field_at(record.applied, times[k])[0]:+.2f} V/nm",
        )
        for k in chosen
    ]


def live() -> bool:
    """Whether a person is looking: the kernel belongs to a JupyterLab or Notebook session.

    papermill and nbconvert start kernels without a session; there a widget would be dead.
    """
    return bool(os.environ.get(SESSION))


class _Shown(NamedTuple):
    """The atoms that a view shows, the same in every frame, ready for NGL (Å)."""

    pdb: str
    positions: list[FloatArray]  # (n, 3) of each frame
    arrows: list[list[tuple[list[float], list[float], list[float]]]]
    """Of each frame: tail, head and colour of the pore water's dipoles."""
    centre: FloatArray
    distance: float


def _shown(frames: Sequence[Frame]) -> _Shown:
    moved = [recentred(frame.atoms) for frame in frames]
    # a molecule that is in the pore in one frame is shown in all of them
    seen = np.any([atoms.kind != "water" for atoms in moved], axis=0)
    kind = moved[0].kind[seen].copy()
    loose = np.flatnonzero(kind == "water")
    kind[loose] = np.tile(["O", "H", "H"], len(loose) // 3)
    arrows = []
    for atoms, frame in zip(moved, frames, strict=True):
        oxygen = atoms.positions_nm[atoms.kind == "O"]
        along = frame.dipoles / np.maximum(
            np.linalg.norm(frame.dipoles, axis=1, keepdims=True), 1e-12
        )
        arrows.append(
            [
                (
                    np.round(10 * (o - _ARROW_NM / 2 * d), 2).tolist(),
                    np.round(10 * (o + _ARROW_NM / 2 * d), 2).tolist(),
                    list(colour),
                )
                for o, d, colour in zip(oxygen, along, dipole_colour(frame.dipoles), strict=True)
            ]
        )
    positions = [10 * atoms.positions_nm[seen] for atoms in moved]
    box = 10 * moved[0].box_nm
    height = 1.1 * float(np.max(box[1:]))
    return _Shown(
        _pdb(kind, positions[0]),
        positions,
        arrows,
        box / 2,
        height / 2 / math.tan(math.radians(_CAMERA_ANGLE_DEG / 2)),
    )


def _orientation(turn: FloatArray, shown: _Shown) -> list[float]:
    """NGL's camera: turn times distance, then the point looked at, by columns."""
    matrix = np.eye(4)
    matrix[:3, :3] = shown.distance * turn
    matrix[:3, 3] = -shown.centre
    return [round(float(value), 4) for value in matrix.T.ravel()]


def _balls(kinds: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Selection and look of each kind of atom."""
    return [
        (f".{kind.upper()}", {"color": ATOM_COLOUR[kind], "radius": 10 * ATOM_RADIUS_NM[kind]})
        for kind in kinds
    ]


def standalone(frames: Sequence[Frame], *, title: str, alt: str) -> str:
    """A page that shows the molecules, turns them, and plays the frames.

    It needs :data:`NGL` beside it (:func:`front_end`) and nothing else, neither kernel nor
    network.
    """
    shown, film = _shown(frames), len(frames) > 1
    scene = {
        "pdb": shown.pdb,
        "balls": _balls(_kinds(frames)),
        "frames": [
            {
                "label": frame.label,
                "positions": np.rint(100 * x).astype(int).ravel().tolist() if film else [],
                "arrows": arrows,
            }
            for frame, x, arrows in zip(frames, shown.positions, shown.arrows, strict=True)
        ],
        "side": _orientation(_SIDE, shown),
        "top": _orientation(_TOP, shown),
    }
    content = json.dumps(scene, separators=(",", ":")).replace("<", "\\u003c")
    page = (_PAGES / "view.html").read_text("utf-8")
    for mark, text in (
        ("{title}", html.escape(title)),
        ("{alt}", html.escape(alt)),
        ("{ngl}", NGL),
        ("{arrows}", _arrows_script()),
        ("{scene}", content),  # last: it may hold anything
    ):
        page = page.replace(mark, text, 1)
    return page


def _kinds(frames: Sequence[Frame]) -> list[str]:
    present = {str(kind) for frame in frames for kind in np.unique(frame.atoms.kind)}
    return [kind for kind in ATOM_COLOUR if kind in present - {"water"}]


def _arrows_script() -> str:
    return (_PAGES / "arrows.js").read_text("utf-8")


def front_end() -> Path | None:
    """The front end of nglview as one script, with NGL inside, where it is installed."""
    from jupyter_core.paths import jupyter_path

    for directory in jupyter_path("nbextensions"):
        if (script := Path(directory) / _EXTENSION / "index.js").is_file():
            return script
    return None


def widget(frames: Sequence[Frame]) -> Any:
    """An nglview widget with buttons for side and top, and a player for several frames."""
    import ipywidgets

    nglview = _nglview()
    shown = _shown(frames)

    class Film(nglview.Structure, nglview.Trajectory):  # type: ignore[misc,name-defined]
        n_frames = len(frames)

        def get_structure_string(self) -> str:
            return shown.pdb

        def get_coordinates(self, index: int) -> FloatArray:
            return shown.positions[index]

    view = nglview.NGLWidget(Film(), default_representation=False, height="420px")
    for selection, look in _balls(_kinds(frames)):
        view.add_representation("spacefill", selection=selection, **look)
    view.camera = "orthographic"
    view._js(
        f"{_arrows_script()}"
        f"const draw = dipoleArrows(NGL, this.stage, {json.dumps(shown.arrows)});"
        "const shown = () => draw(this.model.get('frame'));"
        "this.model.on('change:frame', shown); shown();"
    )

    def turned(turn: FloatArray, name: str, tip: str) -> Any:
        button = ipywidgets.Button(description=name, tooltip=tip, layout={"width": "5em"})
        button.on_click(lambda _: view.control.orient(_orientation(turn, shown)))
        return button

    view.control.orient(_orientation(_SIDE, shown))
    bar = [turned(_SIDE, "side", "x to the right"), turned(_TOP, "top", "from the −x side")]
    label = ipywidgets.HTML(html.escape(frames[0].label))
    if len(frames) > 1:
        player = ipywidgets.Play(max=len(frames) - 1, interval=250)
        slider = ipywidgets.IntSlider(max=len(frames) - 1, description="frame", readout=False)
        ipywidgets.jslink((player, "value"), (slider, "value"))
        ipywidgets.jslink((slider, "value"), (view, "frame"))
        view.observe(
            lambda change: setattr(label, "value", html.escape(frames[change["new"]].label)),
            "frame",
        )
        bar += [player, slider]
    return ipywidgets.VBox([ipywidgets.HBox([*bar, label]), view])


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


def _pdb(kinds: Sequence[str] | NDArray[np.str_], positions: ArrayLike) -> str:
    """Atoms (n,) at positions (n, 3) in Å as PDB text, each its own residue, named by kind."""
    lines = []
    for serial, (kind, (x, y, z)) in enumerate(
        zip(kinds, np.asarray(positions, float), strict=True), start=1
    ):
        name = str(kind).upper()
        lines.append(
            f"HETATM{serial % 100000:5d} {name:<4s} {name:<3s} A{serial % 10000:4d}    "
            f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {name:>2s}"
        )
    return "\n".join([*lines, "END", ""])
