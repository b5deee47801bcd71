"""Does a component keep its contract?

The checks behind `prologue-bench check-plugin`, also for a plugin's own tests:

from prologue_bench.conformance import checks_of

CHECKS = checks_of("tokenizer", "mine", {"width": 32})

@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_contract(check):
    check.run()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from prologue_bench.config.experiments import Resolved
from prologue_bench.config.resolving import resolve_alone
from prologue_bench.conformance import data, generators, losses, metrics, tokenizers
from prologue_bench.conformance.checks import IMAGES, Broken, Check, Skipped
from prologue_bench.contracts.images import ImageSpec
from prologue_bench.registry import Kind, Registry

__all__ = ["Broken", "Check", "Skipped", "checks_of"]


def checks_of(
    kind: Kind,
    name: str,
    settings: Mapping[str, Any] | None = None,
    images: ImageSpec = IMAGES,
    registry: Registry | None = None,
) -> list[Check]:
    """The checks of a component, made with these settings over those of profile `smoke`.

    A data source is checked on its own images, the others on made-up ones like `images`. Raises
    UserError for unknown names and settings.
    """
    registry = registry or Registry.load()
    others = [
        number
        for known, entry in registry.entries["metric"].items()
        if known != name
        for number in (known.replace("-", "_"), *entry.component.numbers)
    ]
    makers: dict[Kind, Callable[[Resolved, ImageSpec], list[Check]]] = {
        "tokenizer": tokenizers.checks,
        "generator": generators.checks,
        "metric": partial(metrics.checks, others=others),
        "data": data.checks,
        "loss": losses.checks,
    }
    return makers[kind](resolve_alone(kind, name, settings or {}, "smoke", registry), images)
