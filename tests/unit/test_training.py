"""Training: the joint step, schedules, resuming, and losses that turn NaN."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from prologue_bench import seeds
from prologue_bench.config.settings import GeneratorTraining, Optimisation, TokenizerTraining
from prologue_bench.training.batches import ArrayDataset
from prologue_bench.training.context import StageContext
from prologue_bench.training.models import (
    GeneratorModel,
    TokenizerModel,
    dropped_inputs,
    scale_gradient,
)
from prologue_bench.training.optimisation import schedule
from prologue_bench.training.runner import TrainingJob, make_runner
from tests.factories.models import LAYOUTS, ar, images, prologue, random_ids
from tests.factories.training import byte_images, joint_model


def test_one_pass_has_the_gradients_of_the_paper_s_two_steps() -> None:
    model = joint_model(ce_weight=3.0)
    batch = byte_images(6)
    model.begin_step(0, seed=7)
    dropped = model.draws(6)["dropped_visual"]
    assert int(dropped.sum()) == 3
    sum(model(images=batch, dropped_visual=dropped).values()).backward()  # type: ignore[union-attr]
    joint = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    tokenizer, prior = model.tokenizer, model.prior
    assert prior is not None
    assert tokenizer.prior is not None
    x = batch.float() / 127.5 - 1
    labels = torch.full((6,), 3)
    # Step A: the prior is frozen, its cross-entropy reaches the tokenizer with weight 3.
    prior.requires_grad_(False)
    out = tokenizer.losses(x)
    error = out.reconstruction - x
    cross_entropy = prior.token_losses(out.ids, labels, out.relaxed, {"visual": dropped}).mean()
    (error.abs().mean() + error.square().mean() + out.losses["vq"] + 3.0 * cross_entropy).backward()
    # Step B: the prior learns on the detached tokens.
    prior.requires_grad_(True)
    prior.token_losses(out.ids, labels, None, {"visual": dropped}).mean().backward()
    apart = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert joint.keys() == apart.keys()
    for name, gradient in joint.items():
        assert torch.allclose(gradient, apart[name], atol=1e-6), name  # type: ignore[arg-type]


def test_the_cross_entropy_reaches_the_prologue_and_no_visual_code() -> None:
    model = joint_model()
    losses = model(images=byte_images(6))
    losses["loss_ce"].backward()
    tokenizer = model.tokenizer
    assert tokenizer.prologue_quantizer.codebook.weight.grad.abs().sum() > 0
    assert tokenizer.quantizer.codebook.weight.grad is None
    assert all(p.grad is None for p in tokenizer.decoder.parameters())


def test_gradient_scaling_leaves_values_alone() -> None:
    x = torch.randn(3, requires_grad=True)
    y = scale_gradient(x, 2.5)
    assert torch.equal(x, y)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.5] * 3


def test_half_of_the_batch_loses_its_visual_inputs() -> None:
    request = prologue(visual_dropout=0.5).prior
    assert request is not None
    assert int(dropped_inputs(request, 10, seeds.generator)["visual"].sum()) == 5


def test_bfloat16_runs_on_the_cpu_and_keeps_the_losses_in_float32() -> None:
    tokenizer = prologue()
    training = TokenizerTraining(precision="bfloat16")
    model = TokenizerModel(tokenizer, ar(tokenizer.layout), training, none_label=3)
    low = model(images=byte_images(6))
    exact = joint_model()(images=byte_images(6))
    assert all(value.dtype == torch.float32 for value in low.values())
    assert low["loss_l1"].item() == pytest.approx(exact["loss_l1"].item(), rel=0.02)


def rates_of(settings: Optimisation, steps: int, tmp_path: Path) -> list[float]:
    """The learning rate of each step."""
    generator = ar(LAYOUTS[0])
    runner = make_runner(
        TrainingJob(
            model=GeneratorModel(generator, GeneratorTraining(), 3),
            data=ArrayDataset(
                {"ids": random_ids(LAYOUTS[0]).numpy(), "labels": torch.zeros(3).long().numpy()}
            ),
            training=GeneratorTraining(steps=steps, batch_size=2),
            parts={"generator": (list(generator.parameters()), settings)},
            seed=0,
            context=StageContext(work=tmp_path, output=tmp_path),
        )
    )
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    schedulers = runner.build_param_scheduler(schedule(settings, steps))
    rates = []
    for _ in range(steps):
        rates.append(runner.optim_wrapper.optimizer.param_groups[0]["lr"])
        runner.optim_wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def test_the_schedule_warms_up_stays_and_falls_to_its_final_fraction(tmp_path: Path) -> None:
    settings = Optimisation(learning_rate=1.0, warmup_steps=4, flat_steps=3, final_fraction=0.1)
    rates = rates_of(settings, 16, tmp_path)
    assert rates[0] == pytest.approx(0.2)
    assert rates[4:8] == [1.0] * 4
    falls = [before - after for before, after in itertools.pairwise(rates[7:])]
    assert falls == pytest.approx([falls[0]] * len(falls))
    assert rates[-1] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("warmup", "flat", "final", "expected"),
    [
        (1, 0, 1.0, [0.5, 1, 1, 1, 1]),
        (1, 0, 0.1, [0.5, 1, 0.7, 0.4, 0.1]),
        (0, 4, 0.1, [1, 1, 1, 1, 0.1]),
        (1, 3, 0.1, [0.5, 1, 1, 1, 0.1]),
        (4, 0, 0.1, [0.2, 0.4667, 0.7333, 1, 0.1]),
    ],
)
def test_a_warm_up_and_a_fall_may_take_one_step(
    warmup: int, flat: int, final: float, expected: list[float], tmp_path: Path
) -> None:
    settings = Optimisation(
        learning_rate=1.0, warmup_steps=warmup, flat_steps=flat, final_fraction=final
    )
    assert rates_of(settings, 5, tmp_path) == pytest.approx(expected, abs=1e-3)


def test_a_dataset_reads_whole_batches() -> None:
    data = ArrayDataset({"images": byte_images(8).numpy(), "labels": torch.arange(8).numpy()})
    batch = data.__getitems__([5, 1])
    assert batch["labels"].tolist() == [5, 1]
    assert torch.equal(batch["images"], byte_images(8)[[5, 1]])
    with pytest.raises(ValueError, match="expected one length"):
        ArrayDataset({"a": images(2).numpy(), "b": images(3).numpy()})
