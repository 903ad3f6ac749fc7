"""Intervals that hold what they promise, and answers that say when there are too few data."""

import math

import numpy as np
import pytest

from janus_pore.errors import MeasureError
from janus_pore.measure.statistics import (
    Estimate,
    band,
    difference,
    draw_sums,
    estimate,
    fit_exponential,
    mean,
    relaxation_form,
    zero_count_bound,
)

TRIALS = 100
ENOUGH = 90


def holds(found: Estimate, truth: float) -> bool:
    return found.low <= truth <= found.high


@pytest.mark.parametrize("units", [2, 3, 5, 10, 150])
def test_interval_of_a_mean_holds_the_truth(units: int) -> None:
    hits = 0
    for trial in range(TRIALS):
        values = np.random.default_rng(trial).normal(3.0, 2.0, units)
        hits += holds(mean(values, resamples=300, seed=trial), 3.0)
    assert hits >= ENOUGH


def test_interval_is_not_wider_than_student_needs() -> None:
    widths = []
    for trial in range(TRIALS):
        values = np.random.default_rng(trial).normal(0.0, 1.0, 10)
        found = mean(values, resamples=300, seed=trial)
        widths.append((found.high - found.low) / values.std(ddof=1))
    # Student's t for ten values: 2 · 2.262/√10.
    assert np.mean(widths) == pytest.approx(2 * 2.262 / math.sqrt(10), rel=0.08)


def test_interval_of_a_ratio_of_means_holds_the_truth() -> None:
    hits = 0
    for trial in range(TRIALS):
        rng = np.random.default_rng(trial)
        pairs = np.stack([rng.normal(3, 3, 24), rng.normal(2, 2, 24)], axis=1)
        draws = draw_sums(pairs, resamples=300, seed=trial)
        hits += holds(estimate(draws[:, 0] / draws[:, 1], 24, ""), 1.5)
    assert hits >= ENOUGH


def test_interval_of_a_scale_stays_above_zero_and_holds_the_truth() -> None:
    """Geometric means of three log-normal samples, whose logarithms are Student's case."""
    hits = below_zero = 0
    for trial in range(TRIALS):
        logs = np.random.default_rng(trial).normal(1.0, 0.8, 3)
        draws = np.exp(draw_sums(logs, resamples=300, seed=trial) / 3)
        found = estimate(draws, 3, "", positive=True)
        assert 0 < found.low < found.value == draws[0] < found.high
        hits += holds(found, math.e)
        below_zero += estimate(draws, 3, "").low <= 0
    assert hits >= ENOUGH
    assert below_zero > TRIALS / 2  # what the interval of the value itself does


def test_draws_of_a_scale_that_are_not_positive_count_as_not_finite() -> None:
    draws = np.random.default_rng(0).lognormal(size=1001)
    draws[1:5] = 0.0
    assert estimate(draws, 10, "", positive=True).enough
    draws[5:100] = -1.0
    found = estimate(draws, 10, "", positive=True)
    assert (found.low, found.high) == (0.0, math.inf)
    assert not found.enough


def test_draws_start_with_the_data_and_stay_paired() -> None:
    values = np.arange(6.0)
    draws = draw_sums(np.stack([values, 2 * values], axis=1), resamples=50, seed=4)
    assert draws.shape == (51, 2)
    assert draws[0].tolist() == [15.0, 30.0]
    np.testing.assert_allclose(draws[:, 1], 2 * draws[:, 0])
    np.testing.assert_array_equal(draws[:, 0], draw_sums(values, resamples=50, seed=4))
    assert (draws != draw_sums(np.stack([values, 2 * values], axis=1), seed=5, resamples=50)).any()


def test_too_few_or_silent_data_are_not_enough() -> None:
    assert not mean([1.0]).enough
    assert math.isnan(mean([1.0]).low)
    two = mean([1.0, 2.0])
    assert not two.enough
    assert two.high - two.low > 5
    assert mean([1.0, 2.0, 1.5]).enough
    same = mean([2.0] * 10)
    assert same.value == 2.0
    assert not same.enough
    assert "not enough statistics" in str(same)
    with pytest.raises(MeasureError, match="nothing to resample"):
        mean([])


def test_draws_without_a_value_make_the_interval_unbounded() -> None:
    draws = np.random.default_rng(0).normal(size=(1001, 2))
    draws[1:100, 1] = np.nan
    found = band(draws, 10, "")
    assert np.isfinite(found.low[0])
    assert (found.low[1], found.high[1]) == (-np.inf, np.inf)
    assert not found.at(1).enough
    draws[1:5, 0] = np.nan
    assert band(draws, 10, "").at(0).enough


def test_estimate_excludes_only_what_it_can() -> None:
    assert Estimate(1.0, 0.5, 1.5, 10, "").excludes(0.0)
    assert not Estimate(1.0, -0.5, 1.5, 10, "").excludes(0.0)
    assert not Estimate(1.0, 0.5, 1.5, 2, "").excludes(0.0)
    assert not Estimate(1.0, np.nan, np.nan, 10, "").excludes(0.0)
    assert str(Estimate(1.0, 0.5, 1.5, 10, "")) == "1 [0.5, 1.5]"


def test_an_interval_ends_where_the_quantity_does() -> None:
    found = Estimate(0.2, -0.3, 1.4, 5, "")
    assert found.within(0.0, 1.0) == Estimate(0.2, 0.0, 1.0, 5, "")
    assert found.within(highest=1.0) == Estimate(0.2, -0.3, 1.0, 5, "")
    assert not Estimate(0.2, np.nan, np.nan, 5, "").within(0.0, 1.0).enough


def test_difference_of_independent_estimates() -> None:
    a, b = Estimate(8.0, 5.0, 17.0, 12, ""), Estimate(2.0, 1.0, 6.0, 6, "")
    found = difference(a, b)
    assert (found.value, found.n_independent) == (6.0, 6)
    assert found.low == pytest.approx(6.0 - math.hypot(3.0, 4.0))
    assert found.high == pytest.approx(6.0 + math.hypot(9.0, 1.0))
    back = difference(b, a)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    assert not difference(a, Estimate(1.0, -math.inf, math.inf, 6, "")).enough


def test_interval_of_a_difference_holds_the_truth() -> None:
    """Of two means of exponential samples, which are skewed."""
    rng = np.random.default_rng(3)
    held = 0
    for k in range(200):
        means = [mean(rng.exponential(s, 30), resamples=400, seed=k) for s in (8.0, 3.0)]
        found = difference(*means)
        held += found.low < 5.0 < found.high
    assert 0.88 * 200 <= held <= 0.99 * 200


def test_zero_events_bound() -> None:
    assert math.exp(-zero_count_bound()) == pytest.approx(0.025)


@pytest.mark.parametrize("kind", ["decay", "growth"])
def test_exponential_with_known_noise(kind: str) -> None:
    t = np.arange(0, 40, 1.0)
    a, b, tau = 30.0, 60.0, 8.0
    shape = np.exp(-t / tau)
    truth = a + b * (shape if kind == "decay" else 1 - shape)
    hits = dict.fromkeys("abt", 0)
    for trial in range(TRIALS):
        curves = truth + np.random.default_rng(1000 + trial).normal(0, 12, (10, len(t)))
        draws = draw_sums(curves, resamples=200, seed=trial) / 10
        fit = fit_exponential(t, draws, kind, units=10, method="")
        assert fit.identifiable, fit.reason
        hits["a"] += holds(fit.a, a)
        hits["b"] += holds(fit.b, b)
        hits["t"] += holds(fit.tau, tau)
    assert min(hits.values()) >= ENOUGH, hits
    np.testing.assert_allclose(fit.curve(t), draws[0], atol=15)


def test_exponential_without_noise_is_exact() -> None:
    t = np.linspace(0, 30, 61)
    for tau in (0.7, 5.0, 22.0):
        curve = 2 - 3 * np.exp(-t / tau)
        draws = np.tile(curve, (20, 1))
        fit = fit_exponential(t, draws, "growth", units=10, method="")
        assert fit.tau.value == pytest.approx(tau, rel=1e-3)
        assert (fit.a.value, fit.b.value) == pytest.approx((-1, 3), abs=1e-3)
        np.testing.assert_allclose(fit.curve(t), curve, atol=1e-3)


@pytest.mark.parametrize(
    ("b", "tau", "why"),
    [
        (0.0, 8.0, "amplitude is not different from zero"),
        (60.0, 400.0, "slower than the time covered"),
        (60.0, 0.15, "faster than the spacing"),
    ],
)
def test_exponential_that_the_data_do_not_fix_says_so(b: float, tau: float, why: str) -> None:
    t = np.arange(0, 40, 1.0)
    reasons = []
    for trial in range(20):
        noise = np.random.default_rng(trial).normal(0, 1, (10, len(t)))
        curves = 30 + b * np.exp(-t / tau) + noise
        draws = draw_sums(curves, resamples=200, seed=trial) / 10
        reasons.append(fit_exponential(t, draws, "decay", units=10, method="").reason)
    assert sum(bool(r) for r in reasons) >= 19, reasons
    assert any(why in r for r in reasons), reasons


def test_exponential_of_two_replicas_is_not_enough() -> None:
    t = np.arange(0, 40, 1.0)
    curves = 30 + 60 * np.exp(-t / 8) + np.random.default_rng(0).normal(0, 1, (2, len(t)))
    fit = fit_exponential(t, draw_sums(curves) / 2, "decay", units=2, method="")
    assert not fit.identifiable
    assert "not enough statistics" in fit.reason
    with pytest.raises(MeasureError, match="at least 4 points and has 3"):
        fit_exponential(t[:3], draw_sums(curves[:, :3]), "decay", units=2, method="")


def test_points_of_no_weight_are_ignored() -> None:
    t = np.arange(0, 20, 1.0)
    curve = 1 + np.exp(-t / 4)
    spoilt = np.where(t == 7, 100.0, curve)
    weights = (t != 7).astype(float)
    fit = fit_exponential(t, np.tile(spoilt, (5, 1)), "decay", units=5, method="", weights=weights)
    assert fit.tau.value == pytest.approx(4, rel=1e-3)


def relaxations(shape, seed: int, *, amplitude: float = 25.0, curves: int = 4) -> object:
    """Form of four curves with different times and levels, from 24 units each."""
    rng = np.random.default_rng(seed)
    t = 0.25 + np.arange(0, 20, 0.5)
    made = []
    for k in range(curves):
        y = 30 + 10 * k + amplitude * shape(t / (2.0 + k)) + rng.normal(0, 6.0, (24, len(t)))
        made.append((t, draw_sums(y, resamples=150, seed=seed) / 24))
    return relaxation_form(made, units=24, method="replicas")


def test_exponentials_are_told_from_their_rivals() -> None:
    hits = unrefuted = 0
    for trial in range(TRIALS):
        found = relaxations(lambda s: np.exp(-s), trial)
        hits += holds(found.stretch, 1.0)
        unrefuted += found.power_law.high > 0
    assert found.curves == 4
    assert min(hits, unrefuted) >= ENOUGH
    for beta in (0.5, 2.0):
        stretched = [
            relaxations(lambda s, beta=beta: np.exp(-(s**beta)), trial) for trial in range(10)
        ]
        assert sum(holds(f.stretch, beta) for f in stretched) >= 8
        assert not any(holds(f.stretch, 1.0) for f in stretched)
    slow = [relaxations(lambda s: 1 / (1 + s), trial) for trial in range(10)]
    assert sum(f.power_law.value < 0 for f in slow) >= 8
    assert sum(holds(f.stretch, 1.0) for f in slow) <= 2


def test_growth_has_the_form_of_decay() -> None:
    rising = relaxations(lambda s: 1 - np.exp(-s), 0)
    assert holds(rising.stretch, 1.0)
    assert rising.power_law.low > 0


def test_noise_alone_has_no_form() -> None:
    wide = relaxations(lambda s: np.exp(-s), 1, amplitude=0.0).stretch
    assert not (wide.low > 0.8 and wide.high < 1.25)
    with pytest.raises(MeasureError, match="at least 5 points"):
        relaxation_form([], units=3, method="replicas")
    with pytest.raises(MeasureError, match="at least 5 points"):
        relaxation_form([(np.arange(4.0), np.ones((5, 4)))], units=3, method="replicas")
