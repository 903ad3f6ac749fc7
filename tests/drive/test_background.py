"""Designs in the background: found again, judged by what is on disk, stopped with a checkpoint."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from janus_pore.drive import background, ensemble
from janus_pore.errors import MissingInputError, SpecError
from janus_pore.spec import Constant, GaussianPulse, Profile, Sine, load_profile

TINY = load_profile("tiny")


def wait(done: Callable[[], bool], seconds: float = 300.0) -> None:
    """Until something is so; fails if it is not in time."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_a_design_is_the_profile_with_one_waveform_and_other_charges() -> None:
    made = background.design(TINY, Sine(amplitude_V_per_nm=1, frequency_GHz=50), replicas=3)
    assert list(made.protocols) == [background.PROTOCOL]
    assert made.protocol(background.PROTOCOL).replicas == 3
    assert (made.system, made.run, made.windows) == (TINY.system, TINY.run, None)
    assert made.siblings() == ()
    other = background.design(TINY, Sine(amplitude_V_per_nm=1, frequency_GHz=50), charge_set="mos2")
    assert other.system == TINY.system.model_copy(update={"charge_set": "mos2"})
    assert len({background.job(one).folder for one in (made, other, made)}) == 2
    with pytest.raises(SpecError, match="exceeds"):
        background.design(TINY, Constant(field_V_per_nm=9, duration_ps=1))


def test_what_never_ran_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    job = background.job(background.design(TINY, Constant(field_V_per_nm=1, duration_ps=1)))
    assert job.state == {}
    assert job.process() is None
    assert job.last_words() == ""
    with pytest.raises(MissingInputError, match="01_build"):
        job.progress()
    assert background.jobs() == []
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_another_process_has_got_is_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    job = background.job(background.design(TINY, Constant(field_V_per_nm=1, duration_ps=1)))
    job.folder.mkdir(parents=True)
    born = background._birth(psutil.Process())
    with subprocess.Popen(["sleep", "60"]) as another:
        others = background._birth(psutil.Process(another.pid))
        another.kill()
    assert others != born
    for state, at_work in (
        ({"pid": os.getpid(), "born": born}, True),
        ({"pid": os.getpid(), "born": others}, False),
        ({"pid": os.getpid(), "born": psutil.Process().create_time()}, False),
        ({"pid": "x"}, False),
    ):
        (job.folder / "state.json").write_text(json.dumps(state))
        assert (job.process() is not None) == at_work
    # the machine's clock is put right, as after a virtual machine's pause
    (job.folder / "state.json").write_text(json.dumps({"pid": os.getpid(), "born": born}))
    late = psutil.Process().create_time() + 3
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: late)
    assert job.process() is not None
    (job.folder / "state.json").write_text("{")
    assert job.state == {}


@pytest.mark.gromacs
def test_a_run_is_stopped_with_a_checkpoint_and_goes_on(
    runs: Callable[[str], Path], tiny: Profile
) -> None:
    runs("background")
    pulse = GaussianPulse(peak_V_per_nm=1, centre_ps=8, width_ps=3, duration_ps=16)
    short = tiny.model_copy(update={"run": tiny.run.model_copy(update={"chunk_ps": 4.0})})
    job = background.job(background.design(short, pulse))
    total = job.progress().total_ns
    before = job.progress().done_ns
    job.start(keep_trajectory=True)
    job.start()  # a second time changes nothing
    first = job.process()
    assert first is not None
    assert os.getsid(first.pid) == first.pid  # no session of ours ends it
    wait(lambda: job.progress().done_ns > before + 0.001)
    job.stop()
    wait(lambda: job.process() is None)
    kept = job.progress().done_ns
    assert before + 0.001 < kept < total
    assert "was stopped" in job.last_words(9)
    assert job.records() == [] or not (job.records()[0].path[-1] / "trajectory.xtc").exists()
    (found,) = background.jobs()
    assert found == job
    found.start(keep_trajectory=True)
    wait(lambda: found.process() is None)
    assert found.progress() == ensemble.Progress(pytest.approx(total), pytest.approx(total))
    (record,) = found.records()
    assert record.duration_ps == pytest.approx(16)
    assert (record.path[-1] / "trajectory.xtc").is_file()
