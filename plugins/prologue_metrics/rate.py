"""The rate: how many bits the generator's model spends on the tokens of held-out images."""

from __future__ import annotations

import math

import torch

from prologue_bench.interfaces import Measurement, Metric, MetricInputs, Protocol


class Rate(Metric):
    """Mean negative log-likelihood of a test image's tokens given its class, in bits."""

    needs = ("tokens", "generator")

    def __init__(self, settings: object) -> None:
        pass

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        bits = bits_per_segment(inputs)
        whole = self._measurement("rate", "rate", sum(bits.values()), inputs)
        return [whole] + [
            self._measurement(f"rate_{name}", f"rate, {name}", value, inputs) for name, value in bits.items()
        ]

    def _measurement(self, name: str, title: str, bits: float, inputs: MetricInputs) -> Measurement:
        count = len(inputs.data.labels("test"))
        return Measurement(
            name=name,
            title=title,
            value=bits,
            unit="bits/image",
            direction="lower",
            count=count,
            protocol=Protocol(
                name="rate",
                details={
                    "images": f"test split, {count} images",
                    "fingerprint": inputs.data.fingerprint,
                    "labels": "class-conditional",
                    "vocabulary": "all segments and separators, as trained",
                },
            ),
        )


def bits_per_segment(inputs: MetricInputs) -> dict[str, float]:
    """Mean bits of a test image's tokens given its class, by segment."""
    assert inputs.generator is not None
    assert inputs.test_ids is not None
    labels = torch.from_numpy(inputs.data.labels("test"))
    ids = torch.from_numpy(inputs.test_ids)
    totals = dict.fromkeys(inputs.layout.names, 0.0)
    for start in range(0, len(ids), inputs.batch_size):
        batch = slice(start, start + inputs.batch_size)
        costs = inputs.generator.nll(ids[batch].to(inputs.device), labels[batch].to(inputs.device))
        for name, cost in costs.items():
            totals[name] += cost.double().sum().item()
        inputs.advance(min(start + inputs.batch_size, len(ids)), len(ids))
    return {name: total / len(ids) / math.log(2) for name, total in totals.items()}
