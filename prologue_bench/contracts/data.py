"""What a data source is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from attrs import frozen

from prologue_bench.contracts.subsets import class_balanced

if TYPE_CHECKING:
    from numpy.typing import NDArray
from prologue_bench.contracts.images import ImageArray, ImageSpec

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@frozen(eq=False)
class Factor:
    """What is known of each image of a split, such as its colour.

    `values` are int64 [N], places in `names`; without names they are finite floats [N].
    """

    values: NDArray[Any]
    names: tuple[str, ...] = ()


class DataSource(ABC):
    """Splits of images and labels. The constructor takes the component's settings.

    The order of a split is the source's own affair, and is often class by class: whoever needs
    fewer images takes a `subset`, never the first or last ones.

    Raises MissingDataError, from `spec` at the latest, when the images cannot be found. Where
    `may_fetch()` of `prologue_bench.contracts.fetching` is false, a run is only planned, and images
    that would have to be fetched are missing.
    """

    def outline(self) -> DataSource:
        """What a plan sees of the data.

        That is the source itself, where `spec`, `fingerprint` and `labels` decode no image. Others
        return a source that knows these without decoding, such as from names of files. Where they
        may turn out otherwise, its `notes` say so, and its `fingerprint` is a text that no source
        has. Its `images` raise MissingDataError.
        """
        return self

    @property
    @abstractmethod
    def spec(self) -> ImageSpec:
        """Shape of the images and names of the classes."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A short text that changes when any image, label or their order changes."""

    @abstractmethod
    def images(self, split: Split) -> ImageArray:
        """All images of a split, uint8 [N, C, H, W].

        They may be memory-mapped, or read when they are asked for.
        """

    @abstractmethod
    def labels(self, split: Split) -> NDArray[Any]:
        """The labels of a split, int64 [N]."""

    def names(self, split: Split) -> tuple[str, ...]:
        """What each image of a split is called, such as the path of its file; empty without names.

        `measure` pairs reconstructions with their images by these.
        """
        return ()

    def factors(self, split: Split) -> Mapping[str, Factor]:
        """What is known of how the images came about, by name; nothing for most data.

        Both splits have the same factors, with the same names of values. As labels, they are known
        without decoding an image, and the fingerprint changes with them.
        """
        return {}

    def subset(self, split: Split, count: int, seed: int = 0) -> NDArray[np.int64]:
        """Sorted indices of `count` images of a split, equally many of every class.

        Those of all images where there are no more. The classes' counts differ by at most one; a
        class with too few images gives all of them, and the others the rest. Equal labels and seeds
        (0 or more) give equal indices, and a smaller count a part of a larger one's.
        """
        return class_balanced(self.labels(split), count, seed)

    views: int = 1
    """Views of each training image in `training_views`, V."""

    def training_views(self) -> ImageArray:
        """What tokenizers train on, and generators get tokens of: uint8 [N * V, C, H, W], by image.

        Several views are crops and flips; the first is the central one.
        """
        return self.images("train")

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results should know about the data, such as images left out."""
        return ()
