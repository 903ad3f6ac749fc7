"""A sweep on this machine, killed twice; the same on a cluster is compared with it."""

import os
import signal
from pathlib import Path

import pytest
from sweeping import CHARGE_SETS, RUNNING, Finished, done, start, sweep_file, wait_for

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These wait for minutes on a scheduler: where CI is set, that is on every change."""
    if os.environ.get("CI"):
        return
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.skip(reason="takes four minutes: CI=1 make test runs it"))


@pytest.fixture(scope="session")
def on_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The sweep, killed while its first replica runs and again at its first series."""
    pytest.importorskip("snakemake", reason="Snakemake, the 'workflow' extra, is not installed")
    folder = tmp_path_factory.mktemp("local")
    file = sweep_file(folder, CHARGE_SETS)
    at_kills = []
    for sign in (RUNNING, "results/sweeps/*/*/series.json"):
        process = start(file, "local")
        wait_for(lambda sign=sign: list(folder.glob(sign)), process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        at_kills.append(done(folder))
    process = start(file, "local")
    printed, _ = process.communicate(timeout=600)
    return Finished(folder, process.returncode, printed, at_kills)
