"""Whether weights are to be read where a model is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_weights_given = ContextVar("weights_given", default=False)


def weights_given() -> bool:
    """Whether a model that is made now gets all of its weights afterwards, from an artifact.

    It then need neither read nor draw them, and its own files need not be there.
    """
    return _weights_given.get()


@contextmanager
def giving_weights() -> Iterator[None]:
    """Models that are made inside get all of their weights afterwards."""
    before = _weights_given.set(True)
    try:
        yield
    finally:
        _weights_given.reset(before)
