"""Settings of the losses, without importing torch."""

from __future__ import annotations

from typing import Any, Literal

import attrs
from attrs import field, frozen, validators

from prologue_bench.contracts import PublishedFile, external_file, unread
from prologue_bench.contracts.external import FILE
from prologue_bench.storage.checksums import fingerprint
from prologue_plugins.metrics.extractors import EXTRACTORS, weights_of

VGG = PublishedFile("vgg16-397923af.pth")
CONVNEXT = PublishedFile("convnext_small-0c510722.pth")
"""Under torchvision's names."""


@frozen(kw_only=True)
class LpipsSettings:
    """Learned perceptual distance."""

    weight: float = field(default=1.0, validator=validators.ge(0))
    weights: str = external_file(lambda settings, named: VGG.identity(named))
    """torchvision's VGG-16 weights; empty looks in torch's cache and then asks torchvision to fetch
    them."""


FIRST_WEIGHTS = {
    "efficientnet-lite0": "579344248a93e230",
    "fashion-mnist-cnn": "264b6bd69c5b7cbf",
}
"""Digests of the weights when `perceptual` came; keys of that time do not hold them."""


def classifier(settings: Any, named: str) -> str | None:
    """What stands in keys for a classifier and its weights; None for the default with its first."""
    default = next(iter(FIRST_WEIGHTS))
    digest = fingerprint(weights_of(named))
    if digest != FIRST_WEIGHTS[named]:
        return f"{named} {digest}"
    return None if named == default else named


@frozen(kw_only=True)
class PerceptualSettings:
    """Distance between what a classifier that needs no download sees."""

    weight: float = field(default=1.0, validator=validators.ge(0))
    extractor: Literal["efficientnet-lite0", "fashion-mnist-cnn"] = field(
        default="efficientnet-lite0", metadata={FILE: classifier}
    )
    """The classifier: of ImageNet, or of Fashion-MNIST. Metrics over the same features see what
    the tokenizer has learnt to please."""
    resize: int = field(default=64, validator=[validators.ge(32), validators.le(2048)])
    """Edge in pixels at which efficientnet-lite0 sees the images; fashion-mnist-cnn always sees
    28."""

    def as_read(self) -> PerceptualSettings:
        """One extractor has a size of its own."""
        return self if EXTRACTORS[self.extractor].size is None else unread(self, "resize")


@frozen(kw_only=True)
class LpipsMetricSettings:
    """The same distance as a metric."""

    weights: str = external_file(lambda settings, named: VGG.identity(named))
    """torchvision's VGG-16 weights; empty looks in torch's cache and then asks torchvision to fetch
    them."""


@frozen(kw_only=True)
class ConvNextLogitsSettings:
    """Distance between a classifier's logits."""

    weight: float = field(default=1.0, validator=validators.ge(0))
    """The paper's is 1 where this takes the place of LPIPS, and 0.1 beside it."""
    weights: str = external_file(lambda settings, named: CONVNEXT.identity(named))
    """torchvision's ConvNeXt-S weights; empty looks in torch's cache and then asks torchvision to
    fetch them."""


def layer_widths(width: int, layers: int) -> list[int]:
    """Channels of the discriminator's layers behind the first: doubled by each up to eightfold."""
    return [width * min(2**layer, 8) for layer in range(1, layers + 1)]


def group_count(channels: int) -> int:
    """Groups of a layer's group norm; they must split its channels evenly."""
    return min(32, channels)


def _fits_groups(instance: PatchGanSettings, attribute: attrs.Attribute[int], value: int) -> None:
    for channels in layer_widths(instance.width, value):
        if channels % group_count(channels):
            raise ValueError(
                "'width' must give each layer fewer than 32 channels or a multiple of 32 for its "
                f"group norm: width {instance.width} gives one of {channels}; such as "
                f"{max(16, instance.width // 16 * 16)}"
            )


@frozen(kw_only=True)
class PatchGanSettings:
    """An adversarial loss and its discriminator."""

    weight: float = field(default=0.1, validator=validators.ge(0))
    kind: Literal["vanilla", "hinge"] = "vanilla"
    """The discriminator's loss: logistic or hinge. The tokenizer's is non-saturating for the
    former, softplus(-output), and the negative output for hinge."""
    start_step: int = field(default=0, validator=validators.ge(0))
    """Before this step neither the discriminator nor the tokenizer learns from it."""
    lecam_weight: float = field(default=0.001, validator=validators.ge(0))
    r1_weight: float = field(default=0.01, validator=validators.ge(0))
    """Weight of half of the squared gradient of the discriminator's output for images; 0 leaves it
    out."""
    r1_every_steps: int = field(default=25, validator=validators.ge(1))
    """The gradient is penalised once in so many steps of the discriminator; its weight does not
    grow with the gaps."""
    width: int = field(default=64, validator=[validators.ge(1), validators.le(4096)])
    """Channels of the first layer."""
    layers: int = field(default=3, validator=[validators.ge(1), validators.le(16), _fits_groups])
    """Layers with stride 2."""

    def as_read(self) -> PatchGanSettings:
        """How often the gradient is penalised counts only where it is."""
        return self if self.r1_weight else unread(self, "r1_every_steps")
