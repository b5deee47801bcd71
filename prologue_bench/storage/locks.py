"""Locks between processes: files that the system locks for as long as a process holds them open.

A lock ends with its process, however that ends. Its file is removed on release, so none pile up.
On a file system that several machines share, the server may never hear that a machine is lost, as
with NFS version 3. So the holder writes a new sign of life into the file every few seconds, and who
waits on another machine takes the lock over once no sign has come for long. A holder that was only
cut off finds that out, and must not go on.

`flock` is used directly, since a file that another user made can be locked without the right to
write it, and since a removed file must be told from the one that took its place. Windows has locks
on parts of files in its place, and removes no file that is open.
"""

from __future__ import annotations

import errno
import functools
import importlib
import os
import platform
import stat
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prologue_bench.errors import StageError
from prologue_bench.notices import notice
from prologue_bench.storage.leftovers import make_folder, remove_entry
from prologue_bench.storage.opening import CLOSE_ON_EXEC, NO_FOLLOW, NO_WAIT

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

WAIT_SECONDS = 1.0
SIGN_SECONDS = 10.0
"""Between two signs of life of a lock's holder."""
LOST_LOOKS = 600
"""How many looks, WAIT_SECONDS apart, find the same sign of a holder that counts as lost. Seconds
would count those, too, in which the file system itself does not answer."""
MODE = 0o666
"""Of a lock's file: it holds nothing, and others of the group have to lock it, too. The umask
counts."""
LOCKED_BYTE = 1 << 30
"""Which byte is locked on Windows, where nobody else may read it: one behind all signs of life."""


class Held:
    """A lock that this process holds."""

    def __init__(self, path: Path, lock: int) -> None:
        self._path, self._lock = path, lock
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sign_all, daemon=True, name="lock")
        self._signs = 0
        self.sign()
        self._thread.start()

    def check(self) -> None:
        """Raises StageError where another machine has taken the lock over."""
        if not _is_at(self._path, self._lock):
            raise StageError(
                f"{self._path}: another machine took over, as this one had given no sign of life "
                f"for {LOST_LOOKS * WAIT_SECONDS / 60:.0f} minutes"
            )

    def sign(self) -> None:
        """Write a sign of life. Into a file of another user's none can be written."""
        self._signs += 1
        with suppress(OSError):
            os.lseek(self._lock, 0, os.SEEK_SET)
            os.write(self._lock, f"{_machine()} {self._signs:012d}\n".encode())
            os.fsync(self._lock)

    def release(self) -> None:
        """Give the lock back, and remove its file unless another has it."""
        self._ended.set()
        self._thread.join()
        try:
            is_ours = _is_at(self._path, self._lock)
        except OSError:  # it cannot be told whose the file is, so that it stays
            is_ours = False
        if is_ours:
            release(self._path, self._lock)
        else:
            os.close(self._lock)

    def _sign_all(self) -> None:
        while not self._ended.wait(SIGN_SECONDS):
            self.sign()


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[Held]:
    """Hold a lock; while another process has it, call `waiting` every second.

    Raises OSError where the file cannot be made, and StageError on a disk without locks.
    """
    signs = _Signs(path)
    while (lock := try_lock(path)) is None:
        waiting()
        signs.look()
        time.sleep(WAIT_SECONDS)
    held = Held(path, lock)
    try:
        yield held
    finally:
        held.release()


class _Signs:
    """The signs of life of a lock's holder, as one who waits sees them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = b""
        self._looks = 0

    def look(self) -> None:
        """Remove the file of a holder on another machine that has given no sign for long."""
        try:
            with self._path.open("rb") as file:
                sign, status = file.read(200), os.fstat(file.fileno())
        except OSError:
            return
        if sign != self._last:
            self._last, self._looks = sign, 0
        self._looks += 1
        machine = sign.decode(errors="replace").split(" ")[0]
        if self._looks <= LOST_LOOKS or not machine or machine == _machine():
            return
        with suppress(OSError):
            if os.path.samestat(self._path.stat(), status):
                self._path.unlink()
                notice(
                    f"{self._path}: its holder on another machine has given no sign of life for "
                    f"{LOST_LOOKS * WAIT_SECONDS / 60:.0f} minutes; this process takes over"
                )
        self._looks = 0


@functools.cache
def _machine() -> str:
    """Tells this machine, since it was started, from others."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{platform.node()}-{uuid.getnode()}".replace(" ", "-")


def try_lock(path: Path) -> int | None:
    """An open file that holds the lock until it is given to `release`.

    None where another process has it.
    """
    make_folder(path.parent)
    while True:
        lock = _open(path)
        try:
            _take(lock)
            # One that another user left is removed: signs of life need a file of one's own.
            if _is_at(path, lock) and (os.access(path, os.W_OK) or not _removed(path)):
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
        os.close(lock)  # its last holder removed the file between the two calls, or we did


def release(path: Path, lock: int) -> None:
    """Give a lock back and remove its file; whoever waits for it makes another."""
    with suppress(OSError):
        path.unlink()
    os.close(lock)
    if fcntl is None:
        with suppress(OSError):  # another process has it open by now
            path.unlink()


def _take(lock: int) -> None:
    """Lock an open file. Raises BlockingIOError where another process has the lock."""
    if fcntl is not None:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    msvcrt: Any = importlib.import_module("msvcrt")
    os.lseek(lock, LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
    except PermissionError as error:
        raise BlockingIOError(*error.args) from None


def _open(path: Path) -> int:
    """The lock's file, made where there is none. What is no file is removed from its place."""
    flags = CLOSE_ON_EXEC | NO_FOLLOW | NO_WAIT
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


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _is_at(path: Path, lock: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(lock))
    except FileNotFoundError:
        return False
