"""Whether variants were trained and sampled alike, but for what they say that they vary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from prologue_bench.errors import shortened
from prologue_bench.results.findings import Findings, section
from prologue_bench.results.schema import Results
from prologue_bench.texts.settings import flat_values, normal

SECTIONS = ("tokenizer_training", "generator_training", "sampling")
"""Those whose settings do not depend on which components a variant has."""


def unnamed_differences(results: Results, findings: Findings) -> None:
    """Tells settings in which variants of one run differ, though none names them."""
    for source in results.origins:
        alike = [each for each in results.variants if (each.source or "") == source.label]
        named = {*results.varied, *(name for each in alike for name in each.values)}
        settings = {
            each.name: flat_values({part: getattr(each.settings, part) for part in SECTIONS})
            for each in alike
        }
        for variant, name, expected in _unlike(settings, named):
            part = section(variant, name.partition(".")[0])
            if not findings.refused(part):
                findings.tell(
                    f"{variant}: {name}: found {_text(settings[variant][name])}, expected "
                    f"{_text(expected)} as others have: no variant names it among its values",
                    part,
                )


def _unlike(
    settings: Mapping[str, Mapping[str, Any]], named: Collection[str]
) -> Iterator[tuple[str, str, Any]]:
    """What a variant has otherwise than most; what some lack, a component of others may add."""
    shared = set.intersection(*(set(each) for each in settings.values())) if settings else set()
    for name in sorted(shared):
        if any(f"{name}.".startswith(f"{each}.") or each.startswith(f"{name}.") for each in named):
            continue
        values = {variant: normal(each[name]) for variant, each in settings.items()}
        (usual, _), *_ = Counter(values.values()).most_common(1)
        expected = next(each[name] for v, each in settings.items() if values[v] == usual)
        yield from ((v, name, expected) for v, value in values.items() if value != usual)


def _text(value: Any) -> str:
    return shortened(json.dumps(value), 60)
