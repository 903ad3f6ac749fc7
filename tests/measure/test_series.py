"""Series files: what they keep, what they refuse, and how segments and replicas join."""

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
from MDAnalysis.lib.formats.libmdaxdr import XTCFile

from janus_pore.drive import ensemble
from janus_pore.errors import MeasureError
from janus_pore.measure import series
from janus_pore.measure.trajectory import reduce_trajectory
from janus_pore.spec import RunSpec, load_profile

Wandering = Callable[..., tuple[Path, dict[str, Any]]]
VARIABLES = ("time", "field", "charge", "theta", "dipole_x", "ion_x")


def reduced(path: Path, manifest: dict[str, Any], start_ps: float = 0.0, **options: Any):
    settings: dict[str, Any] = {"run": RunSpec(), "field": lambda t: np.sin(t)}
    return reduce_trajectory(path, manifest, start_ps=start_ps, **(settings | options))


@pytest.fixture
def example(wandering: Wandering) -> xr.Dataset:
    dataset = reduced(*wandering(frames=60))
    dataset.attrs["segment_key"] = "0123abcd"
    return dataset


def pieces(path: Path, cuts: list[tuple[int, int]]) -> list[Path]:
    """Frames [a, b) of a trajectory as files of their own."""
    with XTCFile(str(path)) as file:
        frames = list(file)
    out = []
    for a, b in cuts:
        out.append(path.with_name(f"{a}-{b}.xtc"))
        with XTCFile(str(out[-1]), "w") as file:
            for f in frames[a:b]:
                file.write(f.x, f.box, f.step, f.time, f.prec)
    return out


def test_file_keeps_values_far_below_the_physics(tmp_path: Path, example: xr.Dataset) -> None:
    found = series.read(series.write(example, tmp_path / "deep" / "series.nc"))
    (tmp_path / "other").touch()
    assert (tmp_path / "deep/series.nc").stat().st_mode == (tmp_path / "other").stat().st_mode
    limits = {"time": 1e-9, "field": 5e-5, "charge": 5e-5, "theta": 0.05, "dipole_x": 5e-4}
    for name, limit in limits.items():
        difference = np.abs(found[name].values - example[name].values)
        assert np.nanmax(difference) <= 1.001 * limit, name
        assert (np.isnan(found[name]) == np.isnan(example[name])).all()
    for name in ("ions_in_pore", "pore_water_count"):
        np.testing.assert_array_equal(found[name], example[name])
    for name in example.variables:
        assert found[name].dtype == example[name].dtype
        assert found[name].attrs == example[name].attrs
    assert found.attrs["segment_key"] == "0123abcd"
    assert found.attrs["length_x_nm"] == example.attrs["length_x_nm"]
    again = series.read(series.write(found, tmp_path / "again.nc"))
    xr.testing.assert_identical(again, found)


def test_a_file_in_other_units_is_read_by_its_own(
    tmp_path: Path, example: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    finer = {**series._UNIT_STORED, "theta": 0.01, "field": 1e-5}
    with monkeypatch.context() as patch:
        patch.setattr(series, "_UNIT_STORED", finer)
        series.write(example, tmp_path / "finer.nc")
    found = series.read(tmp_path / "finer.nc")
    assert np.nanmax(np.abs(found["theta"].values - example["theta"].values)) <= 0.005001
    assert np.abs(found["field"].values - example["field"].values).max() <= 5.001e-6


def test_plain_xarray_reads_the_file(tmp_path: Path, example: xr.Dataset) -> None:
    series.write(example, tmp_path / "series.nc")
    with xr.open_dataset(tmp_path / "series.nc") as plain:
        assert plain["theta"].attrs["units"] == "degree"
        assert plain["charge"].sel(estimator="pore", species="Cl").dims == ("time",)


def test_series_is_small_beside_its_trajectory(tmp_path: Path, wandering: Wandering) -> None:
    sizes = []
    for frames in (1000, 2000):
        path, manifest = wandering(frames=frames, waters=400, ions=25, name="long.xtc")
        series.write(reduced(path, manifest), tmp_path / "series.nc")
        sizes.append(((tmp_path / "series.nc").stat().st_size, path.stat().st_size))
    # Per frame, that is without what a file costs anyhow. A reduced system of 4,810 atoms
    # takes 17 kB a frame, which makes 1/500 of it 35 bytes.
    assert (sizes[1][0] - sizes[0][0]) / 1000 < 35
    assert sizes[0][0] < 1000 * 35 + 45_000


def test_write_leaves_the_older_file_or_nothing(
    tmp_path: Path, example: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = series.write(example, tmp_path / "series.nc")
    before = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(MeasureError, match=r"cannot be written.*No space left.*make room"):
        series.write(example.isel(time=slice(5)), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".nc" or p.name[0] == "."] == [
        "series.nc"
    ]


def test_write_refuses_what_is_no_series(tmp_path: Path, example: xr.Dataset) -> None:
    def refused(dataset: xr.Dataset, why: str) -> None:
        with pytest.raises(MeasureError, match=why):
            series.write(dataset, tmp_path / "series.nc")
        assert not (tmp_path / "series.nc").exists()

    refused(example.drop_vars("theta"), "lacks theta")
    refused(example.isel(time=[3, 2]), "times are empty or do not increase")
    broken = example.copy(deep=True)
    broken["charge"][0, 0, 3] = np.nan
    refused(broken, "charge holds values that are not finite")
    broken = example.copy(deep=True)
    broken["pore_water_count"][3] += 1
    refused(broken, "theta and pore_water_count do not agree")
    broken = example.copy(deep=True)
    broken["field"][3] = 1e9
    refused(broken, r"field reaches 1e\+09 V/nm, more than")
    refused(example.assign_coords(species=["K", "Na"]), "species is")


def test_damaged_files_are_named(tmp_path: Path, example: xr.Dataset) -> None:
    path = series.write(example, tmp_path / "series.nc")
    content = path.read_bytes()

    with pytest.raises(MeasureError, match=r"no series .*absent\.nc"):
        series.read(tmp_path / "absent.nc")
    for kept in (0, 100, len(content) // 2, len(content) - 50):
        path.write_bytes(content[:kept])
        with pytest.raises(MeasureError, match=r"series\.nc"):
            series.read(path)
    path.write_bytes(b"plain text, no netCDF at all" * 50)
    with pytest.raises(MeasureError, match=r"series\.nc is damaged or not netCDF-4"):
        series.read(path)


def test_changed_value_is_noticed(tmp_path: Path, example: xr.Dataset) -> None:
    path = series.write(example, tmp_path / "series.nc")
    series.read(path)
    with netCDF4.Dataset(path, "a") as file:
        file.set_auto_scale(False)
        file["charge"][1, 1, 7] += 1
    with pytest.raises(MeasureError, match="does not match its own checksum"):
        series.read(path)


def test_other_versions_are_refused(tmp_path: Path, example: xr.Dataset) -> None:
    path = series.write(example, tmp_path / "series.nc")
    with netCDF4.Dataset(path, "a") as file:
        file.Conventions = "janus-pore series 0"
    with pytest.raises(MeasureError, match="Conventions = 'janus-pore series 0'"):
        series.read(path)


CUTS = {
    "shared boundary frames": [(0, 21), (20, 41), (40, 60)],
    "boundary frames not written": [(0, 20), (20, 40), (40, 60)],
    "both": [(0, 21), (20, 40), (40, 60)],
}


@pytest.mark.parametrize("cuts", CUTS.values(), ids=list(CUTS))
def test_segments_join_to_the_whole(
    tmp_path: Path, wandering: Wandering, cuts: list[tuple[int, int]]
) -> None:
    path, manifest = wandering(frames=60, ions=8)
    whole = reduced(path, manifest)
    files = [
        series.write(reduced(piece, manifest, start_ps=a / 2), piece.with_suffix(".nc"))
        for piece, (a, _) in zip(pieces(path, cuts), cuts, strict=True)
    ]
    joined = series.concatenate(files)
    np.testing.assert_array_equal(joined["time"], whole["time"])
    np.testing.assert_allclose(joined["charge"], whole["charge"], atol=2.5e-4)
    np.testing.assert_allclose(
        joined["theta"].values[:, : whole.sizes["slot"]], whole["theta"], atol=0.051
    )
    np.testing.assert_array_equal(joined["pore_water_count"], whole["pore_water_count"])
    np.testing.assert_allclose(joined["ion_x"], whole["ion_x"], atol=1e-4)
    assert joined["charge"].attrs["units"] == "e"
    # What is joined is a series again, also in pieces that were joined before.
    series.write(joined, tmp_path / "joined.nc")
    nested = series.concatenate([series.concatenate(files[:2]), files[2]])
    np.testing.assert_allclose(nested["charge"], joined["charge"], atol=1e-12)


def test_parts_that_do_not_belong_together(wandering: Wandering) -> None:
    path, manifest = wandering(frames=60)
    parts = pieces(path, [(0, 20), (25, 40), (10, 30)])
    first, later, overlapping = (
        reduced(part, manifest, start_ps=a) for part, a in zip(parts, (0, 12.5, 5), strict=True)
    )
    for wrong in (later, overlapping):
        with pytest.raises(MeasureError, match=r"series 1 begins at .* ends at 9.5 ps"):
            series.concatenate([first, wrong])
    (follower,) = pieces(path, [(20, 40)])
    other = reduced(follower, manifest, start_ps=10, run=RunSpec(pore_radius_nm=0.4))
    with pytest.raises(MeasureError, match="pore_radius_nm = "):
        series.concatenate([first, other])
    with pytest.raises(MeasureError, match="no series"):
        series.concatenate([])


def test_replicas_side_by_side(wandering: Wandering) -> None:
    datasets = {
        number: reduced(*wandering(frames=20, seed=number, name=f"{number}.xtc"))
        for number in (3, 0)
    }
    for number, dataset in datasets.items():
        dataset.attrs["replica"] = number
    both = series.stack_replicas(datasets)
    assert both["replica"].values.tolist() == [0, 3]
    assert both["charge"].dims == ("replica", "estimator", "species", "time")
    np.testing.assert_array_equal(both["charge"].sel(replica=3), datasets[3]["charge"])
    assert "replica" not in both.attrs
    assert both.attrs["system_key"] == "made-by-hand"
    assert both["time"].attrs["units"] == "ps"


def test_replicas_with_other_frames_share_those_they_have(wandering: Wandering) -> None:
    path, manifest = wandering(frames=41, spacing_ps=0.1)
    fine = reduced(path, manifest)
    coarse = fine.isel(time=slice(None, None, 4))
    both = series.stack_replicas({0: fine, 1: coarse})
    np.testing.assert_allclose(both["time"], coarse["time"], atol=1e-9)
    np.testing.assert_array_equal(both["charge"][0], both["charge"][1])
    with pytest.raises(MeasureError, match=r"41 frames .*replica 0.*40 frames .*replica 2"):
        series.stack_replicas({0: fine, 2: fine.isel(time=slice(40))})
    with pytest.raises(MeasureError, match="no replicas"):
        series.stack_replicas({})


def test_protocol_opens_by_label_and_replica(
    wandering: Wandering, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, manifest = wandering(frames=30)
    files = [
        series.write(reduced(piece, manifest, start_ps=a / 2), piece.with_suffix(".nc"))
        for piece, a in zip(pieces(path, [(0, 11), (10, 30)]), (0, 10), strict=True)
    ]
    records = [
        SimpleNamespace(label=label, replica=replica, series=tuple(files))
        for label, replica in itertools.product(("delay_ps=2", "delay_ps=5"), (0, 1, 2))
    ]
    monkeypatch.setattr(ensemble, "open_runs", lambda profile, protocol, only: records)
    opened = series.open_protocol(load_profile("tiny"), "ppf")
    assert list(opened) == ["delay_ps=2", "delay_ps=5"]
    for dataset in opened.values():
        assert dataset.sizes["replica"] == 3
        assert dataset.sizes["time"] == 30


def test_membrane_without_a_pore_has_a_series_too(
    tmp_path: Path, wandering: Wandering, recwarn: pytest.WarningsRecorder
) -> None:
    path, manifest = wandering(frames=12, waters=20)
    elsewhere = {**manifest, "pore": {"x_nm": 3.0, "centre_yz_nm": [1e-9, 1e-9]}}
    run = RunSpec(pore_radius_nm=1e-3, pore_half_length_nm=1e-3)
    dataset = reduced(path, elsewhere, run=run)
    assert not dataset["pore_water_count"].any()
    assert np.isnan(dataset["theta"]).all()
    found = series.read(series.write(dataset, tmp_path / "series.nc"))
    assert not series.concatenate([found])["dipole_x"].any()
    # such as of means of nothing; what is collected meanwhile of earlier tests may warn as well
    assert [str(w.message) for w in recwarn if w.category is not ResourceWarning] == []


def test_windows_with_finer_frames_join_at_those_that_all_have(tmp_path, monkeypatch) -> None:
    """A window made when finer frames were asked for serves on; another place comes later."""
    records = []
    for number, spacing in enumerate((0.1, 0.2)):
        time = np.arange(0, 1 + spacing / 2, spacing)
        force = xr.Dataset(
            {"total": ("time", 10.0 * number + time)},
            coords={"time": ("time", time, {"units": "ps"})},
        )
        file = tmp_path / f"{number}.nc"
        force.to_netcdf(file, engine="netcdf4")
        place = {"ion": "K", "field_V_per_nm": 0.0, "x_nm": 0.1 * number, "replica": 0}
        records.append(SimpleNamespace(series=file, applied_V_per_nm=0.0, **place))
    tiny = load_profile("tiny")
    monkeypatch.setattr(series.windows, "asked_for", lambda _: None)
    monkeypatch.setattr(series.windows, "open_windows", lambda _: records)
    joined = series.open_windows(tiny)
    np.testing.assert_allclose(joined["time"], np.arange(0, 1.1, 0.2), atol=1e-9)
    np.testing.assert_allclose(joined["total"], np.add.outer([0.0, 10.0], joined["time"].values))
    assert joined["time"].attrs == {"units": "ps"}
    xr.Dataset({"total": ("time", [1.0, 2.0])}, coords={"time": [0.0, 0.5]}).to_netcdf(
        tmp_path / "1.nc"
    )
    with pytest.raises(MeasureError, match=r"11 frames.*K at 0 nm.*2 frames.*0\.1 nm"):
        series.open_windows(tiny)
