"""The Fréchet distance against scipy, torch-fidelity and formulas, also on degenerate inputs."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch_fidelity.metric_fid import (
    KEY_METRIC_FID,
    fid_features_to_statistics,
    fid_statistics_to_metric,
)

from prologue_bench.errors import StageError
from prologue_bench.stats.intervals import half_width
from prologue_plugins.metrics.frechet import (
    Moments,
    distance_at_infinity,
    distance_influences,
    frechet_distance,
    moments,
)


def features(count: int, dimensions: int, seed: int, rank: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rank = rank or dimensions
    return rng.normal(size=(count, rank)) @ rng.normal(size=(rank, dimensions)) + rng.normal(
        size=dimensions
    )


@pytest.mark.parametrize(("count", "dimensions"), [(50, 3), (300, 20), (500, 100)])
def test_it_is_scipy_s_and_torch_fidelity_s(count: int, dimensions: int) -> None:
    x, y = features(count, dimensions, 0), features(count + 7, dimensions, 1)
    found = frechet_distance(moments(x, "x"), moments(y, "y"))
    root = scipy.linalg.sqrtm(np.cov(x, rowvar=False) @ np.cov(y, rowvar=False)).real
    mean = np.square(x.mean(0) - y.mean(0)).sum()
    assert found == pytest.approx(
        mean + np.trace(np.cov(x, rowvar=False) + np.cov(y, rowvar=False) - 2 * root), rel=1e-7
    )
    theirs = [fid_features_to_statistics(torch.from_numpy(part)) for part in (x, y)]
    assert found == pytest.approx(
        fid_statistics_to_metric(*theirs, False)[KEY_METRIC_FID], rel=1e-6
    )


def test_singular_covariances_do_not_fail() -> None:
    x, y = features(200, 20, 0, rank=5), features(200, 20, 1, rank=4)
    found = frechet_distance(moments(x, "x"), moments(y, "y"))
    assert np.isfinite(found)
    assert found > 0
    assert frechet_distance(moments(x, "x"), moments(x, "x")) == pytest.approx(0, abs=1e-5)
    # Two one-dimensional Gaussians in orthogonal directions: the roots do not overlap at all.
    flat = [Moments(np.zeros(2), np.diag(part)) for part in ([4.0, 0.0], [0.0, 9.0])]
    assert frechet_distance(*flat) == pytest.approx(13)


def test_few_images_are_an_error_or_a_stated_shrinkage() -> None:
    x = features(20, 30, 0)
    with pytest.raises(
        StageError, match=r"gfid: found 20 images for 30 features.*few_samples: shrink"
    ):
        moments(x, "gfid")
    shrunk = moments(x, "gfid", "shrink")
    assert shrunk.shrunk
    assert np.linalg.eigvalsh(shrunk.covariance).min() > 0


def test_nan_and_constant_images_are_one_line() -> None:
    with pytest.raises(StageError, match="gfid: found features that are not finite numbers"):
        moments(np.full((9, 2), np.nan), "gfid")
    with pytest.raises(StageError, match="gfid: found 9 images, all with the same features"):
        moments(np.ones((9, 2)), "gfid")


def test_a_model_whose_images_are_all_alike_has_a_distance_and_a_warning() -> None:
    reference = moments(features(40, 3, 0), "reference")
    alike = np.full((40, 3), 2.0)
    own = moments(alike, "gfid", made=True)
    assert own.warning == "all images have the same features"
    assert not reference.warning
    expected = np.square(2.0 - reference.mean).sum() + np.trace(reference.covariance)
    assert frechet_distance(own, reference) == pytest.approx(expected)
    assert np.isfinite(distance_influences(alike, own, reference)).all()
    assert frechet_distance(own, own) == 0


def test_different_numbers_of_features_are_one_line() -> None:
    with pytest.raises(StageError, match="found 3 and 5 features, expected equally many"):
        frechet_distance(moments(features(40, 3, 0), "x"), moments(features(40, 5, 0), "x"))


def test_influences_are_derivatives_of_the_distance() -> None:
    x, reference = features(300, 12, 0), moments(features(400, 12, 1), "reference")
    own = Moments(x.mean(0), np.cov(x, rowvar=False, bias=True))
    influences = distance_influences(x, own, reference)
    for index in (0, 17, 200):
        changes = []
        for step in (-1e-4, 1e-4):  # a little more weight for one image
            weights = np.full(len(x), 1 / len(x)) * (1 - step)
            weights[index] += step
            mean = weights @ x
            covariance = (x - mean).T @ ((x - mean) * weights[:, None])
            changes.append(frechet_distance(Moments(mean, covariance), reference))
        assert influences[index] == pytest.approx(
            (changes[1] - changes[0]) / 2e-4, rel=1e-3, abs=1e-2
        )


def test_the_interval_is_that_of_resampling_the_images() -> None:
    x, reference = features(600, 8, 0), moments(features(900, 8, 1), "reference")
    rng = np.random.default_rng(0)
    resampled = [
        frechet_distance(moments(x[rng.integers(600, size=600)], "x"), reference)
        for _ in range(400)
    ]
    low, high = np.percentile(resampled, [2.5, 97.5])
    found = half_width(distance_influences(x, moments(x, "x"), reference))
    assert found == pytest.approx((high - low) / 2, rel=0.15)


def test_an_interval_of_singular_covariances_is_finite() -> None:
    x, reference = features(200, 20, 0, rank=5), moments(features(200, 20, 1, rank=4), "reference")
    assert np.isfinite(distance_influences(x, moments(x, "x"), reference)).all()


def test_extrapolation_takes_the_bias_of_few_samples_away() -> None:
    reference = moments(features(20000, 40, 5), "reference")
    same = features(20000, 40, 5)
    few = same[np.random.default_rng(0).choice(20000, 400, replace=False)]
    biased = frechet_distance(moments(few, "few"), reference)
    free = distance_at_infinity(few, reference, "few")
    assert abs(free) < biased / 3
