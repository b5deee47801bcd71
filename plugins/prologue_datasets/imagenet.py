"""ImageNet (Russakovsky et al. 2015) and other folders of classes, decoded when they are asked for.

ImageNet is read from the Kaggle competition's zip in place, from the same files unpacked, or from a folder with one
subfolder a class under train/ and val/.
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
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL import __version__ as PIL_VERSION

from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.files import user_cache, user_path, write_text
from prologue_bench.interfaces import DataSource, ImageArray, ImageSpec, Split
from prologue_datasets.archives import MANY, Archive, open_archive, printable
from prologue_datasets.crops import VIEWS, centre_crop, ten_crops
from prologue_datasets.decoding import REMARKS, VERSION, decode, read_picture
from prologue_datasets.settings import ImageFolderSettings, ImageNetSettings

KAGGLE_FOLDER = "ILSVRC/Data/CLS-LOC/"
VALIDATION_LABELS = "LOC_val_solution.csv"
CLASS_NAMES = "LOC_synset_mapping.txt"
IMAGES = (".jpeg", ".jpg", ".png", ".webp", ".bmp")
BROKEN_ALLOWED = 0.001
"""Share of broken images from which on the data are refused."""
IMAGENET_WAYS = (
    "Set IMAGENET or --set data.root=PATH to imagenet-object-localization-challenge.zip of the Kaggle competition "
    "(read in place), to its unpacked folder, or to a folder with train/CLASS/ and val/CLASS/"
)
FOLDER_WAYS = "Set --set data.root=PATH to a folder or zip with train/CLASS/ and val/CLASS/ or test/CLASS/"
FOLDERS = ("train", "val", "test")
SHOWN = 10
"""Names of files that a note lists."""


@frozen
class Listing:
    """The images of one split: names in the archive and labels."""

    names: tuple[str, ...]
    labels: NDArray[Any]


@frozen
class ClassFile:
    """A file in a folder SPLIT/CLASS/: its name in the archive, where SPLIT/ lies, SPLIT and CLASS."""

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
    """Images in one folder a class, as square crops."""

    ways = FOLDER_WAYS

    def __init__(self, settings: ImageFolderSettings) -> None:
        self.settings = settings
        self.archive = open_archive(self._root(), self.ways)

    def _root(self) -> Path:
        if self.settings.root is None:
            raise MissingDataError(f"data set 'image-folder': no root is given. {self.ways}")
        return user_path(self.settings.root)

    @property
    def views(self) -> int:  # type: ignore[override]
        return VIEWS if self.settings.crops == "ten" else 1

    @cached_property
    def spec(self) -> ImageSpec:
        return ImageSpec(channels=3, height=self.settings.size, width=self.settings.size, class_names=self._class_names)

    @cached_property
    def fingerprint(self) -> str:
        """Of what is read: the content and class of each image in order, and how they are cut; not the files' names."""
        read = {
            split: [[self._checksums[name] for name in listing.names], listing.labels.tolist()]
            for split, listing in self._listings.items()
        }
        parts = [read, self._class_names, self.settings.size, self.settings.crops, VERSION]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def images(self, split: Split) -> ImageArray:
        return LazyCrops(self.archive, self._listings[split].names, self.settings.size, views=1)

    def training_views(self) -> ImageArray:
        return LazyCrops(self.archive, self._listings["train"].names, self.settings.size, views=self.views)

    def labels(self, split: Split) -> NDArray[Any]:
        return self._listings[split].labels

    @property
    def notes(self) -> tuple[str, ...]:
        found = [f"{_images(count)} {REMARKS[remark]}" for remark, count in self._inspection.remarks.items()]
        if self.broken:
            found.append(f"left out: {_images(len(self.broken))} that cannot be read: {_listed(self.broken)}")
        if elsewhere := self._elsewhere():
            found.append(
                f"left out: {_images(len(elsewhere))} not directly inside a folder SPLIT/CLASS/: {_listed(elsewhere)}"
            )
        places = {file.place for file in self._class_files if _is_image(file.name)}
        others = [file.name for file in self._class_files if file.place in places and not _is_image(file.name)]
        if others:
            found.append(f"left out: files in folders of classes, {_by_ending(others)}; read are {', '.join(IMAGES)}")
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
            ClassFile(name, "/".join(parts[:-3]), parts[-3], unicodedata.normalize("NFC", printable(parts[-2])))
            for name, parts in split
            if len(parts) > 2 and parts[-3] in FOLDERS
        ]

    @cached_property
    def _test_folder(self) -> str:
        """Which folder has the test images. Raises UserError where two have some and no setting says which."""
        images = [file for file in self._class_files if _is_image(file.name)]
        places = sorted({file.place for file in images})
        if len(places) > 1:
            raise UserError(
                f"{self.archive.path}: found folders of classes in {len(places)} places, in "
                f"{' and '.join(printable(place) or 'the root' for place in places[:2])}; expected one data set; "
                "set data.root to the folder of one"
            )
        there = {file.folder for file in images} - {"train"}
        if self.settings.test_split is None and len(there) > 1:
            raise UserError(
                f"{self.archive.path}: found images both under val/ and under test/, expected to be told which are "
                "the test images; set data.test_split to val or test"
            )
        return self.settings.test_split or next(iter(there), "val")

    @cached_property
    def _found(self) -> dict[Split, list[tuple[str, str]]]:
        """Name in the archive and name of the class of every image."""
        found: dict[Split, list[tuple[str, str]]] = {"train": [], "test": []}
        for file in self._class_files:
            if file.folder in ("train", self._test_folder) and _is_image(file.name):
                found["train" if file.folder == "train" else "test"].append((file.name, file.of))
        return found

    def _elsewhere(self) -> list[str]:
        """Images that are in no folder of a class."""
        known = {file.name for file in self._class_files} | {name for name, _ in self._found["test"]}
        others = [name for name in self.archive.names() if _is_image(name) and name not in known]
        return [name for name in others if not name.startswith(KAGGLE_FOLDER)]

    def _instead(self) -> str:
        """What there is where images were expected."""
        if elsewhere := self._elsewhere():
            return f"{_images(len(elsewhere))} elsewhere, such as {printable(elsewhere[0])}"
        return _by_ending([name for name in self.archive.names() if not _is_image(name)]) or "no other files"

    @cached_property
    def _classes(self) -> list[str]:
        folders = {"train": "train", "test": self.settings.test_split or "val or test"}
        for split, folder in folders.items():
            if not self._found[split]:  # type: ignore[index]
                raise MissingDataError(
                    f"{self.archive.path}: found no {split} images in {folder}/CLASS/ with one of the endings "
                    f"{', '.join(IMAGES)}; found {self._instead()}. {self.ways}"
                )
        classes = sorted({of for _, of in self._found["train"]})
        unknown = {of for _, of in self._found["test"]} - set(classes)
        if unknown:
            raise UserError(
                f"{self.archive.path}: found test images of class {min(unknown)!r}, which has none to train on"
            )
        return classes

    @cached_property
    def _class_names(self) -> tuple[str, ...]:
        return tuple(self._classes)

    @cached_property
    def _listings(self) -> dict[Split, Listing]:
        number = {name: index for index, name in enumerate(self._classes)}
        listings: dict[Split, Listing] = {}
        for split, found in self._found.items():
            kept = [(name, number[of]) for name, of in found if name not in self.broken]
            names, labels = zip(*kept, strict=True) if kept else ((), ())
            listings[split] = Listing(names, np.array(labels, dtype=np.int64))
        return listings

    @property
    def broken(self) -> Mapping[str, str]:
        """Images that cannot be decoded, and why. Raises UserError when they are too many."""
        return self._inspection.broken

    @cached_property
    def _inspection(self) -> Inspection:
        """Every image is decoded once, and the answer is kept for images of this content."""
        names = list(self._checksums)
        text = json.dumps([VERSION, PIL_VERSION, *self._checksums.items()])
        kept = user_cache() / "data" / f"images-{hashlib.sha256(text.encode()).hexdigest()[:20]}.json"
        found = _read_inspection(kept)
        if found is None:
            if len(names) > MANY:
                print(f"{self.archive.path}: decoding {len(names):,} images once, to find broken ones", file=sys.stderr)
            found = _inspected(self.archive, names)
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_text(kept, json.dumps(attrs.asdict(found), indent=0))
        if len(found.broken) > BROKEN_ALLOWED * len(names):
            first = min(found.broken)
            raise UserError(
                f"{self.archive.path}: {len(found.broken)} of {len(names)} images are broken, expected at most "
                f"{BROKEN_ALLOWED:.1%}; the first is {printable(first)} ({found.broken[first]}); "
                f"all are listed in {kept}"
            )
        return found


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
                    raise UserError(f"{self.archive.path}: {VALIDATION_LABELS} has no line for {image}")
                found["test"].append((name, labels[image]))
        return found

    def _validation_labels(self) -> dict[str, str]:
        if VALIDATION_LABELS not in self.archive.names():
            return {}
        text = self.archive.read(VALIDATION_LABELS).decode()
        return {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(io.StringIO(text))}

    @cached_property
    def _class_names(self) -> tuple[str, ...]:
        if CLASS_NAMES not in self.archive.names():
            return tuple(self._classes)
        lines = self.archive.read(CLASS_NAMES).decode().splitlines()
        names = {line.partition(" ")[0]: line.partition(" ")[2].partition(",")[0] for line in lines}
        return tuple(names.get(synset) or synset for synset in self._classes)


class LazyCrops:
    """Square crops of an archive's images: uint8 [N * views, 3, S, S], decoded by a thread a core."""

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
        name = self.names[image]
        try:
            decoded = decode(self.archive.read(name))
        except Exception as error:  # of many kinds, and none says which file it is
            raise UserError(
                f"{self.archive.path}: {printable(name)} cannot be read ({_reason(error)}), but could be before; "
                "restore it, or run the same command again to leave it out"
            ) from error
        return ten_crops(decoded, self.size) if self.views == VIEWS else centre_crop(decoded, self.size)[None]


def _read_inspection(path: Path) -> Inspection | None:
    """An answer that was kept; None where there is none, or it is damaged."""
    try:
        return Inspection(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _inspected(archive: Archive, names: Sequence[str]) -> Inspection:
    """What is broken or remarkable among the images of an archive."""

    def inspected(name: str) -> tuple[str, frozenset[str]]:
        try:
            return "", read_picture(archive.read(name)).remarks
        except Exception as error:  # decoders raise errors of all kinds for damaged files
            return _reason(error), frozenset()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(zip(names, pool.map(inspected, names), strict=True))
    counts = Counter(remark for _, (_, remarks) in found for remark in remarks)
    return Inspection(
        broken={name: reason for name, (reason, _) in found if reason},
        remarks={remark: counts[remark] for remark in REMARKS if counts[remark]},
    )


def _reason(error: Exception) -> str:
    """An error in one line; Pillow's own names the bytes in memory instead of a file."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than the {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels that are read; make it smaller"
    return str(error).partition("\n")[0] or type(error).__name__


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGES)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(printable(name) for name in sorted(names)[:SHOWN])


def _by_ending(names: Sequence[str]) -> str:
    """How many files have which ending: "12 .tif, 1 .txt"."""
    endings = Counter(os.path.splitext(name)[1].lower() or "without an ending" for name in names)
    return ", ".join(f"{count} {printable(ending)}" for ending, count in endings.most_common(5))
