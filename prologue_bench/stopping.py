"""Signals that ask the program to stop, from its first moment on."""

import contextlib
import os
import signal
from types import FrameType
from typing import NoReturn

EXIT_INTERRUPTED = 130
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Asked:
    """Whether a signal has asked the program to stop."""

    to_stop = False


def leave_at_once(number: int, frame: FrameType | None) -> NoReturn:
    """While the program starts there is nothing to save.

    An exception would end in a traceback of Python's.
    """
    with contextlib.suppress(OSError):
        os.write(2, b"prologue-bench: interrupted\n")
    os._exit(EXIT_INTERRUPTED)


class _Stopped(KeyboardInterrupt):
    """A class of its own.

    Where the very KeyboardInterrupt has passed an `exec`, Python ends by a signal later on.
    """


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Stop whatever is at work, as Ctrl-C does."""
    Asked.to_stop = True
    raise _Stopped


def is_interrupt(error: BaseException) -> bool:
    """Whether an error comes of a signal to stop the program, not of code that raises the like."""
    if Asked.to_stop:
        return True
    return (
        isinstance(error, KeyboardInterrupt)
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def on_stop_signals(handler: object) -> None:
    """Set the handler of SIGINT and SIGTERM, but of none that the program is to ignore."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)  # type: ignore[arg-type]
