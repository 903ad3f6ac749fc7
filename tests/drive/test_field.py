"""Waveforms as segments, and what GROMACS is told of them."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damage import injuries
from janus_pore.drive import field
from janus_pore.drive.trees import pieces
from janus_pore.errors import SpecError
from janus_pore.spec import (
    Constant,
    GaussianPulse,
    PulseTrain,
    RunSpec,
    Sampled,
    Sine,
    Step,
    Waveform,
)


def gromacs_field(options: str, t_ps: np.ndarray) -> np.ndarray:
    """E(t) as GROMACS evaluates it, in single precision and ignoring t0 without sigma."""
    E0, omega, t0, sigma = (np.float32(word) for word in options.split())
    t = t_ps.astype(np.float32)
    if sigma > 0:
        return E0 * np.cos(omega * (t - t0)) * np.exp(-((t - t0) ** 2) / (2 * sigma**2))
    return E0 * np.cos(omega * t)


@pytest.mark.parametrize("amplitude", [1.2, -0.7])
@pytest.mark.parametrize("phase", [0.0, 90.0, -30.0])
def test_sine_and_its_options_follow_the_formula(amplitude: float, phase: float) -> None:
    wave = Sine(amplitude_V_per_nm=amplitude, frequency_GHz=0.2, phase_deg=phase, cycles=10)
    t = np.linspace(0, 50000, 4001)
    expected = amplitude * np.sin(2 * math.pi * 2e-4 * t + math.radians(phase))
    np.testing.assert_allclose(field.field_at(wave, t), expected, atol=1e-9)
    (segment,) = field.segments(wave)
    assert segment.duration_ps == pytest.approx(50000)
    (told,) = field.mdp_options(segment, start_time_ps=0.0).values()
    np.testing.assert_allclose(gromacs_field(told, t), expected, atol=2e-5)


def test_a_sine_that_begins_late_is_shifted() -> None:
    (segment,) = field.segments(Sine(amplitude_V_per_nm=1.0, frequency_GHz=5.0))
    options = field.mdp_options(segment, start_time_ps=30.0, axis="z")
    assert list(options) == ["electric-field-z"]
    t = np.linspace(30, 230, 101)
    expected = np.sin(2 * math.pi * 5e-3 * (t - 30))
    np.testing.assert_allclose(gromacs_field(options["electric-field-z"], t), expected, atol=1e-5)


def test_an_oscillation_without_envelope_is_refused() -> None:
    with pytest.raises(SpecError, match="ignores t0"):
        field.mdp_options(field.FieldSegment(10.0, 1.0, omega_per_ps=0.1, t0_ps=3.0), 0.0)
    with pytest.raises(SpecError, match="axis"):
        field.mdp_options(field.FieldSegment(10.0, 1.0), 0.0, axis="w")


def test_pulse_train_is_pulses_between_delays() -> None:
    train = PulseTrain(
        prepare_V_per_nm=2.0, prepare_ps=20, pulse_V_per_nm=0.7, width_ps=5,
        delay_V_per_nm=0.5, delay_ps=3, pulses=3,
    )  # fmt: skip
    got = [(s.duration_ps, s.E0_V_per_nm) for s in field.segments(train)]
    assert got == [(20, 2.0), (5, 0.7), (3, 0.5), (5, 0.7), (3, 0.5), (5, 0.7)]
    assert field.duration_ps(train) == 41
    # At an edge the new field holds, at the end the last, outside none.
    np.testing.assert_array_equal(
        field.field_at(train, [-1, 0, 20, 25, 41, 42]), [0, 2.0, 0.7, 0.5, 0.7, 0]
    )


def test_equal_neighbours_are_one_segment_and_empty_ones_none() -> None:
    assert len(field.segments(Step(from_ps=0, to_V_per_nm=0.8, to_ps=10))) == 1
    same = PulseTrain(pulse_V_per_nm=0.5, delay_V_per_nm=0.5, width_ps=5, delay_ps=2, pulses=2)
    assert [s.duration_ps for s in field.segments(same)] == [12]


def test_gaussian_pulse_is_native() -> None:
    pulse = GaussianPulse(peak_V_per_nm=-1.5, centre_ps=20, width_ps=4, duration_ps=50)
    t = np.linspace(0, 50, 201)
    expected = -1.5 * np.exp(-((t - 20) ** 2) / 32)
    np.testing.assert_allclose(field.field_at(pulse, t), expected, atol=1e-12)
    (told,) = field.mdp_options(field.segments(pulse)[0], start_time_ps=7.0).values()
    np.testing.assert_allclose(gromacs_field(told, t + 7), expected, atol=1e-5)


@given(
    st.lists(st.floats(-5, 5), min_size=3, max_size=12),
    st.lists(st.floats(0.1, 3), min_size=12, max_size=12),
    st.floats(0.05, 1.0),
)
def test_sampled_steps_keep_the_impulse_and_the_stated_error(
    fields: list[float], intervals: list[float], step: float
) -> None:
    times = np.concatenate([[0.0], np.cumsum(intervals)])[: len(fields)]
    wave = Sampled(
        times_ps=tuple(times), fields_V_per_nm=tuple(fields), step_ps=min(step, times[-1])
    )
    chain = field.segments(wave)
    assert math.fsum(s.duration_ps for s in chain) == pytest.approx(times[-1])
    impulse = math.fsum(s.duration_ps * s.E0_V_per_nm for s in chain)
    assert impulse == pytest.approx(np.trapezoid(fields, times), abs=1e-9)
    t = np.linspace(0, times[-1], 2000, endpoint=False)
    off = np.abs(field.field_at(wave, t) - np.interp(t, times, fields)).max()
    stated = field.sampling_error(wave)
    assert off <= stated + 2e-4  # field_at looks 1e-6 ps ahead
    # The bound is reached as t nears the worst edge.
    assert off >= stated - 10 * times[-1] / 2000 / 0.1


FIELDS = st.floats(-5, 5)
DURATIONS = st.integers(1, 2000).map(lambda n: n * 0.05)
"""Whole numbers of 25 steps of 2 fs."""
WAVEFORMS = st.one_of(
    st.builds(Constant, field_V_per_nm=FIELDS, duration_ps=DURATIONS),
    st.builds(
        Sine, amplitude_V_per_nm=FIELDS, frequency_GHz=st.floats(0.1, 50),
        phase_deg=st.floats(-360, 360), cycles=st.floats(0.1, 5),
    ),
    st.builds(Step, from_V_per_nm=FIELDS, from_ps=DURATIONS, to_V_per_nm=FIELDS, to_ps=DURATIONS),
    st.builds(
        PulseTrain, prepare_V_per_nm=FIELDS, prepare_ps=DURATIONS, pulse_V_per_nm=FIELDS,
        width_ps=DURATIONS, delay_V_per_nm=FIELDS, delay_ps=DURATIONS, pulses=st.integers(1, 6),
    ),
    st.builds(
        GaussianPulse, peak_V_per_nm=FIELDS, centre_ps=st.floats(0, 100),
        width_ps=st.floats(1, 50), duration_ps=DURATIONS,
    ),
)  # fmt: skip


def impulse(wave: Waveform) -> float:
    """The integral of E(t), V/nm ps, from the waveform's definition."""
    match wave:
        case Constant():
            return wave.field_V_per_nm * wave.duration_ps
        case Sine():
            turn, begin = 2e-3 * math.pi * wave.frequency_GHz, math.radians(wave.phase_deg)
            end = begin + 2 * math.pi * wave.cycles
            return wave.amplitude_V_per_nm / turn * (math.cos(begin) - math.cos(end))
        case Step():
            return wave.from_V_per_nm * wave.from_ps + wave.to_V_per_nm * wave.to_ps
        case PulseTrain():
            return (
                wave.prepare_V_per_nm * wave.prepare_ps
                + wave.pulses * wave.pulse_V_per_nm * wave.width_ps
                + (wave.pulses - 1) * wave.delay_V_per_nm * wave.delay_ps
            )
        case GaussianPulse():
            wide = math.sqrt(2) * wave.width_ps
            ends = (-wave.centre_ps / wide, (wave.duration_ps - wave.centre_ps) / wide)
            area = math.sqrt(math.pi) / 2 * (math.erf(ends[1]) - math.erf(ends[0]))
            return wave.peak_V_per_nm * wide * area
    raise AssertionError(wave)


@given(WAVEFORMS)
def test_what_gromacs_is_given_has_the_impulse_of_the_waveform(wave: Waveform) -> None:
    run = RunSpec(dt_fs=2.0)
    carried, at_ps = 0.0, 0.0
    for E0, omega, t0, sigma, steps in pieces(wave, run):
        t = at_ps + steps * 0.002 * np.linspace(0, 1, 20_001)
        shape = field.FieldSegment(steps * 0.002, E0, omega, t0 - at_ps, sigma)
        carried += np.trapezoid(shape.at(t - at_ps), t)
        at_ps += steps * 0.002
    assert at_ps == pytest.approx(field.duration_ps(wave), abs=0.0501)
    # A sine ends on the nearest multiple of 25 steps.
    strongest = max(abs(v) for n, v in wave.model_dump().items() if n.endswith("_V_per_nm"))
    cut = 0.0501 * strongest if isinstance(wave, Sine) else 0.0
    assert carried == pytest.approx(
        impulse(wave), rel=1e-4, abs=1e-5 * strongest * at_ps + cut + 1e-12
    )


@given(injuries(b"# ps V/nm\n0 0\n1.0, 0.5  # up\n\n3;0.5\n4\t-0.5\n"))
def test_a_damaged_waveform_file_is_read_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wave.txt"
        path.write_bytes(content)
        try:
            wave = field.read_sampled(path)
        except SpecError:
            return
        assert field.duration_ps(wave) == pytest.approx(wave.times_ps[-1])


def test_sampling_error_falls_with_the_step() -> None:
    t = np.linspace(0, 100, 1001)
    values = tuple(np.sin(2 * math.pi * t / 100))
    coarse, fine = (
        field.sampling_error(Sampled(times_ps=tuple(t), fields_V_per_nm=values, step_ps=step))
        for step in (5.0, 0.5)
    )
    assert coarse == pytest.approx(2 * math.pi / 100 * 5.0 / 2, rel=0.02)
    assert fine == pytest.approx(coarse / 10, rel=0.05)


def test_two_column_file(tmp_path) -> None:
    path = tmp_path / "wave.txt"
    path.write_text("\ufeff# t E\n0 0\n1.0, 0.5  # up\n\n3;0.5\n4\t-0.5\n")
    wave = field.read_sampled(path)
    assert wave.times_ps == (0, 1, 3, 4)
    assert wave.fields_V_per_nm == (0, 0.5, 0.5, -0.5)
    assert wave.step_ps == 1.0
    assert field.read_sampled(path, step_ps=0.25).step_ps == 0.25


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0 0\n1 zero\n", "line 2"),
        ("0 0\n1 2 3\n", "line 2"),
        ("0 0\n", "at least two"),
        ("1 0\n2 0\n", "start at 0"),
        ("0 0\n0 1\n1 0\n", "increase"),
        ("0 0\n1 700\n", "700"),
        ("0 0\n1 nan\n", "finite"),
        ("t_ps,E\n0 0\n1 1\n", "line 1.*begin a line of words with #"),
        ("0 0\n2e-12 1\n", "lasts 2e-12 ps.* a second has 1e12"),
    ],
)
def test_bad_waveform_files_name_what_is_wrong(tmp_path, text: str, complaint: str) -> None:
    path = tmp_path / "wave.txt"
    path.write_text(text)
    with pytest.raises(SpecError, match=complaint) as raised:
        field.read_sampled(path)
    assert "wave.txt" in str(raised.value)


def test_constant_field_along_minus_x() -> None:
    wave = Constant(field_V_per_nm=-0.5, duration_ps=10)
    options = field.mdp_options(field.segments(wave)[0], start_time_ps=123.0)
    assert options == {"electric-field-x": "-0.5 0 0 0"}
