"""Tar shards as webdataset writes them, read in place.

They hold KEY.jpg or the like, and the number of its class in KEY.cls.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from prologue_bench.contracts import Split
from prologue_bench.errors import MissingDataError, UserError, listed
from prologue_bench.storage.files import user_path
from prologue_plugins.datasets.classes import class_numbers, classes_by_folder
from prologue_plugins.datasets.decoding import IMAGES, is_image, is_other_image
from prologue_plugins.datasets.labelled import LabelledImages
from prologue_plugins.datasets.names import by_ending, shortened
from prologue_plugins.datasets.settings import WebDatasetSettings
from prologue_plugins.datasets.tars import TarShards

ONE_CLASS = "image"
WAYS = (
    "Set data.root to the folder of the shards, and data.train and data.test to patterns of their "
    "names, such as 'imagenet-train-*.tar'"
)


class WebDataset(LabelledImages):
    """Images of tar files, as square crops.

    Without .cls files, the folders within the tars are the classes; without such, all images are of
    one class.
    """

    def __init__(self, settings: WebDatasetSettings) -> None:
        if settings.root is None:
            raise MissingDataError(f"data set 'webdataset': no root is given. {WAYS}")
        root = user_path(settings.root)
        if root.is_file():
            raise MissingDataError(f"{root}: found a file, expected a folder. {WAYS}")
        self.shards: Mapping[Split, frozenset[str]] = {
            "train": _shards(root, settings.train, "train"),
            "test": _shards(root, settings.test, "test"),
        }
        if both := self.shards["train"] & self.shards["test"]:
            raise UserError(
                f"{root}: found {shortened(min(both))} both by data.train {settings.train!r} and "
                f"by data.test {settings.test!r}, expected each shard in one split"
            )
        shards = sorted(self.shards["train"] | self.shards["test"])
        super().__init__(TarShards(root, shards), settings)

    @property
    def notes(self) -> tuple[str, ...]:
        names = self.archive.names()
        others = [name for name in names if is_other_image(name)]
        own = f"left out: images in shards, {by_ending(others)}; read are {', '.join(IMAGES)}"
        unread = [name for name in names if not (is_image(name) or is_other_image(name))]
        # Beside .cls files, others are the rule; without them, they may hold the classes.
        is_untold = unread and not any(name.endswith(".cls") for name in unread)
        told = f"not read: {by_ending(unread)} in shards; expected the number of a class in a .cls"
        return (*super().notes, *([own] if others else []), *([told] if is_untold else []))

    @cached_property
    def _labelled(self) -> tuple[list[str], list[int], list[str]]:
        """Names of all images, their labels, and the names of the classes."""
        names = [name for name in self.archive.names() if is_image(name)]
        found = class_numbers(self.archive, names) or classes_by_folder(
            [name.partition(".tar/")[2] for name in names]
        )
        labels, classes = found or ([0] * len(names), [ONE_CLASS])
        return names, labels, classes

    @cached_property
    def _found(self) -> dict[Split, list[tuple[str, str]]]:
        names, labels, classes = self._labelled
        found: dict[Split, list[tuple[str, str]]] = {"train": [], "test": []}
        for name, label in zip(names, labels, strict=True):
            shard = TarShards.shard_of(name)
            split: Split = "train" if shard in self.shards["train"] else "test"
            found[split].append((name, classes[label]))
        for split, images in found.items():
            if not images:
                own = self.shards[split]
                there = by_ending(
                    [each for each in self.archive.names() if TarShards.shard_of(each) in own]
                )
                raise MissingDataError(
                    f"{self.archive.path}: found no {split} images with one of the endings "
                    f"{', '.join(IMAGES)} in its shards; found {there or 'nothing'}. {WAYS}"
                )
        return found

    @cached_property
    def _classes(self) -> list[str]:
        self._check_test_classes()
        return self._labelled[2]


def _shards(root: Path, pattern: str, split: Split) -> frozenset[str]:
    """The tars below a folder that a pattern names, by their paths in it.

    Raises MissingDataError where there is none.
    """
    try:
        found = [path.relative_to(root).as_posix() for path in root.glob(pattern)]
    except (OSError, ValueError, NotImplementedError):  # an absolute or an empty pattern
        found = []
    shards = frozenset(each for each in found if each.endswith(".tar"))
    if not shards:
        there = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.tar*"))
        raise MissingDataError(
            f"{root}: found no {split} shards {pattern!r}; found "
            f"{listed(there) if there else 'no .tar'}. {WAYS}"
        )
    return shards
