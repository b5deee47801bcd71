"""ImageNet (Russakovsky et al. 2015) and other folders of classes, decoded when they are asked for.

ImageNet is read from the Kaggle competition's zip in place, from the same files unpacked, or from a
folder with one subfolder per class under train/ and val/.
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from attrs import frozen

from prologue_bench.contracts import Split
from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.storage.files import user_path
from prologue_bench.texts.lines import escaped
from prologue_plugins.datasets.archives import open_archive
from prologue_plugins.datasets.decoding import IMAGES, broken_because, is_image
from prologue_plugins.datasets.labelled import LabelledImages, counted, some_of
from prologue_plugins.datasets.names import by_ending, shortened
from prologue_plugins.datasets.settings import ImageFolderSettings, ImageNetSettings

KAGGLE_FOLDER = "ILSVRC/Data/CLS-LOC/"
VALIDATION_LABELS = "LOC_val_solution.csv"
CLASS_NAMES = "LOC_synset_mapping.txt"
IMAGENET_WAYS = (
    "Set IMAGENET or --set data.root=PATH to imagenet-object-localization-challenge.zip of the "
    "Kaggle competition (read in place), to its unpacked folder, "
    "or to a folder with train/CLASS/ and val/CLASS/"
)
FOLDER_WAYS = (
    "Set --set data.root=PATH to a folder or zip with train/CLASS/ and val/CLASS/ or test/CLASS/"
)
FOLDERS = ("train", "val", "test")


@frozen
class ClassFile:
    """A file in SPLIT/CLASS/: its name in the archive, where SPLIT/ lies, SPLIT and CLASS."""

    name: str
    place: str
    folder: str
    of: str


class ClassFolders(LabelledImages):
    """Images in one folder per class, as square crops."""

    ways = FOLDER_WAYS
    settings: ImageFolderSettings

    def __init__(self, settings: ImageFolderSettings) -> None:
        self.settings = settings
        super().__init__(open_archive(self._root(), self.ways), settings)

    def _root(self) -> Path:
        if self.settings.root is None:
            raise MissingDataError(f"data set 'image-folder': no root is given. {self.ways}")
        return user_path(self.settings.root)

    @property
    def notes(self) -> tuple[str, ...]:
        found = list(super().notes)
        if elsewhere := self._elsewhere():
            found.append(
                f"left out: {counted(len(elsewhere))} not directly inside a folder SPLIT/CLASS/: "
                f"{some_of(elsewhere)}"
            )
        places = {file.place for file in self._class_files if is_image(file.name)}
        others = [
            file.name
            for file in self._class_files
            if file.place in places and not is_image(file.name)
        ]
        if others:
            found.append(
                f"left out: files in folders of classes, {by_ending(others)}; "
                f"read are {', '.join(IMAGES)}"
            )
        return tuple(found)

    @cached_property
    def _class_files(self) -> list[ClassFile]:
        """All files in folders of classes."""
        split = [(name, name.split("/")) for name in self.archive.names()]
        return [
            # The same letters with accents may be spelt in two ways, and are by file systems.
            ClassFile(
                name,
                "/".join(parts[:-3]),
                parts[-3],
                unicodedata.normalize("NFC", escaped(parts[-2])),
            )
            for name, parts in split
            if len(parts) > 2 and parts[-3] in FOLDERS
        ]

    @cached_property
    def _test_folder(self) -> str:
        """Which folder has the test images.

        Raises UserError where two have some and no setting says which.
        """
        images = [file for file in self._class_files if is_image(file.name)]
        places = sorted({file.place for file in images})
        if len(places) > 1:
            raise UserError(
                f"{self.archive.path}: found class folders in {len(places)} places, in "
                f"{' and '.join(shortened(place) or 'the root' for place in places[:2])}; "
                "expected one data set; set data.root to the folder of one"
            )
        there = {file.folder for file in images} - {"train"}
        if self.settings.test_split is None and len(there) > 1:
            raise UserError(
                f"{self.archive.path}: found images both under val/ and under test/, "
                "expected to be told which are the test images; set data.test_split to val or test"
            )
        return self.settings.test_split or next(iter(there), "val")

    @cached_property
    def _found(self) -> dict[Split, list[tuple[str, str]]]:
        return self._by_folders()

    def _by_folders(self) -> dict[Split, list[tuple[str, str]]]:
        """Name in the archive and name of the class of every image in a folder of its class."""
        found: dict[Split, list[tuple[str, str]]] = {"train": [], "test": []}
        for file in self._class_files:
            if file.folder in ("train", self._test_folder) and is_image(file.name):
                found["train" if file.folder == "train" else "test"].append((file.name, file.of))
        return found

    def _elsewhere(self) -> list[str]:
        """Images that are in no folder of a class."""
        known = {file.name for file in self._class_files} | {
            name for name, _ in self._found["test"]
        }
        within = {name.rpartition("/")[0] for name in known}
        known |= {folder for each in within for folder in _folders(each)}
        others = [name for name in self.archive.names() if is_image(name) and name not in known]
        return [name for name in others if not name.startswith(KAGGLE_FOLDER)]

    def _instead(self) -> str:
        """What there is where images were expected."""
        if elsewhere := self._elsewhere():
            return f"{counted(len(elsewhere))} elsewhere, such as {shortened(elsewhere[0])}"
        return (
            by_ending([name for name in self.archive.names() if not is_image(name)])
            or "no other files"
        )

    @cached_property
    def _classes(self) -> list[str]:
        folders = {"train": "train", "test": self.settings.test_split or "val or test"}
        for split, folder in folders.items():
            if not self._found[split]:  # type: ignore[index]
                raise MissingDataError(
                    f"{self.archive.path}: found no {split} images in {folder}/CLASS/ with one of "
                    f"the endings {', '.join(IMAGES)}; found {self._instead()}. {self.ways}"
                )
        self._check_test_classes()
        return sorted({of for _, of in self._found["train"]})


class ImageNet(ClassFolders):
    """1.28 million images to train on, and the 50,000 of the validation split to test on."""

    ways = IMAGENET_WAYS

    def __init__(self, settings: ImageNetSettings) -> None:
        super().__init__(settings)

    def _root(self) -> Path:
        root = self.settings.root or os.environ.get("IMAGENET")
        if not root:
            raise MissingDataError(f"data set 'imagenet' was not found. {self.ways}")
        return user_path(root)

    @cached_property
    def _found(self) -> dict[Split, list[tuple[str, str]]]:
        found = self._by_folders()
        if found["test"] or self.settings.test_split == "test":
            return found
        # The competition's validation images lie in one folder, and a table has their classes.
        labels = self._validation_labels()
        for name in self.archive.names():
            if name.startswith(f"{KAGGLE_FOLDER}val/") and name.lower().endswith(IMAGES):
                image = name.rpartition("/")[2].rpartition(".")[0]
                if image not in labels:
                    raise UserError(
                        f"{self.archive.path}: {VALIDATION_LABELS} has no line for "
                        f"{shortened(image)}"
                    )
                found["test"].append((name, labels[image]))
        return found

    def _validation_labels(self) -> dict[str, str]:
        rows = csv.reader(io.StringIO(self._table(VALIDATION_LABELS)))
        try:
            found = {row[0]: row[1].split()[0] for row in rows if row}
        except (IndexError, csv.Error):
            raise UserError(
                f"{self.archive.path}: {VALIDATION_LABELS} is damaged, "
                "expected lines of ImageId,PredictionString"
            ) from None
        return found

    @cached_property
    def _class_names(self) -> tuple[str, ...]:
        lines = self._table(CLASS_NAMES).splitlines()
        names = {line.partition(" ")[0]: line.partition(" ")[2].partition(",")[0] for line in lines}
        return tuple(escaped(names.get(synset) or synset) for synset in self._classes)

    def _table(self, name: str) -> str:
        """A text of the competition's; empty where there is none.

        Raises UserError for a damaged one.
        """
        if name not in self.archive.names():
            return ""
        try:
            return self.archive.read(name).decode()
        except Exception as error:  # of many kinds, as for images
            raise UserError(
                f"{self.archive.path}: {name} cannot be read: {broken_because(error)}"
            ) from None


def _folders(name: str) -> Iterable[str]:
    """A folder and those that it lies in."""
    while name:
        yield name
        name = name.rpartition("/")[0]
