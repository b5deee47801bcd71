"""Settings of results as the classes that this project's own components have for them.

They import no torch. Settings of other versions, and names of files, are left out.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Collection, Mapping
from typing import Any

import attrs

from prologue_bench.config.structure import structure
from prologue_bench.contracts.components import OWN, Component
from prologue_bench.contracts.external import FILE
from prologue_bench.errors import UserError
from prologue_bench.registry import Kind, Registry
from prologue_bench.results.schema import Settings, SourceRecord

Foreign = Collection[tuple[str, str]]
"""Kinds and names of components of others."""


def foreign_components(source: SourceRecord) -> Foreign:
    """The components of others in a run; they may have the names of ours."""
    return {(each.kind, each.name) for each in source.components if not each.origin.startswith(OWN)}


def own_component(kind: Kind, name: str, foreign: Foreign) -> Component | None:
    """A component of this project; None for those of others, and for other names."""
    entry = None if (kind, name) in foreign else _registry().entries[kind].get(name)
    return entry.component if entry is not None and entry.component.is_own else None


def own_class(kind: Kind, name: str, foreign: Foreign) -> type[Any] | None:
    """The class of an own component's settings; None of others, and where it cannot be imported."""
    component = own_component(kind, name, foreign)
    try:
        return component.load_settings() if component is not None else None
    except UserError:
        return None


@functools.cache
def _registry() -> Registry:
    return Registry.load()


def read_settings(cls: type[Any], values: object, where: str) -> Any:
    """Settings as their class. Raises UserError where they cannot be."""
    return structure(cls, _known(cls, values) if isinstance(values, Mapping) else values, where)


def _known(cls: type[Any], values: Settings) -> dict[str, Any]:
    """What a class says of settings."""
    hints = typing.get_type_hints(cls)
    known = {
        field.name: values[field.name]
        for field in attrs.fields(cls)
        if field.name in values and FILE not in field.metadata
    }
    return {
        name: _known(hints[name], value)
        if attrs.has(hints[name]) and isinstance(value, Mapping)
        else value
        for name, value in known.items()
    }
