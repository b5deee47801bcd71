"""Whether variants were trained and sampled alike, but for what they say that they vary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from prologue_bench.results.findings import Findings, section, setting_text
from prologue_bench.results.schema import Results
from prologue_bench.results.sources import variants_of
from prologue_bench.texts.settings import flat_values, normal, related

SECTIONS = ("tokenizer_training", "generator_training", "sampling")
"""Those whose settings do not depend on which components a variant has."""


def unnamed_differences(results: Results, findings: Findings) -> None:
    """Tells settings in which variants of one run differ, though none names them."""
    for source in results.origins:
        alike = variants_of(results, source)
        named = {*results.varied, *(name for each in alike for name in each.values)}
        settings = {
            each.name: flat_values({part: getattr(each.settings, part) for part in SECTIONS})
            for each in alike
        }
        for variant, name, expected in _unlike(settings, named):
            part = section(variant, name.partition(".")[0])
            if not findings.refused(part):
                findings.tell(
                    f"{variant}: {name}: found {setting_text(settings[variant][name])}, "
                    f"expected {setting_text(expected)} as others have: "
                    "no variant names it among its values",
                    part,
                )


def _unlike(
    settings: Mapping[str, Mapping[str, Any]], named: Collection[str]
) -> Iterator[tuple[str, str, Any]]:
    """What a variant has otherwise than most; what some lack, a component of others may add."""
    shared = set.intersection(*(set(each) for each in settings.values())) if settings else set()
    for name in sorted(shared):
        if any(related(name, each) for each in named):
            continue
        values = {variant: normal(each[name]) for variant, each in settings.items()}
        (usual, _), *_ = Counter(values.values()).most_common(1)
        expected = next(each[name] for v, each in settings.items() if values[v] == usual)
        yield from ((v, name, expected) for v, value in values.items() if value != usual)
