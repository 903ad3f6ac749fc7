"""Planning, running, finding again, and the command line."""

import contextlib
import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from janus_pore import paths
from janus_pore.drive import __main__ as drive
from janus_pore.drive import ensemble, gromacs, workers
from janus_pore.drive.__main__ import main
from janus_pore.errors import MissingInputError, RunError
from janus_pore.measure import series
from janus_pore.spec import ALONE, Constant, Profile, Protocol, load_profile

Runs = Callable[[str], Path]


def with_protocols(profile: Profile, **protocols: Protocol) -> Profile:
    return profile.model_copy(update={"protocols": protocols, **ALONE})


def test_pulse_pairs_in_two_directions_cost_less_than_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    reduced = load_profile("reduced")
    for name in ("ppf", "ppd"):
        assert len(reduced.protocol(name).scan["delay_ps"]) == 8
    _, *costs = ensemble.plan(reduced, ["ppf", "ppd"], measure=False)
    tree, alone = (sum(getattr(c, name) for c in costs) for name in ("ns_tree", "ns_alone"))
    assert alone == pytest.approx(24 * (8 * 30 + 96 + 8 * 10 + 96) / 1000)
    assert tree < alone / 2
    # A train continues a pair: what is planned after it costs less.
    (_, _, after), (_, first) = (
        ensemble.plan(reduced, names, measure=False) for names in (["ppf", "stf"], ["stf"])
    )
    assert after.ns < first.ns
    assert "ppf" in ensemble.plan_table(costs)


@pytest.mark.parametrize("name", ["tiny", "demo", "reduced", "paper"])
def test_every_profile_has_a_plan(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    profile = load_profile(name)
    if name == "paper":  # the plan's size, not its 150 replicas, is what is tested
        profile = profile.model_copy(
            update={
                "protocols": {
                    n: p.model_copy(update={"replicas": 2}) for n, p in profile.protocols.items()
                }
            }
        )
    costs = ensemble.plan(profile, measure=False)
    own = ["equilibration", *profile.protocols, "windows"]
    further = [
        f"{sibling.variant}: {stage}"
        for sibling in profile.siblings()
        for stage in ("equilibration", *sibling.protocols)
    ]
    assert [c.stage for c in costs] == own + further
    assert len(list(tmp_path.glob("*/system"))) == 1  # a plan does not build them
    total = sum(c.ns for c in costs)
    assert f"{total:.3f}" in ensemble.plan_table(costs)
    if name == "demo":  # minutes on two cores
        assert total <= 0.75
    assert all(c.ns > 0 and c.segments > 0 and c.storage_MB > 0 for c in costs)
    assert all(c.ns <= c.ns_tree + 1e-9 for c in costs)


@pytest.mark.gromacs
def test_the_plan_is_what_is_run_and_nothing_is_run_twice(tiny: Profile, runs: Runs) -> None:
    here = runs("plan")
    profile = with_protocols(tiny, ppf=tiny.protocol("ppf"), ppd=tiny.protocol("ppd"))
    profile = profile.model_copy(update={"windows": None})
    planned = {c.stage: c for c in ensemble.plan(profile, measure=False)}
    assert planned["equilibration"].segments == 0
    with pytest.raises(MissingInputError, match=r"02_simulate .* run_protocol\(profile, 'ppf'\)"):
        ensemble.open_runs(profile, "ppf")
    for name in ("ppf", "ppd"):
        before = set(here.glob("*/r*/*/manifest.json"))
        records = ensemble.run_protocol(profile, name, progress=False, workers=2)
        new = [json.loads(p.read_text()) for p in set(here.glob("*/r*/*/manifest.json")) - before]
        assert len(new) == planned[name].segments
        assert sum(m["duration_ps"] for m in new) / 1000 == pytest.approx(planned[name].ns)
        assert ensemble.open_runs(profile, name) == records
        assert [(r.label, r.replica) for r in records] == [
            (label, replica) for replica in range(2) for label in profile.protocol(name).waveforms()
        ]
    times = {p: p.stat().st_mtime_ns for p in here.glob("*/r*/*")}
    assert all(c.segments == 0 for c in ensemble.plan(profile, measure=False))
    ensemble.run_protocol(profile, "ppf", progress=False)
    assert {p: p.stat().st_mtime_ns for p in here.glob("*/r*/*")} == times
    # What is kept is small, and whole.
    assert not list(here.glob("**/*.xtc"))
    assert not [p for p in here.glob("*/r*/.*") if p.is_dir()]
    both = series.open_protocol(profile, "ppf")["delay_ps=1"]
    assert both.sizes["replica"] == 2
    manifest = json.loads((records[0].path[0] / "manifest.json").read_text())
    assert manifest["hardware"]["threads"] == 1
    assert manifest["ns_per_day"] > 0
    assert manifest["provenance"]["gmx_version"].startswith("GROMACS version")


@pytest.mark.gromacs
def test_finer_frames_are_run_again_and_coarser_ones_are_not(
    tiny: Profile, runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    runs("frames")
    wave = Constant(field_V_per_nm=0.3, duration_ps=1.0)
    by_frame = {
        frame: with_protocols(tiny, rest=Protocol(waveform=wave, frame_ps=frame))
        for frame in (0.25, 0.05, 0.5)
    }
    (coarse,) = ensemble.run_protocol(by_frame[0.25], "rest", progress=False)
    first = series.read(coarse.series[0])
    with pytest.raises(MissingInputError):
        ensemble.open_runs(by_frame[0.05], "rest")
    (fine,) = ensemble.run_protocol(by_frame[0.05], "rest", progress=False)
    assert fine.path == coarse.path
    assert any("coarser than is asked for" in r.getMessage() for r in caplog.records)
    again = series.read(fine.series[0])
    assert len(again.time) == 5 * len(first.time) - 4
    np.testing.assert_array_equal(again.field.values[::5], first.field.values)
    np.testing.assert_allclose(again.charge.values[..., ::5], first.charge.values, atol=2e-4)
    before = fine.path[0].stat().st_mtime_ns
    (same,) = ensemble.run_protocol(by_frame[0.5], "rest", progress=False)
    assert same.path[0].stat().st_mtime_ns == before


@pytest.mark.gromacs
def test_keeping_trajectories(tiny: Profile, runs: Runs) -> None:
    runs("keep")
    wave = Constant(field_V_per_nm=0.1, duration_ps=0.5)
    profile = with_protocols(tiny, rest=Protocol(waveform=wave, frame_ps=0.25))
    (record,) = ensemble.run_protocol(profile, "rest", progress=False, keep_trajectory=True)
    kept = record.path[0] / "trajectory.xtc"
    before = kept.stat()
    assert before.st_size > 0
    # what is run again for finer frames, without asking for it, has one as well
    finer = with_protocols(tiny, rest=Protocol(waveform=wave, frame_ps=0.05))
    ensemble.run_protocol(finer, "rest", progress=False)
    assert kept.stat().st_size > before.st_size


@pytest.mark.gromacs
def test_disk_in_use_does_not_grow_with_the_length_of_a_run(tiny: Profile, runs: Runs) -> None:
    """The later half of a run reaches the same peak as the earlier one, besides the series, which
    are what is kept. Halves of one run are watched equally often, however busy the machine is."""

    def in_use(root: Path) -> int:
        total = 0
        for folder, _, names in os.walk(root):  # which skips what is gone meanwhile
            for name in names:
                with contextlib.suppress(OSError):
                    total += 0 if name.endswith(".nc") else Path(folder, name).stat().st_size
        return total

    duration_ps = 30.0
    root = runs("long")
    wave = Constant(field_V_per_nm=0.1, duration_ps=duration_ps)
    profile = with_protocols(tiny, rest=Protocol(frame_ps=0.05, waveform=wave))
    before, over = in_use(root), threading.Event()
    seen: list[int] = []
    ensemble.equilibrate(profile, progress=False)

    def watch() -> None:
        while not over.wait(0.01):
            seen.append(in_use(root) - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        ensemble.run_protocol(profile, "rest", progress=False)
    finally:
        over.set()
        watcher.join()
    early, late = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert max(late) < 1.1 * max(early), (max(early), max(late))
    # what a trajectory of that length would need: the limit means something
    atoms = 1000
    assert max(seen) < 0.5 * atoms * 3.5 * duration_ps / 0.05


@pytest.mark.gromacs
def test_replicas_differ_and_start_from_rest(tiny: Profile, runs: Runs) -> None:
    runs("replicas")
    profile = with_protocols(tiny, step_up=tiny.protocol("step_up"))
    records = ensemble.run_protocol(profile, "step_up", progress=False, workers=2)
    assert len({r.seed for r in records}) == 2
    ions = [series.read(r.series[0]).ion_x.values for r in records if r.label.endswith("=0.4")]
    assert len(ions) == 2
    assert np.abs(ions[0] - ions[1]).max() > 0.01
    rest = ensemble.open_equilibration(profile, replicas=2)
    assert [r.duration_ps for r in rest] == pytest.approx([1.0, 1.5])


@pytest.mark.gromacs
def test_a_waveform_from_a_file_in_one_command(
    equilibrated: Path, tiny: Profile, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    runs("wave")
    profile = tmp_path / "short.yaml"
    profile.write_text(json.dumps(tiny.model_dump(mode="json")))
    wave = tmp_path / "ramp.txt"
    wave.write_text("# ps V/nm\n0 0\n0.5 0.4\n1.0 -0.4\n")
    command = ["wave", str(profile), str(wave), "--output", str(tmp_path / "out")]
    assert main(command) == 1
    assert "pieces of 0.5 ps, as between its times, lose 100%" in capsys.readouterr().err
    command += ["--step-ps", "0.25", "--replicas", "2", "--workers", "2"]
    assert main([*command, "--plan"]) == 0
    assert re.search(r"(?m)^ramp +2 ", capsys.readouterr().out)
    assert not (tmp_path / "out").exists()
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "4 constant pieces, at most 0.2 V/nm from the file" in said
    files = sorted((tmp_path / "out").glob("ramp-*-r*.nc"))
    assert len(files) == 2
    run = series.read(files[0])
    assert run.time.values[-1] == pytest.approx(1.0)
    expected = np.array([0.1, 0.3, 0.2, -0.2]) * tiny.field_scale
    seen = run.field.sel(time=[0.1, 0.4, 0.7, 0.9], method="nearest").values
    np.testing.assert_allclose(seen, expected, atol=1e-4)


def test_the_command_line_reports_mistakes_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path / "runs"))
    wave = tmp_path / "wrong.txt"
    wave.write_text("0 0\n1 700\n")
    assert main(["wave", "tiny", str(wave)]) == 1
    said = capsys.readouterr().err
    assert "700" in said
    assert "V/nm" in said
    assert "Traceback" not in said
    assert main(["plan", "huge"]) == 1
    wave.write_text("0 0\n1 0.5\n")
    capsys.readouterr()
    assert main(["wave", "tiny", str(wave), "--replicas", "0"]) == 1
    assert "wrong: replicas = 0" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.gromacs
def test_a_calibration_beside_other_work_is_not_kept(
    tiny: Profile, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs("calibration")
    monkeypatch.setenv("GMX", str(gromacs.find_gmx().path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for busy, kept in ((90.0, 0), (5.0, 1)):
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval, busy=busy: busy)
        costs = ensemble.plan(tiny, ["ppd"])
        assert all(c.hours for c in costs if c.ns)
        assert len(list(tmp_path.glob("cache/janus-pore/calibration/*.json"))) == kept


def test_a_protocol_that_does_not_fit_is_said_before_any_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    content = yaml.safe_load((paths.data_dir() / "profiles" / "tiny.yaml").read_text("utf-8"))
    content["protocols"]["zz"] = {"waveform": {"kind": "constant", "field_V_per_nm": 1.0}}
    monkeypatch.setattr("janus_pore.drive.__main__.build_system", lambda _: pytest.fail("built"))
    file = tmp_path / "own.yaml"
    for duration, use in ((0.53, "use 0.5 or 0.55"), (1e-9, r"use 0.05$")):
        content["protocols"]["zz"]["waveform"]["duration_ps"] = duration
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        assert main(["run", str(file)]) == 1
        said = capsys.readouterr().err.strip()
        assert said.startswith("protocol 'zz': constant")
        assert re.search(use, said)


def test_a_further_system_that_cannot_be_is_said_before_any_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    content = yaml.safe_load((paths.data_dir() / "profiles" / "tiny.yaml").read_text("utf-8"))
    content["charge_sets"] = ["mosse_symetric"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    monkeypatch.setattr(drive, "build_system", lambda _: pytest.fail("built"))
    assert main(["run", str(tmp_path / "own.yaml")]) == 1
    assert "charge_set = 'mosse_symetric' is not known" in capsys.readouterr().err


def test_windows_of_one_system_or_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_profile("campaign")
    every = [p.variant for p in (whole, *whole.siblings()) if p.windows]
    assert "bond4" in every
    seen: list[str] = []
    monkeypatch.setattr(drive, "build_system", lambda spec: None)
    monkeypatch.setattr(drive.windows, "run_windows", lambda one, **_: seen.append(one.variant))
    for chosen, expected in ([], every), (["own"], [""]), (["bond4"], ["bond4"]):
        seen.clear()
        assert main(["windows", "campaign", *(f"--variant={name}" for name in chosen)]) == 0
        assert seen == expected


def test_one_walltime_limit_holds_for_all_protocols(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    monkeypatch.setattr("janus_pore.drive.__main__.build_system", lambda _: None)
    clock = iter(range(0, 360_000, 900))
    monkeypatch.setattr(workers.time, "monotonic", lambda: next(clock))
    left: list[float | None] = []
    monkeypatch.setattr(
        ensemble, "run_protocol", lambda *_, walltime_h, **__: left.append(walltime_h)
    )
    assert main(["run", "tiny", "sine", "ppf", "ppd", "--walltime-h", "0.6"]) == 0
    assert left == [0.35, pytest.approx(0.1), 0.0]
    assert main(["run", "tiny", "sine"]) == 0
    assert left[3:] == [None]


def test_some_replicas_of_a_protocol_are_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(drive, "build_system", lambda _: None)
    monkeypatch.setattr(ensemble, "run_protocol", lambda *_, only, **__: asked.append(only))
    for given in "1-2", "2":
        assert main(["run", "campaign", "ppf", "--only", given]) == 0
    assert main(["run", "campaign", "ppf"]) == 0
    assert asked == [range(1, 3), range(2, 3), None]
    last = load_profile("campaign").protocol("ppf").replicas - 1
    for given, said in (
        (("ppf", "--only", "2-99"), f"--only 2-99: the last replica of protocol 'ppf' is {last};"),
        (("--only", "2"), "--only is about the replicas of a protocol; name it"),
    ):
        assert main(["run", "campaign", *given]) == 1
        assert said in capsys.readouterr().err
    for text in "4-2", "two", "2-", "-3":
        with pytest.raises(SystemExit):
            main(["run", "campaign", "ppf", f"--only={text}"])
        assert "--only" in capsys.readouterr().err
    assert len(asked) == 3


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf"])
def test_a_walltime_limit_is_a_time(hours: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["run", "tiny", "sine", f"--walltime-h={hours}"]) == 1
    assert f"walltime_h = {hours}: give more than 0" in capsys.readouterr().err


@pytest.mark.gromacs
def test_fewer_than_one_worker_is_refused(
    equilibrated: Path, tiny: Profile, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs("none at once")
    # before an equilibration, which another system might still need
    monkeypatch.setattr(ensemble, "execute", lambda *_: pytest.fail("something was run"))
    for count in (0, -1):
        with pytest.raises(RunError, match=rf"workers = {count}: run at least 1 replica"):
            ensemble.run_protocol(tiny, "sine", progress=False, workers=count)
