"""Colours can be told apart with every kind of colour vision, and text can be read."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from janus_pore.show import figures

VISION = {
    "all cones": np.eye(3),
    # Machado, Oliveira and Fernandes (2009), doi 10.1109/TVCG.2009.113, Table 1, severity 1.0
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip

TOGETHER = {
    "estimators": figures.ESTIMATOR_COLOUR.values(),
    "ions": figures.SPECIES_COLOUR.values(),
    "sweeps": [look["color"] for look in figures.DIRECTION_LOOK.values()],
    "atoms": [figures.ATOM_COLOUR[k] for k in ("Se", "Mo", "S", "K", "Cl", "O")],
    "parts of the force": [colour for colour, _ in figures.PART_LOOK.values()],
    "dipoles": figures.dipole_colour(np.array([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0]])),
}
"""Colours that stand beside each other and mean different things."""

APART = 15.0
"""Least distance in CIELAB; about 2.3 is just noticeable."""

STYLE = Path(figures.__file__).parents[1] / "pages" / "style.css"


def linear(colour) -> np.ndarray:
    """Linear light of an sRGB colour (IEC 61966-2-1)."""
    c = np.asarray(mpl.colors.to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def cielab(light: np.ndarray) -> np.ndarray:
    """CIELAB under D65 of linear light."""
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
              [0.0193339, 0.1191920, 0.9503041]]  # fmt: skip
    xyz = np.asarray(to_xyz) @ np.clip(light, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(a, b, vision) -> float:
    seen = [cielab(np.asarray(vision) @ linear(colour)) for colour in (a, b)]
    return float(np.linalg.norm(seen[0] - seen[1]))


def contrast(a, b) -> float:
    """Contrast ratio of WCAG 2, 1 to 21."""
    light, dark = sorted((linear(c) @ [0.2126, 0.7152, 0.0722] for c in (a, b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("together", TOGETHER)
def test_colours_that_mean_different_things_look_different(together, vision):
    for a, b in itertools.combinations(TOGETHER[together], 2):
        assert distance(a, b, VISION[vision]) > APART, (a, b)


def test_red_and_green_would_not_do():
    assert distance("#B06000", "#4C8000", VISION["deuteranopia"]) < APART


def test_text_on_pages_can_be_read():
    rules = re.findall(r"[{;\s](color|background): (#[0-9a-f]{3,6})", STYLE.read_text())
    texts = {colour for kind, colour in rules if kind == "color"}
    grounds = {colour for kind, colour in rules if kind == "background"} | {"#fff"}
    assert len(texts) > 3
    assert len(grounds) > 2
    for text, ground in itertools.product(texts, grounds):
        assert contrast(text, ground) >= 4.5, (text, ground)
    assert contrast(figures.GREY, "white") >= 4.5
