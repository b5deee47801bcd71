"""Procedural scenes with known factors: what shape, which colour, where and how large."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from prologue_bench.contracts import DataSource, Factor, ImageSpec, Split
from prologue_plugins.datasets.settings import ShapesSettings

SHAPES = ("circle", "square", "triangle", "cross")
COLOUR_NAMES = ("red", "teal", "blue", "orange", "violet", "yellow")
COLOURS = np.array(
    [(230, 57, 70), (42, 157, 143), (69, 123, 157), (244, 162, 97), (131, 56, 236), (233, 196, 106)]
)
DIRECTIONS = ("vertical", "rising", "horizontal", "falling")
"""Of stripes, each turned by 45 degrees from the one before."""
STRIPE = 5 / 32
"""From one stripe to the next, as a share of an image's edge."""
CONTRAST = 0.35
"""By how much a stripe darkens a shape at most."""
WAVES = 4
"""Plane waves that make up a background's brightness."""
SWELL = 8.0
"""The height of each of them, in levels of 256."""
PART = 64
"""Scenes that are drawn at once: few enough for a processor's caches."""
VERSION = 1
"""Raised when the same settings give other images."""


class Shapes(DataSource):
    """RGB scenes on a grey background; the class is the shape, of several that of the largest."""

    def __init__(self, settings: ShapesSettings) -> None:
        self.settings = settings
        self._images: dict[Split, NDArray[np.uint8]] = {}

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec(
            channels=3, height=self.settings.size, width=self.settings.size, class_names=SHAPES
        )

    @property
    def fingerprint(self) -> str:
        own = self.settings
        text = f"shapes-{VERSION}-{own.size}-{own.train_images}-{own.test_images}-{own.seed}"
        more = [f"{own.objects}-objects"] * (own.objects > 1) + ["texture"] * own.texture
        return "-".join([text, *more])

    def images(self, split: Split) -> NDArray[Any]:
        if split not in self._images:
            self._images[split] = self._drawn(split)
        return self._images[split]

    def labels(self, split: Split) -> NDArray[Any]:
        return _labels(self._counts[split])

    def factors(self, split: Split) -> Mapping[str, Factor]:
        """Those of the largest shape and of the scene; lengths are shares of an image's edge."""
        scenes, edge = self._scenes[split], self.settings.size
        largest = {
            "shape": Factor(scenes.shape[:, 0], SHAPES),
            "colour": Factor(scenes.colour[:, 0], COLOUR_NAMES),
            "position_x": Factor(scenes.x[:, 0] / edge),
            "position_y": Factor(scenes.y[:, 0] / edge),
            "size": Factor(scenes.radius[:, 0] / edge),
            "background": Factor(scenes.background / 255),
        }
        if self.settings.objects > 1:
            numbers = tuple(str(1 + number) for number in range(self.settings.objects))
            largest["objects"] = Factor(scenes.shown - 1, numbers)
        if scenes.texture is not None:
            largest["stripes"] = Factor(scenes.texture.direction[:, 0], DIRECTIONS)
        return largest

    @property
    def _counts(self) -> dict[Split, int]:
        return {"train": self.settings.train_images, "test": self.settings.test_images}

    @cached_property
    def _scenes(self) -> dict[Split, Scenes]:
        return {
            split: _scenes(count, self.settings, np.random.default_rng((self.settings.seed, index)))
            for index, (split, count) in enumerate(self._counts.items())
        }

    def _drawn(self, split: Split) -> NDArray[np.uint8]:
        scenes = self._scenes[split]
        parts = [slice(start, start + PART) for start in range(0, self._counts[split], PART)]
        return np.concatenate([_draw(scenes.part(part), self.settings.size) for part in parts])


@frozen(kw_only=True, eq=False)
class Texture:
    """Stripes of each shape, direction and phase [N, M], and waves of the background [N, W, 3].

    A wave is two frequencies, in turns over an image's edge, and a phase in turns.
    """

    direction: NDArray[np.int64]
    phase: NDArray[Any]
    waves: NDArray[Any]


@frozen(kw_only=True, eq=False)
class Scenes:
    """What N scenes show: M shapes [N, M], the largest first, of which so many are `shown` [N].

    Lengths are in pixels, and the background is a level of 256 [N].
    """

    shape: NDArray[np.int64]
    colour: NDArray[np.int64]
    x: NDArray[Any]
    y: NDArray[Any]
    radius: NDArray[Any]
    shown: NDArray[np.int64]
    background: NDArray[np.int64]
    texture: Texture | None = None

    def part(self, scenes: slice) -> Scenes:
        """Some of the scenes."""

        def cut(record: Any) -> Any:
            fields = attrs.asdict(record, recurse=False).items()
            return attrs.evolve(
                record,
                **{
                    name: cut(value) if attrs.has(type(value)) else value[scenes]
                    for name, value in fields
                    if value is not None
                },
            )

        found: Scenes = cut(self)
        return found


def _labels(count: int) -> NDArray[np.int64]:
    """The shapes in turn, int64 [count]; known without drawing anything."""
    return (np.arange(count) % len(SHAPES)).astype(np.int64)


def _scenes(count: int, settings: ShapesSettings, rng: np.random.Generator) -> Scenes:
    """Scenes at random: first what is drawn for the largest shapes, whatever is added to them.

    Beside others they stand in the same places, but have 0.7 times the radius.
    """
    size, others = settings.size, settings.objects - 1
    radius = rng.uniform(0.15, 0.35, (count, 1)) * size
    x, y = (rng.uniform(0.3, 0.7, (count, 1)) * size for _ in range(2))
    colour = rng.integers(len(COLOURS), size=(count, 1))
    background = rng.integers(200, 240, count)
    shape, shown = _labels(count)[:, None], np.ones(count, dtype=np.int64)
    if others:
        radius = 0.7 * radius  # leaves room
        shown = rng.integers(1, 2 + others, count)
        small = radius * rng.uniform(0.4, 0.8, (count, others))
        # Around the largest, which covers a part of them, each in a sector of its own.
        turn = (
            rng.random((count, 1))
            + (np.arange(others) + rng.uniform(-0.25, 0.25, (count, others))) / others
        )
        away = radius + 0.6 * small
        edges = 0.05 * size, 0.95 * size
        more_x = np.clip(x + away * np.cos(2 * np.pi * turn), *edges)
        more_y = np.clip(y + away * np.sin(2 * np.pi * turn), *edges)
        x, y, radius = (
            np.concatenate(pair, axis=1) for pair in ((x, more_x), (y, more_y), (radius, small))
        )
        colour, shape = (
            np.concatenate([first, rng.integers(kinds, size=(count, others))], axis=1)
            for first, kinds in ((colour, len(COLOURS)), (shape, len(SHAPES)))
        )
    texture = None
    if settings.texture:
        texture = Texture(
            direction=rng.integers(len(DIRECTIONS), size=shape.shape),
            phase=rng.random(shape.shape),
            waves=rng.uniform((-3, -3, 0), (3, 3, 1), (count, WAVES, 3)),
        )
    return Scenes(
        shape=shape,
        colour=colour,
        x=x,
        y=y,
        radius=radius,
        shown=shown,
        background=background,
        texture=texture,
    )


def _draw(scenes: Scenes, size: int) -> NDArray[np.uint8]:
    """Images uint8 [N, 3, size, size]."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    texture = scenes.texture
    background: NDArray[Any] = scenes.background[:, None, None]
    if texture is not None:
        across, down, phase = texture.waves.transpose(2, 0, 1)
        background = background + SWELL * _waves(across, down, phase, size)
    images = np.repeat(_levels(background)[:, None], 3, axis=1)
    for place in reversed(range(scenes.shape.shape[1])):
        inside = _inside(scenes, place, rows, columns) & (scenes.shown > place)[:, None, None]
        paint = COLOURS[scenes.colour[:, place], :, None, None]
        if texture is not None:
            angle = texture.direction[:, [place]] * (np.pi / len(DIRECTIONS))
            across, down = np.cos(angle) / STRIPE, np.sin(angle) / STRIPE
            stripes = _waves(across, down, texture.phase[:, [place]], size)
            paint = paint * (1 - CONTRAST * (0.5 + 0.5 * stripes[:, None]))
        images = np.where(inside[:, None], _levels(paint), images)
    return images


def _waves(
    across: NDArray[Any], down: NDArray[Any], phase: NDArray[Any], size: int
) -> NDArray[Any]:
    """Sums of plane waves, sin(2 pi (across x + down y + phase)), [N, size, size].

    The arguments are [N, W], and x and y go from 0 to 1.
    """
    places = (np.arange(size) + 0.5) / size
    rows = np.exp(2j * np.pi * down[..., None] * places)
    columns = np.exp(2j * np.pi * (across[..., None] * places + phase[..., None]))
    found: NDArray[Any] = (rows.swapaxes(1, 2) @ columns).imag
    return found


def _levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """The nearest of 256 levels.

    Of float64, so that no level hangs on how exactly a machine computes a sine.
    """
    levels: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels


def _inside(
    scenes: Scenes, place: int, rows: NDArray[Any], columns: NDArray[Any]
) -> NDArray[np.bool_]:
    """Which pixels [N, size, size] are of each scene's shape at a place."""
    shape, x, y, radius = (
        each[:, place, None, None] for each in (scenes.shape, scenes.x, scenes.y, scenes.radius)
    )
    across, down = np.abs(columns - x), rows - y
    form = np.select(
        [shape == index for index in range(len(SHAPES))],
        [
            across**2 + down**2 < radius**2,
            np.maximum(across, np.abs(down)) < 0.8 * radius,
            (np.abs(down) < radius) & (across < (down + radius) / 2),
            np.minimum(across, np.abs(down)) < 0.3 * radius,
        ],
    )
    inside: NDArray[np.bool_] = form & (np.maximum(across, np.abs(down)) < radius)
    return inside
