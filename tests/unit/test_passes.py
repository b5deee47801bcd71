"""The parts of a transformer that are computed by hand give what the plain formulas give."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from prologue_plugins.layers import passes
from prologue_plugins.layers.settings import TransformerSettings
from prologue_plugins.layers.transformer import OutputHead, rotary_angles, rotation

LENGTH, HEADS, CHANNELS = 5, 3, 8


def heads(qkv: Tensor, query_weight: Tensor, key_weight: Tensor) -> tuple[Tensor, ...]:
    angles = rotation(rotary_angles(torch.arange(LENGTH)[:, None], [CHANNELS], 100.0))
    by = passes.Rotation(*(each.to(qkv.dtype) for each in angles))
    return passes.heads_of(qkv, query_weight, key_weight, by, HEADS)


PARTS: dict[str, tuple[Callable[..., object], tuple[tuple[int, ...], ...]]] = {
    "norm": (passes.normalise, ((2, LENGTH, 6),)),
    "gelu": (passes.gated_gelu, ((2, LENGTH, 6),)),
    "cross-entropy": (
        lambda x, weight: passes.linear_cross_entropy(x, weight, torch.arange(LENGTH) * 4),
        ((LENGTH, 6), (19, 6)),
    ),
    "heads": (heads, ((2, LENGTH, 3 * HEADS * CHANNELS), (CHANNELS,), (CHANNELS,))),
}


def outputs_and_gradients(name: str, inputs: list[Tensor]) -> list[Tensor]:
    function, _ = PARTS[name]
    found = function(*inputs)
    outputs = list(found) if isinstance(found, tuple) else [found]
    generator = torch.Generator().manual_seed(1)
    loss = torch.stack(
        [
            (out * torch.randn(out.shape, generator=generator, dtype=out.dtype)).sum()
            for out in outputs
        ]
    ).sum()
    return [*outputs, *torch.autograd.grad(loss, inputs)]


@pytest.mark.parametrize("name", PARTS)
def test_passes_by_hand_equal_the_plain_formulas(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "_PIECE", 16)  # several pieces, the last one shorter
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in PARTS[name][1]
    ]
    by_hand = outputs_and_gradients(name, inputs)
    monkeypatch.setattr(passes, "by_hand", lambda x: False)
    plain = outputs_and_gradients(name, inputs)
    # The constant of the angles is float32's.
    for one, other in zip(by_hand, plain, strict=True):
        assert torch.allclose(one, other, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", PARTS)
def test_gradients_of_passes_are_those_of_finite_differences(name: str) -> None:
    function, shapes = PARTS[name]
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in shapes
    ]
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


def test_other_precisions_keep_the_plain_formulas() -> None:
    assert passes.by_hand(torch.zeros(1))
    assert not passes.by_hand(torch.zeros(1, dtype=torch.bfloat16))
    assert not passes.by_hand(torch.zeros(1, device="meta"))


@pytest.mark.parametrize("per_image", [False, True], ids=["one condition", "one per image"])
def test_filled_up_outputs_leave_the_cross_entropy_as_it_is(per_image: bool) -> None:
    torch.manual_seed(0)
    head = OutputHead(TransformerSettings(width=12, heads=3, layers=1), 19, bias=False)
    torch.nn.init.normal_(head.scale.affine.weight)
    x = torch.randn(4, LENGTH, 12, requires_grad=True)
    condition = torch.randn(4 if per_image else 1, 32)
    targets = torch.randint(19, (4, LENGTH))
    found = head.cross_entropy(x, condition, targets)
    expected = F.cross_entropy(head(x, condition).transpose(1, 2), targets, reduction="none")
    assert torch.allclose(found, expected, atol=1e-6)
    parameters = [x, head.linear.weight, head.scale.affine.weight]
    for one, other in zip(
        torch.autograd.grad(found.sum(), parameters),
        torch.autograd.grad(expected.sum(), parameters),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-5)
