"""Memory of the C library's allocator, which a training on a CPU uses again in each step."""

from __future__ import annotations

import contextlib
import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT = 2**25
"""Bytes of an allocation that the heap takes, the most that glibc allows."""
_KEPT = 2**30
"""Free bytes at the end of the heap from which on they go back to the system."""


def keep_freed_memory() -> None:
    """Keep what a step frees for the next one, where the C library is glibc.

    Else glibc gives large tensors back to the system and asks for them again, and the system fills
    every page with zeros: 20,000 pages per step of profile `micro`.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        library.mallopt(_TRIM_THRESHOLD, _KEPT)
