"""Looking at and removing what lies in a folder, never following a link."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from prologue_bench.errors import StageError
from prologue_bench.texts.lines import escaped


def remove_entry(path: Path) -> None:
    """Remove a file, a folder with all that is in it, or a link, whose target stays.

    Nothing to do where none is. Raises OSError.
    """
    try:
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return
    if is_folder:
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder of a store.

    What is no folder in the place of one is removed: nothing else was ever written there. Raises
    StageError where it is a link, which may lead to a disk that is not mounted, or a file called
    artifacts.
    """
    for _ in range(2):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return
        except FileExistsError:
            target = link_target(folder)
            if target or folder.name == "artifacts":
                found = f"a link to {target}, which is no folder" if target else "a file"
                raise StageError(
                    f"{folder}: found {found}, expected a folder; remove it or put it right"
                ) from None
            remove_entry(folder)


def link_target(path: Path) -> str:
    """Where a link leads, as it stands in the link; empty for what is no link."""
    return escaped(os.readlink(path)) if path.is_symlink() else ""


def entries_in(folder: Path) -> Iterator[Path]:
    """The path and everything below it, folders behind what they hold."""
    if folder.is_dir() and not folder.is_symlink():
        try:
            inside = sorted(folder.iterdir())
        except OSError:  # vanished meanwhile, or not ours to read
            inside = []
        for path in inside:
            yield from entries_in(path)
    yield folder


def bytes_in(path: Path) -> int:
    """Bytes of the files at and below a path."""
    return sum(status.st_size for status in _statuses(path) if stat.S_ISREG(status.st_mode))


def last_touched(path: Path) -> float:
    """The newest modification of a file or of anything in a folder [s]."""
    return max((status.st_mtime for status in _statuses(path)), default=0.0)


def _statuses(path: Path) -> Iterator[os.stat_result]:
    for each in entries_in(path):
        try:
            yield each.lstat()
        except OSError:
            continue
