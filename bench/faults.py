"""Faults on purpose: kills, damage, a full disk, two drivers; then: is the result the same?

``python bench/faults.py kills`` kills at 20 random moments of an ensemble of eight;
``python bench/faults.py`` plays 200 faults of every kind. Both are repeatable by their seed,
run the ``tiny`` system, and end by comparing every series with that of an ensemble that
nothing disturbed. Disks that are full or cannot be written are small file systems of their
own in memory; mounting them needs root, and without it these two kinds are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from janus_pore.build.system import build_system, system_dir
from janus_pore.drive import ensemble, gromacs, segments
from janus_pore.errors import JanusPoreError
from janus_pore.measure import series
from janus_pore.spec import ALONE, Profile, Protocol, PulseTrain, load_profile

CHECKPOINT_MIN = 0.002
"""Minutes between mdrun's checkpoints here; :data:`segments.CHECKPOINT_MIN` is for real runs."""
DISK_MB = 256
MOST_STARTS = 40
"""Starts of one command in a row after which it counts as one that does not finish."""
PATIENCE_S = 600.0
"""Time after which a driver counts as one that does not end: with other work on the machine it
may wait long for the mdrun that another one left behind."""

Processes = list[psutil.Process]


@dataclass
class Tally:
    """What was done to the ensembles, and what came of it."""

    seed: int
    replicas: int
    faults: Counter[str] = field(default_factory=Counter)
    ensembles: int = 0
    starts: int = 0
    series_compared: int = 0
    series_wrong: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    """Ensembles that did not finish: what was done to them, and the last message."""
    breakdowns: list[str] = field(default_factory=list)
    """Last lines of drivers that ended in anything but a message of their own."""
    remedies: int = 0
    """Systems that were named as damaged and built again, as the message says."""
    lost_s: list[float] = field(default_factory=list)
    """At each kill of an mdrun: seconds since its last checkpoint, or its start."""
    wall_s: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether everything finished with the right results."""
        return not (self.series_wrong or self.unfinished or self.breakdowns)

    def summary(self) -> dict[str, object]:
        """Plain data."""
        return {
            "seed": self.seed,
            "replicas": self.replicas,
            "faults": sum(self.faults.values()),
            "by_kind": dict(sorted(self.faults.items())),
            "ensembles": self.ensembles,
            "starts": self.starts,
            "series_compared": self.series_compared,
            "series_wrong": self.series_wrong,
            "unfinished": self.unfinished,
            "breakdowns": self.breakdowns,
            "remedies": self.remedies,
            "checkpoint_every_s": 60 * CHECKPOINT_MIN,
            "lost_s_largest": round(max(self.lost_s, default=0.0), 3),
            "lost_s_mean": round(float(np.mean(self.lost_s)) if self.lost_s else 0.0, 3),
            "wall_s": round(self.wall_s, 1),
            "passed": self.passed,
        }


def ensemble_profile(replicas: int) -> Profile:
    """Pulse pairs with two delays on the tiny system, reduced every 0.8 ps."""
    short = {
        "run.equilibration_ps": 1.0, "run.replica_spacing_ps": 0.5, "run.settle_ps": 0.25,
        "run.chunk_ps": 0.8,
    }  # fmt: skip
    wave = PulseTrain(pulse_V_per_nm=0.7, width_ps=2.0, delay_V_per_nm=0.2, delay_ps=0.5, pulses=2)
    pairs = Protocol(
        waveform=wave, scan={"delay_ps": (0.5, 1.0)}, replicas=replicas, frame_ps=0.1
    )  # fmt: skip
    plain = {"protocols": {"pairs": pairs}, "windows": None, **ALONE}
    return load_profile("tiny", short).model_copy(update=plain)


def drive(profile: Profile) -> int:
    """The command that is disturbed."""
    segments.CHECKPOINT_MIN = CHECKPOINT_MIN
    try:
        ensemble.run_protocol(profile, "pairs", workers=2, progress=False)
    except JanusPoreError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def loss_s(checkpoints: Iterable[Path], started: float) -> float:
    """Seconds since the newest of some checkpoints, or since the start, if none is newer.

    One that is dated ahead was there before the clock was, and says nothing.
    """
    saved = [path.stat().st_mtime for path in checkpoints if path.exists()]
    now = time.time()
    return now - max([started, *(t for t in saved if t <= now)])


class Campaign:
    """Ensembles in a directory of their own, one after the other, each disturbed."""

    def __init__(self, scratch: Path, seed: int, replicas: int) -> None:
        self.scratch, self.chance = scratch, random.Random(seed)
        self.profile = ensemble_profile(replicas)
        self.tally = Tally(seed, replicas)
        self.prepared, self.right = scratch / "prepared", scratch / "right"
        self.runs = scratch / "disk" / "runs"
        self.mounted = False
        self.story: list[str] = []
        """What was done to this ensemble so far."""
        self.last_words = ""

    # --- preparation ----------------------------------------------------------------

    def prepare(self) -> None:
        """Equilibrate once, and run one ensemble that nothing disturbs."""
        os.environ["JANUS_PORE_RUNS"] = str(self.prepared)
        build_system(self.profile.system)
        ensemble.equilibrate(self.profile, replicas=self.tally.replicas, progress=False)
        shutil.copytree(self.prepared, self.right)
        os.environ["JANUS_PORE_RUNS"] = str(self.right)
        ensemble.run_protocol(self.profile, "pairs", workers=2, progress=False)

    @contextlib.contextmanager
    def disk(self) -> Iterator[None]:
        """A small file system for the runs, where this is allowed."""
        place = self.runs.parent
        place.mkdir(exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(place)]
        self.mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        try:
            yield
        finally:
            self.end(self.everybody())
            if self.mounted:
                subprocess.run(["umount", "-l", str(place)], check=False)

    def fresh(self) -> None:
        """Begin an ensemble."""
        shutil.rmtree(self.runs, ignore_errors=True)
        shutil.copytree(self.prepared, self.runs)
        os.environ["JANUS_PORE_RUNS"] = str(self.runs)
        self.tally.ensembles += 1
        self.story.clear()

    # --- processes ------------------------------------------------------------------

    def start(self) -> subprocess.Popen[str]:
        """The command, once more."""
        self.tally.starts += 1
        command = [sys.executable, str(Path(__file__).resolve()), "drive", "--profile"]
        return subprocess.Popen(
            [*command, self.profile.model_dump_json()], text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def everybody(self) -> Processes:
        """All that work on the runs, orphans too: by where they are or what they hold."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = " ".join(process.cmdline())
                if "mdrun" in words or "through_gmxapi" in words or str(__file__) in words:
                    about = process.environ().get("JANUS_PORE_RUNS")
                    if about == str(self.runs) and process.pid != os.getpid():
                        found.append(process)
        return found

    def mdruns(self) -> Processes:
        """Those that do molecular dynamics."""
        found = []
        for process in self.everybody():
            with contextlib.suppress(psutil.Error):
                if str(self.runs) in process.cwd():
                    found.append(process)
        return found

    def end(self, processes: Processes) -> None:
        """Kill without warning, and wait until they are gone."""
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, timeout=30)

    def let_work(self, driver: subprocess.Popen[str]) -> None:
        """Wait for a random moment after the first molecular dynamics."""
        until = time.monotonic() + 30
        while driver.poll() is None and not self.mdruns() and time.monotonic() < until:
            time.sleep(0.05)
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(self.chance.uniform(0, 1.5))

    def note_loss(self, victims: Processes) -> None:
        """Seconds of dynamics that killing these loses."""
        for process in victims:
            with contextlib.suppress(psutil.Error, OSError):
                here = Path(process.cwd())  # gmxapi works in a folder of its own there
                places = [folder / "state.cpt" for folder in (here, here.parent)]
                self.tally.lost_s.append(loss_s(places, process.create_time()))

    def finished(self, driver: subprocess.Popen[str], sent: signal.Signals | None = None) -> bool:
        """Whether a driver finished its work; an end that we did not cause is looked at.

        What we sent it may end it with no message of its own: Python takes a while to install
        its handlers.
        """
        try:
            printed, _ = driver.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.end([psutil.Process(driver.pid)])
            printed, _ = driver.communicate()
            self.tally.breakdowns.append("it did not end: " + printed[-300:])
            return False
        self.last_words = printed[-300:]
        if sent is not None and driver.returncode == -sent:
            return False
        if driver.returncode not in (0, 1):
            self.tally.breakdowns.append(f"status {driver.returncode}: {printed[-300:]}")
        elif "Traceback" in printed:
            self.tally.breakdowns.append(printed[-600:])
        if "build the system again" in printed:
            # What the message says: the same parameters give the same files.
            shutil.rmtree(system_dir(self.profile.system))
            build_system(self.profile.system)
            self.tally.remedies += 1
        return driver.returncode == 0

    # --- faults ---------------------------------------------------------------------

    def disturbed(self, kind: str) -> bool:
        """Start the command and disturb it; whether it finished nevertheless."""
        self.tally.faults[kind] += 1
        self.story.append(kind)
        act: Callable[[], bool] = getattr(self, f"fault_{kind}")
        return act()

    def _killing(self, driver_too: bool, mdrun_too: bool) -> bool:
        driver = self.start()
        self.let_work(driver)
        victims = self.mdruns() if mdrun_too else []
        self.note_loss(victims)
        if driver_too and driver.poll() is None:
            driver.kill()
        self.end(victims)
        return self.finished(driver, signal.SIGKILL if driver_too else None)

    def fault_kill_mdrun(self) -> bool:
        """``kill -9`` of every mdrun; the driver reports it and ends."""
        return self._killing(driver_too=False, mdrun_too=True)

    def fault_kill_driver(self) -> bool:
        """``kill -9`` of the driver; its mdruns go on."""
        return self._killing(driver_too=True, mdrun_too=False)

    def fault_kill_both(self) -> bool:
        """``kill -9`` of all at once."""
        return self._killing(driver_too=True, mdrun_too=True)

    def _signalled(self, number: signal.Signals) -> bool:
        driver = self.start()
        self.let_work(driver)
        driver.send_signal(number)
        return self.finished(driver, number)

    def fault_sigterm(self) -> bool:
        """As a scheduler ends a job."""
        return self._signalled(signal.SIGTERM)

    def fault_sigint(self) -> bool:
        """Ctrl-C."""
        return self._signalled(signal.SIGINT)

    def fault_two_drivers(self) -> bool:
        """Two at once, one of which is killed or not."""
        one, other = self.start(), self.start()
        self.let_work(one)
        killed = self.chance.random() < 0.5
        if killed:
            one.kill()
        finished = self.finished(other)
        return self.finished(one, signal.SIGKILL if killed else None) or finished

    def _stopped(self) -> bool:
        """Start the command and stop it half-way, to leave something for the next fault."""
        return self._signalled(signal.SIGTERM)

    def _at_rest(self) -> list[Path]:
        """Files that are not being written: mdruns of killed drivers may still be."""
        psutil.wait_procs(self.mdruns(), timeout=PATIENCE_S)
        found = [p for p in self.runs.rglob("*") if p.is_file() and p.stat().st_size]
        return sorted(p for p in found if p.suffix != ".lock")

    def _victim(self, files: Sequence[Path]) -> Path:
        """One of some files."""
        victim = self.chance.choice(files)
        self.story[-1] += f" {victim.relative_to(self.runs)}"
        return victim

    def fault_truncated_file(self) -> bool:
        """Any file cut short."""
        victim = self._victim(self._at_rest())
        os.truncate(victim, self.chance.randrange(victim.stat().st_size))
        return self._stopped()

    def fault_flipped_bit(self) -> bool:
        """One bit of any file but mdrun's own half-way files, which hold no checksums."""
        own = (".cpt", ".xtc", ".edr", ".log")
        files = [
            p for p in self._at_rest()
            if not ("partial" in str(p.relative_to(self.runs)) and p.suffix in own)
            or p.name == "start.cpt"
        ]  # fmt: skip
        victim = self._victim(files)
        content = bytearray(victim.read_bytes())
        content[self.chance.randrange(len(content))] ^= 1 << self.chance.randrange(8)
        with victim.open("r+b") as stream:  # the same file, as other names of it see it
            stream.write(content)
        return self._stopped()

    def fault_clock_jump(self) -> bool:
        """Files from the future, or from long ago."""
        years = self.chance.choice((-10, 10)) * 365 * 86400
        for path in self._at_rest():
            about = path.stat()
            os.utime(path, (about.st_atime + years, about.st_mtime + years))
        return self._stopped()

    def fault_full_disk(self) -> bool:
        """No room left for anything, from a random moment on."""
        driver = self.start()
        self.let_work(driver)
        filler = self.runs.parent / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))
        finished = self.finished(driver)
        filler.unlink()
        return finished

    def fault_read_only(self) -> bool:
        """A file system that can no longer be written."""
        psutil.wait_procs(self.mdruns(), timeout=PATIENCE_S)
        place = str(self.runs.parent)
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        try:
            return self.finished(self.start())
        finally:
            subprocess.run(["mount", "-o", f"remount,rw,size={DISK_MB}m", place], check=True)

    # --- the whole ------------------------------------------------------------------

    def run(self, faults: int, kinds: list[str], per_ensemble: int) -> Tally:
        """Play so many faults, and compare."""
        began = time.monotonic()
        self.prepare()
        with self.disk():
            if not self.mounted:
                kinds = [k for k in kinds if k not in ("full_disk", "read_only")]
            while sum(self.tally.faults.values()) < faults:
                self.fresh()
                done = False
                for _ in range(per_ensemble):
                    if done or sum(self.tally.faults.values()) >= faults:
                        break
                    done = self.disturbed(self.chance.choice(kinds))
                self.complete()
        self.tally.wall_s = time.monotonic() - began
        return self.tally

    def complete(self) -> None:
        """Nothing disturbs the command any more: it must finish, with the right result."""
        for _ in range(MOST_STARTS):
            if self.finished(self.start()):
                break
        else:
            self.tally.unfinished.append(f"{', '.join(self.story)}: {self.last_words}")
            return
        for file in sorted(self.right.glob("*/r*/*/series.nc")):
            name = file.relative_to(self.right)
            self.tally.series_compared += 1
            try:
                a, b = series.read(file), series.read(self.runs / name)
                same = all(np.array_equal(a[v], b[v], equal_nan=a[v].dtype.kind == "f")
                           for v in a.variables)  # fmt: skip
            except (JanusPoreError, KeyError):
                same = False
            if not same:
                self.tally.series_wrong.append(f"{name} after {', '.join(self.story)}")


KINDS = sorted(name.removeprefix("fault_") for name in vars(Campaign) if name[:6] == "fault_")
KILLS = ["kill_both", "kill_driver", "kill_mdrun"]


def play(
    faults: int, *, seed: int, replicas: int = 8, kinds: list[str] | None = None,
    per_ensemble: int = 20,
) -> Tally:  # fmt: skip
    """Disturb ensembles so many times.

    Parameters
    ----------
    faults
        How many, over as many ensembles as it takes.
    seed
        The same faults in the same order; their moments depend on the machine.
    replicas
        Of each ensemble.
    kinds
        Some of :data:`KINDS`; by default all.
    per_ensemble
        Most faults on one ensemble before it may finish.
    """
    kept = {name: os.environ.get(name) for name in ("JANUS_PORE_RUNS", "XDG_CACHE_HOME")}
    with tempfile.TemporaryDirectory(prefix="janus-pore-faults-") as scratch:
        os.environ["GMX"] = str(gromacs.find_gmx().path)
        os.environ["XDG_CACHE_HOME"] = str(Path(scratch) / "cache")
        try:
            campaign = Campaign(Path(scratch), seed, replicas)
            return campaign.run(faults, kinds or KINDS, per_ensemble)
        finally:
            for name, value in kept.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def main() -> int:
    """Command line; the exit status is 1 if a result was wrong or missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", nargs="?", choices=["all", "kills", "drive"], default="all")
    parser.add_argument("--faults", type=int, help="default: 200, or 20 kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replicas", type=int, default=8)
    parser.add_argument("--kinds", nargs="+", choices=KINDS)
    parser.add_argument("--profile", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode == "drive":
        return drive(Profile(**json.loads(options.profile)))
    # However this is ended, it unmounts what it mounted and leaves no process behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    kills = options.mode == "kills"
    tally = play(
        options.faults or (20 if kills else 200), seed=options.seed, replicas=options.replicas,
        kinds=options.kinds or (KILLS if kills else None),
    )  # fmt: skip
    from results import keep

    keep("kills" if kills else "faults", tally.summary())
    print(json.dumps(tally.summary(), indent=1))
    return 0 if tally.passed else 1


if __name__ == "__main__":
    sys.exit(main())
