"""What a row of a frozen tokenizer costs beside the tokenizer's own forward passes.

    python benchmarks/frozen_row.py --preset llamagen-vq16 --images 12 --size 256

An ablation measures PSNR, SSIM, codebook use and bits of the preset, with random weights, on
`shapes`; another process only encodes and decodes the same images. Both run on one thread. Prints
seconds of CPU of both, of their whole processes, and the ratio.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ABLATION = """
name: row
title: A row
data: {{use: shapes, size: {size}, train_images: {images}, test_images: {images}}}
profile: smoke
tokenizer: {{use: {preset}, weights: random}}
generator: {{use: ar}}
metrics: [psnr, ssim, codebook, token-bits]
seeds: [0]
"""
PASSES = """
import sys
import torch
from prologue_bench.config.resolving import resolve_alone
from prologue_bench.contracts import ImageSpec, to_bytes, to_float
from prologue_bench.pipeline.models import build_tokenizer
from prologue_bench.registry import Registry

preset, images, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
registry = Registry.load()
resolved = resolve_alone("tokenizer", preset, {"weights": "random"}, None, registry)
tokenizer = build_tokenizer(resolved, ImageSpec(channels=3, height=size, width=size)).eval()
shapes = registry.find("data", "shapes")
settings = shapes.load_settings()(size=size, train_images=images, test_images=images)
pixels = torch.from_numpy(shapes.load()(settings).images("test")[:])
with torch.inference_mode():
    to_bytes(tokenizer.decode(tokenizer.encode(to_float(pixels))))
"""


def seconds_of(command: list[str], folder: Path) -> float:
    """CPU seconds of a process and its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="llamagen-vq16")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--size", type=int, default=256)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "row.yaml").write_text(ABLATION.format(**vars(asked)))
        numbers = [str(asked.images), str(asked.size)]
        passes = seconds_of([sys.executable, "-c", PASSES, asked.preset, *numbers], folder)
        run = ["run", "row.yaml", "--jobs", "1", "--store", "store", "--out", "report"]
        row = seconds_of([sys.executable, "-m", "prologue_bench", *run], folder)
    print("| preset | images | passes alone, s | row, s | ratio |")
    print("| --- | ---: | ---: | ---: | ---: |")
    print(f"| {asked.preset} | {asked.images} | {passes:.1f} | {row:.1f} | {row / passes:.2f} |")


if __name__ == "__main__":
    main()
