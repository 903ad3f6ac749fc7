"""A newcomer's way: from a clean clone, with nothing in the cache, to ``make report``.

``python bench/newcomer.py`` clones this checkout, as committed, into a temporary directory
and makes the report there. What set-up and report print tells the stages apart.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from janus_pore.paths import project_root
from janus_pore.show.report import NOTEBOOKS
from results import keep

STAGES = {
    "build tools, by apt": r"installing .* \(needed to ",
    "Python environment": r"making the Python environment",
    "GROMACS": r"fetching the source package|building GROMACS|GROMACS \d",
    "gmxapi": r"installing gmxapi",
    "browser": r"gmxapi[ ,]",  # said when that is done
    **{name: rf"{name} …$" for name in NOTEBOOKS},
    "pages and PDF": rf"{NOTEBOOKS[-1]} done in",
    "": r"report: ",
}
"""What each stage's first line begins with, in order."""
MAY_LACK = ("build tools, by apt", "gmxapi")
"""Stages that a machine may have no need of, or no way to."""
OURS = re.compile(r"GMX|GROMACS|JANUS_PORE_|PYTHON|VIRTUAL_ENV|MAKE|MFLAGS")
"""Beginnings of the names of variables that would help the newcomer along."""


def stages(lines: Iterable[tuple[float, str]], began: float) -> dict[str, float]:
    """Seconds of each stage, from its first line to the next one's.

    Parameters
    ----------
    lines
        Time, s, and text of each line of ``make report``.
    began
        Time at which the command began; what comes before the first stage is part of it.

    Raises
    ------
    RuntimeError
        If a stage was not seen.
    """
    names, marks = list(STAGES), {}
    at = -1
    for when, line in lines:
        # A notebook may print anything: what has been is not looked for again.
        for i in range(at + 1, len(names)):
            if re.match(STAGES[names[i]], line):
                marks[names[i]] = when
                at = i
                break
    if missing := [name or "end" for name in names if name not in marks and name not in MAY_LACK]:
        raise RuntimeError(f"make report did not show these stages: {', '.join(missing)}")
    seen = list(marks)
    times = [began, *list(marks.values())[1:]]
    return {name: times[i + 1] - times[i] for i, name in enumerate(seen[:-1])}


def shown(stream: Iterable[str]) -> Iterator[tuple[float, str]]:
    """Lines with the times at which they came; they are printed too."""
    for line in stream:
        print(line, end="", flush=True)
        yield time.monotonic(), line.rstrip()


def newcomer(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """An environment that knows of no earlier work."""
    kept = {name: value for name, value in environ.items() if not OURS.match(name)}
    ours = Path(sys.prefix, "bin")
    path = [folder for folder in kept["PATH"].split(os.pathsep) if Path(folder) != ours]
    return kept | {
        "PATH": os.pathsep.join(path),
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
    }


def walk(profile: str) -> dict[str, float]:
    """Go the way; seconds of each stage."""
    with tempfile.TemporaryDirectory(prefix="janus-pore-newcomer-") as scratch:
        clone, home = Path(scratch) / "janus-pore", Path(scratch) / "home"
        home.mkdir()
        began = time.monotonic()
        subprocess.run(["git", "clone", "-q", project_root(), clone], check=True)
        cloned = time.monotonic()
        with subprocess.Popen(
            ["make", "report", f"PROFILE={profile}"], cwd=clone, env=newcomer(os.environ, home),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as made:  # fmt: skip
            assert made.stdout is not None
            lines = list(shown(made.stdout))
        if made.returncode:
            raise subprocess.CalledProcessError(made.returncode, "make report")
    return {"clone": cloned - began, **stages(lines, cloned)}


def main() -> int:
    """Command line; the exit status is 1 if the report is not made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="demo")
    options = parser.parse_args()
    try:
        took = walk(options.profile)
    except (subprocess.CalledProcessError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    keep("newcomer", {"profile": options.profile, "stages_s": took})
    return 0


if __name__ == "__main__":
    sys.exit(main())
