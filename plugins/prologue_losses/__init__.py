"""Losses of reconstructions beyond pixel distances, as large tokenizers are trained with, and LPIPS as a metric."""

from __future__ import annotations

from prologue_bench.components import Component
from prologue_bench.hookspecs import hookimpl


@hookimpl
def prologue_losses() -> list[Component]:
    return [
        Component(
            name="lpips",
            target="prologue_losses.perceptual:Lpips",
            settings="prologue_losses.settings:LpipsSettings",
            summary="LPIPS over VGG-16 features.",
        ),
        Component(
            name="convnext-logits",
            target="prologue_losses.perceptual:ConvNextLogits",
            settings="prologue_losses.settings:ConvNextLogitsSettings",
            version=2,
            summary="Squared distance between a ConvNeXt-S classifier's logits.",
        ),
        Component(
            name="patchgan",
            target="prologue_losses.adversarial:PatchGan",
            settings="prologue_losses.settings:PatchGanSettings",
            version=2,
            summary="A discriminator over patches, with LeCam and R1 regularisation.",
        ),
    ]


@hookimpl
def prologue_metrics() -> list[Component]:
    return [
        Component(
            name="lpips",
            target="prologue_losses.lpips_metric:LpipsMetric",
            settings="prologue_losses.settings:LpipsMetricSettings",
            version=2,
            summary="Perceptual distance of reconstructions; needs VGG-16's weights.",
        )
    ]
