"""The paper's claims against what this run found.

A claim is a region in which a number must lie (a sign is a half-line). A number comes
with its interval and with how many independent samples stand behind it, and the verdict
follows from them alone:

- ``reproduced``: the whole interval lies in the region;
- ``not reproduced``: the whole interval lies outside;
- ``not enough statistics``: it reaches over the edge, there are fewer than
  :data:`LEAST_INDEPENDENT` samples, or the profile is too small to show physics at all;
- ``not evaluated in this run``: nothing was measured.

A claim about a current is put to the same test on the control, the membrane without a
pore: what the control shows too is charging, what only the pore shows is the pore.
"""

from __future__ import annotations

import contextlib
import html
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import yaml
from numpy.typing import NDArray

from .. import paths
from ..build.system import system_dir
from ..drive import ensemble, windows
from ..errors import JanusPoreError, MissingInputError
from ..measure.barrier import KJ_PER_MOL_PER_E_V
from ..measure.statistics import FEWEST_UNITS, Estimate
from ..spec import Profile, SystemSpec, load_profile
from ..sweep_spec import as_text

Verdict = Literal[
    "reproduced", "not reproduced", "not enough statistics", "not evaluated in this run"
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
SYMBOL = {
    "reproduced": "●",
    "not reproduced": "✕",
    "not enough statistics": "◌",
    "not evaluated in this run": "–",
}

Control = Literal[
    "",
    "only the pore",
    "the control shows it too",
    "only the control",
    "neither shows it",
    "not enough statistics",
    "not run",
]
"""What the control says to a claim; empty where the claim is not about a current."""

SHOWN_TOO: Control = "the control shows it too"
SHARED = "reproduced, but without a pore too"
MIXED = "judged otherwise by one measure than by another"
"""How :func:`count` calls claims whose rows give no one verdict of the pore's."""

LEAST_INDEPENDENT = 5
"""Fewest independent samples for a verdict. Intervals are stated from three on
(:data:`janus_pore.measure.statistics.FEWEST_UNITS`); a public verdict asks for more."""


@dataclass(frozen=True)
class Claim:
    """One statement of the paper; ``values`` are its numbers, units in the names."""

    id: int
    figure: str
    notebook: str
    statement: str
    published: str
    values: Mapping[str, Any]
    control: bool = False


class Part(NamedTuple):
    """One thing that a claim says: what was measured, and whether it bears the claim out."""

    name: str
    estimate: Estimate
    verdict: Verdict
    unit: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a scorecard.

    ``run`` names the protocol and the replicas that it came from and ``system`` the
    directory under ``runs/`` where they lie; the same for the control.
    """

    id: int
    figure: str
    statement: str
    published: str
    found: str = ""
    verdict: Verdict = "not evaluated in this run"
    estimator: str = ""
    run: str = ""
    system: str = ""
    control: Control = ""
    control_found: str = ""
    control_run: str = ""
    control_system: str = ""


def describe(estimate: Estimate, unit: str = "") -> str:
    """A number with its interval and its independent samples, in as many digits as count.

    Where too few units stand behind it no interval is given.
    """
    n = f"(n = {estimate.n_independent:.3g})"
    if not math.isfinite(estimate.value):
        return f"not determined {n}"
    width = estimate.high - estimate.low
    stated = estimate.enough and width > 0
    if not stated:
        width = abs(estimate.value) or 1.0
    digits = max(0, min(6, 1 - math.floor(math.log10(width))))
    text = _rounded(estimate.value, digits)
    if stated:
        text += f" [{_rounded(estimate.low, digits)}, {_rounded(estimate.high, digits)}]"
    elif estimate.n_independent >= FEWEST_UNITS and not estimate.enough:
        text += " [no bounds]"
    text += f" {unit}" if unit else ""
    return f"{text} {n}".replace("-", "−")


def _rounded(number: float, digits: int) -> str:
    return f"{round(number, digits) + 0.0:.{digits}f}"  # no minus sign before a zero


def reference(name: str) -> Any:
    """A file of ``data/reference``, read."""
    path = paths.data_dir() / "reference" / name
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@cache
def _every_claim() -> tuple[Claim, ...]:
    return tuple(
        Claim(
            id=entry["id"],
            figure=str(entry["figure"]),
            notebook=entry["notebook"],
            statement=entry["statement"],
            published=entry["published"],
            values=entry.get("values", {}),
            control=entry.get("control", False),
        )
        for entry in reference("claims.yaml")["claims"]
    )


def claims(notebook: str | None = None) -> list[Claim]:
    """The paper's claims, all or those of one notebook, in the order of their numbers."""
    return [c for c in _every_claim() if notebook in (None, c.notebook)]


def claim(number: int) -> Claim:
    """One claim by its number."""
    return next(c for c in claims() if c.id == number)


def implied_distance_nm(version: str) -> NDArray[np.float64]:
    """|r2 − r1| that a version of Table 1 implies, nm, one value per field.

    Parameters
    ----------
    version
        ``published`` or ``manuscript``.

    Notes
    -----
    The total barrier also holds the applied field's share, so with the charge q of Cl⁻

    .. math:: |r_2 - r_1| = |\\omega_\\text{total} - \\sum_\\text{parts} \\omega| / (|q| E).
    """
    table = reference("table1.yaml")[version]
    parts = np.sum([np.asarray(p) for p in table["parts_kJ_per_mol"].values()], axis=0)
    share = np.asarray(table["total_kJ_per_mol"]) - parts
    field = np.asarray(table["field_V_per_nm"])
    distance: NDArray[np.float64] = np.abs(share) / (KJ_PER_MOL_PER_E_V * field)
    return distance


def judge(
    name: str,
    estimate: Estimate,
    region: tuple[float, float],
    profile: Profile,
    *,
    unit: str = "",
) -> Part:
    """Judge a number that a claim puts into a region.

    Parameters
    ----------
    name
        What the number is, in words.
    estimate
        Value, interval and independent samples.
    region
        Lower and upper edge; ``math.inf`` where it is open. Zero belongs to no region that says
        that a number is positive, or negative.
    profile
        The run's profile; one without ``evidence`` never gets beyond "not enough statistics".
    unit
        Of the number.
    """
    low, high = region
    holds: bool | None = None
    if not estimate.enough:
        pass
    elif region == (0.0, math.inf):
        holds = True if estimate.low > 0 else False if estimate.high <= 0 else None
    elif region == (-math.inf, 0.0):
        holds = True if estimate.high < 0 else False if estimate.low >= 0 else None
    elif low <= estimate.low and estimate.high <= high:
        holds = True
    elif estimate.high < low or estimate.low > high:
        holds = False
    return decided(name, estimate, holds, profile, unit=unit)


def decided(
    name: str, estimate: Estimate, holds: bool | None, profile: Profile, *, unit: str = ""
) -> Part:
    """A part whose own test has said yes, no or (None) undecided, if the samples suffice."""
    verdict: Verdict = "not enough statistics"
    enough = estimate.n_independent >= LEAST_INDEPENDENT and profile.evidence
    if holds is not None and enough:
        verdict = "reproduced" if holds else "not reproduced"
    return Part(name, estimate, verdict, unit)


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """Verdict on a claim of several parts, all of which must hold."""
    found = list(verdicts)
    if not found:
        return "not evaluated in this run"
    for verdict in ("not reproduced", "not enough statistics", "not evaluated in this run"):
        if verdict in found:
            return verdict
    return "reproduced"


def undecided(parts: Sequence[Part]) -> list[Part]:
    """The same numbers, of which none decides."""
    return [part._replace(verdict="not enough statistics") for part in parts]


def of_replicas(parts: Sequence[Part], replicas: int) -> list[Part]:
    """Parts whose intervals may rest on cycles: few replicas decide nothing, however long.

    ``replicas`` of 0 says that all of it rests on replicas.
    """
    return undecided(parts) if 0 < replicas < LEAST_INDEPENDENT else list(parts)


def of_nothing(parts: Sequence[Part], profile: Profile) -> list[Part]:
    """Parts of a control through which nothing passed: it does not do what a claim says. A zero
    that was measured stays one; what follows from no current is not determined."""
    why = "nothing passes a membrane without a pore"
    out = []
    for part in parts:
        n = part.estimate.n_independent
        value = 0.0 if part.estimate.value == 0 else math.nan
        none = Estimate(value, value, value, n, why)
        out.append(decided(part.name, none, False, profile, unit=part.unit))
    return out


def compared(pore: Verdict, control: Verdict) -> Control:
    """What the control says, from the verdicts of one test on the pore and on it."""
    words: dict[tuple[Verdict, Verdict], Control] = {
        ("reproduced", "not reproduced"): "only the pore",
        ("reproduced", "reproduced"): SHOWN_TOO,
        ("not reproduced", "reproduced"): "only the control",
        ("not reproduced", "not reproduced"): "neither shows it",
    }
    return words.get((pore, control), "not enough statistics")


def row(
    number: int,
    parts: Sequence[Part],
    *,
    estimator: str = "",
    run: str = "",
    control: Sequence[Part] = (),
    control_run: str = "",
) -> Row:
    """One claim's row; all its parts must hold.

    Parameters
    ----------
    number
        The claim's number.
    parts
        From :func:`judge` or :func:`decided`.
    estimator
        Estimator of the current, where the claim is about a current.
    run
        The protocol and the replicas that it came from.
    control, control_run
        The same from the membrane without a pore; empty where it was not run.
    """
    one = claim(number)
    verdict = together(p.verdict for p in parts)
    said: Control = "not run" if one.control else ""
    if control:
        said = compared(verdict, together(p.verdict for p in control))
    return Row(
        id=one.id,
        figure=one.figure,
        statement=one.statement,
        published=one.published,
        found=_in_words(parts),
        verdict=verdict,
        estimator=estimator,
        run=run if parts else "",
        control=said,
        control_found=_in_words(control),
        control_run=control_run if control else "",
    )


def _in_words(parts: Iterable[Part]) -> str:
    return "; ".join(f"{p.name}: {describe(p.estimate, p.unit)}" for p in parts)


def of_system(row: Row, profile: Profile, control: Profile | None = None) -> Row:
    """A row with the directories of the systems that it came from, where none is said yet.

    Parameters
    ----------
    row
        From :func:`row`.
    profile, control
        Those of the two systems; by default the control is the profile's own.
    """
    alone = control or profile.without_pore()
    return replace(
        row,
        system=row.system or (system_name(profile.system) if row.run else ""),
        control_system=row.control_system or (system_name(alone.system) if row.control_run else ""),
    )


def system_name(system: SystemSpec) -> str:
    """Directory of a system's runs under ``runs/``: charge set, pore and key."""
    return system_dir(system).parent.name


def complete(rows: Sequence[Row], notebook: str | None = None) -> list[Row]:
    """The rows in the claims' order, with one "not evaluated" row for each claim left out."""
    done = {r.id for r in rows}
    missing = [
        Row(c.id, c.figure, c.statement, c.published) for c in claims(notebook) if c.id not in done
    ]
    return sorted([*rows, *missing], key=lambda r: r.id)


def differences(profile: Profile, protocol: str, replicas: int | None = None) -> str:
    """How a protocol's conditions differ from the published ones, in words ("" if not).

    ``replicas`` is how many there are, by default as many as the profile asks for.
    """
    paper = load_profile("paper")
    found = []
    if profile.system.length_x_nm != paper.system.length_x_nm:
        found.append(f"box {profile.system.length_x_nm:g} nm long")
    area = (profile.system.cells_y, profile.system.cells_z)
    if area != (paper.system.cells_y, paper.system.cells_z):
        found.append(f"membrane {area[0]} × {area[1]} cells")
    found += [
        f"{name} = {as_text(ours)} (profile paper: {as_text(theirs)})"
        for mine, stated, names in (
            (profile.system, paper.system, set(SystemSpec.model_fields) - ELSEWHERE),
            (profile.run, paper.run, CONDITIONS),
        )
        for name in type(mine).model_fields
        if name in names and (ours := getattr(mine, name)) != (theirs := getattr(stated, name))
    ]
    published = paper.sweep if protocol == profile.sweep else protocol
    if protocol in profile.protocols and published in paper.protocols:
        mine, theirs = profile.protocols[protocol], paper.protocols[published]
        there = mine.replicas if replicas is None else replicas
        if there != theirs.replicas:
            found.append(f"replicas = {there} (published {theirs.replicas})")
        ours, stated = mine.waveform.model_dump(), theirs.waveform.model_dump()
        scanned = set(mine.scan)
        found += [
            f"{name} = {as_text(ours[name])} ({_source(name)} {as_text(stated[name])})"
            for name in ours
            if name in stated and name not in scanned and ours[name] != stated[name]
        ]
    return ", ".join(found)


WHOLE = "scorecard.json"
"""All claims of a profile in one file."""
ELSEWHERE = frozenset({"length_x_nm", "cells_y", "cells_z", "seed"})
"""Parameters of a system that are told in words, or tell nothing."""
CONDITIONS = frozenset(
    {"dt_fs", "temperature_K", "tau_t_ps", "variant", "equilibration_ps", "pore_half_length_nm",
     "pore_radius_nm"}
)  # fmt: skip
"""Parameters of a run that a result depends on beside its protocol."""
OPEN = frozenset({"width_ps"})
"""Parameters of a waveform that the paper does not state."""


def _source(name: str) -> str:
    return "not published; profile paper:" if name in OPEN else "published"


def write(rows: Sequence[Row], profile: Profile, notebook: str) -> Path:
    """Keep a notebook's rows as ``results/<profile>/scorecard_<notebook>.json``."""
    content = {"profile": profile.name, "variant": profile.variant, "notebook": notebook}
    path = profile.results_dir / f"scorecard_{notebook}.json"
    return write_json(path, content | {"rows": [asdict(r) for r in rows]})


def collect(profile: Profile) -> list[Row]:
    """All 21 claims with what the profile's notebooks have judged so far.

    Raises
    ------
    MissingInputError
        If no notebook of this profile has been run.
    """
    found = sorted(profile.results_dir.glob("scorecard_*.json"))
    if not found:
        raise MissingInputError(
            f"no scorecard of profile {profile.name!r} is there yet; run "
            f"'python -m janus_pore.show.report --profile {profile.name}'"
        )
    rows = [Row(**r) for path in found for r in json.loads(path.read_text("utf-8"))["rows"]]
    judged = [r for r in rows if r.verdict != "not evaluated in this run"]
    return complete(judged)


def write_whole(profile: Profile, findings: Mapping[str, str], commit: str) -> Path:
    """Keep all claims and the notebooks' findings as ``results/<profile>/scorecard.json``."""
    rows = collect(profile)
    content = {
        "profile": profile.name,
        "variant": profile.variant,
        "system": system_name(profile.system),
        "commit": commit,
        "article": reference("claims.yaml")["source"],
        "findings": dict(findings),
        "verdicts": count(rows),
        "rows": [asdict(r) for r in rows],
        "runs": runs_on_disk(profile),
    }
    return write_json(profile.results_dir / WHOLE, content)


def runs_on_disk(profile: Profile) -> dict[str, dict[str, list[str]]]:
    """System to protocol to the last segment of every run, from which all before it follow."""
    out: dict[str, dict[str, list[str]]] = {}
    for one in (profile, *profile.siblings()):
        for protocol in one.protocols:
            with contextlib.suppress(JanusPoreError):  # not run: nothing to name
                records = ensemble.open_runs(one, protocol)
                leaves = [f"{r.path[-1].parent.name}/{r.path[-1].name}" for r in records]
                out.setdefault(system_name(one.system), {})[protocol] = leaves
    with contextlib.suppress(JanusPoreError):
        held = [f"windows/{window.path.name}" for window in windows.open_windows(profile)]
        out.setdefault(system_name(profile.system), {})["windows"] = held
    return out


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write results for people and programs to read; the directory is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return paths.write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def count(rows: Sequence[Row]) -> dict[str, int]:
    """Claims by verdict, each once, by the measures that decide.

    One reproduced by one measure and not by another stands under :data:`MIXED`, one reproduced
    only by measures by which the control shows it too under :data:`SHARED`.
    """
    out = dict.fromkeys((VERDICTS[0], SHARED, *VERDICTS[1:3], MIXED, *VERDICTS[3:]), 0)
    for _, group in itertools.groupby(sorted(rows, key=lambda r: r.id), key=lambda r: r.id):
        of_claim = list(group)
        holds = [r.control == SHOWN_TOO for r in of_claim if r.verdict == "reproduced"]
        fails = any(r.verdict == "not reproduced" for r in of_claim)
        if holds and fails:
            out[MIXED] += 1
        elif holds:
            out[SHARED if all(holds) else "reproduced"] += 1
        elif fails:
            out["not reproduced"] += 1
        else:
            out[min((r.verdict for r in of_claim), key=VERDICTS.index)] += 1
    return out


def as_html(rows: Sequence[Row]) -> str:
    """The table of a scorecard as HTML that needs no style sheet to be read."""
    titles = (
        "claim", "figure", "statement", "published", "this run", "verdict", "without a pore", "from"
    )  # fmt: skip
    head = "".join(f'<th scope="col">{t}</th>' for t in titles)
    body = []
    for _, group in itertools.groupby(rows, key=lambda r: r.id):
        together = list(group)
        span = f' rowspan="{len(together)}"' if len(together) > 1 else ""
        for k, r in enumerate(together):
            kind = r.verdict.split(" in ")[0].replace(" ", "-")
            found = _in_lines(r.found)
            if r.estimator:
                found = f"<em>{html.escape(r.estimator)}</em>: {found}"
            cells = []
            if k == 0:
                cells.append(f'<th scope="row"{span}>{r.id}</th>')
                texts = (r.figure, r.statement, r.published)
                cells += [f"<td{span}>{html.escape(text)}</td>" for text in texts]
            cells += [
                f'<td class="found">{found}</td>',
                f'<td class="verdict {kind}">{SYMBOL[r.verdict]} {r.verdict}</td>',
                f"<td>{_control_cell(r)}</td>",
                f"<td>{html.escape(r.run)}{f' <small>{r.system}</small>' if r.system else ''}</td>",
            ]
            body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<table class="scorecard"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def _control_cell(r: Row) -> str:
    """What the control says, its numbers folded away."""
    if not r.control_found:
        return r.control
    return (
        f"<details><summary>{r.control}</summary>{_in_lines(r.control_found)} "
        f"<small>{html.escape(r.control_run)}, {r.control_system}</small></details>"
    )


def _in_lines(found: str) -> str:
    """The parts of what was found, a line each."""
    return ";<br>".join(html.escape(part) for part in found.split("; "))
