"""Plain values, as JSON holds them, held against attrs classes that describe them.

A class is the description: a field without a default must be there, and its type says what it may
hold. `Annotated` adds what a type cannot say, such as a range. Fields that the class does not name
are left alone, so that files of later versions which only add something can be read. Each mistake
is told with its exact place, the first one by the error itself.
"""

from __future__ import annotations

import collections.abc
import functools
import math
import re
import reprlib
import types
import typing
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import attrs

Check = Callable[[object], None]
"""Raises Mismatch for a value that is not as described."""

LARGEST = 1e100
"""Of any number: what is larger has no meaning here, and sums and squares of it overflow."""
DEEPEST = 40
"""Levels of objects and lists within one another."""
_SHOWN_NAME, _SHOWN_PLACE = 40, 160
"""Characters of a name, and of a place, in a message."""
MOST_TOLD = 100
"""Mistakes after which a document is not looked at any further."""


class Mismatch(Exception):  # noqa: N818 - it is caught, and told by the file's name
    """What is wrong with a value, and where; outer parts of the place are added on the way out.

    `also` has what else is wrong in the same document, after it.
    """

    def __init__(self, text: str, *place: str | int) -> None:
        super().__init__(text)
        self.text = text
        self.place: list[str | int] = list(place)
        self.also: list[Mismatch] = []

    @property
    def all(self) -> list[Mismatch]:
        """This mistake and those after it."""
        return [self, *self.also]

    def within(self, part: str | int) -> Mismatch:
        """The same mistakes, seen from one level further out."""
        for each in self.all:
            each.place.insert(0, part)
        return self

    def __str__(self) -> str:
        place = place_text(self.place)
        return f"{place}: {self.text}" if place else self.text


def together(found: Sequence[Mismatch]) -> Mismatch:
    """The first of the mistakes, which knows the others."""
    first, *others = found
    first.also = others
    return first


def _add(found: list[Mismatch], wrong: Mismatch) -> None:
    """Put mistakes to those that were found; raises them all where there are enough."""
    found += wrong.all
    if len(found) >= MOST_TOLD:
        raise together(found[:MOST_TOLD]) from None


def _raise(found: list[Mismatch]) -> None:
    """Raises the mistakes that were found, if any."""
    if found:
        raise together(found)


@attrs.frozen
class Between:
    """A number from `least` to `most`, both included."""

    least: float
    most: float = LARGEST

    def problem(self, value: Any) -> str:
        """What was expected; empty where the value is as it should be."""
        if self.least <= value <= self.most:
            return ""
        return f"at least {self.least:g}" if value < self.least else f"at most {self.most:g}"


@attrs.frozen
class Filled:
    """A text, list or object with something in it."""

    def problem(self, value: Any) -> str:
        """What was expected; empty where the value is as it should be."""
        return "" if value else "something in it"


@attrs.frozen
class Others:
    """All fields of an object that its class does not name, as one mapping."""


def is_others(hint: Any) -> bool:
    """Whether a field's type says that it holds the fields that the class does not name."""
    return Others() in getattr(hint, "__metadata__", ())


def check(value: object, description: Any) -> None:
    """Raises Mismatch where a value is not as an attrs class, or another type, describes it."""
    _checker(description)(value)


def check_plain(value: object, depth: int = 0) -> None:
    """Raises Mismatch for what no report could show or write: NaN, huge numbers, broken text."""
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, int | float):
        _check_number(value)
    elif isinstance(value, dict | list):
        if depth >= DEEPEST:
            raise Mismatch(f"nested more than {DEEPEST} levels deep")
        found: list[Mismatch] = []
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            fine = item is None or (type(item) is float and -LARGEST <= item <= LARGEST)
            if fine and type(key) is int:
                continue  # as nearly all are: the numbers of curves
            try:
                check_plain(key, depth)
                check_plain(item, depth + 1)
            except Mismatch as wrong:
                _add(found, wrong.within(key))
        _raise(found)


def _check_number(value: int | float) -> None:
    if type(value) is float and not math.isfinite(value):
        raise Mismatch(f"found {shown(value)}, expected a finite number")
    if not -LARGEST <= value <= LARGEST:
        raise Mismatch(f"found {shown(value)}, expected a number of at most {LARGEST:g}")


def _check_text(value: str) -> None:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Mismatch(f"found {shown(value)}, half of a character; expected a text") from None


@functools.cache
def _checker(description: Any) -> Check:
    """What checks values of one type; made once."""
    origin, arguments = typing.get_origin(description), typing.get_args(description)
    if origin is typing.Annotated:
        return _annotated(arguments[0], arguments[1:])
    if description is Any:
        return lambda value: None
    if attrs.has(description):
        return _record(description)
    if origin in (typing.Union, types.UnionType):
        return _union(description, arguments)
    if origin is typing.Literal:
        return _literal(description, arguments)
    if origin is tuple and arguments[-1] is Ellipsis:
        return _list(description, arguments[0])
    if origin is tuple:
        return _fixed_list(description, arguments)
    if origin is collections.abc.Mapping:
        return _mapping(description, arguments[1])
    kinds = {float: (int, float)}.get(description, (description,))

    def plain(value: object) -> None:
        if type(value) not in kinds and not (description is types.NoneType and value is None):
            raise _unexpected(value, description)

    return plain


def _record(cls: Any) -> Check:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = [
        (each.name, _checker(hints[each.name]), each.default is attrs.NOTHING)
        for each in attrs.fields(cls)
        if not is_others(hints[each.name])
    ]

    def record(value: object) -> None:
        if type(value) is not dict:
            raise _unexpected(value, cls)
        found: list[Mismatch] = []
        for name, checker, required in fields:
            try:
                if name in value:
                    checker(value[name])
                elif required:
                    raise Mismatch("missing")
            except Mismatch as wrong:
                _add(found, wrong.within(name))
        _raise(found)

    return record


def _annotated(description: Any, constraints: Sequence[Any]) -> Check:
    checker = _checker(description)

    def annotated(value: object) -> None:
        checker(value)
        for constraint in constraints:
            if problem := constraint.problem(value):
                raise Mismatch(f"found {shown(value)}, expected {problem}")

    return annotated


def _union(description: Any, arguments: Sequence[Any]) -> Check:
    checkers = [(_kind_of(each), _checker(each)) for each in arguments]
    kinds = Counter(kind for kind, _ in checkers)
    alone = {kind: checker for kind, checker in checkers if kinds[kind] == 1}

    def union(value: object) -> None:
        if (checker := alone.get(type(value))) is not None:  # so that a mistake inside is named
            return checker(value)
        for _, checker in checkers:
            try:
                return checker(value)
            except Mismatch:
                continue
        raise _unexpected(value, description)

    return union


def _kind_of(description: Any) -> Any:
    """The type of plain values that a description is about."""
    origin = typing.get_origin(description)
    if origin is typing.Annotated:
        return _kind_of(typing.get_args(description)[0])
    if origin is tuple:
        return list
    return dict if attrs.has(description) or origin is collections.abc.Mapping else description


def _literal(description: Any, arguments: Sequence[Any]) -> Check:
    def literal(value: object) -> None:
        if type(value) is not str or value not in arguments:
            raise _unexpected(value, description)

    return literal


def _list(description: Any, item: Any) -> Check:
    checker = _checker(item)

    def items(value: object) -> None:
        if type(value) is not list:
            raise _unexpected(value, description)
        found: list[Mismatch] = []
        for index, each in enumerate(value):
            try:
                checker(each)
            except Mismatch as wrong:
                _add(found, wrong.within(index))
        _raise(found)

    return items


def _fixed_list(description: Any, arguments: Sequence[Any]) -> Check:
    checkers = list(map(_checker, arguments))

    def items(value: object) -> None:
        if type(value) is not list or len(value) != len(checkers):
            raise _unexpected(value, description)
        found: list[Mismatch] = []
        for index, checker in enumerate(checkers):
            try:
                checker(value[index])
            except Mismatch as wrong:
                _add(found, wrong.within(index))
        _raise(found)

    return items


def _mapping(description: Any, item: Any) -> Check:
    checker = _checker(item)

    def mapping(value: object) -> None:
        if type(value) is not dict:
            raise _unexpected(value, description)
        found: list[Mismatch] = []
        for key, each in value.items():
            try:
                checker(each)
            except Mismatch as wrong:
                _add(found, wrong.within(key))
        _raise(found)

    return mapping


def _unexpected(value: object, description: Any) -> Mismatch:
    return Mismatch(f"found {shown(value)}, expected {kind_name(description)}")


def kind_name(description: Any) -> str:
    """A type as a reader of JSON would say it."""
    origin, arguments = typing.get_origin(description), typing.get_args(description)
    plain = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a text",
        types.NoneType: "null",
    }
    if origin is typing.Annotated:
        return kind_name(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(kind_name, arguments)))
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple and arguments[-1] is Ellipsis:
        return (
            f"a list of {plain[arguments[0]].removeprefix('a ')}s"
            if arguments[0] in plain
            else "a list"
        )
    if origin is tuple:
        return f"a list of {len(arguments)}"
    return plain.get(description, "an object")


def shown(value: object) -> str:
    """A plain value as a message shows it, in few characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = _SHOWN_NAME


def place_text(place: Sequence[str | int]) -> str:
    """A place inside a document, such as runs[0].measurements[3].protocol."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(rf"[\w-]{{1,{_SHOWN_NAME}}}", part):
            text += f".{part}" if text else part
        else:
            text += f"[{_SHORT.repr(part)}]"
    return (
        text
        if len(text) <= _SHOWN_PLACE
        else f"{text[: _SHOWN_PLACE // 2]} … {text[-_SHOWN_PLACE // 2 :]}"
    )
