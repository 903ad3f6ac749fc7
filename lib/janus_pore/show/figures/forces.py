"""Forces on an ion in the pore: Table 1, potentials of mean force."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from .drawing import (
    BLACK,
    BLUE,
    DOUBLE_IN,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    SPECIES_COLOUR,
    SPECIES_NAME,
    VERMILLION,
    YELLOW,
    Curve,
    FloatArray,
    add_note,
    blank,
    draw_line,
    lowest_panels,
    shades,
    stands_for,
    styled,
    zero_line,
)


def _from(values: ArrayLike, ends: ArrayLike) -> FloatArray:
    """Lengths (2, n) of the error bars from values (n,) to the ends (2, n) of their intervals;
    none where there is no interval."""
    low, high = np.asarray(ends, float)
    lengths: FloatArray = np.nan_to_num([np.asarray(values) - low, high - np.asarray(values)])
    return lengths


@styled
def barrier_table(
    table: Mapping[str, Mapping[str, Any]], share_nm: Mapping[str, ArrayLike], *, note: str = ""
) -> Figure:
    """Table 1 as bars, up to three versions of it, and the distance that each implies.

    Parameters
    ----------
    table
        Version to ``field_V_per_nm``, ``parts_kJ_per_mol`` and ``total_kJ_per_mol``; where there
        are intervals, also their ends (2, fields) by part, ``total`` and ``distance`` (nm) in
        ``intervals``.
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
        "total": (BLACK, ""),
    }
    figure = blank(DOUBLE_IN, 3.2)
    axes = figure.subplots(1, len(table) + 1, width_ratios=[*(1.6 for _ in table), 1.0])
    for ax, (version, content) in zip(axes[:-1], table.items(), strict=True):
        fields = content["field_V_per_nm"]
        at = np.arange(len(fields))
        parts = content["parts_kJ_per_mol"]
        width = 0.8 / (len(parts) + 1)
        values_of = {**parts, "total": content["total_kJ_per_mol"]}
        for k, (name, values) in enumerate(values_of.items()):
            beside = at + (k - len(parts) / 2) * width
            ends = content.get("intervals", {}).get(name)
            bars = ax.bar(
                beside, values, width, color=looks[name][0], hatch=looks[name][1],
                edgecolor="#333333", linewidth=0.4,
                label="membrane, not split"
                if name == "membrane"
                else name.replace("_", " ").replace("vdw", "van der Waals"),
            )  # fmt: skip
            curve = Curve.bare(fields, values)
            if ends is not None:
                curve = Curve(curve.x, curve.value, *np.asarray(ends, float))
                ax.errorbar(
                    beside, values, yerr=_from(values, ends), fmt="none", ecolor="#333333",
                    elinewidth=0.8, capsize=1.5,
                )  # fmt: skip
            stands_for(bars[0], curve)
        zero_line(ax)
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
        fields, ends = (table[version].get(k, {}) for k in ("field_V_per_nm", "intervals"))
        (line,) = axes[-1].plot(fields, values, color=colour, marker=marker, label=version)
        if "distance" in ends:
            stands_for(line, Curve(*np.asarray([fields, values, *ends["distance"]], float)))
            axes[-1].errorbar(
                fields, values, yerr=_from(values, ends["distance"]),
                fmt="none", ecolor=colour, elinewidth=0.8, capsize=2,
            )  # fmt: skip
    axes[-1].set(
        xlabel="E (V/nm)",
        ylabel="implied |r2 − r1| (nm)",
        # the upper third is the legend's
        ylim=(0, max(0.36, 1.6 * axes[-1].dataLim.ymax)),
        title="distance",
    )
    axes[-1].legend(loc="upper right", fontsize=7, handlelength=1.2, borderaxespad=0)
    add_note(figure, note)
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
    """Potential of mean force, kJ/mol, and from where to where its barrier is, nm."""

    energy: Curve
    r_min_nm: float
    r_max_nm: float


@styled
def mean_forces(panels: Mapping[float, ForcePanel], *, note: str = "") -> Figure:
    """Mean force on the ion against its position by what exerts it, a panel for each field."""
    columns = min(MOST_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = blank(DOUBLE_IN, 1.0 + 2.0 * lines)
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for ax, (field, panel) in zip(axes.flat, sorted(panels.items()), strict=False):
        for name, curve in panel.parts.items():
            colour, line = PART_LOOK[name]
            label = name.replace("_", " ").replace("vdw", "van der Waals")
            draw_line(ax, curve, color=colour, linestyle=line, marker="o", label=label)
        draw_line(ax, panel.total, color=BLACK, marker="s", label="total, with the field")
        zero_line(ax)
        ax.set(title=f"E = {field:g} V/nm")
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax in lowest_panels(axes):
        ax.set_xlabel("x of Cl⁻ (nm)")
    for ax in axes[:, 0]:
        ax.set_ylabel("mean force (kJ/mol/nm)")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=7)
    add_note(figure, note)
    return figure


@styled
def potentials(climbs: Mapping[float, Climb], *, note: str = "") -> Figure:
    """Potentials of mean force of all fields; rings mark the barriers' ends."""
    figure = blank(DOUBLE_IN, 3.0)
    ax = figure.subplots()
    for colour, (field, climb) in zip(shades(len(climbs)), sorted(climbs.items()), strict=True):
        draw_line(ax, climb.energy, color=colour, label=f"{field:g} V/nm")
        ends = [climb.r_min_nm, climb.r_max_nm]
        heights = np.interp(ends, climb.energy.x, climb.energy.value)
        ax.plot(
            ends, heights, "o", color=colour, markerfacecolor="white", zorder=5,
            label=f"_{field:g} V/nm, ends of the barrier",
        )  # fmt: skip
    zero_line(ax)
    ax.set(xlabel="x of Cl⁻ from the metal plane (nm)", ylabel="potential of mean force (kJ/mol)")
    figure.legend(loc="outside right upper", title="E", fontsize=7)
    add_note(figure, note)
    return figure


@styled
def ion_potentials(
    energies: Mapping[str, Mapping[str, Curve]],
    planes: Sequence[tuple[str, float]],
    *,
    every: int = 1,
    note: str = "",
) -> Figure:
    """Potentials of mean force of both ions along the pore.

    Parameters
    ----------
    energies
        Title of a panel to ion to curve (x in nm from the metal plane, kJ/mol).
    planes
        Element and position (nm) of each of the membrane's planes of atoms.
    every
        Mark one in so many points: those that were measured.
    note
        What the figure rests on.
    """
    figure = blank(DOUBLE_IN, 3.0)
    axes = figure.subplots(1, len(energies), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (title, ions) in zip(axes, energies.items(), strict=True):
        for ion, curve in ions.items():
            draw_line(
                ax, curve, color=SPECIES_COLOUR[ion], marker="s" if ion == "K" else "o",
                markevery=every, label=SPECIES_NAME[ion],
            )  # fmt: skip
        zero_line(ax)
        for element, x_nm in planes:
            ax.axvline(x_nm, color=GREY, linestyle=":", linewidth=0.8, zorder=0)
            ax.annotate(
                element, (x_nm, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
                textcoords="offset points", ha="center", fontsize=7, color=GREY,
            )  # fmt: skip
        # side by side the names of many axes would run into each other
        ax.set_xlabel(f"x from the{' ' if len(energies) < 4 else chr(10)}metal plane (nm)")
        if len(energies) > 1:
            ax.set_title(textwrap.fill(title, 72 // len(energies)), loc="left", pad=14)
    axes[0].set_ylabel("potential of mean force (kJ/mol)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    add_note(figure, note)
    return figure
