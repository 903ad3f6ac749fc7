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
            out[f"{name}: {label}"] = recording(data, profile.applied(waveforms[label]), profile)
    return out


def recording(data: xr.Dataset, applied: Waveform, profile: Profile) -> Recording:
    """A series with its replicas as a recording, in the field as applied to this box."""
    time = data["time"].values
    middle = time + np.append(np.diff(time), 0.0) / 2
    theta = data["theta"].transpose("replica", "time", "slot").values
    charge = data["charge"].sel(estimator=ESTIMATOR).sum("species")
    return Recording(
        time,
        field_at(applied, middle),
        order=memristor.order_from_angles(theta),
        charge_e=charge.transpose("replica", "time").values,
        window_ps=max(profile.run.current_window_ps, float(np.diff(time).max())),
    )


def fitted(profile: Profile) -> Known | None:
    """The model for a profile's system, or None where it has no runs or no pore."""
    if profile.system.pore == "none" or not (known := recordings(profile)):
        return None
    names = dict.fromkeys(name.split(":")[0] for name in known)
    return Known(memristor.fit(known), tuple(names))
