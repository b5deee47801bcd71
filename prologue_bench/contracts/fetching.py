"""Whether files may be fetched; whether a model is given its weights, from `storage`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from prologue_bench.storage.giving import weights_given

__all__ = ["may_fetch", "nothing_fetched", "weights_given"]

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
