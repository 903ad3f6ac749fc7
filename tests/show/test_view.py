"""Frames become pictures: kinds, whole molecules, dipoles, and the widget's front end."""

from __future__ import annotations

import json

import numpy as np
import pytest

from janus_pore import spec
from janus_pore.build.system import build_system
from janus_pore.errors import MissingInputError
from janus_pore.show import view

RUN = spec.RunSpec(pore_half_length_nm=0.3, pore_radius_nm=0.5)
MANIFEST = {
    "atoms": {"membrane": [0, 2], "water": [2, 8], "K": [8, 9], "Cl": [9, 10]},
    "pore": {"centre_yz_nm": [1.0, 1.0], "x_nm": 1.5},
}


@pytest.fixture
def gro(tmp_path):
    """A water in the pore with its dipole along +x, one outside broken by the boundary."""
    atoms = [
        ("MO", 1.5, 0.2, 0.2), ("SE", 1.3, 0.2, 0.2),
        ("OW", 1.5, 1.0, 1.0), ("HW1", 1.56, 1.08, 1.0), ("HW2", 1.56, 0.92, 1.0),
        ("OW", 2.98, 1.0, 1.0), ("HW1", 0.04, 1.08, 1.0), ("HW2", 0.04, 0.92, 1.0),
        ("K", 0.5, 0.5, 0.5), ("CL", 0.6, 1.5, 0.5),
    ]  # fmt: skip
    lines = [
        f"{1:5d}{'X':<5s}{name:>5s}{i + 1:5d}{x:11.6f}{y:11.6f}{z:11.6f}"
        for i, (name, x, y, z) in enumerate(atoms)
    ]
    path = tmp_path / "frame.gro"
    path.write_text("\n".join(["title", "10", *lines, "3.0 2.0 2.0", ""]))
    return path


def test_a_frame_is_read_with_any_number_of_decimals(gro, tmp_path):
    names, positions, box = view.read_frame(gro)
    assert names[:3] == ["MO", "SE", "OW"]
    assert positions[3] == pytest.approx([1.56, 1.08, 1.0])
    assert box == pytest.approx([3, 2, 2])
    coarse = tmp_path / "coarse.gro"
    coarse.write_text("t\n1\n    1SOL     OW    1   1.234   2.345  -0.456\n 3.0 2.0 2.0\n")
    assert view.read_frame(coarse)[1] == pytest.approx(np.array([[1.234, 2.345, -0.456]]))


def test_pore_water_is_told_from_the_reservoirs(gro):
    atoms, dipoles = view.atoms_of(gro, MANIFEST, RUN)
    assert atoms.kind.tolist() == [
        "Mo", "Se", "O", "H", "H", "water", "water", "water", "K", "Cl",
    ]  # fmt: skip
    assert dipoles == pytest.approx(np.array([[0.12, 0, 0]]), abs=1e-9)
    broken = atoms.positions_nm[5:8]
    assert np.linalg.norm(broken[1:] - broken[0], axis=1) == pytest.approx(0.1, abs=1e-9)


def test_a_cut_or_missing_frame_says_so(gro, tmp_path):
    with pytest.raises(MissingInputError, match="01_build"):
        view.read_frame(tmp_path / "none.gro")
    gro.write_text("\n".join(gro.read_text().splitlines()[:6]))
    with pytest.raises(MissingInputError, match="cut short"):
        view.read_frame(gro)


def test_the_text_for_the_widget_has_its_columns(gro):
    atoms, _ = view.atoms_of(gro, MANIFEST, RUN)
    shown = atoms.kind != "water"
    lines = view._pdb(atoms.kind[shown], 10 * atoms.positions_nm[shown]).splitlines()
    assert lines[-1] == "END"
    assert len(lines) == 8
    assert lines[2][12:16].strip() == "O"
    assert [float(lines[2][a : a + 8]) for a in (30, 38, 46)] == [15.0, 10.0, 10.0]
    assert lines[0][76:78] == "MO"


def test_a_built_system_can_be_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("JANUS_PORE_RUNS", str(tmp_path))
    profile = spec.load_profile("tiny")
    built = build_system(profile.system)
    atoms, dipoles = view.atoms_of(built.gro, built.manifest, profile.run)
    counts = {kind: int((atoms.kind == kind).sum()) for kind in ("Mo", "Se", "S", "K", "Cl", "O")}
    assert counts["Mo"] == counts["Se"] == counts["S"] == 2 * 6 * 4 - 6
    assert counts["K"] == counts["Cl"] > 0
    assert counts["O"] == len(dipoles)


def test_the_widget_names_the_installed_front_end(gro):
    from jupyter_core.paths import jupyter_path

    installed = next(
        package
        for directory in jupyter_path("labextensions")
        if (package := view.Path(directory) / "nglview-js-widgets" / "package.json").is_file()
    )
    version = json.loads(installed.read_text())["version"]
    bar, widget = view.widget([view.Frame(*view.atoms_of(gro, MANIFEST, RUN))]).children
    assert [button.description for button in bar.children[:2]] == ["side", "top"]
    assert widget.get_state()["_model_module_version"] == version
    assert widget.get_state()["_view_module_version"] == version


def test_only_a_session_is_live(monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert not view.live()
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/reader/01_build.ipynb")
    assert view.live()
