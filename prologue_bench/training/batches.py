"""Arrays in memory or memory-mapped, read a whole batch at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from prologue_bench.interfaces import ImageArray

Batch = dict[str, Tensor]


class ArrayDataset(Dataset[Batch]):
    """Named arrays of equal length; fetching a list of indices gives one batch, without a collate step."""

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
        return {name: torch.from_numpy(np.asarray(array[indices])) for name, array in self.arrays.items()}


def whole_batch(batch: Batch) -> Batch:
    """The collate function of `ArrayDataset`: its batches are complete."""
    return batch
