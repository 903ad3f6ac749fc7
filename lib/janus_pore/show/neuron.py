"""Beyond the paper: the reduced memristor fitted to a profile's series, and its circuit.

Fields and voltages are those of the reference box.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from ..errors import JanusPoreError
from ..measure import circuit, memristor, series
from ..measure.memristor import Fit, Judgement, Parameters, Recording
from ..measure.statistics import Band, Estimate, band, draw_sums
from ..spec import Profile, Sine
from . import loops
from .figures import CircuitMap, Curve, FloatArray, Modelled, Trace
from .model import recording
from .results import NOTHING, sines, those_run
from .scorecard import describe

TRAINING = ("step_up", "step_down")
PULSES = ("ppf", "ppd", "stf", "std")
CHARGING = {"conductance_nA_nm_per_V": 0.0, "barrier_kT": 0.0}
"""What a membrane without a pore cannot have."""
SYMBOL = {
    "orienting_field_V_per_nm": "E_o (V/nm)",
    "intrinsic_field_V_per_nm": "E_i (V/nm)",
    "tau_up_ps": "τ_up (ps)",
    "tau_down_ps": "τ_down (ps)",
    "speedup_up_nm_per_V": "s_up (nm/V)",
    "speedup_down_nm_per_V": "s_down (nm/V)",
    "conductance_nA_nm_per_V": "g (nA·nm/V)",
    "barrier_kT": "b (kT)",
    "capacitance_e_nm_per_V": "C (e·nm/V)",
    "tau_charge_ps": "τ_q (ps)",
}
NEEDED = ("orienting_field_V_per_nm", "tau_up_ps", "tau_down_ps", "conductance_nA_nm_per_V")
"""Parameters without which the element in a circuit would be made up. The barrier b is not
among them: what its interval leaves open is followed into the circuit."""
CURRENT_WINDOWS = 40
"""Windows of a recording over which its current is compared."""
MOST_POINTS = 200
"""Points of a recording that are fitted: more are correlated and cost time."""

UPTAKE_FACTOR = 2.0
"""By how much the charge per volt of the model may differ from that of a slow sine before its
current is not the pore's."""

ILLUSTRATION = Parameters(
    orienting_field_V_per_nm=0.53,
    tau_up_ps=2.0,
    tau_down_ps=8.0,
    conductance_nA_nm_per_V=5.0,
    barrier_kT=4.0,
)
"""An element that has what the paper describes, **not fitted to anything**: one SPC/E
molecule's kT/μ, water that orders in 2 ps and relaxes in the published 8 ps, a steady
current of a nanoampere or so that falls beyond the published 0.5 V/nm, no charging."""


def recordings(
    profile: Profile,
    found: Mapping[str, Mapping[str, xr.Dataset]],
    estimator: str,
    *,
    most_points: int | None = None,
) -> dict[str, Recording]:
    """Series as the model sees them, by protocol and label.

    Parameters
    ----------
    profile, found
        Protocol to label to dataset of this profile.
    estimator
        Of the current.
    most_points
        Keep only every so many-th frame, so that no recording is longer.
    """
    out = {}
    for protocol, labels in found.items():
        waveforms = profile.protocol(protocol).waveforms()
        for label, data in labels.items():
            name = protocol if len(labels) == 1 else f"{protocol}, {label}"
            out[name] = recording(
                data,
                waveforms[label],
                estimator=estimator,
                window_ps=float(np.ptp(data["time"].values)) / CURRENT_WINDOWS,
                most_points=most_points,
            )
    return out


class Learned(NamedTuple):
    """A model fitted to some protocols of a profile and judged on others.

    ``charging`` is what the membrane without a pore gave, where it was run; ``why`` says why
    the model is of no use in a circuit, and is empty if it is.
    """

    fit: Fit
    charging: Fit | None
    training: dict[str, Recording]
    held_out: dict[str, Recording]
    judgements: list[Judgement]
    why: str


def learn(profile: Profile, estimator: str) -> Learned:
    """Fit the model to the steps of the field; judge it on the sine and the pulses.

    Where the control was run, the charging is fitted to it first and held. Of protocols with
    a scan the longest waveform is held out, and only what has two replicas or more: one has
    no scatter to hold a prediction against. A profile without steps has no model.

    Raises
    ------
    MissingInputError
        If steps of one direction have not been run, or none ship.
    """
    if absent := [p for p in TRAINING if p not in profile.protocols]:
        why = f"the profile has no {' and no '.join(absent)}, which it is fitted to"
        return Learned(Fit(Parameters(), {}), None, {}, {}, [], why)
    steps = those_run(profile, TRAINING)
    lacking = [p for p in TRAINING if p not in steps]
    if lacking and (profile.source == "live" or not steps):
        series.open_protocol(profile, lacking[0])
    training = recordings(profile, steps, estimator, most_points=MOST_POINTS)
    control = profile.without_pore()
    alone = those_run(control, _held_out(control))
    charging = None
    fixed: dict[str, float] = {}
    if alone:
        solid = recordings(control, alone, estimator, most_points=MOST_POINTS)
        charging = memristor.fit(solid, fixed=CHARGING)
        fixed = {name: getattr(charging.parameters, name) for name in charging.fitted}
    found = those_run(profile, _held_out(profile))
    longest = {
        protocol: {label: data}
        for protocol, labels in found.items()
        for label, data in [max(labels.items(), key=lambda item: float(item[1]["time"][-1]))]
        if data.sizes["replica"] > 1
    }
    held_out = recordings(profile, longest, estimator)
    return judged(training, held_out, charging=charging, fixed=fixed)


def _held_out(profile: Profile) -> tuple[str, ...]:
    """Protocols that the model is not fitted to: every sine, and the pulses."""
    sines = (k for k, one in profile.protocols.items() if isinstance(one.waveform, Sine))
    return (*sines, *PULSES)


def judged(
    training: dict[str, Recording],
    held_out: dict[str, Recording],
    *,
    charging: Fit | None = None,
    fixed: Mapping[str, float] | None = None,
) -> Learned:
    """Fit to ``training``, judge on ``held_out``, and say what can be done with it."""
    fit = memristor.fit(training, fixed=fixed)
    reasons = []
    for name in NEEDED:
        symbol = SYMBOL[name].split(" ")[0]
        if name not in fit.fitted:
            reasons.append(f"{symbol}: nothing recorded tells of it")
        elif not fit.fitted[name].identifiable:
            reasons.append(f"{symbol}: {fit.fitted[name].reason}")
    judgements = memristor.judge(fit, held_out) if held_out else []
    return Learned(fit, charging, training, held_out, judgements, "; ".join(reasons))


def _mean(values: FloatArray) -> Band:
    """Mean over replicas (replicas, n); where a replica holds no water it does not count."""
    known = np.isfinite(values)
    both = np.stack([np.where(known, values, 0.0), known], axis=1)
    drawn = draw_sums(both)
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = drawn[:, 0] / drawn[:, 1]
    return band(draws, len(values), f"bootstrap over {len(values)} replicas")


def against_data(
    fit: Fit, shown: Mapping[str, Recording], quantity: Literal["order", "current"]
) -> dict[str, Modelled]:
    """Measured and modelled order or current (nA) of each recording that has it."""
    out = {}
    for name, r in shown.items():
        response = memristor.simulate(
            fit.parameters,
            r.time_ps,
            r.field_V_per_nm,
            start_field_V_per_nm=r.start_field_V_per_nm,
        )
        if quantity == "order" and r.order is not None:
            measured, model = Curve.of(r.time_ps, _mean(r.order)), response.order
            out[name] = Modelled(measured, Curve.bare(r.time_ps, model))
        elif quantity == "current" and r.charge_e is not None:
            centre = r.windowed(r.time_ps)
            middle = r.time_ps[0] + (np.arange(len(centre)) + 0.5) * r.window
            measured = Curve.of(middle, _mean(r.windowed(r.charge_e)))
            out[name] = Modelled(measured, Curve.bare(middle, r.windowed(response.transferred_e)))
    return out


def panels(
    fit: Fit, columns: Mapping[str, Mapping[str, Recording]]
) -> dict[str, dict[str, dict[str, Modelled]]]:
    """Rows of a figure, order and current, for columns of recordings; what none has is left
    out."""
    out = {}
    quantities: tuple[tuple[str, Literal["order", "current"]], ...] = (
        ("order x", "order"),
        ("current I (nA)", "current"),
    )
    for label, quantity in quantities:
        found = {t: against_data(fit, shown, quantity) for t, shown in columns.items()}
        if any(found.values()):
            out[label] = found
    return out


def training_columns(learned: Learned) -> dict[str, dict[str, Recording]]:
    """Recordings of the fit by direction, named by the field that each step leads to."""
    columns = {
        title: {
            f"{float(name.split('=')[-1]):g} V/nm" if "=" in name else name: r
            for name, r in learned.training.items()
            if name.startswith(protocol)
        }
        for title, protocol in zip(("field up", "field down"), TRAINING, strict=True)
    }
    return {title: found for title, found in columns.items() if found}


def held_out_columns(learned: Learned) -> dict[str, dict[str, Recording]]:
    """Recordings held out, each a column of its own."""
    return {name: {name: r} for name, r in learned.held_out.items()}


PARAMETERS = ("parameter", "fitted to the steps", "identifiable", "used in the circuit")


def parameter_rows(learned: Learned) -> list[tuple[str, ...]]:
    """Every parameter with its interval, and what stands for it in the circuit."""
    used = element_of(learned)
    rows: list[tuple[str, ...]] = []
    for name, symbol in SYMBOL.items():
        found = learned.fit.fitted.get(name)
        how = "no: " + found.reason if found and found.reason else "yes"
        held = learned.charging.fitted.get(name) if learned.charging else None
        if found is None:
            how = "held: from the membrane without a pore" if held else "nothing tells of it"
        best = found or held
        rows.append(
            (symbol, describe(best.estimate) if best else "–", how, f"{getattr(used, name):.3g}")
        )
    return rows


def as_record(learned: Learned, estimator: str, length_x_nm: float, caveat: str) -> dict[str, Any]:
    """The fitted model for other programs: ``parameters`` are those of
    :class:`janus_pore.measure.memristor.Parameters`, for fields of a box of ``length_x_nm``.

    ``not_for_circuits`` says why it should not stand for the pore in a circuit; empty if it may.
    """
    fitted = {**learned.fit.fitted, **(learned.charging.fitted if learned.charging else {})}
    return {
        "parameters": dataclasses.asdict(learned.fit.parameters),
        "length_x_nm": length_x_nm,
        "estimator": estimator,
        "fitted": {
            name: {
                "interval": [one.estimate.low, one.estimate.high] if one.estimate.enough else None,
                "replicas": one.estimate.n_independent,
                "not_identifiable": one.reason,
            }
            for name, one in fitted.items()
        },
        "fitted_to": list(learned.training),
        "not_for_circuits": learned.why or caveat,
    }  # fmt: skip


JUDGEMENTS = (
    "held out", "quantity", "error", "error of the baseline", "standard error of the data",
    "skill", "verdict",
)  # fmt: skip


def judgement_rows(learned: Learned) -> list[tuple[str, ...]]:
    """How the model did on each recording that it had not seen."""
    return [
        (
            j.recording,
            "order" if j.quantity == "order" else "current (nA)",
            *(f"{v:.3g}" for v in (j.error, j.baseline_error, j.scatter)),
            describe(j.skill),
            j.verdict,
        )
        for j in learned.judgements
    ] or [("nothing that has two replicas", *("–",) * 5, "not enough statistics")]


# --- the circuit ----------------------------------------------------------------------

RESISTANCE, STIFFNESS = 0.5, 6.0
"""Load line and slowness of the inductor, in the units of the falling stretch."""
BIASES = np.linspace(-0.9, 0.9, 5)
"""Distance of the load line from the stretch's middle, in its half-widths."""
REACH_V = 2.0
"""Search for steady states as far as this many times the largest voltage of interest."""


class Neuron(NamedTuple):
    """The element in Nagumo's circuit; ``trace`` and the charts are None if it cannot spike, or
    if it is not known far enough to tell."""

    parameters: Parameters
    voltage_V: FloatArray
    steady_nA: FloatArray
    stretch: circuit.Stretch | None
    trace: Trace | None
    chart: CircuitMap | None
    barrier_chart: CircuitMap | None
    verdict: str


def capacitances(element: circuit.Element, stretch: circuit.Stretch, count: int) -> FloatArray:
    """Capacitances (count,) in zF, from 1/30 to 300 of that which is as fast as the water."""
    unit = circuit.Circuit(0.0, 1.0, 1.0, 1.0)
    equal = circuit.dimensionless(element, unit, stretch).memory * (1.0 + element.capacitance_zF)
    return np.asarray(equal * np.geomspace(1 / 30, 300, count))


def in_circuit(
    parameters: Parameters, length_x_nm: float, *, largest_V: float, fine: int = 21
) -> Neuron:
    """Put an element into circuits of many biases and capacitances.

    Parameters
    ----------
    parameters
        Of the model, in fields of a box of ``length_x_nm``.
    largest_V
        Voltage up to which the element was driven: beyond it the model is not known.
    fine
        Points a side of the charts of linear stability.
    """
    element = circuit.circuit_element(parameters, length_x_nm)
    voltage = np.linspace(-largest_V, largest_V, 401)
    steady = np.asarray(element.steady_nA(voltage), dtype=float)
    stretches = circuit.falling_stretches(element, largest_V)
    if not stretches:
        verdict = (
            f"cannot spike: the steady current rises throughout ±{largest_V:g} V, and without "
            "a falling stretch every circuit is stable"
        )
        return Neuron(parameters, voltage, steady, None, None, None, None, verdict)
    stretch = max(stretches, key=lambda s: s.low_V)
    reach = REACH_V * largest_V
    coarse = capacitances(element, stretch, 5)

    def made(e: circuit.Element, s: circuit.Stretch, bias: float, C: float) -> circuit.Circuit:
        return circuit.circuit_from_groups(
            e, s, resistance=RESISTANCE, stiffness=STIFFNESS, bias=bias, capacitance_zF=C
        )

    def unstable(e: circuit.Element, s: circuit.Stretch, bias: float, C: float) -> bool:
        one = made(e, s, bias, C)
        rests = circuit.fixed_points(e, one, reach, points=401)
        return bool(rests) and min(circuit.growth_rate(e, one, v) for v in rests) > 0

    circuits = [made(element, stretch, float(b), float(C)) for C in coarse for b in BIASES]
    # Of a stretch that has hardly begun, R and the bias have no bounds; no capacitor changes that.
    if not all(circuit.fixed_points(element, one, reach) for one in circuits[: len(BIASES)]):
        verdict = (
            f"cannot be judged: the steady current falls from {stretch.low_V:.3g} to "
            f"{stretch.high_V:.3g} V, too little within the ±{largest_V:g} V to which the pore was "
            "driven to say where a circuit would rest"
        )
        return Neuron(parameters, voltage, steady, stretch, None, None, None, verdict)
    found = circuit.scan(element, circuits, reach)
    biases, dense = np.linspace(-1.2, 1.2, fine), capacitances(element, stretch, fine)
    chart = CircuitMap(
        biases,
        dense,
        np.array([[unstable(element, stretch, b, C) for b in biases] for C in dense]),
        np.tile(BIASES, len(coarse)),
        np.repeat(coarse, len(BIASES)),
        [r.outcome for r in found.results],
    )
    barriers = np.linspace(0.0, max(8.0, 1.25 * parameters.barrier_kT), fine)
    grid = np.zeros((fine, fine), dtype=bool)
    for column, b in enumerate(barriers):
        other = circuit.circuit_element(
            Parameters(**{**vars(parameters), "barrier_kT": float(b)}), length_x_nm
        )
        falls = circuit.falling_stretches(other, largest_V)
        if falls:
            widest = max(falls, key=lambda s: s.low_V)
            grid[:, column] = [unstable(other, widest, 0.0, C) for C in dense]
    barrier_chart = CircuitMap(barriers, dense, grid, np.zeros(0), np.zeros(0), [])
    spiking = [r for r in found.results if r.outcome == "spikes"]
    shown = spiking[len(spiking) // 2] if spiking else found.results[len(found.results) // 2]
    trace = _trace(element, shown, stretch, reach)
    return Neuron(parameters, voltage, steady, stretch, trace, chart, barrier_chart, found.verdict)


def _trace(
    element: circuit.Element, shown: circuit.Spiking, stretch: circuit.Stretch, reach_V: float
) -> Trace:
    """Six periods of a circuit, or forty of its RC times if it does not spike."""
    one = shown.circuit
    rest = circuit.fixed_points(element, one, reach_V)[0]
    if np.isfinite(shown.frequency_GHz):
        duration = 6e3 / shown.frequency_GHz
    else:
        duration = 40 * one.resistance_GOhm * (one.capacitance_zF + element.capacitance_zF)
    middle = (stretch.low_V + stretch.high_V) / 2
    run = circuit.simulate_circuit(element, one, duration, middle, rest_V=rest)
    current = np.asarray(element.current_nA(run.voltage_V, run.order), dtype=float)
    words = (
        f"bias {one.bias_V:.3g} V, R = {one.resistance_GOhm:.3g} GΩ, "
        f"L = {one.inductance_mH / 1000:.3g} H, C = {one.capacitance_zF:.3g} zF: {shown.outcome}"
        + (f" at {shown.frequency_GHz:.3g} GHz" if np.isfinite(shown.frequency_GHz) else "")
    )
    return Trace(run.time_ps, run.voltage_V, run.order, current, words)


def charts(one: Neuron) -> dict[str, CircuitMap]:
    """Maps of where the circuit spikes by their horizontal axes; none if it cannot."""
    named = {
        "bias (half-widths of the falling stretch)": one.chart,
        "barrier b (kT)": one.barrier_chart,
    }
    return {name: chart for name, chart in named.items() if chart is not None}


def own_capacitance_zF(one: Neuron, length_x_nm: float) -> float:  # noqa: N802
    """Capacitance that the element brings along, zF."""
    return circuit.circuit_element(one.parameters, length_x_nm).capacitance_zF


def element_of(learned: Learned) -> Parameters:
    """The fitted element if the series fix it, else :data:`ILLUSTRATION`."""
    return ILLUSTRATION if learned.why else learned.fit.parameters


def taken_up(profile: Profile) -> Estimate:
    """Charge in e that the reservoirs take up per volt in the profile's slowest sine."""
    with contextlib.suppress(JanusPoreError):  # none in the profile, or not run
        slowest = min(sines(profile), key=lambda drive: drive.waveform.frequency_GHz)
        one = loops.driven_if_run(profile, drive=slowest)
        if one.loops:
            return loops.capacitance(one)
    return NOTHING


def caveat(learned: Learned, taken: Estimate, length_x_nm: float) -> str:
    """Why nothing follows for a circuit of the pore from a fitted element; empty where it may.

    Charging that the model's C leaves out goes into its steady current.
    """
    if learned.why:
        return ""
    model = learned.fit.parameters.capacitance_e_nm_per_V / length_x_nm
    if taken.enough and taken.low / UPTAKE_FACTOR <= model <= UPTAKE_FACTOR * taken.high:
        return ""
    slow = describe(taken, "e/V") if taken.enough else "an amount that is not known"
    return (
        f"Nothing follows for a circuit of this pore: the model takes up {model:.2g} e/V, a slow "
        f"sine {slow}, so that charging of the reservoirs is part of the fitted current. "
    )


def label_of(learned: Learned, nothing_follows: str = "") -> str:
    """What every figure of the circuit must say about its element."""
    if learned.why:
        return "illustration: parameters not fitted to any data"
    if nothing_follows:
        return "element fitted to the steps of this run, its current not the pore's"
    return "element fitted to the steps of this run"


def finding(learned: Learned, one: Neuron, length_x_nm: float, nothing_follows: str = "") -> str:
    """Whether the circuit spikes, in words, and what that rests on.

    ``nothing_follows`` is from :func:`caveat`.
    """
    largest = float(one.voltage_V[-1])
    beyond = ""
    if one.trace is not None and float(np.abs(one.trace.voltage_V).max()) > largest:
        beyond = (
            f" Its voltage reaches {float(np.abs(one.trace.voltage_V).max()):.0f} V, beyond the "
            f"{largest:g} V to which the pore was driven."
        )
    if learned.why:
        return (
            f"The series of this run are too few to fix the reduced model ({learned.why}). The "
            "circuit is drawn with illustrative parameters that were fitted to nothing: it says "
            f"what such an element would do, not what this pore does. It {one.verdict}.{beyond}"
        )
    text = f"{nothing_follows}With the fitted element the circuit {one.verdict}.{beyond}"
    b = learned.fit.fitted["barrier_kT"].estimate
    if not b.enough:
        return text + " The barrier b has no interval, so this may change with more data."
    ends = []
    for value in (b.low, b.high):
        other = Parameters(**{**vars(learned.fit.parameters), "barrier_kT": value})
        element = circuit.circuit_element(other, length_x_nm)
        ends.append(bool(circuit.falling_stretches(element, largest)))
    falls = {
        (True, True): "falls at both ends",
        (False, False): "falls at neither end",
    }.get((ends[0], ends[1]), "falls at one end and not at the other")
    return (
        text
        + f" Over the interval of the barrier, b = {describe(b, 'kT')}, the steady current {falls}."
    )
