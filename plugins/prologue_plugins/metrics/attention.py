"""How much attention later tokens pay to the first ones."""

from __future__ import annotations

import torch

from prologue_bench.contracts import (
    Measurement,
    Metric,
    MetricInputs,
    PlannedInputs,
    Procedure,
    describe_subset,
)
from prologue_plugins.metrics.prefixes import check_prefixes
from prologue_plugins.metrics.settings import AttentionSettings


class Attention(Metric):
    """Share of attention on the first n tokens, of all tokens after them, over layers and heads.

    n runs over the lengths of the variants' leading segments. The share that even attention would
    give depends on n and on the sequence, so that variants are comparable at equal n only.
    """

    needs = ("tokens", "attention", "prefixes")

    def __init__(self, settings: AttentionSettings) -> None:
        self.settings = settings

    def check(self, planned: PlannedInputs) -> None:
        check_prefixes(planned, planned.layout.length - 1)

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        lengths = [n for n in inputs.prefixes if n < inputs.layout.length]
        chosen = inputs.data.subset("test", self.settings.images)
        ids = torch.from_numpy(inputs.test_ids[chosen])
        labels = torch.from_numpy(inputs.data.labels("test")[chosen])
        totals: torch.Tensor | None = None
        for start in range(0, len(ids), inputs.batch_size):
            rows = slice(start, start + inputs.batch_size)
            maps = inputs.attention(ids[rows].to(inputs.device), labels[rows].to(inputs.device))
            totals = maps.double().cpu() * len(ids[rows]) + (0 if totals is None else totals)
            inputs.advance(min(start + inputs.batch_size, len(ids)), len(ids))
        if totals is None:
            return []
        maps = totals / len(ids)
        found = []
        for length in lengths:
            shares = maps[:, length:, :length].sum(dim=2).mean(dim=1)
            found.append(
                self._measurement(
                    inputs, f"attention_{length}", length, "", float(shares.mean()), len(ids)
                )
            )
            for layer, share in enumerate(shares.tolist()):
                name = f"attention_{length}_layer_{layer + 1}"
                found.append(
                    self._measurement(inputs, name, length, f", layer {layer + 1}", share, len(ids))
                )
        return found

    def _measurement(
        self, inputs: MetricInputs, name: str, length: int, where: str, share: float, count: int
    ) -> Measurement:
        return Measurement(
            name=name,
            title=f"attention on the first {length} tokens{where}",
            value=100 * share,
            unit="%",
            direction="neutral",
            count=count,
            protocol=Procedure(
                name="attention-share",
                details={
                    "tokens": f"of all tokens after the first {length}, on those",
                    "images": describe_subset("test split", count, len(inputs.data.labels("test"))),
                    "fingerprint": inputs.data.fingerprint,
                    "rest": "on later tokens, the class token and separators",
                },
            ),
        )
