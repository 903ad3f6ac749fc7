"""The one place that knows where things lie.

Everything the project computes goes under two roots: ``runs/`` (systems and MD, large,
reusable) and ``results/`` and ``report/`` (executed notebooks and pages). Set
``JANUS_PORE_RUNS`` to keep ``runs/`` elsewhere, ``JANUS_PORE_RESULTS`` for ``results/``. Software
built once per machine lies in the user's cache, outside the clone, which ``XDG_CACHE_HOME`` moves.
Relative ones start at the clone, because kernels and jobs have other working directories than the
shell.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from pathlib import Path

from .errors import JanusPoreError


def project_root() -> Path:
    """Directory of the clone: the nearest parent of this file that holds ``data/profiles``."""
    for parent in Path(__file__).resolve().parents:
        if (parent / "data" / "profiles").is_dir():
            return parent
    raise JanusPoreError(
        "the project's data/ directory was not found above "
        f"{Path(__file__).resolve()}: install the package from its clone with "
        "'pip install -e .' (or run 'make setup')"
    )


def data_dir() -> Path:
    """Versioned inputs: force field, profiles, reference values, campaigns."""
    return project_root() / "data"


def runs_dir() -> Path:
    """Where systems and MD are kept: ``$JANUS_PORE_RUNS``, else ``runs/`` in the clone."""
    return _named("JANUS_PORE_RUNS", "runs")


def results_dir() -> Path:
    """Executed notebooks and figures by profile: ``$JANUS_PORE_RESULTS``, else ``results/``."""
    return _named("JANUS_PORE_RESULTS", "results")


def _named(variable: str, default: str) -> Path:
    return (project_root() / Path(os.environ.get(variable) or default).expanduser()).resolve()


def report_dir() -> Path:
    """The static report."""
    return project_root() / "report"


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write a file so that a reader finds the old one or the new one, never half of one.

    Processes and threads that write the same file at the same time do not disturb each other.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        return temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def cache_dir() -> Path:
    """Software built once per machine, shared by clones: ``$XDG_CACHE_HOME/janus-pore``.

    Raises
    ------
    JanusPoreError
        If it is to lie in the home directory of a user who has none.
    """
    try:
        return _named("XDG_CACHE_HOME", "~/.cache") / "janus-pore"
    except RuntimeError as error:  # as in a container that runs under a bare number
        raise JanusPoreError(
            f"the cache cannot lie in {os.environ.get('XDG_CACHE_HOME') or '~/.cache'} ({error}): "
            "set XDG_CACHE_HOME to the full path of a directory that you can write"
        ) from error


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> Path | None:
    """A Chromium: ``$CHROMIUM``, one on ``PATH``, or the one that set-up keeps in the cache."""
    if named := os.environ.get("CHROMIUM"):
        return Path(found) if (found := shutil.which(named)) else None
    for name in BROWSERS:
        if found := shutil.which(name):
            return Path(found)
    with contextlib.suppress(JanusPoreError):  # no home, no cache, and still no need of a PDF
        kept = cache_dir() / "chromium" / "chromium"
        return kept if os.access(kept, os.X_OK) else None  # no error where it cannot be reached
    return None
