"""Encoder and decoder of the taming family, under the names of taming-transformers.

LlamaGen, taming VQGAN, latent diffusion, IBQ, VAR and Cosmos are made of them (Esser et al. 2021,
after Ho et al. 2020). Letters: B batch, C channels, h and w the sides of feature maps.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence

from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-6
"""Of every group norm."""


def group_norm(channels: int, groups: int, affine: bool = True) -> nn.GroupNorm:
    """A group norm with the family's epsilon."""
    return nn.GroupNorm(groups, channels, eps=EPS, affine=affine)


class ResidualBlock(nn.Module):
    """Twice norm, swish and a 3x3 convolution, added to the input [B, C, h, w]."""

    def __init__(self, inputs: int, outputs: int, groups: int, bias: bool = True) -> None:
        super().__init__()
        self.norm1 = group_norm(inputs, groups)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
        self.norm2 = group_norm(outputs, groups)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1, bias=bias)
        self.changes = inputs != outputs

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = h + (self.nin_shortcut(x) if self.changes else x)
        return out


def residual_blocks(
    inputs: int, outputs: int, count: int, groups: int, bias: bool = True
) -> nn.Sequential:
    """So many blocks in a row, of which the first changes the channels."""
    return nn.Sequential(
        *(
            ResidualBlock(first, second, groups, bias)
            for first, second in itertools.pairwise([inputs, *[outputs] * count])
        )
    )


class Attention(nn.Module):
    """One head over all positions, added to the input [B, C, h, w].

    With `fused`, one convolution gives queries, then keys, then values.
    """

    q: nn.Conv2d
    k: nn.Conv2d
    v: nn.Conv2d
    qkv: nn.Conv2d

    def __init__(self, channels: int, groups: int, fused: bool = False) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.fused = fused
        for name in ("qkv",) if fused else ("q", "k", "v"):
            self.add_module(name, nn.Conv2d(channels, channels * len(name), 1))
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        parts = self.qkv(h).chunk(3, dim=1) if self.fused else (self.q(h), self.k(h), self.v(h))
        q, k, v = (part.flatten(2).transpose(1, 2).unsqueeze(1) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = x + self.proj_out(mixed.squeeze(1).transpose(1, 2).reshape(x.shape))
        return out


class Downsample(nn.Module):
    """A 3x3 convolution with stride 2, padded at the bottom and right only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


class Upsample(nn.Module):
    """Each position four times, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


@frozen(kw_only=True)
class Shape:
    """Sizes of an encoder or a decoder.

    `attention` holds the levels with attention, and `resampled` those that halve the sides (in the
    decoder: double them), 0 the finest; None for all but the coarsest (decoder: finest).
    """

    ch: int
    ch_mult: Sequence[int]
    num_res_blocks: int
    z_channels: int
    groups: int
    attention: Collection[int] = ()
    mid_attention: bool = True
    fused: bool = False
    image_channels: int = 3
    resampled: Collection[int] | None = None

    @property
    def widths(self) -> list[int]:
        """Channels of the levels, the finest first."""
        return [self.ch * factor for factor in self.ch_mult]

    def level(
        self, index: int, inputs: int, outputs: int, blocks: int, **after: nn.Module
    ) -> Level:
        """The level of that index with so many blocks."""
        count = blocks if index in self.attention else 0
        return Level(
            residual_blocks(inputs, outputs, blocks, self.groups),
            [Attention(outputs, self.groups, self.fused) for _ in range(count)],
            **after,
        )


class Level(nn.Module):
    """Residual blocks, each followed by attention where the level has it; then `after`, by name."""

    def __init__(self, block: nn.Sequential, attn: Iterable[Attention], **after: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.attn = nn.ModuleList(attn)
        self.after = tuple(after)
        for name, module in after.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        for index, block in enumerate(self.block):
            x = block(x)
            if self.attn:
                x = self.attn[index](x)
        for name in self.after:
            x = self.get_submodule(name)(x)
        return x


class Middle(nn.Module):
    """A residual block, attention, a residual block."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(width, width, shape.groups)
        self.attends = shape.mid_attention
        if self.attends:
            self.attn_1 = Attention(width, shape.groups, shape.fused)
        self.block_2 = ResidualBlock(width, width, shape.groups)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block_1(x)
        if self.attends:
            x = self.attn_1(x)
        out: Tensor = self.block_2(x)
        return out


class Encoder(nn.Module):
    """Images [B, 3, H, W] to features [B, z_channels, h, w]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        widths, last = shape.widths, len(shape.ch_mult) - 1
        resampled = range(last) if shape.resampled is None else shape.resampled
        self.conv_in = nn.Conv2d(shape.image_channels, shape.ch, 3, padding=1)
        self.down = nn.ModuleList()
        for level, (inputs, outputs) in enumerate(zip([shape.ch, *widths], widths, strict=False)):
            after = {"downsample": Downsample(outputs)} if level in resampled else {}
            self.down.append(shape.level(level, inputs, outputs, shape.num_res_blocks, **after))
        self.mid = Middle(shape, widths[-1])
        self.norm_out = group_norm(widths[-1], shape.groups)
        self.conv_out = nn.Conv2d(widths[-1], shape.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(self.mid(x))))
        return out


class Decoder(nn.Module):
    """Features [B, z_channels, h, w] to images [B, 3, H, W]; `up.0` is the finest level."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        widths, last = shape.widths, len(shape.ch_mult) - 1
        resampled = range(1, last + 1) if shape.resampled is None else shape.resampled
        self.conv_in = nn.Conv2d(shape.z_channels, widths[-1], 3, padding=1)
        self.mid = Middle(shape, widths[-1])
        self.up = nn.ModuleList()
        for level, (outputs, inputs) in enumerate(
            zip(widths, [*widths[1:], widths[-1]], strict=True)
        ):
            after = {"upsample": Upsample(outputs)} if level in resampled else {}
            self.up.append(shape.level(level, inputs, outputs, shape.num_res_blocks + 1, **after))
        self.norm_out = group_norm(widths[0], shape.groups)
        self.conv_out = nn.Conv2d(widths[0], shape.image_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(x))
        for level in reversed(self.up):
            x = level(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return out
