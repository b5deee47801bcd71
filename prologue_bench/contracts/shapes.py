"""Tensors that are of all images of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from prologue_bench.errors import StageError
from prologue_bench.guard import shown


def check_shape(
    found: object, of: nn.Module, what: str, sizes: Sequence[int], others: str = ""
) -> None:
    """Raises StageError for anything but a tensor of these sizes, with `others` behind them.

    Another shape would be spread over the images, or stand for some of them, without a word.
    """
    shape = tuple(found.shape) if isinstance(found, Tensor) else ()
    if shape[: len(sizes)] != tuple(sizes) or (len(shape) > len(sizes) and not others):
        got = f"shape {list(shape)}" if isinstance(found, Tensor) else shown(found)
        expected = ", ".join([*map(str, sizes), *filter(None, [others])])
        raise StageError(f"{type(of).__name__}: {what} gives {got}, expected [{expected}]")
