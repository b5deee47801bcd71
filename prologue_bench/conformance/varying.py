"""Settings of a component with one other value each."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

import attrs

from prologue_bench.config.structure import join

MOST = 32
"""Other settings that are tried: each may read a whole data set."""


def varied(settings: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Settings that differ in one value: its name, the value, and the settings with it.

    Only truth values, numbers and texts of a known few are varied; of any other text it is not
    known what else it may be. What a validator refuses is left out.
    """
    hints = typing.get_type_hints(type(settings))
    for each in attrs.fields(type(settings)):
        if not each.init:
            continue
        value = getattr(settings, each.name)
        name = join(place, each.name) if place else each.name
        inner = (
            varied(value, name)
            if attrs.has(type(value))
            else ((name, other, other) for other in _others(hints[each.name], value))
        )
        for path, other, made in inner:
            try:
                evolved = attrs.evolve(settings, **{each.alias or each.name: made})
            except (ValueError, TypeError, OSError, RuntimeError):
                continue
            yield path, other, evolved


def _others(hint: Any, value: Any) -> list[Any]:
    """Other values of a type; the next number, and half of it, which some validators want."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [
            other
            for each in typing.get_args(hint)
            if each is not type(None)
            for other in _others(each, value)
        ]
    if typing.get_origin(hint) is Literal:
        return [each for each in typing.get_args(hint) if each != value]
    if hint is bool:
        return [not value]
    if hint is int:
        return sorted({1, 2} if value is None else {value + 1, value // 2} - {value})
    if hint is float:
        return sorted({0.5, 1.0} if value is None else {value / 2, value + 0.1} - {value})
    return []
