"""Training images that no training sees, for choices that must not see the test images either."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts.data import DataSource, Factor, Split
from prologue_bench.contracts.images import ImageArray, ImageSpec
from prologue_bench.contracts.subsets import Picked


class WithoutHeldOut(DataSource):
    """A data source without a class-balanced subset of its training images; test images stay."""

    def __init__(self, data: DataSource, count: int) -> None:
        self.data, self.count, self.views = data, count, data.views
        self.held_out = data.subset("train", count)
        self.kept = np.setdiff1d(np.arange(len(data.labels("train"))), self.held_out)

    @property
    def spec(self) -> ImageSpec:
        return self.data.spec

    @property
    def fingerprint(self) -> str:
        text = f"{self.data.fingerprint}, {self.count} of train held out: {type(self).__name__}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def images(self, split: Split) -> ImageArray:
        return (
            Picked(self.data.images("train"), self.kept)
            if split == "train"
            else self.data.images("test")
        )

    def labels(self, split: Split) -> NDArray[Any]:
        labels: NDArray[Any] = self.data.labels(split)
        return labels[self.kept] if split == "train" else labels

    def names(self, split: Split) -> tuple[str, ...]:
        names = self.data.names(split)
        return tuple(names[each] for each in self.kept) if names and split == "train" else names

    def factors(self, split: Split) -> Mapping[str, Factor]:
        factors = self.data.factors(split)
        return _picked(factors, self.kept) if split == "train" else factors

    def training_views(self) -> ImageArray:
        return Picked(self.data.training_views(), self.kept, self.views)

    @property
    def notes(self) -> tuple[str, ...]:
        own = (
            f"{self.count} training images, a class-balanced subset with seed 0, "
            "are held out of all training; sampling settings are searched for on them"
        )
        return (*self.data.notes, own)


class HeldOut(WithoutHeldOut):
    """The same with the images that are held out in the place of the test images."""

    def images(self, split: Split) -> ImageArray:
        return (
            Picked(self.data.images("train"), self.held_out)
            if split == "test"
            else super().images(split)
        )

    def labels(self, split: Split) -> NDArray[Any]:
        return (
            self.data.labels("train")[self.held_out] if split == "test" else super().labels(split)
        )

    def names(self, split: Split) -> tuple[str, ...]:
        if split == "train":
            return super().names(split)
        names = self.data.names("train")
        return tuple(names[each] for each in self.held_out) if names else ()

    def factors(self, split: Split) -> Mapping[str, Factor]:
        return (
            _picked(self.data.factors("train"), self.held_out)
            if split == "test"
            else super().factors(split)
        )


def _picked(factors: Mapping[str, Factor], images: NDArray[np.int64]) -> dict[str, Factor]:
    """The factors of some images."""
    return {name: Factor(of.values[images], of.names) for name, of in factors.items()}
