"""Where the user's cache is, checksums, and files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import platformdirs

from prologue_bench.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IN_MEMORY = 2**30
"""Bytes of an array; a larger one lies in a temporary file."""
FORGOTTEN_SECONDS = 60.0
"""After which a file of a process that is not here is nobody's: another machine may be writing
it."""
FETCH_SECONDS = 5.0
"""How long a server may take to say whether it has a file."""


def user_cache() -> Path:
    """This project's folder in the user's cache, where the system keeps it.

    A user who has no home, or one that cannot be written, as in a container with a uid of its own,
    has it in the folder for temporary files. Raises UserError where that folder belongs to somebody
    else.
    """
    try:
        folder = platformdirs.user_cache_path("prologue-bench", appauthor=False)
    except RuntimeError:  # no home
        return _temporary_cache()
    named = os.environ.get("XDG_CACHE_HOME", "").strip()
    return (
        folder if folder.is_absolute() and (named or _can_be_made(folder)) else _temporary_cache()
    )


def _can_be_made(folder: Path) -> bool:
    there = nearest_there(folder)
    return there == folder or os.access(there, os.W_OK)


def nearest_there(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there already."""
    absolute = folder.absolute()
    return next(each for each in (absolute, *absolute.parents) if each.exists())


def free_disk(folder: Path) -> int:
    """Bytes that are free on the disk where a folder is or will be. Raises OSError."""
    return shutil.disk_usage(nearest_there(folder)).free


def _temporary_cache() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"prologue-bench-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or (hasattr(os, "getuid") and folder.stat().st_uid != user):
        raise UserError(
            f"{folder}: belongs to another user; set XDG_CACHE_HOME to a folder of your own"
        )
    return folder


def user_path(text: str | Path, where: str = "") -> Path:
    """A path that a user has written, with ~ for a home; ./~ is whatever has that name.

    Raises UserError for one that no file can have, and for an empty one, which would be the working
    folder.
    """
    place = f"{where}: " if where else ""
    if not str(text):
        raise UserError(
            f"{place}found an empty text, as a shell gives for a variable that is not set; "
            "expected a path ('.' is the working folder)"
        )
    if "\0" in str(text):
        raise UserError(
            f"{place}found {str(text)[:60]!r}; expected a path, which has no NUL character"
        )
    path = Path(text)
    if str(path).startswith("~") and not str(text).startswith("~"):
        return path.absolute()  # without its ./ it would be taken for a home
    try:
        return path.expanduser()
    except RuntimeError:
        raise UserError(
            f"{place}{text}: there is no such user, or no home; write the path in full"
        ) from None


def checksum(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def fetch_problem(url: str) -> str:
    """Why a file cannot be fetched; empty where it can. Asks for its head only, once a process."""
    import urllib.request

    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, method="HEAD"), timeout=FETCH_SECONDS
        ):
            return ""
    except (OSError, ValueError) as error:
        return str(error)


def write_text(path: Path, text: str) -> None:
    """Write a text so that a reader sees the old content or the new, never half of it."""
    # A file's name that is not UTF-8 may stand in a text.
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """As `write_text`, bytes."""
    with _aside(path) as file:
        file.write(content)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """As `write_text`, an array as np.save writes it."""
    import numpy as np

    with _aside(path) as file:
        np.save(file, array)


def temporary_array(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An array of bytes to be filled; a large one lies in a file that goes when nobody holds it."""
    import numpy as np

    if math.prod(shape) <= IN_MEMORY:
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile(prefix="prologue-bench-") as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)


def _forget_killed(path: Path) -> None:
    """Remove what processes wrote aside that were killed before they put it in place."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        number = left.name.removeprefix(f".{path.name}.")
        if number.isascii() and number.isdigit() and not _is_running(int(number)):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > FORGOTTEN_SECONDS:
                    left.unlink()


def _is_running(process: int) -> bool:
    if sys.platform == "win32":  # which keeps files that a process has open
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        pass
    return True


def follow_umask(path: Path) -> None:
    """Give a file the mode of any new one beside it, where a library made it private."""
    usual = path.with_name(f".{path.name}.{os.getpid()}")
    usual.touch()
    path.chmod(usual.stat().st_mode & 0o777)
    usual.unlink()


@contextmanager
def _aside(path: Path) -> Iterator[IO[bytes]]:
    """A file beside the path, put in its place once it is complete and on the disk.

    What is no plain file, such as /dev/stdout, is written to as it is; a link stays, and the file
    behind it is written.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    _forget_killed(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
