"""Vision transformers between images and token features: an encoder with learned queries, and a decoder.

Letters: B batch, N patches, n queries, D width, C image channels, P patch size.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from prologue_layers.settings import TransformerSettings
from prologue_layers.transformer import OutputHead, Positions, Transformer, rotary_angles

PATCH_THETA = 2000.0
QUERY_THETA = 10000.0
"""Rotary bases of patches and of learned queries, as in the paper's models."""


def to_patches(images: Tensor, size: int) -> Tensor:
    """[B, C, H, W] -> [B, N, P * P * C], row by row; inside a patch, channels change fastest."""
    return rearrange(images, "b c (h p) (w q) -> b (h w) (p q c)", p=size, q=size)


def from_patches(patches: Tensor, size: int, grid: tuple[int, int]) -> Tensor:
    """The inverse of `to_patches`."""
    return rearrange(patches, "b (h w) (p q c) -> b c (h p) (w q)", h=grid[0], p=size, q=size)


def axis_channels(head_channels: int) -> tuple[int, int, int]:
    """Channels of a head that turn with row, column and query index: (20, 20, 24) of 64, in proportion."""
    spatial = 2 * (head_channels * 20 // 64 // 2)
    return spatial, spatial, head_channels - 2 * spatial


def grid_angles(grid: tuple[int, int], head_channels: int) -> Tensor:
    """Rotary angles [N, head_channels / 2] of patches at (row, column, 0)."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    positions = torch.stack((rows.flatten(), columns.flatten(), torch.zeros(rows.numel())), dim=1)
    return rotary_angles(positions, axis_channels(head_channels), PATCH_THETA)


def query_angles(count: int, head_channels: int) -> Tensor:
    """Rotary angles [n, head_channels / 2] of learned queries at (0, 0, index)."""
    index = torch.arange(count)
    positions = torch.stack((torch.zeros(count), torch.zeros(count), index), dim=1)
    return rotary_angles(positions, axis_channels(head_channels), QUERY_THETA)


class PatchEncoder(nn.Module):
    """A transformer over [projected patches, learned queries], without a mask."""

    def __init__(
        self, settings: TransformerSettings, labels: int, patch_inputs: int, grid: tuple[int, int], queries: int
    ) -> None:
        super().__init__()
        self.patches = grid[0] * grid[1]
        self.project = nn.Linear(patch_inputs, settings.width)
        self.transformer = Transformer(settings, labels, causal=False)
        channels = settings.head_channels
        self.positions = Positions(torch.cat((grid_angles(grid, channels), query_angles(queries, channels))))
        self.queries = nn.Parameter(0.02 * torch.randn(1, queries, settings.width)) if queries else None

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Patches [B, N, inputs] to features of the patches [B, N, D] and of the queries [B, n, D]."""
        x = self.project(patches)
        if self.queries is not None:
            x = torch.cat((x, self.queries.expand(len(x), -1, -1)), dim=1)
        features, _ = self.transformer(x, self.positions())
        return features[:, : self.patches], features[:, self.patches :]


class PatchDecoder(nn.Module):
    """A transformer from the quantized tokens of a grid to its patches."""

    def __init__(
        self, settings: TransformerSettings, labels: int, code_width: int, grid: tuple[int, int], patch_outputs: int
    ) -> None:
        super().__init__()
        self.project = nn.Linear(code_width, settings.width)
        self.transformer = Transformer(settings, labels, causal=False)
        self.positions = Positions(grid_angles(grid, settings.head_channels))
        self.head = OutputHead(settings, patch_outputs)
        # Starting from a grey image keeps the first reconstruction losses small.
        nn.init.zeros_(self.head.linear.weight)
        nn.init.zeros_(self.head.linear.bias)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes [B, N, code width] to patches [B, N, outputs]."""
        features, condition = self.transformer(self.project(codes), self.positions())
        patches: Tensor = self.head(features, condition)
        return patches
