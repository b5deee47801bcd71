"""Transformers that only compute: weights folded once, few passes, and keys and values kept.

What the condition makes of norms and gates is the same in every call, so that it is folded into the
weights once for many calls, not once per call as in training. So are the constants of norms.
Numbers are those of `Transformer` up to rounding.

Letters as in `transformer`: B batch, L sequence, D width, H heads, C channels of a head. M rows
are those of all positions of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor, nn

from prologue_plugins.layers.passes import GELU_CUBE, GELU_SLOPE, Rotation
from prologue_plugins.layers.transformer import (
    Block,
    OutputHead,
    Transformer,
    full_precision,
)

Kept = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
SMALLEST = 1e-6
"""Root of a mean square below which a norm divides by this instead."""
ROWS = 2048
"""Rows that go through all blocks at once on a CPU, whose caches then hold what is between two
products."""


def product_type(device: torch.device) -> torch.dtype:
    """What products are computed in on a device: autocast's type where that is on."""
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return torch.float32
    return torch.get_autocast_dtype(device.type)


@frozen(eq=False)
class Linear:
    """x W^T + b for rows x: weight [outputs, inputs], bias [outputs]."""

    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Linear:
        """With weights in the type of the products."""
        return cls(weight.to(dtype), None if bias is None else bias.to(dtype))

    @classmethod
    def scaled(cls, linear: nn.Linear, scale: Tensor, dtype: torch.dtype) -> Linear:
        """linear(x * scale * sqrt(D)), with a scale [1, D] or [D]: of rows of length one."""
        return cls.of(linear.weight * (scale * math.sqrt(linear.in_features)), linear.bias, dtype)

    @classmethod
    def gated(cls, linear: nn.Linear, gate: Tensor, dtype: torch.dtype) -> Linear:
        """linear(x) * gate, with a gate [outputs]."""
        bias = None if linear.bias is None else linear.bias * gate
        return cls.of(linear.weight * gate.unsqueeze(1), bias, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Rows [M, inputs] to [M, outputs]."""
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)

    def into(self, out: Tensor, x: Tensor) -> None:
        """Put x W^T + b for rows x [M, inputs] into `out` [M, outputs], all of one type."""
        if self.bias is None:
            torch.mm(x, self.weight.T, out=out)
        else:
            torch.addmm(self.bias, x, self.weight.T, out=out)

    def add_to(self, rows: Tensor, x: Tensor) -> None:
        """Add x W^T + b to float32 rows [M, outputs], for x [M, inputs] of the weights' type."""
        if self.weight.dtype != rows.dtype:
            rows += self(x)
        else:
            rows.addmm_(x, self.weight.T)
            if self.bias is not None:
                rows += self.bias


@frozen(eq=False)
class FoldedBlock:
    """The weights of a block, under the one condition of all images."""

    qkv: Linear
    turning: Tensor
    """Weights of the norms of queries and keys [2, 1, 1, C] for vectors of length one, with what
    attention divides by."""
    out: Linear
    fc1: Linear
    fc2: Linear

    @classmethod
    def of(cls, block: Block, condition: Tensor, dtype: torch.dtype) -> FoldedBlock:
        """Of a block under the condition [1, E]."""
        attention = block.attention
        query, key = (1 + norm.weight for norm in (attention.query_norm, attention.key_norm))
        # Each norm multiplies by the root of C, and attention divides by it.
        turning = torch.stack((query, key * math.sqrt(len(key))))[:, None, None]
        return cls(
            Linear.scaled(attention.qkv, block.attention_scale(condition), dtype),
            turning,
            Linear.gated(attention.out, block.attention_gate(condition)[0], dtype),
            Linear.scaled(block.ffn.fc1, block.ffn_scale(condition), dtype),
            Linear.gated(block.ffn.fc2, block.ffn_gate(condition)[0], dtype),
        )


def unit(x: Tensor) -> Tensor:
    """x / ||x|| over the last axis."""
    return x / norm(x)


def norm(x: Tensor, out: Tensor | None = None) -> Tensor:
    """||x|| over the last axis, which stays with one entry; not less than nothing is divided by."""
    found: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32, out=out)
    return found.clamp_min_(SMALLEST * math.sqrt(x.shape[-1]))


class FoldedTransformer:
    """The blocks of a transformer under the one condition of all images, computed without gradient.

    Products are in the type of autocast where that is on when this is made; all else is in float32.
    """

    def __init__(self, transformer: Transformer, positions: Rotation) -> None:
        self.dtype = product_type(positions.cos.device)
        self.causal = transformer.causal
        self.heads = transformer.settings.heads
        with torch.no_grad(), full_precision(positions.cos):
            self.condition = transformer.condition()
            self.blocks = [
                FoldedBlock.of(block, self.condition, self.dtype) for block in transformer.blocks
            ]
            self.rotation = torch.complex(*positions)
            """What turns the channel pairs of each position, [L, C / 2]."""

    def head(self, head: OutputHead) -> Linear:
        """The head behind the blocks, for rows of length one; in float32, as in training."""
        with torch.no_grad(), full_precision(self.rotation):
            return Linear.scaled(head.linear, head.scale(self.condition), torch.float32)

    def __call__(self, x: Tensor, start: int = 0, kept: Kept | None = None) -> Tensor:
        """Output [B, n, D] for inputs [B, n, D] of the positions from `start` on.

        `kept(layer, keys, values)` takes those of these positions, [B, H, n, C] each, and gives
        those of all positions so far.
        """
        out = torch.empty_like(x, dtype=torch.float32)
        together = max(1, ROWS // x.shape[1])
        if kept is not None or x.device.type != "cpu":
            together = max(1, len(x))
        room = None
        for part, into in zip(torch.split(x, together), torch.split(out, together), strict=True):
            if room is None or len(room.rows) != part[..., 0].numel():
                room = Room(self, part[..., 0].numel())
            into.copy_(self._part(room, part, start, kept))
        return out

    def _part(self, room: Room, x: Tensor, start: int, kept: Kept | None) -> Tensor:
        count = x.shape[1]
        shape = (len(x), count, self.heads, -1)
        rotation = self.rotation[start : start + count].unsqueeze(1)
        room.rows.copy_(x.flatten(0, 1))
        with full_precision(x):
            for index, block in enumerate(self.blocks):
                room.project(block)
                room.pairs.view(2, *shape).mul_(rotation)
                query, keys, values = (
                    each.to(self.dtype).view(shape).transpose(1, 2)
                    for each in (room.query, room.key, room.value.reshape(len(room.rows), -1))
                )
                if kept is not None:
                    keys, values = kept(index, keys, values)
                seen = self._attended(query, keys, values)
                block.out.add_to(room.rows, seen.transpose(1, 2).reshape(len(room.rows), -1))
                room.feed_forward(block)
        return room.rows.view(x.shape)

    def _attended(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """What the heads see [B, H, n, C]: of n queries, the last of as many keys and values."""
        count, whole = query.shape[2], keys.shape[2]
        mask = None
        if self.causal and count > 1:
            mask = torch.ones(count, whole, dtype=torch.bool, device=query.device)
            mask = mask.tril(whole - count)
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=1.0)


class Room:
    """Memory for what is between the products of a block, for M rows, and what is done there.

    Nothing is allocated from one block to the next. Products are in the type of the transformer's,
    all else is in float32.
    """

    def __init__(self, transformer: FoldedTransformer, rows: int) -> None:
        first, heads, dtype = transformer.blocks[0], transformer.heads, transformer.dtype
        channels, width = first.turning.shape[-1], first.out.weight.shape[0]
        hidden = first.fc2.weight.shape[1]

        def room(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return transformer.rotation.new_empty(shape, dtype=dtype)

        self.rows, self.norm = room(rows, width), room(rows, 1)
        """What the blocks work on, [M, D]."""
        self.unit = room(rows, width, dtype=dtype)
        self.qkv = room(rows, 3 * width, dtype=dtype)
        each = self.qkv.view(rows, 3, heads, channels).transpose(0, 1)
        self.both, self.value = each[:2], each[2]
        self.turned, self.norms = room(2, rows, heads, channels), room(2, rows, heads, 1)
        self.query, self.key = self.turned
        """Float32 [M, H, C] each, as `value` is in the products' type."""
        self.pairs = torch.view_as_complex(torch.unflatten(self.turned, -1, (-1, 2)))
        """Channel pairs of both, [2, M, H, C / 2], which are still to be turned."""
        self.hidden, self.gated = (room(rows, 2 * hidden, dtype=dtype) for _ in range(2))
        self.gates, self.values = self.hidden.chunk(2, dim=1)
        self.products, self.logistic = self.gated.chunk(2, dim=1)
        self.inner = room(rows, hidden, dtype=dtype)
        self.linear = torch.full_like(self.inner[:1, :1], GELU_SLOPE)

    def project(self, block: FoldedBlock) -> None:
        """Put the rows' queries, keys and values into `pairs` and `value`."""
        self._normalise()
        block.qkv.into(self.qkv, self.unit)
        torch.mul(self.both, block.turning, out=self.turned)
        self.turned.div_(norm(self.both, self.norms))

    def feed_forward(self, block: FoldedBlock) -> None:
        """Add the feed-forward layer of the rows to them.

        Of GELU(x) = x (1 + tanh(y)) / 2, the fraction is the logistic function of 2 y, which is
        computed faster.
        """
        self._normalise()
        block.fc1.into(self.hidden, self.unit)
        torch.addcmul(
            self.linear, self.values, self.values, value=GELU_SLOPE * GELU_CUBE, out=self.inner
        )
        torch.mul(self.values, self.inner, out=self.logistic)
        torch.mul(self.values, self.gates, out=self.products)
        block.fc2.add_to(self.rows, F.glu(self.gated))

    def _normalise(self) -> None:
        torch.div(self.rows, norm(self.rows, self.norm), out=self.unit)


@torch.no_grad()
def computed(transformer: Transformer, x: Tensor, positions: Rotation) -> tuple[Tensor, Tensor]:
    """As transformer(x, positions) in evaluation: the output [B, L, D] and the condition [1, E]."""
    folded = FoldedTransformer(transformer, positions)
    return folded(x), folded.condition


def through(transformer: Transformer, x: Tensor, positions: Rotation) -> tuple[Tensor, Tensor]:
    """The output [B, L, D] and the condition, in the faster way where nothing is learned.

    Not under autocast: its roundings, which pick other codes, are then those of training.
    """
    learning = transformer.training or torch.is_grad_enabled()
    if learning or product_type(x.device) != torch.float32:
        return transformer(x, positions)  # type: ignore[no-any-return]
    return computed(transformer, x, positions)
