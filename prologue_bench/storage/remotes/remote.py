"""What lies under the URL of a remote.

    prologue-bench.json    says that this is a remote, and of which format
    artifacts/KEY.json     the manifest of an artifact, as the store has it
    files/SHA256           a file of artifacts, by what it holds

A file is there whole or not at all, and a manifest only behind all files that it lists. Files of
other contents have other names, so that whoever writes at the same time disturbs nobody; a
manifest is never written over another.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from prologue_bench.errors import UserError, shortened
from prologue_bench.storage.artifacts import (
    LARGEST_MANIFEST,
    MANIFEST,
    Damage,
    checked_manifest,
    contents_of,
)
from prologue_bench.storage.placing import is_inside
from prologue_bench.storage.remotes.errors import RemoteError, asking
from prologue_bench.storage.remotes.urls import Place, place_of
from prologue_bench.storage.store import KEY

MARKER = "prologue-bench.json"
FORMAT = 1
ARTIFACTS, FILES, INCOMING = "artifacts", "files", "incoming"
MANIFEST_NAME = re.compile(rf"({KEY.pattern})\.json")
PART = 8 << 20
"""Bytes that are read at once."""
TOGETHER = 8
"""Manifests that are asked for at the same time."""
TALKATIVE = ("aiobotocore", "asyncio", "asyncssh", "botocore", "fsspec", "gcsfs", "s3fs")
"""Libraries that log the errors, with tracebacks, which they also raise."""
NO_EXCLUSIVE = (errno.ENOSYS, errno.EPERM, errno.ENOTSUP)
"""How file systems and servers say that they cannot make a file only where there is none."""

Found = Mapping[str, Any] | Damage | None
"""A manifest, what is wrong with it, or None where there is none."""


class Remote:
    """A store elsewhere. Raises RemoteError, in one line, for whatever its library raises."""

    def __init__(self, place: Place) -> None:
        self.url, self.kind, self.folder = place.url, place.kind, place.folder
        self.has_password = place.has_password
        self._full = place.full
        self._manifests: dict[str, Found] = {}

    @cached_property
    def _connected(self) -> tuple[Any, str]:
        """The file system of fsspec, and the path in it: made when first asked for."""
        for name, value in self.kind.environment.items():
            os.environ.setdefault(name, value)
        for library in TALKATIVE:
            logging.getLogger(library).setLevel(logging.CRITICAL)
        import fsspec

        known = fsspec.config.conf.get(self.kind.name, {})
        options = {name: each for name, each in self.kind.options.items() if name not in known}
        with self._asking():
            system, root = fsspec.core.url_to_fs(self._full, **options)
        return system, root.rstrip("/")

    @property
    def _fs(self) -> Any:
        return self._connected[0]

    def check(self) -> None:
        """Raises RemoteError where no remote is, or one of another format."""
        if not self.is_made():
            raise RemoteError(
                f"{self.url}: there is no remote here; `store push {self.url}` makes one"
            )

    def prepare(self) -> None:
        """Make the place a remote where it is none yet. Raises UserError where it cannot be."""
        if not self.kind.writable:
            raise UserError(f"{self.url}: can be read only; name the URL by which it is written")
        if self.is_made():
            return
        with self._asking(writing=True):
            if self.kind.renames:
                for name in (ARTIFACTS, FILES, INCOMING):
                    self._fs.makedirs(self._path(name), exist_ok=True)
            with suppress(FileExistsError):  # another made it meanwhile
                self._create(MARKER, json.dumps({"format": FORMAT}).encode())

    def keys(self) -> list[str]:
        """The keys of all manifests that are there."""
        if not self.kind.writable:
            raise UserError(f"{self.url}: cannot be listed; name keys in full, or results by --for")
        try:
            with self._asking():
                names = self._fs.ls(self._path(ARTIFACTS), detail=False)
        except FileNotFoundError:
            return []
        found = [MANIFEST_NAME.fullmatch(name.rpartition("/")[2]) for name in names]
        return sorted(each[1] for each in found if each)

    def refresh(self) -> None:
        """Forget what was read: others may have written since."""
        self._manifests.clear()

    def manifests(self, keys: Iterable[str]) -> dict[str, Found]:
        """What is found under each key; each is asked for once until `refresh`."""
        wanted = list(dict.fromkeys(keys))
        unknown = [key for key in wanted if key not in self._manifests and self._connected]
        pool = ThreadPoolExecutor(TOGETHER)
        try:
            self._manifests.update(zip(unknown, pool.map(self._manifest, unknown), strict=True))
        finally:
            pool.shutdown(cancel_futures=True)
        return {key: self._manifests[key] for key in wanted}

    def manifest(self, key: str) -> Found:
        """As `manifests`, of one key."""
        return self.manifests([key])[key]

    def sealed(self, key: str) -> tuple[bytes, Mapping[str, Any]]:
        """A manifest as it was written, and what it says. Raises Damage."""
        try:
            content = self._read(f"{ARTIFACTS}/{key}.json", LARGEST_MANIFEST + 1)
        except FileNotFoundError:
            raise Damage(f"{MANIFEST} is missing") from None
        return content, _checked(content, key)

    def has_file(self, digest: str, size: int, read: bool = False) -> bool:
        """Whether a file is there in its size; with `read`, whether it holds what it should."""
        try:
            with self._asking():
                info = self._fs.info(self._path(FILES, digest))
            if info["size"] != size:
                return False
            return not read or self._digest(f"{FILES}/{digest}", size) == digest
        except (FileNotFoundError, Damage):
            return False

    def send_file(self, path: Path, digest: str, size: int, moved: Callable[[int], None]) -> None:
        """Put a file in its place, and see that it has arrived; `moved` is told of the bytes.

        Object stores compare checksums of what arrives themselves. What others have written is read
        again before it gets its name.
        """
        if not self.kind.renames:
            self._put(path, f"{FILES}/{digest}", moved)
        else:
            aside = f"{INCOMING}/{digest}.{secrets.token_hex(8)}"
            try:
                self._put(path, aside, moved)
                if self._digest(aside, size) != digest:
                    raise RemoteError(f"{self.url}: {path.name} did not arrive as it was sent")
                with self._asking(writing=True):
                    self._fs.mv(self._path(aside), self._path(FILES, digest))
            except (FileNotFoundError, RemoteError):
                self._remove(aside)
                if not self.has_file(digest, size):  # another put it there, and tidied up
                    raise
            except BaseException:
                self._remove(aside)
                raise
            self._tidy(digest)
        if not self.has_file(digest, size):
            raise RemoteError(f"{self.url}: {path.name} did not arrive whole")

    def send_manifest(self, key: str, content: bytes) -> None:
        """Make an artifact visible whose files are there.

        Raises Damage where meanwhile another has come under its key.
        """
        name = f"{ARTIFACTS}/{key}.json"
        if isinstance(self._manifest(key), Damage):
            with self._asking(writing=True):
                self._fs.rm_file(self._path(name))
        refused = None
        try:
            with self._asking(writing=True):
                self._create(name, content)
        except (RemoteError, FileExistsError) as error:
            refused = error
        self._manifests.pop(key, None)
        found = self.manifest(key)
        if isinstance(found, Mapping):
            if contents_of(found) != contents_of(checked_manifest(content, key)):
                raise Damage("other contents came under its key meanwhile")
        elif isinstance(refused, RemoteError):
            raise refused
        else:
            raise RemoteError(f"{self.url}: the manifest of {key} did not arrive whole")

    def parts(self, digest: str, start: int, size: int) -> Iterator[bytes]:
        """The bytes of a file from `start` on. Raises Damage where it is missing or shorter."""
        while start < size:
            end = min(start + PART, size)
            try:
                content = self._read(f"{FILES}/{digest}", end, start)
            except FileNotFoundError:
                raise Damage("is missing there") from None
            if len(content) == size > end - start:  # a server that knows no ranges
                content = content[start:]
            if not content:
                raise Damage("is truncated there")
            yield content
            start += len(content)

    def is_made(self) -> bool:
        """Whether a remote is here. Raises RemoteError for one of another format."""
        try:
            content = self._read(MARKER, 1000)
        except FileNotFoundError:
            self._refuse_store()
            return False
        try:
            document = json.loads(content)
            known = document["format"] if isinstance(document, dict) else None
        except (ValueError, KeyError, RecursionError):
            known = None
        if not isinstance(known, int):
            raise RemoteError(f"{self.url}: {MARKER} there is damaged; remove it, and push again")
        if known > FORMAT:
            raise RemoteError(
                f"{self.url}: is of format {known}, of a later version of prologue-bench; "
                f"this one knows {FORMAT}: update it"
            )
        return True

    def _refuse_store(self) -> None:
        """Raises UserError for the folder of a store: nobody means to mix the two."""
        if self.folder is not None and any(self.folder.glob(f"{ARTIFACTS}/*/manifest.json")):
            raise UserError(
                f"{self.url}: is a store, not a remote; use it by --store, or push from it"
            )

    def _manifest(self, key: str) -> Found:
        try:
            content = self._read(f"{ARTIFACTS}/{key}.json", LARGEST_MANIFEST + 1)
            return _checked(content, key)
        except FileNotFoundError:
            return None
        except Damage as damage:
            return damage

    def _read(self, name: str, end: int, start: int = 0) -> bytes:
        with self._asking():
            try:
                content: bytes = self._fs.cat_file(self._path(name), start=start, end=end)
            except Exception as error:
                # Of a file without so many bytes, some servers refuse the range.
                if "satisfiable" not in str(error).lower():
                    raise
                content = b""
        return content

    def _digest(self, name: str, size: int) -> str:
        hashed, start = hashlib.sha256(), 0
        while start < size:
            content = self._read(name, min(start + PART, size), start)
            if not content:
                break
            hashed.update(content)
            start += len(content)
        return hashed.hexdigest()

    def _create(self, name: str, content: bytes) -> None:
        """Write a file where there is none."""
        if not self.kind.renames:
            try:
                self._fs.pipe_file(self._path(name), content, mode="create")
            except (OSError, NotImplementedError) as error:
                if isinstance(error, OSError) and error.errno not in NO_EXCLUSIVE:
                    raise
                self._fs.pipe_file(self._path(name), content)
            return
        aside = f"{INCOMING}/{secrets.token_hex(8)}"
        try:
            self._fs.pipe_file(self._path(aside), content)
            if self.folder is not None and self._link(aside, name):
                return
            with self._fs.open(self._path(name), "xb") as file:
                file.write(content)
        finally:
            self._remove(aside)

    def _link(self, aside: str, name: str) -> bool:
        try:
            os.link(self._path(aside), self._path(name))
        except OSError as error:
            if error.errno not in NO_EXCLUSIVE:
                raise
            return False
        return True

    def _put(self, path: Path, name: str, moved: Callable[[int], None]) -> None:
        with self._asking(writing=True):
            self._fs.put_file(str(path), self._path(name), callback=_callback(moved))

    def _tidy(self, digest: str) -> None:
        """Remove what killed processes had begun to write of a file that is there now."""
        with suppress(Exception):  # it is in nobody's way
            there = self._fs.ls(self._path(INCOMING), detail=False)
            for name in (each.rpartition("/")[2] for each in there):
                if name.startswith(f"{digest}."):
                    self._remove(f"{INCOMING}/{name}")

    def _remove(self, name: str) -> None:
        with suppress(Exception):  # it is gone, or stays, in nobody's way
            self._fs.rm_file(self._path(name))

    def _path(self, *names: str) -> str:
        return "/".join((self._connected[1], *names))

    def _asking(self, writing: bool = False) -> AbstractContextManager[None]:
        return asking(self.url, self.kind.name, writing)


def open_remote(url: str, store: Path | None = None) -> Remote:
    """The remote of a URL, or of the path of a folder; nothing is asked of it yet.

    Raises UserError for a URL that is none, and for one that leads into the folder of the store.
    """
    remote = Remote(place_of(url))
    if store is not None and remote.folder is not None:
        folder, root = remote.folder.resolve(), store.resolve()
        if folder == root or root in folder.parents:
            raise UserError(f"{remote.url}: lies in the store itself; name another folder")
    return remote


def _checked(content: bytes, key: str) -> Mapping[str, Any]:
    """As `checked_manifest`; a stranger's may be of any size, and list any name."""
    if len(content) > LARGEST_MANIFEST:
        raise Damage(f"{MANIFEST} is larger than any that was written")
    manifest = checked_manifest(content, key)
    for name in manifest["files"]:
        if name == MANIFEST or not is_inside(name):
            raise Damage(f"{MANIFEST}: lists {shortened(name)!r}, which no artifact holds")
    return manifest


def _callback(moved: Callable[[int], None]) -> Any:
    """What fsspec tells of the bytes that it has sent."""
    from fsspec.callbacks import Callback

    class Moved(Callback):  # type: ignore[misc]
        def call(self, *_: object, **__: object) -> None:
            moved(self.value - self.told)
            self.told = self.value

        told = 0

    return Moved()
