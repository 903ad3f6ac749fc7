"""The memristor in Nagumo's circuit: does it spike, and for which parameters?

A battery, a resistor and an inductor in series feed the element and a capacitor in
parallel (Nagumo, Arimoto and Yoshizawa, Proc. IRE 50, 2061 (1962); FitzHugh, Biophys. J.
1, 445 (1961)). Units: V, nA, ps; hence GΩ, zF (1e-21 F) and mH.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.signal import find_peaks, peak_prominences

from ..errors import MeasureError
from .current import NANOAMPERE_PER_E_PER_PS
from .memristor import Parameters, equilibrium_order, relaxation_time

FloatArray = npt.NDArray[np.float64]
Outcome = Literal["spikes", "oscillates", "excitable", "quiescent"]


@dataclass(frozen=True)
class Element:
    """A conductor with a state x, as the circuit sees it; voltages in V.

    Attributes
    ----------
    current_nA
        I(V, x), on numbers or arrays.
    target
        x∞(V); by default there is no state.
    tau_ps
        τ(V, ordering).
    capacitance_zF, tau_charge_ps
        Its own charging, C and τ_q.
    """

    current_nA: Callable[[Any, Any], Any]
    target: Callable[[Any], Any] = lambda V: 0.0 * V
    tau_ps: Callable[[float, bool], float] = lambda V, ordering: 1.0
    capacitance_zF: float = 0.0
    tau_charge_ps: float = 1.0

    def steady_nA(self, voltage_V: Any) -> Any:  # noqa: N802
        """Current after a long time at a voltage."""
        return self.current_nA(voltage_V, self.target(voltage_V))


@dataclass(frozen=True)
class Circuit:
    """Battery, resistor and inductor in series, feeding the element and a capacitor.

    .. math::

        C \\dot V &= W - I(V, x) - \\dot q, & L \\dot W &= V_b - R W - V, \\\\
        \\tau \\dot x &= x_\\infty(V) - x, & \\tau_q \\dot q &= C_m V - q,

    with V across the element and W the current from the battery. For a static
    I = V³/3 - V, C = 1 and W → I_ext - W these are FitzHugh's equations, with b = R,
    1/ε = L and a = b I_ext - V_b.
    """

    bias_V: float
    resistance_GOhm: float
    inductance_mH: float
    capacitance_zF: float


@dataclass(frozen=True)
class Groups:
    """The circuit without units, scaled by the element's falling stretch.

    With the stretch's half-width V_u, and a current unit I_u of 3/4 of the drop over it (so
    that V³/3 - V has both 1) and G = I_u/V_u.

    Attributes
    ----------
    resistance
        R G, FitzHugh's b.
    stiffness
        L G²/(C + C_m), FitzHugh's 1/ε: how much slower the battery's branch is than the
        capacitors.
    bias
        (V_b - V_m - R I_m)/V_u: the load line's distance from the stretch's middle (V_m, I_m).
    memory
        τ G/(C + C_m) at the middle: how slow the order is against the capacitors.
    own_capacitance
        C_m/(C + C_m).
    """

    resistance: float
    stiffness: float
    bias: float
    memory: float
    own_capacitance: float


@dataclass(frozen=True)
class Stretch:
    """Voltages between which the steady current falls, and the currents there."""

    low_V: float
    high_V: float
    low_nA: float
    high_nA: float

    @property
    def units(self) -> tuple[float, float]:
        """V_u in V and I_u in nA of :class:`Groups`."""
        return (self.high_V - self.low_V) / 2, 0.75 * (self.low_nA - self.high_nA)


@dataclass(frozen=True)
class CircuitRun:
    """A simulated circuit; arrays (n,)."""

    time_ps: FloatArray
    voltage_V: FloatArray
    battery_nA: FloatArray
    order: FloatArray
    stored: FloatArray


@dataclass(frozen=True)
class Spiking:
    """What one circuit does.

    Attributes
    ----------
    outcome
        ``spikes``: for ever, by itself. ``oscillates``: so, but lower than a spike.
        ``excitable``: it rests, but answers a kick with a larger excursion before it
        returns. ``quiescent``: none of these.
    unstable
        Whether every fixed point is linearly unstable.
    frequency_GHz
        Of spikes or oscillations; NaN if there are none.
    """

    circuit: Circuit
    outcome: Outcome
    unstable: bool
    frequency_GHz: float


@dataclass(frozen=True)
class Scan:
    """What circuits with one element do, and what follows for the element."""

    stretches: tuple[Stretch, ...]
    results: tuple[Spiking, ...]
    verdict: str


def circuit_element(parameters: Parameters, length_x_nm: float) -> Element:
    """The fitted model as a circuit element under the voltage E·Lx."""
    p, length = parameters, length_x_nm
    return Element(
        lambda V, x: p.conductance_nA_nm_per_V * V / length * np.exp(-p.barrier_kT * x * x),
        lambda V: equilibrium_order(p, np.asarray(V) / length),
        lambda V, ordering: float(relaxation_time(p, V / length, ordering=ordering)),
        p.capacitance_e_nm_per_V / length * NANOAMPERE_PER_E_PER_PS,
        p.tau_charge_ps,
    )


def falling_stretches(element: Element, limit_V: float, points: int = 4001) -> list[Stretch]:
    """Where the steady current falls with rising voltage, within ±``limit_V``."""
    V = np.linspace(-limit_V, limit_V, points)
    I = np.asarray(element.steady_nA(V), dtype=float)  # noqa: E741
    falls = np.diff(I) < -1e-9 * np.abs(I).max()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], falls, [False]])))
    return [Stretch(*V[[a, b]].tolist(), *I[[a, b]].tolist())
            for a, b in zip(edges[::2], edges[1::2], strict=True)]  # fmt: skip


def dimensionless(element: Element, circuit: Circuit, stretch: Stretch) -> Groups:
    """The circuit's dimensionless groups, scaled by a falling stretch of the element."""
    V_u, I_u = stretch.units
    middle = (stretch.low_V + stretch.high_V) / 2
    G, C = I_u / V_u, circuit.capacitance_zF + element.capacitance_zF
    load = middle + circuit.resistance_GOhm * float(element.steady_nA(middle))
    return Groups(
        circuit.resistance_GOhm * G,
        circuit.inductance_mH * G**2 / C,
        (circuit.bias_V - load) / V_u,
        element.tau_ps(middle, True) * G / C,
        element.capacitance_zF / C,
    )


def circuit_from_groups(
    element: Element,
    stretch: Stretch,
    *,
    resistance: float,
    stiffness: float,
    bias: float,
    capacitance_zF: float,
) -> Circuit:
    """The circuit that has these :class:`Groups`; the inverse of :func:`dimensionless`."""
    V_u, I_u = stretch.units
    middle = (stretch.low_V + stretch.high_V) / 2
    G = I_u / V_u
    load = middle + resistance / G * float(element.steady_nA(middle))
    inductance = stiffness * (capacitance_zF + element.capacitance_zF) / G**2
    return Circuit(load + bias * V_u, resistance / G, inductance, capacitance_zF)


def fixed_points(
    element: Element, circuit: Circuit, limit_V: float, points: int = 4001
) -> list[float]:
    """Voltages within ±``limit_V`` at which the circuit can rest: I(V) = (V_b - V)/R."""

    def surplus(V: Any) -> Any:
        return circuit.bias_V - V - circuit.resistance_GOhm * element.steady_nA(V)

    V = np.linspace(-limit_V, limit_V, points)
    value = np.asarray(surplus(V), dtype=float)
    exact = V[value == 0].tolist()
    crossed = np.flatnonzero(value[1:] * value[:-1] < 0)
    return sorted(exact + [float(brentq(surplus, V[i], V[i + 1])) for i in crossed])


def jacobian(element: Element, circuit: Circuit, voltage_V: float, *, ordering: bool) -> FloatArray:
    """Jacobian (4, 4) in (V, W, x, q) at the steady state of a voltage, in 1/ps.

    τ depends on whether the order grows or shrinks, so there is one on either side.
    """
    V, h = voltage_V, 1e-5 * max(1.0, abs(voltage_V))
    x = float(element.target(V))
    slope_V = float(element.current_nA(V + h, x) - element.current_nA(V - h, x)) / (2 * h)
    slope_x = float(element.current_nA(V, x + h) - element.current_nA(V, x - h)) / (2 * h)
    slope_target = float(element.target(V + h) - element.target(V - h)) / (2 * h)
    C, L, R = circuit.capacitance_zF, circuit.inductance_mH, circuit.resistance_GOhm
    tau, tau_q = element.tau_ps(V, ordering), element.tau_charge_ps
    own = element.capacitance_zF / tau_q
    return np.array(
        [
            [-(slope_V + own) / C, 1 / C, -slope_x / C, 1 / (tau_q * C)],
            [-1 / L, -R / L, 0.0, 0.0],
            [slope_target / tau, 0.0, -1 / tau, 0.0],
            [own, 0.0, 0.0, -1 / tau_q],
        ]
    )


def growth_rate(element: Element, circuit: Circuit, voltage_V: float) -> float:
    """Largest real part of the eigenvalues, 1/ps, on either side of the steady state.

    Without memory it is positive, for R less than 1/|dI/dV|, where dI/dV < -R C/L.
    """
    return max(
        float(np.linalg.eigvals(jacobian(element, circuit, voltage_V, ordering=o)).real.max())
        for o in (True, False)
    )


def simulate_circuit(
    element: Element,
    circuit: Circuit,
    duration_ps: float,
    start_V: float,
    *,
    rest_V: float | None = None,
    points: int = 2000,
) -> CircuitRun:
    """Run a circuit from a voltage, everything else in balance at ``rest_V``.

    Parameters
    ----------
    duration_ps, points
        Length, and number of evenly spaced times returned.
    start_V, rest_V
        The capacitor's voltage at the beginning, and the one at which order, stored charge
        and the battery's current are in balance (by default the same).

    Raises
    ------
    MeasureError
        If the circuit cannot be integrated.
    """
    rest = start_V if rest_V is None else rest_V
    C, L, R = circuit.capacitance_zF, circuit.inductance_mH, circuit.resistance_GOhm
    own, tau_q = element.capacitance_zF, element.tau_charge_ps

    def rate(t: float, state: FloatArray) -> list[float]:
        V, W, x, q = state.tolist()
        goal = float(element.target(V))
        charging = (own * V - q) / tau_q
        return [
            (W - float(element.current_nA(V, x)) - charging) / C,
            (circuit.bias_V - R * W - V) / L,
            (goal - x) / element.tau_ps(V, (goal - x) * x >= 0),
            charging,
        ]

    state = [start_V, float(element.steady_nA(rest)), float(element.target(rest)), own * rest]
    run = solve_ivp(
        rate, (0.0, duration_ps), state, method="LSODA", rtol=1e-6, atol=1e-9,
        t_eval=np.linspace(0.0, duration_ps, points),
    )  # fmt: skip
    if not run.success:
        raise MeasureError(f"the circuit {circuit} cannot be integrated: {run.message}")
    return CircuitRun(run.t, *run.y)


def spike_times(
    time_ps: FloatArray, voltage_V: FloatArray, prominence_V: float
) -> tuple[FloatArray, FloatArray]:
    """Times (k,) and prominences (k,) of the maxima that stand out by ``prominence_V``."""
    at = find_peaks(voltage_V, prominence=prominence_V)[0]
    return time_ps[at], np.asarray(peak_prominences(voltage_V, at)[0])


def spiking(element: Element, circuit: Circuit, limit_V: float) -> Spiking:
    """Whether a circuit spikes, by simulation.

    From rest (the first fixed point that is stable, or the first) the capacitor is kicked
    to the middle of the nearest falling stretch, or by a quarter of its width if it rests
    inside, and the circuit runs for 40 of its slowest times, or for 400 if it seems to go on
    for ever although there is a stable state. It *spikes* if the second half holds three
    maxima or more that do not decay and stand out by half the stretch's width; if they do so
    by a tenth of that, it *oscillates*. It is *excitable* if V moves on,
    beyond the kick, by half the width, and returns. An element without a falling stretch is
    kicked by ``limit_V``/4, and a twentieth of that counts as a spike.

    Raises
    ------
    MeasureError
        If no steady state lies within ``limit_V``.
    """
    rests = fixed_points(element, circuit, limit_V)
    if not rests:
        raise MeasureError(
            f"bias_V = {circuit.bias_V:g} V puts no steady state within ±{limit_V:g} V; lower "
            "it or raise limit_V"
        )
    rates = [growth_rate(element, circuit, v) for v in rests]
    rest = next((v for v, r in zip(rests, rates, strict=True) if r < 0), rests[0])
    stretches = falling_stretches(element, limit_V)
    if stretches:
        nearest = min(stretches, key=lambda s: abs(s.low_V + s.high_V - 2 * rest))
        height = nearest.units[0]
        away = (nearest.low_V + nearest.high_V) / 2 - rest
        kick = away if abs(away) > height else height / 2
    else:
        kick, height = math.copysign(limit_V / 4, -rest), limit_V / 80
    slowest = _slowest(element, circuit, rest)

    def maxima(times: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """When and how far maxima stand out in the second half of a run, and its voltage."""
        run = simulate_circuit(
            element, circuit, times * slowest, rest + kick, rest_V=rest, points=50 * times
        )
        half = len(run.voltage_V) // 2
        found = spike_times(run.time_ps[half:], run.voltage_V[half:], height / 10)
        return *found, run.voltage_V

    def lasting(heights: FloatArray) -> bool:
        """Whether they do not decay; what the ends cut off is left out."""
        return len(heights) >= 3 and bool(heights[-2] > 0.9 * heights[1])

    times, heights, V = maxima(40)
    if lasting(heights) and min(rates) < 0:  # there is a rest to come to, be it slowly
        times, heights, V = maxima(400)
    beyond = float(np.max(np.sign(kick) * (V - rest - kick)))
    outcome: Outcome = "quiescent"
    frequency = math.nan
    if lasting(heights):
        outcome = "spikes" if np.median(heights) > height else "oscillates"
        frequency = 1e3 / float(np.diff(times).mean())
    elif beyond > height and abs(V[-1] - rest) < height / 10:
        outcome = "excitable"
    return Spiking(circuit, outcome, min(rates) > 0, frequency)


def _slowest(element: Element, circuit: Circuit, rest_V: float) -> float:
    """Slowest linear or relaxation time of a circuit, ps."""
    C, L, R = circuit.capacitance_zF, circuit.inductance_mH, circuit.resistance_GOhm
    return max(
        L / R,
        R * C,
        math.sqrt(L * C),
        element.tau_charge_ps if element.capacitance_zF else 0.0,
        *(element.tau_ps(rest_V, ordering) for ordering in (True, False)),
    )


def scan(element: Element, circuits: Sequence[Circuit], limit_V: float) -> Scan:
    """Which of many circuits spike.

    Notes
    -----
    Without a falling stretch none can. At any steady state the element's admittance is
    G_s + (G_f - G_s) iωτ/(1 + iωτ), with G_f > 0 the slope at fixed order and G_s that of
    the steady current: its real part lies between the two, and its own charging only adds
    to it. If G_s ≥ 0 the element is passive at every frequency, and with a passive circuit
    no steady state can lose its stability. The scan simulates all the same, so that the
    answer is found and not assumed.
    """
    stretches = tuple(falling_stretches(element, limit_V))
    results = tuple(spiking(element, circuit, limit_V) for circuit in circuits)
    firing = [r.circuit for r in results if r.outcome == "spikes"]
    if firing:
        spans = ", ".join(
            f"{label} {min(values):.4g} to {max(values):.4g} {unit}"
            for label, unit, values in (
                ("bias", "V", [c.bias_V for c in firing]),
                ("capacitance", "zF", [c.capacitance_zF for c in firing]),
                ("resistance", "GΩ", [c.resistance_GOhm for c in firing]),
                ("inductance", "mH", [c.inductance_mH for c in firing]),
            )
        )
        verdict = f"spikes in {len(firing)} of {len(results)} circuits: {spans}"
    elif stretches:
        verdict = f"spikes in none of {len(results)} circuits, although the steady current falls"
    else:
        verdict = (
            f"cannot spike: the steady current rises throughout ±{limit_V:g} V, and none of "
            f"{len(results)} circuits spikes"
        )
    return Scan(stretches, results, verdict)
