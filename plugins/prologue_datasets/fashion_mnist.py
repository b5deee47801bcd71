"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017; MIT licence), from the idx files in which it is published."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.checksums import known_checksums
from prologue_bench.components import NoSettings
from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.files import user_cache, user_path
from prologue_bench.interfaces import DataSource, ImageSpec, Split
from prologue_datasets.settings import FashionMnistSettings

CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
WAYS = (
    "Get it in one of these ways: apt-get install dataset-fashion-mnist; set FASHION_MNIST or --set data.root=FOLDER "
    "to the folder of its four files; or use the subset in the package with --set data=fashion-mnist-embedded"
)
CONNECTION_TIMEOUT_SECONDS = 20.0
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")


def read_idx(path: Path) -> NDArray[Any]:
    """The uint8 array of an idx file, gzipped or not. Raises UserError when it is damaged or another format."""
    try:
        raw = path.read_bytes()
        data = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}; fetch the file again") from None
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise UserError(f"{path}: found no idx file of bytes, expected one; fetch the file again")
    header = 4 + 4 * data[3]
    shape = tuple(int(n) for n in np.frombuffer(data[4:header], dtype=">u4"))
    if len(data) - header != np.prod(shape, dtype=np.int64):
        raise UserError(f"{path}: found {len(data) - header} bytes, expected {shape}; fetch the file again")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


class IdxFolder(DataSource):
    """Images and labels of the four files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.paths = {}
        for key, name in FILES.items():
            found = _find(folder, name)
            if found is None:
                raise MissingDataError(
                    f"{folder}: found no {name}.gz, expected the four files of Fashion-MNIST. {WAYS}"
                )
            self.paths[key] = found
        self._arrays: dict[tuple[str, str], NDArray[Any]] = {}

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec(channels=1, height=28, width=28, class_names=CLASSES)

    @property
    def fingerprint(self) -> str:
        return _fingerprint(tuple(known_checksums(self.paths.values()).items()))

    def images(self, split: Split) -> NDArray[Any]:
        images = self._array(split, "images")
        if images.shape[1:] != (28, 28):
            raise UserError(f"{self.paths[split, 'images']}: found images {images.shape[1:]}, expected 28 x 28")
        return images[:, None]

    def labels(self, split: Split) -> NDArray[Any]:
        return self._array(split, "labels").astype(np.int64)

    def _array(self, split: str, part: str) -> NDArray[Any]:
        if (split, part) not in self._arrays:
            self._arrays[split, part] = read_idx(self.paths[split, part])
        return self._arrays[split, part]


class FashionMnist(IdxFolder):
    """The whole data set: 60,000 images to train on, 10,000 to test on."""

    def __init__(self, settings: FashionMnistSettings) -> None:
        super().__init__(_locate(settings))


class EmbeddedFashionMnist(IdxFolder):
    """A fixed subset in the package: of each class the first 800 training and the first 200 test images."""

    def __init__(self, settings: NoSettings) -> None:
        super().__init__(Path(__file__).parent / "embedded")


@cache
def _fingerprint(files: tuple[tuple[Path, str], ...]) -> str:
    """Of the arrays in files with these checksums, whether they are gzipped or not."""
    digest = hashlib.sha256()
    for path, _ in files:
        digest.update(read_idx(path).tobytes())
    return digest.hexdigest()[:16]


def _find(folder: Path, name: str) -> Path | None:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    return None


def _locate(settings: FashionMnistSettings) -> Path:
    """The first folder that holds the files, in the order of the design: root, environment, Debian, cache, download."""
    if settings.root is not None:
        return user_path(settings.root)
    cache_folder = user_cache() / "data"
    raw = cache_folder / "FashionMNIST" / "raw"
    places = [user_path(os.environ["FASHION_MNIST"])] if os.environ.get("FASHION_MNIST") else []
    for folder in [*places, DEBIAN_FOLDER, raw]:
        if all(_find(folder, name) for name in FILES.values()):
            return folder
    reason = "downloads are switched off"
    if settings.download:
        reason = _download(cache_folder) or ""
        if not reason:
            return raw
    raise MissingDataError(f"data set 'fashion-mnist' was not found ({reason}). {WAYS}")


def _download(folder: Path) -> str | None:
    """Let torchvision fetch the files; returns why it failed."""
    from torchvision.datasets import FashionMNIST

    waited = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECTION_TIMEOUT_SECONDS)
    try:
        FashionMNIST(str(folder), download=True)
    except Exception as error:
        return f"the download failed: {str(error).splitlines()[0].rstrip(':') if str(error) else type(error).__name__}"
    finally:
        socket.setdefaulttimeout(waited)
    return None
