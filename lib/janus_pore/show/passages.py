"""Ions that went through the membrane's middle plane: counted, and in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ..measure import current
from .figures import SPECIES_NAME


def both_ways(data: xr.Dataset) -> dict[str, int]:
    """How often ions of each species went through the middle plane, all replicas together."""
    return _counted(abs(_moved(data)))


def along_field(data: xr.Dataset, polarity: current.Polarity) -> dict[str, dict[str, int]]:
    """The same by sweep direction while the field had one sign, but those against it taken off:
    an ion that wavers in the plane does not count."""
    E = data["field"].transpose("replica", "time").values
    along = (polarity * (np.sign(E) == polarity))[:, 1:]
    moving, moved = current.sweep_direction(E)[:, 1:], _moved(data)
    return {
        "forward": _counted(moved * along * (moving == 1)),
        "reverse": _counted(moved * along * (moving == -1)),
    }


def late(data: xr.Dataset, discard_ps: float, sign: float) -> dict[str, int]:
    """Net number of passages along a constant field, later than a time after the beginning."""
    moved = _moved(data) * sign
    return _counted(moved.where(moved["time"] > data["time"][0] + discard_ps + 1e-6, 0.0))


def _moved(data: xr.Dataset) -> xr.DataArray:
    """Charge through the middle plane between frames, (species, replica, time)."""
    through = data["charge"].sel(estimator="crossings").transpose("species", "replica", "time")
    return through.diff("time")


def of_ions(by_sweep: Mapping[str, Mapping[str, int]], species: str) -> int:
    """Passages of a species, or of all ions (``total``), in both sweeps."""
    return sum(
        abs(n)
        for counts in by_sweep.values()
        for name, n in counts.items()
        if species in (name, "total")
    )


def _counted(moved: xr.DataArray) -> dict[str, int]:
    counts = moved.sum(["replica", "time"])
    return {str(s): round(float(n)) for s, n in zip(counts["species"].values, counts, strict=True)}


def in_words(passages: Mapping[str, int]) -> str:
    """Numbers of ions by species, as a phrase."""
    if not any(passages.values()):
        return "no ion"
    text = " and ".join(f"{n} {SPECIES_NAME[s]}" for s, n in passages.items())
    return text.replace("-", "−")


def by_sweep(by_sweep: Mapping[str, Mapping[str, int]]) -> str:
    """The same of each sweep direction."""
    if not any(any(passages.values()) for passages in by_sweep.values()):
        return "no ion"
    return "; ".join(f"{direction}: {in_words(n)}" for direction, n in by_sweep.items())
