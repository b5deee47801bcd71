"""Locks between processes: files that the system locks for as long as a process holds them open.

A lock ends with its process, however that ends. Its file is removed on release, so none pile up.
`flock` is used directly, since a file that another user made can be locked without the right to
write it, and since a removed file must be told from the one that took its place.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prologue_bench.errors import StageError
from prologue_bench.storage.leftovers import make_folder, remove_entry

WAIT_SECONDS = 1.0
MODE = 0o666
"""Of a lock's file: it holds nothing, and others of the group have to lock it, too. The umask
counts."""


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock; while another process has it, call `waiting` every second.

    Raises OSError where the file cannot be made, and StageError on a disk without locks.
    """
    while (lock := try_lock(path)) is None:
        waiting()
        time.sleep(WAIT_SECONDS)
    try:
        yield
    finally:
        release(path, lock)


def try_lock(path: Path) -> int | None:
    """An open file that holds the lock until it is given to `release`.

    None where another process has it.
    """
    make_folder(path.parent)
    while True:
        lock = _open(path)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, lock):
                return lock
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError as error:
            os.close(lock)
            if error.errno in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
                raise StageError(
                    f"{path.parent}: this disk has no file locks ({error.strerror}); "
                    "mount it with them, or put the store on another disk"
                ) from None
            raise
        os.close(lock)  # its last holder removed the file between the two calls


def release(path: Path, lock: int) -> None:
    """Give a lock back and remove its file; whoever waits for it makes another."""
    with suppress(OSError):
        path.unlink()
    os.close(lock)


def _open(path: Path) -> int:
    """The lock's file, made where there is none. What is no file is removed from its place."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    for _ in range(2):
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(path.lstat().st_mode):
                remove_entry(path)
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | flags, MODE)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            refused = error
        with suppress(FileNotFoundError):  # of another user, who may have released it meanwhile
            return os.open(path, os.O_RDONLY | flags)
    raise refused


def _is_at(path: Path, lock: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(lock))
    except FileNotFoundError:
        return False
