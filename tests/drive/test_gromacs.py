"""Finding GROMACS, its options, its errors, its hardware; mostly without running it."""

import itertools
import math
import os
import platform
import pwd
import re
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given

from damage import injuries
from janus_pore import paths
from janus_pore.drive import gromacs, segments, workers
from janus_pore.drive.gromacs import Gmx, Layout, Stop
from janus_pore.errors import GromacsError, JanusPoreError, StoppedError
from janus_pore.spec import RunSpec, SystemSpec

GPU_LOG = """
Running on 1 node with total 8 cores, 16 processing units (GPU detection...)
Hardware detected:
  CPU info:
    Vendor: AMD
    Brand:  AMD EPYC 7763 64-Core Processor
  GPU info:
    Number of GPUs detected: 1
    #0: NVIDIA NVIDIA A100, compute cap.: 8.0, ECC: yes, stat: compatible
SIMD instructions:  AVX2_256
1 GPU selected for this run.
PP tasks will do (non-perturbed) short-ranged interactions on the GPU
PP task will update and constrain coordinates on the GPU
PME tasks will do all aspects on the GPU
Using 1 MPI thread
Using 4 OpenMP threads
               Core t (s)   Wall t (s)        (%)
       Time:       40.736       10.184      400.0
                 (ns/day)    (hour/ns)
Performance:      848.500        0.028
"""


def gmx(tmp_path: Path, report: str) -> Path:
    program = tmp_path / "gmx"
    program.write_text(f"#!/bin/sh\ncat <<'E'\n{report}\nE\n")
    program.chmod(0o755)
    return program


def built(gpu: str = "disabled", mpi: str = "thread_mpi") -> Gmx:
    report = f"GROMACS version:    2024.2\nMPI library:        {mpi}\nGPU support:        {gpu}\n"
    return Gmx(Path("/opt/gromacs/bin/gmx"), (2024, 2), report)


@pytest.mark.parametrize(
    ("printed", "complaint"),
    [
        ("GROMACS version:    2019.6", "2021 or later is needed"),
        ("VERSION 4.6.7", "GROMACS 4.6.7"),
        ("nothing of the kind", "unknown version"),
    ],
)
def test_an_old_or_foreign_gmx_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, complaint: str
) -> None:
    monkeypatch.setenv("GMX", str(gmx(tmp_path, printed)))
    with pytest.raises(GromacsError, match=complaint):
        gromacs.find_gmx()


def test_gmx_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {name: tmp_path / name / "bin" for name in ("path", "conda", "cache")}
    places["cache"] = tmp_path / "cache" / "janus-pore" / "gromacs" / "2024-avx" / "bin"
    for i, place in enumerate(places.values()):
        place.mkdir(parents=True)
        gmx(place, f"GROMACS version:    202{i + 2}.1")
    system_path = "/usr/bin:/bin"
    monkeypatch.delenv("GMX", raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "conda"))
    monkeypatch.setenv("PATH", f"{places['path']}:{system_path}")
    assert gromacs.find_gmx().version == (2022, 1)
    monkeypatch.setenv("PATH", system_path)
    assert gromacs.find_gmx().version == (2023, 1)
    monkeypatch.delenv("CONDA_PREFIX")
    assert gromacs.find_gmx().version == (2024, 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with pytest.raises(GromacsError, match="make gromacs"):
        gromacs.find_gmx()
    monkeypatch.setenv("GMX", str(tmp_path / "absent" / "gmx"))
    with pytest.raises(GromacsError, match="is not a program"):
        gromacs.find_gmx()


def test_what_set_up_chose_comes_before_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, year in (("named", 2024), ("chosen", 2023), ("path", 2022), ("old", 2019)):
        (tmp_path / name).mkdir()
        gmx(tmp_path / name, f"GROMACS version:    {year}.1")
    chosen = tmp_path / "gmx-path"
    chosen.write_text(f"{tmp_path}/chosen/gmx\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("GMX", f"{tmp_path}/named/gmx")
    assert gromacs.find_gmx().version == (2024, 1)
    monkeypatch.delenv("GMX")
    monkeypatch.setenv("PATH", f"{tmp_path}/old:/usr/bin:/bin")  # which set-up passed over
    assert gromacs.find_gmx().version == (2023, 1)
    monkeypatch.setenv("PATH", f"{tmp_path}/path:/usr/bin:/bin")
    for stale in (f"{tmp_path}/removed/gmx\n", str(tmp_path), "\n"):
        chosen.write_text(stale)
        assert gromacs.find_gmx().version == (2022, 1)


def test_a_gmx_that_will_not_do_is_passed_over_unless_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As set-up does; where nothing else is there, what is wrong with the first one is said."""
    cached = tmp_path / "cache" / "janus-pore" / "gromacs" / "2022.5-avx" / "bin"
    for place in ("old", "broken/bin"):
        (tmp_path / place).mkdir(parents=True)
    gmx(tmp_path / "old", "GROMACS version:    2019.6")
    gmx(tmp_path / "broken" / "bin", "hello")
    monkeypatch.delenv("GMX", raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}/old:/usr/bin:/bin")
    monkeypatch.setenv("CONDA_PREFIX", f"{tmp_path}/broken")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(GromacsError, match=r"old/gmx is GROMACS 2019\.6; 2021 or later"):
        gromacs.find_gmx()
    cached.mkdir(parents=True)
    usable = gmx(cached, "GROMACS version:    2022.5")
    assert gromacs.find_gmx().path == usable
    monkeypatch.setenv("GMX", f"{tmp_path}/old/gmx")
    with pytest.raises(GromacsError, match=r"2019\.6"):
        gromacs.find_gmx()


def test_without_a_home_directory_nothing_fails_but_what_needs_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that runs under a number of its own."""
    gmx(tmp_path, "GROMACS version:    2024.1")
    for name in ("GMX", "CONDA_PREFIX", "CHROMIUM", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(paths, "BROWSERS", ())

    def nobody(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert paths.find_browser() is None
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gromacs.find_gmx().path == tmp_path / "gmx"
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(GromacsError, match=r"no GROMACS was found.*XDG_CACHE_HOME"):
        gromacs.find_gmx()
    with pytest.raises(JanusPoreError, match=r"cannot lie in ~/\.cache \(.*set XDG_CACHE_HOME"):
        paths.cache_dir()


def test_the_cache_is_in_one_place_wherever_the_process_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = paths.project_root()
    for named, place in (("cache", root / "cache"), (f"{tmp_path}/a/../b", tmp_path / "b")):
        monkeypatch.setenv("XDG_CACHE_HOME", named)
        assert paths.cache_dir() == place / "janus-pore"


def test_a_gmx_named_from_here_is_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = gmx(tmp_path, "GROMACS version:    2024.1")
    monkeypatch.chdir(tmp_path)
    for named in ("./gmx", f"../{tmp_path.name}/gmx"):
        monkeypatch.setenv("GMX", named)
        found = gromacs.find_gmx().path
        assert found.is_absolute()
        assert found.samefile(program)


def test_flags_are_legal_for_the_physics() -> None:
    default, fast = RunSpec(), RunSpec(variant="gpu_fast")
    on_cpu = gromacs.hardware_flags(built(), default, threads=3)
    assert "-reprod" in on_cpu
    assert on_cpu[on_cpu.index("-ntomp") + 1] == "3"
    assert "-nb" not in on_cpu
    for run, update in ((default, "cpu"), (fast, "gpu")):
        flags = gromacs.hardware_flags(built("CUDA"), run, threads=2, gpu=1)
        told = dict(itertools.pairwise(flags))
        assert told["-update"] == update
        assert (told["-nb"], told["-pme"], told["-bonded"]) == ("gpu", "gpu", "cpu")
        assert told["-gpu_id"] == "1"
    assert "-ntmpi" not in gromacs.hardware_flags(built(mpi="MPI"), default, threads=1)
    # A GPU build that is to run on the processor says so.
    assert "cpu" in gromacs.hardware_flags(built("CUDA"), default, threads=1)


def test_hardware_is_read_from_the_log() -> None:
    used = gromacs.hardware_used(GPU_LOG)
    assert used["on_gpu"] == ["non-bonded", "PME", "update"]
    assert (used["gpus_seen"], used["ranks"], used["threads"]) == (1, 1, 4)
    assert used["cpu"] == "AMD EPYC 7763 64-Core Processor"
    assert used["simd"] == "AVX2_256"
    assert (used["wall_s"], used["ns_per_day"]) == (10.184, 848.5)
    on_cpu = gromacs.hardware_used(re.sub(r".*GPU.*\n", "", GPU_LOG))
    assert on_cpu["on_gpu"] == []
    assert on_cpu["gpus_seen"] == 0


@given(injuries(GPU_LOG.encode()))
def test_a_damaged_log_is_no_obstacle(content: bytes) -> None:
    used = gromacs.hardware_used(content.decode(errors="replace"))
    assert all(x is None or math.isfinite(x) for x in (used["wall_s"], used["ns_per_day"]))
    segments.key(used)  # a manifest can hold it


@pytest.mark.parametrize("returned", [0, 1, 143, -signal.SIGTERM])
def test_an_mdrun_that_ends_after_a_stop_was_requested_has_not_failed(
    tmp_path: Path, returned: int
) -> None:
    """In its first moments, while it starts MPI say, a signal ends it in any way."""

    def ends(_: Sequence[str], cwd: Path, __: Stop, ___: Sequence[int]) -> int:
        (cwd / "md.out").write_bytes(b"")
        return returned

    stop = Stop()
    with pytest.raises(GromacsError, match="Repeat with"):
        gromacs.mdrun(built(), [], cwd=tmp_path, stop=stop, last_step=100, runner=ends)
    stop.request("signal SIGTERM")
    assert not gromacs.mdrun(built(), [], cwd=tmp_path, stop=stop, last_step=100, runner=ends)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"[{}]", b"null", b"[[", b"\xff"])
def test_a_damaged_calibration_counts_as_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "calibration.json"
    assert workers._measured(file) == []
    layout = Layout(2, 1, 0, 100.0, 0.25)
    file.write_bytes(workers._LAYOUTS.dump_json([layout]))
    assert workers._measured(file) == [layout]
    file.write_bytes(workers._LAYOUTS.dump_json([Layout(0, 1, 0, 100.0, 0.25)]))
    assert workers._measured(file) == []
    file.write_bytes(content)
    assert workers._measured(file) == []


@pytest.fixture
def engine() -> Any:
    """As much of one as a calibration looks at."""
    system = SimpleNamespace(
        manifest={"atoms": {"water": (0, 10)}},
        atoms=10,
        spec=SystemSpec(),
        gro=None,
        top=None,
        ndx=None,
    )
    return SimpleNamespace(gmx=built(), run=RunSpec(), stop=Stop(), system=system)


@pytest.mark.parametrize("name", ["file", "n" * 300, "~no-such-user/x"])
def test_a_calibration_that_cannot_be_kept_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Any, name: str
) -> None:
    (tmp_path / "file").touch()
    layout = Layout(2, 1, 0, 100.0, 0.25)
    monkeypatch.setattr(gromacs, "grompp", lambda *_, **__: None)
    monkeypatch.setattr(gromacs, "layouts", lambda _: [layout])
    monkeypatch.setattr(gromacs, "time_layout", lambda *_, **__: layout)
    monkeypatch.setattr(workers.psutil, "cpu_percent", lambda interval: 5.0)
    start: Any = SimpleNamespace(dir=tmp_path, steps=100)
    monkeypatch.setenv("XDG_CACHE_HOME", name if name[0] == "~" else str(tmp_path / name))
    assert workers.calibrate(engine, start) == [layout]
    assert workers.calibrated(engine) == []
    assert workers.layout_for(engine, start, [start], 1, None).workers == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert workers.calibrate(engine, start) == workers.calibrated(engine) == [layout]
    assert len(list((tmp_path / "cache" / "janus-pore" / "calibration").iterdir())) == 1


def test_a_calibration_is_of_one_model_of_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Any
) -> None:
    """Machines of one home directory; Debian's Python knows nothing of the processor."""
    monkeypatch.setattr(platform, "processor", lambda: "")
    described = tmp_path / "cpuinfo"
    monkeypatch.setattr(gromacs, "_CPUINFO", described)
    assert gromacs.processor() == platform.machine()
    files = set()
    for model in ("AMD EPYC 7763", "Intel(R) Xeon(R) 6248", "AMD EPYC 7763"):
        described.write_text(f"processor\t: 0\nmodel\t\t: 1\nmodel name\t: {model}\n" * 2)
        assert gromacs.processor() == model
        files.add(workers._calibration_file(engine))
    assert len(files) == 2


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        (None, ["A100", "H100", "L4"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("none", []),
        ("0", ["A100"]),
        ("2, 0", ["L4", "A100"]),
        ("0,2,-1,1", ["A100", "L4"]),
        ("1,3,0", ["H100"]),
        ("1,1", ["H100"]),
        ("GPU-2b", ["H100"]),
        ("GPU-1a41,GPU-4d", ["A100"]),
        ("MIG-7c", ["H100"]),
        ("GPU", []),
    ],
)
def test_hidden_gpus_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None, names: list[str]
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        "#!/bin/sh\necho 'GPU 0: A100 (UUID: GPU-1a41)\nGPU 1: H100 (UUID: GPU-2b52)\n"
        "  MIG 1g.5gb      Device  0: (UUID: MIG-7c07)\nGPU 2: L4 (UUID: GPU-3c63)'\n"
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ROCR_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert list(gromacs.machine_gpus.__wrapped__()) == names


def test_gpus_whose_uuids_are_not_known() -> None:
    assert gromacs.visible_gpus("GPU-5,GPU-6,GPU-7", [[], []]) == [0, 1]
    assert gromacs.visible_gpus("1,-1", [[], []]) == [1]


def test_a_gpu_that_the_build_cannot_use_is_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gromacs, "machine_gpus", lambda: ("NVIDIA A100",))
    assert "NVIDIA A100" in (gromacs.missed_gpu(built()) or "")
    assert gromacs.missed_gpu(built("CUDA")) is None
    monkeypatch.setattr(gromacs, "machine_gpus", lambda: ())
    assert gromacs.missed_gpu(built()) is None


def test_layouts_fill_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gromacs, "cores", lambda: 12)
    monkeypatch.setattr(gromacs, "machine_gpus", lambda: ())
    shapes = [(x.workers, x.threads) for x in gromacs.layouts(built())]
    assert shapes == [(12, 1), (6, 2), (3, 4), (1, 8), (1, 12)]
    monkeypatch.setattr(gromacs, "machine_gpus", lambda: ("a", "b"))
    assert [(x.workers, x.threads, x.gpus) for x in gromacs.layouts(built("CUDA"))] == [
        (16, 1, 2), (8, 1, 2), (4, 3, 2), (2, 6, 2),
    ]  # fmt: skip
    assert [x.gpus for x in gromacs.layouts(built())] == [0] * 5


def test_the_best_layout_depends_on_the_number_of_replicas() -> None:
    narrow, wide = Layout(8, 1, ns_per_day=20.0), Layout(1, 8, ns_per_day=100.0)
    assert gromacs.best_layout([narrow, wide], 1) is wide
    assert gromacs.best_layout([narrow, wide], 4) is wide
    assert gromacs.best_layout([narrow, wide], 6) is narrow
    assert gromacs.best_layout([narrow, wide], 9) is wide  # the ninth would run alone
    assert gromacs.best_layout([narrow, wide], 100) is narrow


def test_the_last_step_is_read_whatever_mdrun_says_after_it(tmp_path: Path) -> None:
    assert gromacs.current_step(tmp_path) is None
    steps = "".join(f"\rstep {n}, remaining wall clock time:     2 s" for n in range(0, 5000, 50))
    parting = """

Received the TERM signal, stopping within 100 steps

NOTE: 5 % of the run time was spent in domain decomposition,
      36 % of the run time was spent in pair search,
      you might want to increase nstlist (this has no effect on accuracy)

               Core t (s)   Wall t (s)        (%)
       Time:        0.004        0.004       98.8
                 (ns/day)    (hour/ns)
Performance:       40.576        0.591

GROMACS reminds you: "Computer system analysis is like child-rearing; you can do grievous damage,
but you cannot ensure success." (Tom DeMarcho)
"""
    (tmp_path / "md.out").write_text(f"starting mdrun\n{steps}{parting}", encoding="utf-8")
    assert gromacs.current_step(tmp_path) == 4950

    class Renamed(type(tmp_path)):
        """A folder that is renamed while one looks into it."""

        def glob(self, *_: Any, **__: Any) -> Any:
            raise FileNotFoundError

    assert gromacs.current_step(Renamed(tmp_path / "no more")) is None


def test_a_failure_shows_the_lines_that_matter_and_the_command(tmp_path: Path) -> None:
    printed = """
GROMACS: gmx mdrun, version 2024.2
step 100, remaining wall clock time: 3 s
Step 120, time 0.24 (ps)  Water molecule starting at atom 4213 can not be settled.
Check for bad contacts and/or reduce the timestep if appropriate.
-------------------------------------------------------
Program:     gmx mdrun, version 2024.2
Source file: src/gromacs/mdlib/sim_util.cpp (line 614)

Fatal error:
Step 120: The total potential energy is nan, which is not finite.

For more information and tips for troubleshooting, please check the GROMACS
website at http://www.gromacs.org/Documentation/Errors
-------------------------------------------------------
"""
    said = gromacs.failure(["gmx", "-nocopyright", "mdrun", "-s", "a b.tpr"], tmp_path, 1, printed)
    assert "gmx mdrun failed (exit status 1)" in said
    assert "starting at atom 4213 can not be settled" in said
    assert "Step 120: The total potential energy is nan" in said
    assert f"cd {tmp_path} && gmx -nocopyright mdrun -s 'a b.tpr'" in said
    assert "For more information" not in said
    killed = gromacs.failure(["gmx", "mdrun"], tmp_path, -9, "step 5\n")
    assert "killed by signal SIGKILL" in killed


@pytest.mark.parametrize(
    ("name", "error"), [("INT", StoppedError), ("TERM", StoppedError), ("SEGV", GromacsError)]
)
def test_a_tool_that_somebody_ended_has_not_failed(
    tmp_path: Path, name: str, error: type[Exception]
) -> None:
    """What it was reading is then not taken for damaged."""
    program = tmp_path / "gmx"
    program.write_text(f"#!/bin/sh\nulimit -c 0\nkill -{name} $$\n")
    program.chmod(0o755)
    with pytest.raises(error, match=f"SIG{name}"):
        Gmx(program, (2024, 2), "").run(["energy"], cwd=tmp_path)
    assert not issubclass(StoppedError, GromacsError)


def test_a_ctrl_c_at_the_terminal_is_for_the_driver_alone(tmp_path: Path) -> None:
    program = tmp_path / "gmx"
    program.write_text(f"#!/bin/sh\n{sys.executable} -c 'import os; print(os.getsid(0))'\n")
    program.chmod(0o755)
    printed = Gmx(program, (2024, 2), "").run([], cwd=tmp_path)
    assert int(printed) != os.getsid(0)


@pytest.mark.gromacs
def test_a_warning_of_grompp_stops_and_is_shown(tmp_path: Path) -> None:
    """Nosé-Hoover on every tenth step, the trap that only grompp notices."""
    from janus_pore.build.system import system_files
    from janus_pore.spec import load_profile

    profile = load_profile("tiny")
    for name, text in system_files(profile.system).items():
        (tmp_path / name).write_text(text)
    files = {
        "conf": tmp_path / "conf.gro",
        "top": tmp_path / "topol.top",
        "ndx": tmp_path / "index.ndx",
    }
    options = gromacs.physics_options(profile.system, profile.run)
    options |= gromacs.list_options(profile.system)
    gmx = gromacs.find_gmx()
    gromacs.grompp(gmx, options, tpr=tmp_path / "good.tpr", **files)
    assert "WARNING" not in (tmp_path / "good.grompp.log").read_text()
    with pytest.raises(GromacsError, match=r"(?s)at\s+least 20 times larger.*Repeat with"):
        gromacs.grompp(gmx, options | {"nsttcouple": "10"}, tpr=tmp_path / "bad.tpr", **files)


def test_the_paper_s_settings_are_those_published() -> None:
    options = gromacs.physics_options(SystemSpec(), RunSpec())
    published = {
        "dt": "0.001", "tcoupl": "nose-hoover", "tau-t": "0.1", "ref-t": "300",
        "coulombtype": "PME", "rcoulomb": "1.2", "rvdw": "1.2", "nsttcouple": "1",
        "freezegrps": "Membrane", "freezedim": "Y Y Y", "comm-mode": "None",
        "periodic-molecules": "yes",
    }  # fmt: skip
    assert {name: options[name] for name in published} == published
    restrained = gromacs.physics_options(
        SystemSpec(membrane="restrained"), RunSpec(variant="gpu_fast")
    )
    assert restrained["tcoupl"] == "v-rescale"
    assert "freezegrps" not in restrained


def test_a_signal_during_a_signal_does_not_wait_for_itself() -> None:
    stop = Stop()

    def second(*_: object) -> None:
        with stop._lock:
            stop.request("again")

    waiting = threading.Thread(target=second, daemon=True)
    waiting.start()
    waiting.join(timeout=10)
    assert not waiting.is_alive()
    assert stop.reason == "again"
