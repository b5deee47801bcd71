"""Grids of reconstructions and samples: the same images, classes and seeds for every variant."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import define, field
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from prologue_bench.artifacts import Artifact
from prologue_bench.errors import UserError
from prologue_bench.files import write_bytes
from prologue_bench.kept import find_kept, keep
from prologue_bench.pipeline.finished import run_of
from prologue_bench.pipeline.models import open_data
from prologue_bench.pipeline.planner import Pipeline, Plan
from prologue_bench.pipeline.store import Store
from prologue_bench.provenance import one_data_set, sources
from prologue_bench.results.reading import MEGABYTE, is_folder, read_bytes
from prologue_bench.sampling.grids import row_labels, shared_prefixes
from prologue_bench.subsets import class_balanced

COLUMNS = 10
RECONSTRUCTION_ROWS = 2
SAMPLE_ROWS = 6
VARIANT_PICTURES = ("reconstructions", "samples", "prefixes")
ASSETS = "assets"
"""The folder of a report's pictures."""
FILES = "files"
"""Under which results list the files of their report, with checksums."""
PREFIXES, PREFIXES_FILE = "prefixes", "prefixes.png"
"""How grids of shared prefixes are kept."""
GAP = 2
"""Pixels between images."""
PICTURE_NAME = re.compile(r"(originals(?:-\d{1,6})?|(?:" + "|".join(VARIANT_PICTURES) + r")-\d{1,6})\.png", re.ASCII)
LARGEST_PICTURE, MOST_BYTES = 64 * MEGABYTE, 1024 * MEGABYTE
"""Of one picture, and of all that a report holds."""
MOST_PIXELS, LONGEST_SIDE = 2**26, 2**15


@define
class Pictures:
    """PNG files by name: "originals", and "reconstructions-i", "samples-i" and "prefixes-i" for the i-th variant.

    In results that were put together from several data sets, "originals-i" is of the i-th source.
    """

    files: dict[str, bytes] = field(factory=dict)
    left_out: list[str] = field(factory=list)
    """A line for each picture that was found and not taken."""


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
    """Samples in rows that share their first tokens: a variant's prologue, and equally many first tokens of others.

    None where no variant has a prologue. A grid is drawn once and kept, since a report may have hundreds.
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
    """Indices of images, the classes in turn: row by row of a grid, each column holds one class where there are ten.

    Where there are more classes than places, some are chosen at random, the same ones each time.
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
    found = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        found[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return found


def to_png(image: NDArray[Any], software: str = "") -> bytes:
    """A PNG file of uint8 [height, width, C], which names the software that made it where that is given."""
    buffer = io.BytesIO()
    info = PngInfo()
    if software:
        info.add_text("Software", software)
    found = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    found.save(buffer, "PNG", optimize=True, pnginfo=info)
    return buffer.getvalue()


def picture_names(variants: int, parts: int) -> list[str]:
    """The names of all pictures that a report of so many variants, put together from so many results, may have."""
    own = [f"{kind}-{index}" for index in range(variants) for kind in VARIANT_PICTURES]
    return ["originals", *(f"originals-{index}" for index in range(parts)), *own]


def load_pictures(folder: Path, results: Mapping[str, Any] | None = None) -> Pictures:
    """The pictures of a written report: whole PNG files under a report's names, and nothing behind a link.

    With its results, no others than they can have, and list where they list any.
    """
    assets, found = folder / ASSETS, Pictures()
    known = None if results is None else set(picture_names(len(results["variants"]), len(sources(results))))
    listed_files = None if results is None else results.get(FILES)
    if not os.path.lexists(assets):
        return found
    try:
        names = sorted(os.listdir(assets)) if is_folder(assets) else []
    except OSError as error:
        found.left_out.append(f"{assets}: {error.strerror}; the report is without its pictures")
        return found
    if not is_folder(assets):
        found.left_out.append(f"{assets}: no folder itself, or a link to one; the report is without its pictures")
    room = MOST_BYTES
    for name in names:
        if (is_picture := PICTURE_NAME.fullmatch(name)) is None:
            continue
        if known is not None and is_picture[1] not in known:
            continue
        if isinstance(listed_files, dict) and f"{ASSETS}/{name}" not in listed_files:
            continue
        try:
            content = read_bytes(assets / name, min(LARGEST_PICTURE, room))
            check_png(content, assets / name)
        except (UserError, OSError) as error:
            found.left_out.append(f"{error}; the picture is left out")
            continue
        room -= len(content)
        found.files[is_picture[1]] = content
    return found


def check_png(content: bytes, path: Path) -> None:
    """Raises UserError for what is no whole PNG, or has more pixels than a grid of images."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # so that no bomb is a warning only
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                pixels = image.width * image.height
                if pixels > MOST_PIXELS or max(image.size) > LONGEST_SIDE:
                    raise UserError(f"{path}: {image.width} x {image.height} pixels, more than a grid of images has")
                image.verify()
    except UserError:
        raise
    except Exception as error:  # whatever a decoder finds
        raise UserError(f"{path}: no whole PNG ({str(error) or type(error).__name__:.80})") from None


def comparable_pictures(results: Mapping[str, Any], pictures: Pictures) -> list[tuple[str, str]]:
    """What can be laid over one another: the originals, and the reconstructions of each variant, by title."""
    names = originals(results) + [
        (variant["name"], f"reconstructions-{index}") for index, variant in enumerate(results["variants"])
    ]
    return [(title, name) for title, name in names if name in pictures.files]


def originals(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Title and name of each picture of test images that there may be: one, or in merged results one a source."""
    found = [("originals", "originals")]
    if not one_data_set(results):
        found += [
            (f"originals, {source['label']}", f"originals-{index}") for index, source in enumerate(sources(results))
        ]
    return found
