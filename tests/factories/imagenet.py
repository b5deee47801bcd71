"""ImageNet's files, in small."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

SYNSETS = {
    "n01440764": "tench, Tinca tinca",
    "n01443537": "goldfish, Carassius auratus",
    "n01484850": "great white shark",
}


def jpeg(seed: int, size: tuple[int, int] = (60, 40)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(out, "JPEG", quality=95)
    return out.getvalue()


def files(broken: int = 0, per_class: int = 4) -> dict[str, bytes]:
    """What the competition's zip holds, in small."""
    content: dict[str, bytes] = {}
    for row, synset in enumerate(SYNSETS):
        for number in range(per_class):
            content[f"ILSVRC/Data/CLS-LOC/train/{synset}/{synset}_{number}.JPEG"] = jpeg(
                10 * row + number
            )
    solution = ["ImageId,PredictionString"]
    for number, synset in enumerate([*reversed(SYNSETS), *SYNSETS]):
        image = f"ILSVRC2012_val_{number + 1:08}"
        content[f"ILSVRC/Data/CLS-LOC/val/{image}.JPEG"] = jpeg(100 + number)
        solution.append(f"{image},{synset} 1 2 3 4 ")
    content["ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG"] = jpeg(7)
    content["LOC_val_solution.csv"] = "\n".join(solution).encode()
    content["LOC_synset_mapping.txt"] = "\n".join(
        f"{key} {text}" for key, text in SYNSETS.items()
    ).encode()
    for name in sorted(name for name in content if "/train/" in name)[:broken]:
        content[name] = content[name][: len(content[name]) // 2]
    return content


def make_zip(path: Path, **options: int) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files(**options).items():
            archive.writestr(name, data)
    return path
