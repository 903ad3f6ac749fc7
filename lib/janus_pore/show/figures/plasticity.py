"""Pulse pairs and trains: Fig. 5."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ...measure.statistics import ExponentialFit
from .drawing import (
    BLUE,
    DOUBLE_IN,
    ESTIMATOR_COLOUR,
    ESTIMATOR_LINE,
    ESTIMATOR_NAME,
    GREY,
    PALE,
    SIGMA_ALL,
    SINGLE_IN,
    SKY,
    VERMILLION,
    Curve,
    FloatArray,
    add_note,
    blank,
    draw_errorbars,
    draw_line,
    legend_above,
    lowest_panels,
    moved_aside,
    nothing,
    styled,
    zero_line,
)

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
) -> bool:
    """Points of every estimator that has any, side by side; whether there are several."""
    name = "_{}, shipped" if pale else "{}"
    curves = {e: curve for e, curve in curves.items() if np.isfinite(curve.value).any()}
    for n, (estimator, curve) in enumerate(curves.items()):
        draw_errorbars(
            ax,
            curve,
            transform=moved_aside(figure, ax, n - (len(curves) - 1) / 2),
            color=ESTIMATOR_COLOUR[estimator],
            marker=ESTIMATOR_MARKER[estimator],
            ls="",
            alpha=PALE if pale else None,
            label=name.format(ESTIMATOR_NAME[estimator]),
        )
    return len(curves) > 1


WILD_RATIOS = (-2.0, 6.0)
"""Ratios without bounds that lie outside this stay off the picture: they are noise over noise."""


def _ratio_limits(ax: Axes, curves: Sequence[Curve], levels: Sequence[float]) -> bool:
    """Limits that show all levels, all values that have an interval, and those intervals as
    far as twice that range; of other values, those that are not wild. Whether that cuts any."""
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
    return any(end < low - room or end > high + room for end in ends)


SIDE_BY_SIDE = "estimators stand side by side"
CUT = "bars that reach the frame go on beyond it"


def _without_ratio(rows: Mapping[str, PoreOrNot], run: Sequence[tuple[str, str]]) -> list[str]:
    """Which panels lack which estimators, those that lack the same together."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for title, protocol in run:
        curves = rows[title][protocol]
        absent = tuple(
            ESTIMATOR_NAME[e] for e, one in curves.items() if not np.isfinite(one.value).any()
        )
        lacking.setdefault(absent, []).append(f"{protocol.upper()} {title}")
    return [
        f"no ratio by {', '.join(names)}" + (f" ({', '.join(where)})" if len(lacking) > 1 else "")
        for names, where in lacking.items()
        if names
    ]


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
    log_x: bool = False,
    note: str,
) -> Figure:
    """Current ratios, a row for each system and a column for each protocol that was run."""
    run = [(title, protocol) for title in rows for protocol in levels if rows[title].get(protocol)]
    if not run:
        return nothing("not run", note)
    titles = [title for title in rows if any(title == ran for ran, _ in run)]
    protocols = [protocol for protocol in levels if any(protocol == ran for _, ran in run)]
    figure = blank(DOUBLE_IN if len(protocols) > 1 else SINGLE_IN, 0.7 + 2.1 * len(titles))
    shape = (len(titles), len(protocols))
    axes = figure.subplots(*shape, sharex="col", sharey="col", squeeze=False)
    cut = fitted = several = False
    for ax, (title, protocol) in zip(axes.flat, itertools.product(titles, protocols), strict=True):
        if (title, protocol) not in run:
            ax.set_visible(False)
            continue
        curves, stated = rows[title][protocol], levels[protocol]
        pale = (behind or {}).get(title, {}).get(protocol, {})
        ax.set(title=f"{PROTOCOL_NAME[protocol]}, {title}", ylabel=ylabel)
        ax.axhline(1, color="#BBBBBB", lw=0.6, zorder=0)
        _by_estimator(figure, ax, pale, pale=True)
        several |= _by_estimator(figure, ax, curves)
        _stated(ax, stated)
        for estimator, fit in (fits or {}).get(title, {}).get(protocol, {}).items():
            if fit.identifiable:
                fitted = True
                delays = curves[estimator].x
                grid = np.geomspace(delays.min(), delays.max(), 200)
                ax.plot(
                    grid, fit.curve(grid), color=ESTIMATOR_COLOUR[estimator], lw=1,
                    label=f"_{ESTIMATOR_NAME[estimator]}, fit",
                )  # fmt: skip
    for ax, protocol in zip(lowest_panels(axes), protocols, strict=True):
        every = [*rows.values(), *(behind or {}).values()]
        shown = [c for found in every for c in found.get(protocol, {}).values()]
        cut |= _ratio_limits(ax, shown, list(levels[protocol].values()))
        x = np.concatenate([c.x for c in shown])
        ax.set(xlim=(0, 1.06 * float(x.max())), xlabel=xlabel)
        if log_x:
            ax.set_xscale("log", base=2)
            ax.set_xlim(0.75 * float(x.min()), 1.35 * float(x.max()))
            ax.xaxis.set_major_locator(mpl.ticker.LogLocator(base=2, numticks=12))
            ax.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    fullest = max(axes.flat, key=lambda ax: len(ax.get_legend_handles_labels()[1]))
    legend_above(figure, fullest, behind_name)
    said = [
        note,
        SIDE_BY_SIDE if several else "",
        "lines without points: exponential fits" if fitted else "",
        CUT if cut else "",
        *_without_ratio(rows, run),
    ]
    add_note(figure, "; ".join(filter(None, said)))
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
        fits=fits, behind=behind, behind_name=behind_name, log_x=True, note=note,
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
        return nothing("no train with water in a pore", note)
    figure = blank(DOUBLE_IN, 2.7)
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    for ax, (protocol, one) in zip(axes, panels.items(), strict=True):
        for start, stop in one.windows_ps:
            ax.axvspan(start, stop, color="#E6E6E6", lw=0, zorder=-1)
        draw_line(ax, one.in_time, color=SKY, lw=1, label="at each time")
        draw_errorbars(
            ax, one.by_pulse, color=BLUE, marker="o", ls="-", lw=0.8, label="mean of a pulse"
        )
        ax.set(xlabel="time (ps)", title=PROTOCOL_NAME[protocol], xlim=(0, None))
    axes[0].set_ylabel(SIGMA_ALL)
    legend_above(figure, axes[0])
    add_note(figure, note)
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
    if not panels:
        return nothing("no pairs of pulses were run", note)
    figure = blank(DOUBLE_IN, 2.7)
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    cut = False
    for ax, (protocol, (curves, how)) in zip(axes, panels.items(), strict=True):
        ax.axhline(1, color="#BBBBBB", lw=0.6, zorder=0)
        widest = max(float(curve.x.max()) for curve in curves.values())
        _by_estimator(figure, ax, curves)
        cut |= _ratio_limits(ax, list(curves.values()), [])
        ax.set_title(f"{PROTOCOL_NAME[protocol]}:\n{how}", fontsize=7.5)
        ax.set(xlabel="width of a pulse (ps)", xlim=(0, 1.1 * widest))
    axes[0].set_ylabel("I1 / I0")
    legend_above(figure, axes[0])
    add_note(figure, "; ".join(filter(None, [note, CUT if cut else ""])))
    return figure


LINEAR_nA = 10.0
"""Currents up to this are drawn to scale and larger ones logarithmically: the picosecond after a
jump of the field would hide all that follows."""


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
    figure = blank(DOUBLE_IN, 3.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2])
    for ax in (upper, lower):
        for start, stop in windows_ps:
            ax.axvspan(start, stop, color="#DDDDDD", lw=0, zorder=0)
        zero_line(ax)
    # a frame holds the field of the step that led to it
    upper.plot(time_ps, field_V_per_nm, color=VERMILLION, drawstyle="steps-pre", label="field")
    upper.set_ylabel("field E\n(V/nm)")
    for estimator, curve in current_nA.items():
        draw_line(
            lower,
            curve,
            color=ESTIMATOR_COLOUR[estimator],
            ls=ESTIMATOR_LINE[estimator],
            label=ESTIMATOR_NAME[estimator],
        )
    lower.set_yscale("symlog", linthresh=LINEAR_nA)
    lower.yaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:g}"))
    lower.set(xlabel="time (ps)", ylabel="current I (nA)")
    legend_above(figure, lower)
    figure.align_ylabels([upper, lower])
    add_note(figure, f"{note}; logarithmic beyond {LINEAR_nA:g} nA".removeprefix("; "))
    return figure
