"""Reduction in a process of its own, which a damaged trajectory may end.

The decoder of compressed coordinates, GROMACS's as well as MDAnalysis's, trusts the numbers
in the file: flipped bits can make it divide by zero or write where it should not. A driver
that reduces many trajectories must not end with one of them, so this module, run with
``python -m``, does the decoding, one trajectory after another.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import xarray as xr

from ..errors import MeasureError, RunError
from . import trajectory

_FAULTS = {signal.SIGFPE, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL}
"""Signals of a program that went wrong by itself."""


def reduce_trajectory(xtc: Path, system_manifest: Mapping[str, Any], **options: Any) -> xr.Dataset:
    """:func:`janus_pore.measure.trajectory.reduce_trajectory`, safe from damaged files.

    Parameters
    ----------
    xtc, system_manifest, **options
        As there. All must be picklable: no lambda for ``field``.

    Raises
    ------
    MeasureError
        As there, or if the decoder broke down on the file.
    RunError
        If something else ended the process; the trajectory may be whole.
    """
    return _reducer()(xtc, system_manifest, options)


class _Reducer:
    """The process, started when it is first needed and again when it was lost."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __call__(
        self, xtc: Path, system_manifest: Mapping[str, Any], options: Mapping[str, Any]
    ) -> xr.Dataset:
        with self._lock:
            if self._process is None:
                # A session of its own: Ctrl-C is for this process to deal with.
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__], stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
            process = self._process
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                pickle.dump((xtc, dict(system_manifest), dict(options)), process.stdin)
                process.stdin.flush()
                answer = pickle.load(process.stdout)
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                self._process = None
                process.stdout.close()
                raise _lost(xtc, process.wait()) from error
            except BaseException:  # an interrupt: its answer would be taken for the next one's
                self._process = None
                process.kill()
                process.communicate()
                raise
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, xr.Dataset)
        return answer

    def close(self) -> None:
        """End the process."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.communicate()


def _lost(xtc: Path, returned: int) -> MeasureError | RunError:
    """What to say of a process that ended over a trajectory."""
    if -returned in _FAULTS:
        return MeasureError(
            f"{xtc} is damaged: decoding it ended in {signal.Signals(-returned).name}; run the "
            "segment again"
        )
    return RunError(
        f"the process that reduced {xtc} was ended from outside (status {returned}); is there "
        "memory enough? The same command continues"
    )


@cache
def _reducer() -> _Reducer:
    reducer = _Reducer()
    atexit.register(reducer.close)
    return reducer


def _serve(jobs: BinaryIO, answers: BinaryIO) -> None:
    """Do jobs until there are no more."""
    while True:
        try:
            xtc, system_manifest, options = pickle.load(jobs)
        except EOFError:
            return
        try:
            answer: xr.Dataset | Exception = trajectory.reduce_trajectory(
                xtc, system_manifest, **options
            )
        except Exception as error:  # it belongs to who asked
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    # What a library prints must not get among the answers.
    with os.fdopen(os.dup(1), "wb") as stream:
        os.dup2(2, 1)
        _serve(sys.stdin.buffer, stream)
