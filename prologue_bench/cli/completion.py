"""What a shell completes: names of ablations, profiles, presets, components, variants, settings.

A shell asks at every press of a key, so nothing here imports torch, and what goes wrong offers
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import click
from click.shell_completion import CompletionItem

Names: TypeAlias = "Iterable[tuple[str, str]]"
"""Each with what it is."""
Complete: TypeAlias = "Callable[[click.Context, click.Parameter, str], list[CompletionItem]]"


def _completing(find: Callable[[click.Context], Names], files: bool = False) -> Complete:
    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        try:
            found = [each for each in find(context) if each[0].startswith(incomplete)]
        except Exception:  # such as an ablation that cannot be read; running it says why
            found = []
        items = [CompletionItem(name, help=what) for name, what in dict(found).items()]
        # The shell completes paths by itself where it is told of one.
        return [*items, CompletionItem(incomplete, type="file")] if files else items

    return complete


def _ablations(context: click.Context) -> Names:
    from prologue_bench.cli.options import the_registry
    from prologue_bench.config.packaged import ablation_files, title_of

    return [(name, title_of(path)) for name, path in ablation_files(the_registry()).items()]


def _profiles(context: click.Context) -> Names:
    return _cards("profiles")


def _presets(context: click.Context) -> Names:
    yield from _cards("tokenizers")
    yield from _cards("generators")


def _cards(folder: str) -> Names:
    from prologue_bench.cli.options import the_registry

    registry = the_registry()
    return [(name, str(registry.card(folder, name)["summary"])) for name in registry.cards(folder)]


def _components(context: click.Context) -> Names:
    from prologue_bench.cli.options import the_registry

    return [(entry.component.name, entry.component.summary) for _, entry in the_registry()]


def _shown(context: click.Context) -> Names:
    yield from _components(context)
    yield from _presets(context)
    yield from _profiles(context)


def _variants(context: click.Context) -> Names:
    return [(variant.name, "variant") for variant in _ablation(context).variants]


def _settings(context: click.Context) -> Iterator[tuple[str, str]]:
    """Dotted names of an ablation's settings, each with "=" behind it."""
    from prologue_bench.config.settings import GeneratorTraining, Sampling, TokenizerTraining

    sections: dict[str, Any] = {
        "tokenizer_training": TokenizerTraining,
        "generator_training": GeneratorTraining,
        "sampling": Sampling,
    }
    yield from (
        (f"{name}=", "of the ablation") for name in ("data", "metrics", "seeds", "baseline")
    )
    experiment = _ablation(context).experiments[0]
    for name in ("tokenizer", "generator", "data"):
        sections[name] = type(getattr(experiment, name).settings)
    for section, cls in sections.items():
        yield from ((f"{name}=", section) for name in _dotted(section, cls))


def _dotted(place: str, cls: Any) -> Iterator[str]:
    """The settings of an attrs class, those of nested classes by dotted names."""
    import attrs

    attrs.resolve_types(cls)
    for each in attrs.fields(cls):
        name = f"{place}.{each.name}"
        if isinstance(each.type, type) and attrs.has(each.type):
            yield from _dotted(name, each.type)
        else:
            yield name


def _ablation(context: click.Context) -> Any:
    from pathlib import Path

    from prologue_bench.cli.options import the_registry
    from prologue_bench.config.ablation import load_ablation
    from prologue_bench.config.packaged import find_ablation

    # An option without its value yet leaves the arguments unread.
    given = context.params["ablation"] or context.args[0]
    registry = the_registry()
    return load_ablation(find_ablation(Path(given), registry), registry)


ablations = _completing(_ablations, files=True)
profiles = _completing(_profiles)
presets = _completing(_presets)
components = _completing(_components)
shown = _completing(_shown)
variants = _completing(_variants)
settings = _completing(_settings)
