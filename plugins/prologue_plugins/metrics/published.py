"""How features and references differ from those of published numbers."""

from __future__ import annotations

from pathlib import Path

from prologue_plugins.metrics.extractors import EXTRACTORS, INCEPTION_NAME
from prologue_plugins.metrics.settings import FeatureSettings, FidSettings

ADM_BATCH = "VIRTUAL_imagenet256_labeled.npz"
"""The reference of Dhariwal and Nichol 2021, to which published FIDs on ImageNet at 256 pixels
are."""


def features_name(settings: FeatureSettings) -> str:
    """What titles call the features; empty of Inception's pooled ones, as in published numbers."""
    extractor = EXTRACTORS[settings.extractor]
    layer = "" if settings.layer in ("", extractor.usual_layer) else f", layer {settings.layer}"
    if settings.extractor == INCEPTION_NAME and not layer:
        return ""
    return f"{extractor.title}{layer}"


def features_differ(settings: FeatureSettings) -> list[str]:
    """How the features differ from Inception's pooled ones."""
    name = features_name(settings)
    if not name:
        return []
    chosen = EXTRACTORS[settings.extractor].size is None
    at = f" at {settings.resize} pixels" if chosen else ""
    return [f"{name} features{at} instead of Inception's"]


def reference_differs(settings: FidSettings) -> list[str]:
    """How the reference differs from ADM's, by the file's name; its checksum is in the protocol."""
    if not settings.reference:
        return ["the test images as reference"]
    name = Path(settings.reference).name
    return [] if name == ADM_BATCH else [f"{name} as reference instead of {ADM_BATCH}"]
