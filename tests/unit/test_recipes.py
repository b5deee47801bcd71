"""The numbers of the paper's recipes, and no L2 where the paper has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prologue_bench.config.ablation import load_ablation
from prologue_bench.config.experiments import Experiment
from prologue_bench.config.settings import Optimisation, TokenizerTraining
from prologue_bench.documents import yaml_values
from prologue_bench.registry import Registry
from tests.conftest import ROOT

PAPER = sorted(path.stem for path in (ROOT / "ablations" / "paper").glob("*.yaml"))
IMAGES = 1281167
"""Of ImageNet's training split."""


def experiment(row: str, registry: Registry) -> Experiment:
    return load_ablation(ROOT / "ablations" / "paper" / f"{row}.yaml", registry).experiments[0]


def losses(found: Experiment) -> dict[str, Any]:
    return {loss.name: loss.settings for loss in found.losses}


@pytest.mark.parametrize("row", PAPER)
def test_every_row_trains_its_tokenizer_as_the_paper_does(row: str, registry: Registry) -> None:
    found = experiment(row, registry)
    training = found.tokenizer_training
    assert (training.l1_weight, training.l2_weight) == (1.0, 0.0)
    assert training.batch_size == 256
    assert training.ema_half_life_steps == 1000
    assert training.precision == "bfloat16"
    epochs = 200 if row.startswith("prologue-l-") else 150
    assert training.steps == pytest.approx(epochs * IMAGES / 256, rel=2e-3)
    rate = {
        "learning_rate": 1e-4,
        "final_fraction": 0.1,
        "warmup_steps": 20000,
        "flat_steps": 100000,
    }
    assert training.autoencoder == Optimisation(**rate, betas=(0.0, 0.99))
    assert training.prior_optimisation == Optimisation(**rate, betas=(0.9, 0.99), weight_decay=0.03)
    assert training.loss_optimisation == Optimisation(**rate, betas=(0.0, 0.99), weight_decay=1e-4)


@pytest.mark.parametrize("row", PAPER)
def test_every_row_has_its_perceptual_loss_at_weight_one_and_a_regularised_discriminator(
    row: str, registry: Registry
) -> None:
    found = losses(experiment(row, registry))
    perceptual = "convnext-logits" if row.startswith("prologue-l-") else "lpips"
    assert set(found) == {perceptual, "patchgan"}
    assert found[perceptual].weight == 1.0
    gan = found["patchgan"]
    assert (gan.weight, gan.kind, gan.start_step) == (0.1, "vanilla", 0)
    assert (gan.lecam_weight, gan.r1_weight, gan.r1_every_steps) == (0.001, 0.01, 25)


@pytest.mark.parametrize("row", PAPER)
def test_the_joint_model_is_small_but_where_it_is_the_generator(
    row: str, registry: Registry
) -> None:
    prior = experiment(row, registry).prior.settings
    size = prior.transformer
    expected = (768, 12, 12) if row == "prologue-onestage" else (512, 7, 8)
    assert (size.width, size.layers, size.heads) == expected
    assert size.dropout == 0.0
    assert not prior.tied


@pytest.mark.parametrize("row", PAPER)
def test_every_row_trains_its_generator_as_the_paper_does(row: str, registry: Registry) -> None:
    found = experiment(row, registry)
    training = found.generator_training
    if row == "prologue-onestage":
        assert training.joint
        assert found.tokenizer_training.prior_labels
        assert found.tokenizer_training.label_dropout == 0.1
        return
    large = row.endswith(("-l", "-xl"))
    epochs, batch = (800, 2048) if large else (400, 512)
    assert training.batch_size == batch
    assert training.steps == pytest.approx(epochs * IMAGES / batch, rel=2e-3)
    optimisation = training.optimisation
    assert optimisation.warmup_steps == training.steps / 8
    assert optimisation.learning_rate * optimisation.final_fraction == pytest.approx(1e-5)
    assert (optimisation.betas, optimisation.weight_decay, optimisation.clip_norm) == (
        (0.9, 0.96),
        0.03,
        1.0,
    )
    assert training.label_dropout == 0.1
    assert found.generator.settings.transformer.dropout == 0.1


@pytest.mark.parametrize("row", [row for row in PAPER if row.startswith("prologue-")])
def test_the_prologue_learns_with_weight_three_from_every_target(
    row: str, registry: Registry
) -> None:
    settings = experiment(row, registry).tokenizer.settings
    assert (settings.ce_weight, settings.visual_dropout, settings.visual_ce_weight) == (
        3.0,
        0.5,
        0.0,
    )
    assert settings.ce_target_weights == {}
    assert (
        settings.commitment,
        settings.straight_through,
        settings.straight_through_temperature,
    ) == (
        0.25,
        "softmax",
        0.1,
    )
    assert (settings.prologue_tokens, settings.prologue_codebook, settings.code_width) == (
        16,
        1024,
        14,
    )
    assert settings.visual_codebook == (4096 if row.startswith("prologue-l-") else 16384)


SAMPLING = {
    # prologue scale, visual scale, visual power; prologue temperature, visual temperature
    "prologue-b-b": (0.7, 3.75, 0.2, 0.7, 0.9),
    "prologue-b-l": (0.8, 3.0, 0.225, 0.7, 0.9),
    "prologue-b-xl": (0.8, 2.75, 0.25, 0.8, 0.9),
    "prologue-l-b": (0.65, 2.75, 0.25, 0.8, 0.95),
    "prologue-l-l": (0.7, 2.5, 0.25, 0.95, 0.9),
    "prologue-l-xl": (0.7, 2.25, 0.225, 1.0, 0.9),
    "prologue-post": (0.6, 3.75, 0.25, 0.8, 0.8),
    "prologue-onestage": (0.8, 3.75, 0.25, 0.8, 0.8),
}


@pytest.mark.parametrize("row", PAPER)
def test_every_row_samples_with_the_published_settings(row: str, registry: Registry) -> None:
    path = ROOT / "ablations" / "paper" / f"{row}.yaml"
    guided, unguided = (each.sampling for each in load_ablation(path, registry).experiments)
    assert guided.samples == unguided.samples == 50000
    assert guided.temperature == 1.0
    assert not unguided.guidance
    if row in SAMPLING:
        prologue, visual = guided.guidance_of("prologue"), guided.guidance_of("visual")
        assert (prologue.schedule, visual.schedule, visual.start) == ("constant", "cosine", 1.0)
        temperatures = unguided.temperature_of("prologue"), unguided.temperature_of("visual")
        assert (prologue.scale, visual.scale, visual.power, *temperatures) == SAMPLING[row]
        return
    (schedule,) = guided.guidance.values()
    assert list(guided.guidance) == ["all"]
    assert (schedule.schedule, schedule.scale, schedule.power) == {
        "1d": ("cosine", 19.0, 1.75),
        "2d": ("cosine", 10.0, 1.5),
    }[row]
    assert unguided.temperature_of("visual") == 0.85


def test_rows_with_a_published_is_precision_and_recall_measure_them(registry: Registry) -> None:
    rows = yaml_values.read((ROOT / "registry" / "references" / "imagenet-256.yaml").read_text())[
        "rows"
    ]
    for row in PAPER:
        metrics = {metric.name: metric.settings for metric in experiment(row, registry).metrics}
        assert {"rfid", "gfid"} <= set(metrics)
        published = rows[row]["values"][4:] != [None] * 3
        assert ({"inception-score", "precision-recall"} <= set(metrics)) == published, row
        assert all(settings.extractor == "inception-v3-compat" for settings in metrics.values())


CARDS = [
    path
    for folder in ("recipes", "profiles")
    for path in sorted((ROOT / "registry" / folder).glob("*.yaml"))
]


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_no_card_has_an_l2_that_the_paper_has_not(path: Path) -> None:
    training = yaml_values.read(path.read_text()).get("tokenizer_training", {})
    assert "l2_weight" not in training
    assert TokenizerTraining().l2_weight == 0.0
