"""CIFAR-10 (Krizhevsky 2009), as torchvision reads it."""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts import DataSource, ImageSpec, Split
from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.storage.files import user_cache, user_path
from prologue_plugins.datasets.downloads import torchvision_class, why_not_fetched
from prologue_plugins.datasets.names import first_line
from prologue_plugins.datasets.settings import Cifar10Settings

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
FOLDER = "cifar-10-batches-py"
"""What torchvision unpacks, within the folder that it is given."""
WAYS = (
    f"Set CIFAR10 or --set data.root=FOLDER to the folder that holds {FOLDER}/, which is what "
    "cifar-10-python.tar.gz of https://www.cs.toronto.edu/~kriz/cifar.html unpacks to"
)


class Cifar10(DataSource):
    """50,000 images to train on and 10,000 to test on."""

    def __init__(self, settings: Cifar10Settings) -> None:
        self.folder = _located(settings)

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec(channels=3, height=32, width=32, class_names=CLASSES)

    @cached_property
    def fingerprint(self) -> str:
        """Of pixels and labels."""
        digest = hashlib.sha256()
        for images, labels in self._splits.values():
            digest.update(images.tobytes())
            digest.update(labels.tobytes())
        return digest.hexdigest()[:16]

    def images(self, split: Split) -> NDArray[Any]:
        return self._splits[split][0]

    def labels(self, split: Split) -> NDArray[Any]:
        return self._splits[split][1]

    @cached_property
    def _splits(self) -> dict[Split, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Images uint8 [N, 3, 32, 32] and labels int64 [N].

        The files are pickles: torchvision looks at them only after their MD5. Raises UserError
        where that is another than the published one.
        """
        found: dict[Split, tuple[NDArray[np.uint8], NDArray[np.int64]]] = {}
        splits: tuple[tuple[Split, bool], ...] = (("train", True), ("test", False))
        for split, train in splits:
            try:
                read = torchvision_class("CIFAR10")(str(self.folder), train=train)
            except Exception as error:
                raise UserError(
                    f"{self.folder / FOLDER}: cannot be read: {first_line(error)}; unpack "
                    "cifar-10-python.tar.gz again"
                ) from None
            images = np.ascontiguousarray(read.data.transpose(0, 3, 1, 2))
            found[split] = images, np.asarray(read.targets, dtype=np.int64)
        return found


def _located(settings: Cifar10Settings) -> Path:
    """The first folder that has the data: root, environment, cache or download."""
    named = settings.root or os.environ.get("CIFAR10")
    if named:
        root = user_path(named)
        folder = root.parent if root.name == FOLDER else root
        if not (folder / FOLDER).is_dir():
            raise MissingDataError(f"{root}: found no folder {FOLDER}, expected one. {WAYS}")
        return folder
    cache = user_cache() / "data" / "CIFAR10"
    if (cache / FOLDER).is_dir():
        return cache
    if reason := why_not_fetched("CIFAR10", cache, settings.download):
        raise MissingDataError(f"data set 'cifar10' was not found ({reason}). {WAYS}")
    return cache
