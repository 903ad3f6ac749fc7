"""Trajectories of water and ions that wander."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import BOX_NM, directions, random_walk, write_xtc


@pytest.fixture
def wandering(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """Makes a trajectory of water and ions that wander: (path, manifest)."""

    def make(
        frames: int = 40,
        waters: int = 60,
        ions: int = 5,
        spacing_ps: float = 0.5,
        seed: int = 0,
        name: str = "md.xtc",
    ) -> tuple[Path, dict[str, Any]]:
        rng = np.random.default_rng(seed)
        oxygen = random_walk(rng, frames, waters)
        oxygen[:, :4] = BOX_NM / 2 + rng.uniform(-0.25, 0.25, (frames, min(4, waters), 3))
        manifest = write_xtc(
            tmp_path / name,
            spacing_ps * np.arange(frames),
            oxygen=oxygen,
            dipole=directions(rng, frames, waters),
            potassium=random_walk(rng, frames, ions),
            chloride=random_walk(rng, frames, ions),
        )
        return tmp_path / name, manifest

    return make
