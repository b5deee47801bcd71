"""What images look like, and the way between stored bytes and the floats of models."""

from __future__ import annotations

import math
import operator
import typing
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from attrs import field, frozen, validators
from torch import Tensor

from prologue_bench.errors import StageError, UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _texts(names: Iterable[str]) -> tuple[str, ...]:
    found = (names,) if isinstance(names, str) else tuple(names)
    if isinstance(names, str) or not all(isinstance(name, str) for name in found):
        raise TypeError("'class_names' must be texts")
    return found


@frozen
class ImageSpec:
    """What the images of a data set look like."""

    channels: int = field(converter=operator.index, validator=validators.ge(1))
    height: int = field(converter=operator.index, validator=validators.ge(1))
    width: int = field(converter=operator.index, validator=validators.ge(1))
    class_names: tuple[str, ...] = field(default=(), converter=_texts)

    @property
    def none_label(self) -> int:
        """The label that stands for "no class"; real labels are smaller."""
        return len(self.class_names)

    @property
    def labels(self) -> int:
        """How many labels there are, "none" among them."""
        return len(self.class_names) + 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image, (C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def dimensions(self) -> int:
        """Numbers in one image, C * H * W."""
        return math.prod(self.shape)

    def labels_in_turn(self, count: int) -> NDArray[np.int64]:
        """The labels of samples, int64 [count].

        The classes in turn, the first ones once more at the end.
        """
        return np.arange(count, dtype=np.int64) % max(1, len(self.class_names))


class ImageArray(typing.Protocol):
    """Images by number: an array, a memory map, or files that are decoded when asked for."""

    def __len__(self) -> int:
        """How many there are, N."""

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """uint8 [n, C, H, W] for a slice or a list of numbers."""


def channels_first(images: NDArray[Any], who: str) -> NDArray[Any]:
    """uint8 [N, C, H, W] of [N, H, W, C], [N, C, H, W] or grey [N, H, W], with C of 1 or 3.

    Where both could be meant, channels come last. Raises UserError, which begins with `who`, for
    anything else, and for no images.
    """
    if images.dtype == np.uint8 and images.ndim in (3, 4) and images.size:
        if images.ndim == 3:
            return images[:, None]
        if images.shape[3] in (1, 3):
            return images.transpose(0, 3, 1, 2)
        if images.shape[1] in (1, 3):
            return images
    if images.dtype == np.uint8 and images.ndim and not len(images):
        raise UserError(f"{who}: found no images, expected at least one")
    raise UserError(
        f"{who}: found images of {images.dtype} {list(images.shape)}, "
        "expected uint8 [N, H, W, C] with 1 or 3 channels"
    )


def to_float(images: Tensor) -> Tensor:
    """uint8 [B, C, H, W] to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


RANGE = (-1.0, 1.0)
"""Of the images that tokenizers take and give."""
FAR = 0.5
"""How far values may lie outside their range on average, in halves of it. Decoders overshoot, and
what they give is clamped; but not so far."""


def is_of_bytes(images: Tensor) -> bool:
    """Whether finite values are as bytes are, 0 to 255: what clamping would make white.

    What weights without sense give is on both sides of zero.
    """
    return float(images.min()) >= 0 and outside_range(images.float()) > FAR


def outside_range(images: Tensor) -> float:
    """How far the values of float images lie outside `RANGE`, on average."""
    return float((images - images.clamp(*RANGE)).abs().mean())


def to_bytes(images: Tensor) -> Tensor:
    """Float images around [-1, 1] to uint8, clamped and rounded to the nearest level.

    Raises StageError for images that hold something else than finite numbers, which a byte could
    not show.
    """
    if not torch.isfinite(images).all():
        broken = int((~torch.isfinite(images)).flatten(1).any(dim=1).sum())
        raise StageError(
            f"{broken} of {len(images)} decoded images hold NaN or infinity; "
            "expected finite numbers"
        )
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
