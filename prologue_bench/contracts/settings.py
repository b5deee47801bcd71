"""What settings say about their fields, and which of them are not read."""

from __future__ import annotations

from typing import Any, TypeVar

import attrs

from prologue_bench.contracts.external import FILE, content

HOW_NOT_WHAT = {"execution": True}
"""Metadata of settings that change how a stage is run and not what it makes; they stay out of its
key."""
OF_TRAINING = {"training": True}
"""Metadata of settings that change how a model learns and neither what its weights mean nor what it
computes from them, such as dropout: weights fit a model that differs in them."""
A_FILE = {FILE: content}
"""Metadata of settings that name a file, or are empty: what the file holds is part of keys, not
where it is."""
T = TypeVar("T")


def unread(settings: T, *names: str) -> T:
    """The settings with some of them at their default: those that are not read, for `as_read`."""
    fields = attrs.fields_dict(type(settings))  # type: ignore[arg-type]
    changed: T = attrs.evolve(settings, **{name: default_of(fields[name]) for name in names})  # type: ignore[misc]
    return changed


def differing_models(one: Any, other: Any, place: str = "") -> list[str]:
    """Dotted names of the settings by which two models of one class could not share their weights.

    Settings with the metadata OF_TRAINING may differ.
    """
    found = []
    for field in attrs.fields(type(one)):
        if OF_TRAINING.items() <= field.metadata.items():
            continue
        mine, theirs, name = (
            getattr(one, field.name),
            getattr(other, field.name),
            place + field.name,
        )
        if attrs.has(type(mine)) and type(mine) is type(theirs):
            found += differing_models(mine, theirs, f"{name}.")
        elif mine != theirs:
            found.append(name)
    return found


def default_of(attribute: attrs.Attribute[Any]) -> Any:
    """The default value of an attrs field; NOTHING when it has none."""
    default: Any = attribute.default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]
