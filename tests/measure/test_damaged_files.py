"""Damaged trajectories and series: refused in plain words, and the program goes on."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import damaged
from janus_pore.errors import MeasureError
from janus_pore.measure import apart, series
from janus_pore.measure.trajectory import reduce_trajectory
from janus_pore.spec import RunSpec

Wandering = Callable[..., tuple[Path, dict[str, Any]]]
OPTIONS: dict[str, Any] = {"run": RunSpec(), "field": np.sin, "start_ps": 0.0, "duration_ps": 9.5}


def assert_same(a: xr.Dataset, b: xr.Dataset) -> None:
    for name in a.variables:
        np.testing.assert_array_equal(a[name].values, b[name].values)


def test_a_trajectory_is_reduced_apart_as_it_is_here(wandering: Wandering) -> None:
    path, manifest = wandering(frames=20)
    here = reduce_trajectory(path, manifest, **OPTIONS)
    xr.testing.assert_identical(apart.reduce_trajectory(path, manifest, **OPTIONS), here)
    with pytest.raises(MeasureError, match="there is no trajectory"):
        apart.reduce_trajectory(path.with_name("none.xtc"), manifest, **OPTIONS)


def test_damaged_trajectories_do_not_end_the_program(wandering: Wandering) -> None:
    """Flipped bits make the decoder divide by zero, or write over what is not its own."""
    path, manifest = wandering(frames=20, waters=30)
    whole, chance = path.read_bytes(), random.Random(8)
    good = apart.reduce_trajectory(path, manifest, **OPTIONS)
    refused = []
    for _ in range(15):
        path.write_bytes(damaged(whole, chance))
        try:
            found = apart.reduce_trajectory(path, manifest, **OPTIONS)
        except MeasureError as error:
            refused.append(str(error))
        else:
            assert found.sizes["time"] == good.sizes["time"]
    assert any("is damaged: decoding it ended in SIG" in text for text in refused)
    assert any("damaged or cut short after frame" in text for text in refused)
    path.write_bytes(whole)
    assert_same(apart.reduce_trajectory(path, manifest, **OPTIONS), good)


def test_a_reduction_that_is_killed_says_nothing_about_its_trajectory(
    wandering: Wandering, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, manifest = wandering(frames=20)
    reducer = apart._reducer()
    apart.reduce_trajectory(path, manifest, **OPTIONS)
    assert reducer._process is not None
    reducer._process.kill()
    reducer._process.wait()
    with pytest.raises(apart.RunError, match=r"ended from outside .* The same command continues"):
        apart.reduce_trajectory(path, manifest, **OPTIONS)
    apart.reduce_trajectory(path, manifest, **OPTIONS)


def test_a_reduction_that_is_interrupted_leaves_no_answer_for_the_next(
    wandering: Wandering, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, manifest = wandering(frames=20)
    other = path.with_name("other.xtc")
    path.rename(other)
    path, manifest = wandering(frames=15)
    options = OPTIONS | {"duration_ps": 7.0}
    expected = reduce_trajectory(path, manifest, **options)

    def interrupted(stream: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(apart.pickle, "load", interrupted)
        with pytest.raises(KeyboardInterrupt):
            apart.reduce_trajectory(other, manifest, **OPTIONS)
    assert_same(apart.reduce_trajectory(path, manifest, **options), expected)


def test_damaged_series_are_refused_or_the_same(tmp_path: Path, wandering: Wandering) -> None:
    written = series.write(
        reduce_trajectory(*wandering(frames=20), **OPTIONS), tmp_path / "series.nc"
    )
    whole, chance = written.read_bytes(), random.Random(8)
    good = series.read(written)
    refused = []
    for _ in range(30):
        content = damaged(whole, chance)
        written.write_bytes(content)
        try:
            assert_same(series.read(written), good)
        except MeasureError as error:
            refused.append(str(error))
        assert written.read_bytes() == content
    assert len(refused) > 5
    assert all("series.nc" in text for text in refused)


@st.composite
def datasets(draw: st.DrawFn) -> xr.Dataset:
    """Series of any length with any values that they can hold."""
    frames, slots, ions = (draw(st.integers(low, 6)) for low in (1, 1, 0))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    counts = chance.integers(0, slots, frames, endpoint=True)
    theta = np.full((frames, slots), np.nan)
    for row, n in zip(theta, counts, strict=True):
        row[:n] = chance.uniform(-180, 180, n)
    large = draw(st.sampled_from([1e-3, 1.0, 1e3]))
    start = draw(st.integers(0, 10**9)) * 5e-4
    return xr.Dataset(
        {
            "field": ("time", chance.uniform(-10, 10, frames)),
            "charge": (
                ("estimator", "species", "time"),
                large * chance.normal(size=(3, 2, frames)),
            ),
            "ions_in_pore": (("species", "time"), chance.integers(0, 300, (2, frames))),
            "pore_water_count": ("time", counts),
            "theta": (("time", "slot"), theta),
            "dipole_x": ("time", large * chance.normal(size=frames)),
            "ion_x": (("boundary", "ion"), chance.uniform(-50, 50, (2, ions))),
        },
        coords={
            "time": ("time", start + 5e-4 * np.cumsum(chance.integers(1, 1000, frames))),
            "species": ["K", "Cl"],
            "estimator": ["box", "pore", "crossings"],
            "boundary": ["first", "last"],
        },
        attrs=dict.fromkeys(series._NEEDED, 1.0),
    )  # fmt: skip


@given(dataset=datasets())
@settings(max_examples=40, deadline=None)
def test_any_series_survives_a_round_trip(
    tmp_path_factory: pytest.TempPathFactory, dataset: xr.Dataset
) -> None:
    path = tmp_path_factory.mktemp("series") / "series.nc"
    found = series.read(series.write(dataset, path))
    for name in series._DIMENSIONS:
        half = 0.5001 * series._UNIT_STORED.get(name, 0.0)
        np.testing.assert_allclose(
            found[name].values, dataset[name].values, rtol=1e-12, atol=half, err_msg=name
        )
    again = series.read(series.write(found, path))
    assert_same(again, found)
