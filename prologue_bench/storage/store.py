"""The artifact store.

One folder per stage, named by its key, written aside and renamed into place, with checksums.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from prologue_bench.errors import StageError
from prologue_bench.notices import notice
from prologue_bench.storage.artifacts import (
    MANIFEST,
    Artifact,
    Damage,
    all_checksums,
    damages,
    put_in_place,
    read_artifact,
    seal_artifact,
)
from prologue_bench.storage.checksums import Status, known_checksums, status_of
from prologue_bench.storage.files import user_cache, user_path
from prologue_bench.storage.kept import LOCKS, NOT_WRITABLE
from prologue_bench.storage.leftovers import link_target, make_folder, remove_entry
from prologue_bench.storage.locks import Held, locked, release, try_lock
from prologue_bench.storage.names import named_path
from prologue_bench.storage.unfinished import tidy

ROOM_NEEDED = 1 << 20
"""Bytes without which a disk counts as full."""
CACHES = ("features", "prefixes")
"""What is kept in the cache, by the kind of its artifacts; prefixes are of earlier versions."""
KEY = re.compile(r"[0-9a-f]{20}")
MOVING = re.compile(r"\.[^.]+\.(new|old|\d+)")


def default_store() -> Path:
    """$PROLOGUE_BENCH_STORE, or a folder in the user's cache."""
    if named := os.environ.get("PROLOGUE_BENCH_STORE"):
        return user_path(named)
    return user_cache() / "store"


class Store:
    """Artifacts under `root`, which several runs may share."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._checked: dict[str, Artifact] = {}
        self._manifests: dict[Path, tuple[Status, Artifact]] = {}
        self._said: set[str] = set()

    @property
    def cache(self) -> Path:
        """A folder for what metrics share between runs, such as the features of a reference set."""
        return self.root / "cache"

    def artifact(self, key: str) -> Path:
        """The folder of a finished stage. Raises UserError for a key that is no name."""
        return named_path(self.root / "artifacts", key, "artifact")

    def work(self, key: str) -> Path:
        """The folder of an unfinished stage; its checkpoints live here."""
        return named_path(self.root / "work", key, "unfinished stage")

    def find(self, key: str) -> Artifact | None:
        """The artifact of a key, None when it is not there or damaged, which is said once.

        Checksums are compared once per process, and a file is read only if it changed since it was
        hashed. Raises StageError where files may not be read.
        """
        if key in self._checked:
            return self._checked[key]
        folder = self.artifact(key)
        if not os.path.lexists(folder):
            return None
        try:
            artifact = self._read(folder)
            problem = next(damages(artifact, known_checksums), "")
        except Damage as damage:
            problem = str(damage)
        except PermissionError as error:
            raise StageError(
                f"{error.filename}: {error.strerror}; its owner can let the group read it: "
                f"chmod -R g+rX {self.root}"
            ) from None
        if problem:
            if key not in self._said:
                notice(
                    f"{folder} is damaged ({problem}); it counts as missing, "
                    "and is made anew where it is needed"
                )
            self._said.add(key)
            return None
        self._checked[key] = artifact
        return artifact

    def get(self, key: str) -> Artifact:
        """As `find`. Raises StageError when the artifact is missing or damaged."""
        artifact = self.find(key)
        if artifact is None:
            raise StageError(
                f"{self.artifact(key)}: missing or damaged; run the ablation again to rebuild it"
            )
        return artifact

    def lock(
        self, key: str, waiting: Callable[[], None] = lambda: None
    ) -> AbstractContextManager[Held]:
        """Only one process at a time works on a key; others wait and call `waiting` each second."""
        return locked(self._lock(key), waiting)

    def begin(self, key: str) -> Path:
        """Work folder of a stage that starts or goes on, with what is sound of earlier attempts.

        What cannot is removed, and said. Whoever calls this holds the lock of the key.
        """
        folder = self.work(key)
        make_folder(folder.parent)
        for problem in tidy(folder):
            notice(f"{folder}: {problem}; that part is done again")
        (folder / "output").mkdir(parents=True, exist_ok=True)
        return folder

    def commit(self, key: str, output: Path, details: Mapping[str, Any]) -> Artifact:
        """Make a finished output folder the artifact of a key, and drop the stage's work folder.

        A damaged artifact in its place is replaced.
        """
        folder = self.artifact(key)
        note = seal_artifact(output, key, details)
        if put_in_place(output, folder):
            note(folder)
        with suppress(OSError):
            remove_entry(self.work(key))
        try:
            self._checked[key] = self._read(folder)
        except Damage as damage:
            raise StageError(f"{folder}: damaged just after it was written: {damage}") from None
        return self._checked[key]

    def place(self, key: str, output: Path) -> Artifact:
        """Make a folder that another store has sealed the artifact of a key.

        A damaged artifact in its place is replaced. Whoever calls this holds the lock of the key.
        """
        put_in_place(output, self.artifact(key))
        return self.get(key)

    def manifest(self, key: str) -> Mapping[str, Any] | None:
        """What the manifest of a key says; None without one. The files are not looked at."""
        try:
            return self._read(self.artifact(key)).manifest
        except (Damage, OSError):
            return None

    def check(self, folder: Path) -> list[str]:
        """What is wrong with the files of an artifact or of something kept, one line each.

        Empty when nothing is. Every file is read, whatever is known of it.
        """
        try:
            return list(damages(self._read(folder), all_checksums))
        except Damage as damage:
            return [str(damage)]
        except OSError as error:
            return [f"{Path(error.filename or folder).name} cannot be read: {error.strerror}"]

    def artifacts(self) -> list[Path]:
        """Everything in the place of an artifact, damaged and foreign, too."""
        return _visible(self.root / "artifacts")

    def kept(self) -> list[Path]:
        """Everything in the cache that is under a manifest or should be: an artifact each."""
        return [
            path
            for kind in _visible(self.cache)
            for path in _visible(kind)
            if kind.name in CACHES or os.path.lexists(path / MANIFEST)
        ]

    def is_foreign(self, folder: Path) -> bool:
        """Whether something in the place of an artifact is none of this store's, by its name."""
        return (
            folder.parent.name == "artifacts"
            and KEY.fullmatch(folder.name) is None
            and self.check(folder) != []
        )

    def remove(self, folder: Path, waiting: Callable[[], None]) -> str:
        """Remove an artifact with the unfinished work of its key, or something in the cache.

        Returns what is to be said of it: of a link only the link goes. Waits for its lock, and
        calls `waiting` every second.
        """
        with locked(self.lock_of(folder), waiting):
            return self._remove(folder)

    def remove_idle(self, folder: Path) -> str | None:
        """As `remove`; None, and nothing is removed, where another process has the lock."""
        lock = self.lock_of(folder)
        if (held := try_lock(lock)) is None:
            return None
        try:
            return self._remove(folder)
        finally:
            release(lock, held)

    def _remove(self, folder: Path) -> str:
        target = link_target(folder)
        remove_entry(folder)
        if folder.parent == self.root / "artifacts":
            remove_entry(self.root / "work" / folder.name)
            self._checked.pop(folder.name, None)
        return f"a link to {target}, which stays" if target else ""

    def is_at_work(self, folder: Path) -> bool:
        """Whether another process locks an artifact, unfinished work, or something in the cache."""
        lock = self.lock_of(folder)
        if not lock.is_file():
            return False
        if (held := try_lock(lock)) is None:
            return True
        release(lock, held)
        return False

    def lock_of(self, folder: Path) -> Path:
        """The lock of what lies in the store, or beside it while it is moved (".KEY.old")."""
        name = folder.name
        key = name.split(".")[1] if name.startswith(".") else name
        return (
            self.cache / LOCKS if self.cache in folder.parents else self.root / "locks"
        ) / f"{key[:200]}.lock"

    def free_locks(self) -> list[Path]:
        """Remove the locks that no process holds, left over by such as were killed."""
        freed = []
        for lock in [*self.root.glob("locks/*.lock"), *self.cache.glob(f"{LOCKS}/*.lock")]:
            with suppress(OSError):
                if (held := try_lock(lock)) is not None:
                    release(lock, held)
                    freed.append(lock)
        return freed

    def leftovers(self) -> list[Path]:
        """Unfinished work, and what was being put in place when a process was killed."""
        places = [self.root / "artifacts", *_visible(self.cache)]
        moving = [
            path
            for place in places
            for path in sorted(place.glob(".*"))
            if MOVING.fullmatch(path.name)
        ]
        return [*_visible(self.root / "work"), *moving]

    def is_full(self) -> bool:
        """Whether the disk has no room left; some libraries hide that in errors of their own."""
        with suppress(OSError):
            return shutil.disk_usage(self.root).free < ROOM_NEEDED
        return False

    def refuses(self, error: BaseException) -> bool:
        """Whether an error says that this store cannot be written."""
        if not isinstance(error, OSError) or error.errno not in NOT_WRITABLE or not error.filename:
            return False
        return self.root in Path(os.fsdecode(error.filename)).parents

    def manifests(self) -> Iterator[Mapping[str, Any]]:
        """The manifests of all artifacts that have theirs; their files are not looked at."""
        return self._manifests_of(self.artifacts())

    def kept_manifests(self) -> Iterator[Mapping[str, Any]]:
        """As `manifests`, of what is kept in the cache."""
        return self._manifests_of(self.kept())

    def _manifests_of(self, folders: list[Path]) -> Iterator[Mapping[str, Any]]:
        for folder in folders:
            with suppress(Damage, OSError):
                yield self._read(folder).manifest

    def _lock(self, key: str) -> Path:
        return named_path(self.root / "locks", key, "lock", ".lock")

    def _read(self, folder: Path) -> Artifact:
        """An artifact whose manifest is read once as long as it stays as it is.

        Raises Damage and PermissionError.
        """
        try:
            status = status_of(folder / MANIFEST)
        except PermissionError:
            raise
        except OSError:
            return read_artifact(folder, folder.name)  # which says what is wrong
        known = self._manifests.get(folder)
        if known is None or known[0] != status:
            known = self._manifests[folder] = status, read_artifact(folder, folder.name)
        return known[1]


def _visible(folder: Path) -> list[Path]:
    """What lies in a folder, without hidden files.

    File systems and interrupted removals leave those.
    """
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return []


def is_full_disk(error: BaseException) -> bool:
    """Whether an error, or what torch makes of it, says that no space is left."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    cause = error.__cause__ or error.__context__
    return "No space left" in str(error) or (cause is not None and is_full_disk(cause))
