"""The variant that lets a GPU update coordinates shows the same physics as the default."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from janus_pore.build.system import build_system
from janus_pore.drive import ensemble
from janus_pore.measure import series
from janus_pore.spec import Constant, Profile, Protocol, load_profile

REPLICAS = 6
QUIET = {
    "run.equilibration_ps": 2.0,
    "run.replica_spacing_ps": 0.5,
    "run.settle_ps": 0.5,
}
FAST = {"run.variant": "gpu_fast", "system.membrane": "restrained"}


def observables(
    overrides: dict[str, Any], field_V_per_nm: float
) -> dict[str, np.ndarray[Any, Any]]:
    """Means of each replica over the second half of a constant field."""
    drive = Protocol(
        replicas=REPLICAS, frame_ps=0.1,
        waveform=Constant(field_V_per_nm=field_V_per_nm, duration_ps=2.0),
    )  # fmt: skip
    profile: Profile = load_profile("tiny", {**QUIET, **overrides})
    profile = profile.model_copy(update={"protocols": {"drive": drive}})
    build_system(profile.system)
    ensemble.run_protocol(profile, "drive", progress=False)
    data = series.open_protocol(profile, "drive")["constant"]
    late = data.isel(time=slice(data.sizes["time"] // 2, None))
    cosine = np.cos(np.deg2rad(late["theta"]))
    return {
        "pore water": late["pore_water_count"].mean("time").values,
        "dipole": late["dipole_x"].mean("time").values,
        "mean cosine": cosine.mean(("time", "slot")).values,
        "charge": data["charge"].sel(estimator="box").sum("species").isel(time=-1).values,
    }


def deviations(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Difference of two means over its standard error."""
    error = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))
    return float(abs(a.mean() - b.mean()) / error)


@pytest.mark.gromacs
def test_gpu_fast_shows_what_the_default_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """v-rescale and a membrane on stiff springs, against Nosé-Hoover and a frozen one."""
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    default, fast = observables({}, 1.0), observables(FAST, 1.0)
    for name, values in default.items():
        assert deviations(values, fast[name]) < 4, (name, values, fast[name])
    # The same comparison tells half the field from the whole one.
    weaker = observables({}, 0.3)
    assert deviations(default["dipole"], weaker["dipole"]) > 4


def test_the_variant_goes_with_its_membrane() -> None:
    load: Callable[..., Profile] = load_profile
    for half in ({"run.variant": "gpu_fast"}, {"system.membrane": "restrained"}):
        with pytest.raises(Exception, match="go together"):
            load("tiny", half)
