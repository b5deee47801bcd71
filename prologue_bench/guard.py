"""Code of plugins is called within a guard.

Whatever it raises becomes one line that names the component. That holds for sys.exit and a
KeyboardInterrupt of the component's own too. Only a signal that asks the program to stop passes,
and errors of this project, whose text is written for the user.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from prologue_bench.errors import PrologueBenchError, UserError, abridged
from prologue_bench.stopping import is_interrupt
from prologue_bench.texts.lines import one_line

LONGEST = 200
"""Characters of a text of a component's within a line."""


@contextmanager
def of_component(who: str, raises: type[PrologueBenchError] = UserError) -> Iterator[None]:
    """Turn what the code of `who` raises into an error of one line.

    For example "WHO: ValueError: its text (file.py:12)".
    """
    try:
        yield
    except BaseException as error:
        if is_interrupt(error) or isinstance(error, PrologueBenchError):
            raise
        raise raises(f"{who}: {brief(error)}{place_of(error)}") from error


@contextmanager
def left_out(what: str, say: Callable[[str], None]) -> Iterator[None]:
    """As `of_component`, where all else goes on: the line is said and nothing raised."""
    try:
        yield
    except BaseException as error:
        pass_interrupt(error)
        say(f"{what} is left out: {brief(error)}")


@contextmanager
def prints_aside() -> Iterator[None]:
    """What a plugin prints goes to standard error: a command's output may be JSON."""
    with redirect_stdout(sys.stderr):
        yield


def pass_interrupt(error: BaseException) -> None:
    """Raise an error again that comes of a signal to stop the program.

    So begins a handler of whatever else a component may raise.
    """
    if is_interrupt(error):
        raise error


def brief(error: BaseException) -> str:
    """An error in one short line; our own speak for themselves."""
    try:
        text = _said(error)
    except Exception:  # a component's exception may fail even at that
        text = ""
    if isinstance(error, PrologueBenchError):
        return short(text)
    name = short(type(error).__name__)
    return f"{name}: {short(text.splitlines()[0])}" if text else name


def _said(error: BaseException) -> str:
    """What an error says.

    attrs' validators say it in their first argument and repeat field and value behind it.
    """
    if isinstance(error, OSError) and error.strerror:
        return (
            f"{error.strerror}: {short(str(error.filename))}" if error.filename else error.strerror
        )
    first = error.args[0] if len(error.args) > 1 else None
    return (
        first
        if isinstance(first, str) and isinstance(error, TypeError | ValueError)
        else str(error)
    ).strip()


def place_of(error: BaseException) -> str:
    """Where an error was raised, for whoever wrote that code: " (file.py:12)"."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def short(text: str) -> str:
    """A text on one line, its middle left out where it is long."""
    return abridged(one_line(text[: 100 * LONGEST]), LONGEST)


def shown(value: object) -> str:
    """A value of a component's for a message, with its type."""
    try:
        text = short(repr(value))
    except Exception:
        text = "something"
    return f"{text[:60]}{'...' * (len(text) > 60)} ({short(type(value).__name__)})"
