"""What the steps of the field say of the water's memory: where they end, for every system of the
profile that takes them, and what they let expect of a sine; and what ions in the pore do to the
water. Where steps end, and what is expected of a sine, is that of frames without an ion.

Fields are those of the reference box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..errors import MeasureError
from ..measure import water
from ..measure.current import Direction
from ..measure.statistics import Estimate, difference, draw_sums, estimate
from ..spec import Profile, Sine, Step
from . import ordering, scorecard
from .figures import DIRECTIONS, SPECIES_NAME, STEP_NAME, Curve, FloatArray
from .ordering import END, Steps, times_of
from .results import NOTHING, choices, opened, sines

STEPS = {"forward": ("step_up", "step_up_negative"), "reverse": ("step_down",)}
"""Protocols of the steps by what the water does after them."""


ALWAYS = "an ion is in the pore all the time that would tell"


class Ended(NamedTuple):
    """Spread of the angle, of frames without an ion in the pore, and molecules in the pore
    (mean, and its standard deviation over frames) at the end of the steps of one system;
    ``spread`` by direction against field, ``with_ion`` the share of frames with one likewise."""

    spread: dict[str, Curve]
    with_ion: dict[str, FloatArray]
    molecules: tuple[float, float]
    replicas: dict[str, int]


def where_steps_end(profile: Profile) -> tuple[dict[str, Ended], dict[str, str]]:
    """σθ at the :data:`END` of steps, for the profile's system and each alternative.

    Returns
    -------
    dict of str to Ended
        By system, as :func:`janus_pore.show.results.choices` names them.
    dict of str to str
        Why others are not among them.
    """
    out, why = {}, {}
    for name, one in choices(profile).items():
        asked = [p for steps in STEPS.values() for p in steps if p in one.protocols]
        found = {p: opened(one, p) for p in asked}
        if not found:  # an alternative that is compared by other means
            continue
        data = {p: by_label.data for p, by_label in found.items() if by_label.data}
        if not data:
            why[name] = next(iter(found.values())).why
            continue
        ends = {p: _ends(by_label, one, p) for p, by_label in data.items()}
        if not any(ends.values()):
            why[name] = ALWAYS
            continue
        counts = np.concatenate(
            [d["pore_water_count"].values.ravel() for by_E in ends.values() for d in by_E.values()]
        )
        spread, with_ion = {}, {}
        for direction, steps in STEPS.items():
            fields = {E: d for p in steps for E, d in ends.get(p, {}).items()}
            fields = dict(sorted(fields.items()))
            if fields:
                spread[direction] = _spread({E: [d] for E, d in fields.items()})
                with_ion[direction] = np.array(
                    [float(ordering.with_ion(d).mean()) for d in fields.values()]
                )
        out[name] = Ended(
            spread,
            with_ion,
            (float(counts.mean()), float(counts.std())),
            {p: next(iter(d.values())).sizes["replica"] for p, d in data.items()},
        )
    return out, why


def _ends(
    found: Mapping[str, xr.Dataset], profile: Profile, protocol: str
) -> dict[float, xr.Dataset]:
    """The last frames of each step by the field that it leads to, where any is without an ion."""
    waveforms = profile.protocol(protocol).waveforms()
    out = {}
    for label, data in found.items():
        step = waveforms[label]
        assert isinstance(step, Step)
        if np.isfinite((end := _end(data, step))["theta"]).any():
            out[step.to_V_per_nm] = end
    return dict(sorted(out.items()))


def _end(data: xr.Dataset, step: Step) -> xr.Dataset:
    """The last frames of a step, with the angles of water alone."""
    time = data["time"].values
    late = np.flatnonzero(time > time[-1] - END * (time[-1] - step.from_ps))
    return ordering.water_alone(data.isel(time=late))


def spread_at_end(data: xr.Dataset, step: Step) -> Estimate:
    """σθ (degrees) at the :data:`END` of one step, of frames without an ion in the pore; not a
    number where there is none."""
    end = _end(data, step)
    return _width([end]).sigma_deg.at(0) if np.isfinite(end["theta"]).any() else NOTHING


def _spread(ends: Mapping[float, Sequence[xr.Dataset]]) -> Curve:
    """σθ against field, all frames and replicas of a field pooled."""
    curves = [Curve.of([E], _width(each).sigma_deg) for E, each in ends.items()]
    return Curve(*(np.concatenate(values) for values in zip(*curves, strict=True)))


def _width(each: Sequence[xr.Dataset]) -> water.WidthCurve:
    """σθ of all frames and replicas, in one bin; a replica without any water does not count."""
    angles = [data["theta"].transpose("replica", "time", "slot").values for data in each]
    angles = [a[np.isfinite(a).any(axis=(1, 2))] for a in angles]
    whole = np.max([a.shape[1:] for a in angles], axis=0)
    theta = np.concatenate(
        [
            np.pad(a, [(0, 0), *((0, n - m) for n, m in zip(whole, a.shape[1:], strict=True))],
                   constant_values=np.nan)
            for a in angles
        ]
    )  # fmt: skip
    return water.sigma_in_groups(theta, np.zeros(theta.shape[1], dtype=int), np.zeros(1))


ENDS = (
    "system", "water in the pore", "step", "to E (V/nm)", "ion in the pore (% of time)", "σθ (°)"
)  # fmt: skip
"""Columns of :func:`rows_of_ends`."""


def rows_of_ends(found: Mapping[str, Ended]) -> list[tuple[str, ...]]:
    """Lines of a table by system, direction and field; the columns are :data:`ENDS`."""
    return [
        (
            name,
            f"{one.molecules[0]:.1f} ± {one.molecules[1]:.1f}",
            STEP_NAME[direction],
            f"{E:g}".replace("-", "−"),
            f"{100 * share:.0f}",
            f"{value:.1f}" + (f" [{low:.1f}, {high:.1f}]" if np.isfinite(low) else ""),
        )
        for name, one in found.items()
        for direction, curve in one.spread.items()
        for E, value, low, high, share in zip(*curve, one.with_ion[direction], strict=True)
    ]


class Reversed(NamedTuple):
    """Water after a step to a negative field: its spread without ions, the positive field at which
    it is as narrow (V/nm, without bounds where that lies beyond those of the steps), and the time
    constants of ordering (ps) at this field and at the positive one of the same size."""

    spread_deg: Estimate
    equal_V_per_nm: Estimate
    tau_ps: Estimate
    tau_positive_ps: Estimate


def polarities(
    up: Mapping[str, xr.Dataset],
    down: Mapping[str, xr.Dataset],
    steps: Steps,
    profile: Profile,
) -> tuple[dict[float, Reversed], str]:
    """How water orders at -E, beside +E, of which the series and fits are given.

    Returns
    -------
    dict of float to Reversed
        By field, from the smallest; empty where steps were not run both ways.
    str
        Why it is empty.
    """
    negative, why = opened(profile, "step_up_negative")
    if not up or not negative:
        return {}, why or "no steps to positive fields"
    positive = _ends(up, profile, "step_up")
    if (rest := _rest(down, profile)) is not None:
        positive = {0.0: rest, **positive}
    if not positive:
        return {}, ALWAYS
    E = np.array(list(positive))
    # Falling, or what is as narrow as another field would not be one field.
    widths = np.minimum.accumulate(
        np.concatenate([_width([d]).draws for d in positive.values()], axis=1), axis=1
    )
    taus = ordering.relaxations(negative, {}, profile, rising="step_up_negative").fits["forward"]
    theirs = steps.fits["forward"]
    out = {}
    for field, data in sorted(_ends(negative, profile, "step_up_negative").items())[::-1]:
        width = _width([data])
        units = width.sigma_deg.n_independent
        equal = [
            np.interp(-w, -row, E, left=np.nan, right=np.nan)
            for w, row in zip(width.draws[:, 0], widths, strict=True)
        ]
        out[field] = Reversed(
            width.sigma_deg.at(0),
            estimate(np.array(equal), units, width.sigma_deg.method),
            *(
                fits[at].tau if at in fits and fits[at].identifiable else NOTHING
                for fits, at in ((taus, field), (theirs, -field))
            ),
        )
    return out, ""


def polarities_by_choice(
    up: Mapping[str, xr.Dataset],
    down: Mapping[str, xr.Dataset],
    steps: Steps,
    profile: Profile,
) -> tuple[dict[str, dict[float, Reversed]], dict[str, str]]:
    """:func:`polarities` of the profile's system, and of each alternative with steps both ways.

    Returns
    -------
    dict of str to dict of float to Reversed
        By system, as :func:`janus_pore.show.results.choices` names them.
    dict of str to str
        Why others are not among them.
    """
    out, why = {}, {}
    for name, one in choices(profile).items():
        if "step_up_negative" not in one.protocols:
            continue
        if one is not profile:
            up, down = (opened(one, p).data for p in ("step_up", "step_down"))
            steps = ordering.relaxations(up, down, one)
        found, reason = polarities(up, down, steps, one)
        if found:
            out[name] = found
        else:
            why[name] = reason
    return out, why


def _rest(down: Mapping[str, xr.Dataset], profile: Profile) -> xr.Dataset | None:
    """The end of the step down to no field, where there is one."""
    return _ends(down, profile, "step_down").get(0.0) if down else None


def resting_dipole(down: Mapping[str, xr.Dataset], profile: Profile) -> Estimate:
    """Dipole along x (D) per molecule of the pore's water without a field, after steps to zero."""
    if (rest := _rest(down, profile)) is None:
        return NOTHING
    total, count = (rest[name].transpose("replica", "time").values.sum(axis=1) for name in (
        "dipole_x", "pore_water_count"))  # fmt: skip
    drawn, molecules = (draw_sums(v) for v in (total, count))
    return estimate(drawn / molecules, len(total), f"bootstrap over {len(total)} replicas")


POLARITIES = (
    "system", "to E (V/nm)", "σθ (°)", "as narrow as at (V/nm)",
    "that less the first system's (V/nm)", "τ (ps)", "τ at +E (ps)",
)  # fmt: skip
"""Columns of :func:`rows_of_polarities`."""


def rows_of_polarities(found: Mapping[str, Mapping[float, Reversed]]) -> list[tuple[str, ...]]:
    """Lines of a table, one for each system and field; the columns are :data:`POLARITIES`."""
    out = []
    first: Mapping[float, Reversed] = next(iter(found.values()), {})
    for name, by_E in found.items():
        for E, one in by_E.items():
            further = "–"
            if by_E is not first and E in first:
                less = difference(one.equal_V_per_nm, first[E].equal_V_per_nm)
                further = scorecard.describe(less)
            width, equal, *taus = (
                "not fixed" if v is NOTHING else scorecard.describe(v) for v in one
            )
            out.append((name, f"{E:g}".replace("-", "−"), width, equal, further, *taus))
    return out


def over_sines(profile: Profile) -> tuple[dict[str, ordering.Order], dict[str, str]]:
    """σθ of water without ions over the first sine, in every system that took it.

    Returns
    -------
    dict of str to Order
        By system, as :func:`janus_pore.show.results.choices` names them.
    dict of str to str
        Why others are not among them.
    """
    out, why = {}, {}
    for name, one in choices(profile).items():
        try:
            drive = sines(one)[0]
        except MeasureError:  # an alternative that is compared by other means
            continue
        found = opened(one, drive.protocol)
        if not found.data:
            why[name] = found.why
            continue
        order = ordering.order(
            found.data[drive.label], drive.waveform, one, width="direct", bins=4, alone=True
        )
        if order.widths:
            out[name] = order
        else:
            why[name] = ALWAYS
    return out, why


OVER_SINES = ("system", "|E| (V/nm)", *(f"{s}, {way}" for s in ("E > 0", "E < 0")
              for way in ("rising", "falling")))  # fmt: skip
"""Columns of :func:`rows_over_sines`: σθ in degrees, by polarity and by what |E| does."""


def rows_over_sines(found: Mapping[str, ordering.Order]) -> list[tuple[str, ...]]:
    """Lines of a table by system and mean field; the columns are :data:`OVER_SINES`."""
    out = []
    for name, one in found.items():
        directions: tuple[Direction, ...] = ("forward", "reverse")
        sweeps = [one.widths.get((1, d)) for d in directions]
        sweeps += [one.widths.get((-1, d)) for d in directions]
        fields = [np.abs(w.at) / one.scale if w else np.empty(0) for w in sweeps]
        every = max(fields, key=len)
        for E in every:
            # the frames of one range differ a little in their mean field from sweep to sweep
            near = [np.flatnonzero(np.abs(at - E) < every[-1] / (4 * len(every))) for at in fields]
            cells = (
                scorecard.describe(w.sigma_deg.at(k[0])) if w and len(k) else "–"
                for w, k in zip(sweeps, near, strict=True)
            )
            out.append((name, f"{E:.2f}", *cells))
    return out


DRAWS = 200
FIELDS = 48
POINTS_PER_HALF_CYCLE, LONGEST_STEP_PS = 2000, 0.25
TWO_SIDED_95 = 1.959964
"""Standard deviations from the middle to an end of a normal 95 % interval."""
NO_TIMES = Curve.bare([], [])


class Expected(NamedTuple):
    """What the steps let expect of σθ in a sine's first sweep over positive fields.

    ``sweeps`` by direction against field; ``gap`` is reverse minus forward, ``largest`` its
    largest value on either side of zero and ``mean`` its average over fields.
    """

    sine: Sine
    sweeps: dict[str, Curve]
    gap: Curve
    largest: Estimate
    mean: Estimate


def expected(
    up: Mapping[str, xr.Dataset],
    down: Mapping[str, xr.Dataset],
    steps: Steps,
    profile: Profile,
    sine: Sine,
    *,
    relaxing_ps: float | None = None,
) -> Expected | None:
    """A sine's half cycle with E > 0, from rest, by water that has the spread and the time
    constants of the steps.

    Fields in between are interpolated, beyond them the nearest counts.
    Only fits that fix τ are used; None where a direction has no such fit. Where relaxation takes
    longer than the steps lasted no fit says so: ``relaxing_ps`` takes that τ for every field
    instead, to see what depends on it. The interval is that of normal draws of every spread, and of
    every τ's logarithm, from its own interval.
    """
    taus = times_of(steps)
    if any(not len(taus.get(d, NO_TIMES).x) for d in DIRECTIONS):
        return None
    ends = [_ends(found, profile, name) for name, found in (("step_up", up), ("step_down", down))]
    if not any(ends):
        return None
    settled = _spread(
        {E: [by_E[E] for by_E in ends if E in by_E] for E in sorted(set().union(*ends))}
    )
    half_ps = sine.period_ps / 2
    points = max(POINTS_PER_HALF_CYCLE, round(half_ps / LONGEST_STEP_PS))
    t = np.linspace(0.0, half_ps, points + 1)
    amplitude = abs(sine.amplitude_V_per_nm)  # of the half cycle with E > 0
    E = amplitude * np.sin(np.pi * t / half_ps)
    rng = np.random.default_rng(0)

    def drawn(curve: Curve, *, logarithm: bool) -> FloatArray:
        value, low, high = (np.log(v) if logarithm else v for v in curve[1:])
        error = np.nan_to_num((high - low) / (2 * TWO_SIDED_95))
        rows = value + error * rng.standard_normal((DRAWS, len(value)))
        rows = np.vstack([value, rows])  # the measured values come first
        return np.array([np.interp(E, curve.x, np.exp(r) if logarithm else r) for r in rows])

    ordering, relaxing = (drawn(taus[d], logarithm=True) for d in DIRECTIONS)
    if relaxing_ps is not None:
        relaxing = np.full_like(relaxing, relaxing_ps)
    width = water.lagging_width(t, drawn(settled, logarithm=False), ordering, relaxing)
    peak = int(np.argmax(E))
    at = np.linspace(0.0, amplitude, FIELDS + 2)[1:-1]
    rising = np.array([np.interp(at, E[: peak + 1], w[: peak + 1]) for w in width])
    falling = np.array([np.interp(at, E[peak:][::-1], w[peak:][::-1]) for w in width])
    units = float(min(f.tau.n_independent for d in DIRECTIONS for f in steps.fits[d].values()))
    method = f"{DRAWS} normal draws from the intervals of the steps"
    gap = falling - rising
    extreme = gap[np.arange(len(gap)), np.abs(gap).argmax(axis=1)]

    def over_draws(values: FloatArray) -> Estimate:
        low, high = _limits(values).tolist()
        return Estimate(float(values[0]), low, high, units, method)

    return Expected(
        sine,
        {
            direction: Curve(at, draws[0], *_limits(draws))
            for direction, draws in (("forward", rising), ("reverse", falling))
        },
        Curve(at, gap[0], *_limits(gap)),
        over_draws(extreme),
        over_draws(gap.mean(axis=1)),
    )


def _limits(draws: FloatArray) -> FloatArray:
    """Ends of the 95 % interval of draws whose scatter already allows for few replicas."""
    return np.quantile(draws[1:], (0.025, 0.975), axis=0)


MEMORY = (
    "sine", "fastest change of the field (V/nm per ps)", "largest (°)", "at E (V/nm)",
    "mean over E > 0 (°)", "measured (°)",
)  # fmt: skip
"""Columns of :func:`rows_of_memory`: σθ of the reverse sweep less that of the forward one."""


def rows_of_memory(
    found: Mapping[str, Expected], measured: Mapping[str, Estimate] | None = None
) -> list[tuple[str, ...]]:
    """Lines of a table, one for each name; the columns are :data:`MEMORY`.

    ``measured`` holds the mean over positive fields of the sines that were run.
    """
    out = []
    for name, one in found.items():
        sine = one.sine
        fastest = 2 * np.pi * sine.frequency_GHz / 1000 * abs(sine.amplitude_V_per_nm)
        largest, mean = (f"{v.value:.1f} [{v.low:.1f}, {v.high:.1f}]" for v in one[-2:])
        mean_of_run = (measured or {}).get(name)
        seen = scorecard.describe(mean_of_run) if mean_of_run else "not run"
        at = f"{one.gap.x[np.abs(one.gap.value).argmax()]:.2g}"
        cells = (name, f"{fastest:.2g}", largest, at, mean, seen)
        out.append(tuple(cell.replace("-", "−") for cell in cells))
    return out


OCCUPANTS = ("none", "K⁺", "Cl⁻", "both")
"""Ions in the pore: 1 for K⁺ and 2 for Cl⁻ add up to the place."""
FIELD_BIN_V_per_nm = 0.3
LEAST_FRAMES = 20
"""Fewer frames with some kind of ion, of all replicas, say nothing of the water beside it."""


def _occupant(data: xr.Dataset) -> npt.NDArray[np.int64]:
    """Place in :data:`OCCUPANTS` (replica, time)."""
    there = data["ions_in_pore"].transpose("species", "replica", "time") > 0
    return np.asarray(there.sel(species="K").values + 2 * there.sel(species="Cl").values)


class Beside(NamedTuple):
    """The pore's water while no ion, K⁺, Cl⁻ or both are in the pore with it.

    ``share`` of the frames in this range of field, ``molecules`` of water on average, ``replicas``
    in which it was seen, and the spread over those, by the direct width.
    """

    share: float
    molecules: float
    replicas: int
    spread_deg: Estimate


def beside_ions(data: xr.Dataset, profile: Profile) -> dict[tuple[str, str], Beside]:
    """The pore's water with and without ions beside it, over a sine or at a constant field.

    Of a constant field only the later half is used, when the reservoirs are mostly charged.

    Returns
    -------
    dict of (str, str) to Beside
        By field, in ranges of :data:`FIELD_BIN_V_per_nm` where it changes, and by
        :data:`OCCUPANTS`; those of fewer than :data:`LEAST_FRAMES` frames are left out.
    """
    constant = np.ptp(data["field"].values) <= 1e-6
    if constant:
        time = data["time"].values
        data = data.isel(time=np.flatnonzero(time >= 0.5 * time[-1]))
    E = data["field"].values[0] / profile.field_scale
    largest = np.ceil(np.abs(E).max() / FIELD_BIN_V_per_nm - 1e-9)
    edges = FIELD_BIN_V_per_nm * np.arange(-largest, largest + 1)
    place = np.clip(np.digitize(E, edges) - 1, 0, len(edges) - 2)
    theta = data["theta"].transpose("replica", "time", "slot").values
    occupant = _occupant(data)
    out = {}
    for bin_ in np.unique(place):
        here = place == bin_
        ends = E[:1] if constant else edges[bin_ : bin_ + 2]
        fields = " to ".join(f"{e:.2g}" for e in ends).replace("-", "−")
        for k, name in enumerate(OCCUPANTS):
            chosen = here & (occupant == k)
            if chosen.sum() < LEAST_FRAMES:
                continue
            seen = chosen.any(axis=1)
            angles = np.where(chosen[..., None], theta, np.nan)[seen]
            width = water.sigma_in_groups(angles, np.zeros(len(E), dtype=int), np.zeros(1))
            out[fields, name] = Beside(
                float(chosen.sum() / (here.sum() * len(occupant))),
                float(np.isfinite(angles).sum() / chosen.sum()),
                int(seen.sum()),
                width.sigma_deg.at(0),
            )
    return out


BESIDE = ("run", "E (V/nm)", "ions in the pore", "share of time (%)", "replicas",
          "water in the pore", "σθ (°)")  # fmt: skip
"""Columns of :func:`rows_beside_ions`."""


def rows_beside_ions(found: Mapping[str, xr.Dataset], profile: Profile) -> list[tuple[str, ...]]:
    """Lines of a table, by run, field and ions; the columns are :data:`BESIDE`.

    Fields at which no ion was in the pore are left out.
    """
    out: list[tuple[str, ...]] = []
    for run, data in found.items():
        lines = beside_ions(data, profile)
        with_ions = {fields for fields, ions in lines if ions != "none"}
        out += [
            (
                run, fields, ions, f"{100 * one.share:.0f}", f"{one.replicas}",
                f"{one.molecules:.1f}", scorecard.describe(one.spread_deg),
            )
            for (fields, ions), one in lines.items()
            if fields in with_ions
        ]  # fmt: skip
    return out


STAYS = ("runs", "ion", "in how many", "share of time (%)", "longest stay (ps)")
"""Columns of :func:`rows_of_stays`."""


def rows_of_stays(found: Mapping[str, Sequence[xr.Dataset]]) -> list[tuple[str, ...]]:
    """How long ions are in the pore, by runs and species; the columns are :data:`STAYS`.

    A stay that lasts until its run ends is marked as a lower bound; those of one species that
    overlap count as one.
    """
    return [
        (name, SPECIES_NAME[species], *_stays(runs, species))
        for name, runs in found.items()
        for species in runs[0]["species"].values
    ]


def _stays(runs: Sequence[xr.Dataset], species: str) -> tuple[str, str, str]:
    """Replicas in which the species was in the pore, its share of time, its longest stay."""
    seen, replicas, inside_ps, whole_ps, longest_ps, cut = 0, 0, 0.0, 0.0, 0.0, False
    for data in runs:
        time = data["time"].values
        lasts = np.diff(time, append=time[-1])  # of a frame; those of one run can differ
        for row in (
            data["ions_in_pore"].sel(species=species).transpose("replica", "time").values > 0
        ):
            replicas, seen = replicas + 1, seen + bool(row.any())
            inside_ps, whole_ps = inside_ps + lasts[row].sum(), whole_ps + lasts.sum()
            changes = np.flatnonzero(np.diff(row, prepend=False, append=False))
            for begin, end in changes.reshape(-1, 2):
                if (length := float(lasts[begin:end].sum())) > longest_ps:
                    longest_ps, cut = length, end == len(row)
    share = f"{100 * inside_ps / whole_ps:.2g}"
    return f"{seen} of {replicas}", share, f"{'≥ ' if cut else ''}{longest_ps:.3g}"
