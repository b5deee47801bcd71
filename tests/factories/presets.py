"""Presets of published models."""

from __future__ import annotations

from prologue_bench.config.presets import find_preset
from prologue_bench.config.structure import structure
from prologue_bench.registry import Registry


def shapes_of(preset_name: str, registry: Registry) -> dict[str, tuple[int, ...]]:
    preset = find_preset("tokenizer", preset_name, registry)
    assert preset is not None
    assert preset.use != preset_name, "the component would be taken in its place"
    component = registry.find("tokenizer", preset.use)
    settings = structure(component.load_settings(), preset.settings, preset_name)
    found: dict[str, tuple[int, ...]] = component.load().shapes(settings)
    return found
