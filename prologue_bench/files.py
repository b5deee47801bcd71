"""Where the user's cache is, checksums, and files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

FETCH_SECONDS = 5.0
"""How long a server may take to say whether it has a file."""


def user_cache() -> Path:
    """This project's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "prologue-bench"


def checksum(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def fetch_problem(url: str) -> str:
    """Why a file cannot be fetched; empty where it can. Asks for its head only, once a process."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=FETCH_SECONDS):
            return ""
    except (OSError, ValueError) as error:
        return str(error)


def write_text(path: Path, text: str) -> None:
    """Write a text so that a reader sees the old content or the new, never half of it."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """As `write_text`, bytes."""
    with _aside(path) as file:
        file.write(content)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """As `write_text`, an array as np.save writes it."""
    with _aside(path) as file:
        np.save(file, array)


@contextmanager
def _aside(path: Path) -> Iterator[IO[bytes]]:
    """A file beside the path, put in its place once it is complete and on the disk."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
