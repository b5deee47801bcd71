"""The artifact store: one folder a stage, named by its key, written aside and renamed into place, with checksums."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen
from filelock import FileLock, Timeout

from prologue_bench.checksums import FINE_TICK, Status, known_checksums, note_checksums, settled_at, status_of
from prologue_bench.errors import StageError
from prologue_bench.files import checksum, user_cache, user_path, write_text

MANIFEST = "manifest.json"
WAIT_SECONDS = 1.0
ROOM_NEEDED = 1 << 20
"""Bytes without which a disk counts as full."""


def default_store() -> Path:
    """$PROLOGUE_BENCH_STORE, or a folder in the user's cache."""
    if named := os.environ.get("PROLOGUE_BENCH_STORE"):
        return user_path(named)
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
        self._manifests: dict[Path, tuple[Status, Artifact]] = {}

    @property
    def cache(self) -> Path:
        """A folder for what metrics share between runs, such as the features of a reference set."""
        return self.root / "cache"

    def work(self, key: str) -> Path:
        """The folder of an unfinished stage; its checkpoints live here."""
        return self.root / "work" / key

    def find(self, key: str) -> Artifact | None:
        """The artifact of a key, None when it is not there or damaged.

        Checksums are compared once per process, and a file is read only if it changed since it was hashed.
        """
        if key not in self._checked:
            artifact = self._read(self.root / "artifacts" / key)
            if artifact is None or any(_damages(artifact, known_checksums)):
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
        paths = [path for path in sorted(output.rglob("*")) if path.is_file() and path.name != MANIFEST]
        statuses = {path: status_of(path) for path in paths}
        # A later change of a file must show in its times, so that what is hashed here need not be read again.
        wait = max(map(settled_at, statuses.values()), default=0) - time.time_ns()
        time.sleep(max(0, min(wait, FINE_TICK) + 1) / 1e9)
        before = time.time_ns()
        sums = {path: checksum(path) for path in paths}
        files = {str(path.relative_to(output)): {"sha256": sums[path], "bytes": statuses[path][0]} for path in paths}
        write_text(output / MANIFEST, json.dumps({**details, "key": key, "files": files}, indent=1))
        folder = self.root / "artifacts" / key
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(output, folder)
        shutil.rmtree(self.work(key), ignore_errors=True)
        note_checksums({folder / path.relative_to(output): (statuses[path], sums[path]) for path in paths}, before)
        artifact = self._read(folder)
        if artifact is None:
            raise StageError(f"{folder}: its {MANIFEST} cannot be read just after it was written")
        self._checked[key] = artifact
        return artifact

    def check(self, key: str) -> list[str]:
        """What is wrong with an artifact's files, one line each; empty when all are as they were written.

        Every file is read, whatever is known of it.
        """
        artifact = self._read(self.root / "artifacts" / key)
        if artifact is None:
            return [f"{MANIFEST} is missing or cannot be read"]
        return list(_damages(artifact, lambda paths: {path: checksum(path) for path in paths}))

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
            artifact = self._read(folder)
            if artifact is not None:
                yield artifact.manifest

    def _read(self, folder: Path) -> Artifact | None:
        """An artifact whose manifest is read once as long as it stays as it is; None without one."""
        try:
            status = status_of(folder / MANIFEST)
            known = self._manifests.get(folder)
            if known is None or known[0] != status:
                text = (folder / MANIFEST).read_text(encoding="utf-8")
                known = self._manifests[folder] = status, Artifact(folder, json.loads(text))
            return known[1]
        except (OSError, ValueError):
            return None


def is_full_disk(error: BaseException) -> bool:
    """Whether an error, or what torch makes of it, says that no space is left."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    cause = error.__cause__ or error.__context__
    return "No space left" in str(error) or (cause is not None and is_full_disk(cause))


def _damages(artifact: Artifact, hashed: Callable[[list[Path]], Mapping[Path, str]]) -> Iterator[str]:
    """What is wrong with the files of an artifact, whose checksums `hashed` gives."""
    files: Mapping[str, Any] = artifact.manifest.get("files", {})
    same_size = []
    for name, expected in files.items():
        path = artifact / name
        if not path.is_file():
            yield f"{name} is missing"
        elif path.stat().st_size != expected["bytes"]:
            yield f"{name} is not what was written"
        else:
            same_size.append(path)
    sums = hashed(same_size)
    for name, expected in files.items():
        if artifact / name in sums and sums[artifact / name] != expected["sha256"]:
            yield f"{name} is not what was written"
