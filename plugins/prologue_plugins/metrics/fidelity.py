"""Distances between sets of images, computed by torch-fidelity on shared features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench.contracts import (
    Direction,
    ImageArray,
    Measurement,
    Metric,
    MetricInputs,
    PlannedInputs,
    Procedure,
    compared,
    describe_subset,
    images_differ,
    over_features,
)
from prologue_bench.errors import StageError
from prologue_bench.stats.intervals import half_width, share_half_width
from prologue_plugins.metrics.features import (
    check_features,
    chosen_samples,
    extractor_details,
    load_features,
    refuse,
    sampling_details,
    sampling_note,
    shares_note,
)
from prologue_plugins.metrics.published import features_differ, features_name
from prologue_plugins.metrics.settings import (
    FeatureSettings,
    InceptionScoreSettings,
    KidSettings,
    PrecisionRecallSettings,
)

SPLITS, LOGITS = 10, "logits_unbiased"
"""Of published Inception Scores."""
Estimate = tuple[float, float | None]
"""A number with half of its 95% interval over images."""


def sample_protocol(
    name: str,
    settings: FeatureSettings,
    inputs: MetricInputs,
    samples: int,
    reference: int,
    counterpart: str,
    **details: float | str,
) -> Procedure:
    """The protocol of a comparison of samples with the test images, unlike published ones."""
    return compared(
        name,
        {
            **extractor_details(settings),
            "samples": samples,
            **chosen_samples(samples, len(inputs.sample_labels)),
            "reference": describe_subset("test split", reference, len(inputs.data.labels("test"))),
            "reference_fingerprint": inputs.data.fingerprint,
            **details,
            **sampling_details(inputs),
        },
        counterpart,
        [
            *features_differ(settings),
            "the test images as reference",
            *images_differ(inputs.data.spec, samples),
            *sampling_note(inputs, samples),
            *shares_note(inputs),
        ],
    )


def features_of(
    settings: FeatureSettings, inputs: MetricInputs
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features of the samples and of the test images."""
    sets: dict[str, ImageArray] = {"samples": inputs.samples, "test": inputs.data.images("test")}
    samples, reference = (
        load_features(part, settings, inputs, inputs.known.get(name, ""))
        for name, part in sets.items()
    )
    return samples, reference


class Kid(Metric):
    """The kernel distance of samples from the test images (Binkowski et al. 2018), unbiased."""

    needs = ("samples",)

    def __init__(self, settings: KidSettings) -> None:
        self.settings = settings

    def check(self, planned: PlannedInputs) -> None:
        check_features(self.settings, planned)
        refuse("kid", self._too_few(planned.samples, len(planned.data.labels("test"))))

    def _too_few(self, *counts: int) -> str:
        size = self.settings.subset_size
        return (
            f"found {min(counts)} images, expected at least subset_size {size}"
            if min(counts) < size
            else ""
        )

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

        samples, reference = features_of(self.settings, inputs)
        size = self.settings.subset_size
        if problem := self._too_few(len(samples), len(reference)):
            raise StageError(f"kid: {problem}")
        found = kid_features_to_metric(
            torch.from_numpy(samples),
            torch.from_numpy(reference),
            kid_subsets=self.settings.subsets,
            kid_subset_size=size,
            rng_seed=self.settings.seed,
            verbose=False,
        )
        protocol = sample_protocol(
            "kernel-distance",
            self.settings,
            inputs,
            len(samples),
            len(reference),
            "KID",
            subsets=self.settings.subsets,
            subset_size=size,
            subset_seed=self.settings.seed,
        )
        title = over_features("KID x 1000", features_name(self.settings))
        value = 1000 * found[KEY_METRIC_KID_MEAN]
        spread = half_width(1000 * kernel_influences(samples, reference))
        return [_measurement("kid", title, value, "lower", len(samples), protocol, spread)]


def kernel_influences(samples: NDArray[Any], reference: NDArray[Any]) -> NDArray[Any]:
    """Influence of each sample on the squared kernel distance [N], for features [N, F] and [M, F].

    2 (mean over samples of k(x, .) - mean over the reference of k(x, .)), with KID's kernel (x y /
    F + 1)^3.
    """
    own, other = torch.from_numpy(samples), torch.from_numpy(reference)

    def means(part: Tensor, against: Tensor) -> Tensor:
        return ((part @ against.T / part.shape[1] + 1) ** 3).double().mean(dim=1)

    parts = torch.split(own, 1000)
    found = torch.cat([2 * (means(part, own) - means(part, other)) for part in parts])
    influences: NDArray[Any] = found.numpy()
    return influences


class InceptionScore(Metric):
    """Inception Score of the samples (Salimans et al. 2016), over Inception's own logits alone."""

    needs = ("samples",)

    def __init__(self, settings: InceptionScoreSettings) -> None:
        self.settings = settings

    def check(self, planned: PlannedInputs) -> None:
        check_features(self.settings, planned)
        refuse("inception-score", self._too_few(planned.samples))

    def _too_few(self, samples: int) -> str:
        splits = self.settings.splits
        return f"found {samples} samples, expected at least {splits}" if samples < splits else ""

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

        logits = load_features(
            inputs.samples, self.settings, inputs, inputs.known.get("samples", "")
        )
        if problem := self._too_few(len(logits)):
            raise StageError(f"inception-score: {problem}")
        found = isc_features_to_metric(torch.from_numpy(logits), splits=self.settings.splits)
        splits, layer = self.settings.splits, self.settings.layer
        differences = images_differ(inputs.data.spec, len(logits)) + sampling_note(
            inputs, len(logits)
        )
        differences += [] if splits == SPLITS else [f"{splits} splits instead of {SPLITS}"]
        differences += [] if layer == LOGITS else [f"layer {layer} instead of {LOGITS}"]
        protocol = compared(
            "inception-score",
            {
                **extractor_details(self.settings, LOGITS),
                "samples": len(logits),
                "splits": splits,
                **sampling_details(inputs),
            },
            "IS",
            differences,
        )
        value = float(found[KEY_METRIC_ISC_MEAN])
        spread = half_width(value * divergences(logits))
        return [
            _measurement("inception_score", "IS", value, "higher", len(logits), protocol, spread)
        ]


def divergences(logits: NDArray[Any]) -> NDArray[Any]:
    """KL(p(y|x) || p(y)) of each image in nats [N], whose mean is the log Inception Score."""
    from scipy.special import log_softmax  # plans do without

    log_probabilities = log_softmax(np.asarray(logits, dtype=np.float64), axis=1)
    marginal = np.exp(log_probabilities).mean(axis=0)
    found: NDArray[Any] = (np.exp(log_probabilities) * (log_probabilities - np.log(marginal))).sum(
        axis=1
    )
    return found


class NeighbourMetric(Metric):
    """Two numbers from nearest neighbours among samples and test images, or some of every class."""

    needs = ("samples",)
    name: str
    numbers: tuple[str, str]

    def __init__(self, settings: PrecisionRecallSettings) -> None:
        self.settings = settings

    def check(self, planned: PlannedInputs) -> None:
        check_features(self.settings, planned)
        counts = (planned.samples, len(planned.data.labels("test")), self.settings.images)
        refuse(self.name, too_few_neighbours(min(counts), self.settings.neighbours))

    def compare(self, samples: NDArray[Any], reference: NDArray[Any]) -> tuple[Estimate, Estimate]:
        """The two numbers for features [N, F] and [M, F]."""
        raise NotImplementedError

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        samples, reference = features_of(self.settings, inputs)
        if self.settings.images < len(samples):
            samples = samples[inputs.sample_subset(self.settings.images)]
        if self.settings.images < len(reference):
            reference = reference[inputs.data.subset("test", self.settings.images)]
        _check_neighbours(self.name, self.settings.neighbours, samples, reference)
        protocol = sample_protocol(
            self.name,
            self.settings,
            inputs,
            len(samples),
            len(reference),
            " and ".join(self.numbers),
            neighbours=self.settings.neighbours,
        )
        features = features_name(self.settings)
        return [
            _measurement(
                number,
                over_features(number, features),
                value,
                "higher",
                len(samples),
                protocol,
                spread,
            )
            for number, (value, spread) in zip(
                self.numbers, self.compare(samples, reference), strict=True
            )
        ]


class PrecisionRecall(NeighbourMetric):
    """Improved precision and recall (Kynkaanniemi et al. 2019)."""

    name, numbers = "precision-recall", ("precision", "recall")

    def compare(self, samples: NDArray[Any], reference: NDArray[Any]) -> tuple[Estimate, Estimate]:
        from torch_fidelity.metric_prc import (
            KEY_METRIC_PRECISION,
            KEY_METRIC_RECALL,
            prc_features_to_metric,
        )

        found = prc_features_to_metric(
            torch.from_numpy(samples),
            torch.from_numpy(reference),
            prc_neighborhood=self.settings.neighbours,
            prc_batch_size=1000,
            save_cpu_ram=True,
            verbose=False,
        )
        precision, recall = float(found[KEY_METRIC_PRECISION]), float(found[KEY_METRIC_RECALL])
        return (
            (precision, share_half_width(precision, len(samples))),
            (recall, share_half_width(recall, len(reference))),
        )


class DensityCoverage(NeighbourMetric):
    """Density and coverage (Naeem et al. 2020), which outliers among the test images move less."""

    name, numbers = "density-coverage", ("density", "coverage")

    def compare(self, samples: NDArray[Any], reference: NDArray[Any]) -> tuple[Estimate, Estimate]:
        density, coverage = density_coverage(samples, reference, self.settings.neighbours)
        return (float(density.mean()), half_width(density)), (
            float(coverage.mean()),
            share_half_width(float(coverage.mean()), len(coverage)),
        )


def density_coverage(
    samples: NDArray[Any], reference: NDArray[Any], neighbours: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Of features [N, F] and [M, F], with balls around the M that reach the k-th nearest of them.

    Density [N]: in how many balls each sample lies, over k (eq. 3). Coverage [M]: whether each ball
    holds a sample (eq. 5). Both numbers are the means.
    """
    inside = torch.zeros(len(samples), dtype=torch.int64)
    covered = []
    fake = torch.from_numpy(samples)
    for part in torch.split(torch.from_numpy(reference), 1000):
        radii = (
            torch.cdist(part, torch.from_numpy(reference)).kthvalue(neighbours + 1, dim=1).values
        )
        within = torch.cdist(part, fake) < radii[:, None]
        inside += within.sum(dim=0)
        covered.append(within.any(dim=1))
    return inside.numpy() / neighbours, torch.cat(covered).numpy()


def too_few_neighbours(count: int, neighbours: int) -> str:
    """Why there are too few images to have so many neighbours; empty if there are enough."""
    return (
        f"found {count} images, expected more than neighbours {neighbours}"
        if count <= neighbours
        else ""
    )


def _check_neighbours(metric: str, neighbours: int, *features: NDArray[Any]) -> None:
    if problem := too_few_neighbours(min(len(part) for part in features), neighbours):
        raise StageError(f"{metric}: {problem}")
    if any(np.ptp(part, axis=0).max() == 0 for part in features):
        raise StageError(
            f"{metric}: all images have the same features; expected images that differ"
        )


def _measurement(
    name: str,
    title: str,
    value: float,
    direction: Direction,
    count: int,
    protocol: Procedure,
    spread: float | None = None,
    against: Mapping[str, str] | None = None,
) -> Measurement:
    return Measurement(
        name=name,
        title=title,
        value=value,
        unit="",
        direction=direction,
        count=count,
        protocol=protocol,
        half_width=spread,
        against=against or {},
    )
