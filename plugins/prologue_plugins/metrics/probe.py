"""A linear probe: what the first tokens alone say about the class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts import (
    Measurement,
    Metric,
    MetricInputs,
    Need,
    PlannedInputs,
    Procedure,
    TokenLayout,
    describe_subset,
    stratified,
)
from prologue_bench.errors import DoesNotApply, UserError
from prologue_bench.stats.intervals import share_half_width
from prologue_plugins.metrics.prefixes import check_prefixes
from prologue_plugins.metrics.settings import ProbeSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ITERATIONS = 300
MOST_COLUMNS = 2**20
"""Of one-hots; with more, only those that occur in training are held."""


Fit: TypeAlias = Callable[[float, "csr_matrix", NDArray[Any]], Any]
"""Learns from one-hots and targets with an inverse regularisation; gives what has `predict`."""
Score: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], float]
"""How good predictions are, from targets and predictions; higher is better."""


class TokenProbe(Metric):
    """What the probes have in common: which images they learn from, and how strength is chosen."""

    needs: Sequence[Need] = ("tokens",)

    def __init__(self, settings: ProbeSettings) -> None:
        self.settings = settings

    def details(self, inputs: MetricInputs) -> dict[str, str]:
        """What the protocol says about training.

        Which strength was chosen is a result, and differs between variants.
        """
        train = len(self.training(inputs))
        strengths = ", ".join(f"{value:g}" for value in self.settings.inverse_regularisation)
        if len(self.settings.inverse_regularisation) > 1:
            learned, validated = map(len, self.selection(inputs))
            strengths += (
                f", the best on {validated} of those, in the classes' proportions, "
                f"after learning from {learned} others"
            )
        whole = len(inputs.data.labels("train"))
        return {
            "train": describe_subset("train split", train, whole),
            "inverse_regularisation": strengths,
        }

    def training(self, inputs: MetricInputs | PlannedInputs) -> NDArray[np.int64]:
        """The training images that the classifier learns from."""
        return inputs.data.subset("train", self.settings.train_images)

    def selection(
        self, inputs: MetricInputs | PlannedInputs
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The training images that strengths learn from, and those that they are validated on."""
        used = inputs.data.subset(
            "train", min(self.settings.train_images, self.settings.selection_images)
        )
        validated = stratified(
            inputs.data.labels("train")[used], round(self.settings.validation_share * len(used))
        )
        return np.delete(used, validated), used[validated]

    def predicted(
        self,
        inputs: MetricInputs,
        place: slice,
        layout: TokenLayout,
        targets: NDArray[Any],
        fit: Fit,
        score: Score,
    ) -> NDArray[Any]:
        """Predictions for the test images [N] from their tokens at a place, of that layout.

        They are learned from the `targets` of the training images [M], with the strength of
        regularisation that scores best on those that are set aside.
        """
        train_ids, test_ids = inputs.train_ids[:, place], inputs.test_ids[:, place]
        training = self.training(inputs)
        seen = seen_columns(train_ids[training], layout)

        def examples(images: NDArray[np.int64]) -> tuple[csr_matrix, NDArray[Any]]:
            return one_hots(train_ids[images], layout, seen), targets[images]

        strengths = self.settings.inverse_regularisation
        chosen = strengths[0]
        if len(strengths) > 1:
            learned, (vectors, truth) = (examples(images) for images in self.selection(inputs))
            scores = [score(truth, fit(each, *learned).predict(vectors)) for each in strengths]
            chosen = strengths[int(np.argmax(scores))]
        found: NDArray[Any] = fit(chosen, *examples(training)).predict(
            one_hots(test_ids, layout, seen)
        )
        return found


class Probe(TokenProbe):
    """Test accuracy of logistic regression on the one-hots of the first n tokens.

    n runs over the lengths of the variants' leading segments, so that a prologue is compared with
    equally many visual tokens of the baseline.
    """

    needs = ("tokens", "prefixes")

    def check(self, planned: PlannedInputs) -> None:
        if len(np.unique(planned.data.labels("train"))) < 2:
            raise DoesNotApply(
                "the training images are of one class, so there is nothing to tell apart"
            )
        check_prefixes(planned, planned.layout.length)
        labels, train = planned.data.labels("train"), self.training(planned)
        if len(np.unique(labels[train])) < 2:
            raise UserError(
                f"probe: train_images: found one class among {len(train)} images, "
                "expected at least two"
            )
        if len(self.settings.inverse_regularisation) < 2:
            return
        learned, validated = self.selection(planned)
        if not len(validated) or len(np.unique(labels[learned])) < 2:
            raise UserError(
                f"probe: selection_images: found {len(learned)} images to learn from and "
                f"{len(validated)} to choose inverse_regularisation on, "
                "expected two classes and one image; raise it, or give one strength"
            )

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        lengths = [n for n in inputs.prefixes if n <= inputs.layout.length]
        found = []
        for index, length in enumerate(lengths):
            labels = inputs.data.labels("train")
            answers = self.predicted(
                inputs, slice(0, length), inputs.layout, labels, classifier, _accuracy
            )
            right = answers == inputs.data.labels("test")
            share = float(right.mean())
            width = share_half_width(share, len(right))
            found.append(
                Measurement(
                    name=f"probe_{length}",
                    title=f"probe, first {length} tokens",
                    value=100 * share,
                    half_width=100 * width if width is not None else None,
                    unit="%",
                    direction="higher",
                    count=len(right),
                    protocol=Procedure(
                        name="linear-probe",
                        details={
                            "tokens": f"the first {length}",
                            "classifier": "logistic regression on one-hots",
                            **self.details(inputs),
                            "test": f"test split, {len(right)} images",
                            "fingerprint": inputs.data.fingerprint,
                        },
                    ),
                )
            )
            inputs.advance(index + 1, len(lengths))
        return found


def classifier(
    inverse_regularisation: float,
    vectors: csr_matrix,
    labels: NDArray[Any],
    class_weight: Literal["balanced"] | None = None,
) -> Any:
    """scikit-learn's logistic regression."""
    from sklearn.linear_model import LogisticRegression  # takes long to import

    model = LogisticRegression(
        C=inverse_regularisation, max_iter=ITERATIONS, class_weight=class_weight
    )
    return model.fit(vectors, labels)


def _accuracy(labels: NDArray[Any], found: NDArray[Any]) -> float:
    return float((labels == found).mean())


def one_hots(
    ids: NDArray[Any], layout: TokenLayout, seen: NDArray[np.int64] | None = None
) -> csr_matrix:
    """Sparse one-hots [N, sum of vocabularies] of the first n tokens, ids [N, n].

    With `seen`, those columns alone, in their order.
    """
    from scipy.sparse import csr_matrix  # plans do without

    columns, count = _columns(ids, layout)
    rows = np.repeat(np.arange(len(ids)), ids.shape[1])
    columns = columns.ravel()
    if seen is not None:
        place = np.searchsorted(seen, columns)
        known = seen[np.minimum(place, len(seen) - 1)] == columns
        rows, columns, count = rows[known], place[known], len(seen)
    return csr_matrix((np.ones(len(columns)), (rows, columns)), shape=(len(ids), count))


def seen_columns(ids: NDArray[Any], layout: TokenLayout) -> NDArray[np.int64] | None:
    """The columns of `one_hots` that occur; None where all of them are few enough to be held.

    The classifier's weights of a column that does not occur in training are zero, so that leaving
    it out changes nothing.
    """
    columns, count = _columns(ids, layout)
    return np.unique(columns) if count > MOST_COLUMNS else None


def _columns(ids: NDArray[Any], layout: TokenLayout) -> tuple[NDArray[np.int64], int]:
    """The column of each token's one-hot, as `ids` [N, n], and how many columns there are."""
    sizes = np.concatenate([np.full(segment.length, segment.vocabulary) for segment in layout])[
        : ids.shape[1]
    ]
    return ids + np.concatenate(([0], np.cumsum(sizes)[:-1])), int(sizes.sum())
