"""Whether files may be fetched: not while a run is only planned or looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_may_fetch = ContextVar("may_fetch", default=True)


def may_fetch() -> bool:
    """Whether data and weights that are missing may be fetched now.

    If not, raise MissingDataError.
    """
    return _may_fetch.get()


@contextmanager
def nothing_fetched() -> Iterator[None]:
    """Nothing may be fetched inside."""
    before = _may_fetch.set(False)
    try:
        yield
    finally:
        _may_fetch.reset(before)
