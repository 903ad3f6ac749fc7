"""The element in Nagumo's circuit: thresholds, spiking, and what cannot spike."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import expm

from janus_pore.errors import MeasureError
from janus_pore.measure import circuit as c
from janus_pore.measure import memristor as m

TRUTH = m.Parameters(
    orienting_field_V_per_nm=0.35,
    intrinsic_field_V_per_nm=0.15,
    tau_up_ps=3.0,
    tau_down_ps=9.0,
    speedup_up_nm_per_V=0.4,
    speedup_down_nm_per_V=0.3,
    conductance_nA_nm_per_V=6.0,
    barrier_kT=3.0,
    capacitance_e_nm_per_V=2.0,
    tau_charge_ps=12.0,
)
CUBIC = c.Element(lambda V, x: V**3 / 3 - V)


def fitzhugh(current):
    """FitzHugh's equations with a = 0.7, b = 0.8, 1/ε = 12.5 as the circuit."""
    return c.Circuit(0.8 * current - 0.7, 0.8, 12.5, 1.0)


def test_fitzhugh_nagumo_thresholds():
    for current, outcome in ((0.2, False), (0.5, True), (1.0, True), (1.6, False)):
        result = c.spiking(CUBIC, fitzhugh(current), 5.0)
        assert (result.outcome == "spikes") is outcome, current
        assert result.unstable is outcome
    assert c.spiking(CUBIC, fitzhugh(0.2), 5.0).outcome == "excitable"
    # The period in the literature's time units, for the usual I = 0.5.
    assert 1e3 / c.spiking(CUBIC, fitzhugh(0.5), 5.0).frequency_GHz == pytest.approx(39.5, abs=1.0)

    v = math.sqrt(1 - 0.8 / 12.5)  # where 1 - v² = R C/L
    for at in (-v, v):  # the Hopf points: growth changes its sign there
        rates = [c.growth_rate(CUBIC, fitzhugh(0.0), at * f) for f in (0.999, 1, 1.001)]
        assert rates[0] > 0 > rates[2]
        assert rates[1] == pytest.approx(0.0, abs=1e-6)
    omega = math.sqrt(1 / 12.5 - (0.8 / 12.5) ** 2)  # of the determinant, at trace zero
    turning = np.linalg.eigvals(c.jacobian(CUBIC, fitzhugh(0.0), v, ordering=True)).imag
    assert turning.max() == pytest.approx(omega, rel=1e-3)


def test_a_ringing_that_dies_away_is_no_oscillation():
    for resistance, slope in ((0.6, -0.58), (0.65, -0.55), (0.75, -0.71)):
        at = -math.sqrt(1 + slope)
        circuit = c.Circuit(at + resistance * (at**3 / 3 - at), resistance, 1.0, 1.0)
        assert c.growth_rate(CUBIC, circuit, at) < 0
        assert c.spiking(CUBIC, circuit, 3.0).outcome not in ("spikes", "oscillates")


def test_groups_are_fitzhughs_for_the_cubic_and_invert():
    (stretch,) = c.falling_stretches(CUBIC, 3.0)
    assert (stretch.low_V, stretch.high_V) == pytest.approx((-1, 1), abs=2e-3)
    groups = c.dimensionless(CUBIC, fitzhugh(0.5), stretch)
    assert groups.resistance == pytest.approx(0.8, rel=1e-2)
    assert groups.stiffness == pytest.approx(12.5, rel=1e-2)
    assert groups.bias == pytest.approx(-0.3, rel=1e-2)

    element = c.circuit_element(TRUTH, 8.0)
    stretch = c.falling_stretches(element, 16.0)[-1]
    circuit = c.circuit_from_groups(
        element, stretch, resistance=0.5, stiffness=6.0, bias=0.1, capacitance_zF=20.0
    )
    groups = c.dimensionless(element, circuit, stretch)
    assert (groups.resistance, groups.stiffness, groups.bias) == pytest.approx((0.5, 6.0, 0.1))
    own = 2.0 / 8.0 * 160.2176634
    assert groups.own_capacitance == pytest.approx(own / (own + 20.0))


def test_small_deviations_follow_the_jacobian():
    element = c.circuit_element(replace(TRUTH, tau_up_ps=9.0, speedup_up_nm_per_V=0.3), 8.0)
    circuit = c.Circuit(2.0, 1.0, 50.0, 5.0)
    (rest,) = c.fixed_points(element, circuit, 16.0)
    run = c.simulate_circuit(element, circuit, 60.0, rest + 1e-3, rest_V=rest, points=31)
    J = c.jacobian(element, circuit, rest, ordering=True)
    expected = [1e-3 * expm(J * t)[0, 0] for t in run.time_ps]
    assert run.voltage_V - rest == pytest.approx(expected, abs=1e-5)


def test_rest_points_of_a_steep_and_a_flat_load_line():
    assert len(c.fixed_points(CUBIC, c.Circuit(0.0, 0.5, 1.0, 1.0), 5.0)) == 1
    flat = c.fixed_points(CUBIC, c.Circuit(0.0, 2.0, 1.0, 1.0), 5.0)
    assert flat == pytest.approx([-math.sqrt(1.5), 0.0, math.sqrt(1.5)], abs=1e-9)


def test_spike_times_counts_what_stands_out():
    t = np.linspace(0, 100, 5001)
    spikes = sum(np.exp(-((t - at) ** 2)) for at in (20, 50, 80))
    times, heights = c.spike_times(t, spikes + 0.05 * np.sin(10 * t), 0.5)
    assert times == pytest.approx([20, 50, 80], abs=0.3)
    assert heights.min() > 0.9


def circuits(element, stretch, *, bias=(-0.5, 0.0, 0.5), capacitance_zF=(20.0, 500.0)):
    return [
        c.circuit_from_groups(
            element, stretch, resistance=0.5, stiffness=6.0, bias=b, capacitance_zF=C
        )
        for b in bias
        for C in capacitance_zF
    ]


def test_the_element_spikes_only_in_circuits_slower_than_its_water():
    element = c.circuit_element(replace(TRUTH, barrier_kT=6.0, capacitance_e_nm_per_V=0.0), 8.0)
    stretch = c.falling_stretches(element, 16.0)[-1]
    found = c.scan(
        element,
        circuits(element, stretch, bias=(-0.2, 0.0, 0.2), capacitance_zF=(0.05, 50.0)),
        16.0,
    )
    for result in found.results:
        memory = c.dimensionless(element, result.circuit, stretch).memory
        assert memory > 1 or memory < 0.01
        assert (result.outcome == "spikes") == (memory < 0.01), (memory, result)
    assert found.verdict.startswith("spikes in 3 of 6 circuits")


@pytest.mark.parametrize("barrier_kT", [-2.0, 0.0, 1.0])
def test_an_element_without_falling_current_never_spikes(barrier_kT):
    falling = c.circuit_element(TRUTH, 8.0)
    stretch = c.falling_stretches(falling, 16.0)[-1]
    element = c.circuit_element(replace(TRUTH, barrier_kT=barrier_kT), 8.0)
    found = c.scan(element, circuits(falling, stretch), 64.0)
    assert found.stretches == ()
    assert {r.outcome for r in found.results} == {"quiescent"}
    assert not any(r.unstable for r in found.results)
    assert found.verdict.startswith("cannot spike")


def test_a_circuit_without_a_steady_state_is_refused():
    with pytest.raises(MeasureError, match="no steady state"):
        c.spiking(CUBIC, c.Circuit(100.0, 1.0, 1.0, 1.0), 2.0)
