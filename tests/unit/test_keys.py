"""A default that changes must change keys: tests/default_settings.json has them with versions.

After adding a setting: python -m tests.unit.test_keys. After changing a default: raise the version
first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

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


@pytest.mark.parametrize(
    "name", sorted(json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else [])
)
def test_a_changed_default_comes_with_a_new_version(name: str) -> None:
    before, now = json.loads(SNAPSHOT.read_text())[name], current()[name]
    if now["version"] == before["version"]:
        kept = {key: now["defaults"].get(key, "gone") for key in before["defaults"]}
        assert kept == before["defaults"], (
            f"raise the version of {name}, then run python -m tests.unit.test_keys"
        )


def test_the_snapshot_is_complete() -> None:
    assert json.loads(SNAPSHOT.read_text()) == current(), "run python -m tests.unit.test_keys"


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(current(), indent=1, sort_keys=True) + "\n")
