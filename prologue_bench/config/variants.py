"""The variants of an ablation file, and which of them is the baseline."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from prologue_bench.config.experiments import Variant
from prologue_bench.config.files import AblationFile
from prologue_bench.config.sections import Section, set_path
from prologue_bench.documents.describing import describe
from prologue_bench.errors import UserError, nearest
from prologue_bench.texts.settings import (
    flat_values,
    normal,
    same,
    short_names,
    value_labels,
    within,
)

MOST_VARIANTS = 100
MOST_RUNS = 500
"""Planning takes time for each; several files do what one cannot."""


def variants_of(file: AblationFile, where: str) -> tuple[Variant, ...]:
    """The variants that `variants:` and `vary:` come to. Raises UserError for two of one name."""
    named = [
        Variant(name=str(name), values=_checked_changes(changes or {}, f"{where}: variants.{name}"))
        for name, changes in file.variants.items()
    ]
    for base in named:
        for key in base.values:
            _check_one_data_set(key, f"{where}: variants.{base.name}.{key}")
    axes = _axes(file.vary, where)
    for base in named:
        _check_set_once(base.values, axes, f"{where}: variants.{base.name}")
    _check_runs(max(1, len(named)) * math.prod(map(len, axes)), file, where)
    variants = []
    for base in named or [Variant(name="", values={})]:
        for combination in itertools.product(*axes):
            parts = [base.name] if base.name else []
            parts += [choice.text for choice in combination]
            variants.append(
                Variant(
                    name=", ".join(parts) or file.name,
                    values={**base.values, **{choice.key: choice.value for choice in combination}},
                    named=frozenset(base.values),
                )
            )
    for name, count in Counter(variant.name for variant in variants).items():
        if count > 1:
            raise UserError(f"{where}: vary: two variants are both {name!r}; give each value once")
    return tuple(variants)


def _check_runs(variants: int, file: AblationFile, where: str) -> None:
    """Raises UserError for more variants, or runs of them, than can be planned in a moment."""
    if variants > MOST_VARIANTS:
        raise UserError(
            f"{where}: found {variants} variants, expected at most {MOST_VARIANTS}; "
            "split them over several files"
        )
    check_run_count(variants, len(file.seeds), max(1, len(file.sampling_seeds)), where)


def check_run_count(variants: int, seeds: int, draws: int, where: str) -> None:
    """Raises UserError for more runs than can be planned in a moment."""
    if variants * seeds * draws > MOST_RUNS:
        counts = [
            f"{variants} variants",
            f"{seeds} seeds",
            *([f"{draws} sampling seeds"] if draws > 1 else []),
        ]
        raise UserError(
            f"{where}: found {' x '.join(counts)}, expected at most {MOST_RUNS} runs; "
            "split them over several files, or over calls with --seeds"
        )


@frozen
class _Choice:
    """One value of a setting that is varied, and how a variant's name tells it."""

    key: str
    value: Any
    text: str


def _axes(vary: Mapping[str, Any], where: str) -> list[list[_Choice]]:
    """The choices of each setting that is varied.

    Raises UserError for what is no list, and for a value given twice.
    """
    names = short_names(list(vary))
    axes = []
    for key, values in vary.items():
        _check_one_data_set(key, f"{where}: vary.{key}")
        if not isinstance(values, list) or not values:
            found = "an empty list" if values == [] else describe(values)
            raise UserError(
                f"{where}: vary.{key}: found {found}, expected a list of at least one value"
            )
        if len(values) > MOST_VARIANTS:
            raise UserError(
                f"{where}: vary.{key}: found {len(values)} values, expected at most {MOST_VARIANTS}"
            )
        choices = [
            _Choice(key, value, f"{names[key]}={label}")
            for value, label in zip(values, value_labels(values), strict=True)
        ]
        seen = set()
        for choice in choices:
            if (meaning := normal(choice.value)) in seen:
                name = f"{names[key]}={value_labels([choice.value])[0]}"
                raise UserError(
                    f"{where}: vary.{key}: two variants are both {name!r}; give each value once"
                )
            seen.add(meaning)
        axes.append(choices)
    return axes


def _check_set_once(
    values: Mapping[str, Any], axes: Sequence[Sequence[_Choice]], where: str
) -> None:
    """Raises UserError where a named variant sets what is varied, which would replace it."""
    for name in flat_values(values):
        for choice in itertools.chain.from_iterable(axes):
            if name in flat_values({choice.key: choice.value}):
                raise UserError(
                    f"{where}: {name}: found it here and in vary.{choice.key}, which would replace "
                    "it in every variant; set it in one of the two"
                )


def _check_one_data_set(key: str, where: str) -> None:
    """Raises UserError for a variant with data of its own: results are of one data set."""
    if key.split(".")[0] == "data":
        raise UserError(
            f"{where}: the data cannot vary inside an ablation; run it once for each data set, "
            "such as with --set data=NAME --out FOLDER, and put the results into one report with "
            "'prologue-bench report FOLDER FOLDER --out BOTH'"
        )


def _checked_changes(changes: Any, where: str) -> dict[str, Any]:
    """The settings of a named variant, by dotted path."""
    if not isinstance(changes, Mapping):
        raise UserError(f"{where}: found {describe(changes)}, expected a mapping of settings")
    return {str(key): value for key, value in changes.items()}


def baseline_of(value: Any, variants: Sequence[Variant], where: str) -> str | None:
    """The name of the variant that `baseline:` names or singles out. Raises UserError."""
    if value is None:
        return None
    names = [variant.name for variant in variants]
    if isinstance(value, str):
        if value not in names:
            raise UserError(f"{where}: no variant {value!r}; {nearest(value, names)}")
        return value
    if not isinstance(value, Mapping):
        raise UserError(
            f"{where}: found {describe(value)}, expected a variant's name or the settings that "
            "single it out"
        )
    matches = [
        v.name
        for v in variants
        if all(k in v.values and same(x, v.values[k]) for k, x in value.items())
    ]
    matches = matches or [
        v.name for v in variants if within(_nested(value, where), _nested(v.values, where))
    ]
    if len(matches) != 1:
        raise UserError(
            f"{where}: {describe(value)} fits {len(matches)} variants, expected exactly one of: "
            f"{'; '.join(names)}"
        )
    return matches[0]


def _nested(values: Mapping[str, Any], where: str) -> dict[str, Section]:
    """Settings by dotted name as their sections; a plain name stands for {use: name}."""
    sections: dict[str, Section] = {str(key).split(".")[0]: {} for key in values}
    for key, value in values.items():
        set_path(sections, str(key), value, f"{where}.")
    return sections
