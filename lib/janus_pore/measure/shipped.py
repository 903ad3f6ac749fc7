"""Results that ship with the collection: whole protocols, reduced, and where they came from.

``data/campaigns/<profile>/<charge set>-<pore>/<protocol>.nc`` holds the series of every
replica, ``windows.nc`` the forces of all windows; the ``.json`` beside it the complete profile,
the seeds, the software, the hardware and the cost. That file alone is enough to make the item
again:

``python -m janus_pore.measure.shipped ship PROFILE [PROTOCOL ...]`` puts finished runs there,
with ``windows`` for a protocol the windows, and with ``--variant`` those of a further system;
``--add`` keeps the replicas that ship and adds further ones, which alone need be on this machine;
``python -m janus_pore.measure.shipped repeat FILE.json`` makes an item anew with other random
numbers and compares the two.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from .. import paths
from ..build.system import build_system, open_system
from ..drive import ensemble, windows
from ..drive.gromacs import said
from ..drive.manifests import sha256
from ..errors import JanusPoreError, MeasureError, SpecError
from ..spec import OWN, Profile, Sine, Step, Windows, load_profile, replica_seed, validated
from . import series

SUMS = "SHA256SUMS"
CARD = "README.md"

log = logging.getLogger("janus_pore")


def ship(profile: Profile, protocol: str, *, add: bool = False) -> Path:
    """Put a protocol's finished runs, or the windows, among the shipped results.

    Parameters
    ----------
    profile, protocol
        Of the runs; ``windows`` for a protocol names the windows.
    add
        Keep the replicas that ship and add the further ones that the profile asks for. Only those
        need be here: another machine may have made the others. By default what ships is replaced.

    Returns
    -------
    Path
        The netCDF file; its manifest, the data card and the checksums are written too.

    Raises
    ------
    MissingInputError
        If its runs are not finished, or nothing ships that they could be added to.
    SpecError
        If there is nothing to add.
    """
    path = series.shipped_folder(profile) / f"{protocol}.nc"
    before, only = _shipped_before(profile, protocol) if add else ({}, None)
    runs: list[ensemble.RunRecord] = []
    held: list[windows.WindowRecord] = []
    if protocol == series.WINDOWS:
        held = windows.open_windows(profile)
        data = {series.WINDOWS: series.open_windows(profile)}
    else:
        runs = ensemble.open_runs(profile, protocol, only=only)
        data = series.open_protocol(profile, protocol, only=only)
    if before:
        earlier = series.open_shipped(profile, protocol)
        data = {k: series.stack_replicas({**_split(earlier[k]), **_split(data[k])}) for k in data}
    path.parent.mkdir(parents=True, exist_ok=True)
    series.write_protocol(data, path)
    if protocol == "step_up" and not before:  # else that of its replica 0 ships already
        _ship_frame(runs, path.with_suffix(".gro"))
    ways = {(r.label, r.replica): r.path for r in runs}
    ways |= {(w.label, w.replica): (w.path,) for w in held}
    made = [
        json.loads((segment / "manifest.json").read_text("utf-8"))
        for segment in dict.fromkeys(segment for way in ways.values() for segment in way)
    ]
    system_key = str(open_system(profile.system).manifest["key"])
    manifest = {
        "kind": "campaign item",
        "profile": profile.model_dump(mode="json"),
        "protocol": protocol,
        "system_key": system_key,
        "replicas": {
            **before.get("replicas", {}),
            **{str(n): {"seed": replica_seed(system_key, n)} for _, n in ways},
        },
        "origins": [
            *before.get("origins", [sorted(map(int, before["replicas"]))] if before else []),
            sorted({replica for _, replica in ways}),
        ],
        "segments": before.get("segments", {})
        | {
            f"{label}, replica {replica}": [segment.name for segment in way]
            for (label, replica), way in ways.items()
        },
        "md_ns": round(before.get("md_ns", 0.0) + sum(m["duration_ps"] for m in made) / 1000, 6),
        "md_hours": round(
            before.get("md_hours", 0.0) + sum(m["wall_s"] or 0.0 for m in made) / 3600, 4
        ),
        "hardware": _each([*before.get("hardware", []), *(m["hardware"] for m in made)]),
        "software": _each([*before.get("software", []), *(m["provenance"] for m in made)]),
        "sha256": sha256(path),
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    write_card(paths.data_dir() / "campaigns" / profile.name)
    return path


def _shipped_before(profile: Profile, protocol: str) -> tuple[dict[str, Any], set[int]]:
    """The record of what ships, and the replicas of the profile that do not ship."""
    if protocol == series.WINDOWS:
        raise SpecError("windows ship all together; leave out --add")
    before = series.shipped_manifest(series.shipped_folder(profile) / f"{protocol}.json")
    asked = profile.protocol(protocol).replicas
    further = set(range(asked)) - {int(n) for n in before["replicas"]}
    if not further:
        raise SpecError(
            f"protocols.{protocol}.replicas = {asked} of profile {profile.name!r}: all of them "
            "ship; raise it, run the further ones and add them then"
        )
    return before, further


def _split(data: xr.Dataset) -> dict[int, xr.Dataset]:
    """Series by replica."""
    return {int(n): data.sel(replica=n, drop=True) for n in data["replica"].values}


def _ship_frame(records: Sequence[ensemble.RunRecord], gro: Path) -> None:
    """The end of replica 0 after the highest step up, for the picture of Fig. 2A."""
    steps = [(r.waveform.to_V_per_nm, r) for r in records if isinstance(r.waveform, Step)]
    if not steps:
        return
    last = max(steps, key=lambda s: (s[0], -s[1].replica))[1].path[-1]
    with tempfile.TemporaryDirectory() as scratch:
        end = ensemble.end_frame(last, Path(scratch) / "end.gro")
        frame = end.read_text(encoding="ascii").splitlines()
    # positions alone: velocities would more than double it
    title, count, *atoms, box = frame
    gro.write_text("\n".join([title, count, *(a[:44] for a in atoms), box, ""]), encoding="ascii")


def _figure(campaign: str, item: Profile, protocol: str) -> str:
    """Where the article shows it, by the profile as it is now."""
    try:
        figure = load_profile(campaign).protocol(protocol).figure
    except SpecError:  # a campaign of a profile of somebody's own
        figure = item.protocol(protocol).figure
    if item.variant in ("", "no-pore"):
        return figure
    if isinstance(item.protocol(protocol).waveform, Sine) and set(item.changed) == {"charge_set"}:
        return "4"
    return f"beside {figure.removeprefix('beside ')}"


def write_card(campaign: Path) -> Path:
    """Write a campaign's data card and checksums from its manifests."""
    files = sorted(campaign.glob("*/*.json"))
    items = [(path, series.shipped_manifest(path)) for path in files]
    lines = [
        f"# Campaign `{campaign.name}`",
        "",
        "Reduced series of molecular dynamics made with this collection. This card is written by",
        "`.venv/bin/python -m janus_pore.measure.shipped ship`; each `.json` file has the whole",
        "record. An item is named by charge set and pore, and what else differs from the profile's",
        "own system. Hours are what mdrun took by the clock, added up over its runs, of which two",
        "at a time had one core each or one had both.",
        "",
        "| item | figure | runs each | replicas | MD (ns) | hours of MD | GROMACS | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for path, one in items:
        profile = validated(Profile, one["profile"], str(path))
        if one["protocol"] == series.WINDOWS:
            held = windows.asked_for(profile)
            figure, count = held.figure, len(held.places)
        else:
            protocol = profile.protocol(one["protocol"])
            figure, count = (
                _figure(campaign.name, profile, one["protocol"]),
                len(protocol.waveforms()),
            )
        name = f"{path.parent.name}/{path.stem}"
        software = one["software"]
        versions = {said(str(s["gmx_version"]), "GROMACS version") for s in software}
        lines.append(
            f"| `{name}` | {figure} | {count} | "
            f"{len(one['replicas'])} | {one['md_ns']:.3f} | {one['md_hours']:.2f} | "
            f"{', '.join(sorted(versions))} | "
            f"{', '.join(sorted({str(s['git_commit'])[:7] for s in software}))} |"
        )
    reading, example = _examples(items)
    hardware = sorted({h.get("cpu", "?") for _, one in items for h in one["hardware"]})
    lines += [
        "",
        "Segments that two items share count in both. There is one netCDF group for each",
        "waveform. Its variable `field` is the field applied to the box, and the voltage that",
        "field times the box length; names of groups and the waveforms in the `.json` are for the",
        "reference box, and the attribute `field_scale` is the factor between them. Variables are",
        "described in `janus_pore.measure.trajectory.reduce_trajectory`, the precision stored in",
        "`janus_pore.measure.series`. To read some, and to make one anew and compare the means:",
        "",
        "```python",
        "from janus_pore import spec",
        "from janus_pore.measure import series",
        "",
        f'profile = spec.load_profile("{campaign.name}", {{"source": "campaign"}})',
        *reading,
        "```",
        "",
        "```bash",
        ".venv/bin/python -m janus_pore.measure.shipped repeat "
        f"data/campaigns/{campaign.name}/{example.parent.name}/{example.name}",
        "```",
        "",
        f"Processors: {', '.join(hardware)}. Licence: CC BY 4.0 (`../LICENSE`).",
        "",
    ]
    card = campaign / CARD
    card.write_text("\n".join(lines), encoding="utf-8")
    listed = sorted(p for p in campaign.rglob("*") if p.is_file() and p.name != SUMS)
    sums = "".join(f"{sha256(p)}  {p.relative_to(campaign).as_posix()}\n" for p in listed)
    (campaign / SUMS).write_text(sums, encoding="utf-8")
    return card


def _examples(items: Sequence[tuple[Path, Mapping[str, Any]]]) -> tuple[list[str], Path]:
    """How one item of each kind is read, and the first of the profile's own system."""
    lines: dict[str, str] = {}
    own: list[Path] = []
    for path, one in items:
        variant = validated(Profile, one["profile"], str(path)).variant
        of = f'profile.only("{variant}")' if variant else "profile"
        if path.stem == series.WINDOWS:
            name, call = "windows", f"open_windows({of})"
        else:
            name = {"": "by_waveform", "no-pore": "control"}.get(variant, "other")
            call = f'open_protocol({of}, "{path.stem}")'
            own += [path] if not variant else []
        lines.setdefault(name, f"{name} = series.{call}")
    return list(lines.values()), (own or [items[0][0]])[0]


# --- again ----------------------------------------------------------------------------


class Agreement(NamedTuple):
    """One quantity of a shipped item and of its repetition, with standard errors."""

    label: str
    quantity: str
    shipped: tuple[float, float]
    again: tuple[float, float]

    @property
    def deviations(self) -> float:
        """Difference over its standard error; zero where both are the same without any."""
        error = math.hypot(self.shipped[1], self.again[1])
        apart = abs(self.shipped[0] - self.again[0])
        return apart / error if error else math.inf if apart else 0.0


def repeat(manifest: Path, *, replicas: int | None = None, seed: int) -> list[Agreement]:
    """Make a shipped item again from its manifest, with other random numbers.

    Parameters
    ----------
    manifest
        The item's ``.json``.
    replicas
        How many to run: of a protocol at least 3, so that their scatter can be told, and 3 by
        default; of windows, whose blocks of time tell it, as many as the item has.
    seed
        Of the new system, another one than the item's.

    Returns
    -------
    list of Agreement
        For each waveform the mean number of pore waters, their mean dipole along x and the
        charge transferred over the whole box; for each window the mean force on the ion.

    Raises
    ------
    MeasureError
        If fewer than three replicas are asked for, or the seed is the item's own.
    """
    one = series.shipped_manifest(manifest)
    name = one["protocol"]
    held = name == series.WINDOWS
    if not held and (replicas := 3 if replicas is None else replicas) < 3:
        raise MeasureError(f"replicas = {replicas}: at least 3 are needed to tell their scatter")
    profile = validated(Profile, one["profile"], str(manifest))
    if seed == profile.system.seed:
        raise MeasureError(f"seed = {seed} is the item's own; choose another")
    other = profile.model_copy(
        update={"system": profile.system.model_copy(update={"seed": seed}), "protocols": {}}
    )
    old = series.read_protocol(manifest.with_suffix(".nc"))
    if held:
        asked = windows.asked_for(profile)
        again = asked.model_copy(update={"replicas": replicas or asked.replicas})
        other = other.model_copy(update={"windows": again})
        build_system(other.system)
        windows.run_windows(other)
        return compare_windows(old[series.WINDOWS], series.open_windows(other), asked)
    fewer = profile.protocol(name).model_copy(update={"replicas": replicas})
    other = other.model_copy(update={"protocols": {name: fewer}})
    build_system(other.system)
    ensemble.run_protocol(other, name)
    return compare(old, series.open_protocol(other, name))


def compare(old: Mapping[str, xr.Dataset], new: Mapping[str, xr.Dataset]) -> list[Agreement]:
    """Means over replicas of two ensembles of the same protocol; see :func:`repeat`."""
    out = []
    for label in old:
        for quantity, per_replica in _QUANTITIES.items():
            a, b = (per_replica(data[label]).values for data in (old, new))
            out.append(Agreement(label, quantity, _mean(a), _mean(b)))
    return out


def compare_windows(old: xr.Dataset, new: xr.Dataset, asked: Windows) -> list[Agreement]:
    """Mean force in every window of two sets, errors from blocks of all replicas."""
    out = []
    for ion, field, x in asked.places:
        means = []
        for data in (old, new):
            there = (data["ion"] == ion) & (data["field_V_per_nm"] == field) & (data["x_nm"] == x)
            late = data["time"] > asked.equilibrate_ps - 1e-6
            force = data["total"].values[there.values][:, late.values]
            blocks = np.array_split(force, asked.blocks, axis=1)
            means.append(_mean(np.concatenate([block.mean(axis=1) for block in blocks])))
        label = f"{ion}, {field:g} V/nm, x = {x:g} nm"
        out.append(Agreement(label, "mean force (kJ/mol/nm)", *means))
    return out


def _in_time(values: xr.DataArray) -> xr.DataArray:
    """Mean over time: frames that segments share with other protocols may lie closer."""
    return values.integrate("time") / float(values["time"][-1] - values["time"][0])


_QUANTITIES: dict[str, Callable[[xr.Dataset], xr.DataArray]] = {
    "pore water": lambda d: _in_time(d["pore_water_count"]),
    "dipole of the pore water (D)": lambda d: _in_time(d["dipole_x"]),
    "charge, whole box (e)": lambda d: (
        d["charge"].sel(estimator="box").sum("species").isel(time=-1)
    ),
}


def _mean(values: Any) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values)))


# --- small things ---------------------------------------------------------------------


def _each(values: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Different values, each once, in the order of their appearance."""
    return [json.loads(t) for t in dict.fromkeys(json.dumps(v, sort_keys=True) for v in values)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m janus_pore.measure.shipped", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("ship", help="put finished runs among the shipped results")
    one.add_argument("profile")
    one.add_argument("protocol", nargs="*", help="default: all, and windows")
    one.add_argument(
        "--variant", default=OWN, help="of a further system of the profile, e.g. no-pore or mos2"
    )
    one.add_argument(
        "--add", action="store_true",
        help="keep the replicas that ship, from whatever machine, and add the profile's further "
        "ones (those of drive run --only)",
    )  # fmt: skip
    again = commands.add_parser("repeat", help="make an item anew and compare")
    again.add_argument("manifest", type=Path)
    again.add_argument("--replicas", type=int, help="default: 3, and the windows' own")
    again.add_argument("--seed", type=int, default=2, help="of other random numbers; default: 2")
    options = parser.parse_args(arguments)
    try:
        if options.command == "ship":
            own = load_profile(options.profile)
            profile = own if options.variant == OWN else own.only(options.variant)
            held = [series.WINDOWS] if profile.windows else []
            for name in options.protocol or [*profile.protocols, *held]:
                print(ship(profile, name, add=options.add))
            return 0
        found = repeat(options.manifest, replicas=options.replicas, seed=options.seed)
    except JanusPoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{'waveform':32} {'quantity':30} {'shipped':>18} {'again':>18}  deviations")
    for a in found:
        numbers = (f"{value:.3f} ± {error:.3f}" for value, error in (a.shipped, a.again))
        print(f"{a.label:32} {a.quantity:30} {' '.join(f'{n:>18}' for n in numbers)}"
              f"  {a.deviations:.1f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
