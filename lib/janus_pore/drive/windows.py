"""Windows: one ion held at a position in the pore, at a constant field.

The ion's x is frozen, y and z are free: the mean force on it is then minus the slope of
the same one-dimensional potential of mean force that a free ion's visits would give. On
the axis (y and z frozen too) it would be that of one line, which an ion in a pore of three
times its size does not follow.

The ion is one of the system's own, the one nearest to the pore, so that no window changes
the composition. It is put in its place by exchange: the water molecule nearest to the place
goes to where the ion was, both are minimised with everything else, and velocities are
drawn anew. Pulling would need longer than a window and drag water along.

Windows are segments like any other (:mod:`janus_pore.drive.segments`), children of a
replica's root; what each keeps is the force on its ion, by part where the
profile asks for it, frame by frame.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from MDAnalysis.lib.formats.libmdaxdr import TRRFile

from ..build.system import BuiltSystem, open_system
from ..errors import MeasureError, MissingInputError, RunError, SpecError
from ..spec import Constant, Profile, Windows, key, replica_seed
from . import ensemble, gromacs, manifests, segments, trees
from .decompose import PARTS, FloatArray, Forces, chlorides_in_pore, decompose, write_frames
from .segments import Engine
from .trees import Segment
from .workers import stopping

IntArray = npt.NDArray[np.intp]

PLACING = "exchanged with the nearest water, minimised"
"""How an ion comes to its place: part of a window's key."""

REPORTED_KJ_PER_MOL_NM = 0.05
"""Largest root mean square residual of a window. Single precision leaves about 0.001, and
the mean forces sought are some tens."""


@dataclass(frozen=True)
class WindowRecord:
    """One window on disk. ``field_V_per_nm`` is the profile's, ``applied`` the box's."""

    ion: str
    field_V_per_nm: float
    applied_V_per_nm: float
    x_nm: float
    replica: int
    path: Path

    @property
    def label(self) -> str:
        """Ion, field and position."""
        return f"{self.ion},E={self.field_V_per_nm:g},x={self.x_nm:g}"

    @property
    def series(self) -> Path:
        """The forces."""
        return self.path / "series.nc"


# --- which windows there are ------------------------------------------------------------


def asked_for(profile: Profile) -> Windows:
    """The profile's windows.

    Raises
    ------
    SpecError
        If it has none, or its membrane no pore.
    """
    if profile.windows is None:
        raise SpecError(
            f"profile {profile.name!r} has no windows; add an entry 'windows' with "
            "fields_V_per_nm of Cl or K, from_nm, to_nm, spacing_nm, equilibrate_ps and sample_ps"
        )
    if profile.system.pore == "none":
        raise SpecError("windows hold an ion in a pore, and system.pore is 'none'; choose a pore")
    return profile.windows


def simulated_ns(profile: Profile) -> float:
    """Molecular dynamics of all windows, ns, without the equilibration before them."""
    wanted = asked_for(profile)
    each = len(wanted.places) * (wanted.equilibrate_ps + wanted.sample_ps)
    charging = sum(1 for field in wanted.every_field if field) * wanted.charge_ps
    return wanted.replicas * (each + charging) / 1000


def told_apart(ion: str) -> bool:
    """Whether the force on a held ion is wanted by what exerts it, as Table 1 has it."""
    return ion == "Cl"


def tree(
    built: BuiltSystem, profile: Profile, *, only: Collection[int] | None = None
) -> tuple[ensemble.Tree, list[WindowRecord]]:
    """The segments that the windows need, ``only`` those of some replicas, and where they lie."""
    wanted, run = asked_for(profile), profile.run

    def at_each_field(duration_ps: float, what: str) -> dict[float, tuple[trees.Piece, ...]]:
        trees.steps_of(duration_ps, run, what)
        fields = wanted.every_field if duration_ps else ()
        waves = {E: Constant(field_V_per_nm=E, duration_ps=duration_ps) for E in fields}
        return {E: trees.pieces(profile.applied(wave), run) for E, wave in waves.items()}

    charging = at_each_field(wanted.charge_ps, "windows.charge_ps")
    histories = at_each_field(
        wanted.equilibrate_ps + wanted.sample_ps, "equilibrate_ps + sample_ps"
    )
    base = ensemble.tree(
        built,
        run,
        {f"{E:g}": pieces for E, pieces in charging.items() if E},
        replicas=wanted.replicas,
        frame_ps=wanted.frame_ps,
        only=only,
    )
    frame_steps = max(1, round(wanted.frame_ps * 1000 / run.dt_fs))
    home = trees.system_runs(built) / "windows"
    known = manifests.known_segments(
        home, frame_steps=frame_steps, stamp=manifests.reduction_stamp(built, run)
    )
    ways: dict[int, dict[str, list[Segment]]] = {}
    records = []
    for replica in base.ways:
        root = trees.settle_segment(built, run, base.snapshots[replica][-1], replica)
        ways[replica] = {}
        for ion, field, x in wanted.places:
            applied = field * profile.field_scale
            charged = base.ways[replica].get(f"{field:g}", [])
            parent = charged[-1] if charged else root
            history = histories[field]
            # Only what differs from a Cl- whose force is told apart counts.
            other = () if told_apart(ion) else (ion, "whole")
            name = key("window", parent.key, history, x, PLACING, *other)
            window = Segment(
                dir=home / name,
                key=name,
                kind="window",
                parent=parent,
                history=history,
                start_step=0,
                end_step=trees.length(history),
                offset_steps=0,
                dt_ps=root.dt_ps,
                frame_steps=frame_steps,
                seed=replica_seed(name, replica),
                replica=replica,
                held_ion=ion,
                held_x_nm=x,
            )
            record = WindowRecord(ion, field, applied, x, replica, window.dir)
            ways[replica][record.label] = [*charged, window]
            records.append(record)
    whole = {**base.whole, **{home / name: manifest for name, manifest in known.items()}}
    manifests.drop_stale(whole)
    return ensemble.Tree(base.snapshots, ways, whole, base.atoms), records


# --- running ----------------------------------------------------------------------------


def run_windows(
    profile: Profile,
    *,
    progress: bool = True,
    workers: int | None = None,
    walltime_h: float | None = None,
    only: Collection[int] | None = None,
    layout: gromacs.Layout | None = None,
) -> list[WindowRecord]:
    """Run every window of a profile that is not there yet, with what it starts from.

    Each window's trajectory is turned into forces by rerunning it and then deleted, while
    the next window runs. However it is stopped, the same call continues where it was.

    Parameters
    ----------
    profile
        With an entry ``windows``.
    progress, workers, walltime_h, only, layout
        As for :func:`janus_pore.drive.ensemble.run_protocol`.

    Raises
    ------
    SpecError
        If the profile has no windows, or no pore.
    MissingInputError, RunError
        As :func:`janus_pore.drive.ensemble.run_protocol`.
    """
    asked_for(profile)
    built = open_system(profile.system)
    engine = _engine(profile, built)
    with stopping(engine.stop, walltime_h):
        ensemble.complete(
            engine, lambda: tree(built, profile, only=only)[0], "windows", workers, progress, layout
        )
    return open_windows(profile, only=only)


def open_windows(profile: Profile, *, only: Collection[int] | None = None) -> list[WindowRecord]:
    """The windows of a profile, ``only`` those of some replicas, without running anything.

    Raises
    ------
    SpecError
        If the profile has no windows, or no pore.
    MissingInputError
        If one has not been run; the message names what makes it.
    """
    needed, records = tree(open_system(profile.system), profile, only=only)
    missing = [r for r in records if r.path not in needed.whole]
    if missing:
        raise MissingInputError(
            f"profile {profile.name!r} lacks {len(missing)} of {len(records)} windows (the first "
            f"is {missing[0].path}); run notebook 02_simulate with the same parameters, or "
            "run_windows(profile) from janus_pore.drive.windows"
        )
    return records


def _engine(profile: Profile, built: BuiltSystem) -> Engine:
    engine = ensemble.engine_for(profile, built, keep_trajectory=False)
    drive_reduce, drive_join = engine.reduce, engine.join

    def reduce(segment: Segment, xtc: Path, target: Path, times_ps: tuple[float, float]) -> None:
        if segment.kind == "window":
            assert segment.held_ion is not None
            split = told_apart(segment.held_ion)
            _reduce(engine, segment, xtc, target, split=split)
        else:
            drive_reduce(segment, xtc, target, times_ps)

    def join(segment: Segment, parts: Sequence[Path], target: Path) -> None:
        if segment.kind != "window":
            drive_join(segment, parts, target)
            return
        (part,) = parts  # a window's trajectory is not cut into chunks
        try:
            xr.load_dataset(part, engine="netcdf4")
        except (OSError, RuntimeError, ValueError, AttributeError, KeyError) as error:
            raise MeasureError(f"the forces {part} are damaged: {error}") from error
        part.replace(target)

    engine.reduce, engine.join, engine.prepare = reduce, join, _prepare
    return engine


# --- one window -------------------------------------------------------------------------


def exchange(
    positions_nm: FloatArray, manifest: Mapping[str, Any], ion: str, x_nm: float
) -> tuple[FloatArray, int, float]:
    """Put the ion of a kind that is nearest to the pore at x, in exchange with the water there.

    Parameters
    ----------
    positions_nm
        (n, 3) all atoms.
    manifest
        The system's.
    ion
        ``K`` or ``Cl``.
    x_nm
        The place along x, from the metals' plane; on the axis in y and z.

    Returns
    -------
    positions_nm
        (n, 3). The ion has exactly x and keeps y and z of the water that it replaced or,
        if no water is nearer to the place than the ion itself, its own.
    atom
        Zero-based number of the ion.
    moved_nm
        How far the ion was moved.
    """
    box = np.asarray(manifest["box_nm"], dtype=float)
    centre = np.array([manifest["pore"]["x_nm"], *manifest["pore"]["centre_yz_nm"]])

    def off(points: FloatArray, from_point: FloatArray) -> FloatArray:
        nearest: FloatArray = points - from_point - box * np.rint((points - from_point) / box)
        return nearest

    first, stop = manifest["atoms"][ion]
    atom = first + int(np.linalg.norm(off(positions_nm[first:stop], centre), axis=1).argmin())
    place = centre + np.array([x_nm, 0.0, 0.0])
    begin, end = manifest["atoms"]["water"]
    oxygens = np.linalg.norm(off(positions_nm[begin:end:3], place), axis=1)
    before = positions_nm[atom].copy()
    out = positions_nm.copy()
    target = before
    if oxygens.min() < np.linalg.norm(off(before, place)):
        water = slice(begin + 3 * int(oxygens.argmin()), begin + 3 * int(oxygens.argmin()) + 3)
        target = positions_nm[water.start].copy()
        out[water] = before + off(positions_nm[water], target)
    out[atom] = [place[0], *target[1:]]
    return out, atom, float(np.linalg.norm(off(out[atom], before)))


def _prepare(engine: Engine, segment: Segment, options: Mapping[str, str]) -> None:
    """Exchange, minimise, and make the window's run input."""
    assert segment.held_x_nm is not None
    assert segment.held_ion is not None
    built, partial = engine.system, segment.partial
    first, stop = built.manifest["atoms"][segment.held_ion]
    if first == stop:
        raise RunError(
            f"system {built.dir} has no {segment.held_ion} to hold; raise concentration_M"
        )
    engine.gmx.run(["trjconv", "-f", "start.cpt", "-o", "start.trr"], cwd=partial, stdin="0\n")
    with TRRFile(str(partial / "start.trr")) as trr:
        frame = trr.read()
    placed, atom, moved = exchange(
        np.array(frame.x, dtype=float), built.manifest, segment.held_ion, segment.held_x_nm
    )
    with TRRFile(str(partial / "placed.trr"), "w") as trr:
        trr.write(placed.astype(np.float32), None, None, frame.box, 0, 0.0, 0.0, len(placed))
    ndx = partial / "window.ndx"
    ndx.write_text(
        built.ndx.read_text(encoding="utf-8") + f"\n[ {segments.HELD} ]\n{atom + 1}\n",
        encoding="utf-8",
    )
    minimise = gromacs.minimise_options(built.spec)
    inputs = {"top": built.top, "ndx": ndx}
    gromacs.grompp(
        engine.gmx, minimise | segments.held_options(minimise), conf=built.gro,
        state=partial / "placed.trr", tpr=partial / "minimise.tpr", **inputs,
    )  # fmt: skip
    flags = gromacs.hardware_flags(engine.gmx, engine.run, threads=1)
    engine.gmx.run(
        ["mdrun", "-s", "minimise.tpr", "-deffnm", "minimise", "-c", "minimised.g96", *flags],
        cwd=partial,
    )
    gromacs.grompp(
        engine.gmx, options, conf=partial / "minimised.g96", reference=built.gro,
        tpr=partial / "segment.tpr", **inputs,
    )  # fmt: skip
    held = {"atom": atom, "moved_nm": round(moved, 6)}
    (partial / "held.json").write_text(json.dumps(held) + "\n", encoding="utf-8")


def _reduce(engine: Engine, segment: Segment, xtc: Path, target: Path, *, split: bool) -> None:
    """Forces on the held ion, written as a labelled series."""
    held = json.loads((segment.partial / "held.json").read_text(encoding="utf-8"))
    forces = decompose(
        engine.gmx, engine.system, engine.run, xtc, int(held["atom"]), scratch=segment.partial,
        split=split,
    )  # fmt: skip
    dataset = labelled(forces)
    dataset.attrs |= {
        "system_key": engine.system.manifest["key"],
        "segment_key": segment.key,
        "replica": segment.replica,
        "seed": segment.seed,
        "field_V_per_nm": segment.field.E0_V_per_nm,
        "held_ion": segment.held_ion,
        "held_x_nm": segment.held_x_nm,
        "held_atom": held["atom"],
        "moved_nm": held["moved_nm"],
        "placing": PLACING,
        "gmx_version": ".".join(map(str, engine.gmx.version)),
        "git_commit": manifests.provenance(engine.gmx)["git_commit"] or "",
    }
    try:
        dataset.to_netcdf(target)
    except RuntimeError as error:  # as netCDF4 calls a full disk
        raise OSError(str(error)) from error


def labelled(forces: Forces) -> xr.Dataset:
    """Forces as a dataset with dimensions ``time``, ``axis`` and, if they are split, ``part``.

    Raises
    ------
    MeasureError
        If the parts do not add up to the total to :data:`REPORTED_KJ_PER_MOL_NM`.
    """
    per_nm = {"units": "kJ/mol/nm"}
    whole = xr.Dataset(
        {
            "total": ("time", forces.total, per_nm),
            "position": (("time", "axis"), forces.position_nm, {"units": "nm"}),
        },
        coords={"time": ("time", forces.time_ps, {"units": "ps"}), "axis": ["x", "y", "z"]},
        attrs={
            "description": "force along x on the held ion, the applied field's left out; position "
            "from the pore's centre"
        },
    )
    if not len(forces.parts):
        return whole
    residual = float(np.sqrt((forces.residual**2).mean())) if len(forces.time_ps) else np.nan
    if not residual <= REPORTED_KJ_PER_MOL_NM:
        raise MeasureError(
            f"the parts of the force miss the total by {residual:.3g} kJ/mol/nm (root mean "
            f"square over {len(forces.time_ps)} frames), and {REPORTED_KJ_PER_MOL_NM:g} is "
            "allowed; the reruns or their topologies are wrong"
        )
    return (
        whole.assign_coords(part=list(PARTS))
        .assign(parts=(("part", "time"), forces.parts, per_nm))
        .assign_attrs(residual_rms_kJ_per_mol_nm=residual)
    )


# --- free ions --------------------------------------------------------------------------


@dataclass(frozen=True)
class Visits:
    """Forces on free chlorides while they were in the pore, at one constant field.

    ``forces`` has the frames of all visits one after the other; ``visit`` (n,) numbers
    them. A visit is a stay of one ion without a missing frame.
    """

    applied_V_per_nm: float
    forces: Forces
    visit: IntArray


def free_visits(
    profile: Profile, directories: Iterable[Path], *, scratch: Path, every: int = 1
) -> dict[float, Visits]:
    """Forces on chlorides in the pore during runs whose trajectories were kept.

    Parameters
    ----------
    profile
        Gives the pore's cylinder.
    directories
        Segments; those without a ``trajectory.xtc`` (run with ``keep_trajectory``) or with
        a field that changes are passed over.
    scratch
        Directory for temporary files.
    every
        Use one in so many of an ion's frames in the pore.

    Returns
    -------
    dict of float to Visits
        By applied field, V/nm; empty if no chloride was in the pore.
    """
    kept = [d / "trajectory.xtc" for d in directories if (d / "trajectory.xtc").is_file()]
    if not kept:
        return {}
    built, gmx = open_system(profile.system), gromacs.find_gmx()
    found: dict[float, list[tuple[Forces, IntArray]]] = {}
    for xtc in kept:
        field = manifests.read_manifest(xtc.parent)["field"]
        if field["omega_per_ps"] or field["sigma_ps"]:
            continue
        inside = chlorides_in_pore(
            xtc, built.manifest, half_length_nm=profile.run.pore_half_length_nm,
            radius_nm=profile.run.pore_radius_nm,
        )  # fmt: skip
        for atom, numbers in inside.items():
            breaks = np.diff(numbers, prepend=numbers[0]) > 1
            stays: IntArray = np.cumsum(breaks, dtype=np.intp)[::every]
            chosen = scratch / "visits.xtc"
            write_frames(xtc, set(numbers[::every]), chosen)
            forces = decompose(gmx, built, profile.run, chosen, atom, scratch=scratch)
            chosen.unlink()
            found.setdefault(float(field["E0_V_per_nm"]), []).append((forces, stays))
    return {applied: _joined(applied, parts) for applied, parts in found.items()}


def _joined(applied: float, parts: Sequence[tuple[Forces, IntArray]]) -> Visits:
    numbers, before = [], 0
    for _, stays in parts:
        _, local = np.unique(stays, return_inverse=True)
        numbers.append(local + before)
        before += int(local.max()) + 1
    forces = Forces(
        np.concatenate([f.time_ps for f, _ in parts]),
        np.concatenate([f.position_nm for f, _ in parts]),
        np.concatenate([f.total for f, _ in parts]),
        np.concatenate([f.parts for f, _ in parts], axis=1),
    )
    return Visits(applied, forces, np.concatenate(numbers))
