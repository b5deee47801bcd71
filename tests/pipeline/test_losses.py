"""Perceptual and adversarial losses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from prologue_plugins.losses.perceptual import Lpips
from prologue_plugins.losses.settings import LpipsSettings
from tests.conftest import Recorder
from tests.factories.models import IMAGES


def test_a_tokenizer_trains_with_an_adversarial_loss(
    load: Callable[..., Ablation], store: Store, recorder: Recorder
) -> None:
    ablation = load(
        "vary.tokenizer.prologue_tokens=[2]",
        "baseline=null",
        "tokenizer_training.losses=[{use: patchgan, width: 8, layers: 1, start_step: 5}]",
    )
    plan = make_plan(ablation, Workspace(store))
    assert execute(plan, Workspace(store), recorder, lambda: False).failures == {}
    curves = (store.get(plan.pipelines[0].tokenizer.key) / "curves.jsonl").read_text()
    assert "loss_patchgan/discriminator" in curves
    weights = (store.get(plan.pipelines[0].tokenizer.key) / "tokenizer.safetensors").read_bytes()
    assert b"discriminator" not in weights


def pair(size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(2, 3, size, size, requires_grad=True), torch.rand(2, 3, size, size)


def test_lpips_is_zero_for_equal_images_teaches_the_reconstruction_and_has_no_state(
    random_vgg: Path,
) -> None:
    loss = Lpips(LpipsSettings(weights=str(random_vgg)), IMAGES)
    reconstruction, images = pair()
    assert float(loss(images, images, 0)["distance"]) == pytest.approx(0, abs=1e-6)
    loss(reconstruction, images, 0)["distance"].backward()
    assert reconstruction.grad is not None
    assert list(loss.parameters()) == []
    assert loss.state_dict() == {}
