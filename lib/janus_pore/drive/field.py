"""Applied electric fields: waveforms as segments that GROMACS can run, and E(t) for plots.

GROMACS knows one form, with t the simulation time,

.. math:: E(t) = E_0 \\cos(\\omega (t - t_0)) \\exp\\left(-\\frac{(t - t_0)^2}{2\\sigma^2}\\right),

but with sigma = 0, its sign for "no envelope", t0 is silently ignored. A sine therefore
carries an envelope so wide (:data:`NO_ENVELOPE_PS`) that it is one to single precision.
Everything else is a chain of constant fields.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import SpecError
from ..spec import (
    Constant,
    GaussianPulse,
    PulseTrain,
    Sampled,
    Sine,
    Step,
    Waveform,
    validated,
)

FloatArray = npt.NDArray[np.float64]

NO_ENVELOPE_PS = 1e9
"""Width of an envelope that is no envelope. Over the longest run accepted, 1e6 ps, it
differs from 1 by 5e-7; its square still fits a single-precision float."""

_SHORTEST_PS = 0.0125  # 25 steps of the shortest time step
_EDGE_PS = 1e-6
"""Times this close to a segment's edge are taken to lie on it."""


@dataclass(frozen=True)
class FieldSegment:
    """One stretch of field in GROMACS's own form; ``t0_ps`` counts from its beginning."""

    duration_ps: float
    E0_V_per_nm: float
    omega_per_ps: float = 0.0
    t0_ps: float = 0.0
    sigma_ps: float = 0.0

    @property
    def constant(self) -> bool:
        """Whether the field does not change in time."""
        return self.omega_per_ps == 0 and self.sigma_ps == 0

    def at(self, t_ps: npt.ArrayLike) -> FloatArray:
        """Field in V/nm at times (n,) in ps since the segment's beginning."""
        t = np.asarray(t_ps, dtype=float) - self.t0_ps
        wave = self.E0_V_per_nm * np.cos(self.omega_per_ps * t)
        if self.sigma_ps > 0:
            wave = wave * np.exp(-(t**2) / (2 * self.sigma_ps**2))
        return np.asarray(wave, dtype=float)


def segments(waveform: Waveform) -> list[FieldSegment]:
    """The chain of segments that makes a waveform; equal constant neighbours are merged.

    A sine or a Gaussian pulse is one segment. A sampled field takes on each step the mean
    of the straight lines between its samples, which keeps the impulse ∫E dt exact;
    :func:`sampling_error` gives what that costs in E(t).
    """
    match waveform:
        case Constant():
            chain = [FieldSegment(waveform.duration_ps, waveform.field_V_per_nm)]
        case Sine():
            omega = 2 * math.pi * waveform.frequency_GHz * 1e-3
            quarter = math.pi / 2 - math.radians(waveform.phase_deg)
            chain = [
                FieldSegment(
                    waveform.cycles / waveform.frequency_GHz * 1e3,
                    waveform.amplitude_V_per_nm,
                    omega,
                    quarter / omega,
                    NO_ENVELOPE_PS,
                )
            ]
        case Step():
            chain = [
                FieldSegment(waveform.from_ps, waveform.from_V_per_nm),
                FieldSegment(waveform.to_ps, waveform.to_V_per_nm),
            ]
        case PulseTrain():
            pulse = FieldSegment(waveform.width_ps, waveform.pulse_V_per_nm)
            delay = FieldSegment(waveform.delay_ps, waveform.delay_V_per_nm)
            prepare = FieldSegment(waveform.prepare_ps, waveform.prepare_V_per_nm)
            chain = [prepare, pulse, *([delay, pulse] * (waveform.pulses - 1))]
        case GaussianPulse():
            chain = [
                FieldSegment(
                    waveform.duration_ps,
                    waveform.peak_V_per_nm,
                    0.0,
                    waveform.centre_ps,
                    waveform.width_ps,
                )
            ]
        case Sampled():
            edges, means = _sampled_steps(waveform)
            chain = [FieldSegment(d, E) for d, E in zip(np.diff(edges), means, strict=True)]
    merged: list[FieldSegment] = []
    for part in chain:
        last = merged[-1] if merged else None
        if part.duration_ps == 0:
            continue
        if last and last.constant and part.constant and last.E0_V_per_nm == part.E0_V_per_nm:
            merged[-1] = FieldSegment(last.duration_ps + part.duration_ps, part.E0_V_per_nm)
        else:
            merged.append(part)
    return merged


def duration_ps(waveform: Waveform) -> float:
    """Length of a waveform, ps."""
    return math.fsum(part.duration_ps for part in segments(waveform))


def field_at(waveform: Waveform | Sequence[FieldSegment], t_ps: npt.ArrayLike) -> FloatArray:
    """Field of a waveform, V/nm.

    Parameters
    ----------
    waveform
        A waveform, or its segments in order.
    t_ps
        Times (n,) in ps since the waveform's beginning. At an edge the new field holds;
        at the very end the last one; outside there is no field.

    Returns
    -------
    numpy.ndarray
        Field (n,) along +x, V/nm.
    """
    chain = list(waveform) if isinstance(waveform, Sequence) else segments(waveform)
    t = np.atleast_1d(np.asarray(t_ps, dtype=float))
    edges = np.concatenate([[0.0], np.cumsum([part.duration_ps for part in chain])])
    which = np.clip(np.searchsorted(edges, t + _EDGE_PS, side="right") - 1, 0, len(chain) - 1)
    inside = (t > -_EDGE_PS) & (t < edges[-1] + _EDGE_PS)
    field = np.zeros_like(t)
    for i, part in enumerate(chain):
        here = inside & (which == i)
        field[here] = part.at(t[here] - edges[i])
    return field


def mdp_options(segment: FieldSegment, start_time_ps: float, axis: str = "x") -> dict[str, str]:
    """Options that make grompp apply a segment which begins at a given simulation time.

    Raises
    ------
    SpecError
        If the segment oscillates or peaks without an envelope, which GROMACS would run
        with t0 = 0, or if the axis is not x, y or z.
    """
    if axis not in ("x", "y", "z"):
        raise SpecError(f"axis = {axis!r} must be 'x', 'y' or 'z'")
    if segment.constant:
        values = (segment.E0_V_per_nm, 0.0, 0.0, 0.0)
    elif segment.sigma_ps > 0:
        t0 = start_time_ps + segment.t0_ps
        values = (segment.E0_V_per_nm, segment.omega_per_ps, t0, segment.sigma_ps)
    else:
        raise SpecError(
            f"sigma_ps = {segment.sigma_ps:g} with omega_per_ps = {segment.omega_per_ps:g}: "
            "GROMACS ignores t0 unless sigma is positive; use NO_ENVELOPE_PS for a plain cosine"
        )
    return {f"electric-field-{axis}": " ".join(f"{value:.10g}" for value in values)}


def read_sampled(path: Path | str, step_ps: float | None = None) -> Sampled:
    """Read a waveform from a text file of two columns, time in ps and field in V/nm.

    Parameters
    ----------
    path
        Columns apart by spaces, tabs, commas or semicolons; ``#`` begins a comment. Times
        start at 0 and increase.
    step_ps
        Length of the constant pieces; by default the shortest interval in the file.

    Raises
    ------
    SpecError
        Naming the file, the line and what is wrong.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"waveform file {path} cannot be read: {error}") from error
    rows: list[tuple[float, float]] = []
    for number, line in enumerate(lines, start=1):
        words = line.split("#")[0].replace(",", " ").replace(";", " ").split()
        if not words:
            continue
        try:
            time, field = map(float, words)
        except ValueError:
            raise SpecError(
                f"waveform file {path}, line {number}: {line.strip()!r} is not two numbers, "
                "time in ps and field in V/nm; begin a line of words with #"
            ) from None
        rows.append((time, field))
    if len(rows) < 2:
        raise SpecError(
            f"waveform file {path} holds {len(rows)} samples; give at least two lines of "
            "time in ps and field in V/nm"
        )
    times, fields = zip(*rows, strict=True)
    if 0 < times[-1] < _SHORTEST_PS:
        raise SpecError(
            f"waveform file {path} lasts {times[-1]:g} ps, less than any run; times are in ps, of "
            "which a second has 1e12"
        )
    if step_ps is None:
        step_ps = min((b - a for a, b in itertools.pairwise(times) if b > a), default=1.0)
    data = {"times_ps": times, "fields_V_per_nm": fields, "step_ps": step_ps}
    return validated(Sampled, data, f"waveform file {path}")


def sampling_error(waveform: Sampled) -> float:
    """Largest |E(t) - applied E|, V/nm, that the piecewise-constant steps make.

    E(t) is taken as straight lines between the samples.
    """
    edges, means = _sampled_steps(waveform)
    knots = np.union1d(waveform.times_ps, edges)
    values = np.interp(knots, waveform.times_ps, waveform.fields_V_per_nm)
    # A straight line is furthest from a constant at its ends; every knot ends two lines.
    left = np.clip(np.searchsorted(edges, knots, side="left") - 1, 0, len(means) - 1)
    right = np.clip(np.searchsorted(edges, knots, side="right") - 1, 0, len(means) - 1)
    return float(np.max(np.maximum(np.abs(values - means[left]), np.abs(values - means[right]))))


def _sampled_steps(waveform: Sampled) -> tuple[FloatArray, FloatArray]:
    """Edges (n + 1,) in ps and the mean field (n,) in V/nm of each step."""
    end = waveform.times_ps[-1]
    edges = np.arange(math.ceil(end / waveform.step_ps - 1e-9)) * waveform.step_ps
    edges = np.append(edges, end)
    knots = np.union1d(waveform.times_ps, edges)
    values = np.interp(knots, waveform.times_ps, waveform.fields_V_per_nm)
    pieces = np.diff(knots) * (values[1:] + values[:-1]) / 2
    impulse = np.interp(edges, knots, np.concatenate([[0.0], np.cumsum(pieces)]))
    means: FloatArray = np.diff(impulse) / np.diff(edges)
    return np.asarray(edges, dtype=float), means
