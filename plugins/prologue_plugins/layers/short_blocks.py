"""A transformer block over a short sequence as one operation, with a gradient of its own.

Of small models, autograd's bookkeeping of a block's hundred small operations takes as long as some
of its products, and so do passes over activations that only add two gradients or copy one. Here a
block is one node: weights under the one condition are folded and unfolded in place, and a residual
gradient is added where the norm's is computed. `Block` computes the same in plain formulas, with
which tests compare this.

Letters as in `transformer`: B batch, L sequence, D width, H heads, C channels of a head, E width of
the condition, F hidden width. M rows are those of all positions of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from prologue_plugins.layers.passes import (
    Rotation,
    aligned_halves,
    aligned_inputs,
    by_hand,
    gated_gelu_backward,
    gated_gelu_forward,
    inverse_rms,
)

LONGEST = 96
"""Positions up to which the attention weights of all images are kept for the backward pass.

Beyond it, products take nearly all the time, and kernels that keep no weights are the faster ones.
"""


def is_short(x: Tensor, condition: Tensor, dropout: float) -> bool:
    """Whether a block that learns computes x [B, L, D] in this way, in training with that dropout.

    What only evaluates keeps the plain formulas, by which FLOPs are counted too.
    """
    return (
        torch.is_grad_enabled()
        and by_hand(x)
        and not torch.is_autocast_enabled("cpu")
        and x.shape[1] <= LONGEST
        and len(condition) == 1
        and dropout == 0
    )


class BlockWeights(NamedTuple):
    """The parameters of a block. A scale is 1 + affine(condition), a gate linear(condition)."""

    attention_scale: Tensor
    attention_scale_bias: Tensor
    qkv: Tensor
    query_norm: Tensor
    key_norm: Tensor
    attention_gate: Tensor
    attention_gate_bias: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    ffn_scale: Tensor
    ffn_scale_bias: Tensor
    fc1: Tensor
    fc1_bias: Tensor | None
    ffn_gate: Tensor
    ffn_gate_bias: Tensor | None
    fc2: Tensor
    fc2_bias: Tensor | None


def short_block(
    x: Tensor, condition: Tensor, positions: Rotation, heads: int, causal: bool, by: BlockWeights
) -> Tensor:
    """The output [B, L, D] of a block for x [B, L, D] under the condition [1, E]."""
    out: Tensor = _Block.apply(x, condition, *positions, heads, causal, *by)
    return out


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        condition: Tensor,
        cos: Tensor,
        sin: Tensor,
        heads: int,
        causal: bool,
        *weights: Tensor | None,
    ) -> Tensor:
        w, given = BlockWeights(*weights), condition[0]  # type: ignore[arg-type]
        rows = x.flatten(0, 1)
        shape = (len(x), x.shape[1], heads, x.shape[2] // heads)

        scale, gate, ffn_scale, ffn_gate = _scales_and_gates(w, given)
        factor = inverse_rms(rows)
        normalised = rows * factor
        qkv = normalised @ (w.qkv * scale).T
        seen, of_heads = _attend(qkv, w, Rotation(cos, sin), shape, causal)
        middle = _plus(rows, seen, w.out, w.out_bias, gate)

        ffn_factor = inverse_rms(middle)
        ffn_normalised = middle * ffn_factor
        fc1_bias = None if w.fc1_bias is None else aligned_halves(w.fc1_bias)
        hidden = F.linear(ffn_normalised, aligned_halves(w.fc1 * ffn_scale), fc1_bias)
        gated, steep = gated_gelu_forward(hidden)
        out = _plus(middle, gated, aligned_inputs(w.fc2), w.fc2_bias, ffn_gate)

        ctx.shape = shape
        ctx.save_for_backward(
            *(condition, scale, gate, ffn_scale, ffn_gate),
            *(factor, normalised, seen, ffn_factor, ffn_normalised, hidden, steep, gated),
            *of_heads,
            *weights,
        )
        return out.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        condition, scale, gate, ffn_scale, ffn_gate = _first(5, saved)
        factor, normalised, seen, *of_ffn = _first(8, saved)
        ffn_factor, ffn_normalised, hidden, steep, gated = of_ffn
        of_heads = _Heads(*_first(len(_Heads._fields), saved))
        w = BlockWeights(*saved)
        of_out = gradient.reshape(-1, gradient.shape[-1])

        fc2, width = aligned_inputs(w.fc2), w.fc2.shape[1]
        gated_gradient = of_out @ (fc2 * ffn_gate.unsqueeze(1))
        of_fc2 = _of_gated(of_out, gated, fc2, w.fc2_bias, ffn_gate)
        of_hidden = gated_gelu_backward(hidden, steep, gated_gradient)
        fc1 = aligned_halves(w.fc1)
        of_fc1, of_ffn_scale = _of_scaled(of_hidden, ffn_normalised, fc1, ffn_scale)
        of_fc1_bias = None if w.fc1_bias is None else _cut(of_hidden.sum(dim=0), width)
        of_normalised = of_hidden @ (fc1 * ffn_scale)
        of_middle = _through_norm(of_out, of_normalised, ffn_normalised, ffn_factor)

        of_seen = of_middle @ (w.out * gate.unsqueeze(1))
        of_attention = _of_gated(of_middle, seen, w.out, w.out_bias, gate)
        of_qkv, of_query_norm, of_key_norm = _attend_backward(of_seen, of_heads, w, ctx.shape)
        of_weight, of_scale = _of_scaled(of_qkv, normalised, w.qkv, scale)
        of_x = _through_norm(of_middle, of_qkv @ (w.qkv * scale), normalised, factor)

        of_factors = (of_scale, of_attention.factor, of_ffn_scale, of_fc2.factor)
        matrices = (w.attention_scale, w.attention_gate, w.ffn_scale, w.ffn_gate)
        of_condition = torch.mv(matrices[0].T, of_factors[0])
        for matrix, of_factor in zip(matrices[1:], of_factors[1:], strict=True):
            of_condition.addmv_(matrix.T, of_factor)
        of_matrices = [torch.outer(each, condition[0]) for each in of_factors]
        of_weights = BlockWeights(
            attention_scale=of_matrices[0],
            attention_scale_bias=of_scale,
            qkv=of_weight,
            query_norm=of_query_norm,
            key_norm=of_key_norm,
            attention_gate=of_matrices[1],
            attention_gate_bias=None if w.attention_gate_bias is None else of_factors[1],
            out=of_attention.weight,
            out_bias=of_attention.bias,
            ffn_scale=of_matrices[2],
            ffn_scale_bias=of_ffn_scale,
            fc1=_cut(of_fc1, width),
            fc1_bias=of_fc1_bias,
            ffn_gate=of_matrices[3],
            ffn_gate_bias=None if w.ffn_gate_bias is None else of_factors[3],
            fc2=of_fc2.weight[:, :width],
            fc2_bias=of_fc2.bias,
        )
        first = (of_x.view(gradient.shape), of_condition.unsqueeze(0), None, None, None, None)
        return *first, *of_weights


def _first(count: int, tensors: Iterator[Tensor]) -> list[Tensor]:
    return [next(tensors) for _ in range(count)]


def _scales_and_gates(w: BlockWeights, condition: Tensor) -> tuple[Tensor, ...]:
    """Scale and gate [D] of the attention, and those of the feed-forward layer."""
    return (
        torch.addmv(w.attention_scale_bias, w.attention_scale, condition).add_(1),
        _affine(w.attention_gate, w.attention_gate_bias, condition),
        torch.addmv(w.ffn_scale_bias, w.ffn_scale, condition).add_(1),
        _affine(w.ffn_gate, w.ffn_gate_bias, condition),
    )


def _affine(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    return torch.mv(weight, x) if bias is None else torch.addmv(bias, weight, x)


def _cut(x: Tensor, width: int) -> Tensor:
    """What `aligned_halves` had for gates and values of that width."""
    return x.view(2, len(x) // 2, -1)[:, :width].reshape(-1, *x.shape[1:])


def _plus(rows: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, gate: Tensor) -> Tensor:
    """rows + (x W^T + b) * gate: [M, D] for rows [M, D] and x [M, inputs]."""
    out = rows.clone() if bias is None else rows + bias * gate
    return torch.addmm(out, x, (weight * gate.unsqueeze(1)).T, out=out)


class _OfGated(NamedTuple):
    """Gradients of a linear layer and of the gate behind it."""

    weight: Tensor
    bias: Tensor | None
    factor: Tensor


def _of_gated(
    gradient: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, gate: Tensor
) -> _OfGated:
    """For the gradient [M, D] of (x W^T + b) * gate, with x [M, inputs]."""
    folded = gradient.T @ x
    factor = (folded * weight).sum(dim=1)
    of_bias = None
    if bias is not None:
        of_bias = gradient.sum(dim=0)
        factor.addcmul_(of_bias, bias)
        of_bias *= gate
    return _OfGated(folded.mul_(gate.unsqueeze(1)), of_bias, factor)


def _of_scaled(gradient: Tensor, x: Tensor, weight: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of W and of the scale, for that of (x * scale) W^T [M, outputs], x [M, D]."""
    folded = gradient.T @ x
    of_scale = (folded * weight).sum(dim=0)
    return folded.mul_(scale), of_scale


def _through_norm(beside: Tensor, gradient: Tensor, normalised: Tensor, factor: Tensor) -> Tensor:
    """The gradient of x [M, D], for that of its norm and of what goes `beside` it.

    The gradient of the norm is used up.
    """
    along = (gradient * normalised).mean(dim=-1, keepdim=True)
    return torch.addcmul(beside, gradient.addcmul_(normalised, along, value=-1), factor)


class _Heads(NamedTuple):
    """What the backward pass of attention needs."""

    normalised: Tensor
    """Queries and keys before their weights [2, B, H, L, C]."""
    factor: Tensor
    """What they were multiplied by, [2, B, H, L, 1]."""
    norm_weights: Tensor
    """Their weights, with what attention divides by, [2, 1, 1, L, C]."""
    turn: Tensor
    """The rotation, [L, C / 2] complex numbers."""
    query: Tensor
    key: Tensor
    value: Tensor
    """[B H, L, C] each."""
    weights: Tensor
    """What values are weighed with, [B H, L, L]."""


Shape = tuple[int, int, int, int]
"""B, L, H, C."""


def _attend(
    qkv: Tensor, w: BlockWeights, by: Rotation, shape: Shape, causal: bool
) -> tuple[Tensor, _Heads]:
    """What the heads see [M, D], of queries, keys and values [M, 3 D]."""
    batch, length, heads, channels = shape
    parts = qkv.view(batch, length, 3, heads, channels).permute(2, 0, 3, 1, 4)
    both = parts[:2]
    factor = inverse_rms(both)
    turned = qkv.new_empty(2, batch, heads, length, channels)
    normalised = torch.mul(both, factor, out=torch.empty_like(turned))
    norm_weights = torch.stack((w.query_norm, w.key_norm)).add_(1)
    norm_weights[0] /= math.sqrt(channels)
    # As long as the sequence, so that kernels run over all positions without a break.
    norm_weights = norm_weights[:, None, None, None].expand(-1, -1, -1, length, -1).contiguous()
    turn = torch.complex(*by)
    torch.mul(normalised, norm_weights, out=turned)
    torch.view_as_complex(torch.unflatten(turned, -1, (-1, 2))).mul_(turn)
    query, key = turned.flatten(1, 2)
    value = parts[2].reshape(-1, length, channels)
    if causal:
        later = qkv.new_full((length, length), -math.inf).triu_(1)
        scores = torch.baddbmm(later, query, key.transpose(1, 2))
    else:
        scores = torch.bmm(query, key.transpose(1, 2))
    weights = torch.softmax(scores, dim=-1, out=scores)
    seen = torch.bmm(weights, value).view(batch, heads, length, channels).transpose(1, 2)
    kept = _Heads(normalised, factor, norm_weights, turn, query, key, value, weights)
    return seen.reshape(batch * length, -1), kept


def _attend_backward(
    gradient: Tensor, kept: _Heads, w: BlockWeights, shape: Shape
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries, keys and values [M, 3 D], and of the weights of both norms [C]."""
    batch, length, heads, channels = shape
    of_seen = gradient.view(shape).transpose(1, 2).reshape(-1, length, channels)
    of_weights = torch.bmm(of_seen, kept.value.transpose(1, 2))
    of_scores = torch._softmax_backward_data(
        of_weights, kept.weights, -1, gradient.dtype, grad_input=of_weights
    )
    turned = torch.empty_like(kept.normalised)
    of_query, of_key = turned.flatten(1, 2)
    torch.bmm(of_scores, kept.key, out=of_query)
    torch.bmm(of_scores.transpose(1, 2), kept.query, out=of_key)
    of_value = torch.bmm(kept.weights.transpose(1, 2), of_seen)

    pairs = torch.view_as_complex(torch.unflatten(turned, -1, (-1, 2)))
    pairs.mul_(kept.turn.conj().resolve_conj())
    products = (turned * kept.normalised).view(2, -1, channels)
    of_norms = products.sum(dim=1)
    of_norms[0] /= math.sqrt(channels)
    rows = kept.norm_weights[:, 0, 0, 0] / channels
    along = torch.stack([each @ row for each, row in zip(products, rows, strict=True)])
    turned.mul_(kept.norm_weights).addcmul_(
        kept.normalised, along.view(kept.factor.shape), value=-1
    )
    out = gradient.new_empty(batch, length, 3, heads, channels)
    parts = out.permute(2, 0, 3, 1, 4)
    torch.mul(turned, kept.factor, out=parts[:2])
    parts[2].copy_(of_value.view(parts[2].shape))
    return out.view(batch * length, -1), of_norms[0], of_norms[1]
