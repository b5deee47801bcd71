"""ImageNet (Russakovsky et al. 2015) and other folders of classes, decoded when they are asked for.

ImageNet is read from the Kaggle competition's zip in place, from the same files unpacked, or from a
folder with one subfolder per class under train/ and val/.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from PIL import __version__ as PIL_VERSION

from prologue_bench.contracts import DataSource, ImageArray, ImageSpec, Split
from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.storage.files import user_cache, user_path, write_text
from prologue_bench.texts.lines import escaped
from prologue_plugins.datasets.archives import MANY, UNREAD, Archive, open_archive, read_image
from prologue_plugins.datasets.crops import VIEWS, centre_crop, needed_edge, ten_crops
from prologue_plugins.datasets.decoding import (
    IMAGES,
    REMARKS,
    VERSION,
    broken_because,
    is_image,
)
from prologue_plugins.datasets.names import by_ending, shortened
from prologue_plugins.datasets.settings import ImageFolderSettings, ImageNetSettings

KAGGLE_FOLDER = "ILSVRC/Data/CLS-LOC/"
VALIDATION_LABELS = "LOC_val_solution.csv"
CLASS_NAMES = "LOC_synset_mapping.txt"
BROKEN_ALLOWED = 0.001
"""Share of broken images from which on the data are refused."""
IMAGENET_WAYS = (
    "Set IMAGENET or --set data.root=PATH to imagenet-object-localization-challenge.zip of the "
    "Kaggle competition (read in place), to its unpacked folder, "
    "or to a folder with train/CLASS/ and val/CLASS/"
)
FOLDER_WAYS = (
    "Set --set data.root=PATH to a folder or zip with train/CLASS/ and val/CLASS/ or test/CLASS/"
)
FOLDERS = ("train", "val", "test")
SHOWN = 10
"""Names of files that a note lists."""
PART = 2_000
"""Images that are looked at before more are handed to the threads."""


@frozen
class Listing:
    """The images of one split: names in the archive and labels."""

    names: tuple[str, ...]
    labels: NDArray[Any]


@frozen
class ClassFile:
    """A file in SPLIT/CLASS/: its name in the archive, where SPLIT/ lies, SPLIT and CLASS."""

    name: str
    place: str
    folder: str
    of: str


@frozen
class Inspection:
    """What decoding every image once has shown."""

    broken: Mapping[str, str]
    """Why each broken image cannot be read, by its name."""
    remarks: Mapping[str, int]
    """How many images each remark of `decoding.REMARKS` is true of."""


class ClassFolders(DataSource):
    """Images in one folder per class, as square crops."""

    ways = FOLDER_WAYS

    def __init__(self, settings: ImageFolderSettings) -> None:
        self.settings = settings
        self.archive = open_archive(self._root(), self.ways)

    def _root(self) -> Path:
        if self.settings.root is None:
            raise MissingDataError(f"data set 'image-folder': no root is given. {self.ways}")
        return user_path(self.settings.root)

    def outline(self) -> DataSource:
        return _Outline(self)

    @property
    def views(self) -> int:  # type: ignore[override]
        return VIEWS if self.settings.crops == "ten" else 1

    @cached_property
    def spec(self) -> ImageSpec:
        return ImageSpec(
            channels=3,
            height=self.settings.size,
            width=self.settings.size,
            class_names=self._class_names,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Of what is read: the images' content, class, order and cut; not the files' names."""
        read = {
            split: [[self._checksums[name] for name in listing.names], listing.labels.tolist()]
            for split, listing in self._listings.items()
        }
        parts = [read, self._class_names, self.settings.size, self.settings.crops, VERSION]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def images(self, split: Split) -> ImageArray:
        return LazyCrops(self.archive, self._listings[split].names, self.settings.size, views=1)

    def training_views(self) -> ImageArray:
        return LazyCrops(
            self.archive, self._listings["train"].names, self.settings.size, views=self.views
        )

    def labels(self, split: Split) -> NDArray[Any]:
        return self._listings[split].labels

    def names(self, split: Split) -> tuple[str, ...]:
        return self._listings[split].names

    @property
    def notes(self) -> tuple[str, ...]:
        found = [
            f"{_images(count)} {REMARKS[remark]}"
            for remark, count in self._inspection.remarks.items()
        ]
        if self.broken:
            found.append(
                f"left out: {_images(len(self.broken))} that cannot be read: {_listed(self.broken)}"
            )
        if elsewhere := self._elsewhere():
            found.append(
                f"left out: {_images(len(elsewhere))} not directly inside a folder SPLIT/CLASS/: "
                f"{_listed(elsewhere)}"
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
    def _checksums(self) -> dict[str, str]:
        """Of the content of every image, by name."""
        names = [name for found in self._found.values() for name, _ in found]
        return dict(zip(names, self.archive.checksums(names), strict=True))

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
        """Name in the archive and name of the class of every image."""
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
            return f"{_images(len(elsewhere))} elsewhere, such as {shortened(elsewhere[0])}"
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
        classes = sorted({of for _, of in self._found["train"]})
        unknown = {of for _, of in self._found["test"]} - set(classes)
        if unknown:
            raise UserError(
                f"{self.archive.path}: found test images of class '{shortened(min(unknown))}', "
                "which has no training images"
            )
        return classes

    @cached_property
    def _class_names(self) -> tuple[str, ...]:
        return tuple(self._classes)

    @cached_property
    def _listings(self) -> dict[Split, Listing]:
        return self.listings(self.broken)

    def listings(self, without: Mapping[str, str]) -> dict[Split, Listing]:
        """The images of each split without those of these names."""
        number = {name: index for index, name in enumerate(self._classes)}
        listings: dict[Split, Listing] = {}
        for split, found in self._found.items():
            kept = [(name, number[of]) for name, of in found if name not in without]
            names, labels = zip(*kept, strict=True) if kept else ((), ())
            listings[split] = Listing(names, np.array(labels, dtype=np.int64))
        return listings

    @property
    def is_known(self) -> bool:
        """Whether all images were looked at as they are now, so that no file needs to be read."""
        if "_inspection" not in self.__dict__:
            names = [name for found in self._found.values() for name, _ in found]
            noted = self.archive.noted_checksums(names)
            return (
                noted is not None
                and _read_inspection(_kept(dict(zip(names, noted, strict=True)))) is not None
            )
        return True

    @property
    def broken(self) -> Mapping[str, str]:
        """Images that cannot be decoded, and why. Raises UserError when they are too many."""
        return self._inspection.broken

    @cached_property
    def _inspection(self) -> Inspection:
        """Every image is decoded once, and the answer is kept for images of this content."""
        names = list(self._checksums)
        kept = _kept(self._checksums)
        found = _read_inspection(kept)
        if found is None:
            if len(names) > MANY:
                print(
                    (
                        f"{self.archive.path}: decoding {len(names):,} images once, "
                        "to find broken ones"
                    ),
                    file=sys.stderr,
                )
            found = _inspected(
                self.archive, self._checksums, needed_edge(self.settings.size, self.views)
            )
            with suppress(OSError):  # it is found again where it cannot be kept
                kept.parent.mkdir(parents=True, exist_ok=True)
                write_text(kept, json.dumps(attrs.asdict(found), indent=0))
        if len(found.broken) > BROKEN_ALLOWED * len(names):
            first = min(found.broken)
            listed = f"; all are listed in {kept}" if kept.is_file() else ""
            raise UserError(
                f"{self.archive.path}: {len(found.broken)} of {len(names)} images are broken, "
                f"expected at most {BROKEN_ALLOWED:.1%}; the first is {shortened(first)} "
                f"({found.broken[first]}){listed}"
            )
        return found


class _Outline(DataSource):
    """A folder's images as a plan sees them: by their names, and by what was found before.

    None of them is read.
    """

    def __init__(self, whole: ClassFolders) -> None:
        self.whole, self.views = whole, whole.views

    @property
    def spec(self) -> ImageSpec:
        return self.whole.spec

    @cached_property
    def _is_known(self) -> bool:
        return self.whole.is_known

    @property
    def fingerprint(self) -> str:
        return self.whole.fingerprint if self._is_known else "not looked at"

    def images(self, split: Split) -> NoReturn:
        raise MissingDataError(
            f"{self.whole.archive.path}: images are not read while a run is only planned"
        )

    def labels(self, split: Split) -> NDArray[Any]:
        return self.whole.labels(split) if self._is_known else self._listings[split].labels

    @cached_property
    def _listings(self) -> dict[Split, Listing]:
        return self.whole.listings({})

    @property
    def notes(self) -> tuple[str, ...]:
        if self._is_known:
            return ()
        count = sum(len(listing.names) for listing in self._listings.values())
        return (
            f"{self.whole.archive.path}: {_images(count)} found by name and not looked at yet: "
            "a run does, and leaves out broken ones; keys depend on them",
        )


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
        found = super()._found
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


class LazyCrops:
    """Crops of an archive's images: uint8 [N * views, 3, S, S], decoded by one thread per core."""

    def __init__(self, archive: Archive, names: Sequence[str], size: int, views: int) -> None:
        self.archive, self.names, self.size, self.views = archive, names, size, views

    def __len__(self) -> int:
        return len(self.names) * self.views

    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any], /) -> NDArray[Any]:
        numbers = np.arange(len(self))[index]
        images, views = np.divmod(numbers, self.views)
        wanted = {int(image): views[images == image] for image in np.unique(images)}
        with ThreadPoolExecutor(min(len(wanted), os.cpu_count() or 1) or 1) as pool:
            crops = dict(zip(wanted, pool.map(self._crops, wanted), strict=True))
        out = np.empty((len(numbers), 3, self.size, self.size), np.uint8)
        for row, (image, view) in enumerate(zip(images, views, strict=True)):
            out[row] = crops[int(image)][view]
        return out

    def _crops(self, image: int) -> NDArray[Any]:
        name, edge = self.names[image], needed_edge(self.size, self.views)
        try:
            picture = read_image(self.archive, name, edge)
        except Exception as error:  # of many kinds, and none says which file it is
            raise UserError(
                f"{self.archive.path}: {shortened(name)} cannot be read ({broken_because(error)}), "
                "but could be before; restore it, or run the same command again to leave it out"
            ) from error
        if self.views == VIEWS:
            return ten_crops(picture.image, self.size)
        return centre_crop(picture.image, self.size)[None]


def _folders(name: str) -> Iterable[str]:
    """A folder and those that it lies in."""
    while name:
        yield name
        name = name.rpartition("/")[0]


def _kept(checksums: Mapping[str, str]) -> Path:
    """Where it is kept what images of this content have shown."""
    text = json.dumps([VERSION, PIL_VERSION, *checksums.items()])
    return user_cache() / "data" / f"images-{hashlib.sha256(text.encode()).hexdigest()[:20]}.json"


def _read_inspection(path: Path) -> Inspection | None:
    """An answer that was kept; None where there is none, or it is damaged."""
    try:
        found = Inspection(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    whole = (
        isinstance(found.broken, dict)
        and isinstance(found.remarks, dict)
        and all(isinstance(reason, str) for reason in found.broken.values())
        and all(name in REMARKS and type(count) is int for name, count in found.remarks.items())
    )
    return found if whole else None


def _inspected(archive: Archive, checksums: Mapping[str, str], edge: int) -> Inspection:
    """What is broken or remarkable among the images of an archive."""

    def inspected(name: str) -> tuple[str, frozenset[str]]:
        try:
            remarks = read_image(archive, name, edge).remarks
        except Exception as error:  # decoders raise errors of all kinds for damaged files
            return broken_because(error), frozenset()
        # A file that could not be read before may be another one each time.
        return ("cannot be read", frozenset()) if checksums[name] == UNREAD else ("", remarks)

    names, broken, counts = list(checksums), {}, Counter[str]()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(names), PART):
            part = names[start : start + PART]
            for name, (reason, remarks) in zip(part, pool.map(inspected, part), strict=True):
                counts.update(remarks)
                if reason:
                    broken[name] = reason
    return Inspection(broken, {remark: counts[remark] for remark in REMARKS if counts[remark]})


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(shortened(name) for name in sorted(names)[:SHOWN])
