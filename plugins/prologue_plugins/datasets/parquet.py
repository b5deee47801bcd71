"""Images in Parquet files, as the Hugging Face hub keeps data sets.

Parquet is read row group by row group, so that an image in the middle costs many. All are therefore
copied once, byte by byte, into one file of the cache, which is mapped into memory.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.contracts import Split
from prologue_bench.errors import MissingDataError, UserError, listed, nearest
from prologue_bench.storage.checksums import known_checksums, noted_checksums
from prologue_bench.storage.files import user_cache
from prologue_plugins.datasets.archives import BYTES, TOO_LARGE, Archive
from prologue_plugins.datasets.names import first_line, shortened

ROWS = 64
"""Read at once."""
IMAGES, PLACES, DIGESTS = "images.bin", "places.npy", "digests.json"
"""What lies in the cache: all images one behind the other, where each begins, their SHA-256."""
EXTRA = "prologue-bench[hub]"


class ParquetImages(Archive):
    """The images of a column, called SPLIT/ROW."""

    def __init__(self, title: str, files: Mapping[Split, Sequence[Path]], column: str) -> None:
        super().__init__(Path(title))
        self.files, self.column = files, column

    def __getstate__(self) -> dict[str, Any]:
        """Without the mapped file, which each process maps for itself."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_images"}

    @cached_property
    def rows(self) -> dict[Split, int]:
        """How many there are of each split."""
        return {
            split: sum(parquet_file(path).metadata.num_rows for path in paths)
            for split, paths in self.files.items()
        }

    def list_names(self) -> Iterable[str]:
        for split, count in self.rows.items():
            yield from (f"{split}/{row:08}" for row in range(count))

    def size(self, name: str) -> int:
        start, stop = self._span(name)
        return stop - start

    def read(self, name: str) -> bytes:
        start, stop = self._span(name)
        if stop - start > BYTES:
            raise ValueError(TOO_LARGE)
        return self._images[start:stop].tobytes()

    def checksums(self, names: Sequence[str]) -> list[str]:
        return [self._digests[self._number(name)] for name in names]

    def noted_checksums(self, names: Sequence[str]) -> list[str] | None:
        paths = self._paths()
        noted = noted_checksums(paths)
        if any(path not in noted for path in paths):
            return None
        return self.checksums(names) if self._is_whole(self._place) else None

    def _paths(self) -> list[Path]:
        return [path for paths in self.files.values() for path in paths]

    def _number(self, name: str) -> int:
        split, _, row = name.partition("/")
        return int(row) + (0 if split == next(iter(self.files)) else self._first)

    @cached_property
    def _first(self) -> int:
        """How many images lie before those of the second split."""
        return next(iter(self.rows.values()))

    def _span(self, name: str) -> tuple[int, int]:
        number = self._number(name)
        return int(self._places[number]), int(self._places[number + 1])

    @cached_property
    def _place(self) -> Path:
        """Of the copy, which is one of these files' content."""
        checksums = known_checksums(self._paths())
        splits = {split: [checksums[path] for path in paths] for split, paths in self.files.items()}
        text = json.dumps([splits, self.column])
        return user_cache() / "data" / f"parquet-{hashlib.sha256(text.encode()).hexdigest()[:20]}"

    @cached_property
    def _copy(self) -> Path:
        """The copy, made where there is none, aside and put into place."""
        place = self._place
        if self._is_whole(place):
            return place
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
            try:
                self._write(aside)
                shutil.rmtree(place, ignore_errors=True)
                with suppress(OSError):  # another process was as fast, and wrote the same
                    aside.rename(place)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        except OSError as error:
            raise UserError(f"{place}: cannot be written: {error.strerror}") from None
        return place

    @staticmethod
    def _is_whole(place: Path) -> bool:
        """The digests are written last."""
        return (place / DIGESTS).is_file()

    def _write(self, folder: Path) -> None:
        places, digests = [0], []
        with (folder / IMAGES).open("wb") as out:
            for content in self._contents():
                out.write(content)
                places.append(places[-1] + len(content))
                digests.append(hashlib.sha256(content).hexdigest())
        np.save(folder / PLACES, np.array(places, dtype=np.int64))
        (folder / DIGESTS).write_text(json.dumps(digests))

    def _contents(self) -> Iterator[bytes]:
        """Of all images in order; nothing of one whose content is elsewhere, which is broken."""
        for path in self._paths():
            for batch in parquet_file(path).iter_batches(ROWS, columns=[self.column]):
                for value in batch.column(0).to_pylist():
                    content = value.get("bytes") if isinstance(value, dict) else value
                    yield content if isinstance(content, bytes) else b""

    @cached_property
    def _images(self) -> NDArray[np.uint8]:
        path = self._copy / IMAGES
        return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        found: NDArray[np.int64] = np.load(self._copy / PLACES)
        return found

    @cached_property
    def _digests(self) -> list[str]:
        found: list[str] = json.loads((self._copy / DIGESTS).read_text())
        return found


def parquet_file(path: Path) -> Any:
    """A Parquet file. Raises UserError for what is none, and where pyarrow is not installed."""
    try:
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise UserError(f"{path}: reading it needs pyarrow; pip install '{EXTRA}'") from None
    try:
        return parquet.ParquetFile(path)
    except Exception as error:  # of many kinds, for damaged files
        raise UserError(
            f"{path}: not a Parquet file: {first_line(error)}; fetch it again"
        ) from None


def check_columns(path: Path, image: str, label: str) -> None:
    """Raises UserError for a column that a file does not have, or that holds something else."""
    schema = parquet_file(path).schema_arrow
    for setting, column in (("image", image), ("label", label)):
        if column and column not in schema.names:
            raise UserError(
                f"{shortened(path.name)}: data.{setting}: found no column {column!r}; "
                f"{nearest(column, schema.names)}"
            )
    from pyarrow import types

    kind = schema.field(image).type
    if not (types.is_struct(kind) or types.is_binary(kind) or types.is_large_binary(kind)):
        raise UserError(
            f"{shortened(path.name)}: data.image: found {kind} in column {image!r}, expected "
            "images: bytes, or a struct with bytes"
        )
    if types.is_struct(kind) and (
        kind.get_field_index("bytes") < 0
        or types.is_null(kind.field("bytes").type)
        or _is_empty(path, f"{image}.bytes")
    ):
        raise UserError(
            f"{shortened(path.name)}: data.image: found no bytes in column {image!r}, expected the "
            "images themselves, and not where they lie; write the files anew with them"
        )


def _is_empty(path: Path, leaf: str) -> bool:
    """Whether a column within a column has no value in any row, by the file's own statistics."""
    metadata = parquet_file(path).metadata
    rows = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        columns = {
            each.path_in_schema: each for each in map(group.column, range(group.num_columns))
        }
        known = columns[leaf].statistics if leaf in columns else None
        if known is None or not known.has_null_count or known.null_count < group.num_rows:
            return False
        rows += int(group.num_rows)
    return rows > 0


def read_labels(paths: Sequence[Path], column: str) -> list[Any]:
    """The values of a column, in order. Raises UserError unless they are numbers or texts."""
    found = [
        value
        for path in paths
        for batch in parquet_file(path).iter_batches(columns=[column])
        for value in batch.column(0).to_pylist()
    ]
    if not found:
        raise UserError(f"{shortened(paths[0].name)}: found no rows, expected at least one image")
    kinds = {type(value) for value in found}
    if kinds not in ({int}, {str}):
        odd = sorted(kind.__name__ for kind in kinds)
        raise UserError(
            f"{shortened(paths[0].name)}: data.label: found {listed(odd)} in column {column!r}, "
            "expected a whole number or a text for each image"
        )
    return found


def class_names(path: Path, column: str) -> list[str]:
    """What the hub's own features call the classes of a column; empty where they say nothing."""
    metadata = parquet_file(path).schema_arrow.metadata or {}
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, TypeError, ValueError):
        return []
    return [str(each) for each in names] if isinstance(names, list) else []


def split_files(root: Path, splits: Mapping[Split, str], config: str) -> dict[Split, list[Path]]:
    """The Parquet files of each split below a folder, by the hub's rules of names.

    A file belongs to a split if it, or a folder that it lies in, is called so, or SPLIT- and more.
    With `config`, only files in a folder of that name count. Raises MissingDataError and UserError.
    """
    there = [path.relative_to(root) for path in sorted(root.rglob("*.parquet"))]
    if config:
        there = [path for path in there if config in path.parts[:-1]]
    found: dict[Split, list[Path]] = {}
    for split, name in splits.items():
        own = [path for path in there if _is_of(path, name)]
        if not own:
            names = listed([path.as_posix() for path in there]) if there else "no .parquet"
            raise MissingDataError(
                f"{root}: data.{split}: found no files of split {name!r}"
                f"{f' and config {config!r}' if config else ''}; found {names}"
            )
        found[split] = [root / path for path in own]
    folders = {path.relative_to(root).parts[:1] for paths in found.values() for path in paths}
    tops = sorted({parts[0] for parts in folders if not parts[0].endswith(".parquet")})
    if not config and len(tops) > 1 and not {*splits.values()} >= set(tops):
        raise UserError(
            f"{root}: found splits in several folders, {listed(tops)}; say which with data.config"
        )
    return found


def _is_of(path: Path, split: str) -> bool:
    parts = [*path.parts[:-1], path.stem]
    return any(part == split or part.startswith(f"{split}-") for part in parts)
