"""Verdicts follow from intervals and samples; published numbers are those of the paper."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from janus_pore import spec
from janus_pore.errors import MissingInputError
from janus_pore.measure.statistics import Estimate
from janus_pore.show import scorecard
from janus_pore.show.scorecard import decided, judge, row, together

DEMO = spec.load_profile("demo")
TINY = spec.load_profile("tiny")


def estimate(value=1.0, low=0.9, high=1.1, n=10):
    return Estimate(value, low, high, n, "bootstrap over replicas")


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RESULTS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("region", "verdict"),
    [
        ((0.0, math.inf), "reproduced"),
        ((0.9, 1.1), "reproduced"),
        ((-math.inf, 0.0), "not reproduced"),
        ((1.2, 1.5), "not reproduced"),
        ((1.0, 2.0), "not enough statistics"),
        ((0.0, 1.05), "not enough statistics"),
    ],
)
def test_the_whole_interval_decides(region, verdict):
    assert judge("x", estimate(), region, DEMO).verdict == verdict


@pytest.mark.parametrize(
    "poor",
    [
        estimate(n=scorecard.LEAST_INDEPENDENT - 1),
        estimate(low=math.nan),
        estimate(high=math.inf),
        estimate(value=math.nan),
    ],
)
def test_too_little_is_never_a_verdict(poor):
    assert judge("x", poor, (-10.0, math.inf), DEMO).verdict == "not enough statistics"


def test_five_independent_samples_are_enough():
    for n, verdict in ((4, "not enough statistics"), (5, "reproduced")):
        assert judge("x", estimate(n=n), (0.0, math.inf), DEMO).verdict == verdict


def test_a_test_of_its_own_still_needs_samples():
    few = estimate(n=scorecard.LEAST_INDEPENDENT - 1)
    assert decided("x", few, True, DEMO).verdict == "not enough statistics"
    assert decided("x", estimate(low=math.nan), False, DEMO).verdict == "not reproduced"
    assert decided("x", estimate(), None, DEMO).verdict == "not enough statistics"


def test_tiny_never_reproduces_nor_refutes():
    point = TINY.model_copy(update={"name": "amplitude_V_per_nm=0.6"})
    for one in (TINY, point):
        for region in ((0.0, math.inf), (5.0, 6.0)):
            assert judge("x", estimate(n=1000), region, one).verdict == "not enough statistics"
        for holds in (True, False):
            assert decided("x", estimate(n=1000), holds, one).verdict == "not enough statistics"


def test_all_parts_must_hold():
    assert together(["reproduced", "reproduced"]) == "reproduced"
    assert together(["reproduced", "not enough statistics"]) == "not enough statistics"
    assert together(["not enough statistics", "not reproduced"]) == "not reproduced"
    assert together([]) == "not evaluated in this run"


def test_a_row_says_value_interval_and_samples():
    parts = [judge("τf", estimate(8.04, 7.41, 8.71), (6.0, 10.0), DEMO, unit="ps")]
    one = row(17, parts, estimator="box", run="ppf")
    assert one.found == "τf: 8.0 [7.4, 8.7] ps (n = 10)"
    assert one.verdict == "reproduced"
    assert one.run == "ppf"
    assert "8 ps" in one.published


def test_numbers_carry_as_many_digits_as_their_interval():
    assert scorecard.describe(estimate(-0.01234, -0.01334, -0.01134)) == (
        "−0.0123 [−0.0133, −0.0113] (n = 10)"
    )
    assert scorecard.describe(estimate(2.0, 1.0, 3.0, 2)) == "2.0 (n = 2)"
    near = scorecard.describe(estimate(0.04, -0.001, 0.12))
    assert near.startswith("0.04 [0.00, 0.12]")
    assert scorecard.describe(estimate(2.0, -math.inf, math.inf, 9)) == "2.0 [no bounds] (n = 9)"
    assert scorecard.describe(estimate(math.nan, math.nan, math.nan, 0)) == (
        "not determined (n = 0)"
    )


def test_there_are_21_claims_each_with_its_notebook():
    claims = scorecard.claims()
    assert [c.id for c in claims] == list(range(1, 22))
    assert {c.id for c in claims if c.control} == {*range(1, 6), *range(12, 21)}
    assert scorecard.claim(17).values == {"ratio_first": 3.1, "ratio_last": 1.2, "tau_ps": 8.0}
    assert scorecard.claim(2).values["onset_V_per_nm"] == -1.0


def test_charge_sets_of_fig_4_exist():
    from janus_pore.build.forcefield import load_forcefield

    named = {c.id: c.values["charge_set"] for c in scorecard.claims() if "charge_set" in c.values}
    sets = load_forcefield().charge_sets
    stated = {12: (-0.53, 1.06, -0.53), 13: (-0.35, 1.06, -0.71), 14: (0, 0, 0),
              15: (-0.59, 1.18, -0.59)}  # fmt: skip
    for number, (minus, metal, plus) in stated.items():
        charges = sets[named[number]].charges_e
        assert (charges["minus"], charges["metal"], charges["plus"]) == (minus, metal, plus)


def test_table_1_implies_the_distances():
    assert scorecard.implied_distance_nm("published") == pytest.approx(
        [0.083, 0.085, 0.065, 0.070], abs=1e-3
    )
    assert scorecard.implied_distance_nm("manuscript") == pytest.approx(
        [0.24, 0.22, 0.22], abs=6e-3
    )


def test_both_versions_of_table_1_are_whole():
    for version, columns in (("published", 6), ("manuscript", 3)):
        table = scorecard.reference("table1.yaml")[version]
        n = len(table["field_V_per_nm"])
        assert len(table["parts_kJ_per_mol"]) == columns
        assert {len(v) for v in table["parts_kJ_per_mol"].values()} == {n}
        assert len(table["total_kJ_per_mol"]) == n
    # parts and totals of one row each, so that no column is shifted
    published = scorecard.reference("table1.yaml")["published"]
    parts = [v[3] for v in published["parts_kJ_per_mol"].values()]
    assert parts == [16.54, 32.22, 3.92, -21.97, -0.00035, -19.1]
    assert np.sum(parts) == pytest.approx(11.60965)


def test_rows_are_kept_and_collected_with_the_rest_not_evaluated(results):
    rows = [
        row(1, [judge("onset", estimate(), (0, 2), DEMO)], estimator="box"),
        row(1, [judge("onset", estimate(), (2, 3), DEMO)], estimator="pore"),
    ]
    path = scorecard.write(scorecard.complete(rows, "03_iv_ndr"), DEMO, "03_iv_ndr")
    assert path == results / "demo" / "scorecard_03_iv_ndr.json"
    assert json.loads(path.read_text())["rows"][0]["verdict"] == "reproduced"
    everything = scorecard.collect(DEMO)
    assert sorted({r.id for r in everything}) == list(range(1, 22))
    assert len(everything) == 22
    counts = scorecard.count(everything)
    assert (counts[scorecard.MIXED], counts["not evaluated in this run"]) == (1, 20)
    assert sum(counts.values()) == 21


def test_a_claim_is_counted_once_by_what_decides():
    few = judge("x", estimate(n=2), (0, 2), DEMO)
    holds, fails = judge("x", estimate(), (0, 2), DEMO), judge("x", estimate(), (2, 3), DEMO)
    rows = [
        row(1, [holds], control=[holds]), row(1, [holds], control=[holds]),
        row(2, [holds], control=[holds]), row(2, [holds], control=[fails]),
        row(3, [holds], control=[holds]), row(3, [fails]),
        row(4, [fails], control=[fails]), row(4, [few]), row(5, [holds]),
        row(6, [few]), row(6, []), row(7, []), row(8, [holds], control=[holds]), row(8, [few]),
    ]  # fmt: skip
    assert scorecard.count(rows) == {
        "reproduced": 2, scorecard.SHARED: 2, scorecard.MIXED: 1, "not reproduced": 1,
        "not enough statistics": 1, "not evaluated in this run": 1,
    }  # fmt: skip


def test_what_the_control_says_follows_from_the_same_test():
    holds, fails = judge("x", estimate(), (0, 2), DEMO), judge("x", estimate(), (2, 3), DEMO)
    unsure = judge("x", estimate(), (1, 2), DEMO)
    said = {
        (a.verdict, b.verdict): row(4, [a], control=[b], control_run="sine").control
        for a in (holds, fails, unsure)
        for b in (holds, fails, unsure)
    }
    assert said[holds.verdict, fails.verdict] == "only the pore"
    assert said[holds.verdict, holds.verdict] == "the control shows it too"
    assert said[fails.verdict, holds.verdict] == "only the control"
    assert said[fails.verdict, fails.verdict] == "neither shows it"
    assert list(said.values()).count("not enough statistics") == 5
    assert row(4, [holds]).control == "not run"
    assert row(9, [holds]).control == ""  # not about a current
    named = [h._replace(name=f"area E {sign} 0") for h, sign in ((holds, ">"), (fails, "<"))]
    lines = scorecard.as_html([row(4, named)])
    assert re.search(r"area E &gt; 0: [^;]*;<br>area E &lt; 0: ", lines)
    text = scorecard.as_html([row(4, [holds], control=[fails], control_run="sine")])
    assert "only the pore" in text
    assert "x: 1.0" in row(4, [holds], control=[fails]).control_found


def test_each_row_names_the_system_that_it_came_from(results):
    rows = [
        row(4, [judge("x", estimate(), (0, 2), DEMO)], run="sine, replica 0",
            control=[judge("x", estimate(), (2, 3), DEMO)], control_run="sine, replica 0"),
        row(9, [], run="sine"),
    ]  # fmt: skip
    judged, empty = (scorecard.of_system(r, DEMO) for r in rows)
    assert re.fullmatch(r"mosse-hollow6-[0-9a-f]{8}", judged.system)
    assert re.fullmatch(r"mosse-none-[0-9a-f]{8}", judged.control_system)
    assert (empty.system, empty.control_system) == ("", "")
    scorecard.write([judged], DEMO, "03_iv_ndr")
    whole = json.loads(scorecard.write_whole(DEMO, {"03_iv_ndr": "a finding"}, "abc").read_text())
    assert whole["findings"] == {"03_iv_ndr": "a finding"}
    assert {r["id"] for r in whole["rows"]} == set(range(1, 22))
    assert whole["rows"][3]["system"] == judged.system
    assert whole["verdicts"]["reproduced"] == 1


def test_scorecards_of_another_system_are_kept_apart(results):
    mine = [row(4, [judge("x", estimate(), (0, 2), DEMO)], run="sine")]
    scorecard.write(mine, DEMO, "03_iv_ndr")
    path = scorecard.write([], DEMO.with_charge_set("mos2"), "03_iv_ndr")
    assert path == results / "demo" / "mos2" / "scorecard_03_iv_ndr.json"
    assert sum(r.verdict == "reproduced" for r in scorecard.collect(DEMO)) == 1
    with pytest.raises(MissingInputError):
        scorecard.collect(DEMO.without_pore())


def test_a_missing_scorecard_says_what_makes_it():
    with pytest.raises(MissingInputError, match=r"janus_pore\.show\.report --profile reduced"):
        scorecard.collect(spec.load_profile("reduced"))


def test_a_claim_under_several_estimators_is_stated_once():
    rows = [scorecard.Row(3, "1B", "pinched", "yes", estimator=e) for e in ("box", "pore")]
    text = scorecard.as_html(rows)
    assert text.count("pinched") == 1
    assert text.count("<tr>") == 3
    assert text.count('rowspan="2"') == 4


def test_the_table_is_escaped_and_says_verdicts_in_words():
    one = scorecard.Row(9, "2C", "a < b", "yes", "<script>", "not reproduced", run="sine")
    text = scorecard.as_html([one])
    assert "a &lt; b" in text
    assert "<script>" not in text
    assert "✕ not reproduced" in text


def test_differences_from_the_published_conditions_are_named():
    found = scorecard.differences(DEMO, "sine")
    assert "frequency_GHz = 8 (published 0.2)" in found
    assert "replicas = 1 (published 10)" in found
    assert "5 nm" in found
    assert scorecard.differences(spec.load_profile("paper"), "sine") == ""
    assert "replicas = 3 (" in scorecard.differences(DEMO, "sine", 3)
    paper = spec.load_profile("paper")
    for change, said in (
        ({"system.pore": "hollow12"}, "pore = hollow12 (profile paper: hollow6)"),
        ({"system.charge_set": "mos2"}, "charge_set = mos2 (profile paper: mosse)"),
        ({"system.charges_e": (0.2, -0.1, -0.1)}, "charges_e = (0.2, -0.1, -0.1) ("),
        ({"system.concentration_M": 0.1}, "concentration_M = 0.1 (profile paper: 1)"),
        ({"system.cutoff_nm": 0.9}, "cutoff_nm = 0.9 ("),
        ({"run.temperature_K": 350.0}, "temperature_K = 350 (profile paper: 300)"),
        ({"run.pore_radius_nm": 0.3}, "pore_radius_nm = 0.3 ("),
        ({"run.variant": "gpu_fast", "system.membrane": "restrained"}, "variant = gpu_fast ("),
    ):
        assert said in scorecard.differences(spec.load_profile("paper", change), paper.sweep)
    assert scorecard.differences(spec.load_profile("paper", {"system.seed": 2}), "sine") == ""
    pulses = scorecard.differences(DEMO, "ppd")
    assert "width_ps = 2 (not published; profile paper: 5)" in pulses


@pytest.mark.parametrize(
    ("low", "high", "region", "verdict"),
    [
        (0.1, 0.3, (0.0, np.inf), "reproduced"),
        (0.0, 0.0, (0.0, np.inf), "not reproduced"),
        (-0.2, 0.0, (0.0, np.inf), "not reproduced"),
        (0.0, 0.3, (0.0, np.inf), "not enough statistics"),
        (-0.3, -0.1, (-np.inf, 0.0), "reproduced"),
        (0.0, 0.0, (-np.inf, 0.0), "not reproduced"),
        (0.0, 0.0, (-0.25, 0.25), "reproduced"),
    ],
)
def test_zero_has_no_sign(low, high, region, verdict):
    one = Estimate((low + high) / 2, low, high, 10, "by hand")
    assert scorecard.judge("a number", one, region, spec.load_profile("reduced")).verdict == verdict
