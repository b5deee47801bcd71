"""Training: the joint step, schedules, resuming, and losses that turn NaN."""

from __future__ import annotations

import functools

import pytest
import torch

from prologue_bench.config.settings import TokenizerTraining
from prologue_bench.training.models import (
    TokenizerModel,
)
from tests.factories.models import ar, prologue
from tests.factories.training import byte_images, joint_model


def test_the_compiled_step_gives_the_same_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced whole by dynamo and differentiated by AOT autograd.

    The code generator is torch's own affair.
    """
    monkeypatch.setattr(
        torch, "compile", functools.partial(torch.compile, backend="aot_eager", fullgraph=True)
    )
    tokenizer = prologue(visual_dropout=0.0)
    training = TokenizerTraining(l2_weight=1.0, compile=True)
    compiled = TokenizerModel(tokenizer, ar(tokenizer.layout), training, none_label=3)
    eager = joint_model(visual_dropout=0.0)
    batch = byte_images(6)
    for name, loss in eager(images=batch).items():
        assert torch.allclose(compiled(images=batch)[name], loss, atol=1e-5), name
    torch.stack(list(compiled(images=batch).values())).sum().backward()
    torch.stack(list(eager(images=batch).values())).sum().backward()
    for (name, one), other in zip(compiled.named_parameters(), eager.parameters(), strict=True):
        if other.grad is not None:
            assert one.grad is not None, name
            assert torch.allclose(one.grad, other.grad, atol=1e-5), name
