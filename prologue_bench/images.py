"""Between the bytes of stored images and the floats of models."""

from __future__ import annotations

import torch
from torch import Tensor

from prologue_bench.errors import StageError


def to_float(images: Tensor) -> Tensor:
    """uint8 [B, C, H, W] to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_bytes(images: Tensor) -> Tensor:
    """Float images around [-1, 1] to uint8, clamped and rounded to the nearest level.

    Raises StageError for images that hold something else than finite numbers, which a byte could not show.
    """
    if not torch.isfinite(images).all():
        broken = int((~torch.isfinite(images)).flatten(1).any(dim=1).sum())
        raise StageError(f"{broken} of {len(images)} decoded images hold NaN or infinity; expected finite numbers")
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
