"""Current against field: Figs. 1B, 1C and 4, and what carries it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .drawing import (
    BLACK,
    BLUE,
    DIRECTION_LOOK,
    DIRECTION_NAME,
    DIRECTIONS,
    DOUBLE_IN,
    E_LABEL,
    GREEN,
    GREY,
    GUIDE,
    HALO,
    ORANGE,
    PALE,
    PURPLE,
    SINGLE_IN,
    VERMILLION,
    Curve,
    add_note,
    blank,
    draw_arrow,
    draw_errorbars,
    draw_line,
    legend_above,
    lowest_panels,
    nothing,
    stands_for,
    styled,
    voltage_axis,
    zero_line,
)


def _sweeps(
    ax: Axes, curves: Mapping[str, Curve], behind: Mapping[str, Curve], behind_name: str = ""
) -> None:
    """Both sweeps with arrows, and pale ones behind; the two polarities are not joined, as
    they are not in time."""
    theirs = behind_name.partition(" (")[0]
    zero_line(ax)
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
                draw_line(
                    ax, apart, label=f"_{name}, {theirs}", **look | {"marker": "", "alpha": PALE}
                )
                continue
            every = max(1, whole.x.size // 16)
            draw_line(ax, apart, label=name, markevery=(every // 2, every), **look)
            draw_arrow(ax, whole, look["color"], outward=direction == "forward")


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
        Title of a panel to curves to compare with, drawn pale, and what they are, such as
        results that ship.
    note
        What the figure rests on.
    """
    found = [{title: curves for title, curves in row.items() if curves} for row in rows]
    found = [row for row in found if row]
    if not found:
        return nothing("not run", note)
    columns = max(map(len, found))
    figure = blank(DOUBLE_IN if columns > 1 else SINGLE_IN, 0.6 + 2.3 * len(found))
    axes = figure.subplots(len(found), columns, sharex=True, sharey=share_y, squeeze=False)
    alike: dict[int, list[Curve]] = {}  # curves of the panels that share a scale
    for k, (line, row) in enumerate(zip(axes, found, strict=True)):
        for column, (ax, (title, curves)) in enumerate(zip(line, row.items(), strict=False)):
            ax.set_title(title)
            theirs = (behind or {}).get(title, {})
            _sweeps(ax, curves, theirs, behind_name)
            scale = alike.setdefault(column if share_y == "col" else 0, [])
            scale += [*curves.values(), *theirs.values()]
            _published(ax, published_V_per_nm)
            if k == 0:
                voltage_axis(ax, length_x_nm)
        for ax in line[len(row) :]:
            ax.set_visible(False)
        line[0].set_ylabel("current I (nA)")
    for ax in lowest_panels(axes):
        ax.set_xlabel(E_LABEL)
    cut = [_within_sight(axes[0, column], curves) for column, curves in alike.items()]
    legend_above(figure, axes[0, 0], behind_name)
    add_note(figure, f"{note}; bands are cut where a panel ends" if any(cut) else note)
    return figure


WIDEST_BAND = 3.0
"""How far a panel follows the bands, in largest values: rare events have bands that leave
nothing to be seen of the curves."""


def _within_sight(ax: Axes, curves: Sequence[Curve]) -> bool:
    """Limit an axis whose bands dwarf their curves; whether it had to be."""
    values, *ends = (np.concatenate(v) for v in list(zip(*curves, strict=True))[1:])
    bottom, top = ax.get_ylim()
    reach = WIDEST_BAND * float(np.nanmax(np.abs(values), initial=0.0))
    if not reach or np.nanmax(np.abs(ends), initial=0.0) <= reach:
        return False
    ax.set_ylim(max(bottom, -reach), min(top, reach))
    return True


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
    figure = blank(DOUBLE_IN, 3.7)
    grid = figure.add_gridspec(
        2, len(panels) + 1, height_ratios=[1, 3], width_ratios=[*(1.0 for _ in panels), 0.9]
    )
    lower: Axes | None = None
    drawn = None
    for k, (title, curves) in enumerate(panels.items()):
        upper = figure.add_subplot(grid[0, k])
        upper.plot(field_V_per_nm.x, field_V_per_nm.value, color=VERMILLION, label="field")
        upper.set_title(title)
        lower = figure.add_subplot(grid[1, k], sharex=upper, sharey=lower)
        upper.tick_params(labelbottom=False)
        for ax in (upper, lower):
            zero_line(ax)
        for name, look in CARRIER_LOOK.items():
            if name in curves:
                draw_line(lower, curves[name], **look)
                drawn = lower
        lower.set_xlabel("time in the cycle (ps)")
        if k == 0:
            upper.set_ylabel("E (V/nm)")
            lower.set_ylabel("current I (nA)")
    ax = figure.add_subplot(grid[:, -1])
    for height, (name, point) in enumerate(shares.items()):
        _lying(ax, -float(height), point, name)
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
    add_note(figure, note)
    return figure


def _lying(ax: Axes, height: float, point: Curve, name: str) -> None:
    """A value with its interval lying down; hollow where there is no interval."""
    bounded = bool(np.isfinite(point.low).all() and np.isfinite(point.high).all())
    (drawn,) = ax.plot(
        point.value, [height], marker="o", color=BLACK, label=f"_{name}",
        markerfacecolor=BLACK if bounded else "white",
    )  # fmt: skip
    stands_for(drawn, point._replace(x=np.full(1, np.nan)))
    if bounded:
        ax.plot([point.low[0], point.high[0]], [height, height], color=BLACK, lw=1, label=GUIDE)


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
        return nothing("not run", note)
    columns = len(rows[0])
    figure = blank(DOUBLE_IN, 0.7 + 2.3 * len(rows))
    axes = figure.subplots(len(rows), columns, sharex=True, sharey="col", squeeze=False)
    handles: dict[str, Any] = {}
    for k, (line, row) in enumerate(zip(axes, rows, strict=True)):
        for ax, (title, (curves, constant)) in zip(line, row.items(), strict=True):
            ax.set_title(title)
            _sweeps(ax, curves, {})
            if constant is not None:
                draw_errorbars(
                    ax, _within(ax, constant) if curves else constant, color=BLACK, marker="D",
                    ls="", label="constant field", zorder=4,
                )  # fmt: skip
            if k == 0:
                voltage_axis(ax, length_x_nm)
            found = zip(*ax.get_legend_handles_labels(), strict=True)
            handles |= {label: handle for handle, label in found}
        line[0].set_ylabel("current I (nA)")
    for ax in axes[-1]:
        ax.set_xlabel(E_LABEL)
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=3)
    add_note(figure, note)
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
        return nothing("not run", note)
    told = {  # whose runs are enough for an interval
        name for points in measures.values() for name, one in points.items()
        if np.isfinite(one.low).any()
    }  # fmt: skip
    figure = blank(DOUBLE_IN, 0.9 + 0.32 * len(charge_sets))
    axes = figure.subplots(1, len(measures), sharey=True)
    for ax, (label, points) in zip(axes, measures.items(), strict=True):
        for height, (name, title) in enumerate(charge_sets.items()):
            stated = published.get(label, {}).get(name)
            if stated is not None:
                (drawn,) = ax.plot(
                    [stated], [-height], marker="|", ms=14, mew=1.6, color=VERMILLION, ls="",
                    label="published",
                )  # fmt: skip
                stands_for(drawn, Curve.bare([np.nan], [stated]))
            point = points.get(name, Curve.bare([0.0], [np.nan]))
            if np.isfinite(point.value).all():
                _lying(ax, -float(height), point, title)
            else:
                why = "none found" if name in told else "too few to tell"
                ax.text(0.5, -height, why, transform=ax.get_yaxis_transform(),
                        ha="center", va="center", fontsize=6.5, color=GREY)  # fmt: skip
        ax.axvline(0, color="#BBBBBB", lw=0.6, zorder=0)
        ax.set_xlabel(label)
        ax.margins(x=0.15)
    axes[0].set_yticks([-float(h) for h in range(len(charge_sets))], list(charge_sets.values()))
    axes[0].set_ylim(0.5 - len(charge_sets), 0.5)
    if axes[0].get_legend_handles_labels()[0]:
        legend_above(figure, axes[0])
    add_note(figure, note)
    return figure
