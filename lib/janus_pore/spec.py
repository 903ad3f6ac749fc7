"""Validated parameters: what to build, how to run it, which field to apply.

Every model is frozen, refuses unknown names, carries units in its field names and has a
stable :func:`key`: the same physics gives the same key on every machine.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import re
import reprlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from . import paths
from .errors import SpecError

FIELD_LIMIT_V_PER_NM = 10.0
"""Largest field accepted. Water itself breaks down near 3.5 V/nm; beyond 10 the usual
cause is a value meant in mV/nm or MV/m."""

PAIR_LIST_ROOM_nm = 0.1
"""Room beyond twice the cut-off that every box edge needs: the buffered pair list must not
reach half the box. GROMACS takes buffers of up to 0.05 nm at 300 K; at 373 K it takes 0.06 nm, and
says itself that a box with no more room than this is too small."""

WAVEFORMS_LIMIT = 10_000
"""Most waveforms in the scan of one protocol."""

PIECES_LIMIT = 100_000
"""Most constant pieces of a sampled field."""


def _file_name(name: str) -> str:
    """Refuse a name that could lead out of the directory that bears it."""
    if not name or name[0] == "." or len(name) > 200 or re.search(r"[/\\\x00-\x1f\x7f]", name):
        raise ValueError(
            "becomes part of a path, so it must have 1 to 200 characters, no slash or control "
            "character, and no dot in front"
        )
    return name


def _word(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_]{1,40}", name):
        raise ValueError("must be a word of letters, digits and underscores")
    return name


FileName = Annotated[str, AfterValidator(_file_name)]
Word = Annotated[str, AfterValidator(_word)]
FieldValue = Annotated[float, Field(ge=-FIELD_LIMIT_V_PER_NM, le=FIELD_LIMIT_V_PER_NM)]
Duration = Annotated[float, Field(gt=0, le=1e6)]
ALONE: dict[str, tuple[()]] = {"control": (), "charge_sets": (), "alternatives": ()}
"""Entries of a profile that has no further systems."""
OWN = "own"
"""What a profile's own system is called beside its variants."""
PORE_PATTERN = re.compile(r"none|(hollow|bond|metal|chalcogen)([1-9][0-9]*)")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SystemSpec(_Strict):
    """A membrane with or without a pore between two reservoirs, and its interactions.

    The membrane lies in the y-z plane at the box's centre with the pore axis along x;
    for a Janus membrane Se is on the -x side and S on the +x side. ``pore`` is ``none``
    or a centre and a number of removed formula units, such as ``hollow6`` or ``bond4``;
    :func:`janus_pore.build.membrane.pore_by_diameter` names the one nearest to a
    diameter. ``charges_e`` overrides the charge set: metal, -x and +x chalcogen.
    ``chalcogen_lj`` names the Lennard-Jones parameters of sulphur in ``data/forcefield.yaml``.

    The membrane has ``cells_y`` by ``cells_z`` rectangular cells (0.325 nm by 0.563 nm in MoSSe),
    the box is ``length_x_nm`` long. ``concentration_M`` of KCl and the water's density,
    ``bulk_density_g_per_cm3``, are those of the reservoirs; the default is that of 300 K.
    ``cutoff_nm`` is that of Lennard-Jones and of the direct part of PME; ``membrane`` says how its
    atoms are held, ``seed`` where the water and the ions begin.
    """

    charge_set: Word = "mosse"
    charges_e: tuple[float, float, float] | None = None
    chalcogen_lj: Word = "liang"
    pore: str = "hollow6"
    cells_y: Annotated[int, Field(ge=4, le=64)] = 16
    cells_z: Annotated[int, Field(ge=3, le=64)] = 9
    length_x_nm: Annotated[float, Field(gt=0, le=100)] = 8.0
    concentration_M: Annotated[float, Field(ge=0, le=4)] = 1.0
    bulk_density_g_per_cm3: Annotated[float, Field(ge=0.8, le=1.2)] = 0.997
    cutoff_nm: Annotated[float, Field(ge=0.8, le=2.0)] = 1.2
    membrane: Literal["frozen", "restrained"] = "frozen"
    seed: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1

    @model_validator(mode="after")
    def _check(self) -> SystemSpec:
        if not PORE_PATTERN.fullmatch(self.pore):
            raise ValueError(
                f"pore = {self.pore!r} is not known; use 'none', or hollow, bond, metal or "
                "chalcogen followed by the number of formula units to remove, e.g. 'hollow6'"
            )
        least = 2 * self.cutoff_nm + PAIR_LIST_ROOM_nm
        if self.length_x_nm < least - 1e-9:
            raise ValueError(
                f"length_x_nm = {self.length_x_nm:g} nm is shorter than twice the cut-off plus "
                f"{PAIR_LIST_ROOM_nm:g} nm for the pair list ({least:g} nm); lengthen the box "
                "or lower cutoff_nm"
            )
        if self.charges_e is not None:
            metal, minus, plus = self.charges_e
            net = metal + minus + plus
            if abs(net) > 1e-6:
                raise ValueError(
                    f"charges_e = {self.charges_e} is not neutral: one formula unit would carry "
                    f"{net:+.4g} e; choose metal = -(minus + plus)"
                )
        return self

    @property
    def published_charges(self) -> str | None:
        """The charge set, or None where ``charges_e`` overrides it."""
        return self.charge_set if self.charges_e is None else None


class RunSpec(_Strict):
    """How GROMACS integrates, equilibrates and writes.

    ``variant`` ``default`` is the paper's: Nosé-Hoover with the membrane frozen.
    ``gpu_fast`` (v-rescale, membrane held by stiff restraints) lets a GPU do the update.

    ``dt_fs`` is the time step, ``tau_t_ps`` the thermostat's time constant. One run without a
    field equilibrates for ``equilibration_ps`` and goes on; every ``replica_spacing_ps`` of it a
    replica begins, with velocities of its own, which it first keeps for ``settle_ps`` without a
    field. Trajectories are reduced to series and removed every ``chunk_ps``, so that a long run
    needs no more disk than a short one. ``current_window_ps`` is the time over which the notebooks
    average a current. Water and ions count as in the pore within ``pore_half_length_nm`` of the
    metals' plane and ``pore_radius_nm`` of the axis; the slab of the pore's current is as long.
    """

    dt_fs: Annotated[float, Field(ge=0.5, le=2.0)] = 1.0
    temperature_K: Annotated[float, Field(ge=273, le=373)] = 300.0
    tau_t_ps: Annotated[float, Field(ge=0.05, le=5)] = 0.1
    variant: Literal["default", "gpu_fast"] = "default"
    equilibration_ps: Duration = 10000.0
    replica_spacing_ps: Duration = 100.0
    settle_ps: Duration = 5.0
    chunk_ps: Duration = 500.0
    current_window_ps: Duration = 5.0
    pore_half_length_nm: Annotated[float, Field(gt=0, le=2)] = 0.30
    pore_radius_nm: Annotated[float, Field(gt=0, le=3)] = 0.50


class Constant(_Strict):
    """A constant field along x."""

    kind: Literal["constant"] = "constant"
    field_V_per_nm: FieldValue
    duration_ps: Duration


class Sine(_Strict):
    """``amplitude * sin(2 pi f t + phase)``; the paper's drive starts at zero, rising."""

    kind: Literal["sine"] = "sine"
    amplitude_V_per_nm: FieldValue
    frequency_GHz: Annotated[float, Field(gt=0, le=100)]
    phase_deg: Annotated[float, Field(ge=-360, le=360)] = 0.0
    cycles: Annotated[float, Field(gt=0, le=1000)] = 1.0

    @property
    def period_ps(self) -> float:
        """Duration of one cycle."""
        return 1000 / self.frequency_GHz

    @property
    def whole_cycles(self) -> int:
        """Cycles that it completes, but at least one."""
        return max(1, int(self.cycles + 1e-6))


class Step(_Strict):
    """``from`` for a while, then ``to``: ordering (up from 0) or relaxation (down)."""

    kind: Literal["step"] = "step"
    from_V_per_nm: FieldValue = 0.0
    from_ps: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    to_V_per_nm: FieldValue
    to_ps: Duration


class PulseTrain(_Strict):
    """Square pulses with a delay field between them, after an optional preparation.

    ``pulses = 2`` is the pulse pair of paired-pulse experiments.
    """

    kind: Literal["pulse_train"] = "pulse_train"
    prepare_V_per_nm: FieldValue = 0.0
    prepare_ps: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    pulse_V_per_nm: FieldValue
    width_ps: Duration = 5.0
    delay_V_per_nm: FieldValue = 0.0
    delay_ps: Duration = 5.0
    pulses: Annotated[int, Field(ge=1, le=1000)] = 2


class GaussianPulse(_Strict):
    """``peak * exp(-(t - centre)^2 / (2 width^2))``; ``width`` is the standard deviation."""

    kind: Literal["gaussian"] = "gaussian"
    peak_V_per_nm: FieldValue
    centre_ps: Annotated[float, Field(ge=0, le=1e6)]
    width_ps: Duration
    duration_ps: Duration


class Sampled(_Strict):
    """Any E(t) given at times, followed by piecewise-constant segments of ``step_ps``."""

    kind: Literal["sampled"] = "sampled"
    times_ps: tuple[Annotated[float, Field(ge=0, le=1e6)], ...] = Field(min_length=2)
    fields_V_per_nm: tuple[FieldValue, ...] = Field(min_length=2)
    step_ps: Duration

    @model_validator(mode="after")
    def _check(self) -> Sampled:
        if len(self.times_ps) != len(self.fields_V_per_nm):
            raise ValueError(
                f"times_ps has {len(self.times_ps)} values and fields_V_per_nm "
                f"{len(self.fields_V_per_nm)}; give one field per time"
            )
        if self.times_ps[0] != 0 or any(b <= a for a, b in itertools.pairwise(self.times_ps)):
            raise ValueError("times_ps must start at 0 and increase strictly")
        if self.step_ps > self.times_ps[-1]:
            raise ValueError(
                f"step_ps = {self.step_ps:g} ps is longer than the waveform "
                f"({self.times_ps[-1]:g} ps); lower it"
            )
        if self.times_ps[-1] > self.step_ps * PIECES_LIMIT:
            raise ValueError(
                f"step_ps = {self.step_ps:g} ps cuts the waveform into more than {PIECES_LIMIT} "
                "pieces; raise it"
            )
        return self


Waveform = Annotated[
    Constant | Sine | Step | PulseTrain | GaussianPulse | Sampled, Field(discriminator="kind")
]


class Protocol(_Strict):
    """A waveform (or a scan over some of its parameters), repeated over replicas.

    ``figure`` is the published one that it is for, ``frame_ps`` the time between the frames of its
    series. ``scan`` gives some of the waveform's parameters several values; every combination runs.
    """

    figure: str = ""
    replicas: Annotated[int, Field(ge=1, le=10000)] = 1
    frame_ps: Annotated[float, Field(gt=0, le=5)] = 0.5
    waveform: Waveform
    scan: dict[str, tuple[float, ...]] = {}

    @model_validator(mode="after")
    def _check(self) -> Protocol:
        if empty := [name for name, values in self.scan.items() if not values]:
            raise ValueError(
                f"scan.{empty[0]} = [] has no value; give at least one, or leave it out"
            )
        self.waveforms()  # every scanned combination must be valid in itself
        return self

    def waveforms(self) -> dict[str, Waveform]:
        """Every waveform of the scan, by a label such as ``delay_ps=5``."""
        if not self.scan:
            return {self.waveform.kind: self.waveform}
        known = set(type(self.waveform).model_fields)
        for name in self.scan:
            if name not in known:
                raise ValueError(
                    f"scan names {name!r}, which a {self.waveform.kind} waveform does not have; "
                    f"it has {', '.join(sorted(known - {'kind'}))}"
                )
        if math.prod(map(len, self.scan.values())) > WAVEFORMS_LIMIT:
            raise ValueError(f"scan holds more than {WAVEFORMS_LIMIT} waveforms; thin it out")
        out: dict[str, Waveform] = {}
        for values in itertools.product(*self.scan.values()):
            chosen = dict(zip(self.scan, values, strict=True))
            label = ",".join(f"{name}={value:g}" for name, value in chosen.items())
            if label in out:
                raise ValueError(
                    f"scan has two waveforms that are both called {label}; drop one or set them "
                    "further apart"
                )
            try:
                out[label] = type(self.waveform)(**{**self.waveform.model_dump(), **chosen})
            except ValidationError as error:
                raise ValueError(f"scan at {label}: {_in_words(error)}") from None
        return out


HeldIon = Literal["Cl", "K"]
HeldFields = Annotated[tuple[FieldValue, ...], Field(min_length=1)]


class Windows(_Strict):
    """One ion held at positions along the pore, at constant fields: mean forces, barriers.

    ``fields_V_per_nm`` gives each ion its fields. The force on a Cl- is told apart by what
    exerts it, for Table 1; on a K+ only the whole of it counts, which takes one rerun of the
    frames and not eight.

    Positions go from ``from_nm`` to ``to_nm`` in steps of ``spacing_nm``, x from the metals'
    plane; without a field in steps of ``spacing_at_rest_nm``, where that is given. A field
    first drives each replica for ``charge_ps``, once for all positions: it charges the membrane.
    Each window of each replica then runs ``equilibrate_ps``, which is left out of the averages,
    and ``sample_ps``. ``blocks`` divides the samples of a window where replicas alone are too few
    to state an interval.
    """

    fields_V_per_nm: dict[HeldIon, HeldFields]
    from_nm: Annotated[float, Field(ge=-5, le=5)]
    to_nm: Annotated[float, Field(ge=-5, le=5)]
    spacing_nm: Annotated[float, Field(ge=0.005, le=1)]
    spacing_at_rest_nm: Annotated[float, Field(ge=0.005, le=1)] | None = None
    charge_ps: Annotated[float, Field(ge=0, le=1e5)] = 0.0
    equilibrate_ps: Annotated[float, Field(ge=0, le=1e5)]
    sample_ps: Duration
    frame_ps: Annotated[float, Field(gt=0, le=5)] = 0.1
    replicas: Annotated[int, Field(ge=1, le=10000)] = 1
    blocks: Annotated[int, Field(ge=1, le=1000)] = 5

    def spacing_at(self, field_V_per_nm: float) -> float:
        """Distance in nm between positions at a field."""
        at_rest = None if field_V_per_nm else self.spacing_at_rest_nm
        return self.spacing_nm if at_rest is None else at_rest

    def positions_at(self, field_V_per_nm: float) -> tuple[float, ...]:
        """Positions in nm at a field, ascending."""
        spacing = self.spacing_at(field_V_per_nm)
        count = round((self.to_nm - self.from_nm) / spacing) + 1
        return tuple(round(self.from_nm + i * spacing, 6) for i in range(count))

    @property
    def places(self) -> tuple[tuple[str, float, float], ...]:
        """Ion, field in V/nm and position in nm of each window of a replica."""
        return tuple(
            (ion, field, x)
            for ion, fields in self.fields_V_per_nm.items()
            for field in fields
            for x in self.positions_at(field)
        )

    @property
    def every_field(self) -> tuple[float, ...]:
        """Every field, ascending."""
        return tuple(sorted(set(itertools.chain(*self.fields_V_per_nm.values()))))

    @property
    def ions_at_rest(self) -> tuple[HeldIon, ...]:
        """The ions that are held without a field."""
        return tuple(ion for ion, fields in self.fields_V_per_nm.items() if 0.0 in fields)

    def at_rest(self) -> Windows | None:
        """Those without a field, if there are any."""
        fields = dict.fromkeys(self.ions_at_rest, (0.0,))
        spacing = {"spacing_nm": self.spacing_at(0.0), "spacing_at_rest_nm": None}
        return self.model_copy(update={"fields_V_per_nm": fields, **spacing}) if fields else None

    @property
    def figure(self) -> str:
        """What they are for."""
        return "Table 1" if "Cl" in self.fields_V_per_nm else "beside Table 1"

    @model_validator(mode="after")
    def _check(self) -> Windows:
        if not self.fields_V_per_nm:
            raise ValueError("fields_V_per_nm names no ion; give Cl, K or both their fields")
        for ion, fields in self.fields_V_per_nm.items():
            if len(set(fields)) < len(fields):
                raise ValueError(
                    f"fields_V_per_nm.{ion} = {', '.join(f'{f:g}' for f in fields)} names a field "
                    "twice; name each once"
                )
        for name in ("spacing_nm", "spacing_at_rest_nm"):
            spacing = getattr(self, name)
            steps = (self.to_nm - self.from_nm) / (spacing or self.spacing_nm)
            if steps < 1 - 1e-6 or abs(steps - round(steps)) > 1e-6:
                raise ValueError(
                    f"from_nm = {self.from_nm:g} to to_nm = {self.to_nm:g} is not one or more "
                    f"steps of {name} = {spacing:g}; change one of them"
                )
        if self.frame_ps * self.blocks > self.sample_ps * (1 + 1e-9):
            raise ValueError(
                f"sample_ps = {self.sample_ps:g} ps does not hold {self.blocks} blocks of at "
                f"least one frame of {self.frame_ps:g} ps; sample longer or lower blocks"
            )
        return self


class Alternative(_Strict):
    """Another system, such as another choice of what the article leaves open, and what runs on it.

    ``system`` gives the parameters of the system that differ, e.g. ``{"pore": "bond4"}``. Of the
    profile's protocols it runs those named, with ``replicas`` of each (default: as many as the
    profile), and of its windows those without a field unless ``windows`` is false.
    """

    system: dict[str, Any]
    protocols: tuple[str, ...] = ()
    replicas: Annotated[int, Field(ge=1, le=10000)] | None = None
    windows: bool = True


class Profile(_Strict):
    """Everything that one run of the collection needs.

    Protocol fields are written for a box of ``reference_length_x_nm`` (the ``paper``
    profile's). In a shorter box the same *voltage* E·Lx needs a larger field:
    :attr:`field_scale` is the factor that :meth:`applied` puts on every field.

    ``control`` names the protocols that also run on the same membrane without a pore,
    ``charge_sets`` the charge sets of Fig. 4, which run :attr:`sweep`, and ``alternatives``
    other systems to compare with; :meth:`siblings` gives a profile for each of these systems.
    Where ``evidence`` is false, the system is too small, or its runs too short, to show any
    physics: no claim is judged by it.

    ``own_system`` is the profile's system where ``system`` has been changed from it, by a sibling
    or an override.
    """

    name: FileName
    description: str = ""
    evidence: bool = True
    source: Literal["live", "campaign"] = "live"
    system: SystemSpec
    run: RunSpec
    reference_length_x_nm: Annotated[float, Field(gt=0, le=100)] = 8.0
    protocols: dict[FileName, Protocol]
    windows: Windows | None = None
    control: tuple[str, ...] = ()
    charge_sets: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    own_system: SystemSpec | None = None

    @property
    def field_scale(self) -> float:
        """Applied field over nominal field, so that the voltage E·Lx is the reference's."""
        return self.reference_length_x_nm / self.system.length_x_nm

    @model_validator(mode="after")
    def _check(self) -> Profile:
        for name, protocol in self.protocols.items():
            for label, waveform in protocol.waveforms().items():
                try:
                    self.applied(waveform)
                except ValidationError as error:
                    raise ValueError(
                        f"protocol {name!r} ({label}): the field, scaled by "
                        f"{self.field_scale:g} to keep the voltage of a "
                        f"{self.reference_length_x_nm:g} nm box, exceeds "
                        f"{FIELD_LIMIT_V_PER_NM:g} V/nm; lengthen length_x_nm or lower the field"
                    ) from error
        for field in self.windows.every_field if self.windows else ():
            if abs(field * self.field_scale) > FIELD_LIMIT_V_PER_NM:
                raise ValueError(
                    f"windows.fields_V_per_nm = {field:g}, scaled by {self.field_scale:g} to keep "
                    f"the voltage, exceeds {FIELD_LIMIT_V_PER_NM:g} V/nm; lower it"
                )
        half = self.system.length_x_nm / 2
        if self.run.pore_half_length_nm > half:
            raise ValueError(
                f"run.pore_half_length_nm = {self.run.pore_half_length_nm:g} nm is more than half "
                f"the box, {half:g} nm; lessen it or raise system.length_x_nm"
            )
        ends = (self.windows.from_nm, self.windows.to_nm) if self.windows else (0.0,)
        farthest = max(map(abs, ends))
        if farthest > half:
            raise ValueError(
                f"windows reach {farthest:g} nm from the membrane, and the box ends at {half:g} "
                "nm, where its next image begins; lessen from_nm and to_nm or raise length_x_nm"
            )
        if (self.run.variant == "gpu_fast") != (self.system.membrane == "restrained"):
            raise ValueError(
                "run.variant = 'gpu_fast' and system.membrane = 'restrained' go together: "
                "a frozen membrane forbids updating on the GPU; set both or neither"
            )
        own = self.own_system or self.system
        for other in self.alternatives:
            changes = with_its_own_charges(other.system)
            changed = validated(SystemSpec, {**own.model_dump(), **changes}, "alternatives.system")
            if changed.pore == "none" or changed == own:
                raise ValueError(
                    f"alternatives.system = {other.system} is "
                    + ("the profile's own" if changed == own else "without a pore")
                    + "; name what differs, such as pore: bond4 (control runs without a pore)"
                )
        return self

    def applied(self, waveform: Waveform) -> Waveform:
        """The waveform with every field multiplied by :attr:`field_scale`."""
        values = waveform.model_dump()
        for name in values:
            if name.endswith("_V_per_nm"):
                value = values[name]
                values[name] = (
                    tuple(self.field_scale * v for v in value)
                    if isinstance(value, tuple)
                    else self.field_scale * value
                )
        return type(waveform)(**values)

    @property
    def sweep(self) -> str:
        """The protocol behind the I-E loops, which every charge set runs; "" if there is none.

        It is the first that is a sine.
        """
        return next((k for k, one in self.protocols.items() if isinstance(one.waveform, Sine)), "")

    @property
    def changed(self) -> dict[str, Any]:
        """Parameters in which the system differs from the profile's own."""
        own = self.own_system or self.system
        changed = {
            name: value
            for name, value in self.system.model_dump().items()
            if value != getattr(own, name)
        }
        if "charge_set" in changed and changed.get("charges_e", "") is None:
            del changed["charges_e"]  # they go by the charge set's name
        return changed

    @property
    def variant(self) -> str:
        """What differs from the profile's own system, e.g. ``mos2_no-pore``; "" if nothing."""
        changed = self.changed
        parts = [str(changed.pop("charge_set", ""))]
        pore = changed.pop("pore", "")
        parts.append("no-pore" if pore == "none" else pore)
        parts += [f"{name}-{value}" for name, value in changed.items()]
        return "_".join(re.sub(r"[^\w.+-]+", "-", part).strip("-") for part in parts if part)

    @property
    def results_dir(self) -> Path:
        """Where figures, notebooks and scorecards of this profile and system are kept."""
        return paths.results_dir() / self.name / self.variant

    def with_system(self, protocols: Iterable[str] | None = None, **changes: Any) -> Profile:
        """The profile with another system, and with some of its protocols (default: all).

        Parameters
        ----------
        protocols
            Names of those to keep; the windows and the further systems are kept only where
            all are.
        **changes
            Parameters of the system, e.g. ``pore="none"``.
        """
        changes = with_its_own_charges(changes)
        system = validated(SystemSpec, {**self.system.model_dump(), **changes}, "system")
        update: dict[str, Any] = {"system": system, "own_system": self.own_system or self.system}
        if protocols is not None:
            kept = {name: self.protocol(name) for name in protocols}
            update |= {"protocols": kept, "windows": None, **ALONE}
        return self.model_copy(update=update)

    def without_pore(self) -> Profile:
        """The control: the same membrane without a pore, with the protocols it runs.

        A system without a pore is not its own control: the protocols are then none.
        """
        own = self.system.pore == "none"
        kept = () if own else [name for name in self.protocols if name in self.control]
        return self.with_system(kept, pore="none")

    def with_charge_set(self, name: str) -> Profile:
        """The same pore in a membrane with another charge set, driven by :attr:`sweep`."""
        return self.with_system([self.sweep] if self.sweep else [], charge_set=name)

    def with_alternative(self, other: Alternative) -> Profile:
        """The system of an alternative, with what runs on it."""
        names = [name for name in other.protocols if name in self.protocols]
        changed = self.with_system(names, **other.system)
        kept = {
            name: one.model_copy(update={"replicas": other.replicas or one.replicas})
            for name, one in changed.protocols.items()
        }
        resting = self.windows.at_rest() if self.windows and other.windows else None
        return changed.model_copy(update={"protocols": kept, "windows": resting})

    def siblings(self) -> tuple[Profile, ...]:
        """Profiles of the further systems that belong to this one, each system once.

        None where the system is not the profile's own: a variant is looked at by itself.
        """
        if self.variant:
            return ()
        charged = map(self.with_charge_set, self.charge_sets)
        return _each_once((self.without_pore(), *charged, *self.compared()))

    def only(self, variant: str) -> Profile:
        """One of its systems without the others: a further one by :attr:`variant`, or ``own``.

        Raises
        ------
        SpecError
            If there is no such system.
        """
        systems = {OWN: self.model_copy(update=ALONE)} | {p.variant: p for p in self.siblings()}
        if variant not in systems:
            raise SpecError(
                f"variant = {variant!r} is no system of profile {self.name!r}; it has "
                f"{', '.join(systems)}"
            )
        return systems[variant]

    def compared(self) -> tuple[Profile, ...]:
        """A profile for each system among the alternatives, with all that they run on it.

        None where the system is not the profile's own.
        """
        return () if self.variant else _each_once(map(self.with_alternative, self.alternatives))

    def protocol(self, name: str) -> Protocol:
        """A protocol by name, or a :class:`SpecError` naming those there are."""
        if name not in self.protocols:
            raise SpecError(
                f"profile {self.name!r} has no protocol {name!r}; "
                f"it has {', '.join(sorted(self.protocols))}"
            )
        return self.protocols[name]


def _each_once(profiles: Iterable[Profile]) -> tuple[Profile, ...]:
    """Each system once, with all that is to run on it; none where nothing is."""
    found: dict[str, Profile] = {}
    for one in profiles:
        if one.protocols or one.windows:
            first = found.setdefault(one.variant, one)
            found[one.variant] = first.model_copy(
                update={
                    "protocols": first.protocols | one.protocols | first.protocols,
                    "windows": first.windows or one.windows,
                }
            )
    return tuple(found.values())


def with_its_own_charges(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes of a system, in which another charge set also ends the ``charges_e`` before it."""
    ends = {"charges_e": None} if changes.get("charge_set") is not None else {}
    return {**ends, **changes}


def key(*parts: Any, digits: int = 12) -> str:
    """Hash of models and plain data, the same on every machine.

    Parameters
    ----------
    *parts
        Pydantic models, or anything JSON can hold. Floats are written by ``repr``, so
        two values are the same only if they are equal.
    digits
        Length of the hexadecimal result.
    """
    plain = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def replica_seed(system_key: str, replica: int) -> int:
    """Seed of one replica in 1 .. 2**31 - 1, derived from the system and its number."""
    return int(key("replica", system_key, replica), 16) % (2**31 - 2) + 1


@cache
def _profile_files() -> dict[str, Path]:
    return {p.stem: p for p in sorted((paths.data_dir() / "profiles").glob("*.yaml"))}


def profile_names() -> list[str]:
    """Names of the shipped profiles."""
    return list(_profile_files())


def load_profile(name: str, overrides: Mapping[str, Any] | None = None) -> Profile:
    """Read a profile and apply overrides.

    Parameters
    ----------
    name
        A shipped profile (:func:`profile_names`) or the path of a YAML file.
    overrides
        Dotted names to values, e.g. ``{"system.pore": "bond4"}``; None values are ignored,
        so notebooks can pass their parameters through. ``{"source": "campaign"}`` asks for
        the results that ship: of this profile, if any do, else of the profile ``campaign``.

    Raises
    ------
    SpecError
        Naming each wrong parameter, its value, and what is allowed.
    """
    if not isinstance(name, str):
        raise SpecError(
            f"profile = {name!r} must be a name, one of {', '.join(profile_names())}, or the path "
            "of a YAML file as text"
        )
    file = _profile_files().get(name) or _given_profile(name)
    ships = paths.data_dir() / "campaigns" / Path(name).stem
    if (overrides or {}).get("source") == "campaign" and not ships.is_dir():
        name = "campaign"
        file = _profile_files()[name]
    data = read_yaml(file, "profile file")
    own = copy.deepcopy(data.get("system"))
    given = {dotted: value for dotted, value in (overrides or {}).items() if value is not None}
    if "system.charge_set" in given and isinstance(own, dict) and "charges_e" in own:
        given = {"system.charges_e": None, **given}
    for dotted, value in given.items():
        target: Any = data
        *parents, last = dotted.split(".")
        for part in parents:
            target = target.setdefault(part, {}) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            raise SpecError(f"override {dotted!r} does not name a parameter of a profile")
        target[last] = value
    stem = Path(name).stem
    if "name" not in data and stem in _profile_files() and name != stem:
        raise SpecError(
            f"profile {name!r} would be called {stem!r}, as one that ships is, and their results "
            "would lie in one folder; rename the file, or name: it otherwise"
        )
    data.setdefault("name", stem)
    if data.get("system") != own:
        data.setdefault("own_system", own)
    profile = validated(Profile, data, f"profile {name!r}")
    if not profile.protocols:
        raise SpecError(f"profile {name!r}: protocols = {{}} runs nothing; give at least one")
    if profile.charge_sets and not profile.sweep:
        raise SpecError(
            f"profile {name!r}: charge_sets = {', '.join(profile.charge_sets)} run the profile's "
            "first sine, and it has none; add a protocol that is one, or leave charge_sets empty"
        )
    needed = {*profile.control} | {
        protocol for other in profile.alternatives for protocol in other.protocols
    }
    if missing := sorted(needed - set(profile.protocols)):
        raise SpecError(
            f"profile {name!r}: control or alternatives need protocol "
            f"{missing[0]!r}, which the profile does not have; it has "
            f"{', '.join(sorted(profile.protocols))}"
        )
    return profile


def _given_profile(name: str) -> Path:
    """The file that a profile's name is the path of."""
    try:
        path = Path(name).expanduser()
        if path.is_file():
            return path
        there = f"; there is no file {path.resolve()}" if path.suffix in (".yaml", ".yml") else ""
    except (OSError, ValueError, RuntimeError):  # no file system has such a name
        there = ""
    raise SpecError(
        f"profile {reprlib.repr(name)} is not known; use one of {', '.join(profile_names())}, "
        f"or the path of a YAML file, a relative one from the working directory{there}"
    )


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """A mapping of plain data from a YAML file; nothing in it is executed.

    Raises
    ------
    SpecError
        If the file is not readable as that; the message begins with ``what``.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{what} {path} cannot be read: {error}") from error
    except RecursionError:
        raise SpecError(f"{what} {path} is nested too deeply") from None
    except (
        yaml.YAMLError,
        # Text that is not UTF-8, and what PyYAML lets through of tags like !!int x.
        *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    ) as error:
        raise SpecError(f"{what} {path} is not readable as YAML: {error}") from error
    if not isinstance(data, dict):
        holds = "nothing" if data is None else f"a {type(data).__name__}"
        raise SpecError(f"{what} {path} holds {holds}: write lines of 'name: value'")
    return data


Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], data: Mapping[str, Any], what: str) -> Model:
    """Validate, turning pydantic's report into one :class:`SpecError` in plain words."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise SpecError(f"{what}: {_in_words(error)}") from None
    except RecursionError:
        raise SpecError(f"{what} refers to itself or is nested too deeply") from None


def _in_words(error: ValidationError) -> str:
    """A pydantic report in plain words, cut where it would go on and on."""
    found = error.errors(include_url=False)
    words = [_plain(e) for e in found[:20]]
    return "; ".join([*words, *([f"and {len(found) - 20} more"] if len(found) > 20 else [])])


def _plain(error: Any) -> str:
    """One pydantic error as: parameter = value, what is wrong, what is allowed."""
    where = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    value = error.get("input")
    if error["type"] == "extra_forbidden":
        return f"{where} is not a parameter; check its spelling"
    if error["type"] == "missing":
        return f"{where} is missing; add it"
    if error["type"] == "value_error":
        given = f" = {reprlib.repr(value)}" if isinstance(value, str) else ""
        return f"{where}{given}: {message}" if where else message
    hint = ""
    field = re.search(r"_V_per_nm(\.\d+)?$", where)
    if field and isinstance(value, int | float) and math.isfinite(value):
        hint = (
            f" (allowed: -{FIELD_LIMIT_V_PER_NM:g} to {FIELD_LIMIT_V_PER_NM:g} V/nm; "
            "1 V/nm = 1000 mV/nm = 1000 MV/m)"
        )
    return f"{where} = {reprlib.repr(value)}: {message[0].lower()}{message[1:]}{hint}"
