"""Images of classes in an archive, decoded when they are asked for.

Every image is decoded once before, to find those that are broken; what that shows is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from abc import abstractmethod
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
from prologue_bench.storage.files import user_cache, write_text
from prologue_plugins.datasets.archives import MANY, UNREAD, Archive, read_image
from prologue_plugins.datasets.crops import VIEWS, centre_crop, needed_edge, ten_crops
from prologue_plugins.datasets.decoding import REMARKS, VERSION, broken_because
from prologue_plugins.datasets.names import shortened
from prologue_plugins.datasets.settings import CropSettings

BROKEN_ALLOWED = 0.001
"""Share of broken images from which on the data are refused."""
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
class Inspection:
    """What decoding every image once has shown."""

    broken: Mapping[str, str]
    """Why each broken image cannot be read, by its name."""
    remarks: Mapping[str, int]
    """How many images each remark of `decoding.REMARKS` is true of."""


class LabelledImages(DataSource):
    """Images of an archive as square crops, each of a class."""

    def __init__(self, archive: Archive, settings: CropSettings) -> None:
        self.archive, self.settings = archive, settings

    @property
    @abstractmethod
    def _found(self) -> dict[Split, list[tuple[str, str]]]:
        """Name in the archive and name of the class of every image."""

    @property
    @abstractmethod
    def _classes(self) -> list[str]:
        """The classes in the order of their labels, by the names that `_found` gives."""

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
            *_untrained(self._class_names, self._listings["train"].labels),
            *(
                f"{counted(count)} {REMARKS[remark]}"
                for remark, count in self._inspection.remarks.items()
            ),
        ]
        if self.broken:
            found.append(
                f"left out: {counted(len(self.broken))} that cannot be read: {some_of(self.broken)}"
            )
        return tuple(found)

    @cached_property
    def _checksums(self) -> dict[str, str]:
        """Of the content of every image, by name."""
        names = [name for found in self._found.values() for name, _ in found]
        return dict(zip(names, self.archive.checksums(names), strict=True))

    @cached_property
    def _class_names(self) -> tuple[str, ...]:
        return tuple(self._classes)

    @cached_property
    def _listings(self) -> dict[Split, Listing]:
        return self.listings(self.broken)

    def _check_test_classes(self) -> None:
        """Raises UserError for test images of a class that no training image is of."""
        trained = {of for _, of in self._found["train"]}
        unknown = [(of, name) for name, of in self._found["test"] if of not in trained]
        if unknown:
            of, name = min(unknown)
            raise UserError(
                f"{self.archive.path}: found test images of class '{shortened(of)}', which has no "
                f"training images, such as {shortened(name)}; remove them, or add training images"
            )

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
    """The images as a plan sees them: by their names, and by what was found before.

    None of them is read.
    """

    def __init__(self, whole: LabelledImages) -> None:
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
        untrained = tuple(
            f"{self.whole.archive.path}: {note}"
            for note in _untrained(self.spec.class_names, self.labels("train"))
        )
        if self._is_known:
            return untrained
        count = sum(len(listing.names) for listing in self._listings.values())
        return (
            *untrained,
            f"{self.whole.archive.path}: {counted(count)} found by name and not looked at yet: "
            "a run does, and leaves out broken ones; keys depend on them",
        )


class LazyCrops:
    """Crops of an archive's images: uint8 [N * views, 3, S, S], decoded by one thread per core."""

    def __init__(self, archive: Archive, names: Sequence[str], size: int, views: int) -> None:
        self.archive, self.names, self.size, self.views = archive, names, size, views

    def __len__(self) -> int:
        return len(self.names) * self.views

    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any], /) -> NDArray[Any]:
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        numbers = np.asarray(index, dtype=np.int64)
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


def _kept(checksums: Mapping[str, str]) -> Path:
    """Where it is kept what images of this content have shown."""
    text = json.dumps([VERSION, PIL_VERSION, *REMARKS, *checksums.items()])
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


def _untrained(classes: Sequence[str], labels: NDArray[Any]) -> tuple[str, ...]:
    """A note on classes that no training image is of, such as numbers that were left out."""
    found = [classes[label] for label in np.setdiff1d(np.arange(len(classes)), labels)]
    if not found:
        return ()
    shown = ", ".join(map(shortened, found[:SHOWN]))
    return (
        f"without training images: {len(found):,} of {len(classes):,} classes, {shown}"
        f"{', ...' * (len(found) > SHOWN)}; samples are drawn of these too",
    )


def counted(count: int) -> str:
    """So many images, in words."""
    return f"{count:,} image{'s' * (count != 1)}"


def some_of(names: Iterable[str]) -> str:
    """The first few of names."""
    return ", ".join(shortened(name) for name in sorted(names)[:SHOWN])
