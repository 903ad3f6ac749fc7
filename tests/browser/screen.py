"""What a person sees: pixels, and the JupyterLab that they belong to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image


class Lab(NamedTuple):
    """A JupyterLab at work in a folder with the notebooks, set to the tiny profile."""

    address: str
    token: str
    folder: Path


def pixels(element: Any) -> np.ndarray:
    """What is seen of an element or a page, (height, width, 3), 0 to 255."""
    return np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB"), int)


def share(picture: np.ndarray, colour: str) -> float:
    """Part of a picture's pixels that are of a lit hue, whatever their brightness."""
    r, g, b = np.moveaxis(picture, -1, 0)
    seen = {
        "orange": (r > g + 25) & (g > b + 25),  # Se
        "blue": (b > r + 40) & (b > g + 10),  # Mo
        "white": (r > 250) & (g > 250) & (b > 250),
    }[colour]
    return float(seen.mean())
