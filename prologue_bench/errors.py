"""The errors that reach a user, each as one clear line, and the exit codes they end in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PrologueBenchError(Exception):
    """An error whose text is written for the user; the command line prints it without a traceback."""

    exit_code = 1


class UserError(PrologueBenchError):
    """A mistake in what the user gave: a setting, a name, a file. Nothing was run because of it."""

    exit_code = 2


class MissingDataError(UserError):
    """A data set, or the weights of a network, nowhere to be found; the text names the ways to get it."""


class DoesNotApply(PrologueBenchError):  # noqa: N818 - nothing went wrong
    """A metric has nothing to measure of a variant; the text says why. It is left out with a note."""


class StageError(PrologueBenchError):
    """A stage could not be finished, for a reason worth one line (a loss that turned NaN, a full disk)."""


class Interrupted(PrologueBenchError):  # noqa: N818 - nothing went wrong
    """The user asked to stop; the running stage has saved a checkpoint to go on from."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """A phrase that names the closest of the known names, or all of them when none is close.

    >>> nearest("prologue_token", ["prologue_tokens", "patch_size"])
    "did you mean 'prologue_tokens'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=count, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(match) for match in close)}?"
    return f"known: {', '.join(names)}" if names else "none is known"
