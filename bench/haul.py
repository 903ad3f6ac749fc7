"""The long haul: does anything grow, in memory or on disk?

``python bench/haul.py --minutes 60`` runs tiny ensembles for that long in one process and
looks, after each, at memory, open files, threads, child processes and files left in the
temporary directory. ``python bench/haul.py --ns 10`` runs one replica for that long instead, of
the tiny system or of ``--profile``'s, and watches what its directory takes on disk.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from faults import ensemble_profile
from janus_pore.build.system import build_system
from janus_pore.drive import ensemble, gromacs
from janus_pore.spec import ALONE, Constant, Profile, Protocol, load_profile
from results import keep

WATCH_EVERY_S = 0.2
WARM_UP = 3
"""Ensembles after which everything has been loaded."""
GROWTH_MB = 2.0
"""Memory, per hundred segments, that counts as none."""
FIRST_NS = 1.0
"""Dynamics after which the disk in use should grow by the series alone."""
FRAME_PS = 0.1
DISK_GROWTH = 1.1
"""Peak on disk over that of :data:`FIRST_NS` that counts as bounded."""


@contextlib.contextmanager
def watching(look: Callable[[], object]) -> Iterator[None]:
    """Look several times a second meanwhile, and once more at the end."""
    over = threading.Event()

    def again() -> None:
        while not over.wait(WATCH_EVERY_S):
            look()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()


# --- memory, files and processes --------------------------------------------------------


@dataclass
class Household:
    """This process and its children."""

    children_MB: float = 0.0
    """Most that servers and reducers have held together since the last :meth:`held`."""

    def look(self) -> None:
        """Watch the children, some of which end with their ensemble."""
        now = 0
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                # Not the tools of GROMACS, which come and go.
                if any(word.startswith("janus_pore.") for word in child.cmdline()):
                    now += child.memory_info().rss
        self.children_MB = max(self.children_MB, now / 2**20)

    def held(self) -> dict[str, float]:
        """What they hold, after an ensemble."""
        process = psutil.Process()
        everybody = [process, *process.children(recursive=True)]
        largest, self.children_MB = self.children_MB, 0.0
        return {
            "memory_of_the_driver_MB": process.memory_info().rss / 2**20,
            "memory_of_its_children_MB": largest,
            "open_files": float(sum(p.num_fds() for p in everybody)),
            "threads": float(process.num_threads()),
            "processes": float(len(everybody)),
            "temporary_files": float(len(list(Path(tempfile.gettempdir()).iterdir()))),
        }


def growth(seen: Sequence[dict[str, float]], segments_each: int) -> dict[str, Any]:
    """Means over the first and the last quarter after the warm-up, and whether they differ."""
    kept = seen[WARM_UP:]
    quarter = max(1, len(kept) // 4)
    first, last = (
        {name: sum(one[name] for one in part) / quarter for name in kept[0]}
        for part in (kept[:quarter], kept[-quarter:])
    )
    between = segments_each * max(1, len(kept) - quarter)
    slopes = {name: 100 * (last[name] - first[name]) / between for name in first}
    return {
        "ensembles": len(seen),
        "segments": len(seen) * segments_each,
        "first_quarter": first,
        "last_quarter": last,
        "growth_per_100_segments": slopes,
        "passed": all(
            slope < GROWTH_MB if name.endswith("_MB") else last[name] < first[name] + 1
            for name, slope in slopes.items()
        ),
    }


def play(minutes: float) -> dict[str, Any]:
    """Run ensembles for so long."""
    profile = ensemble_profile(2)
    seen: list[dict[str, float]] = []
    household = Household()
    with tempfile.TemporaryDirectory(prefix="janus-pore-haul-") as scratch:
        # A temporary directory of its own: others leave files in the machine's.
        os.environ["TMPDIR"] = tempfile.tempdir = str(Path(scratch) / "tmp")
        Path(tempfile.tempdir).mkdir()
        prepared, runs = Path(scratch) / "prepared", Path(scratch) / "runs"
        os.environ["JANUS_PORE_RUNS"] = str(prepared)
        build_system(profile.system)
        ensemble.equilibrate(profile, replicas=2, progress=False)
        os.environ["JANUS_PORE_RUNS"] = str(runs)
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until or len(seen) < WARM_UP + 4:
            shutil.rmtree(runs, ignore_errors=True)
            shutil.copytree(prepared, runs)
            with watching(household.look):
                ensemble.run_protocol(profile, "pairs", workers=2, progress=False)
            seen.append(household.held())
        made = len(list(runs.glob("*/r*/*/manifest.json")))
    return growth(seen, made)


# --- disk -------------------------------------------------------------------------------


@dataclass
class Disk:
    """What the runs have taken on disk so far."""

    runs: Path
    first_steps: int
    """Length of the dynamics after which no more than the series should grow."""
    step: int = 0
    first_peak: int = 0
    peak: int = 0
    parts: dict[tuple[str, str], int] = field(default_factory=dict)
    """Largest size of each part of a trajectory, by segment and name, bytes."""

    def look(self) -> None:
        """Add up what is there; a file with several names counts once."""
        sizes: dict[int, int] = {}
        for folder, _, names in os.walk(self.runs):
            for name in names:
                file = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    about = file.stat()
                    sizes[about.st_ino] = about.st_size
                    if file.match("md.part*.xtc"):
                        part = (file.relative_to(self.runs).parts[2], name)
                        self.parts[part] = max(self.parts.get(part, 0), about.st_size)
        for partial in self.runs.glob("*/r*/.*.partial"):
            self.step = max(self.step, gromacs.current_step(partial) or 0)
        self.peak = max(self.peak, sum(sizes.values()))
        if self.step <= self.first_steps:
            self.first_peak = self.peak

    def summary(self) -> dict[str, Any]:
        """Peaks, what passed through, and what is kept, bytes."""
        passed = sum(self.parts.values())
        kept = sum(file.stat().st_size for file in self.runs.glob("*/*/*/series.nc"))
        return {
            "peak_first_bytes": self.first_peak,
            "peak_bytes": self.peak,
            "peak_over_first": self.peak / self.first_peak,
            "trajectory_bytes": passed,
            "series_bytes": kept,
            "trajectory_over_series": passed / kept,
            "passed": self.peak < DISK_GROWTH * self.first_peak,
        }


def long_profile(ns: float, system: str) -> Profile:
    """One replica of a profile's system at a constant field, in the chunks of ``reduced``."""
    # Rest is not what this is about: tiny's is over in a moment.
    like = {
        "run.chunk_ps": load_profile("reduced").run.chunk_ps,
        "run.equilibration_ps": load_profile("tiny").run.equilibration_ps,
    }
    wave = Constant(field_V_per_nm=0.4, duration_ps=1000 * ns)
    plain = {
        "protocols": {"long": Protocol(waveform=wave, frame_ps=FRAME_PS)},
        "windows": None, **ALONE,
    }  # fmt: skip
    return load_profile(system, like).model_copy(update=plain)


def fill(ns: float, system: str) -> dict[str, Any]:
    """Run the command for so long a protocol of a profile's system, and watch its disk."""
    profile = long_profile(ns, system)
    with tempfile.TemporaryDirectory(prefix="janus-pore-disk-") as scratch:
        here = Path(scratch)
        given = here / f"{system}.yaml"  # which JSON is too
        given.write_text(profile.model_dump_json(), encoding="utf-8")
        places = {
            "JANUS_PORE_RUNS": str(here / "runs"),
            "XDG_CACHE_HOME": str(here / "cache"),
            "GMX": str(gromacs.find_gmx().path),
        }
        disk = Disk(here / "runs", round(FIRST_NS * 1e6 / profile.run.dt_fs))
        command = [sys.executable, "-m", "janus_pore.drive", "run", str(given), "long"]
        with watching(disk.look), subprocess.Popen(command, env=os.environ | places) as driver:
            try:
                if driver.wait():
                    raise subprocess.CalledProcessError(driver.returncode, command)
            except KeyboardInterrupt:
                driver.terminate()  # it ends mdrun; the way out waits for it
                raise
        found = disk.summary()
    return {
        "system": system,
        "ns": ns,
        "first_ns": min(FIRST_NS, ns),
        "chunk_ps": profile.run.chunk_ps,
        "frame_ps": FRAME_PS,
        **found,
    }


def main() -> int:
    """Command line; the exit status is 1 if something grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="length of the long haul")
    parser.add_argument(
        "--ns", type=float, nargs="?", const=10.0, help="watch the disk of so long a run instead"
    )
    parser.add_argument("--profile", default="tiny", help="whose system that is (default: tiny)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.ns is None:
        found = play(options.minutes)
        keep("haul", found)
    else:
        found = fill(options.ns, options.profile)
        keep("disk" if options.profile == "tiny" else "disk_larger", found)
    print(found)
    return 0 if found["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
