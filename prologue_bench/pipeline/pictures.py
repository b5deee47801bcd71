"""Grids of images as PNG files: which images, and how they are laid out."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from prologue_bench.contracts.subsets import class_balanced

COLUMNS = 10
RECONSTRUCTION_ROWS = 2
SAMPLE_ROWS = 6
GAP = 2
"""Pixels between images."""


def spread_over_classes(labels: NDArray[Any], count: int) -> NDArray[Any]:
    """Indices of images, the classes in turn.

    In a grid, row by row, each column holds one class where there are ten. Where there are more
    classes than places, some are chosen at random, the same ones each time.
    """
    if len(np.unique(labels)) > count:
        return class_balanced(labels, count)
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    rounds = max(map(len, classes))
    order = [members[turn] for turn in range(rounds) for members in classes if turn < len(members)]
    return np.array(order[:count], dtype=np.int64)


def sheet(images: NDArray[Any], columns: int = COLUMNS) -> NDArray[Any]:
    """uint8 [N, C, H, W] as one image [height, width, C], row by row, white between the images."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    found = np.full(
        (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), 255, dtype=np.uint8
    )
    for index, image in enumerate(images):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        found[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return found


def to_png(image: NDArray[Any], software: str = "") -> bytes:
    """A PNG file of uint8 [height, width, C], which names its software where that is given."""
    buffer = io.BytesIO()
    info = PngInfo()
    if software:
        info.add_text("Software", software)
    found = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    found.save(buffer, "PNG", optimize=True, pnginfo=info)
    return buffer.getvalue()
