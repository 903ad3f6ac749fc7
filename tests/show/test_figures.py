"""Figures draw the numbers they are given, with labels and units."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from janus_pore.measure.statistics import FEWEST_UNITS, Band, Estimate, ExponentialFit
from janus_pore.measure.water import orientation, wrap
from janus_pore.show import figures
from janus_pore.show.figures import Atoms, Curve


def curve(x, value, reach=0.1) -> Curve:
    x, value = np.asarray(x, float), np.asarray(value, float)
    return Curve(x, value, value - reach, value + reach)


def line_of(ax, label):
    """The line with this label."""
    return next(each for each in ax.lines if each.get_label() == label)


def line(ax, label):
    """Its data."""
    return line_of(ax, label).get_xydata()


@pytest.fixture
def atoms() -> Atoms:
    """Six membrane atoms, one water in the pore, one outside, across the boundary, two ions."""
    positions = np.array(
        [
            *[[1.35, 0.2, 0.4], [1.5, 0.4, 0.4], [1.65, 0.6, 0.4]],
            *[[1.35, 1.8, 0.4], [1.5, 1.6, 0.4], [1.65, 1.4, 0.4]],
            *[[1.5, 1.0, 1.0], [1.58, 1.0, 1.06], [1.58, 1.0, 0.94]],
            *[[0.3, 1.99, 1.0], [0.3, 2.07, 1.06], [0.3, 2.07, 0.94]],
            *[[0.5, 0.5, 0.9], [2.5, 0.5, 0.9]],
        ]
    )
    kind = np.array(["Se", "Mo", "S"] * 2 + ["O", "H", "H"] + ["water"] * 3 + ["K", "Cl"])
    return Atoms(positions, kind, np.array([3.0, 2.0, 2.0]), np.array([1.0, 1.0]))


def test_a_sphere_covers_its_area_and_the_nearer_one_hides_the_other():
    red, blue = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
    one = figures.render_spheres(
        np.array([[0.5, 0.5]]), np.zeros(1), np.array([0.3]), np.array([red]), (0, 1, 0, 1)
    )
    assert one.shape == (110, 110, 4)
    assert one[..., 3].mean() == pytest.approx(np.pi * 0.3**2, rel=0.01)
    two = figures.render_spheres(
        np.array([[0.5, 0.5], [0.5, 0.5]]),
        np.array([0.0, 1.0]),
        np.array([0.3, 0.1]),
        np.array([red, blue]),
        (0, 1, 0, 1),
    )
    assert two[55, 55, 2] > two[55, 55, 0]  # blue in front in the middle
    assert two[55, 30, 0] > two[55, 30, 2]  # red beside it


def test_a_sphere_lies_where_it_is_put():
    picture = figures.render_spheres(
        np.array([[0.2, 0.8]]), np.zeros(1), np.array([0.1]), np.ones((1, 3)), (0, 1, 0, 1)
    )
    rows, columns = np.nonzero(picture[..., 3] > 0.5)
    assert columns.mean() / 110 == pytest.approx(0.2, abs=0.01)
    assert rows.mean() / 110 == pytest.approx(0.2, abs=0.01)  # row 0 is the top


def test_molecules_stay_whole_and_the_pore_comes_to_the_middle(atoms):
    moved = figures.recentred(atoms._replace(centre_yz_nm=np.array([0.4, 1.7])))
    water = moved.positions_nm[6:12].reshape(2, 3, 3)
    legs = np.linalg.norm(water[:, 1:] - water[:, :1], axis=2)
    assert legs == pytest.approx(0.1, abs=1e-9)
    assert moved.centre_yz_nm == pytest.approx([1.0, 1.0])
    before = atoms.positions_nm[6, 1:] - [0.4, 1.7]
    after = moved.positions_nm[6, 1:] - [1.0, 1.0]
    assert (after - before) % 2.0 == pytest.approx([0, 0], abs=1e-9)


def test_the_scene_shows_both_views_and_the_waveform(atoms):
    t = np.linspace(0, 200, 41)
    field = 1.92 * np.sin(2 * np.pi * t / 200)
    figure = figures.scene(atoms, t, field, note="a note")
    side, top, wave = figure.axes
    assert len(side.images) == len(top.images) == 1
    assert side.images[0].get_extent() == [0.0, 3.0, 0.0, 2.0]
    assert wave.lines[0].get_xydata() == pytest.approx(np.c_[t, field])
    assert "ps" in wave.get_xlabel()
    assert "V/nm" in wave.get_ylabel()
    assert figure.get_supxlabel() == "a note"


def test_pore_water_is_coloured_by_its_direction(atoms):
    along = figures.pore_water(atoms, np.array([[1.0, 0, 0]]), field_V_per_nm=1.3)
    against = figures.pore_water(atoms, np.array([[-1.0, 0, 0]]), field_V_per_nm=1.3)
    assert "E = 1.30 V/nm" in along.axes[0].get_title(loc="left")
    pictures = [f.axes[0].images[0].get_array()[..., :3] for f in (along, against)]
    assert np.abs(pictures[0] - pictures[1]).max() > 0.3
    arrows = along.axes[0].collections[0]
    assert arrows.U[0] > 0
    assert arrows.V[0] == pytest.approx(0)


def test_the_loop_draws_each_sweep_in_its_own_look_and_marks_the_paper():
    E = np.array([-1.2, -0.6, -0.3, 0.3, 0.6, 1.2])
    sweeps = {"forward": curve(E, 2 * E), "reverse": curve(E, E)}
    figure = figures.loops(
        [{"whole box": sweeps, "pore slab": sweeps}],
        length_x_nm=8.0,
        published_V_per_nm=(0.5, -1.0),
    )
    left, right = figure.axes
    assert left.get_ylabel() == "current I (nA)"
    assert "V/nm" in left.get_xlabel()
    assert right.get_title(loc="left") == "pore slab"
    forward = line(left, "forward, |E| rising")
    assert np.isnan(forward[3]).all()  # nothing joins the polarities
    assert np.delete(forward, 3, axis=0) == pytest.approx(np.c_[E, 2 * E])
    looks = [each for each in left.lines if each.get_label().startswith(("forw", "rev"))]
    assert len({each.get_linestyle() for each in looks}) == 2
    assert len({each.get_marker() for each in looks}) == 2
    assert len(left.collections) == 2  # a band each
    marked = {float(each.get_xdata()[0]) for each in left.lines if each.get_linestyle() == ":"}
    assert marked == {0.5, -1.0}
    figure.draw_without_rendering()
    top = left.child_axes[0]
    assert "V" in top.get_xlabel()
    assert top.get_xlim() == pytest.approx(8.0 * np.array(left.get_xlim()))


def test_arrows_follow_time():
    E = np.array([-1.2, -0.6, -0.3, 0.3, 0.6, 1.2])
    sweeps = {"forward": curve(E, E), "reverse": curve(E, 0.5 * E)}
    figure = figures.loops([{"whole box": sweeps}], length_x_nm=8.0)
    arrows = {
        (float(each.get_xdata()[0]), float(each.get_ydata()[0])): each.get_marker()
        for each in figure.axes[0].lines
        if each.get_marker() in ("<", ">")
    }
    assert arrows == {(0.6, 0.6): ">", (-0.6, -0.6): "<", (0.6, 0.3): "<", (-0.6, -0.3): ">"}


def test_the_control_lies_beneath_the_pore_and_what_was_not_run_is_left_out():
    E = np.array([-1.0, -0.5, 0.5, 1.0])
    pore = {"K⁺": {"forward": curve(E, E)}, "Cl⁻": {"forward": curve(E, -3 * E)}}
    control = {"K⁺, no pore": {"forward": curve(E, 0 * E)}, "Cl⁻, no pore": {}}
    figure = figures.loops([pore, control], length_x_nm=8.0)
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.get_visible()]
    assert titles == ["K⁺", "Cl⁻", "K⁺, no pore"]
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    above_the_gap = figure.axes[1]
    assert "V/nm" in above_the_gap.get_xlabel()
    assert above_the_gap.xaxis.get_tick_params()["labelbottom"]
    own_scale = figures.loops([pore, control], length_x_nm=8.0, share_y="col")
    limits = [ax.get_ylim() for ax in own_scale.axes]
    assert limits[0] == limits[2] != limits[1]
    one = figures.loops([{"K⁺": {}, "Cl⁻": pore["Cl⁻"]}, {"K⁺, no pore": {}}], length_x_nm=8.0)
    assert [ax.get_title(loc="left") for ax in one.axes] == ["Cl⁻"]
    assert one.get_figwidth() == figures.SINGLE_IN
    none = figures.loops([{"K⁺": {}}], length_x_nm=8.0)
    assert (none.axes, none.texts[0].get_text()) == ([], "not run")


def test_the_current_is_split_into_what_passes_and_what_charges():
    t = np.linspace(5, 95, 10)
    parts = {
        "box": curve(t, 3 + 0 * t),
        "pore": curve(t, 1 + 0 * t),
        "charging": curve(t, 2 + 0 * t),
    }
    share = figures.Curve.point(Estimate(0.7, 0.6, 0.8, 9, ""))
    unsure = figures.Curve.point(Estimate(0.3, 0.1, 0.9, 2, ""))
    figure = figures.transport_and_charging(
        {"with the pore": parts, "without a pore": {}},
        Curve.bare(t, np.sin(t)),
        {"charging": share, "transport": unsure},
    )
    _, pore, shares = figure.axes
    charging = line(pore, "charging: whole box − pore slab")
    assert charging == pytest.approx(np.c_[t, 2 + 0 * t])
    assert pore.get_ylabel() == "current I (nA)"
    points = [each for each in shares.lines if each.get_marker() == "o"]
    assert [float(p.get_xdata()[0]) for p in points] == [0.7, 0.3]
    assert [p.get_markerfacecolor() for p in points] == [figures.BLACK, "white"]


def test_constant_fields_lie_on_top_of_the_sweep():
    E = np.array([-1.0, -0.5, 0.5, 1.0])
    held = curve(E, 0.5 * E)
    figure = figures.steady_state(
        [{"pore": ({"forward": curve(E, E)}, held)}, {"no pore": ({}, None)}], length_x_nm=8.0
    )
    (upper,) = figure.axes
    points = next(c for c in upper.containers if c.get_label() == "constant field")
    assert points.lines[0].get_xydata() == pytest.approx(np.c_[E, 0.5 * E])
    swept = figures.steady_state([{"pore": ({"forward": curve(E, E)}, None)}], length_x_nm=8.0)
    assert swept.axes == []
    wide = Curve(E, 0 * E, 0 * E - 300, 0 * E + 300)
    figure = figures.steady_state([{"pore": ({"forward": curve(E, E)}, wide)}], length_x_nm=8.0)
    low, high = figure.axes[0].get_ylim()
    assert high - low < 10  # a bound from a short run does not hide the sweep
    assert not figure.axes[0].containers[0].has_yerr


def test_charge_sets_are_compared_in_rows():
    found, none = Estimate(0.5, 0.4, 0.6, 9, ""), Estimate(np.nan, np.nan, np.nan, 9, "")
    figure = figures.by_charge_set(
        {
            "onset": {"a": Curve.point(found), "b": Curve.point(none)},
            "area": {"b": Curve.point(found), "c": Curve.bare([0.0], [0.5])},
        },
        {"a": "first", "b": "second", "c": "one replica", "not run": "third"},
        {"onset": {"a": 0.55}},
    )
    onset, area = figure.axes
    assert [t.get_text() for t in onset.get_yticklabels()] == ["first", "second", "one replica"]
    assert line(onset, "published") == pytest.approx(np.array([[0.55, 0.0]]))
    assert [t.get_text() for t in onset.texts] == ["none found", "too few to tell"]
    assert [t.get_text() for t in area.texts] == ["none found"]


def test_a_curve_without_an_interval_has_no_band():
    figure = figures.spread_by_field({"forward": Curve.bare([0.1, 0.2], [60, 50])}, length_x_nm=8.0)
    assert len(figure.axes[0].collections) == 0
    assert figure.axes[0].get_ylabel() == "σθ (°)"


def test_the_gaussian_is_drawn_with_the_fitted_width_across_the_wrap():
    rng = np.random.default_rng(1)
    theta = wrap(rng.normal(170.0, 20.0, size=(8, 500, 12)))
    one = orientation(theta, bins=36)
    figure = figures.angle_distributions({"E = +0.5 V/nm": {"forward": one}})
    ax = figure.axes[0]
    points, bell = (each.get_xydata() for each in ax.lines)
    assert points == pytest.approx(np.c_[one.angle_deg, one.density_per_deg.value])
    peak = bell[bell[:, 1].argmax()]
    assert peak[0] == pytest.approx(170, abs=1)
    assert peak[1] == pytest.approx(1 / (np.sqrt(2 * np.pi) * 20), rel=0.02)
    across = bell[np.isclose(bell[:, 0], -170)][0, 1]  # 20 degrees beyond the peak
    assert across == pytest.approx(peak[1] * np.exp(-0.5), rel=0.03)
    assert ax.texts[0].get_text() == "σθ = 20°"


def test_a_width_that_describes_nothing_is_in_brackets_and_has_no_curve():
    rng = np.random.default_rng(1)
    one = orientation(rng.uniform(-180, 180, size=(8, 100, 12)), bins=36)
    figure = figures.angle_distributions({"E = 0": {"forward": one}})
    assert len(figure.axes[0].lines) == 1
    assert figure.axes[0].texts[0].get_text().startswith("(")


def test_two_replicas_show_a_fit_whose_width_is_in_brackets():
    rng = np.random.default_rng(1)
    one = orientation(rng.normal(0.0, 20.0, size=(2, 200, 12)), bins=36)
    ax = figures.angle_distributions({"E = 1": {"forward": one}}).axes[0]
    assert len(ax.lines) == 2
    assert ax.texts[0].get_text() == "(σθ = 20°)"


def test_two_replicas_have_no_band():
    few, enough = (Band(np.ones(2), np.zeros(2), np.full(2, 2.0), n, "") for n in (2, FEWEST_UNITS))
    assert np.isnan(Curve.of([0, 1], few).low).all()
    assert Curve.of([0, 1], enough).high == pytest.approx(2.0)


def test_an_interval_without_end_is_a_hollow_point():
    ratio = Curve(*np.array([[2.0, 10.0], [1.5, 1.1], [1.2, -np.inf], [1.9, np.inf]]))
    stated = {"ratio_first": 3.1, "ratio_last": 1.2}
    ax = figures.pulse_pairs({"pore": {"ppf": {"box": ratio}}}, {"ppf": stated}, {}).axes[0]
    full, hollow = (each.lines[0] for each in ax.containers)
    assert hollow.get_markerfacecolor() == "white"
    assert hollow.get_ydata() == pytest.approx([1.1])
    assert full.get_ydata() == pytest.approx([1.5])
    assert np.isfinite(ax.get_ylim()).all()


def test_a_relaxation_shows_the_fit_and_its_time():
    t = np.linspace(0, 10, 21)
    fitted = 50 + 20 * np.exp(-t / 3)
    one = figures.Relaxation(curve(t, fitted + 1), fitted, "τ = 3 ps")
    figure = figures.relaxation({"forward": {0.8: one}, "reverse": {0.0: one}})
    left = figure.axes[0]
    assert left.lines[1].get_xydata() == pytest.approx(np.c_[t, fitted])
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["A  ordering, field up", "B  relaxation, field down"]
    assert "τ = 3 ps" in left.get_legend().get_texts()[0].get_text()
    assert "(ps)" in left.get_xlabel()


def test_a_field_looks_alike_in_both_panels_of_the_relaxations():
    t = np.linspace(0, 10, 21)
    one = figures.Relaxation(curve(t, t), t, "")
    panels = {"forward": {0.2: one, 0.4: one}, "reverse": {0.0: one, 0.2: one}}
    left, right = (
        {points.get_label().split()[0]: (points.get_color(), points.get_marker())
         for points in ax.lines if points.get_marker() != "None"}
        for ax in figures.relaxation(panels).axes
    )  # fmt: skip
    assert left["0.2"] == right["0.2"]
    assert len({left["0.2"], left["0.4"], right["0"]}) == 3


def test_no_identifiable_time_is_said_so():
    nothing = Curve.bare([], [])
    figure = figures.relaxation_times({"forward": nothing, "reverse": nothing}, length_x_nm=8.0)
    assert "no identifiable" in figure.axes[0].texts[0].get_text()


def test_scaled_relaxations_lie_among_the_rival_forms():
    t = np.linspace(0, 4, 9)
    one = curve(t, np.exp(-t))
    figure = figures.relaxation_form(
        {"forward": {0.4: one, 0.8: one}, "reverse": {}}, {"forward": "β = 1.0 [0.9, 1.1]"}
    )
    (left,) = figure.axes
    assert line(left, "0.8 V/nm") == pytest.approx(np.c_[t, np.exp(-t)])
    rivals = {name: line(left, name) for name in ("β = 1", "β = 0.5", "1/(1 + t/τ)")}
    assert all(r[0] == pytest.approx([0, 1]) for r in rivals.values())
    assert np.interp(1.0, *rivals["1/(1 + t/τ)"].T) == pytest.approx(0.5)
    assert "β = 1.0 [0.9, 1.1]" in [t.get_text() for t in left.texts]
    assert figures.relaxation_form({"reverse": {}}, {}).axes == []


def test_the_waters_field_has_its_dipole_on_the_second_axis():
    centre, along = curve([-1, 1], [2.0, -2.0]), curve([-1, 0, 1], [1, -4, 1])
    figure = figures.reaction_field(
        {"forward": centre}, {"forward": along}, peak_V_per_nm=1.0, per_polarisation=-0.2,
        half_length_nm=0.3, length_x_nm=8.0,
    )  # fmt: skip
    left, right = figure.axes
    figure.draw_without_rendering()
    second = next(c for c in left.child_axes if "D/nm³" in c.get_ylabel())
    heights = [ax.transData.transform((0, y))[1] for ax, y in ((left, 1.0), (second, -5.0))]
    assert heights[1] == pytest.approx(heights[0])
    assert line(left, figures.DIRECTION_NAME["forward"])[:, 1] == pytest.approx([2, -2])
    assert [p.get_x() for p in right.patches] == [-0.3]


def test_the_membranes_field_is_the_slope_of_its_potential():
    x = np.linspace(-1, 1, 201)
    figure = figures.intrinsic_field(
        x, {"a": {"mosse": -2 * x, "mos2": x**2}, "b": {"bond4": x}}, half_length_nm=0.3
    )
    assert len(figure.axes) == 4
    lower = figure.axes[2]
    slopes = [each.get_ydata() for each in lower.lines if len(each.get_ydata()) == len(x)]
    assert slopes[0] == pytest.approx(np.full_like(x, 2.0))
    assert slopes[1][1:-1] == pytest.approx(-2 * x[1:-1])
    assert "(V/nm)" in lower.get_ylabel()


STATED = {"ppf": {"ratio_first": 3.1, "ratio_last": 1.2, "tau_ps": 8.0}}


def test_pulse_pairs_stand_beside_the_control_and_mark_the_published_levels():
    measured, alone = ({"ppf": {"box": curve([2, 10], r)}} for r in ([1.5, 1.1], [1.0, 1.0]))
    rows = {"with the pore": measured, "without a pore": alone}
    figure = figures.pulse_pairs(rows, STATED, {})
    pore, control = figure.axes
    for ax in (pore, control):
        levels = {float(each.get_ydata()[0]) for each in ax.lines if each.get_linestyle() == ":"}
        assert levels == {3.1, 1.2}
    drawn = pore.containers[0].lines[0].get_xydata()
    assert drawn[:, 1] == pytest.approx([1.5, 1.1])
    assert "with the pore" in pore.get_title(loc="left")
    assert "Δt (ps)" in control.get_xlabel()
    for ax in (pore, control):
        assert ax.get_xlim() == pytest.approx((1.5, 13.5))
        assert ax.get_xscale() == "log"
    assert pore.get_ylim() == control.get_ylim()


def test_an_estimator_that_saw_no_current_takes_no_room_and_is_named():
    nothing = curve([2, 10], [np.nan, np.nan])
    rows = {"with the pore": {"ppf": {"pore": nothing, "box": curve([2, 10], [1.5, 1.1])}}}
    figure = figures.pulse_pairs(rows, STATED, {}, note="n = 6")
    (ax,) = figure.axes
    (drawn,) = ax.containers
    where, there = (t.transform((2, 1.5)) for t in (drawn.lines[0].get_transform(), ax.transData))
    assert where == pytest.approx(there)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["whole box"]
    assert "n = 6; no ratio by pore slab" in figure.get_supxlabel()
    rows["without a pore"] = {"ppf": {"pore": curve([2, 10], [1.0, 1.0])}}
    text = figures.pulse_pairs(rows, STATED, {}).get_supxlabel()
    assert text == "no ratio by pore slab (PPF with the pore)"
    alone = figures.pulse_pairs({"with the pore": {"ppf": {"pore": nothing}}}, STATED, {})
    assert not alone.axes[0].containers
    assert alone.get_supxlabel() == "no ratio by pore slab"


def test_pairs_tell_what_their_fits_and_neighbours_are():
    one = Estimate(1.0, 0.9, 1.1, 20, "")
    fit = ExponentialFit("decay", one, one, one, True, "")
    both = {e: curve([1, 2, 4, 8], [3.1, 2.6, 2.0, 1.5]) for e in ("box", "pore")}
    rows = {"with the pore": {"ppf": both}}
    said = figures.pulse_pairs(rows, STATED, {"with the pore": {"ppf": {"pore": fit}}})
    told = "estimators stand side by side; lines without points: exponential fits"
    assert " ".join(said.get_supxlabel().split()) == told
    assert "exponential" not in figures.pulse_pairs(rows, STATED, {}).get_supxlabel()


def test_pulses_that_were_not_run_have_no_panel():
    stated = STATED | {"ppd": STATED["ppf"]}
    one = {"box": curve([2, 10], [1.5, 1.1])}
    rows = {"with the pore": {"ppf": one, "ppd": one}, "without a pore": {"ppd": one}}
    figure = figures.pulse_pairs(rows, stated, {})
    shown = [ax for ax in figure.axes if ax.get_visible()]
    names = ["facilitation (PPF)", "depression (PPD)", "depression (PPD)"]
    assert [ax.get_title(loc="left").split(",")[0] for ax in shown] == names
    assert ["Δt" in ax.get_xlabel() for ax in shown] == [True, False, True]
    rows = {"with the pore": {"ppd": one}, "without a pore": {}}
    (ax,) = figures.pulse_pairs(rows, stated, {}).axes
    assert ax.get_title(loc="left") == "depression (PPD), with the pore"
    assert figures.pulse_pairs({"with the pore": {}}, stated, {}).axes == []


def test_wild_ratios_without_bounds_do_not_set_the_scale():
    wild = Curve(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 500.0]),
                 np.array([0.8, 1.5, -np.inf]), np.array([1.2, 40.0, np.inf]))  # fmt: skip
    figure = figures.pulse_pairs({"with the pore": {"ppf": {"box": wild}}}, STATED, {})
    low, high = figure.axes[0].get_ylim()
    assert low < 0 < 3.1 < high < 15
    assert "bars that reach the frame go on" in figure.get_supxlabel()
    tame = figures.pulse_pairs({"with the pore": {"ppf": {"box": curve([1], [1])}}}, STATED, {})
    assert tame.get_supxlabel() == ""


def test_trains_are_drawn_by_number_with_the_published_level():
    n = np.arange(1.0, 11.0)
    rows = {"with the pore": {"stf": {"box": curve(n, 4 - 3 / n)}, "std": {"box": curve(n, 1 / n)}}}
    figure = figures.pulse_trains(rows, {"stf": 4.0, "std": 0.0})
    left, right = figure.axes
    assert left.containers[0].lines[0].get_ydata() == pytest.approx(4 - 3 / n)
    for ax in (left, right):
        assert ax.get_xlim() == pytest.approx((0, 10.6))
        assert ax.get_ylim()[0] < 0 < 4 - 3 / n[-1] < left.get_ylim()[1]
    assert "published 0" in [t.get_text() for t in right.texts]
    assert "number" in left.get_xlabel()


def test_the_spread_over_a_train_shades_its_pulses():
    t = np.linspace(0, 12, 25)
    windows = np.array([[0.0, 5.0], [7.0, 12.0]])
    one = figures.TrainSpread(curve(t, t), curve([2.5, 9.5], [40, 50]), windows)
    (ax,) = figures.train_spread({"stf": one}).axes
    assert [p.get_x() for p in ax.patches[:2]] == [0.0, 7.0]
    assert "(°)" in ax.get_ylabel()
    assert "no train" in figures.train_spread({}).texts[0].get_text()


def test_the_ratio_by_width_says_where_it_comes_from():
    panel = ({"box": curve([2, 5, 10], [1.0, 1.2, 1.4])}, "pulses of each width, Δt = 5 ps")
    (ax,) = figures.ratio_by_width({"ppf": panel}).axes
    assert "pulses of each width" in ax.get_title(loc="left")
    assert ax.get_xlim() == pytest.approx((0, 11))


def test_the_model_is_drawn_over_the_data():
    t = np.linspace(0, 5, 6)
    one = figures.Modelled(curve(t, t), Curve.bare(t, 2 * t))
    figure = figures.model_against_data(
        {
            "order x": {"field up": {"0.4 V/nm": one, "0.8 V/nm": one}},
            "current I (nA)": {"field up": {"a": one}},
        }
    )
    upper, lower = figure.axes
    assert line(upper, "0.8 V/nm")[:, 1] == pytest.approx(2 * t)
    assert lower.get_ylabel() == "current I (nA)"
    # one curve alone: the colours tell data and model apart, not the fields
    assert line(lower, "model")[:, 1] == pytest.approx(2 * t)
    assert line_of(lower, "measured").get_color() != line_of(lower, "model").get_color()
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["measured", "model"]
    assert "nothing recorded" in figures.model_against_data({}).texts[0].get_text()


def test_the_circuit_says_where_its_element_comes_from():
    t = np.linspace(0, 5, 6)
    trace = figures.Trace(t, t, t / 5, t, "bias 1 V: spikes at 1 GHz")
    figure = figures.circuit_trace([-1, 0, 1], [-1, 0, 1], (0.2, 0.5), trace, label="not fitted")
    assert figure.get_suptitle() == "not fitted"
    element, voltage, order = figure.axes
    assert element.patches[0].get_x() == pytest.approx(0.2)
    assert voltage.lines[0].get_ydata() == pytest.approx(t)
    assert order.lines[0].get_ydata() == pytest.approx(t / 5)
    none = figures.circuit_trace([-1, 1], [-1, 1], None, None, label="fitted")
    assert ["no circuit spikes" in ax.get_title(loc="left") for ax in none.axes] == [True]


def test_the_map_shades_what_cannot_rest_and_marks_what_was_simulated():
    chart = figures.CircuitMap(
        np.array([0.0, 1.0]), np.array([1.0, 10.0]), np.array([[True, False], [False, False]]),
        np.array([0.0, 1.0]), np.array([1.0, 10.0]), ["spikes", "quiescent"],
    )  # fmt: skip
    figure = figures.spiking_map({"bias": chart}, own_zF=3.0, label="not fitted")
    (ax,) = figure.axes
    assert ax.collections[0].get_array().ravel().tolist() == [1, 0, 0, 0]
    assert line(ax, "spikes").tolist() == [[0, 1]]
    assert "own" in ax.texts[0].get_text()
    assert "(zF)" in ax.get_ylabel()
    assert figure.get_suptitle() == "not fitted"
    nothing = figures.spiking_map({}, own_zF=0.0, label="fitted")
    assert "does not fall" in nothing.texts[0].get_text()


def test_a_pulse_trace_shades_the_pulses():
    t = np.linspace(0, 12, 25)
    figure = figures.pulse_trace(t, np.sin(t), {"box": curve(t, t)}, [(0, 5), (7, 12)])
    spans = list(figure.axes[1].patches)
    assert [(p.get_x(), p.get_x() + p.get_width()) for p in spans] == [(0, 5), (7, 12)]


def test_the_barrier_table_draws_every_number():
    table = {
        "published": {
            "field_V_per_nm": [0.2, 0.4],
            "parts_kJ_per_mol": {"water_vdw": [1.0, 2.0], "ion_vdw": [3.0, 4.0]},
            "total_kJ_per_mol": [5.0, 7.0],
        }
    }
    figure = figures.barrier_table(table, {"published": np.array([0.1, 0.2])})
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == [1.0, 2.0, 3.0, 4.0, 5.0, 7.0]
    assert "kJ/mol" in figure.axes[0].get_ylabel()
    assert line(figure.axes[1], "published")[:, 1] == pytest.approx([0.1, 0.2])


def test_checks_show_the_canonical_band():
    t = np.linspace(0, 10, 11)
    figure = figures.equilibrium_checks(t, 300 + t, -4000 - t, target_K=300, canonical_rmsd_K=4.0)
    bands = [
        p.get_extents().transformed(figure.axes[0].transData.inverted())
        for p in figure.axes[0].patches
    ]
    assert {round(b.height) for b in bands} == {8, 16}
    assert figure.axes[1].lines[0].get_ydata() == pytest.approx((-4000 - t) / 1000)


@pytest.mark.parametrize("draw", [
    lambda: figures.density_profile([0, 1], [0.9, 1.0], {"K": [1, 1], "Cl": [1, 1]},
                                    target_g_per_cm3=0.997),
    lambda: figures.axis_potential([-1, 0, 1], {"mosse": [1, 3, -1]}),
    lambda: figures.driven([0, 1], [0, 1], {"box": [0, 1]}, [9, 8]),
])  # fmt: skip
def test_every_axis_has_a_unit_and_the_readers_settings_stay(draw):
    before = mpl.rcParams["font.size"]
    figure = draw()
    assert isinstance(figure, Figure)
    assert mpl.rcParams["font.size"] == before
    labels = [ax.get_ylabel() for ax in figure.axes] + [figure.axes[-1].get_xlabel()]
    assert all("(" in label and ")" in label for label in labels), labels


def test_the_numbers_behind_a_figure_are_those_that_were_drawn():
    curve = figures.Curve(*(np.array(v, float) for v in ([1, 2], [3, 4], [2, np.nan], [5, np.nan])))
    rows = {title: {"ppf": {"box": curve}} for title in ("with the pore", "without a pore")}
    drawn = figures.pulse_pairs(rows, STATED, {})
    found = figures.data_of(drawn)
    # also those of the upper panel, whose axis is named under the lower one
    assert {p.x_quantity for p in found} == {"delay Δt (ps)"}
    found = found[:2]
    assert [(p.panel, p.series) for p in found] == [
        ("facilitation (PPF), with the pore", "whole box")
    ] * 2
    assert found[0][-3:] == (3, 2, 5)
    assert found[0].x == 1
    assert np.isnan(found[1].low)
    assert found[0].y_quantity == "I1 / I0"


def test_lines_points_and_bars_count_as_numbers_and_guides_do_not():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    left.set_title("left", loc="left")
    left.plot([0, 1], [2, 3], label="line")
    left.axhline(9)
    left.axvline(9)
    right.bar([1, 2], [5, 6], label="bars")
    right.scatter([7], [8], label="dots")
    assert [(p.panel, p.series, p.x, p.y) for p in figures.data_of(figure)] == [
        ("left", "line", 0, 2), ("left", "line", 1, 3), ("2", "bars", 1, 5), ("2", "bars", 2, 6),
        ("2", "dots", 7, 8),
    ]  # fmt: skip


def test_numbers_that_stand_elsewhere_are_those_that_were_drawn_from():
    table = {
        "this run": {
            "field_V_per_nm": [0.2, 0.8], "parts_kJ_per_mol": {"water_vdw": [1.0, 2.0]},
            "total_kJ_per_mol": [3.0, 4.0], "intervals": {"total": [[2.5, 3.5], [3.5, 4.5]]},
        }
    }  # fmt: skip
    figure = figures.barrier_table(table, {"this run": np.array([0.1, 0.2])})
    total = [p for p in figures.data_of(figure) if p.series == "total"]
    assert [p.x for p in total] == [0.2, 0.8]
    assert [p[-3:] for p in total] == [(3.0, 2.5, 3.5), (4.0, 3.5, 4.5)]

    points = {"mosse": Curve(*(np.array([v]) for v in (0.0, -0.2, -0.3, -0.1)))}
    figure = figures.by_charge_set(
        {"area (nA)": {}, "asymmetry": points}, {"mosse": "MoSSe"}, {"asymmetry": {"mosse": 0.5}}
    )
    stated, ours = figures.data_of(figure)
    assert (stated.series, stated.y) == ("published", 0.5)
    assert (ours.series, ours.y_quantity, ours.x_quantity) == ("MoSSe", "asymmetry", "")
    assert np.isnan(ours.x)
    assert ours[-3:] == (-0.2, -0.3, -0.1)
    assert "MoSSe: -0.2 [-0.3, -0.1]" in figures.hoverable(figure, "")


def test_panels_that_stand_together_share_their_names():
    E = np.array([-1.0, -0.5, -0.2, 0.2, 0.5, 1.0])
    both = {"forward": curve(E, E)}
    found = figures.data_of(figures.loops([{"a": both, "b": both}], length_x_nm=8.0))
    assert {(p.panel, p.x_quantity, p.y_quantity) for p in found} == {
        (name, "field E (V/nm)", "current I (nA)") for name in "ab"
    }
    # no heads of arrows, and no gap between the polarities
    assert {p.series for p in found} == {"forward, |E| rising"}
    assert len(found) == 2 * len(E)


def test_shipped_times_stand_pale_behind_the_live_ones():
    live, shipped = (
        Curve(*(np.array([v]) for v in values))
        for values in ((0.8, 2.0, 1.0, 3.0), (0.4, 4.0, 3.0, 6.0))
    )
    figure = figures.relaxation_times(
        {"forward": live}, behind={"forward": shipped}, length_x_nm=8.0
    )
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert len(names) == 2
    assert names[0] == f"{names[1]}, shipped"


def test_times_at_one_field_stand_side_by_side():
    one = Curve(*(np.array([v]) for v in (0.4, 4.0, 3.0, 6.0)))
    both = {"forward": one, "reverse": one}
    figure = figures.relaxation_times(both, behind=both, length_x_nm=8.0)
    (ax,) = figure.axes
    figure.draw_without_rendering()
    lines = [each.lines[0] for each in ax.containers]
    across = [each.get_transform().transform(each.get_xydata())[0, 0] for each in lines]
    # pairs of direction and source, from the left: shipped, live, live, shipped
    assert np.diff(sorted(across)) == pytest.approx(0.05 * figure.dpi)
    assert ax.get_xlim()[0] < 0.4 < ax.get_xlim()[1]
    assert 6 < ax.get_ylim()[1] < 8
    assert {p.x for p in figures.data_of(figure)} == {0.4}


def test_shipped_loops_stand_pale_behind_the_live_ones_and_are_named():
    E = np.array([-1.0, -0.5, 0.5, 1.0])
    live, theirs = {"forward": curve(E, E)}, {"forward": curve(E, 2 * E), "reverse": curve(E, E)}
    figure = figures.loops(
        [{"whole box": live, "pore slab": live}], length_x_nm=8.0,
        behind={"whole box": theirs}, behind_name="shipped (campaign): 3 replicas",
    )  # fmt: skip
    left, right = figure.axes
    pale = [each for each in left.lines if each.get_alpha() == figures.PALE]
    assert [each.get_label() for each in pale] == [
        f"_{figures.DIRECTION_NAME[d]}, shipped" for d in figures.DIRECTIONS
    ]
    assert np.nanmax(pale[0].get_ydata()) == pytest.approx(2.0)
    assert pale[0].get_zorder() <= line_of(left, "forward, |E| rising").get_zorder()
    assert not [each for each in right.lines if each.get_alpha() == figures.PALE]
    (legend,) = figure.legends
    names = [t.get_text() for t in legend.get_texts()]
    assert names == ["forward, |E| rising", "pale: shipped (campaign): 3 replicas"]
    series = {p.series for p in figures.data_of(figure)}
    assert "reverse, |E| falling, shipped" in series
    figure = figures.loops(
        [{"whole box": live}], length_x_nm=8.0, behind={"whole box": theirs},
        behind_name="without a pore",
    )  # fmt: skip
    assert "forward, |E| rising, without a pore" in {p.series for p in figures.data_of(figure)}


def test_bands_of_rare_events_do_not_hide_the_loop():
    E = np.array([0.5, 1.0])
    calm = figures.Curve(E, np.array([1.0, 2.0]), np.array([0.5, 1.5]), np.array([1.5, 2.5]))
    rare = calm._replace(low=np.array([-90.0, 1.5]), high=np.array([1.5, 40.0]))
    for curve_of, top, said in ((calm, 3.0, False), (rare, 6.0, True)):
        figure = figures.loops(
            [{"a": {"forward": calm}, "b": {"forward": curve_of}}], length_x_nm=8.0,
            share_y="col", note="n = 3",
        )  # fmt: skip
        left, right = figure.axes[:2]
        assert left.get_ylim()[1] < 3
        assert 2 < right.get_ylim()[1] <= top
        assert right.get_ylim()[0] >= -6.0
        assert ("bands are cut" in figure.get_supxlabel()) is said


def test_shipped_pairs_stand_pale_behind_the_live_ones_and_are_in_range():
    live, theirs = curve([1, 4], [1.5, 1.1]), curve([1, 32], [0.2, 9.0])
    figure = figures.pulse_pairs(
        {"with the pore": {"ppf": {"box": live}}}, STATED, {},
        behind={"with the pore": {"ppf": {"box": theirs}, "ppd": {"box": theirs}}},
        behind_name="shipped",
    )  # fmt: skip
    (ax,) = figure.axes
    pale, full = ax.containers
    assert pale.lines[0].get_alpha() == figures.PALE
    assert pale.lines[0].get_xydata() == pytest.approx(np.array([[1, 0.2], [32, 9.0]]))
    assert full.lines[0].get_alpha() is None
    assert ax.get_xlim()[1] > 32
    assert ax.get_ylim()[1] > 9
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["whole box", "pale: shipped"]
    assert "whole box, shipped" in {p.series for p in figures.data_of(figure)}


def test_a_legend_is_no_wider_than_its_figure():
    E = np.array([0.5, 1.0])
    both = {"forward": curve(E, E), "reverse": curve(E, E)}
    for panels in (1, 3):
        figure = figures.loops(
            [{str(k): both for k in range(panels)}], length_x_nm=8.0, published_V_per_nm=[0.5],
            behind={"0": both}, behind_name="shipped (campaign): sine, 5 GHz, 10 × 6 cells",
        )  # fmt: skip
        figure.canvas.draw()
        (legend,) = figure.legends
        assert legend.get_window_extent().width < figure.bbox.width


def test_the_files_of_a_figure_share_one_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = figures.comparison({"a": {"box": Curve.bare([0.0, 1.0], [1.0, 2.0])}}, note="")
    layout, lay_out = figure.get_layout_engine(), ConstrainedLayoutEngine.execute
    done = []
    monkeypatch.setattr(
        ConstrainedLayoutEngine, "execute", lambda self, of: done.append(lay_out(self, of))
    )
    figures.save(figure, tmp_path / "a.b", ("png", "svg", "pdf"))
    assert len(done) == 1
    assert layout is figure.get_layout_engine() is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.b.pdf", "a.b.png", "a.b.svg"]
