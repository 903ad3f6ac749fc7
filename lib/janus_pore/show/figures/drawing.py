"""What the figures share: colours and names, curves with their intervals, axes, notes, and
the numbers of a finished figure.
"""

from __future__ import annotations

import functools
import html
import io
import re
import textwrap
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.transforms import ScaledTranslation, Transform
from numpy.typing import ArrayLike, NDArray

from ...measure.statistics import FEWEST_UNITS, Band, Estimate

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

SIGMA_ALL = "σθ, all molecules (°)"
"""The direct width; that of a Gaussian fit is another number wherever the peak has tails."""
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

DIRECTION_NAME = {"forward": "forward, |E| rising", "reverse": "reverse, |E| falling"}

HALO = [withStroke(linewidth=2.2, foreground="white")]

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


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run a drawing function under :data:`STYLE`, leaving the reader's settings alone."""
    style: Any = STYLE

    @functools.wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(style):
            return draw(*args, **kwargs)

    return inner


def blank(width_in: float, height_in: float) -> Figure:
    """An empty figure of that size."""
    return Figure(figsize=(width_in, height_in), layout="constrained")


def save(figure: Figure, stem: Path, kinds: Sequence[str]) -> None:
    """Write a figure's files, ``stem`` with each of ``kinds`` as suffix.

    It is laid out for the first of them and stays so: constrained layout would be done again
    for each, at half the cost of all.
    """
    style: Any = STYLE
    layout = figure.get_layout_engine()
    try:
        with mpl.rc_context(style):
            for kind in kinds:
                figure.savefig(stem.with_name(f"{stem.name}.{kind}"))
                figure.set_layout_engine(None)
    finally:
        figure.set_layout_engine(layout)


def nothing(why: str, note: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = blank(DOUBLE_IN, 1.0)
    figure.text(0.5, 0.6, why, ha="center", va="center", color=GREY)
    add_note(figure, note)
    return figure


def add_note(figure: Figure, note: str) -> None:
    """A line under the axes saying what the figure rests on."""
    if note:
        lines = textwrap.wrap(note, int(20 * figure.get_figwidth()))
        figure.supxlabel("\n".join(lines), fontsize=6.5, color=GREY, x=0.01, ha="left")


def shades(number: int) -> list[str]:
    """Colours from dark to light for values in order, told apart without colour vision too."""
    return [mpl.colors.to_hex(c) for c in mpl.colormaps["viridis"](np.linspace(0.0, 0.85, number))]


def zero_line(ax: Axes) -> None:
    """Where the vertical axis is zero."""
    ax.axhline(0, color="#BBBBBB", linewidth=0.6, zorder=0)


def voltage_axis(ax: Axes, length_x_nm: float) -> None:
    """A second axis at the top, the voltage that belongs to the field."""
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


_INTERVALS: weakref.WeakKeyDictionary[Artist, Curve] = weakref.WeakKeyDictionary()
"""What a line was drawn from, where that has intervals."""

_ELSEWHERE: weakref.WeakKeyDictionary[Artist, Curve] = weakref.WeakKeyDictionary()
"""What stands for other numbers than its coordinates: bars side by side, values lying down."""

GUIDE = "_guide"
"""Label of what helps to read a figure and is no number of it, such as the head of an arrow."""


def stands_for(artist: Artist, curve: Curve) -> None:
    """Note the numbers that a line, or a group of bars by its first, was drawn from, where they
    are not its coordinates; where they have no x, values are read on the horizontal axis."""
    _ELSEWHERE[artist] = curve


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
        above = [ax, *_beside(ax, "x")]
        panel = next(filter(None, (one.get_title(loc="left") for one in above)), str(number))
        panel, across, up = (" ".join(text.split()) for text in (panel, *_quantities(ax)))
        for series, _, curve in _curves(ax):
            lying = bool(np.isnan(curve.x).all())
            quantities = ("", across) if lying else (across, up)
            for x, y, low, high in zip(*curve, strict=True):
                if lying or np.isfinite(x):
                    found.append(
                        Point(panel, series, quantities[0], x, quantities[1], y, low, high)
                    )
    return found


def _beside(ax: Axes, which: Literal["x", "y"]) -> list[Axes]:
    """Other panels of the same column (``x``) or row (``y``)."""

    def place(one: Axes) -> object:
        spec = one.get_subplotspec()
        return spec and (spec.get_gridspec(), spec.colspan if which == "x" else spec.rowspan)

    figure = ax.get_figure(root=True)
    others = figure.axes if figure and place(ax) else []
    return [one for one in others if one is not ax and place(one) == place(ax)]


def _quantities(ax: Axes) -> tuple[str, str]:
    """What the axes of a panel show; of panels that stand together one alone may say it."""
    across = [ax, *ax.get_shared_x_axes().get_siblings(ax), *_beside(ax, "x")]
    up = [ax, *ax.get_shared_y_axes().get_siblings(ax), *_beside(ax, "y")]
    return (
        next(filter(None, (one.get_xlabel() for one in across)), ""),
        next(filter(None, (one.get_ylabel() for one in up)), ""),
    )


def _curves(ax: Axes) -> list[tuple[str, Curve, Curve]]:
    """What is drawn in a panel, by name (by number where it has none): its coordinates, and the
    numbers that it stands for."""
    errors = [c for c in ax.containers if isinstance(c, ErrorbarContainer)]
    names = {c.lines[0]: str(c.get_label()) for c in errors}
    caps = {cap for c in errors for cap in c.lines[1]}
    across = ax.get_xaxis_transform(which="grid"), ax.get_yaxis_transform(which="grid")
    curves: list[tuple[str, Curve, Artist]] = []
    for line in ax.lines:
        if line not in caps and line.get_transform() not in across:
            drawn = _INTERVALS.get(line, Curve.bare(line.get_xdata(), line.get_ydata()))
            curves.append((names.get(line, str(line.get_label())), drawn, line))
    for bars in (c for c in ax.containers if isinstance(c, BarContainer)):
        at = [bar.get_x() + bar.get_width() / 2 for bar in bars]
        drawn = Curve.bare(at, [b.get_height() for b in bars])
        curves.append((str(bars.get_label()), drawn, bars[0]))
    for dots in ax.collections:
        if isinstance(dots, PathCollection):
            x, y = np.ma.filled(dots.get_offsets(), np.nan).T
            curves.append((str(dots.get_label()), Curve.bare(x, y), dots))
    return [
        (
            str(k) if name.startswith(("_child", "_nolegend_")) else name.removeprefix("_"),
            drawn,
            _ELSEWHERE.get(artist, drawn),
        )
        for k, (name, drawn, artist) in enumerate(curves, start=1)
        if name != GUIDE
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
        for name, drawn, curve in _curves(ax):
            shown = np.isfinite(drawn.x) & np.isfinite(drawn.value)
            every = np.flatnonzero(shown)[:: max(1, int(shown.sum()) // MOST_HOVERING)]
            places = ax.transData.transform(np.stack([drawn.x[every], drawn.value[every]], 1))
            for k, (across, up) in zip(every, scale * places, strict=True):
                value = f"{name}: {curve.value[k]:.4g}"
                if np.isfinite(curve.x[k]):
                    value += f" at {curve.x[k]:.4g}"
                if np.isfinite(curve.low[k]):
                    value += f" [{curve.low[k]:.4g}, {curve.high[k]:.4g}]"
                spots.append(
                    f'<circle cx="{across:.1f}" cy="{height - up:.1f}" r="4" fill="transparent">'
                    f"<title>{html.escape(value)}</title></circle>"
                )
    body = text[text.index("<svg") :].replace("</svg>", f"{''.join(spots)}</svg>")
    begin = '<svg role="img" style="max-width:100%;height:auto" '
    return body.replace("<svg ", f'{begin}aria-label="{html.escape(alt)}" ', 1)


def draw_line(ax: Axes, curve: Curve, *, band: bool = True, **look: Any) -> None:
    """A line through the points and its interval as a band."""
    _INTERVALS[ax.plot(curve.x, curve.value, **look)[0]] = curve
    if band and np.isfinite(curve.low).any():
        alpha = 0.18 * look.get("alpha", 1.0)
        ax.fill_between(curve.x, curve.low, curve.high, color=look["color"], alpha=alpha, lw=0)


def draw_errorbars(ax: Axes, curve: Curve, **look: Any) -> None:
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


def moved_aside(figure: Figure, ax: Axes, place: float, place_in: float = 0.05) -> Transform:
    """Data coordinates moved by so many places of that width, on the paper and not in the data.

    What is moved does not count for the automatic limits.
    """
    return ax.transData + ScaledTranslation(place_in * place, 0, figure.dpi_scale_trans)


def draw_arrow(ax: Axes, curve: Curve, colour: str, *, outward: bool) -> None:
    """An arrow head at the middle of each branch that points where the field goes in time."""
    for sign in (1, -1):
        branch = np.flatnonzero((np.sign(curve.x) == sign) & np.isfinite(curve.value))
        if branch.size < 3:
            continue
        order = branch[np.argsort(np.abs(curve.x[branch]))]
        middle = order[order.size // 2]
        ax.plot(
            curve.x[[middle]], curve.value[[middle]], ls="", color=colour, ms=8, zorder=5,
            marker=">" if (sign > 0) == outward else "<", mec="white", mew=0.6, label=GUIDE,
        )  # fmt: skip


PALE = 0.4
"""Opacity of what ships behind what this machine ran."""


def legend_above(figure: Figure, ax: Axes, pale: str = "") -> None:
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


def lowest_panels(axes: NDArray[Any]) -> list[Axes]:
    """The lowest visible panel of each column, with the numbers of its axis."""
    lowest = [[ax for ax in column if ax.get_visible()][-1] for column in axes.T]
    for ax in lowest:
        ax.tick_params(labelbottom=True)
    return lowest
