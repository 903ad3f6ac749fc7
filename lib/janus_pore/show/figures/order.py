"""Order of the pore water in field and time: Figs. 2B to 3B, and the fields behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ...measure.water import UNIFORM_SIGMA_DEG, WIDEST_GAUSSIAN_DEG, Orientation
from .drawing import (
    BLUE,
    DIRECTION_LOOK,
    DIRECTION_NAME,
    DIRECTIONS,
    DOUBLE_IN,
    E_LABEL,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    PURPLE,
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
    moved_aside,
    nothing,
    shades,
    styled,
    voltage_axis,
    zero_line,
)

STEP_NAME = {"forward": "ordering, field up", "reverse": "relaxation, field down"}
CHOICE_LOOK = list(zip((BLUE, VERMILLION, GREEN, PURPLE, ORANGE), "osD^v", strict=True))
"""Colour and marker of one of several systems."""


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
    figure = blank(DOUBLE_IN, 0.7 + 1.9 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True)).ravel()
    grid = np.linspace(-180, 180, 361)
    for ax, (title, sweeps) in zip(axes, panels.items(), strict=False):
        for k, (direction, one) in enumerate(sweeps.items()):
            look = dict(DIRECTION_LOOK[direction])
            style = look.pop("linestyle")
            measured = Curve.of(one.angle_deg, one.density_per_deg)
            draw_line(ax, measured, ls="", **look | {"ms": 2.4}, label=direction)
            width = f"σθ = {one.sigma_deg.value:.0f}°"
            if one.sigma_deg.value <= WIDEST_GAUSSIAN_DEG:
                ax.plot(
                    grid, one.gaussian(grid), color=look["color"], ls=style, lw=1.1,
                    label=f"_{direction}, Gaussian",
                )  # fmt: skip
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
    legend_above(figure, axes[0])
    add_note(figure, note)
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
    figure = blank(SINGLE_IN, 2.8)
    ax = figure.add_subplot()
    for direction in DIRECTIONS:
        if direction in curves:
            look = DIRECTION_LOOK[direction]
            draw_line(ax, curves[direction], label=DIRECTION_NAME[direction], **look)
    ax.set(ylabel="σθ (°)", xlabel=E_LABEL)
    voltage_axis(ax, length_x_nm)
    ax.legend()
    add_note(figure, note)
    return figure


@styled
def spread_by_choice(
    curves: Mapping[str, Mapping[str, Curve]], *, length_x_nm: float, note: str = ""
) -> Figure:
    """Spread of the dipole angle in which steps of the field end, for several systems.

    Parameters
    ----------
    curves
        System to direction of the step to curve (x: field in V/nm, value: σθ in degrees).
    length_x_nm
        Box length that belongs to the fields.
    note
        What the figure rests on.
    """
    figure = blank(DOUBLE_IN, 3.6)
    ax = figure.add_subplot()
    lines = [(name, way, c) for name, by_way in curves.items() for way, c in by_way.items()]
    for k, (name, direction, curve) in enumerate(lines):
        colour, marker = CHOICE_LOOK[list(curves).index(name) % len(CHOICE_LOOK)]
        rising = direction == "forward"
        look = {
            "color": colour, "marker": marker, "ls": "-" if rising else "--",
            "markerfacecolor": colour if rising else "white",
            "transform": moved_aside(figure, ax, k - (len(lines) - 1) / 2, 0.012),
        }  # fmt: skip
        label = f"{name}; {STEP_NAME[direction]}"
        for side in (curve.x < 0, curve.x >= 0):  # nothing was seen from one sign to the other
            if side.any():
                draw_errorbars(ax, Curve(*(v[side] for v in curve)), label=label, **look)
                label = f"_{label}"
    if lines:
        fields = np.concatenate([curve.x for _, _, curve in lines])
        widths = np.concatenate([v for _, _, c in lines for v in (c.value, c.low, c.high)])
        room = 0.08 * max(float(np.ptp(fields)), 0.5)
        top = 1.05 * float(widths[np.isfinite(widths)].max())
        ax.set(xlim=(fields.min() - room, fields.max() + room), ylim=(0, top))
        if any(np.isnan([c.low, c.high]).any() for _, _, c in lines):
            note = "; ".join(filter(None, (note, "without bars, and open either way: no bounds")))
    ax.set(ylabel=SIGMA_ALL, xlabel=E_LABEL)
    voltage_axis(ax, length_x_nm)
    figure.legend(loc="outside upper center", ncols=2)
    add_note(figure, note)
    return figure


@styled
def expected_spread(
    panels: Mapping[str, tuple[Mapping[str, Curve], Mapping[str, Curve]]],
    *,
    length_x_nm: float,
    note: str = "",
) -> Figure:
    """Spread of the dipole angle over a sine as steps let expect it, beside what was measured.

    Parameters
    ----------
    panels
        Title to the expected and the measured curves by sweep direction (x: field in V/nm,
        value: σθ in degrees); only positive fields are drawn.
    length_x_nm
        Box length that belongs to the fields.
    note
        What the figure rests on.
    """
    figure = blank(DOUBLE_IN, 3.2)
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (title, (expected, measured)) in zip(axes, panels.items(), strict=True):
        for direction in DIRECTIONS:
            look = DIRECTION_LOOK[direction]
            name = DIRECTION_NAME[direction]
            line = {key: look[key] for key in ("color", "linestyle")}
            draw_line(ax, expected[direction], label=f"{name}: expected", **line)
            if direction in measured:
                curve = measured[direction]
                curve = Curve(*(v[curve.x > 0] for v in curve))
                draw_errorbars(ax, curve, label=f"{name}: measured", **look | {"linestyle": ""})
        ax.set_title(title, loc="left")
        ax.set(xlabel=E_LABEL, ylim=(0, 1.05 * UNIFORM_SIGMA_DEG))
        voltage_axis(ax, length_x_nm)
    axes[0].set_ylabel(SIGMA_ALL)
    handles = dict(
        pair for ax in axes for pair in zip(*reversed(ax.get_legend_handles_labels()), strict=True)
    )
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=2)
    add_note(figure, note)
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
    figure = blank(DOUBLE_IN, 3.5)
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    markers = "osD^vP*X"
    fields = sorted(set().union(*panels.values()))  # a field looks alike in both panels
    colours = shades(len(fields))
    letters = {"forward": "A", "reverse": "B"}
    for ax, (direction, steps) in zip(axes, panels.items(), strict=True):
        for field, one in sorted(steps.items()):
            k = fields.index(field)
            colour = colours[k]
            every = max(1, len(one.measured.x) // 25)
            draw_line(
                ax,
                one.measured,
                color=colour,
                ls="",
                marker=markers[k % len(markers)],
                ms=2.6,
                markevery=every,
                label=f"{field:g} V/nm: {one.label}",
            )
            ax.plot(one.measured.x, one.fitted, color=colour, lw=1.2, label=f"_{field:g} V/nm, fit")
        title = f"{letters[direction]}  {STEP_NAME[direction]}"
        ax.set(xlabel="time since the step (ps)", title=title)
        ax.legend(
            fontsize=6,
            ncols=2,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.18),
            columnspacing=0.6,
            handletextpad=0.1,
        )
    axes[0].set_ylabel(SIGMA_ALL)
    add_note(figure, note)
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
    figure = blank(SINGLE_IN, 3.1)
    ax = figure.add_subplot()
    drawn: list[Curve] = []
    for place, direction in zip((-1, 1), DIRECTIONS, strict=True):
        name, look = STEP_NAME[direction], DIRECTION_LOOK[direction]
        for found, here, how in (
            (behind or {}, 1.5 * place, {"label": f"{name}, shipped", "alpha": PALE, "ls": ""}),
            (curves, 0.5 * place, {"label": name, "ls": look["linestyle"]}),
        ):
            if direction in found and found[direction].x.size:
                aside = moved_aside(figure, ax, here)
                plain = {key: value for key, value in look.items() if key != "linestyle"}
                draw_errorbars(ax, found[direction], transform=aside, **plain, **how)
                drawn.append(found[direction])
    if drawn:
        legend_above(figure, ax)
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
    voltage_axis(ax, length_x_nm)
    add_note(figure, note)
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
    """Field that the ordered water makes: at the pore's centre against E, and along x.

    Parameters
    ----------
    at_centre
        Sweep direction to curve (x: E, value: the water's field, V/nm).
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
    figure = blank(DOUBLE_IN, 2.9)
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    for direction in DIRECTIONS:
        if direction in at_centre:
            look = DIRECTION_LOOK[direction]
            draw_line(left, at_centre[direction], label=DIRECTION_NAME[direction], **look)
        if direction in along:
            look = {k: v for k, v in DIRECTION_LOOK[direction].items() if "marker" not in k}
            draw_line(right, along[direction], label=f"_{DIRECTION_NAME[direction]}", **look)
    for ax in (left, right):
        zero_line(ax)
    left.axvline(0, color="#BBBBBB", lw=0.6, zorder=0)
    left.set(xlabel=E_LABEL, ylabel="field of the water, centre (V/nm)")
    voltage_axis(left, length_x_nm)
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
    legend_above(figure, left)
    add_note(figure, note)
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
    figure = blank(DOUBLE_IN, 4.6)
    axes = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for (upper, lower), (title, potentials) in zip(axes.T, columns.items(), strict=True):
        for (name, potential), (colour, style) in zip(potentials.items(), SET_LOOK, strict=False):
            V = np.asarray(potential, float)
            upper.plot(x, V, color=colour, linestyle=style, label=name)
            lower.plot(x, -np.gradient(V, x), color=colour, linestyle=style, label=f"_{name}")
        for ax in (upper, lower):
            zero_line(ax)
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
    add_note(figure, note)
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
        return nothing("no relaxation with an identifiable time", note)
    figure = blank(DOUBLE_IN, 3.0)
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    markers = "osD^vP*X"
    fields = sorted({field for steps in panels.values() for field in steps})
    colours = shades(len(fields))
    for ax, (direction, steps) in zip(axes, panels.items(), strict=True):
        for k, field in enumerate(fields):
            one = steps.get(field, Curve.bare([], []))
            draw_line(
                ax,
                one,
                band=False,
                color=colours[k],
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
    add_note(figure, note)
    return figure
