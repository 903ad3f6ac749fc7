"""mdrun through gmxapi, in processes of its own that do one simulation after another.

gmxapi runs libgromacs inside the Python process, one simulation at a time, and a fatal
error of GROMACS ends that process. So each worker is a process, this module run with
``python -m``. It gets its jobs through a socket, with the file descriptors of the locks
that it is to hold meanwhile, and keeps MPI, which gmxapi starts, from job to job.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import GromacsError
from .gromacs import Gmx, Stop, environment, sign

_MESSAGE_BYTES = 1 << 16

SIMULATIONS_EACH = 200
"""Simulations after which a process is replaced: gmxapi leaves some 0.12 MB of each behind."""

LAUNCHERS = ("SLURM_", "PMI_", "PMIX_", "PALS_", "FLUX_")
"""Beginnings of the environment's names by which MPI knows a scheduler's job. A server is
one process and nobody's rank: with them it would wait for a launcher, or not start."""


def unavailable(gmx: Gmx) -> str | None:
    """Why simulations cannot run through gmxapi with this GROMACS; None if they can."""
    if importlib.util.find_spec("gmxapi") is None:
        return "the Python package gmxapi is not installed"
    try:
        from gmxapi.utility import config

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # in gmxapi's own code
            built_for = Path(config()["gmx_executable"])
    except Exception as error:  # whatever is wrong with it, the executable remains
        return f"gmxapi does not say which GROMACS it was built for ({error})"
    if built_for.resolve() != gmx.path.resolve():
        return f"gmxapi was built for {built_for}, not for {gmx.path}"
    return None


@dataclass
class _Server:
    """A process, what leads to it, and how many simulations it has done."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    done: int = 0

    def close(self) -> None:
        """End the process."""
        self.connection.close()
        self.process.wait()


class Servers:
    """A :data:`janus_pore.drive.gromacs.Runner` with as many processes as run at once."""

    def __init__(self) -> None:
        self._idle: list[_Server] = []
        self._lock = threading.Lock()

    def __call__(
        self, arguments: Sequence[str], cwd: Path, stop: Stop, keep_open: Sequence[int]
    ) -> int | None:
        """Run one simulation; see :data:`janus_pore.drive.gromacs.Runner`."""
        _forget(cwd)
        (cwd / "md.out").write_bytes(b"")
        server = self._take()
        process, connection = server.process, server.connection
        job = json.dumps({"cwd": str(cwd), "arguments": list(arguments)}).encode()
        with stop.watching(lambda: process) as working:
            if not working:
                self._give_back(server)
                return None
            sign(keep_open, process.pid)
            try:
                socket.send_fds(connection, [job], list(keep_open))
                answer = connection.recv(_MESSAGE_BYTES)
            except ConnectionError:  # it was killed before it had read its job
                answer = b""
        _collect(cwd)
        if not answer:
            connection.close()
            return process.wait() or 1
        server.done += 1
        if server.done < SIMULATIONS_EACH:
            self._give_back(server)
        else:
            server.close()
        return int(answer)

    def _take(self) -> _Server:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        here, there = socket.socketpair()
        alone = {n: v for n, v in environment().items() if not n.startswith(LAUNCHERS)}
        with there:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__], stdin=there.fileno(), stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, env=alone, start_new_session=True,
            )  # fmt: skip
        return _Server(process, here)

    def _give_back(self, server: _Server) -> None:
        with self._lock:
            self._idle.append(server)

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            for server in self._idle:
                server.close()
            self._idle.clear()


def _forget(cwd: Path) -> None:
    """Remove gmxapi's folders, which it would take for results of the same job."""
    for folder in cwd.glob("mdrun_*"):
        shutil.rmtree(folder, ignore_errors=True)


def _collect(cwd: Path) -> None:
    """Move what a simulation printed to where an mdrun prints."""
    texts = [p.read_bytes() for p in sorted(cwd.glob("mdrun_*/std*.txt"))]
    with (cwd / "md.out").open("ab") as stream:
        stream.write(b"\n".join(texts))
    _forget(cwd)


def _serve(connection: socket.socket) -> None:
    """Do jobs until the driver goes away."""
    while True:
        message, locks, *_ = socket.recv_fds(connection, _MESSAGE_BYTES, 8)
        for descriptor in locks:
            # The daemon that MPI starts within the first job would hold the locks for as long
            # as this process lives, and other drivers would wait for them.
            os.set_inheritable(descriptor, False)
        if not message:
            return
        job = json.loads(message)
        status = 0
        try:
            _simulate(Path(job["cwd"]), job["arguments"])
        except Exception as error:
            with (Path(job["cwd"]) / "md.out").open("a", encoding="utf-8") as stream:
                stream.write(f"\nFatal error:\n{type(error).__name__}: {error}\n")
            status = 1
        for descriptor in locks:
            os.close(descriptor)
        with contextlib.suppress(BrokenPipeError):
            connection.send(str(status).encode())


def _simulate(cwd: Path, arguments: Sequence[str]) -> None:
    """Run mdrun's arguments in gmxapi, whose own folder lies in ``cwd``."""
    import gmxapi

    os.chdir(cwd)
    options: dict[str, str | None] = {}
    words = list(arguments)
    while words:
        option = words.pop(0)
        takes_value = bool(words) and not words[0].startswith("-")
        options[option] = words.pop(0) if takes_value else None
    # gmxapi changes the directory.
    for option in ("-cpi", "-cpo", "-deffnm", "-c"):
        value = options.get(option)
        if value is not None:
            options[option] = str(cwd / value)
    tpr = options.pop("-s")
    if tpr is None:
        raise GromacsError("mdrun through gmxapi needs -s FILE")
    gmxapi.mdrun(gmxapi.read_tpr(str(cwd / tpr)), runtime_args=options).run()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _serve(socket.socket(fileno=0))
