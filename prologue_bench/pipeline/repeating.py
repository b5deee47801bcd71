"""Whether a tokenizer gives an image the same tokens each time, whatever stands beside it."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from prologue_bench import seeds
from prologue_bench.contracts.tokenizer import Tokenizer
from prologue_bench.errors import StageError
from prologue_bench.pipeline.restoring import FLIPPED
from prologue_bench.training.modes import evaluating

LOOKED_AT = 8
"""Images that are encoded again."""
FLIPPED_ALONE = 0.1
"""The share of ids that may differ where an image is encoded alone, for which devices take other
kernels; `FLIPPED` is that from one time to the next."""


def check_repeats(
    tokenizer: Tokenizer,
    images: Tensor,
    who: str,
    precision: AbstractContextManager[None],
    alone: bool = True,
) -> None:
    """Raises StageError where `encode` of images [B, C, H, W] is random, or depends on the batch.

    All numbers would be those of one draw, or of one size of batch. Without `alone`, the batch is
    not looked at: before a training, codes are so near to one another that rounding may decide.
    Nothing is said where `encode` fails, which the next call of it tells. Random streams are
    afterwards as they were.
    """
    with seeds.seeded("repeats"), evaluating([tokenizer]), precision:
        try:
            first, again = tokenizer.encode(images), tokenizer.encode(images)
            single = [tokenizer.encode(image[None]) for image in images] if alone else [first]
            differ = _share(first, again), _share(first, torch.cat(single))
        except Exception:
            return
    if differ[0] > FLIPPED:
        raise StageError(
            f"{who}: `encode` gives other ids of the same images the second time "
            f"({100 * differ[0]:.0f}%), so that numbers would be of one draw; expected nothing "
            "random in evaluation mode"
        )
    if differ[1] > FLIPPED_ALONE:
        raise StageError(
            f"{who}: `encode` gives an image other ids where it stands alone "
            f"({100 * differ[1]:.0f}%); expected nothing that is taken over the batch in "
            "evaluation mode"
        )


def _share(one: Tensor, other: Tensor) -> float:
    return float((one != other).float().mean())
