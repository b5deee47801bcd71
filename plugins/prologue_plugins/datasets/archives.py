"""Files of a data set, in a folder, or in a zip or tar that is read in place.

All of them may hold anything: links in circles, devices, members that claim any size. Names are
listed in bounded time, and no more of a file is read than an image may have.
"""

from __future__ import annotations

import os
import stat
import sys
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.storage.checksums import known_checksum, known_checksums, noted_checksums
from prologue_plugins.datasets.decoding import IMAGES, Picture, read_picture
from prologue_plugins.datasets.names import first_line, is_hidden, shortened
from prologue_plugins.datasets.turns import Turns

MANY = 10_000
"""Files from which on it is said that all of them are read."""
BYTES = 300_000_000
"""The most that one file may have: an image of as many pixels as are decoded, uncompressed."""
PIECE = 2**16
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of compression in a zip. Python unpacks what others make of any number of bytes at once: 4 kB may
become 5 GB."""
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
    """A zip file, opened once in each process that reads from it.

    A tar that ends without a block of zeros was cut off.
    """

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
        """What the zip calls its files, by names with slashes: some programs write backslashes."""
        return {
            name.replace("\\", "/"): name
            for name in self._zip().namelist()
            if not name.endswith(("/", "\\"))
        }

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


class TarArchive(Archive):
    """A tar that is not compressed, such as a shard of webdataset; read in place.

    Of members of one name the last one counts.
    """

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """Where in the file each ordinary member begins, and its bytes."""
        try:
            with tarfile.open(self.path, "r:") as file:
                members = [info for info in file if info.isreg() and not info.issparse()]
                self._check_end(file.offset)
        except PermissionError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror}") from None
        except Exception as error:  # of many kinds, for headers that are damaged
            raise UserError(
                f"{self.path}: not a complete tar without compression: {first_line(error)}; "
                "unpack it, or fetch it again"
            ) from None
        places = {info.name.removeprefix("./"): (info.offset_data, info.size) for info in members}
        if len(places) < len(members):
            names = Counter(info.name.removeprefix("./") for info in members)
            name = next(name for name, count in names.items() if count > 1)
            raise UserError(
                f"{self.path}: found names more than once, such as {shortened(name)}; expected "
                "each file once"
            )
        return places

    def _check_end(self, offset: int) -> None:
        """Raises ValueError where what stands behind the last member is no tar's end."""
        with self.path.open("rb") as file:
            file.seek(offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise ValueError("it was cut off, since no end stands behind its last file")

    def list_names(self) -> Iterable[str]:
        return self._places

    def size(self, name: str) -> int:
        return self._places[name][1]

    def read(self, name: str) -> bytes:
        start, size = self._places[name]
        if size > BYTES:
            raise ValueError(TOO_LARGE)
        with self.path.open("rb") as file:  # one for each thread
            file.seek(start)
            return file.read(size)

    def checksums(self, names: Sequence[str]) -> list[str]:
        """Of the whole file, with each member's place in it."""
        whole = known_checksum(self.path)
        return [f"{whole}:{start}:{size}" for start, size in map(self._places.__getitem__, names)]

    def noted_checksums(self, names: Sequence[str]) -> list[str] | None:
        return self.checksums(names) if noted_checksums([self.path]) else None


class TarShards(Archive):
    """Several tars below one folder. A file is called SHARD.tar/NAME."""

    def __init__(self, path: Path, shards: Sequence[str]) -> None:
        super().__init__(path)
        self.shards = {shard: TarArchive(path / shard) for shard in shards}

    @staticmethod
    def shard_of(name: str) -> str:
        """The shard that a file is in."""
        before, ending, _ = name.partition(".tar/")
        return before + ending[:-1]

    def _placed(self, name: str) -> tuple[TarArchive, str]:
        shard = self.shard_of(name)
        return self.shards[shard], name[len(shard) + 1 :]

    def list_names(self) -> Iterable[str]:
        for shard, tar in self.shards.items():
            yield from (f"{shard}/{name}" for name in tar.list_names())

    def size(self, name: str) -> int:
        tar, member = self._placed(name)
        return tar.size(member)

    def read(self, name: str) -> bytes:
        tar, member = self._placed(name)
        return tar.read(member)

    def checksums(self, names: Sequence[str]) -> list[str]:
        return self._of_each(names, TarArchive.checksums)

    def noted_checksums(self, names: Sequence[str]) -> list[str] | None:
        with suppress(LookupError):
            return self._of_each(names, _noted)
        return None

    def _of_each(
        self, names: Sequence[str], ask: Callable[[TarArchive, Sequence[str]], list[str]]
    ) -> list[str]:
        """What each shard says of its own files, in the order of the names."""
        members: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            members.setdefault(self.shard_of(name), []).append(index)
        found = [""] * len(names)
        for shard, indices in members.items():
            own = [names[index][len(shard) + 1 :] for index in indices]
            for index, text in zip(indices, ask(self.shards[shard], own), strict=True):
                found[index] = text
        return found


def _noted(tar: TarArchive, names: Sequence[str]) -> list[str]:
    """Raises LookupError where a file would have to be read."""
    if (found := tar.noted_checksums(names)) is None:
        raise LookupError
    return found


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
    if path.suffix.lower() == ".npz":
        raise UserError(
            f"{path.absolute()}: found an .npz, expected a folder or zip; `prologue-bench measure` "
            f"and data image-files read its images and labels. {ways}"
        )
    if stat.S_ISREG(mode):
        return ZipArchive(path)
    raise MissingDataError(f"{path.absolute()}: neither a folder nor a zip file. {ways}")


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
