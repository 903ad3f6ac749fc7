"""Shipped results: written, checked, read, and made again from their manifest."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from janus_pore import paths
from janus_pore.build.system import build_system
from janus_pore.drive import ensemble, windows
from janus_pore.errors import MeasureError, MissingInputError, SpecError
from janus_pore.measure import series, shipped
from janus_pore.spec import ALONE, Profile, Windows, load_profile

SHORT = {
    "run.equilibration_ps": 1.0,
    "run.replica_spacing_ps": 0.5,
    "run.settle_ps": 0.25,
}


@pytest.fixture(scope="module")
def item(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Profile, Path]]:
    """A protocol of the tiny profile and windows, shipped into a campaign of their own."""
    root = tmp_path_factory.mktemp("campaign")
    profile = load_profile("tiny", SHORT)
    steps = profile.protocol("step_up").model_copy(update={"replicas": 3})
    profile = profile.model_copy(
        update={
            "protocols": {"step_up": steps},
            "windows": HELD,
            **ALONE,
        }
    )
    data = paths.data_dir()
    (root / "data").mkdir()
    for name in ("profiles", "reference", "forcefield.yaml"):
        (root / "data" / name).symlink_to(data / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JANUS_PORE_RUNS", str(root / "runs"))
        patch.setattr(paths, "data_dir", lambda: root / "data")
        build_system(profile.system)
        ensemble.run_protocol(profile, "step_up", progress=False)
        windows.run_windows(profile, progress=False)
        shipped.ship(profile, series.WINDOWS)
        yield profile, shipped.ship(profile, "step_up")


HELD = Windows(
    fields_V_per_nm={"Cl": (0.0,), "K": (0.0,)}, from_nm=0.0, to_nm=0.1, spacing_nm=0.1,
    equilibrate_ps=0.1, sample_ps=0.2, frame_ps=0.05, blocks=2,
)  # fmt: skip


def from_campaign(profile: Profile) -> Profile:
    return profile.model_copy(update={"source": "campaign"})


@pytest.mark.gromacs
def test_what_ships_is_what_was_run(item: tuple[Profile, Path]) -> None:
    profile, _ = item
    live = series.open_protocol(profile, "step_up")
    found = series.open_protocol(from_campaign(profile), "step_up")
    assert list(found) == list(live) == ["to_V_per_nm=0.4", "to_V_per_nm=0.8"]
    for label, dataset in found.items():
        assert dataset.sizes["replica"] == 3
        for name in live[label].variables:
            np.testing.assert_array_equal(dataset[name].values, live[label][name].values, name)
        assert dataset.attrs["system_key"] == live[label].attrs["system_key"]
        assert dataset["charge"].attrs["units"] == live[label]["charge"].attrs["units"]


@pytest.mark.gromacs
def test_windows_that_ship_are_those_that_were_run(item: tuple[Profile, Path]) -> None:
    profile, path = item
    live, found = (series.open_windows(p) for p in (profile, from_campaign(profile)))
    assert found.sizes == {"window": 4, "part": 6, "time": 7, "axis": 3}
    assert found["ion"].values.tolist() == ["Cl", "Cl", "K", "K"]
    for name in live.variables:
        if live[name].dtype.kind == "f":
            # integers of a small unit
            np.testing.assert_allclose(found[name], live[name], atol=0.0051, err_msg=str(name))
        else:
            np.testing.assert_array_equal(found[name], live[name], str(name))
    assert np.abs(found["position"] - live["position"]).max() < 1e-4
    assert found["total"].std() > 10.0
    # the force on a K+ stays whole
    assert found["parts"].isnull().all(["part", "time"]).values.tolist() == [False] * 2 + [True] * 2
    assert float(abs(found["total"] - found["parts"].sum("part"))[:2].max()) < 0.1
    assert found.attrs["system_key"] == live.attrs["system_key"]
    record = series.shipped_manifest(path.with_name("windows.json"))
    assert record["md_ns"] == pytest.approx(4 * 0.3e-3)
    assert list(record["segments"])[2] == "K,E=0,x=0, replica 0"
    assert record["replicas"]["0"] == series.shipped_manifest(path.with_suffix(".json"))[
        "replicas"
    ]["0"]  # fmt: skip
    card = (path.parents[1] / shipped.CARD).read_text(encoding="utf-8")
    assert f"`{path.parent.name}/windows` | Table 1 | 4 | 1 |" in card
    for changes in ({"fields_V_per_nm": {"K": (0.0,)}}, {"to_nm": 0.2}, {"charge_ps": 0.1}):
        other = {"windows": HELD.model_copy(update=changes), "source": "campaign"}
        with pytest.raises(MeasureError, match="not those of profile 'tiny'"):
            series.open_windows(profile.model_copy(update=other))


@pytest.mark.gromacs
def test_its_papers_are_in_order(item: tuple[Profile, Path]) -> None:
    profile, path = item
    manifest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert Profile.model_validate(manifest["profile"]) == profile
    # without settling, which is not part of the series
    assert manifest["md_ns"] == pytest.approx(3 * 2 * 2.0 / 1000)
    assert len({r["seed"] for r in manifest["replicas"].values()}) == 3
    root = path.parents[1]
    card = (root / shipped.CARD).read_text(encoding="utf-8")
    assert f"`{path.parent.name}/step_up` | 3A | 2 | 3 |" in card
    sums = (root / shipped.SUMS).read_text(encoding="utf-8").splitlines()
    assert {line.split("  ")[1] for line in sums} == {
        shipped.CARD,
        f"{path.parent.name}/step_up.nc",
        f"{path.parent.name}/step_up.gro",
        f"{path.parent.name}/step_up.json",
        f"{path.parent.name}/windows.nc",
        f"{path.parent.name}/windows.json",
    }
    for line in sums:
        digest, name = line.split("  ")
        assert hashlib.sha256((root / name).read_bytes()).hexdigest() == digest


@pytest.mark.gromacs
def test_replicas_of_another_machine_are_added(
    item: tuple[Profile, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, path = item
    data = tmp_path / "data"
    shutil.copytree(path.parents[3], data, symlinks=True)
    monkeypatch.setattr(paths, "data_dir", lambda: data)
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path / "runs"))
    with pytest.raises(SpecError, match=r"replicas = 3 of profile 'tiny': all of them ship"):
        shipped.ship(profile, "step_up", add=True)
    with pytest.raises(SpecError, match="windows ship all together"):
        shipped.ship(profile, series.WINDOWS, add=True)
    steps = profile.protocol("step_up").model_copy(update={"replicas": 5})
    more = profile.model_copy(update={"protocols": {"step_up": steps}})
    build_system(more.system)
    ensemble.run_protocol(more, "step_up", progress=False, only={3, 4})
    with pytest.raises(MissingInputError, match="lacks"):
        shipped.ship(more, "step_up")  # which would need all five
    new = shipped.ship(more, "step_up", add=True)
    assert new.relative_to(data) == path.relative_to(path.parents[3])
    found = series.open_protocol(from_campaign(more), "step_up")
    parts = series.read_protocol(path), series.open_protocol(more, "step_up", only={3, 4})
    for label, dataset in found.items():
        assert dataset["replica"].values.tolist() == [0, 1, 2, 3, 4]
        for part in parts:
            there = dataset.sel(replica=part[label]["replica"])
            there = there.isel(slot=slice(part[label].sizes["slot"]))
            for name in part[label].variables:
                np.testing.assert_array_equal(there[name], part[label][name], str(name))
    record = series.shipped_manifest(new.with_suffix(".json"))
    assert record["origins"] == [[0, 1, 2], [3, 4]]
    assert list(record["replicas"]) == ["0", "1", "2", "3", "4"]
    assert len({r["seed"] for r in record["replicas"].values()}) == 5
    assert len(record["segments"]) == 5 * 2
    assert record["md_ns"] == pytest.approx(5 * 2 * 2.0 / 1000)
    assert Profile.model_validate(record["profile"]) == more
    assert new.with_suffix(".gro").read_bytes() == path.with_suffix(".gro").read_bytes()


@pytest.mark.gromacs
def test_bad_requests_are_refused(item: tuple[Profile, Path], tmp_path: Path) -> None:
    profile, path = item
    with pytest.raises(SpecError, match=r"source = 'cloud'.*'live' or 'campaign'"):
        load_profile("tiny", {"source": "cloud"})
    control = profile.model_copy(
        update={"system": profile.system.model_copy(update={"pore": "none"})}
    )
    with pytest.raises(MissingInputError, match=r"mosse-none.*there is: nothing"):
        series.open_shipped(control, "step_up")
    other = profile.model_copy(
        update={
            "protocols": {
                "step_up": profile.protocol("step_up").model_copy(
                    update={"scan": {"to_V_per_nm": (0.4,)}}
                )
            }
        }
    )
    with pytest.raises(MeasureError, match="not the waveforms"):
        series.open_shipped(other, "step_up")
    for part, change in (
        ("run", {"temperature_K": 310.0}),
        ("run", {"pore_radius_nm": 0.4}),
        ("system", {"length_x_nm": 4.0}),
    ):
        edited = getattr(profile, part).model_copy(update=change)
        ((name, value),) = change.items()
        with pytest.raises(MeasureError, match=f"was made with {name} = .*'tiny' has {value}"):
            series.open_shipped(profile.model_copy(update={part: edited}), "step_up")
    other = {"reference_length_x_nm": 6.4, "source": "campaign"}
    longer = profile.model_copy(update=other)
    with pytest.raises(MeasureError, match=r"made with reference_length_x_nm = 8\.0"):
        series.open_shipped(longer, "step_up")
    with pytest.raises(MeasureError, match=r"made with reference_length_x_nm = 8\.0"):
        series.open_windows(longer)
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(MeasureError, match="checksum"):
            series.open_shipped(profile, "step_up")
    finally:
        path.write_bytes(whole)
    stray = tmp_path / "stray.json"
    stray.write_text('{"kind": "system"}', encoding="utf-8")
    with pytest.raises(MeasureError, match="not the manifest of a campaign item"):
        shipped.repeat(stray, replicas=3, seed=2)
    with pytest.raises(MeasureError, match="seed = 1 is the item's own"):
        shipped.repeat(path.with_suffix(".json"), replicas=3, seed=1)


@pytest.mark.gromacs
def test_an_item_is_made_again_from_its_manifest(
    item: tuple[Profile, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = item
    assert shipped.main(["repeat", str(path.with_suffix(".json"))]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith("to_V_per_nm=")]
    assert len(rows) == 6
    # Other random numbers: a mean number of waters may come out the same, the rest does not.
    same = []
    for row in rows:
        before, again = row[63:].split("±")[0].split()[-1], row[82:].split("±")[0].split()[-1]
        same.append(before == again and float(before) != 0)
    assert sum(same) <= 2, rows


@pytest.mark.gromacs
def test_windows_are_made_again_from_their_manifest(item: tuple[Profile, Path]) -> None:
    _, path = item
    found = shipped.repeat(path.with_name("windows.json"), seed=2)
    assert [a.label for a in found] == [
        f"{ion}, 0 V/nm, x = {x} nm" for ion in ("Cl", "K") for x in ("0", "0.1")
    ]
    assert all(a.shipped != a.again for a in found)
    assert all(np.isfinite(a.deviations) for a in found)


def test_windows_agree_in_standard_errors_of_their_blocks() -> None:
    rng = np.random.default_rng(2)
    asked = HELD.model_copy(update={"equilibrate_ps": 1.0, "blocks": 10})
    times = 0.1 * np.arange(1010)

    def forces(shift: float) -> xr.Dataset:
        total = rng.normal(shift, 1.0, (4, len(times)))
        total[:, times < 0.95] = 1e6  # equilibration does not count
        return xr.Dataset(
            {"total": (("window", "time"), total)},
            coords={
                "ion": ("window", ["Cl", "Cl", "K", "K"]), "x_nm": ("window", [0.0, 0.1] * 2),
                "field_V_per_nm": ("window", [0.0] * 4), "time": times,
            },
        )  # fmt: skip

    found = shipped.compare_windows(forces(0.0), forces(1.0), asked)
    assert len(found) == 4
    for a in found:
        assert a.shipped[1] == pytest.approx(1 / np.sqrt(1000), rel=0.6)
        assert a.again[0] - a.shipped[0] == pytest.approx(1.0, abs=0.2)
        assert a.deviations > 8


def test_the_source_alone_finds_what_ships() -> None:
    """Only the profile ``campaign`` ships results, so that is what is meant."""
    chosen = load_profile("demo", {"source": "campaign", "system.pore": "none"})
    assert (chosen.name, chosen.source, chosen.system.pore) == ("campaign", "campaign", "none")
    assert load_profile("demo").source == "live"


def test_agreement_is_counted_in_standard_errors() -> None:
    """Two ensembles of the same normal law differ by sqrt(2) standard errors at most often."""
    rng = np.random.default_rng(1)

    def ensemble_of(shift: float) -> dict[str, xr.Dataset]:
        n, m = 400, 5
        charge = np.zeros((n, 3, 2, m))
        charge[:, 0, 0, -1] = rng.normal(shift, 1, n)
        return {
            "a": xr.Dataset(
                {
                    "pore_water_count": (("replica", "time"), rng.normal(10, 1, (n, m))),
                    "dipole_x": (("replica", "time"), rng.normal(0, 1, (n, m))),
                    "charge": (("replica", "estimator", "species", "time"), charge),
                },
                coords={"estimator": ["box", "pore", "crossings"], "species": ["K", "Cl"]},
            )
        }

    found = {a.quantity: a for a in shipped.compare(ensemble_of(0.0), ensemble_of(1.0))}
    charge = found["charge, whole box (e)"]
    assert charge.shipped[1] == pytest.approx(1 / np.sqrt(400), rel=0.15)
    assert charge.deviations == pytest.approx(1 / np.sqrt(2 / 400), rel=0.25)
    assert found["pore water"].deviations < 4


def test_frames_closer_together_do_not_count_more() -> None:
    """Segments that protocols share bring their own spacing of frames with them."""
    t = np.r_[np.arange(0, 10, 0.1), np.arange(10, 100.1, 0.5)]
    noise = np.random.default_rng(0).normal(0, 0.1, (8, 1))
    values = 20 * (1 - np.exp(-t / 5)) + noise
    whole = xr.Dataset(
        {
            "pore_water_count": (("replica", "time"), values),
            "dipole_x": (("replica", "time"), values),
            "charge": (("replica", "estimator", "species", "time"), np.zeros((8, 1, 1, len(t)))),
        },
        coords={"time": t, "estimator": ["box"]},
    )
    even = whole.isel(time=np.flatnonzero(np.isclose(t % 0.5, 0) | np.isclose(t % 0.5, 0.5)))
    for found in shipped.compare({"a": whole}, {"a": even})[:2]:
        assert found.again[0] == pytest.approx(found.shipped[0], abs=0.01)


def test_a_damaged_protocol_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "steps.nc"
    path.write_bytes(b"no netCDF")
    with pytest.raises(MeasureError, match=r"steps\.nc is damaged"):
        series.read_protocol(path)


def test_what_is_the_same_without_scatter_agrees():
    """Water in a membrane without a pore: none, in every replica of both."""
    nothing, one = (0.0, 0.0), (1.0, 0.0)
    assert shipped.Agreement("", "pore water", nothing, nothing).deviations == 0
    assert shipped.Agreement("", "pore water", nothing, one).deviations == np.inf
    assert shipped.Agreement("", "", (1.0, 0.3), (2.0, 0.4)).deviations == pytest.approx(2.0)


def test_a_shipped_file_can_be_open_in_xarray_as_well() -> None:
    """Some builds of HDF5 end the process where one file is opened in two ways."""
    clone = Path(__file__).parents[2]
    file = clone / "data/campaigns/campaign/mosse-hollow6/step_up.nc"
    script = f"""
from pathlib import Path
import xarray as xr
from janus_pore.measure import series
for _ in range(3):
    mine = xr.open_dataset({str(file)!r}, group="to_V_per_nm=0.8")
    theirs = series.read_protocol(Path({str(file)!r}))["to_V_per_nm=0.8"]
    assert (mine["time"] == theirs["time"]).all()
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_card_says_where_the_article_shows_an_item() -> None:
    own = load_profile("campaign")
    by_variant = {one.variant: one for one in own.siblings()}
    assert shipped._figure("campaign", own, "sine_slow") == "1B"
    assert shipped._figure("campaign", by_variant["no-pore"], "sine") == "beside 1B"
    assert shipped._figure("campaign", by_variant["uncharged"], "sine_slow") == "4"
    assert shipped._figure("campaign", by_variant["bond4"], "step_up") == "beside 3A"
    assert shipped._figure("nowhere", own, "step_up") == "3A"
