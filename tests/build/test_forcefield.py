"""The force field file, its validation, and the topology made of it."""

import copy

import pytest
import yaml

from janus_pore import paths
from janus_pore.build import forcefield as ff
from janus_pore.build.membrane import build_membrane
from janus_pore.errors import SpecError
from janus_pore.spec import SystemSpec


@pytest.fixture
def data():
    return yaml.safe_load((paths.data_dir() / "forcefield.yaml").read_text(encoding="utf-8"))


def load(data, tmp_path):
    path = tmp_path / "forcefield.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return ff.load_forcefield(path)


def directives(text):
    """Topology as {directive: [fields of each line]}, several of one name joined."""
    out, name = {}, ""
    for line in text.splitlines():
        content = line.split(";")[0].strip()
        if content.startswith("["):
            name = content.strip("[] ")
            out.setdefault(name, [])
        elif content and not content.startswith("#"):
            out[name].append(content.split())
    return out


def test_published_charges():
    sets = ff.load_forcefield().charge_sets
    found = {name: tuple(s.charges_e[site] for site in ff.SITES) for name, s in sets.items()}
    assert found == {  # Mo, Se side, S side
        "mosse": (1.06, -0.45, -0.61),
        "mosse_symmetric": (1.06, -0.53, -0.53),
        "mosse_polar": (1.06, -0.35, -0.71),
        "uncharged": (0, 0, 0),
        "mos2": (1.18, -0.59, -0.59),
    }


@pytest.mark.parametrize(
    ("where", "rmin_half_angstrom", "kcal"),
    [  # as the original publications give them
        (("ions", "K"), 1.593, 0.4297054),
        (("ions", "Cl"), 2.711, 0.0127850),
        (("membrane_lj", "elements", "Se"), 2.175, 0.623),
    ],
)
def test_parameters_in_other_units(data, where, rmin_half_angstrom, kcal):
    for name in where:
        data = data[name]
    assert data["sigma_nm"] == pytest.approx(rmin_half_angstrom / 5 / 2 ** (1 / 6), rel=1e-5)
    assert data["epsilon_kJ_per_mol"] == pytest.approx(4.184 * kcal, rel=2e-5)


def test_digest_follows_numbers_and_not_words(data, tmp_path):
    reworded = copy.deepcopy(data)
    reworded["charge_sets"]["mosse"]["source"] = "elsewhere"
    changed = copy.deepcopy(data)
    changed["membrane_lj"]["variants"]["liang"]["S"]["epsilon_kJ_per_mol"] += 1e-4
    (tmp_path / "a").mkdir()
    assert ff.digest(load(reworded, tmp_path / "a")) == ff.digest()
    assert ff.digest(load(changed, tmp_path)) != ff.digest()


def test_every_parameter_names_its_source(data, tmp_path):
    for where in (
        ("lattices", "mosse"),
        ("charge_sets", "mos2"),
        ("membrane_lj", "elements", "Mo"),
        ("membrane_lj", "variants", "stewart", "S"),
        ("water",),
        ("ions", "K"),
    ):
        broken = copy.deepcopy(data)
        entry = broken
        for name in where:
            entry = entry[name]
        del entry["source"]
        path = tmp_path / "-".join(where)
        path.mkdir()
        with pytest.raises(SpecError, match=r"source is missing"):
            load(broken, path)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("charge_sets", "mosse", "charges_e", "plus"), -0.60, r"mosse.*not neutral.*\+0\.01 e"),
        (("charge_sets", "mosse", "lattice"), "graphene", r"'graphene'.*mosse, mos2"),
        (("charge_sets", "mos2", "elements", "plus"), "Te", r"mass for Te"),
        (("lattices", "mosse", "bond_plus_nm"), 0.18, r"not longer than its projection"),
        (("ions", "K", "sigma_nm"), -0.3, r"ions\.K\.sigma_nm = -0\.3"),
        (("water", "oxygen", "charge_e"), -0.8, r"add to zero"),
        (("water", "colour"), "blue", r"water\.colour is not a parameter"),
    ],
)
def test_wrong_force_fields_are_refused(data, tmp_path, where, value, message):
    entry = data
    for name in where[:-1]:
        entry = entry[name]
    entry[where[-1]] = value
    with pytest.raises(SpecError, match=message):
        load(data, tmp_path)


def test_unreadable_force_field_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"nowhere\.yaml cannot be read"):
        ff.load_forcefield(tmp_path / "nowhere.yaml")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    with pytest.raises(SpecError, match=r"holds a list: write lines"):
        ff.load_forcefield(tmp_path / "list.yaml")


def test_unknown_variant_names_the_known_ones():
    with pytest.raises(SpecError, match=r"chalcogen_lj = 'nobody'.*liang, stewart"):
        ff.load_forcefield().lennard_jones("nobody")


def test_override_of_charges_must_be_exactly_neutral():
    force = ff.load_forcefield()
    found = force.charges_e(SystemSpec(charges_e=(0.9, -0.5, -0.4)))
    assert found == {"metal": 0.9, "minus": -0.5, "plus": -0.4}
    # within the tolerance of the specification, but hundreds of units would add up
    with pytest.raises(SpecError, match=r"not neutral.*5E-7 e"):
        force.charges_e(SystemSpec(charges_e=(0.9, -0.5, -0.3999995)))


def test_topology_chooses_the_variant():
    counts = {"SOL": 10, "K": 2, "CL": 2}
    for variant, epsilon in (("liang", "1.929700"), ("stewart", "1.337300")):
        system = SystemSpec(cells_y=6, cells_z=4, cutoff_nm=0.9, chalcogen_lj=variant)
        types = directives(ff.topology(build_membrane(system), system, counts))["atomtypes"]
        assert [t[5] for t in types if t[0] == "S_mem"] == [epsilon]


def test_topology_counts_molecules_and_omits_absent_ones():
    system = SystemSpec(pore="none")
    text = ff.topology(build_membrane(system), system, {"SOL": 10, "K": 0, "CL": 0})
    assert directives(text)["molecules"] == [["MEM", "1"], ["SOL", "10"]]
    assert max(map(len, text.splitlines())) < 4096


def test_exclusions_are_the_pairs_one_or_two_bonds_apart():
    system = SystemSpec(pore="none")
    membrane = build_membrane(system)
    pairs = ff.near_pairs(membrane, ff.load_forcefield().membrane.exclusion_distance_nm)
    # a metal has 6 bonds and 6 metals beyond them; a chalcogen has 3 bonds, 6 chalcogens
    # of its layer and the one across: per formula unit (12 + 2 * 10) / 2
    assert len(pairs) == 288 * 16
    lines = directives(ff.topology(membrane, system, {"SOL": 0, "K": 0, "CL": 0}))["exclusions"]
    written = {(int(i) - 1, int(j) - 1) for i, *js in lines[:-3] for j in js}
    assert written == pairs
