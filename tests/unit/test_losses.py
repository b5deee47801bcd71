"""Perceptual and adversarial losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from prologue_bench.contracts import to_float
from prologue_bench.errors import UserError
from prologue_plugins.losses.adversarial import PatchGan, discriminator_loss
from prologue_plugins.losses.lpips_metric import LpipsMetric
from prologue_plugins.losses.perceptual import Lpips
from prologue_plugins.losses.settings import LpipsMetricSettings, LpipsSettings, PatchGanSettings
from tests.factories.measuring import DATA, inputs, noisy
from tests.factories.models import IMAGES


def pair(size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(2, 3, size, size, requires_grad=True), torch.rand(2, 3, size, size)


@pytest.mark.parametrize("kind", ["vanilla", "hinge"])
def test_each_adversarial_loss_reaches_its_own_side_alone(kind: str) -> None:
    torch.manual_seed(0)
    gan = PatchGan(PatchGanSettings(kind=kind, width=8, layers=1), IMAGES)  # type: ignore[arg-type]
    reconstruction, images = pair()
    losses = gan(reconstruction, images, step=0)
    losses["generator"].backward(retain_graph=True)
    assert reconstruction.grad is not None
    assert reconstruction.grad.abs().sum() > 0
    assert all(p.grad is None for p in gan.parameters())
    before = reconstruction.grad.clone()
    (losses["discriminator"] + losses["lecam"]).backward()
    assert torch.equal(reconstruction.grad, before)
    assert all(p.grad is not None for p in gan.parameters())


def test_a_discriminator_that_learns_tells_images_from_reconstructions() -> None:
    torch.manual_seed(0)
    gan = PatchGan(PatchGanSettings(width=8, layers=1), IMAGES)
    optimizer = torch.optim.Adam(gan.parameters(), 1e-2)
    images, reconstruction = torch.rand(8, 3, 16, 16), torch.rand(8, 3, 16, 16) * 0.5
    for step in range(30):
        optimizer.zero_grad()
        loss = gan(reconstruction, images, step)["discriminator"]
        loss.backward()
        optimizer.step()
    assert loss < 0.6


def test_discriminator_losses_match_their_formulas() -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    hinge = ((1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()) / 2
    assert discriminator_loss(real, fake, "hinge") == pytest.approx(float(hinge))
    logistic = -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()
    assert float(discriminator_loss(real, fake, "vanilla")) == pytest.approx(
        float(logistic), abs=1e-6
    )


def test_before_its_start_the_adversarial_loss_is_zero() -> None:
    gan = PatchGan(PatchGanSettings(start_step=10, width=8, layers=1), IMAGES)
    assert all(value.item() == 0 for value in gan(*pair(), step=9).values())
    assert all(value.item() != 0 for value in gan(*pair(), step=10).values())


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


def test_missing_weights_say_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"'weights' must be a file that is there: .*nowhere.pth"):
        LpipsSettings(weights=str(tmp_path / "nowhere.pth"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(
        UserError,
        match=r"are not at .*vgg16-397923af.pth and cannot be fetched .*put https://.* there",
    ):
        Lpips(LpipsSettings(), IMAGES)
    wrong = tmp_path / "wrong.pth"
    torch.save({"a": torch.zeros(1)}, wrong)
    with pytest.raises(UserError, match="does not hold torchvision's vgg16"):
        Lpips(LpipsSettings(weights=str(wrong)), IMAGES)
