"""Settings of the metrics."""

from __future__ import annotations

from typing import Any, Literal, Self

import attrs
from attrs import field, frozen, validators

from prologue_bench.contracts import PublishedFile, external_file, unread
from prologue_bench.storage.checksums import fingerprint
from prologue_plugins.metrics.extractors import (
    EXTRACTORS,
    INCEPTION_NAME,
    ExtractorName,
    weights_of,
)

MOST = 10**6
"""Limit on images, repeats and the like: far more than anyone measures."""
INCEPTION = PublishedFile("weights-inception-2015-12-05-6726825d.pth", variable="INCEPTION_WEIGHTS")
"""Under its name at github.com/toshas/torch-fidelity/releases."""


def extractor_weights(settings: Any, named: str) -> str:
    """What stands in keys for the weights that an extractor reads."""

    def one(extractor: str, named: str = "") -> str:
        if extractor == INCEPTION_NAME:
            return INCEPTION.identity(named)
        return fingerprint(weights_of(extractor))

    beside = getattr(settings, "beside", ())
    return " ".join([one(settings.extractor, named), *map(one, beside)])


@frozen(kw_only=True)
class FeatureSettings:
    """How images become features."""

    extractor: ExtractorName = "efficientnet-lite0"
    resize: int = field(default=64, validator=[validators.ge(32), validators.le(2048)])
    """Edge in pixels at which efficientnet-lite0 sees the images; inception-v3-compat always
    resizes to 299, fashion-mnist-cnn to 28."""
    layer: str = ""
    """The extractor's layer; empty takes the one that Fréchet distances are measured on."""
    weights: str = external_file(extractor_weights)
    """File of inception-v3-compat's weights; empty looks at $INCEPTION_WEIGHTS and in torch's
    cache, and then fetches them from torch-fidelity's releases."""

    def as_read(self) -> Self:
        """Some extractors have a size of their own."""
        return self if EXTRACTORS[self.extractor].size is None else unread(self, "resize")


@frozen(kw_only=True)
class DistanceSettings(FeatureSettings):
    """Fréchet distances, over one extractor's features or over those of several."""

    few_samples: Literal["error", "shrink"] = "error"
    """What to do if there are no more images than features: refuse, or shrink the covariance; the
    protocol then says so."""
    beside: tuple[ExtractorName, ...] = ()
    """Extractors over whose features to measure as well, unless they cannot see such images; these
    numbers are named after them, such as rfid_fashion_mnist_cnn."""

    def as_read(self) -> Self:
        """Each extractor counts once."""
        others = dict.fromkeys(each for each in self.beside if each != self.extractor)
        return attrs.evolve(super().as_read(), beside=tuple(others))

    def by_extractor(self, channels: int) -> list[tuple[str, Self]]:
        """The settings for each extractor alone, with what its numbers' names end in."""
        alone = attrs.evolve(self, beside=())
        return [
            ("", alone),
            *(
                (
                    f"_{each.replace('-', '_')}",
                    attrs.evolve(alone, extractor=each, layer="", weights=""),
                )
                for each in self.as_read().beside
                if channels in EXTRACTORS[each].channels
            ),
        ]


@frozen(kw_only=True)
class FidSettings(DistanceSettings):
    """What samples or reconstructions are compared with."""

    reference: str = external_file()
    """An .npz with mu and sigma, such as ADM's reference batch; empty takes the test images."""
    images: int = field(default=0, validator=[validators.ge(0), validators.le(MOST)])
    """Measure only this many of the samples or reconstructions, equally many of every class; 0
    measures all."""
    extrapolate: bool = False
    """Also give the distance for infinitely many samples, free of the bias that few have."""


@frozen(kw_only=True)
class InceptionScoreSettings(FeatureSettings):
    """Over the logits of Inception-v3."""

    extractor: Literal["inception-v3-compat"] = "inception-v3-compat"
    layer: str = "logits_unbiased"
    splits: int = field(default=10, validator=[validators.ge(1), validators.le(MOST)])


@frozen(kw_only=True)
class KidSettings(FeatureSettings):
    """Means over random subsets."""

    subsets: int = field(default=100, validator=[validators.ge(1), validators.le(MOST)])
    subset_size: int = field(default=1000, validator=[validators.ge(2), validators.le(MOST)])
    seed: int = field(default=0, validator=validators.ge(0))


@frozen(kw_only=True)
class PrecisionRecallSettings(FeatureSettings):
    """Nearest neighbours among the images of each set."""

    neighbours: int = field(default=3, validator=[validators.ge(1), validators.le(MOST)])
    images: int = field(default=10000, validator=[validators.ge(2), validators.le(MOST)])
    """At most this many of each set, equally many of every class."""


@frozen(kw_only=True)
class DensityCoverageSettings(PrecisionRecallSettings):
    """The same, with the number of neighbours of its authors."""

    neighbours: int = field(default=5, validator=[validators.ge(1), validators.le(MOST)])


def _rising(instance: object, attribute: attrs.Attribute[Any], value: tuple[int, ...]) -> None:
    if list(value) != sorted(set(value)) or min(value, default=0) < 0:
        raise ValueError(f"{attribute.name!r} must be different numbers that rise: {list(value)}")


@frozen(kw_only=True)
class LayoutSettings(FeatureSettings):
    """Groups of samples that share their first tokens, or others."""

    positions: tuple[int, ...] = field(default=(), validator=_rising)
    """Which tokens are shared, counted from 0, all in one set. Without these, they are the first n,
    for the lengths of the variants' leading segments."""
    segment: str = ""
    """The segment that positions are counted in, of which all tokens are shared without any; empty
    counts in the whole sequence, so that variants without the segment can be compared."""
    groups_per_class: int = field(default=8, validator=[validators.ge(2), validators.le(MOST)])
    group_size: int = field(default=4, validator=[validators.ge(2), validators.le(MOST)])
    lowpass: int = field(default=7, validator=[validators.ge(1), validators.le(MOST)])
    """Edge in pixels to which images are averaged down."""
    seed: int = field(default=0, validator=validators.ge(0))


@frozen(kw_only=True)
class AttentionSettings:
    """Attention over some of the test images."""

    images: int = field(default=500, validator=[validators.ge(1), validators.le(MOST)])
    """At most so many, equally many of every class."""


@frozen(kw_only=True)
class ElboSettings:
    """Likelihood of an image given its reconstruction, with one scale fitted to the test images."""

    likelihood: Literal["laplace", "gaussian"] = "laplace"


def _strengths(instance: object, attribute: attrs.Attribute[Any], value: tuple[float, ...]) -> None:
    if not value or min(value) <= 0:
        raise ValueError(f"{attribute.name!r} must be numbers > 0: {list(value)}")


@frozen(kw_only=True)
class ProbeSettings:
    """Linear models of one-hot tokens."""

    inverse_regularisation: tuple[float, ...] = field(
        default=(0.01, 0.1, 1.0), validator=_strengths
    )
    """Values of scikit-learn's C to choose from; ridge regression's alpha is 1 / C."""
    validation_share: float = field(default=0.2, validator=[validators.gt(0), validators.lt(1)])
    """Share of the images that C is chosen with, in the classes' proportions, on which it is
    validated; the classifier then learns from all."""
    selection_images: int = field(default=5000, validator=[validators.ge(2), validators.le(MOST)])
    """At most so many training images, equally many of every class, are used to choose C."""
    train_images: int = field(default=20000, validator=[validators.ge(1), validators.le(MOST)])
    """At most so many training images, equally many of every class."""


@frozen(kw_only=True)
class CodingSpeedSettings:
    """The best of several repeats, which other work on the machine disturbs least."""

    images: int = field(default=32, validator=[validators.ge(1), validators.le(MOST)])
    """Of the test split, equally many of every class, encoded and decoded as one batch."""
    repeats: int = field(default=3, validator=[validators.ge(1), validators.le(MOST)])


@frozen(kw_only=True)
class SpeedSettings:
    """The best of several repeats, which other work on the machine disturbs least."""

    images: int = field(default=250, validator=[validators.ge(1), validators.le(MOST)])
    """Drawn and decoded as one batch."""
    repeats: int = field(default=3, validator=[validators.ge(1), validators.le(MOST)])
