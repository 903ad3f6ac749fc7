"""From runs and series to what the figures draw and the scorecard judges.

Here and nowhere else the definitions of the measure storey meet the paper's figures: which
windows, bins, replicas and fields stand behind each of them. Fields are those of the
reference box: applied field divided by :attr:`janus_pore.spec.Profile.field_scale`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ..build.forcefield import load_forcefield
from ..build.system import (
    DALTON_PER_NM3,
    PER_MOLAR_NM3,
    BuiltSystem,
    BulkDensity,
    bulk_density,
)
from ..drive.ensemble import RunRecord, end_frame, thermodynamics
from ..drive.gromacs import said
from ..drive.manifests import read_manifest
from ..errors import MeasureError, MissingInputError, SpecError
from ..measure import current, series
from ..measure.barrier import GAS_CONSTANT_KJ_PER_MOL_K
from ..measure.statistics import FEWEST_UNITS, Estimate
from ..spec import Profile, Sine, load_profile, profile_names
from . import view
from .figures import ESTIMATOR_NAME, Curve, FloatArray

NOTHING = Estimate(float("nan"), float("nan"), float("nan"), 0, "nothing to measure")

MOST_FRAMES = 60
"""End states used for a density: more cost time and add little."""


class Thermostat(NamedTuple):
    """Temperature of a run against what the canonical ensemble demands."""

    time_ps: FloatArray
    temperature_K: FloatArray
    potential_kJ_per_mol: FloatArray
    mean_K: float
    rmsd_K: float
    canonical_rmsd_K: float
    degrees_of_freedom: int
    drift_kJ_per_mol_ns: float


def thermostat(record: RunRecord, *, discard_ps: float = 0.0) -> Thermostat:
    """Temperature, its fluctuation, and the drift of the conserved energy.

    Parameters
    ----------
    record
        A run; its energies are read with GROMACS.
    discard_ps
        Left out of mean, fluctuation and drift at the beginning.

    Notes
    -----
    The number of degrees of freedom f follows from kinetic energy and temperature,
    K = f R T / 2; in the canonical ensemble the temperature's standard deviation is
    T sqrt(2 / f).
    """
    found = thermodynamics(record)
    time, temperature = found["time_ps"], found["temperature_K"]
    ratio = 2 * found["kinetic_kJ_per_mol"] / (GAS_CONSTANT_KJ_PER_MOL_K * temperature)
    freedom = round(float(np.median(ratio)))
    late = time >= time[0] + discard_ps
    mean = float(temperature[late].mean())
    drift = np.polyfit(time[late], found["conserved_kJ_per_mol"][late], 1)[0]
    return Thermostat(
        time,
        temperature,
        found["potential_kJ_per_mol"],
        mean,
        float(temperature[late].std()),
        mean * np.sqrt(2 / freedom),
        freedom,
        1000 * float(drift),
    )


class Density(NamedTuple):
    """Bulk density, and profiles across the box averaged over frames."""

    bulk: BulkDensity
    x_nm: FloatArray
    water_g_per_cm3: FloatArray
    ions_M: dict[str, FloatArray]


def segments_of(records: Iterable[RunRecord]) -> list[Path]:
    """Directories of the segments of several runs, each once."""
    return list(dict.fromkeys(path for record in records for path in record.path))


def density(built: BuiltSystem, segments: Sequence[Path], *, bins: int = 50) -> Density:
    """Density of the bulk and across the box, from the end states of segments.

    Parameters
    ----------
    built
        The system.
    segments
        Directories of finished segments; at most :data:`MOST_FRAMES`, evenly chosen.
    bins
        Along x.
    """
    every = np.unique(np.linspace(0, len(segments) - 1, MOST_FRAMES).round().astype(int))
    frames = []
    with tempfile.TemporaryDirectory() as scratch:
        for k in every:
            gro = end_frame(segments[k], Path(scratch) / "end.gro")
            frames.append(view.read_frame(gro)[1])
    box = np.asarray(built.manifest["box_nm"], float)
    atoms, centre = built.manifest["atoms"], float(built.manifest["pore"]["x_nm"])
    edges = np.linspace(-box[0] / 2, box[0] / 2, bins + 1)
    volume = box[1] * box[2] * (edges[1] - edges[0])

    def per_volume(name: str) -> FloatArray:
        start, stop = atoms[name]
        x = np.concatenate([f[start : stop : 3 if name == "water" else 1, 0] for f in frames])
        x = x - centre
        counts, _ = np.histogram(x - box[0] * np.rint(x / box[0]), edges)
        mean: FloatArray = counts / (len(frames) * volume)
        return mean

    return Density(
        bulk_density(frames, box, built.manifest),
        (edges[1:] + edges[:-1]) / 2,
        per_volume("water") * load_forcefield().water.mass_u * DALTON_PER_NM3,
        {name: per_volume(name) / PER_MOLAR_NM3 for name in ("K", "Cl")},
    )


def as_demanded(bulk: BulkDensity, manifest: Mapping[str, Any]) -> str:
    """Whether the bulk's density is within the tolerance that the system was built for, in words.

    By two standard errors; one frame has none and decides nothing.
    """
    demanded = manifest["density"]
    tolerance = float(demanded["tolerance_g_per_cm3"])
    off = abs(bulk.solvent_equivalent_g_per_cm3 - demanded["target_g_per_cm3"])
    error = 2 * bulk.solvent_equivalent_error_g_per_cm3
    if off + error <= tolerance:
        return "yes"
    return "no" if off - error > tolerance else "not enough frames to tell"


class Effort(NamedTuple):
    """What the dynamics of some segments cost, as GROMACS logged it."""

    segments: int
    md_ns: float
    wall_s: float
    ns_per_day: float
    hardware: str
    gmx: str


def effort(segments: Iterable[Path]) -> Effort:
    """Nanoseconds, time and hardware of segments, from their manifests."""
    manifests = [read_manifest(s) for s in segments]
    md_ns = sum(m["duration_ps"] for m in manifests) / 1000
    wall_s = sum(m["wall_s"] or 0.0 for m in manifests)
    used = {
        f"{h.get('cpu', 'unknown processor')} ({h.get('simd', '?')}), "
        + (f"GPU for {', '.join(h['on_gpu'])}" if h.get("on_gpu") else "no GPU")
        for h in (m["hardware"] for m in manifests)
    }
    versions = {said(m["provenance"]["gmx_version"], "GROMACS version") for m in manifests}
    return Effort(
        len(manifests),
        md_ns,
        wall_s,
        86400 * md_ns / wall_s if wall_s else float("nan"),
        "; ".join(sorted(used)),
        ", ".join(sorted(versions - {""})),
    )


def estimator_named(name: str) -> str:
    """The name of an estimator of the current, if it is one.

    Raises
    ------
    SpecError
        If it is not; the message names those there are.
    """
    if name not in ESTIMATOR_NAME:
        raise SpecError(
            f"estimator = {name!r} is not known; use one of {', '.join(ESTIMATOR_NAME)}"
        )
    return name


# --- runs and branches ------------------------------------------------------------------


def both_polarities(
    branches: Mapping[tuple[current.Polarity, current.Direction], Curve],
) -> dict[str, Curve]:
    """Sweep direction to one curve from the most negative to the most positive field."""
    out = {}
    for direction in ("forward", "reverse"):
        parts = sorted(
            ((p, curve) for (p, way), curve in branches.items() if way == direction),
            key=lambda part: part[0],
        )
        if parts:
            turned = [[v[:: int(p)] for v in curve] for p, curve in parts]
            out[direction] = Curve(*(np.concatenate(v) for v in zip(*turned, strict=True)))
    return out


class Drive(NamedTuple):
    """A sine of a profile, before scaling: its protocol and the label of its waveform there."""

    protocol: str
    label: str
    waveform: Sine

    @property
    def name(self) -> str:
        """What tells it from others, e.g. ``5 GHz, 1.2 V/nm``."""
        wave = self.waveform
        begins = f", from {wave.phase_deg:g}°" if wave.phase_deg else ""
        return f"{wave.frequency_GHz:g} GHz, {wave.amplitude_V_per_nm:g} V/nm{begins}"


def sines(profile: Profile) -> list[Drive]:
    """Every sine that a profile runs; the first is of :attr:`janus_pore.spec.Profile.sweep`.

    Raises
    ------
    MeasureError
        If it runs none.
    """
    found = [
        Drive(name, label, waveform)
        for name, protocol in profile.protocols.items()
        for label, waveform in protocol.waveforms().items()
        if isinstance(waveform, Sine)
    ]
    if not found:
        raise MeasureError(
            f"profile {profile.name!r} has no sine, and loops are made of sines; its protocols are "
            f"{', '.join(profile.protocols) or 'none'}: add one that is a sine"
        )
    return found


def basis_of(data: xr.Dataset, waveform: Sine, system: str) -> str:
    """What a figure of a sine's series rests on, for the line beneath it."""
    replicas, cycles = data.sizes["replica"], waveform.whole_cycles
    many = f"{replicas} replicas × {cycles} cycles" if cycles > 1 else f"{replicas} replicas"
    bands = (
        "bands: 95 % bootstrap" if replicas * cycles >= FEWEST_UNITS else "too few for intervals"
    )
    return f"{system}; {waveform.frequency_GHz:g} GHz; n = {many}; {bands}"


def replicas_of(data: xr.Dataset, protocol: str) -> str:
    """Where a result came from, e.g. ``sine, replicas 0 to 9``."""
    numbers = data["replica"].values.tolist()
    many = f"replicas {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else "replica 0"
    return f"{protocol}, {many}"


MEMBRANES = {
    "mosse": "MoSSe",
    "mosse_symmetric": "equal charges",
    "mosse_polar": "more unequal charges",
    "uncharged": "no charges",
    "mos2": "MoS₂",
}
"""Charge sets, named for the reader."""
NOT_IN_PROFILE = "not run in this profile"
_ABSENT = {"live": "not run yet", "campaign": "not among the shipped results"}


def left_out(whys: Mapping[str, str], profile: Profile) -> str:
    """What a figure lacks, why, and the command that runs it, to follow a caption.

    Parameters
    ----------
    whys
        What a panel would have shown to why it lacks; empty where it does not.
    profile
        The system's profile. No command makes the further systems of a variant.
    """
    parts = []
    for why in dict.fromkeys(filter(None, whys.values())):
        names = ", ".join(name for name, reason in whys.items() if reason == why)
        larger = "reduced" if why == NOT_IN_PROFILE else profile.name
        known = larger in profile_names()  # make takes another by its path alone
        runs_it = known and not profile.variant and why in (NOT_IN_PROFILE, *_ABSENT.values())
        command = f"; make report PROFILE={larger} runs it" if runs_it else ""
        parts.append(f"{names} ({why}{command})")
    return f" Left out: {'; '.join(parts)}." if parts else ""


def choices(profile: Profile) -> dict[str, Profile]:
    """The profile first and then its alternatives, by names that tell their systems apart."""
    return {_choice(one, profile): one for one in (profile, *profile.compared())}


def _choice(one: Profile, own: Profile) -> str:
    system = one.system
    if set(one.changed) - {"charge_set", "pore", "chalcogen_lj"}:
        return one.variant
    name = f"{MEMBRANES.get(system.charge_set, system.charge_set)}, {system.pore}"
    other = system.chalcogen_lj != own.system.chalcogen_lj
    return f"{name}, S:\N{NO-BREAK SPACE}{system.chalcogen_lj}" if other else name


def each_once(values: Mapping[str, float], protocol: str, parameter: str) -> None:
    """Raise MeasureError where two waveforms, by name, share what a curve is drawn over."""
    if len(set(values.values())) < len(values):
        raise MeasureError(
            f"protocol {protocol!r} has waveforms of the same {parameter}, {', '.join(values)}; "
            f"scan nothing but {parameter}"
        )


class Opened(NamedTuple):
    """The series of a protocol by waveform; none, and why, where it was not run."""

    data: dict[str, xr.Dataset]
    why: str


def scaling(profile: Profile) -> str:
    """How the fields on the axes become those of the box, for the foot of a figure."""
    reference, here = profile.reference_length_x_nm, profile.system.length_x_nm
    text = f"fields of a box of {reference:g} nm"
    if profile.field_scale != 1:
        text += (
            f"; this one of {here:g} nm gets {profile.field_scale:g} times as much, and so the "
            "same voltage"
        )
    return text


def opened(profile: Profile, protocol: str) -> Opened:
    """A protocol's series where there are any: not every profile runs every system.

    Use :func:`janus_pore.measure.series.open_protocol` for what must be there.
    """
    if protocol not in profile.protocols:
        return Opened({}, NOT_IN_PROFILE)
    try:
        return Opened(series.open_protocol(profile, protocol), "")
    except MissingInputError:
        return Opened({}, _ABSENT[profile.source])


def those_run(profile: Profile, protocols: Sequence[str]) -> dict[str, dict[str, xr.Dataset]]:
    """Series of those of some protocols that were run."""
    every = {p: opened(profile, p).data for p in protocols}
    return {p: data for p, data in every.items() if data}


SIZE = {"cells_y", "cells_z", "length_x_nm", "cutoff_nm", "seed"}
"""In what a system may differ from one that ships and still be compared with it."""


COMPARED = ("temperature_K", "pore_half_length_nm", "pore_radius_nm")
"""Parameters of a run in which what ships beside another must not differ."""


def ships(profile: Profile) -> Profile | None:
    """The profile of the results that ship for the same membrane, pore and solution, measured
    in the same region and at the same temperature, with fields of the same reference box.

    None where there is no such profile, or where it is what is shown anyhow.
    """
    own = profile.system
    if profile.source == "campaign":
        return None
    found = load_profile(
        "campaign",
        {"source": "campaign", "system.pore": own.pore, "system.charge_set": own.charge_set},
    )
    alike = (
        found.system.model_dump(exclude=SIZE) == own.model_dump(exclude=SIZE)
        and found.reference_length_x_nm == profile.reference_length_x_nm
        and all(getattr(found.run, name) == getattr(profile.run, name) for name in COMPARED)
    )
    return found if alike else None


def shipped_name(shipped: Profile, live: Profile, run: str) -> str:
    """What ships in a legend: its profile and runs, and its box where that is another one."""
    own, theirs = live.system, shipped.system
    parts = [f"shipped ({shipped.name}): {run}"]
    if (own.cells_y, own.cells_z) != (theirs.cells_y, theirs.cells_z):
        parts.append(f"{theirs.cells_y} × {theirs.cells_z} cells")
    if own.length_x_nm != theirs.length_x_nm:
        parts.append(f"Lx = {theirs.length_x_nm:g} nm")
    return ", ".join(parts)
