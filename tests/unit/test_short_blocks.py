"""A block as one operation gives what its plain formulas give, and their gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from prologue_plugins.layers import short_blocks, transformer
from prologue_plugins.layers.passes import Rotation
from prologue_plugins.layers.settings import TransformerSettings
from prologue_plugins.layers.transformer import Block, rotary_angles, rotation

LENGTH, WIDTH = 5, 12


def block(**settings: Any) -> Block:
    """A block in float64, no weight of which is zero."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"width": WIDTH, "layers": 1, "heads": 3, "condition_width": 4}
    made = Block(TransformerSettings(**sizes, **settings)).double()
    for each in made.parameters():
        torch.nn.init.normal_(each, std=0.3)
    return made


def positions() -> Rotation:
    angles = rotation(rotary_angles(torch.arange(LENGTH)[:, None], [WIDTH // 3], 100.0))
    return Rotation(*(each.double() for each in angles))


def inputs() -> tuple[Tensor, Tensor]:
    """x [B, L, D] and the condition [1, E]."""
    x = torch.randn(2, LENGTH, WIDTH, dtype=torch.float64, requires_grad=True)
    return x, torch.randn(1, 4, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("causal", [False, True], ids=["all see all", "causal"])
@pytest.mark.parametrize("bias", [False, True], ids=["no biases", "biases"])
def test_equals_the_plain_formulas(
    bias: bool, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, (x, condition) = block(bias=bias), inputs()
    learning = [x, condition, *made.parameters()]

    def found() -> list[Tensor]:
        out = made(x, condition, positions(), causal)
        out = made(out, condition, positions(), causal)
        return [out, *torch.autograd.grad((out * out.detach().sin()).sum(), learning)]

    calls = []

    def counted(*arguments: Any) -> Tensor:
        calls.append(arguments)
        return short_blocks.short_block(*arguments)

    monkeypatch.setattr(transformer, "short_block", counted)
    short = found()
    assert len(calls) == 2
    monkeypatch.setattr(transformer, "is_short", lambda *_: False)
    plain = found()
    assert len(calls) == 2
    # In the plain formulas, a scale is float32.
    for one, other in zip(short, plain, strict=True):
        assert torch.allclose(one, other, atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    made, (x, condition) = block(), inputs()

    def out(x: Tensor, condition: Tensor, *_: Tensor) -> Tensor:
        return made(x, condition, positions(), causal=True)  # type: ignore[no-any-return]

    assert torch.autograd.gradcheck(out, (x, condition, *made.parameters()), fast_mode=True)


def test_whatever_else_a_block_can_be_asked_keeps_the_plain_formulas() -> None:
    x, condition = torch.zeros(2, LENGTH, WIDTH), torch.zeros(1, 4)
    assert short_blocks.is_short(x, condition, dropout=0.0)
    assert not short_blocks.is_short(x, condition, dropout=0.1)
    assert not short_blocks.is_short(x, torch.zeros(2, 4), dropout=0.0)
    assert not short_blocks.is_short(x.bfloat16(), condition, dropout=0.0)
    assert not short_blocks.is_short(x.to("meta"), condition, dropout=0.0)
    long = torch.zeros(1, short_blocks.LONGEST + 1, WIDTH)
    assert not short_blocks.is_short(long, condition, dropout=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert not short_blocks.is_short(x, condition, dropout=0.0)
