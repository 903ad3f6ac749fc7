"""JupyterLab as a person meets it: notebooks run, molecules are drawn, designs are run."""

from __future__ import annotations

import contextlib
import json
import re
import time
import urllib.request

import numpy as np
import pytest
from playwright.sync_api import Error, TimeoutError
from screen import Lab, pixels, share

from janus_pore.drive import background
from janus_pore.show import report

pytestmark = pytest.mark.gromacs

WAIT_ms = 120_000
"""For a notebook to its end, its molecular dynamics being on disk."""


@pytest.fixture
def page(browser):
    """One window; closed with all that is in it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


def run_all(page, lab: Lab, name: str) -> None:
    """Open a notebook, choose Run > Run All Cells, and wait for the last cell."""
    page.goto(f"{lab.address}lab/tree/{name}.ipynb?token={lab.token}&reset", timeout=WAIT_ms)
    page.locator(".jp-CodeCell").first.wait_for()
    page.get_by_text(re.compile(r"\(ipykernel\) \| Idle")).wait_for(timeout=WAIT_ms)
    counted = page.locator(".jp-CodeCell .jp-InputPrompt", has_text=re.compile(r"\[\d+\]"))
    for _ in range(5):  # a kernel that is only just there drops what it is told
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        with contextlib.suppress(TimeoutError):
            counted.first.wait_for(timeout=10_000)
            break
    page.wait_for_function(
        """() => {
          const said = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
          const error = document.querySelector('[data-mime-type="application/vnd.jupyter.error"]');
          return error || said.length && said.every((p) => /\\[\\d+\\]/.test(p.textContent));
        }""",
        timeout=WAIT_ms,
    )
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts() == []


def close_kernels(lab: Lab) -> None:
    """End every kernel, as closing its notebook for good does."""
    header = {"Authorization": f"token {lab.token}"}
    listed = urllib.request.Request(f"{lab.address}api/sessions", headers=header)
    for session in json.load(urllib.request.urlopen(listed)):
        address = f"{lab.address}api/sessions/{session['id']}"
        urllib.request.urlopen(urllib.request.Request(address, headers=header, method="DELETE"))


def settled(element) -> np.ndarray:
    """A canvas once something is drawn on it."""
    element.scroll_into_view_if_needed()
    for _ in range(40):
        if share(seen := pixels(element), "white") < 0.95:
            return seen
        time.sleep(0.25)
    raise AssertionError("the canvas stays blank")


def wait_until(so) -> None:
    """What a page comes to show, sooner or later."""
    for _ in range(720):
        if so():
            return
        time.sleep(0.25)
    raise AssertionError("it did not happen within three minutes")


def differs(element, before: np.ndarray) -> bool:
    """Whether an element shows something else, and is whole again."""
    try:
        now = pixels(element)
    except Error:  # it was replaced while we looked
        return False
    return now.shape == before.shape and bool(np.abs(now - before).max() > 50)


def test_the_molecules_are_drawn_and_can_be_seen_from_two_sides(page, lab):
    run_all(page, lab, "01_build")
    canvas = page.locator(".jp-OutputArea canvas").first
    side = settled(canvas)
    assert share(side, "orange") > 0.01
    assert share(side, "blue") > 0.002
    page.get_by_role("button", name="top", exact=True).click()
    # the whole face instead of its edge
    wait_until(lambda: share(pixels(canvas), "orange") > 2 * share(side, "orange"))
    close_kernels(lab)


def test_a_design_follows_its_sliders_and_runs_while_nobody_looks(page, lab, reported, monkeypatch):
    run_all(page, lab, "02_simulate")
    canvas = page.locator(".jp-OutputArea canvas").first
    still = settled(canvas)
    page.locator(".jp-OutputArea .widget-slider .noUi-handle").first.focus()
    page.keyboard.press("End")
    wait_until(lambda: differs(canvas, still))  # another frame

    drawn = page.get_by_role("img", name="The designed field")
    drawn.scroll_into_view_if_needed()
    before = pixels(drawn)
    handle = page.locator(".widget-slider", has_text="amplitude").locator(".noUi-handle")
    handle.locator("visible=true").first.focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function("(old) => !document.body.innerHTML.includes(old)",
                           arg=drawn.get_attribute("aria-label"))  # fmt: skip
    wait_until(lambda: differs(drawn, before))

    run = page.locator("button.jupyter-button", has_text=re.compile("^run$"))
    run.click()
    status = page.get_by_role("status")
    status.filter(has_text="finished").wait_for(timeout=WAIT_ms)
    wait_until(lambda: page.get_by_text(re.compile("all of it is on disk")).is_visible())
    wait_until(lambda: drawn.get_by_text("replica 0").count() > 0)

    handle.locator("visible=true").first.focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_text(re.compile("ns of MD")).locator("visible=true").first.wait_for()
    run.click()
    status.filter(has_text="since").wait_for()
    page.close()
    close_kernels(lab)
    monkeypatch.setenv("JANUS_PORE_RUNS", str(reported.runs))
    latest = background.jobs()[0]
    wait_until(lambda: latest.process() is None)
    done, total = latest.progress()
    assert done == pytest.approx(total)
    assert len(background.jobs()) == 2


@pytest.mark.parametrize("name", report.NOTEBOOKS[2:])
def test_the_other_notebooks_run_and_their_explorers_follow(page, lab, name):
    run_all(page, lab, name)
    replica = page.locator(".widget-dropdown", has_text="replica")
    explorer = page.locator(".widget-vbox", has=replica).last
    drawn = explorer.locator("svg[role=img]").last
    drawn.scroll_into_view_if_needed()
    before = pixels(drawn)
    explorer.locator(".widget-dropdown", has_text="replica").locator("select").select_option("1")
    after = explorer.locator("svg[role=img]").last
    page.wait_for_timeout(1500)
    wait_until(lambda: differs(after, before))
    wait_until(lambda: explorer.locator("svg circle title").count() > 10)
    close_kernels(lab)
