"""The rate: how many bits the generator's model spends on the tokens of held-out images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prologue_bench.contracts import Measurement, Metric, MetricInputs, Procedure
from prologue_bench.stats.intervals import half_width


class Rate(Metric):
    """Mean negative log-likelihood of a test image's tokens given its class.

    In bits per image and bits per dimension.
    """

    needs = ("tokens", "likelihood")

    def __init__(self, settings: object) -> None:
        pass

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        bits = bits_per_image(inputs)
        parts = [("rate", "rate", sum_of(bits))]
        parts += [(f"rate_{name}", f"rate, {name}", value) for name, value in bits.items()]
        dimensions = inputs.data.spec.dimensions
        return [
            measurement
            for name, title, values in parts
            for measurement in (
                self._measurement(name, title, values, "bits/image", inputs),
                self._measurement(
                    f"{name}_per_dimension", title, values / dimensions, "bits/dim", inputs
                ),
            )
        ]

    def _measurement(
        self, name: str, title: str, bits: NDArray[Any], unit: str, inputs: MetricInputs
    ) -> Measurement:
        return Measurement(
            name=name,
            title=title,
            value=float(bits.mean()),
            unit=unit,
            direction="lower",
            count=len(bits),
            half_width=half_width(bits),
            detail=unit == "bits/dim",
            protocol=Procedure(
                name="rate",
                details={
                    "images": f"test split, {len(bits)} images",
                    "fingerprint": inputs.data.fingerprint,
                    "labels": "class-conditional",
                    "vocabulary": "all segments and separators, as trained",
                },
            ),
        )


def bits_per_image(inputs: MetricInputs) -> dict[str, NDArray[Any]]:
    """Bits of each test image's tokens given its class, one [N] a segment."""
    labels = torch.from_numpy(inputs.data.labels("test"))
    ids = torch.from_numpy(inputs.test_ids)
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in inputs.layout.names}
    for start in range(0, len(ids), inputs.batch_size):
        batch = slice(start, start + inputs.batch_size)
        costs = inputs.nll(ids[batch].to(inputs.device), labels[batch].to(inputs.device))
        for name, cost in costs.items():
            parts[name].append(cost.detach().double().sum(dim=1).cpu().numpy() / math.log(2))
        inputs.advance(min(start + inputs.batch_size, len(ids)), len(ids))
    return {name: np.concatenate(part) for name, part in parts.items()}


def sum_of(bits: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Bits of all segments together, [N]."""
    total: NDArray[Any] = np.sum(list(bits.values()), axis=0)
    return total
