"""The force on one ion by what exerts it: reruns of stored frames with parts switched off.

Electrostatics stay PME throughout. Forces of charges are additive, so what a group of
charges exerts on the ion is what is missing when they are zero. No variant of the topology
has a net charge: water and the membrane are neutral each, and so are all ions with the one
in question. With W, M for the charges of water and membrane and 0 for none at all,

.. math::

    F_W = F - F_{-W}, \\quad F_M = F - F_{-M}, \\quad F_I = F_{-W-M} - F_0,

and :math:`F_0` is the whole Lennard-Jones force, whose parts come from three runs without
charges in which the ion's Lennard-Jones interaction with all but one group is zero. Eight
forces give six parts, so their sum is not the total by construction: the difference measures
how far the forces are additive. The ion's own periodic images, whose force is zero but for
the mesh of PME, count with the other ions. The applied field is left out: it exerts qE.

The mesh is finer than that of the dynamics. With theirs the whole force on an ion is good to
0.5 kJ/mol/nm, but the parts of membrane and ions err by up to 3 kJ/mol/nm in opposite
directions, as a wave along x with the mesh's period: for an ion held at x, an error that no
averaging removes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from MDAnalysis.lib.formats.libmdaxdr import TRRFile, XTCFile

from ..build.system import BuiltSystem
from ..errors import MeasureError
from ..spec import RunSpec, key
from . import gromacs
from .manifests import sha256

log = logging.getLogger("janus_pore")

FloatArray = npt.NDArray[np.float64]

GROUPS = {"water": ("SOL",), "membrane": ("MEM",), "ion": ("K", "CL")}
"""Groups of the decomposition and their molecules."""
PARTS = tuple(f"{group}_{kind}" for group in GROUPS for kind in ("vdw", "electrostatic"))
"""Names of the parts, as in the paper's table."""

MESH = {"fourierspacing": "0.08", "pme-order": "6"}
"""Mesh of the reruns: parts do not depend on where the ion is in a cell, to 0.02 kJ/mol/nm."""

_ION = "ION"
_EVERY = frozenset(name for names in GROUPS.values() for name in names)
_NO_ENTRY = ("[", ";", "#")
"""How lines of a topology begin that are headings, comments or the preprocessor's."""
_THERMOSTAT = ("tcoupl", "nh-chain-length", "nsttcouple", "tc-grps", "tau-t", "ref-t",
               "freezegrps", "freezedim")  # fmt: skip


class Variant(NamedTuple):
    """Molecules that carry charges, and those whose Lennard-Jones force the ion feels."""

    charged: frozenset[str]
    vdw: frozenset[str]


WHOLE = "all"
VARIANTS = {
    WHOLE: Variant(_EVERY, _EVERY),
    "no water charges": Variant(_EVERY - {"SOL"}, _EVERY),
    "no membrane charges": Variant(_EVERY - {"MEM"}, _EVERY),
    "ion charges only": Variant(frozenset(GROUPS["ion"]), _EVERY),
    "no charges": Variant(frozenset(), _EVERY),
    **{f"vdw of {name}": Variant(frozenset(), frozenset(m)) for name, m in GROUPS.items()},
}


class Forces(NamedTuple):
    """Forces along x on one ion, frame by frame; kJ/mol/nm, the applied field's left out.

    ``time_ps`` (n,); ``position_nm`` (n, 3) of the ion from the pore's centre, nearest
    image; ``total`` (n,); ``parts`` (6, n) in the order of :data:`PARTS`,
    or (0, n) where the force was not split.
    """

    time_ps: FloatArray
    position_nm: FloatArray
    total: FloatArray
    parts: FloatArray

    @property
    def residual(self) -> FloatArray:
        """What total and sum of the parts differ by, (n,)."""
        left: FloatArray = self.total - self.parts.sum(axis=0)
        return left


def decompose(
    gmx: gromacs.Gmx, built: BuiltSystem, run: RunSpec, xtc: Path, atom: int, *, scratch: Path,
    split: bool = True,
) -> Forces:  # fmt: skip
    """Forces on one ion in every frame of a trajectory.

    Parameters
    ----------
    gmx
        Runs on the processor: the bulk of a rerun is reading and pair search.
    built
        The system; its run inputs for reruns are kept beside its other ones.
    run
        Gives the hardware's options only.
    xtc
        Trajectory of all atoms.
    atom
        Zero-based number of the ion among all atoms.
    scratch
        Directory for trajectories of forces, which are removed.
    split
        Whether to tell the parts; without them one rerun does.

    Raises
    ------
    MeasureError
        If the atom is no ion, or a rerun lacks frames.
    GromacsError
        If GROMACS fails.
    """
    found = {}
    time_ps, position = np.zeros(0), np.zeros((0, 3))
    flags = gromacs.hardware_flags(gmx, run, threads=1)
    # Programs run in the scratch directory.
    xtc = xtc.resolve()
    with tempfile.TemporaryDirectory(prefix="rerun-", dir=scratch) as temporary:
        work = Path(temporary)
        for name in VARIANTS if split else (WHOLE,):
            tpr = run_input(gmx, built, run, name, atom)
            gmx.run(["mdrun", "-s", tpr, "-rerun", xtc, "-deffnm", "rerun", *flags], cwd=work)
            frames = list(_frames(work / "rerun.trr", atom))
            for path in work.glob("rerun.*"):
                path.unlink()
            if name == WHOLE:
                time_ps = np.array([t for t, _, _ in frames])
                position = np.array([x for _, x, _ in frames]).reshape(-1, 3)
            elif len(frames) != len(time_ps):
                raise MeasureError(
                    f"rerun {name!r} of {xtc} has {len(frames)} frames and not {len(time_ps)}; "
                    "free space where runs are kept and repeat"
                )
            found[name] = np.array([f for _, _, f in frames], dtype=float)
    pore = built.manifest["pore"]
    box = np.asarray(built.manifest["box_nm"], dtype=float)
    position = position - np.array([pore["x_nm"], *pore["centre_yz_nm"]])
    position -= box * np.rint(position / box)
    total = found[WHOLE]
    if not split:
        return Forces(time_ps, position, total, np.zeros((0, len(total))))
    parts = {
        "water_electrostatic": total - found["no water charges"],
        "membrane_electrostatic": total - found["no membrane charges"],
        "ion_electrostatic": found["ion charges only"] - found["no charges"],
        **{f"{group}_vdw": found[f"vdw of {group}"] for group in GROUPS},
    }
    return Forces(time_ps, position, total, np.array([parts[name] for name in PARTS]))


def run_input(gmx: gromacs.Gmx, built: BuiltSystem, run: RunSpec, variant: str, atom: int) -> Path:
    """The run input of a variant for one ion, made once; a damaged one is made again."""
    options = {
        name: value
        for name, value in gromacs.physics_options(built.spec, run).items()
        if name not in _THERMOSTAT
    }
    # A rerun makes its pair list for every frame: it needs no room for motion.
    options |= {"nstlist": "1", "verlet-buffer-tolerance": "-1", "rlist": options["rvdw"]}
    options |= MESH
    options |= {"nsteps": "0", "nstxout": "1", "nstfout": "1", "continuation": "yes"}
    if not VARIANTS[variant].charged:
        options |= {"coulombtype": "Cut-off"}  # there is nothing for PME to do
    text = variant_topology(built, VARIANTS[variant], atom)
    shelf = built.dir.parent / "tpr"
    name = key(options, text, built.manifest["files"], gmx.version)
    for kept in shelf.glob(f"{name}-*.tpr"):
        with contextlib.suppress(FileNotFoundError):  # another process found it damaged
            if kept.stem.endswith(sha256(kept)[:16]):
                return kept
            log.warning("run input %s is damaged; it is made again", kept)
            kept.unlink()
    shelf.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rerun-", dir=shelf) as temporary:
        top = Path(temporary) / "variant.top"
        top.write_text(text, encoding="utf-8")
        tpr = top.with_suffix(".tpr")
        gromacs.grompp(gmx, options, conf=built.gro, top=top, ndx=built.ndx, tpr=tpr)
        kept = shelf / f"{name}-{sha256(tpr)[:16]}.tpr"
        os.replace(tpr, kept)  # noqa: PTH105 - across directories, atomically
    return kept


def variant_topology(built: BuiltSystem, variant: Variant, atom: int) -> str:
    """A system's topology with one ion as a molecule of its own, and parts switched off.

    Parameters
    ----------
    built
        The system.
    variant
        What stays on. The ion itself is charged if any ion is.
    atom
        Zero-based number of the ion among all atoms.

    Raises
    ------
    MeasureError
        If the atom is no ion.
    """
    ranges = {name: built.manifest["atoms"][name] for name in ("K", "Cl")}
    name = next((n for n, (first, stop) in ranges.items() if first <= atom < stop), None)
    if name is None:
        first, stop = ranges["K"][0], ranges["Cl"][1]
        raise MeasureError(
            f"atom = {atom} is no ion of system {built.dir}; they are {first} to {stop - 1}"
        )
    (first, stop), kind = ranges[name], name.upper()
    lines = built.top.read_text(encoding="utf-8").splitlines()
    types = _types(lines)
    switched_off = sorted({t for molecule, t in types if molecule not in variant.vdw})
    out: list[str] = []
    for section, molecule, line in _sections(lines):
        words = line.split()
        if line.startswith("[") and section == "moleculetype" and "[ nonbond_params ]" not in out:
            out += ["[ nonbond_params ]", *(f"{t} {_ION} 1 0.1 0.0" for t in switched_off), ""]
        if line.startswith("[") and section == "system":
            out += _ion_molecule(lines, kind, charged=kind in variant.charged)
        if not words or line.startswith(_NO_ENTRY):
            out.append(line)
        elif section == "atoms" and molecule not in variant.charged:
            out.append(" ".join([*words[:6], "0.0", *words[7:]]))
        elif section == "atomtypes" and words[0] == kind:
            out += [line, " ".join([_ION, *words[1:]])]
        elif section == "molecules" and words[0] == kind:
            counts = ((kind, atom - first), (_ION, 1), (kind, stop - atom - 1))
            out += [f"{molecule} {count}" for molecule, count in counts if count]
        else:
            out.append(line)
    return "\n".join(out) + "\n"


def _sections(lines: list[str]) -> Iterator[tuple[str, str, str]]:
    """Each line with its section and, within a molecule, the molecule's name."""
    section = molecule = ""
    for line in lines:
        if line.startswith("["):
            section = line.strip("[] ")
        elif section == "moleculetype" and line.split() and not line.startswith(_NO_ENTRY):
            molecule = line.split()[0]
        yield section, molecule, line


def _atom_lines(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    for section, molecule, line in _sections(lines):
        if section == "atoms" and line.split() and not line.startswith(_NO_ENTRY):
            yield molecule, line.split()


def _types(lines: list[str]) -> set[tuple[str, str]]:
    """Pairs of molecule and atom type."""
    return {(molecule, words[1]) for molecule, words in _atom_lines(lines)}


def _ion_molecule(lines: list[str], kind: str, *, charged: bool) -> list[str]:
    words = next(words for molecule, words in _atom_lines(lines) if molecule == kind)
    words = [words[0], _ION, *words[2:6], words[6] if charged else "0.0", *words[7:]]
    return ["[ moleculetype ]", f"{_ION} 1", "", "[ atoms ]", " ".join(words), ""]


def _frames(trr: Path, atom: int) -> Iterator[tuple[float, FloatArray, float]]:
    """Time, position and force along x of one atom in each frame."""
    with TRRFile(str(trr)) as frames:
        for frame in frames:
            yield float(frame.time), np.array(frame.x[atom], dtype=float), float(frame.f[atom, 0])


def chlorides_in_pore(
    xtc: Path, manifest: Mapping[str, Any], *, half_length_nm: float, radius_nm: float
) -> dict[int, list[int]]:
    """Frames of a trajectory in which each chloride is in the pore.

    Parameters
    ----------
    xtc
        Trajectory of all atoms.
    manifest
        The system's.
    half_length_nm, radius_nm
        The pore's cylinder, about its centre along x.

    Returns
    -------
    dict of int to list of int
        Zero-based atom to frame numbers; atoms that are never there are left out.
    """
    first, stop = manifest["atoms"]["Cl"]
    box = np.asarray(manifest["box_nm"], dtype=float)
    centre = np.array([manifest["pore"]["x_nm"], *manifest["pore"]["centre_yz_nm"]])
    out: dict[int, list[int]] = {}
    with XTCFile(str(xtc)) as frames:
        for number, frame in enumerate(frames):
            off = np.asarray(frame.x[first:stop], dtype=float) - centre
            off -= box * np.rint(off / box)
            inside = (np.abs(off[:, 0]) < half_length_nm) & (
                np.hypot(off[:, 1], off[:, 2]) < radius_nm
            )
            for atom in np.flatnonzero(inside).tolist():
                out.setdefault(first + atom, []).append(number)
    return out


def write_frames(xtc: Path, numbers: Collection[int], target: Path) -> Path:
    """Copy some frames of a trajectory."""
    with XTCFile(str(xtc)) as frames, XTCFile(str(target), "w") as chosen:
        for number, frame in enumerate(frames):
            if number in numbers:
                chosen.write(frame.x, frame.box, frame.step, frame.time, frame.prec)
    return target
