"""Plasticity: from series of pulses to what Fig. 5 draws and claims 17 to 21 judge.

Everything is done alike for the pore and for its control, the membrane without a pore.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import xarray as xr

from ..errors import MeasureError
from ..measure import current, plasticity, series, statistics, water
from ..measure.statistics import Band, Estimate, ExponentialFit, band, draw_sums, estimate
from ..spec import Profile, PulseTrain
from . import scorecard
from .figures import (
    ESTIMATOR_NAME,
    PROTOCOL_NAME,
    SPECIES_NAME,
    Curve,
    FloatArray,
    TrainSpread,
)
from .results import NOTHING, each_once, opened, replicas_of, shipped_name, ships, those_run

Measured = TypeVar("Measured", "Pairs", "Train")

PAIRS, TRAINS = ("ppf", "ppd"), ("stf", "std")
WIDTHS = {"ppf": "ppf_width", "ppd": "ppd_width"}
"""Protocols that scan the pulse width, by the one that scans the delay."""

AXES = (
    dict.fromkeys(PAIRS, "delay_ps")
    | dict.fromkeys(WIDTHS.values(), "width_ps")
    | dict.fromkeys(TRAINS, "")
)
"""What each protocol may scan; a train nothing."""

LEAST_DELAYS_OF_A_FIT = 4
TAU_FACTOR = 2.0
"""A memory time within this factor of the published one bears it out: pulse width, delays
and definition of the current behind the published one are not stated."""
LEVEL_FACTOR = 1.5
"""The same for the level at which a train saturates."""
STILL_RISING = 1.25
"""A train has saturated if its last third draws less than this factor more than the third
before it."""
NEAR_ZERO = 0.25
"""A train has decayed to about zero if In/I0 ends within this of it."""


class Pulsed(NamedTuple):
    """Series of the pulse protocols of one system: protocol to label to dataset.

    ``why`` says why there are none; it is empty if there are some.
    """

    profile: Profile
    data: dict[str, dict[str, xr.Dataset]]
    why: str = ""

    def trains(self, protocol: str) -> dict[str, PulseTrain]:
        """Label to waveform of a protocol, as in the profile."""
        waveforms = self.profile.protocol(protocol).waveforms()
        return {k: w for k, w in waveforms.items() if isinstance(w, PulseTrain)}

    @property
    def replicas(self) -> dict[str, int]:
        """How many there are of each protocol."""
        return {p: next(iter(of.values())).sizes["replica"] for p, of in self.data.items()}

    def run(self, *protocols: str) -> str:
        """Where a result came from, e.g. ``ppf, replicas 0 to 9``."""
        return "; ".join(
            replicas_of(next(iter(self.data[p].values())), p) for p in protocols if p in self.data
        )


def counted(systems: Mapping[str, Pulsed], protocols: Sequence[str] = (*PAIRS, *TRAINS)) -> str:
    """How many replicas of some protocols there are in each system, for the foot of a figure."""
    shown = {
        name: ", ".join(f"{n} {p}" for p, n in one.replicas.items() if p in protocols) or "none"
        for name, one in systems.items()
    }
    counts = "; ".join(f"{name}: {each}" for name, each in shown.items())
    return f"replicas {counts}; intervals: 95 % bootstrap, from three replicas on"


def pulsed(profile: Profile) -> Pulsed:
    """The series of the pulse protocols of a profile, as far as they were run.

    Raises
    ------
    MeasureError
        If it has no such protocol, or one scans what Fig. 5 has no axis for.
    MissingInputError
        If a protocol of pairs has not been run, or none ships; the message names what runs it.
    """
    if not {*PAIRS, *TRAINS} & set(profile.protocols):
        raise MeasureError(
            f"profile {profile.name!r} has no pulses; add a protocol {', '.join(PAIRS)} or "
            f"{' or '.join(TRAINS)} (it has {', '.join(profile.protocols) or 'none'})"
        )
    for protocol, axis in AXES.items():
        scan = profile.protocols[protocol].scan if protocol in profile.protocols else {}
        if further := [name for name, values in scan.items() if name != axis and len(values) > 1]:
            raise MeasureError(
                f"protocol {protocol!r} of profile {profile.name!r} scans {', '.join(further)}, of "
                f"which Fig. 5 draws {f'only {axis}' if axis else 'nothing'}; move that scan to a "
                "protocol of another name: what was run counts for it"
            )
    found = pulsed_if_run(profile)
    lacking = [p for p in PAIRS if p in profile.protocols and p not in found.data]
    if lacking and (profile.source == "live" or not set(PAIRS) & set(found.data)):
        series.open_protocol(profile, lacking[0])
    return found


def pulsed_if_run(profile: Profile) -> Pulsed:
    """What was run of the pulse protocols; where that is nothing, ``why`` says so."""
    found = those_run(profile, (*PAIRS, *TRAINS, *WIDTHS.values()))
    return Pulsed(profile, found, "" if found else opened(profile, PAIRS[0]).why)


def shipped(found: Pulsed) -> tuple[Pulsed, str]:
    """The pairs that ship for a system, to stand behind its own, and what they rest on.

    Empty where none ships, or where it is what is shown anyhow.
    """
    theirs = ships(found.profile)
    if theirs is None:
        return Pulsed(found.profile, {}), ""
    one = Pulsed(theirs, those_run(theirs, PAIRS))
    if not one.data:
        return one, ""
    widths = {f"{train.width_ps:g}" for p in one.data for train in one.trains(p).values()}
    run = f"{one.run(*PAIRS)}, pulses of {' and '.join(sorted(widths))} ps"
    return one, shipped_name(theirs, found.profile, run)


def lacking(systems: Mapping[str, Pulsed], protocols: Sequence[str]) -> dict[str, str]:
    """Panel of Fig. 5 to why it was not run; empty where it was."""
    return {
        f"{PROTOCOL_NAME[p]} {title}": ""
        if p in one.data
        else one.why or opened(one.profile, p).why
        for title, one in systems.items()
        for p in protocols
    }


def pulse_currents(data: xr.Dataset, train: PulseTrain) -> FloatArray:
    """Mean current of both ions together in each pulse, nA, (replicas, estimators, pulses)."""
    windows = plasticity.pulse_windows(train)
    return plasticity.pulse_currents(_charge(data), data["time"].values, windows)


def estimators_of(data: xr.Dataset) -> list[str]:
    """Names of the estimators of the current."""
    return [str(e) for e in data["estimator"].values]


def _charge(data: xr.Dataset) -> FloatArray:
    """Charge of both ions (replicas, estimators, frames)."""
    charge = data["charge"].transpose("replica", "estimator", "species", "time").values
    total: FloatArray = charge.sum(axis=2)
    return total


def _curves(
    x: FloatArray, names: Sequence[str], values: Band, *, last: bool = True
) -> dict[str, Curve]:
    """Estimator to curve, from a band (x, estimators) or, if ``last`` is False, its transpose."""
    out = {}
    for k, name in enumerate(names):
        at = (slice(None), k) if last else (k, slice(None))
        parts = (values.value[at], values.low[at], values.high[at])
        out[name] = Curve.of(x, Band(*parts, values.n_independent, values.method))
    return out


# --- pairs ----------------------------------------------------------------------------


class Pairs(NamedTuple):
    """Pulse pairs over delays or widths, all estimators of the current of both ions together.

    ``x_ps`` (pairs,) ascending; ``currents_nA`` (replicas, pairs, estimators, 2);
    ``ratio`` (pairs, estimators) with its bootstrap ``draws`` (resamples + 1, ...).
    """

    x_ps: FloatArray
    estimators: list[str]
    currents_nA: FloatArray
    ratio: Band
    draws: FloatArray

    def of_estimator(self, k: int) -> FloatArray:
        """Currents by the estimator number ``k``."""
        return self.currents_nA[:, :, k]

    def curves(self) -> dict[str, Curve]:
        """Estimator to I1/I0."""
        return _curves(self.x_ps, self.estimators, self.ratio)


def _pairs(currents: Mapping[float, FloatArray], estimators: list[str]) -> Pairs:
    """Pairs from currents (replicas, estimators, 2) by delay or width."""
    x = sorted(currents)
    nA = np.stack([currents[value] for value in x], axis=1)
    ratio, draws = plasticity.ratios(nA)
    second = Band(ratio.value[..., 1], ratio.low[..., 1], ratio.high[..., 1], len(nA), ratio.method)
    return Pairs(np.array(x), estimators, nA, second, draws[..., 1])


def _pair_currents(data: xr.Dataset, train: PulseTrain, read_ps: float | None = None) -> FloatArray:
    """Currents (replicas, estimators, 2) of the first two pulses, or of their beginnings."""
    windows = plasticity.pulse_windows(train)[:2]
    if read_ps is not None:
        windows[:, 1] = windows[:, 0] + read_ps
    return plasticity.pulse_currents(_charge(data), data["time"].values, windows)


def pairs(found: Pulsed, protocol: str) -> Pairs:
    """Currents of both pulses and their ratio for every delay of a protocol.

    Raises
    ------
    MeasureError
        If it has single pulses, or a delay twice.
    """
    trains = found.trains(protocol)
    if any(train.pulses < 2 for train in trains.values()):
        raise MeasureError(
            f"pulses = 1 in protocol {protocol!r}, whose ratio is that of two; set pulses to 2"
        )
    run = found.data[protocol]
    each_once({label: trains[label].delay_ps for label in run}, protocol, "delay_ps")
    by_delay = {trains[k].delay_ps: _pair_currents(data, trains[k]) for k, data in run.items()}
    return _pairs(by_delay, estimators_of(next(iter(run.values()))))


def by_width(found: Pulsed, protocol: str) -> tuple[Pairs, str]:
    """The ratio against the width of the pulses, and where it comes from.

    From a scan of the width where the profile runs one (:data:`WIDTHS`). Otherwise from the
    pair with the shortest delay, with the current read in a first part of each pulse only;
    the pulse itself is then as long as ever, and so is what it leaves behind.
    """
    scan = WIDTHS[protocol]
    if scan in found.data:
        trains = found.trains(scan)
        currents = {
            trains[label].width_ps: _pair_currents(data, trains[label])
            for label, data in found.data[scan].items()
        }
        estimators = estimators_of(next(iter(found.data[scan].values())))
        delay = next(iter(trains.values())).delay_ps
        return _pairs(currents, estimators), f"pulses of each width, Δt = {delay:g} ps"
    label, train = shortest_delay(found, protocol)
    data = found.data[protocol][label]
    parts = train.width_ps * np.array([0.25, 0.5, 0.75, 1.0])
    currents = {float(w): _pair_currents(data, train, float(w)) for w in parts}
    how = f"first part of {train.width_ps:g} ps pulses, Δt = {train.delay_ps:g} ps"
    return _pairs(currents, estimators_of(data)), how


def shortest_delay(found: Pulsed, protocol: str) -> tuple[str, PulseTrain]:
    """Label and waveform of the pair with the shortest delay."""
    return min(found.trains(protocol).items(), key=lambda item: item[1].delay_ps)


def memory_times(one: Pairs, protocol: str) -> dict[str, ExponentialFit]:
    """τf (``ppf``) or τd by estimator, where :data:`LEAST_DELAYS_OF_A_FIT` can be used."""
    out = {}
    for k, estimator in enumerate(one.estimators):
        draws = one.draws[..., k]
        usable = np.isfinite(draws).all(axis=0)
        if usable.sum() >= LEAST_DELAYS_OF_A_FIT:
            out[estimator] = plasticity.fit_delays(
                one.x_ps[usable],
                draws[:, usable],
                "facilitation" if protocol == "ppf" else "depression",
                replicas=len(one.currents_nA),
            )
    return out


def pulse_current(
    data: xr.Dataset, train: PulseTrain, profile: Profile
) -> tuple[FloatArray, dict[str, Curve]]:
    """Field (V/nm, of the reference box) and mean current against time, averaged over a fifth of
    a pulse and over replicas, by estimator."""
    time = data["time"].values
    window = max(train.width_ps / 5, float(np.diff(time).max()))
    centre, nA = current.current_from_charge(_charge(data), time, window)
    mean = band(draw_sums(nA) / len(nA), len(nA), f"bootstrap over {len(nA)} replicas")
    E = data["field"].values[0] / profile.field_scale
    return E, _curves(centre, estimators_of(data), mean, last=False)


def _pair_parts(one: Pairs, k: int, protocol: str, profile: Profile) -> list[scorecard.Part]:
    """What claim 17 or 18 says, under the estimator number ``k``."""
    sign = 1.0 if protocol == "ppf" else -1.0
    number = 17 if protocol == "ppf" else 18
    n, method = one.ratio.n_independent, one.ratio.method
    beyond = (1.0, np.inf) if sign > 0 else (-np.inf, 1.0)
    first = one.ratio.at((0, k))
    change = estimate(one.draws[:, 0, k] - one.draws[:, -1, k], n, method)
    if not first.enough:  # without a first pulse there is no ratio to change
        change = _unbounded(change)
    shortest, longest = one.x_ps[0], one.x_ps[-1]
    parts = [
        _along_the_field(one.currents_nA[:, 0, k, 0], protocol, profile),
        scorecard.judge(f"I1/I0 after {shortest:g} ps", first, beyond, profile),
        scorecard.judge(
            f"I1/I0 after {shortest:g} ps less that after {longest:g} ps",
            change,
            (0.0, np.inf) if sign > 0 else (-np.inf, 0.0),
            profile,
        ),
    ]
    fit = memory_times(one, protocol).get(one.estimators[k])
    if fit is not None and fit.identifiable:
        stated = float(scorecard.claim(number).values["tau_ps"])
        region = (stated / TAU_FACTOR, stated * TAU_FACTOR)
        parts.append(scorecard.judge("τ", fit.tau, region, profile, unit="ps"))
    else:
        parts.append(scorecard.decided("τ", NOTHING, None, profile))
    return parts


def _along_the_field(first_nA: FloatArray, protocol: str, profile: Profile) -> scorecard.Part:
    """Whether the first pulse drives a current along its field, without which a ratio to it
    says nothing: after a stronger field the reservoirs discharge against it."""
    pulse = profile.protocol(protocol).waveform
    against = isinstance(pulse, PulseTrain) and pulse.pulse_V_per_nm < 0
    region = (-np.inf, 0.0) if against else (0.0, np.inf)
    return scorecard.judge("I0", statistics.mean(first_nA), region, profile, unit="nA")


def _of_control(
    parts: list[scorecard.Part], any_current: bool, profile: Profile
) -> list[scorecard.Part]:
    """Parts of the control: where nothing passes it, it does not do what a claim says."""
    if any_current:
        return parts
    return scorecard.of_nothing(parts, profile)


def _unbounded(value: Estimate) -> Estimate:
    return Estimate(value.value, -np.inf, np.inf, value.n_independent, value.method)


def _by_estimator(
    number: int,
    protocol: str,
    found: Pulsed,
    control: Pulsed,
    measure: Callable[[Pulsed, str], Measured],
    parts: Callable[[Measured, int, str, Profile], list[scorecard.Part]],
) -> list[scorecard.Row]:
    """A claim's row under each estimator of the current, with what the control says to it."""
    one = measure(found, protocol)
    alone = measure(control, protocol) if protocol in control.data else None
    return [
        scorecard.row(
            number,
            parts(one, k, protocol, found.profile),
            estimator=estimator,
            run=found.run(protocol),
            control=_of_control(
                parts(alone, k, protocol, control.profile),
                bool(alone.of_estimator(k).any()),
                control.profile,
            )
            if alone
            else (),
            control_run=control.run(protocol),
        )
        for k, estimator in enumerate(one.estimators)
    ]


def claims_of_pairs(found: Pulsed, control: Pulsed) -> list[scorecard.Row]:
    """Judge claims 17 (``ppf``) and 18 (``ppd``) under each estimator of the current."""
    rows = []
    for number, protocol in ((17, "ppf"), (18, "ppd")):
        if found.profile.system.pore == "none" or protocol not in found.data:
            continue
        rows += _by_estimator(number, protocol, found, control, pairs, _pair_parts)
    return rows


# --- trains ---------------------------------------------------------------------------


class Train(NamedTuple):
    """A pulse train, all estimators of the current of both ions together.

    ``ratio`` (estimators, pulses) is In/I0 with its ``draws`` (resamples + 1, ...);
    ``currents_nA`` (replicas, estimators, pulses).
    """

    estimators: list[str]
    currents_nA: FloatArray
    ratio: Band
    draws: FloatArray

    def of_estimator(self, k: int) -> FloatArray:
        """Currents by the estimator number ``k``."""
        return self.currents_nA[:, k]

    def curves(self) -> dict[str, Curve]:
        """Estimator to In/I0 against the pulse's number, the first being 1."""
        number = np.arange(1.0, self.ratio.value.shape[1] + 1)
        return _curves(number, self.estimators, self.ratio, last=False)


def train(found: Pulsed, protocol: str) -> Train:
    """Current of every pulse of a train over that of its first."""
    (data,) = found.data[protocol].values()
    (waveform,) = found.trains(protocol).values()
    nA = pulse_currents(data, waveform)
    return Train(estimators_of(data), nA, *plasticity.ratios(nA))


class TrainOrder(NamedTuple):
    """Spread of the dipole angle over a train: in time, and pulse by pulse."""

    in_time: water.WidthCurve
    by_pulse: water.WidthCurve
    windows_ps: FloatArray


def train_order(found: Pulsed, protocol: str) -> TrainOrder:
    """σθ over a train, the preparation included; the width is the direct one."""
    (data,) = found.data[protocol].values()
    (waveform,) = found.trains(protocol).values()
    theta = data["theta"].transpose("replica", "time", "slot").values
    time = data["time"].values
    spacing = float(np.median(np.diff(time)))
    bin_ps = spacing * max(1, round(waveform.width_ps / 5 / spacing))
    whole = time < time[-1] - spacing / 2  # the very last frame would be a bin of its own
    windows = plasticity.pulse_windows(waveform)
    group = np.full(len(time), -1)
    for n, (start, stop) in enumerate(windows):
        group[(time > start + 1e-6) & (time <= stop + 1e-6)] = n
    return TrainOrder(
        water.sigma_against_time(theta[:, whole], time[whole], bin_ps=bin_ps),
        water.sigma_in_groups(theta, group, windows.mean(axis=1)),
        windows,
    )


def _train_parts(one: Train, k: int, protocol: str, profile: Profile) -> list[scorecard.Part]:
    """What claim 19 or 20 says, under the estimator number ``k``."""
    number = 19 if protocol == "stf" else 20
    claim = scorecard.claim(number)
    pulses = one.ratio.value.shape[1]
    n, method = one.ratio.n_independent, one.ratio.method
    third = max(1, pulses // 3)
    late = one.draws[:, k, -third:].mean(axis=1)
    before = one.draws[:, k, -2 * third : -third].mean(axis=1)
    level = estimate(late, n, method)
    with np.errstate(invalid="ignore", divide="ignore"):
        rise = estimate(late / before, n, method)
    if not one.ratio.at((k, -1)).enough:  # without a first pulse there is no ratio
        level, rise = _unbounded(level), _unbounded(rise)
    stated, last = float(claim.values["ratio_last"]), f"last {third} of {pulses} pulses"
    if protocol == "stf":
        region = (stated / LEVEL_FACTOR, stated * LEVEL_FACTOR)
    else:
        region = (stated - NEAR_ZERO, stated + NEAR_ZERO)
    parts = [
        _along_the_field(one.currents_nA[:, k, 0], protocol, profile),
        scorecard.judge(f"In/I0, {last}", level, region, profile),
    ]
    if protocol == "stf":
        settled = (1 / STILL_RISING, STILL_RISING)
        parts.append(scorecard.judge(f"{last} over those before", rise, settled, profile))
    if pulses < int(claim.values["pulses"]):  # a shorter train cannot decide
        parts = scorecard.undecided(parts)
    return parts


def claims_of_trains(found: Pulsed, control: Pulsed) -> list[scorecard.Row]:
    """Judge claims 19 (``stf``) and 20 (``std``) by estimator, and claim 21 on the water."""
    if found.profile.system.pore == "none":
        return []
    rows, trends = [], []
    for number, protocol in ((19, "stf"), (20, "std")):
        if protocol not in found.data:
            continue
        rows += _by_estimator(number, protocol, found, control, train, _train_parts)
        by_pulse = train_order(found, protocol).by_pulse
        if len(by_pulse.at) > 1:
            number_of = np.arange(len(by_pulse.at)) - (len(by_pulse.at) - 1) / 2
            slope = by_pulse.draws @ (number_of / (number_of**2).sum())
            sigma = by_pulse.sigma_deg
            trends.append(
                scorecard.judge(
                    f"slope of σθ over the pulses, {protocol}",
                    estimate(slope, sigma.n_independent, sigma.method),
                    (0.0, np.inf) if protocol == "stf" else (-np.inf, 0.0),
                    found.profile,
                    unit="° per pulse",
                )
            )
    if len(trends) == len(TRAINS):
        rows.append(scorecard.row(21, trends, run=found.run(*TRAINS)))
    return rows


# --- what the notebook shows ------------------------------------------------------------


def spreads(found: Pulsed) -> dict[str, TrainSpread]:
    """What Fig. 5C draws; nothing without a pore, whose water it would be about."""
    out = {}
    for protocol in TRAINS:
        if protocol in found.data and found.profile.system.pore != "none":
            one = train_order(found, protocol)
            out[protocol] = TrainSpread(
                Curve.of(one.in_time.at, one.in_time.sigma_deg),
                Curve.of(one.by_pulse.at, one.by_pulse.sigma_deg),
                one.windows_ps,
            )
    return out


PAIR_TABLE = ("system", "protocol", "delay (ps)", "current", "I0 (nA)", "I1 (nA)", "I1/I0")
FIT_TABLE = ("system", "protocol", "current", "A0", "A1", "τ (ps)", "identifiable")


def pair_rows(systems: Mapping[str, Pulsed]) -> list[tuple[str, ...]]:
    """Currents and ratio of every pair, by system; in one row where nothing ever flowed."""
    rows: list[tuple[str, ...]] = []
    for title, found in systems.items():
        for protocol, one in all_pairs(found).items():
            for k, estimator in enumerate(one.estimators):
                name = ESTIMATOR_NAME[estimator]
                if not one.currents_nA[:, :, k].any():
                    n = one.currents_nA.shape[0]
                    rows.append((title, protocol, "each", name, *2 * (f"0 in each of {n}",), "–"))
                    continue
                rows += [
                    (
                        title,
                        protocol,
                        f"{delay:g}",
                        name,
                        *(
                            scorecard.describe(statistics.mean(one.currents_nA[:, d, k, pulse]))
                            for pulse in (0, 1)
                        ),
                        scorecard.describe(one.ratio.at((d, k))),
                    )
                    for d, delay in enumerate(one.x_ps)
                ]
    return rows


def fit_rows(systems: Mapping[str, Pulsed]) -> list[tuple[str, ...]]:
    """Memory times, by system; what no fit was made of is said."""
    rows: list[tuple[str, ...]] = []
    for title, found in systems.items():
        for protocol, one in all_pairs(found).items():
            fits = memory_times(one, protocol)
            for estimator in one.estimators:
                name, fit = ESTIMATOR_NAME[estimator], fits.get(estimator)
                if fit is None:
                    usable = f"fewer than {LEAST_DELAYS_OF_A_FIT} delays with a ratio"
                    rows.append((title, protocol, name, "–", "–", "–", f"no: {usable}"))
                else:
                    numbers = (scorecard.describe(v) for v in (fit.a, fit.b, fit.tau))
                    how = "yes" if fit.identifiable else f"no: {fit.reason}"
                    rows.append((title, protocol, name, *numbers, how))
    return rows


ION_TABLE = (
    "protocol", "pause (ps)", "in the pore at the start", "as the last pulse begins",
    "through the middle plane, first pulse", "last pulse",
)  # fmt: skip


def ion_rows(found: Pulsed) -> list[tuple[str, ...]]:
    """In how many replicas an ion sits in the pore before pulses, and how many ions cross in them
    along the field, those against it taken off, all replicas together."""
    rows = []
    for protocol in (p for p in (*PAIRS, *TRAINS) if p in found.data):
        for label, train in found.trains(protocol).items():
            data, windows = found.data[protocol][label], plasticity.pulse_windows(train)
            crossed = data["charge"].sel(estimator="crossings") * np.sign(train.pulse_V_per_nm)
            rows.append(
                (
                    protocol,
                    f"{train.delay_ps:g}",
                    *(_occupied(data, at) for at in (float(data["time"][0]), windows[-1, 0])),
                    *(_through(crossed, *windows[k]) for k in (0, -1)),
                )
            )
    return rows


def _occupied(data: xr.Dataset, at_ps: float) -> str:
    """In how many replicas each ion is in the pore at a time."""
    there = (data["ions_in_pore"].sel(time=at_ps, method="nearest") > 0).sum("replica")
    return f"{_of_each(there)} in {data.sizes['replica']} replicas"


def _through(crossed_e: xr.DataArray, begin_ps: float, end_ps: float) -> str:
    """What crossed between two times, by ion."""
    end, begin = (crossed_e.sel(time=at, method="nearest") for at in (end_ps, begin_ps))
    return _of_each((end - begin).sum("replica"))


def _of_each(number: xr.DataArray) -> str:
    """A whole number of each ion that there is, e.g. ``23 Cl⁻``."""
    counts = {s: round(float(number.sel(species=s))) for s in number["species"].values.tolist()}
    text = ", ".join(f"{n} {SPECIES_NAME[s]}" for s, n in counts.items() if n)
    return text.replace("-", "−") or "none"


def all_pairs(found: Pulsed) -> dict[str, Pairs]:
    """Pairs of both protocols, as far as they were run."""
    return {p: pairs(found, p) for p in PAIRS if p in found.data}


def _crossings(data: xr.Dataset, begin_ps: float) -> tuple[int, int]:
    """How often ions crossed the middle plane before a time and after it, all replicas."""
    moved = abs(data["charge"].sel(estimator="crossings").diff("time"))
    late = moved["time"] > begin_ps + 1e-6
    return round(float(moved.where(~late, 0).sum())), round(float(moved.where(late, 0).sum()))


def finding(found: Pulsed, control: Pulsed) -> str:
    """What the pulses of this run say, in words, beside what the control says."""
    parts = []
    for protocol, one in all_pairs(found).items():
        k = one.estimators.index("box")
        text = (
            f"{PROTOCOL_NAME[protocol]}, whole-box current, pause of {one.x_ps[0]:g} ps: I1/I0 = "
            f"{scorecard.describe(one.ratio.at((0, k)))} with the pore"
        )
        if protocol in control.data:
            other = pairs(control, protocol).ratio.at((0, k))
            text += f", {scorecard.describe(other)} without"
        _, _, at_start, _, first, second = next(r for r in ion_rows(found) if r[0] == protocol)
        if {first, second} != {"none"}:
            text += (
                f"; in the pore at its start {at_start}; across its middle plane along the field "
                f"{first} in the first pulse and {second} in the second"
            )
        parts.append(text)
    if not control.data:
        parts.append(f"the membrane without a pore: {control.why}")
    before, after = np.sum(
        [
            _crossings(data, found.trains(protocol)[label].prepare_ps)
            for protocol in TRAINS
            if protocol in found.data
            for label, data in found.data[protocol].items()
        ]
        or [(0, 0)],
        axis=0,
    )
    if set(TRAINS) & set(found.data):
        parts.append(
            "in all replicas of both trains together ions crossed the membrane's middle plane "
            + (f"{after} times" if after else "not once")
            + " from the first pulse on"
            + (f", and {before} times while the field was prepared" if before else "")
        )
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."
