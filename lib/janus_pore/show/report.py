"""Run the notebooks in order and turn them into pages that need no network.

``python -m janus_pore.show.report --profile demo`` leaves the executed notebooks under
``results/<profile>/`` and static pages under ``report/<profile>/``, with all of them on one
page and, where there is a Chromium to print it, as ``report.pdf``. What has been computed
before is found again by its key, so a second run only draws.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import html
import io
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nbformat
from jupyter_client.manager import AsyncKernelManager
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import math_to_image
from nbconvert import HTMLExporter

from .. import paths
from ..errors import JanusPoreError, MissingInputError, SpecError
from ..spec import Profile, SystemSpec, load_profile, profile_names
from . import scorecard
from .page import PICTURES, commit, forget
from .view import SESSION

NOTEBOOKS = ("01_build", "02_simulate", "03_iv_ndr", "04_water_order", "05_plasticity")
TITLES = {
    "01_build": "1 The system",
    "02_simulate": "2 The simulation",
    "03_iv_ndr": "3 Current and field",
    "04_water_order": "4 Order of the water",
    "05_plasticity": "5 Plasticity",
}
MAIN_FIGURES = (
    ("fig1a_equilibrated", "fig1a_system"), ("fig1b_loop",), ("current_split",),
    ("fig2c_spread",), ("fig5a_pairs",),
)  # fmt: skip
"""Figures of the front page, of each place the first that was made."""

IN_BRIEF = ("MD", "speed of a replica", "GROMACS", "MD ran on", "commit", "finished")
"""Of the execution stamps, what the front page says first."""

PRINT_TIMEOUT_S = 120
PDF = "report.pdf"

START_TIMEOUT_S = 180
"""A kernel's start can take long while other processes fill the machine."""

OUTPUT_TIMEOUT_S = 600
"""A cell's last output can come long after the cell has ended, for the same reason."""

STOP_TIMEOUT_S = 60.0
"""A kernel that is stopped waits for the checkpoints of its simulations."""

_LONGEST_SOCKET_DIRECTORY = 55
_PAGES = Path(__file__).parent / "pages"
_DISPLAY_MATH = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
_INLINE_MATH = re.compile(r"(?<![\\$\w])\$(?![\s$])(.+?)(?<![\s\\])\$(?![\w$])")
_CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)


class _LocalKernel(AsyncKernelManager):
    """Talks through files, and is given the time to stop its simulations when it ends.

    Ports on a busy machine are taken between choosing and opening.
    """

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.shutdown_wait_time = STOP_TIMEOUT_S
        # The path of such a file may hold about a hundred characters. By default all kernels
        # started in one directory would choose the same names there.
        if os.name == "posix" and len(tempfile.gettempdir()) < _LONGEST_SOCKET_DIRECTORY:
            self._sockets = tempfile.TemporaryDirectory(
                prefix="kernel-", ignore_cleanup_errors=True
            )
            self.transport, self.ip = "ipc", f"{self._sockets.name}/socket"

    async def start_kernel(self, **keywords: Any) -> None:  # type: ignore[override]
        """Without a person's session, which a command begun in a notebook's cell inherits."""
        environment = dict(keywords.pop("env", None) or os.environ)
        environment.pop(SESSION, None)
        await super().start_kernel(env=environment, **keywords)

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """Have the kernel keep to itself that its sockets are closed when it is stopped."""
        command: list[str] = super().format_kernel_cmd(
            [*(extra_arguments or []), f"--log-level={logging.CRITICAL}"]
        )
        return command

    async def shutdown_kernel(  # type: ignore[override]
        self, now: bool = False, restart: bool = False
    ) -> None:
        """Interrupt what runs, then ask; an mdrun needs a moment for its checkpoint."""
        # What a person's interrupt left waiting in this loop would tell of the kernel's death.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await super().shutdown_kernel(now=False, restart=restart)


class NotebookError(JanusPoreError):
    """A notebook stopped; the message holds its last cell's error."""

    @property
    def lacks_input(self) -> bool:
        """Whether it stopped because what it reads is not there."""
        return getattr(self.__cause__, "ename", "") == MissingInputError.__name__


def run_notebook(
    name: str,
    profile: str,
    parameters: Mapping[str, Any] | None = None,
    target: Path | None = None,
) -> Path:
    """Execute one notebook with papermill.

    Parameters
    ----------
    name
        One of :data:`NOTEBOOKS`.
    profile
        Name of a profile.
    parameters
        Further parameters of the notebook.
    target
        File of the executed notebook; by default ``results/<profile>/<name>.ipynb``, or in a
        directory of its own within where the parameters choose another system.

    Returns
    -------
    Path
        The executed notebook.

    Raises
    ------
    NotebookError
        If a cell fails. The executed part is kept.
    SpecError
        If profile or parameters are wrong.
    """
    import papermill

    chosen = load_profile(profile, _of_system(parameters or {}))
    if profile not in profile_names():
        profile = str(Path(profile).resolve())  # the kernel's working directory is another one
    source = paths.project_root() / "notebooks" / f"{name}.ipynb"
    if not source.is_file():
        raise MissingInputError(f"there is no notebook {source}; the clone is not complete")
    target = target or chosen.results_dir / f"{name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    forget(chosen.results_dir, name)
    try:
        papermill.execute_notebook(
            str(source),
            str(target),
            parameters={"profile": profile, **(parameters or {})},
            cwd=str(paths.project_root() / "notebooks"),
            progress_bar=False,
            start_timeout=START_TIMEOUT_S,
            iopub_timeout=OUTPUT_TIMEOUT_S,
            kernel_manager_class=_LocalKernel,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
        )
    except papermill.PapermillExecutionError as error:
        raise NotebookError(
            f"notebook {name} stopped in its cell {error.exec_count}: "
            f"{error.ename}: {error.evalue}\n(the part before it is kept in {target})"
        ) from error
    except TimeoutError as error:
        raise NotebookError(
            f"notebook {name} stopped: what a cell shows did not come within "
            f"{OUTPUT_TIMEOUT_S:g} s ({error}). The machine is too busy; repeat the command when "
            "it has less to do"
        ) from error
    except RuntimeError as error:  # nbclient: a dead kernel, or one that does not start
        raise NotebookError(
            f"notebook {name} stopped: its kernel died or did not start ({error}). Most often "
            "there was too little memory; close other programs and repeat the command"
        ) from error
    return target


def _of_system(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a notebook's parameters that choose its system and the source of its data, as
    overrides of a profile."""
    return {
        n if n == "source" else f"system.{n}": v
        for n, v in parameters.items()
        if n == "source" or n in SystemSpec.model_fields
    }


def mathematics(markdown: str) -> str:
    """Markdown with every formula drawn as a picture, so that it needs no MathJax.

    Parameters
    ----------
    markdown
        Text with ``$…$`` and ``$$…$$`` in the part of LaTeX that matplotlib draws.

    Returns
    -------
    str
        The same with ``<img class="math">``; the alternative text is the LaTeX.
    """

    def picture(latex: str, size_pt: float) -> str:
        latex = " ".join(latex.split())
        style: Any = {"mathtext.fontset": "cm", "svg.fonttype": "path", "svg.hashsalt": "math"}
        buffer = io.StringIO()
        with mpl.rc_context(style):
            depth = math_to_image(
                f"${latex}$", buffer, prop=FontProperties(size=size_pt), dpi=72, format="svg"
            )
        code = base64.b64encode(buffer.getvalue().encode()).decode()
        return (
            f'<img class="math" alt="{html.escape(latex)}" '
            f'style="vertical-align:{-depth:.2f}pt" src="data:image/svg+xml;base64,{code}">'
        )

    def prose(text: str) -> str:
        text = _DISPLAY_MATH.sub(
            lambda m: f'<p style="text-align:center">{picture(m[1], 14)}</p>', text
        )
        return _INLINE_MATH.sub(lambda m: picture(m[1], 12), text)

    parts = _CODE.split(markdown)
    return "".join(part if part.startswith("`") else prose(part) for part in parts)


def page_of(name: str) -> tuple[str, str]:
    """A notebook's title and the address of its page."""
    return TITLES[name], f"{name}.html"


def convert(
    notebook: Any,
    target: Path,
    here: str,
    title: str,
    pages: Sequence[tuple[str, str]] | None = None,
) -> Path:
    """Write a notebook as one static page: no script, nothing loaded from elsewhere.

    Parameters
    ----------
    notebook
        File or content.
    target
        The page.
    here
        This page's name in the navigation.
    title
        Of the page.
    pages
        Names and addresses for the navigation; by default those of a report.
    """
    nb: Any = nbformat
    content = nb.read(notebook, as_version=4) if isinstance(notebook, Path) else notebook
    content.metadata.pop("widgets", None)
    for cell in content.cells:
        if cell.cell_type == "markdown":
            cell.source = mathematics(cell.source)
    make: Any = HTMLExporter
    exporter = make(template_name=_PAGES.name, extra_template_basedirs=[str(_PAGES.parent)])
    # pictures instead of widgets, which are dead without a kernel
    exporter.register_preprocessor(_still, enabled=True)
    body, _ = exporter.from_notebook_node(
        content,
        resources={
            "title": title,
            "here": here,
            "style": (_PAGES / "style.css").read_text(encoding="utf-8"),
            "pages": pages
            or (
                ("Overview", "index.html"),
                *map(page_of, NOTEBOOKS),
                ("All on one page", "all.html"),
            ),
        },
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(body, encoding="utf-8")
    return target


def _still(
    notebook: nbformat.NotebookNode, resources: dict[str, Any]
) -> tuple[nbformat.NotebookNode, dict[str, Any]]:
    """Drop what only a live page could show; of a progress line keep its last state."""
    for cell in notebook.cells:
        together: list[Any] = []
        for output in cell.get("outputs", []):
            same = together and output.output_type == together[-1].output_type == "stream"
            if same and output.name == together[-1].name:
                together[-1].text += output.text
            else:
                together.append(output)
        for output in together:
            if output.output_type == "stream":
                lines = output.text.split("\n")
                kept = [line.rstrip("\r").rsplit("\r")[-1].rstrip() for line in lines]
                output.text = "\n".join(line for line in kept if line)
            for kind in list(output.get("data", {})):
                if kind.startswith("application/"):
                    del output.data[kind]
        if "outputs" in cell:
            cell.outputs = together
    return notebook, resources


def front_page(
    profile: Profile, failures: Mapping[str, str], ran: Sequence[str], *, printed: bool = False
) -> Any:
    """The report's first page: what was run in brief, verdicts, main figures, all stamps.

    Parameters
    ----------
    profile
        The profile.
    failures
        Notebook to its error.
    ran
        Notebooks whose pages are there.
    printed
        Whether :data:`PDF` lies beside the page.
    """
    results = profile.results_dir
    parts = [
        "# Field-ordered water in an ångström-scale Janus MoSSe pore\n\n"
        "Five notebooks build one sub-nanometre pore in a monolayer of MoSSe between two "
        "reservoirs of potassium chloride, drive it with electric fields in GROMACS, and ask of "
        "each published claim about it (doi [10.1039/d5fd00130g]"
        "(https://doi.org/10.1039/d5fd00130g)) whether this run bears it out.\n\n"
        f"**Profile `{profile.name}`:** {profile.description}."
        + (
            f" **Another system than the profile's own: {profile.variant}.**"
            if profile.variant
            else ""
        ),
    ]
    if printed:
        parts[0] += f" Everything in one file: [{PDF}]({PDF})."
    stamps = [results / f"stamp_{name}.json" for name in ran]
    known = [json.loads(p.read_text("utf-8")) for p in stamps if p.is_file()]
    together = {name: text for stamp in known for name, text in stamp.items()}
    brief = [f"{name} {together[name]}" for name in IN_BRIEF if name in together]
    if brief:
        parts.append(f"**What was run:** {html.escape('; '.join(brief))}.")
    parts += [
        f'<div class="failure"><strong>{TITLES[name]} stopped.</strong>'
        f"<pre>{html.escape(message)}</pre></div>"
        for name, message in failures.items()
    ]
    findings = _findings(profile)
    if findings:
        parts.append("## What this run says")
        parts += [f"> {html.escape(text)}" for text in findings.values()]
    rows = scorecard.collect(profile) if list(results.glob("scorecard_*.json")) else []
    if rows:
        counts = scorecard.count(rows)
        summary = "; ".join(f"{n} {verdict}" for verdict, n in counts.items() if n)
        parts.append(
            f"**Of the paper's {sum(counts.values())} claims:** {summary}. A claim about a current "
            "is judged by each of three estimators, one about water by up to three measures; it "
            "counts as reproduced, or not, where one of them says so and none the opposite. A "
            f"verdict needs at least {scorecard.LEAST_INDEPENDENT} independent samples and an "
            "interval that lies wholly on one side; a short run mostly cannot give one, and says "
            "so. The same test is put to the membrane without a pore. As data: "
            "[scorecard.json](scorecard.json)."
        )
    shown = [
        made[0]
        for names in MAIN_FIGURES
        if (made := [p for n in names if (p := results / "figures" / f"{n}.json").is_file()])
    ]
    if shown:
        parts.append("## Main figures")
    for path in shown:
        one = json.loads(path.read_text("utf-8"))
        parts.append(
            f'<figure><a href="{one["notebook"]}.html"><img src="figures/{one["name"]}.png" '
            f'alt="{html.escape(one["alt"])}" width="{one["width_px"]}" '
            'style="max-width:100%"></a>'
            f"<figcaption>{html.escape(one['caption'])}</figcaption></figure>"
        )
    if rows:
        parts.append("## What the paper states, and what this run found")
        parts.append(scorecard.as_html(rows))
    kept = [json.loads(p.read_text("utf-8")) for p in sorted((results / "figures").glob("*.json"))]
    if kept:
        parts += ["## Every figure, and the numbers behind it", _files_table(kept)]
    if known:
        parts += ["## What was run", _stamps_table(known)]
    return as_notebook(parts)


def _findings(profile: Profile) -> dict[str, str]:
    """Notebook to what it found, in words."""
    found = sorted(profile.results_dir.glob("finding_*.json"))
    return {
        p.stem.removeprefix("finding_"): json.loads(p.read_text("utf-8"))["finding"] for p in found
    }


def _files_table(kept: Sequence[Mapping[str, Any]]) -> str:
    """Figures by notebook with their files."""
    lines = []
    for one in sorted(kept, key=lambda one: (one["notebook"], one["name"])):
        files = " · ".join(
            f'<a href="figures/{one["name"]}.{kind}">{kind.upper()}</a>'
            for kind in one.get("kinds", PICTURES)
        )
        lines.append(
            f'<tr><th scope="row"><a href="{one["notebook"]}.html">{TITLES[one["notebook"]]}</a>'
            f"</th><td>{html.escape(one['caption'])}</td><td>{files}</td></tr>"
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("notebook", "figure", "files"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _stamps_table(stamps: Sequence[Mapping[str, str]]) -> str:
    """Execution stamps side by side; what all have in common stands once."""
    fullest = max(stamps, key=len)
    names = list(dict.fromkeys(n for stamp in (fullest, *stamps) for n in stamp))
    names.remove("notebook")
    head = "".join(f'<th scope="col">{html.escape(s["notebook"])}</th>' for s in stamps)
    lines = []
    for name in names:
        values = [html.escape(stamp.get(name, "")) for stamp in stamps]
        cells = "".join(f"<td>{value}</td>" for value in values)
        if len(set(values)) == 1:
            cells = f'<td colspan="{len(stamps)}">{values[0]}</td>'
        lines.append(f'<tr><th scope="row">{html.escape(name)}</th>{cells}</tr>')
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def as_notebook(parts: Sequence[str]) -> Any:
    """A notebook of text alone."""
    v4: Any = nbformat.v4
    return v4.new_notebook(cells=[v4.new_markdown_cell(part) for part in parts])


def write_report(profile: Profile, failures: Mapping[str, str], destination: Path) -> Path:
    """Convert every executed notebook of a profile and write the front page.

    Returns
    -------
    Path
        ``<destination>/<profile>/index.html``, or in a directory within for another system.

    Notes
    -----
    ``all.html`` holds everything on one page; ``report.pdf`` is that page printed, if there
    is a browser for it (:func:`janus_pore.paths.find_browser`).
    """
    results, folder = profile.results_dir, destination / profile.name / profile.variant
    folder.mkdir(parents=True, exist_ok=True)
    pdf = folder / PDF
    pdf.unlink(missing_ok=True)
    browser = paths.find_browser()
    ran = [name for name in NOTEBOOKS if (results / f"{name}.ipynb").is_file()]
    for name in NOTEBOOKS:
        if name in ran:
            convert(results / f"{name}.ipynb", folder / f"{name}.html", TITLES[name], TITLES[name])
        else:
            why = "Nothing is simulated: the results ship." if profile.source != "live" else ""
            blank = as_notebook([f"# {TITLES[name]}\n\n{why or 'Not run yet.'}"])
            convert(blank, folder / f"{name}.html", TITLES[name], TITLES[name])
    for name in ("figures", "views"):
        shutil.rmtree(folder / name, ignore_errors=True)  # what has failed since is not shown
        if (results / name).is_dir():
            shutil.copytree(results / name, folder / name, dirs_exist_ok=True)
    (folder / scorecard.WHOLE).unlink(missing_ok=True)
    if list(results.glob("scorecard_*.json")):
        as_data = scorecard.write_whole(profile, _findings(profile), commit())
        shutil.copy2(as_data, folder / as_data.name)
    title = " ".join(filter(None, ("Janus pore:", profile.name, profile.variant)))
    for printed in (False, True):
        front = front_page(profile, failures, ran, printed=printed)
        index = convert(front, folder / "index.html", "Overview", title)
        whole = _all_on_one_page(index, [folder / f"{name}.html" for name in ran])
        if browser is None:
            print(f"no {PDF}: there is no Chromium to print it ($CHROMIUM names one)")
        elif not printed:
            print_pdf(browser, whole, pdf)
        if not pdf.is_file():
            break
    return index


def _all_on_one_page(index: Path, pages: Sequence[Path]) -> Path:
    """``all.html`` beside the front page: its frame around the content of every page."""
    begin, end = "<main>", "</main>"
    front = index.read_text("utf-8")
    contents = [
        page.read_text("utf-8").partition(begin)[2].rpartition(end)[0] for page in (index, *pages)
    ]
    joined = "".join(f'<section class="page">{content}</section>' for content in contents)
    whole = front.partition(begin)[0] + begin + joined + end + front.rpartition(end)[2]
    current, there = 'href="index.html" aria-current="page"', 'href="all.html"'
    whole = whole.replace(current, 'href="index.html"').replace(
        there, f'{there} aria-current="page"'
    )
    target = index.with_name("all.html")
    target.write_text(whole, encoding="utf-8")
    return target


def print_pdf(browser: Path, page: Path, target: Path) -> None:
    """Print a page without network; a browser that cannot is reported and no error."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            str(browser), "--headless", "--disable-gpu", "--no-pdf-header-footer",
            "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={scratch}", f"--print-to-pdf={target.resolve()}",
        ]  # fmt: skip
        if os.geteuid() == 0:  # as root it refuses to start with its sandbox
            command.append("--no-sandbox")
        try:
            done = subprocess.run(
                [*command, page.resolve().as_uri()], capture_output=True, text=True,
                timeout=PRINT_TIMEOUT_S, check=False,
            )  # fmt: skip
            trouble = done.stderr
        except (OSError, subprocess.TimeoutExpired) as error:
            trouble = str(error)
    if not target.is_file():
        print(f"no {target.name}: {browser} could not print it:\n{trouble[-500:]}")


def _leave_out(profile: Profile, names: Iterable[str]) -> None:
    """Remove what other runs left of notebooks that a whole report does not run."""
    for name in names:
        forget(profile.results_dir, name)
        (profile.results_dir / f"{name}.ipynb").unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m janus_pore.show.report",
        description="Run the five notebooks in order and write the static report.",
    )
    parser.add_argument("--profile", default="demo", help="a shipped profile or a YAML file")
    parser.add_argument("--report", type=Path, default=None, help="where the pages go (report/)")
    parser.add_argument(
        "--only", nargs="+", choices=NOTEBOOKS, metavar="NOTEBOOK",
        help="run only these notebooks; pages of the others are kept",
    )  # fmt: skip
    parser.add_argument(
        "--source", choices=("live", "campaign"),
        help="campaign: the results that ship, without any MD and without GROMACS",
    )  # fmt: skip
    parser.add_argument("--charge-set", help="another charge set than the profile's")
    parser.add_argument("--pore", help="another pore than the profile's; 'none' is the control")
    parser.add_argument("--seed", type=int, help="another seed of the system")
    options = parser.parse_args(arguments)
    asked = {
        "source": options.source,
        "charge_set": options.charge_set,
        "pore": options.pore,
        "seed": options.seed,
    }
    system = {name: value for name, value in asked.items() if value is not None}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return exit_status(lambda: _made(options, system))


def exit_status(work: Callable[[], int]) -> int:
    """What a command ends with; why its work failed is told in one line."""
    try:
        return work()
    except JanusPoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"error: {error}; make room, or let $JANUS_PORE_RESULTS or $JANUS_PORE_RUNS name a "
            "folder that can be written",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command continues where it was", file=sys.stderr)
        return 130


def _made(options: argparse.Namespace, system: Mapping[str, Any]) -> int:
    failures: dict[str, str] = {}
    status = 0
    profile = load_profile(options.profile, _of_system(system))
    nothing_to_do = set()
    if profile.source == "campaign":
        nothing_to_do.add("02_simulate")
    if profile.system.pore == "none":
        nothing_to_do.add("04_water_order")  # no pore, no water in it
    if idle := nothing_to_do & set(options.only or ()):
        raise SpecError(
            f"--only {' '.join(sorted(idle))}: there is nothing in it to do with "
            f"source = {profile.source}, pore = {profile.system.pore}; leave it out"
        )
    names = options.only or [n for n in NOTEBOOKS if n not in nothing_to_do]
    if not options.only:
        _leave_out(profile, nothing_to_do)  # live runs and what ships share a folder
    for name in names:
        print(f"{name} …", flush=True)
        start = time.monotonic()
        try:
            run_notebook(name, options.profile, system)
        except NotebookError as error:
            failures[name] = str(error)
            print(str(error), file=sys.stderr, flush=True)
            if profile.source == "campaign" and error.lacks_input:
                continue  # notebooks of what ships do not build on one another
            status = 1
            if not options.only:
                _leave_out(profile, names[names.index(name) + 1 :])
            break
        print(f"{name} done in {time.monotonic() - start:.0f} s", flush=True)
    index = write_report(profile, failures, options.report or paths.report_dir())
    print(f"report: {index}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
