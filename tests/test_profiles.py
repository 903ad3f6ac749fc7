"""The further systems of a profile: the control without a pore, and other charge sets."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from janus_pore import paths
from janus_pore.build.forcefield import load_forcefield
from janus_pore.drive.background import design
from janus_pore.errors import SpecError
from janus_pore.spec import Profile, Sine, load_profile, validated


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JANUS_PORE_RESULTS", str(tmp_path))
    return tmp_path


each_profile = pytest.mark.parametrize("name", ["tiny", "demo", "reduced", "paper"])


def changed(name: str, **system: object) -> Profile:
    return load_profile(name, {f"system.{key}": value for key, value in system.items()})


@each_profile
def test_every_profile_runs_its_current_protocols_without_a_pore(name: str) -> None:
    profile = load_profile(name)
    control, *others = (p for p in profile.siblings() if p.system.pore in ("none", "hollow6"))
    assert control.system == profile.system.model_copy(update={"pore": "none"})
    assert list(control.protocols) == list(profile.control)
    assert {"sine", "ppf", "ppd", "stf", "std"} <= set(profile.control)
    for protocol in profile.control:
        assert control.protocol(protocol) == profile.protocol(protocol)
    assert [p.system.charge_set for p in others] == list(profile.charge_sets)
    assert all(p.system.pore == profile.system.pore for p in others)
    assert all(next(iter(p.protocols)) == "sine" and p.windows is None for p in others)
    assert all(p.siblings() == () for p in (control, *others))


def test_the_published_charge_sets_are_all_in_the_larger_profiles() -> None:
    for name in ("reduced", "paper"):
        assert load_profile(name).charge_sets == (
            "mosse_symmetric", "mosse_polar", "uncharged", "mos2",
        )  # fmt: skip


def test_each_system_has_results_of_its_own(results: Path) -> None:
    demo = load_profile("demo")
    assert demo.variant == ""
    assert demo.results_dir == results / "demo"
    assert demo.without_pore().results_dir == results / "demo" / "no-pore"
    assert demo.with_charge_set("mos2").results_dir == results / "demo" / "mos2"
    assert changed("demo", pore="none").variant == "no-pore"
    assert changed("demo", charge_set="mos2", pore="bond4", seed=7).variant == "mos2_bond4_seed-7"
    assert changed("demo", pore="hollow6", charge_set="mosse").variant == ""
    assert changed("demo", charge_set="mos2").without_pore().variant == "mos2_no-pore"
    lengths = {changed("demo", length_x_nm=x).variant for x in (5.0, 5.5, 6.0)}
    assert lengths == {"", "length_x_nm-5.5", "length_x_nm-6.0"}
    charged = changed("demo", charges_e=[1.0, -0.4, -0.6]).variant
    assert "/" not in charged
    assert charged not in ("", changed("demo", charges_e=[1.0, -0.6, -0.4]).variant)


def test_another_charge_set_ends_charges_of_ones_own() -> None:
    own = changed("reduced", charges_e=[0.8, -0.3, -0.5])
    own = own.model_copy(update={"own_system": None})  # as if they stood in the profile's file
    forcefield = load_forcefield()
    charges = {p.variant: forcefield.charges_e(p.system)["metal"] for p in own.siblings()}
    assert charges["no-pore"] == 0.8
    assert [charges[name] for name in own.charge_sets] == [1.06, 1.06, 0.0, 1.18]
    back = own.with_system(charge_set="mosse")
    assert (back.variant, forcefield.charges_e(back.system)["metal"]) == ("charges_e-None", 1.06)
    one = design(own, Sine(amplitude_V_per_nm=1.0, frequency_GHz=1.0), charge_set="mos2")
    assert one.system.charges_e is None


def test_a_charge_set_given_beside_a_file_with_charges_of_its_own(tmp_path: Path) -> None:
    content = yaml.safe_load((paths.data_dir() / "profiles" / "tiny.yaml").read_text("utf-8"))
    content["system"]["charges_e"] = [0.8, -0.3, -0.5]
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert load_profile(str(file)).system.charges_e == (0.8, -0.3, -0.5)
    assert load_profile(str(file), {"system.charge_set": None}).system.charges_e is not None
    other = load_profile(str(file), {"system.charge_set": "uncharged"})
    assert (other.system.charges_e, other.variant) == (None, "uncharged")
    given = {"system.charge_set": "uncharged", "system.charges_e": [0.2, -0.1, -0.1]}
    assert load_profile(str(file), given).system.charges_e == (0.2, -0.1, -0.1)


def test_one_system_of_a_profile() -> None:
    whole = load_profile("tiny")
    own, control = whole.only("own"), whole.only("no-pore")
    assert (own.system, own.protocols, own.siblings()) == (whole.system, whole.protocols, ())
    assert control == next(p for p in whole.siblings() if p.variant == "no-pore")
    with pytest.raises(SpecError, match="'nosuch' is no system of profile 'tiny'; it has own, no-"):
        whole.only("nosuch")


def test_a_variant_is_looked_at_by_itself() -> None:
    for change in ({"pore": "none"}, {"charge_set": "mos2"}, {"seed": 2}):
        profile = changed("tiny", **change)
        assert profile.siblings() == ()
        assert set(profile.protocols) == set(load_profile("tiny").protocols)


def test_alternatives_run_what_they_name_and_the_windows_at_rest() -> None:
    held = {"fields_V_per_nm": {"Cl": [0.0, 0.4], "K": [0.8]}, "from_nm": 0.0, "to_nm": 0.1}
    held |= {"spacing_nm": 0.05, "spacing_at_rest_nm": 0.1, "equilibrate_ps": 0.2, "sample_ps": 1.0}
    others = [
        {"system": {"pore": "bond4"}, "protocols": ["step_up"], "replicas": 1},
        {"system": {"chalcogen_lj": "stewart"}},
    ]
    tiny = load_profile("tiny", {"windows": held, "alternatives": others})
    narrow, soft = tiny.siblings()[-2:]
    assert (narrow.variant, soft.variant) == ("bond4", "chalcogen_lj-stewart")
    assert narrow.protocols == {
        "step_up": tiny.protocol("step_up").model_copy(update={"replicas": 1})
    }
    assert soft.protocols == {}
    for one in (narrow, soft):
        assert one.windows is not None
        assert one.windows.places == (("Cl", 0.0, 0.0), ("Cl", 0.0, 0.1))
        assert (one.windows.spacing_nm, one.windows.spacing_at_rest_nm) == (0.1, None)
        assert one.siblings() == ()
        assert validated(Profile, one.model_dump(), "kept in a record") == one
    assert narrow.system.model_copy(update={"pore": tiny.system.pore}) == tiny.system
    silent = [others[0] | {"windows": False}]
    assert load_profile("tiny", {"windows": held, "alternatives": silent}).siblings()[-1] == (
        narrow.model_copy(update={"windows": None})
    )
    # without a field none is held, and without a protocol nothing is left to run
    held["fields_V_per_nm"] = {"Cl": [0.4]}
    assert [p.variant for p in load_profile("tiny", {"windows": held, "alternatives": others})
            .siblings()][-1] == "bond4"  # fmt: skip


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"system": {"pore": "none"}}, r"'none'\} is without a pore; name what differs"),
        ({"system": {"pore": "hollow6"}}, r"'hollow6'\} is the profile's own"),
        ({"system": {"por": "bond4"}}, "por is not a parameter"),
        ({"system": {"pore": "bond4"}, "protocols": ["step"]}, "need protocol 'step'"),
        ({"system": {"pore": "bond4"}, "replicas": 0}, "replicas"),
    ],
)
def test_alternatives_that_cannot_be_are_refused(other: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_profile("tiny", {"alternatives": [other]})


def test_a_system_that_is_named_twice_is_one_sibling() -> None:
    tiny = load_profile("tiny")
    (name,) = tiny.charge_sets
    again = [
        {"system": {"charge_set": name}, "protocols": ["step_up"], "windows": False},
        {"system": {"charge_set": name}},
    ]
    both = load_profile("tiny", {"alternatives": again})
    (found,) = (p for p in both.siblings() if p.system.charge_set == name)
    assert list(found.protocols) == ["sine", "step_up"]
    assert found.variant == name


def test_a_variant_may_be_one_of_the_alternatives() -> None:
    for change in ({"pore": "none"}, {"pore": "bond4"}):
        one = changed("campaign", **change)
        assert one.alternatives == load_profile("campaign").alternatives
        assert one.siblings() == ()


def test_fewer_protocols_need_fewer_further_runs() -> None:
    tiny = load_profile("tiny")
    kept = {n: tiny.protocol(n) for n in ("ppf", "step_up")}
    fewer = tiny.model_copy(update={"protocols": kept})
    control, narrow, equal = fewer.siblings()
    assert list(equal.protocols) == ["step_up"]
    assert list(control.protocols) == ["ppf"]
    assert list(narrow.protocols) == ["step_up"]
    (control,) = tiny.model_copy(update={"protocols": {"ppf": kept["ppf"]}}).siblings()
    assert list(control.protocols) == ["ppf"]
    assert validated(Profile, fewer.model_dump(), "kept in a record") == fewer


def test_the_sweep_is_the_first_sine_whatever_its_name() -> None:
    tiny = load_profile("tiny")
    (charged,) = tiny.charge_sets
    sine, step = tiny.protocol("sine"), tiny.protocol("step_up")
    slow = sine.model_copy(
        update={"waveform": sine.waveform.model_copy(update={"frequency_GHz": 1.0})}
    )
    # the control's own order is another one, and must not make another sine its sweep
    two = tiny.model_copy(
        update={
            "protocols": {"step_up": step, "slow": slow, "sine": sine},
            "control": ("sine", "slow"),
        }
    )
    assert two.sweep == two.without_pore().sweep == "slow"
    assert list(two.with_charge_set(charged).protocols) == ["slow"]
    none = tiny.model_copy(update={"protocols": {"step_up": step}})
    assert none.sweep == ""
    assert none.with_charge_set(charged).protocols == {}


def test_what_a_further_system_needs_must_be_there() -> None:
    with pytest.raises(SpecError, match="'dance', which the profile does not have"):
        load_profile("tiny", {"control": ["sine", "dance"]})
    protocols = {"ppf": load_profile("tiny").model_dump()["protocols"]["ppf"]}
    with pytest.raises(SpecError, match="first sine, and it has none; add a protocol"):
        load_profile("tiny", {"protocols": protocols, "control": []})
    with pytest.raises(SpecError, match=r"protocols = \{\} runs nothing; give at least one"):
        load_profile("tiny", {"protocols": {}})
    with pytest.raises(SpecError, match="no protocol 'dance'"):
        load_profile("tiny").with_system(["dance"], pore="none")
    with pytest.raises(SpecError, match="pore = 'hole'"):
        load_profile("tiny").with_system(pore="hole")


@each_profile
def test_constant_fields_come_in_both_signs(name: str) -> None:
    steady = load_profile(name).protocol("steady")
    fields = {w.field_V_per_nm for w in steady.waveforms().values()}
    assert fields == {-f for f in fields}
    assert 0.0 not in fields
