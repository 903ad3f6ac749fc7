"""The jobs of a sweep: which there are, what each needs, what it costs."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from janus_pore import paths
from janus_pore.build.system import build_system
from janus_pore.drive import ensemble, stages
from janus_pore.errors import BuildError, StoppedError
from janus_pore.spec import ALONE, Profile, Protocol, load_profile
from janus_pore.sweep_spec import Sweep, Vary, points, void


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path / "runs"))


def kinds(work: stages.Work) -> Counter[str]:
    return Counter(job.stage for job in work.jobs.values())


def replicas(profile: Profile, count: int) -> Profile:
    changed = {
        name: Protocol(**{**p.model_dump(), "replicas": count})
        for name, p in profile.protocols.items()
    }
    return profile.model_copy(update={"protocols": changed})


def test_points_share_what_does_not_depend_on_them() -> None:
    vary = Vary(seed=(1, 2), amplitude_V_per_nm=(0.3, 0.6, 1.2))
    chosen = Sweep(name="trial", profile="tiny", protocols=("sine",), vary=vary)
    work = stages.work(points(chosen))
    sine = load_profile("tiny").protocol("sine")
    assert kinds(work) == {
        "build": 2, "equilibrate": 2 * sine.replicas, "simulate": 6 * sine.replicas,
    }  # fmt: skip
    assert {len(receipts) for receipts in work.of_point.values()} == {sine.replicas}
    order = [job.stage for job in work.before("seed=2,amplitude_V_per_nm=0.6")]
    assert sorted(order, key=("build", "equilibrate", "simulate").index) == [
        "build", *["equilibrate"] * sine.replicas, *["simulate"] * sine.replicas,
    ]  # fmt: skip
    assert order[:2] == ["build", "equilibrate"]


def test_a_whole_profile_has_its_windows_and_further_systems() -> None:
    tiny = load_profile("tiny")
    work = stages.work({"tiny": tiny})
    systems = {job.receipt.parent for job in work.jobs.values()}
    assert len(systems) == 1 + len(tiny.siblings())
    assert len(tiny.siblings()) >= 2
    assert kinds(work)["windows"] == tiny.windows.replicas if tiny.windows else 0
    assert {job.receipt for job in work.before("tiny")} == set(work.jobs)


def test_jobs_hold_as_many_replicas_as_their_length_allows() -> None:
    base = replicas(load_profile("tiny", ALONE), 7)
    base = base.model_copy(update={"protocols": {"sine": base.protocol("sine")}, "windows": None})
    period_ns = 0.01
    work = stages.work({"it": base}, ns_per_job=3.5 * period_ns)
    simulated = [job for job in work.jobs.values() if job.stage == "simulate"]
    assert [list(job.replicas) for job in simulated] == [[0, 1, 2], [3, 4, 5], [6]]
    for job in simulated:  # each waits for the snapshot of its last replica
        (need,) = job.needs
        assert work.jobs[need].replicas.stop > job.replicas[-1]
    resting = [job for job in work.jobs.values() if job.stage == "equilibrate"]
    assert [n for job in resting for n in job.replicas] == list(range(7))
    assert [job.needs[0] for job in resting[1:]] == [job.receipt for job in resting[:-1]]


def test_the_jobs_together_are_the_plan() -> None:
    tiny = load_profile("tiny")
    sizes: Counter[str] = Counter()
    ns = 0.0
    for job in stages.work({"tiny": tiny}).jobs.values():
        size = stages.size(job)
        sizes[job.stage] += size.segments
        ns += size.ns
    planned = ensemble.plan(tiny, measure=False)
    assert sum(sizes.values()) == sum(cost.segments for cost in planned)
    assert ns == pytest.approx(sum(cost.ns for cost in planned))
    resting = [cost.segments for cost in planned if cost.stage.endswith("equilibration")]
    assert sizes["equilibrate"] == sum(resting)


def test_makespan_of_known_schedules() -> None:
    profile = load_profile("tiny")
    a, b, c, d = (Path(name) for name in "abcd")

    def job(receipt: Path, *needs: Path) -> stages.Job:
        return stages.Job("build", profile, receipt, needs)

    jobs = {a: job(a), b: job(b, a), c: job(c, a), d: job(d, b, c)}
    hours = {a: 1.0, b: 2.0, c: 4.0, d: 8.0}
    assert stages.makespan(jobs, hours, 1) == 15.0
    assert stages.makespan(jobs, hours, 2) == 13.0
    assert stages.makespan(jobs, hours, 100) == 13.0
    chain = {Path(str(i)): job(Path(str(i)), *[Path(str(i - 1))] * (i > 0)) for i in range(2000)}
    assert stages.makespan(chain, dict.fromkeys(chain, 1.0), 3) == 2000.0
    alone = {Path(str(i)): job(Path(str(i))) for i in range(10)}
    same = dict.fromkeys(alone, 3.0)
    assert [stages.makespan(alone, same, n) for n in (1, 3, 10)] == [30.0, 12.0, 3.0]


def test_a_table_of_sizes_and_days() -> None:
    chosen = Sweep(name="trial", profile="tiny", protocols=("sine",), vary=Vary(seed=(1, 2)))
    work = stages.work(points(chosen))
    text = stages.plan_table(work, ns_per_day=100.0, slots=(1, 4), overhead_s=0.0)
    total = next(line for line in text.splitlines() if line.startswith("all")).split()
    ns = sum(stages.size(job).ns for job in work.jobs.values())
    assert float(total[3]) == pytest.approx(ns, abs=5e-4)
    days = {
        int(line.split()[0]): float(line.split()[1])
        for line in text.splitlines()
        if line.split() and line.split()[0] in ("1", "4")
    }
    assert days[1] == pytest.approx(ns / 100.0, abs=0.01)
    assert stages.plan_table(work, ns_per_day=None, slots=(1,), overhead_s=0.0) in text


def test_a_receipt_says_what_was_made_and_is_void_when_that_is_gone() -> None:
    profile = load_profile("tiny")
    build = next(iter(stages.work({"tiny": profile}).jobs.values()))
    assert void([build.receipt], paths.runs_dir()) == []
    receipt = stages.run(build)
    system = build_system(profile.system).dir
    made = (system / "manifest.json").relative_to(paths.runs_dir()).as_posix()
    assert json.loads(receipt.read_text())["made"] == [made]
    assert void([build.receipt], paths.runs_dir()) == []
    (system / "manifest.json").rename(system / "aside")
    assert void([build.receipt], paths.runs_dir()) == [receipt]
    assert not receipt.exists()
    receipt.write_text("{", encoding="utf-8")
    assert void([build.receipt], paths.runs_dir()) == [receipt]


def test_a_job_that_fails_leaves_its_reason_until_it_succeeds() -> None:
    profile = load_profile("tiny", {"system.cells_y": 4})
    build = next(iter(stages.work({"tiny": profile}).jobs.values()))
    with pytest.raises(BuildError, match="does not fit"):
        stages.run(build)
    assert build.failure.read_text().startswith("BuildError: pore = 'hollow6'")
    good = next(iter(stages.work({"tiny": load_profile("tiny")}).jobs.values()))
    good.failure.parent.mkdir(parents=True)
    good.failure.write_text("before", encoding="utf-8")
    stages.run(good)
    assert not good.failure.exists()


def test_the_command_line_refuses_what_is_not_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("{profile: tiny, protocols: [sine]}", encoding="utf-8")
    assert stages.main(["do", str(file), "else/stages/build.json"]) == 1
    assert "has no job that writes" in capsys.readouterr().err
    assert stages.main(["plan", str(file)]) == 0
    assert "simulate" in capsys.readouterr().out


@pytest.mark.gromacs
def test_replicas_run_one_by_one_are_those_run_together(tiny: Profile, runs) -> None:  # type: ignore[no-untyped-def]
    profile = tiny.model_copy(
        update={
            "protocols": {"ppd": tiny.protocol("ppd")},
            "windows": None, **ALONE,
        }
    )  # fmt: skip
    states = []
    for ns_per_job in (0.0, 1.0):
        here = runs(f"by-{ns_per_job}")
        work = stages.work({"it": profile}, ns_per_job=ns_per_job)
        simulate = [job for job in work.jobs.values() if job.stage == "simulate"]
        assert len(simulate) == (2 if ns_per_job == 0 else 1)
        for job in reversed(simulate):
            last = job.replicas[-1]
            stages.run(job)
            assert list(here.glob(f"*/r{last:03d}"))
        found = here.glob("*/r*/*/manifest.json")
        states.append({p.parent.name: json.loads(p.read_text())["state"] for p in found})
        longer = profile.model_copy(update={"protocols": {"sine": tiny.protocol("sine")}})
        jobs = stages.work({"it": longer}).jobs.values()
        job = next(job for job in jobs if job.stage == "simulate")
        with pytest.raises(StoppedError, match="walltime"):
            stages.run(job, walltime_h=1e-9)
        assert not job.receipt.exists()
        assert not job.failure.exists()
    assert states[0] == states[1]
    assert np.all(list(states[0].values()))
