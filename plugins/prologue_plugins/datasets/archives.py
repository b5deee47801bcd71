"""Files of a data set, in a folder, or in a zip that is read in place.

All of them may hold anything: links in circles, devices, members that claim any size. Names are
listed in bounded time, and no more of a file is read than an image may have.
"""

from __future__ import annotations

import os
import stat
import sys
import zipfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.storage.checksums import known_checksums, noted_checksums
from prologue_plugins.datasets.decoding import IMAGES, Picture, read_picture
from prologue_plugins.datasets.names import first_line, is_hidden, plain, shortened
from prologue_plugins.datasets.turns import Turns

MANY = 10_000
"""Files from which on it is said that all of them are read."""
BYTES = 300_000_000
"""The most that one file may have: an image of as many pixels as are decoded, uncompressed."""
PIECE = 2**16
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of compression in a zip. Python unpacks what others make of any number of bytes at once: 4 kB may
become 5 GB."""
TAR, COMPRESSED = ".tar", (".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
"""Endings of archives of other kinds."""
FOLDER = ("/", "\\")
"""What the name of a folder in a zip ends with."""
LINK = "a symbolic link"
NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # not on every system
WAYS = 16
"""How often one folder may be reached, by links to it or to the folders above it."""
_turns = Turns(BYTES)
"""Threads hold so many bytes of files at the same time."""
UNREAD = "unread"
"""In place of the checksum of a file that is not there, no file, too large, or not to be read: it
is a broken image."""


class Archive(ABC):
    """Files by name, with slashes between folders."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: list[str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the names, which are many, and which processes that only read do not need."""
        return {**self.__dict__, "_names": None}

    def names(self) -> list[str]:
        """All files, each once, sorted, without hidden ones and what systems leave beside files."""
        if self._names is None:
            self._names = sorted({name for name in self.list_names() if not is_hidden(name)})
        return self._names

    @abstractmethod
    def list_names(self) -> Iterable[str]:
        """All files, in any order, and folders that are called as an image is."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Bytes that a file says it has. Raises OSError."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file's content.

        Raises an error of any kind when it is damaged, no file, or above `BYTES`.
        """

    @abstractmethod
    def checksums(self, names: Sequence[str]) -> list[str]:
        """A text for the content of each file."""

    @abstractmethod
    def noted_checksums(self, names: Sequence[str]) -> list[str] | None:
        """As `checksums`, but no file is read; None where one would have to be."""


class FolderArchive(Archive):
    """A folder with all that is below it, also through links."""

    def list_names(self) -> Iterable[str]:
        """Raises UserError where a folder cannot be listed, or links make too many ways to one."""
        ways: Counter[tuple[int, int]] = Counter()
        # A folder, how its names begin, and the folders that it lies in: a link to one of them has
        # nothing new.
        around = frozenset(_place(parent.stat()) for parent in self.path.resolve().parents)
        waiting = [(self.path, "", around)]
        while waiting:
            folder, before, above = waiting.pop()
            place, entries = _listed(folder)
            if place in above:
                continue
            ways[place] += 1
            if ways[place] > WAYS:
                raise UserError(
                    f"{self.path}: links lead to the folder {shortened(before)} in more than "
                    f"{WAYS} ways, expected a data set without circular links"
                )
            for entry in entries:
                name = before + entry.name
                if not _is_folder(entry):
                    yield name
                elif not is_hidden(name):
                    waiting.append((folder / entry.name, f"{name}/", above | {place}))
                    if name.lower().endswith(IMAGES):
                        yield name

    def size(self, name: str) -> int:
        return (self.path / name).stat().st_size

    def read(self, name: str) -> bytes:
        # A fifo would block when it is opened, and a device never end.
        with open(os.open(self.path / name, os.O_RDONLY | NO_WAIT), "rb") as file:
            status = os.fstat(file.fileno())
            if problem := _problem(status):
                raise ValueError(problem)
            return file.read(status.st_size)

    def checksums(self, names: Sequence[str]) -> list[str]:
        paths = self._readable(names)
        found = _checksums([path for path in paths if path is not None], self._say_so)
        return [found.get(path, UNREAD) if path is not None else UNREAD for path in paths]

    def noted_checksums(self, names: Sequence[str]) -> list[str] | None:
        paths = self._readable(names)
        wanted = [path for path in paths if path is not None]
        found = noted_checksums(wanted)
        if any(path not in found for path in wanted):
            return None
        return [found[path] if path is not None else UNREAD for path in paths]

    def _readable(self, names: Sequence[str]) -> list[Path | None]:
        """The paths, with None for what is no file, or none that is read."""
        paths = [self.path / name for name in names]
        return [path if _is_readable(path) else None for path in paths]

    def _say_so(self, count: int) -> None:
        if count > MANY:
            print(
                f"{self.path}: reading up to {count:,} files once, for their checksums",
                file=sys.stderr,
            )


class ZipArchive(Archive):
    """A zip file, opened once in each process that reads from it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._open: tuple[int, zipfile.ZipFile] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the open file, which another process cannot use."""
        state = {**super().__getstate__(), "_open": None}
        state.pop("_members", None)
        return state

    def _zip(self) -> zipfile.ZipFile:
        # A forked process must not share the file's position with its parent.
        if self._open is None or self._open[0] != os.getpid():
            try:
                self._open = os.getpid(), zipfile.ZipFile(self.path)
            except PermissionError as error:
                raise UserError(f"{self.path}: cannot be read: {error.strerror}") from None
            except Exception as error:  # of many kinds, for a table that is damaged
                raise UserError(
                    f"{self.path}: not a complete zip file: {first_line(error)}; fetch it again"
                ) from None
        return self._open[1]

    @cached_property
    def _members(self) -> dict[str, str]:
        """What the zip calls its files, by plain names: some programs write backslashes."""
        infos = [info for info in self._zip().infolist() if not info.filename.endswith(FOLDER)]
        names = [plain(info.filename.replace("\\", "/")) for info in infos]
        check_once(self.path, names)
        links = {name: LINK for name, info in zip(names, infos, strict=True) if _is_link(info)}
        check_ordinary(self.path, links, "without zip's --symlinks")
        return {name: info.filename for name, info in zip(names, infos, strict=True)}

    def _info(self, name: str) -> zipfile.ZipInfo:
        return self._zip().getinfo(self._members[name])

    def list_names(self) -> Iterable[str]:
        return self._members

    def size(self, name: str) -> int:
        return self._info(name).file_size

    def read(self, name: str) -> bytes:
        info = self._info(name)
        if info.file_size > BYTES:
            raise ValueError(TOO_LARGE)
        if info.compress_type not in METHODS:
            raise ValueError(
                f"compressed by method {info.compress_type}, expected stored or deflated"
            )
        content = bytearray()
        with self._zip().open(info) as file:
            while len(content) < info.file_size and (piece := file.read(PIECE)):
                content += piece
        return bytes(content)

    def checksums(self, names: Sequence[str]) -> list[str]:
        """From the archive's own table: size and CRC-32."""
        infos = map(self._info, names)
        return [f"{info.file_size}:{info.CRC}" for info in infos]

    def noted_checksums(self, names: Sequence[str]) -> list[str] | None:
        return self.checksums(names)


TOO_LARGE = f"more than the {BYTES // 1_000_000} MB of a file that are read; make it smaller"


def open_archive(path: Path, ways: str) -> Archive:
    """A folder, or a zip file.

    Raises MissingDataError with the ways to get the data when there is neither.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise MissingDataError(
            f"{path.absolute()}: no such folder or zip file ({reason}). {ways}"
        ) from None
    if stat.S_ISDIR(mode):
        return FolderArchive(path)
    ending = path.suffix.lower()
    if ending == TAR or ending in COMPRESSED:
        alone = " or put it into a folder, which data webdataset reads" if ending == TAR else ""
        raise UserError(
            f"{path.absolute()}: found {ending}, expected a folder or zip; unpack it{alone}. {ways}"
        )
    if ending == ".npz":
        raise UserError(
            f"{path.absolute()}: found an .npz, expected a folder or zip; `prologue-bench measure` "
            f"and data image-files read its images and labels. {ways}"
        )
    if stat.S_ISREG(mode):
        return ZipArchive(path)
    raise MissingDataError(f"{path.absolute()}: neither a folder nor a zip file. {ways}")


def check_once(path: Path, names: Iterable[str]) -> None:
    """Raises UserError where files of an archive that are read have one name."""
    twice = [name for name, count in Counter(names).items() if count > 1 and not is_hidden(name)]
    if twice:
        raise UserError(
            f"{path}: found names more than once, such as {shortened(twice[0])}; expected "
            "each file once; pack it anew"
        )


def check_ordinary(path: Path, others: Mapping[str, str], how: str) -> None:
    """Raises UserError for members of an archive, with what they are, that would be passed over."""
    names = sorted(name for name in others if not is_hidden(name))
    if names:
        raise UserError(
            f"{path}: found {len(names):,} of its members to be no ordinary files, such as "
            f"{shortened(names[0])} ({others[names[0]]}); expected ordinary files alone; "
            f"pack it anew, {how}"
        )


def read_image(archive: Archive, name: str, edge: int | None) -> Picture:
    """An image of an archive, as `read_picture` reads it. Raises an error of any kind."""
    with _turns.of(archive.size(name)):
        return read_picture(archive.read(name), edge)


def _place(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _listed(folder: Path) -> tuple[tuple[int, int], list[os.DirEntry[str]]]:
    """What tells a folder from others, and what is in it."""
    try:
        place = _place(folder.stat())
        with os.scandir(folder) as entries:
            return place, list(entries)
    except OSError as error:
        raise UserError(
            f"{shortened(str(folder))}: cannot be listed: {error.strerror}; "
            "expected a data set that can be read"
        ) from None


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_readable(path: Path) -> bool:
    try:
        return not _problem(path.stat()) and os.access(path, os.R_OK)
    except (OSError, ValueError):
        return False


def _problem(status: os.stat_result) -> str:
    """Why a file is not read; empty where it is."""
    if not stat.S_ISREG(status.st_mode):
        return "a folder" if stat.S_ISDIR(status.st_mode) else "not an ordinary file"
    return TOO_LARGE if status.st_size > BYTES else ""


def _checksums(paths: Sequence[Path], starting: Any) -> dict[Path, str]:
    """Of those files that can be read: where one cannot, it is found by halving."""
    try:
        return known_checksums(paths, starting=starting)
    except OSError:
        if len(paths) == 1:
            return {}
        middle = len(paths) // 2
        return _checksums(paths[:middle], starting) | _checksums(paths[middle:], starting)
