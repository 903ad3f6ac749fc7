"""Injected truth about what steps of the field say of memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made import DEMO, SINE, driven, falling, ohmic, relaxing, with_an_ion

from janus_pore import spec
from janus_pore.measure.statistics import difference
from janus_pore.show import figures, memory, ordering, scorecard
from janus_pore.show.results import NOTHING, Opened, sines


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
    label, data = next(iter(ran["hollow6", "step_up"].items()))
    ran["hollow6", "step_up"][label] = with_an_ion(data, slice(None))
    monkeypatch.setattr(
        memory, "opened", lambda of, protocol: Opened(ran[of.system.pore, protocol], "")
        if (of.system.pore, protocol) in ran else Opened({}, "not run yet"),
    )  # fmt: skip
    step = DEMO.protocol("step_up").waveforms()[label]
    full = data.assign(ions_in_pore=data["ions_in_pore"] + 1)
    assert memory.spread_at_end(full, step) is NOTHING
    assert memory.spread_at_end(data, step).value == pytest.approx(20, rel=0.03)
    found, why_not = memory.where_steps_end(profile)
    assert (list(found), why_not) == (["MoSSe, hollow6", "MoSSe, bond4"], {})
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
    # beside an ion the water is anyhow, and does not count
    assert own.with_ion["forward"] == pytest.approx(
        [1 / 40, *[0] * (len(own.spread["forward"].x) - 1)]
    )
    rows = memory.rows_of_ends(found)
    assert {len(row) for row in rows} == {len(memory.ENDS)}
    assert [row[4] for row in rows[:2]] == ["2", "0"]
    assert len(rows) == sum(len(c.x) for one in found.values() for c in one.spread.values())
    assert rows[0][:3] == ("MoSSe, hollow6", "12.0 ± 0.0", "ordering, field up")
    figure = figures.spread_by_choice({n: o.spread for n, o in found.items()}, length_x_nm=8.0)
    labels = [c.get_label() for c in figure.axes[0].containers]
    assert labels == [
        "MoSSe, hollow6; ordering, field up", "MoSSe, hollow6; relaxation, field down",
        "MoSSe, bond4; ordering, field up",
    ]  # fmt: skip
    drawn = figure.axes[0].containers[1].lines[0].get_ydata()
    assert drawn == pytest.approx(own.spread["reverse"].value)

    del ran["bond4", "step_up"]
    found, why_not = memory.where_steps_end(profile)
    assert (list(found), why_not) == (["MoSSe, hollow6"], {"MoSSe, bond4": "not run yet"})

    for by_label in ran.values():
        for data in by_label.values():
            data["ions_in_pore"] += 1
    found, why_not = memory.where_steps_end(profile)
    assert (found, why_not["MoSSe, hollow6"]) == ({}, memory.ALWAYS)
    up, down = ran["hollow6", "step_up"], ran["hollow6", "step_down"]
    steps = ordering.relaxations(up, down, profile)
    assert memory.expected(up, down, steps, profile, SINE) is None


def test_water_over_a_sine_is_told_by_system(monkeypatch):
    other, full = (
        spec.Alternative(system={"charge_set": name}, protocols=("sine",), windows=False)
        for name in ("uncharged", "mos2")
    )
    silent = spec.Alternative(system={"pore": "bond4"}, protocols=("step_up",))
    profile = DEMO.model_copy(update={"alternatives": (other, full, silent)})
    clean = driven(ohmic, falling)
    taken = clean.assign(ions_in_pore=clean["ions_in_pore"] + 1)
    ran = {"mosse": clean, "uncharged": with_an_ion(clean, slice(0, None, 3)), "mos2": taken}
    monkeypatch.setattr(
        memory, "opened",
        lambda of, _: Opened(dict.fromkeys([sines(of)[0].label], ran[of.system.charge_set]), ""),
    )  # fmt: skip
    found, why_not = memory.over_sines(profile)
    assert list(found) == ["MoSSe, hollow6", "no charges, hollow6"]
    assert list(why_not) == ["MoS₂, hollow6"]
    assert why_not["MoS₂, hollow6"] == memory.ALWAYS
    own, less = (one.curves()["forward"].value for one in found.values())
    assert less == pytest.approx(own, rel=0.05)
    rows = memory.rows_over_sines(found)
    assert {len(row) for row in rows} == {len(memory.OVER_SINES)}
    assert [row[0] for row in rows] == ["MoSSe, hollow6"] * 4 + ["no charges, hollow6"] * 4


def test_the_positive_field_of_equal_order_is_found(monkeypatch):
    """Water at -E that is as narrow as at E - 0.4 V/nm, ordering three times as slowly."""
    back = DEMO.protocol("step_up").model_copy(update={"scan": {"to_V_per_nm": (-0.8, -0.4)}})
    profile = DEMO.model_copy(update={"protocols": {**DEMO.protocols, "step_up_negative": back}})
    ran = {}
    for protocol, tau, start, turn in (
        ("step_up", 0.5, 60, 0.0), ("step_up_negative", 1.5, 60, 180.0),
        ("step_down", 0.5, 20, 0.0),
    ):  # fmt: skip
        for label, step in profile.protocol(protocol).waveforms().items():
            E = step.to_V_per_nm
            end = 60 - 50 * (E if E >= 0 else -E - 0.4)
            made = relaxing(protocol, tau, start, end, profile=profile, turn=turn)[label]
            made["pore_water_count"] = made["theta"].isel(slot=0) * 0 + 12
            ran.setdefault(protocol, {})[label] = made
    monkeypatch.setattr(
        memory, "opened",
        lambda of, p: Opened(ran[p], "") if p in ran else Opened({}, "not run yet"),
    )  # fmt: skip
    up, down = ran["step_up"], ran["step_down"]
    steps = ordering.relaxations(up, down, profile)
    found, why = memory.polarities(up, down, steps, profile)
    assert (list(found), why) == ([-0.4, -0.8], "")
    weak, strong = found.values()
    assert weak.spread_deg.value == pytest.approx(60, rel=0.03)
    assert not weak.equal_V_per_nm.enough  # half of its draws are wider than at rest
    assert strong.equal_V_per_nm.value == pytest.approx(0.4, abs=0.03)
    assert strong.equal_V_per_nm.low < strong.equal_V_per_nm.value < strong.equal_V_per_nm.high
    assert strong.tau_ps.value == pytest.approx(1.5, rel=0.2)
    assert strong.tau_positive_ps.value == pytest.approx(0.5, rel=0.3)
    by_choice, why_not = memory.polarities_by_choice(up, down, steps, profile)
    assert why_not == {}
    rows = memory.rows_of_polarities(by_choice)
    assert rows == memory.rows_of_polarities({"MoSSe, hollow6": found})
    assert {len(row) for row in rows} == {len(memory.POLARITIES)}
    assert rows[0][:2] == ("MoSSe, hollow6", "−0.4")
    assert rows[0][4:6] == ("–", "not fixed")  # nothing changed there
    ended, _ = memory.where_steps_end(profile)
    own = next(iter(ended.values()))
    assert list(own.spread["forward"].x) == [-0.8, -0.4, 0.4, 0.8]
    assert own.spread["forward"].value == pytest.approx([40, 60, 40, 20], rel=0.03)
    rest = ran["step_down"]["to_V_per_nm=0"]
    rest["dipole_x"] = rest["pore_water_count"] * 0.4
    rest["dipole_x"][:, : rest.sizes["time"] // 2] = 99.0  # still on its way
    assert memory.resting_dipole(down, profile).value == pytest.approx(0.4)
    assert memory.resting_dipole({}, profile) is NOTHING
    del ran["step_up_negative"]
    assert memory.polarities(up, down, steps, profile) == ({}, "not run yet")
    why = {"MoSSe, hollow6": "not run yet"}
    assert memory.polarities_by_choice(up, down, steps, profile) == ({}, why)


def test_systems_are_compared_by_the_field_of_equal_order(monkeypatch):
    """One where -E orders as E - 0.2 V/nm does, and one where as E - 0.1 V/nm does."""
    steps_both_ways = ("step_up", "step_up_negative")
    back = DEMO.protocol("step_up").model_copy(update={"scan": {"to_V_per_nm": (-0.8,)}})
    equal = spec.Alternative(
        system={"charge_set": "mosse_symmetric"}, protocols=steps_both_ways, windows=False
    )
    narrow = spec.Alternative(system={"pore": "bond4"}, protocols=("step_up",))
    protocols = {**DEMO.protocols, "step_up_negative": back}
    profile = DEMO.model_copy(update={"protocols": protocols, "alternatives": (equal, narrow)})
    ran = {}
    for charges, less in (("mosse", 0.2), ("mosse_symmetric", 0.1)):
        for protocol in steps_both_ways:
            for label, step in profile.protocol(protocol).waveforms().items():
                E = step.to_V_per_nm
                end = 60 - 50 * (E if E >= 0 else -E - less)
                ran.setdefault((charges, protocol), {})[label] = relaxing(
                    protocol, 0.5, 60, end, profile=profile, turn=0.0 if E > 0 else 180.0
                )[label]
    monkeypatch.setattr(
        memory, "opened",
        lambda of, p: Opened(ran[of.system.charge_set, p], "")
        if (of.system.charge_set, p) in ran else Opened({}, "not run yet"),
    )  # fmt: skip
    up = ran["mosse", "step_up"]
    steps = ordering.relaxations(up, {}, profile)
    found, why = memory.polarities_by_choice(up, {}, steps, profile)
    assert (list(found), why) == (["MoSSe, hollow6", "equal charges, hollow6"], {})
    assert found["MoSSe, hollow6"][-0.8].equal_V_per_nm.value == pytest.approx(0.6, abs=0.03)
    assert found["equal charges, hollow6"][-0.8].equal_V_per_nm.value == pytest.approx(
        0.7, abs=0.03
    )
    own, other = memory.rows_of_polarities(found)
    assert own[4] == "–"
    further = difference(*(found[k][-0.8].equal_V_per_nm for k in reversed(found)))
    assert other[4] == scorecard.describe(further)
    assert 0.0 < further.low < 0.1 < further.high < 0.2
    del ran["mosse_symmetric", "step_up_negative"]
    found, why = memory.polarities_by_choice(up, {}, steps, profile)
    assert (list(found), why) == (["MoSSe, hollow6"], {"equal charges, hollow6": "not run yet"})


def test_steps_foretell_the_loop_of_a_sine():
    """At a slow sine the sweeps differ by the sum of the time constants times dσ∞/dt."""
    profile = DEMO
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
    rows = ordering.claims_of_order([], steps, profile)
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
    assert row[-1] == "not run"
    measured = ordering.order(driven(ohmic, falling), SINE, profile, width="direct")
    gaps = [ordering.mean_gap(measured, sign).mean_deg for sign in (1, -1)]
    for gap in gaps:  # spreads are narrower by 10 on the way back
        assert gap.low < gap.value < gap.high < 0
        assert gap.value == pytest.approx(-10, abs=1)
    (row,) = memory.rows_of_memory({"slow": found}, {"slow": gaps[0]})
    assert row[-1] == scorecard.describe(gaps[0]).replace("-", "−")
    assert ordering.mean_gap(ordering.Order({}, 1.0, "direct"), 1).mean_deg is NOTHING
    slower = memory.expected(up, down, steps, profile, sine, relaxing_ps=8.0)
    assert slower is not None
    assert slower.gap.value[k] == pytest.approx(-9.0 * 60 * change, rel=0.25)
    other = sine.model_copy(update={"amplitude_V_per_nm": -sine.amplitude_V_per_nm})
    back = memory.expected(up, down, steps, profile, other)
    assert back is not None
    assert back.largest == found.largest  # the half cycle with E > 0 of either
    assert memory.rows_of_memory({"slow": back})[0][1] == "0.0038"
    fast = memory.expected(up, down, steps, profile, SINE.model_copy(
        update={"frequency_GHz": 5.0}))  # fmt: skip
    assert fast is not None
    assert abs(fast.largest.value) > 5 * abs(found.largest.value)
    # both begin at rest, as the runs do; of an earlier half cycle the fast one would keep more
    first = (one.sweeps["forward"].value[0] for one in (fast, found))
    assert next(first) == pytest.approx(next(first), abs=1.0)

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


def occupied(data, *, widened=2.0):
    """K⁺ in replica 0 from 60 to 100 ps; two Cl⁻ after each other in 1; both in 2 to the end."""
    time = data["time"].values
    ions = np.zeros((data.sizes["replica"], 2, len(time)), dtype=int)
    ions[0, 0] = (time >= 60) & (time < 100)
    ions[1, 1] = ((time >= 10) & (time < 15)) | ((time >= 20) & (time < 45))
    ions[2] = time >= time[-1] - 30
    rng = np.random.default_rng(1)
    beside = (ions.sum(axis=1) > 0)[..., None]
    theta = np.where(beside, rng.normal(size=data["theta"].shape) * 20 * widened, data["theta"])
    return data.assign(
        ions_in_pore=(("replica", "species", "time"), ions), theta=(data["theta"].dims, theta)
    )


def test_the_water_beside_an_ion_is_told_apart():
    profile = DEMO
    sine = driven(ohmic, lambda E, _: 20.0 + 0.0 * E)
    found = memory.beside_ions(occupied(sine), profile)
    assert set(found) == {
        (fields, ions)
        for fields, some in (
            ("−1.2 to −0.9", ("none",)),
            ("−0.9 to −0.6", ("none",)),
            ("−0.6 to −0.3", ("none", "both")),
            ("−0.3 to 0", ("none", "both")),
            ("0 to 0.3", ("none",)),  # with Cl⁻ for ten frames, which are too few
            ("0.3 to 0.6", ("none", "Cl⁻")),
            ("0.6 to 0.9", ("none", "Cl⁻")),
            ("0.9 to 1.2", ("none", "K⁺")),
        )
        for ions in some
    }
    for (_, ions), one in found.items():
        assert one.replicas == (1 if ions != "none" else 8)
        assert one.spread_deg.value == pytest.approx(20 if ions == "none" else 40, rel=0.15)
        assert one.molecules == 12
    # 40 ps of one replica in eight, of the 107.97 ps that the sine spends beyond 0.9 V/nm
    spent = 400 / math.pi * math.acos(0.9 / 1.2) * 8
    assert found["0.9 to 1.2", "K⁺"].share == pytest.approx(40 / spent, rel=0.02)
    rows = memory.rows_beside_ions({"sine": occupied(sine)}, profile)
    assert len(rows) == len(found) - 3  # fields at which no ion was there
    assert {len(row) for row in rows} == {len(memory.BESIDE)}

    constant = sine.assign(field=sine["field"] * 0 - 0.6 * profile.field_scale)
    found = memory.beside_ions(occupied(constant), profile)
    assert set(found) == {("−0.6", "none"), ("−0.6", "both")}  # of the later half
    assert found["−0.6", "both"].share == pytest.approx(30 / 200 / 8, rel=0.02)


def test_how_long_ions_stay():
    data = occupied(driven(ohmic, falling))
    assert memory.rows_of_stays({"sine": [data]}) == [
        ("sine", "K⁺", "2 of 8", "2.2", "40"), ("sine", "Cl⁻", "2 of 8", "1.9", "≥ 30"),
    ]  # fmt: skip
    # frames of 0.5 ps, then of 10: what counts is time
    late = data["time"].values >= 200
    uneven = data.isel(time=np.flatnonzero(~late | (data["time"].values % 10 == 0)))
    assert memory.rows_of_stays({"both": [data, uneven]}) == [
        ("both", "K⁺", "4 of 16", "2.2", "40"), ("both", "Cl⁻", "4 of 16", "1.9", "≥ 30"),
    ]  # fmt: skip
