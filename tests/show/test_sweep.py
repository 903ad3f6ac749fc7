"""Sweeps without molecular dynamics: reports of failures, the summary, the workflow's dry run."""

import csv
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from filelock import FileLock
from made import paired, relaxing

from janus_pore import paths
from janus_pore.drive import stages
from janus_pore.errors import RunError, SpecError
from janus_pore.show import figures, sweep
from janus_pore.sweep_spec import load_sweep, points


@pytest.fixture
def sweep_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two points, nothing run yet."""
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("JANUS_PORE_RESULTS", str(tmp_path / "results"))
    file = tmp_path / "pores.yaml"
    content = {"profile": "tiny", "protocols": ["sine"], "vary": {"pore": ["hollow6", "none"]}}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def test_a_notebook_that_stops_is_reported_with_its_last_cells_error(
    sweep_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep.main(["notebook", str(sweep_file), "pore=none", "03_iv_ndr"]) == 1
    assert "MissingInputError" in capsys.readouterr().err
    assert sweep.main(["summary", str(sweep_file)]) == 0
    folder = sweep_file.parent / "results" / "sweeps" / "pores"
    assert (folder / "pore=none" / "03_iv_ndr.stopped.ipynb").is_file()
    assert not (folder / "pore=none" / "03_iv_ndr.ipynb").exists()
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        found = {row["point"]: row for row in csv.DictReader(file)}
    assert found["pore=none"]["status"] == "failed"
    assert re.search(
        r"03_iv_ndr stopped in its cell \d+: MissingInputError: .*01_build",
        found["pore=none"]["error"],
        re.DOTALL,
    )
    assert found["pore=hollow6"]["status"] == "missing"
    assert "series.json, 03_iv_ndr.html" in found["pore=hollow6"]["error"]
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "MissingInputError" in page
    assert "<script" not in page


def test_one_sweep_is_run_once_at_a_time(sweep_file: Path) -> None:
    pytest.importorskip("snakemake", reason="Snakemake, the 'workflow' extra, is not installed")
    state = sweep_file.parent / "results" / ".workflow" / "pores"
    state.mkdir(parents=True)
    with FileLock(state / "sweep.lock"), pytest.raises(RunError, match="another process"):
        sweep.run(sweep_file, "local", [])
    assert not (state / "config.yaml").exists()


def test_ctrl_c_leaves_the_engine_its_time(tmp_path: Path) -> None:
    """Both get the signal at a terminal; jobs on a cluster are cancelled, those here end."""
    engine = tmp_path / "engine.py"
    engine.write_text(
        "import pathlib, time\n"
        "try:\n    pathlib.Path('began').touch()\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    time.sleep(1)\n    pathlib.Path('cleaned').touch()\n"
    )
    call = f"sweep._to_its_end([{sys.executable!r}, 'engine.py'], {{}})"
    asked = f"from janus_pore.show import sweep; {call}"
    with subprocess.Popen(
        [sys.executable, "-c", asked], cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "began").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    assert (tmp_path / "cleaned").exists()
    assert process.returncode != 0


def test_a_wrong_sweep_is_one_line_and_nothing_is_run(
    sweep_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep_file.write_text("{profile: tiny, vary: {pores: [none]}}", encoding="utf-8")
    assert sweep.main(["run", str(sweep_file)]) == 1
    assert "vary.pores is not a parameter; check its spelling" in capsys.readouterr().err
    assert not (sweep_file.parent / "results").exists()


def test_the_comparison_has_a_panel_for_each_point() -> None:
    time_ps = np.linspace(0.0, 1.0, 5)
    panels = {
        f"pore=none,seed={i}": {
            e: figures.Curve.bare(time_ps, i * time_ps) for e in ("box", "pore", "crossings")
        }
        for i in range(6)
    }
    figure = figures.comparison(panels)
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title(loc="left") or ax.get_title() for ax in shown] == [
        f"pore=none\nseed={i}" for i in range(6)
    ]
    assert max(shown[5].get_lines()[1].get_ydata()) == 5.0
    assert [ax.get_xlabel() for ax in shown] == ["", "", *["time (ps)"] * 4]
    drawn = [each for each in shown[5].get_lines() if not each.get_label().startswith("_")]
    assert len({each.get_linestyle() for each in drawn}) == len(drawn) == 3


def test_the_published_sweep_is_planned_within_a_minute(sweep_file: Path) -> None:
    """Jobs, ns and bytes of more than 10,000 segments, on the cluster's profile."""
    pytest.importorskip("snakemake", reason="Snakemake, the 'workflow' extra, is not installed")
    file = paths.project_root() / "workflow" / "sweeps" / "paper.yaml"
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["-m", "janus_pore.show.sweep", "run", str(file), "--where", "slurm", "--", "-n"]
    printed = _python(command)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime < 60
    jobs, segments, ns = re.findall(r"(?m)^all +(\d+) +(\d+) +([\d.]+)", printed)[0]
    assert int(segments) > 10_000
    assert int(jobs) < int(segments) / 50
    assert float(ns) > 1000
    counted = dict(re.findall(r"(?m)^(\w+) +(\d+)$", printed))
    stages = ("build", "equilibrate", "simulate", "windows")
    assert sum(int(counted[name]) for name in stages) == int(jobs)
    assert counted["notebook"] == "5"


def _python(command: list[str]) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_only_what_has_its_receipt_counts(sweep_file: Path) -> None:
    chosen = load_sweep(sweep_file)
    own = [
        chosen.receipt(label, what)
        for label in points(chosen)
        for what in ("series", *chosen.notebooks)
    ]
    with sweep.at_home(chosen):
        profiles = points(chosen)
        jobs = stages.work(profiles, ns_per_job=10.0)
        label, profile = next(iter(profiles.items()))
        folder, before = profile.results_dir, jobs.before(label)
        folder.mkdir(parents=True)

        def why() -> str | None:
            return sweep.failure(chosen, label, profile, before)

        # series and pages of other settings, whose receipts are not there
        for name in ("series.json", *(f"{n}.html" for n in chosen.notebooks)):
            (folder / name).write_text("{}", encoding="utf-8")
        assert str(why()).startswith("not run yet")
        driven = before[-1]
        driven.failure.parent.mkdir(parents=True, exist_ok=True)
        driven.failure.write_text("error: no space left", encoding="utf-8")
        assert why() == "error: no space left"
        sweep.summarise(chosen, ns_per_job=10.0)
        with (paths.results_dir() / "summary.csv").open(newline="", encoding="utf-8") as file:
            found = {row["point"]: row for row in csv.DictReader(file)}
        assert (found[label]["status"], found[label]["error"]) == ("failed", "error: no space left")
        # made good later: the note of the first attempt is history
        for receipt in (*(job.receipt for job in before), *own):
            receipt.parent.mkdir(parents=True, exist_ok=True)
            receipt.write_text("{}", encoding="utf-8")
        assert why() is None


def test_a_point_whose_series_are_damaged_does_not_stop_the_summary(sweep_file: Path) -> None:
    chosen = load_sweep(sweep_file)
    made = [
        chosen.receipt(p, what) for p in points(chosen) for what in ("series", *chosen.notebooks)
    ]
    with sweep.at_home(chosen):
        profiles = points(chosen)
        jobs = stages.work(profiles)
        about = {"protocol": "sine", "waveform": "sine", "replica": 0}
        for label, content in zip(profiles, ({"series/gone.nc": about}, "{"), strict=True):
            folder = profiles[label].results_dir
            folder.mkdir(parents=True)
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / "series.json").write_text(text, encoding="utf-8")
            for name in chosen.notebooks:
                (folder / f"{name}.html").touch()
            made += [job.receipt for job in jobs.before(label)]
        for receipt in made:
            receipt.parent.mkdir(parents=True, exist_ok=True)
            receipt.write_text("{}", encoding="utf-8")
        page = sweep.summarise(chosen)
        with (paths.results_dir() / "summary.csv").open(newline="", encoding="utf-8") as file:
            found = {row["point"]: row for row in csv.DictReader(file)}
    for label in profiles:
        assert found[label]["status"] == "failed"
        index = page.parent / label / "series.json"
        assert f"delete {index} and run the sweep again" in found[label]["error"]
    assert "there is no series" in found["pore=hollow6"]["error"]
    assert "its series cannot be read" in page.read_text(encoding="utf-8")


def test_a_point_whose_notebook_failed_has_its_numbers_in_tidy_tables(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = {"width_ps": [5.0, 6.0], "pulse_V_per_nm": [0.5, 0.8]}
    content = {
        "profile": "demo",
        "protocols": ["ppd", "step_up"],
        "vary": {"seed": [1, 2]},
        "fixed": {"protocols.ppd.scan": scan, "protocols.step_up.scan": {"to_V_per_nm": [0.8]}},
        "notebooks": ["05_plasticity"],
    }
    sweep_file.write_text(yaml.safe_dump(content), encoding="utf-8")
    chosen = load_sweep(sweep_file)
    own = chosen.receipt("seed=1", "series")
    with sweep.at_home(chosen):
        one = points(chosen)["seed=1"]
        receipts = [job.receipt for job in stages.work(points(chosen)).before("seed=1")]
        for receipt in (*receipts, own):
            receipt.parent.mkdir(parents=True, exist_ok=True)
            receipt.write_text("{}", encoding="utf-8")
        one.results_dir.mkdir(parents=True)
        (one.results_dir / "series.json").write_text("{}", encoding="utf-8")
        (one.results_dir / "05_plasticity.failed").write_text("NotebookError: no step_down")
        made = {("ppd", k): data for k, data in paired(one, "ppd", lambda _: 0.5).items()}
        ((label, angles),) = relaxing("step_up", 2.0, 60.0, 30.0, profile=one).items()
        still = next(iter(made.values())).interp(time=angles["time"], kwargs={"fill_value": 0.0})
        made["step_up", label] = angles.isel(replica=slice(0, 20)).merge(still, join="override")
        for data in made.values():
            data.attrs["length_x_nm"] = 8.0
        monkeypatch.setattr(sweep, "_stacked", lambda _: made)
        sweep.summarise(chosen)
        numbers, each = (
            list(csv.DictReader((paths.results_dir() / name).open(encoding="utf-8")))
            for name in ("summary.csv", "pulses.csv")
        )
        page = (paths.results_dir() / "index.html").read_text(encoding="utf-8")
    states = {(row["point"], row["status"]) for row in numbers}
    assert states == {("seed=1", "done"), ("seed=1", "failed"), ("seed=2", "missing")}
    ratios = [row for row in numbers if row["quantity"] == "I1/I0"]
    at = {(row["width_ps"], row["pulse_V_per_nm"], row["estimator"]) for row in ratios}
    assert len(ratios) == len(at) == 2 * 2 * 3
    for row in ratios:
        assert float(row["low"]) < float(row["value"]) < float(row["high"])
        assert float(row["value"]) == pytest.approx(0.5, rel=0.1)
    (spread,) = (row for row in numbers if row["quantity"] == "spread at the end")
    assert float(spread["value"]) == pytest.approx(30.0, abs=1.5)
    assert (spread["to_V_per_nm"], spread["width_ps"], spread["unit"]) == ("0.8", "", "°")
    assert len(each) == 4 * 20 * 3 * 2
    of_one = [row for row in each if (row["width_ps"], row["pulse_V_per_nm"]) == ("6.0", "0.8")]
    first, second = (
        np.mean(
            [float(r["current_nA"]) for r in of_one if r["pulse"] == n and r["estimator"] == "box"]
        )
        for n in "01"
    )
    assert first == pytest.approx(4.0, rel=0.05)
    assert second / first == pytest.approx(0.5, rel=0.05)
    assert of_one[-1]["to_ps"] == f"{2 * 6 + one.protocol('ppd').waveform.delay_ps:g}"
    assert "no step_down" in page
    assert "I1/I0" in page
    assert "I0 (nA)" not in page


@pytest.mark.parametrize("name", ["width_ps", "pulse_V_per_nm", "to_V_per_nm"])
def test_what_a_scan_varies_is_said_to_be_varied_by_it(sweep_file: Path, name: str) -> None:
    sweep_file.write_text(yaml.safe_dump({"profile": "tiny", "vary": {name: [1]}}), "utf-8")
    with pytest.raises(SpecError, match=rf"{name} is a waveform's own .*ppd.scan: \{{{name}: \["):
        load_sweep(sweep_file)
