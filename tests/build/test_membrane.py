"""Lattice, pores and bare potential against numbers worked out independently."""

import dataclasses

import numpy as np
import pytest

from janus_pore.build import membrane
from janus_pore.build.forcefield import load_forcefield
from janus_pore.errors import BuildError, SpecError
from janus_pore.spec import SystemSpec


def neighbours(built, i):
    """Distances from atom i to all others, nearest images in y and z."""
    delta = built.positions_nm - built.positions_nm[i]
    delta[:, 1:] -= np.array(built.box_yz_nm) * np.round(delta[:, 1:] / built.box_yz_nm)
    return np.delete(np.linalg.norm(delta, axis=1), i)


def test_paper_membrane_is_a_2h_monolayer():
    built = membrane.build_membrane(SystemSpec(pore="none"))
    assert built.box_yz_nm == pytest.approx((5.200, 5.066), abs=5e-4)
    assert len(built.elements) == 3 * 2 * 16 * 9
    mo, se, s = (np.array(built.elements) == e for e in ("Mo", "Se", "S"))
    x = built.positions_nm[:, 0]
    assert (x[mo] == 0).all()
    assert (x[se] < 0).all()
    assert (x[s] > 0).all()
    metal = np.flatnonzero(mo)[17]
    assert np.sort(neighbours(built, metal))[:7] == pytest.approx(
        [0.242] * 3 + [0.253] * 3 + [0.325], abs=1e-9
    )
    # 2H: each S lies over an Se
    assert built.positions_nm[se][:, 1:] == pytest.approx(built.positions_nm[s][:, 1:])


def test_mos2_has_its_own_lattice():
    built = membrane.build_membrane(SystemSpec(charge_set="mos2", pore="none"))
    assert built.box_yz_nm[0] == pytest.approx(16 * 0.318)
    assert set(built.elements) == {"Mo", "S"}
    assert np.sort(neighbours(built, 5))[:7] == pytest.approx([0.241] * 6 + [0.318], abs=1e-9)


@pytest.mark.parametrize(
    ("pore", "columns", "least", "mean", "most", "mean_bonded"),
    [
        # a*sqrt(7/3)*2 across; 0.860 nm = sqrt(3) * 0.4964 along a 120 degree chord
        ("hollow6", 12, 0.9929, 0.9929, 0.9929, 0.9929),
        # 2, 4 and 2 columns at sqrt(13), sqrt(19) and 5 times a/sqrt(3)
        ("bond4", 8, 0.6765, 0.8126, 0.9382, 0.8393),
    ],
)
def test_edge_diameters(pore, columns, least, mean, most, mean_bonded):
    found = membrane.edge_diameters(membrane.build_membrane(SystemSpec(pore=pore)))
    assert found.edge_columns == columns
    assert (found.min, found.mean, found.max, found.mean_bonded) == pytest.approx(
        (least, mean, most, mean_bonded), abs=1e-4
    )


def test_hollow6_chord():
    built = membrane.build_membrane(SystemSpec(pore="hollow6"))
    from_axis = built.positions_nm[:, 1:] - built.centre_yz_nm
    edge = from_axis[np.hypot(*from_axis.T) < 0.5]
    edge = edge[: len(edge) // 3]  # the metals come first
    assert len(edge) == 6
    chords = np.linalg.norm(edge[:, None] - edge[None], axis=2)
    assert np.isclose(chords, 0.860, atol=5e-4).any(axis=1).all()


@pytest.mark.parametrize("pore", ["hollow6", "bond4", "hollow12", "bond5"])
def test_pore_takes_whole_formula_units_and_leaves_two_bonds(pore):
    built = membrane.build_membrane(SystemSpec(pore=pore))
    removed = int(pore.removeprefix("hollow").removeprefix("bond"))
    whole = membrane.build_membrane(SystemSpec(pore="none"))
    for element in ("Mo", "S", "Se"):
        assert whole.elements.count(element) - built.elements.count(element) == removed
    for i, element in enumerate(built.elements):
        bonds = int((neighbours(built, i) < 0.27).sum())
        # a metal loses the two bonds to a column together
        assert bonds in ((4, 6) if element == "Mo" else (2, 3))


def test_pore_is_cut_around_the_middle_of_the_box():
    for pore in ("hollow6", "bond4"):
        built = membrane.build_membrane(SystemSpec(pore=pore))
        assert built.centre_yz_nm == pytest.approx(np.array(built.box_yz_nm) / 2)
        radius = np.hypot(*(built.positions_nm[:, 1:] - built.centre_yz_nm).T)
        assert 2 * radius.min() == pytest.approx(membrane.edge_diameters(built).min)


@pytest.mark.parametrize(
    ("pore", "beside_nm"),
    [("none", 0.0), ("hollow6", 0.0), ("bond5", 0.0), ("bond7", 0.0), ("bond4", 0.0542)],
)
def test_the_axis_is_the_widest_place(pore, beside_nm):
    """Half of bond4's last shell is left; bond7 has two widest places, one on either side."""
    built = membrane.build_membrane(SystemSpec(cells_y=10, cells_z=6, pore=pore))
    assert built.axis_yz_nm - built.centre_yz_nm == pytest.approx([beside_nm, 0.0], abs=1e-4)


def test_no_neighbouring_line_of_bond4_has_more_room():
    forcefield = load_forcefield()
    built = membrane.build_membrane(SystemSpec(cells_y=10, cells_z=6, pore="bond4"))
    lj, x = forcefield.lennard_jones("liang"), np.linspace(-0.4, 0.4, 41)

    def wall(y, z):
        moved = built.positions_nm - [0.0, y, z]
        one = dataclasses.replace(built, positions_nm=moved)
        return membrane.axis_lennard_jones(one, lj, forcefield.ions["Cl"], x).max()

    here = wall(0.0, 0.0)
    assert here < 2
    for aside in ((-0.054, 0.0), (0.054, 0.0), (0.0, -0.05), (0.0, 0.05)):
        assert wall(*aside) > here - 1.0  # less than half of kT
    assert wall(-0.0542, 0.0) == pytest.approx(22.4, abs=0.5)  # where the shells are centred


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pore": "bond27"}, ["27 units around a bond would cut a shell"]),
        ({"pore": "hollow7"}, ["7 units around a hollow would cut a shell", "6 and 12"]),
        ({"pore": "metal4"}, ["around a metal", "hollow or a bond"]),
        ({"pore": "hollow12", "cells_y": 4, "cells_z": 3}, ["1.353 nm wide", "1.300 x 1.689"]),
        ({"pore": "hollow600"}, ["600 of the 288 formula units", "5.200 x 5.066"]),
    ],
)
def test_impossible_pores(changes, words):
    with pytest.raises(BuildError) as caught:
        membrane.build_membrane(SystemSpec(**changes))
    for word in words:
        assert word in str(caught.value)


def test_unknown_charge_set_names_the_known_ones():
    with pytest.raises(SpecError, match=r"'graphene'.*mosse, mosse_symmetric.*mos2"):
        membrane.build_membrane(SystemSpec(charge_set="graphene"))


def test_pore_by_diameter():
    system = SystemSpec()
    assert membrane.pore_by_diameter(0.85, system) == "bond4"
    assert membrane.pore_by_diameter(0.99, system) == "hollow6"
    with pytest.raises(BuildError, match=r"diameter 9 nm.*0\.496 to"):
        membrane.pore_by_diameter(9, system)


def test_candidates_are_neutral_and_sorted():
    found = membrane.candidate_pores(SystemSpec(cells_y=10, cells_z=6))
    sizes = [c.diameters_nm.mean for c in found]
    assert sizes == sorted(sizes)
    assert {"hollow6", "bond4"} <= {c.pore for c in found}
    for candidate in found:
        built = membrane.build_membrane(SystemSpec(cells_y=10, cells_z=6, pore=candidate.pore))
        assert abs(built.charges_e.sum()) < 1e-9
        assert built.removed_units == candidate.removed_units


def test_axis_potential_against_plane_waves():
    """Away from the atoms, a sum of decaying plane waves over each charge gives the same."""
    built = membrane.build_membrane(SystemSpec(cells_y=8, cells_z=5))
    x = np.array([-1.0, -0.6, 0.6, 1.0])
    box = np.array(built.box_yz_nm)
    n = np.arange(-40, 41)
    waves = 2 * np.pi * np.array([(i / box[0], k / box[1]) for i in n for k in n if i or k])
    length = np.hypot(*waves.T)
    expected = np.zeros(len(x))
    for position, charge in zip(built.positions_nm, built.charges_e, strict=True):
        distance = np.abs(x - position[0])
        phase = np.cos(waves @ (position[1:] - built.centre_yz_nm))
        expected += charge * ((phase / length * np.exp(-length * distance[:, None])).sum(1))
        expected -= charge * distance
    expected *= 2 * np.pi / box.prod() * 1.439964548
    assert membrane.axis_potential(built, x) == pytest.approx(expected, abs=1e-9)


def test_axis_potential_in_the_pore_against_direct_sum():
    """Whole discs of images, with what lies beyond them as a continuous layer of dipoles."""
    built = membrane.build_membrane(SystemSpec(cells_y=8, cells_z=5))
    box = np.array(built.box_yz_nm)
    relative = built.positions_nm - np.array([0.0, *built.centre_yz_nm])
    radius = 60.0
    reach = np.ceil(radius / box).astype(int)
    shifts = np.array(
        [
            (i * box[0], k * box[1])
            for i in range(-reach[0], reach[0] + 1)
            for k in range(-reach[1], reach[1] + 1)
        ]
    )
    shifts = shifts[np.hypot(*shifts.T) < radius]
    dipole = float(built.charges_e @ built.positions_nm[:, 0]) / box.prod()
    quadrupole = float(built.charges_e @ built.positions_nm[:, 0] ** 2) / box.prod()
    x = np.array([-0.1, 0.0, 0.15])
    direct = np.array(
        [
            sum(
                float(
                    built.charges_e
                    @ (1 / np.sqrt((here - relative[:, 0]) ** 2
                                   + ((relative[:, 1:] + shift) ** 2).sum(1)))
                )
                for shift in shifts
            )
            for here in x
        ]
    )  # fmt: skip
    beyond = 2 * np.pi * (dipole * x - quadrupole / 2) / radius
    expected = 1.439964548 * (direct + beyond)
    assert membrane.axis_potential(built, x) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("pore", ["hollow6", "bond4"])
@pytest.mark.parametrize("ion", ["K", "Cl"])
def test_axis_lennard_jones_against_pairs(pore, ion):
    """Pair by pair, image by image, with parameters mixed by hand."""
    forcefield = load_forcefield()
    built = membrane.build_membrane(SystemSpec(cells_y=6, cells_z=4, pore=pore))
    lj, one = forcefield.lennard_jones("stewart"), forcefield.ions[ion]
    x = np.array([-0.6, -0.15, 0.0, 0.4])
    expected = np.zeros(len(x))
    for (dx, y, z), element in zip(built.positions_nm, built.elements, strict=True):
        sigma = 0.5 * (lj[element].sigma_nm + one.sigma_nm)
        epsilon = (lj[element].epsilon_kJ_per_mol * one.epsilon_kJ_per_mol) ** 0.5
        for i in range(-6, 7):
            for k in range(-6, 7):
                off_y = y + i * built.box_yz_nm[0] - built.axis_yz_nm[0]
                off_z = z + k * built.box_yz_nm[1] - built.axis_yz_nm[1]
                r = np.sqrt((x - dx) ** 2 + off_y**2 + off_z**2)
                expected += 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)
    found = membrane.axis_lennard_jones(built, lj, one, x)
    assert found == pytest.approx(expected, abs=0.01)
    assert np.abs(found).max() > 3


def test_axis_potential_of_the_paper():
    built = membrane.build_membrane(SystemSpec())
    x = np.linspace(-1, 1, 81)
    potential = membrane.axis_potential(built, x)
    assert potential[0] == pytest.approx(1.7, abs=0.1)  # Se side, 1 nm out
    assert potential.max() == pytest.approx(3.2, abs=0.1)
    assert abs(x[potential.argmax()]) < 0.15
    assert potential[-1] == pytest.approx(-1.3, abs=0.1)  # S side, 1 nm out
    neutral = membrane.build_membrane(SystemSpec(charge_set="uncharged"))
    assert np.abs(membrane.axis_potential(neutral, x)).max() == 0


def test_axis_potential_does_not_depend_on_the_choice_of_box():
    """The same infinite membrane without a pore, described by boxes of different size."""
    small = membrane.build_membrane(SystemSpec(cells_y=6, cells_z=4, pore="none"))
    large = membrane.build_membrane(SystemSpec(cells_y=9, cells_z=8, pore="none"))
    x = np.array([-0.7, -0.3, 0.05, 0.4])
    assert membrane.axis_potential(small, x) == pytest.approx(
        membrane.axis_potential(large, x), abs=1e-9
    )
    tilted = dataclasses.replace(small, centre_yz_nm=(0.1, 0.2))
    assert np.abs(membrane.axis_potential(tilted, x) - membrane.axis_potential(small, x)).max() > 1


def test_heights_follow_from_bond_lengths():
    heights = load_forcefield().lattices["mosse"].heights_nm
    assert heights == pytest.approx({"metal": 0.0, "minus": -0.16970, "plus": 0.15282}, abs=1e-5)
