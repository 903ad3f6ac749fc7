"""Notebook sources are clean, run headlessly in order, and their pages need no network."""

from __future__ import annotations

import ast
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from janus_pore import paths, spec
from janus_pore.build.system import build_system, open_system
from janus_pore.errors import MissingInputError, SpecError
from janus_pore.show import report, scorecard

SOURCES = [paths.project_root() / "notebooks" / f"{name}.ipynb" for name in report.NOTEBOOKS]
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
each_name = pytest.mark.parametrize("name", report.NOTEBOOKS)


def cells(path: Path, kind: str):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


def test_every_notebook_is_named_in_the_report():
    assert sorted(p.stem for p in SOURCES[0].parent.glob("*.ipynb")) == list(report.NOTEBOOKS)


@each_source
def test_sources_hold_no_outputs(source):
    for cell in cells(source, "code"):
        assert cell.outputs == []
        assert cell.execution_count is None
    assert "widgets" not in nbformat.read(source, as_version=4).metadata


@each_source
def test_one_parameters_cell_profile_first_units_in_the_names(source):
    tagged = [c for c in cells(source, "code") if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    assigned = [node.targets[0].id for node in ast.parse(tagged[0].source).body]
    assert assigned[0] == "profile"
    assert {"charge_set", "pore", "seed"} <= set(assigned)
    values = {n.targets[0].id: ast.literal_eval(n.value) for n in ast.parse(tagged[0].source).body}
    assert values["profile"] == "demo"
    for name in ("length", "concentration", "window", "walltime"):
        assert all(re.search(r"_(nm|M|ps|h)$", n) for n in assigned if name in n)


@each_source
def test_a_notebook_says_what_it_shows_needs_and_takes(source):
    opening = cells(source, "markdown")[0].source
    for words in ("What you will see.", "What it needs.", "How long."):
        assert words in opening


@each_source
def test_every_formula_can_be_drawn(source):
    for cell in cells(source, "markdown"):
        drawn = report.mathematics(cell.source)
        assert "$" not in re.sub(r"`[^`]*`", "", drawn)


@each_source
def test_notebooks_are_thin(source):
    for cell in cells(source, "code"):
        tree = ast.parse(cell.source)
        defined = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef | ast.FunctionDef)]
        assert len(defined) <= 1
        assert len(cell.source.splitlines()) <= 45


@pytest.fixture
def apart(tmp_path, monkeypatch):
    """Runs and results of their own, both empty."""
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("JANUS_PORE_RESULTS", str(tmp_path / "results"))
    return tmp_path


def run_here(name: str, **parameters: object) -> None:
    """The notebook's code cells in this process: quicker than a kernel, same code."""
    space: dict[str, object] = {}
    for cell in cells(paths.project_root() / "notebooks" / f"{name}.ipynb", "code"):
        exec(cell.source, space)
        if "parameters" in cell.metadata.get("tags", []):
            space.update(profile="tiny", **parameters)


def test_a_missing_input_stops_the_report_and_names_what_makes_it(apart, capsys):
    arguments = ["--profile", "tiny", "--report", str(apart / "pages"), "--only", "03_iv_ndr"]
    assert report.main(arguments) == 1
    assert re.search(r"MissingInputError: .*01_build", capsys.readouterr().err)
    front = (apart / "pages" / "tiny" / "index.html").read_text()
    assert re.search(r"MissingInputError: .*01_build", front)
    assert (apart / "results" / "tiny" / "03_iv_ndr.ipynb").is_file()


@pytest.mark.parametrize("name", report.NOTEBOOKS[2:])
def test_missing_runs_name_the_notebook_that_makes_them(apart, name):
    build_system(spec.load_profile("tiny").system)
    with pytest.raises(MissingInputError, match="02_simulate"):
        run_here(name)


def test_a_wrong_parameter_is_one_clear_error_and_nothing_is_written(apart):
    with pytest.raises(SpecError, match="concentration_M = -1"):
        run_here("01_build", concentration_M=-1)
    assert list(apart.iterdir()) == []


@pytest.mark.parametrize("parameters", [{"pore": "none"}, {"charge_set": "mos2"}])
def test_the_control_and_other_charge_sets_can_be_built(apart, parameters):
    run_here("01_build", **parameters)
    profile = spec.load_profile("tiny", {f"system.{k}": v for k, v in parameters.items()})
    assert open_system(profile.system).manifest["kind"] == "system"
    assert profile.results_dir.parent == apart / "results" / "tiny"
    assert (profile.results_dir / "figures" / "fig1a_system.png").is_file()
    assert not (apart / "results" / "tiny" / "figures").exists()


def test_the_control_has_no_water_to_order(apart):
    with pytest.raises(SpecError, match="pore = 'none' is the control"):
        run_here("04_water_order", pore="none")


# --- the whole report on the tiny profile -----------------------------------------------


class Page(HTMLParser):
    """What a page loads, its pictures' descriptions, and its links."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text()
        self.loads: list[str] = re.findall(r"@import[^;]*|url\(\s*['\"]?\w+:[^)]*", self.text)
        self.descriptions: list[str] = []
        self.links: list[str] = []
        self.scripts = 0
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        values = {k: v or "" for k, v in attrs}
        self.scripts += tag in ("script", "object", "embed")
        if tag == "img":
            self.descriptions.append(values.get("alt", ""))
        if tag == "a":
            self.links.append(values.get("href", ""))
        else:
            for name in ("src", "href", "data", "poster", "srcset"):
                if name in values and not values[name].startswith("data:"):
                    self.loads.append(values[name])


@pytest.mark.gromacs
def test_all_five_run_in_order(reported):
    assert reported.status == 0
    for name in report.NOTEBOOKS:
        notebook = nbformat.read(reported.results / f"{name}.ipynb", as_version=4)
        code = [c for c in notebook.cells if c.cell_type == "code" and c.source]
        assert all(c.execution_count for c in code)
        written = "".join(o.get("text", "") for c in code for o in c.outputs if "name" in o)
        assert "Warning" not in written, written


@pytest.mark.gromacs
@each_name
def test_pages_stand_alone(reported, name):
    page = Page(reported.pages / f"{name}.html")
    assert page.scripts == 0
    assert all((reported.pages / a).is_file() for a in page.loads)
    assert all(page.descriptions)
    local = [a for a in page.links if not re.match(r"\w+:|#", a)]
    assert local
    assert all((reported.pages / a).is_file() for a in local)
    assert "Traceback" not in page.text
    assert str(reported.runs) not in page.text


@pytest.mark.gromacs
def test_the_front_page_has_every_claim_and_the_main_figures(reported):
    page = Page(reported.pages / "index.html")
    assert page.scripts == 0
    assert len(re.findall(r'<th[^>]*scope="row"[^>]*>\d+</th>', page.text)) == 21
    shown = [a for a in page.loads if a.startswith("figures/")]
    assert len(shown) == len(report.MAIN_FIGURES)
    assert "figures/fig1a_equilibrated.png" in shown
    assert all((reported.pages / a).is_file() for a in shown)
    assert "GROMACS" in page.text
    finding = json.loads((reported.results / "finding_03_iv_ndr.json").read_text())["finding"]
    assert finding in html.unescape(page.text)
    whole = json.loads((reported.pages / "scorecard.json").read_text())
    assert {r["id"] for r in whole["rows"]} == set(range(1, 22))
    assert whole["findings"]["03_iv_ndr"] == finding
    (first, *_) = (r for r in whole["rows"] if r["id"] == 1)
    for system in (first["system"], first["control_system"]):
        leaves = whole["runs"][system][first["run"].split(",")[0]]
        assert len(leaves) == 2
        assert all((reported.runs / system / leaf / "series.nc").is_file() for leaf in leaves)


@pytest.mark.gromacs
def test_tiny_proves_nothing(reported):
    rows = [
        row
        for path in reported.results.glob("scorecard_*.json")
        for row in json.loads(path.read_text())["rows"]
    ]
    assert {r["id"] for r in rows} == set(range(1, 22))
    assert {r["verdict"] for r in rows} == {
        "not enough statistics",
        "not evaluated in this run",
    }
    judged = {r["id"] for r in rows if r["verdict"] == "not enough statistics"}
    assert {*range(1, 13), *range(16, 22)} <= judged
    estimators = {r["estimator"] for r in rows if r["id"] in (1, 2, 3, 4, 5, 17, 18, 19, 20)}
    assert estimators == {"box", "pore", "crossings"}
    assert all(r["run"] for r in rows if r["id"] in judged)
    assert all((reported.runs / r["system"]).is_dir() for r in rows if r["id"] in judged)
    said = {r["control"] for r in rows if r["id"] in (1, 2, 3, 4, 5, 12, 16, 17, 18, 19, 20)}
    assert said == {"not enough statistics"}  # the control was run, and is as short
    assert all((reported.runs / r["control_system"]).is_dir() for r in rows if r["id"] == 4)


@pytest.mark.gromacs
def test_the_control_can_be_looked_at_by_itself(reported, apart, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(reported.runs))
    run_here("03_iv_ndr", pore="none")
    kept = apart / "results" / "tiny" / "no-pore"
    rows = json.loads((kept / "scorecard_03_iv_ndr.json").read_text())["rows"]
    assert {r["verdict"] for r in rows} == {"not evaluated in this run"}
    assert (kept / "figures" / "current_split.png").is_file()
    assert [p.name for p in (apart / "results" / "tiny").iterdir()] == ["no-pore"]


@pytest.mark.gromacs
def test_figures_are_kept_in_three_formats_with_their_origin(reported):
    folder = reported.results / "figures"
    names = {p.stem for p in folder.glob("*.json")}
    assert {"fig1b_loop", "fig1c_species", "current_split", "steady_state", "fig4_charge_sets",
            "fig4_comparison", "fig2a_snapshot", "fig2b_distributions",
            "fig2c_spread", "fig2d_times", "fig3_relaxation", "fig5a_pairs", "fig5b_trains",
            "fig5c_spread", "pulse_width", "reaction_field", "intrinsic_field", "relaxation_form",
            "model_fit", "model_held_out", "circuit_trace", "spiking_map",
            "table1", "table1_forces", "table1_potentials"} <= names  # fmt: skip
    for name in names:
        assert all((folder / f"{name}.{s}").stat().st_size > 500 for s in ("png", "svg", "pdf"))
        assert json.loads((folder / f"{name}.json").read_text())["commit"]


@pytest.mark.gromacs
def test_a_second_run_computes_nothing_again(there):
    def state():
        return {
            p: p.stat().st_mtime_ns
            for p in there.runs.rglob("*")
            if p.is_file() and p.suffix in (".json", ".nc", ".cpt", ".gro")
        }

    before = state()
    assert before
    report.run_notebook("02_simulate", "tiny")
    assert state() == before
    assert scorecard.collect(spec.load_profile("tiny"))
