"""Procedural scenes with known factors: what shape, which colour, where and how large."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts import DataSource, ImageSpec, Split
from prologue_plugins.datasets.settings import ShapesSettings

SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = np.array(
    [(230, 57, 70), (42, 157, 143), (69, 123, 157), (244, 162, 97), (131, 56, 236), (233, 196, 106)]
)
VERSION = 1
"""Raised when the same settings give other images."""


class Shapes(DataSource):
    """RGB scenes on a grey background; the class is the shape."""

    def __init__(self, settings: ShapesSettings) -> None:
        self.settings = settings

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec(
            channels=3, height=self.settings.size, width=self.settings.size, class_names=SHAPES
        )

    @property
    def fingerprint(self) -> str:
        own = self.settings
        return f"shapes-{VERSION}-{own.size}-{own.train_images}-{own.test_images}-{own.seed}"

    def images(self, split: Split) -> NDArray[Any]:
        return self._scenes[split]

    def labels(self, split: Split) -> NDArray[Any]:
        return _labels(self._counts[split])

    @property
    def _counts(self) -> dict[Split, int]:
        return {"train": self.settings.train_images, "test": self.settings.test_images}

    @cached_property
    def _scenes(self) -> dict[Split, NDArray[Any]]:
        return {
            split: _draw(
                count, self.settings.size, np.random.default_rng((self.settings.seed, index))
            )
            for index, (split, count) in enumerate(self._counts.items())
        }


def _labels(count: int) -> NDArray[Any]:
    """The shapes in turn, int64 [count]; known without drawing anything."""
    return (np.arange(count) % len(SHAPES)).astype(np.int64)


def _draw(count: int, size: int, rng: np.random.Generator) -> NDArray[Any]:
    """Images uint8 [count, 3, size, size]."""
    labels = _labels(count)
    radius = rng.uniform(0.15, 0.35, (count, 1, 1)) * size
    x, y = (rng.uniform(0.3, 0.7, (count, 1, 1)) * size for _ in range(2))
    rows, columns = np.mgrid[:size, :size] + 0.5
    across, down = np.abs(columns - x), rows - y
    inside = np.select(
        [labels[:, None, None] == index for index in range(len(SHAPES))],
        [
            across**2 + down**2 < radius**2,
            np.maximum(across, np.abs(down)) < 0.8 * radius,
            (np.abs(down) < radius) & (across < (down + radius) / 2),
            np.minimum(across, np.abs(down)) < 0.3 * radius,
        ],
    ) & (np.maximum(across, np.abs(down)) < radius)
    colours = COLOURS[rng.integers(len(COLOURS), size=count)]
    background = rng.integers(200, 240, (count, 1, 1, 1))
    images = np.where(inside[:, None], colours[:, :, None, None], background)
    return images.astype(np.uint8)
