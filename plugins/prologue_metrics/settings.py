"""Settings of the metrics."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen, validators


@frozen(kw_only=True)
class FidSettings:
    """How images become features."""

    extractor: Literal["efficientnet-lite0", "inception-v3-compat"] = "efficientnet-lite0"
    resize: int = field(default=64, validator=validators.ge(32))
    """Edge in pixels to which efficientnet-lite0 sees the images; inception-v3-compat always resizes to 299."""


@frozen(kw_only=True)
class ProbeSettings:
    """Logistic regression on one-hot tokens."""

    inverse_regularisation: float = field(default=1.0, validator=validators.gt(0))
    """scikit-learn's C."""
    train_images: int = field(default=20000, validator=validators.ge(1))
    """At most so many training images."""
