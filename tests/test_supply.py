"""What is installed: all of it locked, and under a licence that lets it be shared."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

import licences

ROOT = Path(__file__).resolve().parents[1]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_declared_package_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [project["optional-dependencies"][name] for name in ("test", "gromacs", "workflow")]
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    declared = {plain(re.split(r"[<>=!~\[; ]", line)[0]) for line in lines}
    assert declared <= {plain(name) for name in licences.locked()}


def pins(python: str) -> dict[str, Requirement]:
    """What the lock files have a Python on Linux install."""
    lines = "".join((ROOT / name).read_text(encoding="utf-8") for name in licences.LOCKS)
    pinned = map(Requirement, re.findall(r"(?m)^([\w.-]+==.+?) \\$", lines))
    return {plain(pin.name): pin for pin in pinned if applies(pin, python)}


def applies(requirement: Requirement, python: str, extra: str = "") -> bool:
    environment = {
        **default_environment(), "python_full_version": python, "extra": extra,
        "python_version": python.rpartition(".")[0],
        "os_name": "posix", "platform_system": "Linux", "sys_platform": "linux",
    }  # fmt: skip
    return requirement.marker is None or requirement.marker.evaluate(environment)


# Those of Debian 12 and 13 and of Ubuntu 24.04.
@pytest.mark.parametrize("python", ["3.11.2", "3.12.3", "3.13.5"])
def test_what_locked_packages_require_is_locked(python: str) -> None:
    pinned = pins(python)
    assert len(pinned) > 50
    asked = [(name, "") for name in pinned]
    for name, extra in asked:  # which grows by the extras that are required
        try:
            about = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # one for another Python, or gmxapi
        if not pinned[name].specifier.contains(about.version):
            continue  # conda's own, which may require other things
        for requirement in map(Requirement, about.requires or []):
            if not applies(requirement, python, extra):
                continue
            other = plain(requirement.name)
            assert other in pinned, f"{name} requires {requirement}"
            (pin,) = pinned[other].specifier
            assert requirement.specifier.contains(pin.version), f"{name} requires {requirement}"
            asked += [(other, e) for e in requirement.extras if (other, e) not in asked]


def test_every_locked_package_has_a_free_licence(capsys: pytest.CaptureFixture[str]) -> None:
    assert licences.main() == 0, capsys.readouterr().err
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(licences.locked()) > 50
    assert sum("not installed" in line for line in lines) < len(lines) / 2


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ("License-Expression: MIT", "MIT"),
        ("Classifier: License :: OSI Approved :: BSD License", "BSD License"),
        ("License: Apache 2.0\n        and more", "Apache 2.0"),
        ("Summary: none", ""),
    ],
)
def test_licences_are_read_where_packages_state_them(
    monkeypatch: pytest.MonkeyPatch, fields: str, found: str
) -> None:
    from email import message_from_string

    monkeypatch.setattr(metadata, "metadata", lambda name: message_from_string(fields))
    assert licences.licence("some") == found
    assert licences.known(found) == bool(found)


def test_an_unknown_licence_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(licences, "locked", lambda: ["numpy", "closed", "absent"])
    texts = {"numpy": "BSD-3-Clause", "closed": "All rights reserved", "absent": None}
    monkeypatch.setattr(licences, "licence", texts.get)
    assert licences.main() == 1
    assert capsys.readouterr().err == "to be looked at: closed\n"
