"""The artifact store: one folder a stage, named by its key, written aside and renamed into place, with checksums."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen
from filelock import FileLock, Timeout

from prologue_bench.errors import StageError
from prologue_bench.files import checksum, user_cache, write_text

MANIFEST = "manifest.json"
WAIT_SECONDS = 1.0
ROOM_NEEDED = 1 << 20
"""Bytes without which a disk counts as full."""


def default_store() -> Path:
    """$PROLOGUE_BENCH_STORE, or a folder in the user's cache."""
    if named := os.environ.get("PROLOGUE_BENCH_STORE"):
        return Path(named).expanduser()
    return user_cache() / "store"


@frozen
class Artifact:
    """A finished stage: its folder and what its manifest says."""

    folder: Path
    manifest: Mapping[str, Any]

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


class Store:
    """Artifacts under `root`, which several runs may share."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._checked: dict[str, Artifact] = {}

    @property
    def cache(self) -> Path:
        """A folder for what metrics share between runs, such as the features of a reference set."""
        return self.root / "cache"

    def work(self, key: str) -> Path:
        """The folder of an unfinished stage; its checkpoints live here."""
        return self.root / "work" / key

    def find(self, key: str) -> Artifact | None:
        """The artifact of a key, None when it is not there or damaged. Checksums are compared once a process."""
        if key not in self._checked:
            artifact = _read(self.root / "artifacts" / key)
            if artifact is None or any(_damages(artifact)):
                return None
            self._checked[key] = artifact
        return self._checked[key]

    def get(self, key: str) -> Artifact:
        """As `find`. Raises StageError when the artifact is missing or damaged."""
        artifact = self.find(key)
        if artifact is None:
            raise StageError(
                f"{self.root / 'artifacts' / key}: missing or damaged; run the ablation again to rebuild it"
            )
        return artifact

    @contextmanager
    def lock(self, key: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Only one process at a time works on a key; the others wait, and call `waiting` every second."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{key}.lock")
        while not lock.is_locked:
            try:
                lock.acquire(timeout=WAIT_SECONDS)
            except Timeout:
                waiting()
        try:
            yield
        finally:
            lock.release()

    def commit(self, key: str, output: Path, details: Mapping[str, Any]) -> Artifact:
        """Make a finished output folder the artifact of a key, and drop the stage's work folder.

        A damaged artifact in its place is replaced.
        """
        files = {
            str(path.relative_to(output)): {"sha256": checksum(path), "bytes": path.stat().st_size}
            for path in sorted(output.rglob("*"))
            if path.is_file() and path.name != MANIFEST
        }
        write_text(output / MANIFEST, json.dumps({**details, "key": key, "files": files}, indent=1))
        folder = self.root / "artifacts" / key
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(output, folder)
        shutil.rmtree(self.work(key), ignore_errors=True)
        self._checked.pop(key, None)
        return self.get(key)

    def check(self, key: str) -> list[str]:
        """What is wrong with an artifact's files, one line each; empty when all are as they were written."""
        artifact = _read(self.root / "artifacts" / key)
        if artifact is None:
            return [f"{MANIFEST} is missing or cannot be read"]
        return list(_damages(artifact))

    def artifact_keys(self) -> list[str]:
        """The keys of all artifacts, damaged ones too."""
        return sorted(folder.name for folder in (self.root / "artifacts").glob("*") if folder.is_dir())

    def remove(self, key: str) -> None:
        """Remove an artifact and the unfinished work of its key, under its lock."""
        with self.lock(key):
            shutil.rmtree(self.root / "artifacts" / key, ignore_errors=True)
            shutil.rmtree(self.work(key), ignore_errors=True)
            self._checked.pop(key, None)

    def is_full(self) -> bool:
        """Whether the disk has no room left; some libraries hide that in errors of their own."""
        return shutil.disk_usage(self.root).free < ROOM_NEEDED

    def manifests(self) -> Iterator[Mapping[str, Any]]:
        """The manifests of all artifacts, unchecked."""
        for folder in sorted((self.root / "artifacts").glob("*")):
            artifact = _read(folder)
            if artifact is not None:
                yield artifact.manifest


def is_full_disk(error: BaseException) -> bool:
    """Whether an error, or what torch makes of it, says that no space is left."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    cause = error.__cause__ or error.__context__
    return "No space left" in str(error) or (cause is not None and is_full_disk(cause))


def _read(folder: Path) -> Artifact | None:
    try:
        return Artifact(folder, json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _damages(artifact: Artifact) -> Iterator[str]:
    """What is wrong with the files of an artifact."""
    for name, expected in artifact.manifest.get("files", {}).items():
        path = artifact / name
        if not path.is_file():
            yield f"{name} is missing"
        elif path.stat().st_size != expected["bytes"] or checksum(path) != expected["sha256"]:
            yield f"{name} is not what was written"
