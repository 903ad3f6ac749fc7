"""Pulse currents and paired-pulse ratios with injected truth."""

import numpy as np
import pytest

from janus_pore.errors import MeasureError
from janus_pore.measure.current import NANOAMPERE_PER_E_PER_PS
from janus_pore.measure.plasticity import fit_delays, pulse_currents, pulse_windows, ratios
from janus_pore.spec import PulseTrain

DELAYS = np.array([1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 23.0, 32.0])


def test_windows_of_a_train() -> None:
    train = PulseTrain(
        prepare_ps=20, pulse_V_per_nm=0.7, width_ps=5, delay_ps=3, pulses=3, delay_V_per_nm=0.5
    )
    assert pulse_windows(train).tolist() == [[20, 25], [28, 33], [36, 41]]


def test_current_of_each_pulse() -> None:
    train = PulseTrain(prepare_ps=2, pulse_V_per_nm=0.5, width_ps=1.5, delay_ps=1, pulses=3)
    t = np.round(0.1 * np.arange(96), 4)
    rates = np.array([0.3, -0.1, 0.05])
    windows = pulse_windows(train)
    rate = np.zeros_like(t)
    for (a, b), r in zip(windows, rates, strict=True):
        rate[(t >= a - 1e-9) & (t < b - 1e-9)] = r
    charge = np.concatenate([[0.0], np.cumsum(rate[:-1] * 0.1)])
    found = pulse_currents(np.stack([charge, 2 * charge]), t, windows)
    expected = NANOAMPERE_PER_E_PER_PS * rates
    np.testing.assert_allclose(found, [expected, 2 * expected], atol=1e-9)


def test_ends_of_a_pulse_between_frames() -> None:
    t = np.array([0.0, 0.4, 1.0, 1.3, 2.0])
    found = pulse_currents(3 * t, t, [[0.2, 1.15]])
    assert found[0] == pytest.approx(3 * NANOAMPERE_PER_E_PER_PS)


def test_a_pulse_that_begins_before_the_first_frame() -> None:
    t = np.arange(1, 21) / 10
    found = pulse_currents(3 * t, t, [[0.06, 0.26], [1.84, 2.04]])
    assert found == pytest.approx(np.full(2, 3 * NANOAMPERE_PER_E_PER_PS))


@pytest.mark.parametrize("window", [[-1.0, 0.5], [1.0, 2.6]])
def test_pulses_outside_the_series(window: list[float]) -> None:
    t = np.linspace(0, 2, 21)
    with pytest.raises(MeasureError, match="reach outside the series"):
        pulse_currents(t, t, [window])


def test_ratio_is_that_of_the_means() -> None:
    currents = np.array([[1.0, 5.0], [3.0, 7.0], [2.0, 6.0], [2.5, 5.5]])
    band, draws = ratios(currents)
    assert band.value.tolist() == [1.0, 23.5 / 8.5]
    assert (band.low[0], band.high[0]) == (1.0, 1.0)
    assert draws.shape == (1001, 2)
    assert band.method == "bootstrap over 4 replicas"


def test_ratios_of_a_train_hold_the_truth() -> None:
    truth = 1 + 3 * (1 - np.exp(-np.arange(10) / 3))
    hits = np.zeros(10)
    for trial in range(100):
        rng = np.random.default_rng(trial)
        currents = 2.0 * truth + rng.normal(0, 3, (60, 10)) + rng.normal(0, 1, (60, 1))
        band, _ = ratios(currents, resamples=200, seed=trial)
        hits += (band.low <= truth) & (truth <= band.high)
    assert hits.min() >= 90, hits


def test_ratio_to_a_current_that_may_be_zero_is_not_enough_statistics() -> None:
    rng = np.random.default_rng(0)
    currents = np.stack([rng.normal(0.2, 3, 20), rng.normal(2, 3, 20)], axis=1)
    band, _ = ratios(currents)
    assert (band.low[1], band.high[1]) == (-np.inf, np.inf)
    assert not band.at(1).enough
    # without any current there is not even a ratio of the first to itself
    none, _ = ratios(np.zeros((6, 2)))
    assert np.isnan(none.value).all()
    assert np.isnan(none.low[0])
    negative, _ = ratios(currents - 5)
    assert negative.at(1).enough
    single, _ = ratios(currents[:1])
    assert not single.at(1).enough


@pytest.mark.parametrize(
    ("kind", "a0", "a1", "tau"), [("facilitation", 1.2, 1.9, 8.0), ("depression", 0.2, 0.7, 7.5)]
)
def test_memory_time_is_recovered(kind: str, a0: float, a1: float, tau: float) -> None:
    shape = np.exp(-DELAYS / tau)
    truth = a0 + a1 * (shape if kind == "facilitation" else 1 - shape)
    hits = dict.fromkeys(("a0", "a1", "tau"), 0)
    for trial in range(100):
        rng = np.random.default_rng(1000 + trial)
        first = rng.normal(5, 2.5, 150)
        second = 5 * truth + rng.normal(0, 2.5, (150, len(DELAYS)))
        currents = np.stack([np.broadcast_to(first[:, None], second.shape), second], axis=-1)
        _, draws = ratios(currents, resamples=200, seed=trial)
        fit = fit_delays(DELAYS, draws[..., 1], kind, replicas=150)
        hits["a0"] += fit.a.low <= a0 <= fit.a.high
        hits["a1"] += fit.b.low <= a1 <= fit.b.high
        hits["tau"] += fit.tau.low <= tau <= fit.tau.high
    assert min(hits.values()) >= 90, hits
    np.testing.assert_allclose(fit.curve(DELAYS), truth, atol=0.35)


def test_flat_ratios_give_no_memory_time() -> None:
    rng = np.random.default_rng(1)
    currents = rng.normal(5, 1, (30, len(DELAYS), 2))
    _, draws = ratios(currents)
    fit = fit_delays(DELAYS, draws[..., 1], "depression", replicas=30)
    assert not fit.identifiable
    with pytest.raises(MeasureError, match="kind = 'decay'"):
        fit_delays(DELAYS, draws[..., 1], "decay", replicas=30)  # type: ignore[arg-type]
    with pytest.raises(MeasureError, match="at least 4 points and has 2"):
        fit_delays(DELAYS[:2], draws[:, :2, 1], "depression", replicas=30)


def test_ratios_that_never_vary_are_exact_and_keep_their_weight() -> None:
    """A memory that is gone after four delays: the rest is zero in every draw."""
    rng = np.random.default_rng(0)
    gone = DELAYS >= 7
    draws = np.exp(-DELAYS / 2.0) + rng.normal(0, 0.02, (500, len(DELAYS)))
    draws[0] = np.exp(-DELAYS / 2.0)
    draws[:, gone] = 0.0
    fit = fit_delays(DELAYS, draws, "facilitation", replicas=24)
    assert fit.a.value == pytest.approx(0.0, abs=0.02)
    assert 1.0 < fit.tau.value < 3.0
    # one replica: all draws are alike but for rounding, which must not choose the delays
    alike = draws[:1] + rng.normal(0, 1e-16, draws.shape)
    by_rounding = fit_delays(DELAYS, alike, "facilitation", replicas=1)
    assert by_rounding.tau.value == pytest.approx(
        fit_delays(DELAYS, draws[[0] * 500], "facilitation", replicas=1).tau.value, rel=1e-3
    )
