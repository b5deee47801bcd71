"""Arrays in .npz files that anybody may have written: looked at and read without trust."""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prologue_bench.errors import StageError, shortened

UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    SyntaxError,
    MemoryError,
    ArithmeticError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
"""What a damaged or hostile archive can end in."""

Header = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and type of an array."""


def read_headers(path: Path, expected: str) -> dict[str, Header]:
    """Shape and type of each array of an .npz, of which nothing else is read.

    Raises StageError, in one line that says what was `expected`, where it is none.
    """
    found = {}
    if path.exists() and not path.is_file():
        raise StageError(f"{path}: not a file; expected an .npz")
    with readable(path, expected), zipfile.ZipFile(path) as file:
        for name in file.namelist():
            if name.removesuffix(".npy") in found:
                raise ValueError(f"found {name} twice")
            if name.endswith(".npy"):
                with file.open(name) as array:
                    version = np.lib.format.read_magic(array)
                    read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                        version, np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = read(array)
                    size = math.prod(shape) * dtype.itemsize
                    if not dtype.hasobject and (
                        min(shape, default=0) < 0
                        or size != file.getinfo(name).file_size - array.tell()
                    ):
                        raise ValueError(
                            f"{name} is of another size than its shape {shape} of {dtype}"
                        )
                    found[name.removesuffix(".npy")] = (shape, dtype)
    return found


def read_arrays(path: Path, names: Collection[str], expected: str) -> Mapping[str, NDArray[Any]]:
    """Some arrays of an .npz. Raises StageError, as `read_headers`, and for arrays of objects."""
    with readable(path, expected), np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in names}


@contextmanager
def readable(path: Path, expected: str) -> Iterator[None]:
    """What goes wrong inside with a file becomes a StageError of one line."""
    try:
        yield
    except FileNotFoundError:
        raise StageError(f"{path}: no such file; expected {expected}") from None
    except UNREADABLE as error:
        raise StageError(f"{path}: cannot be read as .npz: {shortened(str(error), 160)}") from None
