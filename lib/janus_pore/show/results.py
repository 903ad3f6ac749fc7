"""From runs and series to what the figures draw and the scorecard judges.

Here and nowhere else the definitions of the measure storey meet the paper's figures: which
windows, bins, replicas and fields stand behind each of them. Fields are those of the
reference box: applied field divided by :attr:`janus_pore.spec.Profile.field_scale`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

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
from ..drive.ensemble import RunRecord, thermodynamics
from ..measure import current
from ..measure.statistics import (
    FEWEST_UNITS,
    Estimate,
)
from ..spec import Profile, Sine
from . import scorecard, view
from .figures import SPECIES_NAME, Curve, FloatArray

NOTHING = Estimate(float("nan"), float("nan"), float("nan"), 0, "nothing to measure")

GAS_CONSTANT_KJ_PER_MOL_K = 8.314462618e-3
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
            gro = view.end_frame(segments[k], Path(scratch) / "end.gro")
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
    manifests = [json.loads((s / "manifest.json").read_text("utf-8")) for s in segments]
    md_ns = sum(m["duration_ps"] for m in manifests) / 1000
    wall_s = sum(m["wall_s"] or 0.0 for m in manifests)
    used = {
        f"{h.get('cpu', 'unknown processor')} ({h.get('simd', '?')}), "
        + (f"GPU for {', '.join(h['on_gpu'])}" if h.get("on_gpu") else "no GPU")
        for h in (m["hardware"] for m in manifests)
    }
    reports = {m["provenance"]["gmx_version"] for m in manifests}
    versions = {
        line.split(":", 1)[1].strip()
        for text in reports
        for line in text.splitlines()
        if line.startswith("GROMACS version:")
    }
    return Effort(
        len(manifests),
        md_ns,
        wall_s,
        86400 * md_ns / wall_s if wall_s else float("nan"),
        "; ".join(sorted(used)),
        ", ".join(sorted(versions)),
    )


# --- current --------------------------------------------------------------------------

ONSET_TOLERANCE_V_PER_NM = 0.2
"""How far an onset may lie from the published one, which was read off a curve."""

Branches = dict[tuple[current.Polarity, current.Direction], current.Branch]


class Sweeps(NamedTuple):
    """One quantity's current over whole cycles of a sine, in fields of the reference box.

    ``field_V_per_nm`` (windows,) and ``current_nA`` (units, windows) are in the order of
    time over one cycle; a unit is one cycle of one replica.
    """

    field_V_per_nm: FloatArray
    current_nA: FloatArray
    branches: Branches

    def curves(self) -> dict[str, Curve]:
        """Sweep direction to current against field, both polarities in one line."""
        return both_polarities(
            {k: Curve.of(b.field_V_per_nm, b.current_nA) for k, b in self.branches.items()}
        )


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


def sweeps(
    data: xr.Dataset, waveform: Sine, profile: Profile, *, window_ps: float | None = None
) -> dict[str, dict[str, Sweeps]]:
    """Current against field by estimator and species (``total``, ``K``, ``Cl``).

    Parameters
    ----------
    data
        The sine's series with dimension ``replica``.
    waveform
        As in the profile, before scaling.
    profile
        The run's profile.
    window_ps
        Of the current; by default the profile's.

    Notes
    -----
    A cycle of a replica counts as one independent unit. |E| is binned evenly, about one
    bin for each window of a quarter cycle and at most 24.
    """
    window = profile.run.current_window_ps if window_ps is None else window_ps
    time = data["time"].values
    charge = data["charge"].transpose("replica", "estimator", "species", "time").values
    _, nA = current.current_from_charge(charge, time, window)
    _, E = current.window_average(data["field"].values, time, window)
    cycles = max(1, int(waveform.cycles + 1e-6))
    nA = current.cycles_as_units(nA, cycles)
    E = current.cycles_as_units(E, cycles)[0] / profile.field_scale
    bins = int(np.clip(len(E) // 5, 4, 24))
    edges = np.linspace(0.0, abs(waveform.amplitude_V_per_nm), bins + 1)
    unit = "replicas" if cycles == 1 else "cycles"
    out: dict[str, dict[str, Sweeps]] = {}
    for k, estimator in enumerate(data["estimator"].values.tolist()):
        parts = {name: nA[:, k, s] for s, name in enumerate(data["species"].values.tolist())}
        parts = {"total": sum(parts.values(), np.zeros_like(nA[:, 0, 0])), **parts}
        out[estimator] = {
            name: Sweeps(E, value, current.sweep(E, value, edges, unit=unit))
            for name, value in parts.items()
        }
    return out


def _negative_slope(
    one: Sweeps, polarity: current.Polarity, profile: Profile, name: str
) -> tuple[scorecard.Part, current.Onset | None]:
    """Whether the current of the forward sweep falls beyond a maximum."""
    branch = one.branches.get((polarity, "forward"))
    if branch is None or len(branch.field_V_per_nm) < 2:
        return scorecard.decided(name, NOTHING, None, profile), None
    onset = current.ndr_onset(branch)
    holds = {"found": True, "not found": False}.get(onset.verdict)
    return scorecard.decided(name, onset.drop, holds, profile), onset


def onset_in_words(one: Sweeps, polarity: current.Polarity) -> str:
    """Whether the forward sweep shows negative differential resistance, and from where."""
    branch = one.branches.get((polarity, "forward"))
    if branch is None:
        return "no sweep"
    onset = current.ndr_onset(branch)
    if onset.verdict == "found":
        return f"from {scorecard.describe(onset.onset_V_per_nm, 'V/nm')}"
    return onset.verdict


def loop_areas(one: Sweeps) -> dict[str, Estimate]:
    """∮ I dE over ``positive`` and ``negative`` fields and the ``whole`` cycle, nA·V/nm."""
    areas = current.loop_area(one.field_V_per_nm, one.current_nA)
    return {str(name): area for name, area in areas.items()}


def _memory(
    one: Sweeps, profile: Profile, name: str, polarities: Sequence[str] = ("positive", "negative")
) -> list[scorecard.Part]:
    """Whether the reverse sweep carries less current: area of the loop for each polarity."""
    found = loop_areas(one)
    signs = {"positive": "E > 0", "negative": "E < 0"}
    return [
        scorecard.judge(f"{name} {signs[p]}", found[p], (0.0, np.inf), profile, unit="nA·V/nm")
        for p in polarities
    ]


def pinched(one: Sweeps) -> current.Pinch:
    """Currents at E = 0, from the windows nearest to it (a tenth of the amplitude, or more
    if that holds fewer than three on a side)."""
    E = one.field_V_per_nm
    rising = np.gradient(E) > 0
    near = max(
        0.1 * float(np.abs(E).max()),
        *(1.001 * float(np.sort(np.abs(E[side]))[2]) for side in (rising, ~rising)),
    )
    return current.pinch(E, one.current_nA, near_V_per_nm=near)


def claims_of_current(
    found: Mapping[str, Mapping[str, Sweeps]], profile: Profile, run: str
) -> list[scorecard.Row]:
    """Judge what the paper says of the loop, under each estimator of the current.

    Claims 1 to 5 are about the charge set ``mosse`` with a pore, claims 12 to 15 about the
    other sets; a membrane without a pore is the control and bears on none of them.
    """
    if profile.system.pore == "none":
        return []
    chosen = profile.system.charge_set
    out = []
    for estimator, species in found.items():
        total = species["total"]

        def add(number: int, parts: Sequence[scorecard.Part], by: str = estimator) -> None:
            out.append(scorecard.row(number, parts, estimator=by, run=run))

        others = {c.values.get("charge_set"): c.id for c in scorecard.claims("03_iv_ndr")}
        if chosen in others:
            slope, _ = _negative_slope(total, 1, profile, "drop beyond the maximum, E > 0")
            add(others[chosen], [slope, *_memory(total, profile, "loop area")])
        if chosen != "mosse":
            continue
        polarities: tuple[tuple[int, current.Polarity, str], ...] = (
            (1, 1, "E > 0"),
            (2, -1, "E < 0"),
        )
        for number, polarity, sign in polarities:
            slope, onset = _negative_slope(
                total, polarity, profile, f"drop beyond the maximum, {sign}"
            )
            parts = [slope]
            if onset is not None and onset.verdict == "found":
                stated = float(scorecard.claim(number).values["onset_V_per_nm"])
                region = (
                    stated - ONSET_TOLERANCE_V_PER_NM,
                    stated + ONSET_TOLERANCE_V_PER_NM,
                )
                parts.append(
                    scorecard.judge("onset", onset.onset_V_per_nm, region, profile, unit="V/nm")
                )
            add(number, parts)
        gap = pinched(total)
        holds = {"pinched": True, "open": False}.get(gap.verdict)
        add(
            3,
            [
                scorecard.decided(
                    "gap at E = 0 over the largest |I|", gap.relative_gap, holds, profile
                )
            ],
        )
        add(4, _memory(total, profile, "loop area"))
        parts = []
        for name in ("K", "Cl"):
            label = SPECIES_NAME[name]
            slope, _ = _negative_slope(species[name], 1, profile, f"{label} drop, E > 0")
            parts += [slope, *_memory(species[name], profile, f"{label} loop area")]
        add(5, parts)
    return out


def basis_of(data: xr.Dataset, waveform: Sine, system: str) -> str:
    """What a figure of a sine's series rests on, for the line beneath it."""
    replicas, cycles = data.sizes["replica"], max(1, int(waveform.cycles + 1e-6))
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
