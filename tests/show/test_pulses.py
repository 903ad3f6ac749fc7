"""Injected truth about pulses: pairs, trains, and what the control says."""

from __future__ import annotations

import numpy as np
import pytest
from made import DEMO, paired, pulse_train, verdicts

from janus_pore import spec
from janus_pore.errors import MeasureError, MissingInputError
from janus_pore.show import figures, pulses, results

REDUCED = spec.load_profile("reduced")
NOTHING = pulses.Pulsed(REDUCED.without_pore(), {}, "not run")


def pulsed(profile, **data):
    return pulses.Pulsed(profile, data)


def test_one_pulse_is_no_pair():
    one = REDUCED.protocol("ppf").waveform.model_copy(update={"pulses": 1})
    protocols = {"ppf": REDUCED.protocol("ppf").model_copy(update={"waveform": one})}
    profile = REDUCED.model_copy(update={"protocols": protocols})
    with pytest.raises(MeasureError, match=r"pulses = 1 in protocol 'ppf'.*; set pulses to 2"):
        pulses.pairs(pulsed(profile, ppf={}), "ppf")


def test_two_pairs_of_one_delay_are_refused():
    pair = REDUCED.protocol("ppf")
    twice = pair.model_copy(update={"scan": {"width_ps": (5.0, 10.0)}})
    profile = REDUCED.model_copy(update={"protocols": {"ppf": twice}})
    data = dict.fromkeys(twice.waveforms())
    with pytest.raises(MeasureError, match=r"of the same delay_ps, .*; scan nothing but delay_ps"):
        pulses.pairs(pulsed(profile, ppf=data), "ppf")


def test_replicas_are_counted_for_each_system():
    found = pulsed(REDUCED, ppf=paired(REDUCED, "ppf", lambda d: 1.0 + 0.0 * d))
    assert found.replicas == {"ppf": 20}
    said = "; intervals: 95 % bootstrap, from three replicas on"
    assert pulses.counted({"a": found, "b": NOTHING}) == f"replicas a: 20 ppf; b: none{said}"
    assert pulses.counted({"a": found}, pulses.TRAINS) == f"replicas a: none{said}"


def test_ratios_and_memory_times_are_recovered():
    truth = {
        "ppf": lambda d: 1.2 + 2.0 * np.exp(-d / 8.0),
        "ppd": lambda d: 0.2 + 0.8 * (1 - np.exp(-d / 7.5)),
    }
    found = pulsed(REDUCED, **{p: paired(REDUCED, p, truth[p]) for p in truth})
    for protocol, one in pulses.all_pairs(found).items():
        assert (np.diff(one.x_ps) > 0).all()
        for curve in one.curves().values():
            assert curve.value == pytest.approx(truth[protocol](curve.x), rel=0.15)
    rows = pulses.claims_of_pairs(found, NOTHING)
    for number in (17, 18):
        assert set(verdicts(rows, number).values()) == {"reproduced"}
    assert {r.control for r in rows} == {"not run"}
    assert {r.run for r in rows} == {"ppf, replicas 0 to 19", "ppd, replicas 0 to 19"}
    fit = pulses.memory_times(pulses.pairs(found, "ppf"), "ppf")["box"]
    assert fit.tau.low < 8.0 < fit.tau.high
    table = pulses.fit_rows({"with the pore": found})
    assert [r[-1] for r in table] == ["yes"] * 6


def test_the_control_is_put_to_the_same_test():
    def memory(d):
        return 1.2 + 2.0 * np.exp(-d / 8.0)

    found = pulsed(REDUCED, ppf=paired(REDUCED, "ppf", memory))
    alone = REDUCED.without_pore()
    for ratio_of, said in (
        (memory, "the control shows it too"),
        (lambda d: 0.5 + 0.0 * d, "only the pore"),
    ):
        control = pulsed(alone, ppf=paired(alone, "ppf", ratio_of, seed=6))
        rows = pulses.claims_of_pairs(found, control)
        assert {r.control for r in rows} == {said}
        assert all("I1/I0 after 1 ps" in r.control_found for r in rows)
    silent = control.data["ppf"]
    for data in silent.values():
        data["charge"].loc[{"estimator": ["pore", "crossings"]}] = 0.0
    rows = pulses.claims_of_pairs(found, pulsed(alone, ppf=silent))
    assert {r.estimator for r in rows if r.control == "only the pore"} == {
        "box",
        "pore",
        "crossings",
    }
    assert pulses.claims_of_pairs(control, pulsed(alone)) == []
    words = pulses.finding(found, control)
    assert words.startswith("Facilitation (PPF), whole-box current, pause of 1 ps: I1/I0 = 2.9")
    assert "0.5" in words.split(" with the pore")[1]
    assert pulses.finding(found, NOTHING).endswith("the membrane without a pore: not run.")


def test_ions_that_cross_while_the_field_is_prepared_are_told_apart():
    trains = {p: pulse_train(REDUCED, p, lambda n: 1.0 + 0 * n) for p in ("stf", "std")}
    for data in trains.values():
        data["charge"].loc[{"estimator": "crossings"}] = 0.0
    prepared = REDUCED.protocol("stf").waveform.prepare_ps
    time = trains["stf"]["time"].values
    through = trains["stf"]["charge"].loc[{"estimator": "crossings"}]
    through[0, 0] = 1.0 * (time > prepared / 2)
    through[1, 1] = 1.0 * (time > prepared / 2)
    of = {p: {next(iter(REDUCED.protocol(p).waveforms())): trains[p]} for p in trains}
    words = pulses.finding(pulsed(REDUCED, **of), NOTHING)
    assert "middle plane not once from the first pulse on, and 2 times while" in words
    through[2, 0] = 1.0 * (time > prepared + 1)
    words = pulses.finding(pulsed(REDUCED, **of), NOTHING)
    assert "middle plane 1 times from the first pulse on, and 2 times while" in words


def test_ions_that_sit_in_the_pore_and_go_with_a_pulse_are_counted():
    made = paired(DEMO, "ppd", lambda d: 1.0)
    found = pulsed(DEMO, ppd=made)
    first = DEMO.protocol("ppd").waveform.width_ps
    for data in made.values():
        data["charge"].loc[{"estimator": "crossings"}] = 0.0
    assert {row[2:] for row in pulses.ion_rows(found)} == {
        ("none in 20 replicas",) * 2 + ("none",) * 2
    }
    assert "middle plane" not in pulses.finding(found, NOTHING)
    for label, train in found.trains("ppd").items():
        data = made[label]
        time, through = data["time"].values, data["charge"].loc[{"estimator": "crossings"}]
        again = first + train.delay_ps
        data["ions_in_pore"].loc[{"species": "Cl"}][:15] = 1 * (time < 1.0)
        data["ions_in_pore"].loc[{"species": "K"}][:2] = 1 * (time > again - 0.05)
        through[:15, 1] = 1.0 * (time > 1.0)  # Cl- against x carry current along it
        through[15, 1] = 1.0 * ((time > 1.0) & (time < 2.0))  # one that comes back
        through[:2, 0] = -1.0 * (time > again + 1.0)
    assert {row[2:] for row in pulses.ion_rows(found)} == {
        ("15 Cl⁻ in 20 replicas", "2 K⁺ in 20 replicas", "15 Cl⁻", "−2 K⁺")
    }
    assert "15 Cl⁻ in the first pulse and −2 K⁺ in the second" in pulses.finding(found, NOTHING)


def test_a_first_current_against_its_field_is_no_ground_for_a_ratio():
    found = pulsed(REDUCED, ppf=paired(REDUCED, "ppf", lambda d: 1.2 + 2 * np.exp(-d / 8), sign=-1))
    rows = pulses.claims_of_pairs(found, NOTHING)
    assert {r.verdict for r in rows} == {"not reproduced"}
    assert all(r.found.startswith("I0: −") for r in rows)


def test_two_delays_give_ratios_but_no_time():
    found = pulsed(DEMO, ppf=paired(DEMO, "ppf", lambda d: 2.0))
    assert pulses.memory_times(pulses.pairs(found, "ppf"), "ppf") == {}
    rows = pulses.claims_of_pairs(found, NOTHING)
    assert {r.id for r in rows} == {17}
    assert all(r.verdict != "reproduced" for r in rows)
    assert "I1/I0 after 1 ps: 2.0" in rows[0].found
    assert all("fewer than 4 delays" in r[-1] for r in pulses.fit_rows({"": found}))
    assert len(pulses.pair_rows({"": found})) == 6


def test_where_nothing_ever_flows_one_row_says_so():
    made = paired(DEMO, "ppf", lambda d: 2.0)
    for data in made.values():
        data["charge"].loc[{"estimator": "crossings"}] = 0.0
    rows = pulses.pair_rows({"": pulsed(DEMO, ppf=made)})
    assert len(rows) == 2 + 2 + 1
    assert [r for r in rows if "0 in each of" in r[4]] == [rows[-1]]
    assert rows[-1][2:4] == ("each", "mid-plane crossings")


def test_a_pulse_trace_is_the_mean_current():
    data = paired(DEMO, "ppf", lambda d: 2.0)
    label, train = pulses.shortest_delay(pulsed(DEMO, ppf=data), "ppf")
    assert label == "delay_ps=1"
    assert DEMO.field_scale != 1
    data[label]["field"][:] = DEMO.field_scale * train.pulse_V_per_nm
    field, curves = pulses.pulse_current(data[label], train, DEMO)
    assert field == pytest.approx(train.pulse_V_per_nm)
    box = curves["box"]
    assert field.shape == data[label]["time"].shape
    second = box.x > train.prepare_ps + train.width_ps + train.delay_ps + 1
    assert box.value[second].mean() == pytest.approx(8.0, rel=0.1)  # both ions, twice 2 nA


def test_width_from_a_scan_or_from_parts_of_the_pulse():
    def of_width(w):
        return 1.0 + 0.3 * w

    scanned = paired(REDUCED, "ppf_width", of_width, by="width_ps")
    plain = paired(REDUCED, "ppf", lambda d: 2.0)
    one, how = pulses.by_width(pulsed(REDUCED, ppf=plain, ppf_width=scanned), "ppf")
    assert one.x_ps.tolist() == [2.0, 5.0, 10.0]
    assert one.curves()["box"].value == pytest.approx(of_width(one.x_ps), rel=0.1)
    assert how == "pulses of each width, Δt = 5 ps"
    one, how = pulses.by_width(pulsed(REDUCED, ppf=plain), "ppf")
    assert one.x_ps.tolist() == [1.25, 2.5, 3.75, 5.0]
    assert one.curves()["box"].value == pytest.approx(np.full(4, 2.0), rel=0.15)
    assert how == "first part of 5 ps pulses, Δt = 1 ps"


def saturating(n):
    return 4.0 - 3.0 * np.exp(-n / 2.0)


def decaying(n):
    return np.exp(-n / 1.5)


def trains(profile, stf, std, *, widths=(40.0, 40.0)):
    return pulsed(
        profile,
        stf={"pulse_train": pulse_train(profile, "stf", stf, widths[0], seed=1)},
        std={"pulse_train": pulse_train(profile, "std", std, widths[1], seed=2)},
    )


def rising(n):
    return 35.0 + 2.0 * n


def sinking(n):
    return 60.0 - 2.0 * n


def test_trains_are_recovered_and_judged():
    found = trains(REDUCED, saturating, decaying, widths=(rising, sinking))
    control = trains(REDUCED.without_pore(), lambda n: 1.0 + 0 * n, decaying)
    number = np.arange(10)
    for protocol, truth in (("stf", saturating), ("std", decaying)):
        for curve in pulses.train(found, protocol).curves().values():
            assert curve.x.tolist() == list(range(1, 11))
            assert curve.value == pytest.approx(truth(number), abs=0.2)
    rows = pulses.claims_of_trains(found, control)
    for claim in (19, 20, 21):
        assert set(verdicts(rows, claim).values()) == {"reproduced"}, claim
    assert {r.control for r in rows if r.id == 19} == {"only the pore"}
    assert {r.control for r in rows if r.id == 20} == {"the control shows it too"}
    shown = pulses.spreads(found)
    assert shown["stf"].by_pulse.value == pytest.approx(rising(number), rel=0.1)
    assert shown["std"].by_pulse.value == pytest.approx(sinking(number), rel=0.1)
    assert shown["stf"].in_time.x[-1] < found.data["stf"]["pulse_train"].time[-1]
    assert pulses.spreads(control) == {}


def test_trains_that_do_otherwise_refute():
    found = trains(
        REDUCED, lambda n: 1.0 + 0.5 * n, lambda n: 1.0 - 0.04 * n, widths=(sinking, rising)
    )
    rows = pulses.claims_of_trains(found, NOTHING)
    for claim in (19, 20, 21):
        assert set(verdicts(rows, claim).values()) == {"not reproduced"}, claim


def test_a_train_that_still_rises_has_not_saturated():
    found = trains(REDUCED, lambda n: 1.0 + 0.4 * n, decaying)
    (parts,) = {
        r.found
        for r in pulses.claims_of_trains(found, NOTHING)
        if r.estimator == "box" and r.id == 19
    }
    ratio = (1.0 + 0.4 * np.arange(7, 10)).mean() / (1.0 + 0.4 * np.arange(4, 7)).mean()
    assert f"last 3 of 10 pulses over those before: {ratio:.2f}"[:-1] in parts
    assert ratio > pulses.STILL_RISING


def test_a_short_train_decides_nothing():
    found = trains(DEMO, lambda n: 4.0 + 0 * n, decaying)
    rows = [r for r in pulses.claims_of_trains(found, NOTHING) if r.id in (19, 20)]
    assert {r.verdict for r in rows} == {"not enough statistics"}
    assert all("last 1 of 4 pulses" in r.found for r in rows)


def test_what_was_not_run_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    with pytest.raises(MissingInputError):
        pulses.pulsed(DEMO)
    assert pulses.pulsed_if_run(DEMO).why == "not run yet"
    no_control = DEMO.without_pore().without_pore()
    assert pulses.pulsed_if_run(no_control).why == "not run in this profile"
    shipped = DEMO.model_copy(update={"source": "campaign"})
    with pytest.raises(MissingInputError, match="no results of 'ppf' ship"):
        pulses.pulsed(shipped)
    systems = {"with": pulses.Pulsed(DEMO, {"ppf": {}}), "without": NOTHING}
    whys = pulses.lacking(systems, ["ppf", "ppd"])
    assert list(whys.values()) == ["", "not run yet", "not run", "not run"]
    assert list(whys)[3] == "depression (PPD) without"


def test_the_pairs_that_ship_are_taken_as_far_as_they_are_there(monkeypatch):
    """Depression only, as if it had been shipped with the pore and not without."""
    profile = spec.load_profile("campaign", {"source": "campaign"})
    data = paired(profile, "ppd", lambda delay: 1 - 0.5 * np.exp(-delay / 8))

    def opened(of, protocol):
        there = of.source == "campaign" and of.system.pore != "none" and protocol == "ppd"
        return results.Opened(data if there else {}, "" if there else "not there")

    monkeypatch.setattr(results, "opened", opened)
    monkeypatch.setattr(pulses, "opened", opened)
    found, name = pulses.shipped(pulses.Pulsed(DEMO, {}))
    assert name == "shipped (campaign): ppd, replicas 0 to 19, pulses of 5 ps, 10 × 6 cells"
    assert pulses.all_pairs(found)["ppd"].x_ps.tolist() == [
        1, 2, 4, 8, 11, 16, 23, 32,
    ]  # fmt: skip
    assert pulses.shipped(pulses.Pulsed(DEMO.without_pore(), {}))[1] == ""
    assert list(pulses.pulsed(profile).data) == ["ppd"]


def test_pulses_the_other_way_are_judged_alike():
    """Fields and currents turned round: what is along the field still is."""
    train = REDUCED.protocol("ppf")
    back = train.waveform.model_copy(update={"pulse_V_per_nm": -0.7, "delay_V_per_nm": -0.5})
    turned = REDUCED.model_copy(
        update={"protocols": {"ppf": train.model_copy(update={"waveform": back})}}
    )

    def memory(d):
        return 1.2 + 2.0 * np.exp(-d / 8.0)

    for profile, sign in ((REDUCED, 1), (turned, -1)):
        found = pulsed(profile, ppf=paired(profile, "ppf", memory, sign=sign))
        rows = pulses.claims_of_pairs(found, NOTHING)
        assert {r.verdict for r in rows} == {"reproduced"}


def test_a_profile_without_pulses_is_refused_in_words():
    none = REDUCED.model_copy(update={"protocols": {"sine": REDUCED.protocol("sine")}})
    with pytest.raises(MeasureError, match=r"'reduced' has no pulses; .* \(it has sine\)"):
        pulses.pulsed(none)
    # trains alone: no pairs to show
    assert "no pairs" in figures.ratio_by_width({}).texts[0].get_text()


@pytest.mark.parametrize(
    ("protocol", "message"),
    [("ppf", "draws only delay_ps; move"), ("std", "draws nothing; move")],
)
def test_a_scan_that_the_figure_has_no_axis_for_is_refused(protocol, message):
    one = REDUCED.protocol(protocol)
    scan = {**one.scan, "pulse_V_per_nm": (0.5, 0.7)}
    wide = {**REDUCED.protocols, protocol: one.model_copy(update={"scan": scan})}
    profile = REDUCED.model_copy(update={"protocols": wide})
    with pytest.raises(MeasureError, match=rf"'{protocol}'.* scans pulse_V_per_nm, .*{message}"):
        pulses.pulsed(profile)
