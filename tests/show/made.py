"""Series made by hand: currents, angles and pulses where a test puts them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from janus_pore import spec
from janus_pore.measure.current import NANOAMPERE_PER_E_PER_PS

TINY, DEMO = spec.load_profile("tiny"), spec.load_profile("demo")
REPLICAS, MOLECULES = 8, 12
PERIOD_PS = 400.0
SINE = spec.Sine(amplitude_V_per_nm=1.2, frequency_GHz=1000 / PERIOD_PS, cycles=1)
COORDINATES = {"estimator": ["box", "pore", "crossings"], "species": ["K", "Cl"]}


def no_ions(replicas, frames):
    """An empty pore."""
    shape = (replicas, len(COORDINATES["species"]), frames)
    return ("replica", "species", "time"), np.zeros(shape, dtype=int)


def with_an_ion(data, frames):
    """A Cl⁻ in the pore of replica 0 in some frames, and the water beside it anyhow."""
    data = data.copy(deep=True)
    data["ions_in_pore"].loc[{"species": "Cl"}][0, frames] = 1
    shape = data["theta"][0, frames].shape
    data["theta"][0, frames] = np.random.default_rng(9).uniform(-180, 180, shape)
    return data


def driven(current_nA, sigma_deg, *, seed=0, scale=DEMO.field_scale, period_ps=PERIOD_PS):
    """A sine's series: current (nA) and spread (degrees) as functions of E and |E|'s slope.

    E is that of the reference box, ``scale`` times as large in the box itself.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(0.0, period_ps + 0.1, 0.5)
    E = 1.2 * np.sin(2 * np.pi * t / period_ps)
    slope = np.sign(np.cos(2 * np.pi * t / period_ps) * E)
    I = current_nA(E, slope)[:, None] * [0.4, 0.6]  # noqa: E741
    between = 0.5 * (I + np.roll(I, 1, axis=0))  # the current that led to each frame
    steps = between / NANOAMPERE_PER_E_PER_PS * 0.5 + rng.normal(
        0, 0.0005, (REPLICAS, 3, len(t), len(COORDINATES["species"]))
    )
    charge = np.cumsum(steps, axis=2).transpose(0, 1, 3, 2)
    width = sigma_deg(np.abs(E), slope)
    theta = rng.normal(size=(REPLICAS, len(t), MOLECULES)) * width[None, :, None]
    theta += np.where(E < 0, 180.0, 0.0)[None, :, None]
    return xr.Dataset(
        {
            "field": (("replica", "time"), np.tile(scale * E, (REPLICAS, 1))),
            "charge": (("replica", "estimator", "species", "time"), charge),
            "theta": (("replica", "time", "slot"), (theta + 180) % 360 - 180),
            "ions_in_pore": no_ions(REPLICAS, len(t)),
        },
        coords={"replica": range(REPLICAS), "time": t, **COORDINATES},
    )


def with_ndr(E, slope):
    """Largest at 0.5 V/nm, lower in the reverse sweep, zero at the origin."""
    a = np.abs(E)
    return np.sign(E) * 8 * a * np.exp(-a / 0.5) * np.where(slope > 0, 1.0, 0.6)


def ohmic(E, slope):
    return 3.0 * E + 0.0 * slope


def falling(E, slope):
    return 80 - 45 * E / 1.2 - np.where(slope > 0, 0.0, 10.0)


def verdicts(rows, number):
    return {r.estimator: r.verdict for r in rows if r.id == number}


def relaxing(protocol, tau_ps, start, end, replicas=40, profile=DEMO, turn=0.0):
    rng = np.random.default_rng(3)
    out = {}
    for label, step in profile.protocol(protocol).waveforms().items():
        t = np.arange(0.0, step.from_ps + 10.05, 0.1)
        since = np.clip(t - step.from_ps, 0, None)
        width = end + (start - end) * np.exp(-since / tau_ps)
        width[t < step.from_ps] = 140.0  # before the step: must not be used
        theta = turn + rng.normal(size=(replicas, len(t), MOLECULES)) * width[None, :, None]
        out[label] = xr.Dataset(
            {
                "theta": (("replica", "time", "slot"), (theta + 180) % 360 - 180),
                "ions_in_pore": no_ions(replicas, len(t)),
            },
            coords={"time": t, "species": COORDINATES["species"]},
        )
    return out


def paired(profile, protocol, ratio_of, *, seed=5, by="delay_ps", sign=1):
    """Pairs of pulses by label: 2 nA of either ion (``sign`` times) in the first."""
    rng = np.random.default_rng(seed)
    out = {}
    for label, train in profile.protocol(protocol).waveforms().items():
        first = train.prepare_ps
        second = first + train.width_ps + train.delay_ps
        t = np.arange(0.0, second + train.width_ps + 0.05, 0.1)
        I0 = sign * 2.0 * (1 + 0.05 * rng.normal(size=(20, 3, 2, 1)))
        during = (t > first + 1e-6) & (t <= first + train.width_ps + 1e-6)
        I = np.where(during, I0, 0.0)  # noqa: E741
        I = I + np.where(t > second + 1e-6, I0 * ratio_of(getattr(train, by)), 0.0)  # noqa: E741
        out[label] = _driven_by(I, t, rng)
    return out


def _driven_by(I, t, rng):  # noqa: E741
    """Series with currents (replicas, estimators, species, frames) in nA and some noise."""
    noise = rng.normal(0, 0.0005, I.shape)
    return xr.Dataset(
        {
            "charge": (
                ("replica", "estimator", "species", "time"),
                np.cumsum(I * 0.1 / NANOAMPERE_PER_E_PER_PS + noise, axis=-1),
            ),
            "field": (("replica", "time"), np.zeros((len(I), len(t)))),
            "ions_in_pore": (("replica", "species", "time"), np.zeros((len(I), 2, len(t)), int)),
        },
        coords={"replica": range(len(I)), "time": t, **COORDINATES},
    )


def pulse_train(profile, protocol, ratio_of, width_of=40.0, *, seed=5):
    """A train: In/I0 and the spread of the angle in degrees as functions of n from 0."""
    rng = np.random.default_rng(seed)
    train = profile.protocol(protocol).waveform
    step = train.width_ps + train.delay_ps
    t = np.arange(0.0, train.prepare_ps + (train.pulses - 1) * step + train.width_ps + 0.05, 0.1)
    since = t - train.prepare_ps
    n = np.clip(np.floor((since - 1e-6) / step), 0, train.pulses - 1)
    during = (since > 1e-6) & (since - n * step <= train.width_ps + 1e-6)
    I0 = 2.0 * (1 + 0.05 * rng.normal(size=(20, 3, 2, 1)))
    data = _driven_by(np.where(during, I0 * ratio_of(n), 0.0), t, rng)
    width = width_of(n) if callable(width_of) else np.full_like(t, width_of)
    theta = rng.normal(size=(20, len(t), MOLECULES)) * width[None, :, None]
    return data.assign(theta=(("replica", "time", "slot"), (theta + 180) % 360 - 180))
