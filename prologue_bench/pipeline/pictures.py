"""Grids of images as PNG files: which images, and how they are laid out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from prologue_bench.contracts.subsets import class_balanced
from prologue_bench.results.pictures import GAP, GRID_COLUMNS

COLUMNS = GRID_COLUMNS
RECONSTRUCTION_ROWS = 2
SAMPLE_ROWS = 6
SHARED_TOKENS = 8
"""Rows of samples that share one token each."""
ATTENTION_IMAGES = 200
"""Test images that attention is averaged over."""
LARGEST_MAP = 128
"""Edge of a picture of attention in pixels; of longer sequences, several tokens share a pixel."""
SQUARE = 120
"""Edge in pixels up to which smaller pictures of attention are enlarged by whole numbers."""
TILE = 42
"""Least edge in pixels of a heat map over an image's grid."""
MOST_TILES = 64
SHADES = np.array([[255, 255, 255], [107, 174, 214], [8, 48, 107]], dtype=np.float64)
"""Red, green and blue of the least, middle and most of a heat map."""
STEPS = 32
"""Different shades: more are hardly seen, and make files larger."""
BORDER = (230, 120, 40)
"""Between segments."""


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


def spread(count: int, most: int) -> tuple[int, ...]:
    """All numbers below `count`, or `most` of them at equal distances, the first and last among
    them.

    >>> spread(17, 5)
    (0, 4, 8, 12, 16)
    """
    return tuple(sorted({round(x) for x in np.linspace(0, count - 1, min(count, most))}))


def shaded(values: NDArray[Any], most: float) -> NDArray[Any]:
    """Non-negative values [height, width] as uint8 [3, height, width], on a square-root scale.

    White is 0, and the darkest shade is `most` and beyond.
    """
    scale = np.sqrt(np.clip(values / most, 0, 1)) if most > 0 else np.zeros(values.shape)
    scale = np.round(scale * (STEPS - 1)) / (STEPS - 1)
    places = np.linspace(0, 1, len(SHADES))
    return np.stack([np.interp(scale, places, shade) for shade in SHADES.T]).astype(np.uint8)


def attention_sheet(maps: NDArray[Any], lengths: Sequence[int]) -> NDArray[Any]:
    """Attention [layers, L, L] as one image, a square per layer, lines between segments of L.

    Each layer's darkest shade is its 99th percentile over what is attended to at all.
    """
    squares = []
    for weights in maps:
        own = weights[weights > 0]
        small = _enlarged(_fewer(weights), SQUARE // len(weights))
        square = shaded(small, float(np.quantile(own, 0.99)) if own.size else 0.0)
        inside = np.cumsum(lengths)[:-1] * len(small) // len(weights)
        for place in reversed(inside.tolist()):
            for axis in (1, 2):
                colour = np.array(BORDER, dtype=np.uint8)[:, None]
                square = np.insert(square, place, colour, axis=axis)
        squares.append(square)
    return sheet(np.stack(squares), min(len(squares), 4))


def _enlarged(values: NDArray[Any], factor: int) -> NDArray[Any]:
    """Values [height, width], each as a square of at least one pixel."""
    return values.repeat(max(1, factor), axis=0).repeat(max(1, factor), axis=1)


def _fewer(weights: NDArray[Any]) -> NDArray[Any]:
    """Weights [L, L], means over neighbours where they are more than a picture shows."""
    step = -(-len(weights) // LARGEST_MAP)
    starts = np.arange(0, len(weights), step)
    counts = np.diff([*starts, len(weights)])
    for axis in (0, 1):
        sums = np.add.reduceat(weights, starts, axis=axis)
        weights = sums / (counts[:, None] if axis == 0 else counts)
    return weights


def heat_map_sheet(maps: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Heat maps [n, rows, columns], one row of tiles for each of `maps`, on a scale of its own."""
    columns = min(COLUMNS, len(maps[0]))
    lines = []
    for tiles in maps:
        factor, most = -(-TILE // min(tiles.shape[1:])), float(tiles.max())
        large = [shaded(_enlarged(tile, factor), most) for tile in tiles]
        lines.append(sheet(_framed(np.stack(large)), columns))
    gap = np.full((3 * GAP, lines[0].shape[1], 3), 255, dtype=np.uint8)
    return np.concatenate([part for line in lines for part in (line, gap)][:-1])


def _framed(images: NDArray[Any]) -> NDArray[Any]:
    """Images [N, C, H, W] inside a thin grey line: white tiles end somewhere."""
    return np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=200)


def to_png(image: NDArray[Any], software: str = "") -> bytes:
    """A PNG file of uint8 [height, width, C], which names its software where that is given."""
    buffer = io.BytesIO()
    info = PngInfo()
    if software:
        info.add_text("Software", software)
    found = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    found.save(buffer, "PNG", optimize=True, pnginfo=info)
    return buffer.getvalue()
