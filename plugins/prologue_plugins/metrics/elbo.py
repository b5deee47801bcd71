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
        scale = likeliest_scale(error_histogram(inputs), self.settings.likelihood)
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
                    f"{self.settings.likelihood}, discretised, "
                    "the one scale that is likeliest for the test images"
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


def likeliest_scale(histogram: NDArray[Any], likelihood: str) -> float:
    """The scale, in levels, with which the images of a histogram take the fewest bits.

    It is searched for, between a tenth of a level and the whole range: where many pixels are black
    or white, which take the tails, it is far from the mean error, the likeliest of the density.
    """
    from scipy.optimize import minimize_scalar

    def bits(exponent: float) -> float:
        return float((histogram * pixel_bits(math.exp(exponent), likelihood)).sum())

    # From the best of a coarse grid on, as there may be more than one low point.
    grid = np.linspace(math.log(0.1), math.log(LEVELS), 32)
    best = int(np.argmin([bits(each) for each in grid]))
    around = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    found = minimize_scalar(bits, bounds=around, method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x))


def pixel_bits(scale: float, likelihood: str) -> NDArray[Any]:
    """Bits of a pixel given its reconstruction: [256 levels of that, 256 levels of the image]."""
    levels = np.arange(LEVELS)
    edges = np.concatenate(([-np.inf], levels[:-1] + 0.5, [np.inf]))
    below, above = ((each - levels[:, None]) / scale for each in (edges[:-1], edges[1:]))
    # Of a level above the reconstruction its mirror image below: there, small tails are exact.
    mirrored = levels > levels[:, None]
    below, above = np.where(mirrored, -above, below), np.where(mirrored, -below, above)
    log_below, log_above = (_log_cdf(each, likelihood) for each in (below, above))
    log_mass = log_above + np.log1p(-np.exp(log_below - log_above))
    bits: NDArray[Any] = -log_mass / math.log(2)
    return bits


def _log_cdf(x: NDArray[Any], likelihood: str) -> NDArray[Any]:
    """The logarithm of the cumulative distribution, of scale 1 around 0, also far below."""
    if likelihood == "gaussian":
        from scipy.special import log_ndtr  # plans do without scipy

        found: NDArray[Any] = log_ndtr(x)
        return found
    upper = np.maximum(x, 0)
    return np.where(x < 0, x - math.log(2), np.log1p(-np.exp(-upper) / 2))
