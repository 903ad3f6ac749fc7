"""Trajectories made by hand: ions and water where a test puts them, in real XTC files."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from MDAnalysis.lib.formats.libmdaxdr import XTCFile

BOX_NM = np.array([6.0, 3.0, 3.2])
OH_NM, HALF_HH_NM = 0.1, 0.08165
ALONG_NM = np.sqrt(OH_NM**2 - HALF_HH_NM**2)
"""From the oxygen to the middle between the hydrogens of SPC/E water."""
MEMBRANE_ATOMS = 4


def hydrogens(oxygen: npt.NDArray[Any], dipole: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Positions (..., 2, 3) of rigid SPC/E hydrogens for unit dipole vectors (..., 3)."""
    helper = np.where(np.abs(dipole[..., 2:]) < 0.9, [0.0, 0.0, 1.0], [0.0, 1.0, 0.0])
    across = np.cross(dipole, helper)
    across = across / np.linalg.norm(across, axis=-1, keepdims=True)
    middle = oxygen + ALONG_NM * dipole
    return np.stack([middle + HALF_HH_NM * across, middle - HALF_HH_NM * across], axis=-2)


def system_manifest(n_water: int, n_potassium: int, n_chloride: int) -> dict[str, Any]:
    """What the builder writes, for a system of that many molecules."""
    stops = np.cumsum([0, MEMBRANE_ATOMS, 3 * n_water, n_potassium, n_chloride]).tolist()
    names = ("membrane", "water", "K", "Cl")
    return {
        "kind": "system",
        "key": "made-by-hand",
        "box_nm": BOX_NM.tolist(),
        "pore": {"x_nm": BOX_NM[0] / 2, "centre_yz_nm": [BOX_NM[1] / 2, BOX_NM[2] / 2]},
        "atoms": {n: [a, b] for n, a, b in zip(names, stops[:-1], stops[1:], strict=True)},
        "charges_e": {"OW": -0.8476, "HW": 0.4238, "K": 1.0, "Cl": -1.0},
    }


def write_xtc(
    path: Path,
    times_ps: npt.NDArray[Any],
    *,
    oxygen: npt.NDArray[Any] | None = None,
    dipole: npt.NDArray[Any] | None = None,
    potassium: npt.NDArray[Any] | None = None,
    chloride: npt.NDArray[Any] | None = None,
    precision: float = 1000.0,
    box: npt.NDArray[Any] | None = None,
) -> dict[str, Any]:
    """Write positions (frames, molecules, 3), each atom wrapped into the box by itself.

    Returns the system's manifest.
    """
    n = len(times_ps)
    nothing = np.zeros((n, 0, 3))
    oxygen = nothing if oxygen is None else oxygen
    dipole = nothing if dipole is None else dipole
    potassium = nothing if potassium is None else potassium
    chloride = nothing if chloride is None else chloride
    water = np.concatenate([oxygen[..., None, :], hydrogens(oxygen, dipole)], axis=-2)
    membrane = np.broadcast_to(BOX_NM / 2 + [0, 1.0, 1.0], (n, MEMBRANE_ATOMS, 3))
    everything = np.concatenate(
        [membrane, water.reshape(n, 3 * oxygen.shape[1], 3), potassium, chloride], axis=1
    )
    everything = np.mod(everything, BOX_NM).astype(np.float32)
    matrix = np.diag(BOX_NM).astype(np.float32) if box is None else box.astype(np.float32)
    with XTCFile(str(path), "w") as file:
        for k, (t, positions) in enumerate(zip(times_ps, everything, strict=True)):
            file.write(positions, matrix, k, float(t), precision)
    return system_manifest(oxygen.shape[1], potassium.shape[1], chloride.shape[1])


def random_walk(rng: np.random.Generator, frames: int, molecules: int) -> npt.NDArray[Any]:
    """Unwrapped positions (frames, molecules, 3) of molecules that wander about the box."""
    start = rng.random((1, molecules, 3)) * BOX_NM
    return start + np.cumsum(rng.normal(0, 0.1, (frames, molecules, 3)), axis=0)


def directions(rng: np.random.Generator, *shape: int) -> npt.NDArray[Any]:
    """Random unit vectors (*shape, 3)."""
    vectors = rng.normal(size=(*shape, 3))
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
