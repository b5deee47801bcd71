"""Perceptual losses: distances between what frozen networks see in images and reconstructions."""

from __future__ import annotations

import hashlib
import warnings
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from prologue_bench.contracts import ImageSpec, ReconstructionLoss
from prologue_bench.errors import UserError
from prologue_plugins.layers.transformer import full_precision
from prologue_plugins.losses.settings import (
    CONVNEXT,
    VGG,
    ConvNextLogitsSettings,
    LpipsSettings,
    PerceptualSettings,
)
from prologue_plugins.losses.weights import check_classifier, load_classifier
from prologue_plugins.metrics.extractors import EXTRACTORS, check_channels

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""What torchvision's classifiers expect of RGB images in [0, 1]."""
SHORTEST = 1e-3
"""Length below which the channels of a pixel are not scaled to 1; those of images are a hundred
times as long."""
VGG_SMALLEST = 16
"""Pixels of an edge, one of which is left after four poolings."""


class _Frozen:
    """A network outside of the model's state: not trained, not averaged, not in checkpoints."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def to(self, like: Tensor) -> nn.Module:
        """The network on a tensor's device."""
        self.network = self.network.to(like.device)
        return self.network

    def __deepcopy__(self, memo: object) -> _Frozen:
        return self


class Lpips(ReconstructionLoss):
    """LPIPS (Zhang et al. 2018), version 0.1 over VGG-16."""

    learns = False

    def __init__(self, settings: LpipsSettings, images: ImageSpec) -> None:
        super().__init__()
        self.weight = settings.weight
        self._frozen = _Frozen(lpips_network(settings.weights, "loss 'lpips'")[0])

    @classmethod
    def check(cls, settings: LpipsSettings, images: ImageSpec) -> None:
        check_lpips(settings.weights, images, "loss 'lpips'")

    def forward(self, reconstruction: Tensor, images: Tensor, step: int) -> dict[str, Tensor]:
        distance = self._frozen.to(images)
        return {"distance": self.weight * distance(rgb(reconstruction), rgb(images)).mean()}


class Perceptual(ReconstructionLoss):
    """LPIPS's distance (Zhang et al. 2018, eq. 1, all weights 1) over another classifier's maps.

    The squared distance of the channels of each pixel, scaled to length 1; the mean over pixels;
    the sum over maps. The classifiers are those of the metrics that need no download.
    """

    learns = False

    def __init__(self, settings: PerceptualSettings, images: ImageSpec) -> None:
        super().__init__()
        self.check(settings, images)
        self.settings = settings
        module = import_module(EXTRACTORS[settings.extractor].target.split(":")[0])
        network = module.trained().requires_grad_(False)
        # Channels that lie side by side are summed in two thirds of the time, on a CPU.
        self._frozen = _Frozen(network.to(memory_format=torch.channels_last))

    @classmethod
    def check(cls, settings: PerceptualSettings, images: ImageSpec) -> None:
        check_channels(settings.extractor, images.channels, "loss 'perceptual': extractor")

    def forward(self, reconstruction: Tensor, images: Tensor, step: int) -> dict[str, Tensor]:
        with torch.no_grad():
            expected = self._maps(images)
        distances = [
            distance_of_directions(one, other).mean()
            for one, other in zip(self._maps(reconstruction), expected, strict=True)
        ]
        return {"distance": self.settings.weight * torch.stack(distances).sum()}

    def _maps(self, images: Tensor) -> list[Tensor]:
        """The network's maps [B, C, h, w].

        In float32: nearly equal directions are taken from one another.
        """
        size = EXTRACTORS[self.settings.extractor].size or self.settings.resize
        if images.shape[-2:] != (size, size):
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
        network: Any = self._frozen.to(images)
        with full_precision(images):
            maps: list[Tensor] = network.maps(images.float())
        return maps


def distance_of_directions(one: Tensor, other: Tensor) -> Tensor:
    """Squared distances [B, h, w] of two maps' channels [B, C, h, w], each scaled to length 1.

    By their products, which takes half of the time of scaling them.
    """
    squares = [(each * each).sum(dim=1) for each in (one, other)]
    scales = [each.clamp_min(SHORTEST**2).rsqrt() for each in squares]
    lengths = [square * scale**2 for square, scale in zip(squares, scales, strict=True)]
    return lengths[0] + lengths[1] - 2 * (one * other).sum(dim=1) * scales[0] * scales[1]


def check_lpips(weights: str, images: ImageSpec, owner: str) -> None:
    """Raises UserError, on behalf of the owner, where LPIPS of such images cannot be had.

    Nothing is loaded.
    """
    check_colours(images, owner)
    if min(images.height, images.width) < VGG_SMALLEST:
        raise UserError(
            f"{owner}: found images of {images.height} x {images.width} pixels, "
            f"expected at least {VGG_SMALLEST} x {VGG_SMALLEST}, "
            "since VGG-16 halves them four times"
        )
    check_classifier(models.vgg16, models.VGG16_Weights.IMAGENET1K_V1, VGG, weights, owner)


def check_colours(images: ImageSpec, owner: str) -> None:
    """Raises UserError for images that are neither grey nor RGB."""
    if images.channels not in (1, 3):
        raise UserError(
            f"{owner}: found images of {images.channels} channels, expected grey or RGB"
        )


def lpips_network(weights: str, owner: str) -> tuple[nn.Module, str]:
    """LPIPS 0.1 over torchvision's VGG-16, and a checksum.

    It takes two RGB batches in [-1, 1] [B, 3, H, W] to [B, 1, 1, 1]. Raises UserError, on behalf of
    the owner, where the weights cannot be had.
    """
    import lpips

    vgg = load_classifier(models.vgg16, models.VGG16_Weights.IMAGENET1K_V1, VGG, weights, owner)
    with warnings.catch_warnings():  # the package calls torchvision in a way that it has given up
        warnings.simplefilter("ignore", UserWarning)
        distance: nn.Module = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    _fill_vgg_slices(distance.get_submodule("net"), vgg)
    digest = hashlib.sha256()
    for tensor in distance.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return distance.eval().requires_grad_(False), digest.hexdigest()[:16]


def _fill_vgg_slices(slices: nn.Module, vgg: nn.Module) -> None:
    """Give the package's VGG, cut into slices named by layer, the weights of torchvision's."""
    state = slices.state_dict()
    for name in state:
        layer, kind = name.split(".")[-2:]
        state[name] = vgg.state_dict()[f"features.{layer}.{kind}"]
    slices.load_state_dict(state)


class ConvNextLogits(ReconstructionLoss):
    """Mean squared distance between the logits of a ConvNeXt-S (Liu et al. 2022) at 224 pixels."""

    learns = False

    def __init__(self, settings: ConvNextLogitsSettings, images: ImageSpec) -> None:
        super().__init__()
        self.weight = settings.weight
        self._frozen = _Frozen(
            load_classifier(
                models.convnext_small,
                models.ConvNeXt_Small_Weights.IMAGENET1K_V1,
                CONVNEXT,
                settings.weights,
                "loss 'convnext-logits'",
            )
        )

    @classmethod
    def check(cls, settings: ConvNextLogitsSettings, images: ImageSpec) -> None:
        owner = "loss 'convnext-logits'"
        check_colours(images, owner)
        weights = models.ConvNeXt_Small_Weights.IMAGENET1K_V1
        check_classifier(models.convnext_small, weights, CONVNEXT, settings.weights, owner)

    def forward(self, reconstruction: Tensor, images: Tensor, step: int) -> dict[str, Tensor]:
        with torch.no_grad():
            expected = self._logits(images)
        return {"distance": self.weight * F.mse_loss(self._logits(reconstruction), expected)}

    def _logits(self, images: Tensor) -> Tensor:
        resized = F.interpolate(
            rgb(images), size=(224, 224), mode="bilinear", align_corners=False, antialias=True
        )
        mean, std = (
            resized.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD)
        )
        logits: Tensor = self._frozen.to(images)(((resized + 1) / 2 - mean) / std)
        return logits


def rgb(images: Tensor) -> Tensor:
    """Grey images with their channel three times."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
