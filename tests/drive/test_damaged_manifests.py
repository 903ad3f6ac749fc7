"""Damaged manifests: named, and never half-believed."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damage import damaged, plain_data
from janus_pore.build.system import build_system, open_system
from janus_pore.drive import manifests, segments
from janus_pore.errors import BuildError, MeasureError, RunError
from janus_pore.spec import load_profile

MANIFEST: dict[str, Any] = {
    "kind": "segment", "kind_of_run": "drive", "key": "0123456789ab", "root": "ba9876543210",
    "parent": None, "state": "0f", "stamp": "1e", "start_step": 0, "end_step": 500,
    "frame_steps": 50, "frame_ps": 0.1, "duration_ps": 1.0, "field": {"E0_V_per_nm": 0.4},
    "wall_s": 0.25, "files": {"series.nc": {"bytes": 3, "sha256": None}},
}  # fmt: skip


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    directory = tmp_path / "r000" / str(MANIFEST["key"])
    directory.mkdir(parents=True)
    (directory / "series.nc").write_bytes(b"abc")
    kept = {"bytes": 3, "sha256": manifests.sha256(directory / "series.nc")}
    manifest = MANIFEST | {"files": {"series.nc": kept}}
    manifests.write_json(directory / "manifest.json", manifest)
    assert manifests.read_manifest(directory) == manifest
    return directory


def known(directory: Path) -> dict[str, Any]:
    return manifests.known_segments(directory.parent, frame_steps=50, stamp="1e")


def test_a_damaged_manifest_is_refused_or_says_the_same(
    segment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = known(segment)
    assert list(good) == [segment.name]
    whole, chance = (segment / "manifest.json").read_bytes(), random.Random(8)
    refused = 0
    for _ in range(400):
        (segment / "manifest.json").write_bytes(damaged(whole, chance))
        found = known(segment)
        for manifest in found.values():
            assert manifest | good[segment.name] == manifest
        refused += not found
        assert not caplog.records or str(segment) in caplog.records[-1].getMessage()
    assert refused > 200


@given(name=st.sampled_from(sorted(MANIFEST)), value=plain_data())
def test_a_manifest_of_the_first_version_is_checked_by_its_contents(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: Any
) -> None:
    """It has no checksum; whatever else stands there, reading it does not break down."""
    directory = tmp_path_factory.mktemp("runs") / str(MANIFEST["key"])
    directory.mkdir()
    content = manifests.json.dumps({**MANIFEST, "files": {}, name: value})
    (directory / "manifest.json").write_text(content)
    for manifest in known(directory).values():
        assert manifest["start_step"] == int(manifest["start_step"])
        with pytest.raises((RunError, OSError)):
            manifests.check_state(directory, manifest)


@pytest.mark.parametrize("name", ["../../other", "/etc/passwd", "..", "a/b", ".hidden"])
def test_a_manifest_names_files_of_its_own_directory_only(segment: Path, name: str) -> None:
    manifest = MANIFEST | {"files": {name: {"bytes": 3}}}
    manifests.write_json(segment / "manifest.json", manifest)
    with pytest.raises(RunError, match="damaged"):
        manifests.read_manifest(segment)


def test_changed_contents_of_the_same_size_are_noticed(segment: Path) -> None:
    (segment / "series.nc").write_bytes(b"abd")
    with pytest.raises(RunError, match=r"series\.nc does not match its checksum"):
        manifests.read_manifest(segment)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\3\4", b"\x80\4N.", b"[1, 2]"])
def test_damaged_energies_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "energies.npy").write_bytes(content)
    with pytest.raises(MeasureError, match=r"energies\.npy cannot be read"):
        segments.load_energies(tmp_path / "energies.npy")


def test_a_damaged_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    spec = load_profile("tiny").system
    built = build_system(spec)
    chance = random.Random(8)
    for name in ("manifest.json", "conf.gro", "topol.top", "index.ndx"):
        whole = (built.dir / name).read_bytes()
        for _ in range(40):
            content = damaged(whole, chance)
            (built.dir / name).write_bytes(content)
            try:
                again = open_system(spec)
            except BuildError:
                continue
            assert again.manifest == built.manifest
            assert name == "manifest.json" or content == whole
        (built.dir / name).write_bytes(whole)
    assert open_system(spec).manifest == built.manifest


def test_a_series_of_another_pore_region_is_not_taken(
    segment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert known(segment)
    assert manifests.known_segments(segment.parent, frame_steps=50, stamp="other") == {}
    assert "another pore region" in caplog.text
