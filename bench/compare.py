"""Side by side with what people use today: ``make bench``, or ``--quick`` for a look.

Each row is a ratio of measurements made in turns in one run, so that a machine that slows
down slows both sides. Everything is measured on a system of the ``reduced`` profile (and of
``paper``, unless quick) that was minimised and relaxed for a moment.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from MDAnalysis.lib.formats.libmdaxdr import TRRFile, XTCFile

from janus_pore.build.forcefield import load_forcefield
from janus_pore.build.membrane import build_membrane
from janus_pore.build.system import BuiltSystem, build_system
from janus_pore.drive import ensemble, gromacs, manifests, trees
from janus_pore.spec import ALONE, Profile, Protocol, PulseTrain, load_profile
from others import Missing, distribution_gromacs, environment, python_environment
from results import keep, page

Group = dict[str, Any]
Array = npt.NDArray[np.float64]
KJ_PER_KCAL = 4.184


@dataclass
class Bench:
    """A system that is ready to be run, and how long to run it."""

    profile: Profile
    built: BuiltSystem
    gmx: gromacs.Gmx
    here: Path
    state: Path
    quick: bool

    @property
    def repetitions(self) -> int:
        """Turns of each comparison."""
        return 2 if self.quick else 3

    @property
    def seconds(self) -> float:
        """Length of one measurement of MD."""
        return 4.0 if self.quick else 10.0

    @property
    def narrow(self) -> list[str]:
        """Flags of one replica on one thread."""
        return gromacs.hardware_flags(self.gmx, self.profile.run, threads=1)

    @property
    def wide(self) -> list[str]:
        """Flags of one replica on all cores."""
        return gromacs.hardware_flags(self.gmx, self.profile.run, threads=gromacs.cores())

    def options(self, changes: Mapping[str, str]) -> dict[str, str]:
        """What the engine tells grompp, for a run without output."""
        return {
            **gromacs.physics_options(self.built.spec, self.profile.run),
            **gromacs.list_options(self.built.spec),
            **gromacs.output_options(0, 1000 * gromacs.STRIDE),
            "nsteps": "-1",
            "continuation": "yes",
        } | dict(changes)

    def tpr(
        self, name: str, changes: Mapping[str, str] | None = None, gmx: gromacs.Gmx | None = None
    ) -> Path:
        """A run input from the relaxed state."""
        return gromacs.grompp(
            gmx or self.gmx, self.options(changes or {}), conf=self.built.gro, top=self.built.top,
            ndx=self.built.ndx, tpr=self.here / f"{name}.tpr", state=self.state,
        )  # fmt: skip


def prepare(name: str, here: Path, quick: bool) -> Bench:
    """Build a profile's system and relax it for a few picoseconds."""
    profile = load_profile(
        name, {"run.equilibration_ps": 1.0, "run.replica_spacing_ps": 1.0, "run.settle_ps": 0.5}
    )
    built = build_system(profile.system)
    ensemble.equilibrate(profile, progress=False)
    state = ensemble.open_equilibration(profile)[0].path[-1] / "state.cpt"
    here.mkdir()
    return Bench(profile, built, gromacs.find_gmx(), here, state, quick)


# --- running mdrun ----------------------------------------------------------------------


def mdrun(gmx: gromacs.Gmx, tpr: Path, steps: int, flags: Sequence[str]) -> float:
    """ns/day over the second half of so many steps."""
    with tempfile.TemporaryDirectory(dir=tpr.parent) as folder:
        gmx.run(
            ["mdrun", "-s", tpr, "-deffnm", "md", "-nsteps", str(steps), "-resethway",
             "-noconfout", *flags], cwd=Path(folder),
        )  # fmt: skip
        speed = gromacs.hardware_used((Path(folder) / "md.log").read_text("utf-8"))["ns_per_day"]
    assert speed is not None
    return speed


def of_one_core(gmx: gromacs.Gmx, tpr: Path, steps: int, flags: Sequence[str]) -> float:
    """ns/day on one thread by the time that the processor gave it, its start left out.

    Other work on the machine changes this by far less than the time on the clock.
    """

    def taken(n: int) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with tempfile.TemporaryDirectory(dir=tpr.parent) as folder:
            gmx.run(
                ["mdrun", "-s", tpr, "-deffnm", "md", "-nsteps", str(n), "-noconfout", *flags],
                cwd=Path(folder),
            )
            log = (Path(folder) / "md.log").read_text("utf-8")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        step = re.search(r"^\s+dt\s+=\s+(\S+)", log, re.MULTILINE)
        assert step is not None
        ns.append(n * float(step.group(1)) / 1000)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    ns: list[float] = []
    short, long = taken(steps // 5), taken(steps)
    return (ns[1] - ns[0]) / (long - short) * 86400


def steps_for(bench: Bench, seconds: float, ns_per_day: float) -> int:
    """Steps that take so long, a multiple of the pair list's interval."""
    steps = seconds * ns_per_day / 86400 * 1e6 / bench.profile.run.dt_fs
    return max(8, round(steps / gromacs.STRIDE)) * gromacs.STRIDE


def turns(repetitions: int, contestants: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure all, again and again, in turns."""
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repetitions):
        for name, measure in contestants.items():
            measured[name].append(measure())
    return measured


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Median of the ratios of turns, with the smallest and the largest."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return f"{median(each):.2f} ({min(each):.2f} to {max(each):.2f})"


# --- 1: throughput of one simulation ----------------------------------------------------


def throughput(bench: Bench) -> Group:
    """ns/day of this project's default against other programs."""
    run = bench.profile.run
    threads = gromacs.cores()
    ours = bench.wide
    tpr = bench.tpr("throughput")
    first = mdrun(bench.gmx, tpr, 500, ours)
    steps = steps_for(bench, bench.seconds, first)
    contestants: dict[str, Callable[[], float]] = {
        "this project": lambda: mdrun(bench.gmx, tpr, steps, ours)
    }
    notes = [f"{bench.built.atoms} atoms, {run.dt_fs:g} fs, {threads} threads."]
    other = distribution_gromacs()
    if isinstance(other, Missing):
        notes.append(f"Distribution's GROMACS: {other.why}.")
    else:
        plain, theirs = other, bench.tpr("distribution", gmx=other)
        name = f"distribution's gmx {'.'.join(map(str, plain.version))} ({plain.simd})"
        contestants[name] = lambda: mdrun(plain, theirs, max(400, steps // 2), [])
        single = ["-ntmpi", "1", "-ntomp", "1"]
        cores = {
            "ours": lambda: of_one_core(bench.gmx, tpr, max(500, steps // 3), bench.narrow),
            "theirs": lambda: of_one_core(plain, theirs, max(500, steps // 6), single),
        }
        alone = turns(bench.repetitions, cores)
        notes.append(
            f"Of one core's time, this project's GROMACS makes {ratio(*alone.values())} times the "
            "dynamics of the distribution's."
        )
    reference = exact(bench)
    errors = {"this project": reference.error(frame(bench, "own", {})[1])}
    about = md_job(bench, tpr, reference)
    for what, interpreter, fewer in (
        ("openmm", Path(sys.executable), 12),
        ("lammps", python_environment(), 20),
    ):
        if isinstance(interpreter, Missing):
            notes.append(f"{what}: {interpreter.why}.")
            continue
        job = bench.here / f"{what}.json"
        kept = bench.here / f"{what}.npy"
        steps_less = max(100, steps // fewer)
        job.write_text(json.dumps({**about, "steps": steps_less, "forces": str(kept)}), "utf-8")
        try:
            name = contest(what, job, interpreter)["what"]
        except subprocess.CalledProcessError as error:
            notes.append(f"{what} does not run here: {last_line(error.stderr)}.")
            continue
        errors[name] = reference.error(np.load(kept))
        contestants[name] = speed_of(what, job, interpreter)
    measured = turns(bench.repetitions, contestants)
    best = measured["this project"]
    rows = [
        (
            name,
            f"{median(speeds):.1f}",
            ratio(best, speeds),
            f"{errors[name]:.1e}" if name in errors else "as this project's",
        )
        for name, speeds in measured.items()
    ]
    return {
        "title": f"MD throughput, {bench.profile.name} system",
        "text": " ".join(notes) + " Same cut-offs, Ewald splitting, PME grid and time step; "
        "GROMACS interpolates with order 4 there, the others with order 5.",
        "head": ("program", "ns/day", "this project is faster by", "error of forces"),
        "rows": rows,
        "data": {"ns_per_day": measured, "force_error": errors},
    }


def speed_of(what: str, job: Path, python: Path) -> Callable[[], float]:
    """A measurement of another program, ready to be made."""
    return lambda: float(contest(what, job, python)["ns_per_day"])


def last_line(text: str) -> str:
    """What a program said last."""
    return ([line for line in text.splitlines() if line.strip()] or ["nothing said"])[-1]


def contest(what: str, job: Path, python: Path) -> dict[str, Any]:
    """One measurement in a process of its own."""
    done = subprocess.run(
        [python, Path(__file__).with_name("contestants.py"), what, job], text=True, check=True,
        capture_output=True, env=environment(python), cwd=job.parent,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def md_job(bench: Bench, tpr: Path, reference: Exact) -> dict[str, Any]:
    """What other MD programs need to run the same."""
    text = lammps_data(bench.built, reference.positions_nm)
    (bench.here / "lammps.data").write_text(text, encoding="utf-8")
    np.save(bench.here / "positions.npy", reference.positions_nm)
    with tempfile.TemporaryDirectory(dir=bench.here) as folder:
        bench.gmx.run(["mdrun", "-s", tpr, "-nsteps", "0", *bench.narrow], cwd=Path(folder))
        log = (Path(folder) / "md.log").read_text("utf-8")
    sizes = [re.search(rf"fourier-n{axis}\s*=\s*(\d+)", log) for axis in "xyz"]
    width = re.search(r"Using a Gaussian width \(1/beta\) of (\S+) nm", log)
    assert width is not None
    run = bench.profile.run
    return {
        "box_nm": bench.built.manifest["box_nm"], "positions": str(bench.here / "positions.npy"),
        "top": str(bench.built.top), "data": str(bench.here / "lammps.data"),
        "atoms": bench.built.manifest["atoms"], "cutoff_nm": bench.built.spec.cutoff_nm,
        "grid": [int(n.group(1)) for n in sizes if n], "beta_per_nm": 1 / float(width.group(1)),
        "temperature_K": run.temperature_K, "dt_ps": run.dt_fs / 1000,
        "threads": gromacs.cores(), "membrane_types": len(membrane_elements(bench.built)),
    }  # fmt: skip


def membrane_elements(built: BuiltSystem) -> list[str]:
    """Elements of the membrane, each once."""
    return list(dict.fromkeys(build_membrane(built.spec).elements))


def lammps_data(built: BuiltSystem, positions_nm: Array) -> str:
    """The system as LAMMPS reads it, units real."""
    field, membrane = load_forcefield(), build_membrane(built.spec)
    lj = field.lennard_jones(built.spec.chalcogen_lj)
    elements = membrane_elements(built)
    water, ions = field.water, field.ions
    sorts = [(field.masses_u[e], lj[e].sigma_nm, lj[e].epsilon_kJ_per_mol) for e in elements]
    sorts += [
        (p.mass_u, p.sigma_nm, p.epsilon_kJ_per_mol)
        for p in (water.oxygen, water.hydrogen, ions["K"], ions["Cl"])
    ]
    m = len(elements)
    box = [10 * edge for edge in built.manifest["box_nm"]]
    molecules, bonds, angles = 1, [], []
    atoms = [
        (1, elements.index(e) + 1, float(q))
        for e, q in zip(membrane.elements, membrane.charges_e, strict=True)
    ]
    start, stop = built.manifest["atoms"]["water"]
    for i in range(start, stop, 3):
        molecules += 1
        atoms += [(molecules, m + 1, water.oxygen.charge_e)]
        atoms += [(molecules, m + 2, water.hydrogen.charge_e)] * 2
        bonds += [(i + 1, i + 2), (i + 1, i + 3)]
        angles += [(i + 2, i + 1, i + 3)]
    species: tuple[tuple[Literal["K", "Cl"], int], ...] = (("K", m + 3), ("Cl", m + 4))
    for name, sort in species:
        for _ in range(*built.manifest["atoms"][name]):
            molecules += 1
            atoms.append((molecules, sort, ions[name].charge_e))
    text = ["janus_pore", "", f"{len(atoms)} atoms", f"{len(bonds)} bonds", f"{len(angles)} angles"]
    text += [f"{m + 4} atom types", "1 bond types", "1 angle types"]
    text += [f"0 {edge:.6f} {a}lo {a}hi" for edge, a in zip(box, "xyz", strict=False)]
    text += ["", "Masses", "", *(f"{i} {mass}" for i, (mass, *_) in enumerate(sorts, 1))]
    text += ["", "Pair Coeffs", ""]
    text += [
        f"{i} {eps / KJ_PER_KCAL:.8f} {10 * sig:.6f}" for i, (_, sig, eps) in enumerate(sorts, 1)
    ]
    # Without springs: the bonds are rigid.
    text += ["", "Bond Coeffs", "", f"1 0 {10 * water.bond_OH_nm}"]
    text += ["", "Angle Coeffs", "", f"1 0 {water.angle_deg:.6f}", "", "Atoms # full", ""]
    text += [
        f"{i} {mol} {sort} {q} {10 * x:.8f} {10 * y:.8f} {10 * z:.8f}"
        for i, ((mol, sort, q), (x, y, z)) in enumerate(zip(atoms, positions_nm, strict=True), 1)
    ]
    text += ["", "Bonds", "", *(f"{i} 1 {a} {b}" for i, (a, b) in enumerate(bonds, 1))]
    text += ["", "Angles", "", *(f"{i} 1 {a} {b} {c}" for i, (a, b, c) in enumerate(angles, 1))]
    return "\n".join(text) + "\n"


# --- speed at equal accuracy ------------------------------------------------------------

REFERENCE = {"fourierspacing": "0.06", "pme-order": "8", "ewald-rtol": "1e-6"}
"""A hundredth of the default's error."""
SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "nstlist 50": {"nstlist": "50"},
    "nstlist 100": {"nstlist": "100"},
    "buffer tolerance 0.02 kJ/mol/ps": {"verlet-buffer-tolerance": "0.02"},
    "cut-off 1.3, grid 0.13 nm": {"rcoulomb": "1.3", "rlist": "1.3", "fourierspacing": "0.13"},
    "grid 0.14 nm": {"fourierspacing": "0.14"},
    "grid 0.17 nm, order 5": {"fourierspacing": "0.17", "pme-order": "5"},
    "grid 0.17 nm, order 5, nstlist 50": {
        "fourierspacing": "0.17", "pme-order": "5", "nstlist": "50",
    },
}  # fmt: skip
"""Settings other than the default's; all keep the Lennard-Jones cut-off."""


def equal_accuracy(bench: Bench) -> Group:
    """Speed of other settings, each with the error of its forces."""
    reference = exact(bench)
    inputs = {name: bench.tpr(f"setting{i}", changes)
              for i, (name, changes) in enumerate(SETTINGS.items())}  # fmt: skip
    first = of_one_core(bench.gmx, inputs["default"], 500, bench.narrow)
    steps = steps_for(bench, bench.seconds, first)

    def measure(name: str) -> Callable[[], float]:
        listed = SETTINGS[name].get("nstlist", str(gromacs.STRIDE))
        flags = [*bench.narrow, "-nstlist", listed]
        return lambda: of_one_core(bench.gmx, inputs[name], steps, flags)

    speeds = turns(bench.repetitions, {name: measure(name) for name in SETTINGS})
    errors, late = {}, {}
    for i, (name, changes) in enumerate(SETTINGS.items()):
        errors[name] = reference.error(frame(bench, f"forces{i}", changes)[1])
        late[name] = list_error(bench, f"late{i}", reference, changes)
    # Errors differ a little from frame to frame; within a tenth they count as equal.
    rows = [
        (
            name,
            f"{median(speeds[name]):.1f}",
            ratio(speeds[name], speeds["default"]),
            f"{errors[name]:.2e}",
            f"{late[name]:.1e}",
            "-" if name == "default"
            else "worse: rejected"
            if errors[name] > 1.1 * errors["default"] or late[name] > 2 * late["default"] + 1e-6
            else "equal or better",
        )
        for name in SETTINGS
    ]  # fmt: skip
    return {
        "title": f"MD speed at equal accuracy, {bench.profile.name} system",
        "text": "Root mean square error of the forces over that of the forces, against a grid "
        "of 0.06 nm, order 8 and a tolerance of 1e-6; and what the pair list misses at the end of "
        "its life, against a fresh one. Speeds are of one thread, by processor time.",
        "head": (
            "setting",
            "ns/day",
            "faster by",
            "error of forces",
            "list at its end",
            "accuracy",
        ),
        "rows": rows,
        "data": {"ns_per_day": speeds, "force_error": errors, "list_error": late},
    }


def frame(bench: Bench, name: str, settings: Mapping[str, str]) -> tuple[Array, Array]:
    """Positions (nm) and forces (kJ/mol/nm) of all atoms in the relaxed state."""
    tpr = bench.tpr(name, {"nstfout": "1", "nstxout": "1", "nsteps": "0", **settings})
    bench.gmx.run(["mdrun", "-s", tpr, "-deffnm", name, *bench.narrow], cwd=bench.here)
    with TRRFile(str(bench.here / f"{name}.trr")) as trr:
        read = trr.read()
        return np.array(read.x, dtype=float), np.array(read.f, dtype=float)


@dataclass
class Exact:
    """Forces on the mobile atoms without any approximation that matters."""

    positions_nm: Array
    forces: Array
    mobile: slice

    def error(self, forces: Array) -> float:
        """Root mean square error of forces over the root mean square force."""
        off = (forces - self.forces)[self.mobile]
        return float(np.sqrt((off**2).mean() / (self.forces[self.mobile] ** 2).mean()))


def exact(bench: Bench) -> Exact:
    """With the settings of :data:`REFERENCE`."""
    mobile = slice(bench.built.manifest["atoms"]["water"][0], None)
    return Exact(*frame(bench, "exact", REFERENCE), mobile)


def list_error(bench: Bench, name: str, reference: Exact, settings: Mapping[str, str]) -> float:
    """Difference of forces at the end of a pair list's life from those of a fresh list."""
    every = int(settings.get("nstlist", gromacs.STRIDE))
    last = every * 3 - 1
    output = {"nstfout": str(last), "nstxout": str(last), "nsteps": str(last)}
    tpr = bench.tpr(name, {**output, **settings})
    flags = bench.wide
    # The last step always searches anew unless there is one more to come.
    bench.gmx.run(
        ["mdrun", "-s", tpr, "-deffnm", name, "-nsteps", str(last + 1), "-nstlist", str(every),
         *flags], cwd=bench.here,
    )  # fmt: skip
    with TRRFile(str(bench.here / f"{name}.trr")) as trr:
        old = next(f for f in trr if f.step == last)
        old_forces = np.array(old.f, dtype=float)
    again = f"{name}-again"
    bench.gmx.run(
        ["mdrun", "-s", tpr, "-deffnm", again, "-rerun", f"{name}.trr", *bench.narrow],
        cwd=bench.here,
    )
    with TRRFile(str(bench.here / f"{again}.trr")) as trr:
        new_forces = np.array(next(f for f in trr if f.step == last).f, dtype=float)
    return Exact(reference.positions_nm, new_forces, reference.mobile).error(old_forces)


# --- 2: ensembles -----------------------------------------------------------------------


def ensembles(bench: Bench) -> Group:
    """Aggregate ns/day of several replicas, laid out as the engine does."""
    tpr = bench.tpr("ensemble")
    n = gromacs.cores()
    steps = steps_for(bench, bench.seconds / 3, mdrun(bench.gmx, tpr, 500, bench.wide))

    def together(replicas: int, gmx: gromacs.Gmx, tpr: Path, flags: Sequence[str]) -> float:
        workers = n if flags == bench.narrow else 1

        def one(_: int) -> None:
            with tempfile.TemporaryDirectory(dir=bench.here) as folder:
                gmx.run(
                    ["mdrun", "-s", tpr, "-deffnm", "md", "-nsteps", str(steps), "-noconfout",
                     *flags], cwd=Path(folder),
                )  # fmt: skip

        began = time.perf_counter()
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(one, range(replicas)))
        ns = replicas * steps * bench.profile.run.dt_fs * 1e-6
        return ns / (time.perf_counter() - began) * 86400

    contestants: dict[str, Callable[[], float]] = {
        str(r): partial(together, r, bench.gmx, tpr, bench.wide if r < n else bench.narrow)
        for r in sorted({1, 2, 4, 8, n})
    }
    text = (
        f"One replica on all {n} cores, or {n} at a time on one core each; start of mdrun included."
    )
    other = distribution_gromacs()
    if isinstance(other, Missing):
        measured = turns(bench.repetitions, contestants)
    else:
        theirs = f"{n}, distribution's gmx, one after another"
        contestants[theirs] = partial(together, n, other, bench.tpr("plain", gmx=other), ())
        measured = turns(bench.repetitions, contestants)
        text += (
            f" With {n} replicas the engine makes {ratio(measured[str(n)], measured[theirs])} "
            "times the dynamics of the distribution's GROMACS, which starts on all cores by itself."
        )
    rows = [
        (r, f"{median(speeds):.1f}", ratio(speeds, measured["1"])) for r, speeds in measured.items()
    ]
    return {
        "title": f"Ensembles, {bench.profile.name} system",
        "text": text,
        "head": ("replicas", "ns/day together", "against one"),
        "rows": rows,
        "data": measured,
    }


# --- 3: analysis ------------------------------------------------------------------------


MAICOS_FEWER = 5
"""What is slow by this much and more reads so much fewer frames."""


def analysis(bench: Bench) -> Group:
    """Frames per second of this project's reduction and of others."""
    frames = 1000 if bench.quick else 5000
    xtc = bench.here / "analysis.xtc"
    tpr = bench.tpr("frames", {"nstxout-compressed": "50"})
    flags = bench.wide
    bench.gmx.run(
        ["mdrun", "-s", tpr, "-x", xtc, "-nsteps", str(50 * 100), "-noconfout", *flags],
        cwd=bench.here,
    )  # fmt: skip
    few = bench.here / "few.xtc"
    shutil.copyfile(xtc, few)
    repeat(xtc, frames)
    repeat(few, frames // MAICOS_FEWER)
    manifest = bench.here / "manifest.json"
    manifest.write_text(json.dumps(bench.built.manifest), encoding="utf-8")
    pdb = bench.here / "topology.pdb"
    bench.gmx.run(["editconf", "-f", bench.built.gro, "-o", pdb], cwd=bench.here)
    charges, masses = per_atom(bench.built)
    job, short = bench.here / "analysis.json", bench.here / "few.json"
    about = {
        "xtc": str(xtc), "gro": str(bench.built.gro), "manifest": str(manifest),
        "frames": frames, "tpr_text": str(pdb), "charges": charges, "masses": masses,
    }  # fmt: skip
    job.write_text(json.dumps(about), encoding="utf-8")
    about |= {"xtc": str(few), "frames": frames // MAICOS_FEWER}
    short.write_text(json.dumps(about), encoding="utf-8")
    names = {
        "bare decoding": "decode", "this project, one pass": "one_pass",
        "MDAnalysis, plain loop": "plain_loop",
    }  # fmt: skip
    memory: dict[str, float] = {}
    notes = [f"{frames} frames of {bench.built.atoms} atoms."]

    def measure(name: str, what: str, python: Path, job: Path) -> Callable[[], float]:
        def once() -> float:
            answer = contest(what, job, python)
            memory[name] = answer["peak_MB"]
            return float(answer["frames_per_s"])

        return once

    here = Path(sys.executable)
    contestants = {name: measure(name, what, here, job) for name, what in names.items()}
    python = python_environment()
    if isinstance(python, Missing):
        notes.append(f"MAICoS: {python.why}.")
    else:
        name = "MAICoS, orientation"
        try:
            contest("maicos", short, python)
            contestants[name] = measure(name, "maicos", python, short)
            notes.append(f"MAICoS reads {frames // MAICOS_FEWER} of them.")
        except subprocess.CalledProcessError as error:
            notes.append(f"MAICoS does not run here: {last_line(error.stderr)}.")

    def h2order() -> float:
        began = time.perf_counter()
        bench.gmx.run(
            ["h2order", "-f", xtc, "-s", tpr, "-n", bench.built.ndx, "-d", "X", "-sl", "50",
             "-o", "order.xvg"], cwd=bench.here, stdin="Water\n",
        )  # fmt: skip
        return frames / (time.perf_counter() - began)

    contestants["gmx h2order"] = h2order
    measured = turns(bench.repetitions, contestants)
    ours = measured["this project, one pass"]
    rows = [
        (name, f"{median(speeds):.0f}", ratio(ours, speeds),
         f"{memory[name]:.0f} MB" if name in memory else "-")
        for name, speeds in measured.items()
    ]  # fmt: skip
    return {
        "title": f"Analysis, {bench.profile.name} system",
        "text": " ".join(notes) + " Loading the programs is not counted, opening the files is.",
        "head": ("program", "frames/s", "this project is faster by", "peak memory"),
        "rows": rows,
        "data": {"frames_per_s": measured, "peak_MB": memory, "xtc_bytes": xtc.stat().st_size},
    }


def repeat(xtc: Path, frames: int) -> None:
    """Lengthen a trajectory by its own frames, with times that go on."""
    with XTCFile(str(xtc)) as file:
        read = list(file)[1:]
    with XTCFile(str(xtc), "w") as file:
        for i, frame in zip(range(frames), itertools.cycle(read), strict=False):
            file.write(frame.x, frame.box, i, 0.1 * i, frame.prec)


def per_atom(built: BuiltSystem) -> tuple[list[float], list[float]]:
    """Charges (e) and masses (u) of all atoms."""
    field, membrane = load_forcefield(), build_membrane(built.spec)
    pairs = [(float(q), field.masses_u[e])
             for e, q in zip(membrane.elements, membrane.charges_e, strict=True)]  # fmt: skip
    water = [(p.charge_e, p.mass_u) for p in
             (field.water.oxygen, field.water.hydrogen, field.water.hydrogen)]  # fmt: skip
    start, stop = built.manifest["atoms"]["water"]
    pairs += water * ((stop - start) // 3)
    for name, ion in field.ions.items():  # K, Cl
        pairs += [(ion.charge_e, ion.mass_u)] * len(range(*built.manifest["atoms"][name]))
    charges, masses = zip(*pairs, strict=True)
    return list(charges), list(masses)


# --- 4 and 6: the protocol's own cost ---------------------------------------------------


def overhead(bench: Bench) -> list[Group]:
    """Wall time outside MD steps of a pulse train, and what is kept of it."""
    pulses = 3 if bench.quick else 10
    train = PulseTrain(pulse_V_per_nm=0.5, width_ps=5.0, delay_ps=5.0, pulses=pulses)
    plain = {"windows": None, **ALONE}
    profile = bench.profile.model_copy(
        update={"protocols": {"train": Protocol(waveform=train, frame_ps=0.1)}, **plain}
    )
    roots = trees.system_runs(bench.built) / "r000"
    stepping, whole = [], []
    for _ in range(1 if bench.quick else 3):
        shutil.rmtree(roots, ignore_errors=True)
        began = time.perf_counter()
        (record,) = ensemble.run_protocol(profile, "train", progress=False, workers=1)
        whole.append(time.perf_counter() - began)
        made = [manifests.read_manifest(p) for p in roots.iterdir() if p.name[0] != "."]
        stepping.append(sum(m["hardware"]["wall_s"] for m in made))
    share = [1 - s / w for s, w in zip(stepping, whole, strict=True)]
    kept = sum((d / "series.nc").stat().st_size for d in record.path)
    states = sum((d / "state.cpt").stat().st_size for d in record.path)
    ns = record.duration_ps / 1000
    frame = 12.6 / 3 * bench.built.atoms
    xtc = bench.here / "analysis.xtc"
    if xtc.exists():
        with XTCFile(str(xtc)) as file:
            frame = xtc.stat().st_size / len(file)
    written = frame * record.duration_ps / record.frame_ps
    first: Group = {
        "title": f"Protocol overhead, {bench.profile.name} system",
        "text": "A train of 5 ps pulses and 5 ps delays on one replica, from its command to its "
        "series: what is not spent on steps of MD, by GROMACS's own clock.",
        "head": ("pulses", "segments", "wall, s", "MD steps, s", "outside MD"),
        "rows": [(str(pulses), str(len(made)), f"{median(whole):.1f}", f"{median(stepping):.1f}",
                  f"{median(share):.1%}")],
        "data": {"wall_s": whole, "md_s": stepping},
    }  # fmt: skip
    second: Group = {
        "title": f"Storage per ns, {bench.profile.name} system",
        "text": f"Frames every {record.frame_ps:g} ps, in segments of 5 ps.",
        "head": ("kept", "MB per ns", "of the trajectory"),
        "rows": [
            ("trajectory that was reduced", f"{written / ns / 1e6:.1f}", "1"),
            ("series", f"{kept / ns / 1e6:.2f}", f"1/{written / kept:.0f}"),
            (
                "checkpoints to continue from",
                f"{states / ns / 1e6:.2f}",
                f"1/{written / states:.0f}",
            ),
        ],
        "data": {"series_bytes": kept, "state_bytes": states, "xtc_bytes": written, "ns": ns},
    }
    return [first, second]


def shared(bench: Bench) -> Group:
    """MD that the segment tree saves for pulse pairs in both directions."""
    reduced = load_profile("reduced")
    _, *costs = ensemble.plan(reduced.model_copy(update=ALONE), ["ppf", "ppd"], measure=False)
    ns, alone = (sum(getattr(c, name) for c in costs) for name in ("ns_tree", "ns_alone"))
    delays = [len(reduced.protocol(name).scan["delay_ps"]) for name in ("ppf", "ppd")]
    return {
        "title": "MD saved by the segment tree",
        "text": f"Pulse pairs with {delays[0]} and {delays[1]} delays after facilitating and "
        "depressing preparation, by the plan.",
        "head": ("", "ns"),
        "rows": [("each pair alone", f"{alone:.2f}"), ("as a tree", f"{ns:.2f}"),
                 ("saved", f"{1 - ns / alone:.0%}")],
        "data": {"ns_alone": alone, "ns_tree": ns},
    }  # fmt: skip


Part = Callable[[Bench], Group | list[Group]]
PARTS: dict[str, tuple[Part, tuple[str, ...]]] = {
    "throughput": (throughput, ("reduced", "paper")),
    "accuracy": (equal_accuracy, ("reduced",)),
    "ensembles": (ensembles, ("reduced", "paper")),
    "analysis": (analysis, ("reduced", "paper")),
    "overhead": (overhead, ("reduced",)),
    "tree": (shared, ("reduced",)),
}
"""What is measured, and on the systems of which profiles."""


def measure(parts: Sequence[str], quick: bool) -> None:
    """Measure parts one after the other and keep each."""
    prepared: dict[str, Bench] = {}
    with tempfile.TemporaryDirectory(prefix="janus-pore-bench-") as scratch:
        os.environ["JANUS_PORE_RUNS"] = str(Path(scratch) / "runs")
        for part in parts:
            act, systems = PARTS[part]
            began = time.monotonic()
            groups: list[Group] = []
            for name in systems[:1] if quick else systems:
                if name not in prepared:
                    prepared[name] = prepare(name, Path(scratch) / name, quick)
                found = act(prepared[name])
                groups += found if isinstance(found, list) else [found]
            keep(part, {"quick": quick, "groups": groups})
            print(f"{part} took {time.monotonic() - began:.0f} s", flush=True)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one system and short runs; all takes half an hour"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    measure(list(options.parts), options.quick)
    print(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
