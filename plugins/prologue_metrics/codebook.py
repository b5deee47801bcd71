"""How the codes of each segment are used."""

from __future__ import annotations

import numpy as np

from prologue_bench.interfaces import Measurement, Metric, MetricInputs, Protocol


class Codebook(Metric):
    """Share of codes that occur, and perplexity 2^entropy of their frequencies, on the test images."""

    needs = ("tokens",)

    def __init__(self, settings: object) -> None:
        pass

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        assert inputs.test_ids is not None
        count = len(inputs.test_ids)
        found = []
        for segment in inputs.layout:
            ids = inputs.test_ids[:, inputs.layout.span(segment.name)]
            frequencies = np.bincount(ids.ravel(), minlength=segment.vocabulary) / ids.size
            occurring = frequencies[frequencies > 0]
            perplexity = float(np.exp2(-(occurring * np.log2(occurring)).sum()))
            protocol = Protocol(
                name="codebook",
                details={
                    "images": f"test split, {count} images",
                    "fingerprint": inputs.data.fingerprint,
                    "codes": segment.vocabulary,
                },
            )
            for name, value, unit in (
                ("use", 100 * len(occurring) / segment.vocabulary, "%"),
                ("perplexity", perplexity, "codes"),
            ):
                found.append(
                    Measurement(
                        name=f"codebook_{name}_{segment.name}",
                        title=f"codebook {name}, {segment.name}",
                        value=value,
                        unit=unit,
                        direction="neutral",
                        count=count,
                        protocol=protocol,
                    )
                )
        return found
