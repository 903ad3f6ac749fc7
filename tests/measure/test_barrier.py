"""Barriers from forces whose potential is known."""

import numpy as np
import pytest

from janus_pore import paths
from janus_pore.errors import MeasureError
from janus_pore.measure.barrier import (
    KJ_PER_MOL_PER_E_V,
    barrier,
    conductance,
    conductance_of,
    every_other,
    mean_force,
    pmf,
    pmf_band,
    pmf_between,
)
from janus_pore.spec import read_yaml

CHARGE, FIELD = -1.0, 0.4
APPLIED = CHARGE * FIELD * KJ_PER_MOL_PER_E_V
EDGES = np.linspace(-0.6, 0.6, 61)


def water_energy(x: np.ndarray) -> np.ndarray:
    return 30 * np.exp(-((x / 0.2) ** 2))


def membrane_energy(x: np.ndarray) -> np.ndarray:
    return -25 * np.exp(-((x / 0.4) ** 2))


def water_force(x: np.ndarray) -> np.ndarray:
    return 2 * x / 0.2**2 * water_energy(x)


def membrane_force(x: np.ndarray) -> np.ndarray:
    return 2 * x / 0.4**2 * membrane_energy(x)


def truth(towards: int) -> dict[str, float]:
    """Extremes of the known potential along the way of the ion, and what lies between."""
    x = towards * np.linspace(-0.59, 0.59, 200001)
    energy = water_energy(x) + membrane_energy(x) - APPLIED * x
    last = int((energy - np.minimum.accumulate(energy)).argmax())
    first = int(energy[: last + 1].argmin())
    return {
        "r_min": x[first],
        "r_max": x[last],
        "total": energy[last] - energy[first],
        "water": water_energy(x[last]) - water_energy(x[first]),
        "membrane": membrane_energy(x[last]) - membrane_energy(x[first]),
        "field": -APPLIED * (x[last] - x[first]),
        "distance": abs(x[last] - x[first]),
    }


def sampled(seed: int, *, units: int = 15, samples: int = 600, noise: float = 60.0, **options):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-0.6, 0.6, (units, samples))
    water = water_force(x) + rng.normal(0, noise, x.shape) + rng.normal(0, 4, (units, 1))
    membrane = membrane_force(x) + rng.normal(0, noise / 2, x.shape)
    return mean_force(
        x.ravel(),
        (water + membrane + APPLIED).ravel(),
        {"water": water.ravel(), "membrane": membrane.ravel()},
        EDGES,
        units=np.repeat(np.arange(units), samples),
        seed=seed,
        **({"resamples": 200} | options),
    )


def test_potential_of_a_known_force() -> None:
    x = np.linspace(-0.6, 0.6, 2001)
    energy = pmf(x, np.stack([water_force(x), np.full_like(x, APPLIED)]))
    np.testing.assert_allclose(energy[0], water_energy(x) - water_energy(x[0]), atol=1e-3)
    np.testing.assert_allclose(energy[1], -APPLIED * (x - x[0]), atol=1e-9)


def test_field_does_work_on_a_charge() -> None:
    # One elementary charge across one volt: 96.485 kJ/mol.
    assert abs(KJ_PER_MOL_PER_E_V - 1.602176634e-19 * 6.02214076e23 / 1000) < 1e-8


@pytest.mark.parametrize("towards", [-1, 1])
def test_barrier_and_its_parts_are_recovered(towards: int) -> None:
    expected = truth(towards)
    names = ("r_min", "r_max", "total", "water", "membrane", "field", "distance")
    hits = dict.fromkeys(names, 0)
    for trial in range(100):
        found = barrier(sampled(trial), charge_e=CHARGE, field_V_per_nm=FIELD, towards=towards)
        estimates = (found.r_min_nm, found.r_max_nm, found.total, found.parts["water"],
                     found.parts["membrane"], found.field, found.distance_nm)  # fmt: skip
        for name, one in zip(names, estimates, strict=True):
            hits[name] += one.low <= expected[name] <= one.high
        assert abs(found.closure.value) < 1e-6
        total = sum(p.value for p in found.parts.values()) + found.field.value
        assert found.total.value == pytest.approx(total, abs=1e-6)
    assert min(hits.values()) >= 90, hits


def test_missing_part_shows_in_the_closure() -> None:
    profile = sampled(0)
    rng = np.random.default_rng(0)
    x = rng.uniform(-0.6, 0.6, (15, 600))
    force = water_force(x) + rng.normal(0, 30, x.shape)
    incomplete = mean_force(
        x.ravel(),
        (force + membrane_force(x) + APPLIED).ravel(),
        {"water": force.ravel()},
        EDGES,
        units=np.repeat(np.arange(15), 600),
    )
    found = barrier(incomplete, charge_e=CHARGE, field_V_per_nm=FIELD, towards=-1)
    assert found.closure.excludes(0.0)
    assert found.closure.value == pytest.approx(truth(-1)["membrane"], abs=1.5)
    whole = barrier(profile, charge_e=CHARGE, field_V_per_nm=FIELD, towards=-1)
    assert (whole.closure.low, whole.closure.high) == (0.0, 0.0)


def test_without_a_direction_from_lowest_to_highest() -> None:
    found = barrier(sampled(3), charge_e=CHARGE, field_V_per_nm=FIELD)
    x = np.linspace(-0.59, 0.59, 20001)
    energy = water_energy(x) + membrane_energy(x) - APPLIED * x
    assert found.total.value == pytest.approx(np.ptp(energy), abs=4)


def test_energy_that_only_falls_has_no_barrier() -> None:
    x = np.tile(np.linspace(-0.59, 0.59, 600), 5)
    profile = mean_force(
        x, np.full_like(x, 5.0), {"all": np.full_like(x, 5.0)}, EDGES,
        units=np.repeat(np.arange(5), 600),
    )  # fmt: skip
    found = barrier(profile, charge_e=1.0, field_V_per_nm=0.0, towards=1)
    for zero in (found.total, found.parts["all"]):
        assert (zero.value, zero.low, zero.high) == (0.0, 0.0, 0.0)
        assert zero.enough
        assert "downhill" in zero.method
    assert not np.isfinite(found.distance_nm.value)


def test_mean_force_and_its_band() -> None:
    profile = sampled(1, resamples=1000)
    assert profile.parts == ("water", "membrane")
    assert profile.samples.sum() == 15 * 600
    inside = (profile.total.low <= water_force(profile.x_nm) + membrane_force(profile.x_nm)
              + APPLIED) & (profile.total.high >= water_force(profile.x_nm)
                            + membrane_force(profile.x_nm) + APPLIED)  # fmt: skip
    assert inside.mean() > 0.85
    x, energies = pmf_band(profile)
    assert x[[0, -1]] == pytest.approx(profile.x_nm[[0, -1]])
    assert (energies.low[0], energies.value[0], energies.high[0]) == (0.0, 0.0, 0.0)
    assert (energies.high[1:] > energies.low[1:]).all()


def test_a_smooth_force_needs_no_more_than_every_other_position() -> None:
    profile = sampled(3)
    conditions = {"charge_e": CHARGE, "field_V_per_nm": FIELD, "towards": -1}
    whole = barrier(profile, **conditions).total.value
    first, second = every_other(profile)
    assert len(first.x_nm) == len(second.x_nm) == len(profile.x_nm) / 2
    assert set(first.x_nm) | set(second.x_nm) == set(profile.x_nm)
    for half in (first, second):
        assert barrier(half, **conditions).total.value == pytest.approx(whole, abs=4)


def test_gaps_and_empty_profiles_are_refused() -> None:
    x = np.concatenate([np.full(50, -0.3), np.full(50, 0.3)])
    units = np.tile(np.arange(5), 20)
    with pytest.raises(MeasureError, match="2 of 60 bins"):
        mean_force(x, x, {}, EDGES, units=units)
    with pytest.raises(MeasureError, match="0 of 60 bins"):
        mean_force(x, x, {}, EDGES, units=units, fewest=1000)


# --- conductance ------------------------------------------------------------------------

RT = 8.314462618e-3 * 300.0
OPEN = {"area_nm2": 0.8, "diffusion_nm2_per_ps": 2e-3, "concentration_per_nm3": 0.6,
        "temperature_K": 300.0}  # fmt: skip


def resistance_nm(G_nS: float) -> float:
    """Length of a flat pore with this conductance, in SI units throughout."""
    e, k = 1.602176634e-19, 1.380649e-23
    D, c, A = 2e-3 * 1e-6, 0.6e27, 0.8e-18
    return e**2 * D * c * A / (k * 300.0) / (G_nS * 1e-9) / 1e-9


@pytest.mark.parametrize(
    ("w", "expected_nm"),
    [
        (lambda x: 0 * x, 1.2),
        (lambda x: np.where(np.abs(x) < 0.2, 10.0, 0.0), 0.8 + 0.4 * np.exp(10.0 / RT)),
        (lambda x: np.where(np.abs(x) < 0.2, -10.0, 0.0), 0.8 + 0.4 * np.exp(-10.0 / RT)),
        (lambda x: 15.0 * (x + 0.6), RT / 15.0 * np.expm1(15.0 * 1.2 / RT)),
    ],
    ids=["flat", "barrier", "well", "slope"],
)
def test_conductance_of_known_potentials(w, expected_nm) -> None:
    x = np.linspace(-0.6, 0.6, 24001)
    assert resistance_nm(float(conductance(x, w(x), **OPEN))) == pytest.approx(
        expected_nm, rel=1e-3
    )
    two = conductance(x, np.stack([w(x), w(x) + RT * np.log(2)]), **OPEN)
    assert two[0] == pytest.approx(2 * two[1])


@pytest.mark.parametrize(("ion", "molar_S_cm2"), [("K", 73.48), ("Cl", 76.31)])
def test_a_flat_pore_conducts_as_its_solution(ion: str, molar_S_cm2: float) -> None:
    """Limiting molar conductivities of the ions, from measured conductances."""
    diffusion = read_yaml(paths.data_dir() / "reference" / "ions.yaml", "ions")["diffusion"]
    found = conductance(
        [0.0, 2.0], [0.0, 0.0], area_nm2=0.5, concentration_per_nm3=0.602214076,
        diffusion_nm2_per_ps=diffusion["nm2_per_ps"][ion], temperature_K=298.15,
    )  # fmt: skip
    per_m = molar_S_cm2 * 1e-4 * 1000.0  # 1 M is 1000 mol/m3
    assert float(found) == pytest.approx(per_m * 0.5e-18 / 2.0e-9 * 1e9, rel=1e-3)


def test_conductance_by_sampled_forces_comes_with_an_interval_that_holds_it() -> None:
    x = np.linspace(-0.59, 0.59, 2001)
    energy = water_energy(x) + membrane_energy(x)
    true = float(conductance(x, energy - energy[[0, -1]].mean(), **OPEN))
    widths = []
    for noise in (20.0, 200.0):
        held = [
            conductance_of(at_rest(seed, noise), **OPEN) for seed in range(12)
        ]  # fmt: skip
        assert sum(one.low < true < one.high for one in held) >= 9
        assert all(one.enough and one.low > 0 for one in held)
        widths.append(np.mean([np.log(one.high / one.low) for one in held]))
    assert widths[1] > 2 * widths[0]


def at_rest(seed: int, noise: float):
    """Windows without parts at no field: the whole force, five blocks of each."""
    rng = np.random.default_rng(seed)
    x, blocks = (
        a.ravel() for a in np.meshgrid(np.linspace(-0.59, 0.59, 60), np.repeat(range(5), 40))
    )
    total = water_force(x) + membrane_force(x) + rng.normal(0, noise, len(x))
    return mean_force(x, total, {}, np.linspace(-0.6, 0.6, 61), units=blocks, resamples=300)


def test_the_ends_of_a_potential_between_reservoirs_are_level() -> None:
    profile = at_rest(1, 20.0)
    x, w = pmf_between(profile)
    assert w[:, [0, -1]].mean(axis=1) == pytest.approx(0, abs=1e-9)
    truth = water_energy(x) + membrane_energy(x)
    assert w[0] == pytest.approx(truth - truth[[0, -1]].mean(), abs=0.5)
    assert profile.parts == ()
    assert profile.force_kJ_per_mol_nm.value.shape == (0, 60)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x_nm": [0.0, 0.0]}, "ascend"),
        ({"x_nm": [0.0]}, "two positions"),
        ({"area_nm2": 0.0}, "area_nm2 = 0 is not allowed"),
        ({"concentration_per_nm3": -1.0}, "concentration_per_nm3 = -1 is not"),
        ({"temperature_K": np.inf}, "temperature_K = inf"),
    ],
)
def test_conductance_of_nonsense_is_refused(changes, said) -> None:
    with pytest.raises(MeasureError, match=said):
        conductance(**{"x_nm": [0.0, 1.0], "w_kJ_per_mol": [0.0, 0.0], **OPEN, **changes})
