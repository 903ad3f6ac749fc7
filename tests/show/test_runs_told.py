"""What notebook 2 tells of a run: temperature, density, cost."""

from pathlib import Path

import numpy as np
import pytest

from janus_pore.build.system import DALTON_PER_NM3, BulkDensity, build_system
from janus_pore.errors import SpecError
from janus_pore.show import results
from janus_pore.spec import load_profile

R = 8.314462618e-3


def test_the_thermostat_is_held_against_the_canonical_ensemble(monkeypatch):
    rng = np.random.default_rng(0)
    time, freedom = np.arange(0.0, 1000.0, 0.5), 900
    temperature = 300 + np.where(time < 100, 50.0, rng.normal(0, 14, len(time)))
    monkeypatch.setattr(results, "thermodynamics", lambda _: {
        "time_ps": time, "temperature_K": temperature,
        "kinetic_kJ_per_mol": freedom * R * temperature / 2,
        "potential_kJ_per_mol": 0 * time, "conserved_kJ_per_mol": 0.002 * time - 7,
    })  # fmt: skip
    found = results.thermostat(None, discard_ps=100.0)
    assert found.degrees_of_freedom == freedom
    assert found.mean_K == pytest.approx(300, abs=1.5)
    assert found.rmsd_K == pytest.approx(14, rel=0.05)
    assert found.canonical_rmsd_K == pytest.approx(found.mean_K * np.sqrt(2 / freedom))
    assert found.drift_kJ_per_mol_ns == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({}, True),
        ({"system.seed": 2}, True),
        ({"reference_length_x_nm": 5.0}, False),
        ({"run.temperature_K": 350.0}, False),
        ({"run.pore_radius_nm": 0.3}, False),
        ({"run.pore_half_length_nm": 0.2}, False),
    ],
)
def test_what_ships_stands_only_beside_its_like(change, shown):
    assert (results.ships(load_profile("reduced", change)) is not None) == shown


def test_no_command_is_given_for_a_profile_that_it_does_not_know():
    own = load_profile("tiny").model_copy(update={"name": "mine"})
    assert "make" in results.left_out({"pore": "not run yet"}, load_profile("tiny"))
    assert results.left_out({"pore": "not run yet"}, own) == " Left out: pore (not run yet)."


def test_density_across_the_box_counts_molecules(tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    built = build_system(load_profile("tiny").system)
    atoms, box = built.manifest["atoms"], np.asarray(built.manifest["box_nm"])
    monkeypatch.setattr(results, "end_frame", lambda *_: built.gro)
    found = results.density(built, [tmp_path] * 3, bins=10)
    volume = np.prod(box) / 10
    waters = (atoms["water"][1] - atoms["water"][0]) / 3
    mass = 15.9994 + 2 * 1.008
    assert found.water_g_per_cm3.sum() * volume == pytest.approx(
        waters * mass * DALTON_PER_NM3, rel=1e-6
    )
    for ion in ("K", "Cl"):
        count = atoms[ion][1] - atoms[ion][0]
        # one per cubic nanometre is 1.6605 M
        assert found.ions_M[ion].sum() * volume == pytest.approx(1.66054 * count, rel=1e-4)
    # the membrane in the middle of it keeps the water out
    assert found.water_g_per_cm3[5] < 0.5 * found.water_g_per_cm3[0]
    assert found.bulk.frames == 3


@pytest.mark.parametrize(
    ("density", "error", "words"),
    [
        (0.991, 0.001, "yes"),
        (1.006, 0.003, "not enough frames to tell"),
        (0.980, 0.003, "no"),
        (0.980, 0.004, "not enough frames to tell"),
        (0.997, np.nan, "not enough frames to tell"),
    ],
)
def test_density_is_judged_by_two_standard_errors(density, error, words):
    bulk = BulkDensity(density, 0.9, 1.0, error, 0.001, 0.001, 10)
    demanded = {"density": {"target_g_per_cm3": 0.997, "tolerance_g_per_cm3": 0.010}}
    assert results.as_demanded(bulk, demanded) == words


def test_effort_is_that_of_the_manifests(monkeypatch):
    made = {
        Path("a"): (120.0, 100.0, {"cpu": "X", "simd": "AVX2"}),
        Path("b"): (60.0, None, {"cpu": "X", "simd": "AVX2", "on_gpu": ["nonbonded", "pme"]}),
    }
    monkeypatch.setattr(results, "read_manifest", lambda path: {
        "duration_ps": made[path][0], "wall_s": made[path][1], "hardware": made[path][2],
        "provenance": {"gmx_version": "GROMACS version: 2022.5"},
    })  # fmt: skip
    found = results.effort(made)
    assert (found.segments, found.md_ns, found.wall_s) == (2, pytest.approx(0.18), 100.0)
    assert found.ns_per_day == pytest.approx(0.18 / 100 * 86400)
    assert found.hardware == "X (AVX2), GPU for nonbonded, pme; X (AVX2), no GPU"
    assert found.gmx == "2022.5"


def test_an_unknown_estimator_is_refused_with_those_there_are():
    assert results.estimator_named("pore") == "pore"
    with pytest.raises(SpecError, match="'bulk' is not known; use one of box, pore, crossings"):
        results.estimator_named("bulk")
