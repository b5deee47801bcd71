"""Settings of a variant that stand a second time: among its values, and in protocols.

A component of others may turn settings into others, and a preset has a name of its own: they are
not compared. What an older file does not name is not known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prologue_bench.config.sections import Section, set_path
from prologue_bench.errors import UserError
from prologue_bench.registry import Kind
from prologue_bench.results.findings import Doubt, Findings, number, place_of, section, setting_text
from prologue_bench.results.known import foreign_metrics, known_numbers
from prologue_bench.results.own_settings import Foreign, foreign_components, own_class
from prologue_bench.results.schema import (
    ComponentSettings,
    MeasurementRecord,
    Results,
    RunRecord,
    VariantRecord,
)
from prologue_bench.results.sources import source_of
from prologue_bench.texts.settings import flat_values, same, within

SAMPLING, SEED = "sampling.", "sampling.seed"
COMPONENTS: tuple[Kind, ...] = ("tokenizer", "generator")
"""Sections that are those of a component."""
Settings = Mapping[str, Any]
"""Values by dotted name."""


def restated_values(results: Results, findings: Findings) -> None:
    """Tells values of variants that are not those of their settings."""
    for variant in results.variants:
        values, foreign = _values(variant), foreign_components(source_of(results, variant.name))
        for name, value, found in _unlike(values, _settings(variant, values, foreign)):
            part = section(variant.name, name.partition(".")[0])
            if not findings.refused(part):
                findings.tell(
                    f"{variant.name}: {name}: found {setting_text(value)} among its values and "
                    f"{setting_text(found)} in its settings, expected the same",
                    part,
                )


def restated_sampling(results: Results, findings: Findings) -> None:
    """Tells protocols with other sampling settings than their variant's."""
    foreign, sampling = foreign_metrics(results), {}
    for variant in results.variants:
        if not findings.refused(section(variant.name, "sampling")):
            sampling[variant.name] = flat_values({"sampling": variant.settings.sampling})
    findings.tell_together(
        doubt
        for run in results.runs
        for each in known_numbers(run, foreign)
        if run.variant in sampling and not findings.refused(number(run, each))
        for doubt in _protocol(run, each, sampling[run.variant])
    )


def _protocol(run: RunRecord, each: MeasurementRecord, settings: Settings) -> Iterator[Doubt]:
    details = each.protocol.details
    told = {name: _listed(value) for name, value in details.items() if name.startswith(SAMPLING)}
    if told.get(SEED) == run.sampling_seed:
        del told[SEED]  # each run has its own
    place, part = place_of(run, each.name), number(run, each)
    for name, value, found in _unlike(told, settings):
        here, there = setting_text(value), setting_text(found)
        text = f"found {here} in the protocol, expected {there} as in the settings"
        yield place, f"{name}: {text}", part
        return
    samples = details.get("samples")
    drawn = settings.get("sampling.samples")
    if not (_is_of_samples(each) and isinstance(samples, int) and isinstance(drawn, int)):
        return
    # A choice among the samples says of how many.
    if samples > drawn or (samples < drawn and "chosen" not in details):
        text = f"samples: found {samples} in the protocol, expected the {drawn} that are drawn"
        yield place, text, part


OF_SAMPLES = (
    *("generation-gap", "generation-gap-difference", "kernel-distance", "inception-score"),
    *("precision-recall", "density-coverage"),
)
"""Protocols whose `samples` are drawn from a generator."""


def _is_of_samples(each: MeasurementRecord) -> bool:
    return each.protocol.name in OF_SAMPLES or (
        each.protocol.name == "frechet-distance" and each.name.startswith("gfid")
    )


def _listed(value: Any) -> Any:
    """The list that a text of a protocol holds; another value as it is."""
    try:
        return json.loads(value) if isinstance(value, str) and value.startswith("[") else value
    except ValueError:
        return value


def _values(variant: VariantRecord) -> Settings:
    """What a variant sets, the parts of a section behind the whole of it."""
    sections: dict[str, Section] = {name.partition(".")[0]: {} for name in variant.values}
    for name, value in sorted(variant.values.items(), key=lambda item: item[0].count(".")):
        try:
            set_path(sections, name, value, "")
        except UserError:
            return {}
    return flat_values(sections)


def _settings(variant: VariantRecord, values: Settings, foreign: Foreign) -> Settings:
    """All settings of a variant, but for components of others."""
    found = variant.settings
    sections: dict[str, Mapping[str, Any]] = {}
    for kind in COMPONENTS:
        component: ComponentSettings = getattr(found, kind)
        if own_class(kind, component.use, foreign) is None:
            continue
        use = values.get(f"{kind}.use")
        known = isinstance(use, str) and own_class(kind, use, foreign) is not None
        # Another name may be that of a preset.
        sections[kind] = {**component.settings, **({"use": component.use} if known else {})}
    for name in ("tokenizer_training", "generator_training", "sampling"):
        sections[name] = getattr(found, name)
    return flat_values(_plain_choices(sections))


def _plain_choices(value: Any) -> Any:
    """Settings with each component as ablations have it: its settings beside its name."""
    if isinstance(value, Mapping):
        plain = {name: _plain_choices(each) for name, each in value.items()}
        if set(plain) == {"use", "settings"} and isinstance(plain["settings"], Mapping):
            return {"use": plain["use"], **plain["settings"]}
        return plain
    return [_plain_choices(each) for each in value] if isinstance(value, list | tuple) else value


def _unlike(told: Settings, settings: Settings) -> Iterator[tuple[str, Any, Any]]:
    """What is told, with the name and what the settings have in its place."""
    for name, value in told.items():
        at = name if name in settings else f"{name}.use"
        if value is None or value == {}:
            continue  # which stands for defaults
        if at in settings:
            if not _agree(value, settings[at]):
                yield name, value, settings[at]
            continue
        above = next((up for up in _above(name) if up in settings), None)
        below = {key: each for key, each in settings.items() if key.startswith(f"{name}.")}
        if above is not None and not isinstance(settings[above], Sequence | Mapping):
            yield name, value, settings[above]
        elif below and not isinstance(value, str):
            yield name, value, {key.removeprefix(f"{name}."): each for key, each in below.items()}


def _agree(value: Any, setting: Any) -> bool:
    if isinstance(value, list | tuple) and isinstance(setting, list | tuple):
        return len(value) == len(setting) and all(
            within(_plain_choices(one), other) for one, other in zip(value, setting, strict=True)
        )
    return same(value, setting)


def _above(name: str) -> Iterator[str]:
    """The dotted names that a name begins with."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name
