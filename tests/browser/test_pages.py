"""The report, opened from disk without network: figures, molecules that turn, no complaint."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pytest
from screen import pixels, share

from janus_pore.show import report

pytestmark = pytest.mark.gromacs

PHONE = {"width": 375, "height": 700}


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def page(browser, complaints):
    """A window without network that takes note of all that goes wrong."""
    context = browser.new_context(offline=True, viewport={"width": 1100, "height": 900})
    opened = context.new_page()
    opened.on("console", lambda said: said.type == "error" and complaints.append(said.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("requestfailed", lambda request: complaints.append(request.url))
    yield opened
    context.close()


def test_every_page_shows_its_pictures_and_its_links_lead_somewhere(page, reported, complaints):
    page.goto((reported.pages / "index.html").as_uri())
    addresses = page.locator("nav a").evaluate_all("links => links.map((link) => link.href)")
    assert len(addresses) == len(report.NOTEBOOKS) + 2
    for address in addresses:
        page.goto(address)
        page.wait_for_function("[...document.images].every((image) => image.complete)")
        widths = page.locator("img").evaluate_all("all => all.map((image) => image.naturalWidth)")
        assert widths
        assert all(widths)
        for link in page.locator("a[href]").evaluate_all("all => all.map((link) => link.href)"):
            if link.startswith("file:"):
                assert Path(url2pathname(urlparse(link).path)).is_file(), link
    assert complaints == []


def test_a_phone_needs_no_sideways_scrolling(page, reported):
    page.set_viewport_size(PHONE)
    for name in ("index", *report.NOTEBOOKS):
        page.goto((reported.pages / f"{name}.html").as_uri())
        assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]


def test_the_molecules_turn_and_stop_and_play(page, reported, complaints):
    page.goto((reported.pages / "02_simulate.html").as_uri())
    frame = page.locator("iframe.molecules")
    frame.scroll_into_view_if_needed()
    inside = frame.content_frame
    inside.locator("body[data-ready]").wait_for()
    canvas = inside.locator("canvas").first
    page.wait_for_timeout(500)
    before = pixels(canvas)
    assert share(before, "white") < 0.95
    assert share(before, "orange") > 0.01
    page.wait_for_timeout(700)
    assert np.abs(pixels(canvas) - before).max() > 50  # it turns
    inside.get_by_role("button", name="turn").click()
    inside.get_by_role("button", name="top").click()
    page.wait_for_timeout(500)
    top = pixels(canvas)
    assert np.array_equal(pixels(canvas), top)  # it stands
    assert share(top, "orange") > share(before, "orange")
    inside.get_by_label("frame").focus()
    page.keyboard.press("End")
    page.wait_for_timeout(500)
    assert np.abs(pixels(canvas) - top).max() > 50  # another state
    assert complaints == []


def test_the_whole_report_is_printed(browser, reported):
    pdf = reported.pages / report.PDF
    assert pdf.read_bytes().startswith(b"%PDF")
    if shutil.which("pdftotext"):
        text = subprocess.run(["pdftotext", pdf, "-"], capture_output=True, text=True, check=True)
        for title in report.TITLES.values():
            assert title.split(" ", 1)[1].split()[0] in text.stdout
