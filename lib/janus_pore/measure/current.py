"""Current from transferred charge, current-field loops, and what is read from them.

The first axis of every array of currents is the independent unit: a replica, or a cycle
of one (:func:`cut_cycles`). ``forward`` is |E| rising, ``reverse`` |E| falling, for
both polarities; "outward" current is I·sign(E), positive along the field.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.integrate import cumulative_trapezoid

from ..errors import MeasureError
from .statistics import (
    FEWEST_UNITS,
    RESAMPLES,
    Band,
    Estimate,
    band,
    draw_sums,
    estimate,
    zero_count_bound,
)

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]
Direction = Literal["forward", "reverse"]
Polarity = Literal[1, -1]

NANOAMPERE_PER_E_PER_PS = 160.2176634
"""One elementary charge per picosecond (CODATA 2018, exact)."""
STRICT_CONFIDENCE = 0.99
"""Confidence for a fall of the current from a maximum that the same data chose."""
RELEVANT_DROP = 0.1
"""Fall of the current beyond its maximum, relative to the maximum, that counts as negative
differential resistance when it is judged absent."""
RELEVANT_GAP = 0.1
"""Opening of a loop at E = 0, relative to its largest mean |I|, below which it is pinched."""


@dataclass(frozen=True)
class Branch:
    """One sweep of one polarity: current against field, with what its draws need.

    Attributes
    ----------
    field_V_per_nm : (bins,)
        Mean applied field in each bin, |E| rising.
    current_nA
        Mean current and its interval, (bins,) each.
    draws : (resamples + 1, bins)
        The bootstrap draws behind it.
    """

    direction: Direction
    polarity: Polarity
    field_V_per_nm: FloatArray
    current_nA: Band
    draws: FloatArray

    @property
    def outward(self) -> FloatArray:
        """Draws of the current along the field, I·sign(E)."""
        return self.polarity * self.draws


@dataclass(frozen=True)
class Onset:
    """Where negative differential resistance begins.

    Attributes
    ----------
    onset_V_per_nm
        Signed field at which the smoothed outward current is largest.
    confirmed_V_per_nm
        First field beyond it at which dI/d|E| < 0 with confidence; NaN if there is none.
    drop
        Fall from the maximum to the end of the sweep, relative to the maximum.
    verdict
        ``found``, ``not found`` or ``not enough statistics``.
    draws : (resamples + 1,)
        Bootstrap draws of the onset.
    """

    onset_V_per_nm: Estimate
    confirmed_V_per_nm: float
    drop: Estimate
    verdict: Literal["found", "not found", "not enough statistics"]
    draws: FloatArray


@dataclass(frozen=True)
class Pinch:
    """Currents at E = 0, as the field rises and as it falls through zero."""

    rising_nA: Estimate
    falling_nA: Estimate
    gap_nA: Estimate
    relative_gap: Estimate
    verdict: Literal["pinched", "open", "not enough statistics"]


def windowed_change(
    values: npt.ArrayLike, time_ps: FloatArray, window_ps: float, *, step_ps: float | None = None
) -> tuple[FloatArray, FloatArray]:
    """Change of a cumulative quantity over each window, and the windows' centres.

    Parameters
    ----------
    values : (..., n)
        Sampled at ``time_ps``; interpolated linearly to the windows' ends.
    time_ps : (n,)
    window_ps
        Length of a window.
    step_ps
        From one window to the next; by default ``window_ps``, so that no two overlap.

    Returns
    -------
    (m,), (..., m)

    Raises
    ------
    MeasureError
        If a window is shorter than the spacing of the frames or longer than the series.
    """
    x, t = np.asarray(values, dtype=float), np.asarray(time_ps, dtype=float)
    spacing = float(np.diff(t).max()) if len(t) > 1 else np.inf
    duration = float(t[-1] - t[0])
    if not spacing * (1 - 1e-6) <= window_ps <= duration * (1 + 1e-6):
        raise MeasureError(
            f"current_window_ps = {window_ps:g} ps must lie between the spacing of the frames "
            f"({spacing:g} ps) and the length of the series ({duration:g} ps)"
        )
    step = window_ps if step_ps is None else step_ps
    count = int((duration - window_ps) / step * (1 + 1e-9) + 1e-6) + 1
    starts = t[0] + step * np.arange(count)
    change = interpolate(x, t, starts + window_ps) - interpolate(x, t, starts)
    return starts + window_ps / 2, change


def interpolate(values: FloatArray, time: FloatArray, at: FloatArray) -> FloatArray:
    """Linear interpolation along the last axis."""
    right = np.clip(np.searchsorted(time, at), 1, len(time) - 1)
    share = (at - time[right - 1]) / (time[right] - time[right - 1])
    share = np.clip(share, 0.0, 1.0)
    result: FloatArray = values[..., right - 1] * (1 - share) + values[..., right] * share
    return result


def current_from_charge(
    charge_e: npt.ArrayLike,
    time_ps: FloatArray,
    window_ps: float,
    *,
    step_ps: float | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Mean current in windows of the transferred charge.

    Parameters
    ----------
    charge_e : (..., n)
        Cumulative charge, such as a series' ``charge``.
    time_ps : (n,)
    window_ps, step_ps
        As for :func:`windowed_change`.

    Returns
    -------
    centre_ps : (m,)
    current_nA : (..., m)
        [Q(t + δt) - Q(t)]/δt for windows δt: for the ``box`` estimator this is
        (1/Lx) Σ q_i [x_i(t + δt) - x_i(t)]/δt.
    """
    centre, change = windowed_change(charge_e, time_ps, window_ps, step_ps=step_ps)
    return centre, NANOAMPERE_PER_E_PER_PS * change / window_ps


def window_average(
    values: npt.ArrayLike, time_ps: FloatArray, window_ps: float
) -> tuple[FloatArray, FloatArray]:
    """Time average over the windows of :func:`current_from_charge` (trapezoids)."""
    x, t = np.asarray(values, dtype=float), np.asarray(time_ps, dtype=float)
    integral = cumulative_trapezoid(x, t, initial=0)
    centre, change = windowed_change(integral, t, window_ps)
    return centre, change / window_ps


def split_charging(quantity: npt.ArrayLike, axis: int = 0) -> tuple[FloatArray, FloatArray]:
    """Transport through the pore and charging of the reservoirs.

    Parameters
    ----------
    quantity
        Charge or current with the estimators (box, pore, crossings) along ``axis``.

    Returns
    -------
    transport, charging
        The ``pore`` estimator, and ``box`` minus ``pore``: the rate of Σ q [x/Lx - c(x)/w] with
        c(x) the part of x inside the slab of width w, a charge stored between its faces and the
        ions that is bounded over long times, where transport is not. An ion inside the slab
        counts in it too, with the other sign.
    """
    x = np.asarray(quantity, dtype=float)
    box, pore = np.take(x, 0, axis=axis), np.take(x, 1, axis=axis)
    return pore, box - pore


def cut_cycles(values: npt.ArrayLike, time_ps: npt.ArrayLike, period_ps: float) -> FloatArray:
    """Whole cycles of every replica.

    Parameters
    ----------
    values : (replicas, ..., n)
        Windows or frames along the last axis; what lies beyond the last whole cycle is left out.
    time_ps : (n,)
        Of the windows or frames. Where some are farther apart than others, as where a longer run
        continues one with finer frames, those on the wider grid are used. A cycle's first is
        that at its beginning or the next one, so that cycles are in phase to within one, exactly
        where the period is a multiple of the spacing.
    period_ps
        Of the field. A series shorter than that is one cycle.

    Returns
    -------
    (replicas, cycles, ..., samples of a cycle)

    Raises
    ------
    MeasureError
        If the samples have no such grid, or are farther apart than a period.
    """
    x, t = np.asarray(values, dtype=float), np.asarray(time_ps, dtype=float)
    spacing = float(np.diff(t).max())
    grid = t[0] + spacing * np.arange(int((t[-1] - t[0]) / spacing + 1e-3) + 1)
    taken = np.searchsorted(t, grid - 1e-3 * spacing)
    if np.abs(t[taken] - grid).max() > 1e-3 * spacing:
        raise MeasureError(
            f"cycles need evenly spaced samples, and these are {np.diff(t).min():g} to "
            f"{spacing:g} ps apart without a common grid; run the protocol with another frame_ps"
        )
    x, t = x[..., taken], t[taken]
    per_cycle = period_ps / spacing
    cycles = max(1, int(len(t) / per_cycle + 1e-6))
    length = min(int(per_cycle + 1e-6), len(t))
    if length == 0:
        raise MeasureError(
            f"samples every {spacing:g} ps cannot show cycles of {period_ps:g} ps; use shorter "
            "windows or frames"
        )
    starts = np.ceil(per_cycle * np.arange(cycles) - 1e-6).astype(int)
    starts = starts[starts + length <= len(t)]
    return np.stack([x[..., s : s + length] for s in starts], axis=1)


def cycles_as_units(cycles: FloatArray) -> FloatArray:
    """Independent units (units, ...) from cycles (replicas, cycles, ...).

    A replica's mean cycle is one: its cycles are not independent where something in it lasts,
    such as an ion in the pore. Only of fewer than :data:`~.statistics.FEWEST_UNITS` replicas each
    cycle is one, for an interval that is then too narrow rather than none.
    """
    if len(cycles) >= FEWEST_UNITS:
        mean: FloatArray = cycles.mean(axis=1)
        return mean
    return cycles.reshape(-1, *cycles.shape[2:])


def window_of_cycles(window_ps: float, period_ps: float) -> float:
    """The shortest window, ps, of at least ``window_ps`` of which a period holds whole ones.

    Raises
    ------
    MeasureError
        If a window is not positive or longer than a quarter of the period.
    """
    if not 0 < window_ps <= period_ps / 4:
        raise MeasureError(
            f"current_window_ps = {window_ps:g} must be above 0 and at most a quarter of the "
            f"period of {period_ps:g} ps, {period_ps / 4:g}"
        )
    return period_ps / max(1, int(period_ps / window_ps + 1e-6))


def carried_on(
    values: npt.ArrayLike, time_ps: npt.ArrayLike, end_ps: float
) -> tuple[FloatArray, FloatArray]:
    """A series (..., n) and its times (n,), linearly carried on to ``end_ps`` if that is less than
    a frame away: frames need not fall on the end of the last cycle."""
    x, t = np.asarray(values, dtype=float), np.asarray(time_ps, dtype=float)
    share = (end_ps - t[-1]) / (t[-1] - t[-2])
    if not 1e-6 < share < 1:
        return x, t
    last = x[..., -1:] + share * (x[..., -1:] - x[..., -2:-1])
    return np.concatenate([x, last], axis=-1), np.append(t, end_ps)


def sweep_direction(field_V_per_nm: npt.ArrayLike) -> npt.NDArray[np.int8]:
    """+1 where |E| rises along the last axis (forward), -1 where it falls (reverse), else 0."""
    slope = np.gradient(np.abs(np.asarray(field_V_per_nm, dtype=float)), axis=-1)
    slope[np.abs(slope) < 1e-12] = 0
    signs: npt.NDArray[np.int8] = np.sign(slope).astype(np.int8)
    return signs


def sweep(
    field_V_per_nm: npt.ArrayLike,
    current_nA: npt.ArrayLike,
    edges_V_per_nm: npt.ArrayLike,
    *,
    unit: str = "replicas",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[tuple[Polarity, Direction], Branch]:
    """Current against field by polarity and sweep direction.

    Parameters
    ----------
    field_V_per_nm : (windows,) or (units, windows)
        Mean field in each window, in the order of time.
    current_nA : (units, windows)
    edges_V_per_nm : (bins + 1,)
        Edges of bins in |E|, ascending.
    unit
        What the first axis is, for the reader.

    Returns
    -------
    dict
        By (polarity, direction), polarity +1 or -1. Bins without a window are left out;
        branches without a bin are absent.
    """
    I = np.atleast_2d(np.asarray(current_nA, dtype=float))  # noqa: E741
    E = np.broadcast_to(np.asarray(field_V_per_nm, dtype=float), I.shape)
    edges = np.asarray(edges_V_per_nm, dtype=float)
    n_bins = len(edges) - 1
    which = np.digitize(np.abs(E), edges) - 1
    which[np.abs(E) == edges[-1]] = n_bins - 1
    directions = sweep_direction(E)
    units = np.broadcast_to(np.arange(len(I))[:, None], I.shape)
    out: dict[tuple[Polarity, Direction], Branch] = {}
    polarities: tuple[Polarity, ...] = (1, -1)
    signs: tuple[tuple[Direction, int], ...] = (("forward", 1), ("reverse", -1))
    for polarity in polarities:
        for direction, sign in signs:
            use = (which >= 0) & (which < n_bins) & (np.sign(E) == polarity) & (directions == sign)
            place = units[use] * n_bins + which[use]
            sums = np.stack(
                [
                    np.bincount(place, weights=w, minlength=len(I) * n_bins).reshape(len(I), n_bins)
                    for w in (np.ones(use.sum()), I[use], E[use])
                ],
                axis=1,
            )
            filled = sums[:, 0].sum(axis=0) > 0
            if not filled.any():
                continue
            drawn = draw_sums(sums[..., filled], resamples=resamples, seed=seed)
            with np.errstate(invalid="ignore", divide="ignore"):
                currents = drawn[:, 1] / drawn[:, 0]
            out[polarity, direction] = Branch(
                direction,
                polarity,
                drawn[0, 2] / drawn[0, 0],
                band(currents, len(I), f"bootstrap over {len(I)} {unit}"),
                currents,
            )
    return out


def ndr_onset(
    branch: Branch, *, bandwidth_V_per_nm: float | None = None, points: int = 201
) -> Onset:
    """Where, and whether, the current falls with rising |E|.

    The outward current is smoothed against |E| by local quadratic regression; its maximum
    within the sweep is the onset, with an interval from the draws. Negative differential
    resistance is *found* if beyond the onset the slope dI/d|E| is below zero with
    confidence and the current at the end of the sweep is lower than at the onset with
    :data:`STRICT_CONFIDENCE`; it is
    *not found* if a drop by more than :data:`RELEVANT_DROP` of the maximum can be excluded;
    otherwise there is not enough statistics.

    Parameters
    ----------
    branch
        At least six bins; bins empty in some draws are left out.
    bandwidth_V_per_nm
        Half-width of the (tricube) smoothing kernel; by default a third of the sweep.
    points
        Fields at which the smoothed curve is evaluated.
    """
    J = branch.outward
    E = np.abs(branch.field_V_per_nm)
    usable = np.isfinite(J).all(axis=0)
    J, E = J[:, usable], E[usable]
    units, method = branch.current_nA.n_independent, branch.current_nA.method
    nothing = Estimate(np.nan, np.nan, np.nan, units, method)
    if len(E) < 6:
        return Onset(nothing, np.nan, nothing, "not enough statistics", np.full(len(J), np.nan))
    width = (E[-1] - E[0]) / 3 if bandwidth_V_per_nm is None else bandwidth_V_per_nm
    grid = np.linspace(E[0], E[-1], points)
    smooth, slope = _local_quadratic(E, grid, width)
    curves, slopes = J @ smooth.T, J @ slope.T
    at = curves.argmax(axis=1)
    rows = np.arange(len(J))
    top = curves[rows, at]
    onsets = branch.polarity * grid[at]
    onset = estimate(onsets, units, method)
    lowest, highest = sorted((branch.polarity * float(E[0]), branch.polarity * float(E[-1])))
    onset = onset.within(lowest, highest)
    with np.errstate(invalid="ignore", divide="ignore"):
        fall = np.where(top > 0, (top - curves[:, -1]) / top, np.nan)
    drop = estimate(fall, units, method)
    upper = band(slopes, units, method).high
    falling = (np.arange(points) > at[0]) & (upper < 0)
    confirmed = branch.polarity * grid[int(np.argmax(falling))] if falling.any() else np.nan

    # The maximum was chosen because it is high, so that a fall from it proves little: the
    # place is kept for all draws and the test is stricter than the interval.
    falls = curves[:, at[0]] - curves[:, -1]
    spread = falls[1:].std() * math.sqrt(units / (units - 1)) if units > 1 else math.inf
    margin = stats.t.ppf(0.5 + STRICT_CONFIDENCE / 2, max(units - 1, 1)) * spread
    positive = estimate(top, units, method)
    verdict: Literal["found", "not found", "not enough statistics"] = "not enough statistics"
    if positive.enough and positive.low > 0:
        if falling.any() and falls[0] > margin:
            verdict = "found"
        # Draws that all agree have no interval, and are told by their own largest.
        elif (drop.high if drop.enough else np.nanmax(fall[1:])) < RELEVANT_DROP:
            verdict = "not found"
    return Onset(onset, float(confirmed), drop, verdict, onsets)


def threshold_asymmetry(
    positive: Branch, negative: Branch, *, bandwidth_V_per_nm: float | None = None
) -> tuple[Estimate, FloatArray]:
    """How much further out negative differential resistance begins for -E than for +E.

    Parameters
    ----------
    positive, negative
        Branches of one sweep direction and the same units.
    bandwidth_V_per_nm
        As for :func:`ndr_onset`.

    Returns
    -------
    estimate
        |onset at -E| - |onset at +E|, V/nm; not a number unless both onsets are *found*.
    draws : (resamples + 1,)
    """
    plus, minus = (
        ndr_onset(b, bandwidth_V_per_nm=bandwidth_V_per_nm) for b in (positive, negative)
    )
    draws = np.abs(minus.draws) - np.abs(plus.draws)
    if not plus.verdict == minus.verdict == "found":
        draws = np.full_like(draws, np.nan)
    units, method = positive.current_nA.n_independent, positive.current_nA.method
    return estimate(draws, units, method), draws


def _local_quadratic(
    x: FloatArray, grid: FloatArray, width: float
) -> tuple[FloatArray, FloatArray]:
    """Matrices (grid, x) that give value and slope of a local quadratic regression.

    Tricube weights (Cleveland, J. Am. Stat. Assoc. 74, 829 (1979)); the kernel widens
    where fewer than four points lie within it.
    """
    away = x - grid[:, None]
    distance = np.abs(away)
    fourth = np.sort(distance, axis=1)[:, min(4, len(x) - 1)]
    reach = np.maximum(width, 1.01 * fourth)[:, None]
    root = np.sqrt(np.clip(1 - (distance / reach) ** 3, 0, None) ** 3)
    design = np.stack([np.ones_like(away), away, away**2], axis=2)
    inverse: FloatArray = np.asarray(np.linalg.pinv(root[..., None] * design), dtype=np.float64)
    solution = inverse * root[:, None, :]
    return solution[:, 0], solution[:, 1]


def loop_area(
    field_V_per_nm: npt.ArrayLike,
    current_nA: npt.ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[Literal["positive", "negative", "whole"], Estimate]:
    """Signed area ∮ I dE of the loop, in nA·V/nm, for each polarity and in all.

    Parameters
    ----------
    field_V_per_nm : (windows,)
        Mean field in each window over one whole cycle, in the order of time.
    current_nA : (units, windows)

    Notes
    -----
    Positive: |I| is larger in the forward sweep, the loop runs clockwise with I drawn
    over E, in either polarity. Per polarity it is the integral of the difference of the
    branches over |E|.
    """
    I = np.atleast_2d(np.asarray(current_nA, dtype=float))  # noqa: E741
    E = np.asarray(field_V_per_nm, dtype=float)
    following = np.roll(E, -1)
    middle = 0.5 * (I + np.roll(I, -1, axis=1))
    # A step through E = 0 belongs to both polarities, each with its part of it.
    parts = np.stack(
        [
            (middle * (np.clip(following, low, high) - np.clip(E, low, high))).sum(axis=1)
            for low, high in ((0, np.inf), (-np.inf, 0), (-np.inf, np.inf))
        ],
        axis=1,
    )
    draws = draw_sums(parts, resamples=resamples, seed=seed) / len(I)
    method = f"bootstrap over {len(I)} replicas"
    names: tuple[Literal["positive", "negative", "whole"], ...] = ("positive", "negative", "whole")
    return {name: estimate(draws[:, i], len(I), method) for i, name in enumerate(names)}


def pinch(
    field_V_per_nm: npt.ArrayLike,
    current_nA: npt.ArrayLike,
    *,
    near_V_per_nm: float | None = None,
    event_ps: float | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Pinch:
    """Whether the loop is pinched at the origin.

    Parameters
    ----------
    field_V_per_nm : (windows,)
        In the order of time, over whole cycles.
    current_nA : (units, windows)
    near_V_per_nm
        Windows with |E| up to this are used, by default a tenth of the largest, and in
        any case the two nearest to zero of each quarter of a cycle.
    event_ps
        Time that a window covers, where the current is that of single ions: a passage that is
        likely in the windows near zero, but was not seen in them, then widens the gap.

    Returns
    -------
    Pinch
        ``rising_nA`` and ``falling_nA`` are the currents at E = 0 of two straight lines
        that meet there, through the windows near it, as E rises and as E falls;
        ``gap_nA`` is their difference, which a capacitor in parallel makes 2 C dE/dt.
        *Pinched* if the gap's interval holds zero and stays within :data:`RELEVANT_GAP` of
        the largest |I| of the loop, smoothed as for :func:`ndr_onset` and drawn with the gap;
        *open* if it excludes zero.

    Raises
    ------
    MeasureError
        If a quarter of the cycle holds fewer than two windows.
    """
    I = np.atleast_2d(np.asarray(current_nA, dtype=float))  # noqa: E741
    E = np.asarray(field_V_per_nm, dtype=float)
    slope = np.gradient(E)
    near = 0.1 * float(np.abs(E).max()) if near_V_per_nm is None else near_V_per_nm
    columns, fewest = [], len(E)
    for side in (slope > 0, slope < 0):
        quarters = [np.sort(np.abs(E[side & (np.sign(E) == sign)])) for sign in (1, -1)]
        if min(map(len, quarters)) < 2:
            raise MeasureError(
                "fewer than two windows lie in a quarter of the cycle, too few to find the "
                "current at E = 0; shorten the windows"
            )
        reach = max(near, *(1.001 * float(q[1]) for q in quarters))
        chosen = np.flatnonzero(side & (np.abs(E) <= reach))
        # The slope may change at E = 0, as it does where forward and reverse differ.
        design = np.stack(
            [np.ones(len(chosen)), np.clip(E[chosen], 0, None), np.clip(E[chosen], None, 0)], axis=1
        )
        columns.append(I[:, chosen] @ np.linalg.pinv(design)[0])
        fewest = min(fewest, len(chosen))
    drawn = draw_sums(np.hstack([np.stack(columns, axis=1), I]), resamples=resamples, seed=seed)
    draws, loops = np.split(drawn / len(I), [2], axis=1)
    largest = np.max(
        [np.abs(_smoothed(E, loops, side & (np.sign(E) == sign))).max(axis=1)
         for side in (slope > 0, slope < 0) for sign in (1, -1)], axis=0,
    )  # fmt: skip
    method = f"bootstrap over {len(I)} replicas"
    rising, falling = (estimate(draws[:, i], len(I), method) for i in (0, 1))
    gap_draws = draws[:, 0] - draws[:, 1]
    gap = estimate(gap_draws, len(I), method)
    relative = estimate(gap_draws / np.where(largest, largest, np.nan), len(I), method)
    unseen = 0.0
    if event_ps is not None:
        unseen = NANOAMPERE_PER_E_PER_PS * zero_count_bound() / (len(I) * fewest * event_ps)
    least = max(abs(relative.low), abs(relative.high), unseen / (largest[0] or np.nan))
    verdict: Literal["pinched", "open", "not enough statistics"] = "not enough statistics"
    if gap.excludes(0.0):
        verdict = "open"
    elif relative.enough and least < RELEVANT_GAP:
        verdict = "pinched"
    return Pinch(rising, falling, gap, relative, verdict)


def _smoothed(E: FloatArray, I: FloatArray, chosen: npt.NDArray[np.bool_]) -> FloatArray:  # noqa: E741
    """Current of one branch (draws, fields), smoothed over a third of its fields."""
    x = np.abs(E[chosen])
    if len(x) < 6:
        return I[:, chosen]
    smooth, _ = _local_quadratic(x, np.linspace(x.min(), x.max(), 51), float(np.ptp(x)) / 3)
    return np.asarray(I[:, chosen] @ smooth.T)


def asymmetry(positive: Branch, negative: Branch) -> tuple[FloatArray, Band, Estimate]:
    """How much more current flows for +E than for -E.

    Returns
    -------
    field_V_per_nm : (bins,)
        Fields |E| at which both branches are compared: those of ``positive`` within the
        range of ``negative``, or less than a quarter of a bin beyond it.
    difference
        (J₊ - J₋)/(largest J) with J the outward current, at each field.
    overall
        (∫J₊ - ∫J₋)/(∫J₊ + ∫J₋) over |E|.

    Raises
    ------
    MeasureError
        If the polarities share fewer than two fields.
    """
    E_plus, E_minus = np.abs(positive.field_V_per_nm), np.abs(negative.field_V_per_nm)
    # The frames of one bin differ a little in their mean field, if only by rounding.
    slack = 0.25 * float(np.diff(E_plus).min()) if len(E_plus) > 1 else 0.0
    use = (E_plus >= E_minus[0] - slack) & (E_plus <= E_minus[-1] + slack)
    E = E_plus[use]
    if len(E) < 2:
        raise MeasureError("the two polarities share fewer than two fields; use the same bins")
    plus = positive.outward[:, use]
    minus = interpolate(negative.outward, E_minus, E)
    units, method = positive.current_nA.n_independent, positive.current_nA.method
    scale = max(float(np.abs(plus[0]).max()), float(np.abs(minus[0]).max()), 1e-300)
    areas = [np.trapezoid(J, E, axis=1) for J in (plus, minus)]
    with np.errstate(invalid="ignore", divide="ignore"):
        overall = (areas[0] - areas[1]) / (areas[0] + areas[1])
    return E, band((plus - minus) / scale, units, method), estimate(overall, units, method)


def response(field_V_per_nm: npt.ArrayLike, current_nA: npt.ArrayLike) -> ComplexArray:
    """Current at the frequency of a periodic field, per field: the complex conductance.

    Parameters
    ----------
    field_V_per_nm : (windows,)
        Over one whole cycle, evenly spaced in time.
    current_nA : (..., windows)

    Returns
    -------
    (...,) complex, nA per V/nm
        Real where the current follows the field (a conductor), positive imaginary where it
        is a quarter of a cycle ahead, as C dE/dt is (a capacitor, ω C).

    Raises
    ------
    MeasureError
        If the field has no part at the cycle's frequency.
    """
    E = np.asarray(field_V_per_nm, dtype=float)
    turn = np.exp(-2j * np.pi * np.arange(len(E)) / len(E))
    field = complex(E @ turn)
    if abs(field) < 1e-12 * len(E):
        raise MeasureError(
            "the field has no part at the cycle's frequency; give one whole cycle of a sine"
        )
    result: ComplexArray = np.asarray(current_nA, dtype=float) @ turn / field
    return result


def share(
    part: ComplexArray,
    whole: ComplexArray,
    *,
    paired: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Share of one current in another at the drive's frequency.

    Parameters
    ----------
    part : (units,)
        From :func:`response`.
    whole : (units,)
        What it is a part of, or compared with.
    paired
        Whether both are of the same units; otherwise they are resampled apart.

    Notes
    -----
    Re(Y_part Y_whole*)/|Y_whole|², the projection of one amplitude on the other: in phase
    and in size. Shares of parts that add up to the whole add up to one.
    """
    drawn = []
    for values, own_seed in ((part, seed), (whole, seed if paired else seed + 1)):
        columns = np.stack([values.real, values.imag], axis=1)
        sums = draw_sums(columns, resamples=resamples, seed=own_seed) / len(values)
        drawn.append(sums[:, 0] + 1j * sums[:, 1])
    square = np.abs(drawn[1]) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(square > 0, (drawn[0] * drawn[1].conj()).real / square, np.nan)
    units = min(len(part), len(whole))
    return estimate(shares, units, f"bootstrap over {units} replicas")


def constant_field_branch(
    field_V_per_nm: npt.ArrayLike,
    current_nA: npt.ArrayLike,
    polarity: Polarity,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Branch:
    """Steady currents at constant fields of one sign as a branch, with no history in it.

    Parameters
    ----------
    field_V_per_nm : (fields,)
    current_nA : (units, fields)
        Mean current of each unit at each field.
    """
    E, I = np.asarray(field_V_per_nm, float), np.atleast_2d(np.asarray(current_nA, float))  # noqa: E741
    order = np.argsort(np.abs(E))
    drawn = draw_sums(I[:, order], resamples=resamples, seed=seed) / len(I)
    method = f"bootstrap over {len(I)} replicas"
    return Branch("forward", polarity, E[order], band(drawn, len(I), method), drawn)


def steady_current(
    charge_e: npt.ArrayLike,
    time_ps: FloatArray,
    *,
    discard_ps: float = 0.0,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Mean current (nA) at a constant field.

    Parameters
    ----------
    charge_e : (units, n)
        Transferred charge of each replica.
    discard_ps
        Left out at the beginning of every unit, while the reservoirs charge.

    Raises
    ------
    MeasureError
        If ``discard_ps`` leaves nothing.

    Notes
    -----
    Where no unit transferred anything (no crossings) the bootstrap cannot know the error;
    the interval is then that of a Poisson count of zero single charges in the whole time.
    """
    Q = np.atleast_2d(np.asarray(charge_e, dtype=float))
    t = np.asarray(time_ps, dtype=float)
    start = int(np.searchsorted(t, t[0] + discard_ps - 1e-6))
    if start >= len(t) - 1:
        raise MeasureError(
            f"discard_ps = {discard_ps:g} ps leaves nothing of {t[-1] - t[0]:g} ps; lower it"
        )
    duration = float(t[-1] - t[start])
    moved = Q[:, -1] - Q[:, start]
    if not moved.any():
        bound = NANOAMPERE_PER_E_PER_PS * zero_count_bound() / (duration * len(Q))
        # Such a bound needs no scatter between units, so one unit is enough for it.
        n = max(len(Q), FEWEST_UNITS)
        return Estimate(0.0, -bound, bound, n, f"Poisson, no event in {len(Q)} replicas")
    draws = draw_sums(moved, resamples=resamples, seed=seed) / (len(Q) * duration)
    method = f"bootstrap over {len(Q)} replicas"
    return estimate(NANOAMPERE_PER_E_PER_PS * draws, len(Q), method)
