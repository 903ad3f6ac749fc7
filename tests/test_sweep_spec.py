"""Sweeps: points, their names, and what a wrong file is told."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from janus_pore import paths
from janus_pore.errors import SpecError
from janus_pore.spec import Sine, load_profile
from janus_pore.sweep_spec import load_sweep, parameters, points


def sweep_file(folder: Path, **content: Any) -> Path:
    """A sweep's file."""
    file = folder / "trial.yaml"
    file.write_text(yaml.safe_dump({"profile": "tiny", **content}), encoding="utf-8")
    return file


def test_points_are_all_combinations_with_all_kinds_of_axes(tmp_path: Path) -> None:
    vary = {
        "charge_set": ["mosse", "uncharged"],
        "pore": ["hollow6", "none"],
        "length_x_nm": [3.2, 4.0],
        "seed": [1, 2, 3],
        "amplitude_V_per_nm": [0.6, 1.2],
        "frequency_GHz": [50.0, 100.0],
    }
    chosen = load_sweep(sweep_file(tmp_path, protocols=["sine"], vary=vary))
    made = points(chosen)
    assert len(made) == 2 * 2 * 2 * 3 * 2 * 2
    label = (
        "charge_set=uncharged,pore=none,length_x_nm=4,seed=3,amplitude_V_per_nm=0.6,"
        "frequency_GHz=50"
    )
    point = made[label]
    assert point.name == label
    system = point.system
    assert (system.charge_set, system.pore, system.length_x_nm, system.seed) == (
        "uncharged", "none", 4.0, 3,
    )  # fmt: skip
    wave = point.protocol("sine").waveform
    assert isinstance(wave, Sine)
    assert (wave.amplitude_V_per_nm, wave.frequency_GHz) == (0.6, 50.0)
    assert list(point.protocols) == ["sine"]
    assert point.windows is None
    assert point.siblings() == ()
    assert point.variant == ""
    assert parameters(chosen)[label]["seed"] == 3
    assert list(parameters(chosen)) == list(made)


def test_without_axes_the_profile_itself_is_the_only_point(tmp_path: Path) -> None:
    chosen = load_sweep(sweep_file(tmp_path))
    assert chosen.whole
    assert chosen.home == paths.results_dir()
    assert points(chosen) == {"tiny": load_profile("tiny")}


def test_what_a_sweep_sets_has_no_alternative(tmp_path: Path) -> None:
    def further(**content: object) -> list[list[str]]:
        made = points(load_sweep(sweep_file(tmp_path, **content)))
        return [[one.system.pore for one in point.siblings()] for point in made.values()]

    assert further(vary={"seed": [2]}) == [["none", "hollow6", "bond4"]]
    assert further(vary={"pore": ["hollow6", "bond4"]}) == [["none", "hollow6"], ["none", "bond4"]]
    assert further(fixed={"system.pore": "bond4"}) == [["none", "bond4"]]
    assert further(vary={"seed": [2]}, protocols=["sine"]) == [[]]


@pytest.mark.parametrize("profile", ["tiny", "reduced", "campaign"])
def test_the_control_is_a_point_like_another(tmp_path: Path, profile: str) -> None:
    content = {"profile": profile, "vary": {"pore": ["hollow6", "none"]}}
    made = points(load_sweep(sweep_file(tmp_path, **content)))
    control = made["pore=none"]
    assert control.siblings() == ()
    assert control.windows is None
    assert control.protocols == made["pore=hollow6"].protocols


def test_overrides_make_a_point_of_their_own(tmp_path: Path) -> None:
    chosen = load_sweep(sweep_file(tmp_path, fixed={"run.settle_ps": 1.0}))
    (point,) = points(chosen).values()
    assert (point.name, point.run.settle_ps) == ("all", 1.0)
    assert chosen.home == paths.results_dir() / "sweeps" / "trial"


def test_a_profile_of_ones_own_lies_beside_the_sweep(tmp_path: Path) -> None:
    own = yaml.safe_load((paths.data_dir() / "profiles" / "tiny.yaml").read_text("utf-8"))
    own["run"]["settle_ps"] = 2.0
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    chosen = load_sweep(sweep_file(tmp_path, profile="own.yaml", vary={"seed": [1, 2]}))
    assert {p.run.settle_ps for p in points(chosen).values()} == {2.0}


def test_a_varied_parameter_replaces_a_scan_over_it(tmp_path: Path) -> None:
    own = yaml.safe_load((paths.data_dir() / "profiles" / "tiny.yaml").read_text("utf-8"))
    own["protocols"]["sine"]["scan"] = {"amplitude_V_per_nm": [0.1, 0.2]}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    vary = {"amplitude_V_per_nm": [0.6]}
    chosen = load_sweep(sweep_file(tmp_path, profile="own.yaml", vary=vary))
    (point,) = points(chosen).values()
    (wave,) = point.protocol("sine").waveforms().values()
    assert isinstance(wave, Sine)
    assert wave.amplitude_V_per_nm == 0.6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"vary": {"amplitude": [1.0]}}, "vary.amplitude is not a parameter"),
        ({"vary": {"seed": ["one"]}}, "vary.seed.0 = 'one'"),
        ({"vary": {"seed": [1, 1]}}, "vary.seed holds 1 more than once"),
        ({"vary": {"length_x_nm": [4.0, 4.0000001]}}, "vary.length_x_nm holds 4 more than once"),
        ({"vary": {"length_x_nm": [1.0]}}, "point length_x_nm=1: .*shorter than twice the cut-off"),
        ({"vary": {"pore": ["round5"]}}, "point pore=round5: .*pore = 'round5' is not known"),
        ({"vary": {"pore": ["../x"]}}, "vary.pore.0 = '../x'"),
        ({"vary": {"amplitude_V_per_nm": [1200.0]}}, r"1200.*1 V/nm = 1000 mV/nm"),
        (
            {"protocols": ["ppf"], "vary": {"frequency_GHz": [1.0]}},
            "varies frequency_GHz, and none of its protocols is a sine",
        ),
        ({"protocols": ["sinus"]}, "no protocol 'sinus'; it has"),
        ({"notebooks": ["06_more"]}, "notebooks names '06_more'"),
        ({"profile": "huge"}, "profile 'huge' is not known"),
        ({"fixed": {"run.dt": 2.0}}, "run.dt is not a parameter"),
        ({"fixed": {"seed": 2, "windows": None}}, "windows = null changes nothing"),
        ({"threads": 0}, "threads = 0"),
        ({"name": "a/b"}, "name = 'a/b'"),
    ],
)
def test_a_wrong_sweep_is_told_what_is_wrong(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        load_sweep(sweep_file(tmp_path, **content))


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is not there"):
        load_sweep(tmp_path / "absent.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n", encoding="utf-8")
    with pytest.raises(SpecError, match="holds a list: write lines"):
        load_sweep(tmp_path / "list.yaml")
    (tmp_path / "empty.yaml").touch()
    with pytest.raises(SpecError, match="holds nothing: write lines"):
        load_sweep(tmp_path / "empty.yaml")
    (tmp_path / "broken.yaml").write_text("{", encoding="utf-8")
    with pytest.raises(SpecError, match="not readable as YAML"):
        load_sweep(tmp_path / "broken.yaml")


@pytest.mark.parametrize(
    "file", sorted((paths.project_root() / "workflow" / "sweeps").glob("*.yaml")), ids=str
)
def test_the_examples_are_valid(file: Path) -> None:
    assert points(load_sweep(file))
