"""One function per figure: arrays in, a matplotlib figure out, no file read.

Colours are Okabe and Ito's (Color Universal Design, 2008), told apart with every kind of
colour vision; the sweep's direction is also a line style and a marker. Fields on the axes
are those of the reference box (:attr:`janus_pore.spec.Profile.reference_length_x_nm`), and
the second axis is the voltage V = E·Lx, the same in every box.
"""

from __future__ import annotations

import functools
import html
import io
import itertools
import re
import textwrap
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.transforms import ScaledTranslation, Transform
from numpy.typing import ArrayLike, NDArray

from ..measure.statistics import FEWEST_UNITS, Band, Estimate, ExponentialFit
from ..measure.water import WIDEST_GAUSSIAN_DEG, Orientation

FloatArray = NDArray[np.float64]
P = ParamSpec("P")

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#666666"

SINGLE_IN, DOUBLE_IN = 3.35, 6.9
"""Widths of one and two columns of a journal page, in inches."""

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "figure.dpi": 110,
    "savefig.dpi": 220,
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}

SPECIES_COLOUR = {"K": PURPLE, "Cl": GREEN}
SPECIES_NAME = {"K": "K⁺", "Cl": "Cl⁻"}
ESTIMATOR_COLOUR = {"box": BLUE, "pore": ORANGE, "crossings": GREEN}
ESTIMATOR_LINE = {"box": "-", "pore": "--", "crossings": ":"}
ESTIMATOR_NAME = {
    "box": "whole box",
    "pore": "pore slab",
    "crossings": "mid-plane crossings",
}
DIRECTIONS = ("forward", "reverse")
DIRECTION_LOOK: dict[str, dict[str, Any]] = {
    "forward": {"color": BLUE, "linestyle": "-", "marker": "o", "markerfacecolor": BLUE},
    "reverse": {"color": VERMILLION, "linestyle": "--", "marker": "s", "markerfacecolor": "white"},
}
STEP_NAME = {"forward": "ordering, field up", "reverse": "relaxation, field down"}
DIRECTION_NAME = {"forward": "forward, |E| rising", "reverse": "reverse, |E| falling"}

HALO = [withStroke(linewidth=2.2, foreground="white")]

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

E_LABEL = "field E (V/nm)"
V_LABEL = "voltage V = E·Lx (V)"


class Curve(NamedTuple):
    """Points with their intervals: equal-length arrays; NaN where there is no interval."""

    x: FloatArray
    value: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, x: ArrayLike, band: Band) -> Curve:
        """A measured band over its positions; no interval rests on too few units."""
        if band.n_independent < FEWEST_UNITS:
            return cls.bare(x, band.value)
        return cls(np.asarray(x, float), band.value, band.low, band.high)

    @classmethod
    def point(cls, estimate: Estimate) -> Curve:
        """One number, with its interval where there is one, at x = 0."""
        low, high = (
            (estimate.low, estimate.high) if estimate.enough else (float("nan"), float("nan"))
        )
        return cls(*(np.array([v], float) for v in (0.0, estimate.value, low, high)))

    @classmethod
    def bare(cls, x: ArrayLike, value: ArrayLike) -> Curve:
        """Points without an interval."""
        x, value = np.asarray(x, float), np.asarray(value, float)
        return cls(x, value, np.full_like(value, np.nan), np.full_like(value, np.nan))


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


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run a drawing function under :data:`STYLE`, leaving the reader's settings alone."""
    style: Any = STYLE

    @functools.wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(style):
            return draw(*args, **kwargs)

    return inner


def _figure(width_in: float, height_in: float) -> Figure:
    return Figure(figsize=(width_in, height_in), layout="constrained")


def _nothing(why: str, note: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = _figure(DOUBLE_IN, 1.0)
    figure.text(0.5, 0.6, why, ha="center", va="center", color=GREY)
    _note(figure, note)
    return figure


def _note(figure: Figure, note: str) -> None:
    """A line under the axes saying what the figure rests on."""
    if note:
        lines = textwrap.wrap(note, int(20 * figure.get_figwidth()))
        figure.supxlabel("\n".join(lines), fontsize=6.5, color=GREY, x=0.01, ha="left")


def _zero(ax: Axes) -> None:
    ax.axhline(0, color="#BBBBBB", linewidth=0.6, zorder=0)


def _voltage_axis(ax: Axes, length_x_nm: float) -> None:
    top = ax.secondary_xaxis(
        "top",
        functions=(
            lambda e: np.asarray(e, float) * length_x_nm,
            lambda v: np.asarray(v, float) / length_x_nm,
        ),
    )
    top.set_xlabel(V_LABEL, fontsize=7, color=GREY)
    top.tick_params(labelsize=6.5, colors=GREY)
    top.spines["top"].set_color(GREY)


_INTERVALS: weakref.WeakKeyDictionary[Line2D, Curve] = weakref.WeakKeyDictionary()
"""What a line was drawn from, where that has intervals."""


class Point(NamedTuple):
    """One number of a figure: where it stands, and its interval if it has one."""

    panel: str
    series: str
    x_quantity: str
    x: float
    y_quantity: str
    y: float
    low: float
    high: float


def data_of(figure: Figure) -> list[Point]:
    """The numbers behind a figure: its lines, points and bars, panel by panel.

    Pictures, guides across a whole panel and colour bars hold no data of their own.
    """
    found = []
    for number, ax in enumerate(figure.axes, start=1):
        if ax.images or ax.get_label() == "<colorbar>":
            continue
        panel = ax.get_title(loc="left") or str(number)
        quantities = [" ".join(text.split()) for text in (ax.get_xlabel(), ax.get_ylabel())]
        for series, curve in _curves(ax):
            for x, y, low, high in zip(*curve, strict=True):
                found.append(Point(panel, series, quantities[0], x, quantities[1], y, low, high))
    return found


def _curves(ax: Axes) -> list[tuple[str, Curve]]:
    """What is drawn in a panel, by name; by number where it has none."""
    errors = [c for c in ax.containers if isinstance(c, ErrorbarContainer)]
    names = {c.lines[0]: str(c.get_label()) for c in errors}
    caps = {cap for c in errors for cap in c.lines[1]}
    across = ax.get_xaxis_transform(which="grid"), ax.get_yaxis_transform(which="grid")
    curves: list[tuple[str, Curve]] = []
    for line in ax.lines:
        if line not in caps and line.get_transform() not in across:
            drawn = _INTERVALS.get(line, Curve.bare(line.get_xdata(), line.get_ydata()))
            curves.append((names.get(line, str(line.get_label())), drawn))
    for bars in (c for c in ax.containers if isinstance(c, BarContainer)):
        at = [bar.get_x() + bar.get_width() / 2 for bar in bars]
        curves.append((str(bars.get_label()), Curve.bare(at, [b.get_height() for b in bars])))
    for dots in ax.collections:
        if isinstance(dots, PathCollection):
            x, y = np.ma.filled(dots.get_offsets(), np.nan).T
            curves.append((str(dots.get_label()), Curve.bare(x, y)))
    return [
        (str(k) if name.startswith(("_child", "_nolegend_")) else name.removeprefix("_"), curve)
        for k, (name, curve) in enumerate(curves, start=1)
    ]


MOST_HOVERING = 600
"""Points of a curve whose values show under the pointer; of more, every so many."""


def hoverable(figure: Figure, alt: str) -> str:
    """A figure as SVG to be put into a page, its values shown under the pointer.

    Parameters
    ----------
    figure
        From this module.
    alt
        What a reader who cannot see it should know.
    """
    stream = io.StringIO()
    style: Any = STYLE | {"svg.fonttype": "none"}
    with mpl.rc_context(style):
        figure.savefig(stream, format="svg")
    text = stream.getvalue()
    scale, height = 72 / figure.dpi, 72 * figure.get_figheight()
    spots = []
    for ax in figure.axes:
        if ax.images or ax.get_label() == "<colorbar>":
            continue
        for name, curve in _curves(ax):
            shown = np.isfinite(curve.x) & np.isfinite(curve.value)
            every = np.flatnonzero(shown)[:: max(1, int(shown.sum()) // MOST_HOVERING)]
            places = ax.transData.transform(np.stack([curve.x[every], curve.value[every]], 1))
            for k, (across, up) in zip(every, scale * places, strict=True):
                value = f"{name}: {curve.value[k]:.4g} at {curve.x[k]:.4g}"
                if np.isfinite(curve.low[k]):
                    value += f" [{curve.low[k]:.4g}, {curve.high[k]:.4g}]"
                spots.append(
                    f'<circle cx="{across:.1f}" cy="{height - up:.1f}" r="4" fill="transparent">'
                    f"<title>{html.escape(value)}</title></circle>"
                )
    body = text[text.index("<svg") :].replace("</svg>", f"{''.join(spots)}</svg>")
    begin = '<svg role="img" style="max-width:100%;height:auto" '
    return body.replace("<svg ", f'{begin}aria-label="{html.escape(alt)}" ', 1)


def _draw(ax: Axes, curve: Curve, *, band: bool = True, **look: Any) -> None:
    """A line through the points and its interval as a band."""
    _INTERVALS[ax.plot(curve.x, curve.value, **look)[0]] = curve
    if band and np.isfinite(curve.low).any():
        alpha = 0.18 * look.get("alpha", 1.0)
        ax.fill_between(curve.x, curve.low, curve.high, color=look["color"], alpha=alpha, lw=0)


def _errorbars(ax: Axes, curve: Curve, **look: Any) -> None:
    """Points with their intervals; hollow where there is none or it has no end."""
    ends = np.isfinite(curve.low) & np.isfinite(curve.high)
    for chosen, bounded in ((ends, True), (~ends, False)):
        if not chosen.any():
            continue
        x, value, low, high = (v[chosen] for v in curve)
        if bounded:
            drawn = ax.errorbar(
                x, value, yerr=[value - low, high - value], capsize=2, elinewidth=0.9, **look
            )
        else:
            drawn = ax.errorbar(x, value, **look | {"markerfacecolor": "white"})
        _INTERVALS[drawn.lines[0]] = Curve(x, value, low, high)
        if "label" in look:  # once in the legend, twice in the data
            look["label"] = "_" + look["label"].removeprefix("_")


def _aside(figure: Figure, ax: Axes, place: float) -> Transform:
    """Data coordinates moved by so many places, on the paper and not in the data.

    What is moved does not count for the automatic limits.
    """
    return ax.transData + ScaledTranslation(0.05 * place, 0, figure.dpi_scale_trans)


def _arrow(ax: Axes, curve: Curve, colour: str, *, outward: bool) -> None:
    """An arrow head at the middle of each branch that points where the field goes in time."""
    for sign in (1, -1):
        branch = np.flatnonzero((np.sign(curve.x) == sign) & np.isfinite(curve.value))
        if branch.size < 3:
            continue
        order = branch[np.argsort(np.abs(curve.x[branch]))]
        middle = order[order.size // 2]
        ax.plot(
            curve.x[[middle]], curve.value[[middle]], ls="", color=colour, ms=8, zorder=5,
            marker=">" if (sign > 0) == outward else "<", mec="white", mew=0.6,
        )  # fmt: skip


# --- the system -----------------------------------------------------------------------


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
        Waveform, shape (n,), as applied to this box.
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
    figure = _figure(DOUBLE_IN, picture_in + 2.1)
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
    wave.plot(time_ps, field_V_per_nm, color=VERMILLION)
    _zero(wave)
    wave.set(xlabel="time (ps)", ylabel="applied E (V/nm)", xlim=(0, np.max(time_ps)))
    _note(figure, note)
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
    figure = _figure(DOUBLE_IN, (DOUBLE_IN - 0.4) * box[1] / (width + box[2]) + 0.9)
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
    _note(figure, note)
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
        Field applied when the frame was taken.
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
    figure = _figure(SINGLE_IN, 3.3)
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
    ax.set_title(f"pore water at E = {field_V_per_nm:+.2f} V/nm applied")
    bar = figure.colorbar(
        mpl.cm.ScalarMappable(norm, scale), ax=ax, shrink=0.7, ticks=[-1, 0, 1], pad=0.02
    )
    bar.ax.set_yticklabels(["180°", "90°", "0°"])
    bar.set_label("|θ|, dipole to x axis")
    _note(figure, note)
    return figure


@styled
def axis_potential(
    x_nm: ArrayLike, potential_V: Mapping[str, ArrayLike], *, note: str = ""
) -> Figure:
    """Electrostatic potential of the bare membrane along the pore's axis.

    Parameters
    ----------
    x_nm
        Position along the axis from the metal plane, shape (n,).
    potential_V
        Potential by the charge set's name, each shape (n,).
    note
        What the figure rests on.
    """
    figure = _figure(4.8, 2.6)
    ax = figure.add_subplot()
    _zero(ax)
    looks = zip(
        [BLUE, ORANGE, GREEN, GREY, PURPLE, VERMILLION, SKY],
        ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (7, 2))],
        strict=True,
    )
    for (name, value), (colour, style) in zip(potential_V.items(), looks, strict=False):
        ax.plot(x_nm, value, color=colour, linestyle=style, label=name)
    ax.axvline(0, color="#BBBBBB", lw=0.6, zorder=0)
    ax.set(xlabel="←  −x face    x − x(Mo) (nm)    +x face  →", ylabel="potential (V)")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    _note(figure, note)
    return figure


class AxisEnergy(NamedTuple):
    """Energy of an ion on the axis of the bare membrane, kJ/mol: whole, and van der Waals."""

    whole: FloatArray
    vdw: FloatArray


@styled
def pore_energies(
    x_nm: ArrayLike,
    pores: Mapping[str, Mapping[tuple[str, str], AxisEnergy]],
    *,
    highest_kJ_per_mol: float = 400.0,
    note: str = "",
) -> Figure:
    """Energy of each ion on the axis of each pore, whole and van der Waals alone.

    Parameters
    ----------
    x_nm
        Position along the axis from the metal plane, shape (n,).
    pores
        Pore to ion and set of the chalcogen's parameters to energies, shape (n,) each.
    highest_kJ_per_mol
        Walls are cut off above this.
    note
        What the figure rests on.
    """
    figure = _figure(DOUBLE_IN, 4.4)
    axes = figure.subplots(2, len(pores), sharex=True, sharey="row", squeeze=False)
    for (upper, lower), (pore, energies) in zip(axes.T, pores.items(), strict=True):
        sets = list(dict.fromkeys(name for _, name in energies))
        for (ion, name), one in energies.items():
            for ax, values in ((upper, one.whole), (lower, one.vdw)):
                ax.plot(
                    x_nm, values, color=SPECIES_COLOUR[ion],
                    linestyle=("-", "--", ":")[sets.index(name) % 3],
                    label=f"{SPECIES_NAME[ion]}, S of {name}",
                )  # fmt: skip
        for ax in (upper, lower):
            _zero(ax)
            ax.axvline(0, color="#BBBBBB", lw=0.6, zorder=0)
        upper.set_title(pore)
        lower.set_xlabel("←  −x face    x − x(Mo) (nm)    +x face  →")
    for ax in axes[:, 0]:  # the limits are a row's
        ax.set_ylim(top=min(ax.get_ylim()[1], highest_kJ_per_mol))
    axes[0, 0].set_ylabel("energy (kJ/mol)")
    axes[1, 0].set_ylabel("van der Waals alone (kJ/mol)")
    _legend_above(figure, axes[0, 0])
    _note(figure, note)
    return figure


@styled
def density_profile(
    x_nm: ArrayLike,
    water_g_per_cm3: ArrayLike,
    ions_per_L: Mapping[str, ArrayLike],
    *,
    target_g_per_cm3: float,
    note: str = "",
) -> Figure:
    """Density of water and concentration of the ions across the box.

    Parameters
    ----------
    x_nm
        Bin centres from the metal plane, shape (n,).
    water_g_per_cm3
        Mass density of water in each bin, over the whole cross-section, shape (n,).
    ions_per_L
        Molar concentration by species, each shape (n,).
    target_g_per_cm3
        Bulk density asked for, marked.
    note
        What the figure rests on.
    """
    figure = _figure(DOUBLE_IN, 2.3)
    left, right = figure.subplots(1, 2)
    left.step(x_nm, water_g_per_cm3, where="mid", color=BLUE)
    left.axhline(target_g_per_cm3, color=GREY, ls=":", lw=1)
    title = f"water; dotted: solvent asked for, {target_g_per_cm3:g} g/cm³"
    left.set(xlabel="x − x(Mo) (nm)", ylabel="water (g/cm³)", ylim=(0, None), title=title)
    for name, value in ions_per_L.items():
        right.step(
            x_nm,
            value,
            where="mid",
            color=SPECIES_COLOUR[name],
            ls="-" if name == "K" else "--",
            label=SPECIES_NAME[name],
        )
    right.set(xlabel="x − x(Mo) (nm)", ylabel="concentration (mol/L)", ylim=(0, None), title="ions")
    right.legend()
    _note(figure, note)
    return figure


@styled
def equilibrium_checks(
    time_ps: ArrayLike,
    temperature_K: ArrayLike,
    energy_kJ_per_mol: ArrayLike,
    *,
    target_K: float,
    canonical_rmsd_K: float,
    note: str = "",
) -> Figure:
    """Temperature and potential energy against time, with what the ensemble demands.

    Parameters
    ----------
    time_ps, temperature_K, energy_kJ_per_mol
        Shape (n,) each.
    target_K
        Temperature asked for.
    canonical_rmsd_K
        Standard deviation of the instantaneous temperature in the canonical ensemble,
        ``T sqrt(2 / degrees of freedom)``, drawn as a band of ±1 and ±2.
    note
        What the figure rests on.
    """
    figure = _figure(DOUBLE_IN, 2.3)
    left, right = figure.subplots(1, 2)
    for width, alpha in ((2, 0.12), (1, 0.18)):
        left.axhspan(
            target_K - width * canonical_rmsd_K,
            target_K + width * canonical_rmsd_K,
            color=GREY,
            alpha=alpha,
            lw=0,
        )
    left.plot(time_ps, temperature_K, color=VERMILLION, lw=0.8)
    left.axhline(target_K, color="black", ls=":", lw=0.8)
    left.set(
        xlabel="time (ps)", ylabel="temperature (K)", title="grey: ±1 and ±2 canonical deviations"
    )
    right.plot(time_ps, np.asarray(energy_kJ_per_mol, float) / 1000, color=BLUE, lw=0.8)
    right.set(xlabel="time (ps)", ylabel="potential energy (MJ/mol)", title="potential energy")
    _note(figure, note)
    return figure


@styled
def waveforms(
    panels: Mapping[str, Sequence[tuple[ArrayLike, ArrayLike]]], *, note: str = ""
) -> Figure:
    """The field of each protocol against time; a scan shows all of its waveforms.

    Parameters
    ----------
    panels
        Protocol to pairs of time (ps) and applied field (V/nm), shape (n,) each.
    note
        What the figure rests on.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = _figure(DOUBLE_IN, 0.4 + 1.45 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, sharey=True)).ravel()
    for ax, (name, curves) in zip(axes, panels.items(), strict=False):
        _zero(ax)
        shades = mpl.colormaps["cividis"](np.linspace(0.05, 0.8, max(len(curves), 2)))
        for (time, value), shade, style in zip(
            curves, shades, ("-", "--", "-.", ":") * len(curves), strict=False
        ):
            ax.plot(time, value, color=mpl.colors.to_hex(shade), ls=style, lw=1.2)
        ax.set(title=name, xlabel="time (ps)")
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for k in range(0, len(axes), columns):
        axes[k].set_ylabel("applied E (V/nm)")
    _note(figure, note)
    return figure


@styled
def driven(
    time_ps: ArrayLike,
    field_V_per_nm: ArrayLike,
    charge_e: Mapping[str, ArrayLike],
    pore_water_count: ArrayLike,
    *,
    note: str = "",
) -> Figure:
    """What one driven replica did: field, charge moved by each estimator, pore water.

    Parameters
    ----------
    time_ps, field_V_per_nm, pore_water_count
        Shape (n,).
    charge_e
        Cumulative charge of all ions by estimator, each shape (n,).
    note
        What the figure rests on.
    """
    figure = _figure(DOUBLE_IN, 3.4)
    axes = figure.subplots(3, 1, sharex=True)
    axes[0].plot(time_ps, field_V_per_nm, color=VERMILLION)
    axes[0].set(ylabel="applied E\n(V/nm)")
    for name, value in charge_e.items():
        axes[1].plot(
            time_ps,
            value,
            color=ESTIMATOR_COLOUR[name],
            ls=ESTIMATOR_LINE[name],
            label=ESTIMATOR_NAME[name],
        )
    axes[1].set(ylabel="charge moved\n(e)")
    _legend_above(figure, axes[1])
    axes[2].plot(time_ps, pore_water_count, color=BLUE, lw=0.8)
    axes[2].set(ylabel="pore water\n(molecules)", xlabel="time (ps)", ylim=(0, None))
    for ax in axes[:2]:
        _zero(ax)
    figure.align_ylabels(axes)
    _note(figure, note)
    return figure


# --- sweeps ---------------------------------------------------------------------------


@styled
def comparison(panels: Mapping[str, Mapping[str, Curve]], *, note: str = "") -> Figure:
    """Charge moved against time by estimator, one panel for each point of a sweep.

    Parameters
    ----------
    panels
        Point to estimator to curve (x: time in ps, value: charge in e).
    note
        What the figure rests on.
    """
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = _figure(DOUBLE_IN if columns > 1 else SINGLE_IN, 0.7 + 1.6 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True)).ravel()
    for ax, (label, curves) in zip(axes, panels.items(), strict=False):
        _zero(ax)
        for estimator, curve in curves.items():
            colour, style = ESTIMATOR_COLOUR[estimator], ESTIMATOR_LINE[estimator]
            _draw(ax, curve, color=colour, ls=style, label=ESTIMATOR_NAME[estimator])
        ax.set_title(label.replace(",", "\n"), fontsize=6.5)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    _legend_above(figure, axes[0])
    figure.supylabel("charge moved (e)", fontsize=8)
    for ax in _lowest(axes.reshape(rows, columns)):
        ax.set_xlabel("time (ps)")
    _note(figure, note)
    return figure


# --- current --------------------------------------------------------------------------


PALE = 0.4
"""Opacity of what ships behind what this machine ran."""


def _sweeps(ax: Axes, curves: Mapping[str, Curve], behind: Mapping[str, Curve]) -> None:
    """Both sweeps with arrows, and pale ones behind; the two polarities are not joined, as
    they are not in time."""
    _zero(ax)
    ax.axvline(0, color="#BBBBBB", lw=0.6, zorder=0)
    for found, pale in ((behind, True), (curves, False)):
        for direction in DIRECTIONS:
            if direction not in found:
                continue
            whole, look = found[direction], DIRECTION_LOOK[direction] | {"ms": 2.5}
            between = int(np.searchsorted(whole.x, 0.0))
            apart = Curve(*(np.insert(v, between, np.nan) for v in whole))
            name = DIRECTION_NAME[direction]
            if pale:
                _draw(ax, apart, label=f"_{name}, shipped", **look | {"marker": "", "alpha": PALE})
                continue
            every = max(1, whole.x.size // 16)
            _draw(ax, apart, label=name, markevery=(every // 2, every), **look)
            _arrow(ax, whole, look["color"], outward=direction == "forward")


def _legend_above(figure: Figure, ax: Axes, pale: str = "") -> None:
    """The legend of a panel for the whole figure, with a name for what is pale in it."""
    handles, labels = ax.get_legend_handles_labels()
    if pale:
        handles = [*handles, Line2D([], [], color=GREY, alpha=PALE)]
        after_a_comma = re.sub(r"(?<![,;:]) ", "\u00a0", f"pale: {pale}")
        labels = [*labels, textwrap.fill(after_a_comma, 52).replace("\u00a0", " ")]
    widths_in = [0.45 + 0.06 * max(map(len, label.split("\n"))) for label in labels]
    columns = len(labels)
    # matplotlib fills columns from the left, the first of them with one more
    while columns > 1 and figure.get_figwidth() < sum(
        max(part) for part in np.array_split(widths_in, columns)
    ):
        columns -= 1
    figure.legend(handles, labels, loc="outside upper right", ncols=columns)


def _lowest(axes: NDArray[Any]) -> list[Axes]:
    """The lowest visible panel of each column, with the numbers of its axis."""
    lowest = [[ax for ax in column if ax.get_visible()][-1] for column in axes.T]
    for ax in lowest:
        ax.tick_params(labelbottom=True)
    return lowest


def _published(ax: Axes, fields: Sequence[float]) -> None:
    """Thresholds that the paper states, named in the legend so that no text lies over data."""
    for k, field in enumerate(fields):
        label = "_" if k else "published threshold"
        ax.axvline(field, color=GREY, ls=":", lw=1.2, zorder=1, label=label)


Loops = Mapping[str, Mapping[str, Curve]]
"""Title of a panel to sweep direction to curve; one without a curve is left out."""


@styled
def loops(
    rows: Sequence[Loops],
    *,
    length_x_nm: float,
    share_y: Literal["col", "all"] = "all",
    published_V_per_nm: Sequence[float] = (),
    behind: Loops | None = None,
    behind_name: str = "",
    note: str = "",
) -> Figure:
    """Figs. 1B, 1C and 4: current against field, forward and reverse, in rows of panels.

    Parameters
    ----------
    rows
        Panels of each row; curves hold the field in V/nm (x) and the current in nA (value).
    length_x_nm
        Box length that belongs to the fields, for the voltage axis.
    share_y
        Panels with a common scale: those of a column, or all.
    published_V_per_nm
        Thresholds stated in the paper, marked.
    behind, behind_name
        Title of a panel to the curves that ship, drawn pale, and what they rest on.
    note
        What the figure rests on.
    """
    found = [{title: curves for title, curves in row.items() if curves} for row in rows]
    found = [row for row in found if row]
    if not found:
        return _nothing("not run", note)
    columns = max(map(len, found))
    figure = _figure(DOUBLE_IN if columns > 1 else SINGLE_IN, 0.6 + 2.3 * len(found))
    axes = figure.subplots(len(found), columns, sharex=True, sharey=share_y, squeeze=False)
    for k, (line, row) in enumerate(zip(axes, found, strict=True)):
        for ax, (title, curves) in zip(line, row.items(), strict=False):
            ax.set_title(title)
            _sweeps(ax, curves, (behind or {}).get(title, {}))
            _published(ax, published_V_per_nm)
            if k == 0:
                _voltage_axis(ax, length_x_nm)
        for ax in line[len(row) :]:
            ax.set_visible(False)
        line[0].set_ylabel("current I (nA)")
    for ax in _lowest(axes):
        ax.set_xlabel(E_LABEL)
    _legend_above(figure, axes[0, 0], behind_name)
    _note(figure, note)
    return figure


CARRIER_LOOK: dict[str, dict[str, Any]] = {
    "box": {"color": BLUE, "linestyle": "-", "label": "whole box"},
    "charging": {"color": PURPLE, "linestyle": "-.", "label": "charging: whole box − pore slab"},
    "pore": {"color": ORANGE, "linestyle": "--", "label": "transport: pore slab"},
    "crossings": {"color": GREEN, "linestyle": ":", "label": "transport: mid-plane crossings"},
}


@styled
def transport_and_charging(
    panels: Mapping[str, Mapping[str, Curve]],
    field_V_per_nm: Curve,
    shares: Mapping[str, Curve],
    *,
    note: str = "",
) -> Figure:
    """The whole-box current over a cycle, split into what passes the pore and what charges.

    Parameters
    ----------
    panels
        Title to the keys of :data:`CARRIER_LOOK` to current (nA) against time (ps); one
        without a curve is left out.
    field_V_per_nm
        Field against time over the cycle.
    shares
        Name to one point each: share in the whole-box current at the drive's frequency.
    note
        What the figure rests on.
    """
    panels = {title: curves for title, curves in panels.items() if curves}
    figure = _figure(DOUBLE_IN, 3.7)
    grid = figure.add_gridspec(
        2, len(panels) + 1, height_ratios=[1, 3], width_ratios=[*(1.0 for _ in panels), 0.9]
    )
    lower: Axes | None = None
    drawn = None
    for k, (title, curves) in enumerate(panels.items()):
        upper = figure.add_subplot(grid[0, k])
        upper.plot(field_V_per_nm.x, field_V_per_nm.value, color=VERMILLION)
        upper.set_title(title)
        lower = figure.add_subplot(grid[1, k], sharex=upper, sharey=lower)
        upper.tick_params(labelbottom=False)
        for ax in (upper, lower):
            _zero(ax)
        for name, look in CARRIER_LOOK.items():
            if name in curves:
                _draw(lower, curves[name], **look)
                drawn = lower
        lower.set_xlabel("time in the cycle (ps)")
        if k == 0:
            upper.set_ylabel("E (V/nm)")
            lower.set_ylabel("current I (nA)")
    ax = figure.add_subplot(grid[:, -1])
    for height, (name, point) in enumerate(shares.items()):
        _shares_point(ax, -float(height), point)
        ax.text(
            0.0, 0.3 - height, name,
            transform=ax.get_yaxis_transform(), fontsize=7, path_effects=HALO,
        )  # fmt: skip
    for level in (0.0, 1.0):
        ax.axvline(level, color="#BBBBBB", lw=0.6, zorder=0)
    ax.set(
        yticks=[], ylim=(0.4 - len(shares), 0.7), title="at the drive's frequency",
        xlabel="share of the whole-box current",
    )  # fmt: skip
    ax.spines["left"].set_visible(False)
    if drawn is not None:
        handles, labels = drawn.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
    _note(figure, note)
    return figure


def _shares_point(ax: Axes, height: float, point: Curve) -> None:
    """A value with its interval lying down; hollow where there is no interval."""
    bounded = bool(np.isfinite(point.low).all() and np.isfinite(point.high).all())
    ax.plot(
        point.value,
        [height],
        marker="o",
        color=BLACK,
        markerfacecolor=BLACK if bounded else "white",
    )
    if bounded:
        ax.plot([point.low[0], point.high[0]], [height, height], color=BLACK, lw=1)


@styled
def steady_state(
    rows: Sequence[Mapping[str, tuple[Mapping[str, Curve], Curve | None]]],
    *,
    length_x_nm: float,
    note: str = "",
) -> Figure:
    """Steady-state current at constant fields on top of the sweep.

    Parameters
    ----------
    rows
        Panels of each row: title to the sweep's curves by direction and the steady current;
        a row without a steady current is left out.
    length_x_nm, note
        As for :func:`loops`.
    """
    rows = [row for row in rows if any(constant is not None for _, constant in row.values())]
    if not rows:
        return _nothing("not run", note)
    columns = len(rows[0])
    figure = _figure(DOUBLE_IN, 0.7 + 2.3 * len(rows))
    axes = figure.subplots(len(rows), columns, sharex=True, sharey="col", squeeze=False)
    handles: dict[str, Any] = {}
    for k, (line, row) in enumerate(zip(axes, rows, strict=True)):
        for ax, (title, (curves, constant)) in zip(line, row.items(), strict=True):
            ax.set_title(title)
            _sweeps(ax, curves, {})
            if constant is not None:
                _errorbars(
                    ax, _within(ax, constant) if curves else constant, color=BLACK, marker="D",
                    ls="", label="constant field", zorder=4,
                )  # fmt: skip
            if k == 0:
                _voltage_axis(ax, length_x_nm)
            found = zip(*ax.get_legend_handles_labels(), strict=True)
            handles |= {label: handle for handle, label in found}
        line[0].set_ylabel("current I (nA)")
    for ax in axes[-1]:
        ax.set_xlabel(E_LABEL)
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=3)
    _note(figure, note)
    return figure


def _within(ax: Axes, curve: Curve) -> Curve:
    """A curve without those intervals that are far wider than what else the panel shows.

    The bound from a short run without an event would leave nothing else to be seen.
    """
    drawn = [np.asarray(line.get_ydata(), float) for line in ax.lines]
    shown = np.concatenate([*drawn, curve.value])
    wide = (curve.high - curve.low) > 3 * max(float(np.ptp(shown[np.isfinite(shown)])), 1e-9)
    low, high = (np.where(wide, np.nan, v) for v in (curve.low, curve.high))
    return curve._replace(low=low, high=high)


@styled
def by_charge_set(
    measures: Mapping[str, Mapping[str, Curve]],
    charge_sets: Mapping[str, str],
    published: Mapping[str, Mapping[str, float]],
    *,
    note: str = "",
) -> Figure:
    """All charge sets side by side, one panel for each number.

    Parameters
    ----------
    measures
        Label, with its unit, to charge set to one point.
    charge_sets
        Charge set to its name for the reader, from top to bottom; one that has no point
        anywhere is left out.
    published
        Label to charge set to the paper's value, marked.
    note
        What the figure rests on.
    """
    ran = set().union(*measures.values())
    charge_sets = {name: title for name, title in charge_sets.items() if name in ran}
    if not charge_sets:
        return _nothing("not run", note)
    figure = _figure(DOUBLE_IN, 0.9 + 0.32 * len(charge_sets))
    axes = figure.subplots(1, len(measures), sharey=True)
    for ax, (label, points) in zip(axes, measures.items(), strict=True):
        for height, name in enumerate(charge_sets):
            stated = published.get(label, {}).get(name)
            if stated is not None:
                ax.plot(
                    [stated], [-height], marker="|", ms=14, mew=1.6, color=VERMILLION, ls="",
                    label="published",
                )  # fmt: skip
            point = points.get(name, Curve.bare([0.0], [np.nan]))
            if np.isfinite(point.value).all():
                _shares_point(ax, -float(height), point)
            else:
                ax.text(0.5, -height, "none found", transform=ax.get_yaxis_transform(),
                        ha="center", va="center", fontsize=6.5, color=GREY)  # fmt: skip
        ax.axvline(0, color="#BBBBBB", lw=0.6, zorder=0)
        ax.set_title(label, fontsize=7.5)
        ax.margins(x=0.15)
    axes[0].set_yticks([-float(h) for h in range(len(charge_sets))], list(charge_sets.values()))
    axes[0].set_ylim(0.5 - len(charge_sets), 0.5)
    if axes[0].get_legend_handles_labels()[0]:
        _legend_above(figure, axes[0])
    _note(figure, note)
    return figure


@styled
def barrier_table(
    table: Mapping[str, Mapping[str, Any]], share_nm: Mapping[str, ArrayLike], *, note: str = ""
) -> Figure:
    """Table 1 as bars, up to three versions of it, and the distance that each implies.

    Parameters
    ----------
    table
        Version to ``field_V_per_nm``, ``parts_kJ_per_mol`` and ``total_kJ_per_mol``.
    share_nm
        Version to |r2 − r1|, as
        :func:`janus_pore.show.scorecard.implied_distance_nm` gives it.
    note
        What the figure rests on.
    """
    looks = {
        "water_vdw": (SKY, ""),
        "water_electrostatic": (BLUE, ""),
        "membrane_vdw": (YELLOW, "///"),
        "membrane_electrostatic": (ORANGE, "///"),
        "membrane": ("#BBBBBB", "///"),
        "ion_vdw": (PURPLE, "..."),
        "ion_electrostatic": (GREEN, "..."),
    }
    figure = _figure(DOUBLE_IN, 3.2)
    axes = figure.subplots(1, len(table) + 1, width_ratios=[*(1.6 for _ in table), 1.0])
    for ax, (version, content) in zip(axes[:-1], table.items(), strict=True):
        fields = content["field_V_per_nm"]
        at = np.arange(len(fields))
        parts = content["parts_kJ_per_mol"]
        width = 0.8 / (len(parts) + 1)
        for k, (name, values) in enumerate(parts.items()):
            ax.bar(
                at + (k - len(parts) / 2) * width,
                values,
                width,
                color=looks[name][0],
                hatch=looks[name][1],
                edgecolor="#333333",
                linewidth=0.4,
                label="membrane, not split"
                if name == "membrane"
                else name.replace("_", " ").replace("vdw", "van der Waals"),
            )
        ax.bar(
            at + len(parts) / 2 * width,
            content["total_kJ_per_mol"],
            width,
            color="black",
            label="total",
        )
        _zero(ax)
        ax.set_xticks(at, [f"{f:g}" for f in fields])
        ax.set(xlabel="E (V/nm)", title=version)
    axes[0].set_ylabel("barrier of Cl⁻ (kJ/mol)")
    named = {
        label: handle
        for ax in axes[:-1]
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=4, fontsize=7)
    for (version, values), colour, marker in zip(
        share_nm.items(), (BLUE, VERMILLION, BLACK), ("o", "s", "^"), strict=False
    ):
        axes[-1].plot(
            table[version]["field_V_per_nm"], values, color=colour, marker=marker, label=version
        )
    axes[-1].set(
        xlabel="E (V/nm)",
        ylabel="implied |r2 − r1| (nm)",
        # the upper third is the legend's
        ylim=(0, max(0.36, 1.6 * float(np.nanmax(np.concatenate([*share_nm.values()]))))),
        title="distance",
    )
    axes[-1].legend(loc="upper right", fontsize=7)
    _note(figure, note)
    return figure


PART_LOOK = {
    "water_vdw": (SKY, "--"),
    "water_electrostatic": (BLUE, "-"),
    "membrane_vdw": (ORANGE, "--"),
    "membrane_electrostatic": (VERMILLION, "-"),
    "ion_vdw": (PURPLE, "--"),
    "ion_electrostatic": (GREEN, "-"),
}
"""Colour by what acts, line by how: van der Waals broken, electrostatic full."""
MOST_COLUMNS = 4


class ForcePanel(NamedTuple):
    """Mean forces at one field, kJ/mol/nm against x in nm; ``total`` holds the field's."""

    parts: Mapping[str, Curve]
    total: Curve


class Climb(NamedTuple):
    """Potential of mean force, kJ/mol, with the positions of its minimum and maximum, nm."""

    energy: Curve
    r_min_nm: float
    r_max_nm: float


@styled
def mean_forces(panels: Mapping[float, ForcePanel], *, note: str = "") -> Figure:
    """Mean force on the ion against its position by what exerts it, a panel for each field."""
    columns = min(MOST_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = _figure(DOUBLE_IN, 1.0 + 2.0 * lines)
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for ax, (field, panel) in zip(axes.flat, sorted(panels.items()), strict=False):
        for name, curve in panel.parts.items():
            colour, line = PART_LOOK[name]
            label = name.replace("_", " ").replace("vdw", "van der Waals")
            _draw(ax, curve, color=colour, linestyle=line, marker="o", label=label)
        _draw(ax, panel.total, color=BLACK, marker="s", label="total, with the field")
        _zero(ax)
        ax.set(title=f"E = {field:g} V/nm")
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("x of Cl⁻ (nm)")
    for ax in axes[:, 0]:
        ax.set_ylabel("mean force (kJ/mol/nm)")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=7)
    _note(figure, note)
    return figure


@styled
def potentials(climbs: Mapping[float, Climb], *, note: str = "") -> Figure:
    """Potentials of mean force of all fields; rings mark minimum and maximum."""
    figure = _figure(DOUBLE_IN, 3.0)
    ax = figure.subplots()
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.85, len(climbs)))
    for shade, (field, climb) in zip(shades, sorted(climbs.items()), strict=True):
        colour = mpl.colors.to_hex(shade)
        _draw(ax, climb.energy, color=colour, label=f"{field:g} V/nm")
        ends = [climb.r_min_nm, climb.r_max_nm]
        heights = np.interp(ends, climb.energy.x, climb.energy.value)
        ax.plot(ends, heights, "o", color=colour, markerfacecolor="white", zorder=5)
    _zero(ax)
    ax.set(xlabel="x of Cl⁻ from the metal plane (nm)", ylabel="potential of mean force (kJ/mol)")
    figure.legend(loc="outside right upper", title="E", fontsize=7)
    _note(figure, note)
    return figure


@styled
def ion_potentials(
    energies: Mapping[str, Curve],
    planes: Sequence[tuple[str, float]],
    *,
    every: int = 1,
    note: str = "",
) -> Figure:
    """Potentials of mean force of both ions along the pore.

    Parameters
    ----------
    energies
        Ion to curve (x in nm from the metal plane, kJ/mol).
    planes
        Element and position (nm) of each of the membrane's planes of atoms.
    every
        Mark one in so many points: those that were measured.
    note
        What the figure rests on.
    """
    figure = _figure(DOUBLE_IN, 3.0)
    ax = figure.subplots()
    for ion, curve in energies.items():
        marker = "s" if ion == "K" else "o"
        _draw(
            ax, curve, color=SPECIES_COLOUR[ion], marker=marker, markevery=every,
            label=SPECIES_NAME[ion],
        )  # fmt: skip
    _zero(ax)
    for element, x_nm in planes:
        ax.axvline(x_nm, color=GREY, linestyle=":", linewidth=0.8, zorder=0)
        ax.annotate(
            element, (x_nm, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
            textcoords="offset points", ha="center", fontsize=7, color=GREY,
        )  # fmt: skip
    ax.set(xlabel="x of the ion from the metal plane (nm)")
    ax.set_ylabel("potential of mean force (kJ/mol)")
    figure.legend(loc="outside right upper")
    _note(figure, note)
    return figure


# --- order of the pore water ----------------------------------------------------------


@styled
def angle_distributions(
    panels: Mapping[str, Mapping[str, Orientation]], *, note: str = ""
) -> Figure:
    """Fig. 2B: distribution of the dipole angle with Gaussian fits, one panel per field.

    Parameters
    ----------
    panels
        Title to sweep direction to distribution. The fit is drawn unless it is wider than
        a Gaussian on a circle can be; its σθ is written in the panel, in brackets where it
        is not ``identifiable``.
    note
        What the figure rests on.
    """
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = _figure(DOUBLE_IN, 0.7 + 1.9 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True)).ravel()
    grid = np.linspace(-180, 180, 361)
    for ax, (title, sweeps) in zip(axes, panels.items(), strict=False):
        for k, (direction, one) in enumerate(sweeps.items()):
            look = dict(DIRECTION_LOOK[direction])
            style = look.pop("linestyle")
            measured = Curve.of(one.angle_deg, one.density_per_deg)
            _draw(ax, measured, ls="", **look | {"ms": 2.4}, label=direction)
            width = f"σθ = {one.sigma_deg.value:.0f}°"
            if one.sigma_deg.value <= WIDEST_GAUSSIAN_DEG:
                ax.plot(grid, one.gaussian(grid), color=look["color"], ls=style, lw=1.1)
            if not one.identifiable:
                width = f"({width})"
            ax.text(
                0.98,
                0.97 - 0.1 * k,
                width,
                transform=ax.transAxes,
                ha="right",
                va="top",
                fontsize=6.5,
                color=look["color"],
            )
        ax.set(xlim=(-180, 180), xticks=[-180, -90, 0, 90, 180])
        ax.set_title(title, fontsize=7.5)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for k in range(0, len(axes), columns):
        axes[k].set_ylabel("density (1/°)")
    axes[0].set_ylim(bottom=0)  # shared: only when everything is drawn
    for ax in axes[max(0, len(panels) - columns) : len(panels)]:
        ax.set_xlabel("θ (°)")
        ax.tick_params(labelbottom=True)
    _legend_above(figure, axes[0])
    _note(figure, note)
    return figure


@styled
def spread_by_field(curves: Mapping[str, Curve], *, length_x_nm: float, note: str = "") -> Figure:
    """Fig. 2C: spread of the dipole angle against field, forward and reverse.

    Parameters
    ----------
    curves
        Sweep direction to curve (x: field in V/nm, value: σθ in degrees).
    length_x_nm
        Box length that belongs to the fields.
    note
        What the figure rests on.
    """
    figure = _figure(SINGLE_IN, 2.8)
    ax = figure.add_subplot()
    for direction in DIRECTIONS:
        if direction in curves:
            look = DIRECTION_LOOK[direction]
            _draw(ax, curves[direction], label=DIRECTION_NAME[direction], **look)
    ax.set(ylabel="σθ (°)", xlabel=E_LABEL)
    _voltage_axis(ax, length_x_nm)
    ax.legend()
    _note(figure, note)
    return figure


class Relaxation(NamedTuple):
    """σθ(t) at one field: the measured curve, the fitted one, and the time's label."""

    measured: Curve
    fitted: FloatArray
    label: str


@styled
def relaxation(panels: Mapping[str, Mapping[float, Relaxation]], *, note: str = "") -> Figure:
    """Figs. 3A and 3B: σθ against time after a step of the field, with exponential fits.

    Parameters
    ----------
    panels
        Sweep direction to field (V/nm) to relaxation.
    note
        What the figure rests on.
    """
    figure = _figure(DOUBLE_IN, 3.5)
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    markers = "osD^vP*X"
    for ax, (direction, steps) in zip(axes, panels.items(), strict=True):
        shades = mpl.colormaps["cividis"](np.linspace(0.05, 0.8, max(len(steps), 2)))
        for k, (field, one) in enumerate(sorted(steps.items())):
            colour = mpl.colors.to_hex(shades[k])
            every = max(1, len(one.measured.x) // 25)
            _draw(
                ax,
                one.measured,
                color=colour,
                ls="",
                marker=markers[k % len(markers)],
                ms=2.6,
                markevery=every,
                label=f"{field:g} V/nm: {one.label}",
            )
            ax.plot(one.measured.x, one.fitted, color=colour, lw=1.2)
        ax.set(xlabel="time since the step (ps)", title=STEP_NAME[direction])
        ax.legend(
            fontsize=6,
            ncols=2,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.18),
            columnspacing=0.6,
            handletextpad=0.1,
        )
    axes[0].set_ylabel("σθ (°)")
    _note(figure, note)
    return figure


@styled
def relaxation_times(
    curves: Mapping[str, Curve],
    *,
    length_x_nm: float,
    behind: Mapping[str, Curve] | None = None,
    note: str = "",
) -> Figure:
    """Fig. 2D: time constants of ordering and relaxation against field.

    Parameters
    ----------
    curves
        Sweep direction to curve (x: field in V/nm, value: τ in ps); only fits whose time
        is identifiable.
    length_x_nm
        Box length that belongs to the fields.
    behind
        The same from the shipped results, drawn pale.
    note
        What the figure rests on.
    """
    figure = _figure(SINGLE_IN, 3.1)
    ax = figure.add_subplot()
    drawn: list[Curve] = []
    for place, direction in zip((-1, 1), DIRECTIONS, strict=True):
        name, look = STEP_NAME[direction], DIRECTION_LOOK[direction]
        for found, here, how in (
            (behind or {}, 1.5 * place, {"label": f"{name}, shipped", "alpha": PALE, "ls": ""}),
            (curves, 0.5 * place, {"label": name, "ls": look["linestyle"]}),
        ):
            if direction in found and found[direction].x.size:
                aside = _aside(figure, ax, here)
                plain = {key: value for key, value in look.items() if key != "linestyle"}
                _errorbars(ax, found[direction], transform=aside, **plain, **how)
                drawn.append(found[direction])
    if drawn:
        _legend_above(figure, ax)
        fields = np.concatenate([curve.x for curve in drawn])
        tops = np.concatenate([v for curve in drawn for v in (curve.value, curve.high)])
        room = 0.08 * max(float(np.ptp(fields)), 0.5)
        ax.set(
            xlim=(fields.min() - room, fields.max() + room),
            ylim=(0, 1.08 * float(tops[np.isfinite(tops)].max())),
        )
    else:
        ax.text(0.5, 0.5, "no identifiable time constant", ha="center", transform=ax.transAxes)
        ax.set(xlim=(0, 1.25), yticks=[])
    ax.set(ylabel="τ (ps)", xlabel=E_LABEL)
    _voltage_axis(ax, length_x_nm)
    _note(figure, note)
    return figure


SET_LOOK = list(
    zip(
        [BLUE, ORANGE, GREEN, GREY, PURPLE, VERMILLION, SKY],
        ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (7, 2))],
        strict=True,
    )
)
"""Colour and line of one of several membranes."""


def _mark_region(ax: Axes, half_length_nm: float) -> None:
    """Shade the region whose water is the pore's."""
    ax.axvspan(-half_length_nm, half_length_nm, color="#EEEEEE", lw=0, zorder=-1)


@styled
def reaction_field(
    at_centre: Mapping[str, Curve],
    along: Mapping[str, Curve],
    *,
    peak_V_per_nm: float,
    per_polarisation: float,
    half_length_nm: float,
    length_x_nm: float,
    note: str = "",
) -> Figure:
    """Field that the ordered water makes: at the pore's centre by applied field, and along x.

    Parameters
    ----------
    at_centre
        Sweep direction to curve (x: applied field, value: water's field, V/nm).
    along
        Sweep direction to curve (x: position on the axis in nm), at ``peak_V_per_nm``.
    per_polarisation
        Field at the centre per dipole per volume, V/nm per D/nm³, for the second axis.
    half_length_nm
        Of the region whose water is the pore's, shaded.
    length_x_nm
        Box length that belongs to the fields.
    note
        What the figure rests on.
    """
    figure = _figure(DOUBLE_IN, 2.9)
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    for direction in DIRECTIONS:
        if direction in at_centre:
            look = DIRECTION_LOOK[direction]
            _draw(left, at_centre[direction], label=DIRECTION_NAME[direction], **look)
        if direction in along:
            look = {k: v for k, v in DIRECTION_LOOK[direction].items() if "marker" not in k}
            _draw(right, along[direction], **look)
    for ax in (left, right):
        _zero(ax)
    left.axvline(0, color="#BBBBBB", lw=0.6, zorder=0)
    left.set(xlabel=E_LABEL, ylabel="field of the water, centre (V/nm)")
    _voltage_axis(left, length_x_nm)
    second = left.secondary_yaxis(
        "right",
        functions=(
            lambda e: np.asarray(e, float) / per_polarisation,
            lambda p: np.asarray(p, float) * per_polarisation,
        ),
    )
    second.set_ylabel("dipole per volume (D/nm³)", fontsize=7, color=GREY)
    second.tick_params(labelsize=6.5, colors=GREY)
    second.spines["right"].set_color(GREY)
    _mark_region(right, half_length_nm)
    right.set(
        xlabel="x − x(Mo) (nm)",
        ylabel="field of the water, axis (V/nm)",
        title=f"along the axis, E = {peak_V_per_nm:.2g} V/nm",
    )
    _legend_above(figure, left)
    _note(figure, note)
    return figure


@styled
def intrinsic_field(
    x_nm: ArrayLike,
    columns: Mapping[str, Mapping[str, ArrayLike]],
    *,
    half_length_nm: float,
    note: str = "",
) -> Figure:
    """Potential and field of the bare membrane on the pore's axis.

    Parameters
    ----------
    x_nm
        Position on the axis from the metal plane, shape (n,).
    columns
        Title of a column to name to potential in V, shape (n,): a column for each way in
        which the membranes differ.
    half_length_nm
        Of the region whose water is the pore's, shaded.
    note
        What the figure rests on.
    """
    x = np.asarray(x_nm, float)
    figure = _figure(DOUBLE_IN, 4.6)
    axes = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for (upper, lower), (title, potentials) in zip(axes.T, columns.items(), strict=True):
        for (name, potential), (colour, style) in zip(potentials.items(), SET_LOOK, strict=False):
            V = np.asarray(potential, float)
            upper.plot(x, V, color=colour, linestyle=style, label=name)
            lower.plot(x, -np.gradient(V, x), color=colour, linestyle=style)
        for ax in (upper, lower):
            _zero(ax)
            _mark_region(ax, half_length_nm)
        upper.set_title(title)
        lower.set_xlabel("←  −x face    x − x(Mo) (nm)    +x face  →")
        lower.legend(
            *upper.get_legend_handles_labels(),
            loc="upper center",
            bbox_to_anchor=(0.5, -0.22),
            ncols=2,
            columnspacing=1,
        )
    axes[0, 0].set_ylabel("potential V (V)")
    axes[1, 0].set_ylabel("field −dV/dx (V/nm)")
    _note(figure, note)
    return figure


@styled
def relaxation_form(
    panels: Mapping[str, Mapping[float, Curve]],
    stretch: Mapping[str, str],
    *,
    note: str = "",
) -> Figure:
    """Relaxations scaled by their own fits, on which exponentials fall onto one curve.

    Parameters
    ----------
    panels
        Sweep direction to field (V/nm) to curve: (σθ − final)/(initial − final) of the fit,
        against t/τ; only identifiable fits. A direction without any is left out.
    stretch
        Sweep direction to the exponent β in words.
    note
        What the figure rests on.
    """
    panels = {direction: steps for direction, steps in panels.items() if steps}
    if not panels:
        return _nothing("no relaxation with an identifiable time", note)
    figure = _figure(DOUBLE_IN, 3.0)
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    markers = "osD^vP*X"
    fields = sorted({field for steps in panels.values() for field in steps})
    shades = mpl.colormaps["cividis"](np.linspace(0.05, 0.8, max(len(fields), 2)))
    for ax, (direction, steps) in zip(axes, panels.items(), strict=True):
        for k, field in enumerate(fields):
            one = steps.get(field, Curve.bare([], []))
            _draw(
                ax,
                one,
                band=False,
                color=mpl.colors.to_hex(shades[k]),
                ls="",
                marker=markers[k % len(markers)],
                ms=2.6,
                label=f"{field:g} V/nm",
            )
        grid = np.linspace(0, 5, 201)
        for beta, style in ((1.0, "-"), (0.5, ":"), (2.0, "--")):
            ax.plot(
                grid, np.exp(-(grid**beta)), color=GREY, lw=0.9, ls=style, label=f"β = {beta:g}"
            )
        ax.plot(grid, 1 / (1 + grid), color=GREY, lw=0.9, ls="-.", label="1/(1 + t/τ)")
        ax.set(xlabel="t/τ", xlim=(0, 5), ylim=(-0.35, 1.25), title=STEP_NAME[direction])
        ax.text(
            0.98, 0.97, stretch.get(direction, ""),
            transform=ax.transAxes, ha="right", va="top", fontsize=7,
        )  # fmt: skip
    axes[0].set_ylabel("(σθ − A∞)/(A0 − A∞)")
    entries = {
        label: handle
        for ax in axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(entries.values(), entries.keys(), loc="outside right upper", fontsize=6.5)
    _note(figure, note)
    return figure


# --- plasticity -----------------------------------------------------------------------


PROTOCOL_NAME = {
    "ppf": "facilitation (PPF)",
    "ppd": "depression (PPD)",
    "stf": "facilitation (STF)",
    "std": "depression (STD)",
}
ESTIMATOR_MARKER = {"box": "o", "pore": "s", "crossings": "^"}
PoreOrNot = Mapping[str, Mapping[str, Curve]]
"""Protocol to estimator of the current to curve."""


def _by_estimator(
    figure: Figure, ax: Axes, curves: Mapping[str, Curve], *, pale: bool = False
) -> None:
    """Points of every estimator that has any, side by side."""
    name = "_{}, shipped" if pale else "{}"
    curves = {e: curve for e, curve in curves.items() if np.isfinite(curve.value).any()}
    for n, (estimator, curve) in enumerate(curves.items()):
        _errorbars(
            ax,
            curve,
            transform=_aside(figure, ax, n - (len(curves) - 1) / 2),
            color=ESTIMATOR_COLOUR[estimator],
            marker=ESTIMATOR_MARKER[estimator],
            ls="",
            alpha=PALE if pale else None,
            label=name.format(ESTIMATOR_NAME[estimator]),
        )


WILD_RATIOS = (-2.0, 6.0)
"""Ratios without bounds that lie outside this stay off the picture: they are noise over noise."""


def _ratio_limits(ax: Axes, curves: Sequence[Curve], levels: Sequence[float]) -> None:
    """Limits that show all levels, all values that have an interval, and those intervals as
    far as twice that range; of other values, those that are not wild."""
    fixed = [0.0, 1.0, *levels]
    ends: list[float] = []
    for curve in curves:
        bounded = np.isfinite(curve.low) & np.isfinite(curve.high)
        fixed += curve.value[bounded].tolist()
        ends += [*curve.low[bounded], *curve.high[bounded]]
        loose = curve.value[~bounded & np.isfinite(curve.value)]
        fixed += np.clip(loose, *WILD_RATIOS).tolist()
    low, high = min(fixed), max(fixed)
    span = high - low
    low = min([low, *(max(end, low - span) for end in ends)])
    high = max([high, *(min(end, high + span) for end in ends)])
    room = 0.06 * (high - low)
    ax.set_ylim(low - room, high + room)


def _stated(ax: Axes, levels: Mapping[str, float]) -> None:
    """Published levels as dotted lines, named at the right, the higher above its line."""
    highest = max(levels.values())
    for name, level in levels.items():
        ax.axhline(level, color=GREY, ls=":", lw=1)
        ax.annotate(
            f"published\n{name} {level:g}".replace("\n ", " "),
            (1.01, level),
            xycoords=("axes fraction", "data"),
            va="center" if len(levels) == 1 else "bottom" if level == highest else "top",
            fontsize=6.5,
            color=GREY,
        )


def _ratios(
    rows: Mapping[str, PoreOrNot],
    levels: Mapping[str, Mapping[str, float]],
    xlabel: str,
    ylabel: str,
    *,
    fits: Mapping[str, Mapping[str, Mapping[str, ExponentialFit]]] | None = None,
    behind: Mapping[str, PoreOrNot] | None = None,
    behind_name: str = "",
    note: str,
) -> Figure:
    """Current ratios, a row for each system and a column for each protocol that was run."""
    run = [(title, protocol) for title in rows for protocol in levels if rows[title].get(protocol)]
    if not run:
        return _nothing("not run", note)
    titles = [title for title in rows if any(title == ran for ran, _ in run)]
    protocols = [protocol for protocol in levels if any(protocol == ran for _, ran in run)]
    figure = _figure(DOUBLE_IN if len(protocols) > 1 else SINGLE_IN, 0.7 + 2.1 * len(titles))
    axes = figure.subplots(len(titles), len(protocols), sharex="col", squeeze=False)
    for ax, (title, protocol) in zip(axes.flat, itertools.product(titles, protocols), strict=True):
        if (title, protocol) not in run:
            ax.set_visible(False)
            continue
        curves, stated = rows[title][protocol], levels[protocol]
        pale = (behind or {}).get(title, {}).get(protocol, {})
        ax.set(title=f"{PROTOCOL_NAME[protocol]}, {title}", ylabel=ylabel)
        ax.axhline(1, color="#BBBBBB", lw=0.6, zorder=0)
        _by_estimator(figure, ax, pale, pale=True)
        _by_estimator(figure, ax, curves)
        _stated(ax, stated)
        _ratio_limits(ax, [*curves.values(), *pale.values()], list(stated.values()))
        for estimator, fit in (fits or {}).get(title, {}).get(protocol, {}).items():
            if fit.identifiable:
                delays = curves[estimator].x
                grid = np.linspace(delays.min(), delays.max(), 200)
                ax.plot(grid, fit.curve(grid), color=ESTIMATOR_COLOUR[estimator], lw=1)
    for ax, protocol in zip(_lowest(axes), protocols, strict=True):
        every = [*rows.values(), *(behind or {}).values()]
        x = [c.x for found in every for c in found.get(protocol, {}).values()]
        ax.set(xlim=(0, 1.06 * float(np.concatenate(x).max())), xlabel=xlabel)
    fullest = max(axes.flat, key=lambda ax: len(ax.get_legend_handles_labels()[1]))
    _legend_above(figure, fullest, behind_name)
    seen: dict[str, bool] = {}
    for title, protocol in run:
        for e, curve in rows[title][protocol].items():
            seen[e] = seen.get(e, False) or bool(np.isfinite(curve.value).any())
    absent = [ESTIMATOR_NAME[e] for e, any_there in seen.items() if not any_there]
    _note(figure, "; ".join([note, *(f"no ratio by {name}" for name in absent)]).removeprefix("; "))
    return figure


@styled
def pulse_pairs(
    rows: Mapping[str, PoreOrNot],
    published: Mapping[str, Mapping[str, float]],
    fits: Mapping[str, Mapping[str, Mapping[str, ExponentialFit]]],
    *,
    behind: Mapping[str, PoreOrNot] | None = None,
    behind_name: str = "",
    note: str = "",
) -> Figure:
    """Fig. 5A: ratio of the second pulse's current to the first's against the delay.

    Parameters
    ----------
    rows
        Title (with the pore, without) to protocol (``ppf``, ``ppd``) to estimator to curve
        (x: delay in ps, value: I1/I0); what was not run is left out.
    published
        Protocol to ``ratio_first`` and ``ratio_last``, drawn as levels.
    fits
        Title to protocol to estimator to exponential fit; those that fix the time are drawn.
    behind, behind_name
        As ``rows``, of what ships, drawn pale, and what it rests on.
    note
        What the figure rests on.
    """
    levels = {
        protocol: {n: stated[f"ratio_{n}"] for n in ("first", "last")}
        for protocol, stated in published.items()
    }
    return _ratios(
        rows, levels, "delay Δt (ps)", "I1 / I0",
        fits=fits, behind=behind, behind_name=behind_name, note=note,
    )  # fmt: skip


@styled
def pulse_trains(
    rows: Mapping[str, PoreOrNot], published: Mapping[str, float], *, note: str = ""
) -> Figure:
    """Fig. 5B: current of each pulse of a train over that of the first.

    Parameters
    ----------
    rows
        Title (with the pore, without) to protocol (``stf``, ``std``) to estimator to curve
        (x: the pulse's number, value: In/I0); what was not run is left out.
    published
        Protocol to the level that the paper gives for the last of ten pulses.
    note
        What the figure rests on.
    """
    levels = {protocol: {"": level} for protocol, level in published.items()}
    figure = _ratios(rows, levels, "number of the pulse", "In / I0", note=note)
    for ax in figure.axes:
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    return figure


class TrainSpread(NamedTuple):
    """σθ over a pulse train: in time (ps), and the mean of each pulse at its middle."""

    in_time: Curve
    by_pulse: Curve
    windows_ps: FloatArray


@styled
def train_spread(panels: Mapping[str, TrainSpread], *, note: str = "") -> Figure:
    """Fig. 5C: spread of the dipole angle over the trains, pulses shaded.

    Parameters
    ----------
    panels
        Protocol (``stf``, ``std``) to spread.
    note
        What the figure rests on.
    """
    if not panels:
        return _nothing("no train with water in a pore", note)
    figure = _figure(DOUBLE_IN, 2.7)
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    for ax, (protocol, one) in zip(axes, panels.items(), strict=True):
        for start, stop in one.windows_ps:
            ax.axvspan(start, stop, color="#E6E6E6", lw=0, zorder=-1)
        _draw(ax, one.in_time, color=SKY, lw=1, label="at each time")
        _errorbars(
            ax, one.by_pulse, color=BLUE, marker="o", ls="-", lw=0.8, label="mean of a pulse"
        )
        ax.set(xlabel="time (ps)", title=PROTOCOL_NAME[protocol], xlim=(0, None))
    axes[0].set_ylabel("σθ (°)")
    _legend_above(figure, axes[0])
    _note(figure, note)
    return figure


@styled
def ratio_by_width(
    panels: Mapping[str, tuple[Mapping[str, Curve], str]], *, note: str = ""
) -> Figure:
    """How the paired-pulse ratio depends on the width of the pulses.

    Parameters
    ----------
    panels
        Protocol (``ppf``, ``ppd``) to curves by estimator (x: width in ps, value: I1/I0) and
        where they come from, for the title.
    note
        What the figure rests on.
    """
    figure = _figure(DOUBLE_IN, 2.7)
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    for ax, (protocol, (curves, how)) in zip(axes, panels.items(), strict=True):
        ax.axhline(1, color="#BBBBBB", lw=0.6, zorder=0)
        widest = max(float(curve.x.max()) for curve in curves.values())
        _by_estimator(figure, ax, curves)
        _ratio_limits(ax, list(curves.values()), [])
        ax.set_title(f"{PROTOCOL_NAME[protocol]}:\n{how}", fontsize=7.5)
        ax.set(xlabel="width of a pulse (ps)", xlim=(0, 1.1 * widest))
    axes[0].set_ylabel("I1 / I0")
    _legend_above(figure, axes[0])
    _note(figure, note)
    return figure


@styled
def pulse_trace(
    time_ps: ArrayLike,
    field_V_per_nm: ArrayLike,
    current_nA: Mapping[str, Curve],
    windows_ps: Sequence[tuple[float, float]],
    *,
    note: str = "",
) -> Figure:
    """One pulse pair in time: field above, current by estimator below, pulses shaded.

    Parameters
    ----------
    time_ps, field_V_per_nm
        Shape (n,).
    current_nA
        Estimator to curve (x: time in ps, value: current in nA).
    windows_ps
        Start and end of each pulse.
    note
        What the figure rests on.
    """
    figure = _figure(DOUBLE_IN, 3.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2])
    for ax in (upper, lower):
        for start, stop in windows_ps:
            ax.axvspan(start, stop, color="#DDDDDD", lw=0, zorder=0)
        _zero(ax)
    # a frame holds the field of the step that led to it
    upper.plot(time_ps, field_V_per_nm, color=VERMILLION, drawstyle="steps-pre")
    upper.set_ylabel("applied E\n(V/nm)")
    for estimator, curve in current_nA.items():
        _draw(
            lower,
            curve,
            color=ESTIMATOR_COLOUR[estimator],
            ls=ESTIMATOR_LINE[estimator],
            label=ESTIMATOR_NAME[estimator],
        )
    lower.set(xlabel="time (ps)", ylabel="current I (nA)")
    _legend_above(figure, lower)
    figure.align_ylabels([upper, lower])
    _note(figure, note)
    return figure


# --- explorers and the pulse designer ---------------------------------------------------


@styled
def explored(
    curve: Curve,
    *,
    title: str,
    ylabel: str,
    field: tuple[ArrayLike, ArrayLike] | None,
    pulses_ps: FloatArray | None = None,
    dots: bool = False,
    note: str = "",
) -> Figure:
    """One quantity of one run, against time below its field, or against the field.

    Parameters
    ----------
    curve
        x: time in ps, or field in V/nm where ``field`` is None.
    title, ylabel
        What it is.
    field
        Times and fields (n,), ps and V/nm.
    pulses_ps
        Beginning and end of each pulse, shape (n, 2), shaded.
    dots
        Single points instead of a line.
    note
        What the figure rests on.
    """
    figure = _figure(DOUBLE_IN, 3.0)
    if field is None:
        ax = figure.subplots()
        ax.axvline(0, color="#BBBBBB", lw=0.6, zorder=0)
        ax.set_xlabel(E_LABEL)
        ax.set_title(title)
    else:
        upper, ax = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2.4])
        for each in (upper, ax):
            for start, stop in np.empty((0, 2)) if pulses_ps is None else pulses_ps:
                each.axvspan(start, stop, color="#DDDDDD", lw=0, zorder=0)
        upper.plot(*field, color=VERMILLION, drawstyle="steps-pre", label="field")
        _zero(upper)
        upper.set(ylabel="E (V/nm)", title=title)
        ax.set_xlabel("time (ps)")
        figure.align_ylabels([upper, ax])
    _zero(ax)
    look: dict[str, Any] = {"ls": "", "marker": ".", "ms": 2} if dots else {"lw": 1.1}
    _draw(ax, curve, color=BLUE, label=ylabel.split(" (")[0], **look)
    ax.set_ylabel(ylabel)
    _note(figure, note)
    return figure


@styled
def designed(
    time_ps: ArrayLike,
    field_V_per_nm: ArrayLike,
    rows: Mapping[str, Sequence[tuple[str, Curve]]],
    *,
    note: str = "",
) -> Figure:
    """A field that was designed, and below it what it does: the model's word, and the runs.

    Parameters
    ----------
    time_ps, field_V_per_nm
        Shape (n,).
    rows
        Quantity to named curves against time in ps; one named ``model`` is a prediction.
    note
        What the figure rests on.
    """
    figure = _figure(DOUBLE_IN, 1.9 + 1.35 * len(rows))
    axes = np.atleast_1d(figure.subplots(1 + len(rows), 1, sharex=True))
    axes[0].plot(time_ps, field_V_per_nm, color=VERMILLION, label="field")
    axes[0].set_ylabel("E (V/nm)")
    colours = (BLUE, ORANGE, GREEN, PURPLE, SKY)
    for ax, (name, curves) in zip(axes[1:], rows.items(), strict=True):
        measured = [one for one in curves if one[0] != "model"]
        for k, (label, curve) in enumerate(measured):
            _draw(ax, curve, color=colours[k % len(colours)], lw=0.9, label=label)
        for label, curve in curves:
            if label == "model":
                _draw(ax, curve, color=BLACK, ls="--", lw=1.3, label=label)
        ax.set_ylabel(name)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    for ax in axes:
        _zero(ax)
    axes[-1].set_xlabel("time (ps)")
    figure.align_ylabels(axes)
    _note(figure, note)
    return figure


# --- beyond the paper -----------------------------------------------------------------


class Modelled(NamedTuple):
    """What was measured and what the model says, against time in ps."""

    measured: Curve
    model: Curve


@styled
def model_against_data(
    rows: Mapping[str, Mapping[str, Mapping[str, Modelled]]], *, note: str = ""
) -> Figure:
    """The reduced memristor on top of the series: means as bands, the model as lines.

    Parameters
    ----------
    rows
        Quantity with its unit to title of a column to name to curves.
    note
        What the figure rests on.
    """
    columns = max((len(panels) for panels in rows.values()), default=0)
    if not columns:
        return _nothing("nothing recorded to compare with", note)
    figure = _figure(DOUBLE_IN, 0.9 + 1.9 * len(rows))
    axes = figure.subplots(len(rows), columns, squeeze=False, sharex="col")
    for line, (quantity, panels) in zip(axes, rows.items(), strict=True):
        for ax, (title, curves) in zip(line, panels.items(), strict=True):
            shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.85, max(len(curves), 2)))
            _zero(ax)
            for shade, (name, one) in zip(shades, curves.items(), strict=False):
                colour = mpl.colors.to_hex(shade)
                _draw(ax, one.measured, color=colour, lw=0.5, alpha=0.6)
                ax.plot(one.model.x, one.model.value, color=colour, lw=1.3, label=name)
            if ax in axes[0]:
                ax.set_title(title)
        line[0].set_ylabel(quantity)
    for ax, curves in zip(axes[-1], next(iter(rows.values())).values(), strict=True):
        ax.set_xlabel("time (ps)")
        if len(curves) > 1:
            ax.legend(
                fontsize=6, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.3),
                columnspacing=0.8, handlelength=1.2,
            )  # fmt: skip
    _note(figure, note)
    return figure


class Trace(NamedTuple):
    """A simulated circuit, arrays (n,), and what it is and does in words."""

    time_ps: FloatArray
    voltage_V: FloatArray
    order: FloatArray
    current_nA: FloatArray
    words: str


@styled
def circuit_trace(
    voltage_V: ArrayLike,
    steady_nA: ArrayLike,
    falling_V: tuple[float, float] | None,
    trace: Trace | None,
    *,
    label: str,
    note: str = "",
) -> Figure:
    """The element's steady current, and what it does in a circuit.

    Parameters
    ----------
    voltage_V, steady_nA
        Steady current against voltage, shape (n,).
    falling_V
        Ends of the stretch on which it falls, shaded; None if there is none.
    trace
        The circuit; None if there is nothing to show.
    label
        Where the element's parameters come from, written over the figure.
    note
        What the figure rests on.
    """
    figure = _figure(DOUBLE_IN if trace else SINGLE_IN, 3.1)
    grid = figure.add_gridspec(2, 2 if trace else 1, width_ratios=[1, 1.7] if trace else None)
    steady = figure.add_subplot(grid[:, 0])
    _zero(steady)
    if falling_V is not None:
        steady.axvspan(*falling_V, color="#EEEEEE", lw=0, zorder=-1)
    steady.plot(voltage_V, steady_nA, color=BLACK, ls="--", label="steady")
    title = "element" if trace else "element; no circuit spikes"
    steady.set(xlabel="voltage V (V)", ylabel="current I (nA)", title=title)
    if trace:
        steady.plot(
            trace.voltage_V, trace.current_nA, color=VERMILLION, lw=0.9, label="in the circuit"
        )
        upper = figure.add_subplot(grid[0, 1])
        lower = figure.add_subplot(grid[1, 1], sharex=upper)
        upper.plot(trace.time_ps, trace.voltage_V, color=VERMILLION)
        upper.set_title(textwrap.fill(trace.words, 62), fontsize=7)
        upper.tick_params(labelbottom=False)
        upper.set_ylabel("V (V)")
        lower.plot(trace.time_ps, trace.order, color=BLUE)
        lower.set(xlabel="time (ps)", ylabel="order x")
    steady.legend(loc="lower right", fontsize=6.5)
    figure.suptitle(textwrap.fill(label, 90 if trace else 48), fontsize=8.5, x=0.01, ha="left")
    _note(figure, note)
    return figure


class CircuitMap(NamedTuple):
    """Where circuits lose their rest, and what some of them did when simulated.

    ``x`` (n,), ``capacitance_zF`` (m,) and ``unstable`` (m, n) from linear stability;
    ``at_x``, ``at_zF`` and ``outcomes`` of the simulated ones.
    """

    x: FloatArray
    capacitance_zF: FloatArray
    unstable: NDArray[np.bool_]
    at_x: FloatArray
    at_zF: FloatArray
    outcomes: Sequence[str]


OUTCOME_LOOK = {
    "spikes": {"marker": "*", "color": VERMILLION, "ms": 7},
    "oscillates": {"marker": "o", "color": ORANGE, "ms": 4},
    "excitable": {"marker": "^", "color": BLUE, "ms": 4},
    "quiescent": {"marker": "x", "color": GREY, "ms": 4},
}


@styled
def spiking_map(
    panels: Mapping[str, CircuitMap],
    *,
    own_zF: float,
    label: str,
    note: str = "",
) -> Figure:
    """For which circuits and elements the circuit spikes.

    Parameters
    ----------
    panels
        Label of the horizontal axis, with its unit, to map.
    own_zF
        The element's own capacitance, marked if it has one.
    label
        Where the element's parameters come from, written over the figure.
    note
        What the figure rests on.
    """
    if not panels:
        return _nothing("no circuit can spike: the steady current does not fall", note)
    figure = _figure(DOUBLE_IN, 3.2)
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    shading = mpl.colors.ListedColormap(["#FFFFFF", "#F7D9C4"])
    for ax, (title, one) in zip(axes, panels.items(), strict=True):
        ax.pcolormesh(
            one.x, one.capacitance_zF, one.unstable.astype(float), cmap=shading, vmin=0, vmax=1,
            shading="nearest", rasterized=True,
        )  # fmt: skip
        kinds = np.array(one.outcomes)
        for outcome, look in OUTCOME_LOOK.items():
            here = kinds == outcome
            if len(kinds) and here.any():
                ax.plot(one.at_x[here], one.at_zF[here], ls="", label=outcome, **look)
        if own_zF > 0:
            ax.axhline(own_zF, color=GREY, ls=":", lw=1)
            ax.annotate(
                "the membrane's own", (0.01, own_zF), xycoords=("axes fraction", "data"),
                va="bottom", fontsize=6.5, color=GREY, path_effects=HALO,
            )  # fmt: skip
        ax.set(yscale="log", xlabel=title)
    axes[0].set_ylabel("capacitance (zF)")
    handles, labels = axes[0].get_legend_handles_labels()
    patch = mpl.patches.Patch(color=shading(1.0))
    figure.legend([*handles, patch], [*labels, "no stable rest"], loc="outside upper right",
                  ncols=5)  # fmt: skip
    figure.suptitle(label, fontsize=8.5, x=0.01, ha="left")
    _note(figure, note)
    return figure
