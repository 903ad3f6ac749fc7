"""A sweep's molecular dynamics as jobs for a scheduler.

A job is a stage of one system: ``build`` it, ``equilibrate`` up to some snapshots,
``simulate`` every protocol for some replicas, or the ``windows`` of some replicas. Each
segment belongs to one job, but for a replica's first picoseconds, so that jobs hardly ever
wait for each other.

What a job has done is said by a receipt, a small file in ``runs/<system>/stages``. Its name
holds a hash of what was asked for, so that a receipt that is there means work that is done,
for whichever sweep. The results themselves stay where the library keeps them.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal

from .. import paths
from ..build.system import BuiltSystem, build_system, system_dir, system_files
from ..errors import JanusPoreError, RunError, SpecError, StoppedError
from ..spec import Profile, SystemSpec, key
from ..sweep_spec import load_sweep, points, write_receipt
from . import ensemble, gromacs, windows
from .field import duration_ps
from .trees import Segment
from .workers import time_left

TO_BE_CONTINUED = 75
"""Exit status of a job that was stopped and can be continued: EX_TEMPFAIL of sysexits.h."""

FILES_PER_SEGMENT = 6
"""Checkpoint, run input, series, energies, manifest and the lock beside them."""

Stage = Literal["build", "equilibrate", "simulate", "windows"]


@dataclass(frozen=True)
class Job:
    """A stage of one system; ``needs`` are the receipts of the jobs before it.

    ``replicas`` are those that it runs, or whose snapshots it makes.
    """

    stage: Stage
    profile: Profile
    receipt: Path
    needs: tuple[Path, ...] = ()
    replicas: range = range(0)

    @property
    def failure(self) -> Path:
        """Where the reason lies if it failed."""
        return self.receipt.with_suffix(".failed")


@dataclass(frozen=True)
class Work:
    """The jobs of a sweep by receipt, and the last receipts of each point."""

    jobs: dict[Path, Job]
    of_point: dict[str, tuple[Path, ...]]

    def before(self, point: str) -> list[Job]:
        """A point's jobs, each after those that it needs."""
        out: dict[Path, Job] = {}

        def add(receipt: Path) -> None:
            if receipt not in out:
                for need in self.jobs[receipt].needs:
                    add(need)
                out[receipt] = self.jobs[receipt]

        for receipt in self.of_point[point]:
            add(receipt)
        return list(out.values())


# --- which jobs there are ---------------------------------------------------------------


def work(profiles: Mapping[str, Profile], *, ns_per_job: float = 0.0) -> Work:
    """The jobs that make the runs of some points, those that they share once.

    Parameters
    ----------
    profiles
        Of the points, by label. Their further systems belong to them.
    ns_per_job
        Replicas are put together in one job as long as they are no more than this in all,
        and so are stretches of equilibration from snapshot to snapshot. With 0 each is a
        job of its own.
    """
    everyone = {label: (profile, *profile.siblings()) for label, profile in profiles.items()}
    most: dict[Path, int] = {}
    for profile in (p for group in everyone.values() for p in group):
        first = _resting(profile, 0)
        most[first] = max(most.get(first, 1), _replicas(profile))
    jobs: dict[Path, Job] = {}
    of_point = {}
    for label, group in everyone.items():
        last: list[Path] = []
        for profile in group:
            rest = _rest(profile, most[_resting(profile, 0)], ns_per_job, jobs)
            last += _driven(profile, rest, ns_per_job, jobs) or [rest[0]]
        of_point[label] = tuple(last)
    return Work(jobs, of_point)


@cache
def _name(system: SystemSpec) -> str:
    return system_dir(system).parent.name


def _stages(system: SystemSpec) -> Path:
    return paths.runs_dir() / _name(system) / "stages"


def _resting(profile: Profile, snapshot: int) -> Path:
    """Receipt of the equilibration up to a snapshot."""
    return _stages(profile.system) / f"equilibrate-{key(profile.run)}-{snapshot:04d}.json"


def _held(profile: Profile) -> int:
    """Replicas whose windows are run."""
    if profile.windows is None or profile.system.pore == "none":
        return 0
    return profile.windows.replicas


def _replicas(profile: Profile) -> int:
    return max((*(p.replicas for p in profile.protocols.values()), _held(profile)))


def _together(ns: Sequence[float], limit: float) -> list[range]:
    """Neighbours whose ns add up to no more than a limit, or single ones."""
    out = []
    first, so_far = 0, 0.0
    for i, one in enumerate(ns):
        if i > first and so_far + one > limit:
            out.append(range(first, i))
            first, so_far = i, 0.0
        so_far += one
    return [*out, range(first, len(ns))]


def _rest(profile: Profile, most: int, limit: float, jobs: dict[Path, Job]) -> list[Path]:
    """For each replica the receipt that its snapshot is there; jobs are added to ``jobs``."""
    before = _stages(profile.system) / "build.json"
    jobs.setdefault(before, Job("build", profile, before))
    to_first, to_next = profile.run.equilibration_ps / 1000, profile.run.replica_spacing_ps / 1000
    receipts = []
    for replicas in _together([to_first, *[to_next] * (most - 1)], limit):
        receipt = _resting(profile, replicas[-1])
        jobs.setdefault(receipt, Job("equilibrate", profile, receipt, (before,), replicas))
        receipts += [before := receipt] * len(replicas)
    return receipts


def _driven(
    profile: Profile, rest: Sequence[Path], limit: float, jobs: dict[Path, Job]
) -> list[Path]:
    """Receipts of the replicas' runs; jobs are added to ``jobs``."""
    ns_of = {
        name: sum(duration_ps(w) for w in protocol.waveforms().values()) / 1000
        for name, protocol in profile.protocols.items()
    }
    asked = {name: p.model_dump(mode="json") for name, p in profile.protocols.items()}
    drive = [
        sum(ns_of[name] for name, p in profile.protocols.items() if r < p.replicas)
        for r in range(max((p.replicas for p in profile.protocols.values()), default=0))
    ]
    held = (
        [windows.simulated_ns(profile) / _held(profile)] * _held(profile) if _held(profile) else []
    )
    parts: tuple[tuple[Stage, list[float], Any], ...] = (
        ("simulate", drive, asked), ("windows", held, profile.windows)
    )  # fmt: skip
    receipts = []
    for stage, ns, what in parts:
        name = key(profile.run, what, profile.field_scale)
        for replicas in _together(ns, limit) if ns else []:
            receipt = _stages(profile.system) / (
                f"{stage}-{name}-r{replicas[0]:03d}-{replicas[-1]:03d}.json"
            )
            jobs.setdefault(receipt, Job(stage, profile, receipt, (rest[replicas[-1]],), replicas))
            receipts.append(receipt)
    return receipts


# --- doing one --------------------------------------------------------------------------


def run(job: Job, *, threads: int = 1, at_once: int = 1, walltime_h: float | None = None) -> Path:
    """Do a job, or what is left of it, and write its receipt.

    Parameters
    ----------
    job
        One of :func:`work`.
    threads
        OpenMP threads of each replica.
    at_once
        Replicas to run at once.
    walltime_h
        Stop with checkpoints after this many hours.

    Returns
    -------
    Path
        The receipt.

    Raises
    ------
    StoppedError
        If it was stopped; the same call continues.
    JanusPoreError
        If it failed; the reason is also kept beside the receipt's place.
    """
    left_h = time_left(walltime_h)

    def layout() -> gromacs.Layout:
        gpus = gromacs.layouts(gromacs.find_gmx())[0].gpus
        return gromacs.Layout(min(at_once, max(1, len(job.replicas))), threads, gpus)

    try:
        made = _STAGES[job.stage](job, layout, left_h)
    except StoppedError:
        raise
    except JanusPoreError as error:
        job.failure.parent.mkdir(parents=True, exist_ok=True)
        job.failure.write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
        raise
    write_receipt(
        job.receipt, paths.runs_dir(), (path / "manifest.json" for path in made),
        stage=job.stage, replicas=list(job.replicas),
    )  # fmt: skip
    job.failure.unlink(missing_ok=True)
    return job.receipt


Layout = Callable[[], gromacs.Layout]
Left = Callable[[], float | None]


def _build(job: Job, layout: Layout, left_h: Left) -> list[Path]:
    return [build_system(job.profile.system).dir]


def _equilibrate(job: Job, layout: Layout, left_h: Left) -> list[Path]:
    records = ensemble.equilibrate(
        job.profile, replicas=job.replicas.stop, layout=layout(), walltime_h=left_h()
    )
    return [records[-1].path[-1]]


def _simulate(job: Job, layout: Layout, left_h: Left) -> list[Path]:
    made: list[Path] = []
    failures = []
    for name, protocol in job.profile.protocols.items():
        if protocol.replicas <= job.replicas.start:
            continue
        try:
            records = ensemble.run_protocol(
                job.profile, name, only=job.replicas, layout=layout(), walltime_h=left_h()
            )
        except StoppedError:
            raise
        except RunError as error:  # the other protocols go on
            failures.append(f"{name}: {error}")
        else:
            made += [record.path[-1] for record in records]
    if failures:
        raise RunError("\n".join(failures))
    return made


def _windows(job: Job, layout: Layout, left_h: Left) -> list[Path]:
    records = windows.run_windows(
        job.profile, only=job.replicas, layout=layout(), walltime_h=left_h()
    )
    return [record.path for record in records]


_STAGES: dict[Stage, Callable[[Job, Layout, Left], list[Path]]] = {
    "build": _build,
    "equilibrate": _equilibrate,
    "simulate": _simulate,
    "windows": _windows,
}


# --- what it costs ----------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """What a job, or several, still has to do and will leave on disk."""

    segments: int = 0
    ns: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Size) -> Size:
        return Size(self.segments + other.segments, self.ns + other.ns, self.bytes + other.bytes)


def size(job: Job) -> Size:
    """Segments, simulated ns and bytes that a job lacks; its system need not be built."""
    built = _outline(job.profile.system)
    if job.stage == "build":
        return Size()
    if job.stage == "windows":
        tree = windows.tree(built, job.profile, only=job.replicas)[0]
        # their replicas' first picoseconds are counted where these are driven
        return _of(tree, [s for s in tree.drive() if s.kind != "settle"])
    if job.stage == "equilibrate":
        until = ensemble.tree(built, job.profile.run, {}, replicas=job.replicas.stop, frame_ps=1.0)
        before = until.snapshots[job.replicas.start - 1] if job.replicas.start else []
        done = {s.dir for s in before}
        new = [s for s in until.equilibration() if s.dir not in done]
        return _of(until, new if not before else [s for s in new if s.kind != "start"])
    whole = Size()
    planned: list[Segment] = []
    for protocol in job.profile.protocols.values():
        tree = ensemble.protocol_tree(built, job.profile, protocol, planned, only=job.replicas)
        new = ensemble.not_planned(tree.drive(), planned)
        whole += _of(tree, new)
        planned += new
    return whole


def _outline(system: SystemSpec) -> BuiltSystem:
    """A system as it will be, without writing it."""
    return BuiltSystem(paths.runs_dir() / _name(system) / "system", _manifest(system), system)


@cache
def _manifest(system: SystemSpec) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(system_files(system)["manifest.json"])
    return manifest


def _of(tree: ensemble.Tree, chosen: Iterable[Segment]) -> Size:
    lacking = [s for s in chosen if s.dir not in tree.whole]
    return Size(
        len(lacking), sum(s.duration_ps for s in lacking) / 1000, ensemble.bytes_kept(tree, lacking)
    )


def makespan(jobs: Mapping[Path, Job], hours: Mapping[Path, float], slots: int) -> float:
    """Hours until the last of some jobs ends, when so many run at a time.

    A list schedule: of the jobs whose needs are done, the one with the longest way to the
    end of the sweep comes next.
    """
    followers: dict[Path, list[Path]] = {receipt: [] for receipt in jobs}
    lacking = {}
    for receipt, job in jobs.items():
        lacking[receipt] = len(job.needs)
        for need in job.needs:
            followers[need].append(receipt)

    tail: dict[Path, float] = {}
    order = TopologicalSorter({r: job.needs for r, job in jobs.items()}).static_order()
    for receipt in reversed(list(order)):
        tail[receipt] = hours[receipt] + max((tail[f] for f in followers[receipt]), default=0.0)

    ready = [(-tail[r], r) for r, n in lacking.items() if n == 0]
    heapq.heapify(ready)
    running: list[tuple[float, Path]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            _, receipt = heapq.heappop(ready)
            heapq.heappush(running, (now + hours[receipt], receipt))
        now, ended = heapq.heappop(running)
        for receipt in followers[ended]:
            lacking[receipt] -= 1
            if not lacking[receipt]:
                heapq.heappush(ready, (-tail[receipt], receipt))
    return now


def plan_table(
    chosen: Work,
    *,
    ns_per_day: float | None = None,
    slots: Sequence[int] = (),
    overhead_s: float = 0.0,
) -> str:
    """Jobs, ns and bytes of a sweep by stage, and how long it takes on some slots.

    Parameters
    ----------
    ns_per_day
        Of one replica on one slot; None leaves the hours out.
    slots
        Replicas that run at a time.
    overhead_s
        What a segment takes besides its dynamics.
    """
    sizes = {receipt: size(job) for receipt, job in chosen.jobs.items()}
    lines = [f"{'stage':<14}{'jobs':>7}{'segments':>10}{'ns':>12}{'files':>10}{'GB kept':>9}"]
    total = Size()
    for stage in _STAGES:
        of_it = [sizes[r] for r, job in chosen.jobs.items() if job.stage == stage]
        whole = sum(of_it, Size())
        total += whole
        lines.append(_line(stage, len(of_it), whole))
    lines.append(_line("all", len(sizes), total))
    if ns_per_day:
        hours = {
            r: s.ns / ns_per_day * 24 + s.segments * overhead_s / 3600 for r, s in sizes.items()
        }
        work_h = sum(hours.values())
        longest = max(hours.values(), default=0.0)
        lines += [
            "",
            f"at {ns_per_day:g} ns/day for each replica and {overhead_s:g} s for each segment: "
            f"{work_h:.0f} h of work, the longest job {longest:.1f} h",
            f"{'jobs at once':>16}{'days':>10}{'busy':>8}",
        ]
        for n in slots:
            span = makespan(chosen.jobs, hours, n)
            lines.append(f"{n:>16}{span / 24:>10.2f}{work_h / (n * span) if span else 1.0:>8.0%}")
    return "\n".join(lines)


def _line(stage: str, jobs: int, whole: Size) -> str:
    files = whole.segments * FILES_PER_SEGMENT
    return (
        f"{stage:<14}{jobs:>7}{whole.segments:>10}{whole.ns:>12.3f}{files:>10}"
        f"{whole.bytes / 1e9:>9.3f}"
    )


# --- command line -----------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 1 if it fails, 75 if it was stopped."""
    options = _parser().parse_args(arguments)
    try:
        chosen = load_sweep(options.sweep)
        jobs = work(points(chosen), ns_per_job=options.ns_per_job)
        if options.command == "plan":
            print(
                plan_table(
                    jobs,
                    ns_per_day=options.ns_per_day,
                    slots=options.slots,
                    overhead_s=options.overhead_s,
                )
            )
            return 0
        receipt = paths.runs_dir() / options.receipt
        if receipt not in jobs.jobs:
            raise SpecError(f"sweep {chosen.name!r} has no job that writes {receipt}")
        run(
            jobs.jobs[receipt],
            threads=chosen.threads,
            at_once=options.at_once,
            walltime_h=options.walltime_h,
        )
    except JanusPoreError as error:
        print(error, file=sys.stderr)
        return TO_BE_CONTINUED if isinstance(error, StoppedError) else 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m janus_pore.drive.stages", description=__doc__)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("sweep", help="YAML file")
    shared.add_argument(
        "--ns-per-job", type=float, default=0.0, help="put replicas together up to this length"
    )
    commands = parser.add_subparsers(required=True, dest="command")
    command = commands.add_parser("do", parents=[shared], help="do one job")
    command.add_argument("receipt", help="the file it writes, below runs/")
    command.add_argument("--at-once", type=int, default=1, help="replicas to run at once")
    command.add_argument("--walltime-h", type=float, help="stop cleanly after this time")
    command = commands.add_parser("plan", parents=[shared], help="jobs, ns, bytes and days")
    command.add_argument("--ns-per-day", type=float, help="of one replica, as make plan measures")
    command.add_argument("--overhead-s", type=float, default=2.0, help="of each segment")
    command.add_argument("--slots", type=int, nargs="+", default=[1, 8, 100])
    return parser


if __name__ == "__main__":
    sys.exit(main())
