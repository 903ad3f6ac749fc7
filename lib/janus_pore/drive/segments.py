"""How a segment is made: by one process at a time, in pieces, and continued if interrupted.

The directory of a segment of the tree (:mod:`janus_pore.drive.trees`) is written as
``.<key>.partial`` and renamed to ``<key>`` when whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import logging
import math
import os
import platform
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from .. import paths
from ..build.system import BuiltSystem
from ..errors import GromacsError, MeasureError, RunError
from ..spec import RunSpec, key
from . import gromacs
from .field import FloatArray, mdp_options
from .manifests import (
    provenance,
    read_json,
    reduction_stamp,
    sha256,
    unfitness,
    write_json,
)
from .trees import FRESH, UNREDUCED, Segment, outline, system_runs

log = logging.getLogger("janus_pore")

ENERGY_PS = 1.0
"""Time between energies, at most; a short segment has a hundred of them."""
HELD = "Held"
"""Index group of the ion that a window holds."""

MDRUN = ("-s", "segment.tpr", "-deffnm", "md", "-cpo", "state.cpt", "-noappend",
         "-nstlist", str(gromacs.STRIDE), "-v", "-stepout", "500")  # fmt: skip
"""What every mdrun of a segment is told; without ``-nstlist`` it would choose its own."""

_CHECKSUMMED = ("state.cpt", "series.nc", "energies.npy")
"""Kept files whose content is compared with a checksum before it is used."""

CHECKPOINT_MIN = 5.0
"""Minutes between mdrun's own checkpoints: what a killed run can lose."""


Reduce = Callable[[Segment, Path, Path, tuple[float, float]], None]
"""Reduces a segment's trajectory (second), or its part between two times in ps, to a series
(third)."""

Join = Callable[[Segment, Sequence[Path], Path], None]
"""Joins the series of a segment's chunks (second), in order, to one file (third). A single one is
read as well: a crash of the machine may have cut it short."""

Prepare = Callable[["Engine", Segment, Mapping[str, str]], None]
"""Makes a window's run input from its parent's state, with the mdp options given."""


@dataclass
class Engine:
    """What making segments needs."""

    system: BuiltSystem
    run: RunSpec
    gmx: gromacs.Gmx
    reduce: Reduce
    join: Join
    stop: gromacs.Stop = field(default_factory=gromacs.Stop)
    keep_trajectory: bool = False
    prepare: Prepare | None = None
    runner: gromacs.Runner | None = None
    reducer: Executor | None = None
    say: Callable[[str], None] = log.warning


@dataclass
class Claim:
    """A segment held by this process, its dynamics done or not."""

    segment: Segment
    descriptor: int
    whole: bool

    def release(self) -> None:
        """Let others have it."""
        os.close(self.descriptor)


@contextlib.contextmanager
def writing(segment: Segment) -> Iterator[None]:
    """Turn a failure to write into a :class:`RunError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"segment {segment.dir} cannot be written: {error.strerror or error}; free space or "
            "set JANUS_PORE_RUNS to another place; the same command continues"
        ) from error


def claim(engine: Engine, segment: Segment) -> Claim | None:
    """Hold a segment, waiting for another process that makes it; None if stopped.

    The lock belongs to the open file, which mdrun inherits: an mdrun that outlives its
    driver keeps its directory to itself.

    Raises
    ------
    RunError
        If the directory cannot be written.
    """
    with writing(segment):
        return _claim(engine, segment)


def _claim(engine: Engine, segment: Segment) -> Claim | None:
    segment.dir.parent.mkdir(parents=True, exist_ok=True)
    lock = segment.dir.with_name(f".{segment.dir.name}.lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    waited = 0.0
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if engine.stop.reason is not None:
                os.close(descriptor)
                return None
            if abs(waited - 2.0) < 0.05:
                holder = lock.read_text(errors="replace").strip()
                engine.say(f"segment {segment.dir} is being made by {holder}; waiting for it")
            time.sleep(0.1)
            waited += 0.1
    try:
        os.pwrite(descriptor, f"process {os.getpid()} on {platform.node()}".ljust(60).encode(), 0)
        whole = segment.dir.is_dir() and unfitness(engine.system, engine.run, segment) is None
    except BaseException:  # or this process would wait for itself
        os.close(descriptor)
        raise
    return Claim(segment, descriptor, whole)


def simulate(engine: Engine, held: Claim, flags: list[str]) -> bool:
    """Do the molecular dynamics of a claimed segment; False if stopped on the way.

    A half-finished one continues from mdrun's own checkpoint, if that is valid.

    Raises
    ------
    GromacsError
        If GROMACS fails.
    RunError
        If a file cannot be written.
    """
    with writing(held.segment):
        if held.segment.kind == "start":
            return _minimise_and_relax(engine, held, flags)
        if held.segment.kind == "window":  # a frozen atom forbids updating on the GPU
            before = ["", *flags[:-1]]
            flags = ["cpu" if b == "-update" else f for b, f in zip(before, flags, strict=True)]
        return _continue(engine, held, flags)


def _continue(engine: Engine, held: Claim, flags: list[str]) -> bool:
    segment, partial = held.segment, held.segment.partial
    options = segment_options(engine, segment)
    plan = {
        "mdp": options,
        "parent": segment.parent.key if segment.parent else None,
        "stamp": reduction_stamp(engine.system, engine.run),
    }
    begun = read_json(partial / "plan.json")
    stale = begun is not None and not _from_its_parent(engine, segment)
    if stale or begun != plan | _inputs(partial):
        if stale:
            engine.say(
                f"{partial} continued a state that its parent no longer ends in; it begins again"
            )
        elif begun is not None and all(begun.get(name) == value for name, value in plan.items()):
            engine.say(f"what {partial} began from is damaged; it begins again")
        elif begun is not None:
            engine.say(f"{partial} was begun for other parameters; it begins again")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if segment.parent is not None:
            _link_state(segment.parent, partial / "start.cpt")
        _run_input(engine, segment, options)
        write_json(partial / "plan.json", plan | _inputs(partial))
    if _is_done(partial):
        return True
    if (partial / "done.json").exists():
        engine.say(f"{partial} is damaged; the segment begins again")
        _start_over(partial)
    ran = read_json(partial / "ran.json")
    if ran is None:
        if any(path for name in _SET_ASIDE for path in partial.glob(name)):
            engine.say(f"{partial / 'ran.json'} is damaged; the segment begins again")
            _start_over(partial)
        ran = dict(_NOTHING_RAN)
    checkpoint, step = _valid_checkpoint(engine, segment, ran["reached"])
    if checkpoint is None:
        _start_over(partial)
        ran = dict(_NOTHING_RAN)
        checkpoint = None if segment.kind in FRESH or _begins(segment) else "start.cpt"
        step = segment.start_step + segment.offset_steps
    if step == ran["aside"]:  # what an mdrun wrote that did not reach a checkpoint
        for stray in partial.glob("md.*"):
            stray.unlink()
    reducing = _Reducing(engine, segment)
    try:
        for end in chunk_ends(segment, engine.run):
            last = end + segment.offset_steps
            if ran["aside"] is not None and last <= ran["aside"]:
                continue
            began = time.time()
            if step < last:  # or an mdrun that outlived its driver got there
                arguments = [*MDRUN, *flags, "-cpt", f"{CHECKPOINT_MIN:g}"]
                arguments += ["-nsteps", str(last - step)]
                if checkpoint:
                    arguments += ["-cpi", checkpoint]
                if not gromacs.mdrun(
                    engine.gmx, arguments, cwd=partial, stop=engine.stop, last_step=last,
                    keep_open=(held.descriptor,), runner=engine.runner,
                ):  # fmt: skip
                    return False
            took = time.time() - began
            if ran["reached"] != last:  # also of an mdrun that outlived its driver
                ran["used"] = _used(partial)
                took = max(took, ran["used"]["wall_s"] or 0.0)
                if ran["used"]["gpus_seen"] and not ran["used"]["on_gpu"]:
                    engine.say(f"mdrun saw a GPU and did not use it, by its log in {partial}")
            begin = segment.start_step + segment.offset_steps
            begin = begin if ran["aside"] is None else ran["aside"]
            ran |= {"reached": last, "wall_s": round(ran["wall_s"] + took, 3)}
            checkpoint, step = "state.cpt", last
            write_json(partial / "ran.json", ran)
            if segment.kind not in UNREDUCED:
                _set_aside(partial, begin - segment.offset_steps, end)
                ran["aside"] = last
                write_json(partial / "ran.json", ran)
                if end < segment.end_step:
                    reducing.next()
    finally:
        reducing.finish()
    _record_done(partial, ran)
    return True


def _from_its_parent(engine: Engine, segment: Segment) -> bool:
    """Whether a half-finished segment began from the state in which its parent ends now."""
    begun = segment.partial / "start.cpt"
    if segment.parent is None or not begun.exists():
        return True
    for place in (segment.parent.partial, segment.parent.dir):
        state, recorded = place / "state.cpt", _recorded_state(place)
        if recorded is not None and state.exists():
            # The same state made again comes in a file of another time.
            return sha256(begun) == recorded or fingerprint(engine.gmx, begun) == fingerprint(
                engine.gmx, state
            )
    return True


_SET_ASIDE = ("moving-*", "chunk-*", "series*.nc")
"""What says that some of a segment's trajectory is no longer where mdrun wrote it."""


def _inputs(partial: Path) -> dict[str, str | None]:
    """Checksums of what a segment's dynamics begins from."""
    return {
        name: sha256(partial / name) if (partial / name).exists() else None
        for name in ("segment.tpr", "start.cpt", "held.json")
    }


_NOTHING_RAN = {"reached": None, "aside": None, "wall_s": 0.0, "used": None}
"""How far a segment's dynamics got, and its trajectory was set aside, in mdrun's steps."""


def chunk_ends(segment: Segment, run: RunSpec) -> list[int]:
    """Steps at which a long segment's trajectory so far is handed over for reduction.

    They lie on frames and pair-list updates, so the dynamics is the same without them.
    """
    if segment.kind not in ("drive", "equilibrium"):
        return [segment.end_step]
    grid = math.lcm(gromacs.STRIDE, segment.frame_steps)
    chunk = max(1, round(run.chunk_ps / segment.dt_ps / grid)) * grid
    return [*range(segment.start_step + chunk, segment.end_step, chunk), segment.end_step]


def _start_over(partial: Path) -> None:
    """Remove all that a half-finished segment has produced."""
    for path in partial.iterdir():
        if path.name.startswith("chunk-"):
            shutil.rmtree(path)
        elif path.name not in ("plan.json", "start.cpt", "held.json") and path.suffix not in (
            ".tpr",
            ".ndx",
        ):
            path.unlink() if path.is_file() else shutil.rmtree(path)


def _set_aside(partial: Path, begin: int, end: int) -> None:
    """Move a chunk's files out of mdrun's way, under their final name once all are there."""
    moving = partial / f"moving-{begin}-{end}"
    moving.mkdir(exist_ok=True)
    for path in partial.glob("md.part*"):
        path.rename(moving / path.name)
    if any(moving.iterdir()):
        moving.rename(partial / f"chunk-{begin}-{end}")
    else:  # done already, when this was last stopped
        moving.rmdir()


def _by_step(partial: Path, pattern: str) -> list[tuple[int, int, Path]]:
    """First and last step and place of what is named after chunks, in order."""
    return sorted(
        (int(begin), int(end), path)
        for path in partial.glob(pattern)
        for *_, begin, end in [path.stem.split("-")]
    )


def _chunks_aside(partial: Path) -> list[tuple[int, int, Path]]:
    """First and last step and folder of the chunks that wait for reduction, in order."""
    return _by_step(partial, "chunk-*")


class _Reducing:
    """Reduction of a segment's chunks beside its dynamics, at most one chunk behind."""

    def __init__(self, engine: Engine, segment: Segment) -> None:
        self.engine, self.segment = engine, segment
        self.future: Future[None] | None = None
        if _chunks_aside(segment.partial):
            self.next()

    def next(self) -> None:
        """Reduce what has been set aside, after what was before it."""
        self.finish()
        if self.engine.reducer is None:
            with _discarding(self.segment.partial):
                _reduce_chunks(self.engine, self.segment)
        else:
            self.future = self.engine.reducer.submit(_reduce_chunks, self.engine, self.segment)

    def finish(self) -> None:
        """Wait until it is done."""
        if self.future is not None:
            with _discarding(self.segment.partial):
                self.future.result()


@contextlib.contextmanager
def _discarding(partial: Path) -> Iterator[None]:
    """Discard a segment whose trajectory cannot be reduced: nothing else would help.

    Unless the disk is full, which GROMACS does not always say of what it writes.
    """
    try:
        yield
    except (MeasureError, GromacsError) as error:
        with contextlib.suppress(FileNotFoundError):  # discarded already
            _check_room(partial)
        shutil.rmtree(partial, ignore_errors=True)
        raise type(error)(f"{error} (the same command makes it again)") from error


def _check_room(partial: Path) -> None:
    """Raise OSError where what is set aside could not be written once more."""
    waiting = sum(path.stat().st_size for path in partial.glob("chunk-*/md.part*"))
    probe = partial / "room"
    try:
        with probe.open("wb") as file:
            for _ in range(waiting // 2**20 + 1):
                file.write(bytes(2**20))
            file.flush()
            os.fsync(file.fileno())
    finally:
        probe.unlink(missing_ok=True)


def _minimise_and_relax(engine: Engine, held: Claim, flags: list[str]) -> bool:
    """Steepest descent, then v-rescale from Maxwell velocities: seconds, never resumed."""
    segment, partial = held.segment, held.segment.partial
    if _is_done(partial):
        return True
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    built = engine.system
    files = {"top": built.top, "ndx": built.ndx}
    gromacs.grompp(
        engine.gmx, gromacs.minimise_options(built.spec), conf=built.gro,
        tpr=partial / "minimise.tpr", **files,
    )  # fmt: skip
    began = time.time()
    # A GPU does PME for dynamics only.
    on_cpu = gromacs.hardware_flags(engine.gmx, engine.run, threads=1)
    minimise = ["-s", "minimise.tpr", "-deffnm", "minimise", "-c", "minimised.g96", *on_cpu]
    if not gromacs.mdrun(
        engine.gmx, minimise, cwd=partial, stop=engine.stop, keep_open=(held.descriptor,)
    ):
        return False
    gromacs.grompp(
        engine.gmx, segment_options(engine, segment), conf=partial / "minimised.g96",
        reference=built.gro, tpr=partial / "segment.tpr", **files,
    )  # fmt: skip
    if not gromacs.mdrun(
        engine.gmx, [*MDRUN, *flags], cwd=partial, stop=engine.stop, last_step=segment.steps,
        keep_open=(held.descriptor,), runner=engine.runner,
    ):  # fmt: skip
        return False
    wall = round(time.time() - began, 3)
    _record_done(partial, {"used": _used(partial), "wall_s": wall})
    return True


def segment_options(engine: Engine, segment: Segment) -> dict[str, str]:
    """All mdp options of a segment."""
    run, spec = engine.run, engine.system.spec
    energy = round(ENERGY_PS / segment.dt_ps / gromacs.STRIDE) or 1
    few = max(1, segment.steps // gromacs.STRIDE // 100)
    options = {
        **gromacs.physics_options(spec, run),
        **gromacs.list_options(spec),
        **gromacs.output_options(segment.frame_steps, min(energy, few) * gromacs.STRIDE),
        "tinit": f"{-segment.offset_steps * segment.dt_ps:.10g}",
        "nsteps": str(segment.end_step + segment.offset_steps),
    }
    if segment.kind in ("start", "window"):  # both begin with a minimisation
        options |= {"tcoupl": "v-rescale"}
    if segment.kind == "window":
        options |= held_options(options)
    if segment.kind in FRESH:
        options |= {"gen-vel": "yes", "gen-temp": options["ref-t"], "gen-seed": str(segment.seed)}
    else:
        options |= {"gen-vel": "no", "continuation": "yes"}
    if options["tcoupl"] == "v-rescale":
        options["ld-seed"] = str(segment.seed)
    if segment.history and segment.history[-1][0]:
        options |= mdp_options(segment.field, segment.start_ps)
    return options


def held_options(options: Mapping[str, str]) -> dict[str, str]:
    """Options that hold x of the group :data:`HELD`, besides what is frozen already."""
    groups, axes = (options.get(name, "").split() for name in ("freezegrps", "freezedim"))
    return {
        "freezegrps": " ".join([*groups, HELD]),
        "freezedim": " ".join([*axes, "Y", "N", "N"]),
    }


def _begins(segment: Segment) -> bool:
    """Whether a segment is the first of the equilibration, with a thermostat of its own."""
    return segment.kind == "equilibrium" and segment.start_step == 0


def _run_input(engine: Engine, segment: Segment, options: Mapping[str, str]) -> None:
    """The segment's tpr. Those that continue a checkpoint are shared between replicas."""
    built, partial = engine.system, segment.partial
    inputs = {"conf": built.gro, "top": built.top, "ndx": built.ndx}
    target = partial / "segment.tpr"
    if segment.kind == "window":
        assert engine.prepare is not None
        engine.prepare(engine, segment, options)
        return
    if segment.kind in FRESH or _begins(segment):
        gromacs.grompp(engine.gmx, options, tpr=target, state=partial / "start.cpt", **inputs)
        return
    shelf = system_runs(built) / "tpr"
    name = key(options, built.manifest["files"], engine.gmx.version)
    for shared in shelf.glob(f"{name}-*.tpr"):
        with contextlib.suppress(FileNotFoundError):  # another process found it damaged
            _link(shared, target)
            if shared.stem.endswith(sha256(target)[:16]):
                return
            engine.say(f"run input {shared} is damaged; it is made again")
            target.unlink()
            shared.unlink()
    gromacs.grompp(engine.gmx, options, tpr=target, **inputs)
    shelf.mkdir(exist_ok=True)
    # Never replaced once it is there: another replica may be linking to it.
    with contextlib.suppress(FileExistsError):
        _link(target, shelf / f"{name}-{sha256(target)[:16]}.tpr")


def _record_done(partial: Path, about: Mapping[str, Any]) -> None:
    """Say that a segment's dynamics is done, and what state it ended in."""
    write_json(partial / "done.json", {**about, "state_sha256": sha256(partial / "state.cpt")})


def _is_done(partial: Path) -> bool:
    """Whether a segment's dynamics is done and the state that it ended in is whole."""
    done = read_json(partial / "done.json")
    with contextlib.suppress(FileNotFoundError):
        return done is not None and sha256(partial / "state.cpt") == done.get("state_sha256")
    return False


def _recorded_state(place: Path) -> str | None:
    """Checksum of the state that a segment ended in, whether it is finished or not."""
    if (done := read_json(place / "done.json")) is not None:
        return str(done.get("state_sha256"))
    if (manifest := read_json(place / "manifest.json")) is not None:
        return str(manifest["files"].get("state.cpt", {}).get("sha256"))
    return None


def _link_state(parent: Segment, target: Path) -> None:
    """Link a parent's last checkpoint, which moves when the parent is finished.

    Until then the one that it replaces, which may be damaged, is still in its place.
    """
    for _ in range(100):
        for place in (parent.partial, parent.dir):
            recorded = _recorded_state(place)
            try:
                _link(place / "state.cpt", target)
            except FileNotFoundError:
                continue
            if sha256(target) == recorded:
                return
            target.unlink()
        time.sleep(0.02)
    raise RunError(
        f"segment {parent.dir} has no whole state.cpt to continue from; the same command makes it "
        "again"
    )


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError:  # a file system without hard links
        whole = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        shutil.copyfile(source, whole)
        whole.replace(target)


def _valid_checkpoint(
    engine: Engine, segment: Segment, reached: int | None
) -> tuple[str | None, int]:
    """The newest whole checkpoint of a half-finished segment, if any, and its step.

    Before ``reached``, up to where trajectories have been set aside, none is of use.
    """
    for name in ("state.cpt", "state_prev.cpt"):
        path = segment.partial / name
        if not path.exists():
            continue
        try:
            step = checkpoint_step(engine.gmx, path)
        except GromacsError:
            engine.say(f"checkpoint {path} is damaged; trying the one before")
            continue
        first = segment.start_step + segment.offset_steps if reached is None else reached
        if first <= step <= segment.end_step + segment.offset_steps:
            return name, step
    return None, -1


def fingerprint(gmx: gromacs.Gmx, checkpoint: Path) -> str:
    """Hash of the state in a checkpoint to six digits: positions, velocities, thermostat."""
    text = gmx.run(["dump", "-cp", checkpoint.name], cwd=checkpoint.parent)
    state = [line for line in text.splitlines() if re.match(r"\s+(?:x|v|nosehoover\S*)\[", line)]
    return hashlib.sha256("\n".join(state).encode()).hexdigest()[:16]


def checkpoint_step(gmx: gromacs.Gmx, path: Path) -> int:
    """Step of a checkpoint, read with everything else in it.

    Raises
    ------
    GromacsError
        If the file is damaged.
    """
    for line in gmx.run(["dump", "-cp", path.name], cwd=path.parent).splitlines():
        if line.startswith("step = "):
            return int(line.split("=")[1])
    raise GromacsError(f"checkpoint {path} names no step; it is damaged")


def _used(partial: Path) -> gromacs.Used:
    path = gromacs.latest_log(partial)
    return gromacs.hardware_used(path.read_text(errors="replace") if path else "")


def finish(engine: Engine, held: Claim) -> None:
    """Reduce a claimed segment's trajectory, write its manifest, put it in its place.

    Raises
    ------
    MeasureError
        If the trajectory cannot be reduced. It is discarded, so that the same command
        makes it again.
    RunError
        If a file cannot be written.
    """
    with writing(held.segment):
        _finish(engine, held.segment)


def _finish(engine: Engine, segment: Segment) -> None:
    partial = segment.partial
    with _discarding(partial):
        _reduce_chunks(engine, segment)
        if segment.kind not in UNREDUCED:
            _join_series(engine, segment)
    kept = [partial / "state.cpt", partial / "segment.tpr"]
    kept += [p for p in (partial / "series.nc", partial / "energies.npy") if p.exists()]
    if _keeps_trajectory(engine, segment) and segment.kind not in UNREDUCED:
        kept += _kept_trajectory(engine, segment)
    done = read_json(partial / "done.json") or {}
    manifest = segment_manifest(engine, segment, done)
    manifest["began"] = _state_it_began_in(engine, segment)
    manifest["state"] = fingerprint(engine.gmx, partial / "state.cpt")
    manifest["files"] = {path.name: {"bytes": path.stat().st_size} for path in kept}
    for path in kept:
        if path.name in _CHECKSUMMED:
            manifest["files"][path.name]["sha256"] = sha256(path)
    # Without its plan a directory is not continued from, should this end half-way.
    (partial / "plan.json").unlink(missing_ok=True)
    for path in partial.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path not in kept:
            path.unlink()
    write_json(partial / "manifest.json", manifest)
    if segment.dir.is_dir():
        if _state_before(engine, segment) != manifest["state"]:
            _set_descendants_aside(engine, segment)
        _discard(segment.dir)
    partial.rename(segment.dir)


def _keeps_trajectory(engine: Engine, segment: Segment) -> bool:
    """Whether it is asked for, or was for what is now made again."""
    return engine.keep_trajectory or (segment.dir / "trajectory.xtc").is_file()


def _kept_trajectory(engine: Engine, segment: Segment) -> list[Path]:
    """The whole trajectory; of a segment that was begun without keeping it, what there is."""
    parts = _by_step(segment.partial, "trajectory-chunk-*.xtc")
    kept = sum(end - begin for begin, end, _ in parts)
    if kept != segment.steps:
        engine.say(
            f"segment {segment.dir} was begun without keeping its trajectory: only its last "
            f"{kept * segment.dt_ps:g} of {segment.duration_ps:g} ps are kept"
        )
    return [_join(engine, [path for *_, path in parts])] if parts else []


def _state_it_began_in(engine: Engine, segment: Segment) -> str | None:
    """Fingerprint of the state that a segment continued; None for a system's very first."""
    begun = segment.partial / "start.cpt"
    if segment.parent is None or not begun.exists():
        return None
    if _recorded_state(segment.parent.dir) == sha256(begun):
        return str((read_json(segment.parent.dir / "manifest.json") or {}).get("state"))
    return fingerprint(engine.gmx, begun)


def _state_before(engine: Engine, segment: Segment) -> str | None:
    """Fingerprint of the state that a segment, now made again, ended in before."""
    before = read_json(segment.dir / "manifest.json")
    if before is not None:
        return str(before.get("state"))
    try:
        return fingerprint(engine.gmx, segment.dir / "state.cpt")
    except GromacsError:
        return None


def _set_descendants_aside(engine: Engine, segment: Segment) -> None:
    """Remove what continued a state that has changed."""
    chain = {segment.key}
    parents = {
        path.parent: manifest.get("parent")
        for path in system_runs(engine.system).glob("*/*/manifest.json")
        if (manifest := read_json(path)) is not None
    }
    while found := [d for d, parent in parents.items() if parent in chain and d.name not in chain]:
        chain |= {d.name for d in found}
        for directory in found:
            engine.say(
                f"segment {directory} continued an earlier version of {segment.key}, which was "
                "made again and ended in another state; it is stale and will be made again too"
            )
            _discard(directory)


def _discard(directory: Path) -> None:
    """Remove a directory so that it is never seen half-removed."""
    old = directory.with_name(f".{directory.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    directory.rename(old)
    shutil.rmtree(old, ignore_errors=True)


def _reduce_chunks(engine: Engine, segment: Segment) -> None:
    """Reduce the chunks set aside, in order, and delete them."""
    for begin, end, folder in _chunks_aside(segment.partial):
        _reduce_chunk(engine, segment, folder, (begin * segment.dt_ps, end * segment.dt_ps))


def _reduce_chunk(
    engine: Engine, segment: Segment, folder: Path, times_ps: tuple[float, float]
) -> None:
    energy_files = sorted(folder.glob("md.part*.edr"))
    if not energy_files:
        raise MeasureError(f"{folder} holds no energies")
    xtc = _join(engine, sorted(folder.glob("md.part*.xtc")))
    reduced = segment.partial / f"{folder.name.replace('chunk', 'series', 1)}.nc"
    if not reduced.exists():  # or this was stopped between writing it and deleting the chunk
        part = reduced.with_name("reduced.nc")
        engine.reduce(segment, xtc, part, times_ps)
        part.replace(reduced)
    energies = segment.partial / "energies.npy"
    rows = [load_energies(energies)] if energies.exists() else []
    *cut_short, last = energy_files
    for edr in cut_short:  # a killed mdrun may have left no whole frame
        with contextlib.suppress(GromacsError):
            rows.append(read_energies(engine.gmx, edr))
    rows.append(read_energies(engine.gmx, last))
    stream = io.BytesIO()
    np.save(stream, by_time(rows).astype(np.float32))
    paths.write_whole(energies, stream.getvalue())
    if _keeps_trajectory(engine, segment):
        xtc.rename(segment.partial / f"trajectory-{folder.name}.xtc")
    shutil.rmtree(folder)


def _join_series(engine: Engine, segment: Segment) -> None:
    """One series of those of all chunks, which are small beside any chunk's trajectory."""
    parts = _by_step(segment.partial, "series-*.nc")
    whole = segment.partial / "series.nc"
    if not parts and whole.exists():  # this was stopped after it
        return
    begins, ends = [begin for begin, *_ in parts], [end for _, end, _ in parts]
    if [segment.start_step, *ends] != [*begins, segment.end_step]:
        raise MeasureError(
            f"segment {segment.dir} lacks series of its steps {segment.start_step} to "
            f"{segment.end_step}; there are {', '.join(path.name for *_, path in parts) or 'none'}"
        )
    engine.join(segment, [path for *_, path in parts], whole)


def _join(engine: Engine, parts: Sequence[Path]) -> Path:
    """One trajectory of several; where two overlap, the later one counts.

    A run that continued from a checkpoint repeats what the one before it wrote after that.
    """
    names = [p.name for p in parts if p.stat().st_size]
    if not names:
        raise MeasureError(f"there is no trajectory in {', '.join(map(str, parts)) or 'a chunk'}")
    whole = parts[0].with_name("trajectory.xtc")
    whole.unlink(missing_ok=True)
    if len(names) > 1:
        engine.gmx.run(["trjcat", "-f", *names, "-o", whole.name], cwd=whole.parent)
    else:
        _link(whole.with_name(names[0]), whole)
    return whole


ENERGY_TERMS = ("Potential", "Kinetic-En.", "Conserved-En.", "Temperature")


def read_energies(gmx: gromacs.Gmx, edr: Path) -> FloatArray:
    """Time in ps and :data:`ENERGY_TERMS`, (n, 5), of an energy file.

    Raises
    ------
    GromacsError
        If it is damaged.
    """
    out = edr.with_suffix(".xvg")
    gmx.run(
        ["energy", "-f", edr.name, "-o", out.name, "-xvg", "none"], cwd=edr.parent,
        stdin="\n".join(ENERGY_TERMS) + "\n\n",
    )  # fmt: skip
    table: FloatArray = np.loadtxt(out, ndmin=2)
    return table


def load_energies(path: Path) -> FloatArray:
    """A segment's ``energies.npy``, as :func:`read_energies` returned it.

    Raises
    ------
    MeasureError
        If it is damaged.
    """
    try:
        table: FloatArray = np.load(path)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise MeasureError(f"{path} cannot be read: {error}; run its segment again") from error
    if np.ndim(table) != 2 or table.shape[1] != 1 + len(ENERGY_TERMS):
        raise MeasureError(f"{path} is no table of energies; run its segment again")
    return table


def by_time(tables: Sequence[FloatArray]) -> FloatArray:
    """Tables of energies joined in order of time; of equal times the last one counts."""
    rows = {round(float(row[0]), 4): row for table in tables for row in table}
    return np.array([rows[t] for t in sorted(rows)], dtype=float)


def segment_manifest(engine: Engine, segment: Segment, done: Mapping[str, Any]) -> dict[str, Any]:
    """What a segment is and how it was made."""
    return {
        "kind": "segment",
        "kind_of_run": segment.kind,
        "key": segment.key,
        **outline(segment),
        "parent": segment.parent.key if segment.parent else None,
        "system_key": engine.system.manifest["key"],
        "replica": segment.replica,
        "held_ion": segment.held_ion,
        "held_x_nm": segment.held_x_nm,
        "seed": segment.seed,
        "field": {
            "E0_V_per_nm": segment.field.E0_V_per_nm,
            "omega_per_ps": segment.field.omega_per_ps,
            "t0_ps": segment.field.t0_ps,
            "sigma_ps": segment.field.sigma_ps,
        },
        "history": segment.history,
        "start_ps": round(segment.start_ps, 9),
        "duration_ps": round(segment.duration_ps, 9),
        "frame_ps": round(segment.frame_steps * segment.dt_ps, 9),
        "frame_steps": segment.frame_steps,
        "stamp": reduction_stamp(engine.system, engine.run),
        "run": engine.run.model_dump(mode="json"),
        "through": "program" if engine.runner is None else "gmxapi",
        "hardware": done.get("used", {}),
        "wall_s": done.get("wall_s"),
        "ns_per_day": (done.get("used") or {}).get("ns_per_day"),
        "provenance": provenance(engine.gmx),
    }


def done_ps(segment: Segment) -> float:
    """How far a segment that is being made has got.

    By what its mdrun prints, and by its record of whole chunks: a new mdrun prints nothing
    before its first steps are done.
    """
    reached = (read_json(segment.partial / "ran.json") or _NOTHING_RAN)["reached"]
    step = max(gromacs.current_step(segment.partial) or 0, reached or 0)
    at = step - segment.offset_steps - segment.start_step
    return min(max(at, 0), segment.steps) * segment.dt_ps
