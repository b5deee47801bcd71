"""Dropout on the condition's channels, drawn for each training image, against a plain reference."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prologue_bench.config.ablation import load_ablation
from prologue_bench.registry import Registry
from prologue_plugins.generators.ar import Ar
from prologue_plugins.generators.rar import Rar
from prologue_plugins.layers.passes import Rotation, rotate
from prologue_plugins.layers.settings import TransformerSettings
from prologue_plugins.layers.transformer import (
    Block,
    OutputHead,
    Transformer,
    rotary_angles,
    rotation,
)
from tests.conftest import ROOT
from tests.factories.condition_dropout import (
    IDS,
    generator,
    only_on_the_condition,
    randomised,
)

LABELS = torch.tensor([0, 1, 2, 3])


def transformer(dropout: float = 0.3, bias: bool = True) -> Transformer:
    settings = TransformerSettings(
        width=16, layers=2, heads=2, condition_width=8, dropout=dropout, bias=bias
    )
    model = Transformer(settings, labels=4, causal=True)
    randomised(model)
    return model.train()


def places(length: int) -> Rotation:
    return rotation(rotary_angles(torch.arange(length)[:, None], [8], 100.0))


def plain_norm(x: Tensor, scale: Tensor) -> Tensor:
    """RMSNorm with the scale of each image."""
    return x / x.norm(dim=-1, keepdim=True) * x.shape[-1] ** 0.5 * scale


def plain_linear(linear: nn.Linear, x: Tensor) -> Tensor:
    y = torch.einsum("bli,oi->blo", x, linear.weight)
    return y if linear.bias is None else y + linear.bias


def each(linear: nn.Linear, condition: Tensor) -> Tensor:
    """A linear map of the conditions [B, E], for every token: [B, 1, D]."""
    return plain_linear(linear, condition[:, None])


def plain_block(block: Block, x: Tensor, condition: Tensor, positions: Rotation) -> Tensor:
    """A block with nothing folded, written out."""
    attention, ffn = block.attention, block.ffn
    h = plain_linear(
        attention.qkv, plain_norm(x, 1 + each(block.attention_scale.affine, condition))
    )
    query, key, value = (
        part.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for part in h.chunk(3, dim=-1)
    )
    query = rotate(plain_norm(query, 1 + attention.query_norm.weight), positions)
    key = rotate(plain_norm(key, 1 + attention.key_norm.weight), positions)
    scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    heads = (scores.masked_fill(later, -torch.inf).softmax(-1) @ value).transpose(1, 2).flatten(2)
    x = x + each(block.attention_gate, condition) * plain_linear(attention.out, heads)
    gates, value = plain_linear(
        ffn.fc1, plain_norm(x, 1 + each(block.ffn_scale.affine, condition))
    ).chunk(2, dim=-1)
    hidden = F.gelu(value, approximate="tanh") * gates
    return x + each(block.ffn_gate, condition) * plain_linear(ffn.fc2, hidden)


@pytest.mark.parametrize("bias", [True, False])
def test_the_condition_of_each_image_scales_and_gates_as_a_plain_reference_does(bias: bool) -> None:
    model = transformer(bias=bias)
    only_on_the_condition(model)
    head = OutputHead(model.settings, 5)
    randomised(head)
    x, positions = torch.randn(4, 6, 16), places(6)
    features, condition = model(x, positions)
    found = head(features, condition)
    expected = x
    for block in model.blocks:
        expected = plain_block(block, expected, condition, positions)
    expected = plain_linear(
        head.linear, plain_norm(expected, 1 + each(head.scale.affine, condition))
    )
    assert condition.shape == (4, 8)
    assert torch.allclose(found, expected, atol=1e-5)
    parameters = [*model.parameters(), *head.parameters()]
    weights = torch.randn_like(found)
    for one, other in zip(
        *(
            torch.autograd.grad((y * weights).sum(), parameters, retain_graph=True)
            for y in (found, expected)
        ),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-4)


def test_channels_are_dropped_before_the_norm_and_for_each_image_alone() -> None:
    condition = transformer(dropout=0.25).condition
    torch.manual_seed(1)
    found = condition(2000)
    none = condition.project.weight[:, -1] + condition.project.bias
    dropped = found == 0
    assert float(dropped.float().mean()) == pytest.approx(0.25, abs=0.02)
    kept = torch.where(dropped, 0.0, none)
    normed = kept / kept.square().mean(1, keepdim=True).sqrt() * (1 + condition.norm.weight)
    assert torch.allclose(found, F.gelu(normed, approximate="tanh"), atol=1e-5)
    assert len(dropped.unique(dim=0)) > 100


@pytest.mark.parametrize("kind", [Ar, Rar])
def test_equal_images_get_different_conditions_in_training(kind: type[Ar]) -> None:
    model = generator(kind)
    only_on_the_condition(model)
    same = IDS[:1].expand(6, -1)
    losses = model.token_losses(same, torch.zeros(6, dtype=torch.long))
    assert len({tuple(row) for row in losses.tolist()}) > 1


@pytest.mark.parametrize("kind", [Ar, Rar])
def test_evaluation_is_that_of_a_model_without_dropout(kind: type[Ar]) -> None:
    one, other = generator(kind).eval(), generator(kind, dropout=0.0).eval()
    assert torch.equal(one.logits(IDS, LABELS), other.logits(IDS, LABELS))
    assert one.transformer.condition(4).shape == (1, 8)  # folded into weights
    step = one.decode_step(one.start(LABELS), None)[:, 0]
    assert torch.allclose(
        step, one.logits(IDS, LABELS)[:, 0, one.vocabulary.rows("prologue")], atol=1e-5
    )


def test_gates_start_open_whatever_is_dropped() -> None:
    settings = TransformerSettings(width=16, layers=1, heads=2, dropout=0.5)
    model = Transformer(settings, labels=4, causal=True)
    [block] = model.blocks
    assert torch.allclose(block.attention_gate(model.condition()), torch.ones(16), atol=1e-5)


def test_without_dropout_training_folds_too() -> None:
    model = generator(dropout=0.0)
    assert model.transformer.condition(4).shape == (1, 8)
    assert torch.equal(model.logits(IDS, LABELS), model.eval().logits(IDS, LABELS))


def test_one_image_alone_gets_a_condition_of_its_own() -> None:
    model = generator()
    only_on_the_condition(model)
    alone = [model.logits(IDS[:1], LABELS[:1]) for _ in range(8)]
    assert any(not torch.allclose(alone[0], other, atol=1e-4) for other in alone)


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("ablations/paper/*.yaml")), ids=lambda path: path.stem
)
def test_the_paper_s_generators_drop_a_tenth_and_its_joint_priors_nothing(
    path: Path, registry: Registry
) -> None:
    for experiment in load_ablation(path, registry).experiments:
        assert experiment.generator.settings.transformer.dropout == 0.1
        assert experiment.prior.settings.transformer.dropout == 0.0
