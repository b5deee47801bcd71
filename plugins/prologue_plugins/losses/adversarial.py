"""A patch discriminator (Isola et al. 2017) and what the tokenizer learns from it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from prologue_bench.contracts import ImageSpec, ReconstructionLoss
from prologue_bench.errors import UserError
from prologue_bench.training import distributed
from prologue_plugins.layers.transformer import full_precision
from prologue_plugins.losses.settings import PatchGanSettings, group_count, layer_widths

LECAM_DECAY = 0.999
"""Of the moving averages of the discriminator's outputs (Tseng et al. 2021, section 4)."""


class PatchGan(ReconstructionLoss):
    """Adversarial loss of reconstructions, and the losses of the discriminator.

    Tokenizer and discriminator learn in one backward pass: the tokenizer's loss goes through a copy
    of the discriminator without gradients for its weights, the discriminator's sees detached
    reconstructions.
    """

    def __init__(self, settings: PatchGanSettings, images: ImageSpec) -> None:
        super().__init__()
        self.settings = settings
        _check_size(settings, images)
        self.discriminator = patch_discriminator(images.channels, settings.width, settings.layers)
        self.averages = OutputAverages()

    def forward(self, reconstruction: Tensor, images: Tensor, step: int) -> dict[str, Tensor]:
        settings = self.settings
        active = float(step >= settings.start_step)
        frozen = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        fooled = functional_call(self.discriminator, frozen, reconstruction)
        real, fake = self.discriminator(torch.cat((images, reconstruction.detach()))).chunk(2)
        losses = {
            "generator": active * settings.weight * generator_loss(fooled, settings.kind),
            "discriminator": active * discriminator_loss(real, fake, settings.kind),
        }
        if settings.lecam_weight:
            losses["lecam"] = active * settings.lecam_weight * self._lecam(real, fake, step)
        if (
            settings.r1_weight
            and active
            and (step - settings.start_step + 1) % settings.r1_every_steps == 0
        ):
            losses["r1"] = settings.r1_weight * gradient_penalty(self.discriminator, images)
        return losses

    def _lecam(self, real: Tensor, fake: Tensor, step: int) -> Tensor:
        """Pulls back each output beyond the other kind's average (Tseng et al. 2021, eq. 4).

        The rectifiers are those of the method's implementation: an image may be rated below the
        average reconstruction, and a reconstruction above the average image.
        """
        real_average, fake_average = self.averages(step)
        if step >= self.settings.start_step:
            self.averages.note(real, fake)
        loss: Tensor = (
            F.relu(real - fake_average).square().mean()
            + F.relu(real_average - fake).square().mean()
        )
        return loss


class OutputAverages(nn.Module):
    """Moving averages of the discriminator's outputs for images and reconstructions, of past steps.

    One update per step, with the mean over all processes and all parts of the batch, so that
    neither number matters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("averages", torch.zeros(2))
        self.register_buffer("sums", torch.zeros(3))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.averages: Tensor
        self.sums: Tensor
        """Of the outputs' means over the parts of the present step's batch, and how many parts
        there were."""
        self.step: Tensor

    @torch.no_grad()
    def forward(self, step: int) -> tuple[Tensor, Tensor]:
        """Both averages before a step, scalars; what the step before noted enters them now."""
        if step != int(self.step):
            if float(self.sums[2]):
                means = distributed.mean({"outputs": self.sums[:2] / self.sums[2]})["outputs"]
                self.averages.lerp_(means, 1 - LECAM_DECAY)
                self.sums.zero_()
            self.step.fill_(step)
        # Copies: the averages change in place before the backward pass of a batch in parts.
        real, fake = self.averages.clone()
        return real, fake

    @torch.no_grad()
    def note(self, real: Tensor, fake: Tensor) -> None:
        """Remember the outputs of one part of the batch."""
        self.sums += torch.stack((real.float().mean(), fake.float().mean(), self.sums.new_ones(())))


def generator_loss(fooled: Tensor, kind: str) -> Tensor:
    """What a tokenizer learns from the outputs for its reconstructions."""
    return -fooled.mean() if kind == "hinge" else F.softplus(-fooled).mean()


def discriminator_loss(real: Tensor, fake: Tensor, kind: str) -> Tensor:
    """Of outputs for images and reconstructions, lower where the former are higher.

    - vanilla: mean softplus(-real) + mean softplus(fake), the logistic loss of Goodfellow et al.
      2014, eq. 1.
    - hinge: half of mean relu(1 - real) + mean relu(1 + fake), as Esser et al. 2021 train it.
    """
    if kind == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def gradient_penalty(discriminator: nn.Module, images: Tensor) -> Tensor:
    """R1: half of the mean squared norm of the output's gradient (Mescheder et al. 2018, eq. 9).

    The output of an image is the sum over its patches. In float32, as second derivatives of small
    numbers need.
    """
    with full_precision(images), torch.enable_grad():
        inputs = images.detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(inputs).sum(), inputs, create_graph=True)
        penalty: Tensor = gradient.square().sum(dim=(1, 2, 3)).mean() / 2
    return penalty


def _check_size(settings: PatchGanSettings, images: ImageSpec) -> None:
    """Raises UserError for images that are too small for the last layer."""
    edge = smallest = min(images.height, images.width)
    for stride in [2] * settings.layers + [1, 1]:
        edge = (edge - 2) // stride + 1
    if edge < 1:
        raise UserError(
            f"loss 'patchgan': layers: found {settings.layers} of stride 2, "
            f"which images of {smallest} pixels are too small for; expected fewer"
        )


def patch_discriminator(channels: int, width: int, layers: int) -> nn.Sequential:
    """Convolutions of size 4, to one output per patch; strides double the width, up to eightfold.

    Group norms take the place of batch norms, whose statistics would depend on how a batch is
    spread over processes.
    """
    modules: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    before = width
    for layer, after in enumerate(layer_widths(width, layers), start=1):
        stride = 2 if layer < layers else 1
        norm = nn.GroupNorm(group_count(after), after)
        modules += [nn.Conv2d(before, after, 4, stride, 1, bias=False), norm, nn.LeakyReLU(0.2)]
        before = after
    modules.append(nn.Conv2d(before, 1, 4, 1, 1))
    discriminator = nn.Sequential(*modules)
    for module in discriminator:
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.02)
    return discriminator
