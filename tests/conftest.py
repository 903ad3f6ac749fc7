"""The five notebooks run once on the tiny profile; many tests look at the same run."""

from pathlib import Path
from typing import NamedTuple

import pytest

from janus_pore.show import report


class Reported(NamedTuple):
    """Where a report was made, and what its command returned."""

    runs: Path
    results: Path
    pages: Path
    status: int


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """``python -m janus_pore.show.report --profile tiny``, away from the clone."""
    root = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JANUS_PORE_RUNS", str(root / "runs"))
        patch.setenv("JANUS_PORE_RESULTS", str(root / "results"))
        patch.delenv("JPY_SESSION_NAME", raising=False)
        status = report.main(["--profile", "tiny", "--report", str(root / "pages")])
    return Reported(root / "runs", root / "results" / "tiny", root / "pages" / "tiny", status)


@pytest.fixture
def there(reported: Reported, monkeypatch: pytest.MonkeyPatch) -> Reported:
    """Runs and results are those of the report."""
    monkeypatch.setenv("JANUS_PORE_RUNS", str(reported.runs))
    monkeypatch.setenv("JANUS_PORE_RESULTS", str(reported.results.parent))
    return reported
