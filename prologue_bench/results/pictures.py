"""The pictures of a report that was written."""

from __future__ import annotations

import io
import os
import re
import warnings
from pathlib import Path

from attrs import define, field
from PIL import Image

from prologue_bench.errors import UserError
from prologue_bench.results.reading import MEGABYTE, is_folder, read_bytes
from prologue_bench.results.schema import Results
from prologue_bench.results.sources import one_data_set

ORIGINALS = "originals"
VARIANT_PICTURES = (
    *("reconstructions", "samples", "prefixes"),
    *("tokens", "attention", "heatmaps"),
)
GRID_COLUMNS, GAP = 10, 2
"""Of the images in a grid: how many stand in a row, and pixels between them."""
ASSETS = "assets"
"""The folder of a report's pictures."""
PICTURE_NAME = re.compile(
    r"(originals(?:-\d{1,6})?|(?:" + "|".join(VARIANT_PICTURES) + r")-\d{1,6})\.png", re.ASCII
)
LARGEST_PICTURE, MOST_BYTES = 64 * MEGABYTE, 1024 * MEGABYTE
"""Of one picture, and of all that a report holds."""
MOST_PIXELS, LONGEST_SIDE = 2**26, 2**15


@define
class Pictures:
    """PNG files by name.

    They are "originals", and one "KIND-i" of the i-th variant for each of VARIANT_PICTURES. In
    results that were put together from several data sets, "originals-i" is of the i-th source.
    """

    files: dict[str, bytes] = field(factory=dict)
    left_out: list[str] = field(factory=list)
    """A line for each picture that was found and not taken."""


def picture_names(variants: int, parts: int) -> list[str]:
    """The names of all pictures that a report may have.

    It is of so many variants, put together from so many results.
    """
    own = [f"{kind}-{index}" for index in range(variants) for kind in VARIANT_PICTURES]
    return ["originals", *(f"originals-{index}" for index in range(parts)), *own]


def load_pictures(folder: Path, results: Results | None = None) -> Pictures:
    """The pictures of a written report: whole PNG files under a report's names, none behind a link.

    With its results, no others than they can have, and list where they list any.
    """
    assets, found = folder / ASSETS, Pictures()
    known = (
        None if results is None else set(picture_names(len(results.variants), len(results.origins)))
    )
    listed_files = None if results is None else results.files
    if not os.path.lexists(assets):
        return found
    try:
        names = sorted(os.listdir(assets)) if is_folder(assets) else []
    except OSError as error:
        found.left_out.append(f"{assets}: {error.strerror}; the report is without its pictures")
        return found
    if not is_folder(assets):
        found.left_out.append(
            f"{assets}: not a folder itself, or a link to one; the report is without its pictures"
        )
    room = MOST_BYTES
    for name in names:
        if (is_picture := PICTURE_NAME.fullmatch(name)) is None:
            continue
        if known is not None and is_picture[1] not in known:
            continue
        if listed_files is not None and f"{ASSETS}/{name}" not in listed_files:
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
                    raise UserError(
                        f"{path}: {image.width} x {image.height} pixels, "
                        "more than a grid of images has"
                    )
                image.verify()
    except UserError:
        raise
    except Exception as error:  # whatever a decoder finds
        raise UserError(
            f"{path}: not a whole PNG ({str(error) or type(error).__name__:.80})"
        ) from None


def comparable_pictures(results: Results, pictures: Pictures) -> list[tuple[str, str]]:
    """What can be overlaid: the originals, and the reconstructions of each variant, by title."""
    names = originals(results) + [
        (variant.name, f"reconstructions-{index}") for index, variant in enumerate(results.variants)
    ]
    return [(title, name) for title, name in names if name in pictures.files]


def originals(results: Results) -> list[tuple[str, str]]:
    """Title and name of each picture of test images that there may be.

    One, or in merged results one per source.
    """
    found = [("originals", "originals")]
    if not one_data_set(results):
        found += [
            (f"originals, {source.label}", f"originals-{index}")
            for index, source in enumerate(results.origins)
        ]
    return found
