"""Starting sweeps, waiting for them, and looking at what they left."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHARGE_SETS = ("mosse", "nosuch")
"""One that is there, and one that is not."""


RUNNING = "runs/*/r000/.*.partial/md.part*"
"""What a running replica has."""


class Finished(NamedTuple):
    """A sweep that is over: where it lies, how it ended, what was there at each kill."""

    folder: Path
    status: int
    printed: str
    at_kills: list[dict[Path, int]]


def sweep_file(folder: Path, charge_sets: tuple[str, ...]) -> Path:
    """Two amplitudes for each charge set, on the smallest system with little of everything."""
    content = {
        "profile": "tiny",
        "protocols": ["sine"],
        "vary": {"charge_set": list(charge_sets), "amplitude_V_per_nm": [0.6, 1.2]},
        "fixed": {
            "run.equilibration_ps": 1.0,
            "run.settle_ps": 0.25,
            "protocols.sine.replicas": 1,
            "protocols.sine.waveform.frequency_GHz": 50.0,
        },
        "notebooks": [],
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "both.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def start(file: Path, where: str, **further: str) -> subprocess.Popen[str]:
    """A sweep on its way, with runs and results beside its file."""
    here = {"JANUS_PORE_RUNS": str(file.parent / "runs")}
    here |= {"JANUS_PORE_RESULTS": str(file.parent / "results")}
    command = [sys.executable, "-m", "janus_pore.show.sweep", "run", str(file), "--where", where]
    return subprocess.Popen(
        command, env=os.environ | here | further, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def wait_for(
    what: Callable[[], Any], process: subprocess.Popen[str], timeout_s: float = 300.0
) -> None:
    """Until something is so, while a process lives."""
    until = time.monotonic() + timeout_s
    while not what():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.1)


def checksums(folder: Path) -> dict[str, str]:
    """Content of every series of every point."""
    return {
        f"{index.parent.name}/{name}": about["sha256"]
        for index in sorted((folder / "results" / "sweeps").glob("*/*/series.json"))
        for name, about in json.loads(index.read_text(encoding="utf-8")).items()
    }


def run_s(folder: Path) -> float:
    """Seconds that the molecular dynamics of the shortest run took."""
    found = [json.loads(p.read_text()) for p in folder.glob("runs/*/r000/*/manifest.json")]
    by_end: dict[str, float] = {}
    for one in found:
        if one["kind_of_run"] == "drive":
            name = str(one["history"][-1][0])
            by_end[name] = by_end.get(name, 0.0) + one["wall_s"]
    return min(by_end.values())


def done(folder: Path, pattern: str = "runs/*/*/*/manifest.json") -> dict[Path, int]:
    """What is finished, by default systems and segments, and when it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob(pattern)}


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """Leave no process behind."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)
