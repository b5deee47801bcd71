"""BSQ-ViT (Zhao et al. 2024): the signs of vectors on a sphere, between two transformers.

Letters: B batch, N patches, D width, b bits of a patch, g bits of a token.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from prologue_bench.contracts import ImageSpec, Segment, TokenLayout
from prologue_plugins.zoo.base import ZooTokenizer
from prologue_plugins.zoo.golden import computed
from prologue_plugins.zoo.parts.codebooks import ids_to_signs, signs_to_ids, unit
from prologue_plugins.zoo.parts.maskgit import RGB
from prologue_plugins.zoo.parts.vit import EPSILON, blocks, check_one_size, grid_side, positions
from prologue_plugins.zoo.reading import State
from prologue_plugins.zoo.settings_maskgit import BsqVitSettings


class PatchTransformer(nn.Module):
    """What encoder and decoder share: positions, norms and blocks, [B, N, D] to [B, N, D]."""

    def __init__(self, settings: BsqVitSettings) -> None:
        super().__init__()
        size = settings.transformer
        self.positional_embedding = positions(grid_side(settings) ** 2, size.width)
        self.ln_pre = nn.LayerNorm(size.width, eps=EPSILON)
        # The blocks have their own level of names in the state dict.
        self.transformer = nn.Sequential(OrderedDict(resblocks=blocks(size)))
        self.ln_post = nn.LayerNorm(size.width, eps=EPSILON)

    def states(self, x: Tensor) -> Tensor:
        """The last layer's states of x, both [B, N, D]."""
        states: Tensor = self.ln_post(self.transformer(self.ln_pre(x + self.positional_embedding)))
        return states


class BsqEncoder(PatchTransformer):
    """Images [B, 3, H, W] in [-1, 1] to states [B, N, D]."""

    def __init__(self, settings: BsqVitSettings) -> None:
        super().__init__(settings)
        self.size = settings.patch_size
        self.conv1 = nn.Linear(RGB * self.size**2, settings.transformer.width, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        patches = rearrange(
            images,
            "B C (h row) (w column) -> B (h w) (C row column)",
            row=self.size,
            column=self.size,
        )
        return self.states(self.conv1(patches))


class BsqDecoder(PatchTransformer):
    """Embedded codes [B, N, D] to images [B, 3, H, W], not clamped."""

    def __init__(self, settings: BsqVitSettings) -> None:
        super().__init__(settings)
        self.size, self.grid = settings.patch_size, grid_side(settings)
        self.ffn = nn.Sequential(
            nn.Linear(settings.transformer.width, settings.dim_ffn_output), nn.Tanh()
        )
        self.conv_out = nn.Linear(settings.dim_ffn_output, RGB * self.size**2)

    def forward(self, codes: Tensor) -> Tensor:
        patches: Tensor = self.conv_out(self.ffn(self.states(codes)))
        return rearrange(
            patches,
            "B (h w) (C row column) -> B C (h row) (w column)",
            h=self.grid,
            row=self.size,
            column=self.size,
        )


class BitWeights(nn.Module):
    """Tables of the released files, which are checked and never used: they follow from the bits."""

    def __init__(self, settings: BsqVitSettings) -> None:
        super().__init__()
        for name, bits in (
            ("basis", settings.embed_dim),
            ("group_basis", settings.embed_group_size),
        ):
            self.register_buffer(name, 2 ** torch.arange(bits).flip(0))


class BsqVit(ZooTokenizer[BsqVitSettings]):
    """The signs of the latents; channel 0 is the highest bit of an id.

    Ids are counted in whole numbers. The official sum is in float32, which has not enough places
    for 36 bits.
    """

    name = "bsq-vit"

    def build(self, settings: BsqVitSettings) -> None:
        width = settings.transformer.width
        self.encoder = BsqEncoder(settings)
        self.quant_embed = nn.Linear(width, settings.embed_dim)
        self.quantize = BitWeights(settings)
        self.post_quant_embed = nn.Linear(settings.embed_dim, width)
        self.decoder = BsqDecoder(settings)

    @property
    def factor(self) -> int:
        return self.settings.patch_size

    def make_layout(self) -> TokenLayout:
        bits = self.settings.token_bits
        tokens = self.settings.embed_dim // bits
        length = self.grid[0] * self.grid[1] * tokens
        return TokenLayout((Segment("visual", length, 2**bits, self.grid, tokens),))

    def latents(self, images: Tensor) -> Tensor:
        latents: Tensor = self.quant_embed(self.encoder(images))
        return latents

    def ids_of(self, latents: Tensor) -> Tensor:
        return self._ids(latents, self.settings.token_bits).flatten(1)

    def codes_of(self, ids: Tensor) -> Tensor:
        bits, token = self.settings.embed_dim, self.settings.token_bits
        signs = ids_to_signs(ids, token).flip(-1)
        codes = rearrange(signs, "B (N token) g -> B N (token g)", token=bits // token)
        return codes / math.sqrt(bits)

    def images_of(self, codes: Tensor) -> Tensor:
        images: Tensor = self.decoder(self.post_quant_embed(codes))
        return images

    def golden(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        yield from super().golden(images)
        latents = self.latents(images)
        yield "latents_normalised", unit(latents)
        yield "group_ids", self._ids(latents, self.settings.embed_group_size)

    @staticmethod
    def _ids(latents: Tensor, bits: int) -> Tensor:
        """Ids [B, N, b / `bits`] of consecutive channels of latents [B, N, b].

        To normalise the latents would change no sign.
        """
        return signs_to_ids(rearrange(latents, "B N (token g) -> B N token g", g=bits).flip(-1))

    def _check(self, images: ImageSpec) -> None:
        super()._check(images)
        check_one_size(self.name, self.settings.image_size, images)


def golden(config: Mapping[str, Any], weights: State, io: State) -> Mapping[str, Tensor] | None:
    """The tensors of a golden folder, see `prologue_plugins.zoo.golden`."""
    vit = config.get("vitconfig")
    if not isinstance(vit, Mapping) or "embed_dim" not in config:
        return None
    names = ("dim_ffn_output", "embed_dim", "embed_group_size")
    sizes = ("width", "layers", "heads", "mlp_ratio")
    values = {
        **{name: config[name] for name in names if name in config},
        "token_bits": config["embed_dim"],
        "image_size": vit["image_size"],
        "patch_size": vit["patch_size"],
        "transformer": {name: vit[name] for name in sizes if name in vit},
    }
    return computed(BsqVit, BsqVitSettings, values, weights, io)
