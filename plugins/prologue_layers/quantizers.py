"""Quantizers over l2-normalised latents and codes.

Letters: B batch, n tokens, D feature width, c code width, K codes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prologue_layers.transformer import full_precision


class Quantized(NamedTuple):
    """Codes [B, n, c] with a straight-through gradient, ids [B, n], and the quantizer's loss (a scalar)."""

    codes: Tensor
    ids: Tensor
    loss: Tensor


class Codebook(nn.Module):
    """Unit codes, and the projection of features onto their sphere."""

    def __init__(self, width: int, codes: int, code_width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, code_width)
        self.weight = nn.Parameter(torch.randn(codes, code_width))

    def codes(self) -> Tensor:
        """All codes, [K, c], each of length one."""
        return F.normalize(self.weight, dim=-1)

    def latents(self, features: Tensor) -> Tensor:
        """Features [B, n, D] as unit vectors [B, n, c], in float32 for a stable nearest code."""
        with full_precision(features):
            return F.normalize(self.project(features.float()), dim=-1)

    def nearest(self, features: Tensor) -> Tensor:
        """Ids [B, n] of the codes nearest to the features."""
        return (self.latents(features) @ self.codes().T).argmax(dim=-1)

    def look_up(self, ids: Tensor) -> Tensor:
        """Codes [B, n, c] of ids [B, n]."""
        return F.embedding(ids, self.codes())


class VectorQuantizer(nn.Module):
    """Nearest code with a straight-through gradient (van den Oord et al. 2017).

    loss = commitment * mean (stop(code) - z)^2 + mean (code - stop(z))^2
    """

    def __init__(self, width: int, codes: int, code_width: int, commitment: float) -> None:
        super().__init__()
        self.codebook = Codebook(width, codes, code_width)
        self.commitment = commitment

    def forward(self, features: Tensor) -> Quantized:
        z = self.codebook.latents(features)
        ids = (z.detach() @ self.codebook.codes().detach().T).argmax(dim=-1)
        code = self.codebook.look_up(ids)
        loss = self.commitment * F.mse_loss(z, code.detach()) + F.mse_loss(code, z.detach())
        return Quantized(z + (code - z).detach(), ids, loss)


class OneHotQuantizer(nn.Module):
    """Nearest code as a one-hot whose gradient is that of a softmax over all codes.

    p = softmax(z . codes / temperature); one_hot = p + stop(hard - p). No loss of its own: it learns from whoever
    reads the one-hot.
    """

    def __init__(self, width: int, codes: int, code_width: int, temperature: float) -> None:
        super().__init__()
        self.codebook = Codebook(width, codes, code_width)
        self.temperature = temperature

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """One-hots [B, n, K] and ids [B, n]."""
        similarity = self.codebook.latents(features) @ self.codebook.codes().T
        soft = (similarity / self.temperature).softmax(dim=-1)
        ids = similarity.argmax(dim=-1)
        hard = F.one_hot(ids, soft.shape[-1]).to(soft.dtype)
        return soft + (hard - soft).detach(), ids
