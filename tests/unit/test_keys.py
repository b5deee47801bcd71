"""A default that changes must change keys: tests/default_settings.json has them with versions.

After adding a setting: python -m tests.unit.test_keys. After changing a default: raise the version
first, without which it writes nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs

from prologue_bench.config.settings import (
    GeneratorTraining,
    Sampling,
    TokenizerTraining,
    plain_values,
)
from prologue_bench.contracts.settings import default_of
from prologue_bench.pipeline import stages
from prologue_bench.registry import Registry

SNAPSHOT = Path(__file__).parent.parent / "default_settings.json"
FRAMEWORK = {
    "train-tokenizer": (stages.TrainTokenizer, TokenizerTraining),
    "train-generator": (stages.TrainGenerator, GeneratorTraining),
    "sample": (stages.SampleImages, Sampling),
}


def flat_defaults(settings: type[Any], prefix: str = "") -> dict[str, Any]:
    """Defaults by dotted name; nested settings by their own fields."""
    found: dict[str, Any] = {}
    for attribute in attrs.fields(settings):
        value = default_of(attribute)
        if value is attrs.NOTHING or attribute.metadata.get("execution"):
            continue
        if attrs.has(type(value)):
            nested = {f.name: getattr(value, f.name) for f in attrs.fields(type(value))}
            found.update(
                {
                    f"{prefix}{attribute.name}.{name}": plain_values(item)
                    for name, item in nested.items()
                }
            )
        else:
            found[f"{prefix}{attribute.name}"] = plain_values(value)
    return found


def current() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, entry in Registry.load():
        component = entry.component
        if entry.origin.startswith("prologue-bench "):
            found[f"{kind} {component.name}"] = {
                "version": component.version,
                "defaults": flat_defaults(component.load_settings()),
            }
    for name, (stage, settings) in FRAMEWORK.items():
        found[f"stage {name}"] = {"version": stage.version, "defaults": flat_defaults(settings)}
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What has other defaults than before, and the same version. A new setting changes none."""
    return [
        name
        for name, was in before.items()
        if (found := now.get(name)) is not None
        and found["version"] == was["version"]
        and {key: found["defaults"].get(key, "gone") for key in was["defaults"]} != was["defaults"]
    ]


def test_a_changed_default_comes_with_a_new_version() -> None:
    found = changed(json.loads(SNAPSHOT.read_text()), current())
    assert not found, f"raise the versions of {found}, then run python -m tests.unit.test_keys"


def test_the_snapshot_is_complete() -> None:
    assert json.loads(SNAPSHOT.read_text()) == current(), "run python -m tests.unit.test_keys"


def test_a_default_that_changes_without_a_version_is_found_and_a_new_setting_is_not() -> None:
    before = {"metric a": {"version": 1, "defaults": {"size": 3, "depth": 2}}}

    def found(version: int, **defaults: int) -> list[str]:
        return changed(before, {"metric a": {"version": version, "defaults": defaults}})

    assert found(1, size=3, depth=2, width=7) == []
    assert found(1, size=4, depth=2) == found(1, size=3) == ["metric a"]
    assert found(2, size=4) == []


if __name__ == "__main__":
    made = current()
    if found := changed(json.loads(SNAPSHOT.read_text()), made):
        raise SystemExit(f"defaults have changed; raise the versions first: {', '.join(found)}")
    SNAPSHOT.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
