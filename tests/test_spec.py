"""Parameters and their files: what is accepted, what is refused, and in which words."""

import errno
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from damage import injuries, plain_data
from janus_pore import paths, spec
from janus_pore.build.forcefield import load_forcefield
from janus_pore.build.system import system_dir
from janus_pore.errors import SpecError
from janus_pore.spec import Profile, Protocol, Sampled, SystemSpec, load_profile, validated
from janus_pore.sweep_spec import load_sweep

TINY = (paths.data_dir() / "profiles" / "tiny.yaml").read_bytes()
FORCE_FIELD = (paths.data_dir() / "forcefield.yaml").read_bytes()

SWEEP = (paths.project_root() / "workflow" / "sweeps" / "example.yaml").read_bytes()


def read(content: bytes, reader: Any, name: str = "some.yaml") -> Any:
    """What a reader makes of a file's content; None if it refuses it in plain words."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        found, refused = None, ""
        try:
            found = reader(path)
        except SpecError as error:
            refused = str(error)
        assert "pydantic.dev" not in refused
        assert len(refused) < 20_000
        assert path.read_bytes() == content
        assert [p.name for p in Path(folder).iterdir()] == [name]
        return found


def profile(path: Path) -> Profile:
    return load_profile(str(path))


@pytest.mark.parametrize("name", ["tiny", "demo", "reduced", "paper"])
def test_shipped_profiles_survive_a_round_trip(name: str) -> None:
    original = load_profile(name)
    again = read(json.dumps(original.model_dump(mode="json")).encode(), profile)
    assert again == original
    assert spec.key(again) == spec.key(original)


@pytest.mark.parametrize("name", [5, None, ["tiny"], Path("tiny")])
def test_a_profile_is_named_by_text(name: Any) -> None:
    with pytest.raises(SpecError, match=r"profile = .* must be a name, one of .*tiny"):
        load_profile(name)


def test_a_misspelt_profile_is_not_shown_as_what_ships() -> None:
    with pytest.raises(SpecError, match="'camapign' is not known"):
        load_profile("camapign", {"source": "campaign"})
    assert load_profile("demo", {"source": "campaign"}).name == "campaign"


def test_a_profile_called_like_one_that_ships_is_refused(tmp_path: Path) -> None:
    """Their results would lie in one folder."""
    file = tmp_path / "demo.yaml"
    file.write_bytes(TINY)
    with pytest.raises(SpecError, match="would be called 'demo', as one that ships"):
        load_profile(str(file))
    file.write_bytes(b"name: mine\n" + TINY)
    assert load_profile(str(file)).name == "mine"


@given(content=injuries(TINY))
@settings(max_examples=40, deadline=None)
@example(content=b"[" * 10_000)
@example(content=b"&a {name: *a}")
@example(content=b"a: !!int x")
@example(content=b"a: !!timestamp x")
@example(content=b"a: !!bool x")
@example(content=b"a: !!int ''")
@example(content=b"name: 2001-99-99")
@example(content=b"\xff\xfe")
@example(content=b"- list")
def test_a_damaged_profile_is_read_or_refused_in_plain_words(content: bytes) -> None:
    found = read(content, profile)
    assert found is None or isinstance(found, Profile)


@given(content=injuries(FORCE_FIELD))
@settings(max_examples=25, deadline=None)
def test_a_damaged_force_field_is_read_or_refused_in_plain_words(content: bytes) -> None:
    read(content, load_forcefield.__wrapped__)


@given(content=injuries(SWEEP))
@settings(max_examples=25, deadline=None)
def test_a_damaged_sweep_is_read_or_refused_in_plain_words(content: bytes) -> None:
    read(content, load_sweep)


@given(where=st.sampled_from(["system", "run", "protocols", "windows", "name"]), data=plain_data())
@settings(max_examples=60, deadline=None)
def test_any_data_in_a_profile_is_accepted_or_refused_in_plain_words(where: str, data: Any) -> None:
    whole = {"name": "tiny", **yaml.safe_load(TINY), where: data}
    refused = ""
    try:
        validated(Profile, whole, "profile")
    except SpecError as error:
        refused = str(error)
    named = (where, "protocol", "refers to itself")  # a profile may promise protocols
    assert not refused or any(name in refused for name in named)


@pytest.mark.parametrize(
    "content",
    [
        "!!python/object/apply:os.system ['touch {}']",
        "name: !!python/object/new:subprocess.Popen [['touch', '{}']]",
        "name: !!python/name:os.system",
    ],
)
def test_loading_runs_no_code(tmp_path: Path, content: str) -> None:
    made = tmp_path / "made"
    for reader in (profile, load_forcefield.__wrapped__, load_sweep):
        assert read(content.format(made).encode(), reader) is None
    assert not made.exists()


@pytest.mark.parametrize(
    "name", ["../up", "/etc/passwd", "a/b", "..", ".hidden", "a\nb", "a\0b", "", "a\\b", "x" * 201]
)
def test_no_name_leads_out_of_the_directory_that_bears_it(name: str) -> None:
    tiny = yaml.safe_load(TINY)
    sine = tiny["protocols"]["sine"]
    for data in (tiny | {"name": name}, tiny | {"name": "a", "protocols": {name: sine}}):
        with pytest.raises(SpecError, match="becomes part of a path"):
            validated(Profile, data, "profile")
    for parameter in ("charge_set", "chalcogen_lj", "pore"):
        with pytest.raises(SpecError, match=parameter):
            validated(SystemSpec, {parameter: name}, "system")


@given(
    st.builds(SystemSpec, seed=st.integers(1, 2**31 - 1), pore=st.sampled_from(["none", "bond4"]))
)
@settings(max_examples=10, deadline=None)
def test_systems_lie_in_the_runs_directory(system: SystemSpec) -> None:
    assert system_dir(system).resolve().is_relative_to(paths.runs_dir())


@pytest.mark.parametrize("name", ["huge", "x" * 5000, "a\0b", "", "\n"])
def test_a_profile_that_is_not_there_is_named_shortly(name: str) -> None:
    with pytest.raises(SpecError, match=r"use one of .*demo, paper, reduced, tiny") as raised:
        load_profile(name)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("scan", "complaint"),
    [
        (
            {"phase_deg": (0.1234567, 0.1234568)},
            r"two waveforms .* phase_deg=0\.123457; .* apart",
        ),
        (
            dict.fromkeys(("phase_deg", "cycles"), tuple(range(1, 102))),
            "more than 10000 waveforms",
        ),
        (
            {"amplitude_V_per_nm": (0.5, 700.0)},
            r"scan at amplitude_V_per_nm=700: .*1 V/nm = 1000 mV/nm",
        ),
        ({"cycles": ()}, r"scan\.cycles = \[\] has no value; give at least one"),
    ],
)
def test_a_scan_names_each_waveform_once(scan: dict[str, Any], complaint: str) -> None:
    sine = {"kind": "sine", "amplitude_V_per_nm": 0.5, "frequency_GHz": 1}
    with pytest.raises(SpecError, match=complaint):
        validated(Protocol, {"waveform": sine, "scan": scan}, "protocol")


def test_a_sampled_field_has_a_sensible_number_of_pieces() -> None:
    data = {"times_ps": (0.0, 1e6), "fields_V_per_nm": (0.0, 1.0), "step_ps": 1e-6}
    with pytest.raises(SpecError, match=r"step_ps = 1e-06 ps cuts .* more than 100000 pieces"):
        validated(Sampled, data, "waveform")


def test_relative_directories_start_at_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel and a scheduler's job work elsewhere than the shell, and must find the same."""
    monkeypatch.setenv("JANUS_PORE_RUNS", "somewhere/runs")
    monkeypatch.setenv("JANUS_PORE_RESULTS", str(tmp_path))
    there = paths.runs_dir()
    assert there == paths.project_root() / "somewhere" / "runs"
    monkeypatch.chdir(tmp_path)
    assert paths.runs_dir() == there
    assert paths.results_dir() == tmp_path
    monkeypatch.delenv("JANUS_PORE_RUNS")
    assert paths.runs_dir() == paths.project_root() / "runs"


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kept.json"
    assert paths.write_whole(file, "°") == file
    assert file.read_bytes() == "°".encode()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as target:
            target.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space left"):
        paths.write_whole(file, b"another content")
    assert file.read_bytes() == "°".encode()
    assert list(tmp_path.iterdir()) == [file]


def test_a_pore_region_longer_than_the_box_is_refused() -> None:
    changes = {"system.length_x_nm": 3.0, "system.cutoff_nm": 0.9}
    with pytest.raises(SpecError, match=r"run.pore_half_length_nm = 1.8 nm .* box, 1.5 nm"):
        load_profile("tiny", {**changes, "run.pore_half_length_nm": 1.8})


def test_windows_beyond_the_box_are_refused() -> None:
    content = yaml.safe_load(TINY)
    content["windows"] |= {"from_nm": -2.0, "to_nm": 2.0, "spacing_nm": 1.0}
    with pytest.raises(SpecError, match=r"windows reach 2 nm .* the box ends at 1.6 nm"):
        validated(Profile, {"name": "wide", **content}, "profile")


def test_a_profile_that_is_not_there_is_told_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=rf"there is no file {tmp_path}/my/own.yaml"):
        load_profile("my/own.yaml")
    with pytest.raises(SpecError, match=r"relative one from the working directory$"):
        load_profile("dem")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.yaml").write_bytes(TINY)
    assert load_profile("~/own.yaml").name == "own"
