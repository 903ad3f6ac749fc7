"""Uncertainty: one bootstrap for every observable, correlation times, exponential fits.

Every observable here is a function of sums over independent units: replicas, or cycles
or blocks of time where replicas are few. :func:`draw_sums` draws the units with
replacement and returns the sums, the original in row 0; the observable is then computed
for all rows at once and :func:`band` or :func:`estimate` turns the rows into an interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import MeasureError

FloatArray = npt.NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 1000
FEWEST_UNITS = 3
"""With fewer independent units than this no interval is worth stating."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval and what stands behind it.

    ``enough`` is False where the interval cannot be trusted or is unbounded: the answer
    is then "not enough statistics", whatever ``value`` says.
    """

    value: float
    low: float
    high: float
    n_independent: float
    method: str

    @property
    def enough(self) -> bool:
        """Whether value and interval are finite and rest on enough independent samples."""
        numbers = (self.value, self.low, self.high)
        return all(map(math.isfinite, numbers)) and self.n_independent >= FEWEST_UNITS

    def excludes(self, reference: float) -> bool:
        """Whether the interval is trustworthy and lies wholly on one side of ``reference``."""
        return self.enough and not self.low <= reference <= self.high

    def within(self, lowest: float = -math.inf, highest: float = math.inf) -> Estimate:
        """The same, its interval cut off at the least and the most that the quantity can be."""
        return replace(self, low=max(self.low, lowest), high=min(self.high, highest))

    def __str__(self) -> str:
        if not self.enough:
            return f"not enough statistics (n = {self.n_independent:.3g})"
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True)
class Band:
    """A curve with its pointwise interval; arrays of one shape."""

    value: FloatArray
    low: FloatArray
    high: FloatArray
    n_independent: float
    method: str

    def at(self, index: Any) -> Estimate:
        """One point of the curve."""
        return Estimate(
            float(self.value[index]),
            float(self.low[index]),
            float(self.high[index]),
            self.n_independent,
            self.method,
        )

    def part(self, index: Any) -> Band:
        """Some points of the curve, chosen along its last axis."""
        value, low, high = (v[..., index] for v in (self.value, self.low, self.high))
        return Band(value, low, high, self.n_independent, self.method)


@dataclass(frozen=True)
class ExponentialFit:
    """``a + b exp(-t/tau)`` (``decay``) or ``a + b (1 - exp(-t/tau))`` (``growth``).

    ``identifiable`` is False where the data do not fix ``tau``; ``reason`` then says why.
    """

    kind: Literal["decay", "growth"]
    a: Estimate
    b: Estimate
    tau: Estimate
    identifiable: bool
    reason: str

    def curve(self, time: FloatArray) -> FloatArray:
        """The fitted function at ``time`` (any shape, in the unit of ``tau``)."""
        falling = np.exp(-np.asarray(time, dtype=float) / self.tau.value)
        return self.a.value + self.b.value * (falling if self.kind == "decay" else 1 - falling)


def draw_sums(per_unit: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> FloatArray:
    """Sums over units drawn with replacement.

    Parameters
    ----------
    per_unit : (units, ...)
        What each independent unit contributes, such as a numerator and its count.
    resamples, seed
        Number of draws and the seed that fixes them. The same seed and number of units
        give the same draws, so that quantities of the same replicas stay paired.

    Returns
    -------
    (resamples + 1, ...)
        Row 0 is the sum over the units as they are, the other rows over the drawn units.

    Raises
    ------
    MeasureError
        If there is no unit.
    """
    values = np.asarray(per_unit, dtype=float)
    n = len(values)
    if n == 0:
        raise MeasureError("nothing to resample: there is no replica, cycle or block")
    rng = np.random.default_rng(seed)
    weights = np.ones((resamples + 1, n))
    weights[1:] = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    return np.tensordot(weights, values, axes=1)


LARGEST_LOG = 700.0
"""exp of more than this is no number."""


def band(
    draws: FloatArray,
    units: float,
    method: str,
    confidence: float = CONFIDENCE,
    *,
    positive: bool = False,
) -> Band:
    """Interval of each column of ``draws``.

    Parameters
    ----------
    draws : (resamples + 1, ...)
        The observable for each row of :func:`draw_sums`. Draws that are not finite are
        left out; where more than a tail's worth of them are, the bound is infinite.
    units
        Number of independent units.
    method
        What was resampled, for the reader.
    positive
        Whether it is a scale, such as a width or a time, that is positive by definition. Its
        interval is found for its logarithm, where it is nearly symmetric, and never reaches
        zero; draws that are not positive count as not finite.

    Notes
    -----
    Percentiles of the draws about the estimate, their distance from it widened by

    .. math:: \\frac{t_{n-1}}{z} \\sqrt{\\frac{n}{n-1}}

    with Student's t and the normal quantile z: the percentile bootstrap is too narrow by
    these two factors when there are few units (Hesterberg, Am. Stat. 69, 371 (2015)). One
    unit, or draws that never vary, give no interval (NaN).
    """
    if positive:
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = band(np.log(draws), units, method, confidence)
        low, high = (
            np.exp(np.where(np.isinf(v), v, np.minimum(v, LARGEST_LOG)))
            for v in (logs.low, logs.high)
        )
        return Band(np.asarray(draws[0]), low, high, units, method)
    value, rest = draws[0], draws[1:]
    tail = (1 - confidence) / 2
    if units < 2:
        unknown = np.full(value.shape, np.nan)
        return Band(np.asarray(value), unknown, unknown.copy(), units, method)
    widen = stats.t.ppf(1 - tail, units - 1) / stats.norm.ppf(1 - tail)
    widen *= math.sqrt(units / (units - 1))
    usable = np.isfinite(rest)
    center = np.where(np.isfinite(value), value, np.nan)
    # nanquantile goes through the columns one by one, so it gets only those that need it.
    whole = usable.all(axis=0)
    limits = np.quantile(np.where(whole, rest, 0.0), (tail, 1 - tail), axis=0)
    partial = usable.any(axis=0) & ~whole
    if partial.any():
        some = np.where(usable, rest, np.nan)[:, partial]
        limits[:, partial] = np.nanquantile(some, (tail, 1 - tail), axis=0)
    low, high = limits
    low, high = center - widen * (center - low), center + widen * (high - center)
    # An interval that stands on one value only says nothing about the scatter.
    still = (np.where(usable, rest, center) == center).all(axis=0)
    low, high = np.where(still, np.nan, low), np.where(still, np.nan, high)
    unbounded = (~usable).mean(axis=0) > tail
    low, high = np.where(unbounded, -np.inf, low), np.where(unbounded, np.inf, high)
    return Band(np.asarray(value), low, high, units, method)


def estimate(
    draws: FloatArray,
    units: float,
    method: str,
    confidence: float = CONFIDENCE,
    *,
    positive: bool = False,
) -> Estimate:
    """:func:`band` of a single number: ``draws`` has shape (resamples + 1,)."""
    return band(draws[:, None], units, method, confidence, positive=positive).at(0)


def mean(per_unit: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Mean over independent units (units,) with its bootstrap interval."""
    values = np.asarray(per_unit, dtype=float)
    draws = draw_sums(values, resamples=resamples, seed=seed) / len(values)
    return estimate(draws, len(values), f"bootstrap over {len(values)} replicas")


def difference(a: Estimate, b: Estimate) -> Estimate:
    """a - b of two estimates that are independent of each other.

    Notes
    -----
    The interval's half-widths are the root sums of squares of the distances from each value to
    that end of its interval which makes the difference smaller or larger, so that skewed intervals
    stay skewed (Zou and Donner, Stat. Med. 27, 1693 (2008)). It is that of two normal
    distributions where both intervals are symmetric.
    """
    low = math.hypot(a.value - a.low, b.high - b.value)
    high = math.hypot(a.high - a.value, b.value - b.low)
    value = a.value - b.value
    units = min(a.n_independent, b.n_independent)
    return Estimate(value, value - low, value + high, units, "difference of independent intervals")


def zero_count_bound(confidence: float = CONFIDENCE) -> float:
    """Largest mean that leaves a Poisson count of zero the tail's probability (3.69 at 95 %).

    Garwood, Biometrika 28, 437 (1936), two-sided.
    """
    return -math.log((1 - confidence) / 2)


def fit_exponential(
    time: FloatArray,
    draws: FloatArray,
    kind: Literal["decay", "growth"],
    *,
    units: float,
    method: str,
    weights: FloatArray | None = None,
    steps_per_decade: int = 60,
) -> ExponentialFit:
    """Least-squares exponential with intervals from the draws of the whole curve.

    Parameters
    ----------
    time : (n,)
        From the beginning of the relaxation; the unit is that of the result's ``tau``.
    draws : (resamples + 1, n)
        The curve for each bootstrap draw, the estimate itself in row 0.
    kind
        ``decay``: a + b exp(-t/τ); ``growth``: a + b (1 - exp(-t/τ)).
    units, method
        As for :func:`band`.
    weights : (n,), optional
        Inverse variances of the points; equal by default. Points of weight zero are
        ignored.

    Returns
    -------
    ExponentialFit
        Not ``identifiable`` if b's interval reaches zero or τ's leaves the range that the
        data cover: from half the smallest spacing to the whole duration.

    Raises
    ------
    MeasureError
        If there are fewer than four usable points.

    Notes
    -----
    For a given τ the model is linear in a and b, so the residual is known in closed form
    (variable projection, Golub and Pereyra 1973); it is scanned over τ on a logarithmic
    grid, and a parabola through the lowest three points gives τ between grid points.
    """
    t = np.asarray(time, dtype=float)
    w = np.ones(len(t)) if weights is None else np.asarray(weights, dtype=float)
    use = (w > 0) & np.isfinite(draws).all(axis=0)
    if use.sum() < 4:
        raise MeasureError(
            f"an exponential needs at least 4 points and has {int(use.sum())}; use finer bins "
            "or more replicas"
        )
    t, w, y = t[use], w[use] / w[use].sum(), draws[:, use]
    spacing, span = float(np.diff(np.unique(t)).min()), float(t.max() - t.min())
    shortest, longest = spacing / 4, 8 * span
    grid = np.geomspace(
        shortest, longest, int(steps_per_decade * math.log10(longest / shortest)) + 2
    )
    shape = np.exp(-t / grid[:, None])
    shape_mean = shape @ w
    centred = shape - shape_mean[:, None]
    norm = (centred**2) @ w
    gain = (((y - (y @ w)[:, None]) * w) @ centred.T) ** 2 / norm
    best = gain.argmax(axis=1)
    inner = np.clip(best, 1, len(grid) - 2)
    rows = np.arange(len(y))
    left, middle, right = (gain[rows, inner + k] for k in (-1, 0, 1))
    curvature = left - 2 * middle + right
    shift = np.where(
        (best == inner) & (curvature < 0),
        0.5 * (left - right) / np.where(curvature, curvature, 1.0),
        best - inner,
    )
    tau = grid[inner] * (grid[1] / grid[0]) ** shift

    shape = np.exp(-t / tau[:, None])
    shape_mean = shape @ w
    centred = shape - shape_mean[:, None]
    b = (centred * y) @ w / ((centred**2) @ w)
    a = y @ w - b * shape_mean
    if kind == "growth":
        a, b = a + b, -b
    result_a, result_b = (estimate(v, units, method) for v in (a, b))
    result_tau = estimate(tau, units, method, positive=True)
    reason = ""
    if not (result_b.enough and result_tau.enough):
        reason = f"not enough statistics (n = {units:.3g})"
    elif not result_b.excludes(0.0):
        reason = "the amplitude is not different from zero"
    elif result_tau.low < spacing / 2:
        reason = "the relaxation may be faster than the spacing of the points"
    elif result_tau.high > span:
        reason = "the relaxation may be slower than the time covered"
    return ExponentialFit(kind, result_a, result_b, result_tau, not reason, reason)


STRETCHES = np.geomspace(0.25, 4.0, 33)
"""Exponents β that are tried; one at either end means that none in between fits."""


@dataclass(frozen=True)
class RelaxationForm:
    """Whether relaxations are exponential, from rivals of the exponential.

    Attributes
    ----------
    stretch
        β of exp(-(t/τ)^β), one for all curves: 1 if they are exponential.
    power_law
        χ² of 1/(1 + t/τ), which has as many parameters, minus that of the exponential:
        positive where the exponential fits better. Half of it is the difference of the log
        likelihoods, and all of it the difference of Akaike's criteria.
    curves
        How many curves it rests on.
    """

    stretch: Estimate
    power_law: Estimate
    curves: int


def relaxation_form(
    curves: Sequence[tuple[FloatArray, FloatArray]],
    *,
    units: float,
    method: str,
    steps_per_decade: int = 25,
) -> RelaxationForm:
    """Compare the exponential with a stretched one and with a power law.

    Parameters
    ----------
    curves
        For each, times (n,) from the beginning of the relaxation and bootstrap draws
        (resamples + 1, n) of it, drawn from the same units. Each curve has its own
        amplitude, level and τ; β is common to all.
    units, method
        As for :func:`band`.

    Raises
    ------
    MeasureError
        If there is no curve, or one of fewer than five points.

    Notes
    -----
    For given β and τ the model is linear in the other two parameters (variable projection,
    as in :func:`fit_exponential`); τ is scanned. A curve's squares are divided by the mean
    variance of its points, so that curves add up as χ². All of it is done for each draw,
    which makes the intervals.
    """
    if not curves or min(len(t) for t, _ in curves) < 5:
        raise MeasureError("the form of a relaxation needs a curve of at least 5 points")
    stretched: FloatArray = np.zeros((len(curves[0][1]), len(STRETCHES)))
    plain, power = np.zeros((2, len(stretched)))
    for time, draws in curves:
        t = np.asarray(time, dtype=float)
        noise = float(draws[1:].var(axis=0).mean()) or 1.0
        deviation = draws - draws.mean(axis=1, keepdims=True)
        total = (deviation**2).sum(axis=1)
        spacing, span = float(np.diff(t).min()), float(np.ptp(t))
        shortest, longest = spacing / 4, 8 * span
        count = int(steps_per_decade * math.log10(longest / shortest)) + 2
        scaled = t / np.geomspace(shortest, longest, count)[:, None]

        def misfit(
            shape: FloatArray,
            deviation: FloatArray = deviation,
            total: FloatArray = total,
            noise: float = noise,
        ) -> FloatArray:
            """χ² of each draw at the best τ for shapes (τ, n)."""
            centred = shape - shape.mean(axis=1, keepdims=True)
            norm = (centred**2).sum(axis=1)
            gain = (deviation @ centred.T) ** 2 / np.where(norm > 1e-12, norm, np.inf)
            return np.asarray((total - gain.max(axis=1)) / noise)

        for k, beta in enumerate(STRETCHES):
            stretched[:, k] += misfit(np.exp(-(scaled**beta)))
        plain += misfit(np.exp(-scaled))
        power += misfit(1 / (1 + scaled))
    best = np.clip(stretched.argmin(axis=1), 1, len(STRETCHES) - 2)
    rows = np.arange(len(stretched))
    left, middle, right = (stretched[rows, best + k] for k in (-1, 0, 1))
    curvature = left - 2 * middle + right
    shift = np.where(curvature > 0, (left - right) / np.where(curvature, 2 * curvature, 1.0), 0.0)
    stretch = STRETCHES[best] * (STRETCHES[1] / STRETCHES[0]) ** np.clip(shift, -1, 1)
    return RelaxationForm(
        estimate(stretch, units, method, positive=True),
        estimate(power - plain, units, method),
        len(curves),
    )
