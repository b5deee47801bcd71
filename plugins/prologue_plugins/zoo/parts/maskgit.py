"""Encoder and decoder of the MaskGIT family: convolutions alone, images in [0, 1].

MaskGIT-VQGAN (Chang et al. 2022), TiTok's pixel decoder, MaskBit and VQGAN+ (Weber et al. 2024)
have the same networks. They differ in the `Style`. Letters: B batch, C channels, H and W pixels.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch.nn.functional as F
from attrs import frozen
from torch import Tensor, nn

RGB = 3
EPSILON = 1e-6


@frozen
class Style:
    """How a family halves its images, and what it calls its modules."""

    blocks: str
    """The name of a level's list of residual blocks."""
    wrapped_middle: bool
    """Whether the blocks in the middle are in such a list too."""
    strided: bool
    """Whether images are halved by a strided convolution, not by average pooling."""
    coarsest_first: bool
    """Whether the decoder's levels are numbered from the coarsest."""


class ConvSizes(Protocol):
    """The settings of which encoder and decoder are made."""

    @property
    def hidden_channels(self) -> int:
        """The unit in which channels are counted."""

    @property
    def channel_mult(self) -> Sequence[int]:
        """Channels of the levels in this unit, the finest first."""

    @property
    def num_res_blocks(self) -> int:
        """Residual blocks of each level, and in the middle."""

    @property
    def norm_groups(self) -> int:
        """Groups of every group norm."""


MASKGIT = Style("block", wrapped_middle=False, strided=False, coarsest_first=False)
MASKBIT = Style("res_blocks", wrapped_middle=True, strided=True, coarsest_first=True)


def _widths(settings: ConvSizes) -> list[int]:
    """Channels of the levels, the finest first."""
    return [settings.hidden_channels * factor for factor in settings.channel_mult]


def _norm(settings: ConvSizes, channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(settings.norm_groups, channels, eps=EPSILON)


def _conv(inputs: int, outputs: int, size: int = 3, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias)


class ResidualBlock(nn.Module):
    """Two convolutions h of the input, plus the input.

    Where the number of channels changes, the shortcut is fed with h and the input is dropped. This
    is what the published weights were trained with.
    """

    def __init__(self, settings: ConvSizes, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = _norm(settings, inputs)
        self.conv1 = _conv(inputs, outputs, bias=False)
        self.norm2 = _norm(settings, outputs)
        self.conv2 = _conv(outputs, outputs, bias=False)
        self.nin_shortcut = _conv(outputs, outputs, 1, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.nin_shortcut is None else self.nin_shortcut(h))


class HalvingConv(nn.Conv2d):
    """A 3x3 convolution with stride 2; even sizes are padded at the bottom and right only."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class Encoder(nn.Module):
    """Images [B, 3, H, W] to latents [B, `outputs`, H / f, W / f]."""

    def __init__(self, settings: ConvSizes, outputs: int, style: Style) -> None:
        super().__init__()
        widths = _widths(settings)
        self.conv_in = _conv(RGB, settings.hidden_channels, bias=False)
        levels, channels = [], settings.hidden_channels
        for index, width in enumerate(widths):
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            parts[style.blocks] = _blocks(settings, channels, width)
            if index < len(widths) - 1:
                if style.strided:
                    parts["down_conv"] = HalvingConv(width)
                else:
                    parts["pool"] = nn.AvgPool2d(2)
            levels.append(nn.Sequential(parts))
            channels = width
        self.down = nn.ModuleList(levels)
        self.mid = _middle(settings, channels, style)
        self.norm_out = _norm(settings, channels)
        self.conv_out = _conv(channels, outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv_in(images)
        for level in self.down:
            x = level(x)
        latents: Tensor = self.conv_out(F.silu(self.norm_out(self.mid(x))))
        return latents


class Decoder(nn.Module):
    """Codes [B, `inputs`, H / f, W / f] to images [B, 3, H, W], not clamped."""

    def __init__(self, settings: ConvSizes, inputs: int, style: Style) -> None:
        super().__init__()
        widths = _widths(settings)
        self.conv_in = _conv(inputs, widths[-1])
        self.mid = _middle(settings, widths[-1], style)
        levels, channels = [], widths[-1]
        for index, width in reversed(list(enumerate(widths))):
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            parts[style.blocks] = _blocks(settings, channels, width)
            if index > 0:
                parts["upsample"] = nn.Upsample(scale_factor=2, mode="nearest")
                parts["upsample_conv"] = _conv(width, width)
            levels.append(nn.Sequential(parts))
            channels = width
        self.coarsest_first = style.coarsest_first
        self.up = nn.ModuleList(levels if self.coarsest_first else levels[::-1])
        self.norm_out = _norm(settings, channels)
        self.conv_out = _conv(channels, RGB)

    def forward(self, codes: Tensor) -> Tensor:
        x = self.mid(self.conv_in(codes))
        for level in self._from_coarsest():
            x = level(x)
        images: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return images

    def _from_coarsest(self) -> Iterator[nn.Module]:
        return iter(self.up) if self.coarsest_first else reversed(list(self.up))


def _blocks(settings: ConvSizes, inputs: int, outputs: int) -> nn.Sequential:
    channels = [inputs, *[outputs] * settings.num_res_blocks]
    return nn.Sequential(*(ResidualBlock(settings, *pair) for pair in itertools.pairwise(channels)))


def _middle(settings: ConvSizes, channels: int, style: Style) -> nn.Sequential:
    blocks = _blocks(settings, channels, channels)
    return nn.Sequential(OrderedDict({style.blocks: blocks})) if style.wrapped_middle else blocks
