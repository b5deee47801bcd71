"""The errors that reach a user, each as one clear line, and the exit codes they end in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from prologue_bench.texts.lines import escaped, one_line

LONGEST_MESSAGE = 480
"""Characters of a message: what is named in it may be of any length."""
LONGEST_NAME = 100
"""Characters of a name that are compared with others; comparing takes the product of both
lengths."""


class PrologueBenchError(Exception):
    """An error with a text for the user; the command line prints it without a traceback."""

    exit_code = 1


class UserError(PrologueBenchError):
    """A mistake in what the user gave: a setting, a name, a file. Nothing was run because of it.

    The text may name whatever the user gave: it is cut in the middle where it is long, and stays
    one line.
    """

    exit_code = 2

    def __init__(self, text: str) -> None:
        super().__init__(abridged(escaped(own_words(text)), LONGEST_MESSAGE))


class MissingDataError(UserError):
    """A data set, or the weights of a network, nowhere to be found; the text says how to get it."""


class DoesNotApply(PrologueBenchError):  # noqa: N818 - nothing went wrong
    """A metric has nothing to measure of a variant; the text says why.

    It is left out with a note.
    """


class StageError(PrologueBenchError):
    """A stage could not be finished, for a reason worth one line (a loss of NaN, a full disk)."""


class Interrupted(PrologueBenchError):  # noqa: N818 - nothing went wrong
    """The user asked to stop; the running stage has saved a checkpoint to go on from."""


def own_words(text: str) -> str:
    """What an error says.

    Torch wraps the text of a process that reads images in a traceback, whose end it is.
    """
    if "\nOriginal Traceback" not in text:
        return text
    return text.strip().splitlines()[-1].partition(": ")[2]


def abridged(text: str, longest: int) -> str:
    """The text, without its middle where it is too long.

    >>> abridged("abcdefghijklmnop", 11)
    'abcd...mnop'
    """
    if len(text) <= longest:
        return text
    end = (longest - 3) // 2
    return f"{text[: longest - 3 - end]}...{text[-end:]}"


def shortened(text: str, most: int = 60) -> str:
    """A text on one line, cut where it is longer, as messages show what others wrote."""
    line = one_line(text[: 4 * most])
    return line if len(text) <= most else f"{line[: most - 1]}…"


def listed(names: Iterable[object], most: int = 200) -> str:
    """Names with commas between them; beyond so many characters, only how many more there are."""
    texts = [shortened(str(name)) for name in names]
    count, length = 0, 0
    while count < len(texts) and (length := length + len(texts[count]) + 2) <= most:
        count += 1
    shown = ", ".join(texts[: max(1, count)])
    rest = len(texts) - max(1, count)
    return f"{shown} and {rest} more" if rest > 0 else shown


def nearest(name: str, known: Iterable[str]) -> str:
    """A phrase that names the closest of the known names, or all of them when none is close.

    >>> nearest("prologue_token", ["prologue_tokens", "patch_size"])
    "did you mean 'prologue_tokens'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name[:LONGEST_NAME], names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(shortened(match)) for match in close)}?"
    return f"known: {listed(names)}" if names else "none is known"
