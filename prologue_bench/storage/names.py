"""The one way from a name to a path: whatever the name, the path lies directly in its folder."""

from __future__ import annotations

from pathlib import Path

from prologue_bench.errors import UserError

LONGEST_NAME = 200
"""Bytes of a name in UTF-8. File systems take 255; endings, and files that are written aside, need
the rest."""
SHOWN = 60
"""Characters of a refused name that its error shows."""


def named_path(folder: Path, name: object, where: str = "name", ending: str = "") -> Path:
    """The path of a name directly in a folder, with an ending such as ".json".

    Raises UserError, which begins with `where`, for a name that could leave the folder, be hidden
    in it, or be no file name at all: an empty one, one with a separator or a control character, one
    that begins with a dot, one that is too long, and what is no text.

    >>> named_path(Path("reports"), "count").as_posix()
    'reports/count'
    >>> named_path(Path("reports"), "../count")
    Traceback (most recent call last):
    prologue_bench.errors.UserError: name: found '../count', expected a name without '/' or '\\'
    """
    if problem := name_problem(name):
        raise UserError(f"{where}: found {_shown(name)}, expected {problem}")
    return folder / f"{name}{ending}"


def name_problem(name: object) -> str:
    """What a name should have been to be the name of a file; empty where it is one."""
    if not isinstance(name, str):
        return "a text"
    if not name.strip():
        return "a name that is not empty"
    if "/" in name or "\\" in name:
        return "a name without '/' or '\\'"
    if name.startswith("."):
        return "a name that does not begin with a dot"
    # Control characters, marks that turn the direction, halves of characters.
    if not name.isprintable():
        return "a name of printable characters"
    if len(name.encode()) > LONGEST_NAME:
        return f"a name of at most {LONGEST_NAME} bytes"
    return ""


def _shown(name: object) -> str:
    if not isinstance(name, str):
        return type(name).__name__
    return repr(name) if len(name) <= SHOWN else f"{name[:SHOWN]!r}... ({len(name)} characters)"
