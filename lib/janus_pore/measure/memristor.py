"""A reduced memristor: water order as the state, conduction through the barrier it makes.

The state is the axial order of the pore water, x = ⟨cos θ⟩ over molecules and replicas,
with θ the angle between the pore axis and the dipole's projection on the x-y plane. It is
signed, bounded by ±1, and linear in the molecules: its mean over replicas is unbiased
however few molecules a frame holds, which is not true of the spread σθ. For a wrapped
normal distribution of θ the two say the same, σθ = sqrt(-2 ln abs(x)). With the field
E(t) applied to the box,

.. math::

    \\dot x &= \\frac{x_\\infty(E) - x}{\\tau}, \\qquad
    x_\\infty = \\langle\\cos\\theta\\rangle_k = \\frac{\\pi k}{2}
        \\frac{I_0(k/2)\\, I_1(k/2)}{\\sinh k}, \\qquad k = \\frac{E + E_i}{E_o}

    \\tau &= \\tau_{up,down} \\exp(-s_{up,down} |E + E_i|)

    I &= g E e^{-b x^2} + \\dot q, \\qquad \\dot q = \\frac{C E - q}{\\tau_q}

- x∞ is exact for independent dipoles, density ∝ exp(k u_x) on the sphere as in Langevin's
  theory, of which θ sees the projection (I0, I1: modified Bessel functions). E_o = kT/μ is
  0.53 V/nm for one SPC/E molecule that feels just E at 300 K; less means that molecules
  turn together or that the membrane concentrates the field. E_i is the field that the
  Janus membrane adds by itself.
- τ is τ_up while |x| grows (ordering) and τ_down while it shrinks (relaxation).
- The barrier b x² (in kT) is the lowest even power of the order. b > 0 is the mechanism of
  negative differential resistance that the publication proposes; b < 0 would be its
  opposite, conduction helped by order.
- C and τ_q are the reservoirs charging the membrane through their own resistance. This
  part does not depend on x, so it can be fitted to a membrane without a pore and held.

:mod:`janus_pore.measure.circuit` puts the element in a spiking circuit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.special import ive

from ..drive.field import segments
from ..errors import MeasureError
from ..spec import Waveform
from .current import NANOAMPERE_PER_E_PER_PS, current_from_charge
from .statistics import LARGEST_LOG, RESAMPLES, Estimate, draw_sums, estimate, mean

FloatArray = npt.NDArray[np.float64]
Verdict = Literal[
    "predicts", "better than the baseline", "no better than the baseline", "not enough statistics"
]


@dataclass(frozen=True)
class Parameters:
    """The model's ten numbers; see the module's equations.

    Attributes
    ----------
    orienting_field_V_per_nm, intrinsic_field_V_per_nm
        E_o > 0 and E_i.
    tau_up_ps, tau_down_ps
        Ordering and relaxation times where E + E_i = 0, both > 0.
    speedup_up_nm_per_V, speedup_down_nm_per_V
        s: how fast the times shorten with |E + E_i|.
    conductance_nA_nm_per_V
        g, current per field at x = 0.
    barrier_kT
        b, barrier at full order.
    capacitance_e_nm_per_V, tau_charge_ps
        C, charge stored per field, and τ_q > 0.
    """

    orienting_field_V_per_nm: float = 0.5
    intrinsic_field_V_per_nm: float = 0.0
    tau_up_ps: float = 5.0
    tau_down_ps: float = 5.0
    speedup_up_nm_per_V: float = 0.0
    speedup_down_nm_per_V: float = 0.0
    conductance_nA_nm_per_V: float = 0.0
    barrier_kT: float = 0.0
    capacitance_e_nm_per_V: float = 0.0
    tau_charge_ps: float = 5.0

    def __post_init__(self) -> None:
        for name in _SCALES:
            if not getattr(self, name) > 0:
                raise MeasureError(f"{name} = {getattr(self, name):g} must be positive")


_SCALES = ("orienting_field_V_per_nm", "tau_up_ps", "tau_down_ps", "tau_charge_ps")
_EXPECTED = {
    "orienting_field_V_per_nm": (0.5, 1.0),
    "intrinsic_field_V_per_nm": (0.0, 1.0),
    "tau_up_ps": (5.0, 1.5),
    "tau_down_ps": (5.0, 1.5),
    "speedup_up_nm_per_V": (0.0, 1.0),
    "speedup_down_nm_per_V": (0.0, 1.0),
    "conductance_nA_nm_per_V": (0.0, np.inf),
    "barrier_kT": (0.0, 3.0),
    "capacitance_e_nm_per_V": (0.0, np.inf),
    "tau_charge_ps": (10.0, 1.5),
}
"""Weak prior of each parameter: centre and standard deviation, of the logarithm for scales.
Wide against what counts as identifiable, it keeps the fit regular where data say nothing."""
_ORDER, _CURRENT = tuple(_EXPECTED)[:6], tuple(_EXPECTED)[6:]


@dataclass(frozen=True)
class Response:
    """What the model does under a field; arrays (n,) at ``time_ps``.

    ``transport_nA`` (through the pore) and ``charging_nA`` are the two parts of the
    current, ``transported_e`` and ``stored_e`` their integrals from the beginning.
    """

    time_ps: FloatArray
    order: FloatArray
    transport_nA: FloatArray
    charging_nA: FloatArray
    transported_e: FloatArray
    stored_e: FloatArray

    @property
    def current_nA(self) -> FloatArray:  # noqa: N802
        """Transport and charging together."""
        return self.transport_nA + self.charging_nA

    @property
    def transferred_e(self) -> FloatArray:
        """Charge of both parts."""
        return self.transported_e + self.stored_e


@dataclass(frozen=True)
class Recording:
    """One protocol's measured series.

    Attributes
    ----------
    time_ps : (n,)
        Evenly spaced or not, increasing, from the replicas' root state.
    field_V_per_nm : (n,)
        ``field[i]`` holds from ``time[i]`` to ``time[i + 1]``. For a field that changes
        smoothly give its values in the middle of those intervals.
    order : (replicas, n), optional
        x of each replica, NaN where its pore holds no water.
    charge_e : (replicas, n), optional
        Transferred charge under one estimator of the current, one or both species.
    window_ps
        Windows over which the current is compared; by default the longest frame spacing.
    start_field_V_per_nm
        Field at which the system was in balance before.

    Notes
    -----
    Rows are resampled together, row r of every recording with row r of the others: right where
    they began alike, and no harm where they have nothing in common.
    """

    time_ps: FloatArray
    field_V_per_nm: FloatArray
    order: FloatArray | None = None
    charge_e: FloatArray | None = None
    window_ps: float | None = None
    start_field_V_per_nm: float = 0.0

    def __post_init__(self) -> None:
        n = len(self.time_ps)
        if n < 3 or len(self.field_V_per_nm) != n or not (np.diff(self.time_ps) > 0).all():
            raise MeasureError(
                f"a recording has {n} times and {len(self.field_V_per_nm)} fields; give one "
                "field per time, at least three, times increasing"
            )
        for name in ("order", "charge_e"):
            values = getattr(self, name)
            if values is not None and (values.ndim != 2 or values.shape[1] != n):
                raise MeasureError(
                    f"{name} has shape {values.shape}, not (replicas, {n}); give one row per "
                    "replica and one column per time"
                )
        if self.order is not None and self.charge_e is not None:
            rows = len(self.order), len(self.charge_e)
            if rows[0] != rows[1]:
                raise MeasureError(
                    f"order has {rows[0]} replicas and charge_e {rows[1]}; give the same ones"
                )

    @property
    def window(self) -> float:
        """Length of the current's windows, ps."""
        return self.window_ps or float(np.diff(self.time_ps).max())

    def windowed(self, charge_e: FloatArray) -> FloatArray:
        """Mean current (..., m) in nA over successive windows of a charge (..., n)."""
        return current_from_charge(charge_e, self.time_ps, self.window)[1]


@dataclass(frozen=True)
class Fitted:
    """One fitted parameter; ``reason`` says why it is not identifiable, or is empty."""

    estimate: Estimate
    reason: str

    @property
    def identifiable(self) -> bool:
        """Whether the recordings fix this parameter."""
        return not self.reason


@dataclass(frozen=True)
class Fit:
    """Fitted model.

    Attributes
    ----------
    parameters
        Best fit; what the recordings could not tell keeps its start or fixed value.
    fitted
        Interval and identifiability of every free parameter, by name.
    order_line, current_slope
        The naive baseline, from the same recordings: order = a + b E and I = G E.
    """

    parameters: Parameters
    fitted: Mapping[str, Fitted]
    order_line: tuple[float, float] = (math.nan, math.nan)
    current_slope: float = math.nan


@dataclass(frozen=True)
class Judgement:
    """How a fit does on a recording that it has not seen.

    Attributes
    ----------
    error, baseline_error, scatter
        Root mean square over time: prediction minus replica mean, the same for the
        baseline, and the standard error of the replica mean. Order: no unit; current: nA.
    skill
        1 - (error/baseline error)².
    excess
        Mean square by which the prediction misses a replica, over that by which the mean
        of the other replicas misses it, minus 1: above 0 the model loses to the ensemble.
    """

    recording: str
    quantity: Literal["order", "current"]
    error: float
    baseline_error: float
    scatter: float
    skill: Estimate
    excess: Estimate
    verdict: Verdict


def order_from_angles(theta_deg: npt.ArrayLike) -> FloatArray:
    """Order (...) from dipole angles (..., molecules) in degrees, NaN where there is none."""
    cosines = np.cos(np.radians(np.asarray(theta_deg, dtype=float)))
    count = np.isfinite(cosines).sum(axis=-1)
    total = np.nansum(cosines, axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def equilibrium_order(parameters: Parameters, field_V_per_nm: npt.ArrayLike) -> FloatArray:
    """x∞ at a constant field (any shape)."""
    E = np.asarray(field_V_per_nm, dtype=float)
    k = (E + parameters.intrinsic_field_V_per_nm) / parameters.orienting_field_V_per_nm
    size = np.abs(k) + 1e-12  # k/sinh(k) at k = 0
    value = np.pi * size * ive(0, size / 2) * ive(1, size / 2) / -np.expm1(-2 * size)
    return np.asarray(np.copysign(value, k))


def relaxation_time(
    parameters: Parameters, field_V_per_nm: npt.ArrayLike, *, ordering: bool
) -> FloatArray:
    """τ in ps at a field (any shape), while |x| grows (``ordering``) or shrinks."""
    p = parameters
    tau, speedup = (
        (p.tau_up_ps, p.speedup_up_nm_per_V)
        if ordering
        else (p.tau_down_ps, p.speedup_down_nm_per_V)
    )
    local = np.abs(np.asarray(field_V_per_nm, dtype=float) + p.intrinsic_field_V_per_nm)
    return np.asarray(tau * np.exp(-speedup * local))


def simulate(
    parameters: Parameters,
    time_ps: npt.ArrayLike,
    field_V_per_nm: npt.ArrayLike,
    *,
    start_field_V_per_nm: float = 0.0,
) -> Response:
    """Order and current under a field.

    Parameters
    ----------
    parameters
    time_ps : (n,)
        Increasing.
    field_V_per_nm : (n,)
        ``field[i]`` holds from ``time[i]`` to ``time[i + 1]``.
    start_field_V_per_nm
        Before ``time[0]`` the system was in balance at this field.

    Returns
    -------
    Response
        Order and stored charge are exact for the held field, whatever the spacing;
        ``transported_e`` integrates the conductance by trapezoids between the times.

    Raises
    ------
    MeasureError
        If times and fields are not of one length, or times do not increase.
    """
    t, E = np.asarray(time_ps, dtype=float), np.asarray(field_V_per_nm, dtype=float)
    if t.ndim != 1 or t.shape != E.shape or not (np.diff(t) > 0).all():
        raise MeasureError(
            f"time_ps {t.shape} and field_V_per_nm {E.shape} must be one-dimensional and of one "
            "length, with times increasing"
        )
    dt = np.diff(t)
    order = _order(parameters, dt, E, start_field_V_per_nm)
    stored = _stored(parameters, dt, E, start_field_V_per_nm)
    lag = parameters.capacitance_e_nm_per_V * E - stored
    return Response(
        t,
        order,
        _transport(parameters, E, order),
        NANOAMPERE_PER_E_PER_PS * lag / parameters.tau_charge_ps,
        _transported(parameters, dt, E, order),
        stored - stored[0],
    )


def predict(
    parameters: Parameters,
    waveform: Waveform,
    *,
    start_field_V_per_nm: float = 0.0,
    points: int = 600,
) -> Response:
    """Order and current under any waveform; a few milliseconds.

    Parameters
    ----------
    parameters, waveform
        The model, and the field in the units in which it was fitted.
    start_field_V_per_nm
        Before the waveform the system was in balance at this field.
    points
        About how many times to return. Each change of a piecewise-constant field is one of
        them; a smooth field is held at its middle between two.

    Returns
    -------
    Response
        ``time_ps``, ``order`` and ``current_nA`` are t, x and I.
    """
    chain = segments(waveform)
    total = math.fsum(part.duration_ps for part in chain)
    times, fields, start = [], [], 0.0
    for part in chain:
        n = max(4, math.ceil(points * part.duration_ps / total))
        edges = np.linspace(0.0, part.duration_ps, n + 1)
        times.append(start + edges[:-1])
        fields.append(part.at((edges[1:] + edges[:-1]) / 2))
        start += part.duration_ps
    t, E = np.append(np.concatenate(times), start), np.concatenate(fields)
    held = np.append(E, E[-1])
    return simulate(parameters, t, held, start_field_V_per_nm=start_field_V_per_nm)


def fit(
    recordings: Mapping[str, Recording],
    *,
    fixed: Mapping[str, float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Fit:
    """Fit the model to recordings.

    The order's six parameters follow from the recorded order alone, by least squares on
    the replica means with weak priors (Gaussian; E_o: 0.5 V/nm within a factor e; E_i:
    ±1 V/nm; τ_up, τ_down: 5 ps, τ_q: 10 ps, within a factor e^1.5; s: ±1 nm/V; b: ±3 kT;
    g and C: none). Then the current's four follow in the same way, given the order that
    the model predicts. Order is measured, so the current has no say in it.

    Parameters
    ----------
    recordings
        Training protocols, by name.
    fixed
        Parameters to hold, by name: ``{"conductance_nA_nm_per_V": 0.0, "barrier_kT": 0.0}``
        for a membrane without a pore, or C and τ_q as found there for one with.
    resamples, seed
        Bootstrap over replicas.

    Returns
    -------
    Fit
        A parameter is identifiable if its interval rests on enough replicas, is at most
        half as wide as its prior's, and lets what the parameter controls vary by at most a
        factor of two either way (E_i: by ln 2 of E_o); g and C if the interval excludes
        zero, and b and τ_q only where g and C do.

    Notes
    -----
    Intervals come from empirical influence values: at the fitted parameters with Jacobian
    J, weights W and prior precision P, replica r moves them by (JᵀWJ + P)⁻¹JᵀW (y_r - ȳ),
    order and current chained. The bootstrap draws replicas and adds up their influences
    (Davison and Hinkley, Bootstrap Methods and their Application, 1997, 2.7), and draws the
    priors' centres with them, so that a parameter of which the data say nothing keeps the
    whole width of its prior. Scales are treated by their logarithm.

    Raises
    ------
    MeasureError
        If there is nothing to fit or a name in ``fixed`` is unknown.
    """
    fixed = dict(fixed or {})
    unknown = set(fixed) - set(_EXPECTED)
    if unknown:
        raise MeasureError(f"fixed names {sorted(unknown)}; a model has {', '.join(_EXPECTED)}")
    parameters = Parameters(**fixed)
    chosen = [r for r in recordings.values() if r.order is not None or r.charge_e is not None]
    if not chosen:
        raise MeasureError("no recording holds an order or a charge; nothing can be fitted")
    replicas = [len(s) for r in chosen for s in (r.order, r.charge_e) if s is not None]
    joined = _Joined.of(chosen)
    draws = np.zeros((resamples + 1, 0))
    normals = np.random.default_rng(seed).normal(size=(2, resamples + 1, len(_ORDER)))
    normals[:, 0] = 0.0
    free_order: tuple[str, ...] = ()
    free_current: tuple[str, ...] = ()
    line, slope = (math.nan, math.nan), math.nan

    if any(r.order is not None for r in chosen):
        free_order = tuple(n for n in _ORDER if n not in fixed)
        data = _Data.stack(
            [np.full((1, len(r.time_ps)), np.nan) if r.order is None else r.order for r in chosen],
            max(replicas),
        )
        E = np.concatenate([r.field_V_per_nm for r in chosen])
        a, b = data.line(np.stack([np.ones_like(E), E], axis=1))
        line = (float(a), float(b))
        grid = [
            replace(parameters, **{**dict(zip(_ORDER, (Eo, Ei, tau, tau), strict=False)), **fixed})
            for Eo, Ei, tau in itertools.product((0.2, 0.6, 2.0), (-0.5, 0.0, 0.5), (1.0, 8.0))
        ]
        start_at = min(grid, key=lambda p: data.cost(joined.order(p)))
        parameters, back, prior = _solve(joined.order, [start_at], free_order, data)
        draws = data.drawn(back, resamples, seed) + normals[0, :, : len(prior)] @ prior.T

    if any(r.charge_e is not None for r in chosen):
        free_current = tuple(n for n in _CURRENT if n not in fixed)
        data = _Data.stack(
            [
                r.windowed(
                    np.full((1, len(r.time_ps)), np.nan) if r.charge_e is None else r.charge_e
                )
                for r in chosen
            ],
            max(replicas),
        )
        slope = float(data.line(joined.field()[:, None])[0])
        order = joined.order(parameters)

        def current(p: Parameters) -> FloatArray:
            return joined.current(p, order)

        starts = _linear_starts(current, parameters, fixed, data)
        parameters, back, prior = _solve(current, starts, free_current, data)
        own = data.drawn(back, resamples, seed) + normals[1, :, : len(prior)] @ prior.T
        if free_order:
            chained = _jacobian(
                lambda p: joined.current(p, joined.order(p)), parameters, free_order
            )
            own = own - draws @ (back @ chained).T
        draws = np.concatenate([draws, own], axis=1)

    free = free_order + free_current
    draws = draws + _packed(vars(parameters), free)
    method = f"bootstrap over {min(replicas)} replicas"
    estimates = {
        name: estimate(
            # scales were drawn as logarithms
            np.exp(np.minimum(draws[:, i], LARGEST_LOG)) if name in _SCALES else draws[:, i],
            min(replicas),
            method,
            positive=name in _SCALES,
        )
        for i, name in enumerate(free)
    }
    strongest = max(float(np.abs(r.field_V_per_nm).max()) for r in chosen)
    fitted = {
        name: Fitted(found, _doubt(name, estimates, parameters, strongest))
        for name, found in estimates.items()
    }
    return Fit(parameters, fitted, line, slope)


def judge(
    model: Fit,
    held_out: Mapping[str, Recording],
) -> list[Judgement]:
    """Judge a fit on recordings that it has not seen.

    Parameters
    ----------
    model
    held_out
        Recordings with at least two replicas.

    Returns
    -------
    list of Judgement
        For each recording and each quantity recorded. The rule: *no better than the
        baseline* if the skill's interval lies below 0; *not enough statistics* if it holds
        0; above 0, *predicts* unless the excess's interval lies above 0, in which case the
        mean of the other replicas foretells a replica better than the model does, and the
        model is merely *better than the baseline*.

    Raises
    ------
    MeasureError
        If a recording has a single replica, which tells no scatter.
    """
    judgements = []
    for name, recording in held_out.items():
        for quantity in ("order", "current"):
            measured = recording.order if quantity == "order" else recording.charge_e
            if measured is None:
                continue
            if len(measured) < 2:
                raise MeasureError(
                    f"recording {name!r} has {len(measured)} replica; the scatter needs two"
                )
            if quantity == "current":
                measured = recording.windowed(measured)
            predicted = _predicted(model, recording, quantity)
            baseline = _baseline(model, recording, quantity)
            judgements.append(_judged(name, quantity, measured, predicted, baseline))
    return judgements


def _order(p: Parameters, dt: FloatArray, E: FloatArray, start_field: float) -> FloatArray:
    """Order (n,); exact while the field is held, through x = 0 where τ changes."""
    goals = equilibrium_order(p, E[:-1]).tolist()
    up = np.exp(-dt / relaxation_time(p, E[:-1], ordering=True)).tolist()
    down = np.exp(-dt / relaxation_time(p, E[:-1], ordering=False)).tolist()
    x = float(equilibrium_order(p, start_field))
    out = [x]
    for goal, grow, shrink in zip(goals, up, down, strict=True):
        gap = x - goal
        if gap * x <= 0:
            x = goal + gap * grow
        elif (goal + gap * shrink) * x >= 0:
            x = goal + gap * shrink
        else:
            used = math.log(-goal / gap) / math.log(shrink) if shrink > 0 else 0.0
            x = goal * (1 - grow ** (1 - used))
        out.append(x)
    return np.array(out)


def _stored(p: Parameters, dt: FloatArray, E: FloatArray, start_field: float) -> FloatArray:
    """Charge (n,) in e on the membrane's reservoirs."""
    q = p.capacitance_e_nm_per_V * start_field
    out = [q]
    goals = (p.capacitance_e_nm_per_V * E[:-1]).tolist()
    for goal, keep in zip(goals, np.exp(-dt / p.tau_charge_ps).tolist(), strict=True):
        q = goal + (q - goal) * keep
        out.append(q)
    return np.array(out)


def _transport(p: Parameters, E: FloatArray, order: FloatArray) -> FloatArray:
    return np.asarray(p.conductance_nA_nm_per_V * E * np.exp(-p.barrier_kT * order**2))


def _transported(p: Parameters, dt: FloatArray, E: FloatArray, order: FloatArray) -> FloatArray:
    """Charge (n,) in e through the pore."""
    factor = np.exp(-p.barrier_kT * order**2)
    passed = p.conductance_nA_nm_per_V * E[:-1] * (factor[1:] + factor[:-1]) / 2 * dt
    return np.concatenate([[0.0], np.cumsum(passed)]) / NANOAMPERE_PER_E_PER_PS


@dataclass(frozen=True)
class _Joined:
    """Recordings one after another in one time, for the speed of a single pass.

    Between two of them lies a rest without end at the second one's start field, which
    does not count as time for the current.
    """

    time_ps: FloatArray
    interval_ps: FloatArray
    field_V_per_nm: FloatArray
    start_field_V_per_nm: float
    low_ps: FloatArray
    high_ps: FloatArray

    @staticmethod
    def of(recordings: Sequence[Recording]) -> _Joined:
        times: list[FloatArray] = []
        intervals: list[FloatArray] = []
        fields: list[FloatArray] = []
        windows: list[FloatArray] = []
        offset = 0.0
        for r in recordings:
            t = r.time_ps - r.time_ps[0] + offset
            centre = current_from_charge(t, r.time_ps, r.window)[0] - r.time_ps[0] + offset
            times.append(t)
            intervals += [np.diff(t), np.array([np.inf])]
            fields.append(r.field_V_per_nm.astype(float))
            windows.append(centre + np.array([[-0.5], [0.5]]) * r.window)
            offset = float(t[-1]) + 1.0
        for earlier, r in zip(fields[:-1], recordings[1:], strict=True):
            earlier[-1] = r.start_field_V_per_nm
        low, high = np.concatenate(windows, axis=1)
        return _Joined(
            np.concatenate(times),
            np.concatenate(intervals)[:-1],
            np.concatenate(fields),
            recordings[0].start_field_V_per_nm,
            low,
            high,
        )

    def order(self, p: Parameters) -> FloatArray:
        """Order at every time (n,)."""
        return _order(p, self.interval_ps, self.field_V_per_nm, self.start_field_V_per_nm)

    def current(self, p: Parameters, order: FloatArray) -> FloatArray:
        """Mean current in every window (m,), nA."""
        dt = np.where(np.isfinite(self.interval_ps), self.interval_ps, 0.0)
        E, start = self.field_V_per_nm, self.start_field_V_per_nm
        charge = _transported(p, dt, E, order) + _stored(p, self.interval_ps, E, start)
        return NANOAMPERE_PER_E_PER_PS * self.per_window(charge)

    def field(self) -> FloatArray:
        """Mean held field in every window (m,), V/nm."""
        dt = np.where(np.isfinite(self.interval_ps), self.interval_ps, 0.0)
        return self.per_window(np.concatenate([[0.0], np.cumsum(self.field_V_per_nm[:-1] * dt)]))

    def per_window(self, integral: FloatArray) -> FloatArray:
        """Mean rate (m,) of an integral (n,)."""
        ends = (np.interp(at, self.time_ps, integral) for at in (self.high_ps, self.low_ps))
        return np.asarray(np.subtract(*ends) / (self.high_ps - self.low_ps))


def _packed(values: Mapping[str, float], names: Sequence[str]) -> FloatArray:
    """Some parameters as a vector, scales by their logarithm."""
    return np.array([math.log(values[n]) if n in _SCALES else values[n] for n in names])


def _unpacked(p: Parameters, names: Sequence[str], vector: FloatArray) -> Parameters:
    pairs = zip(names, vector.tolist(), strict=True)
    return replace(p, **{n: math.exp(v) if n in _SCALES else v for n, v in pairs})


@dataclass(frozen=True)
class _Data:
    """Replica means (n,), replicas behind each (n,), and each replica's share (replicas, n)."""

    value: FloatArray
    weight: FloatArray
    share: FloatArray

    @staticmethod
    def stack(samples: Sequence[FloatArray], replicas: int) -> _Data:
        """Recordings side by side; ``share`` averages to zero over ``replicas`` rows."""
        values, weights, shares = [], [], []
        for sample in samples:
            known = np.isfinite(sample)
            count = known.sum(axis=0)
            centre = np.where(known, sample, 0.0).sum(axis=0) / np.maximum(count, 1)
            share = np.zeros((replicas, sample.shape[1]))
            share[: len(sample)] = np.where(known, sample - centre, 0.0) * (
                replicas / np.maximum(count, 1)
            )
            values.append(centre)
            weights.append(count.astype(float))
            shares.append(share)
        return _Data(*(np.concatenate(part, axis=-1) for part in (values, weights, shares)))

    def cost(self, model: FloatArray) -> float:
        """Weighted sum of squares."""
        return float(self.weight @ (model - self.value) ** 2)

    def drawn(self, back: FloatArray, resamples: int, seed: int) -> FloatArray:
        """Bootstrap draws (resamples + 1, k) of ``back`` (k, n) on the deviations."""
        influence = self.share @ back.T
        return draw_sums(influence, resamples=resamples, seed=seed) / len(influence)

    def line(self, design: FloatArray, offset: FloatArray | float = 0.0) -> FloatArray:
        """Weighted linear regression on the columns of ``design`` (n, k), after ``offset``."""
        root = np.sqrt(self.weight)
        target = root * (self.value - offset)
        return np.asarray(np.linalg.lstsq(root[:, None] * design, target, rcond=None)[0])


def _solve(
    model: Callable[[Parameters], FloatArray],
    starts: Sequence[Parameters],
    names: tuple[str, ...],
    data: _Data,
) -> tuple[Parameters, FloatArray, FloatArray]:
    """Least squares over ``names`` with their priors, the lowest minimum of all starts.

    Also how the solution moves with the data (k, n), and with the priors' centres in units
    of their standard deviations (k, k). The noise that sets data against priors is that of
    the residuals: at the best start, then, once more, at the solution.
    """
    if not names:
        return starts[0], np.zeros((0, len(data.value))), np.zeros((0, 0))
    centre = _packed({n: value for n, (value, _) in _EXPECTED.items()}, names)
    precision = 1 / np.array([_EXPECTED[n][1] for n in names])
    p = min(starts, key=lambda start: data.cost(model(start)))
    for tried in (starts, None):
        noise = math.sqrt(data.cost(model(p)) / int((data.weight > 0).sum())) or 1.0
        root = np.sqrt(data.weight) / noise

        def residual(v: FloatArray, root: FloatArray = root) -> FloatArray:
            misfit = root * (model(_unpacked(starts[0], names, v)) - data.value)
            return np.concatenate([misfit, precision * (v - centre)])

        minima = [
            least_squares(residual, _packed(vars(start), names), method="lm")
            for start in tried or [p]
        ]
        p = _unpacked(starts[0], names, min(minima, key=lambda minimum: minimum.cost).x)
    slopes = np.concatenate([root[:, None] * _jacobian(model, p, names), np.diag(precision)])
    back = np.asarray(np.linalg.pinv(slopes))
    return p, back[:, : len(root)] * root, back[:, len(root) :]


def _jacobian(
    model: Callable[[Parameters], FloatArray], p: Parameters, names: tuple[str, ...]
) -> FloatArray:
    """Central differences (n, k) of a model in its packed parameters."""
    at, step = _packed(vars(p), names), 1e-4
    columns = []
    for unit in np.eye(len(names)) * step:
        higher, lower = (model(_unpacked(p, names, at + s * unit)) for s in (1, -1))
        columns.append((higher - lower) / (2 * step))
    return np.stack(columns, axis=1)


def _linear_starts(
    model: Callable[[Parameters], FloatArray],
    p: Parameters,
    fixed: Mapping[str, float],
    data: _Data,
) -> list[Parameters]:
    """For each b of a few, the best of a few τ_q: for them g and C follow linearly."""
    amplitudes = ("conductance_nA_nm_per_V", "capacitance_e_nm_per_V")
    free = np.array([n not in fixed for n in amplitudes])
    held = np.array([fixed.get(n, 0.0) for n in amplitudes])
    starts = []
    for b in sorted({fixed.get("barrier_kT", b) for b in (-2.0, 0.0, 3.0)}):
        shape = replace(p, **{amplitudes[0]: 1.0, amplitudes[1]: 0.0, "barrier_kT": b})
        transport = model(shape)
        costs = []
        for tau in sorted({fixed.get("tau_charge_ps", tau) for tau in (1.0, 5.0, 25.0)}):
            unit = replace(shape, **{amplitudes[0]: 0.0, amplitudes[1]: 1.0, "tau_charge_ps": tau})
            both = np.stack([transport, model(unit)], axis=1)
            amounts = held.copy()
            amounts[free] = data.line(both[:, free], both @ held)
            best = replace(unit, **dict(zip(amplitudes, amounts.tolist(), strict=True)))
            costs.append((data.cost(both @ amounts), best))
        starts.append(min(costs, key=lambda cost: cost[0])[1])
    return starts


_AMPLITUDE_OF = {
    "barrier_kT": "conductance_nA_nm_per_V",
    "tau_charge_ps": "capacitance_e_nm_per_V",
}


def _doubt(
    name: str, estimates: Mapping[str, Estimate], p: Parameters, strongest_V_per_nm: float
) -> str:
    """Why a parameter is not identifiable; empty if it is."""
    e = estimates[name]
    if not e.enough:
        return f"not enough statistics (n = {e.n_independent:.3g})"
    if name in _AMPLITUDE_OF.values():
        return "" if e.excludes(0.0) else "not different from zero"
    amplitude = _AMPLITUDE_OF.get(name, "")
    if amplitude in estimates and not estimates[amplitude].excludes(0.0):
        return f"{amplitude} is not different from zero"
    half = math.log(e.high / e.low) / 2 if name in _SCALES else (e.high - e.low) / 2
    if half > _EXPECTED[name][1]:
        return "the recordings add little to the prior"
    if name == "intrinsic_field_V_per_nm":
        half /= p.orienting_field_V_per_nm
    elif name.startswith("speedup"):
        half *= strongest_V_per_nm
    return "" if half <= math.log(2) else "left open by more than a factor of two"


def _predicted(model: Fit, r: Recording, quantity: str) -> FloatArray:
    joined = _Joined.of([r])
    order = joined.order(model.parameters)
    return order if quantity == "order" else joined.current(model.parameters, order)


def _baseline(model: Fit, r: Recording, quantity: str) -> FloatArray:
    if quantity == "order":
        return model.order_line[0] + model.order_line[1] * r.field_V_per_nm
    return model.current_slope * _Joined.of([r]).field()


def _judged(
    name: str,
    quantity: Literal["order", "current"],
    measured: FloatArray,
    predicted: FloatArray,
    baseline: FloatArray,
) -> Judgement:
    known = np.isfinite(measured)
    use = known.sum(axis=0) > 1
    y, known, p, b = measured[:, use], known[:, use], predicted[use], baseline[use]
    count = known.sum(axis=0)
    centre = np.where(known, y, 0.0).sum(axis=0) / count
    y = np.where(known, y, centre)
    n = len(y)
    variance = ((y - centre) ** 2).sum(axis=0) / (count - 1)
    error, against = (float(((m - centre) ** 2).mean()) for m in (p, b))
    # The difference of two squares is linear in y, so that it is a mean over replicas.
    gain = ((p - b) * (2 * y - p - b)).mean(axis=1) / against
    others = (n * centre - y) / (n - 1)
    ensemble = ((y - others) ** 2).mean(axis=1)
    loss = (((y - p) ** 2).mean(axis=1) - ensemble) / ensemble.mean()
    skill, excess = (mean(v) for v in (gain, loss))
    verdict: Verdict = "not enough statistics"
    if skill.enough and skill.high < 0:
        verdict = "no better than the baseline"
    elif skill.enough and skill.low > 0:
        verdict = "better than the baseline" if excess.low > 0 else "predicts"
    return Judgement(
        name, quantity, math.sqrt(error), math.sqrt(against),
        math.sqrt(float((variance / count).mean())), skill.within(highest=1.0), excess, verdict,
    )  # fmt: skip
