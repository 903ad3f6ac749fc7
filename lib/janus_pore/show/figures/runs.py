"""Protocols and what they drive, side by side where asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from .drawing import (
    BLACK,
    BLUE,
    DOUBLE_IN,
    E_LABEL,
    ESTIMATOR_COLOUR,
    ESTIMATOR_LINE,
    ESTIMATOR_NAME,
    GREEN,
    ORANGE,
    PURPLE,
    SINGLE_IN,
    SKY,
    VERMILLION,
    Curve,
    FloatArray,
    add_note,
    blank,
    draw_line,
    legend_above,
    lowest_panels,
    shades,
    styled,
    zero_line,
)


@styled
def waveforms(
    panels: Mapping[str, Sequence[tuple[ArrayLike, ArrayLike]]], *, note: str = ""
) -> Figure:
    """The field of each protocol against time; a scan shows all of its waveforms.

    Parameters
    ----------
    panels
        Protocol to pairs of time (ps) and field (V/nm), shape (n,) each.
    note
        What the figure rests on.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = blank(DOUBLE_IN, 0.4 + 1.45 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, sharey=True)).ravel()
    for ax, (name, curves) in zip(axes, panels.items(), strict=False):
        zero_line(ax)
        for (time, value), shade, style in zip(
            curves, shades(len(curves)), ("-", "--", "-.", ":") * len(curves), strict=False
        ):
            ax.plot(time, value, color=shade, ls=style, lw=1.2)
        ax.set(title=name, xlabel="time (ps)")
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for k in range(0, len(axes), columns):
        axes[k].set_ylabel(E_LABEL)
    add_note(figure, note)
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
    figure = blank(DOUBLE_IN, 3.4)
    axes = figure.subplots(3, 1, sharex=True)
    axes[0].plot(time_ps, field_V_per_nm, color=VERMILLION, label="field")
    axes[0].set(ylabel="field E\n(V/nm)")
    for name, value in charge_e.items():
        axes[1].plot(
            time_ps,
            value,
            color=ESTIMATOR_COLOUR[name],
            ls=ESTIMATOR_LINE[name],
            label=ESTIMATOR_NAME[name],
        )
    axes[1].set(ylabel="charge moved\n(e)")
    legend_above(figure, axes[1])
    axes[2].plot(time_ps, pore_water_count, color=BLUE, lw=0.8, label="pore water")
    axes[2].set(ylabel="pore water\n(molecules)", xlabel="time (ps)", ylim=(0, None))
    for ax in axes[:2]:
        zero_line(ax)
    figure.align_ylabels(axes)
    add_note(figure, note)
    return figure


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
    figure = blank(DOUBLE_IN if columns > 1 else SINGLE_IN, 0.7 + 1.6 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True)).ravel()
    for ax, (label, curves) in zip(axes, panels.items(), strict=False):
        zero_line(ax)
        for estimator, curve in curves.items():
            colour, style = ESTIMATOR_COLOUR[estimator], ESTIMATOR_LINE[estimator]
            draw_line(ax, curve, color=colour, ls=style, label=ESTIMATOR_NAME[estimator])
        ax.set_title(label.replace(",", "\n"), fontsize=6.5)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    legend_above(figure, axes[0])
    figure.supylabel("charge moved (e)", fontsize=8)
    for ax in lowest_panels(axes.reshape(rows, columns)):
        ax.set_xlabel("time (ps)")
    add_note(figure, note)
    return figure


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
    figure = blank(DOUBLE_IN, 3.0)
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
        zero_line(upper)
        upper.set(ylabel="E (V/nm)", title=title)
        ax.set_xlabel("time (ps)")
        figure.align_ylabels([upper, ax])
    zero_line(ax)
    look: dict[str, Any] = {"ls": "", "marker": ".", "ms": 2} if dots else {"lw": 1.1}
    draw_line(ax, curve, color=BLUE, label=ylabel.split(" (")[0], **look)
    ax.set_ylabel(ylabel)
    add_note(figure, note)
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
    figure = blank(DOUBLE_IN, 1.9 + 1.35 * len(rows))
    axes = np.atleast_1d(figure.subplots(1 + len(rows), 1, sharex=True))
    axes[0].plot(time_ps, field_V_per_nm, color=VERMILLION, label="field")
    axes[0].set_ylabel("E (V/nm)")
    colours = (BLUE, ORANGE, GREEN, PURPLE, SKY)
    for ax, (name, curves) in zip(axes[1:], rows.items(), strict=True):
        measured = [one for one in curves if one[0] != "model"]
        for k, (label, curve) in enumerate(measured):
            draw_line(ax, curve, color=colours[k % len(colours)], lw=0.9, label=label)
        for label, curve in curves:
            if label == "model":
                draw_line(ax, curve, color=BLACK, ls="--", lw=1.3, label=label)
        ax.set_ylabel(name)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    for ax in axes:
        zero_line(ax)
    axes[-1].set_xlabel("time (ps)")
    figure.align_ylabels(axes)
    add_note(figure, note)
    return figure
