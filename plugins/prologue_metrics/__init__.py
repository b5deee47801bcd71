"""Measurements of tokenizers and generators."""

from __future__ import annotations

from prologue_bench.components import Component
from prologue_bench.hookspecs import hookimpl


@hookimpl
def prologue_metrics() -> list[Component]:
    return [
        Component(
            name="rfid",
            target="prologue_metrics.fidelity:ReconstructionFid",
            settings="prologue_metrics.settings:FidSettings",
            summary="Fréchet distance between reconstructions and the test images.",
        ),
        Component(
            name="gfid",
            target="prologue_metrics.fidelity:GenerationFid",
            settings="prologue_metrics.settings:FidSettings",
            summary="Fréchet distance between samples and the test images.",
        ),
        Component(
            name="rate",
            target="prologue_metrics.rate:Rate",
            summary="Bits that the generator needs for the tokens of a test image, in all and per segment.",
        ),
        Component(
            name="codebook",
            target="prologue_metrics.codebook:Codebook",
            summary="Share of codes in use and perplexity of each segment, on the test images.",
        ),
        Component(
            name="probe",
            target="prologue_metrics.probe:Probe",
            settings="prologue_metrics.settings:ProbeSettings",
            summary="Accuracy of a linear classifier on the first tokens, equally many for every variant.",
        ),
    ]
