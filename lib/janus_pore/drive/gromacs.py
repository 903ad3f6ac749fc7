"""The GROMACS programs: finding them, their options for this physics, running them.

Nothing here knows about protocols or replicas. ``grompp`` is never given ``-maxwarn``: a
warning stops the run and is shown.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypedDict

from .. import paths
from ..errors import GromacsError, JanusPoreError, StoppedError
from ..spec import RunSpec, SystemSpec

MINIMUM_VERSION = (2021, 0)

STRIDE = 25
"""Steps between pair-list updates and between energy evaluations. Segments begin and end
on multiples of it, so both fall on the same steps whether a run is cut into segments or
not; with ``-reprod`` the pieces then repeat the whole bit for bit."""

_NUMBER = r"\d{1,12}(?:\.\d{1,12})?"
_GPU_LINES = {
    "non-bonded": "short-ranged interactions on the GPU",
    "PME": "PME tasks will do all aspects on the GPU",
    "update": "update and constrain coordinates on the GPU",
}


@dataclass(frozen=True)
class Gmx:
    """One GROMACS installation."""

    path: Path
    version: tuple[int, int]
    report: str
    """What ``gmx --version`` prints."""

    def _says(self, what: str) -> str:
        return said(self.report, what)

    @property
    def gpu(self) -> str | None:
        """GPU framework of the build (``CUDA``, ``OpenCL``, ``SYCL``, ``HIP``), if any."""
        support = self._says("GPU support")
        return None if support in ("", "disabled") else support

    @property
    def simd(self) -> str:
        """SIMD instructions that the build uses."""
        return self._says("SIMD instructions")

    @property
    def thread_mpi(self) -> bool:
        """Whether the build runs its ranks as threads, so that it knows ``-ntmpi``."""
        return self._says("MPI library") == "thread_mpi"

    def run(
        self,
        arguments: Sequence[str | Path],
        *,
        cwd: Path,
        stdin: str = "",
        log: Path | None = None,
    ) -> str:
        """Run a tool to its end and return what it printed.

        Parameters
        ----------
        arguments
            Tool and options, e.g. ``["grompp", "-f", "x.mdp"]``.
        cwd
            Directory to run in.
        stdin
            Answers to its questions.
        log
            File that receives what it printed.

        Raises
        ------
        GromacsError
            With the lines that matter and the command to repeat.
        StoppedError
            If somebody ended it, which says nothing of its input.
        """
        command = self.command(arguments)
        try:
            # In a session of its own, for a Ctrl-C is for the driver, which ends in order.
            done = subprocess.run(
                command, cwd=cwd, input=stdin, env=environment(), text=True, errors="replace",
                capture_output=True, check=False, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise GromacsError(f"{self.path} cannot be run: {error}") from error
        # Apart, for together the one would cut lines of the other.
        printed = done.stdout + done.stderr
        if log is not None:
            log.write_text(printed, encoding="utf-8")
        if -done.returncode in _ENDINGS:
            name = signal.Signals(-done.returncode).name
            raise StoppedError(
                f"gmx {arguments[0]} was ended by {name} in {cwd}; the same command continues"
            )
        if done.returncode:
            raise GromacsError(failure(command, cwd, done.returncode, printed))
        return printed

    def command(self, arguments: Sequence[str | Path]) -> list[str]:
        """Whole command line of a tool."""
        return [str(self.path), "-nocopyright", *(str(a) for a in arguments)]


_ENDINGS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
"""Signals by which people, schedulers and the kernel end a program, whatever it does."""


def said(report: str, what: str) -> str:
    """One line of what ``gmx --version`` prints, such as ``GROMACS version``; "" if not there."""
    found = re.search(rf"^{re.escape(what)}:\s*(.+)$", report, re.MULTILINE)
    return found.group(1).strip() if found else ""


def environment() -> dict[str, str]:
    """Environment for GROMACS: no backups, no coordinate dumps, threads by option only.

    Threads that wait for one another give up the processor after some 10 microseconds
    rather than milliseconds: on a machine that has other work to do, two threads are
    otherwise several times slower than one.
    """
    env = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    env.setdefault("GOMP_SPINCOUNT", "10000")
    return env | {"GMX_MAXBACKUP": "-1", "GMX_SUPPRESS_DUMP": "1", "LC_ALL": "C"}


def find_gmx() -> Gmx:
    """The GROMACS to use: ``$GMX``, what set-up chose, PATH, the conda environment, the cache.

    The first of these that runs and is new enough; but ``$GMX`` means itself.

    Raises
    ------
    GromacsError
        If there is none; of the first of those that do not run or are too old, where there are.
    """
    override = os.environ.get("GMX")
    if override:
        found = shutil.which(override)
        if found is None:
            raise GromacsError(
                f"GMX = {override!r} is not a program; set it to the gmx to use, or unset it"
            )
        return probe(Path(found).absolute())
    conda = os.environ.get("CONDA_PREFIX")
    candidates = [
        chosen_gmx(),
        shutil.which("gmx"),
        shutil.which("gmx", path=f"{conda}/bin") if conda else None,
    ]
    problem: GromacsError | None = None
    for candidate in itertools.chain((Path(one) for one in candidates if one), _built()):
        try:
            return probe(candidate.absolute())
        except GromacsError as error:
            problem = problem or error
    raise problem or GromacsError(
        "no GROMACS was found (looked at $GMX, what set-up chose, PATH, the conda environment and "
        "the cache, ~/.cache/janus-pore/gromacs unless XDG_CACHE_HOME moves it): run 'make "
        "gromacs', or 'conda env create -f environment.yml', or set GMX to the gmx to use"
    )


def _built() -> Iterator[Path]:
    """Builds in the cache, the newest first; none where there is no cache to be read."""
    with contextlib.suppress(OSError, JanusPoreError):
        builds = (paths.cache_dir() / "gromacs").glob("*/bin/gmx")
        usable = [path for path in builds if os.access(path, os.X_OK)]
        yield from sorted(usable, key=lambda path: path.stat().st_mtime, reverse=True)


def chosen_gmx() -> str | None:
    """What set-up chose for this virtual environment, if it is still there."""
    try:
        written = Path(sys.prefix, "gmx-path").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return shutil.which(written) if written else None


@cache
def probe(path: Path) -> Gmx:
    """Ask a program for its version and features.

    Raises
    ------
    GromacsError
        If it does not run, or is no GROMACS or too old a one.
    """
    try:
        done = subprocess.run(
            [path, "-nocopyright", "--version"], capture_output=True, text=True,
            timeout=60, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise GromacsError(
            f"{path} does not run as GROMACS: {error}; reinstall it or set GMX to another"
        ) from error
    found = re.search(r"^GROMACS version:\s*(\d{4})(?:\.(\d+))?", done.stdout, re.MULTILINE)
    version = (int(found.group(1)), int(found.group(2) or 0)) if found else (0, 0)
    if version < MINIMUM_VERSION:
        said = re.search(r"version:?\s*(.+)", done.stdout, re.IGNORECASE)
        raise GromacsError(
            f"{path} is GROMACS {said.group(1).strip() if said else 'of unknown version'}; "
            f"{MINIMUM_VERSION[0]} or later is needed: run 'make gromacs' or set GMX to a newer one"
        )
    # The lines before name this machine's directories.
    return Gmx(path, version, done.stdout[found.start() :] if found else done.stdout)


# --- physics ----------------------------------------------------------------------------


def physics_options(system: SystemSpec, run: RunSpec) -> dict[str, str]:
    """The mdp options that decide the physics, without field, length or output.

    Notes
    -----
    One temperature group holds all atoms. Frozen atoms have no degrees of freedom and no
    kinetic energy, so the thermostat acts on the mobile ones alone; a group of their own
    with tau-t = -1 says the same but makes grompp (2022 to 2026) stop with a warning about
    the pair-list buffer.

    Nosé-Hoover acts on every step: with a period of 0.1 ps, coupling every tenth step of
    2 fs makes the temperature swing by tens of kelvin.

    Centre-of-mass motion is not removed. The fixed membrane takes up momentum, so that of
    the mobile atoms is not conserved; removing it would bias the flow through the pore. No
    three degrees of freedom are subtracted either.

    Lennard-Jones interactions end at the cut-off without dispersion correction, which
    presumes a uniform fluid. PME is three-dimensional with conducting boundaries and
    without dipole correction: the applied field then acts as the voltage E·Lx over the
    whole periodic box.
    """
    options = {
        "integrator": "md",
        "dt": f"{run.dt_fs / 1000:.10g}",
        "comm-mode": "None",
        "pbc": "xyz",
        "periodic-molecules": "yes",
        "cutoff-scheme": "Verlet",
        "coulombtype": "PME",
        "rcoulomb": f"{system.cutoff_nm:.10g}",
        "fourierspacing": "0.12",
        "pme-order": "4",
        "ewald-rtol": "1e-5",
        "vdwtype": "Cut-off",
        "rvdw": f"{system.cutoff_nm:.10g}",
        "DispCorr": "no",
        "constraints": "none",
        "tc-grps": "System",
        "tau-t": f"{run.tau_t_ps:.10g}",
        "ref-t": f"{run.temperature_K:.10g}",
    }
    if run.variant == "default":
        options |= {"tcoupl": "nose-hoover", "nh-chain-length": "1", "nsttcouple": "1"}
    else:
        options |= {"tcoupl": "v-rescale", "nsttcouple": "5"}
    if system.membrane == "frozen":
        options |= {"freezegrps": "Membrane", "freezedim": "Y Y Y"}
    return options


def list_options(system: SystemSpec) -> dict[str, str]:
    """Options of the pair list; mdrun widens ``rlist`` to keep within the tolerance."""
    return {
        "nstlist": str(STRIDE),
        "rlist": f"{system.cutoff_nm:.10g}",
        "verlet-buffer-tolerance": "0.005",
    }


def output_options(frame_steps: int, energy_steps: int) -> dict[str, str]:
    """All atoms every ``frame_steps`` (0: never), energies every ``energy_steps``."""
    return {
        "nstxout": "0",
        "nstvout": "0",
        "nstfout": "0",
        "nstlog": "0",
        "nstcalcenergy": str(STRIDE),
        "nstenergy": str(energy_steps),
        "nstxout-compressed": str(frame_steps),
        "compressed-x-precision": "10000",
    }


def minimise_options(system: SystemSpec) -> dict[str, str]:
    """Steepest descent in small steps, with springs for water's bonds.

    Rigid molecules fail once the step has grown.
    """
    shared = ("comm-mode", "pbc", "periodic-molecules", "cutoff-scheme", "coulombtype",
              "rcoulomb", "fourierspacing", "pme-order", "ewald-rtol", "vdwtype", "rvdw",
              "DispCorr", "constraints", "freezegrps", "freezedim")  # fmt: skip
    physics = physics_options(system, RunSpec())
    return {
        **{name: physics[name] for name in shared if name in physics},
        **list_options(system),
        "integrator": "steep",
        "define": "-DFLEXIBLE",
        "emstep": "0.002",
        "emtol": "500",
        "nsteps": "2000",
        "nstenergy": "0",
    }


def mdp_text(options: Mapping[str, str]) -> str:
    """An mdp file."""
    return "".join(f"{name:24s} = {value}\n" for name, value in options.items())


# --- running ----------------------------------------------------------------------------


def grompp(
    gmx: Gmx,
    options: Mapping[str, str],
    *,
    conf: Path,
    top: Path,
    ndx: Path,
    tpr: Path,
    state: Path | None = None,
    reference: Path | None = None,
) -> Path:
    """Make a run input; its mdp and what grompp said lie beside it.

    Parameters
    ----------
    options
        Options of the mdp file.
    conf, top, ndx
        Structure, topology and groups.
    tpr
        File to write.
    state
        Checkpoint whose coordinates (and velocities, unless generated) replace ``conf``'s.
    reference
        Structure that position restraints hold to; by default ``conf``.

    Raises
    ------
    GromacsError
        If grompp fails or warns.
    """
    mdp = tpr.with_suffix(".mdp")
    mdp.write_text(mdp_text(options), encoding="utf-8")
    arguments: list[str | Path] = ["grompp", "-f", mdp, "-c", conf, "-r", reference or conf,
        "-p", top, "-n", ndx, "-o", tpr, "-po", tpr.with_suffix(".out.mdp")]  # fmt: skip
    if state is not None:
        arguments += ["-t", state]
    gmx.run(arguments, cwd=tpr.parent, log=tpr.with_suffix(".grompp.log"))
    return tpr


class Stop:
    """Lets one thread end the mdruns of all others cleanly, once."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._lock = threading.RLock()  # a signal may come while one is passed on
        self._live: set[subprocess.Popen[bytes]] = set()

    def request(self, reason: str) -> None:
        """Ask every live mdrun to write a checkpoint and end; later ones do not start."""
        with self._lock:
            if self.reason is None:
                self.reason = reason
                for process in self._live:
                    process.send_signal(signal.SIGTERM)

    @contextlib.contextmanager
    def watching(self, start: Callable[[], subprocess.Popen[bytes]]) -> Iterator[bool]:
        """While a process works; False, without starting it, after a stop was requested."""
        with self._lock:
            process = start() if self.reason is None else None
            if process is not None:
                self._live.add(process)
        try:
            yield process is not None
        finally:
            with self._lock:
                self._live.discard(process)


Runner = Callable[[Sequence[str], Path, Stop, Sequence[int]], int | None]
"""Runs mdrun with arguments, in a directory, unless stopped, holding file descriptors.

What it prints goes to ``md.out``. Returns the exit status, None if it was not started.
"""


def executable(gmx: Gmx) -> Runner:
    """Runs mdrun as a program."""

    def run(
        arguments: Sequence[str], cwd: Path, stop: Stop, keep_open: Sequence[int]
    ) -> int | None:
        started: list[subprocess.Popen[bytes]] = []

        def start() -> subprocess.Popen[bytes]:
            # A session of its own: Ctrl-C reaches this process alone, which passes it on
            # once. A second signal would end mdrun without waiting for a pair-list step.
            with (cwd / "md.out").open("wb") as stream:
                process = subprocess.Popen(
                    gmx.command(["mdrun", *arguments]), cwd=cwd, env=environment(),
                    stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                    pass_fds=tuple(keep_open), start_new_session=True,
                )  # fmt: skip
            started.append(process)
            return process

        with stop.watching(start) as working:
            if not working:
                return None
            sign(keep_open, started[0].pid)
            return started[0].wait()

    return run


def sign(locks: Sequence[int], process: int) -> None:
    """Write into lock files which mdrun holds them."""
    for descriptor in locks:
        os.pwrite(descriptor, f"process {process} (mdrun)".ljust(60).encode(), 0)


def mdrun(
    gmx: Gmx,
    arguments: Sequence[str | Path],
    *,
    cwd: Path,
    stop: Stop,
    last_step: int | None = None,
    keep_open: Sequence[int] = (),
    runner: Runner | None = None,
) -> bool:
    """Run mdrun; what it prints goes to ``md.out`` in ``cwd``.

    Parameters
    ----------
    arguments
        Options after ``mdrun``; output files are named ``md.partNNNN.*``.
    cwd
        Directory to run in.
    stop
        Ends it early, with a checkpoint.
    last_step
        Step that it must reach.
    keep_open
        File descriptors that the process holds as long as it works.
    runner
        How to run it; by default as a program.

    Returns
    -------
    bool
        Whether it reached its last step; False if it was stopped before.

    Raises
    ------
    GromacsError
        If it fails, with the lines that matter and the command to repeat.
    """
    words = [str(a) for a in arguments]
    command = gmx.command(["mdrun", *words])
    returned = (runner or executable(gmx))(words, cwd, stop, keep_open)
    if returned is None:
        return False
    out = cwd / "md.out"
    log = latest_log(cwd)
    log_text = log.read_text(errors="replace") if log else ""
    # Stopped by a signal, mdrun may end in order and yet with status 1, or, in its first
    # moments, in any way. A failure of its own would show again in the next run.
    stopped = stop.reason is not None
    if returned and not stopped:
        raise GromacsError(
            failure(command, cwd, returned, out.read_text(errors="replace"), log_text)
        )
    if last_step is None:
        return True
    written = re.findall(r"^Writing checkpoint, step (\d+) at", log_text, re.MULTILINE)
    if written and int(written[-1]) >= last_step:
        return True
    if stopped:
        return False
    raise GromacsError(
        f"mdrun ended at step {written[-1] if written else 'unknown'} of {last_step} without an "
        f"error; something else stopped it. Repeat with:\n  {repeat(command, cwd)}"
    )


def latest_log(cwd: Path) -> Path | None:
    """The log of the last mdrun in a directory."""
    logs = sorted(cwd.glob("md.part*.log")) or sorted(cwd.glob("md.log"))
    return logs[-1] if logs else None


LAST_WORDS_BYTES = 4000
"""More than mdrun prints after its last step: notes, a table of times, and a quotation."""


def current_step(cwd: Path) -> int | None:
    """The last step that a running mdrun has printed (it needs ``-v``)."""
    with contextlib.suppress(OSError):  # the folder is renamed when the segment is finished
        for printed in (cwd / "md.out", *cwd.glob("mdrun_*/stderr.txt")):
            with contextlib.suppress(OSError), printed.open("rb") as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(0, stream.tell() - LAST_WORDS_BYTES))
                if found := re.findall(rb"step (\d+)[, ]", stream.read()):
                    return int(found[-1])
    return None


# --- hardware ---------------------------------------------------------------------------


@cache
def machine_gpus() -> tuple[str, ...]:
    """GPUs that this process may use, as ``nvidia-smi`` or ``rocm-smi`` names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", os.environ.get("ROCR_VISIBLE_DEVICES"))
    for command, pattern in (
        (["nvidia-smi", "-L"], r"^GPU \d+: (.+?)(?: \(UUID.*)?$"),
        (["rocm-smi", "--showproductname"], r"^GPU\[\d+\]\s*: Card [Ss]eries:\s*(.+)$"),
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        found = [
            (one[1], re.findall(r"UUID: ([^\s)]+)", said))
            for said in re.split(r"(?m)^(?=GPU)", done.stdout)
            if (one := re.match(pattern, said, re.MULTILINE))
        ]
        uuids = [own for _, own in found]
        numbers = range(len(found)) if visible is None else visible_gpus(visible, uuids)
        return tuple(found[number][0] for number in numbers)
    return ()


def visible_gpus(chosen: str, uuids: Sequence[Sequence[str]]) -> list[int]:
    """Numbers of the GPUs that a list such as ``CUDA_VISIBLE_DEVICES`` leaves to a process.

    Parameters
    ----------
    chosen
        Numbers and beginnings of UUIDs between commas. As for CUDA, the list ends at the
        first entry that is no GPU's; here also at one that names a GPU again.
    uuids
        Those of each GPU and its parts (MIG); empty where they are not told, and any will do.
    """
    out: list[int] = []
    for entry in map(str.strip, chosen.split(",")):
        if entry.isdecimal():
            named = [int(entry)] if int(entry) < len(uuids) else []
        elif entry.startswith(("GPU-", "MIG-")):
            named = [
                number
                for number, own in enumerate(uuids)
                if (any(uuid.startswith(entry) for uuid in own) if own else number not in out)
            ]
        else:
            named = []
        if not named or named[0] in out:
            break
        out.append(named[0])
    return out


_CPUINFO = Path("/proc/cpuinfo")


def processor() -> str:
    """The processor's model, as Linux names it; elsewhere what Python knows of its type."""
    with contextlib.suppress(OSError):
        described = _CPUINFO.read_text(encoding="utf-8", errors="replace")
        if model := re.search(r"^model name\s*:\s*(\S.*)$", described, re.MULTILINE):
            return model.group(1).strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hardware_flags(gmx: Gmx, run: RunSpec, *, threads: int, gpu: int | None = None) -> list[str]:
    """mdrun options for one replica, legal for this physics.

    Parameters
    ----------
    run
        Decides whether a GPU may update coordinates: not with Nosé-Hoover, not with
        frozen atoms.
    threads
        OpenMP threads.
    gpu
        Number of the GPU, or None for the processor alone.

    Notes
    -----
    PME is not tuned: tuning lengthens the real-space cut-off and would begin anew in
    every short segment. On the processor ``-reprod`` makes the same input give the same
    bits for the same number of threads; it also plans Fourier transforms without timing
    them, which starts short segments faster. There are no bonded terms to send to a GPU,
    and asking for it is a fatal error.
    """
    flags = ["-ntomp", str(threads), "-notunepme", "-dlb", "no"]
    if gmx.thread_mpi:
        flags = ["-ntmpi", "1", *flags]
    if gpu is None:
        return [*flags, "-nb", "cpu", "-reprod"] if gmx.gpu else [*flags, "-reprod"]
    update = "gpu" if run.variant == "gpu_fast" else "cpu"
    return [*flags, "-nb", "gpu", "-pme", "gpu", "-bonded", "cpu", "-update", update,
            "-gpu_id", str(gpu)]  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """How replicas share the machine.

    ``ns_per_day`` is each replica's speed when all ``workers`` run, ``startup_s`` what an
    mdrun takes besides its steps; both None where nothing was measured.
    """

    workers: int
    threads: int
    gpus: int = 0
    ns_per_day: float | None = None
    startup_s: float | None = None

    def at_once(self, replicas: int) -> float:
        """Replicas that run together, on average: workers wait where the last round is not full."""
        return replicas / -(-replicas // self.workers)

    def flags(self, gmx: Gmx, run: RunSpec, slot: int) -> list[str]:
        """mdrun options for the replica in a slot, 0 .. workers - 1."""
        gpu = slot % self.gpus if self.gpus else None
        return hardware_flags(gmx, run, threads=self.threads, gpu=gpu)


def layouts(gmx: Gmx) -> list[Layout]:
    """Ways to fill the machine, from many narrow replicas to one wide one.

    Without a GPU: 1, 2, 4 ... threads for each replica. With GPUs: 1 to 8 replicas on
    each, which share its processors.
    """
    n = cores()
    gpus = len(machine_gpus()) if gmx.gpu else 0
    if gpus:
        return [Layout(gpus * r, max(1, n // (gpus * r)), gpus) for r in (8, 4, 2, 1)]
    widths = [2**i for i in range(n.bit_length()) if 2**i <= n]
    return [Layout(n // t, t) for t in sorted({*widths, n})]


def time_layout(
    gmx: Gmx, run: RunSpec, layout: Layout, *, tpr: Path, scratch: Path, stop: Stop
) -> Layout:
    """Run a short simulation in every slot of a layout at once and note their speed.

    Raises
    ------
    GromacsError
        If it fails, for lack of memory on a GPU, say.
    """
    speeds, outside = [], []

    def one(slot: int) -> None:
        cwd = scratch / f"{layout.workers}x{layout.threads}-{slot}"
        cwd.mkdir()
        arguments: list[str | Path] = ["-s", tpr, "-deffnm", "md",
            "-nstlist", str(STRIDE), *layout.flags(gmx, run, slot)]  # fmt: skip
        began = time.monotonic()
        mdrun(gmx, arguments, cwd=cwd, stop=stop)
        whole = time.monotonic() - began
        log = latest_log(cwd)
        used = hardware_used(log.read_text(errors="replace") if log else "")
        if used["ns_per_day"] and used["wall_s"]:
            speeds.append(used["ns_per_day"])
            outside.append(whole - used["wall_s"])

    with ThreadPoolExecutor(layout.workers) as pool:
        list(pool.map(one, range(layout.workers)))
    if not speeds:
        return layout
    return replace(
        layout,
        ns_per_day=round(sum(speeds) / len(speeds), 3),
        startup_s=round(max(0.0, sum(outside) / len(outside)), 3),
    )


def best_layout(measured: Sequence[Layout], replicas: int) -> Layout:
    """The layout that does most ns/day when so many replicas are to be run."""
    return max(measured, key=lambda x: x.at_once(replicas) * (x.ns_per_day or 0.0))


def missed_gpu(gmx: Gmx) -> str | None:
    """What to say where the machine has a GPU that this build cannot use."""
    gpus = machine_gpus()
    if not gpus or gmx.gpu:
        return None
    return (
        f"this machine has a GPU ({gpus[0]}) but {gmx.path} was built without GPU support; use "
        "environment-gpu.yml or build GROMACS again where the CUDA toolkit is installed"
    )


class Used(TypedDict):
    """What a run used; None or empty where its log does not say."""

    cpu: str | None
    simd: str | None
    ranks: int | None
    threads: int | None
    gpus_seen: int
    on_gpu: list[str]
    wall_s: float | None
    ns_per_day: float | None


def hardware_used(log_text: str) -> Used:
    """What a run used, read from its log rather than assumed."""

    def last(pattern: str) -> str | None:
        found = re.findall(pattern, log_text, re.MULTILINE)
        return found[-1] if found else None

    def number(pattern: str) -> float | None:
        found = last(pattern)
        return float(found) if found else None

    ranks = last(r"^Using (\d{1,9}) MPI (?:thread|process)")
    threads = last(r"^Using (\d{1,9}) OpenMP thread")
    return Used(
        cpu=last(r"^\s+Brand:\s+(.+?)\s*$"),
        simd=last(r"^SIMD instructions:\s*(\S+)"),
        ranks=int(ranks) if ranks else None,
        threads=int(threads) if threads else None,
        gpus_seen=int(last(r"^\s*Number of GPUs detected:\s*(\d{1,9})\s*$") or 0),
        on_gpu=[name for name, line in _GPU_LINES.items() if line in log_text],
        wall_s=number(rf"^\s+Time:\s+\S+\s+({_NUMBER})\s"),
        ns_per_day=number(rf"^Performance:\s+({_NUMBER})\s"),
    )


# --- errors -----------------------------------------------------------------------------


def repeat(command: Sequence[str], cwd: Path) -> str:
    """A shell line that repeats a command."""
    return f"cd {shlex.quote(str(cwd))} && {shlex.join(command)}"


def failure(
    command: Sequence[str], cwd: Path, returned: int, printed: str, log_text: str = ""
) -> str:
    """What went wrong, in the lines that matter, and the command to repeat."""
    tool = next((c for c in command[1:] if not c.startswith("-")), command[0])
    how = (
        f"was killed by signal {signal.Signals(-returned).name}"
        if returned < 0
        else f"failed (exit status {returned})"
    )
    return (
        f"gmx {tool} {how} in {cwd}:\n{_lines_that_matter(printed, log_text)}\n"
        f"Repeat with:\n  {repeat(command, cwd)}"
    )


def _lines_that_matter(printed: str, log_text: str) -> str:
    """Warnings and errors of grompp, instabilities, and the final error block."""
    found: list[str] = []
    for text in (printed, log_text):
        found += re.findall(r"^(?:WARNING|ERROR) \d+ \[.*?(?=\n\s*\n)", text, re.M | re.S)
        unstable = re.findall(
            r"^.*(?:can not be settled|LINCS WARNING|is not finite|total potential energy is).*$",
            text,
            re.MULTILINE,
        )
        found += unstable[:2]
        block = re.findall(
            r"^(?:Fatal error|Error in user input|Inconsistency in user input|"
            r"System I/O error|File input/output error|Feature not implemented|Internal error.*?|"
            r"Invalid command-line options|Standard library.*?|Assertion failed|API error)"
            r":?\n.*?(?=\n\s*\nFor more information|\Z)",
            text,
            re.MULTILINE | re.DOTALL,
        )
        found += block[-1:]
        if found:
            break
    if not found:
        found = [line for line in printed.splitlines() if line.strip()][-8:]
    unique = list(dict.fromkeys(part.strip() for part in found))
    return "\n".join(f"  {line}" for part in unique for line in part.splitlines() if line.strip())
