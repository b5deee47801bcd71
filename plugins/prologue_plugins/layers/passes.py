"""A transformer's elementwise parts in few passes over memory, with gradients of their own.

On a CPU the parts between matrix products take as long as the products where each operation reads
and writes whole activations. Here a pass does as much as one kernel can, what is needed again is
kept, and long chains go through the cache in pieces. The plain formulas beside them are what other
devices, other precisions and torch.compile get, which fuse by themselves, and what tests compare
with.

Letters: B batch, L sequence, D width, H heads, C channels of a head, F hidden width, K classes. M
rows are those of all positions of a batch.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

EPS = 1e-12
ALIGNED = 16
"""Numbers that matrix products read at a time, at least on the hardware of today."""
GELU_SLOPE = 2 * math.sqrt(2 / math.pi)
GELU_CUBE = 0.044715
_PIECE = 2**18
"""Numbers of a tensor that stay in a core's cache while a chain of operations passes over them."""


class Rotation(NamedTuple):
    """Cosines and sines of rotary position embeddings, each [L, C / 2] (Su et al. 2021)."""

    cos: Tensor
    sin: Tensor


def by_hand(x: Tensor) -> bool:
    """Whether the passes written here are the faster ones for x."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
    )


def normalise(x: Tensor) -> Tensor:
    """x / ||x|| * sqrt(D), over the last axis (Zhang and Sennrich 2019)."""
    if by_hand(x):
        normalised: Tensor = _Normalise.apply(x)
        return normalised
    return F.rms_norm(x, x.shape[-1:], eps=EPS)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        factor = inverse_rms(x)
        normalised = x * factor
        ctx.save_for_backward(normalised, factor)
        return normalised

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        normalised, factor = ctx.saved_tensors
        along = (gradient * normalised).mean(dim=-1, keepdim=True)
        return torch.addcmul(gradient, normalised, along, value=-1).mul_(factor)


def inverse_rms(x: Tensor) -> Tensor:
    """1 / root mean square over the last axis, which stays with length one."""
    squares: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
    return squares.div_(x.shape[-1]).add_(EPS).rsqrt_()


def gated_gelu(hidden: Tensor) -> Tensor:
    """GELU(value) * gate for (gate, value) = hidden [..., 2 F], in the tanh approximation."""
    if by_hand(hidden):
        gated: Tensor = _GatedGelu.apply(hidden)
        return gated
    gates, value = hidden.chunk(2, dim=-1)
    if torch.compiler.is_compiling() and hidden.dtype == torch.float32:
        return value * torch.sigmoid(GELU_SLOPE * (value + GELU_CUBE * value**3)) * gates
    return F.gelu(value, approximate="tanh") * gates


class _GatedGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor) -> Tensor:
        rows = hidden.flatten(0, -2)
        out, steep = gated_gelu_forward(rows)
        ctx.save_for_backward(rows, steep)
        return out.view(*hidden.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        rows, steep = ctx.saved_tensors
        out = gated_gelu_backward(rows, steep, gradient.reshape(steep.shape))
        return out.view(*gradient.shape[:-1], -1)


def gated_gelu_forward(rows: Tensor) -> tuple[Tensor, Tensor]:
    """GELU(value) * gate [M, F] of (gate, value) = rows [M, 2 F], and s [M, F] for its gradient.

    GELU(v) = v s with s = sigmoid(slope * (v + cube * v^3)): a sigmoid is faster than a tanh.
    """
    half = rows.shape[1] // 2
    out, steep = (rows.new_empty(len(rows), half) for _ in range(2))
    slope = rows.new_tensor(GELU_SLOPE)
    for part, to, s in _pieces(rows, out, steep):
        value = part[:, half:]
        torch.addcmul(slope, value, value, value=GELU_SLOPE * GELU_CUBE, out=s)
        s.mul_(value).sigmoid_()
        torch.mul(s, value, out=to).mul_(part[:, :half])
    return out, steep


def gated_gelu_backward(rows: Tensor, steep: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of rows [M, 2 F], for that of `gated_gelu_forward` [M, F] and its s."""
    half = rows.shape[1] // 2
    out = torch.empty_like(rows)
    slope = rows.new_tensor(GELU_SLOPE)
    # One for all pieces: what was just written is still in the cache.
    room = rows.new_empty(min(len(rows), _rows_of_a_piece(rows)), half)
    for part, to, s, g in _pieces(rows, out, steep, gradient):
        gate, value, of_gate, of_value = (
            part[:, :half],
            part[:, half:],
            to[:, :half],
            to[:, half:],
        )
        bend = room[: len(s)]
        # d GELU / dv = s + v s (1 - s) (slope + 3 slope cube v^2)
        torch.addcmul(slope, value, value, value=3 * GELU_SLOPE * GELU_CUBE, out=bend)
        torch.mul(value, s, out=of_gate)
        bend.mul_(of_gate)
        torch.addcmul(bend, bend, s, value=-1, out=bend).add_(s)
        of_gate.mul_(g)
        torch.mul(gate, g, out=of_value).mul_(bend)
    return out


def _rows_of_a_piece(rows: Tensor) -> int:
    return max(1, _PIECE // rows.shape[1])


def _pieces(*tensors: Tensor) -> Any:
    size = _rows_of_a_piece(tensors[0])
    return zip(*(torch.split(tensor, size) for tensor in tensors), strict=True)


def aligned_halves(x: Tensor) -> Tensor:
    """Rows of gates and of values [2 F, ...], each filled up by zeros to a multiple of ALIGNED.

    What a feed-forward layer makes of them is zero, and products and passes over rows of other
    lengths are slower.
    """
    halves = x.view(2, len(x) // 2, -1)
    return F.pad(halves, (0, 0, 0, -halves.shape[1] % ALIGNED)).view(-1, *x.shape[1:])


def aligned_inputs(x: Tensor) -> Tensor:
    """A weight [D, F] behind such a layer, filled up alike."""
    return F.pad(x, (0, -x.shape[1] % ALIGNED))


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Rotate the interleaved channel pairs (2i, 2i + 1) of x [B, H, L, C]."""
    a, b = torch.unflatten(x, -1, (-1, 2)).unbind(-1)
    return torch.stack((a * by.cos - b * by.sin, a * by.sin + b * by.cos), dim=-1).flatten(-2)


def heads_of(
    qkv: Tensor, query_weight: Tensor, key_weight: Tensor, by: Rotation, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [B, H, L, C] of qkv [B, L, 3 D].

    Queries and keys are normalised, multiplied by 1 + weight [C], and rotated.
    """
    if by_hand(qkv):
        three = _Heads.apply(qkv, query_weight, key_weight, *by, count)
        query, key, value = (each.transpose(1, 2) for each in three)
        return query, key, value
    query, key, value = torch.unflatten(qkv, -1, (3, count, -1)).permute(2, 0, 3, 1, 4)
    return (
        rotate(_weighted(query, query_weight), by),
        rotate(_weighted(key, key_weight), by),
        value,
    )


def _weighted(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], (1 + weight).to(x.dtype), eps=EPS)


class _Heads(torch.autograd.Function):
    """[B, L, 3 D] to queries, keys and values [B, L, H, C].

    A pair of channels is a complex number, and a rotation a product with another.
    """

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        query_weight: Tensor,
        key_weight: Tensor,
        cos: Tensor,
        sin: Tensor,
        count: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        parts = torch.unflatten(qkv, -1, (3, count, -1))
        # As long as all heads, so that a kernel runs over them without a break.
        turn = torch.complex(cos, sin).unsqueeze(1).expand(-1, count, -1).contiguous()
        out, kept = [], []
        for index, weight in enumerate((query_weight, key_weight)):
            part = parts[:, :, index]
            factor = inverse_rms(part)
            normalised = part * factor
            weights = (1 + weight).expand(count, -1).contiguous()
            turned = normalised * weights
            pairs = torch.view_as_complex(torch.unflatten(turned, -1, (-1, 2)))
            pairs.mul_(turn)
            out.append(turned)
            kept += [normalised, factor, weights]
        ctx.save_for_backward(turn, *kept)
        return out[0], out[1], parts[:, :, 2].contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        turn, *kept = ctx.saved_tensors
        back = turn.conj().resolve_conj()
        batch, length, count, channels = kept[0].shape
        out = kept[0].new_empty(batch, length, 3, count, channels)
        out[:, :, 2] = gradients[2]
        of_weights = []
        for index, gradient in enumerate(gradients[:2]):
            normalised, factor, weights = kept[3 * index : 3 * index + 3]
            pairs = (
                torch.view_as_complex(torch.unflatten(gradient.contiguous(), -1, (-1, 2))) * back
            )
            turned = torch.view_as_real(pairs).flatten(-2)
            products = turned * normalised
            of_weights.append(products.view(-1, channels).sum(dim=0))
            along = (products.view(-1, channels) @ (weights[0] / channels)).view_as(factor)
            turned.mul_(weights).addcmul_(normalised, along, value=-1)
            torch.mul(turned, factor, out=out[:, :, index])
        return out.flatten(2), *of_weights, None, None, None


def linear_cross_entropy(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropies [M] in nats of targets [M], for logits x W^T of x [M, D] and W [K, D].

    The classes are filled up to a multiple of ALIGNED by some of probability zero: products with
    rows of another length are up to three times slower.
    """
    classes = len(weight)
    weight = F.pad(weight, (0, 0, 0, -classes % ALIGNED))
    if by_hand(x):
        losses: Tensor = _CrossEntropy.apply(x, weight, targets, classes)
        return losses
    impossible = F.pad(weight.new_zeros(classes), (0, len(weight) - classes), value=float("-inf"))
    return F.cross_entropy(F.linear(x, weight, impossible), targets, reduction="none")


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, classes: int) -> Tensor:
        logits = x @ weight.T
        logits[:, classes:] = float("-inf")
        probabilities = logits.softmax(dim=-1)
        # The largest probability is that of the largest logit, and never so small that its
        # logarithm is inexact.
        normaliser = logits.amax(dim=-1).sub_(probabilities.amax(dim=-1).log_())
        ctx.save_for_backward(x, weight, targets, probabilities)
        return normaliser.sub_(logits.gather(1, targets.unsqueeze(1)).squeeze(1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight, targets, probabilities = ctx.saved_tensors
        of_losses = gradient.unsqueeze(1)
        of_logits = probabilities * of_losses
        of_logits.scatter_add_(1, targets.unsqueeze(1), -of_losses)
        return of_logits @ weight, of_logits.T @ x, None, None
