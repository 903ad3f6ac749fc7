"""What only a GPU can show. Skipped, with the reason, where there is none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from janus_pore.build.system import build_system
from janus_pore.drive import ensemble, gromacs
from janus_pore.drive.manifests import read_manifest
from janus_pore.errors import GromacsError
from janus_pore.measure import series
from janus_pore.spec import Constant, Profile, Protocol, load_profile

FAST = {"run.variant": "gpu_fast", "system.membrane": "restrained"}
QUIET = {
    "run.equilibration_ps": 2.0,
    "run.replica_spacing_ps": 0.5,
    "run.settle_ps": 0.5,
}


def _why_not() -> str | None:
    if not gromacs.machine_gpus():
        return "this machine shows no GPU"
    try:
        gmx = gromacs.find_gmx()
    except GromacsError as error:
        return str(error)
    return None if gmx.gpu else "this GROMACS was built without GPU support"


@pytest.fixture(scope="module", autouse=True)
def _a_gpu() -> None:
    if reason := _why_not():
        pytest.skip(reason)


def driven(overrides: dict[str, Any], replicas: int = 2) -> tuple[Profile, list[Path]]:
    """Run a constant field; returns the profile and the driven segments."""
    profile = load_profile("tiny", {**QUIET, **overrides})
    drive = Protocol(
        replicas=replicas, frame_ps=0.1, waveform=Constant(field_V_per_nm=1.0, duration_ps=3.0)
    )
    profile = profile.model_copy(update={"protocols": {"drive": drive}})
    build_system(profile.system)
    records = ensemble.run_protocol(profile, "drive", progress=False)
    return profile, [record.path[-1] for record in records]


@pytest.mark.gromacs
@pytest.mark.parametrize("overrides", [{}, FAST], ids=["default", "gpu_fast"])
def test_the_gpu_is_used_and_the_log_says_for_what(
    overrides: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    _, driven_segments = driven(overrides)
    used = [read_manifest(segment)["hardware"]["on_gpu"] for segment in driven_segments]
    wanted = {"non-bonded", "PME"} | ({"update"} if overrides else set())
    assert all({w.lower() for w in wanted} <= {u.lower() for u in one} for one in used), used


@pytest.mark.gromacs
def test_processor_and_gpu_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same ensemble on the GPU and, the GPU hidden, on the processor."""
    found = {}
    for name in ("gpu", "cpu"):
        monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path / name))
        if name == "cpu":
            monkeypatch.setattr(gromacs, "machine_gpus", lambda: ())
        profile, _ = driven({}, replicas=8)
        data = series.open_protocol(profile, "drive")["constant"]
        late = data.isel(time=slice(data.sizes["time"] // 2, None))
        found[name] = late["dipole_x"].mean("time").values
    a, b = found["gpu"], found["cpu"]
    error = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))
    assert abs(a.mean() - b.mean()) < 4 * error


@pytest.mark.gromacs
def test_several_replicas_share_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    assert max(layout.workers for layout in gromacs.layouts(gromacs.find_gmx())) >= 8
    _, driven_segments = driven({}, replicas=8)
    assert len(driven_segments) == 8
