"""Which tokens samples share, and whose they are, as a command line says it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from prologue_bench.config.resolving import resolve_alone
from prologue_bench.contracts.data import DataSource
from prologue_bench.contracts.images import ImageSpec
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.errors import UserError, nearest, shortened
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.results.schema import DataRecord
from prologue_bench.runs.finished import FinishedRun
from prologue_bench.storage.store import Store
from prologue_bench.texts.ranges import parse_ranges

TEST_IMAGE = re.compile(r"test:(\d{1,9})", re.ASCII)


@frozen
class GivenImage:
    """An image whose tokens others are to share."""

    ids: Tensor
    """[L]."""
    label: int | None
    """None where its class is not known."""
    title: str


def shared_places(texts: Iterable[str], layout: TokenLayout, option: str) -> list[int]:
    """Where tokens such as "prologue:0,3-5", or all of "prologue", stand among the L.

    Raises UserError, which names the option, for others than the layout has, and for all tokens.
    """
    found: set[int] = set()
    for text in texts:
        name, colon, positions = text.partition(":")
        where = f"{option} {shortened(text)}"
        if name not in layout.names:
            raise UserError(
                f"{where}: there is no segment {shortened(name)!r}; {nearest(name, layout.names)}"
            )
        span = layout.span(name)
        try:
            chosen = parse_ranges(positions, span.stop - span.start) if colon else None
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
        numbers = range(span.stop - span.start) if chosen is None else chosen
        found.update(span.start + number for number in numbers)
    if len(found) == layout.length:
        raise UserError(f"{option}: found all tokens, expected some that are left to be drawn")
    return sorted(found)


def encoded_image(run: FinishedRun, path: Path, option: str) -> GivenImage:
    """The tokens of an image file. Raises UserError for what is no image of the run's size."""
    return GivenImage(run.encode(_read(path, run.images, option)), None, str(path))


def test_image(
    run: FinishedRun, number: int, record: DataRecord, registry: Registry, store: Store, option: str
) -> GivenImage:
    """The tokens of a test image of the run's data.

    Raises UserError where there is no such image, or the data are others than those of the run.
    """
    data = _open(record, registry, store, option)
    labels = data.labels("test")
    if number >= len(labels):
        raise UserError(
            f"{option} test:{number}: found {len(labels):,} test images, counted from 0"
        )
    image = np.asarray(data.images("test")[number : number + 1])
    return GivenImage(run.encode(image), int(labels[number]), f"test image {number}")


def _open(record: DataRecord, registry: Registry, store: Store, option: str) -> DataSource:
    resolved = resolve_alone("data", record.name, record.settings, None, registry)
    data = Workspace(store).open_data(resolved)
    if data.fingerprint != record.fingerprint:
        raise UserError(
            f"{option}: found other images of {record.name!r} here than the run's "
            f"(fingerprint {data.fingerprint}, expected {record.fingerprint})"
        )
    return data


def _read(path: Path, spec: ImageSpec, option: str) -> NDArray[np.uint8]:
    """uint8 [1, C, H, W]."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L" if spec.channels == 1 else "RGB"))
    except Exception as error:  # whatever a decoder finds
        reason = getattr(error, "strerror", None) or "not an image of a known format"
        raise UserError(f"{option} {path}: cannot be read ({reason})") from None
    if pixels.shape[:2] != (spec.height, spec.width):
        raise UserError(
            f"{option} {path}: found {pixels.shape[1]} x {pixels.shape[0]} pixels, expected "
            f"{spec.width} x {spec.height}, as the run's images have"
        )
    return pixels.reshape(1, spec.height, spec.width, -1).transpose(0, 3, 1, 2)
