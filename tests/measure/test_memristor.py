"""The reduced memristor: closed forms, injected truth, held-out verdicts, spiking circuits."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from janus_pore.errors import MeasureError
from janus_pore.measure import memristor as m
from janus_pore.measure.plasticity import pulse_windows
from janus_pore.spec import PulseTrain, Sine

TRUTH = m.Parameters(
    orienting_field_V_per_nm=0.35,
    intrinsic_field_V_per_nm=0.15,
    tau_up_ps=3.0,
    tau_down_ps=9.0,
    speedup_up_nm_per_V=0.4,
    speedup_down_nm_per_V=0.3,
    conductance_nA_nm_per_V=6.0,
    barrier_kT=3.0,
    capacitance_e_nm_per_V=2.0,
    tau_charge_ps=12.0,
)


def steps(spacing=1.0):
    """Fields stepped up from zero, and down from saturation, for both polarities."""
    t = np.arange(0, 25 + 1e-9, spacing)
    out = {f"up {E}": (t, np.full_like(t, E)) for E in (0.3, 0.6, 1.2, -0.4, -1.0)}
    t = np.arange(0, 50 + 1e-9, spacing)
    for before, after in ((1.2, 0.0), (1.2, 0.4), (-1.2, -0.3)):
        out[f"down {before} {after}"] = (t, np.where(t < 20 - 1e-9, before, after))
    return out


def train(spacing=1.0):
    """Pulses over a bias that reverses: neither is among the steps."""
    t = np.arange(0, 80 + 1e-9, spacing)
    return {"train": (t, np.where(t % 10 < 5 - 1e-9, 0.9, np.where(t < 40, 0.1, -0.6)))}


def record(parameters, protocols, replicas, rng, *, order_noise=0.2, charge_noise=0.03):
    """Recordings with correlated scatter of the order and diffusing charge (e per sqrt(ps))."""
    out = {}
    for name, (t, E) in protocols.items():
        response = m.simulate(parameters, t, E)
        dt = t[1] - t[0]
        keep = math.exp(-dt)  # correlation time 1 ps
        kicks = rng.normal(size=(replicas, len(t))) * order_noise
        kicks[:, 1:] *= math.sqrt(1 - keep**2)
        steps = rng.normal(size=(replicas, len(t))) * charge_noise * math.sqrt(dt)
        out[name] = m.Recording(
            t,
            E,
            order=response.order + lfilter([1], [1, -keep], kicks, axis=1),
            charge_e=response.transferred_e + np.cumsum(steps, axis=1),
        )
    return out


# ---- the model


def test_equilibrium_order_is_the_average_over_independent_dipoles():
    cosine, weight = np.polynomial.legendre.leggauss(200)  # polar axis z, field along x
    phi = (np.arange(400) + 0.5) * 2 * np.pi / 400
    sine = np.sqrt(1 - cosine**2)[:, None]
    for k in (0.1, 1.0, 4.0, -2.5, 12.0):
        density = weight[:, None] * np.exp(k * sine * np.cos(phi))
        expected = (density * np.cos(phi)).sum() / density.sum()
        p = m.Parameters(orienting_field_V_per_nm=0.5, intrinsic_field_V_per_nm=0.2)
        assert m.equilibrium_order(p, 0.5 * k - 0.2) == pytest.approx(expected, rel=1e-6)
    weak = m.equilibrium_order(m.Parameters(orienting_field_V_per_nm=1.0), [0.0, 1e-6, 1e4])
    assert weak == pytest.approx([0.0, np.pi / 8 * 1e-6, 1.0], rel=1e-4, abs=1e-12)


def test_order_from_angles_of_a_wrapped_normal():
    angles = np.random.default_rng(0).normal(20.0, 70.0, size=(1, 200000))
    angles = (angles + 180) % 360 - 180
    angles = np.concatenate([angles, np.full_like(angles, np.nan)])
    found = m.order_from_angles(angles)
    wrapped = np.exp(-(np.radians(70.0) ** 2) / 2)  # |<exp iθ>| of the wrapped normal
    assert found[0] == pytest.approx(np.cos(np.radians(20.0)) * wrapped, abs=0.005)
    assert np.isnan(found[1])


def test_order_relaxes_exactly_in_a_constant_field_whatever_the_sampling():
    t = np.array([0.0, 0.1, 0.7, 2.0, 5.0, 5.5, 11.0, 30.0])
    start, goal = (float(m.equilibrium_order(TRUTH, E)) for E in (0.0, 0.8))
    up = float(m.relaxation_time(TRUTH, 0.8, ordering=True))
    assert up == pytest.approx(3.0 * math.exp(-0.4 * 0.95))
    rising = m.simulate(TRUTH, t, np.full_like(t, 0.8)).order
    assert rising == pytest.approx(goal + (start - goal) * np.exp(-t / up), abs=1e-12)

    down = float(m.relaxation_time(TRUTH, 0.0, ordering=False))
    falling = m.simulate(TRUTH, t, np.zeros_like(t), start_field_V_per_nm=0.8).order
    assert falling == pytest.approx(start + (goal - start) * np.exp(-t / down), abs=1e-12)

    # Reversal: relaxation to zero order with one time, then ordering with the other.
    other = float(m.equilibrium_order(TRUTH, -0.9))
    down, up = (float(m.relaxation_time(TRUTH, -0.9, ordering=o)) for o in (False, True))
    zero = down * math.log((other - goal) / other)
    before = other + (goal - other) * np.exp(-t / down)
    after = other * (1 - np.exp(-(t - zero) / up))
    through = m.simulate(TRUTH, t, np.full_like(t, -0.9), start_field_V_per_nm=0.8).order
    assert through == pytest.approx(np.where(t < zero, before, after), abs=1e-12)


def test_weak_sine_has_the_amplitude_and_phase_of_a_first_order_system():
    p = m.Parameters(
        1.0, tau_up_ps=7.0, tau_down_ps=7.0, capacitance_e_nm_per_V=2.0, tau_charge_ps=4.0
    )
    omega, amplitude, dt = 2 * np.pi / 50, 0.01, 0.05
    t = np.arange(0, 500, dt)
    response = m.simulate(p, t, amplitude * np.sin(omega * (t + dt / 2)))
    late = t >= 400 - 1e-9

    def phasor(signal):
        return 2 * (signal[late] * np.exp(-1j * omega * t[late])).mean() * 1j

    chi = np.pi / 8
    assert phasor(response.order) == pytest.approx(
        chi * amplitude / (1 + 1j * omega * 7.0), rel=1e-3
    )
    stored = 2.0 * amplitude / (1 + 1j * omega * 4.0)
    assert phasor(response.stored_e) == pytest.approx(stored, rel=1e-3)
    current = 1j * omega * stored * m.NANOAMPERE_PER_E_PER_PS
    # The current belongs to the field just after each time, half a step late.
    assert abs(phasor(response.charging_nA)) == pytest.approx(abs(current), rel=2e-2)


def test_charge_is_the_integral_of_the_current():
    t = np.arange(0, 40, 0.01)
    response = m.simulate(TRUTH, t, np.where(t < 20, 0.7, -0.3))
    area = np.concatenate([[0], np.cumsum(response.current_nA[:-1] * 0.01)]) / 160.2176634
    assert response.transferred_e == pytest.approx(area, abs=2e-3)
    assert response.stored_e[1999] == pytest.approx(1.4 * (1 - math.exp(-19.99 / 12)), rel=1e-9)


def test_prediction_under_a_waveform_is_exact_at_its_edges():
    train = PulseTrain(
        prepare_V_per_nm=2.0, prepare_ps=7.3, pulse_V_per_nm=0.7, width_ps=5.0,
        delay_V_per_nm=0.5, delay_ps=3.1, pulses=4,
    )  # fmt: skip
    response = m.predict(TRUTH, train, points=60)
    edges = 7.3 + np.array([0.0, 5.0, 8.1, 13.1])
    assert np.isin(edges.round(9), response.time_ps.round(9)).all()
    dense = m.predict(TRUTH, train, points=5000)
    for t in edges:
        coarse, fine = (np.interp(t, r.time_ps, r.order) for r in (response, dense))
        assert coarse == pytest.approx(fine, abs=1e-12)
    assert pulses(TRUTH, train, points=600)[0] == pytest.approx(
        pulses(TRUTH, train, points=5000)[0], rel=1e-3
    )


def test_prediction_under_a_sine_ends_each_cycle_where_it_began():
    sine = Sine(amplitude_V_per_nm=1.2, frequency_GHz=5.0, cycles=3)
    response = m.predict(TRUTH, sine, points=900)
    period = len(response.time_ps) // 3
    assert response.time_ps[-1] == pytest.approx(600.0)
    last, before = response.order[-1 - period : -1], response.order[-1 - 2 * period : -1 - period]
    assert last == pytest.approx(before, abs=1e-3)
    assert response.current_nA.shape == response.time_ps.shape
    begun = m.predict(TRUTH, sine, start_field_V_per_nm=1.0).order[0]
    assert begun == m.equilibrium_order(TRUTH, 1.0)


def pulses(p, waveform, points=600):
    """Mean current in each pulse, nA, and the order at its end."""
    response, windows = m.predict(p, waveform, points=points), pulse_windows(waveform)
    charge, order = (
        np.interp(windows, response.time_ps, y) for y in (response.transferred_e, response.order)
    )
    return m.NANOAMPERE_PER_E_PER_PS * np.diff(charge)[:, 0] / waveform.width_ps, order[:, 1]


def test_charging_alone_depresses_the_second_pulse():
    p = m.Parameters(capacitance_e_nm_per_V=2.4, tau_charge_ps=8.0)
    delays = np.array([1.0, 4.0, 10.0, 30.0])
    found = [
        pulses(p, PulseTrain(pulses=2, delay_ps=delay, pulse_V_per_nm=0.5, width_ps=5.0))[0]
        for delay in delays
    ]
    ratio = [second / first for first, second in found]
    assert ratio == pytest.approx(1 - (1 - math.exp(-5 / 8)) * np.exp(-delays / 8), rel=1e-9)


def test_train_without_memory_is_flat_and_order_lowers_the_current():
    ten = {"pulses": 10, "width_ps": 5.0, "pulse_V_per_nm": 0.8}
    plain = replace(TRUTH, barrier_kT=0.0, capacitance_e_nm_per_V=0.0)
    flat, _ = pulses(plain, PulseTrain(**ten | {"pulse_V_per_nm": 0.5}, delay_ps=5.0))
    assert flat == pytest.approx(np.full(10, 3.0))

    held = replace(TRUTH, capacitance_e_nm_per_V=0.0)
    same = {"delay_V_per_nm": 0.8, "delay_ps": 5.0, "prepare_ps": 500.0, "prepare_V_per_nm": 0.8}
    steady, _ = pulses(held, PulseTrain(**ten, **same))
    order = m.equilibrium_order(held, 0.8)
    expected = held.conductance_nA_nm_per_V * 0.8 * np.exp(-held.barrier_kT * order**2)
    assert steady == pytest.approx(np.full(10, expected))
    depressed, order = pulses(held, PulseTrain(**ten, delay_ps=2.0))
    assert (np.diff(depressed) < 1e-12).all()
    assert depressed[-1] < 0.9 * depressed[0]
    assert (np.diff(order) > -1e-12).all()


def test_the_model_runs_in_milliseconds():
    t = np.arange(0, 5000.0, 1.0)
    E = 1.2 * np.sin(2 * np.pi * (t + 0.5) / 5000)

    def fastest(run):
        times = []
        for _ in range(5):
            begin = time.process_time()
            run()
            times.append(time.process_time() - begin)
        return min(times)

    assert fastest(lambda: m.simulate(TRUTH, t, E)) < 0.03
    sine = Sine(amplitude_V_per_nm=1.2, frequency_GHz=0.2)
    assert fastest(lambda: m.predict(TRUTH, sine)) < 0.01


# ---- fitting


def test_injected_truth_lies_in_its_interval():
    trials, hits, resolved = 100, dict.fromkeys(vars(TRUTH), 0), dict.fromkeys(vars(TRUTH), 0)
    for seed in range(trials):
        recordings = record(TRUTH, steps(), 24, np.random.default_rng(seed))
        for name, found in m.fit(recordings, resamples=300, seed=seed).fitted.items():
            hits[name] += found.estimate.low <= getattr(TRUTH, name) <= found.estimate.high
            resolved[name] += found.identifiable
    assert min(hits.values()) >= 90, hits
    # Intervals are also of use: the barrier is the only one that such noise often leaves open.
    assert min(n for name, n in resolved.items() if name != "barrier_kT") >= 90, resolved
    assert resolved["barrier_kT"] >= 60


def test_without_noise_the_fit_is_exact():
    silent = record(
        TRUTH, steps(0.5), 3, np.random.default_rng(0), order_noise=0.0, charge_noise=0.0
    )
    found = m.fit(silent).parameters
    assert list(vars(found).values()) == pytest.approx(list(vars(TRUTH).values()), rel=1e-3)


def test_what_the_recordings_do_not_tell_is_not_identifiable():
    rng = np.random.default_rng(3)
    rising = {n: s for n, s in steps().items() if n.startswith("up")}
    fitted = m.fit(record(replace(TRUTH, intrinsic_field_V_per_nm=0.0), rising, 24, rng)).fitted
    assert not fitted["tau_down_ps"].identifiable
    assert not fitted["speedup_down_nm_per_V"].identifiable
    assert fitted["tau_down_ps"].reason == "the recordings add little to the prior"
    assert fitted["orienting_field_V_per_nm"].identifiable

    # In weak fields even a wide interval of the field dependence would matter little: it
    # still counts as unknown.
    weak = {"weak": (np.arange(40.0), np.full(40, 0.2))}
    fitted = m.fit(record(TRUTH, weak, 24, rng)).fitted
    assert not fitted["speedup_up_nm_per_V"].identifiable

    blocked = replace(TRUTH, conductance_nA_nm_per_V=0.0)
    fitted = m.fit(record(blocked, steps(), 24, rng)).fitted
    assert fitted["conductance_nA_nm_per_V"].reason == "not different from zero"
    assert "conductance_nA_nm_per_V is not" in fitted["barrier_kT"].reason
    assert fitted["capacitance_e_nm_per_V"].identifiable

    alone = m.fit(record(TRUTH, steps(), 1, rng)).fitted
    assert all("not enough statistics" in found.reason for found in alone.values())


def test_recordings_of_few_replicas_scatter_as_much_beside_those_of_many():
    """The draws of each mean have its own standard error, whatever the others' replicas."""
    rng = np.random.default_rng(7)
    many, few = rng.normal(size=(24, 40)), rng.normal(size=(6, 40))
    some = rng.normal(size=(24, 40))
    some[8:] = np.nan
    data = m._Data.stack([many, few, some], 24)
    drawn = data.drawn(np.eye(120), 2000, 0).std(axis=0)
    for part, n in enumerate((24, 6, 8)):
        found = (drawn[40 * part : 40 * (part + 1)] ** 2).mean()
        assert found == pytest.approx(1 / n, rel=0.25)


def test_a_membrane_without_a_pore_gives_the_charging_to_hold():
    rng = np.random.default_rng(4)
    solid = record(replace(TRUTH, conductance_nA_nm_per_V=0.0), steps(), 24, rng)
    solid = {n: replace(r, order=None) for n, r in solid.items()}
    control = m.fit(solid, fixed={"conductance_nA_nm_per_V": 0.0, "barrier_kT": 0.0})
    assert set(control.fitted) == {"capacitance_e_nm_per_V", "tau_charge_ps"}
    assert all(found.identifiable for found in control.fitted.values())
    charging = {name: getattr(control.parameters, name) for name in control.fitted}
    found = m.fit(record(TRUTH, steps(), 24, rng), fixed=charging)
    assert set(charging).isdisjoint(found.fitted)
    assert found.parameters.tau_charge_ps == charging["tau_charge_ps"]
    assert found.parameters.barrier_kT == pytest.approx(3.0, abs=0.8)


def test_windows_of_the_current_may_be_longer_than_a_frame():
    recordings = record(TRUTH, steps(0.5), 24, np.random.default_rng(5))
    wide = {n: replace(r, window_ps=2.5) for n, r in recordings.items()}
    fitted = m.fit(wide).fitted
    for name in ("capacitance_e_nm_per_V", "tau_charge_ps"):
        assert fitted[name].estimate.low < getattr(TRUTH, name) < fitted[name].estimate.high


# ---- judging


def test_held_out_verdicts():
    rng = np.random.default_rng(6)
    training = record(TRUTH, steps(), 24, rng)
    unseen = record(TRUTH, train(), 24, rng)
    fit = m.fit(training)
    right = {j.quantity: j for j in m.judge(fit, unseen)}
    assert {j.verdict for j in right.values()} == {"predicts"}
    assert right["order"].error < 2 * right["order"].scatter
    assert right["order"].scatter == pytest.approx(0.2 / math.sqrt(24), rel=0.15)
    assert right["order"].skill.value == pytest.approx(
        1 - (right["order"].error / right["order"].baseline_error) ** 2
    )

    # Wrong physics: no barrier, and water that follows the field at once.
    wrong = replace(
        fit, parameters=replace(TRUTH, barrier_kT=0.0, tau_up_ps=0.01, tau_down_ps=0.01)
    )
    verdicts = {j.quantity: j.verdict for j in m.judge(wrong, unseen)}
    assert verdicts["order"] != "predicts"
    assert verdicts["current"] == "better than the baseline"
    slow = replace(fit, parameters=replace(TRUTH, tau_down_ps=3.0))
    assert m.judge(slow, unseen)[0].verdict == "better than the baseline"


def test_wrong_models_are_told_from_right_ones_in_repeated_trials():
    right = wrong = 0
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        unseen = record(TRUTH, train(), 12, rng)
        line = {"order_line": (0.3, 0.6), "current_slope": 5.0}
        right += m.judge(m.Fit(TRUTH, {}, **line), unseen)[0].verdict == "predicts"
        bad = replace(TRUTH, tau_down_ps=2.0)
        wrong += m.judge(m.Fit(bad, {}, **line), unseen)[0].verdict == "predicts"
    assert right >= 18
    assert wrong <= 2


def test_too_much_noise_is_not_enough_statistics():
    rng = np.random.default_rng(7)
    unseen = record(TRUTH, train(), 4, rng, order_noise=50.0, charge_noise=50.0)
    fit = m.Fit(TRUTH, {}, order_line=(0.3, 0.6), current_slope=5.0)
    assert {j.verdict for j in m.judge(fit, unseen)} == {"not enough statistics"}
    with pytest.raises(MeasureError, match="1 replica"):
        m.judge(fit, record(TRUTH, train(), 1, rng))


# ---- refusals


def test_errors_say_what_is_wrong():
    t = np.arange(4.0)
    with pytest.raises(MeasureError, match="tau_up_ps = -1 must be positive"):
        m.Parameters(tau_up_ps=-1.0)
    with pytest.raises(MeasureError, match="times increasing"):
        m.simulate(TRUTH, t[::-1], t)
    with pytest.raises(MeasureError, match=r"order has shape \(4,\)"):
        m.Recording(t, t, order=t)
    with pytest.raises(MeasureError, match="2 replicas and charge_e 3"):
        m.Recording(t, t, order=np.zeros((2, 4)), charge_e=np.zeros((3, 4)))
    with pytest.raises(MeasureError, match="nothing can be fitted"):
        m.fit({"empty": m.Recording(t, t)})
    with pytest.raises(MeasureError, match="'tau'"):
        m.fit({"a": m.Recording(t, t, order=np.zeros((2, 4)))}, fixed={"tau": 1.0})
