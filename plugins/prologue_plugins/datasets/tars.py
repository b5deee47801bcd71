"""Tars that are not compressed, such as shards of webdataset, read in place."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from prologue_bench.errors import UserError
from prologue_bench.storage.checksums import known_checksum, noted_checksums
from prologue_plugins.datasets.archives import (
    BYTES,
    LINK,
    TOO_LARGE,
    Archive,
    check_once,
    check_ordinary,
)
from prologue_plugins.datasets.names import first_line, plain, shortened

NO_FILES = (tarfile.DIRTYPE, b"D", b"V")
"""Types of members that say nothing of images: folders, also as GNU's incremental archives have
them, and the name of a volume."""


class TarArchive(Archive):
    """A tar. One that ends without a block of zeros was cut off."""

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """Where in the file the content of each file begins, and its bytes."""
        try:
            with tarfile.open(self.path, "r:") as file:
                members = [info for info in file if info.type not in NO_FILES]
                self._check_end(file.offset)
        except PermissionError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror}") from None
        except Exception as error:  # of many kinds, for headers that are damaged
            raise UserError(
                f"{self.path}: not a complete tar without compression: {first_line(error)}; "
                "unpack it, or fetch it again"
            ) from None
        names = [plain(info.name) for info in members]
        check_once(self.path, names)
        places: dict[str, tuple[int, int]] = {}
        others = {}
        for name, info in zip(names, members, strict=True):
            if info.isreg() and not info.issparse():
                places[name] = info.offset_data, info.size
            elif info.islnk() and (target := plain(info.linkname)) in places:
                places[name] = places[target]
            else:
                others[name] = _kind(info)
        check_ordinary(self.path, others, "by tar --dereference without --sparse")
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


def _kind(info: tarfile.TarInfo) -> str:
    """What a member is that is not read."""
    if info.islnk():
        return f"a hard link to {shortened(info.linkname)}, which is no file before it"
    return LINK if info.issym() else "a sparse file" if info.issparse() else "a device or the like"


def _noted(tar: TarArchive, names: Sequence[str]) -> list[str]:
    """Raises LookupError where a file would have to be read."""
    if (found := tar.noted_checksums(names)) is None:
        raise LookupError
    return found
