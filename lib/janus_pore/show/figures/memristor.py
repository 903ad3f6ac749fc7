"""Beyond the paper: the reduced model against its data, and a spiking circuit."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from .drawing import (
    BLACK,
    BLUE,
    DOUBLE_IN,
    GREY,
    HALO,
    ORANGE,
    SINGLE_IN,
    SKY,
    VERMILLION,
    Curve,
    FloatArray,
    add_note,
    blank,
    draw_line,
    nothing,
    shades,
    styled,
    zero_line,
)


class Modelled(NamedTuple):
    """What was measured and what the model says, against time in ps."""

    measured: Curve
    model: Curve


@styled
def model_against_data(
    rows: Mapping[str, Mapping[str, Mapping[str, Modelled]]], *, note: str = ""
) -> Figure:
    """The reduced memristor on top of the series: means with bands, the model as lines.

    Parameters
    ----------
    rows
        Quantity with its unit to title of a column to name to curves.
    note
        What the figure rests on.
    """
    columns = max((len(panels) for panels in rows.values()), default=0)
    if not columns:
        return nothing("nothing recorded to compare with", note)
    figure = blank(DOUBLE_IN, 0.9 + 1.9 * len(rows))
    axes = figure.subplots(len(rows), columns, squeeze=False, sharex="col")
    for line, (quantity, panels) in zip(axes, rows.items(), strict=True):
        for ax, (title, curves) in zip(line, panels.items(), strict=True):
            zero_line(ax)
            for colour, (name, one) in zip(shades(len(curves)), curves.items(), strict=True):
                if len(curves) == 1:
                    draw_line(ax, one.measured, color=SKY, lw=1.0, label="measured")
                    ax.plot(*one.model[:2], color=BLACK, lw=0.8, ls="--", label="model")
                    continue
                draw_line(
                    ax, one.measured, color=colour, lw=0.5, alpha=0.6, label=f"_{name}, measured"
                )
                ax.plot(*one.model[:2], color=colour, lw=1.3, label=name)
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
    alone = [ax for ax in axes.flat if "measured" in ax.get_legend_handles_labels()[1]]
    if alone:
        figure.legend(*alone[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    add_note(figure, note)
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
    figure = blank(DOUBLE_IN if trace else SINGLE_IN, 3.1)
    grid = figure.add_gridspec(2, 2 if trace else 1, width_ratios=[1, 1.7] if trace else None)
    steady = figure.add_subplot(grid[:, 0])
    zero_line(steady)
    if falling_V is not None:
        steady.axvspan(*falling_V, color="#EEEEEE", lw=0, zorder=-1)
    steady.plot(voltage_V, steady_nA, color=BLACK, ls="--", label="steady")
    title = "element" if trace or falling_V else "element; no circuit spikes"
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
    add_note(figure, note)
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
        return nothing("no circuit can spike: the steady current does not fall", note)
    figure = blank(DOUBLE_IN, 3.2)
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
    add_note(figure, note)
    return figure
