"""How much each token of the data adds to the tokens before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts import Measurement, Metric, MetricInputs, Procedure

SPENT = "Where the bits go"
"""The title of the plot against the generator's bits."""
FEWEST_ALIKE = 16
"""Images, as their geometric mean, that must share what is before a token for its bits to count:
their tokens cannot come to more than log2 of that."""


class ConditionalEntropy(Metric):
    """H(x_d | x_<d, class) of the tokens of the training images, by a trie.

    The trie's first level are the classes, which the generator is given too, and each further one
    is a token. A node's entropy is that of its children by how many images pass through them; an
    image's is that of its node. Over a segment these entropies add up to that of the whole segment
    given all before it (the chain rule).

    Such plug-in entropies are too low, since few images share a long prefix: to first order by
    (m - 1) / (2 N ln 2) bits for m kinds of N things (Miller 1955). What images share is reported
    beside, and the values of single tokens end where fewer than 16 images share what is before.
    """

    needs = ("tokens",)

    def __init__(self, settings: object) -> None:
        pass

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        ids = inputs.train_ids
        labels = inputs.data.labels("train")
        alike = []
        for counts in images_alike(ids, labels):
            alike.append(float(np.log2(counts).mean()))
            inputs.advance(len(alike) - 1, ids.shape[1])
        bits = -np.diff(alike)
        known = np.array(alike[:-1]) >= np.log2(FEWEST_ALIKE)
        found = []
        for segment in inputs.layout:
            span = inputs.layout.span(segment.name)
            protocol = Procedure(
                name="conditional-entropy",
                details={
                    "images": f"train split, {len(ids)} images, first views",
                    "fingerprint": inputs.data.fingerprint,
                    "given": "the class and all tokens before",
                    "entropy": f"of observed frequencies; single tokens where {FEWEST_ALIKE} or "
                    "more images share what is before",
                },
            )
            found += [
                Measurement(
                    name=f"conditional_entropy_{segment.name}",
                    title=f"conditional entropy of the data, {segment.name}",
                    value=float(bits[span].sum()),
                    unit="bits/image",
                    direction="neutral",
                    count=len(ids),
                    detail=segment.name == inputs.layout.names[-1],
                    positions=tuple(bits[span][known[span]]),
                    positions_of=segment.name,
                    against={f"rate_{segment.name}": SPENT},
                    protocol=protocol,
                ),
                Measurement(
                    name=f"conditional_entropy_alike_{segment.name}",
                    title=f"images that share class and tokens up to the end, {segment.name}",
                    value=float(2 ** alike[span.stop]),
                    unit="images",
                    direction="neutral",
                    count=len(ids),
                    detail=True,
                    protocol=protocol,
                ),
            ]
        return found


def images_alike(ids: NDArray[Any], labels: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
    """How many images, itself included, share each image's label and first d tokens.

    `ids` are [N, L], `labels` [N]; yields L + 1 arrays int64 [N], for d from 0 to L. The mean of
    log2(N / counts) is the joint entropy of label and tokens.
    """
    _, node, counts = np.unique(labels, return_inverse=True, return_counts=True)
    yield counts[node]
    for column in ids.T:
        if len(counts) < len(ids):  # else every image is alone in its node
            kinds, kind = np.unique(column, return_inverse=True)
            _, node, counts = np.unique(
                node * len(kinds) + kind, return_inverse=True, return_counts=True
            )
        yield counts[node]
