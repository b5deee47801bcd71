"""Settings of the losses, without importing torch."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen, validators

from prologue_bench.spec.settings import HOW_NOT_WHAT


@frozen(kw_only=True)
class LpipsSettings:
    """Learned perceptual distance."""

    weight: float = field(default=1.0, validator=validators.ge(0))
    weights: str = field(default="", metadata=HOW_NOT_WHAT)
    """torchvision's VGG-16 weights; empty looks in torch's cache and then asks torchvision to fetch them."""


@frozen(kw_only=True)
class LpipsMetricSettings:
    """The same distance as a metric."""

    weights: str = field(default="", metadata=HOW_NOT_WHAT)
    """torchvision's VGG-16 weights; empty looks in torch's cache and then asks torchvision to fetch them."""


@frozen(kw_only=True)
class ConvNextLogitsSettings:
    """Distance between a classifier's logits."""

    weight: float = field(default=0.1, validator=validators.ge(0))
    weights: str = field(default="", metadata=HOW_NOT_WHAT)
    """torchvision's ConvNeXt-S weights; empty looks in torch's cache and then asks torchvision to fetch them."""


@frozen(kw_only=True)
class PatchGanSettings:
    """An adversarial loss and its discriminator."""

    weight: float = field(default=0.1, validator=validators.ge(0))
    kind: Literal["vanilla", "hinge", "non-saturating"] = "vanilla"
    """The discriminator's loss: logistic with labels, hinge, or softplus; the first and last differ in nothing but
    the name. The generator's loss is non-saturating for them, and the plain mean for hinge."""
    start_step: int = field(default=0, validator=validators.ge(0))
    """Before this step neither the discriminator nor the tokenizer learns from it."""
    lecam_weight: float = field(default=0.001, validator=validators.ge(0))
    width: int = field(default=64, validator=validators.ge(1))
    """Channels of the first layer."""
    layers: int = field(default=3, validator=validators.ge(1))
    """Layers with stride 2."""
