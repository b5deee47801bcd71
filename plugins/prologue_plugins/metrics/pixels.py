"""Distances between images and their reconstructions, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts import (
    ImageSpec,
    Measurement,
    Metric,
    MetricInputs,
    PlannedInputs,
    compared,
    images_differ,
)
from prologue_bench.errors import UserError
from prologue_bench.stats.intervals import half_width

BATCH_BYTES = 64 * 2**20
"""Of a batch's images in float64, in which they are compared; a few copies are made of it."""


class PixelMetric(Metric):
    """The mean over the test images of how alike each and its reconstruction are."""

    needs = ("reconstructions",)
    name: str
    title: str
    unit: str
    formula: str
    direction: Literal["higher", "lower"] = "higher"

    def __init__(self, settings: object) -> None:
        pass

    def similarity(self, images: NDArray[Any], reconstructions: NDArray[Any]) -> NDArray[Any]:
        """One number per image [N] for uint8 [N, C, H, W]."""
        raise NotImplementedError

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        values = np.concatenate(list(each_batch(inputs, self.similarity)))
        protocol = compared(
            self.name,
            {
                "images": f"test split, {len(values)} images",
                "fingerprint": inputs.data.fingerprint,
                "quantization": "uint8, rounded",
                "formula": self.formula,
            },
            self.title,
            images_differ(inputs.data.spec, len(values), "images"),
        )
        return [
            Measurement(
                name=self.name,
                title=self.title,
                value=float(values.mean()),
                unit=self.unit,
                direction=self.direction,
                count=len(values),
                protocol=protocol,
                half_width=half_width(values),
            )
        ]


def each_batch(
    inputs: MetricInputs, function: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
) -> list[NDArray[Any]]:
    """The function of test images and their reconstructions, batch by batch."""
    images, count = inputs.data.images("test"), len(inputs.reconstructions)
    batch, found = images_at_once(inputs.data.spec), []
    for start in range(0, count, batch):
        stop = min(start + batch, count)
        found.append(
            function(np.asarray(images[start:stop]), np.asarray(inputs.reconstructions[start:stop]))
        )
        inputs.advance(stop, count)
    return found


def images_at_once(spec: ImageSpec) -> int:
    """How many images fill `BATCH_BYTES`, at least one."""
    return max(1, BATCH_BYTES // (8 * spec.dimensions))


class Psnr(PixelMetric):
    """Peak signal-to-noise ratio."""

    name, title, unit = "psnr", "PSNR", "dB"
    formula = (
        "mean over images of 10 log10(255^2 / mean squared error); an exact image counts 100 dB"
    )

    def similarity(self, images: NDArray[Any], reconstructions: NDArray[Any]) -> NDArray[Any]:
        error = squared_error(images, reconstructions)
        ratio: NDArray[Any] = np.minimum(100.0, 10 * np.log10(255**2 / np.maximum(error, 1e-12)))
        return ratio


class Mse(PixelMetric):
    """Mean squared error of values from -1 to 1, which networks see and losses are of."""

    name, title, unit, direction = "mse", "squared error", "", "lower"
    formula = "mean over images of the mean squared difference of values from -1 to 1"

    def similarity(self, images: NDArray[Any], reconstructions: NDArray[Any]) -> NDArray[Any]:
        return squared_error(images, reconstructions) / 127.5**2


def squared_error(images: NDArray[Any], reconstructions: NDArray[Any]) -> NDArray[Any]:
    """Mean squared difference [N] of uint8 images [N, C, H, W], in levels."""
    error: NDArray[Any] = np.square(images.astype(np.float64) - reconstructions).mean(
        axis=(1, 2, 3)
    )
    return error


class Ssim(PixelMetric):
    """Structural similarity (Wang et al. 2004), as scikit-image computes it."""

    name, title, unit = "ssim", "SSIM", ""
    formula = "scikit-image, Gaussian window of sigma 1.5, population covariances, data range 255"
    window = 11
    """Its edge in pixels: 3.5 sigma to each side."""

    def check(self, planned: PlannedInputs) -> None:
        spec = planned.data.spec
        if min(spec.height, spec.width) < self.window:
            raise UserError(
                f"ssim: found images of {spec.height} x {spec.width} pixels, "
                f"expected at least its window of {self.window} x {self.window}; "
                "leave this metric out"
            )

    def similarity(self, images: NDArray[Any], reconstructions: NDArray[Any]) -> NDArray[Any]:
        from skimage.metrics import structural_similarity

        return np.array(
            [
                structural_similarity(
                    image,
                    other,
                    channel_axis=0,
                    data_range=255,
                    gaussian_weights=True,
                    sigma=1.5,
                    use_sample_covariance=False,
                )
                for image, other in zip(images, reconstructions, strict=True)
            ]
        )
