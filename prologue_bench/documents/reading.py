"""Files of YAML, whose mistakes are named with their line."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import field, frozen

from prologue_bench.documents.describing import describe
from prologue_bench.documents.yaml_values import MOST_CHARACTERS, InvalidYamlError, Node, compose
from prologue_bench.errors import UserError

MOST_BYTES = 4 * MOST_CHARACTERS
"""So many a character takes at most, in every encoding of Unicode."""
FREE = "x-"
"""Keys at the top that begin so are nobody's settings: anchors may stand there."""


@frozen
class Document:
    """A mapping that was read from a file, and where each of its values stands."""

    where: str
    """The file, as messages name it."""
    values: Mapping[str, Any]
    node: Node = Node({}, 1)
    options: Mapping[str, str] = field(factory=dict)
    """Paths that an option of the command line has overridden, with what messages call them
    instead."""

    @contextmanager
    def naming_lines(self) -> Iterator[None]:
        """Errors that begin with this file and a path in it get the line of that path."""
        try:
            yield
        except UserError as error:
            raise type(error)(self.with_line(str(error))) from error.__cause__

    def with_line(self, text: str) -> str:
        """A message "FILE: PATH: ..." as "FILE:LINE: PATH: ...", or with the value's option."""
        start = f"{self.where}: "
        if not text.startswith(start):
            return text
        rest = text.removeprefix(start)
        place = re.sub(r"^variant '.*?': ", "", rest)
        for path in sorted(self.options, key=len, reverse=True):
            # No line of the file, and beside a variant's name the path says enough.
            if _leads(path, place):
                return self.options[path] + rest.removeprefix(path) if place == rest else text
        path, line = _longest(self.node, place)
        whole = place.partition(": ")[0]
        for inside in self.options if path != whole else ():
            # The file has no such place, so it is what the option put there.
            if _leads(whole, inside):
                return self.options[inside] + place.removeprefix(whole)
        return f"{self.where}:{line}: {rest}" if path else text


def _longest(node: Node, text: str) -> tuple[str, int]:
    """The longest path of the document that a text begins with, else empty, and its line."""
    rest = f".{text}"
    while found := next(
        (path for path in sorted(node.inside, key=len, reverse=True) if _leads(path, rest)), None
    ):
        node, rest = node.inside[found], rest.removeprefix(found)
    return text.removesuffix(rest) if len(rest) <= len(text) else "", node.line


def _leads(path: str, text: str) -> bool:
    """Whether a message is of a path or of what is inside it."""
    return text.startswith(path) and (text[len(path) :] or ":")[0] in ":.["


def read_document(path: Path, where: str) -> Document:
    """A file that holds a mapping. Raises UserError, with the line, for what is no such YAML."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{where}: no such file") from None
    except (OSError, ValueError) as error:  # a name may hold NUL
        raise UserError(
            f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    if len(data) > MOST_BYTES:
        raise UserError(f"{where}: found more than {MOST_BYTES:,} bytes, expected a file of YAML")
    try:
        node = compose(_decoded(data))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{where}:{line}: found a byte that is not {error.encoding.upper()}, expected UTF-8"
        ) from None
    except InvalidYamlError as error:
        raise UserError(f"{where}:{error.line}: not valid YAML: {error}") from None
    if not isinstance(node.value, dict):
        raise UserError(f"{where}: found {describe(node.value)}, expected a mapping")
    return Document(
        where, {key: value for key, value in node.value.items() if not key.startswith(FREE)}, node
    )


def _decoded(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")
