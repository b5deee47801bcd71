"""Grids whose rows share their first tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from prologue_bench.seeds import stream

Draw = Callable[[Tensor, int, Tensor | None], Tensor]
"""Labels [B], a seed, and the first tokens [B, n] or None, to ids [B, L]."""


def shared_prefixes(draw: Draw, labels: Tensor, columns: int, length: int, seed: int) -> Tensor:
    """Ids [B, L] in rows of `columns`.

    All of a row share the first `length` tokens, but in the last row none do. A row's labels should
    be equal: tokens drawn for one class would be strange to another.
    """
    first = draw(labels, stream("shared tokens", seed), None)[:, :length]
    prefix = first.clone()
    for start in range(0, len(labels) - columns, columns):
        prefix[start : start + columns] = first[start]
    return draw(labels, stream("other tokens", seed), prefix)


def row_labels(rows: int, columns: int, classes: int) -> Tensor:
    """Labels [rows * columns]: one class per row; the last row is as the one above, to compare."""
    labels = torch.arange(rows).clamp(max=max(0, rows - 2)) % max(1, classes)
    return labels.repeat_interleave(columns)
