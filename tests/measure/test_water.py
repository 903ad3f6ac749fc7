"""Orientation of water whose distribution is known: wrapped normals and uniform angles."""

import math

import numpy as np
import pytest
from scipy.optimize import curve_fit

from janus_pore.errors import MeasureError
from janus_pore.measure.water import (
    UNIFORM_SIGMA_DEG,
    angle_counts,
    bin_centres,
    direct_width,
    fit_relaxation,
    gaussian_fit,
    lagging_width,
    orientation,
    polarisation,
    reaction_field,
    resultant,
    sigma_against_field,
    sigma_against_time,
    widths,
    wrap,
    wrapped_width,
)


def normal_angles(mean: float, sigma: object, *shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return wrap(mean + np.asarray(sigma) * rng.normal(size=shape))


def histogram(theta: np.ndarray) -> np.ndarray:
    return angle_counts(theta.reshape(1, 1, -1), [0], 1)[0, 0]


def test_angles_wrap_into_the_half_open_circle() -> None:
    angles = np.array([0.0, 180.0, -180.0, 181.0, -181.0, 540.0, 720.5])
    assert wrap(angles).tolist() == [0.0, 180.0, 180.0, -179.0, 179.0, 180.0, 0.5]


def test_histograms_by_unit_and_group() -> None:
    theta = np.full((2, 3, 2), np.nan)
    theta[0, 0] = [-179.9, 180.0]
    theta[0, 1, 0] = 0.1
    theta[1, 2, 1] = 0.1
    counts = angle_counts(theta, [0, 1, -1], 2, bins=4)
    assert counts.shape == (2, 2, 4)
    assert counts[0].tolist() == [[1, 0, 0, 1], [0, 0, 1, 0]]
    assert not counts[1].any()
    np.testing.assert_allclose(bin_centres(4), [-135, -45, 45, 135])


def test_circular_mean_across_the_cut() -> None:
    mean, length = resultant(histogram(np.array([169.5, -169.5])))
    assert abs(mean) == pytest.approx(180)
    assert length == pytest.approx(math.cos(math.radians(10.5)), abs=1e-3)


@pytest.mark.parametrize("sigma", [10.0, 30.0, 60.0, 90.0])
def test_wrapped_normal_has_its_closed_form_widths(sigma: float) -> None:
    counts = histogram(normal_angles(150.0, sigma, 400_000))
    mean, length = resultant(counts)
    assert mean == pytest.approx(150, abs=1)
    # The resultant of a wrapped normal is exp(-σ²/2), σ in radians.
    assert length == pytest.approx(math.exp(-0.5 * math.radians(sigma) ** 2), abs=5e-3)
    assert wrapped_width(counts) == pytest.approx(sigma, rel=0.01)
    x = np.linspace(-180, 180, 36001)
    density = sum(np.exp(-0.5 * ((x + 360 * k) / sigma) ** 2) for k in range(-3, 4))
    closed = math.sqrt(np.trapezoid(x**2 * density, x) / np.trapezoid(density, x))
    assert direct_width(counts) == pytest.approx(closed, rel=0.01)
    if sigma <= 60:
        assert gaussian_fit(counts)[1] == pytest.approx(sigma, rel=0.02)


def test_uniform_angles_are_as_wide_as_angles_can_be() -> None:
    assert pytest.approx(103.92, abs=0.01) == UNIFORM_SIGMA_DEG
    rng = np.random.default_rng(0)
    counts = histogram(rng.uniform(-180, 180, 400_000))
    assert direct_width(counts) == pytest.approx(UNIFORM_SIGMA_DEG, rel=0.01)
    assert np.isinf(wrapped_width(np.ones(120))) or wrapped_width(np.ones(120)) > 400
    assert np.isnan(gaussian_fit(np.zeros(120))[1])


@pytest.mark.parametrize("sigma", [8.0, 25.0, 55.0, 80.0, 110.0])
def test_fit_is_the_least_squares_one(sigma: float) -> None:
    counts = histogram(normal_angles(-20.0, sigma, 3000, seed=3))
    mean, _ = resultant(counts)
    x = wrap(bin_centres(len(counts)) - mean)
    density = counts / counts.sum() / (360 / len(counts))

    def normal(x: np.ndarray, mu: float, s: float) -> np.ndarray:
        return np.exp(-0.5 * ((x - mu) / s) ** 2) / (abs(s) * math.sqrt(2 * math.pi))

    (mu, s), _ = curve_fit(normal, x, density, p0=(0.0, 40.0), xtol=1e-12, ftol=1e-12)
    found_mu, found_sigma = gaussian_fit(counts)
    assert found_sigma == pytest.approx(abs(s), rel=1e-4)
    assert found_mu == pytest.approx(wrap(mu + mean), abs=1e-2)


def test_many_histograms_are_fitted_as_each_alone() -> None:
    counts = np.stack([histogram(normal_angles(m, 30.0, 500, seed=m)) for m in (0, 90, 179)])
    together = gaussian_fit(counts.reshape(3, 1, -1))
    for i in range(3):
        alone = gaussian_fit(counts[i])
        assert together[1][i, 0] == pytest.approx(float(alone[1]), rel=1e-6)


def test_orientation_recovers_mean_and_width() -> None:
    mean = 175.0  # next to the cut
    hits = dict.fromkeys(("mean", "sigma", "direct", "wrapped"), 0)
    for trial in range(100):
        theta = normal_angles(mean, 28.0, 20, 6, 7, seed=trial)
        found = orientation(theta, bins=72, resamples=200, seed=trial)
        assert found.identifiable, found.reason
        hits["mean"] += found.mean_deg.low <= mean <= found.mean_deg.high or (
            found.mean_deg.low <= mean - 360 <= found.mean_deg.high
        )
        for name in ("sigma", "direct", "wrapped"):
            width = getattr(found, f"{name}_deg")
            hits[name] += width.low <= 28.0 <= width.high
    assert min(hits.values()) >= 90, hits
    assert found.density_per_deg.value.sum() * 5 == pytest.approx(1)
    np.testing.assert_allclose(
        found.gaussian(found.mean_deg.value), 1 / (found.sigma_deg.value * math.sqrt(2 * math.pi))
    )


def test_orientation_says_when_a_gaussian_means_nothing() -> None:
    uniform = np.random.default_rng(0).uniform(-180, 180, (10, 50, 8))
    found = orientation(uniform, resamples=200)
    assert not found.identifiable
    assert found.direct_deg.value == pytest.approx(UNIFORM_SIGMA_DEG, rel=0.05)
    broad = orientation(normal_angles(0.0, 85.0, 10, 200, 8), resamples=200)
    assert not broad.identifiable
    assert "nearly uniform" in broad.reason
    single = orientation(normal_angles(0.0, 30.0, 1, 50, 8), resamples=200)
    assert "not enough statistics" in single.reason
    with pytest.raises(MeasureError, match="no pore water"):
        orientation(np.full((3, 4, 2), np.nan))


def test_field_sorts_widths_by_sweep() -> None:
    phase = 2 * np.pi * (np.arange(400) + 0.5) / 400
    field = 1.2 * np.sin(phase)
    forward = np.abs(np.cos(phase)) * np.sign(np.sin(2 * phase)) > 0
    sigma = 60 - 30 * np.abs(field) / 1.2 - np.where(forward, 0.0, 8.0)
    mean = np.where(field > 0, 0.0, 180.0)
    rng = np.random.default_rng(1)
    theta = wrap(mean[:, None] + sigma[:, None] * rng.normal(size=(10, 400, 30)))
    edges = np.linspace(0, 1.2, 7)
    for polarity in (1, -1):
        curves = sigma_against_field(theta, field, edges, polarity=polarity, resamples=100)
        for direction, lower in (("forward", 0.0), ("reverse", 8.0)):
            curve = curves[direction]
            assert len(curve.at) == 6
            assert (np.sign(curve.at) == polarity).all()
            expected = 60 - 30 * np.abs(curve.at) / 1.2 - lower
            np.testing.assert_allclose(curve.sigma_deg.value, expected, atol=2.0)
            assert (curve.sigma_deg.low < curve.sigma_deg.value).all()
        assert sum(curves[d].samples.sum() for d in curves) == 300 * 200
    assert not sigma_against_field(theta, np.full(400, 0.3), edges)


@pytest.mark.parametrize(("kind", "width"), [("decay", "direct"), ("growth", "wrapped")])
def test_relaxation_time_is_recovered(kind: str, width: str) -> None:
    t = np.arange(0, 40, 0.5)
    tau, shape = 8.0, np.exp(-t / 8.0)
    sigma = 30 + 35 * (shape if kind == "decay" else 1 - shape)
    hits = 0
    for trial in range(100):
        theta = normal_angles(0.0, sigma[:, None], 12, len(t), 7, seed=trial)
        curve = sigma_against_time(
            theta, t, bin_ps=2.0, width=width, bins=60, resamples=150, seed=trial
        )
        fit = fit_relaxation(curve, kind)
        hits += fit.tau.low <= tau <= fit.tau.high
        assert fit.identifiable, fit.reason
    assert hits >= 90


def test_relaxation_may_begin_late() -> None:
    t = np.arange(0, 60, 0.5)
    sigma = np.where(t < 20, 70.0, 30 + 40 * np.exp(-(t - 20) / 6))
    theta = normal_angles(0.0, sigma[:, None], 20, len(t), 8)
    curve = sigma_against_time(theta, t, resamples=100)
    assert len(curve.at) == len(t)
    assert (curve.samples == 160).all()
    fit = fit_relaxation(curve, "decay", start_ps=20.0)
    assert fit.tau.value == pytest.approx(6, abs=1)
    assert fit.curve(np.zeros(1))[0] == pytest.approx(70, abs=6)


def test_constant_width_is_not_identifiable() -> None:
    t = np.arange(0, 20, 0.5)
    theta = normal_angles(0.0, 40.0, 10, len(t), 8)
    fit = fit_relaxation(sigma_against_time(theta, t, resamples=200), "decay")
    assert not fit.identifiable


def test_bins_without_water_or_frames_are_refused() -> None:
    theta = normal_angles(0.0, 30.0, 2, 10, 3)
    theta[:, 4] = np.nan
    with pytest.raises(MeasureError, match="no pore water in 1 of 10 bins"):
        sigma_against_time(theta, np.arange(10.0))
    assert sigma_against_time(theta, np.arange(10.0), bin_ps=2.0).at.tolist() == [
        0.5, 2.5, 4.5, 6.5, 8.5
    ]  # fmt: skip
    with pytest.raises(MeasureError, match=r"bin_ps = 0\.5"):
        sigma_against_time(theta, np.arange(10.0), bin_ps=0.5)
    with pytest.raises(MeasureError, match="width = 'gauss'"):
        widths(np.ones(8), "gauss")  # type: ignore[arg-type]


def test_reaction_field_of_a_polarised_cylinder() -> None:
    half, radius, dipole = 0.3, 0.5, 12.0
    # Two charged discs, summed ring by ring; 1/(4πε0) in V nm/e, one debye in e nm.
    density = dipole / 48.03204 / (math.pi * radius**2 * 2 * half)
    rings = np.linspace(0, radius, 20001)
    pull = np.trapezoid(2 * math.pi * rings * half / (rings**2 + half**2) ** 1.5, rings)
    expected = -2 * 1.43996454 * density * pull
    found = reaction_field(dipole, half_length_nm=half, radius_nm=radius)
    assert found == pytest.approx(expected, rel=1e-5)
    # A wide flat slab: the whole P/ε0 opposes.
    flat = reaction_field(1.0, half_length_nm=1e-4, radius_nm=1.0)
    assert flat == pytest.approx(-0.3767303 / (math.pi * 2e-4), rel=1e-3)


def test_reaction_field_is_the_sum_over_its_dipoles() -> None:
    half, radius, step, each = 0.3, 0.5, 0.025, 0.01
    grid = np.arange(-24, 24) + 0.5  # a cubic lattice with the origin between its sites
    sites = step * np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = (np.abs(sites[:, 0]) < half) & (np.hypot(*sites[:, 1:].T) < radius)
    sites = sites[inside]

    def summed(point: np.ndarray) -> float:
        """Field along x of equal dipoles along x, V/nm."""
        away = point - sites
        r = np.linalg.norm(away, axis=1)
        kept = r > 1e-9
        shape = (3 * away[kept, 0] ** 2 / r[kept] ** 2 - 1) / r[kept] ** 3
        return 1.43996454 / 48.03204 * each * float(shape.sum())

    region = {
        "half_length_nm": half,
        "radius_nm": math.sqrt(len(sites) * step**3 / (0.6 * math.pi)),
    }
    total = each * len(sites)
    for x in (0.4, 0.6, 1.0, -0.7):  # outside, in the dipoles' own direction
        found = float(reaction_field(total, x_nm=x, **region))
        assert found > 0
        assert found == pytest.approx(summed(np.array([x, 0.0, 0.0])), rel=5e-3)
    # Inside, where the lattice lies evenly around the point, the sum is the macroscopic
    # field and Lorentz's P/3ε0.
    lorentz = 0.3767303 * float(polarisation(total, **region)) / 3
    for x in (0.0, 0.1, -0.15):
        here = np.array([x, 0.0, 0.0])
        found = float(reaction_field(total, x_nm=x, **region))
        assert found < 0
        assert summed(here) == pytest.approx(found + lorentz, rel=2e-2)


def test_polarisation_is_dipole_per_volume() -> None:
    found = polarisation([[2.0, -4.0]], half_length_nm=0.5, radius_nm=1.0)
    np.testing.assert_allclose(found, [[2 / math.pi, -4 / math.pi]])


def test_a_width_that_lags_follows_the_exact_solution() -> None:
    """A ramp σ∞ = a + bt is followed τ b behind; one that jumps is reached exponentially."""
    t = np.linspace(0.0, 60.0, 6001)
    ramp = np.stack([100 - 0.5 * t, 20 + 0.5 * t])
    lagging = lagging_width(t, ramp, np.full_like(ramp, 2.0), np.full_like(ramp, 7.0))
    exact = ramp + np.array([[1.0], [-3.5]]) * (1 - np.exp(-t / np.array([[2.0], [7.0]])))
    assert lagging == pytest.approx(exact, abs=0.01)
    late = t >= 30
    jump = np.where(late, 20.0, 80.0)
    fell = lagging_width(t, jump, np.full_like(t, 3.0), np.full_like(t, 9.0))
    assert fell[late] == pytest.approx(20 + 60 * np.exp(-(t[late] - 30) / 3.0), rel=0.01)
    rose = lagging_width(t, 100 - jump, np.full_like(t, 3.0), np.full_like(t, 9.0))
    assert rose[late] == pytest.approx(80 - 60 * np.exp(-(t[late] - 30) / 9.0), rel=0.01)


def test_slow_sweeps_differ_by_both_time_constants_times_the_slope() -> None:
    period, up, down = 4000.0, 2.0, 6.0
    t = np.linspace(0.0, 1.5 * period, 48001)
    settled = 100 - 60 * np.abs(np.sin(2 * np.pi * t / period))
    width = lagging_width(t, settled, np.full_like(t, up), np.full_like(t, down))
    rising, falling = (np.searchsorted(t, period * x) for x in (1 + 1 / 8, 1 + 3 / 8))
    slope = 60 * 2 * np.pi / period * math.sqrt(0.5)
    assert width[rising] - settled[rising] == pytest.approx(up * slope, rel=0.01)
    assert width[falling] - settled[falling] == pytest.approx(-down * slope, rel=0.02)
