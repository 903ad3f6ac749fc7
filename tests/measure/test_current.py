"""Currents, loops and onsets against closed forms and injected truth."""

from dataclasses import replace

import numpy as np
import pytest

from janus_pore.errors import MeasureError
from janus_pore.measure.current import (
    NANOAMPERE_PER_E_PER_PS,
    RELEVANT_DROP,
    asymmetry,
    constant_field_branch,
    current_from_charge,
    cut_cycles,
    cycles_as_units,
    loop_area,
    ndr_onset,
    pinch,
    response,
    share,
    split_charging,
    steady_current,
    sweep,
    sweep_direction,
    threshold_asymmetry,
    window_average,
    window_of_cycles,
)

AMPLITUDE = 1.2
WINDOWS = 200
PHASE = 2 * np.pi * (np.arange(WINDOWS) + 0.5) / WINDOWS
FIELD = AMPLITUDE * np.sin(PHASE)
EDGES = np.linspace(0, AMPLITUDE, 13)


def noisy(current: np.ndarray, sigma: float, units: int, seed: int) -> np.ndarray:
    return current + np.random.default_rng(seed).normal(0, sigma, (units, len(current)))


def test_one_charge_per_picosecond() -> None:
    assert abs(NANOAMPERE_PER_E_PER_PS - 1.602176634e-19 / 1e-12 * 1e9) < 1e-9


def test_steady_charge_gives_steady_current() -> None:
    t = 3 + 0.5 * np.arange(41)
    charge = np.stack([0.02 * t, -0.01 * (t - 3)])
    centre, current = current_from_charge(charge, t, 5.0)
    assert centre.tolist() == [5.5, 10.5, 15.5, 20.5]
    expected = NANOAMPERE_PER_E_PER_PS * np.array([[0.02], [-0.01]])
    np.testing.assert_allclose(current, np.broadcast_to(expected, (2, 4)))
    sliding, _ = current_from_charge(charge, t, 5.0, step_ps=0.5)
    np.testing.assert_allclose(sliding, 5.5 + 0.5 * np.arange(31))


def test_windows_between_frames_and_uneven_frames() -> None:
    t = np.array([0.0, 0.1, 0.4, 1.0, 1.7, 2.0, 3.1])
    centre, current = current_from_charge(7 * t, t, 1.5)
    assert centre.tolist() == [0.75, 2.25]
    np.testing.assert_allclose(current, 7 * NANOAMPERE_PER_E_PER_PS)


@pytest.mark.parametrize("window_ps", [0.05, 11.0])
def test_windows_that_do_not_fit(window_ps: float) -> None:
    t = 0.1 * np.arange(101)
    with pytest.raises(MeasureError, match="between the spacing of the frames"):
        current_from_charge(t, t, window_ps)


def test_window_average_of_a_sine() -> None:
    t = np.linspace(0, 10, 2001)
    centre, found = window_average(np.sin(t), t, 0.5)
    expected = (np.cos(centre - 0.25) - np.cos(centre + 0.25)) / 0.5
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_total_is_transport_and_charging() -> None:
    charge = np.random.default_rng(0).normal(size=(3, 2, 7))
    transport, charging = split_charging(charge)
    np.testing.assert_array_equal(transport, charge[1])
    np.testing.assert_allclose(transport + charging, charge[0])
    moved = split_charging(np.moveaxis(charge, 0, 1), axis=1)
    np.testing.assert_array_equal(moved[1], charging)


def test_cycles_become_units() -> None:
    values = np.arange(24).reshape(2, 12)
    assert cut_cycles(values, np.arange(12), 4.0).tolist() == [
        [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]],
        [[12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]],
    ]
    # half a cycle more is left out, less than a cycle is one
    assert cut_cycles(values, np.arange(12), 8.0).tolist() == [
        [list(range(8))], [list(range(12, 20))],
    ]  # fmt: skip
    assert cut_cycles(values, np.arange(12), 30.0).tolist() == values[:, None].tolist()
    four = cut_cycles(np.zeros((4, 2, 11)), np.arange(11), 2.0)
    assert four.shape == (4, 5, 2, 2)
    # a replica is a unit, or a cycle where replicas are few
    assert cycles_as_units(four).shape == (4, 2, 2)
    assert cycles_as_units(four[:2]).shape == (10, 2, 2)
    assert cycles_as_units(np.arange(12.0).reshape(3, 2, 2)).tolist() == [[1, 2], [5, 6], [9, 10]]
    with pytest.raises(MeasureError, match=r"every 1 ps cannot show cycles of 0\.9 ps"):
        cut_cycles(values, np.arange(12), 0.9)
    with pytest.raises(MeasureError, match="1 to 2 ps apart"):
        cut_cycles(values[:, :3], [0.0, 1.0, 3.0], 2.0)
    # a run that was continued with coarser frames
    mixed = np.r_[np.arange(0, 4, 0.5), np.arange(4, 9)]
    assert cut_cycles(mixed[None], mixed, 4.0).tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7]]]


@pytest.mark.parametrize("period", [10 / 3, 6.4, 1000 / 3])
def test_cycles_stay_in_phase_where_no_whole_number_of_samples_fits(period: float) -> None:
    time = np.arange(0, 30 * period, 1.0)
    (units,) = cut_cycles(np.modf(time / period)[0][None], time, period)
    assert len(units) >= 29
    assert (units[:, 0] * period < 1 + 1e-6).all()  # each begins less than a sample late
    assert units.shape[1] == int(period)
    assert window_of_cycles(5.0, 1000 / 3) == pytest.approx(1000 / 3 / 66)
    assert window_of_cycles(5.0, 200.0) == 5.0
    assert window_of_cycles(1.0, 4.0) == 1.0


def test_directions_follow_the_magnitude_of_the_field() -> None:
    quarter = WINDOWS // 4
    signs = np.repeat([1, -1, 1, -1], quarter)
    np.testing.assert_array_equal(sweep_direction(FIELD), signs)
    assert not sweep_direction(np.full(5, 0.3)).any()


def test_sweep_sorts_branches_polarities_and_bins() -> None:
    forward = sweep_direction(FIELD) > 0
    current = np.where(forward, 3.0, 2.0) * FIELD + np.where(FIELD < 0, 0.5, 0.0)
    branches = sweep(FIELD, noisy(current, 0.0, 5, 0), EDGES)
    assert set(branches) == {(p, d) for p in (1, -1) for d in ("forward", "reverse")}
    for (polarity, direction), branch in branches.items():
        slope = 3.0 if direction == "forward" else 2.0
        offset = 0.5 if polarity < 0 else 0.0
        assert len(branch.field_V_per_nm) == 12
        assert (np.sign(branch.field_V_per_nm) == polarity).all()
        assert (np.diff(np.abs(branch.field_V_per_nm)) > 0).all()
        np.testing.assert_allclose(
            branch.current_nA.value, slope * branch.field_V_per_nm + offset, atol=1e-12
        )
    assert branches[1, "forward"].current_nA.method == "bootstrap over 5 replicas"


def test_bands_of_a_sweep_hold_the_truth() -> None:
    hits = np.zeros(12)
    for seed in range(100):
        branch = sweep(FIELD, noisy(3 * FIELD, 2.0, 10, seed), EDGES, resamples=200, seed=seed)[
            1, "forward"
        ]
        truth = 3 * branch.field_V_per_nm
        hits += (branch.current_nA.low <= truth) & (truth <= branch.current_nA.high)
    assert hits.mean() >= 90
    assert hits.min() >= 84


def peaked(field: np.ndarray, at: float, height: float = 3.0) -> np.ndarray:
    """Odd current whose magnitude is largest at |E| = ``at``."""
    return height * field / at * np.exp(1 - np.abs(field) / at)


@pytest.mark.parametrize(("polarity", "at"), [(1, 0.5), (-1, 0.6)])
def test_onset_of_injected_negative_differential_resistance(polarity: int, at: float) -> None:
    hits = found = 0
    for seed in range(100):
        current = noisy(peaked(FIELD, at), 1.0, 10, seed)
        branch = sweep(FIELD, current, EDGES, resamples=200, seed=seed)[polarity, "forward"]
        onset = ndr_onset(branch)
        found += onset.verdict == "found"
        hits += onset.onset_V_per_nm.low <= polarity * at <= onset.onset_V_per_nm.high
        if onset.verdict == "found":
            assert polarity * onset.confirmed_V_per_nm >= polarity * onset.onset_V_per_nm.value
    assert found >= 90
    assert hits >= 90


@pytest.mark.parametrize(
    ("shape", "sigma", "not_found"),
    [
        (lambda E: 3 * E, 1.0, 95),
        (lambda E: 3 * np.tanh(E / 0.2), 0.3, 90),
        (lambda E: 3 * np.tanh(E / 0.2), 3.0, 0),
        (lambda E: 0 * E, 1.0, 0),
    ],
    ids=["ohmic", "saturating", "saturating, noisy", "none at all"],
)
def test_no_onset_where_there_is_none(shape, sigma: float, not_found: int) -> None:
    verdicts = []
    for seed in range(100):
        current = noisy(shape(FIELD), sigma, 10, seed)
        branch = sweep(FIELD, current, EDGES, resamples=200, seed=seed)[1, "forward"]
        verdicts.append(ndr_onset(branch).verdict)
    assert verdicts.count("found") <= 5
    assert verdicts.count("not found") >= not_found


def test_what_is_not_found_is_excluded_by_its_interval() -> None:
    """Few replicas whose currents differ by more than noise: the verdict and the drop agree."""
    excluded = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        fall = peaked(FIELD, 0.8) + 0.5 * rng.standard_normal((5, 1)) * FIELD * np.abs(FIELD)
        branch = sweep(FIELD, fall + rng.normal(0, 0.1, fall.shape), EDGES, resamples=200)
        found = ndr_onset(branch[1, "forward"])
        if found.verdict == "not found":
            excluded += 1
            assert found.drop.high < RELEVANT_DROP
    assert excluded >= 5


@pytest.mark.parametrize(
    ("drop", "scatter", "verdict"),
    [(0.02, 0.05, "not found"), (0.15, 0.25, "not enough statistics")],
)
def test_a_drop_that_may_be_more_than_a_tenth_is_not_excluded(
    drop: float, scatter: float, verdict: str
) -> None:
    units = np.random.default_rng(0).standard_normal((10, 1))
    units = (units - units.mean()) / units.std(ddof=1)
    falls = np.clip((np.abs(FIELD) - 0.6) / 0.6, 0, 1) * (drop + scatter * units)
    current = np.sign(FIELD) * (np.minimum(np.abs(FIELD) / 0.6, 1.0) - falls)
    found = ndr_onset(sweep(FIELD, current, EDGES)[1, "forward"])
    assert found.drop.value == pytest.approx(drop, abs=0.04)
    assert found.verdict == verdict


def test_weak_drop_in_noise_is_not_enough_statistics() -> None:
    current = noisy(peaked(FIELD, 0.8), 5.0, 4, 0)
    branch = sweep(FIELD, current, EDGES)[1, "forward"]
    assert ndr_onset(branch).verdict == "not enough statistics"
    few = sweep(FIELD, current, np.linspace(0, AMPLITUDE, 5))[1, "forward"]
    assert ndr_onset(few).verdict == "not enough statistics"
    single = sweep(FIELD, current[:1], EDGES)[1, "forward"]
    assert ndr_onset(single).verdict == "not enough statistics"


def test_area_of_a_capacitor_and_of_a_memristor() -> None:
    capacitance, conductance = 0.7, 3.0
    capacitive = conductance * FIELD + capacitance * AMPLITUDE * np.cos(PHASE)
    areas = loop_area(FIELD, noisy(capacitive, 1e-3, 5, 0))
    # Per radian of phase: ∮ C (dE/dφ) dE = π C A².
    assert areas["whole"].value == pytest.approx(np.pi * capacitance * AMPLITUDE**2, rel=2e-3)
    assert areas["positive"].value == pytest.approx(areas["negative"].value, rel=1e-2)

    forward = sweep_direction(FIELD) > 0
    memristive = np.where(forward, 3.0, 2.0) * FIELD
    areas = loop_area(FIELD, noisy(memristive, 1e-3, 5, 0))
    assert areas["positive"].value == pytest.approx(0.5 * AMPLITUDE**2, rel=2e-2)
    assert areas["whole"].value == pytest.approx(AMPLITUDE**2, rel=2e-2)
    reversed_roles = np.where(forward, 2.0, 3.0) * FIELD
    assert loop_area(FIELD, noisy(reversed_roles, 1e-3, 5, 0))["whole"].high < 0


def test_area_interval_holds_the_truth() -> None:
    forward = sweep_direction(FIELD) > 0
    current = np.where(forward, 3.0, 2.0) * FIELD
    truth = loop_area(FIELD, current)["whole"].value
    hits = 0
    for seed in range(100):
        found = loop_area(FIELD, noisy(current, 3.0, 10, seed), resamples=200, seed=seed)["whole"]
        hits += found.low <= truth <= found.high
    assert hits >= 90


def test_pinched_and_open_loops() -> None:
    forward = sweep_direction(FIELD) > 0
    memristive = np.where(forward, 3.0, 2.0) * FIELD
    found = pinch(FIELD, noisy(memristive, 0.2, 10, 0), near_V_per_nm=0.3)
    assert found.verdict == "pinched"

    gap = 2.0
    capacitive = 3 * FIELD + 0.5 * gap * np.cos(PHASE)
    hits = 0
    for seed in range(100):
        found = pinch(FIELD, noisy(capacitive, 2.0, 10, seed), near_V_per_nm=0.2, resamples=200,
                      seed=seed)  # fmt: skip
        hits += found.gap_nA.low <= gap <= found.gap_nA.high
    assert hits >= 90
    assert found.rising_nA.value == pytest.approx(gap / 2, abs=1.2)
    assert found.verdict == "open"

    unsure = pinch(FIELD, noisy(memristive, 20.0, 4, 0), near_V_per_nm=0.3)
    assert unsure.verdict == "not enough statistics"
    coarse = FIELD.reshape(-1, 10).mean(axis=1)
    lowest = pinch(coarse, 3 * coarse + np.zeros((4, 1)), near_V_per_nm=0.01)
    assert lowest.gap_nA.value == pytest.approx(0, abs=1e-12)
    with pytest.raises(MeasureError, match="fewer than two windows lie in a quarter"):
        pinch(FIELD.reshape(-1, 50).mean(axis=1), np.ones((3, 4)))


def test_a_loop_of_single_ions_is_not_pinched_for_want_of_them() -> None:
    """Open by 30 % of its amplitude, told by one ion at a time in windows of 5 ps."""
    rng, window_ps = np.random.default_rng(0), 5.0
    nA_per_ion = 160.2176634 / window_ps
    true = 8.0 * (np.sin(PHASE) + 0.15 * np.cos(PHASE))
    wrong = {None: 0, window_ps: 0}
    for seed in range(60):
        seen = np.sign(true) * rng.poisson(np.abs(true) / nA_per_ion, (5, len(true))) * nA_per_ion
        for event_ps in wrong:
            found = pinch(FIELD, seen, near_V_per_nm=0.12, event_ps=event_ps, resamples=200,
                          seed=seed)  # fmt: skip
            wrong[event_ps] += found.verdict == "pinched"
    assert wrong[window_ps] == 0
    # many ions are enough to tell: ten thousand times the time
    longer = pinch(FIELD, noisy(8.0 * FIELD, 0.05, 10, 0), near_V_per_nm=0.3, event_ps=5e4)
    assert longer.verdict == "pinched"


def test_a_loop_is_measured_by_its_smooth_size() -> None:
    """One window in which an ion happens to pass is not the size of a loop."""
    lone = noisy(0.5 * FIELD + 0.2 * np.cos(PHASE), 0.01, 6, 0)
    lone[0, np.argmax(FIELD)] = 60.0
    found = pinch(FIELD, lone, near_V_per_nm=0.3, resamples=200)
    assert found.verdict == "open"
    # 60/6 nA in one of 200 windows adds less than a fifth of that to a size of 0.6 nA
    assert 0.6 < found.gap_nA.value / found.relative_gap.value < 0.6 + 2.0


def test_asymmetry_between_polarities() -> None:
    current = np.where(FIELD > 0, 3.0, 2.0) * FIELD
    hits = 0
    for seed in range(100):
        branches = sweep(FIELD, noisy(current, 1.5, 10, seed), EDGES, resamples=200, seed=seed)
        field, difference, overall = asymmetry(branches[1, "forward"], branches[-1, "forward"])
        hits += overall.low <= 0.2 <= overall.high
    assert hits >= 90
    np.testing.assert_allclose(field, branches[1, "forward"].field_V_per_nm)
    assert difference.value[-1] == pytest.approx(1 / 3, abs=0.15)
    # fields that agree but for rounding are the same
    minus = branches[-1, "forward"]
    nearer = replace(minus, field_V_per_nm=minus.field_V_per_nm * (1 - 1e-15))
    assert len(asymmetry(branches[1, "forward"], nearer)[0]) == len(field)


def test_steady_current_and_its_bound_without_events() -> None:
    t = np.arange(0, 101.0)
    hits = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        steps = rng.poisson(0.05, (12, len(t) - 1))
        charge = np.concatenate([np.full((12, 1), 5.0), 5 + np.cumsum(steps, axis=1)], axis=1)
        charge[:, :21] += np.linspace(-8, 0, 21)  # the reservoirs charge first
        found = steady_current(charge, t, discard_ps=20.0, resamples=200, seed=seed)
        hits += found.low <= 0.05 * NANOAMPERE_PER_E_PER_PS <= found.high
    assert hits >= 90

    none = steady_current(np.zeros((4, 101)), t)
    assert (none.value, none.enough) == (0.0, True)
    assert none.high == pytest.approx(3.689 / 400 * NANOAMPERE_PER_E_PER_PS, rel=1e-3)
    assert none.low == -none.high
    with pytest.raises(MeasureError, match="discard_ps = 100"):
        steady_current(charge, t, discard_ps=100.0)


def test_response_of_a_conductor_and_of_a_capacitor() -> None:
    conductance, capacitance = 3.0, 4.0
    current = conductance * FIELD + capacitance * AMPLITUDE * np.cos(PHASE)
    # Per radian of phase the capacitor's current is C dE/dφ, so that Im Y = C.
    assert response(FIELD, current) == pytest.approx(3 + 4j)
    units = response(FIELD, np.stack([current, 2 * current]))
    np.testing.assert_allclose(units, [3 + 4j, 6 + 8j])
    third = np.sin(3 * PHASE)  # a harmonic has no part at the drive's frequency
    assert response(FIELD, current + third) == pytest.approx(3 + 4j)
    with pytest.raises(MeasureError, match="no part at the cycle's frequency"):
        response(np.ones(WINDOWS), current)


def test_shares_add_up_and_hold_the_truth() -> None:
    hits = {"conductor": 0, "capacitor": 0, "alone": 0}
    for seed in range(100):
        rng = np.random.default_rng(seed)

        def measured(shape: np.ndarray, rng: np.random.Generator = rng) -> np.ndarray:
            size = rng.normal(1, 0.2, (8, 1))  # units differ
            return response(FIELD, size * shape + rng.normal(0, 4, (8, WINDOWS)))

        part = measured(3 * FIELD)
        rest = measured(4 * AMPLITUDE * np.cos(PHASE))
        alone = measured(4 * AMPLITUDE * np.cos(PHASE))
        found = {
            "conductor": share(part, part + rest, resamples=200, seed=seed),
            "capacitor": share(rest, part + rest, resamples=200, seed=seed),
            "alone": share(alone, part + rest, paired=False, resamples=200, seed=seed),
        }
        assert found["conductor"].value + found["capacitor"].value == pytest.approx(1)
        for name, truth in (("conductor", 9 / 25), ("capacitor", 16 / 25), ("alone", 16 / 25)):
            hits[name] += found[name].low <= truth <= found[name].high
    assert min(hits.values()) >= 90, hits
    nothing = share(np.zeros(5, complex), np.zeros(5, complex))
    assert not nothing.enough


def test_asymmetry_of_thresholds_is_recovered() -> None:
    truth = np.where(FIELD > 0, peaked(FIELD, 0.4), peaked(FIELD, 0.7))
    hits = found = 0
    for seed in range(100):
        branches = sweep(FIELD, noisy(truth, 0.5, 10, seed), EDGES, resamples=200, seed=seed)
        apart, draws = threshold_asymmetry(branches[1, "forward"], branches[-1, "forward"])
        if apart.enough:
            found += 1
            hits += apart.low <= 0.3 <= apart.high
            assert draws[0] == apart.value
    assert found >= 90
    assert hits >= 0.9 * found
    ohmic = sweep(FIELD, noisy(3 * FIELD, 0.5, 10, 0), EDGES)
    none, _ = threshold_asymmetry(ohmic[1, "forward"], ohmic[-1, "forward"])
    assert np.isnan(none.value)


@pytest.mark.parametrize(
    ("shape", "verdict"),
    [(lambda E: peaked(E, 0.5), "found"), (lambda E: 3 * E, "not found")],
    ids=["falling", "ohmic"],
)
def test_negative_slope_of_the_steady_state(shape, verdict: str) -> None:
    fields = np.array([1.2, 0.2, 0.4, 1.0, 0.6, 0.8])
    verdicts = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        current = shape(fields) + rng.normal(0, 0.3, (10, len(fields)))
        for polarity in (1, -1):
            branch = constant_field_branch(
                polarity * fields, polarity * current, polarity, resamples=200, seed=seed
            )
            assert (np.diff(np.abs(branch.field_V_per_nm)) > 0).all()
            verdicts.append(ndr_onset(branch).verdict)
    assert verdicts.count(verdict) >= 180
    assert verdicts.count({"found": "not found", "not found": "found"}[verdict]) <= 4


@pytest.mark.parametrize("window_ps", [0.0, -1.0, 51.0, 250.0])
def test_a_window_that_does_not_fit_a_cycle_is_refused(window_ps: float) -> None:
    with pytest.raises(MeasureError, match=r"current_window_ps = .* at most a quarter .*, 50"):
        window_of_cycles(window_ps, 200.0)
