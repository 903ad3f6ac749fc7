"""Whole protocols: equilibration, replicas, workers, progress, and finding what was run."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from ..build.system import BuiltSystem, build_system, open_system, system_dir
from ..errors import GromacsError, MeasureError, MissingInputError, RunError
from ..spec import Constant, Profile, Protocol, RunSpec, Waveform
from . import gromacs, manifests, segments, through_gmxapi, trees
from .field import FieldSegment, FloatArray
from .segments import Engine
from .trees import Segment
from .workers import calibrate, calibrated, execute, experienced, layout_for, stopping

log = logging.getLogger("janus_pore")

EQUILIBRIUM_FRAME_PS = 0.5


@dataclass(frozen=True)
class RunRecord:
    """One replica driven with one waveform, on disk.

    ``waveform`` is the protocol's; ``applied`` has every field multiplied by
    ``field_scale``, which keeps the voltage of the reference box. ``path`` holds the
    segments' directories from time 0 on.
    """

    label: str
    replica: int
    waveform: Waveform
    applied: Waveform
    field_scale: float
    path: tuple[Path, ...]
    duration_ps: float
    frame_ps: float
    seed: int
    system_dir: Path

    @property
    def series(self) -> tuple[Path, ...]:
        """The reduced series, one file per segment."""
        return tuple(directory / "series.nc" for directory in self.path)


# --- what a protocol needs --------------------------------------------------------------


@dataclass(frozen=True)
class Tree:
    """Segments of a protocol: the equilibration's, and ways by replica and label."""

    snapshots: list[list[Segment]]
    ways: dict[int, dict[str, list[Segment]]]
    whole: dict[Path, dict[str, Any]]
    atoms: int = 0

    def equilibration(self) -> list[Segment]:
        """Segments up to the last snapshot, parents first."""
        return _unique(s for way in self.snapshots for s in _with_ancestors(way[-1]))

    def drive(self) -> list[Segment]:
        """Settling and driven segments, parents first, replica by replica."""
        return _unique(
            s
            for ways in self.ways.values()
            for way in ways.values()
            for s in (way[0].parent, *way)
            if s is not None
        )

    def pending(self, chosen: Iterable[Segment]) -> list[Segment]:
        """Those of the segments, in their order, that are still to be made."""
        out: dict[Path, Segment] = {}
        for segment in chosen:
            if segment.dir not in self.whole:
                out[segment.dir] = segment
        for segment in list(out.values()):
            parent = segment.parent
            while parent is not None and parent.dir not in out and not self._continues(parent):
                out = {parent.dir: parent, **out}
                parent = parent.parent
        depth = {s.dir: len(_with_ancestors(s)) for s in out.values()}
        return sorted(out.values(), key=lambda s: (-1 if s.replica is None else s.replica,
                                                   depth[s.dir]))  # fmt: skip

    def _continues(self, segment: Segment) -> bool:
        if segment.dir not in self.whole:
            return False
        try:
            manifests.check_state(segment.dir, self.whole[segment.dir])
        except (RunError, OSError) as error:
            log.warning("%s; it will be computed again", error)
            return False
        return True


def tree(
    built: BuiltSystem, run: RunSpec, histories: Mapping[str, tuple[trees.Piece, ...]],
    *, replicas: int, frame_ps: float, planned: Iterable[Segment] = (),
    only: Collection[int] | None = None,
) -> Tree:  # fmt: skip
    """The segments that drive replicas 0 .. n - 1 with each history, cut as is cheapest.

    ``only`` some of these replicas, if it is given, with what they start from. ``planned``
    segments are taken to be on disk already.
    """
    chosen = [r for r in range(replicas) if only is None or r in only]
    replicas = max(chosen, default=-1) + 1
    stamp = manifests.reduction_stamp(built, run)
    dt_ps = run.dt_fs / 1000
    start = trees.start_segment(built, run)
    as_if: dict[Path, list[Segment]] = {}
    for segment in planned:
        as_if.setdefault(segment.dir.parent, []).append(segment)
    coarse = max(1, round(EQUILIBRIUM_FRAME_PS / dt_ps))
    whole: dict[Path, dict[str, Any]] = {}

    def there(home: Path, frame_steps: int) -> dict[str, dict[str, Any]]:
        """Manifests of a directory by key; they are added to ``whole``."""
        found = manifests.known_segments(home, frame_steps=frame_steps, stamp=stamp)
        found |= {
            s.key: trees.outline(s) for s in as_if.get(home, ()) if s.frame_steps <= frame_steps
        }
        whole.update({home / name: manifest for name, manifest in found.items()})
        manifests.drop_stale(whole)
        return {name: one for name, one in found.items() if home / name in whole}

    known = there(start.dir.parent, coarse)
    first = trees.steps_of(run.equilibration_ps, run, "equilibration_ps")
    spacing = trees.steps_of(run.replica_spacing_ps, run, "replica_spacing_ps")
    rests = {str(i): ((0.0, 0.0, 0.0, 0.0, first + i * spacing),) for i in range(max(1, replicas))}
    grown = trees.grow(start, rests, frame_steps=coarse, known=known)
    snapshots = [grown[name] for name in rests]
    fine = max(1, round(frame_ps / dt_ps))
    ways = {}
    for replica in chosen:
        root = trees.settle_segment(built, run, snapshots[replica][-1], replica)
        known = there(root.dir.parent, fine)
        ways[replica] = trees.grow(root, histories, frame_steps=fine, known=known)
    return Tree(snapshots, ways, whole, built.atoms)


def _with_ancestors(segment: Segment) -> list[Segment]:
    """A segment after all that it continues, the oldest first."""
    out = [segment]
    while out[-1].parent is not None:
        out.append(out[-1].parent)
    return out[::-1]


def _unique(chosen: Iterable[Segment]) -> list[Segment]:
    return list({s.dir: s for s in chosen}.values())


def histories(profile: Profile, protocol: Protocol) -> dict[str, tuple[trees.Piece, ...]]:
    """The field of each of a protocol's waveforms in whole steps, as it is applied.

    Raises
    ------
    SpecError
        If a stretch of it does not end with a step at which a segment can.
    """
    return {
        label: trees.pieces(profile.applied(waveform), profile.run)
        for label, waveform in protocol.waveforms().items()
    }


def protocol_tree(
    built: BuiltSystem, profile: Profile, protocol: Protocol, planned: Iterable[Segment] = (),
    only: Collection[int] | None = None,
) -> Tree:  # fmt: skip
    """The segments of a protocol, as :func:`tree`."""
    return tree(
        built, profile.run, histories(profile, protocol),
        replicas=protocol.replicas, frame_ps=protocol.frame_ps, planned=planned, only=only,
    )  # fmt: skip


# --- running ----------------------------------------------------------------------------


def run_protocol(
    profile: Profile,
    name: str,
    *,
    progress: bool = True,
    workers: int | None = None,
    keep_trajectory: bool = False,
    walltime_h: float | None = None,
    only: Collection[int] | None = None,
    layout: gromacs.Layout | None = None,
) -> list[RunRecord]:
    """Run everything of a protocol that is not there yet.

    Equilibrates, makes the replicas' root states and runs the tree of segments. Each
    trajectory is reduced to its series and deleted while the next segment runs. However
    it is stopped, the same call continues where it was.

    Parameters
    ----------
    profile, name
        The profile and one of its protocols.
    progress
        Show one line with ns done, ns/day and time left.
    workers
        Replicas to run at once; by default what a short calibration finds fastest.
    keep_trajectory
        Leave ``trajectory.xtc`` in the segments that this call makes.
    walltime_h
        Stop cleanly after this many hours.
    only
        Numbers of the replicas to run; by default all of the protocol's.
    layout
        How replicas share the machine; by default as measured, or as ``workers`` says.

    Returns
    -------
    list of RunRecord
        As :func:`open_runs`.

    Raises
    ------
    MissingInputError
        If the system has not been built.
    RunError
        If segments failed (after all others were finished), or if the run was stopped.
    """
    protocol = profile.protocol(name)
    built = open_system(profile.system)
    engine = engine_for(profile, built, keep_trajectory)
    with stopping(engine.stop, walltime_h):
        complete(
            engine, lambda: protocol_tree(built, profile, protocol, only=only),
            name, workers, progress, layout,
        )  # fmt: skip
    return open_runs(profile, name, only=only)


def equilibrate(
    profile: Profile,
    *,
    replicas: int = 1,
    progress: bool = True,
    walltime_h: float | None = None,
    layout: gromacs.Layout | None = None,
) -> list[RunRecord]:
    """Equilibrate at zero field until there are snapshots for some replicas.

    Returns
    -------
    list of RunRecord
        One per snapshot, from the beginning of the equilibration to it; ``replica`` is
        the replica that starts from it.

    Raises
    ------
    MissingInputError, RunError
        As :func:`run_protocol`.
    """
    built = open_system(profile.system)
    engine = engine_for(profile, built, keep_trajectory=False)
    with stopping(engine.stop, walltime_h):
        complete(
            engine, lambda: tree(built, profile.run, {}, replicas=replicas, frame_ps=1.0),
            "equilibration", 1, progress, layout,
        )  # fmt: skip
    return open_equilibration(profile, replicas=replicas)


def complete(
    engine: Engine, grown: Callable[[], Tree], what: str, workers: int | None, progress: bool,
    layout: gromacs.Layout | None = None,
) -> None:  # fmt: skip
    """Run what a tree lacks until it lacks nothing.

    Once is enough, except where a segment made again (for finer frames, or after damage)
    ended in another state than before, which makes what followed it stale.

    The layout follows from the whole tree, not from what is left of it: the number of
    threads decides the order of sums, and what is made again should come out the same.

    Raises
    ------
    RunError
        If ``workers`` is less than 1, or what is made is never whole.
    """
    if workers is not None and workers < 1:
        raise RunError(
            f"workers = {workers}: run at least 1 replica at a time, or leave it out and the "
            "hardware decides"
        )
    if missed := gromacs.missed_gpu(engine.gmx):
        engine.say(missed)
    with contextlib.ExitStack() as stack:
        if through_gmxapi.unavailable(engine.gmx) is None:
            engine.runner = stack.enter_context(contextlib.closing(through_gmxapi.Servers()))
        _complete(engine, grown, what, workers, progress, layout)


def _complete(
    engine: Engine, grown: Callable[[], Tree], what: str, workers: int | None, progress: bool,
    layout: gromacs.Layout | None,
) -> None:  # fmt: skip
    needed = grown()
    # Seconds of work, always on one thread, so that all that follows begins alike.
    start = [s for s in needed.equilibration() if s.kind == "start"]
    execute(engine, needed.pending(start), "preparation", gromacs.Layout(1, 1), progress)
    alone = layout or layout_for(engine, start[0], needed.equilibration(), 1, 1)
    for pending in _until_whole(grown, Tree.equilibration):
        execute(engine, pending, "equilibration", alone, progress)
    needed = grown()
    ends = sum(len(ways) for ways in needed.ways.values())
    layout = layout or layout_for(engine, start[0], needed.drive(), ends, workers)
    for pending in _until_whole(grown, Tree.drive):
        if again := [s for s in pending if s.dir.is_dir()]:
            why = manifests.unfitness(engine.system, engine.run, again[0])
            engine.say(f"{len(again)} segments are run again; the first, {again[0].dir}, {why}")
        execute(engine, pending, what, layout, progress)


def _until_whole(
    grown: Callable[[], Tree], chosen: Callable[[Tree], list[Segment]]
) -> Iterator[list[Segment]]:
    """What is lacking of some segments of a tree, again and again until nothing is."""
    before: list[Segment] = []
    while pending := (needed := grown()).pending(chosen(needed)):
        if pending == before:
            raise RunError(
                f"{len(pending)} segments are made again and again, the first in "
                f"{pending[0].dir}; remove this directory and repeat the command"
            )
        yield pending
        before = pending


# --- planning ---------------------------------------------------------------------------

SEGMENT_BYTES = 32_000
"""What a segment keeps besides its checkpoint: series, energies, manifest."""
ATOM_BYTES = 25.4
"""A checkpoint's, for each atom."""
FRAME_BYTES = 45.0
"""A series', for each frame."""


@dataclass(frozen=True)
class Cost:
    """What one stage of a profile costs on this machine.

    ``segments`` and ``ns`` are what is still to be run, ``ns_tree`` what the stage holds
    in all and ``ns_alone`` what it would hold if every run had been made on its own.
    ``hours`` is None where nothing was measured.
    """

    stage: str
    figure: str
    runs: int
    segments: int
    ns: float
    ns_tree: float
    ns_alone: float
    hours: float | None
    storage_MB: float


def plan(
    profile: Profile, names: Sequence[str] | None = None, *, measure: bool = True
) -> list[Cost]:
    """What protocols would cost, one after the other, each after those before it.

    Parameters
    ----------
    profile
        The profile; its system is built if it is not there.
    names
        Protocols in the order of running; by default all of the profile, its windows, and
        what its further systems run.
    measure
        Run the short calibration (and the preparation that it starts from) for the hours;
        without it they follow from an earlier one or from what was run before, if anything.

    Returns
    -------
    list of Cost
        The equilibration for all replicas, then the protocols, then the windows; then the
        same for each of :meth:`janus_pore.spec.Profile.siblings`, whose systems need not be
        there: their speed and size are taken to be those of the profile's own.
    """
    for name in names or ():
        profile.protocol(name)  # before anything is built or run
    built = build_system(profile.system)
    measured: list[gromacs.Layout] = []
    rest = tree(built, profile.run, {}, replicas=1, frame_ps=1.0)
    start = rest.equilibration()[0]
    with contextlib.ExitStack() as stack:
        if not measure:  # a plan can be made without GROMACS
            stack.enter_context(contextlib.suppress(GromacsError))
        engine = engine_for(profile, built, keep_trajectory=False)
        if measure:
            stack.enter_context(stopping(engine.stop, None))
            execute(engine, rest.pending([start]), "preparation", gromacs.Layout(1, 1), False)
        measured = (
            calibrate(engine, start) if measure else calibrated(engine) or experienced(engine)
        )
    costs = _plan(profile, names, built, measured)
    for sibling in () if names else profile.siblings():
        there = system_dir(sibling.system)
        known = (
            open_system(sibling.system)
            if there.is_dir()
            else replace(built, dir=there, spec=sibling.system)
        )
        costs += [
            replace(cost, stage=f"{sibling.variant}: {cost.stage}")
            for cost in _plan(sibling, None, known, measured)
        ]
    return costs


def _plan(
    profile: Profile, names: Sequence[str] | None, built: BuiltSystem,
    measured: Sequence[gromacs.Layout],
) -> list[Cost]:  # fmt: skip
    from . import windows  # which needs what is defined here

    chosen = [profile.protocol(n) for n in names or profile.protocols]
    held = None if names or profile.system.pore == "none" else profile.windows
    most = max((p.replicas for p in (*chosen, *([held] if held else ()))), default=1)
    rest = tree(built, profile.run, {}, replicas=most, frame_ps=1.0)
    planned = _unique(rest.equilibration())
    costs = [_cost("equilibration", "", rest, rest.equilibration(), 1, measured)]
    for name, protocol in zip(names or profile.protocols, chosen, strict=True):
        needed = protocol_tree(built, profile, protocol, planned)
        runs = sum(len(ways) for ways in needed.ways.values())
        new = not_planned(needed.drive(), planned)
        costs.append(_cost(name, protocol.figure, needed, new, runs, measured))
        planned += new
    if held:
        needed, records = windows.tree(built, profile)
        new = not_planned(needed.drive(), planned)
        costs.append(_cost("windows", held.figure, needed, new, len(records), measured))
    return costs


def not_planned(chosen: Iterable[Segment], planned: Iterable[Segment]) -> list[Segment]:
    """Those that are not among others, or there with coarser frames: they are run again then."""
    frames: dict[Path, int] = {}
    for segment in planned:
        frames[segment.dir] = min(segment.frame_steps, frames.get(segment.dir, 1 << 62))
    return [s for s in chosen if s.frame_steps < frames.get(s.dir, 1 << 62)]


def _cost(
    stage: str, figure: str, needed: Tree, chosen: Sequence[Segment], runs: int,
    measured: Sequence[gromacs.Layout],
) -> Cost:  # fmt: skip
    pending = [s for s in chosen if s.dir not in needed.whole]
    ns = sum(s.duration_ps for s in pending) / 1000
    hours = None
    if measured:
        layout = gromacs.best_layout(measured, runs)
        if layout.ns_per_day:
            startup = len(pending) * (layout.startup_s or 0.0)
            hours = (ns / layout.ns_per_day * 24 + startup / 3600) / layout.at_once(runs)
    ways = [way for ways in needed.ways.values() for way in ways.values()] or needed.snapshots[-1:]
    everything = needed.drive() if needed.drive() else needed.equilibration()
    return Cost(
        stage=stage,
        figure=figure,
        runs=runs,
        segments=len(pending),
        ns=round(ns, 6),
        ns_tree=round(sum(s.duration_ps for s in everything) / 1000, 6),
        ns_alone=round(sum(s.duration_ps for way in ways for s in way) / 1000, 6),
        hours=hours,
        storage_MB=1e-6 * bytes_kept(needed, pending),
    )


def bytes_kept(needed: Tree, chosen: Iterable[Segment]) -> float:
    """What some segments of a tree take on disk, about."""
    return sum(
        SEGMENT_BYTES + ATOM_BYTES * needed.atoms + FRAME_BYTES * s.steps / max(1, s.frame_steps)
        for s in chosen
    )


def plan_table(costs: Sequence[Cost]) -> str:
    """A plan as lines of text, with the sum at the end."""
    head = ("stage", "figure", "runs", "segments", "ns", "shared", "hours", "MB kept")
    rows = [head]
    for c in [*costs, _total(costs)]:
        saved = f"{1 - c.ns_tree / c.ns_alone:.0%}" if c.ns_alone > c.ns_tree else "-"
        hours = "?" if c.hours is None else f"{c.hours:.2f}"
        rows.append((c.stage, c.figure, str(c.runs), str(c.segments), f"{c.ns:.3f}", saved,
                     hours, f"{c.storage_MB:.1f}"))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(
            word.ljust(w) if i < 2 else word.rjust(w)
            for i, (word, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def _total(costs: Sequence[Cost]) -> Cost:
    hours = [c.hours for c in costs]
    return Cost(
        stage="total",
        figure="",
        runs=sum(c.runs for c in costs if not c.stage.endswith("equilibration")),
        segments=sum(c.segments for c in costs),
        ns=sum(c.ns for c in costs),
        ns_tree=sum(c.ns_tree for c in costs),
        ns_alone=sum(c.ns_alone for c in costs),
        hours=None if None in hours else sum(h for h in hours if h is not None),
        storage_MB=sum(c.storage_MB for c in costs),
    )


def engine_for(profile: Profile, built: BuiltSystem, keep_trajectory: bool) -> Engine:
    gmx = gromacs.find_gmx()

    # The one place where this storey looks down: what a segment keeps is the series.
    from ..measure import apart, series

    def reduce(segment: Segment, xtc: Path, target: Path, times_ps: tuple[float, float]) -> None:
        begin, end = times_ps
        dataset = apart.reduce_trajectory(
            xtc, built.manifest, run=profile.run, start_ps=begin, duration_ps=end - begin,
            field=partial(_field, segment.field, segment.start_ps),
        )  # fmt: skip
        dataset.attrs |= {
            "segment_key": segment.key,
            "replica": -1 if segment.replica is None else segment.replica,
            "seed": segment.seed,
            "field_scale": profile.field_scale,
            "gmx_version": ".".join(map(str, gmx.version)),
            "git_commit": manifests.provenance(gmx)["git_commit"] or "",
        }
        write(dataset, target)

    def join(segment: Segment, parts: Sequence[Path], target: Path) -> None:
        whole = series.concatenate(parts)
        if len(parts) == 1:
            parts[0].replace(target)
        else:
            write(whole, target)

    def write(dataset: xr.Dataset, target: Path) -> None:
        try:
            series.write(dataset, target)
        except MeasureError as error:  # no reason to doubt the trajectory
            raise RunError(str(error)) from error

    return Engine(built, profile.run, gmx, reduce, join, keep_trajectory=keep_trajectory)


def _field(applied: FieldSegment, start_ps: float, t_ps: FloatArray) -> FloatArray:
    """Field of a segment at times since time 0."""
    return applied.at(t_ps - start_ps)


# --- finding ----------------------------------------------------------------------------


def open_runs(
    profile: Profile, protocol: str, *, only: Collection[int] | None = None
) -> list[RunRecord]:
    """The runs of a protocol that are on disk, without running anything.

    Parameters
    ----------
    profile, protocol
        As for :func:`run_protocol`.
    only
        Numbers of the replicas; by default all of the protocol's.

    Raises
    ------
    MissingInputError
        If one is missing, or damaged, as the log says then; the message names what makes it.
    """
    chosen = profile.protocol(protocol)
    built = open_system(profile.system)
    needed = protocol_tree(built, profile, chosen, only=only)
    missing = [s for s in needed.drive() if s.dir not in needed.whole]
    if missing:
        raise MissingInputError(
            f"protocol {protocol!r} of profile {profile.name!r} lacks {len(missing)} of "
            f"{len(needed.drive())} segments (the first is {missing[0].dir}); run notebook "
            f"02_simulate with the same parameters, or run_protocol(profile, {protocol!r})"
        )
    return _records(profile, chosen, built, needed.ways)


def open_finished(profile: Profile, protocol: str) -> list[RunRecord]:
    """What is on disk of a protocol's runs, each from time 0 as far as it is finished.

    Raises
    ------
    MissingInputError
        If the system has not been built.
    """
    chosen = profile.protocol(protocol)
    built = open_system(profile.system)
    needed = protocol_tree(built, profile, chosen)
    there = {
        replica: {
            label: done
            for label, way in ways.items()
            if (done := list(itertools.takewhile(lambda s: s.dir in needed.whole, way)))
        }
        for replica, ways in needed.ways.items()
    }
    return _records(profile, chosen, built, there)


def _records(
    profile: Profile,
    protocol: Protocol,
    built: BuiltSystem,
    found: Mapping[int, Mapping[str, Sequence[Segment]]],
) -> list[RunRecord]:
    waveforms = protocol.waveforms()
    return [
        RunRecord(
            label=label,
            replica=replica,
            waveform=waveforms[label],
            applied=profile.applied(waveforms[label]),
            field_scale=profile.field_scale,
            path=tuple(s.dir for s in way),
            duration_ps=sum(s.duration_ps for s in way),
            frame_ps=protocol.frame_ps,
            seed=way[0].seed,
            system_dir=built.dir,
        )
        for replica, ways in found.items()
        for label, way in ways.items()
    ]


class Progress(NamedTuple):
    """How far some dynamics is, ns."""

    done_ns: float
    total_ns: float


def progress(profile: Profile, protocol: str) -> Progress:
    """How far a protocol is on disk, with the equilibration before it, whoever runs it.

    Raises
    ------
    MissingInputError
        If the system has not been built.
    """
    needed = protocol_tree(open_system(profile.system), profile, profile.protocol(protocol))
    chosen = [*needed.equilibration(), *needed.drive()]
    done = (s.duration_ps if s.dir in needed.whole else segments.done_ps(s) for s in chosen)
    return Progress(sum(done) / 1000, sum(s.duration_ps for s in chosen) / 1000)


def open_equilibration(profile: Profile, *, replicas: int = 1) -> list[RunRecord]:
    """The equilibration up to each replica's snapshot, without running anything.

    Raises
    ------
    MissingInputError
        If it has not been run that far.
    """
    built = open_system(profile.system)
    needed = tree(built, profile.run, {}, replicas=replicas, frame_ps=1.0)
    missing = [s for s in needed.equilibration() if s.dir not in needed.whole]
    if missing:
        raise MissingInputError(
            f"the equilibration of profile {profile.name!r} lacks {len(missing)} segments (the "
            f"first is {missing[0].dir}); run notebook 02_simulate or equilibrate(profile)"
        )
    return [
        RunRecord(
            label=f"snapshot {i}",
            replica=i,
            waveform=(rest := _rest(way)),
            applied=rest,
            field_scale=profile.field_scale,
            path=tuple(s.dir for s in way),
            duration_ps=sum(s.duration_ps for s in way),
            frame_ps=EQUILIBRIUM_FRAME_PS,
            seed=way[0].seed,
            system_dir=built.dir,
        )
        for i, way in enumerate(needed.snapshots)
    ]


def _rest(way: Sequence[Segment]) -> Waveform:
    return Constant(field_V_per_nm=0.0, duration_ps=sum(s.duration_ps for s in way))


def thermodynamics(record: RunRecord) -> dict[str, FloatArray]:
    """Temperature and energies of a run, about every picosecond.

    Returns
    -------
    dict of str to numpy.ndarray
        ``time_ps``, ``temperature_K``, ``potential_kJ_per_mol``, ``kinetic_kJ_per_mol``
        and ``conserved_kJ_per_mol``, each (n,).

    Raises
    ------
    MeasureError
        If a file is damaged.
    """
    tables = [segments.load_energies(directory / "energies.npy") for directory in record.path]
    table = segments.by_time(tables)
    names = ("time_ps", "potential_kJ_per_mol", "kinetic_kJ_per_mol", "conserved_kJ_per_mol",
             "temperature_K")  # fmt: skip
    return {name: table[:, i] for i, name in enumerate(names)}


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
    gromacs.find_gmx().run(
        ["trjconv", "-f", source / "state.cpt", "-s", source / "segment.tpr", "-o", gro.resolve()],
        cwd=gro.resolve().parent,
        stdin="0\n",
    )
    return gro
