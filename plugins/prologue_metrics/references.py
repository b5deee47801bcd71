"""Reference sets that come as .npz files, such as ADM's reference batches."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.errors import StageError
from prologue_bench.files import fingerprint
from prologue_bench.interfaces import MetricInputs
from prologue_metrics.features import load_features
from prologue_metrics.frechet import Moments, moments
from prologue_metrics.settings import FidSettings

MOMENTS = {"mu", "sigma"}
IMAGES = "arr_0"
"""Under which ADM's batches hold their images, [N, H, W, C]."""


def read_reference(path: Path, settings: FidSettings, inputs: MetricInputs) -> tuple[Moments, str]:
    """Moments of a reference file for the extractor of the settings, and the file's checksum.

    `mu` and `sigma` are Inception's and serve inception-v3-compat; features of any extractor come from the images in
    `arr_0`. Raises StageError when the file has neither, or its images are of another size or another number of
    channels than those that are measured.
    """
    arrays = _read(path, prefer_moments=settings.extractor == "inception-v3-compat")
    if set(arrays) >= MOMENTS:
        found = _given_moments(path, arrays)
    elif IMAGES in arrays:
        images = _images(path, arrays[IMAGES], inputs)
        found = moments(load_features(images, settings, inputs), str(path), settings.few_samples)
    else:
        missing = " and ".join(sorted(MOMENTS - set(arrays)))
        raise StageError(
            f"{path}: found {', '.join(sorted(arrays)) or 'nothing'}; {missing} missing, and so is {IMAGES}"
        )
    return found, fingerprint(path)


def _read(path: Path, prefer_moments: bool) -> Mapping[str, NDArray[Any]]:
    """The moments or the images; where there is neither, the names that there are. Only what is needed is read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            use_moments = set(file) >= MOMENTS and (prefer_moments or IMAGES not in file)
            wanted = MOMENTS if use_moments else {IMAGES}
            return {name: file[name] for name in wanted if name in file} or dict.fromkeys(set(file) - {IMAGES})
    except FileNotFoundError:
        raise StageError(f"{path}: no such file; expected an .npz with mu and sigma, or images as {IMAGES}") from None
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise StageError(f"{path}: cannot be read as .npz: {error}") from None


def _given_moments(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Moments:
    mean, covariance = (np.asarray(arrays[name], dtype=np.float64) for name in ("mu", "sigma"))
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise StageError(f"{path}: mu has shape {mean.shape} and sigma {covariance.shape}, expected [F] and [F, F]")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise StageError(f"{path}: mu or sigma hold NaN or infinity, expected finite numbers")
    return Moments(mean, covariance)


def _images(path: Path, images: NDArray[Any], inputs: MetricInputs) -> NDArray[Any]:
    """uint8 [N, C, H, W] of [N, H, W, C]."""
    spec = inputs.data.spec
    expected = (spec.height, spec.width, spec.channels)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
        raise StageError(
            f"{path}: found {IMAGES} of {images.dtype} {list(images.shape)}, expected uint8 [N, H, W, C] with "
            f"images of "
            f"{list(expected)} as in the data"
        )
    return images.transpose(0, 3, 1, 2)
