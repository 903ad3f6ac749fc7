"""Orientation of the pore water: distributions, their width σθ, and how it relaxes.

Angles are those of a series' ``theta``: degrees from +x, NaN where there is no molecule.
The first axis of every array of angles is the independent unit, a replica or a cycle.

Three widths are offered. ``fit`` is the paper's: the standard deviation of a normal
distribution fitted by least squares to the probability density. ``direct`` is the root
mean square deviation from the circular mean, which needs no fit. ``wrapped`` is that of
the wrapped normal distribution with the same resultant length, sqrt(-2 ln R) (Mardia and
Jupp, Directional Statistics (2000), eq. 2.3.16): the width on the line of what appears
wrapped on the circle. They agree for narrow distributions. For a uniform one ``direct`` is
360°/√12 = 103.9°, ``wrapped`` is infinite, and ``fit`` is whatever the noise makes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import MeasureError
from .current import Direction, sweep_direction
from .statistics import (
    RESAMPLES,
    Band,
    Estimate,
    ExponentialFit,
    band,
    draw_sums,
    estimate,
    fit_exponential,
)

FloatArray = npt.NDArray[np.float64]
Width = Literal["fit", "direct", "wrapped"]

UNIFORM_SIGMA_DEG = 360 / math.sqrt(12)
"""``direct`` width of directions without any order."""
WIDEST_GAUSSIAN_DEG = 75.0
"""Width beyond which a normal distribution does not describe angles: at ±180° a wrapped
one then has more than a tenth of its peak's density, and its tails overlap."""
ANGLE_BINS = 120
VACUUM_FIELD_V_NM2_PER_DEBYE = 0.3767303
"""1/ε0 of one debye: a polarisation of 1 D/nm³ over ε0 is 0.377 V/nm."""


@dataclass(frozen=True)
class Orientation:
    """Distribution of directions with its fitted normal.

    Attributes
    ----------
    angle_deg : (bins,)
        Bin centres in (-180, 180).
    density_per_deg
        Probability density, (bins,) each with its interval.
    mean_deg
        Fitted mean μ, in (-180, 180] (its interval may reach beyond).
    sigma_deg
        Fitted standard deviation σθ.
    direct_deg, wrapped_deg
        The other two widths.
    resultant
        Length R of the mean direction's vector: 1 for one direction, 0 for none.
    identifiable, reason
        Whether a normal distribution describes the data, and if not, why.
    """

    angle_deg: FloatArray
    density_per_deg: Band
    mean_deg: Estimate
    sigma_deg: Estimate
    direct_deg: Estimate
    wrapped_deg: Estimate
    resultant: Estimate
    identifiable: bool
    reason: str

    def gaussian(self, angle_deg: npt.ArrayLike) -> FloatArray:
        """The fitted density, per degree, about the nearest image of μ."""
        away = wrap(np.asarray(angle_deg, dtype=float) - self.mean_deg.value)
        sigma = self.sigma_deg.value
        density: FloatArray = np.exp(-0.5 * (away / sigma) ** 2) / (math.sqrt(2 * math.pi) * sigma)
        return density


@dataclass(frozen=True)
class WidthCurve:
    """σθ against time or field, with the draws behind it.

    Attributes
    ----------
    at : (bins,)
        Time in ps or mean field in V/nm.
    sigma_deg
        (bins,) each.
    draws : (resamples + 1, bins)
    samples : (bins,)
        Molecules counted.
    """

    at: FloatArray
    sigma_deg: Band
    draws: FloatArray
    samples: FloatArray


def wrap(angle_deg: npt.ArrayLike) -> FloatArray:
    """Into (-180, 180]."""
    angle = np.asarray(angle_deg, dtype=float)
    # In one array, which for many histograms is several times faster than temporary ones.
    turned = np.empty_like(angle)
    np.divide(np.subtract(angle, 180, out=turned), 360, out=turned)
    np.multiply(np.ceil(turned, out=turned), -360, out=turned)
    np.minimum(np.add(turned, angle, out=turned), 180, out=turned)  # where -180 is rounded off
    wrapped: FloatArray = turned[()]
    return wrapped


def angle_counts(
    theta_deg: npt.ArrayLike,
    group: npt.ArrayLike,
    n_groups: int,
    bins: int = ANGLE_BINS,
) -> FloatArray:
    """Histograms of angles by unit and group.

    Parameters
    ----------
    theta_deg : (units, time, slot)
    group : (time,) or (units, time)
        Group of each frame, such as a bin of time or field; negative: left out.
    n_groups, bins
        Numbers of groups, and of angle bins over (-180, 180].

    Returns
    -------
    (units, n_groups, bins)
    """
    theta = np.asarray(theta_deg, dtype=float)
    units, frames, slots = theta.shape
    g = np.broadcast_to(np.asarray(group, dtype=int), (units, frames))
    unit = np.broadcast_to(np.arange(units)[:, None], (units, frames))
    use = np.isfinite(theta) & (g >= 0)[..., None]
    column = np.floor((wrap(theta[use]) + 180) * (bins / 360)).astype(int)
    row = np.broadcast_to((unit * n_groups + g)[..., None], (units, frames, slots))[use]
    flat = np.bincount(row * bins + np.minimum(column, bins - 1), minlength=units * n_groups * bins)
    table: FloatArray = flat.reshape(units, n_groups, bins).astype(float)
    return table


def bin_centres(bins: int) -> FloatArray:
    """Centres (bins,) of angle bins over (-180, 180], degrees."""
    return np.linspace(-180.0, 180.0, bins, endpoint=False) + 180 / bins


def resultant(counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean direction (degrees) and resultant length R of histograms (..., bins).

    NaN where there is no sample.
    """
    angles = np.radians(bin_centres(counts.shape[-1]))
    with np.errstate(invalid="ignore", divide="ignore"):
        vector = (counts @ np.exp(1j * angles)) / counts.sum(axis=-1)
    direction: FloatArray = np.degrees(np.angle(vector))
    return direction, np.abs(vector)


def direct_width(counts: FloatArray) -> FloatArray:
    """Root mean square deviation (degrees) from the circular mean of histograms (..., bins)."""
    mean, _ = resultant(counts)
    away = bin_centres(counts.shape[-1]) - mean[..., None]
    np.abs(away, out=away)
    np.minimum(away, 360 - away, out=away)  # the shorter way round
    squares = np.einsum("...i,...i,...i->...", counts, away, away)
    with np.errstate(invalid="ignore", divide="ignore"):
        width: FloatArray = np.sqrt(squares / counts.sum(axis=-1))
    return width


def wrapped_width(counts: FloatArray) -> FloatArray:
    """sqrt(-2 ln R) in degrees for histograms (..., bins); infinite without any order."""
    _, length = resultant(counts)
    with np.errstate(divide="ignore"):
        width: FloatArray = np.degrees(np.sqrt(-2 * np.log(np.minimum(length, 1.0))))
    return width


def gaussian_fit(counts: FloatArray, iterations: int = 60) -> tuple[FloatArray, FloatArray]:
    """Normal distributions fitted by least squares to probability densities.

    Parameters
    ----------
    counts : (..., bins)
        Histograms; each is turned so that its circular mean is at the centre before the
        fit, so that a distribution across ±180° is not cut.

    Returns
    -------
    mu_deg, sigma_deg : (...)
        NaN where a histogram is empty.

    Notes
    -----
    P(θ) = exp(-(θ - μ)²/2σ²)/(σ√(2π)) has two parameters and no free height. The sum of
    squares is brought down by Levenberg and Marquardt's method for all histograms at once,
    from the direct mean and width.
    """
    bins = counts.shape[-1]
    flat: FloatArray = counts.reshape(-1, bins)
    mean, _ = resultant(flat)
    x = wrap(bin_centres(bins) - mean[:, None])
    with np.errstate(invalid="ignore", divide="ignore"):
        density = flat / (flat.sum(axis=1, keepdims=True) * (360 / bins))
    good = np.isfinite(density).all(axis=1)
    density = np.where(good[:, None], density, 0.0)
    x = np.where(good[:, None], x, 0.0)
    mu = np.zeros(len(flat))
    # Started narrow: in a broad histogram the direct width is far up a flat slope.
    log_sigma = np.log(np.clip(np.where(good, direct_width(flat), 1.0), 360 / bins / 3, 60.0))

    def model(x: FloatArray, m: FloatArray, s: FloatArray) -> tuple[FloatArray, FloatArray]:
        scaled = (x - m[:, None]) * np.exp(-s)[:, None]
        return scaled, np.exp(-0.5 * scaled**2 - s[:, None]) / math.sqrt(2 * math.pi)

    def dot(p: FloatArray, q: FloatArray) -> FloatArray:
        out: FloatArray = np.einsum("ij,ij->i", p, q)
        return out

    # Of those that have not settled yet, which most do within a few steps.
    left = np.flatnonzero(good)
    x, density, m, s = x[left], density[left], mu[left], log_sigma[left]
    damping = np.full(len(left), 1e-3)
    scaled, value = model(x, m, s)
    residual = density - value
    cost = dot(residual, residual)
    for _ in range(iterations):
        # Derivatives by μ and by ln σ.
        by_mu = value * scaled * np.exp(-s)[:, None]
        by_sigma = value * (scaled**2 - 1)
        a, b, c = dot(by_mu, by_mu), dot(by_mu, by_sigma), dot(by_sigma, by_sigma)
        u, v = dot(by_mu, residual), dot(by_sigma, residual)
        a, c = a * (1 + damping) + 1e-300, c * (1 + damping) + 1e-300
        determinant = a * c - b * b
        step_mu = (c * u - b * v) / determinant
        step_sigma = np.clip((a * v - b * u) / determinant, -0.5, 0.5)
        new_scaled, new_value = model(x, m + step_mu, s + step_sigma)
        new_residual = density - new_value
        new_cost = dot(new_residual, new_residual)
        better = new_cost < cost
        mu[left] = m = np.where(better, m + step_mu, m)
        log_sigma[left] = s = np.where(better, s + step_sigma, s)
        scaled = np.where(better[:, None], new_scaled, scaled)
        value = np.where(better[:, None], new_value, value)
        residual = np.where(better[:, None], new_residual, residual)
        damping = np.clip(np.where(better, damping / 5, damping * 5), 1e-9, 1e9)
        cost = np.minimum(cost, new_cost)
        moving = np.abs(step_sigma) + np.abs(step_mu) * np.exp(-s) >= 1e-7
        if not moving.any():
            break
        left, x, density, m, s, damping, scaled, value, residual, cost = (
            each[moving]
            for each in (left, x, density, m, s, damping, scaled, value, residual, cost)
        )
    shape = counts.shape[:-1]
    sigma = np.where(good, np.exp(log_sigma), np.nan).reshape(shape)
    return wrap(np.where(good, mu + mean, np.nan)).reshape(shape), sigma


def widths(counts: FloatArray, width: Width) -> FloatArray:
    """One of the three widths (degrees) of histograms (..., bins).

    Raises
    ------
    MeasureError
        If ``width`` is none of them.
    """
    if width == "fit":
        return gaussian_fit(counts)[1]
    if width == "direct":
        return direct_width(counts)
    if width == "wrapped":
        return wrapped_width(counts)
    raise MeasureError(f"width = {width!r} is not known; use 'fit', 'direct' or 'wrapped'")


def orientation(
    theta_deg: npt.ArrayLike,
    *,
    bins: int = ANGLE_BINS,
    unit: str = "replicas",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Orientation:
    """Distribution of directions, its fitted normal and its other widths.

    Parameters
    ----------
    theta_deg : (units, time, slot)
        All frames are pooled; choose them before.

    Raises
    ------
    MeasureError
        If there is no water in the frames.
    """
    theta = np.asarray(theta_deg, dtype=float)
    counts = angle_counts(theta, np.zeros(theta.shape[1], dtype=int), 1, bins)[:, 0]
    if not counts.any():
        raise MeasureError("there is no pore water in the chosen frames; choose others")
    units, method = len(theta), f"bootstrap over {len(theta)} {unit}"
    draws = draw_sums(counts, resamples=resamples, seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        density = draws / (draws.sum(axis=1, keepdims=True) * (360 / bins))
    mu, sigma = gaussian_fit(draws)
    mu = mu[0] + wrap(mu - mu[0])
    _, lengths = resultant(draws)
    sigma_estimate = estimate(sigma, units, method, positive=True)
    direction = estimate(mu, units, method)
    reason = ""
    if not sigma_estimate.enough:
        reason = f"not enough statistics (n = {units})"
    elif direction.high - direction.low > 180:
        reason = "no preferred direction"
    elif sigma_estimate.high > WIDEST_GAUSSIAN_DEG:
        reason = (
            f"as wide as {sigma_estimate.high:.0f}°: the tails overlap across ±180° and the "
            "distribution is nearly uniform"
        )
    return Orientation(
        angle_deg=bin_centres(bins),
        density_per_deg=band(density, units, method),
        mean_deg=direction,
        sigma_deg=sigma_estimate,
        direct_deg=estimate(direct_width(draws), units, method, positive=True),
        wrapped_deg=estimate(wrapped_width(draws), units, method, positive=True),
        resultant=estimate(lengths, units, method),
        identifiable=not reason,
        reason=reason,
    )


def sigma_against_time(
    theta_deg: npt.ArrayLike,
    time_ps: npt.ArrayLike,
    *,
    bin_ps: float | None = None,
    width: Width = "direct",
    bins: int = ANGLE_BINS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> WidthCurve:
    """σθ(t): molecules of all units pooled at each time.

    Parameters
    ----------
    theta_deg : (units, time, slot)
    time_ps : (time,)
    bin_ps
        Frames pooled to one point; by default each frame is its own.

    Raises
    ------
    MeasureError
        If some point holds no molecule; use longer bins then.
    """
    theta, t = np.asarray(theta_deg, dtype=float), np.asarray(time_ps, dtype=float)
    if bin_ps is None:
        group = np.arange(len(t))
    else:
        group = np.floor((t - t[0]) / bin_ps * (1 + 1e-9) + 1e-9).astype(int)
    n = int(group.max()) + 1
    frames = np.bincount(group, minlength=n)
    if not frames.all():
        raise MeasureError(f"bin_ps = {bin_ps:g} ps is shorter than the spacing of the frames")
    centres = np.bincount(group, weights=t, minlength=n) / frames
    return sigma_in_groups(
        theta, group, centres, width=width, bins=bins, resamples=resamples, seed=seed
    )


def sigma_against_field(
    theta_deg: npt.ArrayLike,
    field_V_per_nm: npt.ArrayLike,
    edges_V_per_nm: npt.ArrayLike,
    *,
    polarity: Literal[1, -1] = 1,
    width: Width = "direct",
    bins: int = ANGLE_BINS,
    unit: str = "replicas",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[Direction, WidthCurve]:
    """σθ(E) in the forward and the reverse sweep of one polarity.

    Parameters
    ----------
    theta_deg : (units, time, slot)
    field_V_per_nm : (time,)
        In the order of time, smooth: its slope tells the sweeps apart.
    edges_V_per_nm : (bins + 1,)
        Edges of bins in |E|, ascending; bins without a frame are left out.
    """
    theta, E = np.asarray(theta_deg, dtype=float), np.asarray(field_V_per_nm, dtype=float)
    edges = np.asarray(edges_V_per_nm, dtype=float)
    place = np.digitize(np.abs(E), edges) - 1
    place[np.abs(E) == edges[-1]] = len(edges) - 2
    place[(place >= len(edges) - 1) | (np.sign(E) != polarity)] = -1
    moving = sweep_direction(E)
    out: dict[Direction, WidthCurve] = {}
    sweeps: tuple[tuple[Direction, int], ...] = (("forward", 1), ("reverse", -1))
    for direction, sign in sweeps:
        chosen = np.where(moving == sign, place, -1)
        present, group = np.unique(chosen, return_inverse=True)
        group = group - (present[0] == -1)
        n = int(group.max()) + 1
        if n == 0:
            continue
        used = group >= 0
        centres = np.bincount(group[used], weights=E[used]) / np.bincount(group[used])
        out[direction] = sigma_in_groups(
            theta, group, centres, width=width, bins=bins, unit=unit, resamples=resamples, seed=seed
        )
    return out


def sigma_in_groups(
    theta_deg: npt.ArrayLike,
    group: npt.ArrayLike,
    at: npt.ArrayLike,
    *,
    width: Width = "direct",
    bins: int = ANGLE_BINS,
    unit: str = "replicas",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> WidthCurve:
    """σθ of groups of frames, molecules and units pooled in each.

    Parameters
    ----------
    theta_deg : (units, time, slot)
    group : (time,)
        Number of each frame's group, 0 to n - 1; negative: left out.
    at : (n,)
        What the groups are drawn against.

    Raises
    ------
    MeasureError
        If some group holds no molecule.
    """
    theta, centres = np.asarray(theta_deg, dtype=float), np.asarray(at, dtype=float)
    counts = angle_counts(theta, group, len(centres), bins)
    samples = counts.sum(axis=(0, 2))
    if not samples.all():
        raise MeasureError(
            f"no pore water in {int((samples == 0).sum())} of {len(centres)} bins; use longer ones"
        )
    draws = np.empty((resamples + 1, len(centres)))
    # A few bins at a time: the drawn histograms of all would not fit a small memory.
    for start in range(0, len(centres), 16):
        part = slice(start, start + 16)
        drawn = draw_sums(counts[:, part], resamples=resamples, seed=seed)
        draws[:, part] = widths(drawn, width)
    sigma = band(draws, len(theta), f"bootstrap over {len(theta)} {unit}", positive=True)
    return WidthCurve(centres, sigma, draws, samples)


def fit_relaxation(
    curve: WidthCurve, kind: Literal["decay", "growth"], *, start_ps: float | None = None
) -> ExponentialFit:
    """The paper's exponential through σθ(t).

    Parameters
    ----------
    curve
        From :func:`sigma_against_time`.
    kind
        ``decay``: A + B exp(-t/τ), water ordering after a step up; ``growth``:
        A + B (1 - exp(-t/τ)), relaxing after a step down.
    start_ps
        Time of the step, t = 0 of the fit; by default that of the first point. Earlier
        points are left out.
    """
    start = float(curve.at[0]) if start_ps is None else start_ps
    use = curve.at >= start - 1e-9
    return fit_exponential(
        curve.at[use] - start,
        curve.draws[:, use],
        kind,
        units=curve.sigma_deg.n_independent,
        method=curve.sigma_deg.method,
        weights=curve.samples[use],
    )


def lagging_width(
    time_ps: npt.ArrayLike,
    settled_deg: npt.ArrayLike,
    ordering_ps: npt.ArrayLike,
    relaxing_ps: npt.ArrayLike,
) -> FloatArray:
    """σθ(t) of water that follows a changing field by the time constants of steps.

    Parameters
    ----------
    time_ps : (time,)
        Ascending.
    settled_deg : (..., time)
        σ∞, the spread that the field of each time would lead to if it stayed.
    ordering_ps, relaxing_ps : (..., time)
        Time constants τ at that field, of a spread that falls and of one that rises.

    Returns
    -------
    (..., time) degrees; settled at the first time.

    Notes
    -----
    dσ/dt = (σ∞ - σ)/τ, solved exactly for a σ∞ that is constant from time to time. Where the field
    changes little within τ the spread lags by τ dσ∞/dt, so that the two sweeps of a loop differ
    by (τ_ordering + τ_relaxing) dσ∞/dt.
    """
    t, settled, up, down = (
        np.asarray(v, dtype=float) for v in (time_ps, settled_deg, ordering_ps, relaxing_ps)
    )
    between = 0.5 * (settled[..., 1:] + settled[..., :-1])
    steps = np.diff(t)
    keeps_up, keeps_down = np.exp(-steps / up[..., 1:]), np.exp(-steps / down[..., 1:])
    out = np.empty_like(settled)
    out[..., 0] = settled[..., 0]
    for k in range(len(steps)):
        away = out[..., k] - between[..., k]
        kept = np.where(away > 0, keeps_up[..., k], keeps_down[..., k])
        out[..., k + 1] = between[..., k] + away * kept
    return out


def polarisation(
    dipole_x_debye: npt.ArrayLike, *, half_length_nm: float, radius_nm: float
) -> FloatArray:
    """Dipole per volume P = Σμ/(2 π a² h) of the pore region, D/nm³; any shape."""
    volume = 2 * half_length_nm * math.pi * radius_nm**2
    return np.asarray(dipole_x_debye, dtype=float) / volume


def reaction_field(
    dipole_x_debye: npt.ArrayLike,
    *,
    half_length_nm: float,
    radius_nm: float,
    x_nm: npt.ArrayLike = 0.0,
) -> FloatArray:
    """Field on the pore's axis that its ordered water makes, V/nm along x.

    Parameters
    ----------
    dipole_x_debye
        Total dipole of the pore water along x, any shape.
    half_length_nm, radius_nm
        The pore region's.
    x_nm
        Where on the axis, from the pore's centre; broadcast with the dipole.

    Notes
    -----
    The water counts as a uniformly polarised cylinder: its two end faces carry ±P per area
    (Griffiths, Introduction to Electrodynamics, 4th ed. (2013), eq. 4.11), and the field of
    a charged disc on its axis (there, problem 2.6) gives

    .. math:: E(x) = \\frac{P}{2\\varepsilon_0}\\left(\\frac{x + h}{\\sqrt{(x + h)^2 + a^2}}
        - \\frac{x - h}{\\sqrt{(x - h)^2 + a^2}} - 2\\,[|x| < h]\\right)

    with h half the length and a the radius. It opposes the dipole inside and follows it
    outside. This is the macroscopic field; at the place of one molecule among others that
    surround it evenly it is larger by Lorentz's P/3ε0.
    """
    x, h, a = np.asarray(x_nm, dtype=float), half_length_nm, radius_nm
    shape = (x + h) / np.hypot(x + h, a) - (x - h) / np.hypot(x - h, a) - 2.0 * (np.abs(x) < h)
    P = polarisation(dipole_x_debye, half_length_nm=h, radius_nm=a)
    return np.asarray(0.5 * VACUUM_FIELD_V_NM2_PER_DEBYE * P * shape)
