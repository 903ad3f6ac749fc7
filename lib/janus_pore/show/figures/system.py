"""The system before any field: energies on the pore's axis, densities, equilibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from .drawing import (
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
    FloatArray,
    add_note,
    blank,
    legend_above,
    styled,
    zero_line,
)


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
    figure = blank(4.8, 2.6)
    ax = figure.add_subplot()
    zero_line(ax)
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
    add_note(figure, note)
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
    figure = blank(DOUBLE_IN, 4.4)
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
            zero_line(ax)
            ax.axvline(0, color="#BBBBBB", lw=0.6, zorder=0)
        upper.set_title(pore)
        lower.set_xlabel("←  −x face    x − x(Mo) (nm)    +x face  →")
    for ax in axes[:, 0]:  # the limits are a row's
        ax.set_ylim(top=min(ax.get_ylim()[1], highest_kJ_per_mol))
    axes[0, 0].set_ylabel("energy (kJ/mol)")
    axes[1, 0].set_ylabel("van der Waals alone (kJ/mol)")
    legend_above(figure, axes[0, 0])
    add_note(figure, note)
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
    figure = blank(DOUBLE_IN, 2.3)
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
    add_note(figure, note)
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
    figure = blank(DOUBLE_IN, 2.3)
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
    add_note(figure, note)
    return figure
