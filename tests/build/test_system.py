"""Solvated systems: neutral, free of overlaps, reproducible, whole, refused when wrong."""

import errno
import hashlib
import json
import threading
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from janus_pore.build import system as build
from janus_pore.build.forcefield import load_forcefield
from janus_pore.errors import BuildError, MissingInputError, SpecError
from janus_pore.spec import SystemSpec, load_profile

SMALL = {"cells_y": 6, "cells_z": 4, "length_x_nm": 3.2, "cutoff_nm": 0.9}
CHARGE_SETS = ("mosse", "mosse_symmetric", "mosse_polar", "uncharged", "mos2")


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def read_gro(text):
    lines = text.splitlines()
    atoms = lines[2:-1]
    assert int(lines[1]) == len(atoms)
    names = [(line[5:10].strip(), line[10:15].strip()) for line in atoms]
    positions = np.array([[float(line[20 + 11 * i : 31 + 11 * i]) for i in range(3)]
                          for line in atoms])  # fmt: skip
    return names, positions, np.array([float(edge) for edge in lines[-1].split()])


def topology_charges(text):
    """Charge of every atom of the system, exactly as written in the topology."""
    molecules, name, directive = {}, "", ""
    charges: list[Decimal] = []
    for line in text.splitlines():
        fields = line.split(";")[0].split()
        if not fields or fields[0].startswith("#"):
            continue
        if fields[0] == "[":
            directive = fields[1]
        elif directive == "moleculetype":
            name = fields[0]
        elif directive == "atoms":
            molecules.setdefault(name, []).append(Decimal(fields[6]))
        elif directive == "molecules":
            charges += molecules[fields[0]] * int(fields[1])
    return charges


@pytest.mark.parametrize("pore", ["hollow6", "bond4", "none"])
@pytest.mark.parametrize("charge_set", CHARGE_SETS)
def test_net_charge_is_zero(charge_set, pore):
    system = SystemSpec(**SMALL, charge_set=charge_set, pore=pore)
    files = build.system_files(system)
    charges = topology_charges(files["topol.top"])
    manifest = json.loads(files["manifest.json"])
    assert len(charges) == len(read_gro(files["conf.gro"])[0]) == manifest["atoms"]["Cl"][1]
    assert sum(charges) == 0
    assert manifest["net_charge_e"] == 0
    site = dict(zip(("metal", "minus", "plus"), "MSS", strict=True))
    assert {s: float(manifest["charges_e"][s]) for s in site} == pytest.approx(
        load_forcefield().charge_set(charge_set).charges_e
    )
    assert float(charges[0]) == manifest["charges_e"]["metal"]
    assert float(charges[manifest["atoms"]["membrane"][1] - 1]) == manifest["charges_e"]["plus"]


def test_same_specification_gives_the_same_bytes(tmp_path, monkeypatch):
    system = SystemSpec(**SMALL)
    first = build.build_system(system)
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path / "elsewhere"))
    second = build.build_system(system)
    assert first.dir != second.dir
    for name in ("conf.gro", "topol.top", "index.ndx", "manifest.json"):
        assert (first.dir / name).read_bytes() == (second.dir / name).read_bytes()
    other = build.system_files(SystemSpec(**SMALL, seed=2))
    assert other["conf.gro"] != first.gro.read_text()
    assert other["topol.top"] == first.top.read_text()


@pytest.mark.parametrize("pore", ["hollow6", "bond4", "none"])
def test_nothing_overlaps_and_ions_lie_in_the_reservoirs(pore):
    system = SystemSpec(**SMALL, pore=pore, concentration_M=2.0)
    files = build.system_files(system)
    names, positions, box = read_gro(files["conf.gro"])
    manifest = json.loads(files["manifest.json"])
    atoms = {name: slice(*ends) for name, ends in manifest["atoms"].items()}
    wrapped = np.mod(positions, box)
    walls = cKDTree(wrapped[atoms["membrane"]], boxsize=box)
    oxygens = wrapped[atoms["water"]][::3]
    ions = wrapped[atoms["K"].start : atoms["Cl"].stop]
    assert walls.query(oxygens)[0].min() > 0.289
    assert walls.query(wrapped[atoms["water"]])[0].min() > 0.18
    heavy = cKDTree(np.vstack([oxygens, ions]), boxsize=box)
    assert heavy.query(heavy.data, k=2)[0][:, 1].min() > 0.28
    assert cKDTree(ions, boxsize=box).query(ions, k=2)[0][:, 1].min() > 0.399
    molecule = np.concatenate([np.repeat(np.arange(len(oxygens)), 3),
                               len(oxygens) + np.arange(len(ions))])  # fmt: skip
    mobile = cKDTree(wrapped[atoms["water"].start :], boxsize=box)
    pairs = mobile.query_pairs(0.12, output_type="ndarray")
    assert (molecule[pairs[:, 0]] == molecule[pairs[:, 1]]).all()
    for species in ("K", "Cl"):
        from_plane = wrapped[atoms[species], 0] - box[0] / 2
        assert (np.abs(from_plane) > 0.79).all()
        assert (from_plane < 0).sum() == (from_plane > 0).sum() > 0
        assert {names[i] for i in range(atoms[species].start, atoms[species].stop)} == {
            (species.upper(), species.upper())
        }


def test_water_fills_the_pore_and_is_rigid():
    system = SystemSpec(**SMALL)
    files = build.system_files(system)
    names, positions, box = read_gro(files["conf.gro"])
    manifest = json.loads(files["manifest.json"])
    start, stop = manifest["atoms"]["water"]
    assert {n for n, _ in names[start:stop]} == {"SOL"}
    assert [n for _, n in names[start : start + 6]] == ["OW", "HW1", "HW2"] * 2
    water = positions[start:stop].reshape(-1, 3, 3)
    assert np.linalg.norm(water[:, 1] - water[:, 0], axis=1) == pytest.approx(0.1, abs=2e-6)
    assert np.linalg.norm(water[:, 2] - water[:, 0], axis=1) == pytest.approx(0.1, abs=2e-6)
    assert np.linalg.norm(water[:, 2] - water[:, 1], axis=1) == pytest.approx(0.1633, abs=2e-6)
    # random orientations: the mean of n unit vectors is of order 1/sqrt(n)
    axes = water[:, 1:].mean(axis=1) - water[:, 0]
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    assert np.abs(axes.mean(axis=0)).max() < 4 / np.sqrt(3 * len(axes))
    offset = water[:, 0] - [manifest["pore"]["x_nm"], *manifest["pore"]["centre_yz_nm"]]
    assert ((np.abs(offset[:, 0]) < 0.2) & (np.hypot(*offset[:, 1:].T) < 0.3)).sum() >= 1
    assert box == pytest.approx([3.2, 1.95, 2.251666], abs=1e-6)


def test_manifest_and_index_describe_the_files():
    system = SystemSpec(**SMALL)
    built = build.build_system(system)
    on_disk = json.loads((built.dir / "manifest.json").read_text())
    on_disk.pop("checksum")
    assert built.manifest == on_disk
    assert built.spec == system == SystemSpec(**on_disk["spec"])
    assert on_disk["kind"] == "system"
    assert on_disk["key"].startswith(built.dir.parent.name.rpartition("-")[2])
    assert on_disk["pore"]["edge_diameters_nm"] == pytest.approx(
        {"min": 0.992891, "mean": 0.992891, "max": 0.992891}
    )
    for name, checksum in on_disk["files"].items():
        assert hashlib.sha256((built.dir / name).read_bytes()).hexdigest() == checksum
    groups, name = {}, ""
    for line in built.ndx.read_text().splitlines():
        assert len(line) < 4096
        if line.startswith("["):
            name = line.strip("[] ")
            groups[name] = []
        else:
            groups[name] += [int(i) for i in line.split()]
    atoms = on_disk["atoms"]
    expected = {
        "System": (0, atoms["Cl"][1]),
        "Membrane": atoms["membrane"],
        "Water": atoms["water"],
        "K": atoms["K"],
        "Cl": atoms["Cl"],
        "Ions": (atoms["K"][0], atoms["Cl"][1]),
        "Mobile": (atoms["water"][0], atoms["Cl"][1]),
    }
    assert groups == {n: list(range(a + 1, b + 1)) for n, (a, b) in expected.items()}


def test_counts_follow_density_and_concentration():
    system = SystemSpec(**SMALL, pore="none")
    density = json.loads(build.system_files(system)["manifest.json"])["density"]
    volume = density["accessible_volume_nm3"]
    per_nm3 = 0.997 / 18.0154 * 602.214076
    assert density["n_water"] + density["n_ions"] == round(volume * per_nm3)
    assert density["n_ions"] == 4 * round(0.602214 * volume / 2)
    assert density["concentration_M"] == pytest.approx(
        density["n_ions"] / 2 / 0.602214 / volume, abs=1e-3
    )
    denser = SystemSpec(**SMALL, pore="none", bulk_density_g_per_cm3=1.1)
    more = json.loads(build.system_files(denser)["manifest.json"])["density"]
    assert (more["n_water"] + more["n_ions"]) / (density["n_water"] + density["n_ions"]) == (
        pytest.approx(1.1 / 0.997, rel=4e-3)
    )


def test_pure_water_has_no_ions():
    files = build.system_files(SystemSpec(**SMALL, concentration_M=0))
    assert json.loads(files["manifest.json"])["density"]["n_ions"] == 0
    assert "\nK " not in files["topol.top"].split("[ molecules ]")[1]


def test_restrained_membrane_has_springs_and_a_frozen_one_none():
    frozen = build.system_files(SystemSpec(**SMALL))["topol.top"]
    assert "position_restraints" not in frozen
    restrained = build.system_files(SystemSpec(**SMALL, membrane="restrained"))["topol.top"]
    springs = restrained.split("[ position_restraints ]")[1].split("[")[0].split("\n")
    springs = [line.split() for line in springs if line]
    assert [int(s[0]) for s in springs] == list(range(1, 127))
    assert {tuple(s[1:]) for s in springs} == {("1", "100000", "100000", "100000")}


def test_accessible_volume_of_one_atom_and_of_two_apart():
    box = np.array([3.0, 2.0, 2.0])
    sphere = 4 / 3 * np.pi * 0.4**3
    one = np.array([[1.5, 0.1, 1.9]])  # across the boundaries
    assert build.accessible_volume_nm3(one, box, 0.4) == pytest.approx(12 - sphere, abs=5e-3)
    two = np.vstack([one, [[1.6, 1.1, 0.9]]])
    assert build.accessible_volume_nm3(two, box, 0.4) == pytest.approx(12 - 2 * sphere, abs=5e-3)


def test_bulk_density_counts_molecules_in_the_bulk():
    """Waters at known places: 30 of 40 in the bulk, one K in, one Cl out."""
    box = np.array([6.0, 2.0, 2.0])
    x = np.r_[np.linspace(4.1, 5.9, 30), np.full(10, 3.5)]
    positions = np.zeros((122, 3))
    positions[:120] = np.repeat(x, 3)[:, None]
    positions[1:120:3, 0] = 3.0  # hydrogens do not count
    positions[120, 0] = 0.5
    positions[121, 0] = 2.5
    manifest = {
        "atoms": {"water": [0, 120], "K": [120, 121], "Cl": [121, 122]},
        "pore": {"x_nm": 3.0},
    }
    shifted = positions + np.array([6.0, 0, 0])  # one box further: unwrapped positions count alike
    emptier = positions.copy()
    emptier[0, 0] = 3.0
    found = build.bulk_density([positions, shifted, emptier], box, manifest)
    unit = 1.66053907e-3 / 16
    water = 18.0154 * (30 + 30 + 29) / 3
    assert found.water_g_per_cm3 == pytest.approx(unit * water)
    assert found.solvent_equivalent_g_per_cm3 == pytest.approx(unit * (water + 18.0154))
    assert found.total_g_per_cm3 == pytest.approx(unit * (water + 39.0983))
    # three values a, a, a - d: standard error of the mean d/3
    assert found.water_error_g_per_cm3 == pytest.approx(unit * 18.0154 / 3)
    assert found.frames == 3
    with pytest.raises(BuildError, match="at least one frame"):
        build.bulk_density([], box, manifest)
    with pytest.raises(BuildError, match=r"length_x_nm = 2.4 nm leaves no bulk"):
        build.bulk_density([positions], np.array([2.4, 2.0, 2.0]), manifest)


def test_a_concentration_that_would_be_none_is_refused():
    small = load_profile("tiny").system
    for wanted in (0.05, 0.1):
        with pytest.raises(BuildError, match=r"less than half an ion pair .* is 0.294 mol/L here"):
            build.system_files(small.model_copy(update={"concentration_M": wanted}))
    files = build.system_files(small.model_copy(update={"concentration_M": 0.0}))
    assert json.loads(files["manifest.json"])["density"]["n_ions"] == 0


def test_calibration_inverts_the_builder():
    """A system at exactly its target has the radius that it was built with."""
    built = build.build_system(SystemSpec(**SMALL, pore="none"))

    def measured(density):
        return build.BulkDensity(density, density, density, 0, 0, 0, 1)

    shipped = load_forcefield().charge_set("mosse").exclusion_radius_nm
    assert build.calibrated_radius_nm(built, measured(0.997)) == pytest.approx(shipped, abs=2e-3)
    # too dense: the spheres took more room than was counted for them
    assert build.calibrated_radius_nm(built, measured(1.02)) > shipped + 5e-3
    with pytest.raises(BuildError, match=r"no exclusion radius.*0\.200 g/cm3"):
        build.calibrated_radius_nm(built, measured(0.2))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"cells_y": 5}, BuildError, r"cells_y = 5.*1\.625 nm along y.*cells_y >= 6"),
        ({"cells_z": 3}, BuildError, r"cells_z = 3.*1\.689 nm along z.*cells_z >= 4"),
        ({"pore": "hollow18"}, BuildError, r"hollow18.*does not fit.*1\.950 x 2\.252"),
        ({"pore": "hollow7"}, BuildError, r"cut a shell"),
        ({"charge_set": "graphene"}, SpecError, r"'graphene'.*mosse_polar"),
        ({"chalcogen_lj": "nobody"}, SpecError, r"'nobody'.*liang, stewart"),
        ({"charges_e": (1.0, -0.5, -0.4999995)}, SpecError, r"not neutral"),
    ],
)
def test_bad_input_is_refused_and_nothing_written(runs, changes, error, message):
    with pytest.raises(error, match=message):
        build.build_system(SystemSpec(**{**SMALL, **changes}))
    assert not runs.exists()


def test_ions_that_do_not_fit_are_refused(runs):
    with pytest.raises(BuildError, match=r"ions fit one reservoir.*concentration_M"):
        build.build_system(SystemSpec(**{**SMALL, "length_x_nm": 1.95, "concentration_M": 4}))
    assert not runs.exists()


def test_unwritable_directory_is_named(tmp_path, monkeypatch):
    occupied = tmp_path / "occupied"
    occupied.write_text("a file where a directory should be")
    monkeypatch.setenv("JANUS_PORE_RUNS", str(occupied))
    with pytest.raises(BuildError, match=r"occupied.*cannot be written.*JANUS_PORE_RUNS"):
        build.build_system(SystemSpec(**SMALL))
    assert occupied.read_text() == "a file where a directory should be"


def test_full_disk_is_named_and_leaves_nothing(runs, monkeypatch):
    write_text = Path.write_text

    def full(self, text, *args, **keywords):
        if self.name == "topol.top":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(self, text, *args, **keywords)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(BuildError, match=r"cannot be written: No space left on device"):
        build.build_system(SystemSpec(**SMALL))
    assert list(runs.iterdir()) == []
    monkeypatch.undo()


def test_finished_system_is_returned_and_not_rebuilt(monkeypatch):
    system = SystemSpec(**SMALL)
    first = build.build_system(system)
    monkeypatch.setattr(build, "system_files", lambda _: pytest.fail("built again"))
    assert build.build_system(system) == build.open_system(system) == first


@pytest.mark.parametrize("name", ["conf.gro", "topol.top", "index.ndx", "manifest.json"])
def test_damage_is_named_and_never_reused(name):
    system = SystemSpec(**SMALL)
    built = build.build_system(system)
    (built.dir / name).write_bytes((built.dir / name).read_bytes()[:-200])
    expected = "manifest" if name == "manifest.json" else f"damaged: {name}"
    for use in (build.build_system, build.open_system):
        with pytest.raises(BuildError, match=rf"{expected}.*remove the directory"):
            use(system)
    (built.dir / name).unlink()
    with pytest.raises(BuildError, match=r"remove the directory"):
        build.open_system(system)


def test_changed_manifest_is_noticed():
    system = SystemSpec(**SMALL)
    path = build.build_system(system).dir / "manifest.json"
    path.write_text(path.read_text().replace('"x_nm": 1.6', '"x_nm": 1.7'))
    with pytest.raises(BuildError, match=r"damaged: manifest\.json was changed"):
        build.build_system(system)
    path.write_text("[]")
    with pytest.raises(BuildError, match=r"no readable manifest"):
        build.build_system(system)


def test_remains_of_a_killed_builder_are_removed():
    system = SystemSpec(**SMALL)
    remains = build.system_dir(system).parent / ".system-abandoned"
    remains.mkdir(parents=True)
    (remains / "conf.gro").write_text("half")
    build.build_system(system)
    assert not remains.exists()


def test_system_of_another_specification_is_not_taken_for_this_one():
    system, other = SystemSpec(**SMALL), SystemSpec(**SMALL, seed=2)
    built = build.build_system(system)
    build.system_dir(other).parent.mkdir(parents=True)
    built.dir.rename(build.system_dir(other))
    with pytest.raises(BuildError, match=r"belongs to another specification"):
        build.open_system(other)


def test_missing_system_names_what_makes_it():
    with pytest.raises(MissingInputError, match=r"01_build"):
        build.open_system(SystemSpec(**SMALL))


def test_builders_at_once_give_one_system(runs):
    system = SystemSpec(**SMALL)
    found, start = [], threading.Barrier(4)

    def work():
        start.wait()
        found.append(build.build_system(system))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len({b.manifest["key"] for b in found}) == 1
    names = {p.name for p in build.system_dir(system).parent.iterdir()}
    assert names <= {"system", "system.lock"}


def test_key_depends_on_what_is_built():
    keys = {
        build.system_key(SystemSpec(**SMALL, **change))
        for change in ({}, {"seed": 2}, {"pore": "bond4"}, {"membrane": "restrained"})
    }
    assert len(keys) == 4
