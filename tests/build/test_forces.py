"""The built topology gives the same forces in GROMACS and in OpenMM, and the field q E."""

from pathlib import Path

import numpy as np
import pytest
from MDAnalysis.lib.formats.libmdaxdr import TRRFile

from janus_pore.build.membrane import build_membrane
from janus_pore.build.system import build_system
from janus_pore.drive.gromacs import find_gmx
from janus_pore.errors import GromacsError
from janus_pore.spec import SystemSpec

openmm = pytest.importorskip("openmm", reason="OpenMM is not installed")
from openmm import app, unit  # noqa: E402

pytestmark = pytest.mark.gromacs

CUTOFF_nm = 0.9
EWALD_TOLERANCE = 1e-6
# The same splitting in both programs: erfc(beta r_c) = tolerance.
BETA_PER_nm = 3.4589107 / CUTOFF_nm
MDP = {
    "integrator": "md",
    "nsteps": "0",
    "cutoff-scheme": "Verlet",
    "verlet-buffer-tolerance": "-1",
    "rlist": "0.95",
    "coulombtype": "PME",
    "coulomb-modifier": "None",
    "rcoulomb": f"{CUTOFF_nm}",
    "ewald-rtol": f"{EWALD_TOLERANCE}",
    "pme-order": "6",
    "fourierspacing": "0.05",
    "vdw-modifier": "None",
    "rvdw": f"{CUTOFF_nm}",
    "DispCorr": "no",
    "periodic-molecules": "yes",
    "comm-mode": "None",
    "continuation": "yes",
    "nstfout": "1",
    "nstxout": "1",
}
MINIMISE = {
    "integrator": "steep",
    "nsteps": "50",
    "emstep": "0.002",
    "freezegrps": "Membrane",
    "freezedim": "Y Y Y",
    "continuation": "no",
}


@pytest.fixture(scope="module")
def gmx():
    try:
        return find_gmx()
    except GromacsError as error:
        pytest.skip(str(error))


def small(directory, **changes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JANUS_PORE_RUNS", str(directory / "runs"))
        return build_system(
            SystemSpec(cells_y=6, cells_z=4, length_x_nm=2.4, cutoff_nm=CUTOFF_nm, **changes)
        )


def prepare(gmx, built, directory, options, structure):
    directory.mkdir()
    (directory / "run.mdp").write_text("".join(f"{k} = {v}\n" for k, v in options.items()))
    gmx.run(
        ["grompp", "-f", "run.mdp", "-c", structure, "-r", built.gro, "-p", built.top,
         "-n", built.ndx, "-o", "run.tpr"], cwd=directory,
    )  # fmt: skip
    return directory


def forces(gmx, built, directory, structure, **options):
    """Positions (nm) and forces (kJ/mol/nm) of all atoms at a structure."""
    prepare(gmx, built, directory, {**MDP, **options}, structure)
    gmx.run(
        ["mdrun", "-s", "run.tpr", "-rerun", structure, "-o", "run.trr", "-ntmpi", "1",
         "-ntomp", "1"], cwd=directory,
    )  # fmt: skip
    with TRRFile(str(directory / "run.trr")) as trr:
        frame = trr.read()
    printed = gmx.run(
        ["energy", "-f", "ener.edr", "-o", "energy.xvg"], cwd=directory, stdin="Potential\n0\n"
    )
    assert "Potential" in printed
    last = (directory / "energy.xvg").read_text().splitlines()[-1]
    return np.array(frame.x), np.array(frame.f), float(last.split()[1])


@pytest.fixture(
    scope="module",
    params=[
        {"charge_set": "mosse", "pore": "hollow6"},
        {"charge_set": "mos2", "pore": "bond4"},
    ],
    ids=lambda changes: changes["charge_set"],
)
def relaxed(request, gmx, tmp_path_factory):
    """A small system and a structure of it without close contacts, with its forces."""
    directory = tmp_path_factory.mktemp(request.param["charge_set"])
    built = small(directory, **request.param)
    work = prepare(gmx, built, directory / "minimise", {**MDP, **MINIMISE}, built.gro)
    gmx.run(["mdrun", "-s", "run.tpr", "-c", "relaxed.gro", "-ntmpi", "1", "-ntomp", "1"], cwd=work)
    structure = work / "relaxed.gro"
    return built, structure, *forces(gmx, built, directory / "forces", structure), directory


def openmm_forces(top: Path, structure: Path):
    """The same from OpenMM, which reads the same files."""
    coordinates = app.GromacsGroFile(str(structure))
    topology = app.GromacsTopFile(str(top), periodicBoxVectors=coordinates.getPeriodicBoxVectors())
    system = topology.createSystem(
        nonbondedMethod=app.PME, nonbondedCutoff=CUTOFF_nm * unit.nanometer, constraints=None,
        rigidWater=True, removeCMMotion=False,
    )  # fmt: skip
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setUseDispersionCorrection(False)
            # the membrane's excluded pairs reach across the boundaries
            force.setExceptionsUsePeriodicBoundaryConditions(True)
            force.setPMEParameters(BETA_PER_nm, 72, 64, 72)
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(coordinates.positions)
    state = context.getState(getForces=True, getEnergy=True)
    per_nm = unit.kilojoule_per_mole / unit.nanometer
    return (
        state.getForces(asNumpy=True).value_in_unit(per_nm),
        state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole),
    )


def test_forces_and_energy_agree_with_openmm(relaxed):
    built, structure, _, found, energy, _ = relaxed
    expected, expected_energy = openmm_forces(built.top, structure)
    assert len(found) == len(expected) == built.manifest["atoms"]["Cl"][1]
    start, stop = built.manifest["atoms"]["membrane"]
    for atoms in (slice(None), slice(start, stop), slice(stop, None)):
        deviation = np.sqrt(((found - expected)[atoms] ** 2).mean())
        assert deviation < 1e-4 * np.sqrt((expected[atoms] ** 2).mean())
    assert energy == pytest.approx(expected_energy, rel=1e-4)


def test_field_acts_on_every_atom_with_its_charge(gmx, relaxed):
    built, structure, _, without, _, directory = relaxed
    _, with_field, _ = forces(
        gmx, built, directory / "field", structure, **{"electric-field-x": "1 0 0 0"}
    )
    charges = built.manifest["charges_e"]
    atoms = built.manifest["atoms"]
    expected = np.zeros_like(without)
    per_site = (atoms["membrane"][1] - atoms["membrane"][0]) // 3
    for i, site in enumerate(("metal", "minus", "plus")):
        expected[i * per_site : (i + 1) * per_site, 0] = charges[site]
    water = slice(*atoms["water"])
    expected[water, 0] = np.tile([charges["OW"], charges["HW"], charges["HW"]],
                                 (water.stop - water.start) // 3)  # fmt: skip
    for ion in ("K", "Cl"):
        expected[slice(*atoms[ion]), 0] = charges[ion]
    # 1 V/nm on 1 e; forces are in single precision
    assert with_field - without == pytest.approx(96.48533 * expected, abs=0.02)


def test_springs_pull_a_restrained_membrane_back(gmx, relaxed):
    built, structure, positions, without, _, directory = relaxed
    changes = built.spec.model_dump(include={"charge_set", "pore"})
    restrained = small(directory, **changes, membrane="restrained")
    _, found, _ = forces(gmx, restrained, directory / "springs", structure)
    start, stop = built.manifest["atoms"]["membrane"]
    reference = build_membrane(built.spec).positions_nm
    reference = reference + np.array([built.manifest["pore"]["x_nm"], 0, 0])
    displaced = positions[start:stop] - reference  # the structure's file has three decimals
    assert np.abs(displaced).max() > 1e-4
    assert (found - without)[start:stop] == pytest.approx(-1e5 * displaced, abs=0.5)
    assert (found - without)[stop:] == pytest.approx(0, abs=0.05)


def test_flexible_water_minimises_without_failing(gmx, relaxed):
    """Rigid molecules fail once steps grow; with springs the steepest descent goes on."""
    built, *_, directory = relaxed
    options = {**MDP, **MINIMISE, "nsteps": "300", "define": "-DFLEXIBLE"}
    work = prepare(gmx, built, directory / "flexible", options, built.gro)
    printed = gmx.run(
        ["mdrun", "-s", "run.tpr", "-o", "run.trr", "-ntmpi", "1", "-ntomp", "1"], cwd=work
    )
    assert "settled" not in printed
    with TRRFile(str(work / "run.trr")) as trr:
        first, *_, last = trr
    start, stop = built.manifest["atoms"]["water"]
    assert np.std(last.f[start:stop]) < 0.5 * np.std(first.f[start:stop])
    water = np.array(last.x)[start:stop].reshape(-1, 3, 3)
    box = np.array(built.manifest["box_nm"])
    bonds = water[:, 1:] - water[:, :1]
    bonds -= box * np.round(bonds / box)
    length = np.linalg.norm(bonds, axis=2)
    assert length.mean() == pytest.approx(0.1, abs=5e-3)
    assert length.std() > 1e-5
