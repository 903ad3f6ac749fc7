"""A Chromium for the tests in a browser and the report's PDF: found, or installed once.

With root or sudo it is the distribution's package. Without, apt downloads the package and
what it depends on under a private configuration, and they are unpacked in the user's cache.
Nothing else needs it, so where it cannot be had that is said and no error; apt is then not asked
again unless somebody does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import debian
from common import ROOT, VENV, SetupError, locked, writable_cache

PACKAGE = "chromium"
WHY = "to test in a browser and to print the report"
ABSENT = VENV / "janus-pore-no-browser"
"""Why apt had none, once that is known."""


def locate() -> Path | None:
    """The Chromium that tests and report will find."""
    if str(ROOT / "lib") not in sys.path:
        sys.path.insert(0, str(ROOT / "lib"))
    from janus_pore.paths import find_browser  # the one place that knows where things lie

    return find_browser()


def obtain(*, again: bool = False) -> str:
    """Find Chromium or install it, and say what came of it.

    Parameters
    ----------
    again
        Ask apt even if it had none before.
    """
    try:
        obstacle = "" if locate() else _install(again)
    except (OSError, SetupError) as error:
        obstacle = _brief(error)
    if not obstacle:
        return f"browser {locate()}"
    return (
        f"browser absent: {obstacle}; tests in it are skipped and the report has no PDF "
        "('make browser' tries again, $CHROMIUM names one that is elsewhere)"
    )


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0]


def _install(again: bool) -> str:
    """Have apt bring Chromium, and say why it could not; where it could not before, only that."""
    if named := os.environ.get("CHROMIUM"):
        return f"CHROMIUM = {named!r} is not a program"
    cache = writable_cache().parent
    if shutil.which("apt-get") is None:
        return "there is no apt-get"
    known = ABSENT.read_text(encoding="utf-8") if ABSENT.is_file() else ""
    if known and not again:
        return known
    log = cache / "browser.log"
    busy = "another process is installing Chromium: waiting for it"
    with locked(cache / f".{PACKAGE}.lock", busy) as alone:
        if locate():  # by that other process
            return ""
        try:
            if debian.privilege() is not None:
                debian.install([PACKAGE], WHY, log)
                obstacle = "" if locate() else "the distribution's package brought none"
            else:
                for leftover in cache.glob(f".{PACKAGE}-*") if alone else ():
                    shutil.rmtree(leftover, ignore_errors=True)
                unpack(cache / PACKAGE, log)
                obstacle = ""
        except SetupError as error:
            obstacle = _brief(error)
    with contextlib.suppress(OSError):  # no environment yet, or another user's: not kept
        ABSENT.write_text(obstacle, encoding="utf-8")
    return obstacle


def unpack(where: Path, log: Path) -> None:
    """Unpack Chromium and the libraries that this machine lacks, and write its launcher.

    It takes the place of ``where`` when it is whole and has started; its launcher is
    ``<where>/chromium``.

    Raises
    ------
    SetupError
        If apt offers no such package, or it does not start.
    """
    with (
        tempfile.TemporaryDirectory() as scratch,
        tempfile.TemporaryDirectory(prefix=f".{PACKAGE}-", dir=where.parent) as aside,
    ):
        new = Path(aside, PACKAGE)
        root = new / "root"
        debian.unpack([PACKAGE], root, Path(scratch), log)
        libraries = sorted({path.parent.relative_to(root) for path in root.rglob("lib*.so*")})
        search = ":".join(f"$root/{library}" for library in libraries)
        launcher = new / PACKAGE
        launcher.write_text(
            "#!/bin/sh\n"
            'root=$(dirname "$(readlink -f "$0")")/root\n'
            f'export LD_LIBRARY_PATH="{search}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"\n'
            '[ -d /etc/fonts ] || export FONTCONFIG_PATH="$root/etc/fonts"\n'
            f'exec "$root/usr/lib/{PACKAGE}/{PACKAGE}" "$@"\n',
            encoding="utf-8",
        )
        launcher.chmod(0o755)
        asked = subprocess.run([launcher, "--version"], capture_output=True, text=True, check=False)
        if asked.returncode != 0:
            reason = asked.stderr.strip()[-300:]
            raise SetupError(f"the unpacked {PACKAGE} does not start: {reason}")
        shutil.rmtree(where, ignore_errors=True)
        new.rename(where)
