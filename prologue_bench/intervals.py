"""How far a number could move with other images of the same kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 1000


def half_width(values: NDArray[Any]) -> float | None:
    """Half of the 95% interval of the mean of values [N], by the bootstrap over images (Efron 1979, percentiles).

    A number that is no mean, such as a Fréchet distance, gives the influence of each image on it instead (Hampel
    1974): to first order, resampling images moves the number as it moves the mean of their influences. None for fewer
    than two.
    """
    from scipy.stats import bootstrap

    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        return None
    if np.ptp(values) == 0:
        return 0.0
    interval = bootstrap(
        (values,), np.mean, confidence_level=LEVEL, n_resamples=RESAMPLES, method="percentile",
        batch=max(1, 10**6 // len(values)), rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(interval.high - interval.low) / 2


def share_half_width(share: float, count: int) -> float | None:
    """The same for a share of `count` images, of which only the number that counted matters."""
    return half_width(np.arange(count) < round(share * count))
