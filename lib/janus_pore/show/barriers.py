"""Forces on an ion in the pore: Table 1 with its verdicts, and which ion passes; its energies
beside the bare membrane.

Fields are those of the reference box, as everywhere on the pages; energies and the applied
field's share are those of the box that was simulated, where the applied field is
:attr:`janus_pore.spec.Profile.field_scale` times as large.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..build.forcefield import load_forcefield
from ..build.membrane import axis_lennard_jones, axis_potential, build_membrane
from ..build.system import PER_MOLAR_NM3
from ..drive import ensemble, windows
from ..drive.decompose import PARTS, FloatArray
from ..errors import MeasureError, MissingInputError
from ..measure import series
from ..measure.barrier import (
    GAS_CONSTANT_KJ_PER_MOL_K,
    Barrier,
    MeanForce,
    barrier,
    conductance,
    conductance_of,
    every_other,
    mean_force,
    pmf_band,
    pmf_between,
)
from ..measure.barrier import KJ_PER_MOL_PER_E_V as KJ
from ..measure.statistics import FEWEST_UNITS, Estimate, band, estimate
from ..spec import Profile, SystemSpec, Windows
from . import scorecard
from .figures import SPECIES_NAME, AxisEnergy, Climb, Curve, ForcePanel
from .results import choices

BINS_OF_VISITS = 8
NO_PORE = "a membrane without a pore has no barrier to pass"
NOT_RUN = Estimate(float("nan"), float("nan"), float("nan"), 0, "no windows at this field")


class FieldBarrier(NamedTuple):
    """What the forces at one field say.

    ``applied_V_per_nm`` is the field in the box; ``profile`` the mean force by part with the
    field's share in the total; ``residual_kJ_per_mol_nm`` by how much the parts miss the
    total, root mean square over frames, field left out; ``independent`` the number of
    replicas or visits, which a verdict counts; ``far_nm`` the largest distance of the ion
    from the axis; ``drift_kJ_per_mol_nm`` by how much the total force, averaged over windows,
    changes from the first half of the samples to the second: large while the field still
    charges the membrane. ``barrier`` is the largest rise on the way on which the field drives the
    ion, and zero where it only goes downhill, ``coarser_kJ_per_mol`` the same by every other
    place, from the first on and from the second; ``span`` goes from the lowest energy to the
    highest, wherever they lie. The paper's words allow both readings.
    """

    applied_V_per_nm: float
    profile: MeanForce
    barrier: Barrier
    span: Barrier
    residual_kJ_per_mol_nm: float
    independent: int
    far_nm: float
    drift_kJ_per_mol_nm: float
    coarser_kJ_per_mol: tuple[float, ...] = ()


def chloride_charge() -> float:
    """Charge of Cl-, e."""
    return load_forcefield().ions["Cl"].charge_e


def from_windows(profile: Profile) -> dict[float, FieldBarrier]:
    """Barriers of Cl- from the profile's windows, by field.

    Notes
    -----
    Replicas are the independent units. Where there are fewer than
    :data:`janus_pore.measure.statistics.FEWEST_UNITS`, each window's samples are divided
    into blocks and block k of all windows makes one unit. Blocks of one replica share their
    starting state: such an interval says how well this one state was sampled.

    Raises
    ------
    SpecError
        If the profile has no windows, or no pore.
    MissingInputError
        If they have not been run.
    """
    wanted = windows.asked_for(profile)
    data = series.open_windows(profile)
    charge = chloride_charge()
    out = {}
    for field in wanted.fields_V_per_nm["Cl"]:
        held = _held(data, wanted, "Cl", field)
        parts = held.data["parts"].sel(part=list(PARTS)).transpose("part", "window", "time")
        total = held.data["total"]
        out[field] = _evaluated(
            held.x_nm, total.values.ravel(), parts.values.reshape(len(PARTS), -1), held.units,
            held.edges_nm, charge, float(held.data["applied_V_per_nm"][0]), unit=held.unit,
            residual=(total - parts.sum("part")).values, independent=wanted.replicas,
            far_nm=held.far_nm, drift=held.drift_kJ_per_mol_nm,
        )  # fmt: skip
    return out


class Held(NamedTuple):
    """Windows of one ion at one field, after their equilibration.

    ``data`` has dimensions ``window`` and ``time``; of its samples one after the other are
    ``x_nm`` (n,) the window's position and ``units`` (n,) the number of the independent unit,
    which ``unit`` names. ``edges_nm`` are the bins' around the positions. The last two are as
    in :class:`FieldBarrier`.
    """

    data: xr.Dataset
    x_nm: FloatArray
    units: npt.NDArray[np.intp]
    unit: str
    edges_nm: FloatArray
    far_nm: float
    drift_kJ_per_mol_nm: float


def _held(data: xr.Dataset, wanted: Windows, ion: str, field_V_per_nm: float) -> Held:
    chosen = (data["ion"] == ion) & (data["field_V_per_nm"] == field_V_per_nm)
    late = data["time"] > wanted.equilibrate_ps - 1e-4
    data = data.isel(window=np.flatnonzero(chosen), time=np.flatnonzero(late))
    since = data["time"].values - wanted.equilibrate_ps
    centres = np.array(wanted.positions_at(field_V_per_nm))
    half = wanted.spacing_at(field_V_per_nm) / 2
    per_replica, length = wanted.replicas >= FEWEST_UNITS, wanted.sample_ps / wanted.blocks
    block = np.clip(since * wanted.blocks / wanted.sample_ps, 0, wanted.blocks - 1).astype(int)
    first = data["replica"].values[:, None] * wanted.blocks
    second = since > wanted.sample_ps / 2
    total = data["total"].values
    return Held(
        data,
        np.repeat(data["x_nm"].values, len(since)),
        (first + (0 * block if per_replica else block)).ravel(),
        "replicas" if per_replica else f"blocks of {length:g} ps",
        np.append(centres - half, centres[-1] + half),
        float(np.hypot(*data["position"].values[..., 1:].T).max()),
        float((total[:, second].mean(axis=1) - total[:, ~second].mean(axis=1)).mean()),
    )


def _evaluated(
    x_nm: FloatArray, total: FloatArray, parts: FloatArray, units: npt.NDArray[np.intp],
    edges_nm: FloatArray, charge_e: float, applied_V_per_nm: float, *, unit: str,
    residual: FloatArray, independent: int, far_nm: float, drift: float, fewest: int = 1,
) -> FieldBarrier:  # fmt: skip
    push = charge_e * applied_V_per_nm * KJ
    profile = mean_force(
        x_nm, total + push, dict(zip(PARTS, parts, strict=True)), edges_nm,
        units=units, unit=unit, fewest=fewest,
    )  # fmt: skip
    conditions = {"charge_e": charge_e, "field_V_per_nm": applied_V_per_nm}
    way = int(np.sign(push)) or None
    on_its_way, span = (barrier(profile, **conditions, towards=towards) for towards in (way, None))
    coarser = (barrier(one, **conditions, towards=way) for one in every_other(profile))
    return FieldBarrier(
        applied_V_per_nm, profile, on_its_way, span, float(np.sqrt((residual**2).mean())),
        independent, far_nm, drift, tuple(one.total.value for one in coarser),
    )  # fmt: skip


class Free(NamedTuple):
    """What free chlorides tell at one field: ``found`` is None where it is too little."""

    frames: int
    visits: int
    found: FieldBarrier | None
    why_not: str


def from_visits(profile: Profile, *, every: int = 10) -> dict[float, Free]:
    """Mean forces on free chlorides in the pore, from kept runs at constant field.

    Parameters
    ----------
    profile
        Its protocols with a constant waveform are searched for kept trajectories.
    every
        Use one in so many of an ion's frames in the pore.

    Returns
    -------
    dict of float to Free
        By field; empty if no trajectory was kept or no ion was in the pore.
    """
    if profile.source != "live":
        return {}  # no trajectory ships
    directories: list[Path] = []
    for name, protocol in profile.protocols.items():
        if protocol.waveform.kind == "constant":
            try:
                records = ensemble.open_runs(profile, name)
            except MissingInputError:
                continue
            directories += [path for record in records for path in record.path]
    with tempfile.TemporaryDirectory() as scratch:
        found = windows.free_visits(
            profile, dict.fromkeys(directories), scratch=Path(scratch), every=every
        )
    charge, half = chloride_charge(), profile.run.pore_half_length_nm
    out = {}
    for applied, visits in sorted(found.items()):
        forces, count = visits.forces, int(visits.visit.max()) + 1
        field = float(f"{applied / profile.field_scale:.6g}")
        try:
            one = _evaluated(
                forces.position_nm[:, 0], forces.total, forces.parts, visits.visit,
                np.linspace(-half, half, BINS_OF_VISITS + 1), charge, applied, unit="visits",
                residual=forces.residual, independent=count, fewest=10,
                far_nm=float(np.hypot(*forces.position_nm[:, 1:].T).max()), drift=float("nan"),
            )  # fmt: skip
        except MeasureError as error:
            out[field] = Free(len(forces.total), count, None, str(error))
        else:
            out[field] = Free(len(forces.total), count, one, "")
    return out


# --- for the page -----------------------------------------------------------------------


def available(profile: Profile) -> tuple[dict[float, FieldBarrier], str]:
    """Barriers from the windows that were run, or none and what it takes to have them."""
    if profile.system.pore == "none":
        return {}, NO_PORE
    if profile.windows is None:
        return {}, (
            f"profile {profile.name} holds no ion: give it an entry 'windows' (profile reduced "
            "has one; one window of 10 ps costs as much as 10 ps of any protocol)"
        )
    if "Cl" not in profile.windows.fields_V_per_nm:
        return {}, (
            f"profile {profile.name} holds no Cl-: give it fields in the entry 'windows' "
            "(fields_V_per_nm: {Cl: [...]})"
        )
    try:
        return from_windows(profile), ""
    except MissingInputError:
        return {}, _lacking(profile)


def _lacking(profile: Profile) -> str:
    if profile.source == "campaign":
        return f"the windows of profile {profile.name} do not ship"
    return (
        f"{windows.simulated_ns(profile):.3g} ns of windows are not all there; notebook "
        "02_simulate or run_windows(profile) from janus_pore.drive.windows makes them"
    )


def rows_of_visits(profile: Profile) -> list[tuple[str, str, str, str]]:
    """What free chlorides tell, in words: field, frames, visits, and the energy's span."""
    found = from_visits(profile)
    if not found:
        return [("–", "0", "0", "no run at constant field was kept with an ion in the pore")]
    out = []
    for field, one in found.items():
        said = scorecard.describe(one.found.span.total, "kJ/mol") if one.found else one.why_not
        out.append((f"{field:g}", str(one.frames), str(one.visits), said))
    return out


def panels(found: Mapping[float, FieldBarrier]) -> dict[float, ForcePanel]:
    """What :func:`janus_pore.show.figures.mean_forces` draws."""
    out = {}
    for field, one in found.items():
        x, bands = one.profile.x_nm, one.profile.force_kJ_per_mol_nm
        parts = {
            name: Curve.of(x, replace(bands, value=bands.value[k], low=bands.low[k],
                                      high=bands.high[k]))
            for k, name in enumerate(one.profile.parts)
        }  # fmt: skip
        out[field] = ForcePanel(parts, Curve.of(x, one.profile.total))
    return out


def climbs(found: Mapping[float, FieldBarrier]) -> dict[float, Climb]:
    """What :func:`janus_pore.show.figures.potentials` draws."""
    return {
        field: Climb(
            Curve.of(*pmf_band(one.profile)),
            one.barrier.r_min_nm.value,
            one.barrier.r_max_nm.value,
        )
        for field, one in found.items()
    }


def tables(
    found: Mapping[float, FieldBarrier],
) -> tuple[dict[str, dict[str, Any]], dict[str, FloatArray]]:
    """Both versions of the published table and this run's barriers on the way on which the field
    drives the ion, as they are judged, and the distances implied.

    Returns
    -------
    table, share_nm
        As :func:`janus_pore.show.figures.barrier_table` takes them.
    """
    table = {name: dict(one) for name, one in scorecard.reference("table1.yaml").items()}
    share = {name: scorecard.implied_distance_nm(name) for name in table}
    if fields := sorted(E for E in found if E):
        ours = [found[E].barrier for E in fields]
        table["this run"] = {
            "field_V_per_nm": fields,
            "parts_kJ_per_mol": {name: [b.parts[name].value for b in ours] for name in PARTS},
            "total_kJ_per_mol": [b.total.value for b in ours],
            "intervals": {
                **{name: _ends([b.parts[name] for b in ours]) for name in PARTS},
                "total": _ends([b.total for b in ours]),
                "distance": _ends([b.distance_nm for b in ours]),
            },
        }
        share["this run"] = np.array([b.distance_nm.value for b in ours])
    return table, share


def _ends(values: Sequence[Estimate]) -> FloatArray:
    """Ends (2, n) of intervals; not a number where they are not to be trusted."""
    return np.array([(v.low, v.high) if v.enough else (np.nan, np.nan) for v in values]).T


def rows(found: Mapping[float, FieldBarrier]) -> list[tuple[str, ...]]:
    """Lines of a table: every version's barriers in kJ/mol, field by field.

    The columns are :data:`COLUMNS`.
    """
    out = []
    for name, one in scorecard.reference("table1.yaml").items():
        distances = scorecard.implied_distance_nm(name)
        for k, field in enumerate(one["field_V_per_nm"]):
            parts = one["parts_kJ_per_mol"]
            cells = [f"{parts[p][k]:.2f}" if p in parts else "–" for p in PARTS]
            if "membrane" in parts:
                cells[PARTS.index("membrane_vdw")] = f"{parts['membrane'][k]:.2f} (both)"
            total = one["total_kJ_per_mol"][k]
            share = total - sum(values[k] for values in parts.values())
            out.append((name, f"{field:g}", *cells, f"{share:.2f}", f"{total:.2f}", "–", "–",
                        f"{distances[k]:.3f}"))  # fmt: skip
    for field, ours in sorted(found.items()):
        coarser = ", ".join(f"{v:.1f}".replace("-", "−") for v in ours.coarser_kJ_per_mol)
        for name, b, by_half in (
            ("on its way", ours.barrier, coarser), ("lowest to highest", ours.span, "")
        ):  # fmt: skip
            estimates = (*(b.parts[p] for p in PARTS), b.field, b.total)
            out.append((f"this run, {name}", f"{field:g}", *(_interval(e, 1) for e in estimates),
                        by_half or "–", _interval(b.closure, 1),
                        _interval(b.distance_nm, 3)))  # fmt: skip
    return out


COLUMNS = (
    "version", "E (V/nm)", *(p.replace("_", " ").replace("vdw", "van der Waals") for p in PARTS),
    "applied field", "total", "total by every other place", "total − parts − field",
    "|r2 − r1| (nm)",
)  # fmt: skip
"""Columns of :func:`rows`."""


def _interval(one: Estimate, digits: int) -> str:
    if not np.isfinite(one.value):
        return "–"
    text = f"{one.value:.{digits}f}"
    if one.enough and one.high > one.low:
        text += f" [{one.low:.{digits}f}, {one.high:.{digits}f}]"
    return text.replace("-", "−")


def basis(profile: Profile, found: Mapping[float, FieldBarrier]) -> str:
    """What the windows' figures rest on, in one line."""
    worst = max(one.residual_kJ_per_mol_nm for one in found.values())
    far = max(one.far_nm for one in found.values())
    drift = max((one.drift_kJ_per_mol_nm for one in found.values()), key=abs)
    method = next(iter(found.values())).profile.total.method
    more = f"parts miss the total by {worst:.1g} kJ/mol/nm; "
    if charge_ps := windows.asked_for(profile).charge_ps:
        more = f"the field on for {charge_ps:g} ps before; {more}"
    return _basis(windows.asked_for(profile), method, far, drift, more)


def _basis(wanted: Windows, method: str, far_nm: float, drift: float, more: str = "") -> str:
    counts = {E: len(wanted.positions_at(E)) for E in wanted.every_field}
    number = " or ".join(map(str, sorted(set(counts.values()))))
    text = (
        f"{number} windows × {wanted.replicas} "
        f"replica{'s' * (wanted.replicas > 1)} × "
        f"{wanted.sample_ps:g} ps after {wanted.equilibrate_ps:g} ps; bands: 95 %, {method}; "
        f"{more}the ion went up to {far_nm:.2f} nm from the axis; from the first half of the "
        f"samples to the second the force changed by up to {drift:.0f} kJ/mol/nm, averaged over "
        "windows"
    )
    return text.replace("-", "−")


# --- the bare membrane ------------------------------------------------------------------


def pore_energies(
    system: SystemSpec, pores: Sequence[str], x_nm: FloatArray
) -> dict[str, dict[tuple[str, str], AxisEnergy]]:
    """Energy of K+ and Cl- on the axis of the bare membrane with each pore, in vacuum.

    Returns
    -------
    dict
        Pore to ion and set of the chalcogen's Lennard-Jones parameters to energies (n,).
    """
    forcefield = load_forcefield()
    out: dict[str, dict[tuple[str, str], AxisEnergy]] = {}
    for pore in pores:
        bare = build_membrane(system.model_copy(update={"pore": pore}))
        potential_V = axis_potential(bare, x_nm)
        out[pore] = {}
        for (ion, particle), name in itertools.product(
            forcefield.ions.items(), forcefield.membrane_lj.variants
        ):
            vdw = axis_lennard_jones(bare, forcefield.lennard_jones(name), particle, x_nm)
            whole = particle.charge_e * KJ * potential_V + vdw
            out[pore][ion, name] = AxisEnergy(whole, vdw)
    return out


PORE_ENERGIES = (
    "pore", "ion", "lowest and highest energy (kJ/mol)", "van der Waals wall (kJ/mol)",
    "largest difference between the sets of S (kJ/mol)",
)  # fmt: skip
"""Columns of :func:`rows_of_pore_energies`."""


def rows_of_pore_energies(
    x_nm: FloatArray, found: Mapping[str, Mapping[tuple[str, str], AxisEnergy]]
) -> list[tuple[str, ...]]:
    """Lines of a table for each pore and ion; the columns are :data:`PORE_ENERGIES`.

    The first two energies are those with the first set, which the profiles use.
    """
    out = []
    for pore, energies in found.items():
        for ion in dict.fromkeys(ion for ion, _ in energies):
            first, *others = (one for (name, _), one in energies.items() if name == ion)
            apart = np.max([np.abs(one.vdw - first.vdw) for one in others], axis=0)
            wall, most = int(first.vdw.argmax()), int(apart.argmax())
            cells = (
                f"{first.whole.min():.0f} to {first.whole.max():.0f}",
                f"{first.vdw[wall]:.1f} at x = {x_nm[wall]:.2f} nm"
                if first.vdw[wall] > 0
                else "none",
                f"{apart[most]:.1f} at x = {x_nm[most]:.2f} nm",
            )
            out.append((pore, SPECIES_NAME[ion], *(c.replace("-", "−") for c in cells)))
    return out


# --- which ion passes -------------------------------------------------------------------


class Passing(NamedTuple):
    """What stands in the way of one ion while there is no field.

    ``energy`` is the potential of mean force (kJ/mol), zero on average of its ends;
    ``highest`` and ``lowest`` of it; ``across``, from its first end to its last, is zero
    between equal reservoirs that the ends have reached. ``conductance`` is what the potential
    leaves of ``flat``, that of the same pore without any (nS). The last two are as in
    :class:`FieldBarrier`.
    """

    energy: Curve
    highest: Estimate
    lowest: Estimate
    across: Estimate
    conductance: Estimate
    flat_nS: float
    far_nm: float
    drift_kJ_per_mol_nm: float


def passing(profile: Profile) -> tuple[dict[str, Passing], str]:
    """What the windows at no field say of each ion that they hold, or nothing and why.

    Notes
    -----
    Diffusion coefficients are those of infinite dilution, and the open cross-section that of
    the pore's region: both are more than an ion has in the pore, so that conductances are
    upper bounds but for the error of the potential.
    """
    if profile.system.pore == "none":
        return {}, NO_PORE
    if profile.windows is None or not profile.windows.ions_at_rest:
        return {}, (
            "not run in this profile: it holds no ion at 0 V/nm (profile campaign holds both; "
            "source = 'campaign' shows them)"
        )
    try:
        data = series.open_windows(profile)
    except MissingInputError:
        return {}, f"not run in this profile: {_lacking(profile)}"
    diffusion = scorecard.reference("ions.yaml")["diffusion"]["nm2_per_ps"]
    out: dict[str, Passing] = {}
    for ion in profile.windows.ions_at_rest:
        held = _held(data, profile.windows, ion, 0.0)
        force = mean_force(
            held.x_nm, held.data["total"].values.ravel(), {}, held.edges_nm,
            units=held.units, unit=held.unit, fewest=1,
        )  # fmt: skip
        x, draws = pmf_between(force)
        conditions = {
            "area_nm2": np.pi * profile.run.pore_radius_nm**2,
            "diffusion_nm2_per_ps": diffusion[ion],
            "concentration_per_nm3": profile.system.concentration_M * PER_MOLAR_NM3,
            "temperature_K": profile.run.temperature_K,
            "charge_e": load_forcefield().ions[ion].charge_e,
        }
        units, method = force.total.n_independent, force.total.method
        highest, lowest, across = (
            estimate(values, units, method)
            for values in (draws.max(axis=1), draws.min(axis=1), draws[:, -1] - draws[:, 0])
        )
        out[ion] = Passing(
            Curve.of(x, band(draws, units, method)), highest, lowest, across,
            conductance_of(force, **conditions), float(conductance(x, 0 * x, **conditions)),
            held.far_nm, held.drift_kJ_per_mol_nm,
        )  # fmt: skip
    return out, ""


def passing_by_choice(profile: Profile) -> tuple[dict[str, dict[str, Passing]], dict[str, str]]:
    """:func:`passing` for each choice of what the article leaves open, as
    :func:`janus_pore.show.results.choices` names them; and why others are not among them.

    A choice that is not meant to hold ions, where the profile does, is passed over.
    """
    asked = {k: one for k, one in choices(profile).items() if one.windows or not profile.windows}
    each = {name: passing(one) for name, one in asked.items()}
    return (
        {name: found for name, (found, _) in each.items() if found},
        {name: why for name, (found, why) in each.items() if not found},
    )


PASSING = (
    "pore, sulphur", "ion", "highest w (kJ/mol)", "lowest w (kJ/mol)",
    "w from end to end (kJ/mol)", "conductance (nS)", "without a potential (nS)",
)  # fmt: skip
"""Columns of :func:`rows_of_passing`."""


def rows_of_passing(found: Mapping[str, Mapping[str, Passing]]) -> list[tuple[str, ...]]:
    """Lines of a table, one for each system and ion; the columns are :data:`PASSING`."""
    return [
        (
            choice,
            SPECIES_NAME[ion],
            *(_interval(e, 1) for e in (one.highest, one.lowest, one.across)),
            _significant(one.conductance),
            f"{one.flat_nS:.2g}",
        )
        for choice, ions in found.items()
        for ion, one in ions.items()
    ]


def _significant(one: Estimate) -> str:
    text = f"{one.value:.2g}"
    if one.enough:
        text += f" [{one.low:.2g}, {one.high:.2g}]"
    return text.replace("-", "−")


def which_passes(found: Mapping[str, Mapping[str, Passing]], profile: Profile) -> str:
    """What the conductances of each system say, in words."""
    parts = []
    for choice, ions in found.items():
        each = {SPECIES_NAME[ion]: one.conductance for ion, one in ions.items()}
        said = ", ".join(f"{name} {_significant(one)} nS" for name, one in each.items())
        if len(each) == 2:
            (most, high), (_, low) = sorted(each.items(), key=lambda item: -item[1].value)
            if not (high.enough and low.enough):
                said += " (not enough statistics to say which ion passes more easily)"
            elif high.low > low.high:
                said += f" ({most} passes more easily)"
            else:
                said += " (the intervals overlap: which ion passes more easily stays open)"
        parts.append(f"{choice}: {said}" if len(found) > 1 else said)
    text = f"Conductance at small voltage, 95 % intervals: {'; '.join(parts)}."
    replicas = windows.asked_for(profile).replicas
    if replicas < FEWEST_UNITS:
        text += (
            f" Only {replicas} starting state{'s' * (replicas > 1)} of the surroundings stand"
            f"{'s' * (replicas == 1)} behind each, and intervals tell how well that was sampled."
        )
    return text


def basis_of_passing(profile: Profile, found: Mapping[str, Mapping[str, Passing]]) -> str:
    """What the windows without a field rest on, in one line."""
    every = [one for ions in found.values() for one in ions.values()]
    far = max(one.far_nm for one in every)
    drift = max((one.drift_kJ_per_mol_nm for one in every), key=abs)
    wanted = windows.asked_for(profile)
    return _basis(wanted.at_rest() or wanted, every[0].conductance.method, far, drift)


def planes(profile: Profile) -> list[tuple[str, float]]:
    """Element and position along x, nm, of each of the membrane's planes of atoms."""
    forcefield = load_forcefield()
    charge_set = forcefield.charge_set(profile.system.charge_set)
    heights = forcefield.lattices[charge_set.lattice].heights_nm
    return [(charge_set.elements[site], x) for site, x in heights.items()]


# --- verdicts ---------------------------------------------------------------------------


def claims_of_barriers(
    found: Mapping[float, FieldBarrier], profile: Profile, run: str
) -> list[scorecard.Row]:
    """Judge claims 6, against each version of the table, and 7.

    A published barrier is met if the interval lies within RT of it: the table states no
    uncertainty, and a barrier's effect on a rate cannot be told apart below that. Only
    replicas count as independent here, whatever the intervals were drawn from.
    """
    of = profile.system
    if not found or of.published_charges != "mosse" or of.pore == "none":
        return []

    def counted(one: FieldBarrier, what: Estimate) -> Estimate:
        return replace(what, n_independent=one.independent)

    rt = GAS_CONSTANT_KJ_PER_MOL_K * profile.run.temperature_K
    out = []
    for name, table in scorecard.reference("table1.yaml").items():
        parts: list[scorecard.Part] = []
        for field, stated in zip(table["field_V_per_nm"], table["total_kJ_per_mol"], strict=True):
            what = f"barrier at {field:g} V/nm"
            total = counted(found[field], found[field].barrier.total) if field in found else NOT_RUN
            parts.append(
                scorecard.judge(what, total, (stated - rt, stated + rt), profile, unit="kJ/mol")
            )
        if any(field in found for field in table["field_V_per_nm"]):
            out.append(scorecard.row(6, parts, estimator=f"{name} table", run=run))
    if 0.4 in found and 0.8 in found:
        out.append(scorecard.row(7, _rise(found[0.4], found[0.8], profile), run=run))
    return out


def _rise(low: FieldBarrier, high: FieldBarrier, profile: Profile) -> Sequence[scorecard.Part]:
    """The barrier's rise is positive, and no part rises more than the electrostatics of water."""
    units = min(low.independent, high.independent)

    def change(a: Estimate, b: Estimate) -> Estimate:
        return Estimate(
            b.value - a.value, b.low - a.high, b.high - a.low, units,
            "difference of the intervals' ends",
        )  # fmt: skip

    changes = {name: change(low.barrier.parts[name], high.barrier.parts[name]) for name in PARTS}
    water = changes.pop("water_electrostatic")
    other = max(changes.values(), key=lambda one: one.value)
    total = change(low.barrier.total, high.barrier.total)
    parts = (
        ("rise of the barrier from 0.4 to 0.8 V/nm", total),
        ("rise of water's electrostatic part", water),
        ("by how much it exceeds the largest other rise", change(other, water)),
    )
    return [
        scorecard.judge(name, what, (0.0, np.inf), profile, unit="kJ/mol") for name, what in parts
    ]
