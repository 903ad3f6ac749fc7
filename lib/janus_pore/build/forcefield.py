"""Interaction parameters from ``data/forcefield.yaml``, and the topology made of them."""

from __future__ import annotations

import itertools
import textwrap
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.spatial import cKDTree

from .. import paths
from ..errors import BuildError, SpecError
from ..spec import SystemSpec, Word, key, read_yaml, validated

if TYPE_CHECKING:
    from .membrane import Membrane

Site = Literal["metal", "minus", "plus"]
SITES: tuple[Site, ...] = ("metal", "minus", "plus")
"""The three sites of a formula unit: the metal, and the chalcogens on the -x and +x side."""

Length = Annotated[float, Field(gt=0, le=1)]
Charge = Annotated[float, Field(ge=-8, le=8)]
Mass = Annotated[float, Field(gt=0, le=300)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LatticeParameters(_Strict):
    """Lattice constant and bond lengths of a 2H monolayer, nm."""

    a_nm: Length
    bond_minus_nm: Length
    bond_plus_nm: Length
    source: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("bond_minus_nm", "bond_plus_nm"):
            if getattr(self, name) <= self.column_distance_nm:
                raise ValueError(
                    f"{name} = {getattr(self, name):g} nm is not longer than its projection "
                    f"on the plane, a/sqrt(3) = {self.column_distance_nm:.4g} nm"
                )
        return self

    @property
    def column_distance_nm(self) -> float:
        """In-plane distance from a metal to the nearest column of chalcogens, a/√3."""
        return self.a_nm / float(np.sqrt(3.0))

    @property
    def heights_nm(self) -> dict[Site, float]:
        """x of each site, the metals lying at zero."""

        def height(bond_nm: float) -> float:
            return float(np.sqrt(bond_nm**2 - self.column_distance_nm**2))

        return {
            "metal": 0.0,
            "minus": -height(self.bond_minus_nm),
            "plus": height(self.bond_plus_nm),
        }


class ChargeSet(_Strict):
    """Partial charges of one formula unit on the lattice that they belong to.

    ``exclusion_radius_nm`` is the radius of the sphere around each atom from which water
    counts as excluded.
    """

    lattice: str
    elements: dict[Site, Word]
    charges_e: dict[Site, Charge]
    exclusion_radius_nm: Length
    source: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("elements", "charges_e"):
            if set(getattr(self, name)) != set(SITES):
                raise ValueError(f"{name} must give {', '.join(SITES)}")
        net = sum(decimal_charge(q) for q in self.charges_e.values())
        if net:
            raise ValueError(
                f"charges_e is not neutral: one formula unit would carry {net:+} e; "
                "choose metal = -(minus + plus)"
            )
        return self


class LennardJones(_Strict):
    """Diameter and well depth of 4ε[(σ/r)¹² − (σ/r)⁶]."""

    sigma_nm: Length
    epsilon_kJ_per_mol: Annotated[float, Field(ge=0, le=10)]
    source: str


class MembraneLennardJones(_Strict):
    """Parameters by element; a variant replaces those of the elements it names."""

    elements: dict[str, LennardJones]
    variants: dict[str, dict[str, LennardJones]]


class Particle(_Strict):
    """A site with its own charge and mass, such as those of water."""

    sigma_nm: Annotated[float, Field(ge=0, le=1)]
    epsilon_kJ_per_mol: Annotated[float, Field(ge=0, le=10)]
    charge_e: Charge
    mass_u: Mass


class Ion(Particle):
    """A monatomic ion."""

    source: str


class Springs(_Strict):
    """Force constants that stand in for the rigid bonds of water while minimising."""

    bond_kJ_per_mol_nm2: Annotated[float, Field(gt=0, le=1e7)]
    angle_kJ_per_mol_rad2: Annotated[float, Field(gt=0, le=1e5)]
    source: str


class Water(_Strict):
    """A rigid three-site water model."""

    name: Annotated[str, Field(pattern=r"^[\w/() -]{1,40}$")]
    oxygen: Particle
    hydrogen: Particle
    bond_OH_nm: Length
    distance_HH_nm: Length
    flexible: Springs
    source: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        if decimal_charge(self.oxygen.charge_e) + 2 * decimal_charge(self.hydrogen.charge_e):
            raise ValueError("the charges of oxygen and hydrogens must add to zero")
        return self

    @property
    def mass_u(self) -> float:
        """Mass of one molecule."""
        return self.oxygen.mass_u + 2 * self.hydrogen.mass_u

    @property
    def angle_deg(self) -> float:
        """Angle between the bonds."""
        return float(np.degrees(2 * np.arcsin(self.distance_HH_nm / 2 / self.bond_OH_nm)))


class MembraneSupport(_Strict):
    """How the membrane is held."""

    exclusion_distance_nm: Length
    restraint_kJ_per_mol_nm2: Annotated[float, Field(gt=0, le=1e7)]


class ForceField(_Strict):
    """Everything in ``data/forcefield.yaml``."""

    lattices: dict[str, LatticeParameters]
    charge_sets: dict[Word, ChargeSet]
    membrane_lj: MembraneLennardJones
    masses_u: dict[str, Mass]
    water: Water
    ions: dict[Literal["K", "Cl"], Ion]
    membrane: MembraneSupport

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, charges in self.charge_sets.items():
            if charges.lattice not in self.lattices:
                raise ValueError(
                    f"charge set {name!r} names lattice {charges.lattice!r}; "
                    f"there are {', '.join(self.lattices)}"
                )
            for element in charges.elements.values():
                if element not in self.masses_u:
                    raise ValueError(f"charge set {name!r} needs a mass for {element}")
                for variant, replaced in self.membrane_lj.variants.items():
                    if element not in {**self.membrane_lj.elements, **replaced}:
                        raise ValueError(
                            f"membrane_lj variant {variant!r} lacks {element}, "
                            f"which charge set {name!r} needs"
                        )
        if set(self.ions) != {"K", "Cl"}:
            raise ValueError("ions must give K and Cl")
        return self

    def charge_set(self, name: str) -> ChargeSet:
        """A charge set by name, or a :class:`SpecError` naming those there are."""
        if name not in self.charge_sets:
            raise SpecError(
                f"charge_set = {name!r} is not known; use one of {', '.join(self.charge_sets)}"
            )
        return self.charge_sets[name]

    def lennard_jones(self, variant: str) -> dict[str, LennardJones]:
        """Membrane parameters by element, or a :class:`SpecError` naming the variants."""
        if variant not in self.membrane_lj.variants:
            raise SpecError(
                f"chalcogen_lj = {variant!r} is not known; "
                f"use one of {', '.join(self.membrane_lj.variants)}"
            )
        return {**self.membrane_lj.elements, **self.membrane_lj.variants[variant]}

    def charges_e(self, system: SystemSpec) -> dict[Site, float]:
        """Charges of the sites: the set's, or the override of the specification.

        Raises
        ------
        SpecError
            If one formula unit would not be exactly neutral in decimal arithmetic.
        """
        charges = self.charge_set(system.charge_set).charges_e
        if system.charges_e is None:
            return dict(charges)
        override = dict(zip(SITES, system.charges_e, strict=True))
        net = sum(decimal_charge(q) for q in override.values())
        if net:
            raise SpecError(
                f"charges_e = {system.charges_e} is not neutral: one formula unit would carry "
                f"{net:+} e; write decimals that add to exactly zero, "
                "metal = -(minus + plus)"
            )
        return override


def decimal_charge(charge_e: float) -> Decimal:
    """The charge as it is written, so that sums of charges are exact."""
    return Decimal(repr(float(charge_e)))


@cache
def load_forcefield(path: Path | None = None) -> ForceField:
    """Read and validate the parameters.

    Parameters
    ----------
    path
        A file of the same form as ``data/forcefield.yaml``, which is the default.

    Raises
    ------
    SpecError
        Naming each parameter that is missing, unknown or out of range.
    """
    path = path or paths.data_dir() / "forcefield.yaml"
    data = read_yaml(path, "force field")
    return validated(ForceField, data, f"force field {path.name}")


def digest(forcefield: ForceField | None = None) -> str:
    """Hash of every number in the force field; a reworded source does not change it."""
    return key(_without_sources((forcefield or load_forcefield()).model_dump(mode="json")))


def _without_sources(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_sources(v) for k, v in value.items() if k != "source"}
    return value


def topology(membrane: Membrane, system: SystemSpec, counts: dict[str, int]) -> str:
    """A self-contained GROMACS topology.

    Parameters
    ----------
    membrane
        Becomes one molecule ``MEM``, which crosses the periodic boundaries.
    system
        Chooses the Lennard-Jones variant, and position restraints for
        ``membrane = 'restrained'``.
    counts
        Number of molecules ``SOL``, ``K`` and ``CL``.
    """
    forcefield = load_forcefield()
    lj = forcefield.lennard_jones(system.chalcogen_lj)
    water, ions = forcefield.water, forcefield.ions
    types: list[tuple[str, float, LennardJones | Particle]] = [
        (f"{element}_mem", forcefield.masses_u[element], lj[element])
        for element in dict.fromkeys(membrane.elements)
    ]
    types += [
        ("OW", water.oxygen.mass_u, water.oxygen),
        ("HW", water.hydrogen.mass_u, water.hydrogen),
        ("K", ions["K"].mass_u, ions["K"]),
        ("CL", ions["Cl"].mass_u, ions["Cl"]),
    ]
    lines = [
        "[ defaults ]",
        "; Lennard-Jones, Lorentz-Berthelot",
        "1 2 yes 1.0 1.0",
        "",
        "[ atomtypes ]",
        "; name mass_u charge ptype sigma_nm epsilon_kJ_per_mol",
    ]
    lines += [
        f"{name:8s} {mass:10.5f} 0.0 A {p.sigma_nm:.6f} {p.epsilon_kJ_per_mol:.6f}"
        for name, mass, p in types
    ]
    lines += ["", *_membrane_molecule(membrane, forcefield, system.membrane == "restrained")]
    lines += [
        "",
        "[ moleculetype ]",
        "SOL 2",
        "",
        "[ atoms ]",
        f"1 OW 1 SOL OW 1 {water.oxygen.charge_e!r} {water.oxygen.mass_u:.5f}",
        f"2 HW 1 SOL HW1 1 {water.hydrogen.charge_e!r} {water.hydrogen.mass_u:.5f}",
        f"3 HW 1 SOL HW2 1 {water.hydrogen.charge_e!r} {water.hydrogen.mass_u:.5f}",
        "",
        "#ifdef FLEXIBLE",
        "[ bonds ]",
        *(f"1 {h} 1 {water.bond_OH_nm:.6f} {water.flexible.bond_kJ_per_mol_nm2:g}" for h in (2, 3)),
        "",
        "[ angles ]",
        f"2 1 3 1 {water.angle_deg:.4f} {water.flexible.angle_kJ_per_mol_rad2:g}",
        "#else",
        "[ settles ]",
        f"1 1 {water.bond_OH_nm:.6f} {water.distance_HH_nm:.6f}",
        "#endif",
        "",
        "[ exclusions ]",
        "1 2 3",
        "2 1 3",
        "3 1 2",
    ]
    for name, ion in (("K", ions["K"]), ("CL", ions["Cl"])):
        lines += [
            "",
            "[ moleculetype ]",
            f"{name} 1",
            "",
            "[ atoms ]",
            f"1 {name} 1 {name} {name} 1 {ion.charge_e!r} {ion.mass_u:.5f}",
        ]
    lines += ["", "[ system ]", f"{system.charge_set} {system.pore} in {water.name} and KCl"]
    lines += ["", "[ molecules ]", "MEM 1"]
    lines += [f"{name} {counts[name]}" for name in ("SOL", "K", "CL") if counts[name]]
    return "\n".join(lines) + "\n"


def _membrane_molecule(membrane: Membrane, forcefield: ForceField, restrained: bool) -> list[str]:
    lines = ["[ moleculetype ]", "MEM 1", "", "[ atoms ]"]
    for i, (element, charge) in enumerate(
        zip(membrane.elements, membrane.charges_e, strict=True), start=1
    ):
        lines.append(
            f"{i} {element}_mem 1 MEM {element.upper()} {i} {float(charge)!r} "
            f"{forcefield.masses_u[element]:.5f}"
        )
    # grompp takes [ exclusions ] only after an interaction directive, which may be empty.
    lines += ["", "[ bonds ]", "", "[ exclusions ]"]
    for atom, partners in itertools.groupby(
        sorted(near_pairs(membrane, forcefield.membrane.exclusion_distance_nm)),
        key=lambda pair: pair[0],
    ):
        text = " ".join(str(j + 1) for _, j in partners)
        lines += [f"{atom + 1} {part}" for part in textwrap.wrap(text, 200)]
    if restrained:
        k = f"{forcefield.membrane.restraint_kJ_per_mol_nm2:g}"
        lines += ["", "[ position_restraints ]"]
        lines += [f"{i} 1 {k} {k} {k}" for i in range(1, len(membrane.elements) + 1)]
    return lines


def near_pairs(membrane: Membrane, distance_nm: float) -> set[tuple[int, int]]:
    """Pairs i < j of membrane atoms nearer than a distance, periodic in y and z.

    Raises
    ------
    BuildError
        If the distance reaches half of the membrane.
    """
    # The tree wants every axis periodic: one so long in x that no image is ever near.
    length_x = 10.0 + 2 * distance_nm
    box = np.array([length_x, *membrane.box_yz_nm])
    if 2 * distance_nm >= box[1:].min():
        raise BuildError(
            f"a distance of {distance_nm:g} nm reaches half of the membrane "
            f"({membrane.box_yz_nm[0]:.3f} x {membrane.box_yz_nm[1]:.3f} nm2); enlarge it"
        )
    wrapped = np.mod(membrane.positions_nm + np.array([length_x / 2, 0, 0]), box)
    return set(cKDTree(wrapped, boxsize=box).query_pairs(distance_nm))
