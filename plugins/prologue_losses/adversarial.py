"""A patch discriminator (Isola et al. 2017) and what the tokenizer learns from it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from prologue_bench.interfaces import ImageSpec, ReconstructionLoss
from prologue_losses.settings import PatchGanSettings

LECAM_DECAY = 0.999
"""Of the moving averages of the discriminator's outputs (Tseng et al. 2021, section 4)."""


class PatchGan(ReconstructionLoss):
    """Adversarial loss of reconstructions, and the losses of the discriminator.

    Tokenizer and discriminator learn in one backward pass: the tokenizer's loss goes through a copy of the
    discriminator without gradients for its weights, the discriminator's sees detached reconstructions.
    """

    def __init__(self, settings: PatchGanSettings, images: ImageSpec) -> None:
        super().__init__()
        self.settings = settings
        self.discriminator = patch_discriminator(images.channels, settings.width, settings.layers)
        self.register_buffer("real_average", torch.zeros(()))
        self.register_buffer("fake_average", torch.zeros(()))
        self.real_average: Tensor
        self.fake_average: Tensor

    def forward(self, reconstruction: Tensor, images: Tensor, step: int) -> dict[str, Tensor]:
        active = float(step >= self.settings.start_step)
        frozen = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        fooled = functional_call(self.discriminator, frozen, reconstruction)
        real, fake = self.discriminator(torch.cat((images, reconstruction.detach()))).chunk(2)
        losses = {
            "generator": active * self.settings.weight * self._generator_loss(fooled),
            "discriminator": active * discriminator_loss(real, fake, self.settings.kind),
        }
        if self.settings.lecam_weight:
            losses["lecam"] = active * self.settings.lecam_weight * self._lecam(real, fake)
        return losses

    def _generator_loss(self, fooled: Tensor) -> Tensor:
        return -fooled.mean() if self.settings.kind == "hinge" else F.softplus(-fooled).mean()

    def _lecam(self, real: Tensor, fake: Tensor) -> Tensor:
        """Pulls each output towards the moving average of the other kind's (Tseng et al. 2021, eq. 4)."""
        with torch.no_grad():
            self.real_average.lerp_(real.mean(), 1 - LECAM_DECAY)
            self.fake_average.lerp_(fake.mean(), 1 - LECAM_DECAY)
        loss: Tensor = (real - self.fake_average).square().mean() + (fake - self.real_average).square().mean()
        return loss


def discriminator_loss(real: Tensor, fake: Tensor, kind: str) -> Tensor:
    """Of outputs for images and reconstructions, lower where the former are higher; averaged over both."""
    if kind == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


def patch_discriminator(channels: int, width: int, layers: int) -> nn.Sequential:
    """Convolutions of size 4 to one output a patch; the width doubles with each stride up to eightfold.

    Group norms take the place of batch norms, whose statistics would depend on how a batch is spread over processes.
    """
    modules: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    before = width
    for layer in range(1, layers + 1):
        after = width * min(2**layer, 8)
        stride = 2 if layer < layers else 1
        norm = nn.GroupNorm(min(32, after), after)
        modules += [nn.Conv2d(before, after, 4, stride, 1, bias=False), norm, nn.LeakyReLU(0.2)]
        before = after
    modules.append(nn.Conv2d(before, 1, 4, 1, 1))
    discriminator = nn.Sequential(*modules)
    for module in discriminator:
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.02)
    return discriminator
