"""Measurements of tokenizers and generators."""

from __future__ import annotations

from prologue_bench.contracts import Component, hookimpl

INCEPTION = ("prologue_plugins.metrics.settings:INCEPTION",)


@hookimpl
def prologue_metrics() -> list[Component]:
    return [
        Component(
            name="rfid",
            default_for=("metrics", "measure"),
            target="prologue_plugins.metrics.fid:ReconstructionFid",
            settings="prologue_plugins.metrics.settings:FidSettings",
            version=3,
            weights=INCEPTION,
            summary="Fréchet distance between reconstructions and the test images.",
        ),
        Component(
            name="gfid",
            default_for=("metrics", "search", "measure"),
            target="prologue_plugins.metrics.fid:GenerationFid",
            settings="prologue_plugins.metrics.settings:FidSettings",
            version=3,
            weights=INCEPTION,
            summary="Fréchet distance between samples and the test images.",
        ),
        Component(
            name="generation-gap",
            target="prologue_plugins.metrics.fid:GenerationGap",
            settings="prologue_plugins.metrics.settings:DistanceSettings",
            weights=INCEPTION,
            summary="How much farther samples are from the test images than reconstructions.",
        ),
        Component(
            name="kid",
            target="prologue_plugins.metrics.fidelity:Kid",
            settings="prologue_plugins.metrics.settings:KidSettings",
            version=3,
            weights=INCEPTION,
            summary="Kernel distance between samples and the test images.",
        ),
        Component(
            name="inception-score",
            target="prologue_plugins.metrics.fidelity:InceptionScore",
            settings="prologue_plugins.metrics.settings:InceptionScoreSettings",
            version=3,
            weights=INCEPTION,
            summary="Inception Score of the samples; needs Inception's weights.",
        ),
        Component(
            name="precision-recall",
            default_for=("measure",),
            target="prologue_plugins.metrics.fidelity:PrecisionRecall",
            settings="prologue_plugins.metrics.settings:PrecisionRecallSettings",
            version=5,
            weights=INCEPTION,
            summary="Share of samples among the test images, and of test images among the samples.",
        ),
        Component(
            name="density-coverage",
            default_for=("measure",),
            target="prologue_plugins.metrics.fidelity:DensityCoverage",
            settings="prologue_plugins.metrics.settings:DensityCoverageSettings",
            version=5,
            weights=INCEPTION,
            summary="Like precision and recall of samples, but outliers matter less.",
        ),
        Component(
            name="psnr",
            default_for=("measure",),
            target="prologue_plugins.metrics.pixels:Psnr",
            version=3,
            summary="Peak signal-to-noise ratio of reconstructions.",
        ),
        Component(
            name="mse",
            target="prologue_plugins.metrics.pixels:Mse",
            summary="Mean squared error of reconstructions.",
        ),
        Component(
            name="ssim",
            default_for=("measure",),
            target="prologue_plugins.metrics.pixels:Ssim",
            version=3,
            summary="Structural similarity of reconstructions.",
        ),
        Component(
            name="elbo",
            target="prologue_plugins.metrics.elbo:Elbo",
            settings="prologue_plugins.metrics.settings:ElboSettings",
            version=3,
            summary="Evidence lower bound of the test images, split into distortion and rate.",
        ),
        Component(
            name="layout",
            target="prologue_plugins.metrics.layout:Layout",
            settings="prologue_plugins.metrics.settings:LayoutSettings",
            version=3,
            weights=INCEPTION,
            summary="How much more alike samples are if they share their first tokens.",
        ),
        Component(
            name="attention",
            target="prologue_plugins.metrics.attention:Attention",
            settings="prologue_plugins.metrics.settings:AttentionSettings",
            version=2,
            summary="Share of attention that later tokens pay to the first ones, per layer.",
        ),
        Component(
            name="rate",
            default_for=("metrics",),
            target="prologue_plugins.metrics.rate:Rate",
            version=3,
            summary=(
                "Bits that the generator needs for the tokens of a test image, "
                "in total, per segment and per token."
            ),
        ),
        Component(
            name="codebook",
            default_for=("metrics",),
            numbers=("bits", "redundancy"),
            target="prologue_plugins.metrics.codebook:Codebook",
            version=5,
            summary=(
                "Share of codes in use and perplexity of each segment and position, and joint bits "
                "of leading segments, on the test images."
            ),
        ),
        Component(
            name="token-bits",
            default_for=("evaluate",),
            target="prologue_plugins.metrics.coding:TokenBits",
            summary="Bits that name the tokens of an image, per image and per pixel.",
        ),
        Component(
            name="coding-speed",
            numbers=("encoding_speed", "decoding_speed"),
            target="prologue_plugins.metrics.coding:CodingSpeed",
            settings="prologue_plugins.metrics.settings:CodingSpeedSettings",
            version=2,
            summary="Images encoded and decoded per second.",
        ),
        Component(
            name="conditional-entropy",
            target="prologue_plugins.metrics.conditional:ConditionalEntropy",
            summary="Bits that each token of the training images adds to those before it.",
        ),
        Component(
            name="probe",
            target="prologue_plugins.metrics.probe:Probe",
            settings="prologue_plugins.metrics.settings:ProbeSettings",
            version=5,
            summary=("Accuracy of a linear classifier on as many first tokens of every variant."),
        ),
        Component(
            name="factors",
            numbers=("factor",),
            target="prologue_plugins.metrics.factors:Factors",
            settings="prologue_plugins.metrics.settings:ProbeSettings",
            summary="How well linear models read known factors of the data from each segment.",
        ),
        Component(
            name="cost",
            numbers=("training_flops", "training_seconds"),
            target="prologue_plugins.metrics.cost:Cost",
            version=2,
            summary="Operations and seconds of the training.",
        ),
        Component(
            name="speed",
            numbers=("sampling_speed",),
            target="prologue_plugins.metrics.cost:Speed",
            settings="prologue_plugins.metrics.settings:SpeedSettings",
            version=2,
            summary="Images drawn and decoded per second.",
        ),
    ]
