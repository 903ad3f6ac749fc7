"""The reduction against GROMACS's own analysis programs, on one trajectory."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import MDAnalysis
import numpy as np
import pytest
from MDAnalysis.lib.formats.libmdaxdr import XTCFile
from synthetic import ALONG_NM, directions, hydrogens

from janus_pore.build.system import build_system
from janus_pore.drive import gromacs
from janus_pore.measure.current import current_from_charge
from janus_pore.measure.trajectory import DEBYE_PER_E_NM, HYDROGEN_CHARGE_E, reduce_trajectory
from janus_pore.spec import RunSpec, load_profile

pytestmark = pytest.mark.gromacs
FRAMES = 25


@dataclass(frozen=True)
class Case:
    """A trajectory of the tiny system with what GROMACS needs to read it."""

    xtc: Path
    tpr: Path
    ndx: Path
    manifest: dict[str, Any]

    def reduced(self, **region: float) -> Any:
        run = RunSpec(**region)
        return reduce_trajectory(
            self.xtc, self.manifest, run=run, field=np.zeros_like, start_ps=0.0
        )

    def ask(self, *arguments: str | Path, stdin: str = "") -> np.ndarray:
        """Numbers in the file that a GROMACS program writes for this trajectory."""
        out = self.xtc.parent / f"{arguments[0]}{stdin}.xvg"
        flag = {"traj": "-ox", "h2order": "-o", "select": "-os"}[str(arguments[0])]
        given = ["-f", self.xtc, "-s", self.tpr, flag, out, "-xvg", "none"]
        if arguments[0] != "select":
            given += ["-n", self.ndx]
        gromacs.find_gmx().run([*arguments, *given], cwd=self.xtc.parent, stdin=stdin)
        return np.loadtxt(out)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Ions that wander and rigid water that wanders and turns, in steps too large for MD."""
    where = tmp_path_factory.mktemp("against")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JANUS_PORE_RUNS", str(where / "runs"))
        profile = load_profile("tiny")
        built = build_system(profile.system)
        tpr = gromacs.grompp(
            gromacs.find_gmx(), gromacs.minimise_options(profile.system),
            conf=built.gro, top=built.top, ndx=built.ndx, tpr=where / "topol.tpr",
        )  # fmt: skip
    atoms, box = built.manifest["atoms"], np.array(built.manifest["box_nm"])
    rng = np.random.default_rng(5)
    positions = MDAnalysis.Universe(str(built.gro)).atoms.positions / 10
    oxygen = positions[slice(*atoms["water"])][::3].astype(float)
    ions = positions[atoms["water"][1] :].astype(float)
    with XTCFile(str(where / "md.xtc"), "w") as file:
        for k in range(FRAMES):
            if k:
                oxygen = np.mod(oxygen + rng.normal(0, 0.1, oxygen.shape), box)
                ions = np.mod(ions + rng.normal(0, 0.2, ions.shape), box)
            tilted = directions(rng, len(oxygen)) + np.array([0.5, 0, 0])
            dipole = tilted / np.linalg.norm(tilted, axis=-1, keepdims=True)
            water = np.concatenate([oxygen[:, None], hydrogens(oxygen, dipole)], axis=1)
            frame = [positions[slice(*atoms["membrane"])], water.reshape(-1, 3), ions]
            file.write(
                np.concatenate(frame).astype(np.float32), np.diag(box).astype(np.float32),
                k, 0.5 * k, 10000,
            )  # fmt: skip
    return Case(where / "md.xtc", tpr, built.ndx, built.manifest)


@pytest.mark.parametrize(("species", "charge_e"), [("K", 1), ("Cl", -1)])
def test_box_charge_is_the_displacement_without_jumps(
    case: Case, species: str, charge_e: int
) -> None:
    number = np.diff(case.manifest["atoms"][species])[0]
    centre = case.ask("traj", "-com", "-nojump", "-nopbc", stdin=species)[:, 1]
    expected = charge_e * number * (centre - centre[0]) / case.manifest["box_nm"][0]
    found = case.reduced()["charge"].sel(species=species, estimator="box")
    assert np.ptp(expected) > 0.3
    np.testing.assert_allclose(found, expected, atol=5e-4)


def test_current_is_that_of_gmx_current(case: Case) -> None:
    """The electrolyte's translational dipole, of which the whole-box current is the change.

    ``gmx current`` reads each molecule of its group up to the beginning of the next one and
    so leaves out the last (as of GROMACS 2022); a version that does not is right as well.
    """
    out = case.xtc.parent / "dipole.xvg"
    gromacs.find_gmx().run(
        ["current", "-f", case.xtc, "-s", case.tpr, "-n", case.ndx, "-mj", out, "-xvg", "none"],
        cwd=case.xtc.parent, stdin="Ions",
    )  # fmt: skip
    dipole = np.loadtxt(out)[:, 1]
    series = case.reduced()
    time, length = series["time"].values, case.manifest["box_nm"][0]
    charge = series["charge"].sel(estimator="box").sum("species").values
    last = case.ask("traj", "-nojump", "-nopbc", stdin="Ions")[:, -3]
    _, expected = current_from_charge(dipole / length, time, 1.0)
    errors = []
    for left_out in (0.0, -1.0):
        _, found = current_from_charge(charge - left_out * (last - last[0]) / length, time, 1.0)
        errors.append(np.abs(found - expected).max())
    assert np.abs(expected).max() > 20  # nA
    assert min(errors) < 0.05
    assert max(errors) > 1  # one ion more or less would show


def test_pore_water_is_what_a_selection_counts(case: Case) -> None:
    run, pore = RunSpec(), case.manifest["pore"]
    (y, z), x = pore["centre_yz_nm"], pore["x_nm"]
    low, high = x - run.pore_half_length_nm, x + run.pore_half_length_nm
    counts = case.ask(
        "select", "-select",
        f"name OW and x > {low} and x < {high} and "
        f"(y - {y})*(y - {y}) + (z - {z})*(z - {z}) < {run.pore_radius_nm**2}",
    )[:, 1]  # fmt: skip
    found = case.reduced()["pore_water_count"].values
    assert counts.mean() > 3
    # Molecules within rounding of the region's surface may fall to either side.
    assert np.abs(found - counts).sum() <= 2


def test_orientation_by_slices_is_that_of_h2order(case: Case) -> None:
    slices = 16
    order = case.ask("h2order", "-d", "X", "-sl", str(slices), stdin="Water")
    width = case.manifest["box_nm"][0] / slices
    dipole = DEBYE_PER_E_NM * 2 * HYDROGEN_CHARGE_E * ALONG_NM
    for row in order[[1, 4, 11, 14]]:
        manifest = copy.deepcopy(case.manifest)
        manifest["pore"]["x_nm"] = row[0] + width / 2
        across = {"pore_half_length_nm": width / 2, "pore_radius_nm": 3.0}
        series = Case(case.xtc, case.tpr, case.ndx, manifest).reduced(**across)
        cosine = series["dipole_x"].sum() / series["pore_water_count"].sum() / dipole
        assert row[-1] > 0.2
        assert float(cosine) == pytest.approx(row[-1], abs=2e-3)
