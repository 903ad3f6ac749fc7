"""Windows on real dynamics: where the ion is, and what its force is made of."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr
import yaml
from MDAnalysis.lib.formats.libmdaxdr import TRRFile, XTCFile
from scipy.special import erfcinv

from janus_pore import spec
from janus_pore.build.forcefield import load_forcefield
from janus_pore.build.system import BuiltSystem, build_system, open_system
from janus_pore.drive import decompose, ensemble, gromacs, windows
from janus_pore.drive.__main__ import main as command
from janus_pore.drive.decompose import PARTS, Forces
from janus_pore.errors import MeasureError, MissingInputError, SpecError
from janus_pore.measure.barrier import KJ_PER_MOL_PER_E_V

FEW = {
    "fields_V_per_nm": {"Cl": [0.4]}, "from_nm": 0.0, "to_nm": 0.1, "spacing_nm": 0.1,
    "charge_ps": 0.1, "equilibrate_ps": 0.1, "sample_ps": 0.2, "frame_ps": 0.05, "blocks": 1,
}  # fmt: skip


def with_windows(profile: spec.Profile, **changes) -> spec.Profile:
    return profile.model_copy(update={"windows": spec.Windows(**{**FEW, **changes})})


class Made(NamedTuple):
    """Windows that were run, and one of their frames."""

    profile: spec.Profile
    built: BuiltSystem
    records: list[windows.WindowRecord]
    gmx: gromacs.Gmx
    scratch: Path


@pytest.fixture(scope="module")
def made(equilibrated: Path, tiny: spec.Profile, tmp_path_factory) -> Iterator[Made]:
    profile = with_windows(tiny)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JANUS_PORE_RUNS", str(equilibrated))
        built = open_system(profile.system)
        with pytest.raises(MissingInputError, match=r"lacks 2 of 2 windows.*run_windows"):
            windows.open_windows(profile)
        path = tmp_path_factory.mktemp("profile") / "few.yaml"
        path.write_text(yaml.safe_dump(profile.model_dump(mode="json")))
        assert command(["windows", str(path)]) == 0
        records = windows.open_windows(profile)
        yield Made(profile, built, records, gromacs.find_gmx(), tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="module")
def frames(made: Made) -> tuple[Path, int]:
    """Two frames of all atoms with a chloride in the pore, and that chloride's number."""
    start, structure = made.scratch / "start.trr", made.scratch / "frames.xtc"
    window = made.records[0].path
    made.gmx.run(["trjconv", "-f", window / "state.cpt", "-o", start], cwd=made.scratch,
                 stdin="0\n")  # fmt: skip
    with TRRFile(str(start)) as trr:
        frame = trr.read()
    with XTCFile(str(structure), "w") as xtc:
        xtc.write(frame.x, frame.box, 0, 0.0, 1e6)
        shifted = frame.x + np.float32(0.03)
        xtc.write(shifted, frame.box, 1, 1.0, 1e6)
    with xr.open_dataset(made.records[0].series) as series:
        return structure, int(series.attrs["held_atom"])


@pytest.fixture(scope="module")
def forces(made: Made, frames: tuple[Path, int]) -> Forces:
    xtc, atom = frames
    return decompose.decompose(
        made.gmx, made.built, made.profile.run, xtc, atom, scratch=made.scratch
    )


# --- windows ----------------------------------------------------------------------------


@pytest.mark.gromacs
def test_the_ion_stays_at_its_place_along_x_and_moves_across(made):
    assert [r.x_nm for r in made.records] == [0.0, 0.1]
    for record in made.records:
        with xr.open_dataset(record.series) as series:
            position = series["position"].values
        assert np.allclose(series["time"], np.arange(7) * 0.05, atol=1e-5)
        assert position[:, 0] == pytest.approx(record.x_nm, abs=1e-4)
        assert np.ptp(position[:, 1:], axis=0).min() > 1e-3
        assert np.hypot(*position[:, 1:].T).max() < 0.5
        manifest = json.loads((record.path / "manifest.json").read_text())
        assert manifest["held_x_nm"] == record.x_nm
        assert manifest["field"]["E0_V_per_nm"] == pytest.approx(0.4 * 8.0 / 3.2)
        # the field has charged the membrane before, once for both
        (charging,) = made.built.dir.parent.rglob(f"{manifest['parent']}/manifest.json")
        before = json.loads(charging.read_text())
        assert before["kind_of_run"] == "drive"
        assert before["duration_ps"] == pytest.approx(0.1)
        assert before["field"]["E0_V_per_nm"] == pytest.approx(0.4 * 8.0 / 3.2)
        assert not list(record.path.glob("*.xtc"))
        # of a Cl- the ion is no part of the key
        found = (manifest["parent"], manifest["history"], record.x_nm, windows.PLACING)
        assert record.path.name == spec.key("window", *found)


@pytest.mark.gromacs
def test_every_window_says_how_well_its_parts_add_up(made):
    for record in made.records:
        with xr.open_dataset(record.series) as series:
            left = series["total"] - series["parts"].sum("part")
            assert float(np.abs(left).max()) < windows.REPORTED_KJ_PER_MOL_NM
            assert series.attrs["residual_rms_kJ_per_mol_nm"] < 0.01
            assert float(np.abs(series["parts"]).max()) > 10.0


@pytest.mark.gromacs
def test_windows_are_found_again_and_a_new_one_costs_only_itself(made):
    def state():
        return {p: p.stat().st_mtime_ns for p in made.built.dir.parent.rglob("series.nc")}

    before = state()
    windows.run_windows(made.profile, progress=False)
    assert state() == before
    more = with_windows(made.profile, to_nm=0.2)
    with pytest.raises(MissingInputError, match="lacks 1 of 3"):
        windows.open_windows(more)
    windows.run_windows(more, progress=False)
    assert before.items() < state().items()
    assert len(state()) == len(before) + 1


@pytest.mark.gromacs
def test_potassium_is_held_as_well_and_its_force_stays_whole(made):
    profile = with_windows(made.profile, fields_V_per_nm={"K": [0.4]}, to_nm=0.1)
    (first, second) = windows.run_windows(profile, progress=False)
    assert first.path not in {r.path for r in made.records}
    for record in (first, second):
        assert record.ion == "K"
        with xr.open_dataset(record.series) as series:
            assert set(series.data_vars) == {"total", "position"}
            assert series.attrs["held_ion"] == "K"
            assert series["position"].values[:, 0] == pytest.approx(record.x_nm, abs=1e-4)
            atom = int(series.attrs["held_atom"])
        assert atom in range(*made.built.manifest["atoms"]["K"])
        assert json.loads((record.path / "manifest.json").read_text())["held_ion"] == "K"


@pytest.mark.gromacs
def test_a_damaged_window_is_made_again(made, caplog):
    record = made.records[1]
    record.series.write_bytes(record.series.read_bytes()[:-5])
    with pytest.raises(MissingInputError, match="lacks 1 of 2"):
        windows.open_windows(made.profile)
    assert "is damaged" in caplog.text
    windows.run_windows(made.profile, progress=False)
    with xr.open_dataset(record.series) as series:
        assert series.sizes["time"] == 7


@pytest.mark.parametrize("ion", ["K", "Cl"])
def test_exchange_keeps_every_molecule_whole_and_everything_else_in_place(ion, tiny, tmp_path,
                                                                         monkeypatch):  # fmt: skip
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    built = build_system(tiny.system)
    lines = built.gro.read_text().splitlines()[2:-1]
    width = lines[0].index(".", lines[0].index(".") + 1) - lines[0].index(".")
    before = np.array([[float(s[20 + k * width : 20 + (k + 1) * width]) for k in range(3)]
                       for s in lines])  # fmt: skip
    after, atom, moved = windows.exchange(before, built.manifest, ion, 0.15)
    changed = np.flatnonzero((before != after).any(axis=1))
    first, stop = built.manifest["atoms"][ion]
    assert first <= atom < stop
    assert moved > 0.5
    *water, moved_atom = changed.tolist()
    assert moved_atom == atom
    assert len(water) == 3
    assert (water[0] - built.manifest["atoms"]["water"][0]) % 3 == 0
    box = np.array(built.manifest["box_nm"])
    assert after[atom, 0] == pytest.approx(built.manifest["pore"]["x_nm"] + 0.15)
    assert after[water[0]] == pytest.approx(before[atom])

    def shape(points):
        legs = points[1:] - points[0]
        return legs - box * np.rint(legs / box)

    assert shape(after[water]) == pytest.approx(shape(before[water]))
    # An ion that is nearest to the place itself moves alone.
    again, same, step = windows.exchange(after, built.manifest, ion, 0.16)
    assert same == atom
    assert np.flatnonzero((again != after).any(axis=1)).tolist() == [atom]
    assert step == pytest.approx(0.01)


def test_windows_that_cannot_be_are_refused(tiny):
    with pytest.raises(SpecError, match="no windows"):
        windows.asked_for(tiny.model_copy(update={"windows": None}))
    solid = tiny.model_copy(update={"system": tiny.system.model_copy(update={"pore": "none"})})
    with pytest.raises(SpecError, match="choose a pore"):
        windows.asked_for(with_windows(solid))


def test_cost_counts_every_window(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    alone = tiny.model_copy(update=spec.ALONE)
    chosen = with_windows(
        alone, fields_V_per_nm={"Cl": [0.2, 0.4]}, to_nm=0.3, replicas=3, charge_ps=0.2
    )
    assert windows.simulated_ns(chosen) == pytest.approx(2 * 3 * (0.2e-3 + 4 * 0.3e-3))
    planned = ensemble.plan(chosen, measure=False)[-1]
    assert (planned.stage, planned.runs) == ("windows", 24)
    # and the settling of the replica that no protocol needs
    assert planned.ns == pytest.approx(windows.simulated_ns(chosen) + chosen.run.settle_ps / 1000)
    assert ensemble.plan(chosen, ["sine"], measure=False)[-1].stage == "sine"
    odd = with_windows(alone, charge_ps=0.21)
    with pytest.raises(SpecError, match=r"windows\.charge_ps = 0\.21 ps is not a multiple"):
        ensemble.plan(odd, measure=False)
    solid = chosen.model_copy(update={"system": tiny.system.model_copy(update={"pore": "none"})})
    assert "windows" not in [c.stage for c in ensemble.plan(solid, measure=False)]


# --- the parts of a force ---------------------------------------------------------------


def ordinary(made: Made, xtc: Path, atom: int, **changes: str) -> list[float]:
    """Forces along x with the whole topology, as it drives the dynamics."""
    options = gromacs.physics_options(made.built.spec, made.profile.run)
    options |= {"nstlist": "1", "verlet-buffer-tolerance": "-1", "rlist": options["rvdw"],
                "nsteps": "0", "nstfout": "1", "nstxout": "1", "continuation": "yes",
                **changes}  # fmt: skip
    tpr = made.scratch / "ordinary.tpr"
    gromacs.grompp(made.gmx, options, conf=made.built.gro, top=made.built.top,
                   ndx=made.built.ndx, tpr=tpr)  # fmt: skip
    made.gmx.run(["mdrun", "-s", tpr, "-rerun", xtc, "-deffnm", "ordinary", "-ntmpi", "1",
                  "-ntomp", "1"], cwd=made.scratch)  # fmt: skip
    with TRRFile(str(made.scratch / "ordinary.trr")) as trr:
        return [float(frame.f[atom, 0]) for frame in trr]


@pytest.mark.gromacs
def test_the_parts_and_the_field_add_up_to_what_an_ordinary_run_feels(made, frames, forces):
    made_of = forces.parts.sum(axis=0) - 0.5 * KJ_PER_MOL_PER_E_V
    on = {"electric-field-x": "0.5 0 0 0"}
    assert made_of == pytest.approx(ordinary(made, *frames, **decompose.MESH, **on), abs=0.01)
    # The mesh of the dynamics is coarser: 2.4 was seen, by where the ion is in a cell.
    assert made_of == pytest.approx(ordinary(made, *frames, **on), abs=5.0)
    assert np.abs(forces.residual).max() < 0.01
    # A part lost or counted twice would show: each is far above the tolerance of the sum.
    strong = np.abs(forces.parts).max(axis=1) > 50 * 0.01
    assert strong[[PARTS.index(name) for name in PARTS if name != "ion_vdw"]].all()


@pytest.mark.gromacs
def test_a_potassium_feels_what_it_does_in_an_ordinary_run(made, frames):
    xtc, _ = frames
    atom = made.built.manifest["atoms"]["K"][0] + 1
    split, whole = (
        decompose.decompose(made.gmx, made.built, made.profile.run, xtc, atom,
                            scratch=made.scratch, split=split) for split in (True, False)
    )  # fmt: skip
    assert whole.total == pytest.approx(ordinary(made, xtc, atom, **decompose.MESH), abs=0.01)
    assert whole.total.tolist() == split.total.tolist()
    assert whole.parts.shape == (0, 2)
    assert np.abs(split.residual).max() < 0.01


@pytest.mark.gromacs
def test_a_damaged_run_input_of_a_rerun_is_made_again(made, frames, caplog):
    _, atom = frames
    asked = (made.gmx, made.built, made.profile.run, "all", atom)
    kept = decompose.run_input(*asked)
    whole = kept.read_bytes()
    assert decompose.run_input(*asked) == kept
    assert not caplog.records
    kept.write_bytes(whole[:-100])
    again = decompose.run_input(*asked)
    assert str(kept) in caplog.text
    assert len(again.read_bytes()) == len(whole)
    assert list(kept.parent.glob(f"{kept.stem[:-17]}-*.tpr")) == [again]


@pytest.mark.gromacs
def test_the_parts_do_not_depend_on_where_the_mesh_is(forces):
    """The second frame is the first one, moved as a whole by half a mesh cell."""
    assert forces.parts[:, 1] == pytest.approx(forces.parts[:, 0], abs=0.05)


@pytest.mark.gromacs
def test_van_der_waals_parts_are_the_sums_over_pairs(made, frames, forces):
    xtc, atom = frames
    built = made.built
    atoms, box = built.manifest["atoms"], np.array(built.manifest["box_nm"])
    forcefield = load_forcefield()
    elements = [line[10:15].strip().capitalize() for line in built.gro.read_text().splitlines()[2:]]
    lj = {**forcefield.lennard_jones(built.spec.chalcogen_lj), **forcefield.ions}
    members = {
        "membrane": [(i, lj[elements[i]]) for i in range(*atoms["membrane"])],
        "water": [(i, forcefield.water.oxygen) for i in range(*atoms["water"], 3)],
        "ion": [(i, lj[s]) for s in ("K", "Cl") for i in range(*atoms[s]) if i != atom],
    }
    chloride = forcefield.ions["Cl"]
    with XTCFile(str(xtc)) as trajectory:
        positions = [np.array(frame.x, dtype=float) for frame in trajectory]
    for group, found in members.items():
        sigma = np.array([(p.sigma_nm + chloride.sigma_nm) / 2 for _, p in found])
        epsilon = np.sqrt([p.epsilon_kJ_per_mol * chloride.epsilon_kJ_per_mol for _, p in found])
        expected = []
        for x in positions:
            away = x[atom] - x[[i for i, _ in found]]
            away -= box * np.rint(away / box)
            r = np.linalg.norm(away, axis=1)
            sixth = (sigma / r) ** 6
            size = 24 * epsilon * (2 * sixth**2 - sixth) / r**2
            expected.append((size * away[:, 0])[r < built.spec.cutoff_nm].sum())
        assert forces.parts[PARTS.index(f"{group}_vdw")] == pytest.approx(
            expected, rel=2e-4, abs=2e-3
        )


@pytest.mark.gromacs
def test_electrostatic_parts_agree_with_openmm(made, frames, forces):
    openmm = pytest.importorskip("openmm", reason="OpenMM is not installed")
    from openmm import app, unit

    xtc, atom = frames
    edges = made.built.manifest["box_nm"] * unit.nanometer
    topology = app.GromacsTopFile(str(made.built.top), unitCellDimensions=edges)
    system = topology.createSystem(
        nonbondedMethod=app.PME, nonbondedCutoff=made.built.spec.cutoff_nm * unit.nanometer,
        constraints=None, removeCMMotion=False,
    )  # fmt: skip
    nonbonded = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    nonbonded.setExceptionsUsePeriodicBoundaryConditions(True)
    nonbonded.setUseDispersionCorrection(False)
    # GROMACS's splitting, so that the same is left out beyond the cut-off, and a fine mesh
    rtol = float(gromacs.physics_options(made.built.spec, made.profile.run)["ewald-rtol"])
    mesh = np.ceil(np.asarray(made.built.manifest["box_nm"]) / 0.05).astype(int)
    nonbonded.setPMEParameters(float(erfcinv(rtol)) / made.built.spec.cutoff_nm, *mesh.tolist())
    whole = [nonbonded.getParticleParameters(i) for i in range(nonbonded.getNumParticles())]
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("CPU")
    )
    with XTCFile(str(xtc)) as trajectory:
        context.setPositions(np.array(trajectory.read().x, dtype=float))
    atoms = made.built.manifest["atoms"]

    def force_with(charged) -> float:
        for i, (charge, sigma, epsilon) in enumerate(whole):
            nonbonded.setParticleParameters(
                i, charge if i == atom or i in charged else 0.0, sigma, epsilon
            )
        nonbonded.updateParametersInContext(context)
        state = context.getState(getForces=True)
        return float(state.getForces(asNumpy=True)._value[atom, 0])

    alone = force_with(())
    for group, members in {
        "water": range(*atoms["water"]),
        "membrane": range(*atoms["membrane"]),
        "ion": range(atoms["K"][0], atoms["Cl"][1]),
    }.items():
        expected = force_with(members) - alone
        found = forces.parts[PARTS.index(f"{group}_electrostatic"), 0]
        # 0.008 was seen
        assert found == pytest.approx(expected, rel=0, abs=0.02)


@pytest.mark.parametrize("ion", ["K", "Cl"])
def test_no_variant_of_the_topology_has_a_net_charge(ion, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    built = build_system(tiny.system)
    kind = ion.upper()
    atom = built.manifest["atoms"][ion][0] + 2
    for variant in decompose.VARIANTS.values():
        text = decompose.variant_topology(built, variant, atom).splitlines()
        charges: dict[str, float] = {}
        for molecule, words in decompose._atom_lines(text):
            charges[molecule] = charges.get(molecule, 0.0) + float(words[6])
        listed = text[text.index("[ molecules ]") + 1 :]
        counts = [(line.split()[0], int(line.split()[1])) for line in listed if line.split()]
        assert sum(charges[name] * n for name, n in counts) == pytest.approx(0, abs=1e-9)
        names = [name for name, _ in counts]
        split = {n: [n, "ION", n] if n == kind else [n] for n in ("K", "CL")}
        assert names == ["MEM", "SOL", *split["K"], *split["CL"]]
        assert charges["ION"] == charges[kind]
        assert bool(charges["ION"]) == (kind in variant.charged)


def test_only_ions_can_be_split(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    built = build_system(tiny.system)
    with pytest.raises(MeasureError, match=r"atom = 3 is no ion"):
        decompose.variant_topology(built, decompose.VARIANTS["all"], 3)


def test_parts_that_do_not_add_up_are_refused():
    good = Forces(np.arange(3.0), np.zeros((3, 3)), np.full(3, 6.0), np.ones((6, 3)))
    assert windows.labelled(good).attrs["residual_rms_kJ_per_mol_nm"] == 0
    with pytest.raises(MeasureError, match=r"miss the total by 0\.2"):
        windows.labelled(good._replace(total=np.full(3, 6.2)))


# --- free ions --------------------------------------------------------------------------


@pytest.mark.gromacs
def test_visits_of_free_chlorides(
    runs: Callable[[str], Path], tiny: spec.Profile, tmp_path: Path
) -> None:
    runs("free")
    protocol = spec.Protocol(
        frame_ps=0.05, waveform=spec.Constant(field_V_per_nm=0.4, duration_ps=0.5)
    )
    # so wide a pore that some chloride is in it
    wide = tiny.run.model_copy(update={"pore_half_length_nm": 1.2, "pore_radius_nm": 0.9})
    profile = tiny.model_copy(update={"protocols": {"rest": protocol}, "run": wide})
    (record,) = ensemble.run_protocol(profile, "rest", progress=False, keep_trajectory=True)
    found = windows.free_visits(profile, record.path, scratch=tmp_path)
    assert list(found) == pytest.approx([1.0])
    (visits,) = found.values()
    forces = visits.forces
    assert len(forces.time_ps) == len(visits.visit) > 0
    assert np.abs(forces.residual).max() < 0.01
    assert np.abs(forces.position_nm[:, 0]).max() < 1.2
    assert np.hypot(*forces.position_nm[:, 1:].T).max() < 0.9
    # within a visit the ion moves on frame by frame
    for visit in range(visits.visit.max() + 1):
        one = visits.visit == visit
        assert np.diff(forces.time_ps[one]) == pytest.approx(0.05, abs=1e-4)
        step = np.linalg.norm(np.diff(forces.position_nm[one], axis=0), axis=1)
        assert (step < 0.2).all()
    assert windows.free_visits(profile, (), scratch=tmp_path) == {}


# --- the profile's entry ----------------------------------------------------------------


def test_positions_of_windows():
    found = spec.Windows(**{**FEW, "from_nm": -0.3, "to_nm": 0.3, "spacing_nm": 0.15})
    assert found.positions_at(0.4) == found.positions_at(0.0) == (-0.3, -0.15, 0.0, 0.15, 0.3)
    fewer = {**FEW, "fields_V_per_nm": {"Cl": [0.0, 0.4]}, "from_nm": -0.1, "spacing_nm": 0.05}
    found = spec.Windows(**fewer, spacing_at_rest_nm=0.1)
    assert found.positions_at(0.4) == (-0.1, -0.05, 0.0, 0.05, 0.1)
    assert [x for _, field, x in found.places if not field] == [-0.1, 0.0, 0.1]
    assert len(found.places) == 3 + 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"windows.spacing_nm": 0.07}, r"not one or more steps of spacing_nm = 0\.07"),
        ({"windows.spacing_at_rest_nm": 0.07}, r"steps of spacing_at_rest_nm = 0\.07"),
        ({"windows.to_nm": -0.5}, "not one or more steps"),
        ({"windows.blocks": 50}, "does not hold 50 blocks"),
        ({"windows.fields_V_per_nm": {"Cl": [9.0]}}, r"= 9, scaled by 2\.5 .*exceeds 10 V/nm"),
        ({"windows.width_ps": 3}, "is not a parameter"),
        ({"windows.fields_V_per_nm": {"Na": [0.4]}}, r"'Na'.*input should be 'Cl' or 'K'"),
        ({"windows.fields_V_per_nm": {"K": [0.2, 0.2]}}, r"fields_V_per_nm\.K = .* a field twice"),
        ({"windows.fields_V_per_nm": {"K": []}}, r"windows\.fields_V_per_nm\.K = \[\]"),
        ({"windows.fields_V_per_nm": {}}, "names no ion"),
    ],
)
def test_a_wrong_entry_is_one_clear_error(changes, said):
    with pytest.raises(SpecError, match=said):
        spec.load_profile("tiny", changes)
