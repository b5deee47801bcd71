"""Pictures of the same samples across variants, cut from the grids that a report holds.

Nothing is copied: a tile is a place in a picture that the page holds once.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence

from attrs import frozen

from prologue_bench.results.pictures import GAP, GRID_COLUMNS, ORIGINALS, Pictures
from prologue_bench.results.schema import Results
from prologue_bench.results.sources import one_data_set, source_of

WIDTH, LETTER = 270, 6.5
"""Pixels of all columns of a strip on a phone, and of a letter of their headings."""
WORDS = re.compile(r"[ =_/-]")
ROWS = 5
"""Samples that are shown beside each other."""
MOST_COLUMNS = 13
"""Variants with their original; of more, the page has whole grids alone."""


@frozen
class Tile:
    """A place in a picture: its name, and the image's corner and size in pixels."""

    picture: str
    left: int
    top: int
    width: int
    height: int

    @property
    def box(self) -> str:
        """As the view box of an SVG."""
        return f"{self.left} {self.top} {self.width} {self.height}"


@frozen
class Row:
    """One sample in each column; None where a variant has no picture of it."""

    label: str
    tiles: tuple[Tile | None, ...]


@frozen
class Strip:
    """The same samples in each column. `errors` are to be drawn as differences from the first."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    errors: bool = False

    def upright(self, short: Mapping[str, str]) -> bool:
        """Whether headings run upwards: some word of them is wider than a column."""
        words = [
            word for name in self.columns for word in WORDS.split(short.get(name, name)) if word
        ]
        return max(map(len, words), default=0) * LETTER > WIDTH / len(self.columns)


def strips(results: Results, pictures: Pictures) -> list[Strip]:
    """Reconstructions, their errors, and samples, of all variants, as far as there are pictures."""
    names = [variant.name for variant in results.variants]
    if not one_data_set(results) or not names or len(names) >= MOST_COLUMNS:
        return []
    found = []
    classes = source_of(results, names[0]).data.classes
    # Of more classes than a grid has places, which ones it shows is not known.
    known = classes if len(classes) <= GRID_COLUMNS else ()
    columns = [ORIGINALS, *(f"reconstructions-{index}" for index in range(len(names)))]
    if rows := _rows(columns, known, results, pictures):
        shown = ("original", *names)
        found.append(Strip("Reconstructions", "test images", shown, rows))
        if rows[0].tiles[0] is not None:
            note = "differences, × 3"
            found.append(Strip("Their errors", note, shown[1:], rows, errors=True))
    columns = [f"samples-{index}" for index in range(len(names))]
    if rows := _rows(columns, classes, results, pictures):
        found.append(Strip("Samples", "same class and seed", tuple(names), rows))
    return found


def _rows(
    columns: Sequence[str], classes: Sequence[str], results: Results, pictures: Pictures
) -> tuple[Row, ...]:
    height, width = results.origins[0].data.shape[1:]
    rows = []
    for index in range(min(ROWS, GRID_COLUMNS)):
        left = index * (width + GAP)
        tiles = tuple(
            Tile(name, left, 0, width, height)
            if _holds(pictures, name, left + width, height)
            else None
            for name in columns
        )
        if any(tiles):
            label = classes[index % len(classes)] if classes else f"image {index + 1}"
            rows.append(Row(label, tiles))
    return tuple(rows)


def _holds(pictures: Pictures, name: str, right: int, bottom: int) -> bool:
    if name not in pictures.files:
        return False
    width, height = png_size(pictures.files[name])
    return width >= right and height >= bottom


def png_size(content: bytes) -> tuple[int, int]:
    """Width and height of a PNG file in pixels; 0 of what is none."""
    if len(content) < 24 or content[12:16] != b"IHDR":
        return 0, 0
    width, height = struct.unpack(">II", content[16:24])
    return width, height
