"""YAML as this project reads it: plain values of bounded size, each with its line.

Version 1.2 and its core schema: `1e-4` is a number, `010` is ten, and `on`, `1_000` and dates are
text. Keys are text as it stands. Merge keys (`<<`) work; tags do not. ruamel.yaml parses; what
becomes of it is said here alone.
"""

from __future__ import annotations

import io
import math
import re
from typing import Any

from attrs import field, frozen
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.resolver import implicit_resolvers
from ruamel.yaml.scanner import Scanner, ScannerError

from prologue_bench.errors import shortened

MOST_CHARACTERS = 100_000
MOST_VALUES = 5_000
"""Both as if aliases were written out; so whatever walks through the values ends soon."""
MOST_LEVELS = 50
LONGEST_KEY = 200
LONGEST_NUMBER = 100
MERGE = "<<"

_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_BREAKS = re.compile("[\x85\u2028\u2029]")
"""Ends of lines in YAML 1.1, and characters like others in 1.2."""
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
"""No path and no file takes these."""
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class InvalidYamlError(ValueError):
    """What is wrong with a document, in one line of text, and the line where it is."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


@frozen
class Node:
    """A value with its line, and the nodes in it by how their paths go on: ".key" or "[0]"."""

    value: Any
    line: int
    inside: dict[str, Node] = field(factory=dict)
    values: int = 1
    """How many values it holds, itself included, as if aliases were written out."""
    characters: int = 0


def read(text: str) -> Any:
    """The value of a YAML document; None for an empty one. Raises InvalidYamlError."""
    return compose(text).value


def compose(text: str) -> Node:
    """The value of a YAML document with its lines. Raises InvalidYamlError."""
    if len(text) > MOST_CHARACTERS:
        raise InvalidYamlError(
            1, f"found {len(text):,} characters, expected at most {MOST_CHARACTERS:,}"
        )
    composer = _Composer()
    try:
        # typ and pure: neither objects of the caller's classes nor a second parser, in C, with
        # messages of its own.
        yaml = YAML(typ="safe", pure=True)
        yaml.Scanner = _Scanner
        for event in yaml.parse(io.StringIO(text)):
            composer.take(event)
    except InvalidYamlError:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"column {mark.column + 1}: " if mark else ""
        line = mark.line + 1 if mark else composer.line
        raise InvalidYamlError(line, f"{place}{shortened(str(error.problem), 200)}") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InvalidYamlError(
            line, f"the character {chr(error.character)!a} cannot stand in YAML"
        ) from None
    except (
        Exception
    ) as error:  # the parser has more ways to fail than it documents, such as chr(0xFFFFFFFF)
        raise InvalidYamlError(
            composer.line, shortened(str(error), 200) or type(error).__name__
        ) from None
    return composer.root or Node(None, 1)


def dump(values: Any) -> str:
    """Plain values as YAML, mappings in their order.

    Readers of YAML 1.1 find the same values in it.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = MOST_CHARACTERS
    yaml.representer.add_representer(str, _represent_text)
    yaml.representer.add_representer(float, _represent_float)
    stream = io.StringIO()
    yaml.dump(values, stream)
    return stream.getvalue()


def _represent_text(representer: Any, text: str) -> Any:
    """With quotes where some version of YAML would read anything but this text, such as `on`."""
    if _BREAKS.search(text):  # which only escapes keep apart from the ends of lines
        style: str | None = '"'
    else:
        style = "'" if any(pattern.match(text) for _, _, pattern, _ in implicit_resolvers) else None
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_float(representer: Any, number: float) -> Any:
    """With a point in it, without which version 1.1 takes `1e-05` for a text."""
    text = repr(number)
    if not math.isfinite(number):
        text = ".nan" if math.isnan(number) else ".inf" if number > 0 else "-.inf"
    elif "." not in text:
        text = text.replace("e", ".0e")
    return representer.represent_scalar("tag:yaml.org,2002:float", text)


class _Scanner(Scanner):
    """Stops at brackets that are nested too deep.

    It would look at a thousand of them before the first is parsed.
    """

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:  # noqa: N803 - the library's names
        super().fetch_flow_collection_start(TokenClass, to_push)
        if self.flow_level > MOST_LEVELS:
            mark = self.reader.get_mark()
            raise ScannerError(
                None, None, f"values are nested deeper than {MOST_LEVELS} levels", mark
            )


@frozen
class _Open:
    """A list or mapping whose end is still to come."""

    start: Any
    nodes: list[Node] = field(factory=list)
    """Of a mapping, keys and values in turn."""

    @property
    def line(self) -> int:
        return int(self.start.start_mark.line) + 1


class _Composer:
    """Makes nodes of the parser's events, without recursion, up to the first that is too much."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.line = 1
        self._open: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self._documents = 0
        self._values = self._characters = 0

    def take(self, event: Any) -> None:
        self.line = event.start_mark.line + 1
        if isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._mistake("a second document begins here, expected one")
        elif isinstance(event, AliasEvent):
            self._put(self._aliased(event.anchor), None)
        elif isinstance(event, ScalarEvent):
            self._check_plain(event)
            text = str(event.value)
            is_key = bool(self._open) and self._expects_key(self._open[-1])
            value = text if is_key else _scalar(text, bool(event.implicit[0]), self.line)
            self._put(Node(value, self.line, characters=len(text)), event.anchor)
        elif isinstance(event, SequenceStartEvent | MappingStartEvent):
            self._begin(event)
        elif isinstance(event, SequenceEndEvent | MappingEndEvent):
            ended = self._open.pop()
            made = _list(ended) if isinstance(event, SequenceEndEvent) else _mapping(ended)
            self._put(made, ended.start.anchor, counted=True)

    def _mistake(self, problem: str) -> InvalidYamlError:
        return InvalidYamlError(self.line, problem)

    @staticmethod
    def _expects_key(inside: _Open) -> bool:
        return isinstance(inside.start, MappingStartEvent) and len(inside.nodes) % 2 == 0

    def _begin(self, event: Any) -> None:
        self._check_plain(event)
        if self._open and self._expects_key(self._open[-1]):
            raise self._mistake("found a list or mapping as a key, expected a text")
        if len(self._open) == MOST_LEVELS:
            raise self._mistake(f"values are nested deeper than {MOST_LEVELS} levels")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Open(event))
        self._count(1, 0)

    def _check_plain(self, event: Any) -> None:
        if event.tag is not None:
            raise self._mistake(
                f"the tag {shortened(str(event.tag), 60)!r} is here, expected values without tags"
            )

    def _aliased(self, name: str) -> Node:
        if name not in self._anchors:
            raise self._mistake(f"there is no anchor &{shortened(name, 60)} before this alias")
        node = self._anchors[name]
        if node is None:
            raise self._mistake(
                f"the alias *{shortened(name, 60)} is inside the value that it stands for"
            )
        return node

    def _put(self, node: Node, anchor: str | None, counted: bool = False) -> None:
        """Into what is open; `counted` says that its parts were."""
        if anchor is not None:
            self._anchors[anchor] = node
        if not counted:
            self._count(node.values, node.characters)
        if not self._open:
            self.root = node
            return
        inside = self._open[-1]
        if self._expects_key(inside):
            self._check_key(node)
        inside.nodes.append(node)

    def _check_key(self, node: Node) -> None:
        if not isinstance(node.value, str):  # by an alias
            raise self._mistake("found an alias as a key, expected a text")
        if not node.value:
            raise self._mistake("found an empty key, expected a text")
        if len(node.value) > LONGEST_KEY:
            raise self._mistake(
                f"found a key of {len(node.value)} characters, expected at most {LONGEST_KEY}"
            )

    def _count(self, values: int, characters: int) -> None:
        self._values += values
        self._characters += characters
        for count, most, what in (
            (self._values, MOST_VALUES, "values"),
            (self._characters, MOST_CHARACTERS, "characters"),
        ):
            if count > most:
                raise self._mistake(
                    f"found more than {most:,} {what} up to here, aliases written out"
                )


def _scalar(text: str, plain: bool, line: int) -> Any:
    """The value of a scalar; `plain` says that it stands without quotes."""
    if unusable := _UNUSABLE.search(text):
        raise InvalidYamlError(
            line, f"a text holds the character {unusable[0]!a}, which no file can hold"
        )
    if not plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    for pattern, number in (
        (_INTEGER, int),
        (_OCTAL, lambda digits: int(digits, 8)),
        (_HEXADECIMAL, lambda digits: int(digits, 16)),
        (_FLOAT, float),
        (_INFINITE, lambda name: float(name.replace(".", ""))),
    ):
        if pattern.fullmatch(text):
            if len(text) > LONGEST_NUMBER:
                problem = f"found a number of {len(text)} digits, expected at most {LONGEST_NUMBER}"
                raise InvalidYamlError(line, problem)
            return number(text)
    return text


def _list(ended: _Open) -> Node:
    nodes = ended.nodes
    inside = {f"[{index}]": node for index, node in enumerate(nodes)}
    return _whole([node.value for node in nodes], ended.line, inside, nodes)


def _mapping(ended: _Open) -> Node:
    pairs = list(zip(ended.nodes[::2], ended.nodes[1::2], strict=True))
    lines: dict[str, int] = {}
    merged: dict[str, Node] = {}
    own: dict[str, Node] = {}
    for key, node in pairs:
        if key.value in lines:
            raise InvalidYamlError(
                key.line,
                (
                    f"the key {key.value!r} is here and in "
                    f"{_line(lines[key.value], key.line)}; expected each key once"
                ),
            )
        lines[key.value] = key.line
        if key.value == MERGE:
            parts = list(node.inside.values()) if isinstance(node.value, list) else [node]
            for part in reversed(parts):  # the first wins
                if not isinstance(part.value, dict):
                    problem = "'<<' is followed by no mapping, expected an alias of one"
                    raise InvalidYamlError(key.line, problem)
                merged.update(part.inside)
        else:
            own[f".{key.value}"] = Node(node.value, key.line, node.inside)
    inside = {**merged, **own}
    return _whole(
        {name[1:]: node.value for name, node in inside.items()}, ended.line, inside, ended.nodes
    )


def _whole(value: Any, line: int, inside: dict[str, Node], nodes: list[Node]) -> Node:
    return Node(
        value,
        line,
        inside,
        values=1 + sum(node.values for node in nodes),
        characters=sum(node.characters for node in nodes),
    )


def _line(line: int, here: int) -> str:
    return f"line {line}" if line != here else "the same line"
