"""Real molecular dynamics: exact chaining, the field's forces, the thermostat."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import physical_validation
import pytest
from MDAnalysis.lib.formats.libmdaxdr import TRRFile

from janus_pore.build.system import BuiltSystem, open_system
from janus_pore.drive import ensemble, field, gromacs, segments
from janus_pore.drive.ensemble import run_protocol
from janus_pore.spec import Constant, Profile, Protocol, PulseTrain, Sine, Step

pytestmark = pytest.mark.gromacs

FORCE_OF_1_E_IN_1_V_PER_NM = 96.48533212  # kJ/mol/nm; the Faraday constant


def with_protocol(profile: Profile, name: str, protocol: Protocol, **run: float) -> Profile:
    return profile.model_copy(
        update={"protocols": {name: protocol}, "run": profile.run.model_copy(update=run)}
    )


def shortened(protocol: Protocol, duration_ps: float) -> Protocol:
    """The beginning of a protocol's field, as another waveform."""
    if isinstance(protocol.waveform, Sine):
        cycles = duration_ps * protocol.waveform.frequency_GHz / 1000
        wave = protocol.waveform.model_copy(update={"cycles": cycles})
        return protocol.model_copy(update={"waveform": wave})
    first = protocol.waveform.pulse_V_per_nm
    wave = Step(from_V_per_nm=first, from_ps=min(duration_ps, 0.5), to_V_per_nm=0.0,
                to_ps=max(duration_ps - 0.5, 0.25))  # fmt: skip
    return protocol.model_copy(update={"waveform": wave})


def phase_space(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities of a segment's last state, in full precision."""
    gmx = gromacs.find_gmx()
    gmx.run(
        ["trjconv", "-f", "state.cpt", "-s", "segment.tpr", "-o", "state.trr"],
        cwd=directory, stdin="0\n",
    )  # fmt: skip
    with TRRFile(str(directory / "state.trr")) as file:
        frame = file.read()
    return frame.x, frame.v


@pytest.mark.parametrize(
    "wave",
    [
        Sine(amplitude_V_per_nm=1.2, frequency_GHz=100, cycles=0.15),
        PulseTrain(pulse_V_per_nm=0.7, width_ps=0.5, delay_V_per_nm=0.0, delay_ps=1.0, pulses=2),
    ],
    ids=["sine", "pulses"],
)
def test_chained_segments_repeat_an_uninterrupted_run_bit_for_bit(
    tiny: Profile, runs: Callable[[str], Path], wave: Sine | PulseTrain
) -> None:
    protocol = Protocol(waveform=wave, frame_ps=0.1)
    runs("whole")
    (whole,) = run_protocol(with_protocol(tiny, "wave", protocol), "wave", progress=False)
    runs("chained")
    for stops in (0.25, 0.5, 1.0):  # shorter waves first: later ones continue them
        parts = with_protocol(tiny, "wave", shortened(protocol, stops))
        run_protocol(parts, "wave", progress=False)
    profile = with_protocol(tiny, "wave", protocol, chunk_ps=0.1)
    (chained,) = run_protocol(profile, "wave", progress=False)
    assert len(chained.path) > len(whole.path)
    assert whole.path[-1].name == chained.path[-1].name
    for a, b in zip(phase_space(whole.path[-1]), phase_space(chained.path[-1]), strict=True):
        np.testing.assert_array_equal(a, b)
    # And the thermostat, to the digits that are printed.
    states = [gromacs.find_gmx().run(["dump", "-cp", r.path[-1] / "state.cpt"], cwd=r.path[-1])
              for r in (whole, chained)]  # fmt: skip
    xi = [[line for line in s.splitlines() if "nosehoover" in line] for s in states]
    assert xi[0] == xi[1]
    marks = [segments.fingerprint(gromacs.find_gmx(), r.path[-1] / "state.cpt")
             for r in (whole, chained, whole)]  # fmt: skip
    assert len(set(marks)) == 1
    first = chained.path[0] / "state.cpt"
    assert segments.fingerprint(gromacs.find_gmx(), first) != marks[0]
    assert any("nosehoover-xi[0]" in line for line in xi[0])


def forces(built: BuiltSystem, profile: Profile, options: dict[str, str], at: Path) -> np.ndarray:
    """Forces on all atoms of the built structure at the time given by ``tinit``."""
    at.mkdir()
    gmx = gromacs.find_gmx()
    whole = {
        **gromacs.physics_options(profile.system, profile.run),
        **gromacs.list_options(profile.system),
        "nsteps": "0",
        "nstfout": "1",
        **options,
    }
    gromacs.grompp(gmx, whole, conf=built.gro, top=built.top, ndx=built.ndx, tpr=at / "segment.tpr")
    flags = gromacs.hardware_flags(gmx, profile.run, threads=1)
    gromacs.mdrun(gmx, ["-s", "segment.tpr", "-deffnm", "md", *flags], cwd=at, stop=gromacs.Stop())
    with TRRFile(str(at / "md.trr")) as file:
        return file.read().f


def test_the_field_pulls_every_mobile_atom_with_its_charge_at_the_right_time(
    tiny: Profile, runs: Callable[[str], Path], tmp_path: Path
) -> None:
    runs("forces")
    built = open_system(tiny.system)
    atoms, charges = built.manifest["atoms"], built.manifest["charges_e"]
    q = np.zeros(atoms["Cl"][1])
    q[slice(*atoms["water"])] = np.tile(
        [charges["OW"], charges["HW"], charges["HW"]], (atoms["water"][1] - atoms["water"][0]) // 3
    )
    q[slice(*atoms["K"])], q[slice(*atoms["Cl"])] = charges["K"], charges["Cl"]
    mobile = slice(atoms["water"][0], None)
    reference = forces(built, tiny, {}, tmp_path / "none")

    def effective_field(name: str, t_ps: float, options: dict[str, str]) -> np.ndarray:
        with_field = forces(built, tiny, {**options, "tinit": f"{t_ps:g}"}, tmp_path / name)
        change = (with_field - reference)[mobile] / FORCE_OF_1_E_IN_1_V_PER_NM
        E = q[mobile] @ change / (q[mobile] @ q[mobile])
        np.testing.assert_allclose(change, np.outer(q[mobile], E), atol=2e-3)
        return E

    start = 3.0
    wave = Sine(amplitude_V_per_nm=1.2, frequency_GHz=10.0, phase_deg=-20)
    (segment,) = field.segments(wave)
    options = field.mdp_options(segment, start)
    for i, t in enumerate([start, start + 12.0, start + 61.0]):
        expected = 1.2 * math.sin(2 * math.pi * 0.01 * (t - start) - math.radians(20))
        got = effective_field(f"sine{i}", t, options)
        np.testing.assert_allclose(got, [expected, 0, 0], atol=1e-3)

    (steady,) = field.segments(Constant(field_V_per_nm=-0.5, duration_ps=10))
    got = effective_field("steady", 40.0, field.mdp_options(steady, start))
    np.testing.assert_allclose(got, [-0.5, 0, 0], atol=1e-3)

    # The trap itself: without an envelope GROMACS runs the cosine with t0 = 0.
    words = options["electric-field-x"].split()
    trap = {"electric-field-x": " ".join([*words[:3], "0"])}
    got = effective_field("trap", start, trap)
    np.testing.assert_allclose(got, [1.2 * math.cos(2 * math.pi * 0.01 * start), 0, 0], atol=1e-3)


def test_temperature_and_kinetic_energy_are_canonical(
    tiny: Profile, runs: Callable[[str], Path]
) -> None:
    runs("canonical")
    protocol = Protocol(waveform=Constant(field_V_per_nm=0.0, duration_ps=50), frame_ps=5)
    profile = with_protocol(tiny, "rest", protocol, chunk_ps=50)
    (record,) = run_protocol(profile, "rest", progress=False)
    energies = ensemble.thermodynamics(record)
    late = energies["time_ps"] > 5
    temperature, kinetic = (
        energies[name][late] for name in ("temperature_K", "kinetic_kJ_per_mol")
    )
    atoms = open_system(profile.system).manifest["atoms"]
    n_water = (atoms["water"][1] - atoms["water"][0]) // 3
    n_ions = atoms["Cl"][1] - atoms["K"][0]
    freedom = 6 * n_water + 3 * n_ions
    assert temperature.mean() == pytest.approx(300, abs=1.0)
    assert temperature.std() == pytest.approx(300 * math.sqrt(2 / freedom), rel=0.15)
    # What the edr calls temperature has the degrees of freedom that the mobile atoms have.
    np.testing.assert_allclose(temperature, 2 * kinetic / freedom / 8.31446261815324e-3, rtol=1e-4)
    data = physical_validation.data.SimulationData(
        units=physical_validation.data.UnitData.units("GROMACS"),
        ensemble=physical_validation.data.EnsembleData(
            "NVT", natoms=3 * n_water + n_ions, volume=1.0, temperature=300
        ),
        system=physical_validation.data.SystemData(
            natoms=3 * n_water + n_ions,
            nconstraints=3 * n_water,
            ndof_reduction_tra=0,
            ndof_reduction_rot=0,
        ),
        observables=physical_validation.data.ObservableData(kinetic_energy=kinetic),
    )
    mean, width = physical_validation.kinetic_energy.distribution(
        data, strict=False, verbosity=0, bootstrap_seed=1
    )
    assert abs(mean) < 3
    assert abs(width) < 3
    # and a thermostat that is 5 K off would not pass
    data.observables.kinetic_energy = kinetic * 305 / 300
    mean, _ = physical_validation.kinetic_energy.distribution(
        data, strict=False, verbosity=0, bootstrap_seed=1
    )
    assert abs(mean) > 3
