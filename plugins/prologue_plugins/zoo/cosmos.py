"""Cosmos DI (NVIDIA 2024): wavelets, the networks of the taming family, and FSQ.

Letters: B batch, C channels of latents, h and w places of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prologue_bench.errors import UserError
from prologue_plugins.zoo.base import CHANNELS, ZooTokenizer
from prologue_plugins.zoo.golden import computed
from prologue_plugins.zoo.parts.codebooks import to_grid
from prologue_plugins.zoo.parts.taming import Decoder, Encoder, Shape
from prologue_plugins.zoo.reading import State
from prologue_plugins.zoo.settings_maskgit import CosmosDiSettings

MARGIN = 1e-3
"""How much wider than its levels the range of a channel is, in front of the rounding."""


def haar(x: Tensor) -> Tensor:
    """One pass of the Haar transform over 2: [B, C, H, W] to [B, 4 C, H / 2, W / 2].

    First the means of all channels, then differences down the height, along the width, and of both.
    """
    a, b = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
    c, d = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    parts = (a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d)
    return torch.cat(parts, dim=1) / 4


def inverse_haar(x: Tensor) -> Tensor:
    """The inverse of `haar`."""
    mean, down, along, both = x.chunk(4, dim=1)
    out = x.new_empty(mean.shape[0], mean.shape[1], 2 * mean.shape[2], 2 * mean.shape[3])
    out[..., 0::2, 0::2] = mean + down + along + both
    out[..., 0::2, 1::2] = mean + down - along - both
    out[..., 1::2, 0::2] = mean - down + along - both
    out[..., 1::2, 1::2] = mean - down - along + both
    return out


class CosmosDi(ZooTokenizer[CosmosDiSettings]):
    """One token for each place of the grid, by finite scalar quantization (Mentzer et al. 2023).

    Channel 0 is the lowest digit of an id.
    """

    name = "cosmos-di"
    unread = ("encoder.patcher.", "decoder.unpatcher.", "quantizer.", "inv_quant.")
    """Constants, which follow from the settings."""

    def build(self, settings: CosmosDiSettings) -> None:
        levels = len(settings.channels_mult)
        halved, doubled = range(settings.halvings), range(levels - settings.halvings, levels)
        encoder, decoder = (
            Shape(
                ch=settings.channels,
                ch_mult=settings.channels_mult,
                num_res_blocks=settings.num_res_blocks,
                z_channels=settings.z_channels,
                groups=settings.norm_groups,
                image_channels=CHANNELS * settings.patch_size**2,
                resampled=resampled,
            )
            for resampled in (halved, doubled)
        )
        width = len(settings.levels)
        self.encoder = Encoder(encoder)
        self.quant_conv = nn.Conv2d(settings.z_channels, width, 1)
        self.post_quant_conv = nn.Conv2d(width, settings.z_channels, 1)
        self.decoder = Decoder(decoder)

    @property
    def factor(self) -> int:
        return self.settings.spatial_compression

    @property
    def vocabulary(self) -> int:
        return math.prod(self.settings.levels)

    def wavelets(self, images: Tensor) -> Tensor:
        """The encoder's input [B, 3 p^2, H / p, W / p] of images; p is `patch_size`."""
        for _ in range(self.settings.patch_size.bit_length() - 1):
            images = haar(images)
        return images

    def latents(self, images: Tensor) -> Tensor:
        latents: Tensor = self.quant_conv(self.encoder(self.wavelets(images)))
        return latents

    def ids_of(self, latents: Tensor) -> Tensor:
        levels, steps = self._digits(latents.device)
        half = (levels - 1) * (1 + MARGIN) / 2
        offset = (levels % 2 == 0) / 2
        bounded = torch.tanh(latents.movedim(1, -1) + torch.atanh(offset / half)) * half - offset
        digits = bounded.round().long() + levels // 2
        return (digits * steps).sum(dim=-1).flatten(1)

    def codes_of(self, ids: Tensor) -> Tensor:
        levels, steps = self._digits(ids.device)
        digits = ids.unsqueeze(-1) // steps % levels
        return to_grid(digits / (levels // 2) - 1, self.grid)

    def images_of(self, codes: Tensor) -> Tensor:
        images: Tensor = self.decoder(self.post_quant_conv(codes))
        for _ in range(self.settings.patch_size.bit_length() - 1):
            images = inverse_haar(images)
        return images

    def golden(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        yield "wavelet_patches", self.wavelets(images)
        yield "encoder_out", self.encoder(self.wavelets(images))
        yield from super().golden(images)

    def _digits(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Values of each channel, and what a step of it counts in an id, both [C] int64."""
        levels = self.settings.levels
        steps = [math.prod(levels[:channel]) for channel in range(len(levels))]
        return torch.tensor(levels, device=device), torch.tensor(steps, device=device)


def golden(config: Mapping[str, Any], weights: State, io: State) -> Mapping[str, Tensor] | None:
    """The tensors of a golden folder, see `prologue_plugins.zoo.golden`.

    Raises UserError for a configuration with attention outside the middle, which none of the
    released models has.
    """
    if config.get("quantizer") != "FSQ" or "channels_mult" not in config:
        return None
    side = config["resolution"] // config["patch_size"]
    sides = [side // 2**level for level in range(len(config["channels_mult"]))]
    if reached := sorted(set(sides) & set(config["attn_resolutions"])):
        raise UserError(
            f"config.json: attn_resolutions: found {reached[0]}, the nominal side of a level; "
            f"expected none of {sides}, as in all released models"
        )
    names = (
        *("channels", "channels_mult", "num_res_blocks", "z_channels", "levels"),
        *("spatial_compression", "patch_size", "norm_groups"),
    )
    values = {name: config[name] for name in names if name in config}
    return computed(CosmosDi, CosmosDiSettings, values, weights, io)
