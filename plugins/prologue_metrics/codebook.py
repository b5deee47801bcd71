"""How the codes of each segment are used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.interfaces import Measurement, Metric, MetricInputs, Protocol, Segment


class Codebook(Metric):
    """Share of codes that occur, and perplexity 2^entropy of their frequencies, on the test images.

    Of a whole segment, and as the mean over its positions, each taken alone.
    """

    needs = ("tokens",)

    def __init__(self, settings: object) -> None:
        pass

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        assert inputs.test_ids is not None
        found = []
        for segment in inputs.layout:
            ids = inputs.test_ids[:, inputs.layout.span(segment.name)]
            whole = use_and_perplexity(ids, segment.vocabulary)
            alone = [use_and_perplexity(column, segment.vocabulary) for column in ids.T]
            for index, (name, unit) in enumerate((("use", "%"), ("perplexity", "codes"))):
                values = tuple(each[index] for each in alone)
                found.append(self._measurement(inputs, segment, name, unit, whole[index], ()))
                found.append(self._measurement(inputs, segment, name, unit, float(np.mean(values)), values))
        return found

    def _measurement(
        self, inputs: MetricInputs, segment: Segment, name: str, unit: str, value: float, positions: tuple[float, ...]
    ) -> Measurement:
        count = len(inputs.data.labels("test"))
        at = "_position" if positions else ""
        return Measurement(
            name=f"codebook_{name}{at}_{segment.name}",
            title=f"codebook {name}{' a position' if positions else ''}, {segment.name}",
            value=value,
            unit=unit,
            direction="neutral",
            count=count,
            positions=positions,
            protocol=Protocol(
                name="codebook",
                details={
                    "images": f"test split, {count} images",
                    "fingerprint": inputs.data.fingerprint,
                    "codes": segment.vocabulary,
                    **({"positions": "each alone; their mean"} if positions else {}),
                },
            ),
        )


def use_and_perplexity(ids: NDArray[Any], vocabulary: int) -> tuple[float, float]:
    """Share of the codes that occur in percent, and 2^entropy of their frequencies, of ids of any shape."""
    frequencies = np.bincount(ids.ravel(), minlength=vocabulary) / ids.size
    occurring = frequencies[frequencies > 0]
    return 100 * len(occurring) / vocabulary, float(np.exp2(-(occurring * np.log2(occurring)).sum()))
