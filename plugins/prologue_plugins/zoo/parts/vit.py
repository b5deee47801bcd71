"""The transformer of TiTok and BSQ-ViT, with CLIP's module names.

Letters: B batch, L sequence, D width, H heads.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from prologue_bench.contracts import ImageSpec
from prologue_bench.errors import UserError
from prologue_plugins.zoo.settings_maskgit import BsqVitSettings, TiTokSettings, VitSize

EPSILON = 1e-5


class Attention(nn.Module):
    """Attention among all positions; q, k and v are stacked in one matrix, in this order."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.heads = size.heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * size.width, size.width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * size.width))
        self.out_proj = nn.Linear(size.width, size.width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor) -> Tensor:
        fused = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = rearrange(fused, "B L (three H d) -> three B H L d", three=3, H=self.heads)
        heads = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out_proj(rearrange(heads, "B H L d -> B L (H d)"))
        return out


class Block(nn.Module):
    """Attention, then an MLP with the exact GELU; both after a LayerNorm, both added."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        hidden = size.width * size.mlp_ratio
        self.ln_1 = nn.LayerNorm(size.width, eps=EPSILON)
        self.attn = Attention(size)
        self.ln_2 = nn.LayerNorm(size.width, eps=EPSILON)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(size.width, hidden),
                gelu=nn.GELU(),
                c_proj=nn.Linear(hidden, size.width),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


def blocks(size: VitSize) -> nn.Sequential:
    """The blocks of a transformer, [B, L, D] to [B, L, D]."""
    return nn.Sequential(*(Block(size) for _ in range(size.layers)))


def positions(length: int, width: int) -> nn.Parameter:
    """A learned vector for each of `length` positions, drawn with a deviation of D^-0.5."""
    return nn.Parameter(torch.randn(length, width) * width**-0.5)


def grid_side(settings: TiTokSettings | BsqVitSettings) -> int:
    """Patches along a side."""
    return settings.image_size // settings.patch_size


def check_one_size(name: str, size: int, images: ImageSpec) -> None:
    """Raises UserError for images of another size than that of the learned positions."""
    if (images.height, images.width) != (size, size):
        raise UserError(
            f"tokenizer {name!r}: found images of {images.height} x {images.width}, expected "
            f"{size} x {size}, by the size of its learned positions"
        )
