"""Checksums of files by what they hold, each file read once as long as it stays as it is.

The state is a table in the user's cache: path, size, times and inode of a file when it was hashed,
and its SHA-256. It only saves time: where it is damaged or cannot be written, files are hashed as
if there were none.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from prologue_bench.storage.files import checksum, user_cache

STATE = "checksums.sqlite3"
COLUMNS = "path, size, modified, changed, inode, device, sha256"
WAIT_SECONDS = 10.0
"""For another process that writes to the state."""
FINE_TICK, COARSE_TICK = 20_000_000, 2_000_000_000
"""Nanoseconds in which a file can change twice and show the same time: two ticks of the slowest
clock of a kernel (Linux's CONFIG_HZ=100), and of a file system that keeps whole seconds."""
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""What sqlite finds in a file that holds no such table; it is then made anew."""
PART = 500
"""Files that are looked up, hashed and noted together: an interrupted hashing goes on behind the
last part."""

Status = tuple[int, int, int, int, int]
"""Size, times of the last change of the content and of anything [ns], inode and device."""


def known_checksum(path: Path) -> str:
    """The SHA-256 of a file, which is read only if it changed since it was hashed.

    Raises OSError.
    """
    return known_checksums([path])[path]


def fingerprint(path: Path) -> str:
    """The first 16 digits of `known_checksum`."""
    return known_checksum(path)[:16]


def known_checksums(
    paths: Iterable[Path], starting: Callable[[int], None] | None = None
) -> dict[Path, str]:
    """`known_checksum` of many files in their order, those that must be read by a thread per core.

    `starting(count)` is called before the first is read; at most so many are.
    """
    wanted = list(paths)
    found: dict[Path, str] = {}
    for start in range(0, len(wanted), PART):
        now = time.time_ns()
        statuses = {path: status_of(path) for path in wanted[start : start + PART]}
        noted = _look_up(statuses)
        known = {
            path for path, status in statuses.items() if path in noted and noted[path][0] == status
        }
        found.update({path: noted[path][1] for path in known})
        changed = [path for path in statuses if path not in known]
        if not changed:
            continue
        if starting is not None:
            starting(len(wanted) - start)
            starting = None
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found.update(zip(changed, pool.map(checksum, changed), strict=True))
        note_checksums({path: (statuses[path], found[path]) for path in changed}, now)
    return {path: found[path] for path in wanted}


def noted_checksums(paths: Iterable[Path]) -> dict[Path, str]:
    """Those of `known_checksums` that are known already: no file is read. Raises OSError."""
    wanted = list(paths)
    found: dict[Path, str] = {}
    for start in range(0, len(wanted), PART):
        statuses = {path: status_of(path) for path in wanted[start : start + PART]}
        noted = _look_up(statuses)
        found.update(
            {
                path: noted[path][1]
                for path in statuses
                if path in noted and noted[path][0] == statuses[path]
            }
        )
    return found


def note_checksums(hashed: Mapping[Path, tuple[Status, str]], before: int) -> None:
    """Remember checksums of files whose status was taken at `before` [ns], before they were read.

    Left out is a file that changed so shortly before that a change while it was read would not show
    in its times.
    """
    rows = [
        (os.fsencode(os.path.abspath(path)), *status, digest)
        for path, (status, digest) in hashed.items()
        if settled_at(status) < before
    ]
    insert = f"INSERT OR REPLACE INTO files ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
    _ask(lambda state: state.executemany(insert, rows).fetchall())


def status_of(path: Path) -> Status:
    """What shows whether a file changed. Raises OSError."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev


def settled_at(status: Status) -> int:
    """The time [ns] from which a further change of a file shows in its times."""
    latest = max(status[1], status[2])
    return latest + (FINE_TICK if latest % 1_000_000_000 else COARSE_TICK)


def _look_up(paths: Iterable[Path]) -> dict[Path, tuple[Status, str]]:
    """What the state says of those paths that it knows."""
    names = {os.fsencode(os.path.abspath(path)): path for path in paths}
    select = f"SELECT {COLUMNS} FROM files WHERE path IN ({', '.join('?' * len(names))})"
    rows = _ask(lambda state: state.execute(select, list(names)).fetchall())
    return {names[row[0]]: (row[1:6], row[6]) for row in rows}


def _ask(question: Callable[[sqlite3.Connection], list[Any]]) -> list[Any]:
    """What the state answers; nothing where it cannot.

    It is opened each time, since a fork must not share it.
    """
    path = user_cache() / STATE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=WAIT_SECONDS)) as state, state:
            state.execute(
                "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, modified "
                "INTEGER, changed INTEGER, inode INTEGER, device INTEGER, "
                "sha256 TEXT) WITHOUT ROWID"
            )
            return question(state)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) in DAMAGED:
            with suppress(OSError):
                path.unlink()
    except OSError:
        pass
    return []
