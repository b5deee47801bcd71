"""Cached token ids: int32 [M, L] in SPLIT.npy, or in shards SPLIT-00000.npy, ... for many.

Ids of vocabularies beyond int32 are int64.

Arrays are memory-mapped, so that a data set's tokens need not fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.storage.artifacts import Artifact
from prologue_bench.storage.files import write_array

SHARD = 100_000
"""Images in a shard. An interrupted encoding goes on behind its last complete shard."""


def write_shards(
    folder: Path,
    split: str,
    count: int,
    encode: Callable[[int, int], NDArray[Any]],
    mine: Callable[[int], bool],
    written: Callable[[Path], None] = lambda path: None,
    kind: type[np.int32 | np.int64] = np.int32,
) -> None:
    """Write those shards of `count` images that are mine and missing, and call `written` with each.

    `encode(start, stop)` returns ids [stop - start, L], which are written as `kind`.
    """
    starts = range(0, count, SHARD)
    for number, start in enumerate(starts):
        path = folder / (f"{split}.npy" if len(starts) == 1 else f"{split}-{number:05}.npy")
        if mine(number) and not path.exists():
            write_array(path, encode(start, min(start + SHARD, count)).astype(kind))
            written(path)


def kind_of_ids(layout: TokenLayout) -> type[np.int32 | np.int64]:
    """The type that holds every id of a layout's tokens."""
    largest = max(segment.vocabulary for segment in layout)
    return np.int32 if largest <= 2**31 else np.int64


def open_tokens(folder: Path | Artifact, split: str) -> NDArray[Any] | Shards:
    """The ids of a split, memory-mapped.

    Of an artifact only the files that belong to it are looked at.
    """
    names = (
        folder.files if isinstance(folder, Artifact) else [path.name for path in folder.iterdir()]
    )
    if f"{split}.npy" in names:
        array: NDArray[Any] = np.load(folder / f"{split}.npy", mmap_mode="r")
        return array
    shards = [name for name in sorted(names) if fnmatchcase(name, f"{split}-*.npy")]
    return Shards([np.load(folder / name, mmap_mode="r") for name in shards])


def read_tokens(folder: Path | Artifact, split: str, every: int = 1) -> NDArray[Any]:
    """The ids int64 of every n-th image of a split, in memory."""
    tokens = open_tokens(folder, split)
    array: NDArray[Any] = np.asarray(tokens[::every], dtype=np.int64)
    return array


class Shards:
    """Several arrays [m, L] read as one [M, L]."""

    def __init__(self, parts: Sequence[NDArray[Any]]) -> None:
        self.parts = parts
        self.starts = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any], /) -> NDArray[Any]:
        numbers = np.arange(len(self))[index] if isinstance(index, slice) else np.asarray(index)
        if np.any((numbers < 0) | (numbers >= len(self))):
            raise IndexError(f"tokens are numbered from 0 to {len(self) - 1}")
        out = np.empty((len(numbers), self.parts[0].shape[1]), self.parts[0].dtype)
        owners = np.searchsorted(self.starts, numbers, side="right") - 1
        for owner in np.unique(owners):
            chosen = owners == owner
            out[chosen] = self.parts[owner][numbers[chosen] - self.starts[owner]]
        return out
