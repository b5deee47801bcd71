"""Files that are put into a folder together, beside files of others.

All of them or none, whenever the process ends. They are written to a folder aside, which one rename
makes the next state of the folder; from then on whoever reads or writes the folder moves them into
place, if the writer was killed before it could. Only files that the folder's index names as its own
are ever removed, only while they are as they were written, and nothing through a link.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from prologue_bench.errors import UserError
from prologue_bench.storage.files import checksum
from prologue_bench.storage.leftovers import remove_entry

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NEW = ".prologue-bench-new"
"""Files that are being written; left over where their writer was killed."""
READY = ".prologue-bench-ready"
"""Files that are written, on their way to their places."""
STALE = ".stale.json"
"""In READY: checksums, by name, of earlier files that have to go."""


@contextmanager
def placing(folder: Path, own: Mapping[str, str], last: str) -> Iterator[Path]:
    """A folder aside, whose files are put into `folder` when the block ends without an error.

    Args:
        folder: Made if it is not there. May be a link itself.
        own: SHA-256, by name, of what was put there before; what is not written again goes, if
            nobody changed it.
        last: The name of the file that is put in its place after all others, the index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder) as alone:
        _recover(folder, last, alone)
        aside = folder / NEW
        aside.mkdir()
        try:
            yield aside
            stale = {
                name: checksum for name, checksum in own.items() if not (aside / name).exists()
            }
            (aside / STALE).write_text(json.dumps(stale), encoding="utf-8")
            _sync(aside)
            with _undisturbed():
                aside.rename(folder / READY)
                _finish(folder, last)
        finally:
            _drop(aside)


def recover(folder: Path, last: str) -> None:
    """Finish what a killed writer began in a folder, or clean up after it.

    Nothing is done while another writer is at work.
    """
    if not folder.is_dir():
        return
    with _locked(folder, wait=False) as alone:
        if alone:
            _recover(folder, last, alone)


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256, by name, of all files of a folder that `placing` gave."""
    return {
        path.relative_to(folder).as_posix(): checksum(path)
        for path in _files(folder)
        if path.name != STALE
    }


def not_own(folder: Path, names: Iterable[str], own: Mapping[str, str | None]) -> list[str]:
    """Which of these names are taken in a folder by what is not its own, with the reason.

    Args:
        folder: Where the names would be written.
        names: Paths in the folder.
        own: SHA-256, by name, of the files that are its own; None where it is not known.

    Raises:
        UserError: Where a name leads through a link or a file that is no folder.
    """
    found = []
    for name in names:
        place = folder / name
        check_parents(folder, name)
        if not os.path.lexists(place):
            continue
        if not stat.S_ISREG(place.lstat().st_mode):
            found.append(f"{name} (not a plain file)")
        elif name not in own:
            found.append(name)
        elif own[name] not in (None, checksum(place)):
            found.append(f"{name} (changed since)")
    return found


def check_parents(folder: Path, name: str) -> None:
    """Raises UserError where a name leads through a link or a file that is no folder.

    Nothing is then put there.
    """
    for parent in list(PurePosixPath(name).parents)[:-1]:
        path = folder / parent
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            what = "a link" if path.is_symlink() else "no folder"
            raise UserError(
                f"{path}: is {what}, and nothing is written through it; move it, "
                "or name another folder"
            )


def is_inside(name: object) -> bool:
    """Whether a name of somebody else's list is that of a file in the folder, written plainly."""
    if not isinstance(name, str) or not name or "\\" in name or "\0" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.as_posix() == name


def _recover(folder: Path, last: str, alone: bool) -> None:
    _finish(folder, last)
    if not alone:  # somebody else may be writing
        return
    _drop(folder / NEW)
    for path in folder.glob(f".{last}.*"):  # as earlier versions wrote aside
        if re.fullmatch(r"\d+", path.name.removeprefix(f".{last}.")):
            _drop(path)


def _finish(folder: Path, last: str) -> None:
    """Move what is ready into place. May be cut off at any point, and done again."""
    ready = folder / READY
    if ready.is_symlink() or not ready.is_dir():
        return
    names = [path.relative_to(ready).as_posix() for path in _files(ready)]
    for name in sorted(names, key=lambda name: (name == last, name)):
        if name != STALE:
            check_parents(folder, name)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(ready / name, folder / name)
    if STALE in names:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            stale = json.loads((ready / STALE).read_text(encoding="utf-8"))
            for name, written in stale.items() if isinstance(stale, dict) else ():
                _remove_own(folder, name, written)
    _drop(ready)


def _remove_own(folder: Path, name: object, written: object) -> None:
    """Remove a file that is as it was written, and its folder if it was the last one there."""
    if not is_inside(name):
        return
    with contextlib.suppress(OSError, UserError):
        check_parents(folder, str(name))
        place = folder / str(name)
        if stat.S_ISREG(place.lstat().st_mode) and checksum(place) == written:
            place.unlink()
            if place.parent != folder:
                place.parent.rmdir()


def _files(folder: Path) -> list[Path]:
    """All plain files in a folder, in order; links are not followed."""
    found = []
    for root, _, names in os.walk(folder):
        found += [
            Path(root, name) for name in names if stat.S_ISREG(Path(root, name).lstat().st_mode)
        ]
    return sorted(found)


def _drop(path: Path) -> None:
    """Remove what was written aside; what cannot be removed is no error, and goes another time."""
    with contextlib.suppress(OSError):
        remove_entry(path)


def _sync(folder: Path) -> None:
    """See to it that the files are on the disk before a rename makes them count."""
    # Windows wants the right to write.
    flags = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY
    for path in _files(folder):
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _locked(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Only one writer at a time, by a lock on the folder itself, which leaves no file behind.

    Yields whether nobody else is at work, as far as the file system can tell.
    """
    if fcntl is None:
        yield True
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        alone = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            alone = False
        except OSError:  # a file system without locks
            pass
        yield alone
    finally:
        os.close(descriptor)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals to stop wait for the few renames, so that only a kill can come between them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handled = [each for each in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(each))]
    before = {
        each: signal.signal(each, lambda number, frame: came.append(number)) for each in handled
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for each in came[:1]:
            signal.raise_signal(each)
