"""Injected truth: series with known answers give the figures' numbers and the verdicts."""

from __future__ import annotations

import numpy as np
import pytest
from made import (
    DEMO,
    PERIOD_PS,
    REPLICAS,
    SINE,
    driven,
    falling,
    in_reference_box,
    ohmic,
    verdicts,
    with_ndr,
)

from janus_pore import spec
from janus_pore.show import results


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
    profile = in_reference_box(DEMO)
    rows = results.claims_of_current(
        results.sweeps(driven(with_ndr, falling), SINE, profile, window_ps=5.0), profile, "sine"
    )
    assert set(verdicts(rows, 1).values()) == {"reproduced"}
    assert set(verdicts(rows, 2).values()) == {"not reproduced"}  # at -0.5, not at -1.0
    assert set(verdicts(rows, 4).values()) == {"reproduced"}
    assert set(verdicts(rows, 5).values()) == {"reproduced"}
    assert {r.run for r in rows} == {"sine"}


def test_an_ohmic_pore_refutes_them():
    profile = in_reference_box(DEMO)
    rows = results.claims_of_current(
        results.sweeps(driven(ohmic, falling), SINE, profile, window_ps=5.0), profile, "sine"
    )
    assert set(verdicts(rows, 1).values()) == {"not reproduced"}
    assert set(verdicts(rows, 2).values()) == {"not reproduced"}
    assert "reproduced" not in verdicts(rows, 4).values()


def test_charging_opens_the_loop_at_the_origin():
    def capacitor(E, slope):
        return np.gradient(E) * 100 + 0.0 * slope

    profile = in_reference_box(DEMO)
    found = results.sweeps(driven(capacitor, falling), SINE, profile, window_ps=5.0)
    assert results.pinched(found["box"]["total"]).verdict == "open"
    rows = results.claims_of_current(found, profile, "sine")
    assert set(verdicts(rows, 3).values()) == {"not reproduced"}


def test_claims_follow_the_charge_set_and_the_control_bears_on_none():
    data = driven(with_ndr, falling)

    def judged(**changes):
        profile = in_reference_box(DEMO)
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
    found = results.sweeps(one, two, in_reference_box(DEMO), window_ps=5.0)
    assert found["box"]["total"].current_nA.shape == (2 * REPLICAS, int(PERIOD_PS / 2 / 5.0))
