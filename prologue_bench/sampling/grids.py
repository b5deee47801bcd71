"""Grids whose rows share tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from prologue_bench.contracts.generator import FREE, fixed_at
from prologue_bench.seeds import stream

Draw = Callable[[Tensor, int, Tensor | None], Tensor]
"""Labels [B], a seed, and fixed ids [B, n] or None, to ids [B, L]."""


def sharing_tokens(
    draw: Draw,
    labels: Tensor,
    columns: int,
    shared: Sequence[Sequence[int]],
    seed: int,
    given: Tensor | None = None,
) -> Tensor:
    """Ids [B, L] in rows of `columns`, one more than `shared` has entries.

    The images of a row share the tokens at its places among the L, but those of the last row share
    none. The tokens are those of an image that is drawn for the row's class, or of the `given` ids
    [L]: these then stand first in each row but the last. A row's labels should be equal: tokens
    drawn for one class would be strange to another.
    """
    first = draw(labels, stream("shared tokens", seed), None)
    fixed = torch.full_like(first, FREE)
    for row, places in enumerate(shared):
        start, stop = row * columns, (row + 1) * columns
        source = first[start] if given is None else given.to(first.device)
        fixed[start:stop] = fixed_at(source[None], places)
        if given is not None:
            fixed[start] = source
    # The last row goes on from tokens of its own, which are spread as if nothing were fixed.
    until = max((place + 1 for places in shared for place in places), default=0)
    fixed[len(shared) * columns :, :until] = first[len(shared) * columns :, :until]
    return draw(labels, stream("other tokens", seed), fixed)


def row_labels(rows: int, columns: int, classes: int) -> Tensor:
    """Labels [rows * columns]: one class per row; the last row is as the one above, to compare."""
    labels = torch.arange(rows).clamp(max=max(0, rows - 2)) % max(1, classes)
    return labels.repeat_interleave(columns)
