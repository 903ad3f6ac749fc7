"""A small sample of the fault campaign; ``make faults`` plays the whole."""

import os
import signal
import subprocess
import sys
import time
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
    monkeypatch.setattr(campaign, "finished", lambda driver: True)
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
    monkeypatch.setattr(campaign, "finished", lambda driver: False)
    campaign.complete()
    assert len(campaign.tally.unfinished) == 1


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> faults.Campaign:
    """One whose drivers do nothing, for long, and have no handlers.

    A shell that starts the tests in the background has SIGINT ignored; the driver does not.
    """
    made = faults.Campaign(tmp_path, seed=1, replicas=1)
    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    command = [sys.executable, "-c", code + "print(flush=True); time.sleep(600)"]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def let_work(driver: subprocess.Popen[str]) -> None:
        assert driver.stdout is not None
        driver.stdout.readline()

    monkeypatch.setattr(made, "start", start)
    monkeypatch.setattr(made, "let_work", let_work)
    return made


@pytest.mark.parametrize("kind", ["sigterm", "sigint", "kill_driver"])
def test_a_driver_that_our_signal_ended_did_not_break_down(
    campaign: faults.Campaign, kind: str
) -> None:
    assert not campaign.disturbed(kind)
    assert campaign.tally.breakdowns == []


@pytest.mark.parametrize("sent", [None, signal.SIGTERM])
def test_a_driver_that_another_signal_ended_did(
    campaign: faults.Campaign, sent: signal.Signals | None
) -> None:
    driver = campaign.start()
    driver.send_signal(signal.SIGSEGV)
    assert not campaign.finished(driver, sent)
    assert [text.split(":")[0] for text in campaign.tally.breakdowns] == ["status -11"]


def test_a_driver_may_wait_for_long(campaign: faults.Campaign) -> None:
    class Slow:
        pid, returncode = os.getpid(), 0

        def communicate(self, timeout: float) -> tuple[str, None]:
            if timeout < 590:
                raise RuntimeError(f"given up after {timeout} s")
            return "", None

    assert campaign.finished(Slow())  # type: ignore[arg-type]
    assert campaign.tally.passed


def test_a_clock_that_jumped_says_nothing_of_what_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, years = time.time(), 10 * 365 * 86400
    one, other, missing = (tmp_path / name for name in ("one", "other", "missing"))
    for path, dated in ((one, now - 5), (other, now + years)):
        path.touch()
        os.utime(path, (dated, dated))
    monkeypatch.setattr(time, "time", lambda: now)
    assert faults.loss_s([one, other, missing], now - 60) == pytest.approx(5, abs=0.01)
    assert faults.loss_s([other, missing], now - 60) == pytest.approx(60, abs=0.01)
    os.utime(one, (now - years, now - years))
    assert faults.loss_s([one], now - 60) == pytest.approx(60, abs=0.01)
