"""Losses and optimizers as the paper's method has them, against plain formulas."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
import torch.nn.functional as F
from torch import Tensor, nn

from prologue_bench.config.ablation import Ablation
from prologue_bench.config.settings import Optimisation, TokenizerTraining
from prologue_bench.contracts import ImageSpec, PriorRequest, Segment, TokenLayout
from prologue_bench.errors import StageError, UserError
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from prologue_bench.training.models import TokenizerModel, weights_of_targets
from prologue_bench.training.optimisation import norm_parameters, optimizer_wrapper
from prologue_plugins.losses.adversarial import (
    PatchGan,
    discriminator_loss,
    gradient_penalty,
)
from prologue_plugins.losses.settings import ConvNextLogitsSettings, PatchGanSettings
from prologue_plugins.official.names import official_names
from tests.factories.models import IMAGES, LAYOUTS, ar, prologue
from tests.factories.training import byte_images

# ---- the discriminator


def outputs() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(3)
    return 2 * torch.randn(5, 1, 3, 3, generator=rng), 2 * torch.randn(
        5, 1, 3, 3, generator=rng
    ) - 0.3


def test_the_discriminator_s_loss_is_the_sum_of_both_logistic_terms_and_not_their_mean() -> None:
    real, fake = outputs()
    expected = -real.sigmoid().log().mean() - (-fake).sigmoid().log().mean()
    assert discriminator_loss(real, fake, "vanilla").item() == pytest.approx(
        expected.item(), rel=1e-6
    )


class Given(nn.Module):
    """A discriminator that answers what its images say in their first pixel."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :1, :1, :1]


def gan(**changes: Any) -> PatchGan:
    torch.manual_seed(0)
    return PatchGan(PatchGanSettings(width=8, layers=1, **changes), IMAGES)


def as_images(answers: list[float]) -> Tensor:
    return torch.tensor(answers).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4)


def test_lecam_pulls_back_what_is_beyond_the_other_kind_s_average_alone() -> None:
    loss = gan(lecam_weight=1.0)
    loss.discriminator = Given()  # type: ignore[assignment]
    loss.averages.averages.copy_(torch.tensor([1.0, -0.5]))
    real, fake = [2.0, -1.0], [0.5, 3.0]
    found = loss(as_images(fake), as_images(real), step=0)["lecam"]
    # max(2 + 0.5, 0)^2 and max(-1 + 0.5, 0)^2; max(1 - 0.5, 0)^2 and max(1 - 3, 0)^2
    assert found.item() == pytest.approx((2.5**2 + 0) / 2 + (0.5**2 + 0) / 2)


def test_lecam_s_averages_move_once_a_step_however_the_batch_is_cut() -> None:
    whole, parts = gan(), gan()
    for loss in (whole, parts):
        loss.discriminator = Given()  # type: ignore[assignment]
    real, fake = as_images([3.0, 1.0, 2.0, 6.0]), as_images([0.0, 2.0, 1.0, -1.0])
    found = [whole(fake, real, step)["lecam"].item() for step in range(4)]
    cut = [
        sum(
            parts(f, r, step)["lecam"].item()
            for r, f in zip(real.chunk(2), fake.chunk(2), strict=True)
        )
        / 2
        for step in range(4)
    ]
    assert cut == pytest.approx(found)
    averages = torch.zeros(2)
    for _ in range(3):
        averages = 0.999 * averages + 0.001 * torch.tensor([3.0, 0.5])
    assert torch.allclose(whole.averages.averages, averages)
    assert torch.allclose(parts.averages.averages, averages)


def test_lecam_s_averages_begin_with_the_discriminator_and_are_resumed() -> None:
    loss = gan(start_step=2)
    loss.discriminator = Given()  # type: ignore[assignment]
    pair = as_images([0.0, 2.0]), as_images([3.0, 1.0])
    for step in range(4):
        loss(*pair, step)
    assert loss.averages.averages.tolist() == pytest.approx([0.002, 0.001])
    resumed = gan(start_step=2)
    resumed.discriminator = Given()  # type: ignore[assignment]
    resumed.load_state_dict(loss.state_dict())
    for each in (loss, resumed):
        each(*pair, 4)
    assert (
        resumed.averages.averages.tolist()
        == loss.averages.averages.tolist()
        != pytest.approx([0.002, 0.001])
    )


def test_r1_is_half_of_the_squared_gradient_of_an_image_s_output() -> None:
    """Of a linear function of images, whose gradient is its weights; outputs of an image add up."""
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 2, bias=False))
    weights = linear[1].weight.sum(dim=0)
    penalty = gradient_penalty(linear, torch.randn(5, 3, 4, 4))
    assert penalty.item() == pytest.approx(0.5 * weights.square().sum().item(), rel=1e-5)


def test_r1_agrees_with_differences_and_teaches_the_discriminator_alone() -> None:
    loss = gan(r1_weight=0.7, r1_every_steps=1).double()
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    step, gradient = 1e-5, torch.zeros_like(images)
    with torch.no_grad():
        for index in range(images.numel()):
            moved = torch.zeros(images.numel(), dtype=images.dtype)
            moved[index] = step
            up, down = (
                loss.discriminator(images + s * moved.view_as(images)).sum() for s in (1, -1)
            )
            gradient.view(-1)[index] = (up - down) / (2 * step)
    expected = 0.7 / 2 * gradient.square().sum() / 2
    loss.float()
    reconstruction = torch.rand(2, 3, 8, 8, requires_grad=True)
    found = loss(reconstruction, images.float(), step=0)["r1"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)
    found.backward()
    assert reconstruction.grad is None
    assert any(
        p.grad is not None and p.grad.abs().sum() > 0 for p in loss.discriminator.parameters()
    )


def test_r1_comes_with_every_25th_of_the_discriminator_s_steps() -> None:
    pair = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    loss, later = gan(), gan(start_step=10)
    assert [step for step in range(80) if "r1" in loss(*pair, step)] == [24, 49, 74]
    assert [step for step in range(80) if "r1" in later(*pair, step)] == [34, 59]
    assert not any("r1" in gan(r1_weight=0.0)(*pair, step) for step in (24, 49))


def test_r1_is_computed_in_float32_under_autocast() -> None:
    loss = gan(r1_every_steps=1)
    pair = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    exact = loss(*pair, 0)["r1"]
    with torch.autocast("cpu", torch.bfloat16):
        low = loss(*pair, 1)["r1"]
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(exact.item(), rel=1e-6)
    low.backward()


def test_r1_of_a_batch_in_parts_is_that_of_the_whole() -> None:
    loss = gan(r1_every_steps=1)
    reconstruction, images = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8)
    whole = loss(reconstruction, images, 0)["r1"]
    parts = [
        loss(f, r, 0)["r1"] for f, r in zip(reconstruction.chunk(2), images.chunk(2), strict=True)
    ]
    assert torch.stack(parts).mean().item() == pytest.approx(whole.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            "width: 24",
            (
                r"losses\[0\].width: must give each layer fewer than 32 channels or a multiple of "
                r"32 .* such as 16"
            ),
        ),
        ("width: 9", r"losses\[0\].width: must give each layer .* gives one of 36"),
        (
            "kind: non-saturating",
            r"losses\[0\].kind: found 'non-saturating' \(str\), expected one of vanilla, hinge",
        ),
        ("r1_weight: -1.0", r"losses\[0\].r1_weight: must be >= 0"),
        ("r1_every_steps: 0", r"losses\[0\].r1_every_steps: must be >= 1"),
    ],
)
def test_a_discriminator_that_cannot_be_is_refused_when_it_is_read(
    load: Callable[..., Ablation], settings: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        load(f"tokenizer_training.losses=[{{use: patchgan, {settings}}}]")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("width", "layers"), [(1, 1), (8, 3), (9, 1), (16, 4), (48, 2), (64, 3)])
def test_a_discriminator_whose_settings_pass_can_be_built(width: int, layers: int) -> None:
    PatchGan(
        PatchGanSettings(width=width, layers=layers), ImageSpec(channels=1, height=64, width=64)
    )


def test_images_that_a_discriminator_cannot_see_are_one_line() -> None:
    small = ImageSpec(channels=1, height=14, width=28)
    with pytest.raises(
        UserError,
        match="loss 'patchgan': layers: found 3 of stride 2, which images of 14 pixels are too",
    ):
        PatchGan(PatchGanSettings(width=8, layers=3), small)
    smallest = ImageSpec(channels=1, height=24, width=24)
    loss = PatchGan(PatchGanSettings(width=8, layers=3), smallest)
    assert loss.discriminator(torch.zeros(1, 1, 24, 24)).shape == (1, 1, 1, 1)


def test_the_logit_loss_has_weight_one() -> None:
    assert ConvNextLogitsSettings().weight == 1.0


# ---- weight decay


def test_what_decays_is_what_decays_in_the_paper_s_implementation() -> None:
    """There: no parameter with fewer than two axes, none whose name has bias, norm or adaln."""
    model = ar(LAYOUTS[1])
    wrapper = optimizer_wrapper(
        model.parameters(), Optimisation(weight_decay=0.03), norm_parameters(model)
    )
    decaying = {
        p
        for group in wrapper.optimizer.param_groups
        if group["weight_decay"]
        for p in group["params"]
    }
    names = official_names(model)
    assert len(list(model.parameters())) == sum(
        len(group["params"]) for group in wrapper.optimizer.param_groups
    )
    for name, parameter in model.named_parameters():
        there = names[name][1][0]
        expected = parameter.ndim >= 2 and not re.search("bias|norm|adaln", there)
        assert (parameter in decaying) == expected, (name, there)
    assert model.embedding.weight in decaying
    assert model.label_embedding.weight in decaying


def test_a_step_without_gradient_shrinks_matrices_alone() -> None:
    model = nn.Sequential(
        nn.Embedding(4, 4),
        nn.Conv2d(4, 4, 3),
        nn.GroupNorm(2, 4),
        nn.LayerNorm([4, 4]),
        nn.Linear(4, 4),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    settings = Optimisation(learning_rate=0.1, weight_decay=0.5)
    optimizer_wrapper(model.parameters(), settings, norm_parameters(model)).step()
    found = {name: parameter.flatten()[0].item() for name, parameter in model.named_parameters()}
    shrunk = {name for name, value in found.items() if value == pytest.approx(0.95)}
    assert shrunk == {"0.weight", "1.weight", "4.weight"}
    assert all(value == 1.0 for name, value in found.items() if name not in shrunk)


def test_training_decays_no_norm_of_the_prior_or_the_generator(tmp_path: Path) -> None:
    from prologue_bench.training.batches import ArrayDataset
    from prologue_bench.training.context import StageContext
    from prologue_bench.training.runner import TrainingJob, make_runner

    tokenizer = prologue()
    model = TokenizerModel(
        tokenizer, ar(tokenizer.layout), TokenizerTraining(batch_size=4), none_label=3
    )
    assert model.prior is not None
    parts = {
        "autoencoder": (list(tokenizer.parameters()), Optimisation()),
        "prior": (list(model.prior.parameters()), Optimisation(weight_decay=0.03)),
    }
    context = StageContext(work=tmp_path, output=tmp_path)
    data = ArrayDataset({"images": byte_images().numpy()})
    training = model.training_settings
    runner = make_runner(
        TrainingJob(model=model, data=data, training=training, parts=parts, seed=0, context=context)
    )
    groups = runner.optim_wrapper["prior"].optimizer.param_groups
    decaying = {p for group in groups if group["weight_decay"] for p in group["params"]}
    scales = [p for name, p in model.prior.named_parameters() if "scale" in name or "norm" in name]
    assert scales
    assert not decaying & set(scales)
    assert decaying
    assert all(p.ndim >= 2 for p in decaying)


# ---- the cross-entropy by target


def by_target(separator: bool = True, **weights: float) -> TokenizerModel:
    tokenizer = prologue(ce_weight=3.0, ce_target_weights=weights, separator=separator)
    return TokenizerModel(tokenizer, ar(tokenizer.layout), TokenizerTraining(), none_label=3)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def two_steps(
    model: TokenizerModel,
    batch: Tensor,
    dropped: Tensor,
    separator: bool,
    weights: dict[str, float],
) -> None:
    """The paper's steps A and B, one after the other.

    The cross-entropies are added up by target as it adds them.
    """
    tokenizer, prior = model.tokenizer, model.prior
    assert prior is not None
    x, labels = batch.float() / 127.5 - 1, torch.full((len(batch),), 3)
    prior.requires_grad_(False)
    out = tokenizer.losses(x)
    costs = prior.token_losses(out.ids, labels, out.relaxed, {"visual": dropped})
    length = costs.shape[1]
    first = 3 + separator  # three prologue tokens, and the separator behind them
    of_prologue = costs[:, :first].sum(dim=1).mean() / length
    of_visual = costs[:, first:].sum(dim=1).mean() / length
    cross_entropy = 3.0 * (
        weights.get("prologue", 1.0) * of_prologue + weights.get("visual", 1.0) * of_visual
    )
    (F.l1_loss(out.reconstruction, x) + out.losses["vq"] + cross_entropy).backward()
    prior.requires_grad_(True)
    prior.token_losses(out.ids, labels, None, {"visual": dropped}).mean().backward()


@pytest.mark.parametrize("separator", [True, False])
@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"prologue": 0.0},
        {"visual": 0.0},
        {"prologue": 0.2, "visual": 5.0},
        {"prologue": 2.0, "visual": 2.0},
    ],
    ids=str,
)
def test_targets_weigh_as_in_the_paper_s_two_steps(
    weights: dict[str, float], separator: bool
) -> None:
    model, batch = by_target(separator, **weights), byte_images(6)
    dropped = torch.tensor([True, False] * 3)
    sum(model(images=batch, dropped_visual=dropped).values()).backward()  # type: ignore[union-attr]
    joint = gradients(model)
    model.zero_grad()
    two_steps(model, batch, dropped, separator, weights)
    apart = gradients(model)
    assert joint.keys() == apart.keys()
    for name, gradient in joint.items():
        assert torch.allclose(gradient, apart[name], atol=1e-6), name


def test_the_prior_learns_from_all_targets_alike() -> None:
    batch, dropped = byte_images(4), torch.tensor([True, False] * 2)
    found = []
    for weights in ({}, {"prologue": 0.0, "visual": 7.0}):
        model = by_target(**weights)
        losses = model(images=batch, dropped_visual=dropped)
        losses["loss_ce"].backward()
        assert model.prior is not None
        found.append((losses["loss_ce"].item(), gradients(model.prior)))
    assert found[0][0] == pytest.approx(found[1][0])
    for name, gradient in found[0][1].items():
        assert torch.allclose(gradient, found[1][1][name], atol=1e-6), name


def test_without_the_prologue_s_targets_its_last_token_learns_from_visual_ones_alone() -> None:
    """The separator is a target of the prologue.

    With both left out, nothing before it matters to the loss.
    """
    layout = TokenLayout((Segment("prologue", 3, 5), Segment("visual", 4, 6)))
    assert weights_of_targets(layout, [0.0, 2.0], 8) == [0.0] * 4 + [2.0] * 4
    assert weights_of_targets(layout, [0.0, 2.0], 7) == [0.0] * 3 + [2.0] * 4
    three = TokenLayout((Segment("a", 1, 3), Segment("b", 2, 4), Segment("c", 3, 5)))
    assert weights_of_targets(three, [1.0, 2.0, 3.0], 8) == [1, 1, 2, 2, 2, 3, 3, 3]
    assert weights_of_targets(TokenLayout((Segment("visual", 4, 6),)), [2.0], 4) == [2.0] * 4
    with pytest.raises(
        StageError,
        match="found 9 predicted positions for 7 tokens; expected 7, or 8 with separators",
    ):
        weights_of_targets(layout, [0.0, 2.0], 9)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("{prolog: 1.0}", "ce_target_weights: must name 'prologue' or 'visual': prolog"),
        ("{visual: -1}", r"ce_target_weights: must be finite numbers >= 0: -1.0 for visual"),
        ("{visual: .inf}", r"ce_target_weights.visual: found inf .* expected a finite number"),
    ],
)
def test_a_target_that_there_is_not_is_one_line(
    load: Callable[..., Ablation], weights: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        load(f"tokenizer.ce_target_weights={weights}")
    assert "\n" not in str(raised.value)


def test_the_weight_that_is_the_default_makes_no_other_model(
    load: Callable[..., Ablation], store: Store
) -> None:
    plain, said, other = (
        make_plan(
            load("vary.tokenizer.prologue_tokens=[2]", "baseline=null", *values), Workspace(store)
        )
        .pipelines[0]
        .tokenizer.key
        for values in (
            [],
            ["tokenizer.ce_target_weights={prologue: 1.0, visual: 1}"],
            ["tokenizer.ce_target_weights.prologue=0"],
        )
    )
    assert plain == said != other


@pytest.mark.parametrize("what", ["weights", "input_dropout", "target_weights"])
def test_a_request_that_names_no_segment_is_refused(what: str) -> None:
    request = PriorRequest(**{"weights": {}, what: {"prolog": 1.0}})
    with pytest.raises(
        ValueError,
        match=f"the prior's {what} name a segment 'prolog', expected one of: prologue, visual",
    ):
        request.check(LAYOUTS[1])
