"""Perceptual and adversarial losses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from prologue_bench.config.ablation import Ablation
from prologue_bench.contracts import to_float
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from prologue_plugins.losses.lpips_metric import LpipsMetric
from prologue_plugins.losses.perceptual import Lpips
from prologue_plugins.losses.settings import LpipsMetricSettings, LpipsSettings
from tests.conftest import Recorder
from tests.factories.measuring import DATA, inputs, noisy
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


@pytest.fixture(scope="module")
def random_vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(models.vgg16(weights=None).state_dict(), path)
    return path


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


def test_lpips_as_a_metric_is_the_mean_of_the_loss(random_vgg: Path, tmp_path: Path) -> None:
    originals = np.asarray(DATA.images("test"))
    changed = noisy(originals, 30)
    metric = LpipsMetric(LpipsMetricSettings(weights=str(random_vgg)))
    found = metric.measure(inputs(tmp_path, reconstructions=changed))[0]
    loss = Lpips(LpipsSettings(weights=str(random_vgg)), IMAGES)
    one, other = (to_float(torch.from_numpy(part)) for part in (changed, originals))
    assert found.value == pytest.approx(float(loss(one, other, 0)["distance"]), rel=1e-5)
    assert found.half_width is not None
    with pytest.raises(ValueError, match=r"'weights' must be a file that is there: nowhere\.pth"):
        LpipsMetricSettings(weights="nowhere.pth")
