"""A sweep through a real SLURM that loses a node and allows too little time."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import slurm
import yaml
from sweeping import (
    CHARGE_SETS,
    RUNNING,
    Finished,
    checksums,
    ended,
    run_s,
    start,
    sweep_file,
    wait_for,
)

import debian
from common import SetupError
from janus_pore import paths

pytestmark = pytest.mark.gromacs


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Cluster]:
    """Two nodes of one core each. Where it is safe, SLURM is installed first."""
    if why := slurm.why_not():
        disposable = os.environ.get("CI") or not Path("/run/systemd/system").exists()
        if not disposable or os.geteuid() != 0 or debian.cannot_install(slurm.PACKAGES, ""):
            pytest.skip(why)
        try:
            log = tmp_path_factory.mktemp("apt") / "apt.log"
            debian.install(slurm.PACKAGES, "to test the workflow on SLURM", log)
        except SetupError as error:
            pytest.skip(f"{why}; {error}")
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # sockets' paths have to be short
    try:
        with contextlib.ExitStack() as stack:
            try:
                running = stack.enter_context(slurm.cluster(folder / "c", cores=1))
            except slurm.NotStartedError as error:
                pytest.skip(f"SLURM is installed and does not start here: {error}")
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def profile_for_the_test(folder: Path, limit_s: float) -> Path:
    """The SLURM profile as shipped, with this cluster's limits: so little time for a replica."""
    shipped = paths.project_root() / "workflow" / "profiles" / "slurm" / "config.yaml"
    profile: dict[str, Any] = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    profile["default-resources"] = {"runtime": 5, "mem_mb": 300}
    profile["set-resources"] = {"simulate": {"runtime": 1}}
    profile["config"] = {"margin_min": 1 - limit_s / 60}
    profile["group-components"] = ["show=1"]  # these nodes have one core
    profile |= {
        "latency-wait": 10,
        "retries": 30,  # the nodes may be slower than this machine was before
        "slurm-no-account": True,
        "slurm-status-command": "squeue",  # there is no accounting
        "slurm-init-seconds-before-status-checks": 5,
    }
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    return folder


def test_a_lost_node_and_too_short_a_walltime_change_nothing(
    cluster: slurm.Cluster, on_this_machine: Finished, tmp_path: Path
) -> None:
    seconds = run_s(on_this_machine.folder)
    where = profile_for_the_test(tmp_path / "profile", 0.6 * seconds)
    there = start(sweep_file(tmp_path, CHARGE_SETS[:1]), str(where), **cluster.environment)

    def simulating() -> bool:
        return bool(cluster.on_node("n1") and list(tmp_path.glob(RUNNING)))

    with ended(there):
        wait_for(simulating, there)
        cluster.kill_node("n1")
        printed, _ = there.communicate(timeout=600)
    assert there.returncode == 0, printed

    found = checksums(tmp_path)
    assert len(found) == 2
    assert found == checksums(on_this_machine.folder)
    assert re.search(r"Restarts=[1-9]", cluster.ask("scontrol", "show", "jobs", "--oneliner"))
    logs = (tmp_path / "results" / ".workflow").rglob("*.log")
    assert any("walltime limit" in log.read_text(errors="replace") for log in logs)
    assert not list(tmp_path.rglob("*.failed"))
