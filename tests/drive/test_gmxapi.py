"""The ensemble through gmxapi gives what the program gives; skipped where it is absent."""

import contextlib
import fcntl
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from janus_pore.drive import ensemble, gromacs, manifests, through_gmxapi
from janus_pore.errors import RunError
from janus_pore.measure import series
from janus_pore.spec import Profile

pytestmark = pytest.mark.gromacs

Runs = Callable[[str], Path]

SERIAL = ("-ntmpi", "1", "-ntomp", "1")


@pytest.fixture(autouse=True)
def _available() -> None:
    why_not = through_gmxapi.unavailable(gromacs.find_gmx())
    if why_not:
        pytest.skip(why_not)


def by_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(through_gmxapi, "unavailable", lambda _: "for comparison")


def test_both_ways_give_the_same_series_and_states(
    tiny: Profile, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    real = through_gmxapi.Servers.__call__

    def counted(self: through_gmxapi.Servers, *arguments: object) -> int | None:
        status = real(self, *arguments)  # type: ignore[arg-type]
        started.append(self._idle[-1].process.pid)
        return status

    monkeypatch.setattr(through_gmxapi.Servers, "__call__", counted)
    there = runs("gmxapi")
    ensemble.run_protocol(tiny, "ppd", progress=False, workers=2)
    assert len(started) >= 10
    assert len(set(started)) <= 2 + 1  # processes do one simulation after another
    by_program(monkeypatch)
    here = runs("program")
    ensemble.run_protocol(tiny, "ppd", progress=False, workers=2)
    files = sorted(here.glob("*/r*/*/series.nc"))
    assert len(files) >= 10
    for file in files:
        a, b = (series.read(root / file.relative_to(here)) for root in (here, there))
        for name in a.variables:
            np.testing.assert_array_equal(a[name].values, b[name].values)
        state = [
            manifests.read_manifest(root / file.parent.relative_to(here))["state"]
            for root in (here, there)
        ]
        assert state[0] == state[1]
    ways = [
        manifests.read_manifest(root / files[0].parent.relative_to(here))["through"]
        for root in (here, there)
    ]
    assert ways == ["program", "gmxapi"]


def test_a_process_is_replaced_before_it_has_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By jobs that fail at once: without a run input there is nothing to simulate."""
    took: list[through_gmxapi._Server] = []
    real = through_gmxapi.Servers._take

    def seen(self: through_gmxapi.Servers) -> through_gmxapi._Server:
        took.append(real(self))
        return took[-1]

    monkeypatch.setattr(through_gmxapi.Servers, "_take", seen)
    monkeypatch.setattr(through_gmxapi, "SIMULATIONS_EACH", 2)
    with contextlib.closing(through_gmxapi.Servers()) as servers:
        for _ in range(5):
            assert servers([], tmp_path, gromacs.Stop(), ()) == 1
        first, _, second, _, third = took
        assert [took.count(one) for one in (first, second, third)] == [2, 2, 1]
        assert (first.process.returncode, second.process.returncode) == (0, 0)
        assert third.process.poll() is None
    assert third.process.returncode == 0


def test_a_lock_is_free_after_its_simulation(tiny: Profile, runs: Runs, tmp_path: Path) -> None:
    """MPI leaves a daemon behind, which must not hold what it found open."""
    runs("locks")
    record, *_ = ensemble.run_protocol(tiny, "step_up", progress=False)
    job = tmp_path / "job"
    job.mkdir()
    shutil.copy(record.path[-1] / "segment.tpr", job)
    lock = job / "lock"
    with contextlib.closing(through_gmxapi.Servers()) as servers:
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            arguments = ["-s", "segment.tpr", "-nsteps", "10", *SERIAL]
            status = servers(arguments, job, gromacs.Stop(), (held.fileno(),))
            assert status == 0, (job / "md.out").read_text()
        assert servers._idle[0].process.poll() is None
        with lock.open("w") as another:
            fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_failure_shows_the_same_lines(
    tiny: Profile, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs("failing")
    monkeypatch.setattr(
        gromacs, "hardware_flags", lambda *_, **__: ["-ntmpi", "1", "-bonded", "gpu"]
    )
    with pytest.raises(RunError) as raised:
        ensemble.run_protocol(tiny, "step_up", progress=False, workers=2)
    said = str(raised.value)
    assert "Bonded interactions on GPU are not supported" in said
    assert "mdrun -s segment.tpr" in said


def test_a_stop_leaves_a_checkpoint(
    tiny: Profile, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = runs("stopped")

    def stop_it() -> None:
        while not any(b"step " in p.read_bytes() for p in here.glob("*/r*/*/mdrun_*/stderr.txt")):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_it, daemon=True).start()
    with pytest.raises(RunError, match=r"stopped .* the same command continues"):
        ensemble.run_protocol(tiny, "sine", progress=False, workers=2)
    assert list(here.glob("*/r*/.*.partial/state.cpt"))
    stopped = ensemble.run_protocol(tiny, "sine", progress=False, workers=2)
    by_program(monkeypatch)
    runs("undisturbed")
    undisturbed = ensemble.run_protocol(tiny, "sine", progress=False, workers=2)
    for a, b in zip(stopped, undisturbed, strict=True):
        np.testing.assert_array_equal(
            series.concatenate(list(a.series)).charge, series.concatenate(list(b.series)).charge
        )
