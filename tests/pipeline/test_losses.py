"""Perceptual and adversarial losses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
import torch.nn.functional as F

from prologue_bench.config.ablation import Ablation
from prologue_bench.contracts import to_float
from prologue_bench.errors import UserError
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.storage.checksums import fingerprint
from prologue_bench.storage.store import Store
from prologue_plugins.losses.perceptual import Lpips, Perceptual, distance_of_directions
from prologue_plugins.losses.settings import LpipsSettings, PerceptualSettings
from prologue_plugins.metrics.extractors import fashion_mnist_cnn, weights_of
from prologue_plugins.metrics.extractors.efficientnet_lite0 import EfficientNetLite0Extractor
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


def perceptual(**settings: Any) -> Perceptual:
    return Perceptual(PerceptualSettings(**settings), IMAGES)


def test_the_perceptual_distance_is_that_of_the_directions_of_each_pixels_channels() -> None:
    model = fashion_mnist_cnn.trained()
    torch.manual_seed(0)
    one, other = 2 * torch.rand(2, 3, 1, 28, 28) - 1
    grey = attrs.evolve(IMAGES, channels=1, height=28, width=28)
    loss = Perceptual(PerceptualSettings(extractor="fashion-mnist-cnn", weight=2.0), grey)
    with torch.no_grad():
        # The squared distance of two vectors of length 1 is 2 - 2 cos.
        expected = sum(
            (2 - 2 * F.cosine_similarity(each, with_it, dim=1)).mean()
            for each, with_it in zip(model.maps(one), model.maps(other), strict=True)
        )
        found = loss(one, other, 0)["distance"]
    assert float(found) == pytest.approx(2 * float(expected), rel=1e-5)


def test_the_perceptual_loss_teaches_the_reconstruction_and_has_no_state() -> None:
    loss = perceptual(resize=32)
    reconstruction, images = pair()
    assert float(loss(images, images, 0)["distance"]) == pytest.approx(0, abs=1e-5)
    loss(reconstruction, images, 0)["distance"].backward()
    assert reconstruction.grad is not None
    assert reconstruction.grad.isfinite().all()
    assert reconstruction.grad.any()
    assert list(loss.parameters()) == []
    assert loss.state_dict() == {}


def test_the_perceptual_loss_sees_what_the_metrics_see() -> None:
    extractor = EfficientNetLite0Extractor("efficientnet-lite0", ["1280"], resize=64)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    last = extractor.model.maps(to_float(images))[-1]
    with torch.inference_mode():
        features = extractor.model.head(last).clamp(0, 6).mean(dim=(2, 3))
        (expected,) = extractor(images)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


def test_channels_that_are_all_zero_have_no_distance_and_no_gradient_that_is_not_finite() -> None:
    nothing = torch.zeros(1, 4, 2, 2, requires_grad=True)
    distance = distance_of_directions(nothing, torch.zeros(1, 4, 2, 2))
    distance.sum().backward()
    assert distance.eq(0).all()
    assert nothing.grad is not None
    assert nothing.grad.isfinite().all()


def test_flat_images_have_a_perceptual_gradient_too() -> None:
    reconstruction = torch.zeros(1, 3, 32, 32, requires_grad=True)
    perceptual()(reconstruction, torch.zeros(1, 3, 32, 32), 0)["distance"].backward()
    assert reconstruction.grad is not None
    assert reconstruction.grad.isfinite().all()


def test_the_perceptual_distance_is_measured_in_float32_whatever_the_training_is_in() -> None:
    _, images = pair()
    near = images + 0.003 * torch.randn_like(images)
    exact = float(perceptual()(near, images, 0)["distance"])
    with torch.autocast("cpu", torch.bfloat16):
        assert float(perceptual()(near, images, 0)["distance"]) == pytest.approx(exact, rel=1e-4)


def test_a_classifier_of_clothes_takes_no_colours() -> None:
    message = "^loss 'perceptual': extractor: found images of 3 channels, expected 1, which fashion"
    with pytest.raises(UserError, match=message):
        perceptual(extractor="fashion-mnist-cnn")


@pytest.mark.parametrize(
    ("name", "digits"),
    [("fashion-mnist-cnn", "264b6bd69c5b7cbf"), ("efficientnet-lite0", "579344248a93e230")],
)
def test_other_weights_of_a_classifier_need_a_new_version_of_the_perceptual_loss(
    name: str, digits: str
) -> None:
    # The key of a training holds the loss's version, and not the content of these files.
    assert fingerprint(weights_of(name)) == digits
    assert Registry.load().find("loss", "perceptual").version == 1
