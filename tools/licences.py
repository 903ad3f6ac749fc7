"""List the licence of every locked package that is installed: ``make licences``."""

from __future__ import annotations

import re
import sys
from importlib import metadata

from common import ROOT

LOCKS = ("requirements.lock", "requirements-gmxapi.lock")
KNOWN = {
    "apache", "bsd", "gpl", "isc", "lgpl", "mit", "mpl", "psf", "python", "unlicense", "zlib",
    "cnri", "hpnd", "0bsd", "cc0",
}  # fmt: skip
"""Families of free licences; a text that names none of them is to be looked at."""


def locked() -> list[str]:
    """Names of the packages in the lock files."""
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in LOCKS)
    return re.findall(r"(?m)^([\w.-]+)==", text)


def licence(name: str) -> str | None:
    """What a package's metadata say of its licence; None if it is not installed.

    Its expression, else its classifiers, else the first line of the text that its metadata
    or its own licence file give.
    """
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    classified = [
        c.rpartition("::")[2].strip()
        for c in about.get_all("Classifier") or []
        if c.startswith("License ::")
    ]
    lines = "".join(about.get_all("License") or []).strip().splitlines() or _file(name)
    expressions = about.get_all("License-Expression") or []
    return " ".join(expressions) or ", ".join(classified) or lines[0][:80]


def _file(name: str) -> list[str]:
    """Lines of an installed package's licence file."""
    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError:
        files = []
    for path in files:
        if path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")):
            return path.read_text(encoding="utf-8").strip().splitlines()
    return [""]


def known(text: str) -> bool:
    """Whether a licence's text names a family of free licences."""
    return any(re.search(rf"(?i)(?<![a-z]){family}", text) for family in KNOWN)


def main() -> int:
    """Print the list; the exit status is 1 if a licence is missing or unknown."""
    found = {name: licence(name) for name in locked()}
    wide = max(map(len, found))
    for name, text in found.items():
        print(f"{name:{wide}}  {'not installed here' if text is None else text or 'NOT STATED'}")
    doubtful = [name for name, text in found.items() if text is not None and not known(text)]
    if doubtful:
        print(f"to be looked at: {', '.join(doubtful)}", file=sys.stderr)
    return 1 if doubtful else 0


if __name__ == "__main__":
    sys.exit(main())
