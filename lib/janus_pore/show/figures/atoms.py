"""Pictures of molecules: the cell with its field, the pore and its water."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from .drawing import (
    BLUE,
    DOUBLE_IN,
    E_LABEL,
    GREEN,
    HALO,
    ORANGE,
    PURPLE,
    SINGLE_IN,
    VERMILLION,
    YELLOW,
    FloatArray,
    add_note,
    blank,
    styled,
    zero_line,
)

ATOM_COLOUR = {
    "Se": ORANGE,
    "Mo": BLUE,
    "S": YELLOW,
    "K": PURPLE,
    "Cl": GREEN,
    "O": VERMILLION,
    "H": "#F5F5F5",
    "water": "#BFDDEE",
}

ATOM_RADIUS_NM = {
    "Se": 0.150,
    "Mo": 0.125,
    "S": 0.140,
    "K": 0.150,
    "Cl": 0.180,
    "O": 0.090,
    "H": 0.060,
    "water": 0.070,
}
"""Drawn sizes, chosen to be told apart; they are not the radii of the force field."""


class Atoms(NamedTuple):
    """What a picture of the system needs.

    ``positions_nm`` (n, 3); ``kind`` (n,) of :data:`ATOM_COLOUR`'s names, where water of
    the reservoirs is ``water`` and that of the pore is ``O`` and ``H``; ``box_nm`` (3,);
    ``centre_yz_nm`` (2,) the pore's axis; water molecules are whole.
    """

    positions_nm: FloatArray
    kind: NDArray[np.str_]
    box_nm: FloatArray
    centre_yz_nm: FloatArray


def render_spheres(
    centres_nm: FloatArray,
    depth_nm: FloatArray,
    radii_nm: FloatArray,
    colours: FloatArray,
    extent_nm: tuple[float, float, float, float],
    *,
    pixels_per_nm: float = 110.0,
) -> FloatArray:
    """Draw shaded spheres in parallel projection with a depth buffer.

    Parameters
    ----------
    centres_nm
        Horizontal and vertical coordinates, shape (n, 2), nm.
    depth_nm
        Distance towards the viewer, shape (n,), nm; larger hides smaller.
    radii_nm, colours
        Shapes (n,) and (n, 3); colours as red, green, blue in 0 to 1.
    extent_nm
        Left, right, bottom, top of the picture, nm.
    pixels_per_nm
        Resolution of the result; drawn at twice that and averaged, which smooths edges.

    Returns
    -------
    FloatArray
        Picture (height, width, 4) with row 0 at the top, transparent where empty.
    """
    left, right, bottom, top = extent_nm
    scale = 2 * pixels_per_nm
    width = 2 * max(1, round((right - left) * pixels_per_nm))
    height = 2 * max(1, round((top - bottom) * pixels_per_nm))
    picture = np.zeros((height, width, 3))
    buffer = np.full((height, width), -np.inf)
    light = np.array([-0.45, 0.55, 0.70])
    light /= np.linalg.norm(light)
    nearest, farthest = (depth_nm.max(), depth_nm.min()) if depth_nm.size else (0.0, 0.0)
    for centre, depth, radius, colour in zip(centres_nm, depth_nm, radii_nm, colours, strict=True):
        u, v, r = (centre[0] - left) * scale, (top - centre[1]) * scale, radius * scale
        columns = slice(max(0, int(u - r)), min(width, int(u + r) + 2))
        rows = slice(max(0, int(v - r)), min(height, int(v + r) + 2))
        if columns.start >= columns.stop or rows.start >= rows.stop:
            continue
        du = (np.arange(columns.start, columns.stop) + 0.5 - u)[None, :] / r
        dv = -(np.arange(rows.start, rows.stop) + 0.5 - v)[:, None] / r
        lift = 1 - du**2 - dv**2
        up = np.sqrt(np.clip(lift, 0, None))
        seen = (lift > 0) & (depth + radius * up > buffer[rows, columns])
        if not seen.any():
            continue
        shade = np.clip(du * light[0] + dv * light[1] + up * light[2], 0, 1)
        lit = colour * (0.52 + 0.48 * shade)[..., None] + 0.30 * (shade**24)[..., None]
        haze = 0.35 * (nearest - depth) / max(nearest - farthest, 1e-9)
        lit = np.clip(lit, 0, 1) * (1 - haze) + haze
        # a darker rim parts spheres of one colour
        lit = lit * np.where(lift < 0.14, 0.55, 1.0)[..., None]
        picture[rows, columns][seen] = lit[seen]
        buffer[rows, columns][seen] = (depth + radius * up)[seen]
    full = np.concatenate([picture, np.isfinite(buffer)[..., None]], axis=2)
    full[..., :3] *= full[..., 3:]
    small: FloatArray = full.reshape(height // 2, 2, width // 2, 2, 4).mean(axis=(1, 3))
    small[..., :3] /= np.maximum(small[..., 3:], 1e-9)
    return small


def _colours(kinds: NDArray[np.str_]) -> FloatArray:
    table = {kind: mpl.colors.to_rgb(colour) for kind, colour in ATOM_COLOUR.items()}
    return np.array([table[str(k)] for k in kinds]).reshape(-1, 3)


def _radii(kinds: NDArray[np.str_]) -> FloatArray:
    return np.array([ATOM_RADIUS_NM[str(k)] for k in kinds])


def _scale_bar(ax: Axes, left: float, bottom: float, length_nm: float = 1.0) -> None:
    ax.plot(
        [left, left + length_nm],
        [bottom, bottom],
        color="black",
        lw=2,
        solid_capstyle="butt",
        path_effects=HALO,
    )
    ax.text(
        left + length_nm / 2,
        bottom + 0.03,
        f"{length_nm:g} nm",
        ha="center",
        va="bottom",
        path_effects=HALO,
    )


def _axes_cross(ax: Axes, left: float, bottom: float, across: str, up: str) -> None:
    """Two small arrows naming the directions of the picture."""
    for dx, dy, name in ((0.4, 0, across), (0, 0.4, up)):
        ax.annotate(
            "",
            xy=(left + dx, bottom + dy),
            xytext=(left, bottom),
            arrowprops={
                "arrowstyle": "->",
                "lw": 1.1,
                "shrinkA": 0,
                "shrinkB": 0,
                "path_effects": HALO,
            },
        )
        ax.text(
            left + 1.25 * dx,
            bottom + 1.25 * dy,
            name,
            ha="center",
            va="center",
            path_effects=HALO,
        )


def _picture(
    ax: Axes,
    atoms: Atoms,
    axes: tuple[int, int, int],
    extent: tuple[float, float, float, float],
    shown: NDArray[np.bool_],
    colours: FloatArray | None = None,
) -> None:
    """Render the shown atoms; ``axes`` are those across, up, and towards the viewer."""
    across, up, towards = axes
    # seen so that across × up points at the viewer
    handed = 1.0 if (across, up, towards) in ((0, 1, 2), (1, 2, 0), (2, 0, 1)) else -1.0
    picked = atoms.positions_nm[shown]
    colours = _colours(atoms.kind) if colours is None else colours
    image = render_spheres(
        picked[:, [across, up]],
        handed * picked[:, towards],
        _radii(atoms.kind[shown]),
        colours[shown],
        extent,
    )
    ax.imshow(image, extent=extent, interpolation="antialiased", aspect="equal")
    ax.set(xlim=extent[:2], ylim=extent[2:])
    ax.set_axis_off()


def _legend_of_atoms(ax: Axes, kinds: Sequence[str]) -> None:
    names = {"K": "K⁺", "Cl": "Cl⁻", "O": "pore water", "water": "water"}
    handles = [
        mpl.lines.Line2D(
            [], [], marker="o", ls="", ms=6, mec="#555555", mew=0.5, color=ATOM_COLOUR[k]
        )
        for k in kinds
    ]
    ax.legend(
        handles,
        [names.get(k, k) for k in kinds],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.01),
        ncols=len(kinds),
        handletextpad=0.1,
        columnspacing=0.9,
    )


def dipole_colour(dipoles: FloatArray, *, across: str = "#444444") -> FloatArray:
    """Colours (m, 3) of dipoles (m, 3) by |θ|: green along x, purple against it."""
    scale = mpl.colors.LinearSegmentedColormap.from_list("along", [PURPLE, across, GREEN])
    cosine = dipoles[:, 0] / np.maximum(np.hypot(dipoles[:, 0], dipoles[:, 1]), 1e-12)
    return np.asarray(scale((cosine + 1) / 2))[:, :3]


def recentred(atoms: Atoms) -> Atoms:
    """The same atoms with the pore in the middle of the y-z plane, wrapped by molecule.

    Water is three atoms in a row; wrapping its oxygen and moving the hydrogens along
    keeps molecules whole.
    """
    positions = atoms.positions_nm.copy()
    leader = np.arange(len(positions))
    water = np.flatnonzero((atoms.kind == "water") | (atoms.kind == "O") | (atoms.kind == "H"))
    leader[water] = water.reshape(-1, 3)[:, :1].repeat(3, axis=1).ravel()
    shift = np.array([0.0, *(atoms.box_nm[1:] / 2 - atoms.centre_yz_nm)])
    moved = positions[leader] + shift
    positions += shift - np.floor(moved / atoms.box_nm) * atoms.box_nm
    return atoms._replace(positions_nm=positions, centre_yz_nm=atoms.box_nm[1:] / 2)


@styled
def scene(atoms: Atoms, time_ps: ArrayLike, field_V_per_nm: ArrayLike, *, note: str = "") -> Figure:
    """Fig. 1A: the system from the side and from the top, and the field's waveform.

    Parameters
    ----------
    atoms
        The built system.
    time_ps, field_V_per_nm
        Waveform, shape (n,).
    note
        What the figure rests on, written beneath it.

    Returns
    -------
    Figure
        Side view: the far half of the membrane and the liquid within 0.5 nm of the
        pore's axis, one ball per reservoir molecule. Top view: along +x, without the
        reservoirs.
    """
    atoms = recentred(atoms)
    box, z0 = atoms.box_nm, atoms.centre_yz_nm[1]
    x, _, z = atoms.positions_nm.T
    picture_in = box[1] * (DOUBLE_IN - 0.5) / (box[0] + box[2])
    figure = blank(DOUBLE_IN, picture_in + 2.1)
    grid = figure.add_gridspec(2, 2, width_ratios=[box[0], box[2]], height_ratios=[picture_in, 0.9])
    side, top, wave = (
        figure.add_subplot(grid[0, 0]),
        figure.add_subplot(grid[0, 1]),
        figure.add_subplot(grid[1, :]),
    )
    membrane = np.isin(atoms.kind, ["Se", "Mo", "S"])
    shown = np.where(membrane, (z < z0) & (z > z0 - 1.0), np.abs(z - z0) < 0.5)
    reservoir = np.flatnonzero(atoms.kind == "water")
    shown[reservoir.reshape(-1, 3)[:, 1:]] = False  # one ball per reservoir molecule
    _picture(side, atoms, (0, 1, 2), (0.0, box[0], 0.0, box[1]), shown)
    side.set_title("side, cut open through the pore")
    _axes_cross(side, 0.15, 0.15, "x", "y")
    side.annotate(
        "",
        xy=(0.90 * box[0], 1.05 * box[1]),
        xytext=(0.72 * box[0], 1.05 * box[1]),
        annotation_clip=False,
        arrowprops={"arrowstyle": "-|>", "color": VERMILLION, "lw": 1.6},
    )
    side.text(0.91 * box[0], 1.05 * box[1], "E > 0", color=VERMILLION, va="center", fontsize=7.5)
    listed = [k for k in ATOM_COLOUR if k != "H" and (atoms.kind == k).any()]
    _legend_of_atoms(side, listed)
    near = np.isin(atoms.kind, ["O", "H"]) | (
        np.isin(atoms.kind, ["K", "Cl"]) & (np.abs(x - box[0] / 2) < 0.4)
    )
    _picture(top, atoms, (2, 1, 0), (0.0, box[2], 0.0, box[1]), membrane | near)
    top.set_title("top, from the −x side")
    _axes_cross(top, 0.15, 0.15, "z", "y")
    _scale_bar(top, box[2] - 1.15, 0.1)
    wave.plot(time_ps, field_V_per_nm, color=VERMILLION, label="field")
    zero_line(wave)
    wave.set(xlabel="time (ps)", ylabel=E_LABEL, xlim=(0, np.max(time_ps)))
    add_note(figure, note)
    return figure


@styled
def molecules(atoms: Atoms, dipoles: FloatArray, *, note: str = "") -> Figure:
    """Membrane, ions and pore water from the side and from the top, dipoles as arrows.

    Parameters
    ----------
    atoms
        One frame.
    dipoles
        Of the pore's water in the order of the ``O`` atoms, any unit, shape (m, 3).
    note
        What the figure rests on.
    """
    atoms = recentred(atoms)
    box, z0 = atoms.box_nm, atoms.centre_yz_nm[1]
    wall = np.isin(atoms.kind, ["Se", "Mo", "S"])
    shown = atoms.kind != "water"
    oxygen = atoms.positions_nm[atoms.kind == "O"]
    heads = 0.22 * dipoles / np.maximum(np.linalg.norm(dipoles, axis=1, keepdims=True), 1e-12)
    width = min(box[0], 3.2)
    side_nm = ((box[0] - width) / 2, (box[0] + width) / 2, 0.0, box[1])
    figure = blank(DOUBLE_IN, (DOUBLE_IN - 0.4) * box[1] / (width + box[2]) + 0.9)
    side, top = figure.subplots(1, 2, width_ratios=[width, box[2]])
    # the near half of the membrane would hide the pore
    cut = shown & ~(wall & (atoms.positions_nm[:, 2] > z0))
    near = shown & (wall | (np.abs(atoms.positions_nm[:, 0] - box[0] / 2) < 0.5))
    for ax, axes, extent, chosen in (
        (side, (0, 1, 2), side_nm, cut),
        (top, (2, 1, 0), (0.0, box[2], 0.0, box[1]), near),
    ):
        _picture(ax, atoms, axes, extent, chosen)
        across, up, _ = axes
        ax.quiver(
            *(oxygen - heads / 2)[:, [across, up]].T,
            *heads[:, [across, up]].T,
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.03 / (extent[1] - extent[0]),
            color=dipole_colour(dipoles),
            edgecolor="black",
            linewidth=0.4,
        )
        _axes_cross(ax, extent[0] + 0.15, extent[2] + 0.15, "xyz"[across], "xyz"[up])
    side.set_title("side, cut open")
    top.set_title("top, from the −x side")
    _scale_bar(top, box[2] - 1.15, 0.1)
    listed = [k for k in ATOM_COLOUR if k not in ("H", "water") and (atoms.kind == k).any()]
    _legend_of_atoms(side, listed)
    add_note(figure, note)
    return figure


@styled
def pore_water(
    atoms: Atoms,
    dipole: FloatArray,
    *,
    field_V_per_nm: float,
    note: str = "",
) -> Figure:
    """Fig. 2A: pore water coloured by the direction of its dipole, beside the membrane.

    Parameters
    ----------
    atoms
        One frame.
    dipole
        Dipole vectors of the pore's water molecules in the order of the ``O`` atoms, any
        unit, shape (m, 3).
    field_V_per_nm
        Field when the frame was taken.
    note
        What the figure rests on.
    """
    atoms = recentred(atoms)
    box, (y0, z0) = atoms.box_nm, atoms.centre_yz_nm
    x, y, z = atoms.positions_nm.T
    inside = atoms.kind == "O"
    cosine = dipole[:, 0] / np.maximum(np.hypot(dipole[:, 0], dipole[:, 1]), 1e-12)
    scale = mpl.colors.LinearSegmentedColormap.from_list("along", [PURPLE, "#EEEEEE", GREEN])
    norm = mpl.colors.Normalize(-1, 1)
    colours = _colours(atoms.kind)
    colours[inside] = scale(norm(cosine))[:, :3]
    half = 0.85
    extent = (box[0] / 2 - half, box[0] / 2 + half, y0 - half, y0 + half)
    figure = blank(SINGLE_IN, 3.3)
    ax = figure.add_subplot()
    wall = np.isin(atoms.kind, ["Se", "Mo", "S"]) & (z < z0) & (z > z0 - 0.9)
    water = np.isin(atoms.kind, ["O", "H"])
    _picture(ax, atoms, (0, 1, 2), extent, wall | water, colours)
    along = dipole[:, :2] / np.maximum(np.linalg.norm(dipole, axis=1, keepdims=True), 1e-12)
    ax.quiver(
        x[inside] - 0.11 * along[:, 0],
        y[inside] - 0.11 * along[:, 1],
        0.22 * along[:, 0],
        0.22 * along[:, 1],
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.009,
        color="black",
    )
    _axes_cross(ax, extent[0] + 0.08, extent[2] + 0.08, "x", "y")
    _scale_bar(ax, extent[1] - 0.58, extent[2] + 0.05, 0.5)
    ax.set_title(f"pore water at E = {field_V_per_nm:.2f} V/nm".replace("-", "−"))
    bar = figure.colorbar(
        mpl.cm.ScalarMappable(norm, scale), ax=ax, shrink=0.7, ticks=[-1, 0, 1], pad=0.02
    )
    bar.ax.set_yticklabels(["180°", "90°", "0°"])
    bar.set_label("|θ|, dipole to x axis")
    add_note(figure, note)
    return figure
