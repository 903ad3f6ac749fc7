"""The conda environments hold what pyproject.toml asks for, no more and no less."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
FILES = ("environment.yml", "environment-gpu.yml")

CONDA_NAMES = {"MDAnalysis": "mdanalysis", "netCDF4": "netcdf4", "PyYAML": "pyyaml"} | {
    "types-PyYAML": "types-pyyaml",
    "playwright": "playwright-python",
}
"""Where conda-forge's name of a package differs from the one in pyproject.toml."""

BESIDE = {
    *("python", "gromacs"),
    # to install the project, and to build gmxapi where GROMACS has its library
    *("pip", "setuptools", "make", "cmake", "cxx-compiler"),
    *("mpi4py", "networkx", "openmpi", "pybind11"),
}
"""What a conda environment holds beside the packages of pyproject.toml."""


def environment(name: str) -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def specifications(name: str) -> dict[str, str]:
    """Package names to what follows them."""
    out: dict[str, str] = {}
    for line in environment(name)["dependencies"]:
        found = re.fullmatch(r"([\w.-]+?)((?:[<>=!]).*)?", line)
        assert found, f"{name}: {line!r} is not 'package' or 'package<relation>version'"
        assert found[1] not in out, f"{name} lists {found[1]} twice"
        out[found[1]] = found[2] or ""
    return out


def declared() -> dict[str, SpecifierSet]:
    """What pyproject.toml asks for, under conda-forge's names."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*table["dependencies"], *table["optional-dependencies"]["test"]]
    requirements = [Requirement(line) for line in lines]
    return {CONDA_NAMES.get(r.name, r.name): r.specifier for r in requirements}


@pytest.mark.parametrize("name", FILES)
def test_same_packages_as_pyproject(name: str) -> None:
    assert set(specifications(name)) - BESIDE == set(declared())
    assert set(specifications(name)) >= BESIDE


@pytest.mark.parametrize("name", FILES)
def test_same_bounds_as_pyproject(name: str) -> None:
    listed = specifications(name)
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    bounds = declared() | {"python": SpecifierSet(table["project"]["requires-python"])}
    for package, bound in bounds.items():
        assert SpecifierSet(listed[package]) == bound, package
    (build,) = map(Requirement, table["build-system"]["requires"])
    assert SpecifierSet(listed["setuptools"]) == build.specifier


def test_the_names_differ_only_where_they_have_to() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*table["dependencies"], *table["optional-dependencies"]["test"]]
    assert set(CONDA_NAMES) <= {Requirement(line).name for line in lines}
    assert all(name == name.lower() for name in declared())


def test_the_gpu_environment_differs_in_gromacs_alone() -> None:
    cpu, gpu = (specifications(name) for name in FILES)
    assert gpu.pop("gromacs") == "=2026.*=nompi_cuda*"
    assert cpu.pop("gromacs") == ">=2021"
    assert gpu == cpu


@pytest.mark.parametrize("name", FILES)
def test_channels_are_names_and_no_host(name: str) -> None:
    assert environment(name)["channels"] == ["conda-forge", "nodefaults"]
    assert "://" not in (ROOT / name).read_text(encoding="utf-8")
