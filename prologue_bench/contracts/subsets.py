"""Taking fewer images than there are: equally many of every class, and the same ones each time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from prologue_bench.contracts.images import ImageArray


def class_balanced(labels: NDArray[Any], count: int, seed: int = 0) -> NDArray[np.int64]:
    """Sorted indices of `count` of the images with these labels [N]; of all if there are no more.

    The classes' counts differ by at most one; a class with too few gives all that it has, and the
    others the rest. Equal labels give equal indices, and a smaller count gives a part of what a
    larger one gives. Which classes give one more depends on the seed alone, so it is the same
    classes for other images. Raises ValueError for a count below 0.
    """
    if count < 0:
        raise ValueError(f"count must be >= 0: {count}")
    rank, _, place = _ranks(labels, seed)
    return np.sort(np.lexsort((place, rank))[:count])


def stratified(labels: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Sorted indices of `count` of the images with these labels [N], each class in its proportion.

    The first image of a class is taken last, so that what is left has every class as long as it
    can. Raises ValueError for a count below 0 or above N.
    """
    if not 0 <= count <= len(labels):
        raise ValueError(f"count must be from 0 to {len(labels)}: {count}")
    rank, size, place = _ranks(labels, seed=0)
    return np.sort(np.lexsort((place, rank / size))[len(labels) - count :])


def describe_subset(of: str, count: int, whole: int) -> str:
    """What a protocol says of `count` images out of a `whole`, by `class_balanced` with seed 0."""
    if count >= whole:
        return f"{of}, {whole} images"
    return f"class-balanced subset of {count} of the {whole} images of the {of}, seed 0"


SUBSETS = (
    re.compile(r"(?P<split>train|test) split, (?P<whole>\d+) images"),
    re.compile(
        r"class-balanced subset of (?P<some>\d+) of the (?P<whole>\d+) images "
        r"of the (?P<split>train|test) split"
    ),
)
"""How results read what `describe_subset` says of the data's splits."""


def describe_choice(count: int, whole: int, balanced: bool = True, seed: int = 0) -> str:
    """What a protocol says of `count` images out of a set of a `whole` that has no name."""
    kind = "class-balanced" if balanced else "random"
    return f"{kind} subset of {count} of {whole}, seed {seed}"


class Picked:
    """Some of an array's images, read when they are asked for: uint8 [n * views, C, H, W].

    `views` is how many neighbouring images of the array belong to one index.
    """

    def __init__(self, array: ImageArray, indices: NDArray[np.int64], views: int = 1) -> None:
        self.array, self.indices, self.views = array, indices, views

    def __len__(self) -> int:
        return len(self.indices) * self.views

    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any], /) -> NDArray[Any]:
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        image, view = np.divmod(np.asarray(index, dtype=np.int64), self.views)
        return np.asarray(self.array[self.indices[image] * self.views + view])


def _ranks(labels: NDArray[Any], seed: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Each image's place in a random order of its class, the class's size, and its turn."""
    labels = np.asarray(labels, dtype=np.int64)
    sizes = np.bincount(labels)
    by_class = np.lexsort((_words(len(labels), seed, "images"), labels))
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    turns = _words(len(sizes), seed, "classes")
    return rank, sizes[labels], turns[labels]


def _words(count: int, seed: int, what: str) -> NDArray[np.uint64]:
    """Random words [count], the first of a fixed stream.

    Unlike `Generator`'s they never change with NumPy.
    """
    words: NDArray[np.uint64] = np.random.PCG64([seed, *what.encode()]).random_raw(count)
    return words
