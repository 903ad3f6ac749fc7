"""Kills, stops, damage, a full disk, a second process: the same call finishes the work."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from janus_pore.drive import gromacs, manifests, segments, trees
from janus_pore.drive.ensemble import open_runs, run_protocol
from janus_pore.errors import GromacsError, MeasureError, MissingInputError, RunError
from janus_pore.measure import series
from janus_pore.spec import Profile, Protocol, PulseTrain

pytestmark = pytest.mark.gromacs

DRIVER = """
import json, sys
from janus_pore.drive import segments
from janus_pore.drive.ensemble import run_protocol
from janus_pore.spec import Profile
segments.CHECKPOINT_MIN = 0.002
try:
    run_protocol(Profile(**json.loads(sys.argv[1])), "pair", workers=2, progress=False)
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture(scope="module")
def pair(tiny: Profile) -> Profile:
    """Two replicas of a pulse pair with two delays, reduced every 0.8 ps."""
    wave = PulseTrain(
        pulse_V_per_nm=0.7, width_ps=2.0, delay_V_per_nm=0.2, delay_ps=0.5, pulses=2
    )  # fmt: skip
    protocol = Protocol(
        waveform=wave, scan={"delay_ps": (0.5, 1.0)}, replicas=2, frame_ps=0.1
    )  # fmt: skip
    run = tiny.run.model_copy(update={"chunk_ps": 0.8})
    return tiny.model_copy(update={"protocols": {"pair": protocol}, "run": run})


@pytest.fixture(scope="module")
def undisturbed(
    pair: Profile, equilibrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The runs directory of a run that nothing disturbed."""
    target = tmp_path_factory.mktemp("undisturbed") / "runs"
    shutil.copytree(equilibrated, target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JANUS_PORE_RUNS", str(target))
        run_protocol(pair, "pair", progress=False, workers=2)
    return target


def start(profile: Profile) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, profile.model_dump_json()],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def mdruns(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(driver.pid).children(recursive=True):
        try:
            if {"mdrun", "janus_pore.drive.through_gmxapi"} & set(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def wait_for(
    driver: subprocess.Popen[str], what: Callable[[subprocess.Popen[str]], list[Any]]
) -> list[Any]:
    """What a driver brings about, while it runs."""
    until = time.monotonic() + 300
    while not (found := what(driver)):
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.02)
    return found


def assert_equal_series(here: Path, there: Path) -> None:
    files = sorted(here.glob("*/r*/*/series.nc"))
    assert len(files) == 2 * 5
    for file in files:
        a, b = (series.read(root / file.relative_to(here)) for root in (here, there))
        for name in a.variables:
            np.testing.assert_array_equal(a[name].values, b[name].values)
    assert not [p for p in there.glob("*/r*/.*") if p.is_dir()]


@pytest.mark.parametrize("victim", ["mdrun", "driver", "both"])
def test_kill_9_at_a_random_moment(
    pair: Profile, undisturbed: Path, runs: Callable[[str], Path], victim: str
) -> None:
    here = runs("killed")
    chance = random.Random(victim)
    for _ in range(2):
        driver = start(pair)
        running = wait_for(driver, mdruns)
        time.sleep(chance.uniform(0, 1.5))
        running = mdruns(driver) or running
        if victim != "mdrun":
            driver.kill()
        if victim != "driver":
            for process in running:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
        driver.wait()
    run_protocol(pair, "pair", progress=False, workers=2)
    assert_equal_series(undisturbed, here)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_with_a_checkpoint_and_the_same_call_continues_from_it(
    pair: Profile, undisturbed: Path, runs: Callable[[str], Path], number: signal.Signals
) -> None:
    here = runs("stopped")
    driver = start(pair)
    halfway = wait_for(
        driver,
        lambda _: [p for p in here.glob("*/r*/.*.partial/md.out") if b"step " in p.read_bytes()],
    )
    driver.send_signal(number)
    printed, _ = driver.communicate(timeout=300)
    assert driver.returncode == 1
    assert f"stopped (signal {number.name})" in printed
    assert "the same command continues" in printed
    assert "Repeat with" not in printed  # nothing failed
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(here) in str(p.info["cmdline"])]
    assert [p for p in halfway if p.parent.joinpath("state.cpt").exists() or not p.exists()]
    run_protocol(pair, "pair", progress=False, workers=2)
    assert_equal_series(undisturbed, here)


def test_a_walltime_limit_stops_cleanly(
    pair: Profile, undisturbed: Path, runs: Callable[[str], Path]
) -> None:
    here = runs("walltime")
    with pytest.raises(RunError, match=r"walltime limit .* the same command continues"):
        run_protocol(pair, "pair", progress=False, workers=2, walltime_h=1.0 / 3600)
    run_protocol(pair, "pair", progress=False, workers=2, walltime_h=1.0)
    assert_equal_series(undisturbed, here)


def test_two_processes_share_the_work(
    pair: Profile, undisturbed: Path, runs: Callable[[str], Path]
) -> None:
    here = runs("shared")
    drivers = [start(pair), start(pair)]
    for driver in drivers:
        printed, _ = driver.communicate(timeout=300)
        assert driver.returncode == 0, printed
    assert_equal_series(undisturbed, here)


def test_damaged_segments_are_named_and_made_again(
    pair: Profile,
    undisturbed: Path,
    runs: Callable[[str], Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    here = runs("damaged")
    first, *_ = run_protocol(pair, "pair", progress=False, workers=2)
    cut, flipped, unreadable = first.path
    os.truncate(cut / "series.nc", 1000)
    (unreadable / "manifest.json").write_text("{")
    content = bytearray((flipped / "state.cpt").read_bytes())
    content[len(content) // 2] ^= 1
    (flipped / "state.cpt").write_bytes(content)
    with pytest.raises(MissingInputError, match="02_simulate"):
        open_runs(pair, "pair")
    run_protocol(pair, "pair", progress=False, workers=2)
    for directory in (cut, flipped, unreadable):
        assert any(str(directory) in r.getMessage() for r in caplog.records), directory
    assert_equal_series(undisturbed, here)


def test_damaged_run_inputs_are_named_and_made_again(
    pair: Profile,
    undisturbed: Path,
    runs: Callable[[str], Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    here = runs("inputs")
    first, *_ = run_protocol(pair, "pair", progress=False, workers=2)
    shelf = sorted(here.glob("*/tpr/*.tpr"))
    assert len(shelf) >= 2
    for tpr in shelf:
        with tpr.open("r+b") as stream:  # one file under all its names
            stream.seek(-100, os.SEEK_END)
            stream.write(b"\xff" * 8)
    shutil.rmtree(first.path[-1])
    run_protocol(pair, "pair", progress=False, workers=2)
    assert any("is damaged; it is made again" in r.getMessage() for r in caplog.records)
    assert_equal_series(undisturbed, here)


def test_a_segment_that_ends_elsewhere_makes_its_followers_stale(
    pair: Profile, runs: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    runs("elsewhere")
    first, *_ = run_protocol(pair, "pair", progress=False, workers=2)
    manifest = manifests.read_manifest(first.path[0]) | {"state": "of another machine"}
    manifests.write_json(first.path[0] / "manifest.json", manifest)
    before = {p: p.stat().st_mtime for p in first.path}
    (first.path[0] / "series.nc").unlink()
    again, *_ = run_protocol(pair, "pair", progress=False, workers=2)
    assert again.path == first.path
    assert all(p.stat().st_mtime > before[p] for p in first.path)
    assert any("stale" in r.getMessage() for r in caplog.records)


def test_a_lost_segment_that_ends_elsewhere_makes_its_followers_stale(
    pair: Profile, runs: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    runs("lost")
    first, *_ = run_protocol(pair, "pair", progress=False, layout=gromacs.Layout(1, 2))
    lost, *followers = first.path
    before = {p: manifests.read_manifest(p) for p in first.path}
    shutil.rmtree(lost)
    # another number of threads sums in another order
    again, *_ = run_protocol(pair, "pair", progress=False, layout=gromacs.Layout(1, 1))
    assert again.path == first.path
    after = {p: manifests.read_manifest(p) for p in first.path}
    assert after[lost]["state"] != before[lost]["state"]
    assert any("stale" in r.getMessage() for r in caplog.records)
    for parent, follower in zip(first.path, followers, strict=False):
        assert before[follower]["began"] == before[parent]["state"]
        assert after[follower]["began"] == after[parent]["state"]


@pytest.mark.parametrize(
    ("waiting", "harm"),
    [
        ("chunk-*/md.part*.xtc", lambda path: os.truncate(path, 0)),
        ("chunk-*/md.part*.edr", Path.unlink),
        ("series-*.nc", lambda path: os.truncate(path, path.stat().st_size // 2)),
    ],
    ids=["no frames", "no energies", "series cut short"],
)
def test_what_waits_to_be_finished_and_is_damaged_is_made_again(
    pair: Profile,
    undisturbed: Path,
    runs: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    waiting: str,
    harm: Callable[[Path], None],
) -> None:
    here = runs("waiting")

    def power_failure(*_: object) -> None:
        raise RuntimeError("power failure")

    what = "_join_series" if waiting.startswith("series") else "_reduce_chunk"
    with monkeypatch.context() as patch:
        patch.setattr(segments, what, power_failure)
        with pytest.raises(RunError, match="power failure"):
            run_protocol(pair, "pair", progress=False, workers=2)
    # one alone: a segment that continues a damaged one is looked at when that is whole again
    harm(sorted(here.glob(f"*/r*/.*.partial/{waiting}"))[0])
    with pytest.raises(RunError, match="the same command makes it again"):
        run_protocol(pair, "pair", progress=False, workers=2)
    run_protocol(pair, "pair", progress=False, workers=2)
    assert_equal_series(undisturbed, here)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    pair: Profile, undisturbed: Path, runs: Callable[[str], Path]
) -> None:
    here = runs("checkpoint")
    driver = start(pair)
    previous = wait_for(driver, lambda _: list(here.glob("*/r*/.*.partial/state_prev.cpt")))
    directory = previous[0].parent
    for process in mdruns(driver):
        process.kill()
    driver.communicate(timeout=300)
    if (directory / "state.cpt").exists():
        os.truncate(directory / "state.cpt", 5000)
    run_protocol(pair, "pair", progress=False, workers=2)
    assert_equal_series(undisturbed, here)


def test_a_truncated_trajectory_is_named_and_made_again(
    pair: Profile, undisturbed: Path, runs: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = runs("trajectory")
    real = segments._join
    cut: list[Path] = []

    def truncating(engine: segments.Engine, parts: list[Path]) -> Path:
        if not cut and parts[0].parent.parent.parent.name == "r000":
            os.truncate(parts[0], parts[0].stat().st_size * 2 // 3)
            cut.append(parts[0].parent.parent)
        return real(engine, parts)

    monkeypatch.setattr(segments, "_join", truncating)
    with pytest.raises(RunError, match="damaged or cut short") as raised:
        run_protocol(pair, "pair", progress=False, workers=2)
    assert str(cut[0]) in str(raised.value)
    assert not cut[0].exists()
    assert isinstance(raised.value.__cause__, MeasureError)
    run_protocol(pair, "pair", progress=False, workers=2)
    assert_equal_series(undisturbed, here)


def test_a_replica_that_blows_up_is_named_and_the_others_go_on(
    pair: Profile, runs: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs("unstable")
    real = segments.segment_options

    def unstable(engine: segments.Engine, segment: trees.Segment) -> dict[str, str]:
        options = real(engine, segment)
        if segment.replica == 0 and segment.kind == "drive":
            options |= {"electric-field-x": "3e4 0 0 0"}
        return options

    monkeypatch.setattr(segments, "segment_options", unstable)
    with pytest.raises(RunError) as raised:
        run_protocol(pair, "pair", progress=False, workers=2)
    said = str(raised.value)
    assert "1 of 12 segments failed, and 4 that follow them were not run" in said
    assert "r000" in said
    assert "the other 7 are finished" in said
    assert "step" in said.lower()
    assert "mdrun -s segment.tpr" in said
    assert isinstance(raised.value.__cause__, GromacsError)


def test_an_unwritable_directory_is_named(
    pair: Profile, runs: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs("full")

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(segments, "_link_state", no_space)
    with pytest.raises(RunError, match=r"r00\d.*No space left on device; free space"):
        run_protocol(pair, "pair", progress=False, workers=2)
    monkeypatch.undo()
