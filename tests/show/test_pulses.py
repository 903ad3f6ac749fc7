"""Injected truth about pulses."""

from __future__ import annotations

import numpy as np
import pytest
from made import DEMO, paired, verdicts

from janus_pore import spec
from janus_pore.show import pulses


def test_ratios_and_memory_times_are_recovered():
    profile = spec.load_profile("reduced")
    truth = {
        "ppf": lambda d: 1.2 + 2.0 * np.exp(-d / 8.0),
        "ppd": lambda d: 0.2 + 0.8 * (1 - np.exp(-d / 7.5)),
    }
    found = {p: pulses.pairs(paired(profile, p, truth[p]), profile, p) for p in truth}
    for protocol, one in found.items():
        assert (np.diff(one.delay_ps) > 0).all()
        for curve in one.curves().values():
            assert curve.value == pytest.approx(truth[protocol](curve.x), rel=0.15)
    rows = pulses.claims_of_pairs(found, profile)
    for number in (17, 18):
        assert set(verdicts(rows, number).values()) == {"reproduced"}
    fit = pulses.memory_times(found["ppf"], "ppf")["box"]
    assert fit.tau.low < 8.0 < fit.tau.high


def test_two_delays_give_ratios_but_no_time():
    found = pulses.pairs(paired(DEMO, "ppf", lambda d: 2.0), DEMO, "ppf")
    assert pulses.memory_times(found, "ppf") == {}
    rows = pulses.claims_of_pairs({"ppf": found}, DEMO)
    assert {r.id for r in rows} == {17}
    assert all(r.verdict != "reproduced" for r in rows)
    assert "I1/I0 after 1 ps: 2.0" in rows[0].found


def test_a_pulse_trace_is_the_mean_current():
    data = paired(DEMO, "ppf", lambda d: 2.0)
    train = DEMO.protocol("ppf").waveforms()["delay_ps=1"]
    field, curves = pulses.pulse_current(data["delay_ps=1"], train)
    box = curves["box"]
    assert field.shape == data["delay_ps=1"]["time"].shape
    second = box.x > train.prepare_ps + train.width_ps + train.delay_ps + 1
    assert box.value[second].mean() == pytest.approx(8.0, rel=0.1)  # both ions, twice 2 nA
