"""Losses beyond pixel distances, as large tokenizers are trained with, and LPIPS as a metric."""

from __future__ import annotations

from prologue_bench.contracts import Component, hookimpl


@hookimpl
def prologue_losses() -> list[Component]:
    return [
        Component(
            name="lpips",
            weights=("prologue_plugins.losses.settings:VGG",),
            target="prologue_plugins.losses.perceptual:Lpips",
            settings="prologue_plugins.losses.settings:LpipsSettings",
            summary="LPIPS over VGG-16 features.",
        ),
        Component(
            name="perceptual",
            target="prologue_plugins.losses.perceptual:Perceptual",
            settings="prologue_plugins.losses.settings:PerceptualSettings",
            summary="Distance over the feature maps of a classifier that needs no download.",
        ),
        Component(
            name="convnext-logits",
            weights=("prologue_plugins.losses.settings:CONVNEXT",),
            target="prologue_plugins.losses.perceptual:ConvNextLogits",
            settings="prologue_plugins.losses.settings:ConvNextLogitsSettings",
            version=2,
            summary="Squared distance between a ConvNeXt-S classifier's logits.",
        ),
        Component(
            name="patchgan",
            target="prologue_plugins.losses.adversarial:PatchGan",
            settings="prologue_plugins.losses.settings:PatchGanSettings",
            version=2,
            summary="A discriminator over patches, with LeCam and R1 regularisation.",
        ),
    ]


@hookimpl
def prologue_metrics() -> list[Component]:
    return [
        Component(
            name="lpips",
            weights=("prologue_plugins.losses.settings:VGG",),
            target="prologue_plugins.losses.lpips_metric:LpipsMetric",
            settings="prologue_plugins.losses.settings:LpipsMetricSettings",
            version=2,
            summary="Perceptual distance of reconstructions; needs VGG-16's weights.",
        )
    ]
