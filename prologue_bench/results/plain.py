"""Records of `results.schema` as plain values, as JSON holds them, and back, by cattrs.

What is wrong with a document is told by `results.checking`, which names its place. So what comes
here is right, and numbers and texts are taken as they are.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from prologue_bench.results.checking import is_others
from prologue_bench.results.schema import OMITTED

T = TypeVar("T")
Document = dict[str, Any]
"""An object of JSON."""


def record(document: Document, cls: type[T]) -> T:
    """A document that was checked against a class, as an instance of it."""
    return converter().structure(document, cls)


def plain(found: attrs.AttrsInstance) -> Document:
    """A record as a document, its fields in the order of its class."""
    values: Document = converter().unstructure(found)
    return values


@functools.cache
def converter() -> Converter:
    """What turns records into plain values and back."""
    made = Converter(detailed_validation=False, unstruct_collection_overrides={tuple: list})
    made.register_structure_hook_func(_is_plain, lambda value, _: value)
    made.register_structure_hook_func(_is_list_of_plain, lambda value, _: tuple(value))
    made.register_structure_hook_factory(attrs.has, functools.partial(_structuring, made))
    made.register_unstructure_hook_factory(attrs.has, functools.partial(_unstructuring, made))
    return made


def _is_plain(kind: Any) -> bool:
    """Whether values of a type are the same in a record and in a document."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _is_plain(arguments[0])
    if origin is typing.Literal or kind in (str, int, float, bool, type(None), Any):
        return True
    return bool(arguments) and origin is not tuple and all(map(_is_plain, arguments))


def _is_list_of_plain(kind: Any) -> bool:
    arguments = [each for each in typing.get_args(kind) if each is not Ellipsis]
    return typing.get_origin(kind) is tuple and all(map(_is_plain, arguments))


def _structuring(made: Converter, cls: Any) -> Callable[[Any, Any], Any]:
    known = make_dict_structure_fn(cls, made, _cattrs_detailed_validation=False)
    others = _others_of(cls)
    if others is None:
        return known
    names = {each.name for each in attrs.fields(cls)} - {others}

    def with_others(value: Any, kind: Any) -> Any:
        left = {name: each for name, each in value.items() if name not in names}
        named = {name: each for name, each in value.items() if name in names}
        return known({**named, others: left}, kind)

    return with_others


def _unstructuring(made: Converter, cls: Any) -> Callable[[Any], Any]:
    overrides = {
        each.name: override(omit_if_default=True)
        for each in attrs.fields(cls)
        if each.metadata.get(OMITTED)
    }
    known = make_dict_unstructure_fn(cls, made, **overrides)  # type: ignore[arg-type]
    others = _others_of(cls)
    if others is None:
        return known

    def with_others(value: Any) -> Document:
        found: Document = known(value)
        left: Document = found.pop(others)
        return {**found, **left}

    return with_others


def _others_of(cls: Any) -> str | None:
    """The name of the field that holds what the class has no fields for."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return next((name for name, hint in hints.items() if is_others(hint)), None)
