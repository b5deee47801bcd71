"""One number, and where it stands."""

from __future__ import annotations

from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class Measured:
    """One number of one run.

    `protocol` is equal where numbers may be compared. `half_width` is half of the 95% interval over
    images, None where it is not known. `artifact` is equal where a number is one and the same
    measurement; empty where that is not known.
    """

    variant: str
    seed: int
    sampling_seed: int
    metric: str
    title: str
    value: float
    unit: str
    direction: Literal["lower", "higher", "neutral"]
    count: int
    half_width: float | None
    protocol: str
    detail: bool
    artifact: str
