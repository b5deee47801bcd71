"""What settings say about their fields, and which of them are not read."""

from __future__ import annotations

from typing import Any, TypeVar

import attrs

from prologue_bench.contracts.external import FILE, content
from prologue_bench.contracts.external import existing_file as existing_file

HOW_NOT_WHAT = {"execution": True}
"""Metadata of settings that change how a stage is run and not what it makes; they stay out of its
key."""
A_FILE = {FILE: content}
"""Metadata of settings that name a file, or are empty: what the file holds is part of keys, not
where it is."""
T = TypeVar("T")


def unread(settings: T, *names: str) -> T:
    """The settings with some of them at their default: those that are not read, for `as_read`."""
    fields = attrs.fields_dict(type(settings))  # type: ignore[arg-type]
    changed: T = attrs.evolve(settings, **{name: default_of(fields[name]) for name in names})  # type: ignore[misc]
    return changed


def default_of(attribute: attrs.Attribute[Any]) -> Any:
    """The default value of an attrs field; NOTHING when it has none."""
    default: Any = attribute.default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]
