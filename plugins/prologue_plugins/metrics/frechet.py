"""The Fréchet distance between two Gaussians, in float64 and safe for singular covariances."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from prologue_bench.errors import StageError
from prologue_bench.stats.collapse import ALIKE

FewSamples = Literal["error", "shrink"]
POINTS = 10
"""Sample counts from which the distance for infinitely many is extrapolated."""


@frozen
class Moments:
    """Mean [F] and covariance [F, F] of a set of features, and whether the latter was shrunk."""

    mean: NDArray[Any]
    covariance: NDArray[Any]
    shrunk: bool = False

    @property
    def warning(self) -> str:
        """What is wrong with images that are all alike; empty otherwise."""
        return "" if self.covariance.any() else ALIKE


def moments(
    features: NDArray[Any], what: str, few: FewSamples = "error", made: bool = False
) -> Moments:
    """Moments of features [N, F] in float64.

    With no more samples than dimensions the covariance is singular and the distance far too large:
    that is an error, or the covariance is shrunk towards a multiple of the identity (Ledoit and
    Wolf 2004). Raises StageError for that, for features that are no numbers, and where all images
    have the same features, unless a model has `made` them: one that has collapsed makes them so.
    """
    features = np.asarray(features, dtype=np.float64)
    count, dimensions = features.shape
    if not np.isfinite(features).all():
        raise StageError(f"{what}: found features that are not finite numbers")
    if problem := too_few(count, dimensions, few):
        raise StageError(f"{what}: {problem}")
    if np.ptp(features, axis=0).max() == 0:
        if made:
            return Moments(features[0], np.zeros((dimensions, dimensions)))
        raise StageError(
            f"{what}: found {count} images, all with the same features; expected images that differ"
        )
    if count > dimensions:
        return Moments(features.mean(axis=0), np.cov(features, rowvar=False))
    from sklearn.covariance import ledoit_wolf

    return Moments(features.mean(axis=0), ledoit_wolf(features)[0], shrunk=True)


def too_few(count: int, dimensions: int, few: FewSamples = "error") -> str:
    """Why there are too few images for a covariance of the features; empty if there are enough."""
    if count < 2:
        return (
            f"found {count} images, all with the same features; expected at least two that differ"
        )
    if count <= dimensions and few == "error":
        return (
            f"found {count} images for {dimensions} features, expected more images than features; "
            "draw more, or set few_samples: shrink"
        )
    return ""


def too_few_to_extrapolate(count: int, dimensions: int) -> str:
    """Why there are too few images to extrapolate the distance from; empty if there are enough."""
    if max(dimensions + 1, count // 2) < count:
        return ""
    return f"found {count} images, expected many more than {dimensions} to extrapolate from"


def frechet_distance(first: Moments, second: Moments) -> float:
    """Squared distance |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (Heusel et al. 2017, eq. 6).

    The trace of the root is the sum of the roots of the eigenvalues of R S2 R with R = S1^(1/2),
    which is symmetric: no root of a product, which need not exist numerically. Raises StageError
    when the numbers of features differ.
    """
    if len(first.mean) != len(second.mean):
        raise StageError(
            f"found {len(first.mean)} and {len(second.mean)} features, "
            "expected equally many of images and reference"
        )
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second.covariance @ root), 0)).sum()
    distance = np.square(first.mean - second.mean).sum()
    return float(distance + np.trace(first.covariance) + np.trace(second.covariance) - 2 * overlap)


def distance_influences(features: NDArray[Any], own: Moments, reference: Moments) -> NDArray[Any]:
    """Influence of each image on the distance [N]: its derivative when the image gets more weight.

    With R the root of the reference's covariance and M = R S R, the distance changes with the mean
    m by 2 (m - m_r) and with the covariance S by I - R M^(-1/2) R (the derivative of tr M^(1/2)).
    Directions without variance are left out.
    """
    values, vectors = np.linalg.eigh(reference.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    spread, directions = np.linalg.eigh(root @ own.covariance @ root)
    kept = spread > 1e-10 * spread.max(initial=0.0)
    centred = np.asarray(features, dtype=np.float64) - own.mean
    projected = centred @ (root @ directions[:, kept])
    quadratic = np.square(centred).sum(axis=1) - (np.square(projected) / np.sqrt(spread[kept])).sum(
        axis=1
    )
    derivatives = 2 * centred @ (own.mean - reference.mean) + quadratic
    influences: NDArray[Any] = derivatives - derivatives.mean()
    return influences


def distance_at_infinity(features: NDArray[Any], reference: Moments, what: str) -> float:
    """The distance for infinitely many samples (Chong and Forsyth 2020).

    The distance's bias is linear in 1 / n: it is measured for several n, and the line's value at 1
    / n = 0 taken.
    """
    count, dimensions = features.shape
    if problem := too_few_to_extrapolate(count, dimensions):
        raise StageError(f"{what}: {problem}")
    smallest = max(dimensions + 1, count // 2)
    rng = np.random.default_rng(0)
    sizes = np.unique(np.linspace(smallest, count, POINTS).astype(int))
    found = [
        frechet_distance(
            moments(features[rng.choice(count, size, replace=False)], what, made=True), reference
        )
        for size in sizes
    ]
    _, intercept = np.polyfit(1 / sizes, found, 1)
    return float(intercept)
