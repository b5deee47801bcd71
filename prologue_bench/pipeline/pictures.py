"""Grids of reconstructions and samples: the same images, classes and seeds for every variant."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from prologue_bench.contracts.subsets import class_balanced
from prologue_bench.pipeline.finished import run_of
from prologue_bench.pipeline.models import open_data
from prologue_bench.pipeline.planner import Pipeline, Plan
from prologue_bench.results.pictures import Pictures
from prologue_bench.sampling.grids import row_labels, shared_prefixes
from prologue_bench.storage.artifacts import Artifact
from prologue_bench.storage.files import write_bytes
from prologue_bench.storage.kept import find_kept, keep
from prologue_bench.storage.store import Store

COLUMNS = 10
RECONSTRUCTION_ROWS = 2
SAMPLE_ROWS = 6
PREFIXES, PREFIXES_FILE = "prefixes", "prefixes.png"
"""How grids of shared prefixes are kept."""
GAP = 2
"""Pixels between images."""


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
        if pipeline.generates and (images := _images(pipeline.samples.key, store)) is not None:
            labels = np.load(store.get(pipeline.samples.key) / "labels.npy")
            shown = spread_over_classes(labels, COLUMNS * SAMPLE_ROWS)
            pictures.files[f"samples-{index}"] = to_png(sheet(images[shown]))
            if (prefixes := shared_prefix_grid(pipeline, plan, store)) is not None:
                pictures.files[f"prefixes-{index}"] = prefixes
    return pictures


def shared_prefix_grid(pipeline: Pipeline, plan: Plan, store: Store) -> bytes | None:
    """Samples in rows that share their first tokens.

    These are a variant's prologue, and equally many first tokens of others. None where no variant
    has a prologue. A grid is drawn once and kept, since a report may have hundreds.
    """
    lengths = [each.layout.leading for each in plan.first_pipelines]
    length = pipeline.layout.leading or min((each for each in lengths if each), default=0)
    if not 0 < length < pipeline.layout.length:
        return None
    key = f"{pipeline.samples.key}-{length}"
    if kept := find_kept(store.cache, PREFIXES, key):
        return (kept / PREFIXES_FILE).read_bytes()
    run = run_of(pipeline, store)
    labels = row_labels(SAMPLE_ROWS, COLUMNS, len(run.images.class_names))
    picture = to_png(sheet(run.decode(shared_prefixes(run.draw, labels, COLUMNS, length, seed=0))))
    keep(
        store.cache,
        PREFIXES,
        key,
        lambda folder: write_bytes(folder / PREFIXES_FILE, picture),
        pipeline.experiment.name,
    )
    return picture


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


def _images(key: str, store: Store) -> NDArray[Any] | None:
    artifact: Artifact | None = store.find(key)
    return None if artifact is None else np.load(artifact / "images.npy", mmap_mode="r")


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
