"""Explorers and the designer: what they draw, what they offer, and their still twins."""

from __future__ import annotations

import re

import numpy as np
import pytest

from janus_pore import spec
from janus_pore.drive import background
from janus_pore.measure import memristor, series
from janus_pore.show import figures, model, page, view, widgets

TINY = spec.load_profile("tiny")


@pytest.fixture
def apart(tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("JANUS_PORE_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # no calibration of this machine


def field_drawn(svg: str) -> str:
    """The description of the drawn field."""
    return re.search(r'aria-label="([^"]*)"', svg)[1]


def test_the_designer_draws_what_its_sliders_say(apart):
    made = widgets.Designer(TINY, "pulse_train")
    pulses = made.sliders["pulse_train"]
    first = made.picture.value
    assert (
        made.design().protocol(background.PROTOCOL).waveform
        == (widgets.first_waveforms(TINY)["pulse_train"])
    )
    pulses["pulse_V_per_nm"].value = 1.55
    pulses["prepare_V_per_nm"].value = 0.0
    assert made.picture.value != first
    assert "between 0 and 1.55 V/nm" in field_drawn(made.picture.value)
    made.kind.value = "constant"
    assert "constant, between" in field_drawn(made.picture.value)
    assert made._shape.children == tuple(made.sliders["constant"].values())


def test_the_cost_follows_the_length_and_the_replicas(apart):
    made = widgets.Designer(TINY, "constant")
    made.sliders["constant"]["duration_ps"].value = 20.0
    settle, rest = TINY.run.settle_ps, TINY.run.equilibration_ps + 2.0
    assert made.cost.value.startswith(f"{(20 + settle + rest) / 1000:g} ns of MD")
    made.replicas.value = 3
    more = 3 * (20 + settle) + rest + 2 * TINY.run.replica_spacing_ps
    assert made.cost.value.startswith(f"{more / 1000:g} ns of MD")
    assert "how long is known after the first run" in made.cost.value


def test_a_field_that_cannot_be_applied_says_why_and_cannot_be_run(apart):
    made = widgets.Designer(TINY, "constant")
    made.sliders["constant"]["field_V_per_nm"].max = 9
    made.sliders["constant"]["field_V_per_nm"].value = 8
    assert "exceeds 10 V/nm" in made.picture.value
    assert made.run.disabled
    made.sliders["constant"]["field_V_per_nm"].value = 1
    assert not made.run.disabled


def test_coming_back_shows_the_design_that_is_at_work(apart, monkeypatch):
    waveform = spec.PulseTrain(pulse_V_per_nm=1.0, width_ps=150.0, delay_ps=3.0, pulses=4)
    job = background.job(background.design(TINY, waveform, charge_set="mos2", replicas=2))
    job.folder.mkdir(parents=True)
    monkeypatch.setattr(background, "jobs", lambda: [job])
    monkeypatch.setattr(background.Job, "process", lambda self: self == job or None)
    monkeypatch.setattr(background.Job, "state", {"started": "now"})
    made = widgets.Designer(TINY)
    assert made.design() == job.profile
    assert (made.run.disabled, made.stop.disabled) == (True, False)
    assert "building the system" in made.state.value or "of" in made.state.value
    assert any("pulse_train 0" in name and "mos2" in name for name, _ in made.earlier.options)


def test_a_design_that_no_slider_describes_is_left_out(apart, monkeypatch):
    """A field sampled in a script lies among the designs as well."""
    drawn = spec.Sampled(times_ps=(0.0, 1.0, 2.0), fields_V_per_nm=(0.0, 1.0, 0.0), step_ps=0.5)
    pulse = spec.PulseTrain(pulse_V_per_nm=1.0)
    jobs = [background.job(background.design(TINY, one)) for one in (drawn, pulse)]
    monkeypatch.setattr(background, "jobs", lambda: jobs)
    made = widgets.Designer(TINY)
    assert [design for _, design in made.earlier.options] == [None, jobs[1].profile]


def test_designs_for_another_reference_box_are_other_fields(apart, monkeypatch):
    longer = spec.load_profile("tiny", {"reference_length_x_nm": 5.0})
    jobs = [background.job(widgets.Designer(one, "constant").design()) for one in (TINY, longer)]
    monkeypatch.setattr(background, "jobs", lambda: jobs)
    for one, job in zip((TINY, longer), jobs, strict=True):
        made = widgets.Designer(one)
        assert [design for _, design in made.earlier.options] == [None, job.profile]


def test_charges_of_ones_own_stay_until_another_set_is_chosen(apart, monkeypatch):
    own = spec.load_profile("tiny", {"system.charges_e": [0.8, -0.5, -0.3]})
    made = widgets.Designer(own, "constant")
    assert made.design().system == own.system
    job = background.job(made.design())
    monkeypatch.setattr(background, "jobs", lambda: [job])
    made._list_earlier()
    assert [design for _, design in made.earlier.options][1:] == [job.profile]
    made.charge_set.value = "mos2"
    other = made.design().system
    assert (other.charge_set, other.charges_e) == ("mos2", None)


def test_a_step_that_does_not_fit_is_said_and_cannot_be_run(apart):
    """Where the profile's own waveforms fit, but what the sliders say does not."""
    run = TINY.run.model_copy(update={"dt_fs": 1.5, "equilibration_ps": 3.0, "settle_ps": 0.75})
    made = widgets.Designer(TINY.model_copy(update={"run": run}), "constant")
    made.sliders["constant"]["duration_ps"].value = 7.0
    assert 'role="alert"' in made.picture.value
    assert made.run.disabled


def test_the_model_is_drawn_and_named_where_there_is_one():
    made = background.design(TINY, spec.Constant(field_V_per_nm=0.5, duration_ps=10))
    known = model.Known(
        memristor.Fit(memristor.Parameters(conductance_nA_nm_per_V=2), {}), ("step_up", "ppf")
    )
    figure, _ = widgets.draw_design(made, known)
    assert len(figure.axes) == 3
    order = next(p for p in figures.data_of(figure)[::-1] if p.y_quantity.startswith("order"))
    E = 0.5 * TINY.field_scale
    expected = memristor.simulate(known.fit.parameters, [0, 5.0, 10.0], [E, E, E]).order[-1]
    assert order.series == "model"
    assert order.y == pytest.approx(expected, rel=1e-3)
    assert "step_up, ppf" in figure.get_supxlabel()
    assert len(widgets.draw_design(made, None)[0].axes) == 1


@pytest.mark.gromacs
def test_the_model_finds_the_runs_of_a_profile(there):
    known = model.fitted(TINY)
    assert {"sine", "step_up", "ppf"} <= set(known.protocols)
    found = model.recordings(TINY)["sine: sine"]
    data = series.open_protocol(TINY, "sine")["sine"]
    assert found.order.shape == found.charge_e.shape == (2, data.sizes["time"])
    middle = (found.time_ps[:-1] + found.time_ps[1:]) / 2
    wave = 1.2 * TINY.field_scale * np.sin(2 * np.pi * 0.1 * middle)
    assert found.field_V_per_nm[:-1] == pytest.approx(wave, abs=1e-6)
    assert model.fitted(TINY.with_system(seed=99)) is None
    assert model.fitted(TINY.with_system(pore="none")) is None


@pytest.mark.gromacs
@pytest.mark.parametrize("explore", [widgets.explore_current, widgets.explore_order])
def test_an_explorer_has_a_still_twin_with_its_numbers(there, tmp_path, monkeypatch, explore):
    monkeypatch.setenv("JANUS_PORE_RESULTS", str(tmp_path))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    shown = explore(page.Page("03_iv_ndr", TINY), ["sine", "ppf"], name="explored")
    assert "In JupyterLab to be chosen here" in shown.html
    table = (TINY.results_dir / "figures" / "explored.csv").read_text().splitlines()
    assert len(table) > 50


@pytest.mark.gromacs
def test_an_explorer_draws_what_is_chosen(there, monkeypatch):
    monkeypatch.setattr(view, "live", lambda: True)
    row, picture, _ = widgets.explore_current(
        page.Page("05_plasticity", TINY), ["ppf"], name="x"
    ).children
    menus = {menu.description: menu for menu in row.children}
    menus["window ps"].value = 0.5
    seen = {picture.value}
    for name, option in (("replica", "1"), ("estimator", "pore"), ("species", "K"),
                         ("against", "field")):  # fmt: skip
        menus[name].value = option
        seen.add(picture.value)
    assert len(seen) == 5
    data = series.open_protocol(TINY, "ppf")[menus["run"].value.split(": ")[1]]
    charge = data["charge"].sel(estimator="pore", species="K", replica=1).values
    first = 160.21766 * (charge[5] - charge[0]) / 0.5
    assert f"<title>current I: {first:.4g} at " in picture.value


def test_the_designer_begins_with_the_profiles_own_waveforms(apart):
    protocols = TINY.protocols | {
        "sine": spec.Protocol(
            waveform=spec.Sine(
                amplitude_V_per_nm=0.4, frequency_GHz=0.05, cycles=20, phase_deg=-270
            )
        )
    }
    slow = TINY.model_copy(update={"protocols": protocols})
    made = widgets.Designer(slow)
    assert made.design().protocol(widgets.PROTOCOL).waveform == protocols["sine"].waveform
    short = made.design().model_copy(
        update={
            "protocols": {
                widgets.PROTOCOL: spec.Protocol(
                    waveform=spec.PulseTrain(
                        pulse_V_per_nm=0.5, width_ps=0.2, delay_ps=0.2, pulses=2
                    )
                )
            }
        }
    )
    made.show(short)
    assert (
        made.design().protocol(widgets.PROTOCOL).waveform
        == short.protocol(widgets.PROTOCOL).waveform
    )
