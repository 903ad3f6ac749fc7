"""Explorers and the pulse designer: widgets in JupyterLab, still pictures everywhere else.

A widget lives by its kernel. Each of these therefore draws, where nobody is at work with
the notebook, the figure that it would begin with.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import html
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import ipywidgets
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ..build.forcefield import load_forcefield
from ..drive import background, ensemble, field
from ..drive.background import PROTOCOL, Job
from ..errors import JanusPoreError, MissingInputError
from ..measure import current, memristor, plasticity, series
from ..measure.statistics import band, draw_sums
from ..spec import (
    Constant,
    GaussianPulse,
    Profile,
    PulseTrain,
    Sine,
    Step,
    Waveform,
    key,
    with_its_own_charges,
)
from . import figures, model, view
from .figures import Curve, FloatArray
from .page import Page

Choices = Mapping[str, Sequence[Any]]
Drawn = tuple[Figure, str]
"""A figure and what a reader who cannot see it should know."""


# --- explorers ------------------------------------------------------------------------


def explorer(
    page: Page, name: str, caption: str, choices: Choices, draw: Callable[..., Drawn]
) -> Any:
    """A figure with a menu for each of its choices; values show under the pointer.

    Parameters
    ----------
    page
        Keeps the figure of the first choices where this is no live session.
    name, caption
        Of that figure.
    choices
        Keyword of ``draw`` to what can be chosen; the first is shown first.
    draw
        Makes the figure of one choice.
    """
    first = {keyword: options[0] for keyword, options in choices.items()}
    if not view.live():
        figure, alt = draw(**first)
        menus = ", ".join(k.replace("_", " ") for k, v in choices.items() if len(v) > 1)
        still = f"{caption} In JupyterLab to be chosen here: {menus}." if menus else caption
        return page.figure(figure, name, caption=still, alt=alt)
    controls = {
        keyword: ipywidgets.Dropdown(
            options=[(str(option), option) for option in options],
            description=keyword.replace("_", " "),
            layout={"width": "auto"},
        )
        for keyword, options in choices.items()
    }
    picture = ipywidgets.HTML()

    def redraw(_: Any = None) -> None:
        picture.value = _picture(lambda: draw(**{k: menu.value for k, menu in controls.items()}))

    for menu in controls.values():
        menu.observe(redraw, "value")
    redraw()
    row = ipywidgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"})
    return ipywidgets.VBox([row, picture, ipywidgets.HTML(html.escape(caption))])


def _picture(draw: Callable[[], Drawn]) -> str:
    """A figure as HTML, or in its place the reason why there is none."""
    try:
        figure, alt = draw()
    except JanusPoreError as error:
        return f'<p role="alert">{html.escape(str(error))}</p>'
    return figures.hoverable(figure, alt)


class _Runs:
    """Series of a profile's protocols, read when they are asked for."""

    def __init__(self, profile: Profile, protocols: Sequence[str]) -> None:
        self.profile = profile
        self.names = [
            f"{name}: {label}" if len(waveforms) > 1 else name
            for name in protocols
            for waveforms in [profile.protocol(name).waveforms()]
            for label in waveforms
        ]
        self._open = functools.cache(lambda name: series.open_protocol(profile, name))

    def data(self, run: str) -> tuple[xr.Dataset, Waveform]:
        """The series of a run and its waveform in the fields of the reference box."""
        name, _, label = run.partition(": ")
        found = self._open(name)
        label = label or next(iter(found))
        return found[label], self.profile.protocol(name).waveforms()[label]

    @property
    def replicas(self) -> list[str]:
        """``mean`` and the numbers of the replicas that any of the runs has."""
        most = max(self.profile.protocol(n.split(":")[0]).replicas for n in self.names)
        return ["mean", *map(str, range(most))]


def _pick(values: FloatArray, data: xr.Dataset, replica: str, x: FloatArray) -> Curve:
    """One replica's values (replicas, n), or their mean with its interval."""
    if replica == "mean":
        n = len(values)
        return Curve.of(x, band(draw_sums(values) / n, n, f"bootstrap over {n} replicas"))
    return Curve.bare(x, values[_number(data, replica)])


def _number(data: xr.Dataset, replica: str) -> int:
    numbers = [str(number) for number in data["replica"].values]
    if replica not in numbers:
        raise MissingInputError(f"this run has replicas {', '.join(numbers)}, not {replica}")
    return numbers.index(replica)


def explore_current(page: Page, protocols: Sequence[str], *, name: str) -> Any:
    """Current of any run by estimator, species and replica, against time or field.

    Parameters
    ----------
    page
        Of the notebook; its profile's runs are shown.
    protocols
        Of the profile, the first one first.
    name
        Of the still figure.
    """
    profile = page.profile
    runs = _Runs(profile, protocols)

    def draw(
        run: str, estimator: str, species: str, replica: str, against: str, window_ps: float
    ) -> Drawn:
        data, waveform = runs.data(run)
        t = data["time"].values
        window_ps = max(min(window_ps, float(np.ptp(t))), float(np.diff(t).max()))
        charge = data["charge"].sel(estimator=estimator)
        charge = charge.sum("species") if species == "total" else charge.sel(species=species)
        centre, nA = current.current_from_charge(
            charge.transpose("replica", "time").values, t, window_ps
        )
        _, E = current.window_average(data["field"].values[0] / profile.field_scale, t, window_ps)
        curve = _pick(nA, data, replica, centre if against == "time" else E)
        of = {"total": "K⁺ and Cl⁻"} | figures.SPECIES_NAME
        pulses = plasticity.pulse_windows(waveform) if isinstance(waveform, PulseTrain) else None
        nominal = data["field"].values[0] / profile.field_scale
        figure = figures.explored(
            curve,
            title=f"{run}; {figures.ESTIMATOR_NAME[estimator]}; {of[species]}",
            ylabel="current I (nA)",
            field=(t, nominal) if against == "time" else None,
            pulses_ps=pulses,
            note=f"replica: {replica}; windows of {window_ps:g} ps",
        )
        low, high = float(np.nanmin(curve.value)), float(np.nanmax(curve.value))
        return figure, f"Current from {low:.3g} to {high:.3g} nA against {against}, {run}."

    frame = min(profile.protocol(p).frame_ps for p in protocols)
    # A window as long as a pulse would straddle its ends.
    first = profile.protocol(protocols[0]).waveform
    asked = profile.run.current_window_ps
    own = min(asked, first.width_ps / 5) if isinstance(first, PulseTrain) else asked
    windows = [own, asked, *(w for w in WINDOWS_ps if w >= frame)]
    choices: Choices = {
        "run": runs.names,
        "estimator": list(figures.ESTIMATOR_NAME),
        "species": ["total", *figures.SPECIES_NAME],
        "replica": runs.replicas,
        "against": ["time", "field"],
        "window_ps": list(dict.fromkeys(windows)),
    }
    return explorer(page, name, "Current of one run; values show under the pointer.", choices, draw)


WINDOWS_ps = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Times over which an explored current can be averaged."""


def explore_order(page: Page, protocols: Sequence[str], *, name: str) -> Any:
    """Pore water of any run: its dipole angles, their order and the number of molecules.

    Parameters
    ----------
    page, protocols, name
        As for :func:`explore_current`.
    """
    profile = page.profile
    runs = _Runs(profile, protocols)
    labels = {
        "order": "order ⟨cos θ⟩",
        "angles": "θ of each molecule (°)",
        "molecules": "water in the pore",
        "dipole": "dipole of the pore's water along x (D)",
    }

    def draw(run: str, quantity: str, replica: str) -> Drawn:
        data, _ = runs.data(run)
        t = data["time"].values
        theta = data["theta"].transpose("replica", "time", "slot").values
        if quantity == "angles":
            chosen = theta if replica == "mean" else theta[[_number(data, replica)]]
            rows, frames, _ = np.nonzero(np.isfinite(chosen))
            curve = Curve.bare(t[frames], chosen[np.isfinite(chosen)])
            basis = f"all {len(np.unique(rows))} replicas" if replica == "mean" else replica
        else:
            if quantity == "order":
                values = memristor.order_from_angles(theta)
            else:
                name_of = {"molecules": "pore_water_count", "dipole": "dipole_x"}
                values = data[name_of[quantity]].transpose("replica", "time").values
            curve = _pick(np.asarray(values, float), data, replica, t)
            basis = replica
        figure = figures.explored(
            curve, title=run, ylabel=labels[quantity], dots=quantity == "angles",
            field=(t, data["field"].values[0] / profile.field_scale), note=f"replica: {basis}",
        )  # fmt: skip
        mean = float(np.nanmean(curve.value)) if np.isfinite(curve.value).any() else float("nan")
        return figure, f"{labels[quantity]} against time, {mean:.3g} on average. {run}."

    choices = {"run": runs.names, "quantity": list(labels), "replica": runs.replicas}
    return explorer(
        page, name, "The pore's water in one run; values show under the pointer.", choices, draw
    )


# --- the pulse designer ---------------------------------------------------------------

KINDS: dict[str, type[Waveform]] = {
    "sine": Sine,
    "pulse_train": PulseTrain,
    "step": Step,
    "gaussian": GaussianPulse,
    "constant": Constant,
}
"""Waveforms that can be designed, in the order of the menu."""

LARGEST_FIELD_V_PER_NM = 2.0
POINTS = 1201
"""Of a drawn field and of the model's response to it."""

_LABELS = {
    "amplitude_V_per_nm": "amplitude (V/nm)",
    "frequency_GHz": "frequency (GHz)",
    "phase_deg": "phase (°)",
    "pulse_V_per_nm": "amplitude (V/nm)",
    "delay_V_per_nm": "field in the delay",
    "prepare_V_per_nm": "field before",
    "width_ps": "width (ps)",
    "delay_ps": "delay (ps)",
    "prepare_ps": "time before (ps)",
    "from_V_per_nm": "from (V/nm)",
    "from_ps": "for (ps)",
    "to_V_per_nm": "to (V/nm)",
    "to_ps": "for (ps)",
    "peak_V_per_nm": "peak (V/nm)",
    "centre_ps": "centre (ps)",
    "duration_ps": "duration (ps)",
    "field_V_per_nm": "field (V/nm)",
}


def first_waveforms(profile: Profile) -> dict[str, Waveform]:
    """What the designer begins with: the profile's own protocols where it has the kind."""
    own = {p.waveform.kind: p.waveform for p in reversed(profile.protocols.values())}
    plain = (
        Sine(amplitude_V_per_nm=1.2, frequency_GHz=5.0),
        PulseTrain(pulse_V_per_nm=0.7),
        Step(to_V_per_nm=0.8, to_ps=10.0),
        GaussianPulse(peak_V_per_nm=1.0, centre_ps=10.0, width_ps=2.0, duration_ps=20.0),
        Constant(field_V_per_nm=0.8, duration_ps=10.0),
    )
    return {w.kind: own.get(w.kind, w) for w in plain}


class Cost(NamedTuple):
    """What a design asks of this machine: ns still to run, and hours where known."""

    ns: float
    ns_at_rest: float
    hours: float | None

    def __str__(self) -> str:
        if not self.ns:
            return "all of it is on disk"
        rest = f", {self.ns_at_rest:g} ns of it equilibration" if self.ns_at_rest else ""
        if self.hours is None:
            return f"{self.ns:g} ns of MD{rest}; how long is known after the first run here"
        minutes = 60 * self.hours
        text = f"{self.hours:.1f} hours" if minutes > 120 else f"{max(minutes, 0.1):.1f} minutes"
        return f"{self.ns:g} ns of MD{rest}; about {text} on this machine"


def cost_of(design: Profile) -> Cost:
    """What a design would cost here, from the calibration or what has been run before."""
    costs = ensemble.plan(design, [PROTOCOL], measure=False)
    ns, hours = sum(c.ns for c in costs), [c.hours for c in costs]
    known = None if None in hours else sum(h for h in hours if h is not None)
    return Cost(round(ns, 6), costs[0].ns, known)


def response(design: Profile, known: model.Known | None) -> memristor.Response | None:
    """The model's answer to a design's field, from rest."""
    if known is None:
        return None
    applied = design.applied(design.protocol(PROTOCOL).waveform)
    return memristor.predict(known.fit.parameters, applied, points=POINTS)


def draw_design(
    design: Profile, known: model.Known | None, records: Sequence[ensemble.RunRecord] = ()
) -> Drawn:
    """Field of a design, the model's response where there is a model, results so far."""
    waveform = design.protocol(PROTOCOL).waveform
    t = np.linspace(0.0, field.duration_ps(waveform), POINTS)
    E = field.field_at(waveform, t)
    order: list[tuple[str, Curve]] = []
    currents: list[tuple[str, Curve]] = []
    predicted = response(design, known)
    if predicted is not None:
        order.append(("model", Curve.bare(predicted.time_ps, predicted.order)))
        currents.append(("model", Curve.bare(predicted.time_ps, predicted.current_nA)))
    for record in records:
        data = series.concatenate(list(record.series))
        time = data["time"].values
        theta = data["theta"].transpose("time", "slot").values
        order.append(
            (f"replica {record.replica}", Curve.bare(time, memristor.order_from_angles(theta)))
        )
        asked = min(design.run.current_window_ps, float(np.ptp(time)))
        window = max(asked, float(np.diff(time).max()))
        for estimator in ("box", "pore"):
            charge = data["charge"].sel(estimator=estimator).sum("species").values
            centre, nA = current.current_from_charge(charge, time, window)
            name = f"{figures.ESTIMATOR_NAME[estimator]}, {record.replica}"
            currents.append((name, Curve.bare(centre, nA)))
    rows = {"order ⟨cos θ⟩": order, "current I (nA)": currents}
    basis = f"{design.system.charge_set}; fields of the reference box"
    if known is not None:
        basis += f"; model fitted to {', '.join(known.protocols)}"
    figure = figures.designed(t, E, {k: v for k, v in rows.items() if v}, note=basis)
    return figure, (
        f"The designed field, {waveform.kind}, between {E.min():.3g} and {E.max():.3g} V/nm over "
        f"{t[-1]:g} ps" + (f", and {len(records)} replicas so far." if records else ".")
    )


def designer(page: Page, kind: str = "sine", *, name: str = "design") -> Any:
    """Choose a field, see what it costs and what the model expects, run it, see it come.

    Parameters
    ----------
    page
        Of the notebook; its profile gives system, settings and first values.
    kind
        Waveform to begin with, of :data:`KINDS`.
    name
        Of the still figure, which shows the first design.

    Returns
    -------
    Designer or Shown
        The widget where a person works with the notebook.
    """
    if view.live():
        return Designer(page.profile, kind).widget
    chosen = background.design(page.profile, first_waveforms(page.profile)[kind])
    known = model.fitted(page.profile)
    figure, alt = draw_design(chosen, known)
    return page.figure(
        figure, name, alt=alt,
        caption=(
            f"A field to begin with: {cost_of(chosen)}. In JupyterLab its shape and the charges "
            "can be changed here and the dynamics started; the curves follow."
        ),
    )  # fmt: skip


class Designer:
    """State of the pulse designer; ``widget`` is what a notebook shows.

    Runs live in processes and directories of their own
    (:mod:`janus_pore.drive.background`): a designer only looks at them, and one that is
    made later finds them again.
    """

    def __init__(self, profile: Profile, kind: str = "sine") -> None:
        self.profile = profile
        self._models = functools.cache(self._model)
        self._watching: asyncio.Task[None] | None = None
        self._drawn: object = None
        self.kind = ipywidgets.Dropdown(
            options=[(k.replace("_", " "), k) for k in KINDS], value=kind, description="waveform"
        )
        self.charge_set = ipywidgets.Dropdown(
            options=list(load_forcefield().charge_sets),
            value=profile.system.charge_set,
            description="charges",
        )
        self.replicas = ipywidgets.IntSlider(1, min=1, max=20, description="replicas")
        self.keep = ipywidgets.Checkbox(description="keep the trajectory", indent=False)
        self.sliders = {
            k: {n: _slider(n, v) for n, v in w.model_dump().items() if n != "kind"}
            for k, w in first_waveforms(profile).items()
        }
        self.earlier = ipywidgets.Dropdown(description="earlier")
        self.picture, self.cost = ipywidgets.HTML(), ipywidgets.HTML()
        self.run = ipywidgets.Button(description="run", icon="play", button_style="primary")
        self.stop = ipywidgets.Button(description="stop", icon="stop", disabled=True)
        self.bar = ipywidgets.FloatProgress(min=0.0, max=1.0, layout={"width": "20em"})
        self.state = ipywidgets.HTML()
        self._shape = ipywidgets.VBox()
        self.widget = ipywidgets.VBox(
            [
                ipywidgets.HBox(
                    [
                        ipywidgets.VBox([self.kind, self._shape]),
                        ipywidgets.VBox([self.charge_set, self.replicas, self.keep, self.earlier]),
                    ],
                    layout={"flex_flow": "row wrap"},
                ),
                self.cost,
                ipywidgets.HBox(
                    [self.run, self.stop, self.bar, self.state], layout={"flex_flow": "row wrap"}
                ),
                self.picture,
            ]
        )
        for control in (self.charge_set, self.replicas, *self._all_sliders()):
            control.observe(self._changed, "value")
        self.kind.observe(self._changed, "value")
        self.earlier.observe(self._reopened, "value")
        self.run.on_click(self._run)
        self.stop.on_click(self._stop)
        self._list_earlier()
        at_work = [one for one in self._own_jobs() if one.process() is not None]
        if at_work:  # coming back finds it
            self.show(at_work[0].profile)
        else:
            self._changed()

    # what is chosen

    def design(self) -> Profile:
        """The profile that the controls describe."""
        values = {name: slider.value for name, slider in self.sliders[self.kind.value].items()}
        return background.design(
            self.profile,
            KINDS[self.kind.value](**values),
            charge_set=self._other(self.charge_set.value),
            replicas=self.replicas.value,
        )

    def _other(self, charge_set: str) -> str | None:
        """The charge set if it is not the profile's, whose charges may be of one's own."""
        return charge_set if charge_set != self.profile.system.charge_set else None

    def show(self, design: Profile) -> None:
        """Set the controls to a design."""
        protocol = design.protocol(PROTOCOL)
        with self._quiet():
            self.kind.value = protocol.waveform.kind
            self.charge_set.value = design.system.charge_set
            self.replicas.value = protocol.replicas
            for name, slider in self.sliders[protocol.waveform.kind].items():
                value = getattr(protocol.waveform, name)
                end = math.log10(value) if isinstance(slider, ipywidgets.FloatLogSlider) else value
                slider.min, slider.max = min(slider.min, end), max(slider.max, end)
                slider.value = value
        self._changed()

    @contextlib.contextmanager
    def _quiet(self) -> Any:
        controls = (self.kind, self.charge_set, self.replicas, *self._all_sliders())
        for control in controls:
            control.unobserve(self._changed, "value")
        try:
            yield
        finally:
            for control in controls:
                control.observe(self._changed, "value")

    def _all_sliders(self) -> list[Any]:
        return [slider for sliders in self.sliders.values() for slider in sliders.values()]

    def _model(self, charge_set: str) -> model.Known | None:
        other = self._other(charge_set)
        changes = with_its_own_charges({"charge_set": other}) if other else {}
        system = self.profile.system.model_copy(update=changes)
        with contextlib.suppress(JanusPoreError):
            return model.fitted(self.profile.model_copy(update={"system": system}))
        return None

    # what is shown

    def _changed(self, _: Any = None) -> None:
        self._shape.children = list(self.sliders[self.kind.value].values())
        self._drawn = None
        self.refresh()
        if self._job_at_work() is not None:
            self._watch()

    def refresh(self) -> None:
        """Look at the disk and draw what has changed."""
        try:
            self._refresh()
        except JanusPoreError as error:
            self.picture.value = f'<p role="alert">{html.escape(str(error))}</p>'
            self.run.disabled, self._drawn = True, None

    def _refresh(self) -> None:
        design = self.design()
        job = background.job(design)
        at_work = job.process() is not None
        self.run.disabled, self.stop.disabled = at_work, not at_work
        records: list[ensemble.RunRecord] = []
        with contextlib.suppress(MissingInputError):  # not even the system is there
            records = job.records()
        now = (job.folder, [record.path for record in records])
        if now != self._drawn:
            self._drawn = now
            self.picture.value = _picture(
                lambda: draw_design(design, self._models(design.system.charge_set), records)
            )
            self.cost.value = html.escape(str(cost_of(design)))
        self._report(job, at_work)

    def _report(self, job: Job, at_work: bool) -> None:
        if not job.state:
            self.bar.value, self.state.value = 0.0, ""
            return
        try:
            done, total = job.progress()
        except MissingInputError:
            self.bar.value, self.state.value = 0.0, "building the system" if at_work else ""
            return
        self.bar.value = done / total
        whole = done > total - 1e-9
        text = f"{done:.4g} of {total:.4g} ns"
        if at_work:
            text += f", since {job.state['started']}"
        elif whole:
            text = f"finished: {text}"
        else:
            text += f", not running. {job.last_words()}"
        self.bar.bar_style = "success" if whole and not at_work else ""
        self.state.value = f'<span role="status">{html.escape(text)}</span>'

    # what runs

    def _job_at_work(self) -> Job | None:
        with contextlib.suppress(JanusPoreError):
            job = background.job(self.design())
            return job if job.process() is not None else None
        return None

    def _run(self, _: Any) -> None:
        try:
            background.job(self.design()).start(keep_trajectory=self.keep.value)
        except (JanusPoreError, OSError) as error:
            self.state.value = f'<span role="alert">{html.escape(str(error))}</span>'
            return
        self._list_earlier()
        self.refresh()
        self._watch()

    def _stop(self, _: Any) -> None:
        if (job := self._job_at_work()) is not None:
            job.stop()
            self.state.value = '<span role="status">stopping with a checkpoint</span>'
            self.stop.disabled = True

    def _watch(self) -> None:
        """Refresh as long as the shown design is at work; one watch is enough."""
        if self._watching is None or self._watching.done():
            with contextlib.suppress(RuntimeError):  # no event loop: nobody looks
                self._watching = asyncio.get_running_loop().create_task(self._follow())

    async def _follow(self) -> None:
        # Asked after the pause: another design may have been shown and started meanwhile.
        while True:
            began = time.monotonic()
            self.refresh()
            await asyncio.sleep(max(1.0, 4 * (time.monotonic() - began)))
            if self._job_at_work() is None:
                break
        self.refresh()
        self._list_earlier()

    # what ran before

    def _own_jobs(self) -> list[Job]:
        """Designs on systems like this profile's, whatever their charges."""
        whatever = {"charge_set": "", "charges_e": None}

        def of(profile: Profile) -> str:
            system = profile.system.model_copy(update=whatever)
            return key(system, profile.run, profile.reference_length_x_nm)

        here = of(self.profile)
        return [
            job
            for job in background.jobs()
            if job.profile.protocol(PROTOCOL).waveform.kind in KINDS  # sliders can describe it
            and of(job.profile) == here
        ]

    def _list_earlier(self) -> None:
        jobs = self._own_jobs()
        self.earlier.unobserve(self._reopened, "value")
        self.earlier.options = [("–", None), *((_in_words(job), job.profile) for job in jobs)]
        self.earlier.value = None
        self.earlier.observe(self._reopened, "value")
        self.earlier.layout.display = None if jobs else "none"

    def _reopened(self, change: Any) -> None:
        if change["new"] is not None:
            self.show(change["new"])
            self.earlier.value = None  # so that the same one can be chosen again


def _in_words(job: Job) -> str:
    waveform = job.profile.protocol(PROTOCOL).waveform
    values = ", ".join(
        f"{value:g}" for name, value in waveform.model_dump().items() if name != "kind"
    )
    return f"{waveform.kind} {values}; {job.profile.system.charge_set}; {job.state.get('started')}"


def _slider(name: str, value: float) -> Any:
    """The control of one of a waveform's parameters; its unit is in its name."""
    look: dict[str, Any] = {
        "description": _LABELS.get(name, name.replace("_", " ")),
        "style": {"description_width": "9em"},
        "layout": {"width": "26em"},
        "continuous_update": False,
    }
    if name == "frequency_GHz":
        own = math.log10(value)
        return ipywidgets.FloatLogSlider(
            value, min=min(-1, own), max=max(2, own), step=0.02, **look
        )
    if name == "pulses":
        return ipywidgets.IntSlider(value, min=1, max=max(20, int(value)), **look)
    if name == "cycles":
        least, most = min(0.5, value), max(10, value)
        return ipywidgets.FloatSlider(value, min=least, max=most, step=0.5, **look)
    if name == "phase_deg":
        reach = max(180, abs(value))
        return ipywidgets.FloatSlider(value, min=-reach, max=reach, step=5, **look)
    if name.endswith("_V_per_nm"):
        reach = max(LARGEST_FIELD_V_PER_NM, abs(value))
        return ipywidgets.FloatSlider(value, min=-reach, max=reach, step=0.05, **look)
    least = 0.0 if name in ("prepare_ps", "from_ps", "centre_ps") else min(0.5, value)
    most = max(100.0, 4 * value)
    return ipywidgets.FloatSlider(value, min=least, max=most, step=0.5, **look)
