"""Plain YAML values to frozen attrs settings, strictly typed.

Errors name the path and the nearest name.
"""

from __future__ import annotations

import collections.abc
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from prologue_bench.documents.describing import describe
from prologue_bench.errors import UserError, nearest, shortened
from prologue_bench.numbers import LARGEST_INTEGER

T = TypeVar("T")
SUPPORTED = (
    "bool, int, float, str, None, Literal, Choice, a frozen attrs class, tuple[X, ...], "
    "Mapping[str, X], or a union of these"
)
"""The types of settings, for those who write plugins."""
LARGEST_FLOAT = 3.4e38
"""That of float32, roughly, in which models compute."""


@attrs.frozen
class Choice:
    """A component by name, with the settings given for it, not checked yet."""

    use: str
    settings: Mapping[str, Any] = attrs.field(factory=dict)


def structure(cls: type[T], values: object, where: str, owner: str = "") -> T:
    """Build the attrs class `cls` from a mapping.

    Args:
        cls: a frozen attrs class.
        values: what the YAML holds at this place.
        where: the place, such as "ablations/count.yaml: tokenizer", for messages.
        owner: whose settings these are, such as "tokenizer 'prologue'", for messages.

    Raises UserError naming the place, what was found and what was expected.
    """
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: found {describe(values)}, expected a mapping of settings")
    known = {field.name: field for field in attrs.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    arguments = {}
    for name, value in values.items():
        if name not in known:
            of = f" of {owner}" if owner else ""
            near = nearest(str(name), known)
            raise UserError(
                f"{join(where, shortened(str(name), 100))}: unknown setting{of}; {near}"
            )
        arguments[name] = convert(hints[name], value, join(where, name))
    for name, field in known.items():
        if field.default is attrs.NOTHING and name not in arguments:
            raise UserError(f"{join(where, name)}: missing, expected {type_name(hints[name])}")
    try:
        made = cls(**arguments)
    except (ValueError, OSError, RuntimeError) as error:  # validators look at files, too
        raise UserError(_validator_text(error, where)) from None
    for name in known:
        if name not in arguments:
            _check_default(getattr(made, name), join(where, name))
    return made


def _check_default(value: object, where: str) -> None:
    """Raises UserError for the default of a plugin's setting that results could not hold."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        limit = LARGEST_INTEGER if isinstance(value, int) else LARGEST_FLOAT
        if not abs(value) <= limit:
            raise UserError(
                f"{where}: found the default {value!r}, expected of whoever wrote it a number of "
                f"at most {limit:g}, or None"
            )
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            _check_default(each, f"{where}[{index}]")
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):  # type: ignore[arg-type]
            _check_default(getattr(value, field.name), join(where, field.name))


def join(where: str, name: object) -> str:
    """The place of a name inside another place; a place that ends in a colon is a file."""
    return f"{where} {name}" if where.endswith(":") else f"{where}.{name}"


def convert(expected: Any, value: Any, where: str) -> Any:
    """`value` as the type `expected`; raises UserError when it is not one.

    Integers pass as floats, nothing else. Numbers are finite, and no larger than models and readers
    of results can hold.
    """
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if expected is Any:
        return value
    if expected is float and isinstance(value, int | float) and not isinstance(value, bool):
        _check_size(value, LARGEST_FLOAT, where)
        return float(value)
    if expected is int and type(value) is int:
        _check_size(value, LARGEST_INTEGER, where)
        return value
    if expected in (bool, str) and type(value) is expected:
        return value
    if expected is type(None) and value is None:
        return None
    if expected is Choice:
        return _choice(value, where)
    if attrs.has(expected) and (isinstance(value, Mapping) or value is None):
        return structure(expected, value, where)
    if origin is typing.Literal and any(
        type(value) is type(each) and value == each for each in arguments
    ):
        return value
    if origin in (typing.Union, types.UnionType):
        return _union(expected, arguments, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return _tuple(expected, arguments, value, where)
    if origin is collections.abc.Mapping and isinstance(value, Mapping):
        return {
            str(key): convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()
        }
    raise _wrong_type(expected, value, where)


def _wrong_type(expected: Any, value: Any, where: str) -> UserError:
    """What is wrong with a value, or with the type that a plugin's settings have there."""
    union = typing.get_origin(expected) in (typing.Union, types.UnionType)
    for kind in typing.get_args(expected) if union else (expected,):
        if not _is_supported(kind):
            return UserError(
                f"{where}: a setting cannot have the type {shortened(str(kind), 80)}; "
                f"expected of whoever wrote it {SUPPORTED}"
            )
    return UserError(f"{where}: found {describe(value)}, expected {type_name(expected)}")


def _is_supported(expected: Any) -> bool:
    """Whether values of a type can be given in YAML."""
    origin = typing.get_origin(expected)
    return (
        expected in (Any, bool, int, float, str, type(None))
        or attrs.has(expected)
        or origin in (typing.Literal, typing.Union, types.UnionType, tuple)
        or origin is collections.abc.Mapping
    )


def _check_size(value: float, largest: float, where: str) -> None:
    """Raises UserError for a number that is none, infinite or too large."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where}: found {describe(value)}, expected a finite number")
    if abs(value) > largest:
        raise UserError(
            f"{where}: found {describe(value)}, expected at most {largest:.16g} in size"
        )


def _choice(value: Any, where: str) -> Choice:
    if isinstance(value, str):
        return Choice(value)
    if isinstance(value, Mapping) and isinstance(value.get("use"), str):
        return Choice(value["use"], {str(key): item for key, item in value.items() if key != "use"})
    raise UserError(
        f"{where}: found {describe(value)}, expected a name or a mapping with 'use: NAME'"
    )


def _union(expected: Any, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    classes = [option for option in arguments if attrs.has(option)]
    if len(classes) == 1 and (
        isinstance(value, Mapping) or (Choice in classes and value is not None)
    ):
        return convert(classes[0], value, where)  # so that a mistake in it is named
    for option in arguments:
        try:
            return convert(option, value, where)
        except UserError:
            continue
    raise _wrong_type(expected, value, where)


def _tuple(
    expected: Any, arguments: tuple[Any, ...], value: list[Any] | tuple[Any, ...], where: str
) -> Any:
    if arguments[-1] is Ellipsis:
        return tuple(
            convert(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value)
        )
    if len(value) != len(arguments):
        raise UserError(f"{where}: found {describe(value)}, expected {type_name(expected)}")
    return tuple(
        convert(kind, item, f"{where}[{i}]")
        for i, (kind, item) in enumerate(zip(arguments, value, strict=True))
    )


def type_name(expected: Any) -> str:
    """A type as a user would say it."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    plain = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a text",
        type(None): "nothing",
    }
    if expected in plain:
        return plain[expected]
    if expected is Any:
        return "a value"
    if expected is Choice:
        return "a component's name or a mapping with 'use: NAME'"
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(option) for option in arguments)
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"a list, each {type_name(arguments[0])}"
    if origin is tuple:
        return f"a list of {len(arguments)}"
    return "a mapping"


def _validator_text(error: Exception, where: str) -> str:
    """attrs' validators say "'name' must be ..." first and repeat field and value behind it."""
    text = str(error.args[0]) if error.args else str(error)
    named = re.fullmatch(r"'(\w+)' (must .*)", text)
    return f"{join(where, named[1])}: {named[2]}" if named else f"{where}: {text}"
