"""Looking at and removing what lies in a folder, never following a link."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path


def remove_entry(path: Path) -> None:
    """Remove a file, a folder with all that is in it, or a link, whose target stays. Nothing to do where none is.

    Raises OSError.
    """
    try:
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return
    if is_folder:
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link_target(path: Path) -> str:
    """Where a link leads, as it stands in the link; empty for what is no link."""
    return ascii(os.readlink(path))[1:-1] if path.is_symlink() else ""


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
