"""A small sample of the fault campaign; ``make faults`` plays the whole."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import faults
from janus_pore.errors import MeasureError


@pytest.mark.gromacs
def test_an_ensemble_survives_a_sample_of_all_faults() -> None:
    tally = faults.play(4, seed=5, replicas=2, per_ensemble=4)
    assert sum(tally.faults.values()) == 4
    assert tally.series_compared == 2 * 5 * tally.ensembles
    assert tally.passed, tally.summary()


def test_wrong_and_missing_results_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the campaign could not fail."""
    campaign = faults.Campaign(tmp_path, seed=1, replicas=1)
    monkeypatch.setattr(campaign, "start", lambda: None)
    monkeypatch.setattr(campaign, "finished", lambda driver, ours: True)
    for name, value in (("same", 1.0), ("other", 2.0), ("missing", None)):
        for root, kept in ((campaign.right, 1.0), (campaign.runs, value)):
            directory = root / "system" / "r000" / name
            directory.mkdir(parents=True)
            if kept is not None:
                (directory / "series.nc").write_text(str(kept))

    def read(path: Path) -> xr.Dataset:
        if not path.exists():
            raise MeasureError("missing")
        return xr.Dataset({"charge": ("time", np.array([np.nan, float(path.read_text())]))})

    monkeypatch.setattr(faults.series, "read", read)
    campaign.complete()
    assert campaign.tally.series_compared == 3
    assert [Path(p).parent.name for p in campaign.tally.series_wrong] == ["missing", "other"]
    assert not campaign.tally.passed
    monkeypatch.setattr(campaign, "finished", lambda driver, ours: False)
    campaign.complete()
    assert campaign.tally.unfinished == 1
