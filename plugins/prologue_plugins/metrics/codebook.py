"""How the codes of each segment are used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts import Measurement, Metric, MetricInputs, Protocol, Segment
from prologue_bench.stats.collapse import collapse_warning


class Codebook(Metric):
    """Share of codes that occur, and perplexity 2^entropy of their frequencies, on the test images.

    For a whole segment, and as the mean over its positions, each taken alone. Warns of a collapsed
    codebook: a segment that uses under 5% of its codes, or carries under 1 bit.
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
            warning = collapse_of(ids, segment, whole)
            for index, (name, unit) in enumerate((("use", "%"), ("perplexity", "codes"))):
                values = tuple(each[index] for each in alone)
                told = warning if name == "use" else ""
                found.append(self._measurement(inputs, segment, name, unit, whole[index], (), told))
                found.append(
                    self._measurement(inputs, segment, name, unit, float(np.mean(values)), values)
                )
        return found

    def _measurement(
        self,
        inputs: MetricInputs,
        segment: Segment,
        name: str,
        unit: str,
        value: float,
        positions: tuple[float, ...],
        warning: str = "",
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
            positions_of=segment.name if positions and name == "perplexity" else "",
            warning=warning,
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
    """Percentage of codes that occur, and 2^entropy of their frequencies, of ids of any shape."""
    frequencies = np.bincount(ids.ravel(), minlength=vocabulary) / ids.size
    return 100 * int((frequencies > 0).sum()) / vocabulary, float(np.exp2(entropy(frequencies)))


def collapse_of(ids: NDArray[Any], segment: Segment, whole: tuple[float, float]) -> str:
    """The warning of a segment's ids [N, length]; `whole` holds its use and perplexity.

    What the segment carries is the entropy of its ids together over images: codes that differ
    between positions, but not between images, carry nothing.
    """
    if len(ids) < 2:
        return ""
    counts = np.unique(ids, axis=0, return_counts=True)[1]
    use, perplexity = whole
    return collapse_warning(
        segment.name,
        use=use,
        codes=segment.vocabulary,
        possible=ids.size,
        token_bits=float(np.log2(perplexity)),
        segment_bits=entropy(counts / len(ids)),
    )


def entropy(frequencies: NDArray[Any]) -> float:
    """In bits, of frequencies that sum to one."""
    occurring = frequencies[frequencies > 0]
    return float((occurring * np.log2(1 / occurring)).sum())
