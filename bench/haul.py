"""The long haul: ensemble after ensemble in one process; does anything grow?

``python bench/haul.py --minutes 60`` runs tiny ensembles for that long and looks, after
each, at memory, open files, threads, child processes and files left in the temporary
directory.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from faults import ensemble_profile
from janus_pore.build.system import build_system
from janus_pore.drive import ensemble
from results import keep

WARM_UP = 3
"""Ensembles after which everything has been loaded."""
GROWTH_MB = 2.0
"""Memory, per hundred segments, that counts as none."""


def look() -> dict[str, float]:
    """What this process holds."""
    process = psutil.Process()
    return {
        "memory_MB": process.memory_info().rss / 2**20,
        "open_files": float(process.num_fds()),
        "threads": float(process.num_threads()),
        "children": float(len(process.children(recursive=True))),
        "temporary_files": float(len(list(Path(tempfile.gettempdir()).iterdir()))),
    }


def growth(seen: list[dict[str, float]], segments_each: int) -> dict[str, float]:
    """Slope of each quantity per hundred segments, after the warm-up."""
    kept = seen[WARM_UP:]
    done = segments_each * np.arange(len(kept))
    return {
        name: float(100 * np.polyfit(done, [one[name] for one in kept], 1)[0]) for name in kept[0]
    }


def play(minutes: float) -> dict[str, object]:
    """Run for so long."""
    profile = ensemble_profile(2)
    seen: list[dict[str, float]] = []
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
        while time.monotonic() < until or len(seen) < WARM_UP + 3:
            shutil.rmtree(runs, ignore_errors=True)
            shutil.copytree(prepared, runs)
            ensemble.run_protocol(profile, "pairs", workers=2, progress=False)
            seen.append(look())
        made = len(list(runs.glob("*/r*/*/manifest.json")))
    slopes = growth(seen, made)
    return {
        "ensembles": len(seen),
        "segments": len(seen) * made,
        "first": seen[WARM_UP],
        "last": seen[-1],
        "growth_per_100_segments": slopes,
        "passed": slopes["memory_MB"] < GROWTH_MB
        and all(seen[-1][n] <= seen[WARM_UP][n] for n in ("open_files", "children")),
    }


def main() -> int:
    """Command line; the exit status is 1 if something grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    found = play(parser.parse_args().minutes)
    keep("haul", found)
    print(found)
    return 0 if found["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
