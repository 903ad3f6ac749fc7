"""Injected truth about the order of the water."""

from __future__ import annotations

import numpy as np
import pytest
from made import DEMO, SINE, TINY, driven, falling, in_reference_box, ohmic, relaxing

from janus_pore.show import ordering


def test_the_spread_has_the_injected_width_in_both_sweeps():
    profile = in_reference_box(DEMO)
    order = ordering.order(driven(ohmic, falling), SINE, profile, width="fit")
    for direction, less in (("forward", 0.0), ("reverse", 10.0)):
        curve = order.curves()[direction]
        narrow = np.abs(curve.x) > 0.7
        truth = 80 - 45 * np.abs(curve.x) / 1.2 - less
        assert curve.value[narrow] == pytest.approx(truth[narrow], rel=0.05)
    rows = ordering.claims_of_order(order, ordering.Steps({}, {}), profile, "sine")
    assert {r.id: r.verdict for r in rows} == {8: "reproduced", 9: "reproduced"}


def test_distributions_take_their_own_frames():
    profile = in_reference_box(DEMO)
    panels = ordering.distributions(driven(ohmic, falling), SINE, profile)
    last = list(panels.values())[-1]
    assert list(panels)[-1] == "E = 0.9 to 1.2 V/nm"
    assert last["forward"].sigma_deg.value == pytest.approx(80 - 45 * 0.91, rel=0.08)
    assert last["reverse"].sigma_deg.value == pytest.approx(70 - 45 * 0.91, rel=0.08)
    assert abs(last["forward"].mean_deg.value) < 3


def test_time_constants_and_their_order_are_recovered():
    steps = ordering.relaxations(
        relaxing("step_up", 1.0, 45, 20), relaxing("step_down", 3.0, 20, 45), DEMO
    )
    times = ordering.times_of(steps)
    for direction, tau in (("forward", 1.0), ("reverse", 3.0)):
        assert (times[direction].low < tau).all()
        assert (times[direction].high > tau).all()
        assert times[direction].value == pytest.approx(tau, rel=0.25)
    spread = ordering.Order({}, 1.0)
    rows = ordering.claims_of_order(spread, steps, DEMO, "sine")
    assert {r.id: r.verdict for r in rows} == {10: "reproduced"}
    panels = ordering.relaxation_panels(steps)
    assert panels["forward"][0.4].label.startswith("τ = ")
    tiny = ordering.claims_of_order(spread, steps, TINY, "sine")
    assert {r.verdict for r in tiny} == {"not enough statistics"}
