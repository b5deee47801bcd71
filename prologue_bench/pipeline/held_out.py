"""Training images in the place of the test images, for choices that must not see those."""

from __future__ import annotations

import hashlib
from typing import Any

from numpy.typing import NDArray

from prologue_bench.interfaces import DataSource, ImageArray, ImageSpec, Split


class HeldOut(DataSource):
    """A data source whose test images are the last of its training images."""

    def __init__(self, data: DataSource, count: int) -> None:
        self.data = data
        self.count = min(count, len(data.labels("train")))

    @property
    def spec(self) -> ImageSpec:
        return self.data.spec

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.data.fingerprint} last {self.count} of train".encode()).hexdigest()[:16]

    def images(self, split: Split) -> ImageArray:
        return self.data.images("train")[-self.count :] if split == "test" else self.data.images("train")

    def labels(self, split: Split) -> NDArray[Any]:
        labels = self.data.labels("train")
        return labels[-self.count :] if split == "test" else labels
