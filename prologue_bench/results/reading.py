"""Reading files that others may have written: bounded, without following links, checked before use.

JSON comes in through `read_json` or `parse`, and any other file through `read_bytes`. Whatever is
wrong is one UserError with the file's name, and the place inside it.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from prologue_bench.errors import UserError
from prologue_bench.results.checking import Mismatch, check_plain, shown
from prologue_bench.storage.opening import CLOSE_ON_EXEC, NO_FOLLOW, NO_WAIT

MEGABYTE = 2**20
LARGEST_DOCUMENT = 256 * MEGABYTE
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def read_bytes(path: Path, most: int, follow: bool = False) -> bytes:
    """The content of a regular file of at most so many bytes.

    A link is followed only where `follow` says that the user named it. Raises UserError, or
    FileNotFoundError.
    """
    flags = os.O_RDONLY | CLOSE_ON_EXEC | NO_WAIT | (0 if follow else NO_FOLLOW)
    try:
        descriptor = os.open(path, flags)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(
                    f"{path}: found {KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}, "
                    "not a file"
                )
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(most + 1) if status.st_size <= most else b""
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {_reason(path, error)}") from None
    if status.st_size > most or len(content) > most:
        raise UserError(f"{path}: larger than {most // MEGABYTE} MB, which no file of its kind is")
    return content


def _reason(path: Path, error: OSError | ValueError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ELOOP, errno.EMLINK):
        return "a link, which is not followed; put the file itself in its place"
    if number == errno.ENXIO:
        return "found a socket or a pipe, not a file"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder itself, and no link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def parse(content: bytes, path: Path, expected: str) -> object:
    """The JSON in a file's content.

    Raises UserError, also for names given twice, NaN, and numbers beyond all use.
    """
    document = decode(content, path, expected)
    try:
        check_plain(document)
    except Mismatch as wrong:
        raise UserError(f"{path}: {wrong}") from None
    return document


def decode(content: bytes, path: Path, expected: str) -> object:
    """The JSON in a file's content; its numbers and texts are not looked at.

    Raises UserError, also for names given twice.
    """
    try:
        document: object = json.loads(content.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}, expected {expected}") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}: found no JSON at line {error.lineno}, column {error.colno} ({error.msg}), "
            f"expected {expected}"
        ) from None
    except RecursionError:
        raise UserError(
            f"{path}: found lists or objects nested too deep, expected {expected}"
        ) from None
    except Mismatch as wrong:
        raise UserError(f"{path}: {wrong}") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise UserError(
            f"{path}: found no JSON that can be read ({error!s:.80}), expected {expected}"
        ) from None
    return document


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise Mismatch(f"the name {shown(name)} occurs twice in one object")
            seen.add(name)
    return found


def read_json(
    path: Path, expected: str, most: int = LARGEST_DOCUMENT, follow: bool = False
) -> object:
    """The JSON of a file, not checked against any description. Raises UserError."""
    try:
        content = read_bytes(path, most, follow)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected {expected}") from None
    return parse(content, path, expected)
