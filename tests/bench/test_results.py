"""The page that the benchmarks write, and their arithmetic."""

import json
from pathlib import Path

import pytest

import compare
import results


def test_a_ratio_is_of_measurements_made_in_turns() -> None:
    seen = []
    measured = compare.turns(
        3, {name: lambda n=name: float(len(seen) + bool(seen.append(n))) for name in "ab"}
    )
    assert "".join(seen) == "ababab"
    assert measured == {"a": [0.0, 2.0, 4.0], "b": [1.0, 3.0, 5.0]}
    assert compare.ratio([2.0, 4.0, 30.0], [1.0, 2.0, 5.0]) == "2.00 (2.00 to 6.00)"


def test_what_is_kept_becomes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "HERE", tmp_path)
    monkeypatch.setattr(results, "KEPT", tmp_path / "results")
    group = {"title": "Speed", "text": "Of things.", "head": ("a", "b"), "rows": [("x", "1.5")]}
    results.keep("throughput", {"quick": True, "groups": [group]})
    kept = json.loads((tmp_path / "results" / "throughput.json").read_text())
    assert {"date", "commit", "machine"} <= set(kept)
    text = (tmp_path / "RESULTS.md").read_text()
    assert (
        "## Speed (quick: short runs)\n\nOf things.\n\n| a | b   |\n| - | --- |\n| x | 1.5 |"
        in text
    )
    assert kept["date"] in text
    assert ("unreliable" in text) == (float(kept["machine"]["other work"][:-2]) > results.BUSY)
    with pytest.raises(ValueError, match="not JSON compliant"):
        results.keep("tree", {"quick": True, "groups": [], "data": float("nan")})
    assert (tmp_path / "RESULTS.md").read_text() == text


def test_results_that_are_shipped_are_those_of_the_page() -> None:
    assert (results.HERE / "RESULTS.md").read_text(encoding="utf-8") == results.page()
