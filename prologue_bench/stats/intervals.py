"""How far a number could move with other images of the same kind."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 1000
ROUNDING = 1e-12
"""Of the largest value: differences below this are those of rounding, and count as none."""


def half_width(values: NDArray[Any]) -> float | None:
    """Half of the 95% interval of the mean of values [N], by the bootstrap over images.

    Efron 1979, percentiles. A number that is no mean, such as a Fréchet distance, gives the
    influence of each image on it instead (Hampel 1974): to first order, resampling images moves the
    number as it moves the mean of their influences. Booleans are a share, and get the interval of
    one. None where nothing is known of the noise: for fewer than two values, for values that are
    all equal, and for some that are not finite.
    """
    import numpy as np
    from scipy.stats import bootstrap

    values = np.asarray(values)
    if values.dtype == np.bool_:
        return share_half_width(float(values.mean()), len(values)) if len(values) else None
    values = values.astype(np.float64)
    if (
        len(values) < 2
        or not np.isfinite(values).all()
        or np.ptp(values) <= ROUNDING * np.abs(values).max()
    ):
        return None
    interval = bootstrap(
        (values,),
        np.mean,
        confidence_level=LEVEL,
        n_resamples=RESAMPLES,
        method="percentile",
        batch=max(1, 10**6 // len(values)),
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.high - interval.low) / 2


def share_interval(share: float, count: int) -> tuple[float, float]:
    """The 95% interval of a share of `count` images (Wilson 1927), which has a width at 0 and 1."""
    from scipy.stats import binomtest

    found = binomtest(round(share * count), count).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def share_half_width(share: float, count: int) -> float | None:
    """How far Wilson's interval reaches from a share, to its farther end; None without images.

    The interval is not symmetric: share ± this width holds it whole.
    """
    if count < 1 or not math.isfinite(share):
        return None
    low, high = share_interval(share, count)
    return max(share - low, high - share)


def known_width(width: float | None) -> float | None:
    """A half width as results hold it; None for the 0 that earlier ones wrote for unknown."""
    return width if width and math.isfinite(width) else None
