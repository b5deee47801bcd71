"""The transformer that encoder, decoder and autoregressive model share.

Letters used throughout: B batch, L sequence, D width, H heads, C channels of a head, E width of the
condition. Conventions (norms, gates, rotary order) follow the paper's models, so that their weights
can be mapped onto these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prologue_plugins.layers.passes import (
    EPS,
    Rotation,
    gated_gelu,
    heads_of,
    linear_cross_entropy,
    normalise,
)
from prologue_plugins.layers.settings import TransformerSettings
from prologue_plugins.layers.short_blocks import BlockWeights, is_short, short_block


class RMSNorm(nn.Module):
    """x / ||x|| * sqrt(D) * (1 + weight), over the last axis.

    Zhang and Sennrich 2019, with a weight around zero.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], (1 + self.weight).to(x.dtype), eps=EPS)


class ConditionalScale(nn.Module):
    """The weight of a conditional RMSNorm, 1 + affine(condition), for `per_image` conditions."""

    weight_decay = False
    """A norm's weight, though it is a matrix."""

    def __init__(self, width: int, condition_width: int) -> None:
        super().__init__()
        self.affine = nn.Linear(condition_width, width)
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, condition: Tensor) -> Tensor:
        return 1 + per_image(self.affine(condition).float())


def per_image(x: Tensor) -> Tensor:
    """Factors of activations [B, L, D]: [1, D] -> [D] for all images, [B, D] -> [B, 1, D] for each.

    The condition is the same for all images (see `Condition`), except where training drops channels
    of it. What is the same is folded into a linear layer, which costs a product with its weight
    instead of one with every activation.
    """
    return x.squeeze(0) if len(x) == 1 else x.unsqueeze(1)


class Condition(nn.Module):
    """GELU(RMSNorm(dropout(linear(one-hot class)))) for one fixed class, "none".

    Nothing but the "none" class ever enters, so the result is a learned constant [1, E]; the
    weights of the other classes are kept because the paper's checkpoints have them. Dropout in
    training makes it a different one for each image, [B, E].
    """

    def __init__(self, labels: int, condition_width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.project = nn.Linear(labels, condition_width)
        self.dropout = nn.Dropout(dropout)
        self.norm = RMSNorm(condition_width)

    def forward(self, images: int | None = None) -> Tensor:
        """The condition of all images, [1, E]; in training with dropout, of so many, [B, E]."""
        none = (self.project.weight[:, -1] + self.project.bias).unsqueeze(0)
        if images is not None and self.training and self.dropout.p > 0:
            none = self.dropout(none.expand(images, -1))
        return F.gelu(self.norm(none), approximate="tanh")


class GEGLU(nn.Module):
    """Feed-forward layer fc2(GELU(value) * gate) with (gate, value) = fc1(x) (Shazeer 2020)."""

    def __init__(self, width: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 2 * hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        """`scale` multiplies x, `gate` the result; [D] or [B, 1, D] each."""
        return gated_linear(self.fc2, gated_gelu(scaled_linear(self.fc1, x, scale)), gate)


def scaled_linear(linear: nn.Linear, x: Tensor, scale: Tensor) -> Tensor:
    """linear(x * scale), with a scale [D] folded into the weight; [B, 1, D] cannot be."""
    if scale.dim() > 1:
        return F.linear(x * scale, linear.weight, linear.bias)
    return F.linear(x, linear.weight * scale, linear.bias)


def gated_linear(linear: nn.Linear, x: Tensor, gate: Tensor) -> Tensor:
    """linear(x) * gate, with a gate [D] folded into weight and bias; [B, 1, D] cannot be."""
    if gate.dim() > 1:
        return F.linear(x, linear.weight, linear.bias) * gate
    bias = None if linear.bias is None else linear.bias * gate
    return F.linear(x, linear.weight * gate.unsqueeze(1), bias)


def rotary_angles(positions: Tensor, axis_channels: Sequence[int], theta: float) -> Tensor:
    """Angles [L, sum(axis_channels) / 2] for positions [L, axes]; an axis rotates its own channels.

    Pair i of an axis with d channels turns by position * theta^(-2i / d).
    """
    parts = []
    for axis, channels in enumerate(axis_channels):
        rates = theta ** (-torch.arange(0, channels, 2, dtype=torch.float64) / channels)
        parts.append(positions[:, axis : axis + 1].double() * rates)
    return torch.cat(parts, dim=1)


def rotation(angles: Tensor) -> Rotation:
    """Cosines and sines of angles [L, C / 2] in float32."""
    return Rotation(angles.cos().float(), angles.sin().float())


def full_precision(x: Tensor) -> AbstractContextManager[None]:
    """No autocast on the device of x."""
    if x.device.type == "meta":  # where nothing is computed and autocast is not known
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


class Positions(nn.Module):
    """The rotation of a fixed sequence of positions, kept out of the model's state dict."""

    def __init__(self, angles: Tensor) -> None:
        super().__init__()
        table = rotation(angles)
        self.register_buffer("cos", table.cos, persistent=False)
        self.register_buffer("sin", table.sin, persistent=False)
        self.cos: Tensor
        self.sin: Tensor

    def forward(self) -> Rotation:
        """The rotation, [L, C / 2] each."""
        return Rotation(self.cos, self.sin)


class Attention(nn.Module):
    """Multi-head self-attention with normalised queries and keys, and rotary positions."""

    def __init__(self, settings: TransformerSettings) -> None:
        super().__init__()
        width = settings.width
        self.heads = settings.heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.query_norm = RMSNorm(settings.head_channels)
        self.key_norm = RMSNorm(settings.head_channels)
        self.out = nn.Linear(width, width, bias=settings.bias)

    def forward(
        self, x: Tensor, scale: Tensor, gate: Tensor, positions: Rotation, causal: bool
    ) -> Tensor:
        """`scale` multiplies x, `gate` the result; [D] or [B, 1, D] each."""
        query, key, value = self._heads(x, scale, positions)
        heads = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return gated_linear(self.out, heads.transpose(1, 2).flatten(2), gate)

    def _heads(
        self, x: Tensor, scale: Tensor, positions: Rotation
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, [B, H, L, C] each."""
        return heads_of(
            scaled_linear(self.qkv, x, scale),
            self.query_norm.weight,
            self.key_norm.weight,
            positions,
            self.heads,
        )

    def weights(self, x: Tensor, scale: Tensor, positions: Rotation, causal: bool) -> Tensor:
        """What `forward` weighs the values with, [B, H, L, L]."""
        query, key, _ = self._heads(x, scale, positions)
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        if causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(later, float("-inf"))
        return scores.softmax(dim=-1)


class Block(nn.Module):
    """Attention and feed-forward layer, each behind a conditional norm and a conditional gate."""

    def __init__(self, settings: TransformerSettings) -> None:
        super().__init__()
        width, condition_width = settings.width, settings.condition_width
        self.attention_scale = ConditionalScale(width, condition_width)
        self.attention = Attention(settings)
        self.attention_gate = nn.Linear(condition_width, width, bias=settings.bias)
        self.ffn_scale = ConditionalScale(width, condition_width)
        self.ffn = GEGLU(width, round(width * settings.ffn_ratio), bias=settings.bias)
        self.ffn_gate = nn.Linear(condition_width, width, bias=settings.bias)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor, condition: Tensor, positions: Rotation, causal: bool) -> Tensor:
        if is_short(x, condition, self.dropout.p if self.training else 0.0):
            heads = self.attention.heads
            return short_block(x, condition, positions, heads, causal, self._weights())
        scale, gate = self.attention_scale(condition), per_image(self.attention_gate(condition))
        x = x + self.dropout(self.attention(normalise(x), scale, gate, positions, causal))
        scale, gate = self.ffn_scale(condition), per_image(self.ffn_gate(condition))
        out: Tensor = x + self.dropout(self.ffn(normalise(x), scale, gate))
        return out

    def _weights(self) -> BlockWeights:
        attention, ffn = self.attention, self.ffn
        scale, ffn_scale = self.attention_scale.affine, self.ffn_scale.affine
        return BlockWeights(
            *(scale.weight, scale.bias, attention.qkv.weight),
            *(attention.query_norm.weight, attention.key_norm.weight),
            *(self.attention_gate.weight, self.attention_gate.bias),
            *(attention.out.weight, attention.out.bias),
            *(ffn_scale.weight, ffn_scale.bias, ffn.fc1.weight, ffn.fc1.bias),
            *(self.ffn_gate.weight, self.ffn_gate.bias),
            *(ffn.fc2.weight, ffn.fc2.bias),
        )


class Transformer(nn.Module):
    """A stack of blocks under one condition: [B, L, D] -> [B, L, D]."""

    def __init__(self, settings: TransformerSettings, labels: int, causal: bool) -> None:
        super().__init__()
        self.settings = settings
        self.causal = causal
        self.condition = Condition(labels, settings.condition_width, settings.dropout)
        blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.blocks = cast("Sequence[Block]", blocks)
        self._initialise()

    def _initialise(self) -> None:
        # Residual branches add up over depth; their last layers start smaller (Radford et al.
        # 2019).
        last_std = 0.02 / math.sqrt(2 * self.settings.layers)
        if self.condition.project.weight.is_meta:  # built for its shapes alone
            return
        with torch.no_grad():
            condition = self.condition().squeeze(0)
            for block in self.blocks:
                for linear in (block.attention.qkv, block.ffn.fc1):
                    nn.init.normal_(linear.weight, std=0.02)
                for linear in (block.attention.out, block.ffn.fc2):
                    nn.init.normal_(linear.weight, std=last_std)
                for linear in (block.attention.out, block.ffn.fc1, block.ffn.fc2):
                    if linear.bias is not None:
                        nn.init.zeros_(linear.bias)
                # Gates start fully open, at W c = 1, with or without a bias.
                for gate in (block.attention_gate, block.ffn_gate):
                    gate.weight.copy_((condition / condition.dot(condition)).expand_as(gate.weight))
                    if gate.bias is not None:
                        nn.init.zeros_(gate.bias)

    def forward(self, x: Tensor, positions: Rotation) -> tuple[Tensor, Tensor]:
        """Returns the output [B, L, D] and the condition, which an output norm needs too."""
        condition = self.condition(len(x))
        for block in self.blocks:
            x = block(x, condition, positions, self.causal)
        return x, condition

    def attention(self, x: Tensor, positions: Rotation) -> Tensor:
        """Attention weights of each layer, averaged over images and heads: [layers, L, L]."""
        condition = self.condition()
        maps = []
        for block in self.blocks:
            weights = block.attention.weights(
                normalise(x), block.attention_scale(condition), positions, self.causal
            )
            maps.append(weights.mean(dim=(0, 1)))
            x = block(x, condition, positions, self.causal)
        return torch.stack(maps)


class OutputHead(nn.Module):
    """Conditional norm and linear layer, computed in float32: [B, L, D] -> [B, L, K]."""

    def __init__(self, settings: TransformerSettings, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.scale = ConditionalScale(settings.width, settings.condition_width)
        self.linear = nn.Linear(settings.width, outputs, bias=bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        with full_precision(x):
            return scaled_linear(self.linear, normalise(x.float()), self.scale(condition.float()))

    def cross_entropy(self, x: Tensor, condition: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropies [B, L] in nats of targets [B, L], for a head without a bias."""
        with full_precision(x):
            scale = self.scale(condition.float())
            x, weight = normalise(x.float()), self.linear.weight
            x, weight = (x * scale, weight) if scale.dim() > 1 else (x, weight * scale)
            losses = linear_cross_entropy(x.flatten(0, 1), weight, targets.flatten())
            return losses.view(targets.shape)
