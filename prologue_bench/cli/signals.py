"""Signals while a run goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SAME_SIGNAL_SECONDS = 1.0
"""torchrun passes a Ctrl-C on to processes that the terminal has sent it to already."""


class Stop:
    """Whether the user asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def requested(self) -> bool:
        return self.asked


@contextmanager
def stop_signals(say: Callable[[str], None]) -> Iterator[Stop]:
    """The first SIGINT or SIGTERM asks the running stages to save and leave.

    A second one ends the process.
    """
    stop = Stop()
    asked_at = 0.0

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked_at
        if not stop.asked:
            stop.asked, asked_at = True, time.monotonic()
            say("stopping: what runs saves its state (once more to leave at once)")
        elif time.monotonic() - asked_at > SAME_SIGNAL_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
