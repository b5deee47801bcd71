"""A linear probe: what the first tokens alone say of the class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from prologue_bench.interfaces import Measurement, Metric, MetricInputs, Protocol, TokenLayout
from prologue_metrics.settings import ProbeSettings

ITERATIONS = 300


class Probe(Metric):
    """Test accuracy of logistic regression on the one-hots of the first n tokens.

    n runs over the lengths of the variants' leading segments, so that a prologue is compared with equally many visual
    tokens of the baseline.
    """

    needs = ("tokens", "prefixes")

    def __init__(self, settings: ProbeSettings) -> None:
        self.settings = settings

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        lengths = [n for n in inputs.prefixes if n <= inputs.layout.length]
        found = []
        for index, length in enumerate(lengths):
            accuracy, train_images = self._accuracy(inputs, length)
            count = len(inputs.data.labels("test"))
            found.append(
                Measurement(
                    name=f"probe_{length}",
                    title=f"probe, first {length} tokens",
                    value=100 * accuracy,
                    unit="%",
                    direction="higher",
                    count=count,
                    protocol=Protocol(
                        name="linear-probe",
                        details={
                            "tokens": f"the first {length}",
                            "classifier": "logistic regression on one-hots",
                            "inverse_regularisation": self.settings.inverse_regularisation,
                            "train": f"the first {train_images} images of the train split",
                            "test": f"test split, {count} images",
                            "fingerprint": inputs.data.fingerprint,
                        },
                    ),
                )
            )
            inputs.advance(index + 1, len(lengths))
        return found

    def _accuracy(self, inputs: MetricInputs, length: int) -> tuple[float, int]:
        from sklearn.linear_model import LogisticRegression  # takes long to import

        assert inputs.train_ids is not None
        assert inputs.test_ids is not None
        labels = inputs.data.labels("train")[: self.settings.train_images]
        train = one_hots(inputs.train_ids[: self.settings.train_images, :length], inputs.layout)
        test = one_hots(inputs.test_ids[:, :length], inputs.layout)
        model = LogisticRegression(C=self.settings.inverse_regularisation, max_iter=ITERATIONS)
        model.fit(train, labels)
        return float(model.score(test, inputs.data.labels("test"))), len(labels)


def one_hots(ids: NDArray[Any], layout: TokenLayout) -> csr_matrix:
    """Sparse one-hots [N, sum of vocabularies] of the first n tokens, ids [N, n]."""
    sizes = np.concatenate([np.full(segment.length, segment.vocabulary) for segment in layout])[: ids.shape[1]]
    columns = ids + np.concatenate(([0], np.cumsum(sizes)[:-1]))
    rows = np.repeat(np.arange(len(ids)), ids.shape[1])
    return csr_matrix((np.ones(ids.size), (rows, columns.ravel())), shape=(len(ids), int(sizes.sum())))
