"""Vision transformers between images and features: an encoder with learned queries, and a decoder.

Letters: B batch, N patches, n queries, D width, C image channels, P patch size.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from prologue_plugins.layers.inference import through
from prologue_plugins.layers.settings import TransformerSettings
from prologue_plugins.layers.transformer import (
    OutputHead,
    Positions,
    Transformer,
    rotary_angles,
)

GRID_THETA = 2000.0
SEQUENCE_THETA = 10000.0
"""Rotary bases of the places in a grid and of those in a sequence, as in the paper's models."""


def to_patches(images: Tensor, size: int) -> Tensor:
    """[B, C, H, W] -> [B, N, P * P * C], row by row; inside a patch, channels change fastest."""
    return rearrange(images, "b c (h p) (w q) -> b (h w) (p q c)", p=size, q=size)


def from_patches(patches: Tensor, size: int, grid: tuple[int, int]) -> Tensor:
    """The inverse of `to_patches`."""
    return rearrange(patches, "b (h w) (p q c) -> b c (h p) (w q)", h=grid[0], p=size, q=size)


def axis_channels(settings: TransformerSettings) -> tuple[int, int, int]:
    """Channels of a head turned by row, column and index: (20, 20, 24) of 64, in proportion."""
    if settings.rotary_axes is not None:
        return settings.rotary_axes
    spatial = 2 * (settings.head_channels * 20 // 64 // 2)
    return spatial, spatial, settings.head_channels - 2 * spatial


def grid_angles(grid: tuple[int, int], settings: TransformerSettings) -> Tensor:
    """Rotary angles [N, head channels / 2] of a grid at (row, column, 0)."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    positions = torch.stack((rows.flatten(), columns.flatten(), torch.zeros(rows.numel())), dim=1)
    return rotary_angles(positions, axis_channels(settings), GRID_THETA)


def sequence_angles(count: int, settings: TransformerSettings) -> Tensor:
    """Rotary angles [n, head channels / 2] of a sequence at (0, 0, index)."""
    index = torch.arange(count)
    positions = torch.stack((torch.zeros(count), torch.zeros(count), index), dim=1)
    return rotary_angles(positions, axis_channels(settings), SEQUENCE_THETA)


class PatchEncoder(nn.Module):
    """A transformer over [projected patches, learned queries], without a mask.

    Patches are pixels, or another encoder's features of them.
    """

    def __init__(
        self,
        settings: TransformerSettings,
        labels: int,
        patch_inputs: int,
        grid: tuple[int, int],
        queries: int,
    ) -> None:
        super().__init__()
        self.patches = grid[0] * grid[1]
        self.project = nn.Linear(patch_inputs, settings.width)
        self.transformer = Transformer(settings, labels, causal=False)
        self.positions = Positions(
            torch.cat((grid_angles(grid, settings), sequence_angles(queries, settings)))
        )
        self.queries = (
            nn.Parameter(0.02 * torch.randn(1, queries, settings.width)) if queries else None
        )

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Patches [B, N, inputs] to features of patches [B, N, D] and of queries [B, n, D]."""
        features, _ = through(self.transformer, self._inputs(patches), self.positions())
        return features[:, : self.patches], features[:, self.patches :]

    def _inputs(self, patches: Tensor) -> Tensor:
        """Patches [B, N, inputs], projected, and queries: [B, N + n, D]."""
        x: Tensor = self.project(patches)
        if self.queries is None:
            return x
        return torch.cat((x, self.queries.expand(len(x), -1, -1)), dim=1)

    def attention(self, patches: Tensor) -> Tensor:
        """Attention of queries to patches in the last layer [n, N], over heads and images."""
        maps = self.transformer.attention(self._inputs(patches), self.positions())
        return maps[-1, self.patches :, : self.patches]


class PatchDecoder(nn.Module):
    """A transformer from the quantized tokens of an image to its patches.

    Without `sequence`, tokens and patches are the same grid. With it, that many tokens without
    places in the image stand before learned queries, one per patch, which become the patches.
    """

    def __init__(
        self,
        settings: TransformerSettings,
        labels: int,
        code_width: int,
        grid: tuple[int, int],
        patch_outputs: int,
        sequence: int = 0,
    ) -> None:
        super().__init__()
        self.sequence = sequence
        self.project = nn.Linear(code_width, settings.width)
        self.transformer = Transformer(settings, labels, causal=False)
        self.positions = Positions(
            torch.cat((sequence_angles(sequence, settings), grid_angles(grid, settings)))
        )
        patches = grid[0] * grid[1]
        self.queries = (
            nn.Parameter(0.02 * torch.randn(1, patches, settings.width)) if sequence else None
        )
        self.head = OutputHead(settings, patch_outputs)
        # Starting from a grey image keeps the first reconstruction losses small.
        nn.init.zeros_(self.head.linear.weight)
        nn.init.zeros_(self.head.linear.bias)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes [B, N or n, code width] to patches [B, N, outputs]."""
        x = self.project(codes)
        if self.queries is not None:
            x = torch.cat((x, self.queries.expand(len(x), -1, -1)), dim=1)
        features, condition = through(self.transformer, x, self.positions())
        patches: Tensor = self.head(features[:, self.sequence :], condition)
        return patches
