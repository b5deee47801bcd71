"""The rate: how many bits the generator's model spends on the tokens of held-out images."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench.contracts import Measurement, Metric, MetricInputs, Procedure
from prologue_bench.stats.intervals import half_width


class Rate(Metric):
    """Mean negative log-likelihood of a test image's tokens given its class.

    In bits per image and bits per dimension. A segment's bits per image also hold the mean of each
    of its tokens, which add up to them.
    """

    needs = ("tokens", "likelihood")

    def __init__(self, settings: object) -> None:
        pass

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        nats = nats_per_token(inputs)
        bits = {name: bits_of(of) for name, of in nats.items()}
        found = self._measurements("rate", "rate", sum_of(bits), inputs)
        for segment, values in bits.items():
            whole, per_dimension = self._measurements(
                f"rate_{segment}", f"rate, {segment}", values, inputs
            )
            means = tuple((nats[segment].mean(dim=0) / math.log(2)).tolist())
            found += [
                attrs.evolve(whole, positions=means, positions_of=segment),
                per_dimension,
            ]
        return found

    def _measurements(
        self, name: str, title: str, bits: NDArray[Any], inputs: MetricInputs
    ) -> list[Measurement]:
        """Bits [N] per image and per dimension."""
        dimensions = inputs.data.spec.dimensions
        return [
            self._measurement(name, title, bits, "bits/image", inputs),
            self._measurement(
                f"{name}_per_dimension", title, bits / dimensions, "bits/dim", inputs
            ),
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
    """Bits of each test image's tokens given its class, one [N] per segment."""
    return {name: bits_of(nats) for name, nats in nats_per_token(inputs).items()}


def bits_of(nats: Tensor) -> NDArray[Any]:
    """Bits of whole images [N] from nats of their tokens [N, n]."""
    bits: NDArray[Any] = nats.sum(dim=1).numpy() / math.log(2)
    return bits


def nats_per_token(inputs: MetricInputs) -> dict[str, Tensor]:
    """Nats of each token of each test image, given its class and the tokens before.

    A float64 [N, n] per segment, on the CPU; a separator's cost is part of that of the token behind
    it.
    """
    labels = torch.from_numpy(inputs.data.labels("test"))
    ids = torch.from_numpy(inputs.test_ids)
    parts: dict[str, list[Tensor]] = {name: [] for name in inputs.layout.names}
    for start in range(0, len(ids), inputs.batch_size):
        batch = slice(start, start + inputs.batch_size)
        costs = inputs.nll(ids[batch].to(inputs.device), labels[batch].to(inputs.device))
        for name, cost in costs.items():
            parts[name].append(cost.detach().double().cpu())
        inputs.advance(min(start + inputs.batch_size, len(ids)), len(ids))
    return {name: torch.cat(part) for name, part in parts.items()}


def sum_of(bits: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Bits of all segments together, [N]."""
    total: NDArray[Any] = np.sum(list(bits.values()), axis=0)
    return total
