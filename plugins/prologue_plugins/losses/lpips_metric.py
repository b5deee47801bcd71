"""LPIPS as a metric of reconstructions."""

from __future__ import annotations

import numpy as np
import torch

from prologue_bench.contracts import (
    Measurement,
    Metric,
    MetricInputs,
    PlannedInputs,
    compared,
    images_differ,
    to_float,
)
from prologue_bench.stats.intervals import half_width
from prologue_plugins.losses.perceptual import check_lpips, lpips_network, rgb
from prologue_plugins.losses.settings import LpipsMetricSettings


class LpipsMetric(Metric):
    """Mean LPIPS of test images to reconstructions (Zhang et al. 2018, version 0.1, VGG-16)."""

    needs = ("reconstructions",)

    def __init__(self, settings: LpipsMetricSettings) -> None:
        self.settings = settings

    def check(self, planned: PlannedInputs) -> None:
        check_lpips(self.settings.weights, planned.data.spec, "metric 'lpips'")

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        network, checksum = lpips_network(self.settings.weights, "metric 'lpips'")
        network = network.to(inputs.device)
        images, count = inputs.data.images("test"), len(inputs.reconstructions)
        parts = []
        for start in range(0, count, inputs.batch_size):
            rows = slice(start, start + inputs.batch_size)
            pair = (np.array(images[rows]), np.array(inputs.reconstructions[rows]))
            one, other = (rgb(to_float(torch.from_numpy(part).to(inputs.device))) for part in pair)
            parts.append(network(one, other).flatten().double().cpu().numpy())
            inputs.advance(min(start + inputs.batch_size, count), count)
        values = np.concatenate(parts)
        return [
            Measurement(
                name="lpips",
                title="LPIPS",
                value=float(values.mean()),
                half_width=half_width(values),
                unit="",
                direction="lower",
                count=count,
                protocol=compared(
                    "lpips",
                    {
                        "images": f"test split, {count} images",
                        "fingerprint": inputs.data.fingerprint,
                        "quantization": "uint8, rounded",
                        "network": "VGG-16, version 0.1",
                        "weights": checksum,
                    },
                    "LPIPS",
                    images_differ(inputs.data.spec, count, "images"),
                ),
            )
        ]
