"""Which metrics are measured, with which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from prologue_bench.config.experiments import Resolved
from prologue_bench.config.resolving import resolve_alone
from prologue_bench.contracts.metric import Metric
from prologue_bench.errors import UserError
from prologue_bench.guard import shown
from prologue_bench.pipeline.models import needs_of
from prologue_bench.registry import Registry

Metrics = Sequence[str | Mapping[str, Any]]
"""Names, or mappings with `use` and settings as in an ablation."""
DATA = "data."
"""How the names of a data set's settings begin."""


def split_settings(
    settings: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of metrics, and those of the data set ("data.root"). Raises UserError."""
    if not isinstance(settings, Mapping | None):
        raise UserError(f"settings: found {shown(settings)}, expected a mapping of their names")
    of_metrics = dict(settings or {})
    of_data = {
        key.removeprefix(DATA): of_metrics.pop(key)
        for key in list(of_metrics)
        if key.startswith(DATA)
    }
    return of_metrics, of_data


def wanted(
    metrics: Metrics, settings: Mapping[str, Any], registry: Registry, **offers: str
) -> list[Resolved]:
    """Metrics with their settings.

    `settings` are of all metrics that have them ("few_samples") or of one ("kid.subset_size").
    `offers` are values for settings that a metric may have and that `settings` do not name. Raises
    UserError.
    """
    given: list[tuple[str, dict[str, Any]]] = []
    if isinstance(metrics, str):
        metrics = [name.strip() for name in metrics.split(",")]  # as the command line takes them
    if not isinstance(metrics, Sequence):
        raise UserError(f"metrics: found {shown(metrics)}, expected a list of names")
    for each in metrics:
        if not isinstance(each, str | Mapping):
            raise UserError(f"metrics: found {each!r}, expected a name or a mapping with 'use'")
        values = {"use": each} if isinstance(each, str) else dict(each)
        name = values.pop("use", None)
        if not isinstance(name, str):
            raise UserError(f"metrics: found {each!r}, expected a name or a mapping with 'use'")
        if name in [known for known, _ in given]:
            raise UserError(f"metrics: found {name!r} twice, expected each metric once")
        given.append((name, values))
    if not given:
        raise UserError("metrics: found none, expected at least one")
    fields = {
        name: {field.name for field in attrs.fields(_settings_of(name, registry))}
        for name, _ in given
    }
    for key in settings:
        owner, dot, _ = key.partition(".")
        if dot and owner not in fields:
            raise UserError(f"{key}: {owner!r} is none of the metrics {', '.join(fields)}")
        if not dot and not any(key in known for known in fields.values()):
            raise UserError(f"{key}: no such setting of {', '.join(fields)}")
    found = []
    for name, values in given:
        shared = {
            key: value for key, value in {**offers, **settings}.items() if key in fields[name]
        }
        own = {
            key.partition(".")[2]: value
            for key, value in settings.items()
            if key.startswith(f"{name}.")
        }
        found.append(resolve_alone("metric", name, {**values, **shared, **own}, None, registry))
    return found


def _settings_of(name: str, registry: Registry) -> type[Any]:
    return registry.find("metric", name, "metrics").load_settings()


def is_paired(metric: Resolved) -> bool:
    """Whether a metric compares reconstructions with their images one by one."""
    cls: type[Metric] = metric.component.load()
    return needs_of(metric) == ("reconstructions",) and cls.paired
