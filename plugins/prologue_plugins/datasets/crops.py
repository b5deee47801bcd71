"""Crops of large images to squares, uint8 [C, S, S]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TEN_CROP_MARGIN = 1.1
"""Edge of the centred square, in crop edges, of which ten crops are taken."""
VIEWS = 10
LONGEST = 16
"""Edge of an image, in shorter edges, that is resized. Of a longer one the middle is, of which the
crops are taken."""


def shrink(image: Image.Image, edge: int) -> Image.Image:
    """The image with a shorter edge of `edge` pixels, as ADM does it (Dhariwal and Nichol 2021).

    It is halved by box filter while the shorter edge is at least twice too long, and then resized
    bicubically.
    """
    image = _middle(image)
    while min(image.size) >= 2 * edge:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = edge / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC)


def is_long(image: Image.Image) -> bool:
    """Whether only the middle of the image is looked at."""
    return max(image.size) > LONGEST * min(image.size)


def _middle(image: Image.Image) -> Image.Image:
    """The image, or its middle where resizing all of a long one could take any amount of memory."""
    if not is_long(image):
        return image
    longest = LONGEST * min(image.size)
    width, height = min(image.width, longest), min(image.height, longest)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def centre_crop(image: Image.Image, size: int) -> NDArray[Any]:
    """ADM's centre crop, [C, S, S]: three channels of RGB, one of grey."""
    pixels = np.asarray(shrink(image, size))
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return _planes(pixels[top : top + size, left : left + size])


def needed_edge(size: int, views: int) -> int:
    """The shorter edge of the image that crops of this size are taken from."""
    return int(size * TEN_CROP_MARGIN) if views == VIEWS else size


def ten_crops(image: Image.Image, size: int) -> NDArray[Any]:
    """Centre and corners of a slightly larger centred square, then all mirrored: [10, 3, S, S].

    The square is ADM's centre crop, so no view is far from the crops that samples are held against.
    """
    square = centre_crop(image, needed_edge(size, VIEWS))
    last = square.shape[1] - size
    corners = [(last // 2, last // 2), (0, 0), (0, last), (last, 0), (last, last)]
    crops = np.stack([square[:, top : top + size, left : left + size] for top, left in corners])
    return np.concatenate((crops, crops[..., ::-1]))


def _planes(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.atleast_3d(pixels).transpose(2, 0, 1)
