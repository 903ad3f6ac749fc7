"""Order of the pore's water: from series to what Figs. 2 and 3 draw and claims 8 to 11 judge.

Fields are those of the reference box: applied field divided by
:attr:`janus_pore.spec.Profile.field_scale`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..build.forcefield import load_forcefield
from ..build.membrane import axis_potential, build_membrane, candidate_pores
from ..build.system import BuiltSystem
from ..drive import ensemble
from ..errors import MeasureError, SpecError
from ..measure import current, series, water
from ..measure.statistics import (
    FEWEST_UNITS,
    RESAMPLES,
    Estimate,
    ExponentialFit,
    RelaxationForm,
    band,
    difference,
    estimate,
    relaxation_form,
)
from ..spec import Profile, Sine, Step, with_its_own_charges
from . import scorecard, view
from .figures import DIRECTIONS, Atoms, Curve, FloatArray, Relaxation
from .results import NOTHING, both_polarities, each_once, opened, replicas_of, shipped_name, ships


def require_pore(profile: Profile) -> None:
    """Raise :class:`SpecError` for the control, which has no pore water to look at."""
    if profile.system.pore == "none":
        raise SpecError(
            "pore = 'none' is the control without a pore: it has a current (03_iv_ndr, "
            "05_plasticity) but no pore water; choose a pore such as 'hollow6'"
        )


DISTRIBUTION_BINS = 36
LEAST_POINTS_OF_A_RELAXATION = 40


class Snapshot(NamedTuple):
    """One frame of the pore's water; the field is that of the reference box."""

    atoms: Atoms
    dipoles: FloatArray
    field_V_per_nm: float
    after_ps: float
    run: str


def snapshot(profile: Profile, built: BuiltSystem) -> Snapshot:
    """The end of the highest step up, replica 0; the shipped frame if the source is that.

    Raises
    ------
    MissingInputError
        If the step was not run, or no frame of it ships.
    """
    waveforms = profile.protocol("step_up").waveforms()
    label, step = max(
        waveforms.items(),
        key=lambda item: item[1].to_V_per_nm if isinstance(item[1], Step) else 0.0,
    )
    assert isinstance(step, Step)
    if profile.source == "campaign":
        gro = series.shipped_folder(profile) / "step_up.gro"
        atoms, dipoles = view.atoms_of(gro, built.manifest, profile.run)
        run = f"{gro.parent.name}/{gro.name}"
    else:
        record = next(r for r in ensemble.open_runs(profile, "step_up") if r.label == label)
        atoms, dipoles = view.end_of(record.path[-1], built.manifest, profile.run)
        run = record.path[-1].name
    return Snapshot(atoms, dipoles, step.to_V_per_nm, step.to_ps, run)


class Order(NamedTuple):
    """Spread of the dipole angle over the sine, by polarity and sweep direction.

    ``width`` is the measure of the spread; ``alone`` is whether frames with an ion in the pore
    were left out.
    """

    widths: dict[tuple[current.Polarity, current.Direction], water.WidthCurve]
    scale: float
    width: water.Width
    replicas: int = 0
    alone: bool = False

    def curves(self) -> dict[str, Curve]:
        """Sweep direction to σθ against field, both polarities in one line; not a number where
        this measure does not tell it."""
        return both_polarities(
            {
                k: Curve(*(np.where(_told(w, self.width), v, np.nan) if n else v
                           for n, v in enumerate(Curve.of(w.at / self.scale, w.sigma_deg))))
                for k, w in self.widths.items()
            }
        )  # fmt: skip


def with_ion(data: xr.Dataset) -> xr.DataArray:
    """Whether an ion of either kind is in the pore (replica, time)."""
    return (data["ions_in_pore"] > 0).any("species").transpose("replica", "time")


def water_alone(data: xr.Dataset) -> xr.Dataset:
    """A series without the angles of those frames in which an ion is in the pore: water beside
    one can be ordered otherwise."""
    return data.assign(theta=data["theta"].where(~with_ion(data)))


def _cycles(
    values: FloatArray, data: xr.Dataset, waveform: Sine
) -> tuple[FloatArray, FloatArray, str]:
    """A quantity (replicas, ..., frames) as (replicas, cycles, ..., frames of one cycle), the
    field (frames,) of that, and what a unit is."""
    time, period = data["time"].values, waveform.period_ps
    cut = current.cut_cycles(values, time, period)
    E = current.cut_cycles(data["field"].values, time, period)[0, 0]
    return cut, E, "replicas" if len(cut) >= FEWEST_UNITS or cut.shape[1] == 1 else "cycles"


def _cycles_of_angles(data: xr.Dataset, waveform: Sine) -> tuple[FloatArray, FloatArray, str]:
    """Angles (units, frames, slots), field and unit of :func:`_cycles`."""
    theta = data["theta"].transpose("replica", "slot", "time").values
    theta, E, unit = _cycles(theta, data, waveform)
    if unit == "replicas":  # the molecules of all its cycles side by side
        theta = theta.reshape(len(theta), -1, theta.shape[-1])
    else:
        theta = theta.reshape(-1, *theta.shape[2:])
    return theta.transpose(0, 2, 1), E, unit


def order(
    data: xr.Dataset,
    waveform: Sine,
    profile: Profile,
    *,
    width: water.Width,
    bins: int = 8,
    alone: bool = False,
) -> Order:
    """σθ against field from a sine's series; units as of a current, the replicas if not few.

    ``alone`` leaves out the frames with an ion in the pore; where one is there all the time in
    some range of fields no widths are given.
    """
    theta, E, unit = _cycles_of_angles(water_alone(data) if alone else data, waveform)
    edges = np.linspace(0.0, np.abs(E).max() * (1 + 1e-9), bins + 1)
    polarities: tuple[current.Polarity, ...] = (1, -1)
    try:
        found = {
            (polarity, direction): curve
            for polarity in polarities
            for direction, curve in water.sigma_against_field(
                theta, E, edges, polarity=polarity, width=width, unit=unit
            ).items()
        }
    except MeasureError:
        if not alone:
            raise
        found = {}
    return Order(found, profile.field_scale, width, data.sizes["replica"], alone)


def _told(curve: water.WidthCurve, width: water.Width) -> npt.NDArray[np.bool_]:
    """Which fields' spread this measure tells: no Gaussian describes nearly uniform angles."""
    wide = np.fmax(curve.sigma_deg.value, curve.sigma_deg.high) > water.WIDEST_GAUSSIAN_DEG
    return ~wide if width == "fit" else np.full(len(wide), True)


class Gap(NamedTuple):
    """σθ of the reverse sweep less that of the forward one, averaged over fields of one sign.

    ``fields_V_per_nm`` are the least and the largest |E| of those averaged over.
    """

    mean_deg: Estimate
    fields_V_per_nm: tuple[float, float] = (np.nan, np.nan)


def mean_gap(found: Order, polarity: current.Polarity) -> Gap:
    """The :class:`Gap` over the fields at which the measure tells the spread of both sweeps."""
    up, down = (found.widths.get((polarity, d)) for d in ("forward", "reverse"))
    if up is None or down is None:
        return Gap(NOTHING)
    E, theirs = np.abs(up.at), np.abs(down.at)
    nearest = np.abs(E[:, None] - theirs).argmin(axis=1)
    # The two sweeps' frames of one bin differ a little in their mean field.
    shared = np.abs(E - theirs[nearest]) < 0.25 * np.diff(E, prepend=0.0).max()
    shared &= _told(up, found.width) & _told(down, found.width)[nearest]
    if not shared.any():
        return Gap(NOTHING)
    there = np.array([np.interp(E[shared], theirs, d) for d in down.draws])
    draws = (there - up.draws[:, shared]).mean(axis=1)
    fields = E[shared] / found.scale
    return Gap(
        estimate(draws, up.sigma_deg.n_independent, up.sigma_deg.method),
        (float(fields.min()), float(fields.max())),
    )


def distributions(
    data: xr.Dataset, waveform: Sine, profile: Profile, *, panels: int = 4
) -> dict[str, dict[str, water.Orientation]]:
    """Angles at a few positive fields by sweep direction, evenly chosen up to the peak.

    The title of a panel is its range of field, in the reference box.
    """
    theta, E, unit = _cycles_of_angles(data, waveform)
    moving = current.sweep_direction(E)
    edges = np.linspace(0.0, E.max() * (1 + 1e-9), panels + 1)
    out: dict[str, dict[str, water.Orientation]] = {}
    for low, high in itertools.pairwise(edges):
        sweeps_here = {}
        for direction, sign in (("forward", 1), ("reverse", -1)):
            chosen = (low <= E) & (high > E) & (moving == sign)
            if np.isfinite(theta[:, chosen]).any():
                sweeps_here[direction] = water.orientation(
                    theta[:, chosen], bins=DISTRIBUTION_BINS, unit=unit
                )
        title = f"E = {low / profile.field_scale:.2g} to {high / profile.field_scale:.2g} V/nm"
        out[title] = sweeps_here
    return out


class Steps(NamedTuple):
    """Relaxations after steps of the field: direction to target field to curve and fit."""

    curves: dict[str, dict[float, water.WidthCurve]]
    fits: dict[str, dict[float, ExponentialFit]]


def steps_of(profile: Profile) -> tuple[dict[str, xr.Dataset], dict[str, xr.Dataset]]:
    """Series of ``step_up`` and ``step_down``; of the shipped ones, those there are.

    Raises
    ------
    MissingInputError
        If runs of this machine are asked for and not there.
    """
    read = series.open_protocol if profile.source == "live" else lambda *of: opened(*of).data
    return read(profile, "step_up"), read(profile, "step_down")


def relaxations(
    up: Mapping[str, xr.Dataset],
    down: Mapping[str, xr.Dataset],
    profile: Profile,
    *,
    rising: str = "step_up",
    width: water.Width = "direct",
) -> Steps:
    """σθ(t) after each step of the protocols ``rising`` and ``step_down``, with its fit.

    Angles are pooled over replicas at each time and over times so that a relaxation has
    at least :data:`LEAST_POINTS_OF_A_RELAXATION` points, if it has as many frames.
    ``width`` ``direct`` is that of all molecules, ``fit`` the article's: of a normal
    distribution fitted to those of all replicas together, at every time at which they are not
    too widely spread for one; where that is less than half of the times no curve is given, and
    no time constant.
    """
    out = Steps({}, {})
    for direction, protocol, kind, found in (
        ("forward", rising, "decay", up),
        ("reverse", "step_down", "growth", down),
    ):
        # a profile need not have a protocol of which nothing was run
        waveforms = profile.protocol(protocol).waveforms() if found else {}
        fields = {k: one.to_V_per_nm for k, one in waveforms.items() if isinstance(one, Step)}
        each_once(fields, protocol, "to_V_per_nm")
        for label, data in found.items():
            step = waveforms[label]
            assert isinstance(step, Step)
            time = data["time"].values
            spacing = float(np.median(np.diff(time)))
            # without the very last frame, which would be a bin of its own
            late = (time >= step.from_ps - 1e-6) & (time < time[-1] - spacing / 2)
            bin_ps = spacing * max(
                1, round(step.to_ps / (2 * LEAST_POINTS_OF_A_RELAXATION) / spacing)
            )
            curve = water.sigma_against_time(
                data["theta"].values[:, late],
                time[late] - step.from_ps,
                bin_ps=bin_ps,
                width=width,
                resamples=RESAMPLES if width == "direct" else FITTED_RESAMPLES,
            )
            told = _told(curve, width)
            # from where on, or as far as, all are: single times would be chosen by their noise
            told = np.cumsum(~told[::-1])[::-1] == 0 if kind == "decay" else np.cumsum(~told) == 0
            few = told.sum() < len(told) / 2
            if not (told.all() or few):
                curve = water.WidthCurve(
                    curve.at[told], curve.sigma_deg.part(told), curve.draws[:, told],
                    curve.samples[told],
                )  # fmt: skip
            fit = water.fit_relaxation(
                curve,
                kind,  # type: ignore[arg-type]
                start_ps=0.0,
            )
            if few:
                reason = f"at {(~told).sum()} of {len(told)} times too wide for a Gaussian"
                fit = replace(fit, identifiable=False, reason=reason)
            else:
                out.curves.setdefault(direction, {})[step.to_V_per_nm] = curve
            out.fits.setdefault(direction, {})[step.to_V_per_nm] = fit
    return out


def times_of(steps: Steps) -> dict[str, Curve]:
    """τ against field for the fits that fix it."""
    out = {}
    for direction, fits in steps.fits.items():
        good = sorted((E, f.tau) for E, f in fits.items() if f.identifiable)
        out[direction] = Curve(
            *(
                np.array(v, float)
                for v in (
                    [E for E, _ in good],
                    [t.value for _, t in good],
                    [t.low for _, t in good],
                    [t.high for _, t in good],
                )
            )
        )
    return out


TIMES = (
    "E (V/nm)",
    "width",
    "ordering τ (ps)",
    "relaxation τ (ps)",
    "σθ at the end, up and down (°)",
)
"""Columns of :func:`rows_of_times`."""


def rows_of_times(by_width: Mapping[str, Steps]) -> list[tuple[str, ...]]:
    """Time constants and ends of the steps to each field, by the width that tells the spread."""
    fields = sorted({E for one in by_width.values() for of in one.fits.values() for E in of})
    return [
        (f"{E:g}", name, *(_time(one, d, E) for d in DIRECTIONS),
         ", ".join(_end(one, d, E) for d in DIRECTIONS))
        for E in fields
        for name, one in by_width.items()
    ]  # fmt: skip


def _time(steps: Steps, direction: str, E: float) -> str:
    fit = steps.fits.get(direction, {}).get(E)
    if fit is None:
        return "–"
    return scorecard.describe(fit.tau) if fit.identifiable else "not identifiable"


def _end(steps: Steps, direction: str, E: float) -> str:
    curve = steps.curves.get(direction, {}).get(E)
    if curve is None:
        return "–"
    return f"{curve.sigma_deg.value[curve.at >= (1 - END) * curve.at[-1]].mean():.0f}"


def shipped_times(profile: Profile) -> tuple[dict[str, Curve], str]:
    """τ against field from the results that ship for the same membrane and pore.

    Returns
    -------
    dict of str to Curve
        As :func:`times_of`; empty where nothing ships, or the profile shows it anyhow.
    str
        What they rest on.
    """
    theirs = ships(profile)
    if theirs is None:
        return {}, ""
    up, down = (opened(theirs, p).data for p in ("step_up", "step_down"))
    runs = [
        replicas_of(next(iter(data.values())), name)
        for name, data in (("step_up", up), ("step_down", down))
        if data
    ]
    if not runs:
        return {}, ""
    name = shipped_name(theirs, profile, "; ".join(runs))
    return times_of(relaxations(up, down, theirs)), name


def relaxation_panels(steps: Steps) -> dict[str, dict[float, Relaxation]]:
    """What Figs. 3A and 3B draw, each curve with its time constant in words."""
    return {
        direction: {
            E: Relaxation(
                Curve.of(curve.at, curve.sigma_deg),
                fit.curve(curve.at),
                f"τ = {fit.tau.value:.2g} ps [{fit.tau.low:.2g}, {fit.tau.high:.2g}]"
                if fit.identifiable
                else "τ not identifiable",
            )
            for E, curve in curves.items()
            for fit in [steps.fits[direction][E]]
        }
        for direction, curves in steps.curves.items()
    }


FITTED_RESAMPLES = 200
"""Draws of replicas for fitted widths in time: each takes a fit at every time."""

END = 0.3
"""Share of the time after a step, its last, that tells the spread in which it ends."""

LARGEST_STRETCH = 1.25
"""A relaxation counts as exponential if its stretching exponent lies within this factor of 1."""


def forms(steps: Steps) -> dict[str, RelaxationForm]:
    """How the relaxations of each direction compare with rivals of the exponential.

    Curves without an amplitude tell nothing of their form and are left out; a direction
    without any other is absent.
    """
    out = {}
    for direction, curves in steps.curves.items():
        telling = [
            (curve.at, curve.draws)
            for E, curve in curves.items()
            if steps.fits[direction][E].b.excludes(0.0)
        ]
        if telling:
            sigma = next(iter(curves.values())).sigma_deg
            out[direction] = relaxation_form(
                telling, units=sigma.n_independent, method=sigma.method
            )
    return out


def scaled(steps: Steps) -> dict[str, dict[float, Curve]]:
    """Relaxations with an identifiable time, from 1 to 0 of their fits, against t/τ."""
    out: dict[str, dict[float, Curve]] = {}
    for direction, curves in steps.curves.items():
        out[direction] = {}
        for E, curve in curves.items():
            fit = steps.fits[direction][E]
            if fit.identifiable:
                share = [
                    (np.asarray(v) - fit.a.value) / fit.b.value
                    for v in Curve.of(curve.at, curve.sigma_deg)[1:]
                ]
                if fit.kind == "growth":
                    share = [1 - share[k] for k in (0, 2, 1)]
                out[direction][E] = Curve(curve.at / fit.tau.value, *share)
    return out


def _form_parts(steps: Steps, profile: Profile) -> list[scorecard.Part]:
    """Claim 11 for both directions."""
    found = forms(steps)
    parts = []
    for direction in DIRECTIONS:
        name = "ordering" if direction == "forward" else "relaxation"
        if direction not in found:
            parts.append(scorecard.decided(f"form of the {name}", NOTHING, None, profile))
            continue
        form, exponential = found[direction], (1 / LARGEST_STRETCH, LARGEST_STRETCH)
        parts += [
            scorecard.judge(f"exponent β of the {name}", form.stretch, exponential, profile),
            scorecard.judge(
                f"χ² of a power law less that of an exponential, {name}",
                form.power_law,
                (0.0, np.inf),
                profile,
            ),
        ]
    return parts


class Reaction(NamedTuple):
    """What the ordered water does to the field on the axis; sweep direction to curve.

    ``polarisation`` (D/nm³) and ``at_centre`` (V/nm) against field, both polarities in one
    line; ``along`` (V/nm) against position on the axis (nm), at the largest positive field;
    ``peak_V_per_nm`` that field.
    """

    polarisation: dict[str, Curve]
    at_centre: dict[str, Curve]
    along: dict[str, Curve]
    peak_V_per_nm: float


def reaction(data: xr.Dataset, waveform: Sine, profile: Profile, *, bins: int = 8) -> Reaction:
    """Dipole per volume of the pore's water and the field that it makes, over a sine."""
    dipole, E, unit = _cycles(data["dipole_x"].values, data, waveform)
    dipole = current.cycles_as_units(dipole)
    E = E / profile.field_scale
    edges = np.linspace(0.0, np.abs(E).max() * (1 + 1e-9), bins + 1)
    # a branch bins any quantity by field and sweep; here it is a dipole in debye
    branches = current.sweep(E, dipole, edges, unit=unit)
    half, radius = profile.run.pore_half_length_nm, profile.run.pore_radius_nm

    def curves(convert: Callable[[FloatArray], FloatArray]) -> dict[str, Curve]:
        return both_polarities(
            {
                key: Curve.of(b.field_V_per_nm, band(convert(b.draws), len(dipole), ""))
                for key, b in branches.items()
            }
        )

    x = np.linspace(-4 * half, 4 * half, 401)
    along = {}
    for (polarity, direction), branch in branches.items():
        if polarity == 1:
            field = water.reaction_field(
                branch.draws[:, -1:], half_length_nm=half, radius_nm=radius, x_nm=x
            )
            along[str(direction)] = Curve.of(x, band(field, len(dipole), ""))
    return Reaction(
        curves(lambda d: water.polarisation(d, half_length_nm=half, radius_nm=radius)),
        curves(lambda d: water.reaction_field(d, half_length_nm=half, radius_nm=radius)),
        along,
        max(b.field_V_per_nm[-1] for (p, _), b in branches.items() if p == 1),
    )


PORE_SIZE_TOLERANCE_nm = 0.16
"""Pores whose mean diameter is this close to the published one are candidates for it."""
PUBLISHED_DIAMETER_nm = 0.85


class Intrinsic(NamedTuple):
    """Potential (V) on the pore's axis of the bare membrane at ``x_nm`` (n,), by charge set
    with the profile's pore, and by pore with the profile's charges."""

    x_nm: FloatArray
    by_charges: dict[str, FloatArray]
    by_pore: dict[str, FloatArray]


def intrinsic(profile: Profile, *, reach_nm: float = 1.5) -> Intrinsic:
    """The field that the membrane's own charges make, for every charge set and pore.

    Pores are those within :data:`PORE_SIZE_TOLERANCE_nm` of the published diameter.
    """
    x = np.linspace(-reach_nm, reach_nm, round(200 * reach_nm) + 1)

    def potential(**changes: str) -> FloatArray:
        system = profile.system.model_copy(update=with_its_own_charges(changes))
        return axis_potential(build_membrane(system), x)

    pores = {
        c.pore: c.diameters_nm.mean
        for c in candidate_pores(profile.system)
        if abs(c.diameters_nm.mean - PUBLISHED_DIAMETER_nm) < PORE_SIZE_TOLERANCE_nm
    }
    return Intrinsic(
        x,
        {name: potential(charge_set=name) for name in load_forcefield().charge_sets},
        {f"{pore}, {size:.2f} nm": potential(pore=pore) for pore, size in pores.items()},
    )


def mean_field(x_nm: FloatArray, potential_V: FloatArray, half_length_nm: float) -> float:
    """Mean of −dV/dx over |x| < ``half_length_nm``, V/nm."""
    ends = np.interp([half_length_nm, -half_length_nm], x_nm, potential_V)
    return float((ends[1] - ends[0]) / (2 * half_length_nm))


def _regression(x: FloatArray) -> FloatArray:
    """Weights that turn values at x into the slope of the straight line through them."""
    away = x - x.mean()
    weights: FloatArray = away / (away**2).sum()
    return weights


def _slope_of_ends(curves: Mapping[float, water.WidthCurve], profile: Profile) -> scorecard.Part:
    """Whether the spread in which steps up end falls with the field that they lead to."""
    E = np.array(sorted(curves))
    late = [curves[e].at >= (1 - END) * curves[e].at[-1] for e in E]
    draws = np.stack(
        [curves[e].draws[:, use].mean(axis=1) for e, use in zip(E, late, strict=True)], axis=1
    )
    first = curves[E[0]].sigma_deg
    trend = estimate(draws @ _regression(E), first.n_independent, first.method)
    return scorecard.judge(
        "slope of σθ against E at the end of steps up", trend, (-np.inf, 0.0), profile,
        unit="° per V/nm",
    )  # fmt: skip


WIDTH_NAME: dict[water.Width, str] = {
    "fit": "Gaussian fit", "direct": "direct width", "wrapped": "wrapped normal",
}  # fmt: skip


def _claims_of_sines(found: Iterable[tuple[str, Order]], profile: Profile) -> list[scorecard.Row]:
    """Claims 8 and 9 for every sine and measure of the spread."""
    rows = []
    for run, one in found:
        estimator = WIDTH_NAME[one.width] + (", no ion in the pore" if one.alone else "")
        up = one.widths.get((1, "forward"))
        if up is not None and (use := _told(up, one.width)).sum() > 1:
            E = up.at[use] / one.scale
            trend = estimate(
                up.draws[:, use] @ _regression(E), up.sigma_deg.n_independent, up.sigma_deg.method
            )
            part = scorecard.judge(
                f"slope of σθ against E > 0, forward, {E.min():.2g} to {E.max():.2g} V/nm",
                trend, (-np.inf, 0.0), profile, unit="° per V/nm",
            )  # fmt: skip
            parts = scorecard.of_replicas([part], one.replicas)
            rows.append(scorecard.row(8, parts, run=run, estimator=estimator))
        gap = mean_gap(one, 1)
        if gap.mean_deg is not NOTHING:
            low, high = gap.fields_V_per_nm
            part = scorecard.judge(
                f"σθ reverse − forward, E > 0, mean over {low:.2g} to {high:.2g} V/nm",
                gap.mean_deg, (-np.inf, 0.0), profile, unit="°",
            )  # fmt: skip
            parts = scorecard.of_replicas([part], one.replicas)
            rows.append(scorecard.row(9, parts, run=run, estimator=estimator))
    return rows


def claims_of_order(
    found: Iterable[tuple[str, Order]],
    steps: Steps,
    profile: Profile,
    fitted: Steps | None = None,
) -> list[scorecard.Row]:
    """Judge claims 8 to 11.

    Parameters
    ----------
    found
        The order over sines, each with the runs it rests on.
    steps
        Relaxations of the direct width.
    profile
        The run's profile.
    fitted
        The same of the width of fitted normal distributions, which judge claims 10 and 11
        as well.
    """
    if profile.system.pore == "none":
        return []
    rows = _claims_of_sines(found, profile)
    ends = steps.curves.get("forward", {})
    if len(ends) > 1:
        rows.append(scorecard.row(8, [_slope_of_ends(ends, profile)], estimator="steps",
                                  run="step_up"))  # fmt: skip
    by_width = {WIDTH_NAME["fit"]: fitted, WIDTH_NAME["direct"]: steps}
    for name, one in by_width.items():
        if one is not None and one.curves:
            rows += _claims_of_steps(one, name, profile)
    return sorted(rows, key=lambda r: r.id)


def _claims_of_steps(steps: Steps, width: str, profile: Profile) -> list[scorecard.Row]:
    """Claims 10 and 11 by one width."""
    rows = []
    forward, reverse = (steps.fits.get(d, {}) for d in ("forward", "reverse"))
    parts = []
    for E_step in sorted(set(forward) & set(reverse)):
        fast, slow = forward[E_step], reverse[E_step]
        name = f"τ reverse − forward at {E_step:g} V/nm"
        if fast.identifiable and slow.identifiable:
            parts.append(
                scorecard.judge(
                    name, difference(slow.tau, fast.tau), (0.0, np.inf), profile, unit="ps"
                )
            )
        else:
            parts.append(scorecard.decided(name, NOTHING, None, profile))
    run = "step_up, step_down"
    if parts:
        rows.append(scorecard.row(10, parts, estimator=width, run=run))
    rows.append(scorecard.row(11, _form_parts(steps, profile), estimator=width, run=run))
    return rows
