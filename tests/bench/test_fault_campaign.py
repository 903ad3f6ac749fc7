"""A small sample of the fault campaign; ``make faults`` plays the whole."""

import pytest

import faults

pytestmark = pytest.mark.gromacs


def test_an_ensemble_survives_a_sample_of_all_faults() -> None:
    tally = faults.play(8, seed=5, replicas=2, per_ensemble=8)
    assert sum(tally.faults.values()) == 8
    assert tally.series_compared >= 2 * 5
    assert tally.passed, tally.summary()


def test_the_campaign_notices_a_wrong_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it could not fail."""
    profile = faults.ensemble_profile(1)
    changed = profile.model_dump()
    changed["protocols"]["pairs"]["waveform"]["pulse_V_per_nm"] = 0.6
    real = faults.Campaign.start

    def other(campaign: faults.Campaign) -> object:
        campaign.profile = faults.Profile(**changed)
        return real(campaign)

    monkeypatch.setattr(faults.Campaign, "start", other)
    tally = faults.play(1, seed=1, replicas=1, kinds=["sigterm"])
    assert tally.series_wrong
    assert not tally.passed
