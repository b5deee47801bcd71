"""What an interrupted stage left: of its files only those are used again that are as sealed.

A seal is the checksum of a file, in work/KEY/seals, written when the file is complete. A file
without one was being written, and is done again without a word; a file that differs from its seal
was damaged.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prologue_bench.storage.files import checksum, write_text
from prologue_bench.storage.leftovers import entries_in, remove_entry

SEALS = "seals"
ENDING = ".sha256"
FREE = re.compile(r"seconds|threads|output/log\.txt|run/[^/]+/[^/]+\.log")
"""Files without a seal that stay: logs, which decide nothing, and those that hold their own
checksum."""


def seal(work: Path, path: Path) -> None:
    """Say that a file of a work folder is complete."""
    place = _seal_of(work, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_text(place, checksum(path))


def tidy(work: Path) -> Iterator[str]:
    """Remove from a work folder what cannot be trusted; yields what was damaged, one line each.

    Links are not followed, and pipes and devices not opened.
    """
    seals = work / SEALS
    for folder in (work, seals):
        if not folder.is_dir() or folder.is_symlink():
            with suppress(FileNotFoundError):
                folder.lstat()
                yield f"{folder.name} is not a folder"
            remove_entry(folder)
    if not work.is_dir():
        return
    for path in [each for each in entries_in(work) if not (_is_folder(each) or _is_file(each))]:
        yield f"{_name(work, path)} is not a file"
        remove_entry(path)
    for path in [each for each in entries_in(work) if _is_file(each) and seals not in each.parents]:
        if FREE.fullmatch(_name(work, path)):
            continue
        sealed = _seal_of(work, path)
        expected = sealed.read_text(encoding="utf-8", errors="replace") if _is_file(sealed) else ""
        if checksum(path) != expected:
            if expected:
                yield f"{_name(work, path)} is not what was written"
            remove_entry(path)
    for path in [
        each for each in entries_in(work) if _is_folder(each) and seals not in each.parents
    ]:
        if path not in (work, seals) and _is_file(_seal_of(work, path)):
            yield f"{_name(work, path)} is not a file"
            remove_entry(path)
    for path in list(entries_in(seals)):
        if _is_file(path) and not _is_file(work / _name(seals, path).removesuffix(ENDING)):
            remove_entry(path)
    for path in [each for each in entries_in(work) if _is_folder(each)]:
        with suppress(OSError):  # it is not empty
            path.rmdir()


def checked_text(text: str) -> str:
    """A line with its checksum in the next, for a file that is written often."""
    return f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}\n"


def read_checked(path: Path) -> str | None:
    """The line that went into `checked_text`; None where the file is missing, or another."""
    try:
        found = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    text = found.partition("\n")[0]
    return text if found == checked_text(text) else None


def _seal_of(work: Path, path: Path) -> Path:
    return work / SEALS / f"{_name(work, path)}{ENDING}"


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _is_folder(path: Path) -> bool:
    return _has(path, stat.S_IFDIR)


def _is_file(path: Path) -> bool:
    return _has(path, stat.S_IFREG)


def _has(path: Path, kind: int) -> bool:
    """Whether the path itself, not what a link leads to, is of a kind."""
    try:
        return stat.S_IFMT(path.lstat().st_mode) == kind
    except (FileNotFoundError, NotADirectoryError):
        return False
