"""Plasticity: from series of pulses to what Fig. 5 draws and claims 17 to 21 judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from ..measure import current, plasticity
from ..measure.statistics import Band, Estimate, ExponentialFit, band, draw_sums, estimate
from ..spec import Profile, PulseTrain
from . import scorecard
from .figures import Curve, FloatArray
from .results import NOTHING

LEAST_DELAYS_OF_A_FIT = 4
TAU_FACTOR = 2.0
"""A memory time within this factor of the published one bears it out: pulse width, delays
and definition of the current behind the published one are not stated."""


class Pairs(NamedTuple):
    """Pulse pairs over their delays, all estimators of the current of both ions together.

    ``delay_ps`` (delays,) ascending; ``currents_nA`` (replicas, delays, estimators, 2);
    ``ratio`` (delays, estimators) with its bootstrap ``draws`` (resamples + 1, ...).
    """

    delay_ps: FloatArray
    estimators: list[str]
    currents_nA: FloatArray
    ratio: Band
    draws: FloatArray

    def curves(self) -> dict[str, Curve]:
        """Estimator to I1/I0 against delay."""
        n = self.ratio.n_independent
        return {
            name: Curve.of(
                self.delay_ps,
                Band(
                    self.ratio.value[:, k],
                    self.ratio.low[:, k],
                    self.ratio.high[:, k],
                    n,
                    self.ratio.method,
                ),
            )
            for k, name in enumerate(self.estimators)
        }


def pairs(found: Mapping[str, xr.Dataset], profile: Profile, protocol: str) -> Pairs:
    """Currents of both pulses and their ratio for every delay of a protocol."""
    waveforms = profile.protocol(protocol).waveforms()
    by_delay = {}
    for label, data in found.items():
        train = waveforms[label]
        assert isinstance(train, PulseTrain)
        charge = data["charge"].transpose("replica", "estimator", "species", "time").values
        currents = plasticity.pulse_currents(
            charge.sum(axis=2), data["time"].values, plasticity.pulse_windows(train)[:2]
        )
        by_delay[train.delay_ps] = currents
        estimators = [str(e) for e in data["estimator"].values]
    delays = sorted(by_delay)
    nA = np.stack([by_delay[d] for d in delays], axis=1)
    ratio, draws = plasticity.ratios(nA)
    second = Band(ratio.value[..., 1], ratio.low[..., 1], ratio.high[..., 1], len(nA), ratio.method)
    return Pairs(np.array(delays), estimators, nA, second, draws[..., 1])


def memory_times(one: Pairs, protocol: str) -> dict[str, ExponentialFit]:
    """τf (``ppf``) or τd by estimator, where :data:`LEAST_DELAYS_OF_A_FIT` can be used."""
    out = {}
    for k, estimator in enumerate(one.estimators):
        draws = one.draws[..., k]
        usable = np.isfinite(draws).all(axis=0)
        if usable.sum() >= LEAST_DELAYS_OF_A_FIT:
            out[estimator] = plasticity.fit_delays(
                one.delay_ps[usable],
                draws[:, usable],
                "facilitation" if protocol == "ppf" else "depression",
                replicas=len(one.currents_nA),
            )
    return out


def pulse_current(data: xr.Dataset, train: PulseTrain) -> tuple[FloatArray, dict[str, Curve]]:
    """Field (V/nm, as applied) and mean current against time, averaged over a fifth of a
    pulse and over replicas, by estimator."""
    time = data["time"].values
    window = max(train.width_ps / 5, float(np.diff(time).max()))
    charge = data["charge"].transpose("replica", "estimator", "species", "time").values
    centre, nA = current.current_from_charge(charge.sum(axis=2), time, window)
    mean = band(draw_sums(nA) / len(nA), len(nA), f"bootstrap over {len(nA)} replicas")
    curves = {
        str(name): Curve.of(
            centre, Band(mean.value[k], mean.low[k], mean.high[k], len(nA), mean.method)
        )
        for k, name in enumerate(data["estimator"].values)
    }
    return data["field"].values[0], curves


def claims_of_pairs(found: Mapping[str, Pairs], profile: Profile) -> list[scorecard.Row]:
    """Judge claims 17 (``ppf``) and 18 (``ppd``) under each estimator of the current."""
    if profile.system.pore == "none":
        return []
    rows = []
    for number, protocol, sign in ((17, "ppf", 1.0), (18, "ppd", -1.0)):
        if protocol not in found:
            continue
        one = found[protocol]
        n, method = one.ratio.n_independent, one.ratio.method
        fits = memory_times(one, protocol)
        beyond = (1.0, np.inf) if sign > 0 else (-np.inf, 1.0)
        for k, estimator in enumerate(one.estimators):
            first = one.ratio.at((0, k))
            change = estimate(one.draws[:, 0, k] - one.draws[:, -1, k], n, method)
            if not first.enough:  # without a first pulse there is no ratio to change
                change = Estimate(change.value, -np.inf, np.inf, n, method)
            shortest, longest = one.delay_ps[0], one.delay_ps[-1]
            parts = [
                scorecard.judge(f"I1/I0 after {shortest:g} ps", first, beyond, profile),
                scorecard.judge(
                    f"I1/I0 after {shortest:g} ps less that after {longest:g} ps",
                    change,
                    (0.0, np.inf) if sign > 0 else (-np.inf, 0.0),
                    profile,
                ),
            ]
            fit = fits.get(estimator)
            if fit is not None and fit.identifiable:
                stated = float(scorecard.claim(number).values["tau_ps"])
                region = (stated / TAU_FACTOR, stated * TAU_FACTOR)
                parts.append(scorecard.judge("τ", fit.tau, region, profile, unit="ps"))
            else:
                parts.append(scorecard.decided("τ", NOTHING, None, profile))
            rows.append(scorecard.row(number, parts, estimator=estimator, run=protocol))
    return rows
