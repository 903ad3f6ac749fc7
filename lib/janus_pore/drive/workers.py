"""Running segments: several at once, laid out on the machine, with progress, stoppable."""

from __future__ import annotations

import contextlib
import itertools
import json
import platform
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import psutil
from pydantic import TypeAdapter, ValidationError
from tqdm import tqdm

from .. import paths
from ..errors import GromacsError, JanusPoreError, RunError, StoppedError
from ..spec import key
from . import gromacs, segments
from .segments import Claim, Engine
from .trees import Segment

LOG_EVERY_S = 60.0
"""Longest silence of the progress line where it is logged rather than seen."""

MOST_EXPERIENCE = 50
"""Segments of a system that its speed is read from."""

CALIBRATION_PAYS = 5e7
"""Atoms times steps from which the few seconds of a calibration are worth it: some
twenty seconds of one thread."""

BUSY_PERCENT = 25
"""Use of all processors from which others' work would distort a calibration."""

LONGEST_H = 10000.0
"""Longest walltime limit."""


def layout_for(
    engine: Engine, start: Segment, chosen: Sequence[Segment], replicas: int, workers: int | None
) -> gromacs.Layout:
    """How to run so many replicas at once: as told, as measured, or, for little work, so."""
    candidates = gromacs.layouts(engine.gmx)
    if replicas > 1 and workers:
        workers, gpus = min(workers, replicas), candidates[0].gpus
        return gromacs.Layout(workers, gromacs.cores() // workers or 1, gpus)
    work = sum(s.steps for s in chosen) * engine.system.atoms
    if work < CALIBRATION_PAYS and not calibrated(engine):
        few, gpus = min(candidates[0].workers, max(1, replicas)), candidates[0].gpus
        return gromacs.Layout(few, gromacs.cores() // few or 1 if gpus else 1, gpus)
    return gromacs.best_layout(calibrate(engine, start), max(1, replicas))


def calibrate(engine: Engine, start: Segment) -> list[gromacs.Layout]:
    """Speed of every layout on this machine with this system, measured once and kept.

    Some two seconds of dynamics for each layout, from the state after minimisation. The
    result lies in the user's cache, unless the machine had other work to do meanwhile.
    """
    if known := calibrated(engine):
        return known
    undisturbed = psutil.cpu_percent(interval=0.3) < BUSY_PERCENT
    built = engine.system
    options = {
        **gromacs.physics_options(built.spec, engine.run),
        **gromacs.list_options(built.spec),
        **gromacs.output_options(0, 1000 * gromacs.STRIDE),
        "nsteps": str(max(200, 5_000_000 // built.atoms)),
        "continuation": "yes",
    }
    measured = []
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        tpr = gromacs.grompp(
            engine.gmx, options, conf=built.gro, top=built.top, ndx=built.ndx,
            tpr=here / "calibration.tpr", state=start.dir / "state.cpt",
        )  # fmt: skip
        problem: GromacsError | None = None
        for layout in gromacs.layouts(engine.gmx):
            try:
                measured.append(
                    gromacs.time_layout(
                        engine.gmx, engine.run, layout, tpr=tpr, scratch=here, stop=engine.stop
                    )
                )
            except GromacsError as error:  # a layout that does not fit is left out
                problem = error
    if not measured and problem is not None:
        raise problem
    if engine.stop.reason is None and undisturbed:
        with contextlib.suppress(OSError, JanusPoreError):  # no cache that can be written: not kept
            file = _calibration_file(engine)
            file.parent.mkdir(parents=True, exist_ok=True)
            paths.write_whole(file, _LAYOUTS.dump_json(measured, indent=1))
    return measured


_LAYOUTS = TypeAdapter(list[gromacs.Layout])


def calibrated(engine: Engine) -> list[gromacs.Layout]:
    """What an earlier calibration of this system on this machine found, or nothing."""
    try:
        return _measured(_calibration_file(engine))
    except JanusPoreError:  # no cache
        return []


def _measured(file: Path) -> list[gromacs.Layout]:
    """What a calibration found before; nothing if there is none or its file is damaged."""
    try:
        found = _LAYOUTS.validate_json(file.read_bytes(), strict=True)
    except (OSError, ValidationError):
        return []
    return found if all(x.workers > 0 and x.threads > 0 and x.gpus >= 0 for x in found) else []


def experienced(engine: Engine) -> list[gromacs.Layout]:
    """How fast systems of this size have run before, where nothing was calibrated."""
    sizes = engine.system.manifest["atoms"]
    speeds: dict[int, list[float]] = {}
    for path in paths.runs_dir().glob("*/system/manifest.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if json.loads(path.read_text(encoding="utf-8"))["atoms"] != sizes:
                continue
            done = path.parents[1].glob("r*/*/manifest.json")
            for one in itertools.islice(done, MOST_EXPERIENCE):
                segment = json.loads(one.read_text(encoding="utf-8"))
                used = segment["hardware"]
                threads = (used["ranks"] or 1) * (used["threads"] or 1)
                speeds.setdefault(threads, []).append(float(segment["ns_per_day"]))
    return [
        gromacs.Layout(max(1, gromacs.cores() // threads), threads, 0, statistics.median(found))
        for threads, found in speeds.items()
    ]


def _calibration_file(engine: Engine) -> Path:
    hardware = (gromacs.processor(), platform.machine(), gromacs.cores(), gromacs.machine_gpus())
    name = key(
        engine.gmx.report, hardware, engine.system.manifest["atoms"],
        gromacs.physics_options(engine.system.spec, engine.run),
    )  # fmt: skip
    return paths.cache_dir() / "calibration" / f"{name}.json"


def execute(
    engine: Engine, pending: Sequence[Segment], what: str, layout: gromacs.Layout, progress: bool
) -> None:
    """Make segments, parents before children, several at once.

    Raises
    ------
    StoppedError, RunError
        If it was stopped, or segments failed (after all others were finished).
    """
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
        contextlib.ExitStack() as stack,
        _Progress(pending, what, progress) as bar,
        ThreadPoolExecutor(workers, "mdrun") as pool,
        ThreadPoolExecutor(1, "reduce") as reducer,
    ):
        engine.reducer = reducer
        stack.callback(setattr, engine, "reducer", None)

        def ready(segment: Segment) -> bool:
            return segment.parent is None or (
                segment.parent.dir not in waiting
                and segment.parent.dir not in failed
                and all(segment.parent.dir != s.dir for s, _ in running.values())
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
                else:  # stopped
                    waiting[segment.dir] = segment
            bar.show([s for s, _ in running.values()], waiting.values(), failed)
    texts = [f"segment {path}: {error}" for path, error in failed.items()]
    if engine.stop.reason is not None:
        raise StoppedError(
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


def time_left(walltime_h: float | None) -> Callable[[], float | None]:
    """Hours left of one limit for all that is done from now on; None without a limit.

    Raises
    ------
    RunError
        If the limit is no positive number.
    """
    if walltime_h is not None and not 0 < walltime_h <= LONGEST_H:
        raise RunError(
            f"walltime_h = {walltime_h:g}: give more than 0 and at most {LONGEST_H:g} hours, or "
            "leave it out for no limit"
        )
    began = time.monotonic()
    return lambda: (
        None if walltime_h is None else max(0.0, walltime_h - (time.monotonic() - began) / 3600)
    )


@contextlib.contextmanager
def stopping(stop: gromacs.Stop, walltime_h: float | None) -> Iterator[None]:
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
        self.total_ns = sum(s.duration_ps for s in pending) / 1000
        self.replicas = {s.replica for s in pending} - {None}
        # What earlier calls left half-finished was not done at this call's rate.
        self.before_ps = {s.dir: segments.done_ps(s) for s in pending if s.partial.is_dir()}
        self.began = time.monotonic()
        self.live = sys.stdout.isatty()
        self.shown_ns, self.shown_at = 0.0, self.began
        self.bar = tqdm(
            total=self.total_ns, desc=what, file=sys.stdout, disable=not show, ncols=100,
            mininterval=0.5, maxinterval=1e9, ascii=not self.live, leave=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.3f}/{total:.3f} ns{postfix}",
        )  # fmt: skip

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def show(
        self, running: Iterable[Segment], waiting: Iterable[Segment], failed: Iterable[Path]
    ) -> None:
        """Bring the line up to date."""
        running, waiting = list(running), list(waiting)
        left = sum(s.duration_ps - self.before_ps.get(s.dir, 0.0) for s in waiting)
        left += sum(s.duration_ps - segments.done_ps(s) for s in running)
        done_ns = self.total_ns - left / 1000
        # What a segment that is stopped now has done no longer counts.
        new_ns = max(0.0, done_ns - sum(self.before_ps.values()) / 1000)
        rate = new_ns / (time.monotonic() - self.began)
        busy = {s.replica for s in itertools.chain(running, waiting)}
        parts = [f"{rate * 86400:.1f} ns/day"]
        if rate > 0:
            parts.append(f"{tqdm.format_interval(left / 1000 / rate)} left")
        if self.replicas:
            parts.append(f"replicas {len(self.replicas - busy)}/{len(self.replicas)}")
        if failed := list(failed):
            parts.append(f"{len(failed)} failed")
        self.bar.set_postfix_str(", ".join(parts), refresh=False)
        if self.live:
            self.bar.update(max(0.0, done_ns - self.bar.n))
            return
        # In a log or a notebook's output every update stays: few, and evenly spread.
        self.bar.n = max(self.bar.n, done_ns)
        waited = time.monotonic() - self.shown_at
        if waited > LOG_EVERY_S or (waited > 5 and done_ns > self.shown_ns + self.total_ns / 10):
            self.shown_ns, self.shown_at = done_ns, time.monotonic()
            self.bar.refresh()
