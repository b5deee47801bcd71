"""How the codes of each segment are used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts import Measurement, Metric, MetricInputs, Procedure, Segment
from prologue_bench.stats.codes import codes_and_perplexity, joint_bits, position_bits
from prologue_bench.stats.collapse import collapse_warning


class Codebook(Metric):
    """Share of codes that occur, and perplexity 2^entropy of their frequencies, on the test images.

    For a whole segment, and as the mean over its positions, each taken alone. With several
    codebooks each is taken alone too, and the numbers are their means. Warns of a collapsed
    codebook: a segment that uses under 5% of its codes, or carries under 1 bit; of segments that
    others follow, the bits alone count. Nothing here is as large as the vocabulary.

    A segment that others follow, such as a prologue, also has its joint bits, the entropy of its
    tokens together over the images; the sum over its tokens of the entropy of each alone; and their
    difference, the redundancy between tokens (multi-information, Studený and Vejnarová 1998).
    The entropies are those of the observed frequencies, so that of N images none is above log2(N).
    A last segment, such as visual tokens, tells nearly all images apart and would come to that.
    """

    needs = ("test_tokens",)

    def __init__(self, settings: object) -> None:
        pass

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        found = []
        for segment in inputs.layout:
            ids = inputs.test_ids[:, inputs.layout.span(segment.name)]
            books = [ids[:, book :: segment.codebooks] for book in range(segment.codebooks)]
            whole = _mean([use_and_perplexity(book, segment.vocabulary) for book in books])
            alone = [
                _mean([use_and_perplexity(column, segment.vocabulary) for column in columns])
                for columns in zip(*(book.T for book in books), strict=True)
            ]
            leads = segment.name != inputs.layout.names[-1]
            warning = collapse_of(ids, segment, whole, leads)
            for index, (name, unit) in enumerate((("use", "%"), ("perplexity", "codes"))):
                values = tuple(each[index] for each in alone)
                told = warning if name == "use" else ""
                found.append(self._measurement(inputs, segment, name, unit, whole[index], (), told))
                found.append(
                    self._measurement(inputs, segment, name, unit, float(np.mean(values)), values)
                )
            if leads:
                found += self._bits(inputs, segment, ids)
        return found

    def _bits(self, inputs: MetricInputs, segment: Segment, ids: NDArray[Any]) -> list[Measurement]:
        """What a segment's ids [N, length] tell of an image."""
        joint, apart = joint_bits(ids), position_bits(ids)
        return [
            Measurement(
                name=f"{name}_{segment.name}",
                title=f"{title}, {segment.name}",
                value=value,
                unit="bits/image",
                direction="neutral",
                count=len(ids),
                detail=name == "bits_positions",
                protocol=Procedure(
                    name="token-entropy",
                    details={
                        "images": f"test split, {len(ids)} images",
                        "fingerprint": inputs.data.fingerprint,
                        "entropy": f"of observed frequencies, at most {np.log2(len(ids)):.2f} bits",
                    },
                ),
            )
            for name, title, value in (
                ("bits_joint", "joint bits", joint),
                ("bits_positions", "bits of each token alone, added up", apart),
                ("redundancy", "redundancy between tokens", apart - joint),
            )
        ]

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
            title=f"codebook {name}{' per position' if positions else ''}, {segment.name}",
            value=value,
            unit=unit,
            direction="neutral",
            count=count,
            positions=positions,
            positions_of=segment.name if positions and name == "perplexity" else "",
            warning=warning,
            protocol=Procedure(
                name="codebook",
                details={
                    "images": f"test split, {count} images",
                    "fingerprint": inputs.data.fingerprint,
                    "codes": segment.vocabulary,
                    **({"positions": "each alone; their mean"} if positions else {}),
                    **(
                        {"codebooks": f"{segment.codebooks}, each alone; their mean"}
                        if segment.codebooks > 1
                        else {}
                    ),
                },
            ),
        )


def use_and_perplexity(ids: NDArray[Any], vocabulary: int) -> tuple[float, float]:
    """Percentage of codes that occur, and 2^entropy of their frequencies, of ids of any shape."""
    codes, perplexity = codes_and_perplexity(ids)
    return 100 * codes / vocabulary, perplexity


def _mean(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The means of both numbers."""
    return float(np.mean([use for use, _ in pairs])), float(np.mean([each for _, each in pairs]))


def collapse_of(
    ids: NDArray[Any], segment: Segment, whole: tuple[float, float], leads: bool = False
) -> str:
    """The warning of a segment's ids [N, length]; `whole` holds its use and perplexity.

    What the segment carries is the entropy of its ids together over images: codes that differ
    between positions, but not between images, carry nothing. A segment that leads others, such as a
    prologue, is judged by that alone: it has to tell images apart, and a few codes at several
    positions can.
    """
    if len(ids) < 2:
        return ""
    if leads:
        return collapse_warning(
            segment.name, use=None, codes=segment.vocabulary, segment_bits=joint_bits(ids)
        )
    use, perplexity = whole
    return collapse_warning(
        segment.name,
        use=use,
        codes=segment.vocabulary,
        possible=ids.size // segment.codebooks,
        token_bits=float(np.log2(perplexity)),
        segment_bits=joint_bits(ids),
    )
