"""A tiny equilibrated system, made once and copied for each test that runs GROMACS."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from janus_pore.build.system import build_system
from janus_pore.drive import ensemble
from janus_pore.spec import Profile, load_profile

SHORT = {
    "run.equilibration_ps": 1.0,
    "run.replica_spacing_ps": 0.5,
    "run.settle_ps": 0.25,
    "run.chunk_ps": 1.0,
}


@pytest.fixture(scope="session")
def tiny() -> Profile:
    """The tiny profile with the shortest of equilibrations."""
    return load_profile("tiny", SHORT)


@pytest.fixture(scope="session")
def equilibrated(tiny: Profile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs directory that holds the equilibration for two replicas."""
    runs = tmp_path_factory.mktemp("equilibrated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JANUS_PORE_RUNS", str(runs))
        build_system(tiny.system)
        ensemble.equilibrate(tiny, replicas=2, progress=False)
    return runs


@pytest.fixture
def runs(
    equilibrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """Switch to a fresh copy of the equilibrated runs directory."""

    def switch(name: str) -> Path:
        target = tmp_path / name
        shutil.copytree(equilibrated, target)
        monkeypatch.setenv("JANUS_PORE_RUNS", str(target))
        return target

    return switch
