"""Dropout on the condition's channels, drawn for each training image, in a compiled step."""

from __future__ import annotations

import torch

from tests.factories.condition_dropout import IDS, generator, only_on_the_condition


def test_a_compiled_step_drops_channels_of_each_image_too() -> None:
    model = generator()
    only_on_the_condition(model)
    compiled = torch.compile(model.token_losses, backend="aot_eager", fullgraph=True)
    same = IDS[:1].expand(6, -1)
    losses = compiled(same, torch.zeros(6, dtype=torch.long))
    assert len({tuple(row) for row in losses.tolist()}) > 1
    losses.sum().backward()
    assert all(
        p.grad is not None and p.grad.isfinite().all() for p in model.transformer.parameters()
    )
