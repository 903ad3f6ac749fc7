"""A report that is stopped, as by a user or a scheduler."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from janus_pore import paths


@pytest.mark.gromacs
def test_a_stopped_report_leaves_no_simulation_behind(tmp_path):
    """SIGTERM reaches the kernel, whose mdrun writes a checkpoint and ends."""
    env = os.environ | {
        "JANUS_PORE_RUNS": str(tmp_path / "runs"),
        "JANUS_PORE_RESULTS": str(tmp_path / "results"),
    }
    profile = tmp_path / "long.yaml"
    text = (paths.data_dir() / "profiles" / "tiny.yaml").read_text(encoding="utf-8")
    profile.write_text(text.replace("equilibration_ps: 4.0", "equilibration_ps: 5000.0"))
    command = [sys.executable, "-m", "janus_pore.show.report", "--profile", str(profile)]
    with subprocess.Popen(
        [*command, "--report", str(tmp_path / "report")],
        env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 300
        # Once the start, which is over in seconds and never resumed, is done.
        start, run = "runs/*/equilibrium/*/manifest.json", "runs/*/equilibrium/.*.partial/md.part*"
        while not (list(tmp_path.glob(start)) and list(tmp_path.glob(run))):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(1)
        process.terminate()
        printed, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "the same command continues" in printed
    assert "Traceback" not in printed, printed
    assert "100%|" not in printed.split("equilibration", 1)[1], printed
    here = str(tmp_path)
    assert not [p for p in psutil.process_iter(["cwd"]) if here in str(p.info["cwd"])]
    assert list(tmp_path.glob("runs/*/equilibrium/.*.partial/state.cpt"))
