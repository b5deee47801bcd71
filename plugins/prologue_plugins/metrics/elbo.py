"""The evidence lower bound of held-out images, split into distortion and rate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts import Measurement, Metric, MetricInputs, Procedure
from prologue_bench.stats.intervals import half_width
from prologue_plugins.metrics.pixels import each_batch
from prologue_plugins.metrics.rate import bits_per_image, sum_of
from prologue_plugins.metrics.settings import ElboSettings

TRADE = "Rate against distortion, the two terms of the -ELBO"
"""The title of the plot."""
LEVELS = 256


class Elbo(Metric):
    """-ELBO = distortion + rate in bits per dimension, for a deterministic encoder.

    The rate is the generator's; the distortion is the cost of an image given its reconstruction
    under a Laplace or Gaussian likelihood around each pixel, discretised to the 256 levels, whose
    one scale is the likeliest for the test images. A pixel at the end of the range takes the tail
    beyond it.
    """

    needs = ("reconstructions", "tokens", "likelihood")

    def __init__(self, settings: ElboSettings) -> None:
        self.settings = settings

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        scale = fitted_scale(error_histogram(inputs), self.settings.likelihood)
        cost = pixel_bits(scale, self.settings.likelihood)
        distortion = np.concatenate(
            each_batch(inputs, lambda images, found: cost[found, images].mean(axis=(1, 2, 3)))
        )
        rate = sum_of(bits_per_image(inputs)) / inputs.data.spec.dimensions
        count = len(distortion)
        protocol = Procedure(
            name="elbo",
            details={
                "images": f"test split, {count} images",
                "fingerprint": inputs.data.fingerprint,
                "likelihood": (
                    f"{self.settings.likelihood}, discretised, one scale fitted to the test images"
                ),
                "reconstruction": "uint8, rounded",
            },
        )
        return [
            Measurement(
                name=name,
                title=title,
                value=float(values.mean()),
                half_width=half_width(values),
                unit="bits/dim",
                direction="lower",
                count=count,
                protocol=protocol,
                detail=name != "elbo",
                against=against,
            )
            for name, title, values, against in (
                ("elbo", "-ELBO", distortion + rate, {}),
                ("elbo_distortion", "-ELBO, distortion", distortion, {"elbo_rate": TRADE}),
                ("elbo_rate", "-ELBO, rate", rate, {}),
            )
        ]


def error_histogram(inputs: MetricInputs) -> NDArray[Any]:
    """How often each pair (level of the reconstruction, level of the image) occurs: [256, 256]."""

    def counts(images: NDArray[Any], reconstructions: NDArray[Any]) -> NDArray[Any]:
        pairs = reconstructions.astype(np.int64) * LEVELS + images
        return np.bincount(pairs.ravel(), minlength=LEVELS**2)

    total: NDArray[Any] = np.sum(each_batch(inputs, counts), axis=0).reshape(LEVELS, LEVELS)
    return total


def fitted_scale(histogram: NDArray[Any], likelihood: str) -> float:
    """Likeliest scale of the density: mean absolute or root mean squared error, at least 0.1."""
    levels = np.arange(LEVELS)
    errors = np.abs(levels[:, None] - levels[None, :])
    mean = (histogram * (errors if likelihood == "laplace" else errors**2)).sum() / histogram.sum()
    return max(0.1, float(mean if likelihood == "laplace" else math.sqrt(mean)))


def pixel_bits(scale: float, likelihood: str) -> NDArray[Any]:
    """Bits of a pixel given its reconstruction: [256 levels of that, 256 levels of the image]."""
    from scipy.stats import laplace, norm  # half a second, which plans do without

    family = laplace if likelihood == "laplace" else norm
    levels = np.arange(LEVELS)
    edges = np.concatenate(([-np.inf], levels[:-1] + 0.5, [np.inf]))
    cumulative = family.cdf(edges[None, :], loc=levels[:, None], scale=scale)
    bits: NDArray[Any] = -np.log2(np.maximum(np.diff(cumulative, axis=1), 1e-300))
    return bits
