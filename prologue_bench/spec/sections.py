"""The sections of an experiment as plain mappings, and how one lies over another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from prologue_bench.errors import UserError, nearest
from prologue_bench.spec import yaml_values
from prologue_bench.spec.structure import describe

SECTIONS = ("data", "tokenizer", "tokenizer_training", "generator", "generator_training", "sampling")
"""The parts of an experiment; paths in `vary`, `variants`, `baseline` and --set begin with one of them."""

Section = dict[str, Any]


def parse_override(text: str) -> tuple[str, Any]:
    """A --set argument KEY=VALUE, its value read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text}: expected KEY=VALUE, such as tokenizer.prologue_tokens=8")
    try:
        return key.strip(), yaml_values.read(value)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None)
        raise UserError(f"--set {text}: the value is not valid YAML{f': {problem}' if problem else ''}") from None


def set_path(sections: dict[str, Section], key: str, value: Any, where: str) -> None:
    """Put a value at a dotted path, in place. A new `use` drops the settings of the component before it."""
    head, *rest = key.split(".")
    if head not in SECTIONS:
        raise UserError(f"{where} {key}: unknown section {head!r}; {nearest(head, SECTIONS)}")
    if not rest:
        section = {"use": value} if isinstance(value, str) else value
        sections[head] = merge(sections[head], _as_section(section, f"{where} {key}"))
        return
    nested: Any = value
    for part in reversed(rest):
        nested = {part: nested}
    sections[head] = merge(sections[head], nested)


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


def merge(below: Any, above: Any) -> Any:
    """`above` over `below`, mapping by mapping; another `use` replaces the whole mapping."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    if "use" in above and above["use"] != below.get("use"):
        return dict(above)
    merged = dict(below)
    for key, value in above.items():
        merged[key] = merge(merged[key], value) if key in merged else value
    return merged
