"""Injected truth: series with known answers give the figures' numbers and the verdicts."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from janus_pore import spec
from janus_pore.measure.current import NANOAMPERE_PER_E_PER_PS
from janus_pore.show import results

TINY, DEMO = spec.load_profile("tiny"), spec.load_profile("demo")
REPLICAS, MOLECULES = 8, 12
PERIOD_PS = 400.0
SINE = spec.Sine(amplitude_V_per_nm=1.2, frequency_GHz=1000 / PERIOD_PS, cycles=1)
COORDINATES = {"estimator": ["box", "pore", "crossings"], "species": ["K", "Cl"]}


def driven(current_nA, sigma_deg, *, seed=0, scale=1.0):
    """A sine's series: current (nA) and spread (degrees) as functions of E and |E|'s slope."""
    rng = np.random.default_rng(seed)
    t = np.arange(0.0, PERIOD_PS + 0.1, 0.5)
    E = 1.2 * np.sin(2 * np.pi * t / PERIOD_PS)
    slope = np.sign(np.cos(2 * np.pi * t / PERIOD_PS) * E)
    I = current_nA(E, slope)[:, None] * [0.4, 0.6]  # noqa: E741
    between = 0.5 * (I + np.roll(I, 1, axis=0))  # the current that led to each frame
    steps = between / NANOAMPERE_PER_E_PER_PS * 0.5 + rng.normal(
        0, 0.0005, (REPLICAS, 3, len(t), len(COORDINATES["species"]))
    )
    charge = np.cumsum(steps, axis=2).transpose(0, 1, 3, 2)
    width = sigma_deg(np.abs(E), slope)
    theta = rng.normal(size=(REPLICAS, len(t), MOLECULES)) * width[None, :, None]
    theta += np.where(E < 0, 180.0, 0.0)[None, :, None]
    return xr.Dataset(
        {
            "field": (("replica", "time"), np.tile(scale * E, (REPLICAS, 1))),
            "charge": (("replica", "estimator", "species", "time"), charge),
            "theta": (("replica", "time", "slot"), (theta + 180) % 360 - 180),
        },
        coords={"replica": range(REPLICAS), "time": t, **COORDINATES},
    )


def with_ndr(E, slope):
    """Largest at 0.5 V/nm, lower in the reverse sweep, zero at the origin."""
    a = np.abs(E)
    return np.sign(E) * 8 * a * np.exp(-a / 0.5) * np.where(slope > 0, 1.0, 0.6)


def ohmic(E, slope):
    return 3.0 * E + 0.0 * slope


def falling(E, slope):
    return 80 - 45 * E / 1.2 - np.where(slope > 0, 0.0, 10.0)


def verdicts(rows, number):
    return {r.estimator: r.verdict for r in rows if r.id == number}


def reference(profile):
    """The profile's physics in the reference box, so that field_scale is one."""
    return profile.model_copy(
        update={"system": profile.system.model_copy(update={"length_x_nm": 8.0})}
    )


def test_the_loop_has_the_injected_current_in_fields_of_the_reference_box():
    data = driven(ohmic, falling, scale=DEMO.field_scale)
    found = results.sweeps(data, SINE, DEMO, window_ps=5.0)
    for part, share in (("total", 1.0), ("K", 0.4), ("Cl", 0.6)):
        curve = found["pore"][part].curves()["forward"]
        assert (np.diff(curve.x) > 0).all()
        assert curve.x[-1] == pytest.approx(1.2, abs=0.06)
        inside = (curve.low <= share * 3.0 * curve.x) & (share * 3.0 * curve.x <= curve.high)
        assert inside.mean() > 0.8


def test_negative_slope_and_memory_are_found_where_they_are():
    profile = reference(DEMO)
    rows = results.claims_of_current(
        results.sweeps(driven(with_ndr, falling), SINE, profile, window_ps=5.0), profile, "sine"
    )
    assert set(verdicts(rows, 1).values()) == {"reproduced"}
    assert set(verdicts(rows, 2).values()) == {"not reproduced"}  # at -0.5, not at -1.0
    assert set(verdicts(rows, 4).values()) == {"reproduced"}
    assert set(verdicts(rows, 5).values()) == {"reproduced"}
    assert {r.run for r in rows} == {"sine"}


def test_an_ohmic_pore_refutes_them():
    profile = reference(DEMO)
    rows = results.claims_of_current(
        results.sweeps(driven(ohmic, falling), SINE, profile, window_ps=5.0), profile, "sine"
    )
    assert set(verdicts(rows, 1).values()) == {"not reproduced"}
    assert set(verdicts(rows, 2).values()) == {"not reproduced"}
    assert "reproduced" not in verdicts(rows, 4).values()


def test_charging_opens_the_loop_at_the_origin():
    def capacitor(E, slope):
        return np.gradient(E) * 100 + 0.0 * slope

    profile = reference(DEMO)
    found = results.sweeps(driven(capacitor, falling), SINE, profile, window_ps=5.0)
    assert results.pinched(found["box"]["total"]).verdict == "open"
    rows = results.claims_of_current(found, profile, "sine")
    assert set(verdicts(rows, 3).values()) == {"not reproduced"}


def test_claims_follow_the_charge_set_and_the_control_bears_on_none():
    data = driven(with_ndr, falling)

    def judged(**changes):
        profile = reference(DEMO)
        system = profile.system.model_copy(update=changes)
        profile = profile.model_copy(update={"system": system})
        found = results.sweeps(data, SINE, profile, window_ps=5.0)
        return {r.id for r in results.claims_of_current(found, profile, "sine")}

    assert judged() == {1, 2, 3, 4, 5}
    assert judged(charge_set="mos2") == {15}
    assert judged(charge_set="uncharged") == {14}
    assert judged(pore="none") == set()


def test_cycles_are_units():
    one = driven(ohmic, falling)
    two = spec.Sine(amplitude_V_per_nm=1.2, frequency_GHz=2 * SINE.frequency_GHz, cycles=2)
    found = results.sweeps(one, two, reference(DEMO), window_ps=5.0)
    assert found["box"]["total"].current_nA.shape == (2 * REPLICAS, int(PERIOD_PS / 2 / 5.0))


def test_the_spread_has_the_injected_width_in_both_sweeps():
    profile = reference(DEMO)
    order = results.order(driven(ohmic, falling), SINE, profile, width="fit")
    for direction, less in (("forward", 0.0), ("reverse", 10.0)):
        curve = order.curves()[direction]
        narrow = np.abs(curve.x) > 0.7
        truth = 80 - 45 * np.abs(curve.x) / 1.2 - less
        assert curve.value[narrow] == pytest.approx(truth[narrow], rel=0.05)
    rows = results.claims_of_order(order, results.Steps({}, {}), profile, "sine")
    assert {r.id: r.verdict for r in rows} == {8: "reproduced", 9: "reproduced"}


def test_distributions_take_their_own_frames():
    profile = reference(DEMO)
    panels = results.distributions(driven(ohmic, falling), SINE, profile)
    last = list(panels.values())[-1]
    assert list(panels)[-1] == "E = 0.9 to 1.2 V/nm"
    assert last["forward"].sigma_deg.value == pytest.approx(80 - 45 * 0.91, rel=0.08)
    assert last["reverse"].sigma_deg.value == pytest.approx(70 - 45 * 0.91, rel=0.08)
    assert abs(last["forward"].mean_deg.value) < 3


def relaxing(protocol, tau_ps, start, end):
    rng = np.random.default_rng(3)
    out = {}
    for label, step in DEMO.protocol(protocol).waveforms().items():
        t = np.arange(0.0, step.from_ps + 10.05, 0.1)
        since = np.clip(t - step.from_ps, 0, None)
        width = end + (start - end) * np.exp(-since / tau_ps)
        width[t < step.from_ps] = 140.0  # before the step: must not be used
        theta = rng.normal(size=(40, len(t), MOLECULES)) * width[None, :, None]
        out[label] = xr.Dataset(
            {"theta": (("replica", "time", "slot"), (theta + 180) % 360 - 180)},
            coords={"time": t},
        )
    return out


def test_time_constants_and_their_order_are_recovered():
    steps = results.relaxations(
        relaxing("step_up", 1.0, 45, 20), relaxing("step_down", 3.0, 20, 45), DEMO
    )
    times = results.times_of(steps)
    for direction, tau in (("forward", 1.0), ("reverse", 3.0)):
        assert (times[direction].low < tau).all()
        assert (times[direction].high > tau).all()
        assert times[direction].value == pytest.approx(tau, rel=0.25)
    spread = results.Order({}, 1.0)
    rows = results.claims_of_order(spread, steps, DEMO, "sine")
    assert {r.id: r.verdict for r in rows} == {10: "reproduced"}
    panels = results.relaxation_panels(steps)
    assert panels["forward"][0.4].label.startswith("τ = ")
    tiny = results.claims_of_order(spread, steps, TINY, "sine")
    assert {r.verdict for r in tiny} == {"not enough statistics"}


def paired(profile, protocol, ratio_of, *, seed=5):
    rng = np.random.default_rng(seed)
    out = {}
    for label, train in profile.protocol(protocol).waveforms().items():
        first = train.prepare_ps
        second = first + train.width_ps + train.delay_ps
        t = np.arange(0.0, second + train.width_ps + 0.05, 0.1)
        I0 = 2.0 * (1 + 0.05 * rng.normal(size=(20, 3, 2, 1)))
        I = np.where((t > first) & (t <= first + train.width_ps), I0, 0.0)  # noqa: E741
        I = I + np.where(t > second, I0 * ratio_of(train.delay_ps), 0.0)  # noqa: E741
        noise = rng.normal(0, 0.0005, I.shape)
        out[label] = xr.Dataset(
            {
                "charge": (
                    ("replica", "estimator", "species", "time"),
                    np.cumsum(I * 0.1 / NANOAMPERE_PER_E_PER_PS + noise, axis=-1),
                ),
                "field": (("replica", "time"), np.zeros((20, len(t)))),
            },
            coords={"replica": range(20), "time": t, **COORDINATES},
        )
    return out


def test_ratios_and_memory_times_are_recovered():
    profile = spec.load_profile("reduced")
    truth = {
        "ppf": lambda d: 1.2 + 2.0 * np.exp(-d / 8.0),
        "ppd": lambda d: 0.2 + 0.8 * (1 - np.exp(-d / 7.5)),
    }
    found = {p: results.pairs(paired(profile, p, truth[p]), profile, p) for p in truth}
    for protocol, one in found.items():
        assert (np.diff(one.delay_ps) > 0).all()
        for curve in one.curves().values():
            assert curve.value == pytest.approx(truth[protocol](curve.x), rel=0.15)
    rows = results.claims_of_pairs(found, profile)
    for number in (17, 18):
        assert set(verdicts(rows, number).values()) == {"reproduced"}
    fit = results.memory_times(found["ppf"], "ppf")["box"]
    assert fit.tau.low < 8.0 < fit.tau.high


def test_two_delays_give_ratios_but_no_time():
    found = results.pairs(paired(DEMO, "ppf", lambda d: 2.0), DEMO, "ppf")
    assert results.memory_times(found, "ppf") == {}
    rows = results.claims_of_pairs({"ppf": found}, DEMO)
    assert {r.id for r in rows} == {17}
    assert all(r.verdict != "reproduced" for r in rows)
    assert "I1/I0 after 2 ps: 2.0" in rows[0].found


def test_a_pulse_trace_is_the_mean_current():
    data = paired(DEMO, "ppf", lambda d: 2.0)
    train = DEMO.protocol("ppf").waveforms()["delay_ps=2"]
    field, curves = results.pulse_current(data["delay_ps=2"], train)
    box = curves["box"]
    assert field.shape == data["delay_ps=2"]["time"].shape
    second = box.x > train.prepare_ps + train.width_ps + train.delay_ps + 1
    assert box.value[second].mean() == pytest.approx(8.0, rel=0.1)  # both ions, twice 2 nA
