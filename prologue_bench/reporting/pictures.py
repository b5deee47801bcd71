"""Grids of reconstructions and samples: the same images, classes and seeds for every variant."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from attrs import define, field
from numpy.typing import NDArray
from PIL import Image

from prologue_bench.pipeline.models import open_data
from prologue_bench.pipeline.planner import Plan
from prologue_bench.pipeline.store import Artifact, Store

COLUMNS = 10
RECONSTRUCTION_ROWS = 2
SAMPLE_ROWS = 6
GAP = 2
"""Pixels between images."""


@define
class Pictures:
    """PNG files by name: "originals", and "reconstructions-i" and "samples-i" for the i-th variant."""

    files: dict[str, bytes] = field(factory=dict)


def draw_pictures(plan: Plan, store: Store) -> Pictures:
    """The grids of each variant's run with the first seed, where its artifacts are there."""
    pictures = Pictures()
    pipelines = plan.first_pipelines
    data = open_data(pipelines[0].experiment.data)
    chosen = spread_over_classes(data.labels("test"), COLUMNS * RECONSTRUCTION_ROWS)
    pictures.files["originals"] = to_png(sheet(data.images("test")[chosen]))
    for index, pipeline in enumerate(pipelines):
        if (images := _images(pipeline.reconstructions.key, store)) is not None:
            pictures.files[f"reconstructions-{index}"] = to_png(sheet(images[chosen]))
        if (images := _images(pipeline.samples.key, store)) is not None:
            labels = np.load(store.get(pipeline.samples.key) / "labels.npy")
            shown = spread_over_classes(labels, COLUMNS * SAMPLE_ROWS)
            pictures.files[f"samples-{index}"] = to_png(sheet(images[shown]))
    return pictures


def spread_over_classes(labels: NDArray[Any], count: int) -> NDArray[Any]:
    """Indices of images, the classes in turn: row by row of a grid, each column holds one class where there are ten."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    rounds = max(map(len, classes))
    order = [members[turn] for turn in range(rounds) for members in classes if turn < len(members)]
    return np.array(order[:count], dtype=np.int64)


def _images(key: str, store: Store) -> NDArray[Any] | None:
    artifact: Artifact | None = store.find(key)
    return None if artifact is None else np.load(artifact / "images.npy", mmap_mode="r")


def sheet(images: NDArray[Any], columns: int = COLUMNS) -> NDArray[Any]:
    """uint8 [N, C, H, W] as one image [height, width, C], row by row, white between the images."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    found = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        found[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return found


def to_png(image: NDArray[Any]) -> bytes:
    """A PNG file of uint8 [height, width, C]."""
    buffer = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
