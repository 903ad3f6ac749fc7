"""Injected truth about the order of the water."""

from __future__ import annotations

import numpy as np
import pytest
from made import DEMO, SINE, TINY, driven, falling, ohmic, relaxing, with_an_ion

from janus_pore import spec
from janus_pore.errors import MeasureError
from janus_pore.show import ordering
from janus_pore.show.results import NOTHING


def test_the_spread_has_the_injected_width_in_both_sweeps():
    profile = DEMO
    order = ordering.order(driven(ohmic, falling), SINE, profile, width="fit")
    for direction, less in (("forward", 0.0), ("reverse", 10.0)):
        curve = order.curves()[direction]
        narrow = np.abs(curve.x) > 0.7
        truth = 80 - 45 * np.abs(curve.x) / 1.2 - less
        assert curve.value[narrow] == pytest.approx(truth[narrow], rel=0.05)
    alike = ordering.order(
        driven(ohmic, lambda E, _: 40.0 + 0.0 * E, seed=4), SINE, profile, width="fit"
    )
    both = [("sine", order), ("sine_slow", alike)]
    rows = ordering.claims_of_order(both, ordering.Steps({}, {}), profile)
    found = {(r.id, r.run): r.verdict for r in rows}
    assert found == {
        (8, "sine"): "reproduced", (8, "sine_slow"): "not enough statistics",
        (9, "sine"): "reproduced", (9, "sine_slow"): "not enough statistics",
    }  # fmt: skip


def test_a_gaussian_tells_nothing_of_nearly_uniform_angles():
    """A lag at fields at which no Gaussian describes the angles is not the fit's to tell."""

    def lags_at_low_field(E, slope):
        return np.where(E < 0.3, np.where(slope > 0, 300.0, 60.0), 40.0)

    profile, data = DEMO, driven(ohmic, lags_at_low_field)
    by_fit, direct = (
        ordering.mean_gap(ordering.order(data, SINE, profile, width=w), 1)
        for w in ("fit", "direct")
    )
    assert by_fit.fields_V_per_nm == pytest.approx((0.37, 1.15), abs=0.05)
    assert direct.fields_V_per_nm == pytest.approx((0.07, 1.15), abs=0.05)
    drawn = ordering.order(data, SINE, profile, width="fit").curves()["forward"]
    assert np.isnan(drawn.value[np.abs(drawn.x) < 0.25]).all()
    assert np.isfinite(drawn.value[np.abs(drawn.x) > 0.35]).all()
    assert by_fit.mean_deg.low < 0 < by_fit.mean_deg.high
    assert direct.mean_deg.high < -5
    rows = ordering.claims_of_order(
        [("sine", ordering.order(data, SINE, profile, width="fit"))],
        ordering.Steps({}, {}),
        profile,
    )
    assert {r.id: r.verdict for r in rows}[9] == "not enough statistics"
    assert {r.estimator for r in rows} == {"Gaussian fit"}


def test_distributions_take_their_own_frames():
    profile = DEMO
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
    rows = ordering.claims_of_order([("sine", ordering.Order({}, 1.0, "fit"))], steps, DEMO)
    verdicts = {r.id: r.verdict for r in rows}
    assert verdicts.pop(8) == "not enough statistics"  # all steps end in the same spread
    assert verdicts == {10: "reproduced", 11: "reproduced"}
    for form in ordering.forms(steps).values():
        assert form.curves == 2
        assert form.stretch.low < 1.0 < form.stretch.high
        assert form.power_law.low > 0
    for curves in ordering.scaled(steps).values():
        for curve in curves.values():
            early = curve.x < 2
            assert curve.value[early] == pytest.approx(np.exp(-curve.x[early]), abs=0.15)
            assert (curve.low <= curve.value).all()
            assert (curve.value <= curve.high).all()
    panels = ordering.relaxation_panels(steps)
    assert panels["forward"][0.4].label.startswith("τ = ")
    tiny = ordering.claims_of_order([], steps, TINY)
    assert {r.verdict for r in tiny} == {"not enough statistics"}


def test_time_constants_by_the_papers_width_are_judged_beside_the_direct_one():
    up, down = relaxing("step_up", 1.0, 45, 20), relaxing("step_down", 3.0, 20, 45)
    by_width = {
        "Gaussian fit": ordering.relaxations(up, down, DEMO, width="fit"),
        "direct width": ordering.relaxations(up, down, DEMO),
    }
    fitted, steps = by_width.values()
    for direction, tau in (("forward", 1.0), ("reverse", 3.0)):
        for fit in fitted.fits[direction].values():
            assert fit.tau.value == pytest.approx(tau, rel=0.3)
            assert fit.tau.low < tau < fit.tau.high
    rows = ordering.claims_of_order([], steps, DEMO, fitted)
    assert [(r.id, r.estimator) for r in rows if r.id > 8] == [
        (n, width) for n in (10, 11) for width in by_width
    ]
    assert {r.verdict for r in rows if r.id == 10} == {"reproduced"}
    told = ordering.rows_of_times(by_width)
    assert [row[:2] for row in told[:2]] == [("0", name) for name in by_width]
    assert told[1][2] == "–"  # no step up leads there
    assert "(n = 40)" in told[1][3]
    up_end, down_end = told[1][4].split(", ")
    assert (up_end, float(down_end)) == ("–", pytest.approx(45, abs=3))


def test_curves_without_an_amplitude_have_no_form():
    still = {"step_up": relaxing("step_up", 1.0, 40, 40), "step_down": {}}
    steps = ordering.relaxations(still["step_up"], still["step_down"], DEMO)
    assert ordering.forms(steps) == {}
    rows = ordering.claims_of_order([], steps, DEMO)
    assert {r.id: r.verdict for r in rows if r.id > 8} == {11: "not enough statistics"}
    parts = next(r.found for r in rows if r.id == 11)
    assert "form of the ordering: not determined" in parts
    assert "form of the relaxation: not determined" in parts  # which was not run at all


def test_the_waters_field_opposes_its_dipole():
    profile = DEMO
    data = driven(ohmic, falling)
    polar = 20.0 * data["field"] / profile.field_scale + np.random.default_rng(0).normal(
        0, 0.5, data["field"].shape
    )
    found = ordering.reaction(data.assign(dipole_x=polar), SINE, profile)
    half, radius = profile.run.pore_half_length_nm, profile.run.pore_radius_nm
    volume = 2 * half * np.pi * radius**2
    assert found.peak_V_per_nm == pytest.approx(1.15, abs=0.05)
    for direction in ("forward", "reverse"):
        curve = found.polarisation[direction]
        assert curve.value == pytest.approx(20.0 * curve.x / volume, abs=0.3)
        assert (curve.low <= curve.value).all()
        assert (np.sign(found.at_centre[direction].value) == -np.sign(curve.x)).all()
        along = found.along[direction]
        inside = np.abs(along.x) < half
        assert (along.value[inside] < 0).all()
        assert (along.value[~inside] > 0).all()
        centre = np.interp(0.0, along.x, along.value)
        assert centre == pytest.approx(found.at_centre[direction].value[-1], rel=1e-3)


def test_the_membranes_own_field_by_charges_and_pore():
    found = ordering.intrinsic(DEMO)
    x = found.x_nm
    mean = {name: ordering.mean_field(x, V, 0.3) for name, V in found.by_charges.items()}
    assert mean["uncharged"] == 0
    assert mean["mos2"] == pytest.approx(0, abs=1e-6)
    assert mean["mosse_polar"] > mean["mosse"] > 1  # from Se to S, as the more negative S has it
    assert mean["mosse_symmetric"] < 0  # the longer Mo-Se bond alone
    assert {"hollow6, 0.99 nm", "bond4, 0.81 nm"} <= set(found.by_pore)
    assert found.by_pore["hollow6, 0.99 nm"] == pytest.approx(found.by_charges["mosse"])
    ramp = np.array([2.0, 0.0, -2.0])
    assert ordering.mean_field(np.array([-1.0, 0.0, 1.0]), ramp, 0.5) == pytest.approx(2.0)


def test_what_ships_is_found_for_the_same_pore_and_charges_only():
    """Ordering gets faster with the field in the shipped steps; other membranes have none."""
    times, basis = ordering.shipped_times(DEMO)
    fields, tau = times["forward"].x, times["forward"].value
    assert basis.startswith("shipped (campaign): step_up, replicas 0 to ")
    assert basis.endswith(", 10 × 6 cells")
    assert tau[fields > 0.9].max() < tau[fields < 0.9].min()
    other = DEMO.model_copy(update={"system": DEMO.system.model_copy(update={"pore": "bond5"})})
    assert ordering.shipped_times(other) == ({}, "")
    assert ordering.shipped_times(DEMO.model_copy(update={"source": "campaign"})) == ({}, "")
    moving = DEMO.model_copy(
        update={"system": DEMO.system.model_copy(update={"membrane": "restrained"})}
    )
    assert ordering.shipped_times(moving) == ({}, "")


def test_two_steps_to_the_same_field_are_refused():
    step = DEMO.protocol("step_up").waveform
    twice = spec.Protocol(waveform=step, scan={"to_ps": (10.0, 35.0)})
    profile = DEMO.model_copy(update={"protocols": DEMO.protocols | {"step_up": twice}})
    found = relaxing("step_up", 1.0, 100, 20, profile=profile)
    with pytest.raises(MeasureError, match=r"of the same to_V_per_nm, .*; scan nothing but"):
        ordering.relaxations(found, {}, profile)


def test_water_beside_an_ion_can_be_left_out():
    profile, clean = DEMO, driven(ohmic, falling)
    data = with_an_ion(clean, slice(0, None, 2))
    of = {"waveform": SINE, "profile": profile, "width": "direct"}
    truth, every, alone = (
        ordering.order(seen, **of, alone=only).widths[1, "forward"].sigma_deg.value
        for seen, only in ((clean, False), (data, False), (data, True))
    )
    assert (every[-3:] > truth[-3:] + 3).all()
    assert alone == pytest.approx(truth, rel=0.05)
    rows = ordering.claims_of_order(
        [("sine", ordering.order(data, **of, alone=True))], ordering.Steps({}, {}), profile
    )
    assert {row.estimator for row in rows} == {"direct width, no ion in the pore"}
    # one that never leaves lets nothing be told, and stops nothing
    full = ordering.order(clean.assign(ions_in_pore=clean["ions_in_pore"] + 1), **of, alone=True)
    assert (full.widths, full.curves()) == ({}, {})
    assert ordering.mean_gap(full, 1).mean_deg is NOTHING
    assert ordering.claims_of_order([("sine", full)], ordering.Steps({}, {}), profile) == []


def test_no_time_comes_of_widths_that_no_gaussian_has():
    down = relaxing("step_down", 2.0, 20, 130)
    by_fit = ordering.relaxations({}, down, DEMO, width="fit")
    assert by_fit.curves == {}
    for fit in by_fit.fits["reverse"].values():
        assert not fit.identifiable
        assert "too wide for a Gaussian" in fit.reason
    assert {row[3] for row in ordering.rows_of_times({"Gaussian fit": by_fit})} == {
        "not identifiable"
    }
    # widths of its beginning alone are left out
    up = relaxing("step_up", 2.0, 120, 20)
    fits = ordering.relaxations(up, {}, DEMO, width="fit").fits["forward"]
    for fit in fits.values():
        assert fit.identifiable
        assert fit.tau.value == pytest.approx(2.0, rel=0.15)
