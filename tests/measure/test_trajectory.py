"""Reduction of trajectories whose charge, pore water and angles are known beforehand."""

import copy
import itertools
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import MDAnalysis
import numpy as np
import pytest
from MDAnalysis.lib.formats.libmdaxdr import XTCFile
from synthetic import ALONG_NM, BOX_NM, directions, random_walk, write_xtc

from janus_pore.errors import MeasureError
from janus_pore.measure.trajectory import reduce_trajectory
from janus_pore.spec import RunSpec

RUN = RunSpec()
LENGTH = BOX_NM[0]
WIDTH = 2 * RUN.pore_half_length_nm
Wandering = Callable[..., tuple[Path, dict[str, Any]]]


def reduced(path: Path, manifest: dict[str, Any], **options: Any):
    settings: dict[str, Any] = {"run": RUN, "field": lambda t: 0.01 * t, "start_ps": 0.0}
    return reduce_trajectory(path, manifest, **(settings | options))


def at_axis(x_nm: np.ndarray) -> np.ndarray:
    """Positions (frames, ions, 3) on the pore axis, x measured from the membrane."""
    x = np.asarray(x_nm, dtype=float)
    return np.stack([x + LENGTH / 2, *(np.full_like(x, BOX_NM[i] / 2) for i in (1, 2))], axis=-1)


def share_inside(x_nm: np.ndarray, width: float) -> np.ndarray:
    """Slab lengths passed by paths straight between frames, by counting small steps."""
    fine = np.linspace(0, 1, 20001)
    middles = 0.5 * (fine[1:] + fine[:-1])
    passed = [0.0]
    for a, b in itertools.pairwise(x_nm):
        path = a + (b - a) * middles
        inside = np.abs(path - LENGTH * np.rint(path / LENGTH)) < width / 2
        passed.append(passed[-1] + inside.mean() * (b - a) / width)
    return np.array(passed)


@pytest.mark.parametrize("velocity_nm_per_ps", [0.137, -0.31, 0.9])
def test_steady_ion_transfers_its_charge_by_all_three_estimators(
    tmp_path: Path, velocity_nm_per_ps: float
) -> None:
    t = np.arange(60.0)
    x = -2.0 + velocity_nm_per_ps * t
    manifest = write_xtc(
        tmp_path / "md.xtc", t, potassium=at_axis(x[:, None]), chloride=at_axis(-x[:, None])
    )
    charge = reduced(tmp_path / "md.xtc", manifest)["charge"]
    for species, way in (("K", x), ("Cl", -x)):
        q = 1 if species == "K" else -1
        found = charge.sel(species=species)
        np.testing.assert_allclose(
            found.sel(estimator="box"), q * (way - way[0]) / LENGTH, atol=5e-4
        )
        np.testing.assert_allclose(
            found.sel(estimator="pore"), q * share_inside(way, WIDTH), atol=3e-3
        )
        # The plane and its images lie at whole multiples of the box length.
        passages = np.floor(way / LENGTH) - np.floor(way[0] / LENGTH)
        np.testing.assert_array_equal(found.sel(estimator="crossings"), q * passages)


def test_far_boundary_is_no_crossing(tmp_path: Path) -> None:
    t = np.arange(41.0)
    x = 2.9 + 0.4 * np.sin(2 * np.pi * t / 20)
    manifest = write_xtc(
        tmp_path / "md.xtc", t, potassium=at_axis(x[:, None]), chloride=at_axis(x[:, None])
    )
    charge = reduced(tmp_path / "md.xtc", manifest)["charge"].sel(species="K")
    assert not charge.sel(estimator=["pore", "crossings"]).any()
    np.testing.assert_allclose(charge.sel(estimator="box"), (x - x[0]) / LENGTH, atol=5e-4)


def test_jump_over_the_slab_counts_whole_and_a_stay_in_it_in_part(tmp_path: Path) -> None:
    x = np.array([-1.0, 1.0, 0.1, -0.1, 0.1])
    manifest = write_xtc(
        tmp_path / "md.xtc", np.arange(5.0), potassium=at_axis(x[:, None]), precision=1e6
    )
    charge = reduced(tmp_path / "md.xtc", manifest)["charge"].sel(species="K")
    half = 0.1 / WIDTH
    np.testing.assert_allclose(
        charge.sel(estimator="pore"), [0, 1, 0.5 + half, 0.5 - half, 0.5 + half], atol=1e-5
    )
    np.testing.assert_array_equal(charge.sel(estimator="crossings"), [0, 1, 1, 0, 1])


def test_slab_as_wide_as_the_box_is_the_box_estimator(wandering: Wandering) -> None:
    path, manifest = wandering(ions=20)
    wide = RUN.model_copy(update={"pore_half_length_nm": LENGTH / 2})
    charge = reduced(path, manifest, run=wide)["charge"]
    np.testing.assert_allclose(
        charge.sel(estimator="pore"), charge.sel(estimator="box"), atol=1e-12
    )


def test_line_of_water_at_known_angles(tmp_path: Path) -> None:
    angles = np.arange(-170.0, 181.0, 10.0)
    tilt = np.radians(np.linspace(-60, 60, len(angles)))
    dipole = np.stack(
        [
            np.cos(tilt) * np.cos(np.radians(angles)),
            np.cos(tilt) * np.sin(np.radians(angles)),
            np.sin(tilt),
        ],
        axis=-1,
    )
    oxygen = np.broadcast_to(BOX_NM / 2, (1, len(angles), 3)).copy()
    manifest = write_xtc(
        tmp_path / "md.xtc", np.zeros(1), oxygen=oxygen, dipole=dipole[None], precision=1e6
    )
    series = reduced(tmp_path / "md.xtc", manifest)
    assert series["pore_water_count"].item() == len(angles)
    difference = np.mod(series["theta"].values[0] - angles + 180, 360) - 180
    assert np.abs(difference).max() < 0.01
    moment = 48.03204 * 2 * 0.4238 * ALONG_NM  # SPC/E: 2.35 D
    assert moment == pytest.approx(2.35, abs=0.005)
    assert series["dipole_x"].item() == pytest.approx(moment * dipole[:, 0].sum(), abs=1e-3)


def test_water_broken_across_every_boundary_is_made_whole(tmp_path: Path) -> None:
    # The pore itself is put on the corner of the box.
    rng = np.random.default_rng(3)
    oxygen = rng.uniform(-0.2, 0.2, (5, 30, 3))
    dipole = directions(rng, 5, 30)
    manifest = write_xtc(tmp_path / "md.xtc", np.arange(5.0), oxygen=oxygen, dipole=dipole,
                         precision=1e6)  # fmt: skip
    manifest["pore"] = {"x_nm": 0.0, "centre_yz_nm": [0.0, BOX_NM[2]]}
    series = reduced(tmp_path / "md.xtc", manifest)
    expected = np.degrees(np.arctan2(dipole[..., 1], dipole[..., 0]))
    inside = np.hypot(oxygen[..., 1], oxygen[..., 2]) < 0.5
    assert inside.all()
    np.testing.assert_allclose(series["theta"], expected, atol=0.01)


def test_pore_region_takes_what_it_says(tmp_path: Path) -> None:
    offsets = np.array(
        [
            [0.29, 0, 0], [-0.29, 0, 0], [0.31, 0, 0], [-0.31, 0, 0],
            [0, 0.49, 0], [0, 0, -0.49], [0, 0.36, 0.36], [0, 0.34, 0.34], [0.29, 0, 0.49],
        ]
    )  # fmt: skip
    inside = [True, True, False, False, True, True, False, True, True]
    positions = (BOX_NM / 2 + offsets)[None]
    dipole = np.broadcast_to([1.0, 0.0, 0.0], positions.shape)
    manifest = write_xtc(tmp_path / "md.xtc", np.zeros(1), oxygen=positions, dipole=dipole,
                         potassium=positions, chloride=positions[:, :4])  # fmt: skip
    series = reduced(tmp_path / "md.xtc", manifest)
    assert series["pore_water_count"].item() == sum(inside)
    assert series["ions_in_pore"].values[:, 0].tolist() == [sum(inside), 2]
    narrow = reduced(tmp_path / "md.xtc", manifest, run=RunSpec(pore_radius_nm=0.48))
    assert narrow["pore_water_count"].item() == sum(inside) - 4


def test_field_and_time_are_those_of_the_replica(wandering: Wandering) -> None:
    path, manifest = wandering(frames=21, spacing_ps=0.1)
    series = reduced(path, manifest, start_ps=0.8, field=lambda t: 2 * t)
    np.testing.assert_array_equal(series["time"], np.round(0.8 + 0.1 * np.arange(13), 4))
    np.testing.assert_allclose(series["field"], 2 * series["time"])
    assert all("units" in series[name].attrs for name in series.data_vars)


def test_late_times_are_freed_of_their_single_precision(tmp_path: Path) -> None:
    t = 50000.0 + 0.1 * np.arange(30)
    manifest = write_xtc(tmp_path / "md.xtc", t, potassium=at_axis(np.zeros((30, 1))))
    series = reduced(tmp_path / "md.xtc", manifest, start_ps=50000.0)
    np.testing.assert_allclose(series["time"], t, rtol=0, atol=1e-6)


def universe_of(path: Path, manifest: dict[str, Any]) -> MDAnalysis.Universe:
    """The trajectory with names, water residues and their bonds."""
    (_, n_membrane), (begin, end), (_, end_K), (_, end_Cl) = (
        manifest["atoms"][name] for name in ("membrane", "water", "K", "Cl")
    )
    n_water = (end - begin) // 3
    names = (
        ["MO"] * n_membrane
        + ["OW", "HW1", "HW2"] * n_water
        + ["K"] * (end_K - end)
        + ["CL"] * (end_Cl - end_K)
    )
    residues = [0] * n_membrane + [1 + i // 3 for i in range(3 * n_water)]
    residues += range(n_water + 1, n_water + 1 + end_Cl - end)
    universe = MDAnalysis.Universe.empty(
        end_Cl, n_residues=residues[-1] + 1, atom_resindex=residues, trajectory=False
    )
    universe.add_TopologyAttr("name", names)
    universe.add_TopologyAttr("masses", np.ones(end_Cl))
    first = begin + 3 * np.arange(n_water)
    universe.add_TopologyAttr(
        "bonds", np.concatenate([np.stack([first, first + k], axis=1) for k in (1, 2)])
    )
    universe.load_new(str(path))
    return universe


def plain_loop(universe: MDAnalysis.Universe) -> dict[str, list[Any]]:
    """Pore water and whole-box charge by atom selections, frame by frame."""
    centre = BOX_NM / 2 * 10
    half, radius = RUN.pore_half_length_nm * 10, RUN.pore_radius_nm * 10
    found: dict[str, list[Any]] = {"theta": [], "dipole_x": [], "charge": [0.0]}
    before = None
    for frame in universe.trajectory:
        universe.select_atoms("name OW HW1 HW2").unwrap(compound="residues", reference=None)
        pore = universe.select_atoms(
            f"name OW and prop x > {centre[0] - half} and prop x < {centre[0] + half}"
        )
        across = pore.positions[:, 1:] - centre[1:]
        pore = pore[np.hypot(across[:, 0], across[:, 1]) < radius]
        arms = [
            universe.atoms[oxygen.ix + 1].position
            + universe.atoms[oxygen.ix + 2].position
            - 2 * oxygen.position
            for oxygen in pore
        ]
        arms = np.reshape(arms, (-1, 3))
        found["theta"].append(np.sort(np.degrees(np.arctan2(arms[:, 1], arms[:, 0]))))
        found["dipole_x"].append(4.803204 * 0.4238 * arms[:, 0].sum())
        ions = [universe.select_atoms(f"name {n}").positions[:, 0].copy() for n in ("K", "CL")]
        if before is not None:
            length = frame.dimensions[0]
            moved = [b - a for a, b in zip(before, ions, strict=True)]
            moved = [d - length * np.rint(d / length) for d in moved]
            found["charge"].append(found["charge"][-1] + (moved[0].sum() - moved[1].sum()) / length)
        before = ions
    return found


def test_agrees_with_atom_selections_and_is_twenty_times_faster(wandering: Wandering) -> None:
    path, manifest = wandering(frames=20, waters=1400, ions=25)
    universe = universe_of(path, manifest)
    began = time.process_time()
    found = plain_loop(universe)
    plain = time.process_time() - began

    series = reduced(path, manifest)
    for row, expected in zip(series["theta"].values, found["theta"], strict=True):
        np.testing.assert_allclose(np.sort(row[np.isfinite(row)]), expected, atol=0.01)
    np.testing.assert_allclose(series["dipole_x"], found["dipole_x"], atol=2e-3)
    np.testing.assert_allclose(
        series["charge"].sel(estimator="box").sum("species"), found["charge"], atol=1e-4
    )
    assert plain > 20 * min(_seconds(reduced, path, manifest) for _ in range(3))


def test_reduction_costs_little_beside_decoding(wandering: Wandering) -> None:
    path, manifest = wandering(frames=200, waters=1400, ions=25)

    def decode(path: Path) -> None:
        with XTCFile(str(path)) as file:
            for _ in file:
                pass

    # in turns, so that what else the machine does meets both
    pairs = [(_seconds(reduced, path, manifest), _seconds(decode, path)) for _ in range(20)]
    whole, decoding = (min(seconds) for seconds in zip(*pairs, strict=True))
    # the rest of it takes less than decoding: 0.4 to 0.65 of that, by processor
    assert whole < 2 * decoding


def _seconds(function: Callable[..., Any], *arguments: Any) -> float:
    began = time.process_time()
    function(*arguments)
    return time.process_time() - began


def test_memory_does_not_grow_with_the_trajectory(wandering: Wandering) -> None:
    peaks, frames = [], (100, 600)
    for n in frames:
        path, manifest = wandering(frames=n, waters=1000, name=f"{n}.xtc")
        tracemalloc.start()
        reduced(path, manifest)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # A decoded frame of 3,014 atoms takes 36 kB, its part of the result some hundred bytes.
    assert (peaks[1] - peaks[0]) / (frames[1] - frames[0]) < 1500


@pytest.fixture
def damage(wandering: Wandering) -> tuple[Path, dict[str, Any]]:
    return wandering(frames=20, waters=30)


def test_missing_and_foreign_files(tmp_path: Path, damage: tuple[Path, dict[str, Any]]) -> None:
    path, manifest = damage
    with pytest.raises(MeasureError, match=r"no trajectory .*absent\.xtc"):
        reduced(tmp_path / "absent.xtc", manifest)
    (tmp_path / "text.xtc").write_text("not a trajectory at all\n" * 100)
    with pytest.raises(MeasureError, match=r"text\.xtc is damaged"):
        reduced(tmp_path / "text.xtc", manifest)
    (tmp_path / "empty.xtc").touch()
    with pytest.raises(MeasureError, match=r"empty\.xtc"):
        reduced(tmp_path / "empty.xtc", manifest)
    other = copy.deepcopy(manifest)
    other["atoms"]["Cl"][1] += 1
    with pytest.raises(MeasureError, match=r"holds 104 atoms and the system 105"):
        reduced(path, other)


@pytest.mark.parametrize("kept", [0.37, 0.98])
def test_truncated_file(damage: tuple[Path, dict[str, Any]], kept: float) -> None:
    path, manifest = damage
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(MeasureError, match=r"damaged or cut short after frame"):
        reduced(path, manifest)


def test_file_that_ends_early_between_frames(damage: tuple[Path, dict[str, Any]]) -> None:
    path, manifest = damage  # 20 frames, 0.5 ps apart
    assert reduced(path, manifest, duration_ps=9.5).sizes["time"] == 20
    assert reduced(path, manifest, duration_ps=9.9).sizes["time"] == 20
    for duration in (10.1, 9.0):
        with pytest.raises(MeasureError, match=rf"ends at 9.5 ps, but the segment at {duration:g}"):
            reduced(path, manifest, duration_ps=duration)
    with pytest.raises(MeasureError, match="no frame at or after 10 ps"):
        reduced(path, manifest, start_ps=10.0)


def test_wrong_box_and_wrong_order(tmp_path: Path, damage: tuple[Path, dict[str, Any]]) -> None:
    path, manifest = damage
    other = copy.deepcopy(manifest)
    other["box_nm"][1] += 0.05
    with pytest.raises(MeasureError, match="the box at 0 ps"):
        reduced(path, other)
    skewed = np.diag(BOX_NM)
    skewed[1, 0] = 0.4
    ion = at_axis(np.zeros((3, 1)))
    manifest = write_xtc(tmp_path / "skew.xtc", np.arange(3.0), potassium=ion, box=skewed)
    with pytest.raises(MeasureError, match="orthorhombic"):
        reduced(tmp_path / "skew.xtc", manifest)
    write_xtc(tmp_path / "back.xtc", np.array([0.0, 2.0, 1.0]), potassium=ion)
    with pytest.raises(MeasureError, match=r"time does not increase from frame 1 \(2 ps\)"):
        reduced(tmp_path / "back.xtc", manifest)


@pytest.mark.parametrize("broken", ["atoms", "box_nm", "pore"])
def test_unusable_manifest(damage: tuple[Path, dict[str, Any]], broken: str) -> None:
    path, manifest = damage
    del manifest[broken]
    with pytest.raises(MeasureError, match="manifest cannot be used"):
        reduced(path, manifest)


def test_water_that_is_no_multiple_of_three(damage: tuple[Path, dict[str, Any]]) -> None:
    path, manifest = damage
    manifest["atoms"]["water"][1] -= 1
    with pytest.raises(MeasureError, match="89 water atoms"):
        reduced(path, manifest)


def test_random_walk_agrees_with_unwrapped_paths(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    walk = random_walk(rng, 200, 12)
    walk[..., 0] *= 1.5
    manifest = write_xtc(tmp_path / "md.xtc", np.arange(200.0), potassium=walk, precision=1e5)
    charge = reduced(tmp_path / "md.xtc", manifest)["charge"].sel(species="K")
    away = walk[..., 0] - LENGTH / 2
    np.testing.assert_allclose(
        charge.sel(estimator="box"), (away - away[0]).sum(axis=1) / LENGTH, atol=1e-3
    )
    passages = np.floor(away / LENGTH) - np.floor(away[0] / LENGTH)
    np.testing.assert_array_equal(charge.sel(estimator="crossings"), passages.sum(axis=1))
