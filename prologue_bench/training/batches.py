"""Arrays in memory or memory-mapped, read by batches, in an order that can be entered anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from prologue_bench.contracts.images import ImageArray

Batch = dict[str, Tensor]


class ArrayDataset(Dataset[Batch]):
    """Named arrays of equal length; a list of indices gives one batch, without collating."""

    def __init__(self, arrays: Mapping[str, ImageArray]) -> None:
        self.arrays = arrays
        lengths = {len(array) for array in arrays.values()}
        if len(lengths) != 1:
            raise ValueError(f"arrays have lengths {sorted(lengths)}, expected one length")
        self.length = lengths.pop()
        self.metainfo: dict[str, Any] = {}
        """mmengine asks for it."""

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        return {
            name: torch.from_numpy(np.asarray(array[indices]))
            for name, array in self.arrays.items()
        }


class Shuffled(Sampler[int]):
    """Endless indices of `size` images, in a new random order for each pass.

    Each process takes its own of them. The order depends on the seed alone. The processes take
    turns in it, so together they read the same batches however many they are. It begins behind its
    first `start` indices, of all processes together, for a training that goes on: what lies before
    is not read, and costs one random order for each whole pass.

    Raises ValueError for no images at all, over which there would be no end to look for one.
    """

    def __init__(self, size: int, seed: int, start: int = 0, rank: int = 0, world: int = 1) -> None:
        if size < 1:
            raise ValueError("found no training images, expected at least one")
        self.size, self.seed, self.start, self.rank, self.world = size, seed, start, rank, world

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        return islice(self._all(), self.rank, None, self.world)

    def _all(self) -> Iterator[int]:
        """The indices of all processes."""
        rng = torch.Generator().manual_seed(self.seed)
        passes, begun = divmod(self.start, self.size)
        for _ in range(passes):
            torch.randperm(self.size, generator=rng)
        while True:
            yield from torch.randperm(self.size, generator=rng)[begun:].tolist()
            begun = 0


AHEAD = 4
"""Batches that each process reads ahead of the training."""


def loading(workers: int, device: torch.device) -> dict[str, Any]:
    """Arguments of a DataLoader that keeps the device busy.

    Batches are read ahead by `workers` processes, and for a GPU into pinned memory, from which they
    are copied while it computes.
    """
    arguments: dict[str, Any] = {"num_workers": workers, "pin_memory": device.type == "cuda"}
    if workers:
        arguments |= {"persistent_workers": True, "prefetch_factor": AHEAD}
    return arguments


def whole_batch(batch: Batch) -> Batch:
    """The collate function of `ArrayDataset`: its batches are complete."""
    return batch
