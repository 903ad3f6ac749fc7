"""A SLURM cluster on this machine: one controller and two nodes, on ports of their own.

Nothing of the machine's own configuration is read or changed. Daemons run as root, as
SLURM's node daemons have to, and are ended by their process numbers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "srun", "munged")
COMMANDS = ("sbatch", "squeue", "srun", "sinfo", "scontrol", "scancel")
PACKAGES = ("slurm-wlm", "munge")
NODES = ("n1", "n2")


class NotStartedError(RuntimeError):
    """A daemon did not come up: a container may lack what it needs."""


@dataclass
class Cluster:
    """A running cluster."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What finds its commands."""
        return {"PATH": f"{self.folder / 'bin'}:{_path()}"}

    def ask(self, *command: str) -> str:
        """What one of its commands prints."""
        return subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True,
            check=True, timeout=60,
        ).stdout  # fmt: skip

    def start(self, name: str, *command: str) -> None:
        """Start a daemon in the foreground, its output in a file."""
        log = (self.folder / f"{name}.out").open("wb")
        with log:
            self.processes[name] = subprocess.Popen(
                command, env=os.environ | self.environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def start_node(self, node: str) -> None:
        """Start a node daemon."""
        self.start(node, "slurmd", "-D", "-N", node, "-f", str(self.folder / "slurm.conf"))

    def on_node(self, node: str) -> list[psutil.Process]:
        """Processes of the jobs on a node, the programs that watch them included."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                own = process.environ()
                if own.get("SLURMD_NODENAME") == node and str(self.folder) in own.get("PATH", ""):
                    found.append(process)
        return found

    def kill_node(self, node: str) -> None:
        """End a node and all that runs on it at once, as a loss of power does."""
        daemon = psutil.Process(self.processes.pop(node).pid)
        watching = [
            p for p in psutil.process_iter(["name", "cmdline"])
            if p.info["name"] == "slurmstepd" and self._of(p, node)
        ]  # fmt: skip
        for process in [daemon, *watching, *self.on_node(node)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        daemon.wait()

    def _of(self, process: psutil.Process, node: str) -> bool:
        with contextlib.suppress(psutil.Error):
            return any(child in self.on_node(node) for child in process.children(recursive=True))
        return False

    def stop(self) -> None:
        """End everything."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.ask("scancel", "--full", "--user", "root")
        for node in NODES:
            if node in self.processes:
                self.kill_node(node)
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def why_not() -> str | None:
    """Why no cluster can be started here, if none can."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if lacking:
        return f"SLURM is not installed ({', '.join(lacking)} missing): {' '.join(PACKAGES)}"
    if os.geteuid() != 0:
        return "SLURM's node daemons have to be started as root"
    return None


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextlib.contextmanager
def cluster(folder: Path, cores: int = 2) -> Iterator[Cluster]:
    """Start a cluster of two nodes in a folder whose path is short, and end it."""
    (folder / "spool").mkdir(parents=True)
    (folder / "bin").mkdir()
    for name in COMMANDS:
        program = shutil.which(name, path=_path())
        # Their environment is not always handed on, so they bring their configuration along.
        script = f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {program} "$@"\n'
        (folder / "bin" / name).write_text(script, encoding="utf-8")
        (folder / "bin" / name).chmod(0o755)
    key, pipe = folder / "munge.key", folder / "munge.socket"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    host = socket.gethostname().split(".")[0]
    control, *nodes = free_ports(1 + len(NODES))
    lines = [
        "ClusterName=test",
        f"SlurmctldHost={host}",
        "SlurmUser=root",
        "SlurmdUser=root",
        f"SlurmctldPort={control}",
        f"StateSaveLocation={folder}/state",
        f"SlurmdSpoolDir={folder}/spool/%n",
        f"SlurmctldPidFile={folder}/controller.pid",
        f"SlurmdPidFile={folder}/%n.pid",
        f"AuthInfo=socket={pipe},cred_expire=5",
        "MessageTimeout=5",
        "TCPTimeout=1",
        "AuthType=auth/munge",
        "CredType=cred/munge",
        "MpiDefault=none",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        "SchedulerType=sched/backfill",
        "SchedulerParameters=defer_batch,sched_interval=2,bf_interval=2",
        "ReturnToService=2",
        "SlurmdTimeout=5",
        "SlurmctldTimeout=10",
        "InactiveLimit=0",
        # Jobs that have ended are asked about: a slow machine may need minutes to get there.
        "MinJobAge=86400",
        "KillWait=5",
        "JobRequeue=1",
        "AccountingStorageType=accounting_storage/none",
        "JobAcctGatherType=jobacct_gather/none",
        f"SlurmctldLogFile={folder}/controller.log",
        f"SlurmdLogFile={folder}/%n.log",
        "SlurmdParameters=config_overrides",
        *(
            f"NodeName={node} NodeHostname={host} Port={port} CPUs={cores} RealMemory=4000"
            for node, port in zip(NODES, nodes, strict=True)
        ),
        f"PartitionName=test Nodes={','.join(NODES)} Default=YES MaxTime=INFINITE State=UP",
    ]
    (folder / "state").mkdir()
    (folder / "slurm.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    here = Cluster(folder)
    try:
        here.start(
            "munged", "munged", "-F", "--force", f"--key-file={key}", f"--socket={pipe}",
            f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
            f"--seed-file={folder}/munged.seed",
        )  # fmt: skip
        _wait(lambda: pipe.exists(), "munged", folder)
        here.start("controller", "slurmctld", "-D", "-i", "-f", str(folder / "slurm.conf"))
        for node in NODES:
            here.start_node(node)
        _wait(lambda: here.ask("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "2",
              "the nodes", folder)  # fmt: skip
        yield here
    finally:
        here.stop()


def _wait(ready, what: str, folder: Path, timeout_s: float = 30.0) -> None:  # type: ignore[no-untyped-def]
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        with contextlib.suppress(subprocess.SubprocessError):
            if ready():
                return
        time.sleep(0.3)
    logs = "\n".join(
        f"{path.name}: {path.read_text(errors='replace')[-600:]}"
        for path in sorted((*folder.glob("*.log"), *folder.glob("*.out")))
    )
    raise NotStartedError(f"{what} did not start in {timeout_s:g} s\n{logs}")
