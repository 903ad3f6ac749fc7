"""Frames become pictures: kinds, whole molecules, dipoles, and the widget's front end."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import matplotlib as mpl
import numpy as np
import pytest
from MDAnalysis.lib.formats.libmdaxdr import XTCFile

from janus_pore import spec
from janus_pore.build.system import build_system, open_system
from janus_pore.drive import ensemble
from janus_pore.errors import MissingInputError
from janus_pore.show import figures, view

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


def scene_of(page):
    """What a page of molecules is given to draw."""
    return json.loads(re.search(r'<script id="scene"[^>]*>(.*?)</script>', page, re.DOTALL)[1])


def test_a_page_of_molecules_holds_every_frame_and_loads_what_lies_beside_it(gro):
    atoms, dipoles = view.atoms_of(gro, MANIFEST, RUN)
    moved = atoms.positions_nm + [[0.05, 0, 0]] * (atoms.kind == "K")[:, None]
    frames = [
        view.Frame(atoms, dipoles, "first </script>"),
        view.Frame(atoms._replace(positions_nm=moved), -dipoles, "second"),
    ]
    page = view.standalone(frames, title="a <title>", alt='says "so"')
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["data:,", view.NGL]
    assert "a &lt;title&gt;" in page
    assert "says &quot;so&quot;" in page
    scene = scene_of(page)
    assert [frame["label"] for frame in scene["frames"]] == ["first </script>", "second"]
    first, second = (np.reshape(f["positions"], (-1, 3)) / 100 for f in scene["frames"])
    assert len(first) == 7  # without the reservoirs' water
    step = np.zeros((7, 3))
    step[5, 0] = 0.5  # Å
    assert second - first == pytest.approx(step, abs=0.011)
    pdb = [line for line in scene["pdb"].splitlines() if line.startswith("HETATM")]
    assert float(pdb[5][30:38]) == pytest.approx(first[5, 0], abs=0.006)
    (along,), (against,) = (frame["arrows"] for frame in scene["frames"])
    assert along[1][0] - along[0][0] == pytest.approx(10 * view._ARROW_NM)
    assert against[1][0] - against[0][0] == pytest.approx(-10 * view._ARROW_NM)
    colours = [mpl.colors.to_hex(arrow[2]).upper() for arrow in (along, against)]
    assert colours == [figures.GREEN, figures.PURPLE]


@pytest.mark.parametrize(
    ("name", "right", "up", "towards"), [("side", 0, 1, 2), ("top", 2, 1, 0)]
)  # fmt: skip
def test_the_camera_looks_from_the_side_and_from_the_top(gro, name, right, up, towards):
    frames = [view.Frame(*view.atoms_of(gro, MANIFEST, RUN))]
    values = scene_of(view.standalone(frames, title="", alt=""))[name]
    matrix = np.reshape(values, (4, 4)).T
    turn = matrix[:3, :3] / np.linalg.norm(matrix[:3, 0])
    assert np.linalg.det(turn) == pytest.approx(1)
    seen = np.diag([-1.0, 1.0, -1.0]) @ turn  # NGL's camera looks along +z with x to the left
    assert seen[0] == pytest.approx(np.eye(3)[right], abs=1e-6)
    assert seen[1] == pytest.approx(np.eye(3)[up], abs=1e-6)
    assert abs(seen[2, towards]) == pytest.approx(1)
    assert matrix[:3, 3] == pytest.approx([-15, -10, -10])  # the pore in the middle


@pytest.mark.gromacs
def test_a_run_plays_its_trajectory_or_the_ends_of_its_segments(there, tmp_path):
    profile = spec.load_profile("tiny")
    manifest = open_system(profile.system).manifest
    record = max(ensemble.open_runs(profile, "ppf"), key=lambda one: len(one.path))
    ends = view.frames_of(record, manifest, profile.run)
    assert len(ends) == len(record.path) > 2
    assert ends[-1].label.startswith(f"{record.duration_ps:.2f} ps, E = ")
    chosen = ends[-1].atoms
    frames = np.stack([end.atoms.positions_nm for end in ends])
    kept = []
    for k, segment in enumerate(record.path):
        kept.append(tmp_path / segment.name)
        shutil.copytree(segment, kept[-1])
        with XTCFile(str(kept[-1] / "trajectory.xtc"), "w") as file:
            for time in (0.0, 0.1):
                x = (frames[k] + time).astype("f4")
                file.write(x, np.diag(chosen.box_nm).astype("f4"), 0, 100 + time, 1000)
    played = view.frames_of(
        dataclasses.replace(record, path=tuple(kept)), manifest, profile.run, most=500
    )
    assert len(played) == 2 * len(kept)
    metal = chosen.kind == "Mo"
    last = played[-1].atoms.positions_nm[metal]
    assert last - chosen.positions_nm[metal] == pytest.approx(0.1, abs=2e-3)
    assert len(view.frames_of(record, manifest, profile.run, most=2)) == 2
