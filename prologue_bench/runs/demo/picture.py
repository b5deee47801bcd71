"""A picture of the user's own, as a run's images are."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps

from prologue_bench.contracts.images import ImageSpec
from prologue_bench.errors import UserError, shortened

MOST_PIXELS = 100_000_000
"""Of a file: what a camera takes, and no more than memory holds with ease."""


def read_picture(path: Path, spec: ImageSpec, inverted: bool = False) -> NDArray[np.uint8]:
    """uint8 [1, C, H, W] of an image file.

    The middle is cut out in the shape of the run's images, then resized to their size. Transparent
    parts become white; `inverted` swaps light and dark after that. Raises UserError for a file that
    is no image, or too large.
    """
    if spec.channels not in (1, 3):
        raise UserError(
            f"the run's images have {spec.channels} channels; a picture of yours has 1 or 3"
        )
    name = shortened(path.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise UserError(
                        f"{name}: found {opened.width:,} x {opened.height:,} pixels, expected at "
                        f"most {MOST_PIXELS:,} in all; make it smaller"
                    )
                # The camera's turn first: it decides what is above.
                image = ImageOps.exif_transpose(opened).convert("RGBA")
    except UserError:
        raise
    except Exception as error:  # whatever a decoder finds
        reason = getattr(error, "strerror", None) or "not an image of a known format"
        raise UserError(f"{name}: cannot be read ({reason}); choose a PNG or JPEG file") from None
    white = Image.new("RGBA", image.size, "white")
    whole = Image.alpha_composite(white, image).convert("L" if spec.channels == 1 else "RGB")
    fitted = ImageOps.fit(whole, (spec.width, spec.height), Image.Resampling.LANCZOS)
    pixels = np.asarray(ImageChops.invert(fitted) if inverted else fitted)
    return pixels.reshape(1, spec.height, spec.width, -1).transpose(0, 3, 1, 2).copy()
