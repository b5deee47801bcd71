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
    pictures.files["originals"] = _png(_grid(data.images("test")[chosen]))
    for index, pipeline in enumerate(pipelines):
        if (images := _images(pipeline.reconstructions.key, store)) is not None:
            pictures.files[f"reconstructions-{index}"] = _png(_grid(images[chosen]))
        if (images := _images(pipeline.samples.key, store)) is not None:
            labels = np.load(store.get(pipeline.samples.key) / "labels.npy")
            shown = spread_over_classes(labels, COLUMNS * SAMPLE_ROWS)
            pictures.files[f"samples-{index}"] = _png(_grid(images[shown]))
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


def _grid(images: NDArray[Any]) -> NDArray[Any]:
    """uint8 [N, C, H, W] as one image [height, width, C], white between the images."""
    count, channels, height, width = images.shape
    rows = -(-count // COLUMNS)
    sheet = np.full((rows * (height + GAP) - GAP, COLUMNS * (width + GAP) - GAP, channels), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = index // COLUMNS * (height + GAP), index % COLUMNS * (width + GAP)
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return sheet


def _png(sheet: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(sheet.squeeze(-1) if sheet.shape[-1] == 1 else sheet).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
