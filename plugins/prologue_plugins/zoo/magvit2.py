"""Open-MAGVIT2 (Luo et al. 2024): lookup-free quantization (Yu et al. 2023) without attention.

Letters: B batch, C channels, h and w the sides of feature maps.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from prologue_plugins.zoo.base import ZooTokenizer
from prologue_plugins.zoo.golden import computed
from prologue_plugins.zoo.parts.codebooks import ids_to_signs, signs_to_ids, to_grid
from prologue_plugins.zoo.parts.taming import EPS, Level, group_norm, residual_blocks
from prologue_plugins.zoo.reading import State
from prologue_plugins.zoo.settings import OpenMagvit2Settings

CHANNELS = 3


class Encoder(nn.Module):
    """Images [B, 3, H, W] to one number for each bit [B, bits, h, w]."""

    def __init__(self, settings: OpenMagvit2Settings) -> None:
        super().__init__()
        groups, count = settings.norm_groups, settings.num_res_blocks
        widths = [settings.ch * factor for factor in settings.ch_mult]
        self.conv_in = nn.Conv2d(CHANNELS, settings.ch, 3, padding=1, bias=False)
        self.down = nn.ModuleList()
        for level, (inputs, outputs) in enumerate(itertools.pairwise([settings.ch, *widths])):
            halved = {"downsample": nn.Conv2d(outputs, outputs, 3, stride=2, padding=1)}
            blocks = residual_blocks(inputs, outputs, count, groups, bias=False)
            self.down.append(Level(blocks, (), **(halved if level < len(widths) - 1 else {})))
        self.mid_block = residual_blocks(widths[-1], widths[-1], count, groups, bias=False)
        self.norm_out = group_norm(widths[-1], groups)
        self.conv_out = nn.Conv2d(widths[-1], settings.bits, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(self.mid_block(x))))
        return out


class AdaptiveNorm(nn.Module):
    """Features [B, C, h, w] normalised, scaled and shifted by statistics of the codes.

    The codes are [B, bits, h, w]. The scale is linear in each bit's standard deviation over all
    positions, the shift in its mean.
    """

    def __init__(self, bits: int, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups, affine=False)
        self.gamma = nn.Linear(bits, channels)
        self.beta = nn.Linear(bits, channels)

    def forward(self, x: Tensor, codes: Tensor) -> Tensor:
        positions = codes.flatten(2)
        scale = self.gamma((positions.var(dim=-1) + EPS).sqrt())
        shift = self.beta(positions.mean(dim=-1))
        out: Tensor = self.norm(x) * scale[:, :, None, None] + shift[:, :, None, None]
        return out


class DepthToSpace(nn.Module):
    """Twice the sides by a 3x3 convolution to 4 C channels: row and column in a cell come first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4 * channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        count, channels, rows, columns = x.shape
        cells: Tensor = self.conv1(x).reshape(count, 2, 2, channels, rows, columns)
        out: Tensor = cells.permute(0, 3, 4, 1, 5, 2).reshape(
            count, channels, 2 * rows, 2 * columns
        )
        return out


class Decoder(nn.Module):
    """Codes [B, bits, h, w] to images [B, 3, H, W]; `up.0` is the finest level."""

    def __init__(self, settings: OpenMagvit2Settings) -> None:
        super().__init__()
        groups, count = settings.norm_groups, settings.num_res_blocks
        widths = [settings.ch * factor for factor in settings.ch_mult]
        self.conv_in = nn.Conv2d(settings.bits, widths[-1], 3, padding=1)
        self.mid_block = residual_blocks(widths[-1], widths[-1], count, groups, bias=False)
        self.up, self.adaptive = nn.ModuleList(), nn.ModuleList()
        for level, (outputs, inputs) in enumerate(itertools.pairwise([*widths, widths[-1]])):
            doubled = {"upsample": DepthToSpace(outputs)} if level > 0 else {}
            blocks = residual_blocks(inputs, outputs, count, groups, bias=False)
            self.up.append(Level(blocks, (), **doubled))
            self.adaptive.append(AdaptiveNorm(settings.bits, inputs, groups))
        self.norm_out = group_norm(widths[0], groups)
        self.conv_out = nn.Conv2d(widths[0], CHANNELS, 3, padding=1)

    def forward(self, codes: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(codes))
        for level, adaptive in zip(reversed(self.up), reversed(self.adaptive), strict=True):
            x = level(adaptive(x, codes))
        out: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return out


class OpenMagvit2(ZooTokenizer[OpenMagvit2Settings]):
    """One token for each place of the grid: the signs of its numbers, the first the lowest bit."""

    name = "open-magvit2"

    def build(self, settings: OpenMagvit2Settings) -> None:
        self.encoder = Encoder(settings)
        self.decoder = Decoder(settings)

    @property
    def factor(self) -> int:
        return int(2 ** (len(self.settings.ch_mult) - 1))

    @property
    def vocabulary(self) -> int:
        return int(2**self.settings.bits)

    def latents(self, images: Tensor) -> Tensor:
        latents: Tensor = self.encoder(images)
        return latents

    def ids_of(self, latents: Tensor) -> Tensor:
        return signs_to_ids(latents.flatten(2).transpose(1, 2))

    def codes_of(self, ids: Tensor) -> Tensor:
        return to_grid(ids_to_signs(ids, self.settings.bits), self.grid)

    def images_of(self, codes: Tensor) -> Tensor:
        images: Tensor = self.decoder(codes)
        return images


def golden(config: Mapping[str, Any], weights: State, io: State) -> Mapping[str, Tensor] | None:
    """The tensors of a golden folder, see `prologue_plugins.zoo.golden`."""
    network = config.get("ddconfig")
    if not isinstance(network, Mapping) or "attn_resolutions" in network:
        return None
    values = {name: network[name] for name in ("ch", "ch_mult", "num_res_blocks")}
    values |= {"bits": network["z_channels"], "norm_groups": config["norm_groups"]}
    return computed(OpenMagvit2, OpenMagvit2Settings, values, weights, io)
