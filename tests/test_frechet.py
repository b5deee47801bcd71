"""The Fréchet distance against scipy, torch-fidelity and formulas, on ordinary and on degenerate inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from prologue_bench.errors import StageError
from prologue_metrics.frechet import Moments, distance_at_infinity, frechet_distance, moments, read_moments


def features(count: int, dimensions: int, seed: int, rank: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rank = rank or dimensions
    return rng.normal(size=(count, rank)) @ rng.normal(size=(rank, dimensions)) + rng.normal(size=dimensions)


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
    assert found == pytest.approx(fid_statistics_to_metric(*theirs, False)[KEY_METRIC_FID], rel=1e-6)


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
    with pytest.raises(StageError, match=r"gfid: found 20 images for 30 features.*few_samples: shrink"):
        moments(x, "gfid")
    shrunk = moments(x, "gfid", "shrink")
    assert shrunk.shrunk
    assert np.linalg.eigvalsh(shrunk.covariance).min() > 0


def test_nan_and_constant_images_are_one_line() -> None:
    with pytest.raises(StageError, match="gfid: found features that are no finite numbers"):
        moments(np.full((9, 2), np.nan), "gfid")
    with pytest.raises(StageError, match="gfid: found 9 images, all with the same features"):
        moments(np.ones((9, 2)), "gfid")


def test_a_reference_file_is_checked(tmp_path: Path) -> None:
    mean, covariance = np.arange(3.0), np.eye(3)
    np.savez(tmp_path / "adm.npz", mu=mean, sigma=covariance, arr_0=np.zeros(4))
    found, checksum = read_moments(tmp_path / "adm.npz")
    assert np.array_equal(found.covariance, covariance)
    assert len(checksum) == 16
    np.savez(tmp_path / "no.npz", mean=mean)
    with pytest.raises(StageError, match=r"no.npz: found mean; mu and sigma missing"):
        read_moments(tmp_path / "no.npz")
    np.savez(tmp_path / "odd.npz", mu=mean, sigma=np.eye(2))
    with pytest.raises(StageError, match=r"mu has shape \(3,\) and sigma \(2, 2\)"):
        read_moments(tmp_path / "odd.npz")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(StageError, match=r"text.npz: cannot be read as .npz"):
        read_moments(tmp_path / "text.npz")
    with pytest.raises(StageError, match="no such file"):
        read_moments(tmp_path / "none.npz")
    with pytest.raises(StageError, match="found 3 and 5 features, expected equally many"):
        frechet_distance(found, moments(features(40, 5, 0), "x"))


def test_extrapolation_takes_the_bias_of_few_samples_away() -> None:
    reference = moments(features(20000, 40, 5), "reference")
    same = features(20000, 40, 5)
    few = same[np.random.default_rng(0).choice(20000, 400, replace=False)]
    biased = frechet_distance(moments(few, "few"), reference)
    free = distance_at_infinity(few, reference, "few")
    assert abs(free) < biased / 3
