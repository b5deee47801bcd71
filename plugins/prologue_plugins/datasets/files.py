"""Images wherever they are kept: a folder, a zip, a tar such as webdataset's, an .npz or .npy.

All of them are test images, to be measured or to be compared with. They are decoded once, when the
first is asked for.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from PIL import Image

from prologue_bench.contracts import DataSource, ImageArray, ImageSpec, Split, channels_first
from prologue_bench.errors import MissingDataError, StageError, UserError, listed
from prologue_bench.storage.files import temporary_array, user_path
from prologue_bench.storage.npz import read_arrays, read_headers, readable
from prologue_plugins.datasets.archives import (
    COMPRESSED,
    TAR,
    Archive,
    FolderArchive,
    ZipArchive,
    read_image,
)
from prologue_plugins.datasets.classes import LARGEST, class_numbers, classes_by_folder
from prologue_plugins.datasets.crops import centre_crop
from prologue_plugins.datasets.decoding import IMAGES, broken_because, is_image, is_other_image
from prologue_plugins.datasets.names import by_ending, shortened
from prologue_plugins.datasets.settings import ImageFilesSettings
from prologue_plugins.datasets.tars import TarArchive

PART = 256
"""Images that are handed to the threads at once."""
ARRAYS, LABELS = ("arr_0", "images"), ("arr_1", "labels")
"""Names of arrays in an .npz, ADM's first."""
KINDS = "a folder, a zip, a tar, an .npz or .npy"
EXPECTED = f"uint8 [N, H, W, C] as {' or '.join(ARRAYS)}"
NO_CLASSES: tuple[str, ...] = ()


@frozen(eq=False)
class Found:
    """Images uint8 [N, C, H, W] with what is known of each."""

    images: NDArray[Any]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    names: tuple[str, ...]


class ImageFiles(DataSource):
    """All images that are found at a place, as the test split; there is no other.

    Classes are the folders that images lie in, if there are several, the numbers in .cls files of a
    tar, or the labels in an .npz. Images that are all grey have one channel.
    """

    def __init__(self, settings: ImageFilesSettings) -> None:
        if settings.root is None:
            raise MissingDataError(
                f"data set 'image-files': no root is given; set data.root to {KINDS}"
            )
        self.path, self.edge = user_path(settings.root), settings.size

    @cached_property
    def found(self) -> Found:
        """What is there. Raises UserError, in one line, for what is wrong with it."""
        ending = self.path.suffix.lower()
        if not os.path.lexists(self.path):
            raise MissingDataError(
                f"{self.path}: there is no such file or folder; expected {KINDS}"
            )
        if self.path.is_dir():
            return _of_archive(FolderArchive(self.path), self.edge)
        if ending in (".npz", ".npy"):
            return _of_arrays(self.path, self.edge)
        if ending == TAR:
            return _of_archive(TarArchive(self.path), self.edge)
        if ending == ".zip" or (self.path.is_file() and zipfile.is_zipfile(self.path)):
            return _of_archive(ZipArchive(self.path), self.edge)
        hint = "; unpack it" if ending in COMPRESSED else ""
        raise UserError(f"{self.path}: found {ending or 'no ending'}, expected {KINDS}{hint}")

    @cached_property
    def spec(self) -> ImageSpec:
        _, channels, height, width = self.found.images.shape
        return ImageSpec(channels, height, width, self.found.class_names)

    @cached_property
    def fingerprint(self) -> str:
        """Of the pixels and labels in their order, whatever they are kept in."""
        images = self.found.images
        digest = hashlib.sha256(f"{images.shape} {self.found.labels.tolist()}".encode())
        for start in range(0, len(images), PART):
            digest.update(np.ascontiguousarray(images[start : start + PART]).tobytes())
        return digest.hexdigest()[:16]

    def images(self, split: Split) -> ImageArray:
        return self.found.images if split == "test" else self.found.images[:0]

    def labels(self, split: Split) -> NDArray[Any]:
        return self.found.labels if split == "test" else self.found.labels[:0]

    def names(self, split: Split) -> tuple[str, ...]:
        return self.found.names if split == "test" else ()


def _of_archive(archive: Archive, edge: int) -> Found:
    everything = archive.names()
    names = [name for name in everything if is_image(name)]
    if not names:
        there = by_ending(everything) or "nothing"
        raise MissingDataError(
            f"{archive.path}: found {there}, expected images with one of the endings "
            f"{', '.join(IMAGES)}"
        )
    if unread := [name for name in everything if is_other_image(name)]:
        raise UserError(
            f"{archive.path}: found {by_ending(unread)} beside {len(names):,} images, which are "
            f"not read: only {', '.join(IMAGES)} are; convert or remove them, since leaving some "
            "out would change the numbers"
        )
    _check_one_split(archive.path, names)
    classes = class_numbers(archive, names) or classes_by_folder(names)
    class_names = tuple(classes[1]) if classes else NO_CLASSES
    labels = np.asarray(classes[0] if classes else [0] * len(names), dtype=np.int64)
    found = _decoded(archive, names, edge)
    return Found(found, labels, class_names, tuple(posixpath.splitext(each)[0] for each in names))


def _check_one_split(path: Path, places: Iterable[str]) -> None:
    """Raises UserError for the splits of a whole data set, of which one is meant."""
    tops = {place.partition("/")[0] for place in places if "/" in place}
    if "train" in tops and (others := sorted(tops & {"val", "test", "validation"})):
        raise UserError(
            f"{path}: found train/ and {others[0]}/, expected images of one split; "
            f"name {path / others[0]}"
        )


def _decoded(archive: Archive, names: Sequence[str], edge: int) -> NDArray[Any]:
    """uint8 [N, C, H, W]: one channel if all images are grey, else RGB."""

    def decoded(name: str) -> NDArray[Any]:
        try:
            image = read_image(archive, name, edge or None).image
        except Exception as error:  # decoders raise errors of all kinds for damaged files
            raise UserError(
                f"{archive.path}: {shortened(name)} cannot be read ({broken_because(error)}); "
                "expected whole images, of which none is left out; mend or remove it"
            ) from None
        return centre_crop(image, edge) if edge else np.asarray(image).transpose(2, 0, 1)

    first = decoded(names[0])
    out, grey = temporary_array((len(names), *first.shape)), True
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(names), PART):
            part = names[start : start + PART]
            for row, image in enumerate(pool.map(decoded, part), start):
                if image.shape != first.shape:
                    sizes = [f"{each.shape[2]} x {each.shape[1]}" for each in (image, first)]
                    raise UserError(
                        f"{archive.path}: {shortened(names[row])} has {sizes[0]} pixels and "
                        f"{shortened(names[0])} {sizes[1]}, expected images of one size; "
                        "say with size (--size 256) to what all are cropped and resized"
                    )
                grey = grey and bool((image == image[:1]).all())
                out[row] = image
    return out[:, :1].copy() if grey else out


def _of_arrays(path: Path, edge: int) -> Found:
    """What an .npz holds, or the images of an .npy."""
    try:
        images, labels = _npy(path) if path.suffix.lower() == ".npy" else _npz(path)
    except StageError as error:
        raise UserError(str(error)) from None
    images = channels_first(images, str(path))
    if edge and images.shape[2:] != (edge, edge):
        resized = temporary_array((len(images), images.shape[1], edge, edge))
        for row, image in enumerate(images):
            pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
            resized[row] = centre_crop(Image.fromarray(np.ascontiguousarray(pixels)), edge)
        images = resized
    if labels is None:
        return Found(images, np.zeros(len(images), dtype=np.int64), NO_CLASSES, ())
    names = tuple(str(each) for each in range(int(labels.max()) + 1))
    return Found(images, labels.astype(np.int64), names, ())


def _npy(path: Path) -> tuple[NDArray[Any], None]:
    with readable(path, EXPECTED):
        return np.load(path, mmap_mode="r", allow_pickle=False), None


def _npz(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    headers = read_headers(path, f"an .npz with images, {EXPECTED}")
    name = next((each for each in ARRAYS if each in headers), None)
    if name is None:
        raise UserError(f"{path}: found {listed(headers) or 'nothing'}, expected {EXPECTED}")
    shape, dtype = headers[name]
    if shape and not shape[0]:
        raise UserError(f"{path}: found no images in {name}, expected at least one")
    if dtype != np.uint8 or len(shape) not in (3, 4) or not all(shape):
        raise UserError(f"{path}: found {name} of {dtype} {list(shape)}, expected {EXPECTED}")
    known = next((each for each in LABELS if each in headers), None)
    if known is not None:
        counted, kind = headers[known]
        if kind.kind not in "iu" or counted != shape[:1]:
            raise UserError(
                f"{path}: found {known} of {kind} {list(counted)}, expected a whole number for "
                f"each of the {shape[0]:,} images"
            )
    arrays = read_arrays(path, {name, *([known] if known else [])}, EXPECTED)
    labels = arrays[known] if known else None
    if labels is not None and not 0 <= int(labels.min()) <= int(labels.max()) < LARGEST:
        raise UserError(
            f"{path}: found {known} from {labels.min()} to {labels.max()}, "
            "expected numbers of classes, counted from 0"
        )
    return arrays[name], labels
