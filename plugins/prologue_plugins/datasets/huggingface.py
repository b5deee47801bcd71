"""Data sets of the Hugging Face hub: those that are kept as Parquet files, as nearly all are."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

from prologue_bench.contracts import Split, may_fetch
from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.storage.files import user_path
from prologue_bench.texts.lines import escaped
from prologue_plugins.datasets.labelled import LabelledImages
from prologue_plugins.datasets.parquet import (
    EXTRA,
    ParquetImages,
    check_columns,
    class_names,
    read_labels,
    split_files,
)
from prologue_plugins.datasets.settings import HuggingFaceSettings
from prologue_plugins.hub import HubError, fetched

REPOSITORY = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
ONE_CLASS = "image"


class HuggingFace(LabelledImages):
    """Images of a data set, or of a folder that holds the files of one, as square crops."""

    settings: HuggingFaceSettings

    def __init__(self, settings: HuggingFaceSettings) -> None:
        title, root = _located(settings)
        self.files = split_files(
            root, {"train": settings.train, "test": settings.test}, settings.config
        )
        for paths in self.files.values():
            check_columns(paths[0], settings.image, settings.label)
        super().__init__(ParquetImages(title, self.files, settings.image), settings)

    @cached_property
    def _labels(self) -> dict[Split, list[Any]]:
        """The class of each image, as the column has it: its number, or a text."""
        column = self.settings.label
        if not column:
            assert isinstance(self.archive, ParquetImages)
            return {split: [ONE_CLASS] * rows for split, rows in self.archive.rows.items()}
        found = {split: read_labels(paths, column) for split, paths in self.files.items()}
        for values in found.values():
            if isinstance(values[0], int) and not 0 <= min(values) <= max(values) < 10**6:
                raise UserError(
                    f"{self.archive.path}: data.label: found numbers from {min(values)} to "
                    f"{max(values)} in column {column!r}, expected numbers of classes, from 0 on"
                )
        return found

    @cached_property
    def _names(self) -> list[str]:
        """What the hub's own features call the classes; empty where they say nothing."""
        column = self.settings.label
        return class_names(self.files["train"][0], column) if column else []

    @cached_property
    def _values(self) -> dict[Split, list[str]]:
        """The class of each image, by its name or number."""
        names = self._names

        def named(value: Any) -> str:
            return names[value] if isinstance(value, int) and value < len(names) else str(value)

        return {
            split: [escaped(named(value)) for value in values]
            for split, values in self._labels.items()
        }

    @cached_property
    def _found(self) -> dict[Split, list[tuple[str, str]]]:
        return {
            split: [(f"{split}/{row:08}", of) for row, of in enumerate(values)]
            for split, values in self._values.items()
        }

    @cached_property
    def _classes(self) -> list[str]:
        """As the hub names them, else numbers up to the largest, or texts by their letters."""
        self._check_test_classes()
        own = set(self._values["train"])
        if self._names:
            known = [escaped(each) for each in self._names]
            if unknown := own - set(known):
                raise UserError(
                    f"{self.archive.path}: data.label: found the class {min(unknown)!r}, which is "
                    f"none of the {len(known)} that the files name"
                )
            return known
        if isinstance(self._labels["train"][0], int):
            return [str(number) for number in range(max(map(int, own)) + 1)]
        return sorted(own)


def _located(settings: HuggingFaceSettings) -> tuple[str, Path]:
    """What messages call the data, and the folder of its files: a local one, or the hub's cache."""
    name, revision = settings.name, settings.revision
    if name is None:
        raise MissingDataError(
            "data set 'huggingface': no name is given; set data.name to ORG/NAME of the hub with "
            "data.revision, or to a folder of Parquet files"
        )
    if (path := user_path(name)).is_dir() and revision is None:
        return str(path), path
    if not REPOSITORY.fullmatch(name):
        raise MissingDataError(f"{path}: no such folder; expected one, or ORG/NAME of the hub")
    if not revision:
        raise UserError(
            f"data.revision: found none for {name}, which is no folder here; expected a commit or "
            "tag of the data set on the hub, so that it stays the same"
        )
    return f"{name}@{revision}", _fetched(name, revision)


def _fetched(name: str, revision: str) -> Path:
    """The folder of a data set's Parquet files in the hub's cache. Raises MissingDataError."""
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        raise MissingDataError(
            f"{name}: fetching it needs huggingface_hub; pip install '{EXTRA}', or set data.name "
            "to a folder of its Parquet files"
        ) from None
    try:
        return fetched(
            lambda: snapshot_download(
                name,
                repo_type="dataset",
                revision=revision,
                allow_patterns="*.parquet",
                local_files_only=not may_fetch(),
            )
        )
    except HubError as error:
        raise MissingDataError(f"{name}@{revision}: {_why_not(error, name, revision)}") from None


def _why_not(error: HubError, name: str, revision: str) -> str:
    if not may_fetch():
        return "not in the hub's cache; it is fetched when it runs"
    if not error.is_unreached:
        return f"cannot be fetched: {error}"
    return (
        "not in the hub's cache, and the hub is not reached; fetch it where there is a network by "
        f"`hf download {name} --repo-type dataset --revision {revision}`, or set data.name to a "
        "folder of its Parquet files"
    )
