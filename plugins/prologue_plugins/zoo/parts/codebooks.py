"""Choosing codes: every published rule in one place.

Letters: N vectors, K codes, c their width, B batch, h and w the sides of grids.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_SCORES = 2**25
"""Scores that are held at a time: a codebook of 2^18 codes has as many for 128 vectors."""


def _best(scores: Callable[[Tensor], Tensor], vectors: Tensor, codes: int) -> Tensor:
    """Ids [N] of the highest of the scores [n, K] of vectors [N, c], the lowest id of equals."""
    rows = max(1, MOST_SCORES // codes)
    return torch.cat([scores(part).argmax(dim=-1) for part in torch.split(vectors, rows)])


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Ids [N] of the codes [K, c] nearest to vectors [N, c] by squared distance."""
    lengths = codebook.square().sum(dim=-1)
    return _best(lambda part: 2 * part @ codebook.T - lengths, vectors, len(codebook))


def largest_product(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Ids [N] of the codes [K, c] with the largest dot product with vectors [N, c]."""
    return _best(lambda part: part @ codebook.T, vectors, len(codebook))


def unit(vectors: Tensor) -> Tensor:
    """Vectors [..., c] of length one."""
    return F.normalize(vectors, dim=-1)


def from_grid(grid: Tensor) -> Tensor:
    """Vectors [B h w, c] of a grid [B, c, h, w], row after row."""
    return grid.permute(0, 2, 3, 1).reshape(-1, grid.shape[1])


def to_grid(vectors: Tensor, sides: tuple[int, int]) -> Tensor:
    """The grid [B, c, h, w] of vectors [B, h w, c]."""
    return vectors.transpose(1, 2).reshape(len(vectors), -1, *sides)


def signs_to_ids(latents: Tensor) -> Tensor:
    """Ids of latents [..., bits]: bit c is whether number c is positive, and counts 2^c."""
    weights = 2 ** torch.arange(latents.shape[-1], device=latents.device)
    return ((latents > 0).long() * weights).sum(dim=-1)


def ids_to_signs(ids: Tensor, bits: int) -> Tensor:
    """Codes [..., bits] of -1 and 1 for ids [...]; the inverse of `signs_to_ids`."""
    places = torch.arange(bits, device=ids.device)
    return ((ids.unsqueeze(-1) >> places) & 1).float() * 2 - 1
