"""Names of files: which are no part of a data set, and how they are printed."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence

from prologue_bench.errors import abridged
from prologue_bench.texts.lines import escaped

LONGEST = 80
"""Characters of a name or a reason in a message."""
BESIDE = {
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "@eadir",
}
"""What Finder, Explorer, file systems and network drives leave beside files, in lower case."""


NOWHERE = re.compile(r"(?:^|(?<=/))\.?/")
"""Parts of a name that lead nowhere: `./a//b` is `a/b`."""


def plain(name: str) -> str:
    """A name in an archive as it is in the folder that the archive is unpacked to."""
    return NOWHERE.sub("", name)


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder above it, begins with a dot, or is left there by a system."""
    return any(part.startswith(".") or part.lower() in BESIDE for part in name.split("/"))


def shortened(text: str) -> str:
    """A text, or its beginning and end, as it can be printed."""
    return abridged(escaped(text), LONGEST)


def by_ending(names: Sequence[str]) -> str:
    """How many files have which ending: "12 .tif, 1 .txt"."""
    endings = Counter(os.path.splitext(name)[1].lower() or "without an ending" for name in names)
    return ", ".join(f"{count} {shortened(ending)}" for ending, count in endings.most_common(5))


def first_line(error: Exception) -> str:
    """What an error says, in a few words."""
    return shortened(str(error).strip().partition("\n")[0]) or type(error).__name__
