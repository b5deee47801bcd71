"""The sections of an experiment as plain mappings, and how one lies over another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prologue_bench.documents import yaml_values
from prologue_bench.documents.describing import describe
from prologue_bench.errors import UserError, nearest, shortened

SECTIONS = (
    "data",
    "tokenizer",
    "tokenizer_training",
    "generator",
    "generator_training",
    "sampling",
)
"""The parts of an experiment; paths in `vary`, `variants`, `baseline` and --set begin with one of
them."""

Section = dict[str, Any]


def parse_override(text: str) -> tuple[str, Any]:
    """A --set argument KEY=VALUE, its value read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {text}: expected KEY=VALUE, such as tokenizer.prologue_tokens=8")
    try:
        return key.strip(), yaml_values.read(value)
    except yaml_values.InvalidYamlError as error:
        shown = shortened(text, 150)
        raise UserError(f"--set {shown}: the value is not valid YAML: {error}") from None


def set_path(sections: dict[str, Section], key: str, value: Any, where: str) -> None:
    """Put a value at a dotted path, in place.

    A new `use` drops the settings of the component before it. Messages begin with `where` and the
    path.
    """
    head, _, rest = key.partition(".")
    if head not in SECTIONS:
        raise UserError(f"{where}{key}: unknown section {head!r}; {nearest(head, SECTIONS)}")
    if not rest:
        section = {"use": value} if isinstance(value, str) else value
        sections[head] = merge(sections[head], _as_section(section, f"{where}{key}"))
        return
    sections[head] = merge(sections[head], nested(rest, value), f"{where}{head}")


def path_of(key: str) -> str:
    """A dotted path as messages write it.

    >>> path_of("losses.0.weight")
    'losses[0].weight'
    """
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", key)


def nested(key: str, value: Any) -> dict[str, Any]:
    """A value at a dotted path.

    >>> nested("losses.0.weight", 2)
    {'losses': {'0': {'weight': 2}}}
    """
    head, _, rest = key.partition(".")
    return {head: nested(rest, value) if rest else value}


def make_sections(values: Mapping[str, Any], where: str) -> dict[str, Section]:
    """What a file says of each section; a plain name stands for {use: name}."""
    return {
        name: _as_section({"use": value} if isinstance(value, str) else value, f"{where}: {name}")
        for name, value in values.items()
    }


def _as_section(value: Any, where: str) -> Section:
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: found {describe(value)}, expected a name or a mapping")
    return {str(key): item for key, item in value.items()}


def merge(below: Any, above: Any, where: str = "") -> Any:
    """`above` over `below`, mapping by mapping; another `use` replaces the whole mapping.

    Over a list, a mapping of numbers changes the elements of these numbers, where a plain name
    stands for {use: name}. Raises UserError, which begins with `where`, for a number that the list
    does not have.
    """
    if (
        isinstance(below, list)
        and isinstance(above, Mapping)
        and above
        and all(map(_is_index, above))
    ):
        return _merge_list(below, above, where)
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    if "use" in above and above["use"] != below.get("use"):
        return dict(above)
    merged = dict(below)
    for key, value in above.items():
        merged[key] = merge(merged[key], value, f"{where}.{key}") if key in merged else value
    return merged


def _is_index(key: object) -> bool:
    return isinstance(key, str) and key.isascii() and key.isdecimal()


def _merge_list(below: list[Any], above: Mapping[str, Any], where: str) -> list[Any]:
    merged = list(below)
    for key, value in above.items():
        if len(key) > 4 or int(key) >= len(merged):
            raise UserError(
                f"{where.removeprefix('.')}[{key}]: there is no such element; the list has "
                f"{len(merged)}, counted from 0"
            )
        element = merged[int(key)]
        named = (
            {"use": element} if isinstance(element, str) and isinstance(value, Mapping) else element
        )
        merged[int(key)] = merge(named, value, f"{where}[{key}]")
    return merged
