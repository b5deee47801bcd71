"""Settings that no ablation could have.

They are held to the checks that settings pass when an ablation is read. A component's are known
where it is this project's own: they are a class, which imports no torch. Whether a model can be
built from settings that are each possible, and whether files that they name are there, cannot be
said here.
"""

from __future__ import annotations

import functools
import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from prologue_bench.config.sections import merge, nested
from prologue_bench.config.settings import GeneratorTraining, Sampling, TokenizerTraining
from prologue_bench.config.structure import structure
from prologue_bench.contracts.components import OWN
from prologue_bench.contracts.external import FILE
from prologue_bench.errors import UserError
from prologue_bench.registry import Kind, Registry
from prologue_bench.results.schema import (
    Results,
    Scalar,
    SegmentRecord,
    Settings,
    VariantRecord,
    VariantSettings,
)


def impossible_settings(results: Results) -> Iterator[str]:
    """A sentence for each section of a variant's settings that cannot be, or is not as its layout.

    Only the first mistake of a section is told.
    """
    for variant in results.variants:
        source = next(each for each in results.origins if each.label == (variant.source or ""))
        foreign = {
            (each.kind, each.name) for each in source.components if not each.origin.startswith(OWN)
        }
        for problem in _of_variant(variant, source.data.shape, foreign):
            yield f"{variant.name}: {problem}"


def impossible_details(details: Mapping[str, Scalar]) -> str:
    """Why a protocol's details about sampling cannot be; empty where they can."""
    told = {}
    for name, value in details.items():
        section, _, path = name.partition(".")
        # A search is told as texts, and the variant's settings have it.
        if section == "sampling" and "search" not in path.split(".")[:-1]:
            told[path] = value
    return _impossible_sampling(json.dumps(told))


@functools.lru_cache(maxsize=256)
def _impossible_sampling(text: str) -> str:
    """Of dotted names as JSON, which many numbers of one file share."""
    sampling: dict[str, Any] = {}
    told: list[str] = []
    for path, value in json.loads(text).items():
        if any(path.startswith(f"{each}.") or each.startswith(f"{path}.") for each in told):
            return f"sampling.{path}: found a value, and values below or above its name"
        told.append(path)
        sampling = merge(sampling, nested(path, value))
    return _problem(Sampling, sampling, "sampling")


def _of_variant(
    variant: VariantRecord, shape: tuple[int, int, int], foreign: set[tuple[str, str]]
) -> Iterator[str]:
    found = variant.settings
    yield from _section(TokenizerTraining, found.tokenizer_training, "tokenizer_training")
    yield from _section(GeneratorTraining, found.generator_training, "generator_training")
    yield from _section(Sampling, found.sampling, "sampling")
    yield from _grid(found.sampling)
    for kind, use, settings, where in _components(found):
        cls = None if (kind, use) in foreign else _settings_class(kind, use)
        if cls is None:
            continue
        try:
            read = _read(cls, settings, where)
        except UserError as error:
            yield str(error)
        else:
            # What an older file does not name is not known: defaults of today may not be its own.
            if hasattr(read, "segments") and set(attrs.fields_dict(cls)) <= set(settings):
                yield from _unlike(variant.layout, read.segments(shape))


def _components(found: VariantSettings) -> Iterator[tuple[Kind, str, Settings, str]]:
    """Kind, name and settings of each component of a variant, and where they stand."""
    yield "tokenizer", found.tokenizer.use, found.tokenizer.settings, "tokenizer"
    yield "generator", found.generator.use, found.generator.settings, "generator"
    training, search = found.tokenizer_training, found.sampling.get("search")
    losses = training.get("losses")
    metric = search.get("metric") if isinstance(search, Mapping) else None
    others: list[tuple[Kind, Any, str]] = [
        ("generator", training.get("prior"), "tokenizer_training.prior"),
        ("metric", metric, "sampling.search.metric"),
        *(
            ("loss", each, f"tokenizer_training.losses[{index}]")
            for index, each in enumerate(losses if isinstance(losses, list | tuple) else ())
        ),
    ]
    for kind, choice, where in others:
        if isinstance(choice, Mapping) and isinstance(choice.get("use"), str):
            yield kind, choice["use"], choice.get("settings", {}), where


def _section(cls: type[Any], values: Settings, where: str) -> Iterator[str]:
    if problem := _problem(cls, values, where):
        yield problem


def _problem(cls: type[Any], values: Settings, where: str) -> str:
    """Why settings can be none of a class; empty where they can."""
    try:
        _read(cls, values, where)
    except UserError as error:
        return str(error)
    return ""


def _read(cls: type[Any], values: object, where: str) -> Any:
    """Settings as their class. Raises UserError where they cannot be."""
    return structure(cls, _known(cls, values) if isinstance(values, Mapping) else values, where)


def _known(cls: type[Any], values: Settings) -> dict[str, Any]:
    """What a class says of settings: those of other versions, and names of files, are left out."""
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


def _grid(sampling: Settings) -> Iterator[str]:
    """Values of a search that no setting could have."""
    search = sampling.get("search")
    grid = search.get("grid") if isinstance(search, Mapping) else None
    for name, values in grid.items() if isinstance(grid, Mapping) else ():
        for value in values if isinstance(values, list | tuple) else ():
            yield from _section(Sampling, nested(name, value), "sampling.search.grid")


def _unlike(
    layout: Sequence[SegmentRecord], expected: Mapping[str, tuple[int, int]]
) -> Iterator[str]:
    """Segments that are not those that the tokenizer's settings give."""
    found = {each.name: (each.length, each.vocabulary) for each in layout}
    for name in dict.fromkeys((*expected, *found)):
        if found.get(name) != expected.get(name):
            yield (
                f"layout: found {_tokens(found.get(name))} of {name}, "
                f"expected {_tokens(expected.get(name))} by the tokenizer's settings"
            )


def _tokens(segment: tuple[int, int] | None) -> str:
    return f"{segment[0]} tokens with {segment[1]} codes" if segment else "no tokens"


@functools.cache
def _registry() -> Registry:
    return Registry.load()


def _settings_class(kind: Kind, name: str) -> type[Any] | None:
    """The class of an own component's settings; None of others, and where it cannot be imported."""
    entry = _registry().entries[kind].get(name)
    if entry is None or not entry.component.is_own:
        return None
    try:
        return entry.component.load_settings()
    except UserError:
        return None
