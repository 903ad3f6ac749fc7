"""A real browser, a real JupyterLab, and what both of them look at."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from screen import Lab

from janus_pore import paths
from janus_pore.show import report

SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
"""Nothing asked at the start, and every cell on the page."""


@pytest.fixture(scope="module")
def browser(reported: Any) -> Iterator[Any]:
    """Chromium without a screen. It comes after the report, whose kernels need a loop too."""
    program = paths.find_browser()
    if program is None:
        pytest.skip("no Chromium here: 'make browser' installs one where it can be had")
    from playwright.sync_api import sync_playwright

    options = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=program, args=options, chromium_sandbox=os.geteuid() != 0
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def lab(reported: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """``jupyter lab`` on a free port, away from the reader's own settings and files."""
    root = tmp_path_factory.mktemp("lab")
    folder = root / "notebooks"
    folder.mkdir()
    for name in report.NOTEBOOKS:
        notebook = nbformat.read(paths.project_root() / "notebooks" / f"{name}.ipynb", 4)
        for cell in notebook.cells:
            if "parameters" in cell.metadata.get("tags", []):
                cell.source = cell.source.replace('profile = "demo"', 'profile = "tiny"')
        nbformat.write(notebook, folder / f"{name}.ipynb")
    for name, values in SETTINGS.items():
        file = root / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    token = secrets.token_hex(16)
    environment = {
        **os.environ,
        "JANUS_PORE_RUNS": str(reported.runs),
        "JANUS_PORE_RESULTS": str(root / "results"),
        "JUPYTER_CONFIG_DIR": str(root / "config"),
        "JUPYTER_RUNTIME_DIR": str(root / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(root / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(root / "workspaces"),
        "IPYTHONDIR": str(root / "ipython"),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = root / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
                "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
                f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}",
            ],
            cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield Lab(_address(server, root / "runtime", log), token, folder)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)
        shutil.rmtree(root, ignore_errors=True)


def _address(server: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    """Where the server says that it listens."""
    for _ in range(600):
        for file in runtime.glob(f"jpserver-{server.pid}.json"):
            return str(json.loads(file.read_text())["url"])
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()}")
