"""The 2H monolayer in the y–z plane, the pore cut from it, and its bare potential."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Voronoi, cKDTree
from scipy.special import erf, erfc

from ..errors import BuildError
from ..spec import PORE_PATTERN, SystemSpec
from .forcefield import SITES, LatticeParameters, LennardJones, Particle, load_forcefield

Array = NDArray[np.float64]

COULOMB_V_nm_per_e = 1.439964548
"""e / (4 π ε0): the potential in V of one elementary charge at 1 nm."""

LJ_REACH_nm = 5.0
"""Beyond this all of a membrane's attraction is below 0.01 kJ/mol."""

_TIE_nm = 1e-6


@dataclass(frozen=True)
class Columns:
    """The honeycomb seen along x: metals, and columns of two chalcogens.

    Attributes
    ----------
    metals_nm, chalcogens_nm
        (n, 2) y, z relative to the pore's centre, nearest image.
    box_yz_nm
        Edges of the rectangular supercell.
    spacing_nm
        In-plane distance between a metal and its nearest columns, a/√3.
    """

    metals_nm: Array
    chalcogens_nm: Array
    box_yz_nm: tuple[float, float]
    spacing_nm: float


@dataclass(frozen=True)
class Membrane:
    """Membrane atoms, the metals at x = 0: all metals, all -x, then all +x chalcogens.

    Attributes
    ----------
    positions_nm
        (n, 3); y and z within the box.
    elements
        (n,) element symbols.
    charges_e
        (n,) partial charges.
    box_yz_nm
        Edges of the box along y and z.
    centre_yz_nm
        Where the pore is centred, or would be: the origin of its shells.
    removed_units
        Number of formula units taken out.
    columns
        What is left, seen along x.
    """

    positions_nm: Array
    elements: tuple[str, ...]
    charges_e: Array
    box_yz_nm: tuple[float, float]
    centre_yz_nm: tuple[float, float]
    removed_units: int
    columns: Columns

    @cached_property
    def axis_yz_nm(self) -> Array:
        """(2,) the line along x that is farthest from every column.

        It is where the pore is centred, unless its rim is not the same all around: half of
        ``bond4``'s last shell is left, and its widest place 0.054 nm beside the bond.
        """
        sites = np.vstack([self.columns.metals_nm, self.columns.chalcogens_nm])
        corners = Voronoi(sites).vertices  # where the distance to all columns is largest
        corners = corners[np.hypot(*corners.T) < np.hypot(*sites.T).max() / 2]
        clearance, _ = cKDTree(sites).query(corners)
        widest = corners[clearance > clearance.max() - _TIE_nm]
        away = np.hypot(*widest.T)
        middle = widest[away < away.min() + _TIE_nm].mean(axis=0)  # of two that mirror each other
        return np.asarray(self.centre_yz_nm + np.where(np.abs(middle) < _TIE_nm, 0.0, middle))


@dataclass(frozen=True)
class EdgeDiameters:
    """Centre-to-centre diameters of a pore, nm.

    ``edge_columns`` is the number of metals and chalcogen columns that lost a bond.
    ``min``, ``mean`` and ``max`` are over the rim: as many columns, those nearest to where the
    pore is centred, each counted with twice its distance from there. ``mean_bonded`` is the
    same mean over the columns that lost a bond.
    """

    edge_columns: int
    min: float
    mean: float
    max: float
    mean_bonded: float


@dataclass(frozen=True)
class PoreCandidate:
    """A neutral pore that can be cut, with its size."""

    pore: str
    removed_units: int
    diameters_nm: EdgeDiameters


def lattice(
    parameters: LatticeParameters, cells_y: int, cells_z: int, centre: str = "hollow"
) -> Columns:
    """Columns of a perfect monolayer around a chosen point.

    The rectangular cell, a along y and a√3 along z, holds two formula units.

    Parameters
    ----------
    parameters
        Lattice constant and bond lengths.
    cells_y, cells_z
        Repeats of the rectangular cell.
    centre
        ``hollow`` (a hexagon's middle), ``bond``, ``metal`` or ``chalcogen``: the origin.
    """
    a, d = parameters.a_nm, parameters.column_distance_nm
    box = np.array([cells_y * a, cells_z * 3 * d])
    cell = np.array([[0.0, 0.0], [a / 2, 1.5 * d]])
    shifts = np.array([[i * a, k * 3 * d] for k in range(cells_z) for i in range(cells_y)])
    metals = (shifts[:, None, :] + cell[None, :, :]).reshape(-1, 2)
    origin = {"hollow": -d, "bond": d / 2, "metal": 0.0, "chalcogen": d}[centre]

    def around(points: Array) -> Array:
        relative = points - [0.0, origin]
        relative -= box * np.round(relative / box)
        return relative[np.lexsort((relative[:, 0].round(6), relative[:, 1].round(6)))]

    return Columns(
        around(metals), around(metals + np.array([0.0, d])), (float(box[0]), float(box[1])), d
    )


def carve(columns: Columns, pore: str) -> tuple[Columns, int]:
    """Take whole formula units out around the origin.

    The n metals and the n chalcogen columns nearest to the centre are removed, so that
    what is left is neutral. Columns equally far away (a shell) go together: a cut through
    a shell would be one of several different pores. The one exception is a shell of two
    columns that mirror each other across the bond at the centre: either half gives the
    same pore up to that mirror, and of both species the half on the same side is taken. In the
    pores near the published size every atom keeps at least two bonds; some wider ones leave
    atoms with one.

    Parameters
    ----------
    columns
        A perfect lattice around the pore's centre (see :func:`lattice`).
    pore
        ``none``, or a centre and a number, such as ``hollow6``.

    Raises
    ------
    BuildError
        If the number would cut a shell, or the pore is wider than the membrane.
    """
    centre, units = parse_pore(pore)
    if units == 0:
        return columns, 0
    available = len(columns.metals_nm)
    limit = min(columns.box_yz_nm)
    size = f"{columns.box_yz_nm[0]:.3f} x {columns.box_yz_nm[1]:.3f} nm2"
    if units >= available:
        raise BuildError(
            f"pore = {pore!r} would remove {units} of the {available} formula units of a "
            f"{size} membrane; remove fewer or raise cells_y and cells_z"
        )
    kept = []
    for points in (columns.metals_nm, columns.chalcogens_nm):
        order = _removal_order(points, centre)
        radius = np.hypot(*points[order].T)
        last, following = radius[units - 1], radius[units]
        alone = (np.abs(radius - last) < _TIE_nm).sum() == 2
        halved = centre == "bond" and alone and _mirror_pair(points[order[units - 1 : units + 1]])
        if following - last < _TIE_nm and not halved:
            raise BuildError(_shell_message(pore, columns))
        kept.append(np.delete(points, order[:units], axis=0))
    remaining = Columns(kept[0], kept[1], columns.box_yz_nm, columns.spacing_nm)
    widest = _diameters(remaining).max
    # One whole row between the pore and its periodic image, or it is a slit, not a pore.
    if widest + np.sqrt(3.0) * columns.spacing_nm > limit:
        raise BuildError(
            f"pore = {pore!r}, {widest:.3f} nm wide, does not fit the {size} membrane: "
            f"no closed row of atoms would be left around it; choose a smaller pore or raise "
            "cells_y and cells_z"
        )
    return remaining, units


def build_membrane(system: SystemSpec) -> Membrane:
    """The membrane that a specification asks for, the pore's axis at the box's middle.

    Raises
    ------
    SpecError
        If the charge set or the Lennard-Jones variant is not known.
    BuildError
        If the pore cannot be cut (see :func:`carve`).
    """
    forcefield = load_forcefield()
    charge_set = forcefield.charge_set(system.charge_set)
    charges = forcefield.charges_e(system)
    parameters = forcefield.lattices[charge_set.lattice]
    centre, _ = parse_pore(system.pore)
    columns, removed = carve(
        lattice(parameters, system.cells_y, system.cells_z, centre), system.pore
    )
    box = np.array(columns.box_yz_nm)
    positions, elements, charges_e = [], [], []
    for site in SITES:
        points = columns.metals_nm if site == "metal" else columns.chalcogens_nm
        height = np.full((len(points), 1), parameters.heights_nm[site])
        positions.append(np.hstack([height, np.mod(points + box / 2, box)]))
        elements += [charge_set.elements[site]] * len(points)
        charges_e += [charges[site]] * len(points)
    return Membrane(
        positions_nm=np.vstack(positions),
        elements=tuple(elements),
        charges_e=np.array(charges_e),
        box_yz_nm=columns.box_yz_nm,
        centre_yz_nm=(columns.box_yz_nm[0] / 2, columns.box_yz_nm[1] / 2),
        removed_units=removed,
        columns=columns,
    )


def parse_pore(pore: str) -> tuple[str, int]:
    """Centre and number of removed units; ``none`` is a hollow with none removed."""
    match = PORE_PATTERN.fullmatch(pore)
    assert match is not None  # SystemSpec takes no other
    return (match[1], int(match[2])) if match[1] else ("hollow", 0)


def edge_diameters(membrane: Membrane) -> EdgeDiameters | None:
    """Size of the pore from the centres of its edge atoms; None without a pore.

    Notes
    -----
    Distances are in the plane. The rim is the set of columns that something in the middle
    meets first: as many as lost a bond. For a round pore (``hollow6``) both are the same
    twelve columns. For ``bond4`` the eight nearest columns are 0.677 to 0.938 nm across
    and 0.81 nm on average, and the eight that lost a bond 0.84 nm.
    """
    return _diameters(membrane.columns) if membrane.removed_units else None


def candidate_pores(system: SystemSpec) -> list[PoreCandidate]:
    """Every neutral pore that fits the membrane, smallest first.

    Only hollows and bonds have any: around a metal or a chalcogen the shells never hold
    equally many metals and chalcogen columns.
    """
    forcefield = load_forcefield()
    parameters = forcefield.lattices[forcefield.charge_set(system.charge_set).lattice]
    out = []
    for centre in ("hollow", "bond"):
        perfect = lattice(parameters, system.cells_y, system.cells_z, centre)
        for units in range(1, len(perfect.metals_nm)):
            try:
                columns, _ = carve(perfect, f"{centre}{units}")
            except BuildError:
                continue
            out.append(PoreCandidate(f"{centre}{units}", units, _diameters(columns)))
    return sorted(out, key=lambda c: (c.diameters_nm.mean, c.removed_units))


def pore_by_diameter(diameter_nm: float, system: SystemSpec) -> str:
    """Name of the neutral pore whose mean diameter is nearest.

    Raises
    ------
    BuildError
        If no pore of this size fits the membrane.
    """
    candidates = candidate_pores(system)
    sizes = np.array([c.diameters_nm.mean for c in candidates])
    step = load_forcefield().lattices[load_forcefield().charge_set(system.charge_set).lattice].a_nm
    if not len(sizes) or not sizes.min() - step <= diameter_nm <= sizes.max() + step:
        raise BuildError(
            f"no neutral pore of diameter {diameter_nm:g} nm fits the membrane; those that do "
            + (f"are {sizes.min():.3f} to {sizes.max():.3f} nm wide" if len(sizes) else "are none")
            + "; change the diameter or raise cells_y and cells_z"
        )
    return candidates[int(np.argmin(np.abs(sizes - diameter_nm)))].pore


def axis_potential(membrane: Membrane, x_nm: Array) -> Array:
    """Electrostatic potential of the bare membrane on the pore's axis (its widest place).

    The exact lattice sum over the membrane's images in y and z, in vacuum on both sides
    and with no other charge: what an ion would feel without water.

    Parameters
    ----------
    membrane
        Neutral membrane with its metals at x = 0.
    x_nm
        (n,) positions on the axis.

    Returns
    -------
    ndarray
        (n,) potential in V.

    Notes
    -----
    Two-dimensional Ewald sum (Parry 1975; de Leeuw and Perram 1979): with A the area of
    the box and α the splitting,

    V(r) = Σ_j q_j { Σ_n erfc(α r_jn)/r_jn
    + (π/A) Σ_G≠0 cos(G·s_j)/G [e^(G x) erfc(G/2α + α x) + e^(−G x) erfc(G/2α − α x)]
    − (2√π/A) [e^(−α²x²)/α + √π x erf(α x)] }.
    """
    x = np.atleast_1d(np.asarray(x_nm, dtype=float))
    box = np.array(membrane.box_yz_nm)
    area = box.prod()
    alpha = 6.0 / box.min()  # erfc(6) = 2e-17: the sum over images ends with the neighbours
    reach = np.ceil(6.0 / (alpha * box)).astype(int)
    lattice_shifts = np.array(
        [[i, k] for i in range(-reach[0], reach[0] + 1) for k in range(-reach[1], reach[1] + 1)]
    )
    n_max = np.ceil(12.0 * alpha * box / (2 * np.pi)).astype(int)
    waves = (
        2
        * np.pi
        * np.array(
            [
                [i / box[0], k / box[1]]
                for i in range(-n_max[0], n_max[0] + 1)
                for k in range(-n_max[1], n_max[1] + 1)
                if (i, k) != (0, 0)
            ]
        )
    )
    length = np.hypot(*waves.T)
    in_plane = membrane.positions_nm[:, 1:] - membrane.axis_yz_nm
    in_plane -= box * np.round(in_plane / box)
    images = in_plane[:, None, :] + (lattice_shifts * box)[None, :, :]
    image_distance2 = (images**2).sum(axis=2)
    out = np.empty_like(x)
    # Charges of one height share the reciprocal sum: three structure factors, not n atoms.
    heights = np.unique(membrane.positions_nm[:, 0])
    factors = np.array(
        [
            np.cos(in_plane[membrane.positions_nm[:, 0] == h] @ waves.T).T
            @ membrane.charges_e[membrane.positions_nm[:, 0] == h]
            for h in heights
        ]
    )
    layer_charge = np.array(
        [membrane.charges_e[membrane.positions_nm[:, 0] == h].sum() for h in heights]
    )
    for i, here in enumerate(x):
        r = np.sqrt((here - membrane.positions_nm[:, 0, None]) ** 2 + image_distance2)
        total = float(membrane.charges_e @ (erfc(alpha * r) / r).sum(axis=1))
        for h, factor, charge in zip(heights, factors, layer_charge, strict=True):
            dx = here - h
            total += float(np.pi / area * (factor * _wave_decay(length, dx, alpha)).sum())
            total -= float(
                2
                * np.sqrt(np.pi)
                / area
                * charge
                * (np.exp(-((alpha * dx) ** 2)) / alpha + np.sqrt(np.pi) * dx * erf(alpha * dx))
            )
        out[i] = COULOMB_V_nm_per_e * total
    return out


def axis_lennard_jones(
    membrane: Membrane, parameters: Mapping[str, LennardJones], ion: Particle, x_nm: Array
) -> Array:
    """Lennard-Jones energy of an ion on the pore's axis (its widest place) with the bare membrane.

    Parameters
    ----------
    membrane
        With its metals at x = 0.
    parameters
        Of its elements (:meth:`janus_pore.build.forcefield.ForceField.lennard_jones`).
    ion
        The ion's.
    x_nm
        (n,) positions on the axis.

    Returns
    -------
    ndarray
        (n,) energy in kJ/mol: the sum over all images in y and z within :data:`LJ_REACH_nm`,
        with the mixing of the force field, Lorentz-Berthelot.
    """
    box = np.array(membrane.box_yz_nm)
    in_plane = membrane.positions_nm[:, 1:] - membrane.axis_yz_nm
    in_plane -= box * np.round(in_plane / box)
    i, k = (np.arange(-n, n + 1) for n in np.ceil(LJ_REACH_nm / box).astype(int))
    images = in_plane[:, None, :] + (np.stack(np.meshgrid(i, k), axis=-1).reshape(-1, 2) * box)
    across2 = (images**2).sum(axis=2)
    mixed = [parameters[element] for element in membrane.elements]
    sigma = np.array([(p.sigma_nm + ion.sigma_nm) / 2 for p in mixed])[:, None]
    epsilon = np.sqrt([p.epsilon_kJ_per_mol * ion.epsilon_kJ_per_mol for p in mixed])[:, None]
    out = np.empty(len(x_nm))
    for n, here in enumerate(x_nm):
        r2 = across2 + (here - membrane.positions_nm[:, 0, None]) ** 2
        sixth = np.where(r2 < LJ_REACH_nm**2, (sigma**2 / r2) ** 3, 0.0)
        out[n] = (4 * epsilon * (sixth**2 - sixth)).sum()
    return out


def _wave_decay(length: Array, dx: float, alpha: float) -> Array:
    """[e^(G x) erfc(G/2α + αx) + e^(−G x) erfc(G/2α − αx)] / G without overflow."""
    out = np.zeros_like(length)
    for sign in (1.0, -1.0):
        argument = length / (2 * alpha) + sign * alpha * dx
        exponent = sign * length * dx
        # For a large argument erfc wins over the exponential: multiply only where it counts.
        safe = (argument < 26) & (exponent < 700)
        out[safe] += np.exp(exponent[safe]) * erfc(argument[safe])
    return out / length


def _removal_order(points: Array, centre: str) -> NDArray[np.intp]:
    """Nearest first; equals around a bond ordered so that the +y half comes first."""
    radius = np.hypot(*points.T).round(6)
    return np.lexsort((points[:, 1].round(6), -points[:, 0].round(6), radius))


def _mirror_pair(pair: Array) -> bool:
    """Whether two columns mirror each other across the central bond, which lies along z."""
    return bool(np.allclose(pair[0] * [-1, 1], pair[1], atol=_TIE_nm))


def _whole_shells(columns: Columns) -> list[int]:
    """Numbers of units that cut no shell of either species."""
    cuts = []
    for points in (columns.metals_nm, columns.chalcogens_nm):
        radius = np.sort(np.hypot(*points.T))
        radius = radius[radius < min(columns.box_yz_nm) / 2]
        cuts.append(set((np.flatnonzero(np.diff(radius) > _TIE_nm) + 1).tolist()))
    return sorted(cuts[0] & cuts[1])


def _shell_message(pore: str, columns: Columns) -> str:
    centre, units = parse_pore(pore)
    whole = _whole_shells(columns)
    below = [n for n in whole if n < units]
    above = [n for n in whole if n > units]
    near = [*below[-1:], *above[:1]]
    advice = (
        f"nearest are {' and '.join(str(n) for n in near)}"
        if near
        else "no number of whole units closes a shell there; centre it on a hollow or a bond"
    )
    return f"pore = {pore!r}: {units} units around a {centre} would cut a shell; {advice}"


def _diameters(columns: Columns) -> EdgeDiameters:
    metals, chalcogens = columns.metals_nm, columns.chalcogens_nm
    box = np.array(columns.box_yz_nm)
    reach = 1.1 * columns.spacing_nm
    trees = [cKDTree(np.mod(p + box / 2, box), boxsize=box) for p in (metals, chalcogens)]
    lost = [
        np.array([len(n) < 3 for n in other.query_ball_point(one.data, reach)])
        for one, other in (trees, trees[::-1])
    ]
    radius = np.concatenate([np.hypot(*metals.T), np.hypot(*chalcogens.T)])
    open_bonds = np.concatenate(lost)
    count = int(open_bonds.sum())
    rim = 2 * np.sort(radius)[:count]
    return EdgeDiameters(
        edge_columns=count,
        min=float(rim.min()),
        mean=float(rim.mean()),
        max=float(rim.max()),
        mean_bonded=float(2 * radius[open_bonds].mean()),
    )
