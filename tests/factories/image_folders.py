"""Folders of images whose bytes, sizes and times tests change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prologue_bench.storage import checksums
from prologue_bench.storage.files import checksum
from prologue_plugins.datasets.imagenet import ClassFolders
from prologue_plugins.datasets.settings import ImageFolderSettings


def make_images(root: Path, kind: str = "bmp", seed: int = 0) -> Path:
    """Two classes of 8 x 8 noise: 6 training and 4 test images each, files of one size per kind."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", 6), ("val", 4)):
        for name in ("a", "b"):
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.{kind}")
    return root


def data(root: Path, size: int = 8) -> ClassFolders:
    return ClassFolders(ImageFolderSettings(root=str(root), size=size))


def keep_times(path: Path, change: Callable[[], object]) -> None:
    """Change a file and give it back the times that it had."""
    status = path.stat()
    change()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def settle() -> None:
    """Wait until files that were written show each further change in their times."""
    time.sleep(1.5 * checksums.FINE_TICK / 1e9)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are hashed from now on."""
    read: list[Path] = []
    monkeypatch.setattr(checksums, "checksum", lambda path: read.append(path) or checksum(path))
    return read
