"""Image files and folders of them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from prologue_plugins.datasets.imagenet import ClassFolders
from prologue_plugins.datasets.settings import ImageFolderSettings


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(bits: int, colour: int, row: bytes, width: int, **chunks: bytes) -> bytes:
    """A PNG of one row, byte by byte, for what Pillow cannot write."""

    def chunk(name: str, data: bytes) -> bytes:
        body = name.encode() + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    parts = [chunk("IHDR", struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0))]
    parts += [chunk(name, data) for name, data in chunks.items()]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [*parts, chunk("IDAT", zlib.compress(b"\0" + row)), chunk("IEND", b"")]
    )


def folder(
    root: Path, content: Callable[[int], bytes], ending: str = "png", classes: str = "ab"
) -> Path:
    for split in ("train", "val"):
        for label, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            for number in range(2):
                (root / split / name / f"{number}.{ending}").write_bytes(
                    content(4 * label + number)
                )
    return root


def plain(seed: int) -> bytes:
    levels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return encoded(Image.fromarray(levels))


def source(root: Path, **settings: Any) -> ClassFolders:
    return ClassFolders(ImageFolderSettings(root=str(root), size=8, **settings))


def image_folder(root: Path, classes: dict[str, tuple[int, int]]) -> Path:
    rng = np.random.default_rng(0)
    for name, counts in classes.items():
        for split, count in zip(("train", "val"), counts, strict=True):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                image = Image.fromarray(rng.integers(0, 256, (28, 28, 3), dtype=np.uint8))
                image.save(root / split / name / f"{index:03}.png")
    return root
