"""What the long haul watches: memory and disk, on what is made by hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import haul
import results

MB = 1_000_000


def test_a_profile_for_the_disk_is_one_long_segment() -> None:
    profile = haul.long_profile(2, "tiny")
    protocol = profile.protocol("long")
    assert (protocol.replicas, protocol.frame_ps) == (1, 0.1)
    assert [wave.duration_ps for wave in protocol.waveforms().values()] == [2000.0]
    assert profile.run.chunk_ps == 500.0
    assert profile.siblings() == ()


def test_the_disk_is_seen_as_it_fills_and_empties(tmp_path: Path) -> None:
    disk = haul.Disk(tmp_path / "runs", first_steps=1000)
    disk.look()  # before anything is there
    partial = tmp_path / "runs" / "system" / "r000" / ".abc.partial"
    partial.mkdir(parents=True)
    chunk, whole = partial / "chunk-0-1000", partial.with_name("abc")

    def write(path: Path, size: int) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(size))

    def reach(step: int) -> None:
        (partial / "md.out").write_text(f"step {step}, remaining wall clock time: 1 s\n")

    reach(500)
    write(partial / "md.part0001.xtc", 3 * MB)
    disk.look()
    write(partial / "md.part0001.xtc", 4 * MB)
    reach(1000)
    disk.look()
    assert disk.first_peak == pytest.approx(4 * MB, rel=1e-3)
    # Reduced while the next is written; its second name takes no room.
    chunk.mkdir()
    (partial / "md.part0001.xtc").rename(chunk / "md.part0001.xtc")
    os.link(chunk / "md.part0001.xtc", chunk / "trajectory.xtc")
    write(partial / "md.part0002.xtc", MB)
    (partial / "md.out").write_text("")  # a new mdrun has said nothing yet
    disk.look()
    assert disk.peak == pytest.approx(5 * MB, rel=1e-3)
    assert disk.first_peak == disk.peak  # the first part is over once a step says so
    reach(1500)
    write(partial / "md.part0002.xtc", MB + MB // 4)
    disk.look()
    for file in (chunk / "md.part0001.xtc", chunk / "trajectory.xtc", partial / "md.part0002.xtc"):
        file.unlink()
    write(partial / "series.nc", MB // 2)
    partial.rename(whole)
    disk.look()
    found = disk.summary()
    assert found["peak_bytes"] == pytest.approx(5.25 * MB, rel=1e-3)
    assert found["peak_over_first"] == pytest.approx(1.05, rel=1e-3)
    assert (found["trajectory_bytes"], found["series_bytes"]) == (5.25 * MB, MB // 2)
    assert found["trajectory_over_series"] == 10.5
    assert found["passed"]
    write(whole / "left behind", 6 * MB)
    disk.look()
    assert not disk.summary()["passed"]


def test_what_grows_is_seen() -> None:
    still = dict.fromkeys(("memory_of_the_driver_MB", "open_files"), 10.0)
    seen = [{**still, "open_files": 99.0}] * haul.WARM_UP + [still] * 12
    assert haul.growth(seen, 10)["passed"]
    assert haul.growth(seen, 10)["segments"] == 150
    for name, each in (("memory_of_the_driver_MB", 0.3), ("open_files", 0.2)):
        grown = [{**one, name: one[name] + each * i} for i, one in enumerate(seen)]
        found = haul.growth(grown, 10)
        assert found["growth_per_100_segments"][name] == pytest.approx(10 * each)
        assert not found["passed"]


def test_the_memory_of_children_that_ended_counts() -> None:
    household = haul.Household()
    household.look()
    others = household.held()["memory_of_its_children_MB"]  # what earlier tests left at work
    command = [
        sys.executable,
        "-c",
        "held = bytes(range(256)) * 200_000; print(flush=True); input()",
    ]
    for name, counts in (("janus_pore.drive.through_gmxapi", True), ("grompp", False)):
        child = subprocess.Popen(
            [*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        child.stdout.readline()
        with haul.watching(household.look):
            pass
        child.communicate("\n")
        more = household.held()["memory_of_its_children_MB"] - others
        assert more > 40 if counts else more < 10


def test_both_have_a_section() -> None:
    quarter = dict.fromkeys(("memory_of_the_driver_MB", "open_files"), 10.0)
    text = results.SECTIONS["haul"](haul.growth([quarter] * 8, 5))
    assert "8 ensembles, 40 segments" in text
    assert "| memory of the driver, MB | 10.0          | 10.0         | +0.000           |" in text
    sizes = {
        "peak_first_bytes": 2e6, "peak_bytes": 3e6, "trajectory_bytes": 4e7, "series_bytes": 1e6,
        "peak_over_first": 1.5, "trajectory_over_series": 40.0,
    }  # fmt: skip
    about = {"system": "tiny", "ns": 10.0, "first_ns": 1.0, "frame_ps": 0.1, "chunk_ps": 500.0}
    text = results.SECTIONS["disk"](about | sizes)
    assert "1.50 times" in text
    assert "1/40 of the trajectory" in text
    assert "| peak of the whole run                   | 3.0  |" in text
