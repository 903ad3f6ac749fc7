"""Barriers from windows whose forces are known."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from janus_pore import spec
from janus_pore.build.membrane import axis_potential, build_membrane
from janus_pore.build.system import build_system
from janus_pore.drive import windows
from janus_pore.drive.decompose import PARTS, Forces
from janus_pore.measure.barrier import KJ_PER_MOL_PER_E_V
from janus_pore.show import barriers, figures, scorecard

WELL_NM = 0.1
"""Forces of the parts: amplitude times sin(pi x / WELL_NM), and a slope for the membrane."""
AMPLITUDE = dict(zip(PARTS, (20.0, 200.0, -5.0, -40.0, 1.0, 24.0), strict=True))
SIGN = {"Cl": 1.0, "K": -1.0}
"""Of all parts: what is a hill for one ion is a well for the other."""
EQUILIBRATE_PS, SAMPLE_PS = 1.0, 4.0
SCALE = spec.load_profile("demo").field_scale
"""The field in the box over that of the reference box."""


def force(part: str, x):
    return AMPLITUDE[part] * np.sin(np.pi * x / WELL_NM)


def profile_with(**changes) -> spec.Profile:
    entry = {"fields_V_per_nm": {"Cl": [0.4, 0.8]},
             "from_nm": -0.1, "to_nm": 0.1, "spacing_nm": 0.025,
             "equilibrate_ps": EQUILIBRATE_PS, "sample_ps": SAMPLE_PS, "replicas": 5,
             **changes}  # fmt: skip
    return spec.load_profile("demo").model_copy(update={"windows": spec.Windows(**entry)})


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write windows with known forces, far off while they equilibrate."""
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))

    def make(profile: spec.Profile, noise: float = 3.0, drift: float = 0.0) -> spec.Profile:
        build_system(profile.system)
        wanted = profile.windows
        assert wanted is not None
        rng = np.random.default_rng(1)
        records = []
        for replica in range(wanted.replicas):
            for ion, field, x in wanted.places:
                time = np.arange(0, EQUILIBRATE_PS + SAMPLE_PS + 0.01, 0.1)
                parts = SIGN[ion] * np.array([force(name, x) + 0 * time for name in PARTS])
                # what one replica's surroundings add, and what every frame does
                parts += rng.normal(0, noise, (6, 1)) + rng.normal(0, noise, parts.shape)
                parts[:, time < EQUILIBRATE_PS - 1e-6] += 1e4
                parts[0, time > EQUILIBRATE_PS + SAMPLE_PS / 2] += drift
                position = np.column_stack([np.full_like(time, x), 0.1 + 0 * time, 0 * time])
                total = parts.sum(axis=0)
                data = windows.labelled(
                    Forces(time, position, total, parts if windows.told_apart(ion) else parts[:0])
                )
                directory = tmp_path / f"{replica}-{ion}-{field:g}-{x:g}"
                directory.mkdir()
                data.to_netcdf(directory / "series.nc")
                records.append(
                    windows.WindowRecord(ion, field, SCALE * field, x, replica, directory)
                )
        monkeypatch.setattr(windows, "open_windows", lambda _: records)
        return profile

    return make


def expected_span(field: float, windows_nm) -> tuple[float, float, float]:
    """Positions of minimum and maximum, and the rise between them, on a fine grid.

    The force is that of the windows and linear between them.
    """
    x = np.linspace(-0.1, 0.1, 20001)
    total = np.interp(x, windows_nm, sum(force(name, np.array(windows_nm)) for name in PARTS))
    total -= SCALE * field * KJ_PER_MOL_PER_E_V
    energy = -np.concatenate([[0], np.cumsum((total[1:] + total[:-1]) / 2 * np.diff(x))])
    return x[energy.argmin()], x[energy.argmax()], np.ptp(energy)


def test_known_barriers_are_recovered(made):
    profile = made(profile_with())
    found = barriers.from_windows(profile)
    assert list(found) == [0.4, 0.8]
    for field, one in found.items():
        low, high, rise = expected_span(field, profile.windows.positions_at(field))
        span = one.span
        assert span.r_min_nm.value == pytest.approx(low, abs=0.012)
        assert span.r_max_nm.value == pytest.approx(high, abs=0.012)
        assert span.total.value == pytest.approx(rise, rel=0.08)
        assert span.total.low < rise < span.total.high
        assert span.total.n_independent == one.independent == 5
        assert span.closure.value == pytest.approx(0, abs=1e-6)
        assert span.distance_nm.value == pytest.approx(abs(high - low), abs=0.02)
        assert len(one.coarser_kJ_per_mol) == 2  # of four and five places: another barrier each
        assert one.barrier.total.value not in one.coarser_kJ_per_mol
        assert one.residual_kJ_per_mol_nm < 1e-9
        assert one.far_nm == pytest.approx(0.1)
        # The energy's maximum is in the middle; a Cl- at E > 0 climbs to it from the right.
        assert one.barrier.r_min_nm.value > one.barrier.r_max_nm.value


def test_a_force_that_is_not_yet_steady_is_noticed(made):
    profile = made(profile_with(fields_V_per_nm={"Cl": [0.4]}, replicas=1), noise=0.5, drift=-80.0)
    found = barriers.from_windows(profile)
    assert found[0.4].drift_kJ_per_mol_nm == pytest.approx(-80.0, abs=2.0)
    assert "changed by up to −80 kJ/mol/nm" in barriers.basis(profile, found)


def test_blocks_give_an_interval_that_no_verdict_rests_on(made):
    profile = made(profile_with(replicas=1, blocks=4))
    found = barriers.from_windows(profile)
    one = found[0.4]
    assert one.profile.total.n_independent == 4
    assert "blocks of 1 ps" in one.profile.total.method
    assert one.independent == 1
    rows = barriers.claims_of_barriers(found, profile, "windows")
    assert {r.verdict for r in rows} == {"not enough statistics"}


def test_blocks_of_two_replicas_stay_apart(made):
    profile = made(profile_with(fields_V_per_nm={"Cl": [0.4]}, replicas=2, blocks=4))
    one = barriers.from_windows(profile)[0.4]
    assert one.profile.total.n_independent == 8
    assert one.independent == 2


def test_claims_are_judged_against_each_version(made, monkeypatch):
    profile = made(profile_with(fields_V_per_nm={"Cl": [0.2, 0.4, 0.6, 0.8]}), noise=0.05)
    found = barriers.from_windows(profile)
    (six, seven) = barriers.claims_of_barriers(found, profile, "windows")
    assert (six.id, six.estimator, six.run) == (6, "published table", "windows")
    assert six.verdict == "not reproduced"
    assert seven.id == 7
    assert "rise of water's electrostatic part" in seven.found

    # a table that says what is there
    table = {"mine": {
        "field_V_per_nm": list(found),
        "total_kJ_per_mol": [one.barrier.total.value + 0.5 for one in found.values()],
    }}  # fmt: skip
    monkeypatch.setattr(scorecard, "reference", _reference(table))
    (six, _) = barriers.claims_of_barriers(found, profile, "windows")
    assert six.verdict == "reproduced"
    table["mine"]["total_kJ_per_mol"][0] += 5.0
    (six, _) = barriers.claims_of_barriers(found, profile, "windows")
    assert six.verdict == "not reproduced"
    # a field that was not run leaves the claim open
    del found[0.2]
    (six, _) = barriers.claims_of_barriers(found, profile, "windows")
    assert six.verdict == "not enough statistics"
    assert "barrier at 0.2 V/nm: not determined" in six.found


def _reference(table):
    real = scorecard.reference
    return lambda name: table if name == "table1.yaml" else real(name)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"water_electrostatic": 20.0}, "reproduced"),
        ({"water_electrostatic": 20.0, "membrane_vdw": 25.0}, "not reproduced"),
        ({"water_electrostatic": -20.0, "membrane_vdw": 45.0}, "not reproduced"),
        ({}, "not enough statistics"),
    ],
)
def test_what_makes_the_barrier_rise(made, monkeypatch, change, verdict):
    profile = made(profile_with(fields_V_per_nm={"Cl": [0.4]}), noise=0.05)
    one = barriers.from_windows(profile)[0.4]
    parts = {n: _moved(p, change.get(n, 0.0)) for n, p in one.barrier.parts.items()}
    risen = one.barrier.__class__(
        **{**one.barrier.__dict__, "parts": parts,
           "total": _moved(one.barrier.total, sum(change.values()))}
    )  # fmt: skip
    found = {0.4: one, 0.8: one._replace(barrier=risen)}
    seven = barriers.claims_of_barriers(found, profile, "windows")[-1]
    assert (seven.id, seven.verdict) == (7, verdict)


def _moved(one, by):
    return one.__class__(one.value + by, one.low + by, one.high + by, one.n_independent, one.method)


def test_an_ion_that_only_goes_downhill_has_no_barrier_and_that_can_be_said(made):
    profile = made(profile_with(fields_V_per_nm={"Cl": [3.0, 4.0]}), noise=0.05)
    found = barriers.from_windows(profile)
    for one in found.values():
        assert (one.barrier.total.low, one.barrier.total.high) == (0.0, 0.0)
        assert one.span.total.value > 10
    one = found[3.0]
    (row,) = barriers.claims_of_barriers({0.2: one, 0.4: one, 0.6: one, 0.8: one}, profile, "w")[:1]
    assert row.verdict == "not reproduced"
    assert "barrier at 0.2 V/nm: 0.0 kJ/mol (n = 5)" in row.found
    (rise,) = (
        r for r in barriers.claims_of_barriers({0.4: one, 0.8: one}, profile, "w") if r.id == 7
    )
    assert rise.verdict == "not reproduced"  # from nothing to nothing


def test_other_membranes_are_not_judged_by_this_table(made):
    profile = made(profile_with(fields_V_per_nm={"Cl": [0.4]}))
    found = barriers.from_windows(profile)
    other = profile.model_copy(
        update={"system": profile.system.model_copy(update={"charge_set": "mos2"})}
    )
    assert barriers.claims_of_barriers(found, other, "windows") == []
    assert barriers.claims_of_barriers({}, profile, "windows") == []


def test_without_windows_the_page_says_what_they_take(tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    profile = profile_with()
    build_system(profile.system)
    found, why = barriers.available(profile)
    assert found == {}
    # 2 fields, 9 positions, 5 replicas, 5 ps
    assert why.startswith("0.45 ns of windows are not all there")
    assert "run_windows" in why
    found, why = barriers.available(profile.model_copy(update={"windows": None}))
    assert found == {}
    assert "entry 'windows'" in why
    other = profile_with(fields_V_per_nm={"K": [0.4]})
    assert "holds no Cl-" in barriers.available(other)[1]
    solid = profile.system.model_copy(update={"pore": "none"})
    assert "without a pore" in barriers.available(profile.model_copy(update={"system": solid}))[1]


def test_rows_and_figures_show_all_three(made):
    profile = made(profile_with())
    found = barriers.from_windows(profile)
    rows = barriers.rows(found)
    assert [len(r) for r in rows] == [len(barriers.COLUMNS)] * (4 + 3 + 2 * 2)
    assert rows[0][:3] == ("published", "0.2", "13.67")
    assert rows[0][-1] == "0.083" or rows[0][-1] == "0.084"
    table, share = barriers.tables(found)
    assert list(table) == list(share) == ["published", "manuscript", "this run"]
    ours = table["this run"]
    for k, field in enumerate(ours["field_V_per_nm"]):
        parts = sum(values[k] for values in ours["parts_kJ_per_mol"].values())
        distance = abs(ours["total_kJ_per_mol"][k] - parts) / (SCALE * field * KJ_PER_MOL_PER_E_V)
        assert share["this run"][k] == pytest.approx(distance)

    figure = figures.barrier_table(table, share)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [*table, "distance"]
    figure = figures.mean_forces(barriers.panels(found))
    for ax, field in zip(figure.axes, found, strict=True):
        drawn = {line.get_label(): line for line in ax.lines}
        x, y = drawn["water electrostatic"].get_data()
        assert y == pytest.approx(force("water_electrostatic", np.asarray(x)), abs=15)
        expected = sum(force(n, np.asarray(x)) for n in PARTS)
        expected = expected - SCALE * field * KJ_PER_MOL_PER_E_V
        assert drawn["total, with the field"].get_ydata() == pytest.approx(expected, abs=25)
    figure = figures.potentials(barriers.climbs(found))
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert "0.4 V/nm" in labels
    assert "0.8 V/nm" in labels
    assert "5 replicas" in barriers.basis(profile, found)


def test_without_a_field_there_is_a_span_but_no_implied_distance(made):
    found = barriers.from_windows(made(profile_with(fields_V_per_nm={"Cl": [0.0, 0.8]})))
    rest = found[0.0]
    assert rest.span.field.value == 0
    assert rest.span.total.value == pytest.approx(expected_span(0.0, rest.profile.x_nm)[2], rel=0.1)
    assert [r[-1] for r in barriers.rows(found) if r[1] == "0"] == ["–", "–"]
    table, share = barriers.tables(found)
    axis = figures.barrier_table(table, share).axes[-1]
    drawn = {line.get_label(): line.get_xydata() for line in axis.lines}["this run"]
    assert drawn[:, 0].tolist() == [0.8]  # nothing drives an ion at rest
    assert 0 < drawn[0, 1] < axis.get_ylim()[1]
    assert list(barriers.tables({0.0: rest})[0]) == ["published", "manuscript"]


def needed():
    raise AssertionError("GROMACS is looked for")


def test_no_kept_trajectory_means_no_visit(tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    profile = profile_with()
    monkeypatch.setattr("janus_pore.drive.gromacs.find_gmx", needed)
    shipped = spec.load_profile("campaign", {"source": "campaign"})
    assert barriers.from_visits(shipped) == {}  # nor is a system, nor GROMACS
    assert barriers.from_visits(profile) == {}
    assert barriers.rows_of_visits(profile)[0][1:3] == ("0", "0")


@pytest.mark.parametrize("enough", [True, False])
def test_visits_are_counted_and_few_are_not_a_profile(made, monkeypatch, enough):
    profile = made(profile_with(fields_V_per_nm={"Cl": [0.4]}))
    rng = np.random.default_rng(2)
    n = 2000 if enough else 12
    x = rng.uniform(-0.28, 0.28, n)
    parts = np.array([force(name, x) for name in PARTS]) + rng.normal(0, 3, (6, n))
    forces = Forces(np.arange(n) * 1.0, np.column_stack([x, 0 * x, 0 * x]), parts.sum(axis=0),
                    parts)  # fmt: skip
    visits = windows.Visits(SCALE * 0.4, forces, np.arange(n) * 6 // n)
    monkeypatch.setattr(windows, "free_visits", lambda *_, **__: {SCALE * 0.4: visits})
    found = barriers.from_visits(profile)
    assert list(found) == [0.4]
    assert (found[0.4].frames, found[0.4].visits) == (n, 6)
    ((field, frames, count, said),) = barriers.rows_of_visits(profile)
    assert (field, frames, count) == ("0.4", str(n), "6")
    assert ("kJ/mol" in said and "(n = 6)" in said) if enough else "sample longer" in said
    if enough:
        one = found[0.4].found
        assert one is not None
        assert one.profile.total.n_independent == 6
        assert len(one.profile.x_nm) == barriers.BINS_OF_VISITS
    else:
        assert found[0.4].found is None
        assert "sample longer" in found[0.4].why_not


def test_barriers_that_ship_need_no_system_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    profile = spec.load_profile("campaign", {"source": "campaign"})
    found, why = barriers.available(profile)
    assert why == ""
    assert {E: len(one.profile.x_nm) for E, one in found.items()} == {
        E: len(profile.windows.positions_at(E)) for E in (0.0, 0.2, 0.4, 0.6, 0.8)
    }
    assert barriers.basis(profile, found).startswith("13 or 25 windows")
    each, _ = barriers.passing_by_choice(profile)
    assert barriers.basis_of_passing(profile, each).startswith("13 windows")


def test_series_of_a_window_round_trips(made, tmp_path):
    made(profile_with(fields_V_per_nm={"Cl": [0.4]}))
    with xr.open_dataset(next(tmp_path.glob("0-Cl-0.4-*")) / "series.nc") as data:
        assert data["part"].values.tolist() == list(PARTS)
        assert data["total"].attrs["units"] == "kJ/mol/nm"


# --- the bare membrane ------------------------------------------------------------------


def test_energies_on_the_axis_are_charge_times_potential_and_van_der_waals():
    system = spec.load_profile("tiny").system
    x = np.linspace(-1.0, 1.0, 41)
    found = barriers.pore_energies(system, ("hollow6", "bond4"), x)
    for pore, energies in found.items():
        bare = build_membrane(system.model_copy(update={"pore": pore}))
        for (ion, _), one in energies.items():
            charged = -SIGN[ion] * KJ_PER_MOL_PER_E_V * axis_potential(bare, x)
            assert one.whole - one.vdw == pytest.approx(charged)
        assert np.abs(energies["K", "liang"].vdw - energies["K", "stewart"].vdw).max() > 0.2
    rows = barriers.rows_of_pore_energies(x, found)
    assert [r[:2] for r in rows] == [
        (pore, ion) for pore in ("hollow6", "bond4") for ion in ("K⁺", "Cl⁻")
    ]
    # only a Cl- in the narrower pore meets a wall
    assert [r[3] == "none" for r in rows] == [True, True, True, False]

    figure = figures.pore_energies(x, found, highest_kJ_per_mol=250.0)
    axes = np.array(figure.axes).reshape(2, 2)
    assert [ax.get_title(loc="left") for ax in axes[0]] == ["hollow6", "bond4"]
    for ax, one in zip(axes[:, 1], found["bond4"]["Cl", "stewart"], strict=True):
        drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
        assert drawn["Cl⁻, S of stewart"] == pytest.approx(one)
        assert ax.get_ylim()[0] < one.min()
        assert min(one.max(), 250.0) <= ax.get_ylim()[1] <= 250.0


# --- which ion passes -------------------------------------------------------------------

BOTH = {"fields_V_per_nm": {"Cl": [0.0], "K": [0.0]}}


def expected_conductance(ion: str, positions_nm) -> float:
    """In nS, from the force linear between windows, 1 M, the pore's region, CODATA constants."""
    x = np.linspace(-0.1, 0.1, 20001)
    at_windows = SIGN[ion] * sum(force(name, np.array(positions_nm)) for name in PARTS)
    F = np.interp(x, positions_nm, at_windows)
    w = -np.concatenate([[0], np.cumsum((F[1:] + F[:-1]) / 2 * np.diff(x))])
    resistance_m = np.trapezoid(np.exp(w / (8.314462618e-3 * 300)), x) * 1e-9
    e, k, D = 1.602176634e-19, 1.380649e-23, {"K": 1.957e-9, "Cl": 2.032e-9}[ion]
    c, A = 1000 * 6.02214076e23, np.pi * 0.5e-9**2
    return float(e**2 * D * c * A / (k * 300) / resistance_m * 1e9)


def test_the_ion_that_meets_a_well_passes_more_easily(made):
    profile = made(profile_with(**BOTH), noise=0.5)
    found, why = barriers.passing(profile)
    assert (list(found), why) == (["Cl", "K"], "")
    for ion, one in found.items():
        expected = expected_conductance(ion, profile.windows.positions_at(0.0))
        assert one.conductance.value == pytest.approx(expected, rel=0.1)
        assert one.conductance.low < expected < one.conductance.high
        assert one.across.low < 0 < one.across.high
    assert found["Cl"].highest.value == pytest.approx(-found["K"].lowest.value, abs=0.5)
    assert found["Cl"].conductance.value < found["Cl"].flat_nS < found["K"].conductance.value
    each, why_not = barriers.passing_by_choice(profile)
    assert (list(each), why_not) == (["MoSSe, hollow6"], {})
    said = barriers.which_passes(each, profile)
    assert said.endswith("nS (K⁺ passes more easily).")
    assert [r[:2] for r in barriers.rows_of_passing(each)] == [
        ("MoSSe, hollow6", "Cl⁻"), ("MoSSe, hollow6", "K⁺"),
    ]  # fmt: skip
    assert {len(r) for r in barriers.rows_of_passing(each)} == {len(barriers.PASSING)}
    assert "5 replicas" in barriers.basis_of_passing(profile, each)

    planes = barriers.planes(profile)
    assert [element for element, _ in sorted(planes, key=lambda p: p[1])] == ["Se", "Mo", "S"]
    energies = {i: one.energy for i, one in found.items()}
    figure = figures.ion_potentials({"only": energies}, planes)
    (axis,) = figure.axes
    assert axis.get_title(loc="left") == ""
    drawn = {line.get_label(): line.get_ydata() for line in axis.lines}
    assert drawn["K⁺"].min() == pytest.approx(found["K"].lowest.value)
    assert {t.get_text(): t.xy[0] for t in axis.texts} == dict(planes)
    figure = figures.ion_potentials({"one": energies, "other": energies}, planes)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["one", "other"]
    long = [f"more unequal charges, hollow{n}, S: stewart" for n in range(6, 10)]
    figure = figures.ion_potentials(dict.fromkeys(long, energies), planes)
    figure.draw_without_rendering()
    ends = [t.get_window_extent() for ax in figure.axes for t in [ax._left_title]]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(ends))
    assert ends[-1].x1 <= figure.bbox.x1


def test_another_pore_is_asked_the_same_question(made):
    profile = made(profile_with(**BOTH), noise=0.5)
    other = spec.Alternative(system={"pore": "bond4"})
    both = profile.model_copy(update={"alternatives": (other,)})
    found, why_not = barriers.passing_by_choice(both)
    assert (list(found), why_not) == (["MoSSe, hollow6", "MoSSe, bond4"], {})
    assert len(barriers.rows_of_passing(found)) == 4
    said = barriers.which_passes(found, both)
    assert said.count("K⁺ passes more easily") == 2
    assert "; MoSSe, bond4: Cl⁻ " in said


def test_few_or_noisy_windows_leave_it_open(made):
    noisy = made(profile_with(**BOTH, replicas=1, blocks=4), noise=400.0)
    found, _ = barriers.passing_by_choice(noisy)
    said = barriers.which_passes(found, noisy)
    assert "stays open). Only 1 starting state of the surroundings stands behind each" in said
    assert "blocks of 1 ps" in barriers.basis_of_passing(noisy, found)


def test_an_interval_of_too_few_blocks_says_nothing(made):
    profile = made(profile_with(**BOTH, replicas=1, blocks=1))
    found, _ = barriers.passing_by_choice(profile)
    assert "not enough statistics" in barriers.which_passes(found, profile)


def test_without_windows_at_rest_nothing_passes(tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    profile = profile_with(**BOTH)
    build_system(profile.system)
    found, why = barriers.passing(profile)
    assert found == {}
    assert barriers.passing_by_choice(profile) == ({}, {"MoSSe, hollow6": why})
    assert why.startswith("not run in this profile: 0.45 ns of windows")
    shipped = profile.model_copy(update={"source": "campaign"})
    assert "do not ship" in barriers.passing(shipped)[1]
    assert "no ion at 0 V/nm" in barriers.passing(profile_with())[1]
    solid = profile.system.model_copy(update={"pore": "none"})
    assert "without a pore" in barriers.passing(profile.model_copy(update={"system": solid}))[1]
