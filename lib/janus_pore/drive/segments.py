"""The tree of molecular dynamics: what a segment is, where it lies, how it is made.

Every replica is a tree that grows from its equilibrated root state at time 0. A node is a
state; its key is the hash of the root's key and of the whole field history since, with
equal neighbouring stretches merged. So a node does not depend on where the way to it was
cut: protocols that begin alike share their molecular dynamics, a longer delay continues a
shorter one, and another chunk length, frame interval or number of threads changes nothing.

A segment is the way from one node to the next. Its directory is written as
``.<key>.partial`` and renamed to ``<key>`` when whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import logging
import math
import os
import platform
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal
from zipfile import BadZipFile

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import __version__, paths
from ..build.system import BuiltSystem
from ..errors import GromacsError, JanusPoreError, MeasureError, RunError, SpecError
from ..spec import RunSpec, Sine, Waveform, key, replica_seed
from . import gromacs
from .field import FieldSegment, FloatArray, mdp_options, segments

log = logging.getLogger("janus_pore")

RELAX_PS = 2.0
"""Length of the v-rescale run between minimisation and the equilibration proper: after a
minimisation Nosé-Hoover alone would ring."""
ENERGY_PS = 1.0
"""Time between energies, at most; a short segment has a hundred of them."""
UNREDUCED = ("start", "settle")
"""Kinds of segment whose trajectory is of no interest."""
FRESH = (*UNREDUCED, "window")
"""Kinds of segment that do not continue a checkpoint: they begin with velocities anew."""
HELD = "Held"
"""Index group of the ion that a window holds."""

MDRUN = ("-s", "segment.tpr", "-deffnm", "md", "-cpo", "state.cpt", "-noappend",
         "-nstlist", str(gromacs.STRIDE), "-v", "-stepout", "500")  # fmt: skip
"""What every mdrun of a segment is told; without ``-nstlist`` it would choose its own."""

_CHECKSUMMED = ("state.cpt", "series.nc", "energies.npy")
"""Kept files whose content is compared with a checksum before it is used."""

CHECKPOINT_MIN = 5.0
"""Minutes between mdrun's own checkpoints: what a killed run can lose."""

Piece = tuple[float, float, float, float, int]
"""E0 V/nm, omega 1/ps, t0 ps since time 0, sigma ps, steps."""
Kind = Literal["start", "equilibrium", "settle", "drive", "window"]


@dataclass(frozen=True)
class Segment:
    """One stretch of molecular dynamics, done or to be done.

    ``start_step`` and ``end_step`` count from time 0 of the tree; mdrun's own counter is
    ``offset_steps`` ahead, for the settling before.
    """

    dir: Path
    key: str
    kind: Kind
    parent: Segment | None
    history: tuple[Piece, ...]
    start_step: int
    end_step: int
    offset_steps: int
    dt_ps: float
    frame_steps: int
    seed: int
    replica: int | None = None
    held_ion: str | None = None
    """Which ion a window holds."""
    held_x_nm: float | None = None
    """Where it holds it, along x from the membrane's metal plane."""

    @property
    def partial(self) -> Path:
        """Where it is while it is being made."""
        return self.dir.with_name(f".{self.dir.name}.partial")

    @property
    def steps(self) -> int:
        """Its length."""
        return self.end_step - self.start_step

    @property
    def start_ps(self) -> float:
        """Time at its beginning."""
        return self.start_step * self.dt_ps

    @property
    def duration_ps(self) -> float:
        """Its length, ps."""
        return self.steps * self.dt_ps

    @property
    def field(self) -> FieldSegment:
        """The field during it; ``t0_ps`` counts from its beginning."""
        if not self.history:
            return FieldSegment(self.duration_ps, 0.0)
        E0, omega, t0, sigma, _ = self.history[-1]
        shifted = t0 - self.start_ps if sigma else 0.0
        return FieldSegment(self.duration_ps, E0, omega, shifted, sigma)


# --- histories and keys -----------------------------------------------------------------


def steps_of(duration_ps: float, run: RunSpec, what: str) -> int:
    """A duration in steps, which must be a multiple of :data:`gromacs.STRIDE`.

    Raises
    ------
    SpecError
        Naming the nearest durations that are.
    """
    quantum = gromacs.STRIDE * run.dt_fs / 1000
    n = duration_ps / quantum
    if abs(n - round(n)) > 1e-6 * max(1.0, n) or (duration_ps > 0 and round(n) == 0):
        nearest = dict.fromkeys(max(1, whole) * quantum for whole in (math.floor(n), math.ceil(n)))
        raise SpecError(
            f"{what} = {duration_ps:g} ps is not a multiple of {quantum:g} ps "
            f"({gromacs.STRIDE} steps of {run.dt_fs:g} fs); use "
            f"{' or '.join(f'{value:g}' for value in nearest)}"
        )
    return round(n) * gromacs.STRIDE


def pieces(waveform: Waveform, run: RunSpec) -> tuple[Piece, ...]:
    """A waveform as a field history in whole steps.

    A sine ends at the nearest multiple of :data:`gromacs.STRIDE` steps.

    Raises
    ------
    SpecError
        If a duration is not a multiple of that.
    """
    out: list[Piece] = []
    begin = 0
    begin_ps = 0.0
    quantum = gromacs.STRIDE * run.dt_fs / 1000
    for part in segments(waveform):
        if isinstance(waveform, Sine):
            steps = max(1, round(part.duration_ps / quantum)) * gromacs.STRIDE
        else:
            end = begin_ps + part.duration_ps
            steps = steps_of(end, run, f"{waveform.kind}: end of a stretch of field") - begin
        E0, omega, sigma = (float(f"{x:.12g}") for x in
                            (part.E0_V_per_nm, part.omega_per_ps, part.sigma_ps))  # fmt: skip
        t0 = round(begin_ps + part.t0_ps, 9) if sigma else 0.0
        out.append((E0, omega, t0, sigma, steps) if E0 else (0.0, 0.0, 0.0, 0.0, steps))
        begin += steps
        begin_ps += part.duration_ps
    return merged(out)


def merged(history: Iterable[Piece]) -> tuple[Piece, ...]:
    """Neighbours with the same field joined, empty ones dropped."""
    out: list[Piece] = []
    for piece in history:
        if out and out[-1][:4] == piece[:4]:
            out[-1] = (*piece[:4], out[-1][4] + piece[4])
        elif piece[4]:
            out.append(piece)
    return tuple(out)


def until(history: tuple[Piece, ...], step: int) -> tuple[Piece, ...]:
    """The beginning of a history, up to a step."""
    out: list[Piece] = []
    for piece in history:
        steps = min(piece[4], step)
        if steps <= 0:
            break
        out.append((*piece[:4], steps))
        step -= steps
    return tuple(out)


def length(history: tuple[Piece, ...]) -> int:
    """Steps of a history."""
    return sum(piece[4] for piece in history)


def common_steps(a: tuple[Piece, ...], b: tuple[Piece, ...]) -> int:
    """Steps over which two histories are the same."""
    shared = 0
    for p, q in zip(a, b, strict=False):
        if p[:4] != q[:4]:
            break
        shared += min(p[4], q[4])
        if p[4] != q[4]:
            break
    return shared


def physics_key(system: BuiltSystem, run: RunSpec) -> str:
    """Key of everything that all runs of a system with these settings share."""
    return key("start", system.manifest["key"], gromacs.physics_options(system.spec, run), RELAX_PS)


def system_runs(system: BuiltSystem) -> Path:
    """``runs/<system>``: everything computed with a system."""
    return system.dir.parent


def start_segment(system: BuiltSystem, run: RunSpec) -> Segment:
    """Minimisation and the first picoseconds; root of the equilibration."""
    name = physics_key(system, run)
    quantum = gromacs.STRIDE * run.dt_fs / 1000
    return Segment(
        dir=system_runs(system) / "equilibrium" / name,
        key=name,
        kind="start",
        parent=None,
        history=(),
        start_step=-round(RELAX_PS / quantum) * gromacs.STRIDE,
        end_step=0,
        offset_steps=round(RELAX_PS / quantum) * gromacs.STRIDE,
        dt_ps=run.dt_fs / 1000,
        frame_steps=0,
        seed=replica_seed(name, -1),
    )


def settle_segment(system: BuiltSystem, run: RunSpec, snapshot: Segment, replica: int) -> Segment:
    """Fresh velocities on a snapshot and a few picoseconds at no field: a replica's root."""
    steps = steps_of(run.settle_ps, run, "settle_ps")
    seed = replica_seed(str(system.manifest["key"]), replica)
    name = key("settle", snapshot.key, seed, steps)
    return Segment(
        dir=system_runs(system) / f"r{replica:03d}" / name,
        key=name,
        kind="settle",
        parent=snapshot,
        history=(),
        start_step=-steps,
        end_step=0,
        offset_steps=steps,
        dt_ps=run.dt_fs / 1000,
        frame_steps=0,
        seed=seed,
        replica=replica,
    )


def grow(
    root: Segment,
    histories: Mapping[str, tuple[Piece, ...]],
    *,
    frame_steps: int,
    known: Mapping[str, Mapping[str, Any]],
) -> dict[str, list[Segment]]:
    """The segments that lead from a root to the end of each history.

    Cuts are made where the field changes, where two histories part, and at the end of each
    history. What is already there is used as it was cut.

    Parameters
    ----------
    root
        A start or settle segment.
    histories
        Field histories by label.
    frame_steps
        Steps between frames at most; each segment uses the largest interval up to this
        that has a frame at both of its ends.
    known
        Manifests of whole segments by key, as :func:`known_segments` returns.

    Returns
    -------
    dict of str to list of Segment
        Ways from the root (left out) to the end. Shared segments are the same objects.
    """
    kind: Kind = "equilibrium" if root.kind == "start" else "drive"
    nodes: dict[str, Segment] = {root.key: root}

    def node_key(history: tuple[Piece, ...], step: int) -> str:
        return key(root.key, until(history, step)) if step else root.key

    def node(history: tuple[Piece, ...], step: int, cuts: list[int]) -> Segment:
        name = node_key(history, step)
        if name in nodes:
            return nodes[name]
        earlier = max(c for c in cuts if c < step)
        if name in known:
            # What is not there of the way to it has to be made again, and ends where it begins.
            earlier = int(known[name]["start_step"])
        parent = node(history, earlier, cuts)
        offset = root.offset_steps if kind == "drive" else 0
        ends = math.gcd(earlier + offset, step + offset)
        nodes[name] = Segment(
            dir=root.dir.parent / name,
            key=name,
            kind=kind,
            parent=parent,
            history=until(history, step),
            start_step=earlier,
            end_step=step,
            offset_steps=offset,
            dt_ps=root.dt_ps,
            frame_steps=max(d for d in range(1, frame_steps + 1) if ends % d == 0),
            seed=root.seed,
            replica=root.replica,
        )
        return nodes[name]

    ends_known = {int(m["end_step"]) for m in known.values() if m.get("root") == root.key}
    out = {}
    for label, history in histories.items():
        total = length(history)
        cuts = {0, total}
        at = 0
        for piece in history:
            at += piece[4]
            cuts.add(at)
        cuts |= {common_steps(history, other) for other in histories.values()}
        cuts |= {e for e in ends_known if e < total and node_key(history, e) in known}
        ordered = sorted(cuts)
        for cut in ordered[1:]:
            node(history, cut, ordered)
        chain: list[Segment] = []
        last: Segment | None = node(history, total, ordered)
        while last is not None and last is not root:
            chain.append(last)
            last = last.parent
        out[label] = chain[::-1]
    return out


def outline(segment: Segment) -> dict[str, Any]:
    """The part of a segment's manifest that :func:`grow` goes by."""
    return {
        "start_step": segment.start_step,
        "end_step": segment.end_step,
        "root": root_of(segment).key,
    }


# --- what is on disk --------------------------------------------------------------------


def known_segments(directory: Path, *, frame_steps: int, stamp: str) -> dict[str, dict[str, Any]]:
    """Manifests, by key, of the whole segments in a directory that serve the purpose.

    Segments that do not are named in the log and left out: those damaged, those kept with
    coarser frames than ``frame_steps``, and those reduced for another pore region or made
    from other system files (``stamp``, see :func:`reduction_stamp`).
    """
    out: dict[str, dict[str, Any]] = {}
    try:
        paths_there = sorted(directory.iterdir()) if directory.is_dir() else []
    except OSError as error:
        raise RunError(f"{directory} cannot be read: {error.strerror or error}") from error
    for path in paths_there:
        if path.name.startswith(".") or not path.is_dir():
            continue
        try:
            manifest = read_manifest(path)
        except RunError as error:
            log.warning("%s; it will be computed again where it is needed", error)
            continue
        why = unfit(manifest, frame_steps, stamp)
        if why:
            log.info("%s %s", path, why)
        else:
            out[path.name] = manifest
    return out


def unfit(manifest: Mapping[str, Any], frame_steps: int, stamp: str) -> str | None:
    """Why a whole segment does not serve the purpose, if it does not."""
    if manifest["kind_of_run"] in UNREDUCED:
        return None
    if manifest["frame_steps"] > frame_steps:
        return (
            f"kept frames every {manifest['frame_ps']:g} ps, coarser than is asked for now; "
            "it has to be run again for finer ones"
        )
    if manifest["stamp"] != stamp:
        return (
            "was reduced for another pore region or made from other system files; it has to be "
            "run again"
        )
    return None


def unfitness(system: BuiltSystem, run: RunSpec, segment: Segment) -> str | None:
    """Why a segment that is on disk has to be made again, if it has to."""
    try:
        manifest = read_manifest(segment.dir)
        check_state(segment.dir, manifest)
    except RunError as error:
        return str(error)
    return unfit(manifest, segment.frame_steps, reduction_stamp(system, run))


class _File(BaseModel):
    """A kept file in a manifest; ``sha256`` where its content is compared with it."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: str | None = None


class _Manifest(BaseModel):
    """What is read in a segment's manifest without looking whether it is there."""

    model_config = ConfigDict(strict=True)

    key: str
    kind_of_run: Kind
    root: str
    parent: str | None
    state: str
    stamp: str
    start_step: int
    end_step: int
    frame_steps: int
    frame_ps: float
    duration_ps: float
    field: dict[str, float]
    files: dict[Annotated[str, Field(pattern=r"^\w[\w.-]*$")], _File]


def read_manifest(directory: Path) -> dict[str, Any]:
    """A segment's manifest, after checking that its files are there and whole.

    The checkpoint is compared in size alone; see :func:`check_state`.

    Raises
    ------
    RunError
        If the segment is damaged.
    """
    try:
        manifest = json.loads((directory / "manifest.json").read_text("utf-8"))
        if not _unchanged(manifest):
            raise RunError(f"segment {directory} is damaged: manifest.json was changed")
        checked = _Manifest.model_validate(manifest)
        for name, about in checked.files.items():
            found = (directory / name).stat().st_size
            if found != about.bytes:
                raise RunError(
                    f"segment {directory} is damaged: {name} has {found} bytes and its manifest "
                    f"says {about.bytes}"
                )
            if about.sha256 and name != "state.cpt" and sha256(directory / name) != about.sha256:
                raise RunError(
                    f"segment {directory} is damaged: {name} does not match its checksum"
                )
        if checked.key != directory.name:
            raise RunError(f"segment {directory} holds the manifest of {checked.key}")
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, e["loc"])) or "all of it" for e in error.errors()[:5])
        raise RunError(f"segment {directory} is damaged: manifest.json, {wrong}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"segment {directory} is damaged: {str(error)[:200]}") from error
    return dict(manifest)


def check_state(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Compare a segment's checkpoint with its checksum, before continuing from it.

    Raises
    ------
    RunError
        If it is damaged.
    """
    about = manifest["files"].get("state.cpt", {})
    if sha256(directory / "state.cpt") != about.get("sha256"):
        raise RunError(f"segment {directory} is damaged: state.cpt does not match its checksum")


def reduction_stamp(system: BuiltSystem, run: RunSpec) -> str:
    """Hash of what a series depends on besides its molecular dynamics' key."""
    return key(system.manifest["files"], run.pore_half_length_nm, run.pore_radius_nm)


def sha256(path: Path) -> str:
    """Checksum of a file, taken once as long as the file is the same."""
    about = path.stat()
    return _sha256_of(path, about.st_ino, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _sha256_of(path: Path, *_: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- making one -------------------------------------------------------------------------

Reduce = Callable[[Segment, Path, Path, tuple[float, float]], None]
"""Reduces a segment's trajectory (second), or its part between two times in ps, to a series
(third)."""

Join = Callable[[Sequence[Path], Path], None]
"""Joins the series of a segment's chunks (first), in order, to one file (second)."""

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
    begun = _read_json(partial / "plan.json")
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
        _write_json(partial / "plan.json", plan | _inputs(partial))
    if _is_done(partial):
        return True
    if (partial / "done.json").exists():
        engine.say(f"{partial} is damaged; the segment begins again")
        _start_over(partial)
    ran = _read_json(partial / "ran.json")
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
            _write_json(partial / "ran.json", ran)
            if segment.kind not in UNREDUCED:
                _set_aside(partial, begin - segment.offset_steps, end)
                ran["aside"] = last
                _write_json(partial / "ran.json", ran)
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
    _write_json(partial / "done.json", {**about, "state_sha256": sha256(partial / "state.cpt")})


def _is_done(partial: Path) -> bool:
    """Whether a segment's dynamics is done and the state that it ended in is whole."""
    done = _read_json(partial / "done.json")
    with contextlib.suppress(FileNotFoundError):
        return done is not None and sha256(partial / "state.cpt") == done.get("state_sha256")
    return False


def _recorded_state(place: Path) -> str | None:
    """Checksum of the state that a segment ended in, whether it is finished or not."""
    if (done := _read_json(place / "done.json")) is not None:
        return str(done.get("state_sha256"))
    if (manifest := _read_json(place / "manifest.json")) is not None:
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
    if engine.keep_trajectory and segment.kind not in UNREDUCED:
        kept += _kept_trajectory(engine, segment)
    done = _read_json(partial / "done.json") or {}
    manifest = segment_manifest(engine, segment, done)
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
    _write_json(partial / "manifest.json", manifest)
    if segment.dir.is_dir():
        if _state_before(engine, segment) != manifest["state"]:
            _set_descendants_aside(engine, segment)
        _discard(segment.dir)
    partial.rename(segment.dir)


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


def _state_before(engine: Engine, segment: Segment) -> str | None:
    """Fingerprint of the state that a segment, now made again, ended in before."""
    before = _read_json(segment.dir / "manifest.json")
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
        if (manifest := _read_json(path)) is not None
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
    xtc = _join(engine, sorted(folder.glob("md.part*.xtc")))
    reduced = segment.partial / f"{folder.name.replace('chunk', 'series', 1)}.nc"
    if not reduced.exists():  # or this was stopped between writing it and deleting the chunk
        part = reduced.with_name("reduced.nc")
        engine.reduce(segment, xtc, part, times_ps)
        part.replace(reduced)
    energies = segment.partial / "energies.npy"
    rows = [load_energies(energies)] if energies.exists() else []
    *cut_short, last = sorted(folder.glob("md.part*.edr"))
    for edr in cut_short:  # a killed mdrun may have left no whole frame
        with contextlib.suppress(GromacsError):
            rows.append(read_energies(engine.gmx, edr))
    rows.append(read_energies(engine.gmx, last))
    stream = io.BytesIO()
    np.save(stream, by_time(rows).astype(np.float32))
    paths.write_whole(energies, stream.getvalue())
    if engine.keep_trajectory:
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
    if len(parts) == 1:
        parts[0][-1].rename(whole)
    else:
        engine.join([path for *_, path in parts], whole)


def _join(engine: Engine, parts: Sequence[Path]) -> Path:
    """One trajectory of several; where two overlap, the later one counts.

    A run that continued from a checkpoint repeats what the one before it wrote after that.
    """
    whole = parts[0].with_name("trajectory.xtc")
    whole.unlink(missing_ok=True)
    names = [p.name for p in parts if p.stat().st_size]
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
    reached = (_read_json(segment.partial / "ran.json") or _NOTHING_RAN)["reached"]
    step = max(gromacs.current_step(segment.partial) or 0, reached or 0)
    at = step - segment.offset_steps - segment.start_step
    return min(max(at, 0), segment.steps) * segment.dt_ps


def root_of(segment: Segment) -> Segment:
    """The start or settle segment that a segment's tree grows from."""
    while segment.kind not in FRESH and segment.parent is not None:
        segment = segment.parent
    return segment


def provenance(gmx: gromacs.Gmx) -> dict[str, Any]:
    """Software that made a result."""
    return {**_software(), "gmx_version": gmx.report}


@cache
def _software() -> dict[str, Any]:
    def version(name: str) -> str | None:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    names = ("numpy", "scipy", "xarray", "netCDF4", "MDAnalysis", "pydantic", "gmxapi")
    return {
        "janus_pore": __version__,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in names},
        "platform": platform.platform(),
    }


def git_commit() -> str | None:
    """Commit of the clone, with ``+`` if tracked files were changed."""
    try:
        root = paths.project_root()
        commands = (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        commit, changed = (
            subprocess.run(
                ["git", "-C", str(root), *c], capture_output=True, text=True, check=True, timeout=30
            ).stdout.strip()
            for c in commands
        )
    except (OSError, subprocess.SubprocessError, JanusPoreError):
        return None
    return commit + ("+" if changed else "")


def _read_json(path: Path) -> dict[str, Any] | None:
    """What :func:`_write_json` wrote; None if it is not there or was changed."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return data if _unchanged(data) else None


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    checked = {**data, "checksum": key(data)}
    paths.write_whole(path, json.dumps(checked, indent=1) + "\n")


def _unchanged(data: Any) -> bool:
    """Whether data is a mapping that matches its checksum, which is taken out of it.

    Manifests of the first version have none.
    """
    if not isinstance(data, dict):
        return False
    try:
        return bool(data.pop("checksum", None) in (None, key(data)))
    except (ValueError, RecursionError):
        return False
