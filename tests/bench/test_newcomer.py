"""What set-up and report print, told apart by stage."""

import sys
from pathlib import Path

import pytest

import newcomer
import results

PRINTED = """\
0 installing cmake libfftw3-dev (needed to set up)
20 making the Python environment .venv
24   installing 176 packages    0 %  0:00
60   installing 176 packages  100 %  0:40
61   installing the project itself, editable
70 fetching the source package gromacs with apt
90 building GROMACS 2022.5 from the distribution's source package (AVX_512, CPU, 2 at a time): …
91   configuring
100   compiling    0 %  0:00
600   compiling  100 %  8:20
601   installing
610 GROMACS 2022.5 (AVX_512, GPU support disabled): /cache/gromacs/2022.5-avx_512/bin/gmx
611 installing gmxapi against /cache/gromacs/2022.5-avx_512
670   importing it
672 gmxapi, built against /cache/gromacs/2022.5-avx_512
673 installing chromium (to test in a browser and to print the report)
700 browser /usr/bin/chromium
702 01_build …
709 GROMACS 2022.5 says so in a notebook
720 01_build done in 18 s
720 02_simulate …
990 making the Python environment
1000 02_simulate done in 280 s
1000 03_iv_ndr …
1030 03_iv_ndr done in 30 s
1030 04_water_order …
1050 04_water_order done in 20 s
1050 05_plasticity …
1100 05_plasticity done in 50 s
1110 report: /clone/report/demo/index.html"""
TOOK = {
    "build tools, by apt": 25.0, "Python environment": 50.0, "GROMACS": 541.0, "gmxapi": 61.0,
    "browser": 30.0, "01_build": 18.0, "02_simulate": 280.0, "03_iv_ndr": 30.0,
    "04_water_order": 20.0, "05_plasticity": 50.0, "pages and PDF": 10.0,
}  # fmt: skip


def lines(printed: str) -> list[tuple[float, str]]:
    return [
        (float(when), text) for when, _, text in (x.partition(" ") for x in printed.split("\n"))
    ]


def test_each_stage_has_its_time() -> None:
    assert newcomer.stages(lines(PRINTED), began=-5.0) == TOOK
    assert list(newcomer.stages(lines(PRINTED), began=-5.0)) == list(TOOK)


def test_what_a_machine_has_takes_no_stage() -> None:
    short = [x for x in lines(PRINTED) if "needed to" not in x[1] and "ing gmxapi" not in x[1]]
    short = [(when, text.replace("gmxapi,", "gmxapi absent:")) for when, text in short]
    took = newcomer.stages(short, began=0.0)
    assert set(TOOK) - set(took) == {"build tools, by apt", "gmxapi"}
    assert took["Python environment"] == 70.0
    assert took["GROMACS"] == 602.0


@pytest.mark.parametrize(
    ("without", "named"), [("03_iv_ndr …", "03_iv_ndr"), ("report: ", "end"), ("GROMACS", "GROM")]
)
def test_output_that_is_no_longer_understood_is_an_error(without: str, named: str) -> None:
    cut = [x for x in lines(PRINTED) if without not in x[1] and "fetching" not in x[1]]
    with pytest.raises(RuntimeError, match=f"these stages: {named}"):
        newcomer.stages(cut, began=0.0)


def test_the_stages_are_those_that_are_printed() -> None:
    """Words of the scripts that print them."""
    root = Path(__file__).parents[2]
    scripts = [*root.glob("tools/*.py"), root / "lib" / "janus_pore" / "show" / "report.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in scripts)
    for words in (
        '"needed to set up"', 'f"installing {\' \'.join(packages)} ({why})"',
        'say("making the Python environment', 'f"fetching the source package {package}',
        'f"building GROMACS {version}', 'f"GROMACS {self.version}', 'f"installing gmxapi against',
        'f"gmxapi absent: ', 'f"gmxapi, built', 'f"{name} …"', 'f"{name} done in', 'f"report: {',
    ):  # fmt: skip
        assert words in text, words


def test_a_newcomer_has_nothing(tmp_path: Path) -> None:
    here = f"{sys.prefix}/bin"
    environ = {
        "PATH": f"{here}:/usr/bin", "HOME": "/root", "GMX": "/opt/gmx", "MAKEFLAGS": "k",
        "JANUS_PORE_RUNS": "/runs", "VIRTUAL_ENV": here, "LANG": "C.UTF-8",
    }  # fmt: skip
    assert newcomer.newcomer(environ, tmp_path) == {
        "PATH": "/usr/bin", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / ".cache"),
        "LANG": "C.UTF-8",
    }  # fmt: skip


def test_the_table_adds_up() -> None:
    text = results.SECTIONS["newcomer"]({"profile": "demo", "stages_s": TOOK})
    assert "| GROMACS             | 9:01  |" in text
    assert "| together            | 18:35 |" in text
