"""What is measured and what it is compared with: paths, names of data sets, and arrays."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from prologue_bench.config.experiments import Resolved
from prologue_bench.config.resolving import resolve_alone
from prologue_bench.contracts.checked import CheckedData
from prologue_bench.contracts.data import DataSource, Factor, Split
from prologue_bench.contracts.images import ImageArray, ImageSpec, channels_first
from prologue_bench.contracts.subsets import Picked
from prologue_bench.errors import UserError, nearest
from prologue_bench.pipeline.models import build_data
from prologue_bench.pipeline.stages import DataRef
from prologue_bench.registry import Registry
from prologue_bench.storage.files import user_path

Given = str | Path | NDArray[Any] | DataSource
"""A path, the name of a data set, images, or a data source."""
MOMENTS = {"mu.npy", "sigma.npy"}
"""What an .npz of statistics, such as ADM's reference batches, holds beside images, or alone."""
IMAGES = {"arr_0.npy", "images.npy"}
SEED = 0
"""Of the choice among images."""
AT_ONCE = 2**30
"""Bytes of images that are put into another order in memory; more are read as they are asked
for."""


@frozen(kw_only=True)
class Source:
    """Images as they were given: what a message calls them, and a text for their content."""

    title: str
    data: DataSource
    known: str

    @property
    def images(self) -> ImageArray:
        """All of them, uint8 [N, C, H, W]."""
        return self.data.images("test")


class ArrayImages(DataSource):
    """Images in memory, without classes or names."""

    def __init__(self, images: NDArray[Any], title: str) -> None:
        self.array = channels_first(np.asarray(images), title)

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec(*self.array.shape[1:])

    @property
    def fingerprint(self) -> str:
        return _digest(str(self.array.shape), self.array)

    def images(self, split: Split) -> ImageArray:
        return self.array if split == "test" else self.array[:0]

    def labels(self, split: Split) -> NDArray[Any]:
        return np.zeros(len(self.images(split)), dtype=np.int64)


class Reference(DataSource):
    """A reference as metrics see it: with the classes that are known, and maybe some images."""

    def __init__(
        self,
        data: DataSource,
        class_names: tuple[str, ...],
        chosen: NDArray[np.int64] | None = None,
    ) -> None:
        self.data, self.class_names, self.chosen = data, class_names, chosen

    @property
    def spec(self) -> ImageSpec:
        return attrs.evolve(self.data.spec, class_names=self.class_names)

    @property
    def fingerprint(self) -> str:
        found = self.data.fingerprint
        return found if self.chosen is None else _digest(found, self.chosen)

    def images(self, split: Split) -> ImageArray:
        return taken(self.data.images(split), self.chosen if split == "test" else None)

    def labels(self, split: Split) -> NDArray[Any]:
        labels: NDArray[Any] = self.data.labels(split)
        return labels if self.chosen is None or split != "test" else labels[self.chosen]

    def factors(self, split: Split) -> Mapping[str, Factor]:
        found = self.data.factors(split)
        if self.chosen is None or split != "test":
            return found
        return {
            name: attrs.evolve(each, values=each.values[self.chosen])
            for name, each in found.items()
        }


class StatisticsAlone(DataSource):
    """An .npz with mu and sigma and no images, for metrics that read the file by themselves."""

    def __init__(self, path: Path, images: ImageSpec) -> None:
        self.path, self._spec = path, images

    @property
    def spec(self) -> ImageSpec:
        return self._spec

    @property
    def fingerprint(self) -> str:
        return "statistics alone"

    def images(self, split: Split) -> ImageArray:
        raise self._none()

    def labels(self, split: Split) -> NDArray[Any]:
        raise self._none()

    def _none(self) -> UserError:
        return UserError(
            f"{self.path}: found mu and sigma, expected images for this metric; leave it out, "
            "or give a reference with images"
        )


def open_source(
    given: Given, what: str, registry: Registry, size: int, settings: Mapping[str, Any]
) -> Source:
    """What was given as `what`, to be cropped and resized to an edge of `size` unless that is 0.

    `settings` are those of a data set that is given by its name. Raises UserError.
    """
    if isinstance(given, DataSource):
        return _checked(given, f"{what} ({type(given).__name__})")
    if not isinstance(given, str | Path):
        data = ArrayImages(given, what)
        if size and data.spec.height != size:
            raise UserError(f"{what}: found an array, expected files where size is given")
        return _checked(data, what)
    known = registry.entries["data"]
    if isinstance(given, str) and given in known:
        fields = {each.name for each in attrs.fields(known[given].component.load_settings())}
        own = {**({"size": size} if size and "size" in fields else {}), **settings}
        return _made(resolve_alone("data", given, own, None, registry), given)
    readers = registry.defaults("data", "files")
    if not readers:
        raise UserError(f"{what} {given}: no installed plugin reads files of images")
    if isinstance(given, str) and "/" not in given and not Path(given).exists():
        names = set(known) - set(readers)
        raise UserError(
            f"{what}: found neither a file or folder {given!r} nor a data set of that name; "
            f"{nearest(given, names)}"
        )
    path = user_path(given, what)
    own = {"root": str(path), "size": size}
    return _made(resolve_alone("data", readers[0], own, None, registry), str(path))


def _made(resolved: Resolved, title: str) -> Source:
    return _checked(build_data(resolved), title, resolved)


def _checked(data: DataSource, title: str, resolved: Resolved | None = None) -> Source:
    """With every answer checked; of a named data set known as ablations know it."""
    checked = CheckedData(data, title)
    if not len(checked.labels("test")):
        raise UserError(f"{title}: found no images, expected at least one")
    known = f"{title if resolved is None else resolved.name} {checked.fingerprint}"
    if resolved is not None:
        known = json.dumps(
            DataRef(resolved=resolved, fingerprint=checked.fingerprint).key(), sort_keys=True
        )
    return Source(title=title, data=checked, known=known)


def statistics_in(given: Given) -> tuple[Path | None, bool]:
    """The path of an .npz that holds mu and sigma, None for all else, and whether it has images."""
    if not isinstance(given, str | Path) or not str(given).lower().endswith(".npz"):
        return None, True
    path = user_path(given)
    try:
        with zipfile.ZipFile(path) as file:
            names = set(file.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):  # told when it is opened
        return None, True
    return (path if names >= MOMENTS else None), bool(names & IMAGES)


def taken(images: ImageArray, chosen: NDArray[np.int64] | None) -> ImageArray:
    """The chosen ones of some images, in that order; all of them for None."""
    if chosen is None:
        return images
    if isinstance(images, np.ndarray) and images[:1].nbytes * len(chosen) <= AT_ONCE:
        found: NDArray[Any] = images[chosen]
        return found
    return Picked(images, chosen)


def _digest(text: str, array: NDArray[Any]) -> str:
    digest = hashlib.sha256(text.encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
