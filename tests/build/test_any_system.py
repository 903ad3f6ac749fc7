"""Any specification builds a neutral system without overlaps, or says why not."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from janus_pore.build.forcefield import load_forcefield
from janus_pore.build.system import DALTON_PER_NM3, system_files
from janus_pore.errors import BuildError, SpecError
from janus_pore.spec import SystemSpec

CLOSEST_nm = 0.2
"""Between atoms with a Lennard-Jones core, as they are placed. Minimisation mends the rest."""

PORES = st.sampled_from(["none", "bond4", "hollow6", "hollow12"]) | st.builds(
    "{}{}".format, st.sampled_from(["hollow", "bond", "metal", "chalcogen"]), st.integers(1, 14)
)
SPECS = st.builds(
    SystemSpec,
    charge_set=st.sampled_from(sorted(load_forcefield().charge_sets)),
    chalcogen_lj=st.sampled_from(sorted(load_forcefield().membrane_lj.variants)),
    pore=PORES,
    cells_y=st.integers(6, 12),
    cells_z=st.integers(4, 8),
    length_x_nm=st.floats(2.0, 6.0),
    concentration_M=st.floats(0, 2),
    bulk_density_g_per_cm3=st.floats(0.9, 1.1),
    cutoff_nm=st.floats(0.8, 0.95),
    membrane=st.sampled_from(["frozen", "restrained"]),
    seed=st.integers(1, 2**31 - 1),
)


def atoms(gro: str) -> Iterator[tuple[str, list[float]]]:
    """Names and positions in nm."""
    for line in gro.splitlines()[2:-1]:
        yield line[10:15].strip(), [float(line[i : i + 11]) for i in (20, 31, 42)]


@given(SPECS)
@settings(max_examples=30, deadline=None)
def test_any_system_is_neutral_dense_and_free_of_overlaps_or_refused(spec: SystemSpec) -> None:
    try:
        files = system_files(spec)
    except (BuildError, SpecError):
        return
    manifest = json.loads(files["manifest.json"])
    assert manifest["net_charge_e"] == 0
    assert manifest["atoms"]["K"][1] - manifest["atoms"]["K"][0] == len(
        range(*manifest["atoms"]["Cl"])
    )
    counts = manifest["density"]
    mass = (counts["n_water"] + counts["n_ions"]) * load_forcefield().water.mass_u
    density = mass * DALTON_PER_NM3 / counts["accessible_volume_nm3"]
    one = load_forcefield().water.mass_u * DALTON_PER_NM3 / counts["accessible_volume_nm3"]
    assert density == pytest.approx(spec.bulk_density_g_per_cm3, abs=0.51 * one)
    heavy = np.array([xyz for name, xyz in atoms(files["conf.gro"]) if name[:2] != "HW"])
    box = np.array(manifest["box_nm"])
    tree = cKDTree(np.mod(heavy, box), boxsize=box)
    distance, _ = tree.query(np.mod(heavy, box), k=2)
    assert distance[:, 1].min() > CLOSEST_nm
    assert system_files(spec) == files


def test_the_search_meets_systems_that_can_be_built() -> None:
    """Else the test above would say nothing."""
    built = []

    @given(SPECS)
    @settings(max_examples=30, deadline=None, database=None, derandomize=True)
    def search(spec: SystemSpec) -> None:
        try:
            built.append(len(system_files(spec)["conf.gro"]))
        except (BuildError, SpecError):
            built.append(0)

    search()
    assert sum(map(bool, built)) >= 5
