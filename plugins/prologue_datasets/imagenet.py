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
import re
import sys
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.files import user_cache, write_text
from prologue_bench.interfaces import DataSource, ImageArray, ImageSpec, Split
from prologue_datasets.archives import Archive, open_archive
from prologue_datasets.crops import VIEWS, centre_crop, decode, ten_crops
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


@frozen
class Listing:
    """The images of one split: names in the archive and labels."""

    names: tuple[str, ...]
    labels: NDArray[Any]


class ClassFolders(DataSource):
    """Images in one folder a class, as square crops."""

    ways = FOLDER_WAYS

    def __init__(self, settings: ImageFolderSettings) -> None:
        self.settings = settings
        self.archive = open_archive(self._root(), self.ways)

    def _root(self) -> Path:
        if self.settings.root is None:
            raise MissingDataError(f"data set 'image-folder': no root is given. {self.ways}")
        return Path(self.settings.root).expanduser()

    @property
    def views(self) -> int:  # type: ignore[override]
        return VIEWS if self.settings.crops == "ten" else 1

    @cached_property
    def spec(self) -> ImageSpec:
        return ImageSpec(channels=3, height=self.settings.size, width=self.settings.size, class_names=self._class_names)

    @cached_property
    def fingerprint(self) -> str:
        parts = [self._archive_fingerprint, self.settings.size, self.settings.crops, sorted(self.broken)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def images(self, split: Split) -> ImageArray:
        return LazyCrops(self.archive, self._listings[split].names, self.settings.size, views=1)

    def training_views(self) -> ImageArray:
        return LazyCrops(self.archive, self._listings["train"].names, self.settings.size, views=self.views)

    def labels(self, split: Split) -> NDArray[Any]:
        return self._listings[split].labels

    @property
    def notes(self) -> tuple[str, ...]:
        if not self.broken:
            return ()
        return (f"{len(self.broken)} broken images are left out: {', '.join(sorted(self.broken)[:10])}",)

    @cached_property
    def _archive_fingerprint(self) -> str:
        return self.archive.fingerprint()

    @cached_property
    def _found(self) -> dict[Split, list[tuple[str, str]]]:
        """Name in the archive and name of the class of every image."""
        found: dict[Split, list[tuple[str, str]]] = {"train": [], "test": []}
        for name in self.archive.names():
            match = re.search(r"(?:^|/)(train|val|test)/([^/]+)/[^/]+$", name)
            if match and name.lower().endswith(IMAGES):
                found["train" if match[1] == "train" else "test"].append((name, match[2]))
        return found

    @cached_property
    def _classes(self) -> list[str]:
        for split in ("train", "test"):
            if not self._found[split]:
                raise MissingDataError(f"{self.archive.path}: found no {split} images. {self.ways}")
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

    @cached_property
    def broken(self) -> frozenset[str]:
        """Images that cannot be decoded. They are looked for once, and the answer is kept.

        Raises UserError when they are too many.
        """
        names = [name for split in self._found.values() for name, _ in split]
        kept = user_cache() / "data" / f"broken-{self._archive_fingerprint[:20]}.json"
        if kept.exists():
            broken = frozenset(json.loads(kept.read_text()))
        else:
            if len(names) > 10_000:
                print(f"{self.archive.path}: decoding {len(names):,} images once, to find broken ones", file=sys.stderr)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                checked = zip(names, pool.map(lambda name: _is_whole(self.archive, name), names), strict=True)
                broken = frozenset(name for name, whole in checked if not whole)
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_text(kept, json.dumps(sorted(broken), indent=0))
        if len(broken) > BROKEN_ALLOWED * len(names):
            raise UserError(
                f"{self.archive.path}: {len(broken)} of {len(names)} images are broken, expected at most "
                f"{BROKEN_ALLOWED:.1%}; the first is {min(broken)}; all are listed in {kept}"
            )
        return broken


class ImageNet(ClassFolders):
    """1.28 million images to train on, and the 50,000 of the validation split to test on."""

    ways = IMAGENET_WAYS

    def __init__(self, settings: ImageNetSettings) -> None:
        super().__init__(settings)

    def _root(self) -> Path:
        root = self.settings.root or os.environ.get("IMAGENET")
        if not root:
            raise MissingDataError(f"data set 'imagenet' was not found. {self.ways}")
        return Path(root).expanduser()

    @cached_property
    def _found(self) -> dict[Split, list[tuple[str, str]]]:
        found = super()._found
        if found["test"]:
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
        decoded = decode(self.archive.read(self.names[image]))
        return ten_crops(decoded, self.size) if self.views == VIEWS else centre_crop(decoded, self.size)[None]


def _is_whole(archive: Archive, name: str) -> bool:
    try:
        decode(archive.read(name))
    except (OSError, ValueError, SyntaxError, zipfile.BadZipFile, EOFError):
        return False
    return True
