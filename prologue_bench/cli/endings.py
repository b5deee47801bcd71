"""Every way in which the program ends: an exit code, and where something went wrong one line.

docs/ablations.md lists the codes. Little is imported before the signals are seen to, so that Ctrl-C
and SIGTERM end the program in the same way while it starts.
"""

import contextlib
import os
import sys
from typing import NoReturn

from prologue_bench.stopping import (
    EXIT_INTERRUPTED,
    Asked,
    interrupt,
    leave_at_once,
    on_stop_signals,
)

EXIT_FAILED = 1
EXIT_UNFORESEEN = 70
"""EX_SOFTWARE of sysexits.h: an internal error."""
LARGEST_EXIT_CODE = 255
"""The system keeps the lowest eight bits: 256 would be a success."""
COMPLETION = "_PROLOGUE_BENCH_COMPLETE"
"""The variable by which a shell asks click how a word goes on."""


def main() -> NoReturn:
    """The entry point: errors become one line, and every way to end an exit code.

    SIGTERM stops a command as Ctrl-C does, unless the command has its own way to stop.
    """
    on_stop_signals(leave_at_once)
    try:
        for stream in (sys.stdout, sys.stderr):
            # Not every terminal and pipe knows all characters; text is never lost over one of them.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        from prologue_bench.cli.app import cli
        from prologue_bench.notices import warnings_as_notices

        on_stop_signals(interrupt)
        with warnings_as_notices():
            code = _exit_code(cli(prog_name="prologue-bench", standalone_mode=False))
        _flush()
    except BaseException as error:
        _end(error)
    sys.exit(code)


def _end(error: BaseException) -> NoReturn:
    """End the process because of an error."""
    import click

    from prologue_bench.errors import Interrupted, PrologueBenchError

    if isinstance(error, Interrupted):
        _fail(str(error), EXIT_INTERRUPTED)
    # A library may turn an interrupt into an error of its own.
    if Asked.to_stop or isinstance(error, click.Abort | KeyboardInterrupt):
        _fail("interrupted", EXIT_INTERRUPTED)
    if isinstance(error, click.ClickException):
        with _broken_pipe_is_no_error():
            error.show()
        sys.exit(error.exit_code)
    if isinstance(error, PrologueBenchError):
        _fail(str(error), error.exit_code)
    # The reader of a pipe, such as head, has left; click puts another stream in its place and
    # exits.
    left = isinstance(error, SystemExit) and sys.stdout is not sys.__stdout__
    if left or isinstance(error, BrokenPipeError):
        _forget_output()
        sys.exit(EXIT_FAILED)
    # Click answers the shell, and exits.
    if isinstance(error, SystemExit) and COMPLETION in os.environ:
        sys.exit(error.code)
    if isinstance(error, SystemExit):  # our commands return their codes
        _fail(f"a component ended the program by sys.exit({error.code!r})", EXIT_FAILED)
    if isinstance(error, OSError):  # a folder that cannot be written, a full disk
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), EXIT_FAILED)
    _fail(_unforeseen(error), EXIT_UNFORESEEN)


def _unforeseen(error: BaseException) -> str:
    """What is said of an error that nobody has thought of; its traceback goes into a file."""
    import tempfile
    import traceback

    from prologue_bench.guard import brief

    text = "".join(traceback.format_exception(error))
    what = f"unforeseen {brief(error)}"
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="prologue-bench-",
            suffix=".txt",
            delete=False,
            encoding="utf-8",
            errors="replace",
        ) as file:
            file.write(f"{' '.join(sys.argv)}\n\n{text}")
    except OSError:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return (
            f"{what}, at {frame.filename}:{frame.lineno}; this is a fault of the program, "
            "please report it"
        )
    return f"{what}; this is a fault of the program, please report it with {file.name}"


def _exit_code(returned: object) -> int:
    """The code that a command asked for.

    Outside of its standalone mode click returns that of `Exit` as a value.
    """
    if not isinstance(returned, int) or isinstance(returned, bool):
        return 0
    return returned if 0 <= returned <= LARGEST_EXIT_CODE else EXIT_FAILED


def _fail(text: str, code: int) -> NoReturn:
    import click

    from prologue_bench.texts.lines import one_line

    with _broken_pipe_is_no_error():
        click.echo(f"prologue-bench: {one_line(text)}", err=True)
    sys.exit(code)


def _flush() -> None:
    """Write what is left of the output while an error in it can still be told."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _forget_output() -> None:
    """Let Python write the rest of the output to nowhere, which it would complain of at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, stream.fileno())


class _broken_pipe_is_no_error(contextlib.suppress):  # noqa: N801 - reads as a statement
    """Whoever no longer reads the errors does not miss them."""

    def __init__(self) -> None:
        super().__init__(OSError)
