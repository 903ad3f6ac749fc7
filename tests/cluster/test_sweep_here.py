"""A sweep on this machine: killed twice, with points that cannot be built."""

import csv

import pytest
from sweeping import Finished, checksums, done, start

pytestmark = pytest.mark.gromacs


def test_every_point_is_done_once(on_this_machine: Finished) -> None:
    first, second = on_this_machine.at_kills
    assert first
    assert len(second) > len(first)
    end = done(on_this_machine.folder)
    for before in (first, second):  # kept as it was, not made again
        assert {path: end.get(path) for path in before} == before
    assert len(checksums(on_this_machine.folder)) == 2


def test_a_point_that_fails_is_reported_and_the_others_go_on(on_this_machine: Finished) -> None:
    assert on_this_machine.status == 1
    folder = on_this_machine.folder / "results" / "sweeps" / "both"
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    failed = [row for row in rows if row["status"] == "failed"]
    assert {row["charge_set"] for row in failed} == {"nosuch"}
    assert len(failed) == 2
    assert all("SpecError: " in row["error"] and "nosuch" in row["error"] for row in failed)
    of_a_point = [
        row for row in rows if row["status"] == "done" and row["amplitude_V_per_nm"] == "1.2"
    ]
    assert {row["charge_set"] for row in of_a_point} == {"mosse"}
    quantities = {(row["quantity"], row["estimator"]) for row in of_a_point}
    assert quantities == {
        ("peak voltage", ""),
        *(("charge moved", e) for e in ("box", "pore", "crossings")),
        *(("loop area", e) for e in ("box", "pore", "crossings")),
    }
    volts = next(row for row in of_a_point if row["quantity"] == "peak voltage")
    assert float(volts["value"]) == pytest.approx(1.2 * 8.0, rel=0.01)
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "nosuch" in page
    assert (folder / "comparison.svg").is_file()


def test_a_rerun_only_retries_what_failed(on_this_machine: Finished) -> None:
    patterns = "runs/*/*/*/manifest.json", "runs/*/stages/*.json", "results/sweeps/*/*/series*"
    before = [done(on_this_machine.folder, pattern) for pattern in patterns]
    assert all(before)
    process = start(on_this_machine.folder / "both.yaml", "local")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert [done(on_this_machine.folder, pattern) for pattern in patterns] == before
    assert "ns/day" not in printed
