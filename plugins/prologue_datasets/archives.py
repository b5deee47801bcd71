"""Files of a data set, in a folder or in a zip that is read in place."""

from __future__ import annotations

import os
import sys
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from prologue_bench.checksums import known_checksums
from prologue_bench.errors import MissingDataError, UserError

MANY = 10_000
"""Files from which on it is said that all of them are read."""


class Archive(ABC):
    """Files by name, with slashes between folders."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: list[str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the names, which are many, and which processes that only read do not need."""
        return {**self.__dict__, "_names": None}

    def names(self) -> list[str]:
        """All files, sorted, without hidden ones and what macOS puts beside files."""
        if self._names is None:
            self._names = sorted(name for name in self.list_names() if not is_hidden(name))
        return self._names

    @abstractmethod
    def list_names(self) -> Iterable[str]:
        """All files, in any order."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file's content. Raises OSError or zipfile.BadZipFile when it is damaged."""

    @abstractmethod
    def checksums(self, names: Sequence[str]) -> list[str]:
        """A text for the content of each file."""


class FolderArchive(Archive):
    """A folder with all that is below it."""

    def list_names(self) -> Iterable[str]:
        for folder, _, names in os.walk(self.path, followlinks=True):
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), self.path).replace(os.sep, "/")

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def checksums(self, names: Sequence[str]) -> list[str]:
        paths = [self.path / name for name in names]
        try:
            found = known_checksums([path for path in paths if path.is_file()], starting=self._say_so)
        except OSError as error:
            name = printable(str(error.filename))
            raise UserError(
                f"{name}: cannot be read: {error.strerror}; expected a data set of files that can"
            ) from None
        return [found.get(path, "missing") for path in paths]  # a link to nothing is a broken image

    def _say_so(self, count: int) -> None:
        if count > MANY:
            print(f"{self.path}: reading up to {count:,} files once, for their checksums", file=sys.stderr)


class ZipArchive(Archive):
    """A zip file, opened once in each process that reads from it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._open: tuple[int, zipfile.ZipFile] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the open file, which another process cannot use."""
        return {**super().__getstate__(), "_open": None}

    def _zip(self) -> zipfile.ZipFile:
        # A forked process must not share the file's position with its parent.
        if self._open is None or self._open[0] != os.getpid():
            try:
                self._open = os.getpid(), zipfile.ZipFile(self.path)
            except zipfile.BadZipFile as error:
                raise UserError(f"{self.path}: not a complete zip file: {error}; fetch it again") from None
        return self._open[1]

    def list_names(self) -> Iterable[str]:
        return (name for name in self._zip().namelist() if not name.endswith("/"))

    def read(self, name: str) -> bytes:
        return self._zip().read(name)

    def checksums(self, names: Sequence[str]) -> list[str]:
        """From the archive's own table: size and CRC-32."""
        infos = map(self._zip().getinfo, names)
        return [f"{info.file_size}:{info.CRC}" for info in infos]


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder on the way to it, begins with a dot, or is what Finder adds to a zip."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def printable(name: str) -> str:
    """A file's name as it can be printed and written, where its bytes are no UTF-8."""
    return name.encode(errors="backslashreplace").decode()


def open_archive(path: Path, ways: str) -> Archive:
    """A folder, or a zip file. Raises MissingDataError with the ways to get the data when there is neither."""
    if path.is_dir():
        return FolderArchive(path)
    if path.is_file():
        return ZipArchive(path)
    raise MissingDataError(f"{path}: no such folder or zip file. {ways}")
