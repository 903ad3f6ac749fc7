"""What a notebook puts on its page: figures with their files, tables, a stamp.

Each notebook opens one :class:`Page`. Its figures are kept as PNG, SVG and PDF under
``results/<profile>/figures``, each with the numbers behind it as CSV and a small JSON file
that says what it shows, from which runs, and at which commit.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import glob
import html
import io
import json
import platform
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from matplotlib.figure import Figure

from .. import __version__
from ..drive import gromacs
from ..drive.manifests import git_commit
from ..spec import Profile, key
from . import figures, scorecard, view

SCREEN_DPI = 110
"""Pixels per inch of a figure on a page; its file has more."""
PICTURES = ("png", "svg", "pdf")
PACKAGES = ("numpy", "scipy", "xarray", "MDAnalysis", "matplotlib", "pydantic", "papermill")


@dataclass(frozen=True)
class Shown:
    """HTML for the reader and plain text for where there is no HTML."""

    html: str
    text: str

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}


@dataclass
class Page:
    """One notebook's page for one profile and system.

    Attributes
    ----------
    notebook
        Name of the notebook, e.g. ``03_iv_ndr``.
    profile
        The validated profile that it runs with.
    """

    notebook: str
    profile: Profile
    started: float = field(default_factory=time.monotonic)
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """``results/<profile>``, or a directory within it for another system."""
        return self.profile.results_dir

    def figure(self, figure: Figure, name: str, *, caption: str, alt: str, runs: str = "") -> Shown:
        """Keep a figure's files and show it with its caption.

        Parameters
        ----------
        figure
            From :mod:`janus_pore.show.figures`.
        name
            File name without suffix, e.g. ``fig1b_loop``.
        caption
            Below the figure; plain text.
        alt
            What a reader who cannot see the picture should know.
        runs
            The runs that it was drawn from.
        """
        folder = self.directory / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        figures.save(figure, folder / name, PICTURES)
        kinds = list(PICTURES)
        if points := figures.data_of(figure):
            kinds.append("csv")
            with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows([figures.Point._fields, *points])
        content = {
            "name": name,
            "notebook": self.notebook,
            "profile": self.profile.name,
            "variant": self.profile.variant,
            "system": scorecard.system_name(self.profile.system),
            "caption": caption,
            "alt": alt,
            "runs": runs,
            "kinds": kinds,
            "commit": commit(),
            "width_px": round(figure.get_figwidth() * SCREEN_DPI),
        }
        scorecard.write_json(folder / f"{name}.json", content)
        picture = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
        # addresses hold in the report; a notebook that is at work lies elsewhere
        files = (
            html.escape(f"{folder}/{name}.{{{','.join(kinds)}}}")
            if view.live()
            else " · ".join(f'<a href="figures/{name}.{k}">{k.upper()}</a>' for k in kinds)
        )
        return Shown(
            f'<figure><img src="data:image/png;base64,{picture}" alt="{html.escape(alt)}" '
            f'width="{content["width_px"]}" style="max-width:100%;height:auto">'
            f"<figcaption>{html.escape(caption)} <small>{files}</small></figcaption></figure>",
            f"[figure {name}] {alt}",
        )

    def molecules(
        self, frames: Sequence[view.Frame], name: str, *, caption: str, alt: str, runs: str = ""
    ) -> Any:
        """The molecules, to be turned and played: a widget where a person works with it,
        else a picture with a page beneath it that needs neither kernel nor network.

        Parameters
        ----------
        frames
            From :func:`janus_pore.show.view.frames_of`; the last one is the picture.
        name, caption, alt, runs
            As for :meth:`figure`.
        """
        if view.live():
            return view.widget(frames)
        last = frames[-1]
        shown = self.figure(
            figures.molecules(last.atoms, last.dipoles, note=last.label),
            name, caption=caption, alt=alt, runs=runs,
        )  # fmt: skip
        front_end = view.front_end()
        if front_end is None:
            return shown
        folder = self.directory / "views"
        folder.mkdir(parents=True, exist_ok=True)
        page = view.standalone(frames, title=caption, alt=alt)
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
        shutil.copy(front_end, folder / view.NGL)
        for licence in front_end.parent.glob("*.LICENSE.txt"):
            shutil.copy(licence, folder)
        return Shown(
            f'{shown.html}<iframe src="views/{name}.html" title="{html.escape(alt)}" '
            'class="molecules" loading="lazy"></iframe>',
            shown.text,
        )

    def scorecard(self, rows: Sequence[scorecard.Row]) -> Shown:
        """Show and keep the verdicts on this notebook's claims, those not judged included."""
        traced = [scorecard.of_system(r, self.profile) for r in rows]
        full = scorecard.complete(traced, self.notebook)
        scorecard.write(full, self.profile, self.notebook)
        return Shown(
            scorecard.as_html(full),
            "\n".join(f"{r.id:>2} {r.estimator:<10} {r.verdict}: {r.found}" for r in full),
        )

    def finding(self, text: str) -> Shown:
        """Show what this run says in a paragraph, and keep it for the front page."""
        scorecard.write_json(self.directory / f"finding_{self.notebook}.json", {"finding": text})
        return Shown(f"<blockquote><p>{html.escape(text)}</p></blockquote>", text)

    def add(self, facts: Mapping[str, object]) -> None:
        """Facts for the stamp by what they are, e.g. ``{"MD": "1.2 ns"}``."""
        self.facts.update({name: str(value) for name, value in facts.items()})

    def stamp(self) -> Shown:
        """What ran, where and how long; also kept as ``stamp_<notebook>.json``."""
        content = {
            "notebook": self.notebook,
            "profile": " ".join(
                (self.profile.name, *filter(None, [self.profile.variant]), f"({key(self.profile)})")
            ),
            **self.facts,
            "commit": commit(),
            "janus_pore": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
            "hardware": hardware(),
            "finished": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
            "wall time of this notebook": f"{time.monotonic() - self.started:.1f} s",
        }
        scorecard.write_json(self.directory / f"stamp_{self.notebook}.json", content)
        return table(("", "execution"), content.items())


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "") -> Shown:
    """A table of plain values as HTML and text, numbers below zero with a minus sign."""
    body = [[_typeset(str(cell)) for cell in row] for row in rows]
    head = "".join(f'<th scope="col">{html.escape(c)}</th>' for c in columns)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body
    )
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    text = io.StringIO()
    for row in [list(columns), *body]:
        print(" | ".join(row), file=text)
    return Shown(
        f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>",
        text.getvalue(),
    )


def _typeset(text: str) -> str:
    text = re.sub(r"(?<![^\s\[(,])-(?=\d)", "−", text)
    return re.sub(r"(?<![^\s\[(,])−(?=0(\.0+)?(?![.\d]))", "", text)  # what is rounded to zero


def forget(directory: Path, notebook: str) -> None:
    """Remove the figures, verdicts, finding and stamp that a notebook left in a folder of
    results, so that what is told beside the next run is not told of it.
    """
    (directory / scorecard.WHOLE).unlink(missing_ok=True)  # made again of what is left
    for kind in ("stamp", "scorecard", "finding", "model"):
        (directory / f"{kind}_{notebook}.json").unlink(missing_ok=True)
    for record in (directory / "figures").glob("*.json"):
        with contextlib.suppress(FileNotFoundError):  # another notebook forgets its own
            if json.loads(record.read_text("utf-8")).get("notebook") == notebook:
                for file in record.parent.glob(f"{glob.escape(record.stem)}.*"):
                    file.unlink(missing_ok=True)


def commit() -> str:
    """Commit of the clone, with ``+`` if tracked files were changed; "unknown" without git."""
    found = git_commit()
    return found[:12] + found[40:] if found else "unknown"


def hardware() -> str:
    """Processor model, cores that this process may use, and memory."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{gromacs.processor()}, {gromacs.cores()} cores, {memory:.0f} GiB"
