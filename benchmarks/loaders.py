"""How many images per second training batches are read at, by number of worker processes.

    python benchmarks/loaders.py [--workers 0 1 2] [--size 256] [--edge 500]

Writes a folder of JPEG files of ImageNet's usual size, opens it as `image-folder`, and reads
batches as a training does. `memory` is an array of the same images, which nothing has to decode. A
GPU that trains on more images per second than these waits for them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from prologue_bench.contracts.images import ImageArray
from prologue_bench.registry import Registry
from prologue_bench.training.batches import ArrayDataset, Batch, Shuffled, loading, whole_batch

CLASSES = 4


def photographs(root: Path, count: int, edge: int) -> Path:
    """JPEG files of smooth noise, three quarters as high as wide: as long to decode as photographs.

    `count` training images of four classes, and a test image of each class.
    """
    rng = np.random.default_rng(0)
    for number in range(count + CLASSES):
        split = "train" if number < count else "val"
        folder = root / split / f"class{number % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        picture = coarse.resize((edge, edge * 3 // 4), Image.Resampling.BICUBIC)
        grain = rng.integers(-12, 13, (picture.height, picture.width, 3))
        pixels = np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=90)
    return root


def images_per_second(images: ImageArray, workers: int, batch_size: int, batches: int) -> float:
    """Of batches behind the first, which waits for the workers to start."""
    loader: DataLoader[Batch] = DataLoader(
        ArrayDataset({"images": images}),
        batch_size=batch_size,
        sampler=Shuffled(len(images), seed=0),
        collate_fn=whole_batch,  # type: ignore[arg-type]  # the sampler's list gives one batch
        **loading(workers, torch.device("cuda" if torch.cuda.is_available() else "cpu")),
    )
    read = iter(loader)
    next(read)
    begun = time.perf_counter()
    for _ in range(batches):
        next(read)
    return batches * batch_size / (time.perf_counter() - begun)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=400, help="files to write")
    parser.add_argument("--edge", type=int, default=500, help="pixels of their longer edge")
    parser.add_argument("--size", type=int, default=256, help="pixels of the crops")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=24)
    asked = parser.parse_args()
    found = Registry.load().find("data", "image-folder")
    with tempfile.TemporaryDirectory() as name:
        root = photographs(Path(name), asked.images, asked.edge)
        data = found.load()(found.load_settings()(root=str(root), size=asked.size))
        files = data.images("train")
        rows = [(f"files, workers: {each}", files, each) for each in asked.workers]
        rows.append(("memory", np.asarray(files[:]), 0))
        print(f"| images of {asked.size} pixels from | images/s |")
        print("| --- | ---: |")
        for title, images, workers in rows:
            rate = images_per_second(images, workers, asked.batch_size, asked.batches)
            print(f"| {title} | {rate:,.0f} |")


if __name__ == "__main__":
    main()
