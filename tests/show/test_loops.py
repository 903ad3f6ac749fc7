"""Injected truth: loops with known currents give the figures' numbers and the verdicts."""

from __future__ import annotations

import functools
import re
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from made import (
    COORDINATES,
    DEMO,
    PERIOD_PS,
    REPLICAS,
    SINE,
    TINY,
    driven,
    falling,
    ohmic,
    verdicts,
    with_ndr,
)

from janus_pore import spec
from janus_pore.errors import MeasureError
from janus_pore.measure.current import NANOAMPERE_PER_E_PER_PS
from janus_pore.show import loops, results, scorecard, steady
from janus_pore.show.loops import Driven

PROFILE = DEMO.model_copy(
    update={
        "protocols": {"sine": spec.Protocol(waveform=SINE, replicas=REPLICAS)},
        "control": ("sine",),
    }
)
CONTROL = PROFILE.without_pore()


def capacitor(E, slope):
    return np.gradient(E) * 100 + 0.0 * slope


def silent(E, slope):
    return 0.0 * E


def both(E, slope):
    """A conductor and a capacitor, 3:4 in amplitude."""
    step = 2 * np.pi / (len(E) - 1)
    return 3.0 * E + 4.0 * np.gradient(E) / step


def passing(found, passages):
    """Loops carried by so many ions: the charges here flow evenly, without any."""
    return {
        estimator: {
            name: one._replace(passages=one.passages and passages) for name, one in species.items()
        }
        for estimator, species in found.items()
    }


def looped(current_nA, profile=PROFILE, *, split=None, seed=0, noise=True) -> Driven:
    """A driven system; ``split`` gives the pore slab and the crossings a current of their own."""
    data = driven(current_nA, falling, seed=seed, scale=profile.field_scale)
    if split is not None:
        own = driven(split, falling, seed=seed + 1)["charge"]
        if not noise:
            own = own * 0.0
        data["charge"] = xr.concat(
            [data["charge"].isel(estimator=[0]), own.isel(estimator=[1, 2])], "estimator"
        ).transpose("replica", "estimator", "species", "time")
    found = passing(loops.sweeps(data, SINE, profile, window_ps=5.0), {1: 1000, -1: 1000})
    return Driven(profile, found, "sine, replicas 0 to 7", REPLICAS, {"K": 0, "Cl": 0})


@functools.cache
def ndr() -> Driven:
    """Negative slope and memory under every estimator, worked out once."""
    return looped(with_ndr)


def absent(profile=CONTROL) -> Driven:
    return Driven(profile, {}, why="not run in this profile")


def test_the_loop_has_the_injected_current_in_fields_of_the_reference_box():
    data = driven(ohmic, falling)
    found = loops.sweeps(data, SINE, DEMO, window_ps=5.0)
    for part, share in (("total", 1.0), ("K", 0.4), ("Cl", 0.6)):
        curve = found["pore"][part].curves()["forward"]
        assert (np.diff(curve.x) > 0).all()
        assert curve.x[-1] == pytest.approx(1.2, abs=0.06)
        inside = (curve.low <= share * 3.0 * curve.x) & (share * 3.0 * curve.x <= curve.high)
        assert inside.mean() > 0.8
    time = found["pore"]["total"].time_ps
    assert (time[0], time[-1]) == pytest.approx((2.5, PERIOD_PS - 2.5))


def test_negative_slope_and_memory_are_found_where_they_are():
    rows = loops.claims(ndr(), absent())
    assert set(verdicts(rows, 1).values()) == {"reproduced"}
    assert set(verdicts(rows, 2).values()) == {"not reproduced"}  # at -0.5, not at -1.0
    assert set(verdicts(rows, 4).values()) == {"reproduced"}
    assert set(verdicts(rows, 5).values()) == {"reproduced"}
    assert all(r.run.startswith("sine, replicas 0 to 7") for r in rows)
    assert all(r.system.startswith("mosse-hollow6-") for r in rows)
    assert {r.control for r in rows} == {"not run"}


def test_an_ohmic_pore_refutes_them():
    rows = loops.claims(looped(ohmic), absent())
    assert set(verdicts(rows, 1).values()) == {"not reproduced"}
    assert set(verdicts(rows, 2).values()) == {"not reproduced"}
    assert "reproduced" not in verdicts(rows, 4).values()


def test_charging_opens_the_loop_at_the_origin():
    one = looped(capacitor)
    assert loops.pinched(one.loops["box"]["total"]).verdict == "open"
    assert set(verdicts(loops.claims(one, absent()), 3).values()) == {"not reproduced"}


def test_what_the_control_shows_too_is_said_for_each_estimator():
    pore = ndr()
    control = looped(with_ndr, CONTROL, split=silent, seed=5)
    said = {r.estimator: r.control for r in loops.claims(pore, control) if r.id == 4}
    assert said["box"] == "the control shows it too"
    assert said["pore"] == "not enough statistics"  # noise alone has no area either way
    alone = looped(with_ndr, CONTROL, split=silent, seed=5, noise=False)
    rows = [r for r in loops.claims(pore, alone) if r.estimator == "crossings"]
    assert {r.id: r.control for r in rows if r.id in (1, 4, 5)} == dict.fromkeys(
        (1, 4, 5), "only the pore"
    )
    assert {r.control for r in rows if r.id == 2} == {"neither shows it"}
    assert {r.control for r in rows if r.id == 3} == {"not enough statistics"}
    row = next(r for r in rows if r.id == 4)
    assert row.control_run == "sine, replicas 0 to 7"
    assert row.control_system.startswith("mosse-none-")
    assert "loop area E > 0: 0.0" in row.control_found
    assert "not determined" in next(r for r in rows if r.id == 1).control_found


def test_an_ohmic_control_leaves_the_negative_slope_to_the_pore():
    rows = loops.claims(ndr(), looped(ohmic, CONTROL))
    assert {r.control for r in rows if r.id == 1} == {"only the pore"}


def test_claims_follow_the_charge_set_and_the_control_bears_on_none():
    def judged(**changes):
        profile = PROFILE.with_system(**changes)
        return {r.id for r in loops.claims(looped(with_ndr, profile), absent())}

    assert judged() == {1, 2, 3, 4, 5, 16}
    assert judged(charge_set="mos2") == {15}
    assert judged(charge_set="uncharged") == {14}
    assert judged(pore="none") == set()


def test_other_charge_sets_are_judged_from_their_own_runs():
    sets = {
        "mosse": ndr(),
        "uncharged": looped(ohmic, PROFILE.with_charge_set("uncharged")),
        "mos2": absent(PROFILE.with_charge_set("mos2")),
    }
    rows = loops.claims(sets["mosse"], looped(ohmic, CONTROL), sets)
    assert {r.id for r in rows} == {1, 2, 3, 4, 5, 14, 16}
    assert set(verdicts(rows, 14).values()) == {"not reproduced"}
    assert all(r.system.startswith("uncharged-hollow6-") for r in rows if r.id == 14)
    assert all(r.control_system.startswith("mosse-none-") for r in rows if r.id == 14)


def lopsided(far):
    """Negative slope beyond 0.4 V/nm for +E and beyond ``far`` for -E."""

    def current(E, slope):
        a, at = np.abs(E), np.where(E > 0, 0.4, far)
        return np.sign(E) * 8 * a / at * np.exp(-a / at) * np.where(slope > 0, 1.0, 0.6)

    return current


@pytest.mark.parametrize(
    ("janus", "equal", "verdict"),
    [(0.8, 0.4, "reproduced"), (0.4, 0.4, "not enough statistics"), (0.4, 0.8, "not reproduced")],
)
def test_the_thresholds_of_janus_and_equal_charges_are_compared(janus, equal, verdict):
    sets = {
        "mosse": looped(lopsided(janus)),
        "mosse_symmetric": looped(
            lopsided(equal), PROFILE.with_charge_set("mosse_symmetric"), seed=3
        ),
    }
    rows = loops.claims(sets["mosse"], absent(), sets)
    found = verdicts(rows, 16)
    if verdict == "not enough statistics":
        assert "reproduced" not in found.values()
    else:
        assert set(found.values()) == {verdict}
    shown = loops.compared_by_charge_set(sets, "pore")
    assert tuple(shown) == loops.MEASURES
    plus, minus = (shown[m] for m in loops.MEASURES[:2])
    assert plus["mosse"].value == pytest.approx(0.4, abs=0.1)
    assert minus["mosse_symmetric"].value == pytest.approx(-equal, abs=0.15)


def test_shares_of_a_conductor_and_a_capacitor_are_known():
    # |3 + 4i|² = 25: the conductor's share is 9/25, the capacitor's 16/25.
    pore, control = looped(both, split=ohmic), looped(capacitor_of(4.0), CONTROL, seed=9)
    parts = {s.name: s.value for s in loops.shares(pore, control)}
    charging, slab, crossings, alone = parts.values()
    assert charging.value == pytest.approx(16 / 25, abs=0.02)
    for share in (slab, crossings):
        assert share.value == pytest.approx(9 / 25, abs=0.02)
    assert charging.value + slab.value == pytest.approx(1.0)
    assert alone.value == pytest.approx(16 / 25, abs=0.02)
    for one in (pore, control):
        assert one.loops["pore"]["total"].response.shape == (REPLICAS,)
    # 4 nA per V/nm ahead by a quarter: C = 4 / (ω 8 nm), in e/V.
    omega = 2 * np.pi / PERIOD_PS
    assert loops.capacitance(pore).value == pytest.approx(
        4.0 / (omega * 8.0 * NANOAMPERE_PER_E_PER_PS), rel=0.03
    )


def behind_a_resistor(tau_ps, period_ps, per_volt=0.5):
    """Current of a capacitor (e/V) that charges with a time constant, from rest."""
    omega = 2 * np.pi / period_ps
    Y = 1j * omega * per_volt * 8.0 * NANOAMPERE_PER_E_PER_PS / (1 + 1j * omega * tau_ps)

    def current(E, slope):
        ahead = np.gradient(E) * (len(E) - 1) / (2 * np.pi)
        t = np.linspace(0.0, period_ps, len(E))
        begun = -abs(Y) / np.sqrt(1 + (omega * tau_ps) ** 2) * 1.2 * np.exp(-t / tau_ps)
        return Y.real * E + Y.imag * ahead + begun + 0.0 * slope

    return current


def test_one_time_constant_of_charging_shows_at_every_frequency(monkeypatch):
    fast, slow = (
        spec.Sine(amplitude_V_per_nm=1.2, frequency_GHz=1000 / ps, cycles=1) for ps in (200, 1000)
    )
    protocols = {
        "sine": spec.Protocol(waveform=fast, replicas=REPLICAS),
        "sine_slow": spec.Protocol(waveform=slow, replicas=REPLICAS),
        "steady": spec.Protocol(waveform=spec.Constant(field_V_per_nm=0.2, duration_ps=10.0)),
    }
    profile = PROFILE.model_copy(update={"protocols": protocols, "control": ("sine",)})
    assert [d.name for d in results.sines(profile)] == ["5 GHz, 1.2 V/nm", "1 GHz, 1.2 V/nm"]
    ran = {}
    for name, period_ps, tau_ps in (("sine", 200.0, 30.0), ("sine_slow", 1000.0, 30.0)):
        one = driven(behind_a_resistor(tau_ps, period_ps), falling, period_ps=period_ps)
        silence = driven(silent, falling, period_ps=period_ps)["charge"] * 0.0
        one["charge"] = xr.concat(
            [one["charge"].isel(estimator=[0]), silence.isel(estimator=[1, 2])], "estimator"
        ).transpose("replica", "estimator", "species", "time")
        ran[name] = {"sine": one}
    # while E < 0 a K+ passes in each replica, and another one comes and goes
    ran["sine_slow"]["sine"]["charge"][:, 2, 0, -2:] -= 1.0
    ran["sine_slow"]["sine"]["charge"][:, 2, 0, -9:-5] += 1.0
    monkeypatch.setattr(
        loops, "opened", lambda of, protocol: results.Opened(ran[protocol], "")
        if protocol in of.protocols else results.Opened({}, results.NOT_IN_PROFILE),
    )  # fmt: skip
    one, control = loops.driven_if_run(profile), loops.driven_if_run(profile.without_pore())
    found = loops.by_frequency(one, control)
    assert [pore.sine for pore, _ in found] == [slow, fast]
    for pore, _ in found:
        omega = 2 * np.pi * pore.sine.frequency_GHz / 1000
        assert loops.charging_time(pore).value == pytest.approx(30.0, rel=0.1)
        lag = 1 + (30.0 * omega) ** 2
        begun = 1 - 2 * 30.0 / (pore.sine.period_ps * lag)
        assert loops.capacitance(pore).value == pytest.approx(0.5 / lag * begun, rel=0.05)
        # either sine foretells what another one draws where its field is zero
        other = 2 * np.pi * 2.0 / 1000
        drawn_nA = 160.2176634 * other * 0.5 * 3.0 / (1 + (other * 30.0) ** 2)
        assert loops.charging_at(pore, 2.0, 3.0).value == pytest.approx(drawn_nA, rel=0.04)
    ((by_sine, said),) = [
        row
        for row in steady.charging_of_the_paper(
            profile, [("alone", one), ("never", one._replace(loops={}))]
        )
        if row[0].startswith("by the sine")
    ]
    assert by_sine.startswith("by the sine of 5 GHz alone, charging in the paper's sine (0.2 GHz")
    cells = 16 * 9 / (PROFILE.system.cells_y * PROFILE.system.cells_z)
    papers = 2 * np.pi * 0.2 / 1000
    drawn_nA = 160.2176634 * papers * 0.5 * 1.2 * 8 * cells / (1 + (papers * 30.0) ** 2)
    assert float(said.split(" ")[1]) == pytest.approx(drawn_nA, rel=0.1)
    rows = loops.rows_by_frequency(found)
    assert {len(row) for row in rows} == {len(loops.FREQUENCIES)}
    assert [row[:2] for row in rows[::2]] == [(d, "with the pore") for d in (
        "1 GHz, 1.2 V/nm", "5 GHz, 1.2 V/nm")]  # fmt: skip
    assert rows[0][-2:] == ("no ion", f"forward: no ion; reverse: {REPLICAS} K⁺ and 0 Cl⁻")
    assert rows[1][2] == results.NOT_IN_PROFILE
    assert rows[2][-1] == "no ion"
    assert found[0][0].crossings == {"K": 3 * REPLICAS, "Cl": 0}
    assert float(rows[2][2].split()[0]) > 0
    E = 1.2 * np.sin(np.linspace(0, 2 * np.pi, 4001))
    area = np.trapezoid(behind_a_resistor(30.0, 200.0)(E, 0.0)[:2001], E[:2001])
    assert float(rows[2][2].split()[0]) == pytest.approx(area, rel=0.1)


def test_alternatives_under_the_same_sine_stand_beside_the_profiles_system(monkeypatch):
    slow = spec.Sine(amplitude_V_per_nm=0.6, frequency_GHz=1.0)
    both = PROFILE.model_copy(
        update={
            "protocols": PROFILE.protocols
            | {"gentle": spec.Protocol(waveform=slow, replicas=REPLICAS)},
            "alternatives": tuple(
                spec.Alternative(system=system, protocols=protocols)
                for system, protocols in (
                    ({"pore": "hollow12"}, ("sine",)),
                    ({"pore": "bond4"}, ("gentle",)),  # another sine is not the same
                    ({"chalcogen_lj": "stewart"}, ()),  # compared by other means
                    ({"charge_set": "mos2"}, ("sine",)),  # in Fig. 4
                )
            ),
        }
    )
    series = driven(ohmic, falling)
    monkeypatch.setattr(
        loops, "opened",
        lambda of, protocol: results.Opened({"sine": series}, "") if protocol in of.protocols
        else results.Opened({}, results.NOT_IN_PROFILE),
    )  # fmt: skip
    own = loops.driven_if_run(both)
    (name,) = found = loops.of_alternatives(own)
    assert name == "MoSSe, hollow12"
    assert found[name].loops.keys() == own.loops.keys()
    rows = loops.rows_of_systems({"own": own, **found, "never": own._replace(loops={}, why="no")})
    assert {len(row) for row in rows} == {len(loops.SYSTEMS)}
    assert rows[0][1:] == rows[1][1:]
    assert rows[2][:3] == ("never", "no", "–")


@pytest.mark.parametrize("cycles", [5, 2.5])
def test_a_capacitor_has_no_time_constant_at_any_frequency_or_length(cycles):
    """At 3 GHz a period holds 66.7 windows of 5 ps; half a cycle more is not one."""
    sine = spec.Sine(amplitude_V_per_nm=1.2, frequency_GHz=3.0, cycles=cycles)
    t = np.arange(0.0, cycles * 1000 / 3 + 1e-6, 0.5)
    E = 1.2 * np.sin(2 * np.pi * 0.003 * t)
    rng = np.random.default_rng(0)
    charge = np.zeros((REPLICAS, 3, 2, len(t)))
    charge[:, 0, 0] = 0.55 * 8.0 * E + rng.normal(0, 0.02, (REPLICAS, len(t)))
    data = xr.Dataset(
        {
            "field": (("replica", "time"), np.tile(PROFILE.field_scale * E, (REPLICAS, 1))),
            "charge": (("replica", "estimator", "species", "time"), charge),
        },
        coords={"replica": range(REPLICAS), "time": t, **COORDINATES},
    )
    box = loops.sweeps(data, sine, PROFILE, window_ps=5.0)["box"]["total"]
    assert len(box.current_nA) == REPLICAS
    exact = np.pi / 2 * 1.2**2 * 0.55 * 8.0 * 2 * np.pi * 0.003 * NANOAMPERE_PER_E_PER_PS
    assert loops.loop_areas(box)["positive"].value == pytest.approx(exact, rel=0.02)
    ahead = np.angle(box.response.mean())
    assert ahead == pytest.approx(np.pi / 2, abs=0.01)


def capacitor_of(size):
    def current(E, slope):
        return size * np.gradient(E) / (2 * np.pi / (len(E) - 1)) + 0.0 * slope

    return current


def test_the_finding_says_what_the_data_say():
    charging = loops.finding(
        looped(capacitor_of(4.0), split=silent), looped(capacitor_of(4.0), CONTROL)
    )
    assert "mostly charging, not transport" in charging
    assert "no ion crossed" in charging
    assert re.search(r"without a pore shows (9\d|10\d) %", charging)
    way = {"forward": {"K": 1, "Cl": 2}, "reverse": {"K": 2, "Cl": -1}}
    moving = looped(ohmic)._replace(crossings={"K": 3, "Cl": 15}, along_field={"E > 0": way})
    transport = loops.finding(moving, absent())
    assert "mostly transport through the pore" in transport
    assert "3 K⁺ and 1 Cl⁻ more crossed" in transport
    assert "in 18 passages" in transport
    assert "not run in this profile" in transport
    even = loops.finding(
        looped(lambda E, s: ohmic(E, s) + capacitor_of(3.0)(E, s), split=ohmic), absent()
    )
    assert even.endswith("Samples are too few to say with confidence which of the two is larger.")
    tiny = loops.finding(looped(ohmic, TINY), absent())
    assert "mostly" not in tiny
    assert "too small" in tiny


def test_areas_come_with_their_direction():
    found = loops.numbers("with the pore", ndr())
    assert [row[1] for row in found] == ["whole box", "pore slab", "mid-plane crossings"]
    assert all(len(row) == len(loops.NUMBERS) for row in found)
    assert all("reverse below forward" in row[4] for row in found)
    assert all(row[2].startswith("from 0.") for row in found)
    assert loops.numbers("without a pore", absent())[0][:2] == (
        "without a pore", "not run in this profile",
    )  # fmt: skip


def constant_fields(current_nA, *, replicas=6, seed=0, noise_e=0.01):
    """Series at constant fields with a charging transient that is over after half of them."""
    rng = np.random.default_rng(seed)
    t = np.arange(0.0, 100.5, 1.0)
    out = {}
    for field in (-1.2, -1.0, -0.8, -0.6, -0.4, -0.2, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2):
        rate = np.full(len(t), current_nA(field)) / NANOAMPERE_PER_E_PER_PS
        rate = rate[:, None] * [0.4, 0.6] + (30 * np.sign(field) * np.exp(-t / 5))[:, None] / 160
        steps = rate[None, None] + rng.normal(0, noise_e, (replicas, 3, len(t), 2))
        charge = np.cumsum(steps, axis=2).transpose(0, 1, 3, 2)
        charge[:, 2] = 0.0  # no crossing
        out[f"field_V_per_nm={field:g}"] = xr.Dataset(
            {"charge": (("replica", "estimator", "species", "time"), charge)},
            coords={"replica": range(replicas), "time": t, **COORDINATES},
        )
    return out


@pytest.fixture
def held(monkeypatch):
    """Makes steady.currents read constant fields with a known current."""

    def make(current_nA, **noise):
        data = constant_fields(current_nA, **noise)
        wave = spec.Constant(field_V_per_nm=0.2, duration_ps=100.0)
        fields = tuple(float(label.split("=")[1]) for label in data)
        constant = spec.Protocol(waveform=wave, scan={"field_V_per_nm": fields})
        profile = PROFILE.model_copy(
            update={"protocols": {**PROFILE.protocols, "steady": constant}}
        )
        monkeypatch.setattr(steady, "opened", lambda *_: results.Opened(data, ""))
        return steady.currents(profile), profile

    return make


def test_steady_currents_forget_the_charging(held):
    inside = []
    for seed in range(8):
        found, _ = held(lambda E: 3.0 * E, seed=seed)
        for estimator in ("box", "pore"):
            curve = found.curves[estimator]
            assert (np.diff(curve.x) > 0).all()
            inside += ((curve.low <= 3 * curve.x) & (3 * curve.x <= curve.high)).tolist()
    assert found.discard_ps == 50.0
    assert np.mean(inside) >= 0.9
    assert list(found.passages) == found.curves["crossings"].x.tolist()
    last = steady.rows_of_passages({"pore": found})[-1]
    assert last[:5] == ("pore", "1.2", "0.6", "no ion", "no ion")
    assert len(last) == len(steady.PASSAGES)
    assert [float(text.split(" ")[0]) for text in last[5:]] == pytest.approx([3.6, 3.6], rel=0.1)
    absent_row = steady.rows_of_passages({"alone": steady.Steady({}, {}, why="not run yet")})
    assert absent_row == [("alone", "not run yet", *["–"] * 5)]
    none = found.curves["crossings"]  # counting nothing still bounds the current
    assert (none.value == 0).all()
    assert (none.high > 0).all()
    assert (none.high < 10).all()


def test_passages_at_constant_fields_are_counted_whole_and_net_once_charged(held, monkeypatch):
    _, profile = held(lambda E: 0.0)
    data = steady.opened(profile, "steady").data
    through = data["field_V_per_nm=-1.2"]["charge"].loc[{"estimator": "crossings"}]
    time = through["time"].values
    through[0, 1] = -1.0 * (time > 20)  # a Cl- along the field, while the reservoirs charge
    through[1, 1] = -1.0 * (time > 80)  # another one later
    through[2, 0] = 1.0 * ((time > 70) & (time <= 75))  # a K+ that comes and goes
    found = steady.currents(profile)
    assert found.passages[-1.2] == {"K": 2, "Cl": 2}
    assert found.late[-1.2] == {"K": 0, "Cl": 1}
    row = steady.rows_of_passages({"pore": found})[0]
    assert row[1:5] == ("−1.2", "0.6", "2 K⁺ and 2 Cl⁻", "0 K⁺ and 1 Cl⁻")


def test_alternatives_at_constant_fields_stand_beside_the_profiles_system(held, monkeypatch):
    own, profile = held(lambda E: 3.0 * E)
    data = steady.opened(profile, "steady").data
    narrow = spec.Alternative(system={"pore": "bond4"}, protocols=("steady",))
    soft = spec.Alternative(system={"chalcogen_lj": "stewart"})  # compared by other means
    both = profile.model_copy(update={"alternatives": (narrow, soft)})
    monkeypatch.setattr(
        steady, "opened",
        lambda one, name: results.opened(one, name) if name not in one.protocols
        else results.Opened(data if one.system.pore == "bond4" else {}, ""),
    )  # fmt: skip
    (name,) = others = steady.of_alternatives(both)
    assert name == "MoSSe, bond4"
    assert others[name].points == own.points
    assert steady.of_alternatives(profile) == {}


def test_charging_at_constant_fields_gives_that_of_the_papers_sine(held, monkeypatch):
    taken_e = 2 * 30 / 160 / (np.exp(0.2) - 1)  # of both ions, after the first frame
    _, profile = held(lambda E: 0.0)
    data = steady.opened(profile, "steady").data
    for E in (0.2, -0.2):  # starting states that charge by themselves, the same for both fields
        one = data[f"field_V_per_nm={E:g}"]
        one["charge"][:, 0, 0] += np.linspace(-3, 3, 6)[:, None] * (one["time"].values > 0)
    taken, drawn = steady.charging_of_the_paper(profile, [])
    assert taken[0] == "charge taken up at ±0.2 V/nm within 100 ps"
    per_volt = float(taken[1].split(" ")[0])
    assert per_volt == pytest.approx(taken_e / (0.2 * 8), rel=0.02)
    low, high = map(float, re.findall(r"\[([\d.]+), ([\d.]+)\]", taken[1])[0])
    assert high - low < 0.2 * per_volt  # 2 without this
    cells = 16 * 9 / (PROFILE.system.cells_y * PROFILE.system.cells_z)
    omega = 2 * np.pi * 200e6
    expected_nA = per_volt * 1.602176634e-19 * omega * 1.2 * 8 * cells * 1e9
    assert float(drawn[1].split(" ")[1]) == pytest.approx(expected_nA, rel=0.02)
    fewer = profile.model_dump()
    fewer["protocols"]["steady"]["scan"] = {"field_V_per_nm": (0.4, -0.2)}
    ((alone, _), _) = steady.charging_of_the_paper(spec.Profile(**fewer), [])
    assert alone == "charge taken up at -0.2 V/nm within 100 ps"
    monkeypatch.setattr(steady, "opened", lambda *_: results.Opened({}, "not run yet"))
    assert steady.charging_of_the_paper(profile, []) == []


def test_steady_states_tell_hysteresis_from_noise_and_from_charging(held):
    resting, _ = held(lambda E: 3.0 * E)
    charging = steady.rows("pore", looped(capacitor_of(4.0), split=ohmic), resting)
    by_current = {row[1]: row for row in charging if row[2] == "E > 0"}
    assert by_current["whole box"][3].endswith("resolved")
    assert by_current["pore slab"][3].endswith("within the noise")
    assert by_current["pore slab"][6] == "not found"
    assert all(len(row) == len(steady.COLUMNS) for row in charging)
    falling_off, _ = held(lambda E: 8 * E * np.exp(-abs(E) / 0.5), noise_e=0.001)
    rows = steady.rows("pore", ndr(), falling_off)
    assert {row[6][:6] for row in rows if row[1] == "pore slab"} == {"from 0", "from −"}
    nothing = steady.Steady({}, {}, why="not run yet")
    assert steady.rows("pore", ndr(), nothing)[0][1] == "not run yet"


def test_cycles_are_units():
    one = driven(ohmic, falling)
    two = spec.Sine(amplitude_V_per_nm=1.2, frequency_GHz=2 * SINE.frequency_GHz, cycles=2)
    found = loops.sweeps(one, two, DEMO, window_ps=5.0)
    windows = int(PERIOD_PS / 2 / 5.0)
    assert found["box"]["total"].current_nA.shape == (REPLICAS, windows)
    few = loops.sweeps(one.isel(replica=slice(2)), two, DEMO, window_ps=5.0)
    assert few["box"]["total"].current_nA.shape == (4, windows)
    assert [found[e]["K"].single_ions for e in ("box", "pore", "crossings")] == [False, True, True]


def test_less_than_a_cycle_is_no_loop():
    most = SINE.model_copy(update={"cycles": 0.9})
    with pytest.raises(MeasureError, match=r"cycles = 0\.9 .*; raise cycles"):
        loops.sweeps(driven(ohmic, falling), most, DEMO, window_ps=5.0)


def test_charges_of_ones_own_are_not_the_papers(monkeypatch):
    assert {row.id for row in loops.claims(ndr(), absent())} == {1, 2, 3, 4, 5, 16}
    system = PROFILE.system.model_copy(update={"charges_e": (0.0, 0.0, 0.0)})
    own = ndr()._replace(profile=PROFILE.model_copy(update={"system": system}))
    assert loops.claims(own, absent()) == []
    monkeypatch.setattr(loops, "opened", lambda *_: results.Opened({}, "not run yet"))
    assert loops.of_charge_sets(own)["mosse"].loops == {}


def test_a_charge_set_among_the_alternatives_has_replicas_of_its_own(monkeypatch):
    other = spec.Alternative(system={"charge_set": "mos2"}, protocols=("sine",), replicas=2)
    one = looped(ohmic, PROFILE.model_copy(update={"alternatives": (other,)}))
    asked = {}

    def opened(of, protocol):
        asked[of.system.charge_set] = of.protocol(protocol).replicas
        return results.Opened({}, "not run yet")

    monkeypatch.setattr(loops, "opened", opened)
    sets = loops.of_charge_sets(one)
    assert (asked["mos2"], asked["uncharged"]) == (2, REPLICAS)
    assert (sets["mos2"].why, sets["uncharged"].why) == ("not run yet", results.NOT_IN_PROFILE)


def test_a_steady_field_beyond_the_sweep_is_not_compared_with_its_end(held):
    """At ±1.2 V/nm, here called ±3.6, the steady current is far from what the sweep ends with."""
    resting, _ = held(lambda E: 3.0 * E + 50 * np.sign(E) * (abs(E) > 1))
    far = {
        estimator: {
            side: replace(b, field_V_per_nm=np.where(abs(b.field_V_per_nm) > 1, 3, 1)
                          * b.field_V_per_nm)
            for side, b in by_side.items()
        }
        for estimator, by_side in resting.branches.items()
    }  # fmt: skip
    rows = steady.rows("pore", looped(ohmic), resting._replace(branches=far))
    assert len(rows) == 6
    for row in rows:
        if row[1] != "mid-plane crossings":  # of which there are none
            assert abs(float(row[4].split(" ")[0].replace("−", "-"))) < 0.5


def test_the_same_field_twice_is_refused(held):
    _, profile = held(lambda E: 0.0)
    wave = profile.protocol("steady").waveform
    twice = spec.Protocol(waveform=wave, scan={"duration_ps": (50.0, 100.0)})
    data = dict.fromkeys(
        twice.waveforms(), next(iter(steady.opened(profile, "steady").data.values()))
    )
    profile = profile.model_copy(update={"protocols": {"steady": twice}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steady, "opened", lambda *_: results.Opened(data, ""))
        with pytest.raises(MeasureError, match=r"of the same field_V_per_nm, .*; scan nothing but"):
            steady.currents(profile)


def test_few_ions_decide_nothing_however_many_replicas():
    found = ndr()
    assert {one.passages for one in found.loops["box"].values()} == {None}
    few = passing(found.loops, {1: loops.LEAST_PASSAGES - 1, -1: 1000})
    rows = loops.claims(found._replace(loops=few), absent())
    for number in (1, 4, 5):
        assert verdicts(rows, number) == {
            "box": "reproduced",
            "pore": "not enough statistics",
            "crossings": "not enough statistics",
        }
    assert verdicts(rows, 2) == verdicts(loops.claims(found, absent()), 2)  # the other polarity


def test_a_wavering_ion_is_no_passage():
    data = driven(ohmic, falling).copy(deep=True)
    charge = xr.zeros_like(data["charge"])
    up_and_down = np.zeros(data.sizes["time"])
    up_and_down[10:20:2] = 1.0  # five times through the plane and back, then once
    up_and_down[20:] = 1.0
    charge.loc[{"estimator": "crossings", "species": "K", "replica": 0}] = up_and_down
    data["charge"] = charge
    found = loops.sweeps(data, SINE, DEMO, window_ps=5.0)["crossings"]
    assert found["K"].passages == found["total"].passages == {1: 1, -1: 0}
    assert found["Cl"].passages == {1: 0, -1: 0}


def test_few_replicas_decide_nothing_however_long():
    """A state that lasts makes every cycle of a replica alike."""
    found = ndr()
    for replicas, decided in ((0, True), (5, True), (4, False), (1, False)):
        rows = loops.claims(found._replace(replicas=replicas), absent())
        assert (set(verdicts(rows, 4).values()) == {"reproduced"}) is decided
    one = Driven(PROFILE, {}, units=5, replicas=5)
    assert (one.independent, one._replace(replicas=1).independent) == ("5 replicas", "5 cycles")


def test_a_loop_needs_a_sine():
    wave = spec.Constant(field_V_per_nm=0.2, duration_ps=100.0)
    wrong = PROFILE.model_copy(update={"protocols": {"sine": spec.Protocol(waveform=wave)}})
    with pytest.raises(MeasureError, match=r"has no sine, .*; its protocols are sine: add one"):
        results.sines(wrong)


def test_the_control_is_of_the_same_sine_or_of_none(monkeypatch):
    slow = SINE.model_copy(update={"frequency_GHz": SINE.frequency_GHz / 2})
    protocols = {"slow": spec.Protocol(waveform=slow), **PROFILE.protocols}
    profile = PROFILE.model_copy(update={"protocols": protocols, "control": ("sine",)})
    data = driven(ohmic, falling)
    monkeypatch.setattr(
        loops, "opened", lambda of, protocol: results.Opened({"sine": data}, "")
        if protocol in of.protocols else results.Opened({}, results.NOT_IN_PROFILE),
    )  # fmt: skip
    first = results.sines(profile)[0]
    assert first.waveform == slow
    assert loops.driven_if_run(profile.without_pore()).loops
    control = loops.driven_if_run(profile.without_pore(), drive=first)
    assert (control.loops, control.why) == ({}, "not run in this profile")


def test_what_was_not_run_is_empty_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    own = looped(with_ndr, TINY)
    assert loops.driven_if_run(TINY.without_pore()).why == "not run yet"
    shipped = loops.driven_if_run(TINY.without_pore().model_copy(update={"source": "campaign"}))
    assert shipped.why == "not among the shipped results"
    sets = loops.of_charge_sets(own)
    assert list(sets) == list(loops.CHARGE_SETS)
    assert sets["mosse"] is own
    assert sets["mosse_symmetric"].why == "not run yet"
    assert sets["mos2"].why == "not run in this profile"
    assert sets["mos2"].curves("box") == {}
    assert steady.currents(TINY.with_charge_set("mos2")).why == "not run in this profile"
    alone = loops.driven_if_run(TINY.with_system(pore="none").without_pore())
    assert alone.why == "not run in this profile"
    lacking = results.left_out({name: one.why for name, one in sets.items()}, TINY)
    assert lacking.startswith(
        " Left out: mosse_symmetric (not run yet; make report PROFILE=tiny runs it); mosse_polar, "
    )
    assert lacking.endswith("mos2 (not run in this profile; make report PROFILE=reduced runs it).")
    assert results.left_out({"mosse": own.why}, TINY) == ""
    taken = "an ion is in the pore all the time"  # no run helps
    assert results.left_out({"mos2": taken}, TINY) == f" Left out: mos2 ({taken})."
    assert set(loops.CHARGE_SETS) >= {
        c.values["charge_set"] for c in scorecard.claims() if "charge_set" in c.values
    }


def test_the_loop_that_ships_is_named_with_its_runs_frequency_and_box():
    found, name = loops.shipped(Driven(DEMO, {}))
    last = found.units - 1
    assert name == f"shipped (campaign): sine_slow, replicas 0 to {last}, 1 GHz, 10 × 6 cells"
    assert np.abs(found.curves("box")["forward"].x).max() == pytest.approx(1.2, abs=0.1)
    for shows_it_anyhow in (DEMO.model_copy(update={"source": "campaign"}), found.profile):
        nothing, name = loops.shipped(Driven(shows_it_anyhow, {}))
        assert (nothing.curves("box"), name) == ({}, "")
    longer = DEMO.model_copy(
        update={"system": DEMO.system.model_copy(update={"length_x_nm": 6.0, "cells_y": 10})}
    )
    assert loops.shipped(Driven(longer, {}))[1].endswith("1 GHz, 10 × 6 cells, Lx = 5 nm")
    other = DEMO.with_charge_set("mos2")
    assert loops.shipped(Driven(other, {}))[0].profile.system.charge_set == "mos2"
    narrow = DEMO.model_copy(update={"system": DEMO.system.model_copy(update={"pore": "bond4"})})
    assert not loops.shipped(Driven(narrow, {}))[0].loops


def test_a_cycle_of_few_windows_is_refused_in_words():
    few = ndr().loops["box"]["total"]
    four = np.arange(4) * len(few.field_V_per_nm) // 4 + 1
    short = few._replace(
        field_V_per_nm=few.field_V_per_nm[four], current_nA=few.current_nA[:, four]
    )
    with pytest.raises(MeasureError, match="shorten the windows"):
        loops.pinched(short)


@pytest.mark.parametrize("discard_ps", [-5.0, 100.0, 300.0])
def test_what_is_left_out_is_less_than_the_run(held, discard_ps):
    _, profile = held(lambda E: 0.0)
    with pytest.raises(MeasureError, match=r"discard_ps = .* less than the 100 ps"):
        steady.currents(profile, discard_ps=discard_ps)


def test_over_the_cycle_the_current_is_drawn_in_few_points_that_keep_its_mean():
    one = looped(ohmic)
    total = one.loops["pore"]["total"]
    assert len(total.time_ps) > loops.POINTS_OF_A_CYCLE
    drawn = loops.over_the_cycle(one)["pore"]
    assert len(drawn.x) == len(total.time_ps) / 2 <= loops.POINTS_OF_A_CYCLE
    assert drawn.x.mean() == pytest.approx(total.time_ps.mean())
    E = 1.2 * np.sin(2 * np.pi * drawn.x / PERIOD_PS)
    assert ((drawn.low <= 3 * E) & (drawn.high >= 3 * E)).mean() > 0.8


@pytest.mark.parametrize(
    ("tau_ps", "period_ps", "asymmetry", "areas", "missing"),
    [(34.0, 200.0, -0.26, 1.5, 0.16), (50.0, 1000.0, -0.13, 1.2, 0.09)],
)
def test_what_a_first_cycle_from_rest_does_is_what_notebook_3_says(
    tau_ps, period_ps, asymmetry, areas, missing
):
    """A capacitor behind a resistor, dq/dt = (C V - q)/tau with q = 0 at first and C = 1."""
    t = np.linspace(0.0, period_ps, 20001)
    phase, lag = 2 * np.pi * t / period_ps, 2 * np.pi * tau_ps / period_ps
    later = (np.sin(phase) - lag * np.cos(phase)) / (1 + lag**2)
    drawn = (np.sin(phase) - later - lag / (1 + lag**2) * np.exp(-t / tau_ps)) / tau_ps
    V, quarter = np.sin(phase), len(t) // 4
    plus, minus = drawn[:quarter].sum(), -drawn[2 * quarter : 3 * quarter].sum()
    assert (plus - minus) / (plus + minus) == pytest.approx(asymmetry, abs=0.005)
    first, second = (
        np.trapezoid(drawn[part], V[part])
        for part in (slice(2 * quarter), slice(2 * quarter, None))
    )
    assert second / first == pytest.approx(areas, abs=0.05)
    taken = 2 * np.mean(drawn * np.cos(phase)) * period_ps / (2 * np.pi)
    assert taken * (1 + lag**2) == pytest.approx(1 - missing, abs=0.005)
