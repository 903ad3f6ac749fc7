"""Translocation barriers from mean forces, their parts, and the conductance they leave.

A barrier is Δω = -∫⟨F(x)⟩dx from the position r1 of the energy's minimum to that, r2, of
its maximum. With forces resolved by source, the same integral over each part, at the same
r1 and r2, gives the parts of the barrier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.integrate import cumulative_trapezoid

from ..errors import MeasureError
from .current import NANOAMPERE_PER_E_PER_PS, interpolate
from .statistics import RESAMPLES, Band, Estimate, band, draw_sums, estimate

FloatArray = npt.NDArray[np.float64]

KJ_PER_MOL_PER_E_V = 96.48533212
"""One elementary charge times one volt, per mole: kJ/mol (CODATA 2018). Times a field in
V/nm it is a force in kJ/mol/nm."""
GAS_CONSTANT_KJ_PER_MOL_K = 8.314462618e-3
ROUNDING_KJ_PER_MOL = 1e-6
"""Parts that add up to better than this add up exactly."""
POINTS_PER_BIN = 10


@dataclass(frozen=True)
class MeanForce:
    """Mean force on an ion against its position, by part.

    Attributes
    ----------
    x_nm : (bins,)
        Mean position of the samples in each bin, ascending.
    parts : tuple of str
    force_kJ_per_mol_nm
        (parts, bins) each.
    total
        The total force, measured on its own and not as a sum: (bins,) each.
    draws : (resamples + 1, parts + 1, bins)
        Of the parts and, last, the total.
    samples : (bins,)
    """

    x_nm: FloatArray
    parts: tuple[str, ...]
    force_kJ_per_mol_nm: Band
    total: Band
    draws: FloatArray
    samples: FloatArray


@dataclass(frozen=True)
class Barrier:
    """A barrier, its parts, and what ties them together. Energies in kJ/mol.

    Attributes
    ----------
    r_min_nm, r_max_nm
        Positions r1 and r2 of the minimum and maximum of the energy.
    total
        -∫⟨F⟩dx of the whole force, the applied field's included.
    parts
        The same integral of each part.
    field
        The applied field's share, -qE(r2 - r1).
    closure
        total - Σ parts - field: zero within its error if the parts are complete.
    distance_nm
        |total - Σ parts|/(|q| E): the |r2 - r1| that total and parts imply.
    """

    r_min_nm: Estimate
    r_max_nm: Estimate
    total: Estimate
    parts: dict[str, Estimate]
    field: Estimate
    closure: Estimate
    distance_nm: Estimate


def mean_force(
    x_nm: npt.ArrayLike,
    total_kJ_per_mol_nm: npt.ArrayLike,
    parts_kJ_per_mol_nm: Mapping[str, npt.ArrayLike],
    edges_nm: npt.ArrayLike,
    *,
    units: npt.ArrayLike,
    unit: str = "replicas",
    fewest: int = 10,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MeanForce:
    """Average forces in bins of the ion's position.

    Parameters
    ----------
    x_nm : (n,)
        Position of the ion from the membrane, of every sample of every unit.
    total_kJ_per_mol_nm : (n,)
        Whole force along x on the ion, the applied field's included.
    parts_kJ_per_mol_nm
        Force along x by part, (n,) each, the applied field's left out.
    edges_nm : (bins + 1,)
        Ascending. Bins with fewer than ``fewest`` samples are left out, which must leave
        no gap between others.
    units : (n,)
        Number of the independent unit of each sample: a replica, or a block of time at
        least some correlation times long, or a window.
    unit
        What that is, for the reader.

    Raises
    ------
    MeasureError
        If fewer than two neighbouring bins have enough samples, or there is a gap.
    """
    x = np.asarray(x_nm, dtype=float)
    forces = np.stack(
        [np.asarray(f, dtype=float) for f in (*parts_kJ_per_mol_nm.values(), total_kJ_per_mol_nm)]
    )
    edges = np.asarray(edges_nm, dtype=float)
    _, owner = np.unique(np.asarray(units), return_inverse=True)
    n_units, n_bins = int(owner.max()) + 1, len(edges) - 1
    column = np.digitize(x, edges) - 1
    column[x == edges[-1]] = n_bins - 1
    inside = (column >= 0) & (column < n_bins)
    place = owner[inside] * n_bins + column[inside]

    def summed(weights: FloatArray | None) -> FloatArray:
        flat = np.bincount(place, weights=weights, minlength=n_units * n_bins)
        table: FloatArray = flat.reshape(n_units, n_bins).astype(float)
        return table

    sums = np.stack([summed(None), summed(x[inside]), *(summed(f[inside]) for f in forces)], axis=1)
    samples = sums[:, 0].sum(axis=0)
    used = np.flatnonzero(samples >= fewest)
    if len(used) < 2 or (np.diff(used) > 1).any():
        raise MeasureError(
            f"{len(used)} of {n_bins} bins of the mean force hold {fewest} samples or more, "
            "which must be two at least and without a gap; use wider bins or sample longer"
        )
    drawn = draw_sums(sums[..., used], resamples=resamples, seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = drawn[:, 2:] / drawn[:, :1]
    # A unit that alone reached a bin is missing from some draws: take the mean there.
    means = np.where(np.isfinite(means), means, means[0])
    method = f"bootstrap over {n_units} {unit}"
    return MeanForce(
        x_nm=drawn[0, 1] / drawn[0, 0],
        parts=tuple(parts_kJ_per_mol_nm),
        force_kJ_per_mol_nm=band(means[:, :-1], n_units, method),
        total=band(means[:, -1], n_units, method),
        draws=means,
        samples=samples[used],
    )


def pmf(x_nm: npt.ArrayLike, force_kJ_per_mol_nm: npt.ArrayLike) -> FloatArray:
    """Potential of mean force -∫⟨F⟩dx (trapezoids), zero at the first position.

    Parameters
    ----------
    x_nm : (bins,)
    force_kJ_per_mol_nm : (..., bins)

    Returns
    -------
    (..., bins) kJ/mol
    """
    return -np.asarray(cumulative_trapezoid(force_kJ_per_mol_nm, x_nm, initial=0))


def every_other(profile: MeanForce) -> tuple[MeanForce, ...]:
    """The same from every other position, from the first on and from the second: what a barrier
    changes by then hangs on how far apart the positions are, of which no interval tells."""
    return tuple(
        replace(
            profile, x_nm=profile.x_nm[k::2],
            force_kJ_per_mol_nm=profile.force_kJ_per_mol_nm.part(slice(k, None, 2)),
            total=profile.total.part(slice(k, None, 2)), draws=profile.draws[..., k::2],
            samples=profile.samples[k::2],
        )
        for k in (0, 1)
        if len(profile.x_nm) >= 4
    )  # fmt: skip


def pmf_band(profile: MeanForce) -> tuple[FloatArray, Band]:
    """Potential of mean force of the total force, zero at the first position.

    Returns
    -------
    x_nm : (points,)
        As of :func:`pmf_between`.
    energy : (points,) kJ/mol
    """
    x, forces = _refined(profile.x_nm, profile.draws[:, -1])
    energies = pmf(x, forces)
    # The first point is zero by definition, not for want of statistics.
    result = band(energies, profile.total.n_independent, profile.total.method)
    low, high = result.low.copy(), result.high.copy()
    low[0] = high[0] = 0.0
    return x, Band(result.value, low, high, result.n_independent, result.method)


def pmf_between(profile: MeanForce) -> tuple[FloatArray, FloatArray]:
    """Potential of mean force of the total force, zero on average of its two ends.

    Returns
    -------
    x_nm : (points,)
        Evenly from the first position of the mean force to the last, :data:`POINTS_PER_BIN`
        to a bin.
    draws : (resamples + 1, points) kJ/mol
    """
    x, forces = _refined(profile.x_nm, profile.draws[:, -1])
    energies = pmf(x, forces)
    return x, energies - energies[:, [0, -1]].mean(axis=1, keepdims=True)


def conductance(
    x_nm: npt.ArrayLike,
    w_kJ_per_mol: npt.ArrayLike,
    *,
    area_nm2: float,
    diffusion_nm2_per_ps: float,
    concentration_per_nm3: float,
    temperature_K: float,
    charge_e: float = 1.0,
) -> FloatArray:
    r"""Conductance at small voltage of a pore to one kind of ion.

    Parameters
    ----------
    x_nm : (points,)
        Ascending, so close that exp(w/RT) is nearly straight between them.
    w_kJ_per_mol : (..., points)
        Potential of mean force along the pore, zero where the ion has the concentration given.
    area_nm2
        Cross-section that is open to the ion there.
    diffusion_nm2_per_ps
        Diffusion coefficient, the same all along.
    concentration_per_nm3
        Of the ion in the reservoirs.
    temperature_K
        Temperature.
    charge_e
        Charge q of the ion.

    Returns
    -------
    (...,) nS

    Raises
    ------
    MeasureError
        If positions do not ascend, or a number that must be positive is not.

    Notes
    -----
    The Nernst-Planck equation in one dimension, to first order of the voltage, where it is
    exact for any w and however the voltage falls along x:

    .. math:: G = \frac{q^2 D c A}{k_B T} \left[ \int e^{w(x)/k_B T} \, dx \right]^{-1}

    (Hille, Ion Channels of Excitable Membranes, 3rd ed. (2001); Roux et al., Q. Rev. Biophys.
    37, 15 (2004)). Ions pass one by one: what others do counts only as far as it is in w.
    The resistance of the reservoirs beyond the ends of the profile is left out.
    """
    x, w = np.asarray(x_nm, dtype=float), np.asarray(w_kJ_per_mol, dtype=float)
    if len(x) < 2 or (np.diff(x) <= 0).any():
        raise MeasureError("x_nm must hold two positions or more and ascend; sort the windows")
    for name, value in {
        "area_nm2": area_nm2,
        "diffusion_nm2_per_ps": diffusion_nm2_per_ps,
        "concentration_per_nm3": concentration_per_nm3,
        "temperature_K": temperature_K,
    }.items():
        if not 0 < value < np.inf:
            raise MeasureError(f"{name} = {value:g} is not allowed; give a positive number")
    rt = GAS_CONSTANT_KJ_PER_MOL_K * temperature_K
    # the length of a flat pore of the same resistance
    length_nm = np.trapezoid(np.exp(w / rt), x, axis=-1)
    passing_per_ps = diffusion_nm2_per_ps * concentration_per_nm3 * area_nm2 / length_nm
    per_volt = charge_e**2 * KJ_PER_MOL_PER_E_V / rt
    return np.asarray(NANOAMPERE_PER_E_PER_PS * per_volt * passing_per_ps)


def conductance_of(profile: MeanForce, **conditions: float) -> Estimate:
    """:func:`conductance` by the mean force on an ion, nS.

    Parameters
    ----------
    profile
        Mean forces at no field. Both ends count as reservoir: w is zero on their average.
    **conditions
        What :func:`conductance` takes after w.
    """
    found = conductance(*pmf_between(profile), **conditions)
    units, method = profile.total.n_independent, profile.total.method
    return estimate(found, units, method, positive=True)


def barrier(
    profile: MeanForce,
    *,
    charge_e: float,
    field_V_per_nm: float,
    towards: int | None = None,
) -> Barrier:
    """The barrier between the energy's minimum and maximum, with its parts.

    Parameters
    ----------
    profile
        Mean forces.
    charge_e
        Charge q of the ion.
    field_V_per_nm
        Applied field E.
    towards
        +1 or -1: the ion travels along +x or -x and has the largest rise before it, from
        any minimum passed earlier. None: from the lowest to the highest energy, wherever
        they lie.

    Notes
    -----
    Where the energy only falls along the ion's way there is no barrier: everything is zero,
    and zero is also the interval if that is so in every draw.
    The extremes are chosen again in every bootstrap draw, so that the choice is part of
    the interval; choosing them makes a noisy barrier too high on average.
    """
    # The extremes, where the force is zero, may lie between bins.
    x, draws = _refined(profile.x_nm, profile.draws)
    energy = pmf(x, draws[:, -1])
    rows = np.arange(len(draws))
    first, last = _extremes(energy, towards)
    all_energies = pmf(x, draws)
    rises = all_energies[rows, :, last] - all_energies[rows, :, first]
    total, parts = rises[:, -1], rises[:, :-1]
    r_min, r_max = x[first], x[last]
    units, method = profile.total.n_independent, profile.total.method
    qE = charge_e * field_V_per_nm * KJ_PER_MOL_PER_E_V
    share = -qE * (r_max - r_min)
    left = total - parts.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        implied = np.abs(left) / abs(qE) if qE else np.full(len(left), np.nan)

    half_step = 0.5 * float(x[1] - x[0])

    only_falls = bool((first == last).all())

    def of(values: FloatArray) -> Estimate:
        return estimate(values, units, method)

    def rise(values: FloatArray) -> Estimate:
        if only_falls:
            return Estimate(0.0, 0.0, 0.0, units, f"downhill in every draw of the {method}")
        return of(values)

    def placed(values: FloatArray, resolution: float) -> Estimate:
        # Draws that all fall on one point still leave the place around it open.
        found = of(values)
        low, high = (
            limit if np.isfinite(limit) else found.value for limit in (found.low, found.high)
        )
        return Estimate(found.value, low - resolution, high + resolution, units, method)

    unaccounted = left - share
    closure = of(unaccounted)
    if np.abs(unaccounted).max() < ROUNDING_KJ_PER_MOL:
        closure = Estimate(0.0, 0.0, 0.0, units, "exact")

    return Barrier(
        r_min_nm=placed(r_min, half_step),
        r_max_nm=placed(r_max, half_step),
        total=rise(total).within(0.0),
        parts={name: rise(parts[:, i]) for i, name in enumerate(profile.parts)},
        field=placed(share, 2 * half_step * abs(qE)),
        closure=closure,
        distance_nm=placed(implied, 2 * half_step).within(0.0) if qE else of(implied),
    )


def _refined(x_nm: FloatArray, forces: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Positions (points,) from the first to the last, and forces (..., points) there, taken
    as linear between bins."""
    x = np.linspace(x_nm[0], x_nm[-1], POINTS_PER_BIN * (len(x_nm) - 1) + 1)
    return x, interpolate(forces, x_nm, x)


def _extremes(
    energy: FloatArray, towards: int | None
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices (draws,) of the minimum and the maximum that make the barrier."""
    if towards is None:
        return energy.argmin(axis=1), energy.argmax(axis=1)
    way = energy if towards > 0 else energy[:, ::-1]
    lowest = np.minimum.accumulate(way, axis=1)
    last = (way - lowest).argmax(axis=1)
    n = way.shape[1]
    before = np.where(np.arange(n) <= last[:, None], way, np.inf)
    first = before.argmin(axis=1)
    return (first, last) if towards > 0 else (n - 1 - first, n - 1 - last)
