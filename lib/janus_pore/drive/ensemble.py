"""Whole protocols: equilibration, replicas, workers, progress, and finding what was run."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import platform
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .. import paths
from ..build.system import BuiltSystem, open_system
from ..errors import MeasureError, MissingInputError, RunError
from ..spec import Constant, Profile, Protocol, RunSpec, SystemSpec, Waveform, key
from . import gromacs, segments
from .field import FloatArray
from .segments import Claim, Engine, Segment

log = logging.getLogger("janus_pore")

EQUILIBRIUM_FRAME_PS = 0.5

CALIBRATION_PAYS = 5e8
"""Atoms times steps from which the few seconds of a calibration are worth it: some
minutes of one thread."""


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
    start_ps: float = 0.0

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

    def equilibration(self) -> list[Segment]:
        """Segments up to the last snapshot, parents first."""
        return _unique(s for way in self.snapshots for s in _with_ancestors(way[-1]))

    def drive(self) -> list[Segment]:
        """Settling and driven segments, parents first, replica by replica."""
        return _unique(
            s
            for ways in self.ways.values()
            for way in ways.values()
            for s in _with_ancestors(way[-1])
            if s.replica is not None
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
        return sorted(out.values(), key=lambda s: len(list(_with_ancestors(s))))

    def _continues(self, segment: Segment) -> bool:
        try:
            segments.check_state(segment.dir, self.whole[segment.dir])
        except (RunError, OSError) as error:
            log.warning("%s; it will be computed again", error)
            return False
        return True


def tree(
    built: BuiltSystem, run: RunSpec, histories: Mapping[str, tuple[segments.Piece, ...]],
    *, replicas: int, frame_ps: float,
) -> Tree:  # fmt: skip
    """The segments that drive replicas 0 .. n - 1 with each history, cut as is cheapest."""
    stamp = segments.reduction_stamp(built, run)
    dt_ps = run.dt_fs / 1000
    chunk = segments.steps_of(run.chunk_ps, run, "chunk_ps")
    start = segments.start_segment(built, run)
    coarse = max(1, round(EQUILIBRIUM_FRAME_PS / dt_ps))
    known = segments.known_segments(start.dir.parent, frame_steps=coarse, stamp=stamp)
    whole = {start.dir.parent / name: manifest for name, manifest in known.items()}
    first = segments.steps_of(run.equilibration_ps, run, "equilibration_ps")
    spacing = segments.steps_of(run.replica_spacing_ps, run, "replica_spacing_ps")
    rests = {str(i): ((0.0, 0.0, 0.0, 0.0, first + i * spacing),) for i in range(max(1, replicas))}
    grown = segments.grow(start, rests, frame_steps=coarse, chunk_steps=chunk, known=known)
    snapshots = [grown[name] for name in rests]
    fine = max(1, round(frame_ps / dt_ps))
    ways = {}
    for replica in range(replicas):
        root = segments.settle_segment(built, run, snapshots[replica][-1], replica)
        known = segments.known_segments(root.dir.parent, frame_steps=fine, stamp=stamp)
        whole |= {root.dir.parent / name: manifest for name, manifest in known.items()}
        ways[replica] = segments.grow(
            root, histories, frame_steps=fine, chunk_steps=chunk, known=known
        )
    return Tree(snapshots, ways, whole)


def _with_ancestors(segment: Segment) -> Iterator[Segment]:
    if segment.parent is not None:
        yield from _with_ancestors(segment.parent)
    yield segment


def _unique(chosen: Iterable[Segment]) -> list[Segment]:
    return list({s.dir: s for s in chosen}.values())


def _histories(
    profile: Profile, protocol: Protocol
) -> tuple[dict[str, Waveform], dict[str, tuple[segments.Piece, ...]]]:
    waveforms = protocol.waveforms()
    return waveforms, {
        label: segments.pieces(profile.applied(waveform), profile.run)
        for label, waveform in waveforms.items()
    }


def _protocol_tree(built: BuiltSystem, profile: Profile, protocol: Protocol) -> Tree:
    return tree(
        built, profile.run, _histories(profile, protocol)[1],
        replicas=protocol.replicas, frame_ps=protocol.frame_ps,
    )  # fmt: skip


# --- running ----------------------------------------------------------------------------


def run_protocol(
    profile: Profile,
    name: str,
    *,
    system: SystemSpec | None = None,
    progress: bool = True,
    workers: int | None = None,
    keep_trajectory: bool = False,
    walltime_h: float | None = None,
) -> list[RunRecord]:
    """Run everything of a protocol that is not there yet.

    Equilibrates, makes the replicas' root states and runs the tree of segments. Each
    trajectory is reduced to its series and deleted while the next segment runs. However
    it is stopped, the same call continues where it was.

    Parameters
    ----------
    profile, name
        The profile and one of its protocols.
    system
        Another system than the profile's.
    progress
        Show one line with ns done, ns/day and time left.
    workers
        Replicas to run at once; by default what a short calibration finds fastest.
    keep_trajectory
        Leave ``trajectory.xtc`` in the segments that this call makes.
    walltime_h
        Stop cleanly after this many hours.

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
    profile = _with_system(profile, system)
    protocol = profile.protocol(name)
    built = open_system(profile.system)
    engine = _engine(profile, built, keep_trajectory)
    with _stopping(engine.stop, walltime_h):
        _complete(engine, lambda: _protocol_tree(built, profile, protocol), name, workers, progress)
    return open_runs(profile, name)


def equilibrate(
    profile: Profile,
    *,
    system: SystemSpec | None = None,
    replicas: int = 1,
    progress: bool = True,
    walltime_h: float | None = None,
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
    profile = _with_system(profile, system)
    built = open_system(profile.system)
    engine = _engine(profile, built, keep_trajectory=False)
    with _stopping(engine.stop, walltime_h):
        _complete(
            engine, lambda: tree(built, profile.run, {}, replicas=replicas, frame_ps=1.0),
            "equilibration", 1, progress,
        )  # fmt: skip
    return open_equilibration(profile, replicas=replicas)


def _complete(
    engine: Engine, plan: Callable[[], Tree], what: str, workers: int | None, progress: bool
) -> None:
    """Run what a tree lacks until it lacks nothing.

    Once is enough, except where a segment made again (for finer frames, or after damage)
    ended in another state than before, which makes what followed it stale.

    The layout follows from the whole tree, not from what is left of it: the number of
    threads decides the order of sums, and what is made again should come out the same.
    """
    if missed := gromacs.missed_gpu(engine.gmx):
        engine.say(missed)
    needed = plan()
    # Seconds of work, always on one thread, so that all that follows begins alike.
    start = [s for s in needed.equilibration() if s.kind == "start"]
    _execute(engine, needed.pending(start), "preparation", gromacs.Layout(1, 1), progress)
    alone = _layout(engine, start[0], needed.equilibration(), 1, 1)
    while pending := (needed := plan()).pending(needed.equilibration()):
        _execute(engine, pending, "equilibration", alone, progress)
    ends = sum(len(ways) for ways in needed.ways.values())
    layout = _layout(engine, start[0], needed.drive(), ends, workers)
    while pending := (needed := plan()).pending(needed.drive()):
        _execute(engine, pending, what, layout, progress)


def _layout(
    engine: Engine, start: Segment, chosen: Sequence[Segment], replicas: int, workers: int | None
) -> gromacs.Layout:
    """How to run so many replicas at once: as told, as measured, or, for little work, so."""
    candidates = gromacs.layouts(engine.gmx)
    if replicas > 1 and workers:
        workers, gpus = min(workers, replicas), candidates[0].gpus
        return gromacs.Layout(workers, gromacs.cores() // workers or 1, gpus)
    work = sum(s.steps for s in chosen) * max(
        stop for _, stop in engine.system.manifest["atoms"].values()
    )
    if work < CALIBRATION_PAYS and not _calibration_file(engine).exists():
        few, gpus = min(candidates[0].workers, max(1, replicas)), candidates[0].gpus
        return gromacs.Layout(few, gromacs.cores() // few or 1 if gpus else 1, gpus)
    return gromacs.best_layout(calibrate(engine, start), max(1, replicas))


def calibrate(engine: Engine, start: Segment, *, again: bool = False) -> list[gromacs.Layout]:
    """Speed of every layout on this machine with this system, measured once and kept.

    Some two seconds of dynamics for each layout, from the state after minimisation. The
    result lies in the user's cache; ``again`` measures anew.
    """
    file = _calibration_file(engine)
    if not again:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return [gromacs.Layout(**x) for x in json.loads(file.read_text(encoding="utf-8"))]
    atoms = max(stop for _, stop in engine.system.manifest["atoms"].values())
    built = engine.system
    options = {
        **gromacs.physics_options(built.spec, engine.run),
        **gromacs.list_options(built.spec),
        **gromacs.output_options(0, 1000 * gromacs.STRIDE),
        "nsteps": str(start.steps + max(200, 5_000_000 // atoms)),
        "tinit": f"{start.start_ps:.10g}",
    }
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        tpr = gromacs.grompp(
            engine.gmx, options, conf=built.gro, top=built.top, ndx=built.ndx,
            tpr=here / "calibration.tpr",
        )  # fmt: skip
        measured = [
            gromacs.time_layout(
                engine.gmx, engine.run, layout, tpr=tpr, state=start.dir / "state.cpt",
                scratch=here, stop=engine.stop,
            )
            for layout in gromacs.layouts(engine.gmx)
        ]  # fmt: skip
    if engine.stop.reason is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps([asdict(x) for x in measured], indent=1), encoding="utf-8")
    return measured


def _calibration_file(engine: Engine) -> Path:
    hardware = (platform.processor(), platform.machine(), gromacs.cores(), gromacs.machine_gpus())
    name = key(
        engine.gmx.report, hardware, engine.system.manifest["atoms"],
        gromacs.physics_options(engine.system.spec, engine.run),
    )  # fmt: skip
    return paths.cache_dir() / "calibration" / f"{name}.json"


def _with_system(profile: Profile, system: SystemSpec | None) -> Profile:
    return profile if system is None else profile.model_copy(update={"system": system})


def _engine(profile: Profile, built: BuiltSystem, keep_trajectory: bool) -> Engine:
    gmx = gromacs.find_gmx()

    def reduce(segment: Segment, xtc: Path, target: Path) -> None:
        # The one place where this storey looks down: what a segment keeps is the series.
        from ..measure import series, trajectory

        dataset = trajectory.reduce_trajectory(
            xtc, built.manifest, run=profile.run, start_ps=segment.start_ps,
            duration_ps=segment.duration_ps,
            field=lambda t: segment.field.at(t - segment.start_ps),
        )  # fmt: skip
        dataset.attrs |= {
            "segment_key": segment.key,
            "replica": -1 if segment.replica is None else segment.replica,
            "seed": segment.seed,
            "field_scale": profile.field_scale,
            "gmx_version": ".".join(map(str, gmx.version)),
            "git_commit": segments.provenance(gmx)["git_commit"] or "",
        }
        try:
            series.write(dataset, target)
        except MeasureError as error:  # no reason to doubt the trajectory
            raise RunError(str(error)) from error

    return Engine(built, profile.run, gmx, reduce, keep_trajectory=keep_trajectory)


def _execute(
    engine: Engine, pending: Sequence[Segment], what: str, layout: gromacs.Layout, progress: bool
) -> None:
    """Make segments, parents before children, several at once."""
    if not pending:
        return
    workers = layout.workers
    slots = list(range(workers))
    waiting = {s.dir: s for s in pending}
    failed: dict[Path, BaseException] = {}
    running: dict[Future[Claim | None], tuple[Segment, int]] = {}
    finishing: dict[Future[None], Segment] = {}
    done: set[Path] = set()
    with (
        _Progress(pending, what, progress) as bar,
        ThreadPoolExecutor(workers, "mdrun") as pool,
        ThreadPoolExecutor(1, "reduce") as reducer,
    ):

        def ready(segment: Segment) -> bool:
            return segment.parent is None or (
                segment.parent.dir not in waiting
                and segment.parent.dir not in failed
                and all(segment.parent is not s for s, _ in running.values())
            )

        while waiting or running or finishing:
            # Bounded disk: no more trajectories wait for their reduction than are written.
            room = len(finishing) <= workers
            if engine.stop.reason is None and room:
                for segment in [s for s in waiting.values() if ready(s)][: len(slots)]:
                    del waiting[segment.dir]
                    slot = slots.pop(0)
                    flags = layout.flags(engine.gmx, engine.run, slot)
                    running[pool.submit(_simulate, engine, segment, flags)] = (segment, slot)
            if not running and not finishing:
                break
            live: list[Future[Any]] = [*running, *finishing]
            ended, _ = wait(live, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in ended:
                if future in finishing:
                    segment = finishing.pop(future)
                    if error := future.exception():
                        failed[segment.dir] = error
                    else:
                        done.add(segment.dir)
                    continue
                segment, slot = running.pop(future)
                slots.append(slot)
                if error := future.exception():
                    failed[segment.dir] = error
                elif held := future.result():
                    finishing[reducer.submit(_finish, engine, held)] = segment
            bar.show([s for s, _ in running.values()], waiting.values(), failed)
    texts = [f"segment {path}: {error}" for path, error in failed.items()]
    if engine.stop.reason is not None:
        raise RunError(
            f"{what} was stopped ({engine.stop.reason}); {len(done)} of {len(pending)} segments "
            "were finished and the others keep their checkpoints: the same command continues"
            + "".join(f"\n{text}" for text in texts)
        )
    if failed:
        skipped = len(pending) - len(done) - len(failed)
        raise RunError(
            f"{what}: {len(failed)} of {len(pending)} segments failed"
            + (f", and {skipped} that follow them were not run" if skipped else "")
            + f"; the other {len(done)} are finished.\n"
            + "\n".join(texts)
        ) from next(iter(failed.values()))


def _simulate(engine: Engine, segment: Segment, flags: list[str]) -> Claim | None:
    """Dynamics of one segment; the claim on it if it was finished, None if stopped."""
    held = segments.claim(engine, segment)
    if held is None:
        return None
    try:
        if held.whole or segments.simulate(engine, held, flags):
            return held
    except BaseException:
        held.release()
        raise
    held.release()
    return None


def _finish(engine: Engine, held: Claim) -> None:
    try:
        if not held.whole:
            segments.finish(engine, held)
    finally:
        held.release()


@contextlib.contextmanager
def _stopping(stop: gromacs.Stop, walltime_h: float | None) -> Iterator[None]:
    """SIGINT, SIGTERM and a walltime limit end all mdruns with a checkpoint."""

    def request(number: int, _: object) -> None:
        stop.request(f"signal {signal.Signals(number).name}")
        signal.signal(number, before[number])

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, request)
    timer = None
    if walltime_h is not None:
        timer = threading.Timer(
            walltime_h * 3600, stop.request, [f"walltime limit of {walltime_h:g} h"]
        )
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)


class _Progress:
    """One line: ns done and in all, ns/day, time left, replicas done."""

    def __init__(self, pending: Sequence[Segment], what: str, show: bool) -> None:
        self.steps = {s.dir: s for s in pending}
        self.total_ns = sum(s.duration_ps for s in pending) / 1000
        self.replicas = {s.replica for s in pending} - {None}
        self.began = time.monotonic()
        live = sys.stdout.isatty()
        self.bar = tqdm(
            total=self.total_ns, desc=what, file=sys.stdout, disable=not show, ncols=100,
            mininterval=0.5 if live else 10.0, ascii=not live, leave=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.3f}/{total:.3f} ns{postfix}",
        )  # fmt: skip

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.refresh()
        self.bar.close()

    def show(
        self, running: Iterable[Segment], waiting: Iterable[Segment], failed: Iterable[Path]
    ) -> None:
        """Bring the line up to date."""
        running, waiting = list(running), list(waiting)
        left = sum(s.duration_ps for s in waiting)
        for segment in running:
            step = gromacs.current_step(segment.partial)
            at = (step or 0) - segment.offset_steps - segment.start_step
            left += segment.duration_ps - min(max(at, 0), segment.steps) * segment.dt_ps
        done_ns = self.total_ns - left / 1000
        rate = done_ns / (time.monotonic() - self.began)
        busy = {s.replica for s in itertools.chain(running, waiting)}
        parts = [f"{rate * 86400:.1f} ns/day"]
        if rate > 0:
            parts.append(f"{tqdm.format_interval(left / 1000 / rate)} left")
        if self.replicas:
            parts.append(f"replicas {len(self.replicas - busy)}/{len(self.replicas)}")
        if failed := list(failed):
            parts.append(f"{len(failed)} failed")
        self.bar.set_postfix_str(", ".join(parts), refresh=False)
        self.bar.update(max(0.0, done_ns - self.bar.n))


# --- finding ----------------------------------------------------------------------------


def open_runs(profile: Profile, protocol: str) -> list[RunRecord]:
    """The runs of a protocol that are on disk, without running anything.

    Raises
    ------
    MissingInputError
        If one is missing; the message names what makes it.
    RunError
        If a segment is damaged.
    """
    chosen = profile.protocol(protocol)
    built = open_system(profile.system)
    waveforms, histories = _histories(profile, chosen)
    needed = tree(built, profile.run, histories, replicas=chosen.replicas, frame_ps=chosen.frame_ps)
    missing = [s for s in needed.drive() if s.dir not in needed.whole]
    if missing:
        raise MissingInputError(
            f"protocol {protocol!r} of profile {profile.name!r} lacks {len(missing)} of "
            f"{len(needed.drive())} segments (the first is {missing[0].dir}); run notebook "
            f"02_simulate with the same parameters, or run_protocol(profile, {protocol!r})"
        )
    return [
        RunRecord(
            label=label,
            replica=replica,
            waveform=waveforms[label],
            applied=profile.applied(waveforms[label]),
            field_scale=profile.field_scale,
            path=tuple(s.dir for s in way),
            duration_ps=sum(s.duration_ps for s in way),
            frame_ps=chosen.frame_ps,
            seed=way[0].seed,
            system_dir=built.dir,
        )
        for replica, ways in needed.ways.items()
        for label, way in ways.items()
    ]


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
    """Temperature, potential and conserved energy of a run.

    Returns
    -------
    dict of str to numpy.ndarray
        ``time_ps``, ``temperature_K``, ``potential_kJ_per_mol``, ``kinetic_kJ_per_mol``
        and ``conserved_kJ_per_mol``, each (n,).
    """
    gmx = gromacs.find_gmx()
    terms = ("Potential", "Kinetic-En.", "Conserved-En.", "Temperature")
    rows: dict[float, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for directory in record.path:
            for edr in sorted(directory.glob("*.edr")):
                out = Path(scratch) / "energy.xvg"
                gmx.run(
                    ["energy", "-f", edr.resolve(), "-o", out, "-xvg", "none"],
                    cwd=Path(scratch), stdin="\n".join(terms) + "\n\n",
                )  # fmt: skip
                for time_ps, *values in np.loadtxt(out, ndmin=2):
                    rows[round(float(time_ps), 4)] = [float(v) for v in values]
    times = np.array(sorted(rows))
    table = np.array([rows[t] for t in times.tolist()]).reshape(-1, len(terms))
    names = ("potential_kJ_per_mol", "kinetic_kJ_per_mol", "conserved_kJ_per_mol", "temperature_K")
    return {"time_ps": times, **{name: table[:, i] for i, name in enumerate(names)}}
