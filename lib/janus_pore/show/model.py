"""The reduced memristor model, fitted to what a profile has on disk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from ..drive.field import field_at
from ..errors import MissingInputError
from ..measure import memristor, series
from ..measure.memristor import Fit, Recording
from ..spec import Profile, Waveform

ESTIMATOR = "box"
"""The current that the model describes: transport and charging together."""


class Known(NamedTuple):
    """A fit, and the protocols that it was made from."""

    fit: Fit
    protocols: tuple[str, ...]


def recordings(profile: Profile) -> dict[str, Recording]:
    """What the model is fitted to: each run of each protocol that is wholly on disk."""
    out = {}
    for name, protocol in profile.protocols.items():
        try:
            found = series.open_protocol(profile, name)
        except MissingInputError:
            continue
        waveforms = protocol.waveforms()
        for label, data in found.items():
            out[f"{name}: {label}"] = recording(
                data, profile.applied(waveforms[label]), window_ps=profile.run.current_window_ps
            )
    return out


def recording(
    data: xr.Dataset,
    waveform: Waveform,
    *,
    estimator: str = ESTIMATOR,
    window_ps: float = 0.0,
    most_points: int | None = None,
) -> Recording:
    """A series with its replicas as the model sees it.

    Parameters
    ----------
    data
        With dimension ``replica``.
    waveform
        The field, in the units in which the model is to be fitted: as applied to this box,
        or of the reference box.
    estimator
        Of the current.
    window_ps
        Of the current, or the longest frame spacing if that is longer.
    most_points
        Keep only every so many-th frame, so that there are no more than this.
    """
    every = 1 if most_points is None else -(-data.sizes["time"] // most_points)
    data = data.isel(time=slice(None, None, every))
    time = data["time"].values
    held = field_at(waveform, (time[1:] + time[:-1]) / 2)
    theta = data["theta"].transpose("replica", "time", "slot").values
    order = memristor.order_from_angles(theta) if np.isfinite(theta).any() else None
    charge = data["charge"].sel(estimator=estimator).sum("species")
    return Recording(
        time,
        np.append(held, held[-1]),
        order=order,
        charge_e=charge.transpose("replica", "time").values,
        window_ps=max(window_ps, float(np.diff(time).max())),
    )


def fitted(profile: Profile) -> Known | None:
    """The model for a profile's system, or None where it has no runs or no pore."""
    if profile.system.pore == "none" or not (known := recordings(profile)):
        return None
    names = dict.fromkeys(name.split(":")[0] for name in known)
    return Known(memristor.fit(known), tuple(names))
