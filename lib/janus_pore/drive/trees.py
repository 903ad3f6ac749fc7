"""The tree of molecular dynamics: what its segments are, before anything is run.

Every replica is a tree that grows from its equilibrated root state at time 0. A node is a
state; its key is the hash of the root's key and of the whole field history since, with
equal neighbouring stretches merged. So a node does not depend on where the way to it was
cut: protocols that begin alike share their molecular dynamics, a longer delay continues a
shorter one, and another chunk length, frame interval or number of threads changes nothing.
A segment is the way from one node to the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..build.system import BuiltSystem
from ..errors import SpecError
from ..spec import RunSpec, Sine, Waveform, key, replica_seed
from . import gromacs
from .field import FieldSegment, segments

RELAX_PS = 2.0
"""Length of the v-rescale run between minimisation and the equilibration proper: after a
minimisation Nosé-Hoover alone would ring."""
UNREDUCED = ("start", "settle")
"""Kinds of segment whose trajectory is of no interest."""
FRESH = (*UNREDUCED, "window")
"""Kinds of segment that do not continue a checkpoint: they begin with velocities anew."""
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


def steps_of(duration_ps: float, run: RunSpec, what: str) -> int:
    """A duration in steps, which must be a multiple of :data:`gromacs.STRIDE`.

    Raises
    ------
    SpecError
        Naming the nearest durations that are.
    """
    quantum = gromacs.STRIDE * run.dt_fs / 1000
    n = duration_ps / quantum
    rounding = 1e-6 + 1e-15 * n
    if abs(n - round(n)) > rounding or (duration_ps > 0 and round(n) == 0):
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


_FIELDS = RunSpec.model_fields
DEFAULT_REGION_NM = (_FIELDS["pore_half_length_nm"].default, _FIELDS["pore_radius_nm"].default)


def physics_key(system: BuiltSystem, run: RunSpec) -> str:
    """Key of everything that all runs of a system with these settings share.

    Series of another pore region than the default one have runs of their own: they could not
    lie in the same place.
    """
    region = (run.pore_half_length_nm, run.pore_radius_nm)
    others = () if region == DEFAULT_REGION_NM else region
    options = gromacs.physics_options(system.spec, run)
    return key("start", system.manifest["key"], options, RELAX_PS, *others)


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


def root_of(segment: Segment) -> Segment:
    """The start or settle segment that a segment's tree grows from."""
    while segment.kind not in FRESH and segment.parent is not None:
        segment = segment.parent
    return segment
