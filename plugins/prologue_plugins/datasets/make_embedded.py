"""Makes the files of `fashion-mnist-embedded` from the whole data set.

Run it by `python -m` with the name of this module.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts import Split
from prologue_plugins.datasets.fashion_mnist import FILES, FashionMnist
from prologue_plugins.datasets.settings import FashionMnistSettings

IMAGES_A_CLASS: dict[Split, int] = {"train": 800, "test": 200}


def write_idx(path: Path, array: NDArray[Any]) -> None:
    """Write a gzipped idx file; equal arrays give equal files."""
    header = b"\x00\x00\x08" + bytes([array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    path.write_bytes(
        gzip.compress(header + array.astype(np.uint8).tobytes(), compresslevel=9, mtime=0)
    )


def main() -> None:
    source = FashionMnist(FashionMnistSettings())
    folder = Path(__file__).parent / "embedded"
    folder.mkdir(exist_ok=True)
    for split, count in IMAGES_A_CLASS.items():
        labels = source.labels(split)
        chosen = np.sort(
            np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(10)])
        )
        write_idx(folder / f"{FILES[split, 'images']}.gz", source.images(split)[chosen, 0])
        write_idx(folder / f"{FILES[split, 'labels']}.gz", labels[chosen])


if __name__ == "__main__":
    main()
