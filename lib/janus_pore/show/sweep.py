"""What a sweep shows: series, executed notebooks, a summary of all points.

``python -m janus_pore.show.sweep run FILE`` hands the sweep to Snakemake, which calls the
other commands of this module and :mod:`janus_pore.drive.stages` for what is missing or stale.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import html
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml
from filelock import FileLock, Timeout

from .. import paths
from ..drive import ensemble, stages
from ..errors import JanusPoreError, MissingInputError, RunError, SpecError
from ..measure import plasticity, series, statistics
from ..measure.statistics import Estimate
from ..spec import Profile, PulseTrain, Sine, Step
from ..sweep_spec import Sweep, load_sweep, parameters, points, write_receipt
from . import figures, loops, memory, pulses, report, scorecard
from .page import table

MOST_PANELS = 24
"""Points in the comparison; the table holds all of them."""

COLUMNS = ("protocol", "waveform", "quantity", "estimator", "value", "low", "high",
           "independent", "unit")  # fmt: skip
COLUMNS_OF_PULSES = ("protocol", "waveform", "replica", "estimator", "pulse", "from_ps", "to_ps",
                     "current_nA")  # fmt: skip


@dataclass(frozen=True)
class Found:
    """One number of one point, with what it is of."""

    protocol: str
    waveform: str
    quantity: str
    estimator: str
    estimate: Estimate
    unit: str
    on_page: bool = True

    def cells(self) -> list[object]:
        """In the order of :data:`COLUMNS`; an interval only where there is one."""
        e = self.estimate
        ends = [f"{x:.6g}" if e.enough else "" for x in (e.low, e.high)]
        return [self.protocol, self.waveform, self.quantity, self.estimator,
                f"{e.value:.6g}", *ends, f"{e.n_independent:g}", self.unit]  # fmt: skip


# --- one point --------------------------------------------------------------------------


@contextlib.contextmanager
def at_home(chosen: Sweep) -> Iterator[None]:
    """Results go to the sweep's directory, those of notebooks too."""
    name, home = "JANUS_PORE_RESULTS", str(chosen.home)
    before = os.environ.get(name)
    os.environ[name] = home
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


@contextlib.contextmanager
def noting(folder: Path, what: str) -> Iterator[None]:
    """Keep the reason of a failure in ``<folder>/<what>.failed``, until it is mended."""
    note = folder / f"{what}.failed"
    try:
        yield
    except Exception as error:
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
        raise
    note.unlink(missing_ok=True)


def write_series(profile: Profile) -> Path:
    """Join every run's segments to one series each, for a point and its further systems.

    Returns
    -------
    Path
        ``series.json`` in the point's directory: file to the checksum of its content.

    Raises
    ------
    MissingInputError
        If a run is missing.
    """
    index = {}
    for one in (profile, *profile.siblings()):
        for name in one.protocols:
            for record in ensemble.open_runs(one, name):
                target = one.results_dir / "series"
                target /= f"{name},{record.label},r{record.replica:03d}.nc"
                whole = series.concatenate(record.series)
                series.write(whole, target)
                relative = target.relative_to(profile.results_dir).as_posix()
                index[relative] = {
                    "protocol": name,
                    "waveform": record.label,
                    "replica": record.replica,
                    "sha256": series.checksum(whole),
                }
    path = profile.results_dir / "series.json"
    return paths.write_whole(path, json.dumps(index, indent=1) + "\n")


def execute(chosen: Sweep, profile: Profile, name: str) -> Path:
    """Execute a notebook for a point and write its page beside it.

    Returns
    -------
    Path
        The executed notebook, ``<name>.ipynb`` in the point's directory. What a notebook that
        stopped has shown is kept as ``<name>.stopped.ipynb``.

    Raises
    ------
    NotebookError
        If a cell fails.
    """
    folder = profile.results_dir
    folder.mkdir(parents=True, exist_ok=True)
    given = chosen.profile
    if not chosen.whole:
        given = str(folder / "profile.yaml")
        content = profile.model_dump(mode="json", exclude={"own_system"})
        # two notebooks of a point may run at a time
        paths.write_whole(Path(given), yaml.safe_dump(content, sort_keys=False))
    stopped = folder / f"{name}.stopped.ipynb"
    report.run_notebook(name, given, target=stopped)
    pages = [("Sweep", "../index.html"), *map(report.page_of, chosen.notebooks)]
    title = f"{chosen.name} {profile.name}: {report.TITLES[name]}"
    here = report.TITLES[name]
    report.convert(stopped, folder / f"{name}.html", here, title, None if chosen.whole else pages)
    return stopped.replace(folder / f"{name}.ipynb")


# --- all of them ------------------------------------------------------------------------


def findings(profile: Profile) -> list[Found]:
    """What a point's series say: voltage, charge moved; current of each pulse and its ratio to the
    first; the spread in which a step ends; area of a sine's loop."""
    out = []
    for (protocol, label), data in _stacked(profile).items():
        waveform = profile.protocol(protocol).waveforms()[label]
        volts = float(np.abs(data["field"]).max()) * float(data.attrs["length_x_nm"])
        exact = Estimate(volts, volts, volts, np.inf, "prescribed")
        out.append(Found(protocol, label, "peak voltage", "", exact, "V"))
        moved = data["charge"].sum("species").isel(time=-1)
        for estimator in data["estimator"].values.tolist():
            charge = statistics.mean(moved.sel(estimator=estimator).values)
            out.append(Found(protocol, label, "charge moved", estimator, charge, "e"))
        if isinstance(waveform, PulseTrain):
            out += _of_pulses(protocol, label, data, waveform)
        if isinstance(waveform, Step) and np.isfinite(data["theta"]).any():
            spread = memory.spread_at_end(data, waveform)
            out.append(Found(protocol, label, "spread at the end", "direct width", spread, "°"))
        if not isinstance(waveform, Sine) or waveform.cycles < 1:
            continue
        if waveform.period_ps >= 4 * profile.run.current_window_ps:  # else a cycle has no loop
            for estimator, species in loops.sweeps(data, waveform, profile).items():
                area = loops.loop_areas(species["total"])["whole"]
                out.append(Found(protocol, label, "loop area", estimator, area, "nA·V/nm"))
    return out


def _of_pulses(protocol: str, label: str, data: xr.Dataset, train: PulseTrain) -> list[Found]:
    nA = pulses.pulse_currents(data, train)
    ratio, _ = plasticity.ratios(nA)
    out = []
    for k, estimator in enumerate(pulses.estimators_of(data)):
        for n in range(train.pulses):
            mean = statistics.mean(nA[:, k, n])
            out.append(Found(protocol, label, f"I{n}", estimator, mean, "nA", on_page=False))
            if n:
                last = n == train.pulses - 1
                value = ratio.at((k, n))
                out.append(Found(protocol, label, f"I{n}/I0", estimator, value, "", on_page=last))
    return out


def rows_of_pulses(profile: Profile) -> Iterator[list[object]]:
    """Mean current of each pulse in each replica of a point, in the order of
    :data:`COLUMNS_OF_PULSES`."""
    for (protocol, label), data in _stacked(profile).items():
        train = profile.protocol(protocol).waveforms()[label]
        if not isinstance(train, PulseTrain):
            continue
        nA, windows = pulses.pulse_currents(data, train), plasticity.pulse_windows(train)
        for r, replica in enumerate(data["replica"].values.tolist()):
            for k, estimator in enumerate(pulses.estimators_of(data)):
                for n, window in enumerate(windows):
                    within = (f"{x:g}" for x in window)
                    current = f"{nA[r, k, n]:.6g}"
                    yield [protocol, label, replica, estimator, n, *within, current]


def _stacked(profile: Profile) -> dict[tuple[str, str], xr.Dataset]:
    """A point's series by protocol and waveform, its own system's only."""
    index = json.loads((profile.results_dir / "series.json").read_text(encoding="utf-8"))
    by_run: dict[tuple[str, str], dict[int, xr.Dataset]] = {}
    for name, about in index.items():
        if name.startswith("series/"):
            runs = by_run.setdefault((about["protocol"], about["waveform"]), {})
            runs[about["replica"]] = series.read(profile.results_dir / name)
    return {run: series.stack_replicas(replicas) for run, replicas in by_run.items()}


def failure(chosen: Sweep, label: str, profile: Profile, jobs: Sequence[stages.Job]) -> str | None:
    """Why a point is not finished; None if it is.

    What an earlier attempt left does not count where its receipt is there, or is not: a failure
    that has been made good, and series and pages of other settings.
    """
    folder = profile.results_dir
    steps = [(job.receipt, job.failure, job.receipt) for job in jobs]
    made = {"series": folder / "series.json"}
    made |= {name: folder / f"{name}.html" for name in chosen.notebooks}
    steps += [
        (_receipt(chosen, label, what), folder / f"{what}.failed", path)
        for what, path in made.items()
    ]
    lacking = []
    for receipt, note, path in steps:
        if receipt.is_file() and path.is_file():
            continue
        if note.is_file():
            return note.read_text(encoding="utf-8").strip()
        lacking.append(path.name)
    return f"not run yet: {', '.join(lacking)}" if lacking else None


def _has_series(chosen: Sweep, label: str, profile: Profile, jobs: Sequence[stages.Job]) -> bool:
    """Whether a point's series are there and of these settings, whatever its notebooks did."""
    own = [_receipt(chosen, label, "series"), profile.results_dir / "series.json"]
    return all(path.is_file() for path in (*own, *(job.receipt for job in jobs)))


def _receipt(chosen: Sweep, label: str, what: str) -> Path:
    """A point's receipt, where :func:`at_home` makes the results' directory the sweep's."""
    away = chosen.receipt(label, what)
    return paths.results_dir() / away.parent.name / away.name


def summarise(chosen: Sweep, *, ns_per_job: float = 0.0) -> Path:
    """Write the summary of a sweep: ``summary.csv``, ``pulses.csv``, ``comparison.*`` and
    ``index.html``.

    A point whose notebook failed has its numbers, and a line with the reason. Of a whole profile
    it is the report, under ``report/<profile>``.

    Parameters
    ----------
    chosen
        The sweep.
    ns_per_job
        As it was run: it decides which jobs there were, and where their failures lie.

    Returns
    -------
    Path
        The page.
    """
    profiles, at = points(chosen), parameters(chosen)
    jobs = stages.work(profiles, ns_per_job=ns_per_job)
    if chosen.whole:
        ((label, profile),) = profiles.items()
        notes = {name: profile.results_dir / f"{name}.failed" for name in chosen.notebooks}
        # the dynamics are notebook 2's, here they are jobs of their own
        lost = [job.failure for job in jobs.before(label) if not job.receipt.is_file()]
        if note := next((path for path in lost if path.is_file()), None):
            notes["02_simulate"] = note
        stopped = {n: p.read_text(encoding="utf-8") for n, p in notes.items() if p.is_file()}
        return report.write_report(profile, stopped, paths.report_dir())
    folder = paths.results_dir()
    folder.mkdir(parents=True, exist_ok=True)
    whys = {label: failure(chosen, label, p, jobs.before(label)) for label, p in profiles.items()}
    found = {}
    for label in [k for k, p in profiles.items() if _has_series(chosen, k, p, jobs.before(k))]:
        try:
            found[label] = findings(profiles[label])
        except (JanusPoreError, OSError, ValueError, KeyError) as error:
            whys[label] = (
                f"its series cannot be read: {error}; delete "
                f"{profiles[label].results_dir / 'series.json'} and run the sweep again"
            )
    scans = {label: _scanned(profile, at[label]) for label, profile in profiles.items()}
    names = list(dict.fromkeys(n for of in scans.values() for one in of.values() for n in one))
    start = ["point", *chosen.vary.axes, *names]

    def place(label: str, run: tuple[str, str] | None) -> list[object]:
        values = scans[label][run] if run else {}
        return [label, *at[label].values(), *(values.get(n, "") for n in names)]

    with (folder / "summary.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([*start, "status", *COLUMNS, "error"])
        for label, why in whys.items():
            for one in found.get(label, []):
                at_run = place(label, (one.protocol, one.waveform))
                rows.writerow([*at_run, "done", *one.cells(), ""])
            if why is not None:
                status = "missing" if why.startswith("not run yet") else "failed"
                rows.writerow([*place(label, None), status, *[""] * len(COLUMNS), why])
    with (folder / "pulses.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([*start, *COLUMNS_OF_PULSES])
        for label in found:
            for row in rows_of_pulses(profiles[label]):
                rows.writerow([*place(label, (str(row[0]), str(row[1]))), *row])
    parts = [f"# Sweep {chosen.name}\n\n{chosen.description}"]
    parts += [_overview(chosen, whys, found)]
    if found:
        parts.append(_comparison({label: profiles[label] for label in found}, folder))
    title = f"Sweep {chosen.name}"
    return report.convert(
        report.as_notebook(parts), folder / "index.html", "Sweep", title, [("Sweep", "index.html")]
    )


def _scanned(
    profile: Profile, but: Mapping[str, object]
) -> dict[tuple[str, str], dict[str, object]]:
    """Protocol and waveform to what its protocol scans, but for what the sweep varies."""
    return {
        (name, label): {n: getattr(waveform, n) for n in one.scan if n not in but}
        for name, one in profile.protocols.items()
        for label, waveform in one.waveforms().items()
    }


def _overview(
    chosen: Sweep, whys: Mapping[str, str | None], found: Mapping[str, Sequence[Found]]
) -> str:
    """Points, their pages and what they found, as a table."""
    rows = []
    for label, why in whys.items():
        numbers: dict[str, list[str]] = {}
        runs = {(one.protocol, one.waveform) for one in found.get(label, [])}
        for one in (one for one in found.get(label, []) if one.on_page):
            run = f"{one.protocol}, {one.waveform}" if len(runs) > 1 else ""
            exact = f"{one.estimate.value:.3g}"
            text = scorecard.describe(one.estimate) if one.estimator else exact
            words = " ".join(filter(None, [run, one.estimator, text]))
            unit = f" ({one.unit})" if one.unit else ""
            numbers.setdefault(f"{one.quantity}{unit}", []).append(words)
        rows.append(
            {
                "point": label,
                "state": "done" if why is None else why,
                **{name: "; ".join(texts) for name, texts in numbers.items()},
            }
        )
    columns = list(dict.fromkeys(name for row in rows for name in row))
    shown = table(columns, [[row.get(name, "") for name in columns] for row in rows]).html
    for label, why in whys.items():
        if why is None and chosen.notebooks:
            cell = html.escape(label)
            address = f"{cell}/{chosen.notebooks[0]}.html"
            shown = shown.replace(f"<td>{cell}</td>", f'<td><a href="{address}">{cell}</a></td>', 1)
    return shown


def _comparison(profiles: Mapping[str, Profile], folder: Path) -> str:
    """The figure of the first waveform of each point, kept and shown."""
    panels = {}
    for label in list(profiles)[:MOST_PANELS]:
        (protocol, waveform), data = next(iter(_stacked(profiles[label]).items()))
        moved = data["charge"].sum("species").mean("replica")
        panels[label] = {
            str(e): figures.Curve.bare(data["time"], moved.sel(estimator=e))
            for e in data["estimator"].values
        }
    note = f"protocol {protocol}, {waveform}; mean over replicas"
    figure = figures.comparison(panels, note=note)
    figures.save(figure, folder / "comparison", ("png", "svg"))
    alt = f"Charge moved against time, one panel for each of {len(panels)} points."
    return f'<figure><img src="comparison.png" alt="{alt}" style="max-width:100%"></figure>'


# --- command line -----------------------------------------------------------------------


def run(file: Path, where: str, further: Sequence[str]) -> int:
    """Hand a sweep to Snakemake; returns its exit status.

    Parameters
    ----------
    where
        A directory of ``workflow/profiles``, or any other Snakemake profile.
    further
        Options for Snakemake; with ``--dry-run`` also ns and bytes are said.

    Raises
    ------
    RunError
        If the sweep is being run already.
    MissingInputError
        If Snakemake is not installed.
    """
    chosen = load_sweep(file)
    if importlib.util.find_spec("snakemake") is None:
        raise MissingInputError(
            "Snakemake is not installed here; run 'make setup', or install the packages of the "
            "'workflow' extra in pyproject.toml"
        )
    workflow = paths.project_root() / "workflow"
    profile = workflow / "profiles" / where
    state = paths.results_dir() / ".workflow" / chosen.name
    state.mkdir(parents=True, exist_ok=True)
    program = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{program}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(workflow / "Snakefile")]
    command += ["--workflow-profile", str(profile if profile.is_dir() else Path(where).resolve())]
    command += ["--directory", str(state), *further]
    # Snakemake's own lock outlives a kill; this one does not. A profile may hold 'config'
    # entries, which the same option on the command line would replace.
    sizes = bool({"-n", "--dry-run", "--dryrun"}.intersection(further))
    content = {"sweep": str(file.resolve()), "sizes": sizes}
    command += ["--nolock", "--configfile", str(state / "config.yaml")]
    try:
        with FileLock(state / "sweep.lock", timeout=0):
            # read again by every job, so not to be changed under another process's jobs
            (state / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
            status = _to_its_end(command, environment)
    except Timeout:
        raise RunError(f"sweep {chosen.name!r} is being run by another process") from None
    return status


def _to_its_end(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Exit status of a command, which is given its time where this process is interrupted.

    Ctrl-C reaches the command as well: Snakemake waits for its jobs' checkpoints, and cancels
    those of a cluster.
    """
    with subprocess.Popen(command, env=environment) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            print("stopping, with checkpoints …", file=sys.stderr, flush=True)
            process.wait()
            raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    options = _parser().parse_args(words[:cut])
    return report.exit_status(lambda: _done(options, words[cut + 1 :]))


def _done(options: argparse.Namespace, further: Sequence[str]) -> int:
    if options.command == "run":
        return run(options.sweep, options.where, further)
    chosen = load_sweep(options.sweep)
    what = getattr(options, "notebook", options.command)
    receipt = chosen.receipt(getattr(options, "point", ""), what)
    with at_home(chosen):
        if options.command == "summary":
            print(f"summary: {summarise(chosen, ns_per_job=options.ns_per_job)}")
            return 0
        every = points(chosen)
        if options.point not in every:
            raise SpecError(
                f"point = {options.point!r} is none of sweep {chosen.name!r}; it has "
                f"{'; '.join(every)}"
            )
        profile = every[options.point]
        with noting(profile.results_dir, what):
            if options.command == "notebook":
                notebook = execute(chosen, profile, options.notebook)
                made = [notebook, notebook.with_suffix(".html")]
            else:
                made = [write_series(profile)]
        write_receipt(receipt, paths.results_dir(), made)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser: Any = argparse.ArgumentParser(
        prog="python -m janus_pore.show.sweep", description=__doc__
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("sweep", type=Path, help="YAML file")
    commands = parser.add_subparsers(required=True, dest="command")
    command = commands.add_parser("run", parents=[shared], help="run all that is missing or stale",
        epilog="What follows -- is handed to Snakemake.",
    )  # fmt: skip
    command.add_argument("--where", default="local", help="local, slurm or a Snakemake profile")
    command = commands.add_parser("series", parents=[shared], help="join one point's series")
    command.add_argument("point")
    command = commands.add_parser("notebook", parents=[shared], help="one notebook of one point")
    command.add_argument("point")
    command.add_argument("notebook")
    command = commands.add_parser(
        "summary", parents=[shared], help="table and figure of all points"
    )
    command.add_argument("--ns-per-job", type=float, default=0.0, help="as the sweep was run")
    return parser  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
