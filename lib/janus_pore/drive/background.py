"""A field of one's own, run in the background: it outlives the notebook that started it.

A design is a profile with one protocol. It lies in ``runs/designs/<key>/`` as a profile's
YAML file, beside the log of the process that runs it and a small state file that says
which process that is. Everything else about a run is read off the segments themselves, so
it is found and judged the same way by whoever looks, also after a crash.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from .. import paths
from ..errors import JanusPoreError, RunError
from ..spec import (
    ALONE,
    Profile,
    Protocol,
    Waveform,
    key,
    load_profile,
    validated,
    with_its_own_charges,
)
from . import ensemble

PROTOCOL = "design"
"""Name of a design's protocol."""


def design(
    base: Profile,
    waveform: Waveform,
    *,
    charge_set: str | None = None,
    replicas: int = 1,
    frame_ps: float = 0.1,
) -> Profile:
    """A profile's system and settings with one waveform of one's own.

    Parameters
    ----------
    base
        Gives the system, the run's settings and the reference box.
    waveform
        In the fields of the reference box.
    charge_set
        Another one than the profile's.
    replicas, frame_ps
        Of the protocol.

    Raises
    ------
    SpecError
        If the waveform cannot be applied to this box.
    """
    asked = {"waveform": waveform, "replicas": replicas, "frame_ps": frame_ps}
    protocol = validated(Protocol, asked, "the design")
    content = base.model_dump() | {"protocols": {PROTOCOL: protocol.model_dump()}}
    content |= {"windows": None, "own_system": None, **ALONE}
    if charge_set is not None:
        content["system"] |= with_its_own_charges({"charge_set": charge_set})
    return validated(Profile, content, "the design")


@dataclass(frozen=True)
class Job:
    """A design on disk, running or not."""

    folder: Path
    profile: Profile

    @property
    def state(self) -> Mapping[str, Any]:
        """``pid``, ``born``, ``command`` and ``started``, or nothing where it never ran."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((self.folder / "state.json").read_text("utf-8"))
            if isinstance(found, dict):
                return found
        return {}

    @property
    def log(self) -> Path:
        """What the process printed."""
        return self.folder / "log.txt"

    def process(self) -> psutil.Process | None:
        """The process that runs it; a number that another process has got since is none."""
        state = self.state
        with contextlib.suppress(psutil.Error, KeyError, TypeError):
            found = psutil.Process(state["pid"])
            if state["born"] == _birth(found) and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None

    def start(self, *, keep_trajectory: bool = False) -> None:
        """Run what is not there yet in a process of its own; nothing if one is at work.

        It is no child of the session that started it, so that neither closing a notebook
        nor ending its kernel stops it.

        Raises
        ------
        RunError
            If it cannot be started.
        """
        if self.process() is not None:
            return
        file = self.folder / "profile.yaml"
        command = [sys.executable, "-m", __package__, "run", str(file)]
        command += ["--keep-trajectory"] if keep_trajectory else []
        content = yaml.safe_dump(self.profile.model_dump(mode="json"), sort_keys=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            paths.write_whole(file, content)
            with self.log.open("wb") as stream:
                started = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                    start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )  # fmt: skip
            born = _birth(psutil.Process(started.pid))
        except (OSError, psutil.Error) as error:
            raise RunError(f"the run {self.folder} cannot be started: {error}") from error
        state: dict[str, Any] = {
            "pid": started.pid,
            "born": born,
            "started": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
            "command": command,
        }
        paths.write_whole(self.folder / "state.json", json.dumps(state, indent=1))

    def stop(self) -> None:
        """Ask the process to write checkpoints and end; starting again continues there."""
        process = self.process()
        if process is not None:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGTERM)

    def progress(self) -> ensemble.Progress:
        """Nanoseconds done and in all, the equilibration before it counted in."""
        return ensemble.progress(self.profile, PROTOCOL)

    def records(self) -> list[ensemble.RunRecord]:
        """What is finished of each replica, as far as it goes from time 0."""
        return ensemble.open_finished(self.profile, PROTOCOL)

    def last_words(self, lines: int = 3) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError):
            text = self.log.read_text("utf-8", errors="replace").replace("\r", "\n")
            return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
        return ""


def _birth(process: psutil.Process) -> str:
    """When a process began, in words that a step of the machine's clock does not change."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        stat = Path(f"/proc/{process.pid}/stat").read_text("utf-8", errors="replace")
    except OSError:  # not Linux, where a beginning is kept as a time
        return str(process.create_time())
    # the name, in brackets, may hold blanks; proc(5) counts it as the second field
    ticks = stat.rpartition(")")[2].split()[22 - 3]
    return f"{ticks} ticks after boot {boot}"


def job(profile: Profile) -> Job:
    """The place of a design; the same one for the same design."""
    physics = (profile.system, profile.run, profile.reference_length_x_nm)
    name = key(*physics, profile.protocol(PROTOCOL))
    return Job(paths.runs_dir() / "designs" / name, profile)


def jobs() -> list[Job]:
    """All designs that were ever started, the latest first; damaged ones are left out."""
    found = []
    for state in (paths.runs_dir() / "designs").glob("*/state.json"):
        with contextlib.suppress(JanusPoreError, OSError):
            profile = load_profile(str(state.with_name("profile.yaml")))
            profile.protocol(PROTOCOL)
            found.append((state.stat().st_mtime, Job(state.parent, profile)))
    return [one for _, one in sorted(found, key=lambda item: -item[0])]
