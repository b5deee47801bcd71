"""Settings that no ablation could have.

They are held to the checks that settings pass when an ablation is read. A component's are known
where it is this project's own: they are a class, which imports no torch. Whether a model can be
built from settings that are each possible, and whether files that they name are there, cannot be
said here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from prologue_bench.config.sections import merge, nested
from prologue_bench.config.settings import GeneratorTraining, Sampling, TokenizerTraining
from prologue_bench.errors import UserError
from prologue_bench.registry import Kind
from prologue_bench.results.findings import Findings, section
from prologue_bench.results.own_settings import (
    Foreign,
    foreign_components,
    own_class,
    read_settings,
)
from prologue_bench.results.schema import Results, Scalar, Settings, VariantSettings
from prologue_bench.results.sources import source_of
from prologue_bench.texts.settings import related


def impossible_settings(results: Results, findings: Findings) -> None:
    """Tells each section of a variant's settings that cannot be.

    Only the first mistake of a section is told.
    """
    for variant in results.variants:
        foreign = foreign_components(source_of(results, variant.name))
        for problem in _problems(variant.settings, foreign):
            name, _, _ = problem.partition(".")
            findings.tell(f"{variant.name}: {problem}", section(variant.name, name))


def impossible_details(details: Mapping[str, Scalar]) -> str:
    """Why a protocol's details about sampling cannot be; empty where they can."""
    told = {}
    for name, value in details.items():
        head, _, path = name.partition(".")
        # A search is told as texts, and the variant's settings have it.
        if head == "sampling" and "search" not in path.split(".")[:-1]:
            told[path] = value
    return _impossible_sampling(json.dumps(told))


@functools.lru_cache(maxsize=256)
def _impossible_sampling(text: str) -> str:
    """Of dotted names as JSON, which many numbers of one file share."""
    sampling: dict[str, Any] = {}
    told: list[str] = []
    for path, value in json.loads(text).items():
        if any(related(path, each) for each in told):
            return f"sampling.{path}: found a value, and values below or above its name"
        told.append(path)
        sampling = merge(sampling, nested(path, value))
    return next(_section(Sampling, sampling, "sampling"), "")


def _problems(found: VariantSettings, foreign: Foreign) -> Iterator[str]:
    yield from _section(TokenizerTraining, found.tokenizer_training, "tokenizer_training")
    yield from _section(GeneratorTraining, found.generator_training, "generator_training")
    yield from _section(Sampling, found.sampling, "sampling")
    yield from _grid(found.sampling)
    for kind, use, settings, where in _components(found):
        if (cls := own_class(kind, use, foreign)) is not None:
            yield from _section(cls, settings, where)


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


def _section(cls: type[Any], values: object, where: str) -> Iterator[str]:
    """Why settings can be none of a class; nothing where they can."""
    try:
        read_settings(cls, values, where)
    except UserError as error:
        yield str(error)


def _grid(sampling: Settings) -> Iterator[str]:
    """Values of a search that no setting could have."""
    search = sampling.get("search")
    grid = search.get("grid") if isinstance(search, Mapping) else None
    for name, values in grid.items() if isinstance(grid, Mapping) else ():
        for value in values if isinstance(values, list | tuple) else ():
            yield from _section(Sampling, nested(name, value), "sampling.search.grid")
