"""What the set-up scripts share: one error, one voice, one way to run a long program.

Standard library only: these scripts run before any environment exists.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONDA_ROUTE = (
    "take everything from conda-forge:\n"
    "    conda env create -f environment.yml\n"
    "    conda activate janus-pore\n"
    "  and repeat the command"
)


class SetupError(Exception):
    """Set-up cannot go on; the message says what was wrong and what to do."""


def say(message: str) -> None:
    """Print one line at once, also where output is a pipe."""
    print(message, flush=True)


def cache_root() -> Path:
    """Directory of the GROMACS builds, which clones share; made if it is absent."""
    if str(ROOT / "lib") not in sys.path:
        sys.path.insert(0, str(ROOT / "lib"))
    from janus_pore.paths import cache_dir  # the one place that knows where things lie

    root = cache_dir() / "gromacs"
    try:
        root.mkdir(parents=True, exist_ok=True)
        writable = os.access(root, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise SetupError(
            f"the cache {root} cannot be written; set XDG_CACHE_HOME to a directory that can"
        )
    return root


def run_logged(
    command: Sequence[str | Path],
    log: Path,
    what: str,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    fraction: Callable[[str], float | None] | None = None,
) -> None:
    """Run a program with all its output in ``log``, showing progress.

    Parameters
    ----------
    command
        Program and arguments.
    log
        File that the command line and the output are appended to.
    what
        What is being done, for the progress line and the error.
    fraction
        Reads the fraction done (0 to 1) off an output line, or None where it shows none.

    Raises
    ------
    SetupError
        If the program is absent or fails, with the log's name and its last lines.
    """
    words = [str(word) for word in command]
    start = time.monotonic()
    with log.open("a", encoding="utf-8", errors="replace") as out:
        out.write(f"\n$ {' '.join(words)}\n")
        out.flush()
        try:
            process = subprocess.Popen(
                words,
                cwd=cwd,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise SetupError(f"{what}: {words[0]} cannot be started: {error.strerror}") from error
        assert process.stdout is not None
        try:
            _show_progress(process.stdout, out.write, what, fraction, start)
        finally:
            # After an interrupt the program stops by itself; wait, so that nothing it
            # still writes outlives the clean-up.
            status = process.wait()
    if status != 0:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        raise SetupError(
            f"{what} failed (exit status {status}). The last lines of {log}:\n"
            + "\n".join(f"    {line[:200]}" for line in tail)
        )


def _show_progress(
    lines: Iterable[str],
    keep: Callable[[str], object],
    what: str,
    fraction: Callable[[str], float | None] | None,
    start: float,
) -> None:
    """One updating line on a terminal, a line for each 10 % elsewhere."""
    if fraction is None:
        say(what)
    terminal = sys.stdout.isatty()
    shown = -1
    for line in lines:
        keep(line)
        done = fraction(line) if fraction is not None else None
        if done is None:
            continue
        percent = min(100, int(100 * done))
        percent = percent if terminal else percent // 10 * 10
        if percent <= shown:
            continue
        shown = percent
        minutes, seconds = divmod(int(time.monotonic() - start), 60)
        text = f"{what}  {percent:3d} %  {minutes}:{seconds:02d}"
        print(f"\r{text}" if terminal else text, end="" if terminal else "\n", flush=True)
    if terminal and shown >= 0:
        print(flush=True)
