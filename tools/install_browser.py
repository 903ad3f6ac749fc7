"""A Chromium for the tests in a browser and the report's PDF: found, or installed once.

With root or sudo it is the distribution's package. Without, apt downloads the package and
what it depends on under a private configuration, and they are unpacked in the user's cache.
Nothing else needs it, so where it cannot be had that is said and no error.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import debian
from common import ROOT, SetupError, cache_root

PACKAGE = "chromium"
WHY = "to test in a browser and to print the report"


def locate() -> Path | None:
    """The Chromium that tests and report will find."""
    if str(ROOT / "lib") not in sys.path:
        sys.path.insert(0, str(ROOT / "lib"))
    from janus_pore.paths import find_browser  # the one place that knows where things lie

    return find_browser()


def obtain() -> str:
    """Find Chromium or install it, and say what came of it."""
    if (found := locate()) is not None:
        return f"browser {found}"
    try:
        log = cache_root().parent / "browser.log"
        if shutil.which("apt-get") is None:
            obstacle = "there is no apt-get"
        elif debian.privilege() is not None:
            debian.install([PACKAGE], WHY, log)
            obstacle = "" if locate() else "the distribution's package brought none"
        else:
            unpack(cache_root().parent / PACKAGE, log)
            obstacle = ""
    except (OSError, SetupError) as error:
        obstacle = str(error).splitlines()[0]
    if not obstacle:
        return f"browser {locate()}"
    return (
        f"browser absent: {obstacle}; tests in it are skipped and the report has no PDF "
        "($CHROMIUM names one that is elsewhere)"
    )


def unpack(where: Path, log: Path) -> Path:
    """Unpack Chromium and the libraries that this machine lacks, and write its launcher.

    Returns
    -------
    Path
        The launcher, ``<where>/chromium``, which is written last.

    Raises
    ------
    SetupError
        If apt offers no such package, or it does not start.
    """
    shutil.rmtree(where, ignore_errors=True)
    root = where / "root"
    with tempfile.TemporaryDirectory() as scratch:
        debian.unpack([PACKAGE], root, Path(scratch), log)
    program = root / "usr" / "lib" / PACKAGE / PACKAGE
    libraries = ":".join(sorted({str(path.parent) for path in root.rglob("lib*.so*")}))
    text = (
        "#!/bin/sh\n"
        f"export LD_LIBRARY_PATH='{libraries}'\"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"\n"
        f"[ -d /etc/fonts ] || export FONTCONFIG_PATH='{root / 'etc' / 'fonts'}'\n"
        f"exec '{program}' \"$@\"\n"
    )
    launcher = where / f".{PACKAGE}"
    launcher.write_text(text, encoding="utf-8")
    launcher.chmod(0o755)
    asked = subprocess.run([launcher, "--version"], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise SetupError(f"the unpacked {PACKAGE} does not start: {asked.stderr.strip()[-300:]}")
    return launcher.replace(where / PACKAGE)
