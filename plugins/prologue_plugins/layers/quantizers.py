"""Quantizers over l2-normalised latents and codes.

Letters: B batch, n tokens, D feature width, c code width, K codes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prologue_bench.contracts import InspectedTokens
from prologue_plugins.layers.settings import StraightThrough
from prologue_plugins.layers.transformer import full_precision


class Quantized(NamedTuple):
    """Codes [B, n, c] with a straight-through gradient, ids [B, n], and a scalar loss."""

    codes: Tensor
    ids: Tensor
    loss: Tensor


class Codebook(nn.Module):
    """Unit codes, and the projection of features onto their sphere.

    Codes are drawn from N(0, 1 / c), so that they start with a length of about one. Only their
    direction counts: the longer they are, the less a step of the optimizer turns them.
    """

    def __init__(self, width: int, codes: int, code_width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, code_width)
        self.weight = nn.Parameter(torch.randn(codes, code_width) / math.sqrt(code_width))

    def codes(self) -> Tensor:
        """All codes, [K, c], each of length one."""
        return F.normalize(self.weight, dim=-1)

    def projected(self, features: Tensor) -> Tensor:
        """Features [B, n, D] as vectors [B, n, c] of any length, in float32."""
        with full_precision(features):
            vectors: Tensor = self.project(features.float())
            return vectors

    def latents(self, features: Tensor) -> Tensor:
        """Features [B, n, D] as unit vectors [B, n, c], in float32 for a stable nearest code."""
        with full_precision(features):
            return F.normalize(self.projected(features), dim=-1)

    def similarity(self, z: Tensor, codes: Tensor) -> Tensor:
        """Of latents [B, n, c] to codes [K, c]: [B, n, K], in float32.

        In bfloat16 other codes may be the nearest.
        """
        with full_precision(z):
            return z.float() @ codes.float().T

    def nearest(self, features: Tensor) -> Tensor:
        """Ids [B, n] of the codes nearest to the features."""
        return self.nearest_to(self.projected(features))

    def nearest_to(self, projected: Tensor) -> Tensor:
        """Ids [B, n] of the codes nearest to vectors [B, n, c] of any length."""
        with full_precision(projected):
            z = F.normalize(projected, dim=-1)
        return self.similarity(z, self.codes()).argmax(dim=-1)

    def look_up(self, ids: Tensor) -> Tensor:
        """Codes [B, n, c] of ids [B, n]."""
        return F.embedding(ids, self.codes())


def inspected(segments: Mapping[str, tuple[Codebook, Tensor]]) -> InspectedTokens:
    """Ids and latents of segments in order, each with its codebook and its features [B, n, D]."""
    latents = {name: codebook.projected(of) for name, (codebook, of) in segments.items()}
    ids = [segments[name][0].nearest_to(each) for name, each in latents.items()]
    return InspectedTokens(torch.cat(ids, dim=1), latents)


class VectorQuantizer(nn.Module):
    """Nearest code with a straight-through gradient (van den Oord et al. 2017).

    loss = commitment * mean (stop(code) - z)^2 + mean (code - stop(z))^2
    """

    def __init__(self, width: int, codes: int, code_width: int, commitment: float) -> None:
        super().__init__()
        self.codebook = Codebook(width, codes, code_width)
        self.commitment = commitment

    def forward(self, features: Tensor) -> Quantized:
        return self.quantize(self.codebook.latents(features))

    def quantize(self, z: Tensor) -> Quantized:
        """Latents [B, n, c] from the codebook's projection."""
        ids = self.codebook.similarity(z.detach(), self.codebook.codes().detach()).argmax(dim=-1)
        code = self.codebook.look_up(ids)
        return Quantized(z + (code - z).detach(), ids, code_loss(z, code, self.commitment))


def code_loss(z: Tensor, code: Tensor, commitment: float) -> Tensor:
    """Pulls latents towards their codes, with weight `commitment`, and codes towards latents."""
    return commitment * F.mse_loss(z, code.detach()) + F.mse_loss(code, z.detach())


class OneHot(NamedTuple):
    """Hard one-hots [B, n, K] with a straight-through gradient, ids [B, n], and a scalar loss."""

    one_hot: Tensor
    ids: Tensor
    loss: Tensor | None


class OneHotQuantizer(nn.Module):
    """Nearest code as a one-hot that learns from whoever reads it.

    With `softmax`, the gradient is that of a softmax over all codes, and there is no loss of the
    quantizer's own:
        p = softmax(z . codes / temperature); one_hot = p + stop(hard - p)
    With `vq`, the gradient reaches the latents unchanged, as in plain vector quantization, whose
    losses then move the codes. With s = z . stop(codes), one_hot = s + stop(hard - s): a linear map
    W of the one-hot has the gradient that a linear map W^T codes of the straight-through code would
    have.
    """

    def __init__(
        self,
        codebook: Codebook,
        temperature: float,
        straight_through: StraightThrough = "softmax",
        commitment: float = 0.25,
    ) -> None:
        super().__init__()
        self.codebook = codebook
        self.temperature = temperature
        self.straight_through = straight_through
        self.commitment = commitment

    def forward(self, features: Tensor) -> OneHot:
        return self.quantize(self.codebook.latents(features))

    def quantize(self, z: Tensor) -> OneHot:
        """Latents [B, n, c] from the codebook's projection."""
        if self.straight_through == "vq":
            similarity = self.codebook.similarity(z, self.codebook.codes().detach())
            hard, ids = _hard(similarity)
            loss = code_loss(z, self.codebook.look_up(ids), self.commitment)
            return OneHot(straight_through(hard, similarity), ids, loss)
        similarity = self.codebook.similarity(z, self.codebook.codes())
        soft = (similarity / self.temperature).softmax(dim=-1)
        hard, ids = _hard(similarity)
        return OneHot(straight_through(hard, soft), ids, None)


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """`hard`, whose gradient reaches `soft` unchanged."""
    through: Tensor = _StraightThrough.apply(hard, soft)
    return through


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hard: Tensor, soft: Tensor) -> Tensor:
        return hard.view_as(hard)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient


def _hard(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """The one-hots and ids of the largest similarities [B, n, K]."""
    ids = similarity.argmax(dim=-1)
    return F.one_hot(ids, similarity.shape[-1]).to(similarity.dtype), ids
