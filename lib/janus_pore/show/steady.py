"""Currents at constant fields: what the pore does at rest, beside what a sine makes of it.

Fields are those of the reference box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import MeasureError
from ..measure import current
from ..measure.statistics import Estimate, estimate, mean
from ..spec import Constant, Profile, load_profile
from . import loops, passages, scorecard
from .figures import ESTIMATOR_NAME, Curve, FloatArray
from .loops import POLARITIES, Driven
from .results import choices, each_once, opened, replicas_of, sines


class Steady(NamedTuple):
    """Currents at constant fields by estimator; ``why`` says why there are none.

    ``curves`` holds estimator to current against field, ``branches`` the same by polarity
    with its draws; ``discard_ps`` was left out at the beginning of each run. ``passages`` of the
    middle plane are by field and species, over ``covered_ns`` of all replicas together, ``late``
    those along the field after what was left out, but those against it taken off. ``points`` are
    those of ``curves``, by estimator and field.
    """

    curves: dict[str, Curve]
    branches: dict[str, dict[current.Polarity, current.Branch]]
    run: str = ""
    discard_ps: float = 0.0
    passages: Mapping[float, Mapping[str, int]] = {}
    late: Mapping[float, Mapping[str, int]] = {}
    covered_ns: float = 0.0
    points: Mapping[str, Mapping[float, Estimate]] = {}
    why: str = ""

    @property
    def basis(self) -> str:
        """What the currents rest on, or why there are none."""
        return self.why or (
            f"{self.run}, the first {self.discard_ps:g} ps left out; bars: 95 % bootstrap, where "
            "nothing passed the most that a count of zero allows (Poisson)"
        )


def currents(profile: Profile, *, discard_ps: float | None = None) -> Steady:
    """Steady-state current against field from the protocol ``steady``, where it was run.

    Parameters
    ----------
    profile
        The system's profile.
    discard_ps
        Left out at the beginning of each run, while the reservoirs charge; by default half.

    Raises
    ------
    MeasureError
        If the protocol is not of constant fields or holds one twice, or ``discard_ps``
        leaves nothing.
    """
    found, why = opened(profile, "steady")
    if not found:
        return Steady({}, {}, why=why)
    waveforms = profile.protocol("steady").waveforms()
    fields, datasets = {}, []
    for label, data in found.items():
        waveform = waveforms[label]
        if not isinstance(waveform, Constant):
            raise MeasureError(
                f"protocol 'steady' of profile {profile.name!r} is a {waveform.kind}; steady "
                "currents are those at constant fields"
            )
        fields[label] = waveform.field_V_per_nm
        datasets.append(data)
    each_once(fields, "steady", "field_V_per_nm")
    E = np.array(list(fields.values()))
    lasted = min(float(data["time"][-1] - data["time"][0]) for data in datasets)
    discard = lasted / 2 if discard_ps is None else discard_ps
    if not 0 <= discard < lasted:
        raise MeasureError(
            f"discard_ps = {discard:g} must be at least 0 and less than the {lasted:g} ps that the "
            "field was held"
        )
    charges = [
        data["charge"].sum("species").transpose("replica", "estimator", "time").values
        for data in datasets
    ]
    curves, branches, by_field = {}, {}, {}
    for k, estimator in enumerate(datasets[0]["estimator"].values.tolist()):
        # Without an event the interval is a bound from counting, which a mean cannot give.
        points = [
            current.steady_current(Q[:, k], data["time"].values, discard_ps=discard)
            for Q, data in zip(charges, datasets, strict=True)
        ]
        stated = [p if p.enough else Estimate(p.value, np.nan, np.nan, 0, "") for p in points]
        order = np.argsort(E)
        by_field[estimator] = {float(E[k]): points[k] for k in order}
        columns = [[p.value, p.low, p.high] for p in stated]
        curves[estimator] = Curve(E[order], *np.array(columns)[order].T)
        each = np.stack(
            [
                _mean_current(Q[:, k], data["time"].values, discard)
                for Q, data in zip(charges, datasets, strict=True)
            ],
            axis=1,
        )
        branches[estimator] = {
            polarity: current.constant_field_branch(
                E[np.sign(E) == polarity], each[:, np.sign(E) == polarity], polarity, seed=1
            )
            for polarity, _, _ in POLARITIES
            if (np.sign(E) == polarity).any()
        }
    return Steady(
        curves, branches, replicas_of(datasets[0], "steady"), discard,
        {float(E[k]): passages.both_ways(datasets[k]) for k in order},
        {float(E[k]): passages.late(datasets[k], discard, float(np.sign(E[k]))) for k in order},
        lasted * datasets[0].sizes["replica"] / 1000,
        by_field,
    )  # fmt: skip


def of_alternatives(profile: Profile, *, discard_ps: float | None = None) -> dict[str, Steady]:
    """:func:`currents` for each alternative that was run at constant fields, as
    :func:`janus_pore.show.results.choices` names them."""
    others = {k: one for k, one in choices(profile).items() if one is not profile}
    each = {name: currents(one, discard_ps=discard_ps) for name, one in others.items()}
    return {name: found for name, found in each.items() if found.curves}


PASSAGES = (
    "system", "E (V/nm)", "ns", "passages of the middle plane", "net, later", "box (nA)",
    "pore's slab (nA)",
)  # fmt: skip
"""Columns of :func:`rows_of_passages`."""


def rows_of_passages(held: Mapping[str, Steady]) -> list[tuple[str, ...]]:
    """Lines of a table of what passes at constant fields: passages of the middle plane from the
    beginning of the runs, either way; and after what the currents leave out, their net number along
    the field and the currents."""
    return [
        (
            name, f"{E:g}".replace("-", "−"), f"{one.covered_ns:.3g}",
            *(passages.in_words(n[E]) for n in (one.passages, one.late)),
            *(scorecard.describe(one.points[e][E]) for e in ("box", "pore")),
        )
        for name, one in held.items()
        for E in one.passages
    ] + [(name, one.why, *["–"] * 5) for name, one in held.items() if one.why]  # fmt: skip


def _mean_current(charge_e: FloatArray, time_ps: FloatArray, discard_ps: float) -> FloatArray:
    start = int(np.searchsorted(time_ps, time_ps[0] + discard_ps - 1e-6))
    moved: FloatArray = (charge_e[:, -1] - charge_e[:, start]) / (time_ps[-1] - time_ps[start])
    return current.NANOAMPERE_PER_E_PER_PS * moved


COLUMNS = (
    "system", "current", "field", "forward − reverse (nA)", "forward − steady (nA)",
    "reverse − steady (nA)", "NDR in steady state",
)  # fmt: skip
"""Columns of :func:`rows`."""


def rows(name: str, one: Driven, constant: Steady) -> list[tuple[str, ...]]:
    """The sweep against constant fields, averaged over those of them that it reaches, outward
    currents.

    Hysteresis is a difference between the two sweeps that noise cannot make; the steady
    state has no history, so that what it does not show is not a property of the pore at rest.
    """
    rows: list[tuple[str, ...]] = []
    for estimator, by_polarity in constant.branches.items():
        for polarity, _, sign in POLARITIES:
            rest = by_polarity.get(polarity)
            if rest is None or not one.loops:
                continue
            at = np.abs(rest.field_V_per_nm)
            inside = at <= _reach(one, estimator, polarity)
            if not inside.any():
                continue
            at = at[inside]
            found = one.loops[estimator]["total"].branches
            drawn = {
                direction: _mean_outward(found[polarity, direction], at)
                for direction in ("forward", "reverse")
                if (polarity, direction) in found
            }
            if len(drawn) < 2:
                continue
            held = rest.outward[:, inside].mean(axis=1)
            n_sweep = one.units
            n = min(n_sweep, rest.current_nA.n_independent)
            onset = current.ndr_onset(rest)
            rows.append(
                (
                    name,
                    ESTIMATOR_NAME[estimator],
                    sign,
                    _resolved(estimate(drawn["forward"] - drawn["reverse"], n_sweep, "")),
                    _resolved(estimate(drawn["forward"] - held, n, "")),
                    _resolved(estimate(drawn["reverse"] - held, n, "")),
                    onset.verdict
                    if onset.verdict != "found"
                    else f"from {scorecard.describe(onset.onset_V_per_nm, 'V/nm')}",
                )
            )
    return rows or [(name, constant.why or one.why, *("–" for _ in COLUMNS[2:]))]


def charging_of_the_paper(
    profile: Profile, driven: Sequence[tuple[str, Driven]], *, discard_ps: float | None = None
) -> list[tuple[str, str]]:
    """What charging alone draws in the paper's sine where its field is zero.

    A capacitor that keeps up draws C dV/dt; the paper's membrane is larger by its number of cells.

    From constant fields, the charge moved over the whole box by the lowest of them, without what
    passed the middle plane, averaged after ``discard_ps`` (default: half), is that of a capacitor,
    and too small as long as it still rises. Where the field was held both ways the two are averaged
    in each replica, from whose starting state both set out: what it does by itself is then left
    out. From other sines, by :func:`janus_pore.show.loops.charging_at`.

    Parameters
    ----------
    profile
        Whose constant fields.
    driven
        Names and runs of other sines; what was not run is left out.
    discard_ps
        See above.

    Returns
    -------
    list of tuple of str
        Quantity and value; empty where nothing of it was run.
    """
    paper = load_profile("paper")
    sine = sines(paper)[0].waveform
    cells, own = (p.system.cells_y * p.system.cells_z for p in (paper, profile))
    volts = sine.amplitude_V_per_nm * paper.reference_length_x_nm
    larger = cells / own
    rows: list[tuple[str, str]] = []
    means = {}
    if taken := _charge_per_volt(profile, discard_ps):
        at, within_ps, per_volt = taken
        rows.append(
            (
                f"charge taken up at {at} V/nm within {within_ps:g} ps",
                scorecard.describe(mean(per_volt), "e/V"),
            )
        )
        drawn = 2 * np.pi * sine.frequency_GHz / 1000 * per_volt * current.NANOAMPERE_PER_E_PER_PS
        means["by this"] = mean(drawn * volts * larger)
    for name, one in driven:
        if one.loops:
            how = f"by the sine of {one.sine.frequency_GHz:g} GHz {name}"
            means[how] = loops.charging_at(one, sine.frequency_GHz, volts * larger)
    return rows + [
        (
            f"{how}, charging in the paper's sine ({sine.frequency_GHz:g} GHz, membrane "
            f"{larger:.3g} times as large) where E = 0",
            f"± {scorecard.describe(value, 'nA')}",
        )
        for how, value in means.items()
    ]


def _charge_per_volt(
    profile: Profile, discard_ps: float | None
) -> tuple[str, float, FloatArray] | None:
    """Of the lowest constant field: it in words, its length in ps, charge in e/V by replica."""
    found = opened(profile, "steady").data
    waveforms = profile.protocol("steady").waveforms() if found else {}
    fields = {k: w.field_V_per_nm for k, w in waveforms.items() if isinstance(w, Constant)}
    lowest = min(filter(None, map(abs, fields.values())), default=None)
    if lowest is None:
        return None
    both = {label: E for label, E in fields.items() if abs(E) == lowest}
    per_field = []
    for label, E in both.items():
        moved = found[label]["charge"].sum("species")
        kept = moved.sel(estimator="box") - moved.sel(estimator="crossings")
        kept = kept - kept.isel(time=0)
        time = kept["time"] - kept["time"][0]
        late = time >= (float(time[-1]) / 2 if discard_ps is None else discard_ps)
        volts = E * profile.reference_length_x_nm
        per_field.append(kept[{"time": late}].mean("time").values / volts)
    at = f"±{lowest:g}" if len(both) > 1 else f"{next(iter(both.values())):g}"
    return at, float(time[-1]), np.mean(per_field, axis=0)


def _reach(one: Driven, estimator: str, polarity: current.Polarity) -> float:
    """The largest |E| of a sweep, V/nm: the outer edge of its last bin."""
    found = one.loops[estimator]["total"].branches
    ends = [0.0]
    for (side, _), branch in found.items():
        E = np.sort(np.abs(branch.field_V_per_nm))
        if side == polarity and len(E) > 1:
            ends.append(float(E[-1] + (E[-1] - E[-2]) / 2))
    return max(ends)


def _mean_outward(branch: current.Branch, at: FloatArray) -> FloatArray:
    """Draws of the outward current of a sweep, averaged over some of its fields."""
    E = np.abs(branch.field_V_per_nm)
    drawn: FloatArray = np.array([np.interp(at, E, d) for d in branch.outward]).mean(axis=1)
    return drawn


def _resolved(difference: Estimate) -> str:
    words = {True: "resolved", False: "within the noise"}
    text = scorecard.describe(difference)
    return f"{text}, {words[difference.excludes(0.0)]}" if difference.enough else text
