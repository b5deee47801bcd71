"""Linear probes of known factors: which segment knows an image's colour, shape or place."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts import (
    Factor,
    Measurement,
    MetricInputs,
    PlannedInputs,
    Procedure,
    Segment,
    TokenLayout,
)
from prologue_bench.errors import DoesNotApply, UserError
from prologue_bench.stats.intervals import half_width
from prologue_plugins.metrics.probe import TokenProbe, classifier

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class Factors(TokenProbe):
    """How well each known factor is read from the one-hots of each segment, on the test images.

    A factor with names has logistic regression, its values weighed equally, and balanced accuracy:
    the mean over values of the share that is found (Brodersen et al. 2010). One without names has
    ridge regression and R², the share of its variance that is explained. Guessing comes to one
    value in so many, and to an R² of 0.
    """

    def check(self, planned: PlannedInputs) -> None:
        if not planned.data.factors("train"):
            raise DoesNotApply("the data have no known factors (`DataSource.factors`)")
        if next(self._told(planned), None) is None:
            raise UserError(
                "factors: train_images, selection_images: found no factor with two values among "
                "the images to learn from and the test images; raise them"
            )

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        asked = [(*told, segment) for told in self._told(inputs) for segment in inputs.layout]
        found = []
        for index, each in enumerate(asked):
            found.append(self._measurement(inputs, *each))
            inputs.advance(index + 1, len(asked))
        return found

    def _told(
        self, inputs: MetricInputs | PlannedInputs
    ) -> Iterator[tuple[str, Factor, NDArray[Any]]]:
        """Factors that vary: name, that of the training images, values of the test images."""
        test = inputs.data.factors("test")
        learned = [self.training(inputs)]
        if len(self.settings.inverse_regularisation) > 1:
            learned += self.selection(inputs)
        for name, factor in inputs.data.factors("train").items():
            values = [test[name].values, *(factor.values[images] for images in learned)]
            if all(len(np.unique(each)) > 1 for each in values):
                yield name, factor, test[name].values

    def _measurement(
        self,
        inputs: MetricInputs,
        name: str,
        factor: Factor,
        truth: NDArray[Any],
        segment: Segment,
    ) -> Measurement:
        fit, score = (
            (partial(classifier, class_weight="balanced"), recalls)
            if factor.names
            else (ridge, explained)
        )
        answers = self.predicted(
            inputs,
            inputs.layout.span(segment.name),
            TokenLayout((segment,)),
            factor.values,
            fit,
            lambda truth, found: float(score(truth, found).mean()),
        )
        values = score(truth, answers)
        kinds = len(np.unique(truth))
        chance = f"{100 / kinds:.1f}%" if factor.names else "0"
        scale = 100 if factor.names else 1
        width = half_width(values)
        return Measurement(
            name=f"factor_{name}_{segment.name}",
            title=f"{name} from {segment.name} (chance {chance})",
            value=scale * float(values.mean()),
            half_width=None if width is None else scale * width,
            unit="%" if factor.names else "R²",
            direction="higher",
            count=len(values),
            protocol=Procedure(
                name="factor-probe",
                details={
                    "tokens": f"all of {segment.name}",
                    "model": "logistic regression on one-hots, values weighed equally"
                    if factor.names
                    else "ridge regression on one-hots",
                    **self.details(inputs),
                    "score": f"balanced accuracy of {kinds} values" if factor.names else "R²",
                    "chance": chance,
                    "test": f"test split, {len(values)} images",
                    "fingerprint": inputs.data.fingerprint,
                },
            ),
        )


def recalls(truth: NDArray[Any], found: NDArray[Any]) -> NDArray[Any]:
    """Numbers [N] whose mean is the balanced accuracy of values found [N]."""
    kinds, kind, counts = np.unique(truth, return_inverse=True, return_counts=True)
    weighed: NDArray[Any] = (truth == found) * (len(truth) / (len(kinds) * counts[kind]))
    return weighed


def explained(truth: NDArray[Any], found: NDArray[Any]) -> NDArray[Any]:
    """Numbers [N] whose mean is the R² of values found [N]."""
    explained: NDArray[Any] = 1 - (truth - found) ** 2 / truth.var()
    return explained


def ridge(inverse_regularisation: float, vectors: csr_matrix, values: NDArray[Any]) -> Any:
    """scikit-learn's ridge regression, as strong as logistic regression is for the same C."""
    from sklearn.linear_model import Ridge  # takes long to import

    return Ridge(alpha=1 / inverse_regularisation).fit(vectors, values)
