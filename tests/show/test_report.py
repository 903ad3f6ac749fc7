"""Pages that need no network, figures with their files, and failures that are shown."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import re
import signal
import threading
import time
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from matplotlib.figure import Figure
from nbformat import v4

from janus_pore import paths, spec
from janus_pore.measure.statistics import Estimate
from janus_pore.show import page, report, scorecard, sweep

DEMO = spec.load_profile("demo")


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("CHROMIUM", "")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # no browser unless a test asks for one
    return tmp_path / "results"


class Loads(HTMLParser):
    """Everything that a page makes a browser load, and pictures without a description."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = re.findall(r"@import|url\(\s*['\"]?(?:https?:)?//", text)
        self.scripts = 0
        self.undescribed = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.scripts += tag == "script"
        self.undescribed += tag == "img" and not values.get("alt")
        loading = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}
        address = values.get(loading.get(tag, ""), "") or ""
        if not address.startswith("data:") and re.match(r"(\w+:)?//", address):
            self.found.append(address)


def simple_figure():
    figure = Figure()
    figure.add_subplot().plot([0, 1], [0, 1])
    return figure


@pytest.mark.parametrize(
    ("cell", "seen"),
    [
        ("Se -0.45", "Se −0.45"),
        ("-0.00", "0.00"),
        ("−0.0 [−4.6, 2.4]", "0.0 [−4.6, 2.4]"),
        ("1.5 [-0, 2]", "1.5 [0, 2]"),
        ("-0.05", "−0.05"),
        (-3, "−3"),
        ("mosse-hollow6-01, 2026-11-20, 1e-05", "mosse-hollow6-01, 2026-11-20, 1e-05"),
    ],
)
def test_numbers_in_tables_have_minus_signs_and_zero_has_none(cell, seen):
    shown = page.table(("quantity",), [(cell,)])
    assert f"<td>{seen}</td>" in shown.html
    assert shown.text.splitlines()[1] == seen


def test_formulas_become_described_pictures():
    text = report.mathematics("Let $x^2$ be, cost \\$5, code `$a$`, and\n\n$$\\frac{a}{b}$$\n")
    assert text.count('<img class="math"') == 2
    assert 'alt="x^2"' in text
    assert 'alt="\\frac{a}{b}"' in text
    assert "`$a$`" in text
    assert "\\$5" in text


def test_a_page_loads_nothing_and_folds_its_code(tmp_path):
    code = v4.new_code_cell("a = 1", metadata={"tags": []})
    code.outputs = [
        v4.new_output(
            "display_data",
            {
                "application/vnd.jupyter.widget-view+json": {"model_id": "x"},
                "text/html": "<p>still</p>",
            },
        )
    ]
    parameters = v4.new_code_cell("profile = 'demo'", metadata={"tags": ["parameters"]})
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell("# Title\n\n$E L_x$"), parameters, code])
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    target = report.convert(notebook, tmp_path / "x.html", "1 The system", "a title")
    text = target.read_text()
    loads = Loads(text)
    assert loads.found == []
    assert loads.scripts == 0
    assert loads.undescribed == 0
    assert "<p>still</p>" in text
    assert "widget-view" not in text
    folds = re.findall(r"<details[^>]*>", text)
    assert len(folds) == 2
    assert ["open" in fold for fold in folds] == [True, False]
    assert re.search(r'<a[^>]*aria-current="page"[^>]*>1 The system</a>', text)
    assert text.count("<h1") == 1


def test_a_progress_line_is_shown_once(tmp_path):
    cell = v4.new_code_cell("run()")
    cell.outputs = [
        v4.new_output("stream", name="stdout", text="first\nsine 0%\rsine 40%"),
        v4.new_output("stream", name="stdout", text="\rsine 100%\n"),
    ]
    page = report.convert(v4.new_notebook(cells=[cell]), tmp_path / "x.html", "", "")
    text = page.read_text()
    assert "first\nsine 100%" in text
    assert "40%" not in text


def test_a_figure_is_kept_in_three_formats_with_its_origin(results):
    one = page.Page("03_iv_ndr", DEMO)
    shown = one.figure(
        simple_figure(), "fig1b_loop", caption="A <loop>.", alt='says "so"', runs="sine r000"
    )
    folder = results / "demo" / "figures"
    assert {p.name for p in folder.iterdir()} == {
        f"fig1b_loop.{suffix}" for suffix in ("png", "svg", "pdf", "csv", "json")
    }
    table = (folder / "fig1b_loop.csv").read_text().splitlines()
    assert table[0] == "panel,series,x_quantity,x,y_quantity,y,low,high"
    assert [line.split(",")[3:6:2] for line in table[1:]] == [["0.0", "0.0"], ["1.0", "1.0"]]
    origin = json.loads((folder / "fig1b_loop.json").read_text())
    assert origin["runs"] == "sine r000"
    assert origin["notebook"] == "03_iv_ndr"
    html = shown._repr_mimebundle_()["text/html"]
    assert "A &lt;loop&gt;." in html
    assert "says &quot;so&quot;" in html
    assert Loads(html).undescribed == 0


def test_the_stamp_says_what_where_and_how_long(results):
    one = page.Page("02_simulate", DEMO)
    one.add({"MD": "1.25 ns"})
    text = one.stamp().text
    kept = json.loads((results / "demo" / "stamp_02_simulate.json").read_text())
    for name in ("commit", "hardware", "numpy", "wall time of this notebook"):
        assert kept[name]
        assert name in text
    assert kept["MD"] == "1.25 ns"


def test_the_front_page_holds_verdicts_figures_and_failures(tmp_path, results):
    one = page.Page("03_iv_ndr", DEMO)
    one.figure(simple_figure(), "fig1b_loop", caption="The loop.", alt="a loop", runs="sine")
    part = scorecard.judge("onset", Estimate(0.6, 0.5, 0.7, 2, ""), (0, 1), DEMO)
    one.scorecard([scorecard.row(1, [part], estimator="box", run="sine")])
    one.finding("Charging <carries> it.")
    one.stamp()
    (results / "demo" / "03_iv_ndr.ipynb").write_text(nbformat.writes(v4.new_notebook()))
    index = report.write_report(DEMO, {"04_water_order": "ValueError: <no>"}, tmp_path / "report")
    text = index.read_text()
    assert Loads(text).found == []
    assert Loads(text).undescribed == 0
    assert "ValueError: &lt;no&gt;" in text
    assert 'src="figures/fig1b_loop.png"' in text
    assert text.count('<th scope="row">') >= 21
    assert "1 not enough statistics; 20 not evaluated" in text
    assert (index.parent / "figures" / "fig1b_loop.png").is_file()
    assert "Charging &lt;carries&gt; it." in text
    whole = json.loads((index.parent / "scorecard.json").read_text())
    assert whole["findings"] == {"03_iv_ndr": "Charging <carries> it."}
    assert 'href="scorecard.json"' in text
    linked = set(re.findall(r'href="([^"#]+\.html)"', text))
    assert linked
    assert all((index.parent / address).is_file() for address in linked)


def test_another_system_has_a_report_of_its_own(tmp_path, results):
    control = DEMO.without_pore()
    page.Page("03_iv_ndr", control).stamp()
    index = report.write_report(control, {}, tmp_path / "report")
    assert index == tmp_path / "report" / "demo" / "no-pore" / "index.html"
    assert "no-pore" in index.read_text()
    assert not (results / "demo" / "stamp_03_iv_ndr.json").exists()
    assert (results / "demo" / "no-pore" / "stamp_03_iv_ndr.json").is_file()


def test_a_failing_notebook_keeps_its_part_and_says_its_error(tmp_path, monkeypatch, results):
    root = tmp_path / "clone"
    (root / "notebooks").mkdir(parents=True)
    cells = [
        v4.new_code_cell("profile = None", metadata={"tags": ["parameters"]}),
        v4.new_code_cell("print('before', profile)"),
        v4.new_code_cell("raise ValueError('the reason')"),
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(
        v4.new_notebook(cells=cells, metadata=metadata), root / "notebooks" / "01_build.ipynb"
    )
    monkeypatch.setattr(report.paths, "project_root", lambda: root)
    with pytest.raises(report.NotebookError, match="ValueError: the reason"):
        report.run_notebook("01_build", "demo")
    kept = (results / "demo" / "01_build.ipynb").read_text()
    assert "before demo" in kept


def leave_everything(name, words):
    """What a run of a notebook leaves for the report."""
    one = page.Page(name, DEMO)
    one.figure(simple_figure(), f"fig_{name}", caption="", alt="a picture")
    one.scorecard([])
    one.finding(words)
    one.stamp()
    (one.directory / f"{name}.ipynb").write_text(nbformat.writes(v4.new_notebook()))


def left(results, name):
    files = [p.relative_to(results / "demo") for p in (results / "demo").rglob(f"*{name}*")]
    return sorted(map(str, files))


def test_two_notebooks_may_forget_at_a_time(tmp_path):
    (tmp_path / "figures").mkdir()
    gone = tmp_path / "figures" / "a.json"
    gone.symlink_to(tmp_path / "removed by the other one")
    page.forget(tmp_path, "01_build")
    assert gone.is_symlink()


def test_what_an_earlier_run_found_is_not_told_of_one_that_failed(tmp_path, monkeypatch, results):
    import papermill

    for name in report.NOTEBOOKS:
        leave_everything(name, "FOUND BEFORE")
    assert len(left(results, "05_plasticity")) == 9

    def fails(source, target, **_):
        if "03" in source:
            raise papermill.PapermillExecutionError(1, 1, "", "ValueError", "no", [])
        leave_everything(Path(source).stem, "found now")

    monkeypatch.setattr(papermill, "execute_notebook", fails)
    asked = ["--profile", "demo", "--report", str(tmp_path)]
    assert report.main([*asked, "--only", "03_iv_ndr"]) == 1
    text = (tmp_path / "demo" / "index.html").read_text()
    assert (text.count("FOUND BEFORE"), text.count("found now")) == (4, 0)
    assert left(results, "03_iv_ndr") == ["03_iv_ndr.ipynb"]
    assert report.main(asked) == 1
    text = (tmp_path / "demo" / "index.html").read_text()
    assert (text.count("FOUND BEFORE"), text.count("found now")) == (0, 2)
    assert left(results, "05_plasticity") == []
    assert len(left(results, "02_simulate")) == 9


def test_the_printed_report_is_named_only_if_it_is_there(tmp_path, monkeypatch, results):
    browser = tmp_path / "chromium"
    monkeypatch.setenv("CHROMIUM", str(browser))
    for printing, named in (("", False), ("touch $path", True)):
        find = 'for a in "$@"; do case $a in --print-to-pdf=*) path=${a#*=};; esac; done\n'
        browser.write_text(f"#!/bin/sh\n{find}/usr/bin/{printing}\n" if printing else "#!/bin/sh\n")
        browser.chmod(0o755)
        index = report.write_report(DEMO, {}, tmp_path / "report")
        for one in (index, index.with_name("all.html")):
            assert (f'href="{report.PDF}"' in one.read_text()) == named


def test_a_report_begun_in_a_session_has_no_widgets(tmp_path, monkeypatch):
    """A command in a notebook's cell inherits the session of its kernel."""
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/reader/notes.ipynb")
    (tmp_path / "notebooks").mkdir()
    cells = [
        v4.new_code_cell("profile = None", metadata={"tags": ["parameters"]}),
        v4.new_code_cell("from janus_pore.show import view; print('live', view.live())"),
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    source = tmp_path / "notebooks" / "01_build.ipynb"
    nbformat.write(v4.new_notebook(cells=cells, metadata=metadata), source)
    monkeypatch.setattr(report.paths, "project_root", lambda: tmp_path)
    assert "live False" in report.run_notebook("01_build", "demo").read_text()


def test_a_cell_that_is_left_ends_quietly(tmp_path, monkeypatch, caplog):
    """A person stops a report in a cell whose kernel then takes its time to go."""
    began = tmp_path / "began"
    dies_at_once = "signal.signal(signal.SIGINT, lambda *_: os._exit(1))"
    cells = [
        v4.new_code_cell("profile = None", metadata={"tags": ["parameters"]}),
        v4.new_code_cell(f"import os, pathlib, signal, time\n{dies_at_once}"),
        v4.new_code_cell(f"pathlib.Path({str(began)!r}).touch()\ntime.sleep(100)"),
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (tmp_path / "notebooks").mkdir()
    source = tmp_path / "notebooks" / "01_build.ipynb"
    nbformat.write(v4.new_notebook(cells=cells, metadata=metadata), source)
    monkeypatch.setattr(report.paths, "project_root", lambda: tmp_path)

    class Slow(report._LocalKernel):
        async def shutdown_kernel(self, now=False, restart=False):
            await super().shutdown_kernel(now, restart)
            await asyncio.sleep(2)  # nbclient looks every second whether its kernel lives

    def stop():
        while not began.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(report, "_LocalKernel", Slow)
    person = threading.Thread(target=stop, daemon=True)
    person.start()
    with pytest.raises(KeyboardInterrupt):
        report.run_notebook("01_build", "demo")
    gc.collect()
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []


def test_what_an_earlier_run_drew_is_not_beside_a_run_that_stopped(tmp_path, results):
    one = page.Page("03_iv_ndr", DEMO)
    one.figure(simple_figure(), "fig1b_loop", caption="The loop.", alt="a loop", runs="sine")
    one.scorecard([])
    index = report.write_report(DEMO, {}, tmp_path / "report")
    drawn = index.parent / "figures" / "fig1b_loop.png"
    assert drawn.is_file()
    assert (index.parent / "scorecard.json").is_file()
    page.forget(DEMO.results_dir, "03_iv_ndr")
    report.write_report(DEMO, {"03_iv_ndr": "it stopped"}, tmp_path / "report")
    assert not drawn.exists()
    assert not (index.parent / "scorecard.json").exists()
    assert not (DEMO.results_dir / "scorecard.json").exists()


def test_nothing_is_simulated_where_results_ship(monkeypatch, capsys):
    monkeypatch.setattr(report, "run_notebook", None)
    assert report.main(["--source", "campaign", "--only", "02_simulate"]) == 1
    assert "--only 02_simulate: there is nothing in it to do" in capsys.readouterr().err


def test_an_unknown_profile_is_one_line(capsys):
    assert report.main(["--profile", "nosuch"]) == 1
    assert "nosuch" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JANUS_PORE_RESULTS", str(tmp_path / "file" / "results"))
    sweep_file = tmp_path / "s.yaml"
    sweep_file.write_text("{profile: tiny, vary: {seed: [1]}}", encoding="utf-8")
    assert sweep.main(["summary", str(sweep_file)]) == 1
    assert report.main(["--profile", "tiny"]) == 1
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith("error: [Errno 20] Not a directory")
        assert "$JANUS_PORE_RESULTS" in line


@pytest.mark.parametrize(
    ("option", "left_out"), [("--pore=none", "04_water_order"), ("--seed=2", None)]
)
def test_a_report_runs_what_has_something_to_show(tmp_path, monkeypatch, option, left_out):
    ran = []
    monkeypatch.setattr(report, "run_notebook", lambda name, *_: ran.append(name))
    assert report.main(["--profile", "tiny", "--report", str(tmp_path), option]) == 0
    assert ran == [name for name in report.NOTEBOOKS if name != left_out]


def test_kernels_started_side_by_side_have_sockets_of_their_own() -> None:
    one, other = (report._LocalKernel(kernel_name="python3") for _ in range(2))
    assert one.transport == other.transport == "ipc"
    assert one.ip != other.ip
    assert all(len(kernel.ip) < 90 and Path(kernel.ip).is_absolute() for kernel in (one, other))


def test_a_profile_of_ones_own_is_named_from_anywhere(results, monkeypatch):
    """The kernel works in another directory than the shell."""
    import papermill

    given = {}
    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **options: given.update(options))
    results.mkdir()
    monkeypatch.chdir(results)
    text = (paths.data_dir() / "profiles" / "tiny.yaml").read_text(encoding="utf-8")
    (results / "mine.yaml").write_text(text, encoding="utf-8")
    report.run_notebook("03_iv_ndr", "mine.yaml")
    assert given["parameters"]["profile"] == str(results / "mine.yaml")
    report.run_notebook("03_iv_ndr", "tiny")
    assert given["parameters"]["profile"] == "tiny"


def test_a_kernel_that_dies_is_reported_in_words(results, monkeypatch):
    import papermill
    from nbclient.exceptions import DeadKernelError

    def dies(*_, **__):
        raise DeadKernelError("Kernel died")

    monkeypatch.setattr(papermill, "execute_notebook", dies)
    with pytest.raises(report.NotebookError, match=r"03_iv_ndr stopped: its kernel died .* memory"):
        report.run_notebook("03_iv_ndr", "tiny")
