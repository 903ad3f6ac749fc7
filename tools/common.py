"""What the set-up scripts share: one error, one voice, one way to run a long program.

Standard library only: these scripts run before any environment exists.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
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
    """Directory of the GROMACS builds, which clones share; it may be absent, or another user's.

    Raises
    ------
    SetupError
        If there is no home directory that it could lie in.
    """
    if str(ROOT / "lib") not in sys.path:
        sys.path.insert(0, str(ROOT / "lib"))
    from janus_pore.errors import JanusPoreError
    from janus_pore.paths import cache_dir  # the one place that knows where things lie

    try:
        return cache_dir() / "gromacs"
    except JanusPoreError as error:
        raise SetupError(str(error)) from error


def writable_cache() -> Path:
    """:func:`cache_root`, made if it is absent, to build in.

    Raises
    ------
    SetupError
        If it cannot be written.
    """
    root = cache_root()
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


@contextlib.contextmanager
def locked(path: Path, busy: str) -> Iterator[bool]:
    """One process at a time: a lock on a directory, or on a file that is made if it is absent.

    Parameters
    ----------
    busy
        What is said before waiting for another process.

    Yields
    ------
    bool
        Whether the lock is held: some network file systems lock nothing.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except (IsADirectoryError, PermissionError):  # another user's file, in a cache they share
        descriptor = os.open(path, os.O_RDONLY)
    try:
        yield _lock(descriptor, busy)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, busy: str) -> bool:
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(busy)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


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
