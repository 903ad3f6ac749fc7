"""The reduced memristor on a profile's series, and the circuit that it is put into."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from made import COORDINATES, MOLECULES

from janus_pore import spec
from janus_pore.drive.field import duration_ps, field_at
from janus_pore.errors import MissingInputError
from janus_pore.measure import memristor
from janus_pore.measure.statistics import Estimate
from janus_pore.show import figures, neuron, results
from janus_pore.show.scorecard import write_json

REDUCED = spec.load_profile("reduced")
TRUTH = memristor.Parameters(
    orienting_field_V_per_nm=0.45,
    intrinsic_field_V_per_nm=0.15,
    tau_up_ps=2.0,
    tau_down_ps=6.0,
    speedup_up_nm_per_V=0.3,
    speedup_down_nm_per_V=0.3,
    conductance_nA_nm_per_V=8.0,
    barrier_kT=4.0,
    capacitance_e_nm_per_V=2.0,
    tau_charge_ps=12.0,
)
BARE = replace(TRUTH, conductance_nA_nm_per_V=0.0)


def made(protocol, parameters=TRUTH, *, replicas=24, seed=0, pore=True):
    """Series of a protocol of the profile `reduced` that follow the model."""
    rng = np.random.default_rng(seed)
    out = {}
    for label, waveform in REDUCED.protocol(protocol).waveforms().items():
        t = np.arange(0.0, duration_ps(waveform) + 0.1, 0.4)
        middle = field_at(waveform, (t[1:] + t[:-1]) / 2)
        response = memristor.simulate(parameters, t, np.append(middle, middle[-1]))
        # the wrapped normal's width at that order
        sigma = np.minimum(np.degrees(np.sqrt(-2 * np.log(np.abs(response.order)))), 170.0)
        theta = rng.normal(size=(replicas, len(t), MOLECULES)) * sigma[None, :, None]
        theta = (theta + np.where(response.order < 0, 180.0, 0.0)[None, :, None] + 180) % 360 - 180
        noise = np.cumsum(rng.normal(0, 0.02, (replicas, 3, 2, len(t))), axis=-1)
        charge = noise + 0.5 * response.transferred_e
        out[label] = xr.Dataset(
            {
                "theta": (
                    ("replica", "time", "slot"),
                    theta if pore else np.full_like(theta, np.nan),
                ),
                "charge": (("replica", "estimator", "species", "time"), charge),
            },
            coords={"replica": range(replicas), "time": t, **COORDINATES},
        )
    return out


@pytest.fixture(scope="module")
def learned():
    """Fitted to 24 replicas of the steps, judged on the pulses."""
    steps = {p: made(p, seed=k) for k, p in enumerate(neuron.TRAINING)}
    unseen = {p: made(p, seed=10 + k) for k, p in enumerate(("stf", "std"))}
    solid = {"ppd": made("ppd", BARE, seed=20, pore=False)}
    control = neuron.recordings(REDUCED, solid, "box", most_points=neuron.MOST_POINTS)
    assert all(r.order is None for r in control.values())
    charging = memristor.fit(control, fixed=neuron.CHARGING)
    return neuron.judged(
        neuron.recordings(REDUCED, steps, "box", most_points=neuron.MOST_POINTS),
        neuron.recordings(REDUCED, unseen, "box"),
        charging=charging,
        fixed={name: getattr(charging.parameters, name) for name in charging.fitted},
    )


@pytest.fixture(scope="module")
def illustration():
    """The element that is fitted to nothing, in its circuits."""
    return neuron.in_circuit(neuron.ILLUSTRATION, 8.0, largest_V=9.6, fine=9)


def test_a_recording_holds_the_field_that_leads_to_the_next_frame():
    found = neuron.recordings(REDUCED, {"stf": made("stf", replicas=2)}, "box")
    (r,) = found.values()
    assert list(found) == ["stf"]
    train = REDUCED.protocol("stf").waveform
    last = r.time_ps < train.prepare_ps - 1e-6
    assert (r.field_V_per_nm[last] == train.prepare_V_per_nm).all()
    assert r.field_V_per_nm[np.flatnonzero(last)[-1] + 1] == train.pulse_V_per_nm
    thin = neuron.recordings(REDUCED, {"stf": made("stf", replicas=2)}, "box", most_points=100)
    assert len(thin["stf"].time_ps) <= 100
    assert {"ppd, delay_ps=1", "ppd, delay_ps=32"} <= set(
        neuron.recordings(REDUCED, {"ppd": made("ppd", replicas=2)}, "box")
    )


def test_the_steps_fix_the_model_and_it_predicts_the_trains(learned):
    assert learned.why == ""
    for name in neuron.NEEDED:
        found = learned.fit.fitted[name].estimate
        assert found.value == pytest.approx(getattr(TRUTH, name), rel=0.35), name
    assert learned.fit.parameters.tau_charge_ps == pytest.approx(12.0, rel=0.1)
    assert {(j.recording, j.verdict) for j in learned.judgements if j.quantity == "current"} == {
        ("stf", "predicts"),
        ("std", "predicts"),
    }
    assert neuron.element_of(learned) == learned.fit.parameters
    assert "fitted to the steps" in neuron.label_of(learned)
    rows = {r[0]: r for r in neuron.parameter_rows(learned)}
    assert rows["τ_up (ps)"][2] == "yes"
    assert rows["τ_q (ps)"][2] == "held: from the membrane without a pore"
    assert [r[-1] for r in neuron.judgement_rows(learned) if r[1] != "order"] == ["predicts"] * 2


def test_figures_get_the_mean_and_the_model(learned):
    columns = neuron.training_columns(learned)
    assert list(columns) == ["field up", "field down"]
    assert set(columns["field up"]) == {f"{E:g} V/nm" for E in (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)}
    rows = neuron.panels(learned.fit, columns)
    assert list(rows) == ["order x", "current I (nA)"]
    for curves in rows["current I (nA)"].values():
        for one in curves.values():
            miss = one.model.value - one.measured.value
            assert np.abs(miss).mean() < 0.1 * np.abs(one.measured.value).max() + 1.0
    assert set(neuron.held_out_columns(learned)) == {"stf", "std"}


def test_too_few_replicas_fix_nothing_and_the_circuit_says_so(illustration):
    steps = {p: made(p, replicas=2) for p in neuron.TRAINING}
    poor = neuron.judged(neuron.recordings(REDUCED, steps, "box", most_points=100), {})
    assert "not enough statistics (n = 2)" in poor.why
    assert neuron.element_of(poor) is neuron.ILLUSTRATION
    assert "not fitted to any data" in neuron.label_of(poor)
    words = neuron.finding(poor, illustration, 8.0)
    assert "fitted to nothing" in words
    assert "not what this pore does" in words
    assert neuron.judgement_rows(poor)[0][-1] == "not enough statistics"


def test_a_model_that_takes_up_another_charge_than_a_slow_sine_tells_of_no_circuit(learned):
    own = learned.fit.parameters.capacitance_e_nm_per_V / 8.0
    one = neuron.in_circuit(replace(TRUTH, barrier_kT=0.5), 8.0, largest_V=9.6)

    def said(factor, n=5):
        taken = Estimate(factor * own, 0.99 * factor * own, 1.01 * factor * own, n, "")
        nothing = neuron.caveat(learned, taken, 8.0)
        return (
            nothing,
            neuron.finding(learned, one, 8.0, nothing),
            neuron.label_of(learned, nothing),
        )

    for agreeing in (0.55, 1.0, 1.9):
        assert said(agreeing)[0] == ""
        assert said(agreeing)[1].startswith("With the fitted element the circuit cannot spike")
    for other in (0.2, 4.6):
        _, words, label = said(other)
        assert words.startswith("Nothing follows for a circuit of this pore: the model takes up")
        assert "not the pore's" in label
    assert "an amount that is not known" in neuron.caveat(learned, results.NOTHING, 8.0)


def test_without_water_the_order_is_not_recorded():
    dry = {p: made(p, BARE, replicas=3, pore=False) for p in neuron.TRAINING}
    found = neuron.judged(neuron.recordings(REDUCED, dry, "box", most_points=60), {})
    assert "E_o: nothing recorded tells of it" in found.why
    assert list(neuron.panels(found.fit, neuron.training_columns(found))) == ["current I (nA)"]


def test_the_illustration_falls_beyond_the_published_threshold_and_spikes(illustration):
    one = illustration
    assert one.stretch is not None
    assert one.stretch.low_V / 8.0 == pytest.approx(0.5, abs=0.1)
    assert one.verdict.startswith("spikes in ")
    assert one.trace is not None
    assert "spikes at" in one.trace.words
    chart, barriers = neuron.charts(one).values()
    assert set(chart.outcomes) >= {"spikes", "quiescent"}
    # where the simulated circuits spike, linear stability finds no rest, and the reverse
    for x, C, outcome in zip(chart.at_x, chart.at_zF, chart.outcomes, strict=True):
        near = np.abs(chart.x - x).argmin(), np.abs(np.log(chart.capacitance_zF / C)).argmin()
        if abs(chart.x[near[0]] - x) < 0.1 and outcome == "spikes":
            assert chart.unstable[near[1], near[0]]
    assert not barriers.unstable[:, barriers.x < 1].any()
    assert barriers.unstable[:, barriers.x > 5].any()


def test_an_element_without_a_falling_current_cannot_spike(learned):
    one = neuron.in_circuit(replace(TRUTH, barrier_kT=0.5), 8.0, largest_V=9.6)
    assert one.verdict.startswith("cannot spike")
    assert (one.stretch, one.trace, neuron.charts(one)) == (None, None, {})
    b = learned.fit.fitted["barrier_kT"]

    def ending(low, high):
        fitted = {"barrier_kT": replace(b, estimate=replace(b.estimate, low=low, high=high))}
        fit = replace(learned.fit, fitted={**learned.fit.fitted, **fitted})
        return neuron.finding(learned._replace(fit=fit), one, 8.0).rsplit("current ", 1)[1]

    assert ending(3.5, 6.0) == "falls at both ends."
    assert ending(-0.5, 0.5) == "falls at neither end."
    assert ending(0.1, 5.0) == "falls at one end and not at the other."


def test_an_element_that_hardly_begins_to_fall_is_not_judged():
    """R is half the inverse slope of the stretch: next to its beginning it has no bounds."""
    one = neuron.in_circuit(neuron.ILLUSTRATION, 8.0, largest_V=4.7)
    assert one.stretch.low_V == pytest.approx(4.44, abs=0.01)
    assert one.stretch.high_V == 4.7
    assert one.verdict.startswith("cannot be judged: the steady current falls from 4.44 to 4.7 V")
    assert (one.trace, neuron.charts(one)) == (None, {})
    figure = figures.circuit_trace(
        one.voltage_V, one.steady_nA, (one.stretch.low_V, one.stretch.high_V), None, label=""
    )
    assert figure.axes[0].get_title(loc="left") == "element"


def test_own_capacitance_is_that_of_the_charging():
    one = neuron.in_circuit(replace(TRUTH, barrier_kT=0.5), 8.0, largest_V=9.6)
    assert neuron.own_capacitance_zF(one, 8.0) == pytest.approx(2.0 / 8.0 * 160.2176634)


def test_learning_needs_the_steps(tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    with pytest.raises(MissingInputError):
        neuron.learn(REDUCED, "box")


def test_without_steps_in_the_profile_there_is_no_model():
    pulses = {"ppd": REDUCED.protocol("ppd")}
    learned = neuron.learn(REDUCED.model_copy(update={"protocols": pulses}), "box")
    assert learned.why == "the profile has no step_up and no step_down, which it is fitted to"
    assert neuron.training_columns(learned) == neuron.held_out_columns(learned) == {}


def test_a_fitted_model_can_be_taken_elsewhere(tmp_path):
    recorded = {p: made(p, replicas=4) for p in ("step_up", "step_down")}
    training = neuron.recordings(REDUCED, recorded, "box")
    learned = neuron.judged(training, {})
    content = neuron.as_record(learned, "box", 8.0, "takes up too little")
    kept = json.loads(write_json(tmp_path / "model.json", content).read_text(encoding="utf-8"))
    assert memristor.Parameters(**kept["parameters"]) == learned.fit.parameters
    low, high = kept["fitted"]["tau_up_ps"]["interval"]
    assert low < kept["parameters"]["tau_up_ps"] < high
    assert kept["not_for_circuits"] == (learned.why or "takes up too little")


def test_of_what_ships_the_steps_of_one_direction_are_enough(tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    up = made("step_up", replicas=4)

    def opened(profile, protocol):
        there = up if protocol == "step_up" and profile.system.pore != "none" else {}
        return results.Opened(there, "")

    monkeypatch.setattr(results, "opened", opened)
    with pytest.raises(MissingInputError):
        neuron.learn(REDUCED, "box")
    learned = neuron.learn(REDUCED.model_copy(update={"source": "campaign"}), "box")
    assert list(neuron.training_columns(learned)) == ["field up"]
    assert learned.fit.parameters.tau_up_ps == pytest.approx(TRUTH.tau_up_ps, rel=0.5)
