"""The paper's tokenizers: the 1D and 2D baselines, Prologue and Prologue-Post."""

from __future__ import annotations

from prologue_bench.contracts import Component, hookimpl


@hookimpl
def prologue_tokenizers() -> list[Component]:
    return [
        Component(
            name="vq-1d",
            target="prologue_plugins.tokenizers.vq_1d:Vq1d",
            settings="prologue_plugins.tokenizers.settings:Vq1dSettings",
            summary="A sequence of vector-quantized learned queries (the 1D baseline).",
            version=3,
            steps_alike=True,
        ),
        Component(
            name="vq-2d",
            target="prologue_plugins.tokenizers.vq_2d:Vq2d",
            settings="prologue_plugins.tokenizers.settings:Vq2dSettings",
            summary="A grid of vector-quantized patches (the baseline).",
            version=3,
            steps_alike=True,
        ),
        Component(
            name="prologue",
            target="prologue_plugins.tokenizers.prologue:Prologue",
            settings="prologue_plugins.tokenizers.settings:PrologueSettings",
            summary=(
                "The 2D baseline with a prefix of tokens that learn from the autoregressive loss "
                "alone."
            ),
            version=3,
            steps_alike=True,
        ),
        Component(
            name="prologue-post",
            target="prologue_plugins.tokenizers.prologue_post:ProloguePost",
            settings="prologue_plugins.tokenizers.settings:ProloguePostSettings",
            summary="A prologue from a second encoder, added to a finished, frozen vq-2d.",
            version=3,
            steps_alike=True,
            builds_on=True,
        ),
    ]
