"""Injected truth about what steps of the field say of memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made import DEMO, SINE, driven, falling, in_reference_box, ohmic, relaxing

from janus_pore import spec
from janus_pore.show import figures, memory, ordering, scorecard
from janus_pore.show.results import NOTHING, Opened


def test_the_ends_of_steps_are_told_by_system(monkeypatch):
    other = spec.Alternative(system={"pore": "bond4"}, protocols=("step_up",))
    silent = spec.Alternative(system={"chalcogen_lj": "stewart"}, protocols=("sine",))
    profile = DEMO.model_copy(update={"alternatives": (other, silent)})
    ran = {
        ("hollow6", "step_up"): relaxing("step_up", 1.0, 60, 20),
        ("hollow6", "step_down"): relaxing("step_down", 30.0, 20, 60),
        ("bond4", "step_up"): relaxing("step_up", 1.0, 60, 35),
    }
    for by_label in ran.values():
        for data in by_label.values():
            data["pore_water_count"] = (("replica", "time"), np.full(data["theta"].shape[:2], 12))
    monkeypatch.setattr(
        memory, "opened", lambda of, protocol: Opened(ran[of.system.pore, protocol], "")
        if (of.system.pore, protocol) in ran else Opened({}, "not run yet"),
    )  # fmt: skip
    found, why_not = memory.where_steps_end(profile)
    assert (list(found), why_not) == (["hollow6, S: liang", "bond4, S: liang"], {})
    own, narrow = found.values()
    assert own.replicas == {"step_up": 40, "step_down": 40}
    assert narrow.replicas == {"step_up": 40}
    assert own.molecules == (12.0, 0.0)
    # the last 3 of 10 ps: relaxed after the fast step, on the way after the slow one
    slow = 60 - 40 * np.exp(-8.5 / 30.0)
    for curve, width in (
        (own.spread["forward"], 20), (own.spread["reverse"], slow), (narrow.spread["forward"], 35),
    ):  # fmt: skip
        assert curve.value == pytest.approx(width, rel=0.03)
        assert (curve.low < curve.value).all()
    assert list(own.spread["forward"].x) == sorted(
        w.to_V_per_nm for w in DEMO.protocol("step_up").waveforms().values()
    )
    rows = memory.rows_of_ends(found)
    assert len(rows) == sum(len(c.x) for one in found.values() for c in one.spread.values())
    assert rows[0][:3] == ("hollow6, S: liang", "12.0 ± 0.0", "ordering, field up")
    figure = figures.spread_by_choice({n: o.spread for n, o in found.items()}, length_x_nm=8.0)
    labels = [c.get_label() for c in figure.axes[0].containers]
    assert labels == [
        "hollow6, S: liang; ordering, field up", "hollow6, S: liang; relaxation, field down",
        "bond4, S: liang; ordering, field up",
    ]  # fmt: skip
    drawn = figure.axes[0].containers[1].lines[0].get_ydata()
    assert drawn == pytest.approx(own.spread["reverse"].value)

    del ran["bond4", "step_up"]
    found, why_not = memory.where_steps_end(profile)
    assert (list(found), why_not) == (["hollow6, S: liang"], {"bond4, S: liang": "not run yet"})


def test_steps_foretell_the_loop_of_a_sine():
    """At a slow sine the sweeps differ by the sum of the time constants times dσ∞/dt."""
    profile = in_reference_box(DEMO)
    ran = {}
    for protocol, tau in (("step_up", 1.0), ("step_down", 2.0)):
        waves = DEMO.protocol(protocol).waveforms()
        ran[protocol] = {
            label: relaxing(protocol, tau, 100 if tau < 2 else 20, 100 - 60 * w.to_V_per_nm)[label]
            for label, w in waves.items()
        }
    up, down = ran["step_up"], ran["step_down"]
    steps = ordering.relaxations(up, down, profile)
    sine = SINE.model_copy(update={"frequency_GHz": 0.5})
    rows = ordering.claims_of_order(ordering.Order({}, 1.0), steps, profile, "sine")
    (spread,) = (r for r in rows if r.id == 8)
    assert (spread.verdict, spread.estimator, spread.run) == ("reproduced", "steps", "step_up")
    found = memory.expected(up, down, steps, profile, sine)
    assert found is not None
    k = int(np.argmin(abs(found.gap.x - 0.6)))
    E = found.gap.x[k]
    change = 2 * np.pi * 0.0005 * math.sqrt(1.2**2 - E**2)  # V/nm per ps
    assert found.gap.value[k] == pytest.approx(-3.0 * 60 * change, rel=0.25)
    assert found.gap.low[k] < found.gap.value[k] < found.gap.high[k] < 0
    assert found.largest.value == found.gap.value[abs(found.gap.value).argmax()]
    assert found.mean.value == pytest.approx(found.gap.value.mean())
    assert found.largest.value < found.mean.value < 0
    (row,) = memory.rows_of_memory({"slow": found})
    assert len(row) == len(memory.MEMORY)
    assert row[:2] == ("slow", "0.0038")
    assert row[-2:] == ("not run", "not run")
    measured = ordering.order(driven(ohmic, falling), SINE, profile, width="direct")
    gaps = [ordering.mean_gap(measured, sign) for sign in (1, -1)]
    for gap in gaps:  # spreads are narrower by 10 on the way back
        assert gap.low < gap.value < gap.high < 0
        assert gap.value == pytest.approx(-10, abs=1)
    (row,) = memory.rows_of_memory({"slow": found}, {"slow": gaps})
    assert row[-2:] == tuple(scorecard.describe(gap).replace("-", "−") for gap in gaps)
    assert ordering.mean_gap(ordering.Order({}, 1.0), 1) is NOTHING
    slower = memory.expected(up, down, steps, profile, sine, relaxing_ps=8.0)
    assert slower is not None
    assert slower.gap.value[k] == pytest.approx(-9.0 * 60 * change, rel=0.25)
    fast = memory.expected(up, down, steps, profile, SINE.model_copy(
        update={"frequency_GHz": 5.0}))  # fmt: skip
    assert fast is not None
    assert abs(fast.largest.value) > 5 * abs(found.largest.value)

    figure = figures.expected_spread(
        {"slow": (found.sweeps, {}), "fast": (fast.sweeps, found.sweeps)}, length_x_nm=8.0
    )
    slow, quick = (ax for ax in figure.axes if ax.get_title(loc="left"))
    assert len(slow.containers) == 0
    assert [c.get_label() for c in quick.containers] == [
        f"{figures.DIRECTION_NAME[d]}: measured" for d in ("forward", "reverse")
    ]
    drawn = {line.get_label(): line.get_ydata() for line in slow.lines}
    name = f"{figures.DIRECTION_NAME['reverse']}: expected"
    assert drawn[name] == pytest.approx(found.sweeps["reverse"].value)

    still = relaxing("step_up", 1.0, 40, 40)
    nothing = ordering.relaxations(still, down, profile)
    assert memory.expected(still, down, nothing, profile, sine) is None
