"""Settings of the metrics."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen, validators


@frozen(kw_only=True)
class FeatureSettings:
    """How images become features."""

    extractor: Literal["efficientnet-lite0", "inception-v3-compat"] = "efficientnet-lite0"
    resize: int = field(default=64, validator=validators.ge(32))
    """Edge in pixels to which efficientnet-lite0 sees the images; inception-v3-compat always resizes to 299."""


@frozen(kw_only=True)
class FidSettings(FeatureSettings):
    """Fréchet distances have no settings but the features'."""


@frozen(kw_only=True)
class KidSettings(FidSettings):
    """Means over random subsets."""

    subsets: int = field(default=100, validator=validators.ge(1))
    subset_size: int = field(default=1000, validator=validators.ge(2))
    seed: int = 0


@frozen(kw_only=True)
class PrecisionRecallSettings(FidSettings):
    """Nearest neighbours among the first images of each set."""

    neighbours: int = field(default=3, validator=validators.ge(1))
    images: int = field(default=10000, validator=validators.ge(2))


@frozen(kw_only=True)
class DensityCoverageSettings(PrecisionRecallSettings):
    """The same with the neighbours of its authors."""

    neighbours: int = field(default=5, validator=validators.ge(1))


@frozen(kw_only=True)
class LayoutSettings(FeatureSettings):
    """Groups of samples that share their first tokens."""

    groups_per_class: int = field(default=8, validator=validators.ge(2))
    group_size: int = field(default=4, validator=validators.ge(2))
    lowpass: int = field(default=7, validator=validators.ge(1))
    """Edge in pixels to which images are averaged down."""
    seed: int = 0


@frozen(kw_only=True)
class AttentionSettings:
    """Attention over the first test images."""

    images: int = field(default=500, validator=validators.ge(1))


@frozen(kw_only=True)
class ElboSettings:
    """The likelihood of an image given its reconstruction, with one scale fitted to the test images."""

    likelihood: Literal["laplace", "gaussian"] = "laplace"


@frozen(kw_only=True)
class ProbeSettings:
    """Logistic regression on one-hot tokens."""

    inverse_regularisation: float = field(default=1.0, validator=validators.gt(0))
    """scikit-learn's C."""
    train_images: int = field(default=20000, validator=validators.ge(1))
    """At most so many training images."""
