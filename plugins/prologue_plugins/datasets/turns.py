"""Work of several threads that takes memory, in turns where there would not be enough."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Lets work of an amount begin while all that goes on is at most `most`, or nothing does."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def of(self, amount: int) -> Iterator[None]:
        """Wait for the turn of this amount, and hold it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + amount <= self.most)
            self._taken += amount
        try:
            yield
        finally:
            with self._changed:
                self._taken -= amount
                self._changed.notify_all()
