"""Currents: from series of sines and constant fields to Figs. 1B, 1C and 4 and their claims.

Every number comes with the same number from the control, the membrane without a pore,
where that was run. Fields are those of the reference box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr

from ..errors import MeasureError
from ..measure import current, series
from ..measure.current import ComplexArray
from ..measure.statistics import FEWEST_UNITS, Estimate, band, draw_sums, estimate
from ..spec import Profile, Sine
from . import passages, scorecard
from .figures import ESTIMATOR_NAME, SPECIES_NAME, Curve, FloatArray
from .results import (
    MEMBRANES,
    NOT_IN_PROFILE,
    NOTHING,
    Drive,
    both_polarities,
    choices,
    opened,
    replicas_of,
    shipped_name,
    ships,
    sines,
)

POINTS_OF_A_CYCLE = 50
"""Points at which a current is drawn against time: more are noise."""
ONSET_TOLERANCE_V_PER_NM = 0.2
"""How far an onset may lie from the published one, which was read off a curve."""

POLARITIES: tuple[tuple[current.Polarity, Literal["positive", "negative"], str], ...] = (
    (1, "positive", "E > 0"),
    (-1, "negative", "E < 0"),
)
JANUS, SYMMETRIC = "mosse", "mosse_symmetric"
CHARGE_SETS = {
    name: panel + MEMBRANES[name]
    for name, panel in (
        (JANUS, ""), (SYMMETRIC, "4A: "), ("mosse_polar", "4B: "), ("uncharged", "4C: "),
        ("mos2", "4D: "),
    )
}  # fmt: skip
"""Charge sets in the paper's order, with names for the reader."""

MEASURES = (
    "NDR onset,\nE > 0 (V/nm)", "NDR onset,\nE < 0 (V/nm)", "loop area,\nE > 0 (nA·V/nm)",
    "asymmetry\n(I₊ − I₋)/(I₊ + I₋)",
)  # fmt: skip
"""What the charge sets are compared by."""

LEAST_PASSAGES = 10
"""Fewest passages of ions at a polarity for a verdict on their current. Were either sweep as likely
for an ion, one of ten or fewer would be alone in the other sweep in 2 % of all cases, one of eight
in 7 %."""

Branches = dict[tuple[current.Polarity, current.Direction], current.Branch]


class Sweeps(NamedTuple):
    """One quantity's current over whole cycles of a sine, in fields of the reference box.

    ``time_ps`` and ``field_V_per_nm`` (windows,) and ``current_nA`` (units, windows) are in
    the order of time over one cycle; a unit is a replica's mean cycle, or each cycle where
    replicas are few. ``single_ions`` is whether each passage of an ion stands out in it;
    ``passages`` then counts, by the field's sign, ions that passed the middle plane along it in
    either sweep, those against it taken off.
    """

    time_ps: FloatArray
    field_V_per_nm: FloatArray
    current_nA: FloatArray
    branches: Branches
    single_ions: bool = False
    passages: Mapping[current.Polarity, int] | None = None

    def curves(self) -> dict[str, Curve]:
        """Sweep direction to current against field, both polarities in one line."""
        return both_polarities(
            {k: Curve.of(b.field_V_per_nm, b.current_nA) for k, b in self.branches.items()}
        )

    @property
    def response(self) -> ComplexArray:
        """Current at the drive's frequency over the field, (units,) nA per V/nm."""
        return current.response(self.field_V_per_nm, self.current_nA)


class Driven(NamedTuple):
    """A system driven by the sine: loops by estimator and species (``total``, ``K``, ``Cl``).

    ``loops`` is empty where the system was not run, and ``why`` then says so. ``crossings``
    counts passages of the membrane's middle plane, either way, by species. ``drive`` is the
    profile's own sine where none is given; ``along_field`` is the net number of passages along
    it by its sign (``E > 0``, ``E < 0``), sweep direction and species. Of ``units`` replicas or
    cycles are the intervals.
    """

    profile: Profile
    loops: dict[str, dict[str, Sweeps]]
    run: str = ""
    units: int = 0
    crossings: Mapping[str, int] = {}
    why: str = ""
    drive: Drive | None = None
    along_field: Mapping[str, Mapping[str, Mapping[str, int]]] = {}
    replicas: int = 0

    @property
    def sine(self) -> Sine:
        """The waveform that drove it, before scaling."""
        return (self.drive or sines(self.profile)[0]).waveform

    @property
    def independent(self) -> str:
        """Number of independent units, in words."""
        unit = "replica" if self.units == self.replicas else "cycle"
        return f"{self.units} {unit}" + ("s" if self.units != 1 else "")

    def curves(self, estimator: str, species: str = "total") -> dict[str, Curve]:
        """Sweep direction to curve; nothing where the system was not run."""
        return self.loops[estimator][species].curves() if self.loops else {}


def sweeps(
    data: xr.Dataset, waveform: Sine, profile: Profile, *, window_ps: float | None = None
) -> dict[str, dict[str, Sweeps]]:
    """Current against field by estimator and species (``total``, ``K``, ``Cl``).

    Parameters
    ----------
    data
        The sine's series with dimension ``replica``.
    waveform
        As in the profile, before scaling.
    profile
        The run's profile.
    window_ps
        Of the current; by default the profile's. Where a period does not hold a whole number of
        them they are made a little longer, so that all cycles are in phase.

    Raises
    ------
    MeasureError
        If the sine has less than a whole cycle.

    Notes
    -----
    Units are those of :func:`janus_pore.measure.current.cycles_as_units`. |E| is binned evenly,
    about one bin for each window of a quarter cycle and at most 24.
    """
    if waveform.cycles < 1 - 1e-6:
        raise MeasureError(
            f"cycles = {waveform.cycles:g} of a sine of profile {profile.name!r}: a loop needs at "
            "least one whole cycle; raise cycles"
        )
    period = waveform.period_ps
    window = profile.run.current_window_ps if window_ps is None else window_ps
    window = current.window_of_cycles(window, period)
    time = data["time"].values
    end = time[0] + period * waveform.whole_cycles
    charge = data["charge"].transpose("replica", "estimator", "species", "time").values
    centre, nA = current.current_from_charge(*current.carried_on(charge, time, end), window)
    _, E = current.window_average(*current.carried_on(data["field"].values, time, end), window)
    nA = current.cycles_as_units(current.cut_cycles(nA, centre, period))
    E = current.cut_cycles(E, centre, period)[0, 0] / profile.field_scale
    centre = centre[: len(E)] - time[0]
    bins = int(np.clip(len(E) // 5, 4, 24))
    edges = np.linspace(0.0, abs(waveform.amplitude_V_per_nm), bins + 1)
    unit = "replicas" if len(nA) == data.sizes["replica"] else "cycles"
    passed = {polarity: passages.along_field(data, polarity) for polarity, _, _ in POLARITIES}
    out: dict[str, dict[str, Sweeps]] = {}
    for k, estimator in enumerate(data["estimator"].values.tolist()):
        parts = {name: nA[:, k, s] for s, name in enumerate(data["species"].values.tolist())}
        parts = {"total": sum(parts.values(), np.zeros_like(nA[:, 0, 0])), **parts}
        out[estimator] = {
            name: Sweeps(
                centre,
                E,
                value,
                current.sweep(E, value, edges, unit=unit),
                estimator != "box",
                None
                if estimator == "box"
                else {k: passages.of_ions(p, name) for k, p in passed.items()},
            )
            for name, value in parts.items()
        }
    return out


def driven(profile: Profile, *, window_ps: float | None = None) -> Driven:
    """The sine's loops of a system that must have been run.

    Parameters
    ----------
    profile
        The system's profile.
    window_ps
        Of the current; by default the profile's.

    Raises
    ------
    MissingInputError
        If it was not; the message names what runs it.
    """
    drive = sines(profile)[0]
    data = series.open_protocol(profile, drive.protocol)
    return _driven(profile, drive, data[drive.label], window_ps)


def driven_if_run(
    profile: Profile, *, drive: Drive | None = None, window_ps: float | None = None
) -> Driven:
    """The loops of a further system; empty where it was not run.

    Parameters
    ----------
    profile
        The system's profile.
    drive
        Which sine; by default its first.
    window_ps
        Of the current; by default the profile's.
    """
    if drive is None and not profile.sweep:
        return Driven(profile, {}, why=NOT_IN_PROFILE)
    drive = drive or sines(profile)[0]
    data, why = opened(profile, drive.protocol)
    if not data:
        return Driven(profile, {}, why=why, drive=drive)
    return _driven(profile, drive, data[drive.label], window_ps)


def shipped(one: Driven, *, window_ps: float | None = None) -> tuple[Driven, str]:
    """The loops that ship for a system, to stand behind its own, and what they rest on.

    Empty where none ships, or where it is what is shown anyhow.
    """
    theirs = ships(one.profile)
    found = driven_if_run(theirs, window_ps=window_ps) if theirs else Driven(one.profile, {})
    if not found.loops:
        return found, ""
    run = f"{found.run}, {found.sine.frequency_GHz:g} GHz"
    return found, shipped_name(found.profile, one.profile, run)


def of_charge_sets(one: Driven, *, window_ps: float | None = None) -> dict[str, Driven]:
    """A system and the same with every other charge set of the paper, run or not."""
    own = one.profile
    asked = {
        other.system.charge_set: other
        for other in own.siblings()
        if set(other.changed) == {"charge_set"} and own.sweep in other.protocols
    }
    out = {}
    for name in CHARGE_SETS:
        if name == own.system.published_charges:
            out[name] = one
            continue
        other = asked.get(name) or own.with_charge_set(name)
        out[name] = driven_if_run(other, window_ps=window_ps)
        if not out[name].loops and name not in asked:
            out[name] = out[name]._replace(why=NOT_IN_PROFILE)
    return out


def of_alternatives(one: Driven, *, window_ps: float | None = None) -> dict[str, Driven]:
    """Another pore, or other van der Waals parameters, under the same sine: those that were run,
    as :func:`janus_pore.show.results.choices` names them."""
    own = one.profile
    drive = one.drive or sines(own)[0]
    each = {
        name: driven_if_run(other, drive=drive, window_ps=window_ps)
        for name, other in choices(own).items()
        if other is not own and other.system.charge_set == own.system.charge_set
    }
    return {name: found for name, found in each.items() if found.loops}


def basis(one: Driven) -> str:
    """What a figure of a system's loops rests on, for the line beneath it."""
    bands = "bands: 95 % bootstrap" if one.units >= FEWEST_UNITS else "too few for intervals"
    return (
        f"{scorecard.system_name(one.profile.system)}; {one.run}; "
        f"{one.sine.frequency_GHz:g} GHz, n = {one.independent}; {bands}"
    )


def _driven(profile: Profile, drive: Drive, data: xr.Dataset, window_ps: float | None) -> Driven:
    loops = sweeps(data, drive.waveform, profile, window_ps=window_ps)
    return Driven(
        profile,
        loops,
        replicas_of(data, drive.protocol),
        len(loops["box"]["total"].current_nA),
        passages.both_ways(data),
        drive=drive,
        along_field={
            sign: passages.along_field(data, polarity) for polarity, _, sign in POLARITIES
        },
        replicas=data.sizes["replica"],
    )


# --- numbers of a loop ------------------------------------------------------------------

NUMBERS = (
    "system", "current", "NDR, E > 0", "NDR, E < 0", "area, E > 0 (nA·V/nm)",
    "area, E < 0 (nA·V/nm)", "gap at E = 0", "(I₊ − I₋)/(I₊ + I₋)",
)  # fmt: skip
"""Columns of :func:`numbers`."""


def numbers(name: str, one: Driven) -> list[tuple[str, ...]]:
    """Onsets, areas with their direction, gap and asymmetry of a system, by estimator."""
    rows = []
    for estimator, species in one.loops.items():
        total = species["total"]
        areas = loop_areas(total)
        rows.append(
            (
                name,
                ESTIMATOR_NAME[estimator],
                *(onset_in_words(total, polarity) for polarity, _, _ in POLARITIES),
                *(_area_in_words(areas[side]) for _, side, _ in POLARITIES),
                scorecard.describe(pinched(total).relative_gap),
                scorecard.describe(asymmetry(total)),
            )
        )
    return rows or [(name, one.why, *("–" for _ in NUMBERS[2:]))]


def onset_in_words(one: Sweeps, polarity: current.Polarity) -> str:
    """Whether the forward sweep shows negative differential resistance, and from where."""
    branch = one.branches.get((polarity, "forward"))
    if branch is None:
        return "no sweep"
    onset = current.ndr_onset(branch)
    if onset.verdict == "found":
        return f"from {scorecard.describe(onset.onset_V_per_nm, 'V/nm')}"
    return onset.verdict


def _area_in_words(area: Estimate) -> str:
    text = scorecard.describe(area)
    if area.excludes(0.0):
        text += ", reverse below forward" if area.value > 0 else ", reverse above forward"
    return text


def loop_areas(one: Sweeps) -> dict[str, Estimate]:
    """∮ I dE over ``positive`` and ``negative`` fields and the ``whole`` cycle, nA·V/nm."""
    areas = current.loop_area(one.field_V_per_nm, one.current_nA)
    return {str(name): area for name, area in areas.items()}


def pinched(one: Sweeps) -> current.Pinch:
    """Currents at E = 0, from the windows nearest to it (a tenth of the amplitude, or more
    if that holds fewer than three on a side)."""
    E = one.field_V_per_nm
    rising = np.gradient(E) > 0
    third = (1.001 * np.sort(np.abs(E[side]))[2:3] for side in (rising, ~rising))
    near = float(np.max(np.concatenate([[0.1 * np.abs(E).max()], *third])))
    event_ps = float(np.diff(one.time_ps).mean()) if one.single_ions else None
    return current.pinch(E, one.current_nA, near_V_per_nm=near, event_ps=event_ps)


def asymmetry(one: Sweeps) -> Estimate:
    """How much more current the forward sweep carries for +E than for -E, relative."""
    plus, minus = (one.branches.get((polarity, "forward")) for polarity, _, _ in POLARITIES)
    if plus is None or minus is None:
        return NOTHING
    try:
        return current.asymmetry(plus, minus)[2]
    except MeasureError:  # too few bins in common
        return NOTHING


def threshold_asymmetry(one: Sweeps) -> tuple[Estimate, FloatArray]:
    """|onset| for -E less that for +E with its draws; no number unless both are found."""
    plus, minus = (one.branches.get((polarity, "forward")) for polarity, _, _ in POLARITIES)
    if plus is None or minus is None:
        return NOTHING, np.array([])
    return current.threshold_asymmetry(plus, minus)


# --- transport and charging ---------------------------------------------------------------


class Share(NamedTuple):
    """Part of the whole-box current at the drive's frequency, by what carries it."""

    name: str
    value: Estimate


def over_the_cycle(one: Driven) -> dict[str, Curve]:
    """Mean current against time over a cycle: the three estimators, and the charging.

    Windows are averaged to at most :data:`POINTS_OF_A_CYCLE`.
    """
    if not one.loops:
        return {}
    totals = {estimator: species["total"] for estimator, species in one.loops.items()}
    _, charging = current.split_charging(np.stack([total.current_nA for total in totals.values()]))
    parts = {name: total.current_nA for name, total in totals.items()} | {"charging": charging}
    time = totals["box"].time_ps
    size = -(-len(time) // POINTS_OF_A_CYCLE)
    groups = [slice(k, k + size) for k in range(0, len(time), size)]

    def joined(values: FloatArray) -> FloatArray:
        return np.stack([values[..., group].mean(axis=-1) for group in groups], axis=-1)

    return {
        name: Curve.of(
            joined(time),
            band(draw_sums(joined(nA)) / len(nA), len(nA), f"bootstrap over {len(nA)}"),
        )
        for name, nA in parts.items()
    }


def shares(pore: Driven, control: Driven) -> list[Share]:
    """What carries the whole-box current of the pore, and what the control carries of it."""
    box, slab, crossing = (pore.loops[e]["total"].response for e in ("box", "pore", "crossings"))
    out = [
        Share("charging (whole box − pore slab)", current.share(box - slab, box)),
        Share("transport, pore slab", current.share(slab, box)),
        Share("transport, mid-plane crossings", current.share(crossing, box)),
    ]
    if control.loops:
        alone = control.loops["box"]["total"].response
        out.append(Share("whole box without a pore", current.share(alone, box, paired=False)))
    return out


def capacitance(one: Driven) -> Estimate:
    """Charge in e that the reservoirs take up per volt, from the part a quarter cycle ahead.

    The response of the charging current, box minus slab, is i ω C for a capacitor that
    keeps up with the drive; one that does not (its liquid conducts too slowly) seems smaller.
    """
    drawn, omega = _charging_per_volt(one)
    return estimate(drawn.imag / omega, one.units, f"bootstrap over {one.units}")


def charging_time(one: Driven) -> Estimate:
    """Time constant in ps of a capacitor charged through a resistor, from the charging's phase.

    Such a pair answers by i ω C / (1 + i ω τ), whose parts in phase and a quarter cycle ahead
    are as ω τ to one.
    """
    drawn, omega = _charging_per_volt(one)
    return estimate(
        drawn.real / (drawn.imag * omega), one.units, f"bootstrap over {one.units}", positive=True
    )


def charging_at(one: Driven, frequency_GHz: float, volts: float) -> Estimate:
    """Current in nA that another sine draws where it is zero, by :func:`charging_time`'s pair.

    Its capacitor C and time constant τ follow from both parts of the response; a sine of ω that
    has gone on for long draws ω C / (1 + ω² τ²) per volt a quarter cycle ahead. The run begins at
    rest, with its field at zero: until it is charged such a pair answers in the same phase and by
    2 τ / (T (1 + ω² τ²)) less, T being what was averaged over, where τ is short beside that.

    Parameters
    ----------
    one
        The system, driven by a sine.
    frequency_GHz, volts
        Frequency and amplitude of the other.
    """
    drawn, omega = _charging_per_volt(one)
    tau_ps = drawn.real / (drawn.imag * omega)
    lag = 1 + (omega * tau_ps) ** 2
    averaged_ps = one.sine.period_ps * one.sine.whole_cycles
    begun = 1 - 2 * tau_ps * (1 - np.exp(-averaged_ps / tau_ps)) / (averaged_ps * lag)
    ahead = drawn.imag / omega * lag / begun
    other = 2 * np.pi * frequency_GHz / 1000
    per_volt = other * ahead / (1 + (other * tau_ps) ** 2)
    return estimate(
        current.NANOAMPERE_PER_E_PER_PS * volts * per_volt, one.units, f"bootstrap over {one.units}"
    )


def _charging_per_volt(one: Driven) -> tuple[ComplexArray, float]:
    """Draws of the charging current's response, e/ps per V, and the drive's ω in 1/ps."""
    box, slab = (one.loops[e]["total"].response for e in ("box", "pore"))
    scale = one.profile.reference_length_x_nm * current.NANOAMPERE_PER_E_PER_PS
    in_phase, ahead = (draw_sums(part) for part in ((box - slab).real, (box - slab).imag))
    drawn: ComplexArray = np.asarray(in_phase + 1j * ahead, np.complex128) / (len(box) * scale)
    return drawn, 2 * np.pi * one.sine.frequency_GHz / 1000


def split_rows(pore: Driven, control: Driven) -> list[tuple[str, str]]:
    """The split in numbers: shares, charge taken up per volt, passages of the middle plane."""
    rows = [
        (share.name, f"{scorecard.describe(share.value)} of the whole-box current")
        for share in shares(pore, control)
    ]
    for name, one in (("with the pore", pore), ("without a pore", control)):
        if one.loops:
            taken = scorecard.describe(capacitance(one), "e/V")
            rows += [
                (f"charge taken up, {name}", taken),
                (f"passages of the middle plane, {name}", passages.in_words(one.crossings)),
            ]
    return rows


def by_frequency(
    one: Driven, control: Driven, *, window_ps: float | None = None
) -> list[tuple[Driven, Driven]]:
    """A system and its control under every sine of the profile, slowest first.

    Those that were not run with the pore are left out.
    """
    first, *others = sines(one.profile)
    found = [(one._replace(drive=first), control._replace(drive=first))]
    found += [
        (
            driven_if_run(one.profile, drive=drive, window_ps=window_ps),
            driven_if_run(control.profile, drive=drive, window_ps=window_ps),
        )
        for drive in others
    ]
    ran = [pair for pair in found if pair[0].loops]
    return sorted(ran, key=lambda pair: pair[0].sine.frequency_GHz)


SYSTEMS = (
    "system", "area, E > 0 (nA·V/nm)", "area, E < 0 (nA·V/nm)", "through the pore's slab",
    "charge taken up (e/V)", "time constant of charging (ps)", "net passages along E > 0",
    "along E < 0",
)  # fmt: skip
"""Columns of :func:`rows_of_systems`; areas and share are of the whole box's current."""
FREQUENCIES = ("drive", *SYSTEMS)
"""Columns of :func:`rows_by_frequency`."""


def rows_of_systems(found: Mapping[str, Driven]) -> list[tuple[str, ...]]:
    """What each system answers to its sine: loop, transport, charging, passages."""
    rows = []
    for name, one in found.items():
        if not one.loops:
            rows.append((name, one.why, *("–" for _ in SYSTEMS[2:])))
            continue
        box, slab = (one.loops[e]["total"] for e in ("box", "pore"))
        areas = loop_areas(box)
        rows.append(
            (
                name,
                *(scorecard.describe(areas[side]) for _, side, _ in POLARITIES),
                _percent(current.share(slab.response, box.response)),
                scorecard.describe(capacitance(one)),
                scorecard.describe(charging_time(one)),
                *(passages.by_sweep(one.along_field[sign]) for _, _, sign in POLARITIES),
            )
        )
    return rows


def rows_by_frequency(found: Sequence[tuple[Driven, Driven]]) -> list[tuple[str, ...]]:
    """What depends on the frequency of the sine, with the pore and without."""
    return [
        (one.drive.name if one.drive else "", *row)
        for one, same in found
        for row in rows_of_systems({"with the pore": one, "without a pore": same})
    ]


def finding(pore: Driven, control: Driven) -> str:
    """What the current of this run is, in words: how much charging, how much transport."""
    parts = {share.name: share.value for share in shares(pore, control)}
    charging, transport = (parts[name] for name in list(parts)[:2])
    drive = f"{pore.sine.frequency_GHz:g} GHz, n = {pore.independent}"
    text = (
        f"Of the whole-box current at the drive's frequency ({drive}), {_percent(charging)} is "
        f"the reservoirs charging the membrane and {_percent(transport)} is carried through the "
        f"pore's slab; in that time {_crossed_in_all(pore)}. "
    )
    if control.loops:
        text += (
            "The same membrane without a pore shows "
            f"{_percent(parts['whole box without a pore'])} of that current. "
        )
    else:
        text += f"The membrane without a pore: {control.why}. "
    if not pore.profile.evidence:
        return text + f"Profile {pore.profile.name} is too small for any of it to mean something."
    if charging.enough and charging.low > 0.5:
        return text + "The loop of the whole-box current is mostly charging, not transport."
    if transport.enough and transport.low > 0.5:
        return text + "The whole-box current is mostly transport through the pore."
    return text + "Samples are too few to say with confidence which of the two is larger."


def _crossed_in_all(one: Driven) -> str:
    """Passages along the field over the whole cycle, those against it taken off, and all."""
    if not any(one.crossings.values()):
        return "no ion crossed the membrane's middle plane"
    sweeps = [n for by_sweep in one.along_field.values() for n in by_sweep.values()]
    net = {species: sum(n[species] for n in sweeps) for species in one.crossings}
    return (
        f"{passages.in_words(net)} more crossed the membrane's middle plane along the field than "
        f"against it, in {sum(one.crossings.values())} passages"
    )


def _percent(share: Estimate) -> str:
    if not np.isfinite(share.value):
        return "an undetermined share"
    value, low, high = (
        f"{round(100 * v)}" if np.isfinite(v) else "" for v in (share.value, share.low, share.high)
    )
    return (f"{value} % [{low}, {high}]" if share.enough else f"{value} %").replace("-", "−")


# --- claims -----------------------------------------------------------------------------


def claims(
    one: Driven, control: Driven, by_charge_set: Mapping[str, Driven] | None = None
) -> list[scorecard.Row]:
    """Judge what the paper says of the loop, under each estimator of the current.

    Claims 1 to 5 are about the charge set ``mosse`` with a pore, claims 12 to 15 about the
    other sets, claim 16 compares two of them; a membrane without a pore is the control and
    bears on none of them, nor does one with charges of one's own.

    Parameters
    ----------
    one
        The profile's system.
    control
        The same without a pore, put to the same tests.
    by_charge_set
        The other charge sets that were run, for claims 12 to 16.
    """
    own = one.profile.system
    sets = {own.charge_set: one} | {
        name: other
        for name, other in (by_charge_set or {}).items()
        if other.loops and name != own.charge_set
    }
    if own.pore == "none" or own.published_charges is None:  # nothing is said of other charges
        return []
    rows = [
        scorecard.of_system(
            scorecard.row(
                number,
                _tests_of_system(number, species, system),
                estimator=estimator,
                run=system.run,
                control=_tests_of_control(number, control, estimator),
                control_run=control.run,
            ),
            system.profile,
            control.profile,
        )
        for system in sets.values()
        for estimator, species in system.loops.items()
        for number in _about(system.profile.system.charge_set)
    ]
    return rows + (_claim_16(sets, control) if JANUS in sets else [])


def _about(charge_set: str) -> list[int]:
    """Numbers of the claims about a charge set's loop."""
    if charge_set == JANUS:
        return [1, 2, 3, 4, 5]
    return [
        c.id
        for c in scorecard.claims("03_iv_ndr")
        if c.values.get("charge_set", JANUS) == charge_set
    ]


def _tests(number: int, species: Mapping[str, Sweeps], profile: Profile) -> list[scorecard.Part]:
    """The parts of one claim, on whatever system's loops."""
    total = species["total"]
    if number in (1, 2):
        polarity, _, sign = POLARITIES[number - 1]
        slope, onset = _negative_slope(total, polarity, profile, f"drop beyond the maximum, {sign}")
        if onset is None or onset.verdict != "found":
            return [slope]
        stated = float(scorecard.claim(number).values["onset_V_per_nm"])
        region = (stated - ONSET_TOLERANCE_V_PER_NM, stated + ONSET_TOLERANCE_V_PER_NM)
        return [
            slope,
            scorecard.judge("onset", onset.onset_V_per_nm, region, profile, unit="V/nm"),
        ]
    if number == 3:
        gap = pinched(total)
        holds = {"pinched": True, "open": False}.get(gap.verdict)
        name = "gap at E = 0 over the largest |I|"
        return [scorecard.decided(name, gap.relative_gap, holds, profile)]
    if number == 4:
        return _memory(total, profile, "loop area")
    if number == 5:
        return [
            part
            for name in ("K", "Cl")
            for part in _slope_and_memory(species[name], profile, f"{SPECIES_NAME[name]} ")
        ]
    return _slope_and_memory(total, profile, "")


def _tests_of_system(
    number: int, species: Mapping[str, Sweeps], system: Driven
) -> list[scorecard.Part]:
    """The parts of one claim on a system with a pore; where nothing passed yet, none is decided."""
    parts = scorecard.of_replicas(_tests(number, species, system.profile), system.replicas)
    return parts if species["total"].current_nA.any() else scorecard.undecided(parts)


def _slope_and_memory(one: Sweeps, profile: Profile, name: str) -> list[scorecard.Part]:
    slope, _ = _negative_slope(one, 1, profile, f"{name}drop beyond the maximum, E > 0")
    return [slope, *_memory(one, profile, f"{name}loop area")]


def _negative_slope(
    one: Sweeps, polarity: current.Polarity, profile: Profile, name: str
) -> tuple[scorecard.Part, current.Onset | None]:
    """Whether the current of the forward sweep falls beyond a maximum."""
    branch = one.branches.get((polarity, "forward"))
    if branch is None or len(branch.field_V_per_nm) < 2:
        return scorecard.decided(name, NOTHING, None, profile), None
    onset = current.ndr_onset(branch)
    holds = {"found": True, "not found": False}.get(onset.verdict)
    parts = [scorecard.decided(name, onset.drop, holds, profile)]
    return (scorecard.undecided(parts) if _few(one, polarity) else parts)[0], onset


def _memory(one: Sweeps, profile: Profile, name: str) -> list[scorecard.Part]:
    """Whether the reverse sweep carries less current: area of the loop for each polarity."""
    found = loop_areas(one)
    parts = []
    for polarity, side, sign in POLARITIES:
        part = [
            scorecard.judge(f"{name} {sign}", found[side], (0.0, np.inf), profile, unit="nA·V/nm")
        ]
        parts += scorecard.undecided(part) if _few(one, polarity) else part
    return parts


def _few(one: Sweeps, polarity: current.Polarity) -> bool:
    """Whether a current is so few ions that drawing replicas anew does not tell their scatter."""
    return one.passages is not None and one.passages[polarity] < LEAST_PASSAGES


def _tests_of_control(number: int, control: Driven, estimator: str) -> list[scorecard.Part]:
    """The parts of one claim on the control; none where it was not run.

    Where nothing passed at all, as is certain for crossings of a whole membrane, there is no
    current to fall or to remember. (Nor one to be pinched: of that it says nothing.)
    """
    if not control.loops:
        return []
    species = control.loops[estimator]
    if number != 3:  # none has to pass to show that nothing falls or remembers
        species = {name: one._replace(passages=None) for name, one in species.items()}
    parts = _tests(number, species, control.profile)
    parts = scorecard.of_replicas(parts, control.replicas)
    if number == 3 or species["total"].current_nA.any():
        return parts
    return scorecard.of_nothing(parts, control.profile)


def _claim_16(sets: Mapping[str, Driven], control: Driven) -> list[scorecard.Row]:
    """The thresholds lie further apart for the Janus charges than for equal ones."""
    out = []
    for estimator, species in sets[JANUS].loops.items():
        profile = sets[JANUS].profile
        parts, draws = _apart(species["total"], profile, "|onset| at −E less that at +E")
        other = sets.get(SYMMETRIC)
        name = "the same with equal charges, less"
        if other is not None:
            _, theirs = threshold_asymmetry(other.loops[estimator]["total"])
            n = min(sets[JANUS].units, other.units)
            shuffled = np.r_[theirs[:1], np.roll(theirs[1:], 1)]  # other replicas: not paired
            shrinks = (
                estimate(draws - shuffled, n, f"bootstrap over {n}") if len(draws) else NOTHING
            )
            parts.append(scorecard.judge(name, shrinks, (0.0, np.inf), profile, unit="V/nm"))
        else:
            parts.append(scorecard.decided(name, NOTHING, None, profile))
        least = min(s.replicas for n, s in sets.items() if n in (JANUS, SYMMETRIC))
        parts = scorecard.of_replicas(parts, least)
        same: Sequence[scorecard.Part] = ()
        if control.loops and control.profile.system.charge_set == JANUS:
            same, _ = _apart(
                control.loops[estimator]["total"], profile, "|onset| at −E less that at +E"
            )
            same = scorecard.of_replicas(same, control.replicas)
        run = ", ".join(
            f"{s.run} of {name}" for name, s in sets.items() if name in (JANUS, SYMMETRIC)
        )
        row = scorecard.row(
            16, parts, estimator=estimator, run=run, control=same, control_run=control.run
        )
        out.append(scorecard.of_system(row, profile, control.profile))
    return out


def _apart(total: Sweeps, profile: Profile, name: str) -> tuple[list[scorecard.Part], FloatArray]:
    apart, draws = threshold_asymmetry(total)
    return [scorecard.judge(name, apart, (0.0, np.inf), profile, unit="V/nm")], draws


def compared_by_charge_set(
    sets: Mapping[str, Driven], estimator: str
) -> dict[str, dict[str, Estimate]]:
    """Measure to charge set to value, what Fig. 4's comparison draws."""
    out: dict[str, dict[str, Estimate]] = {measure: {} for measure in MEASURES}
    for name, one in sets.items():
        if not one.loops:
            continue
        total = one.loops[estimator]["total"]
        onsets = [_found_onset(total, polarity) for polarity, _, _ in POLARITIES]
        values = (*onsets, loop_areas(total)["positive"], asymmetry(total))
        for measure, value in zip(out, values, strict=True):
            out[measure][name] = value
    return out


def _found_onset(one: Sweeps, polarity: current.Polarity) -> Estimate:
    branch = one.branches.get((polarity, "forward"))
    onset = current.ndr_onset(branch) if branch is not None else None
    return onset.onset_V_per_nm if onset is not None and onset.verdict == "found" else NOTHING
