"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017; MIT licence), from the published idx files."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterable
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts import DataSource, ImageSpec, NoSettings, Split
from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.storage.checksums import known_checksums
from prologue_bench.storage.files import user_cache, user_path, write_text
from prologue_bench.storage.kept import find_kept, keep
from prologue_plugins.datasets.downloads import why_not_fetched
from prologue_plugins.datasets.settings import FashionMnistSettings

CLASSES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
WAYS = (
    "Get it in one of these ways: apt-get install dataset-fashion-mnist; "
    "set FASHION_MNIST or --set data.root=FOLDER to the folder of its four files; "
    "or use the subset in the package with --profile quick --set data=fashion-mnist-embedded"
)
MOST_BYTES = 2**29
"""Of an idx file: nearly 700,000 images."""
PIECE = 2**20
AGAIN = "fetch the file again"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
KIND, KEPT_FILE = "fingerprints", "fingerprint.txt"
"""How fingerprints are kept by the files' checksums."""


def read_idx(path: Path) -> NDArray[Any]:
    """The uint8 array of an idx file, gzipped or not.

    Raises UserError when it is damaged or another format. No more is unpacked than the header says,
    and that has a limit.
    """
    shape, content = _read(path, lambda shape: math.prod(shape) + 1)
    if len(content) != math.prod(shape):
        found = "more" if len(content) > math.prod(shape) else f"{len(content)} bytes"
        raise UserError(f"{path}: found {found}, expected {shape}; {AGAIN}")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def idx_shape(path: Path) -> tuple[int, ...]:
    """The shape of the array of an idx file, by its header. Raises UserError as `read_idx`."""
    return _read(path, lambda shape: 0)[0]


def _read(path: Path, count: Callable[[tuple[int, ...]], int]) -> tuple[tuple[int, ...], bytes]:
    """The shape that an idx file's header names, and at most `count(shape)` bytes behind it."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            shape = _read_shape(file)
            content = _read_at_most(file, count(shape)) if shape is not None else b""
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}; {AGAIN}"
        ) from None
    if shape is None:
        raise UserError(f"{path}: found no idx file of bytes, expected one; {AGAIN}")
    if math.prod(shape) > MOST_BYTES:
        raise UserError(
            f"{path}: found a shape of {shape}, expected at most {MOST_BYTES:,} bytes; {AGAIN}"
        )
    return shape, content


def _read_shape(file: BufferedIOBase) -> tuple[int, ...] | None:
    """Of the header: labels have one dimension and images three.

    None where it is another file's, or cut.
    """
    magic = file.read(4)
    dimensions = {b"\0\0\x08\x01": 1, b"\0\0\x08\x03": 3}.get(magic)
    if dimensions is None:
        return None
    sizes = file.read(4 * dimensions)
    return struct.unpack(f">{dimensions}I", sizes) if len(sizes) == 4 * dimensions else None


def _read_at_most(file: BufferedIOBase, count: int) -> bytes:
    """The next bytes, in pieces, so that no memory is taken for what is only claimed.

    None above the limit.
    """
    pieces: list[bytes] = []
    left = count if count <= MOST_BYTES + 1 else 0
    while left and (piece := file.read(min(left, PIECE))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


class IdxFolder(DataSource):
    """Images and labels of the four files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.paths = {}
        for key, name in FILES.items():
            found = _find(folder, name)
            if found is None:
                raise MissingDataError(
                    f"{folder}: found no {name}.gz, expected the four files of Fashion-MNIST. "
                    f"{WAYS}"
                )
            self.paths[key] = found
        self._arrays: dict[Path, NDArray[Any]] = {}
        self._fitting: set[Split] = set()

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec(channels=1, height=28, width=28, class_names=CLASSES)

    @property
    def fingerprint(self) -> str:
        """Of the arrays, whether their files are gzipped or not."""
        checksums = _checksums(self.paths.values())
        key = hashlib.sha256(" ".join(checksums.values()).encode()).hexdigest()[:32]
        kept = find_kept(user_cache(), KIND, key)
        if kept is not None:
            return (kept / KEPT_FILE).read_text()
        digest = hashlib.sha256()
        for path in checksums:
            digest.update(self._array(path).data)
        found = digest.hexdigest()[:16]
        # All is read once; plans then need the labels alone.
        keep(user_cache(), KIND, key, lambda folder: write_text(folder / KEPT_FILE, found))
        return found

    def images(self, split: Split) -> NDArray[Any]:
        self._check(split)
        return self._array(self.paths[split, "images"])[:, None]

    def labels(self, split: Split) -> NDArray[Any]:
        self._check(split)
        return self._array(self.paths[split, "labels"]).astype(np.int64)

    def _array(self, path: Path) -> NDArray[Any]:
        """What a file holds; it takes long to unpack, and so is done once."""
        if path not in self._arrays:
            self._arrays[path] = read_idx(path)
        return self._arrays[path]

    def _check(self, split: Split) -> None:
        """Raises UserError where images and labels do not fit each other. Unpacks the latter."""
        if split in self._fitting:
            return
        path, beside = (self.paths[split, part] for part in ("images", "labels"))
        shape, labels = idx_shape(path), self._array(beside)
        if shape[1:] != (28, 28):
            found = f"images of {' x '.join(map(str, shape[1:]))}" if shape[1:] else "labels"
            raise UserError(f"{path}: found {found}, expected images of 28 x 28")
        if labels.shape != shape[:1]:
            found = f"{len(labels):,} labels" if labels.ndim == 1 else "images"
            raise UserError(
                f"{beside}: found {found}, "
                f"expected one label for each of the {shape[0]:,} images beside it"
            )
        if len(labels) and labels.max() >= len(CLASSES):
            raise UserError(
                f"{beside}: found the label {labels.max()}, expected 0 to {len(CLASSES) - 1}"
            )
        self._fitting.add(split)


class FashionMnist(IdxFolder):
    """The whole data set: 60,000 images to train on, 10,000 to test on."""

    def __init__(self, settings: FashionMnistSettings) -> None:
        super().__init__(_locate(settings))


class EmbeddedFashionMnist(IdxFolder):
    """A fixed subset in the package.

    Of each class the first 800 training and the first 200 test images.
    """

    def __init__(self, settings: NoSettings) -> None:
        super().__init__(Path(__file__).parent / "embedded")


def _checksums(paths: Iterable[Path]) -> dict[Path, str]:
    try:
        return known_checksums(paths)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}") from None


def _find(folder: Path, name: str) -> Path | None:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    return None


def _locate(settings: FashionMnistSettings) -> Path:
    """The first folder that has the files: root, environment, Debian, cache or download."""
    if settings.root is not None:
        return user_path(settings.root)
    cache_folder = user_cache() / "data"
    raw = cache_folder / "FashionMNIST" / "raw"
    places = [user_path(os.environ["FASHION_MNIST"])] if os.environ.get("FASHION_MNIST") else []
    for folder in [*places, DEBIAN_FOLDER, raw]:
        if all(_find(folder, name) for name in FILES.values()):
            return folder
    if not (reason := why_not_fetched("FashionMNIST", cache_folder, settings.download)):
        return raw
    raise MissingDataError(f"data set 'fashion-mnist' was not found ({reason}). {WAYS}")
