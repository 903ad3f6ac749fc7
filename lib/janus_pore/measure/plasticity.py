"""Pulse currents, paired-pulse ratios and their dependence on the delay.

The first axis is the replica; pulses of one replica stay together in the bootstrap, since
the first pulse is often shared by several delays.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import MeasureError
from ..spec import PulseTrain
from .current import NANOAMPERE_PER_E_PER_PS, interpolate
from .statistics import RESAMPLES, Band, ExponentialFit, band, draw_sums, fit_exponential

FloatArray = npt.NDArray[np.float64]


def pulse_windows(train: PulseTrain) -> FloatArray:
    """Beginning and end of each pulse, (pulses, 2), ps from the replica's root state."""
    starts = train.prepare_ps + (train.width_ps + train.delay_ps) * np.arange(train.pulses)
    return np.stack([starts, starts + train.width_ps], axis=1)


def pulse_currents(
    charge_e: npt.ArrayLike, time_ps: npt.ArrayLike, windows_ps: npt.ArrayLike
) -> FloatArray:
    """Mean current in each pulse, nA.

    Parameters
    ----------
    charge_e : (..., n)
        Transferred charge, such as a series' ``charge`` (any estimator and species).
    time_ps : (n,)
    windows_ps : (pulses, 2)
        Beginning and end of each pulse; the charge is interpolated there.

    Returns
    -------
    (..., pulses)

    Raises
    ------
    MeasureError
        If a window reaches outside the series by more than half a frame.
    """
    Q, t = np.asarray(charge_e, dtype=float), np.asarray(time_ps, dtype=float)
    windows = np.asarray(windows_ps, dtype=float)
    slack = 0.5 * float(np.diff(t).max()) + 1e-6
    if windows.min() < t[0] - slack or windows.max() > t[-1] + slack:
        raise MeasureError(
            f"pulses from {windows.min():g} to {windows.max():g} ps reach outside the series, "
            f"which covers {t[0]:g} to {t[-1]:g} ps; give the windows of this protocol"
        )
    edges = np.clip(windows, t[0], t[-1])
    at_edges = interpolate(Q, t, edges)
    change = at_edges[..., 1] - at_edges[..., 0]
    currents: FloatArray = NANOAMPERE_PER_E_PER_PS * change / (edges[:, 1] - edges[:, 0])
    return currents


def ratios(
    currents_nA: npt.ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Band, FloatArray]:
    """Ratio of the mean currents I_n/I_0 of each pulse to the first.

    Parameters
    ----------
    currents_nA : (replicas, ..., pulses)
        Not averaged: the ratio is that of the means over replicas, because the mean of
        single replicas' ratios has no finite expectation.

    Returns
    -------
    ratio : Band
        (..., pulses) each; the first is 1 and exact, or not a number where no current was
        seen. Unbounded, which means "not enough statistics", where the interval of I_0 itself
        reaches zero (Fieller, J. R. Stat. Soc. B 16, 175 (1954): the set of ratios is then not
        an interval).
    draws : (resamples + 1, ..., pulses)
    """
    I = np.asarray(currents_nA, dtype=float)  # noqa: E741
    means = draw_sums(I, resamples=resamples, seed=seed) / len(I)
    method = f"bootstrap over {len(I)} replicas"
    first = band(means[..., 0], len(I), method)
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = means / means[..., :1]
    result = band(draws, len(I), method)
    low, high = result.low.copy(), result.high.copy()
    undefined = ~((first.low > 0) | (first.high < 0))
    low[undefined], high[undefined] = -np.inf, np.inf
    low[..., 0] = high[..., 0] = result.value[..., 0]
    return Band(result.value, low, high, len(I), method), draws


def fit_delays(
    delay_ps: npt.ArrayLike,
    ratio_draws: npt.ArrayLike,
    kind: Literal["facilitation", "depression"],
    *,
    replicas: int,
) -> ExponentialFit:
    """Memory time from the paired-pulse ratio against the delay.

    Parameters
    ----------
    delay_ps : (delays,)
    ratio_draws : (resamples + 1, delays)
        I_1/I_0 for each draw, such as the last column of :func:`ratios` for each delay,
        all with one seed so that replicas stay together.
    kind
        ``facilitation``: A0 + A1 exp(-Δt/τf); ``depression``: A0 + A1 (1 - exp(-Δt/τd)).
    replicas
        Number of independent replicas.

    Returns
    -------
    ExponentialFit
        ``a`` is A0, ``b`` A1, ``tau`` τf or τd in ps. Delays are weighted by the inverse
        variance of their draws, none more than a hundred times as much as the middle one.

    Raises
    ------
    MeasureError
        If ``kind`` is neither.
    """
    delay, draws = np.asarray(delay_ps, dtype=float), np.asarray(ratio_draws, dtype=float)
    if kind not in ("facilitation", "depression"):
        raise MeasureError(f"kind = {kind!r} is not known; use 'facilitation' or 'depression'")
    spread = draws[1:].std(axis=0)
    # A ratio that does not vary, or by rounding alone, is neither worthless nor certain: in a few
    # replicas no ion may have passed.
    varying = spread[spread > 1e-9 * np.abs(draws[0]).max()]
    least = 0.1 * float(np.median(varying)) if len(varying) else 0.0
    weights = np.maximum(spread, least) ** -2.0 if least else np.ones_like(spread)
    return fit_exponential(
        delay,
        draws,
        "decay" if kind == "facilitation" else "growth",
        units=replicas,
        method=f"bootstrap over {replicas} replicas",
        weights=weights,
    )
