"""Reference sets that come as .npz files, such as ADM's reference batches."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts import ImageSpec, MetricInputs
from prologue_bench.errors import StageError, UserError
from prologue_bench.storage.checksums import fingerprint, known_checksum
from prologue_bench.storage.npz import read_arrays, read_headers
from prologue_plugins.metrics.features import load_features
from prologue_plugins.metrics.frechet import Moments, moments, too_few
from prologue_plugins.metrics.settings import FidSettings

SYMMETRY = 1e-4
"""By how much of its largest entry a covariance may differ from its transpose: published ones are
rounded."""
MOMENTS = {"mu", "sigma"}
IMAGES = "arr_0"
"""Under which ADM's batches hold their images, [N, H, W, C]."""
EXPECTED = f"an .npz with mu and sigma, or images as {IMAGES}"


def read_reference(path: Path, settings: FidSettings, inputs: MetricInputs) -> tuple[Moments, str]:
    """Moments of a reference file for the extractor of the settings, and the file's checksum.

    `mu` and `sigma` are Inception's and serve inception-v3-compat; features of any extractor come
    from the images in `arr_0`. Raises StageError when the file has neither, or its images are of
    another size or another number of channels than those that are measured.
    """
    names = read_headers(path, EXPECTED)
    if _uses_moments(names, settings.extractor == "inception-v3-compat"):
        found = _given_moments(path, _read(path, MOMENTS))
    elif IMAGES in names:
        # Features in the cache are of images that were checked; the file is then not read.
        known = f"{IMAGES} of {known_checksum(path)} as {_expected(inputs.data.spec)}"
        features = load_features(
            lambda: _images(path, _read(path, {IMAGES})[IMAGES], inputs), settings, inputs, known
        )
        found = moments(features, str(path), settings.few_samples)
    else:
        raise _neither(path, names)
    return found, fingerprint(path)


def check_reference(path: Path, settings: FidSettings, images: ImageSpec, features: int) -> None:
    """Raises UserError for a file that `read_reference` could not take for so many features.

    Moments are read; of images only their shape is, since they may be gigabytes.
    """
    try:
        headers = read_headers(path, EXPECTED)
        use_moments = _uses_moments(headers, settings.extractor == "inception-v3-compat")
        if use_moments and len(headers["mu"][0]) == 1 and headers["mu"][0] != (features,):
            problem = f"found mu of {headers['mu'][0][0]} features, expected {features}"
        elif use_moments:
            found = _given_moments(path, _read(path, MOMENTS))
            problem = (
                ""
                if len(found.mean) == features
                else f"found mu of {len(found.mean)} features, expected {features}"
            )
        elif IMAGES in headers:
            shape, dtype = headers[IMAGES]
            _check_images(path, shape, dtype, images)
            problem = too_few(shape[0], features, settings.few_samples)
        else:
            raise _neither(path, headers)
    except StageError as error:
        raise UserError(str(error)) from None
    if problem:
        raise UserError(f"{path}: {problem}")


def _uses_moments(names: Collection[str], prefer_moments: bool) -> bool:
    return set(names) >= MOMENTS and (prefer_moments or IMAGES not in names)


def _neither(path: Path, names: Collection[str]) -> StageError:
    missing = " and ".join(sorted(MOMENTS - set(names)))
    return StageError(
        f"{path}: found {', '.join(sorted(names)) or 'nothing'}; {missing} missing, "
        f"and so is {IMAGES}"
    )


def _read(path: Path, names: Collection[str]) -> Mapping[str, NDArray[Any]]:
    return read_arrays(path, names, EXPECTED)


def _given_moments(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Moments:
    for name in sorted(MOMENTS):
        if arrays[name].dtype.kind not in "fiu":
            raise StageError(f"{path}: found {name} of {arrays[name].dtype}, expected numbers")
    mean, covariance = (np.asarray(arrays[name], dtype=np.float64) for name in ("mu", "sigma"))
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise StageError(
            f"{path}: mu has shape {mean.shape} and sigma {covariance.shape}, "
            "expected [F] and [F, F]"
        )
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise StageError(f"{path}: mu or sigma hold NaN or infinity, expected finite numbers")
    largest = np.abs(covariance).max(initial=0.0)
    if (
        np.abs(covariance - covariance.T).max(initial=0.0) > SYMMETRY * largest
        or (np.diag(covariance) < 0).any()
    ):
        raise StageError(
            f"{path}: sigma is not a covariance, which is symmetric and has no negative variance"
        )
    return Moments(mean, covariance)


def _images(path: Path, images: NDArray[Any], inputs: MetricInputs) -> NDArray[Any]:
    """uint8 [N, C, H, W] of [N, H, W, C]."""
    _check_images(path, images.shape, images.dtype, inputs.data.spec)
    return images.transpose(0, 3, 1, 2)


def _check_images(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], spec: ImageSpec
) -> None:
    expected = _expected(spec)
    if dtype != np.uint8 or len(shape) != 4 or list(shape[1:]) != expected:
        raise StageError(
            f"{path}: found {IMAGES} of {dtype} {list(shape)}, "
            f"expected uint8 [N, H, W, C] with images of {expected} as in the data"
        )


def _expected(spec: ImageSpec) -> list[int]:
    """Height, width and channels of the images that are measured."""
    return [spec.height, spec.width, spec.channels]
