"""The paper's tokenizers: the 2D baseline and Prologue."""

from __future__ import annotations

from prologue_bench.components import Component
from prologue_bench.hookspecs import hookimpl


@hookimpl
def prologue_tokenizers() -> list[Component]:
    return [
        Component(
            name="vq-2d",
            target="prologue_tokenizers.vq_2d:Vq2d",
            settings="prologue_tokenizers.settings:Vq2dSettings",
            summary="A grid of vector-quantized patches (the baseline).",
        ),
        Component(
            name="prologue",
            target="prologue_tokenizers.prologue:Prologue",
            settings="prologue_tokenizers.settings:PrologueSettings",
            summary="The 2D baseline with a prefix of tokens that learn from the autoregressive loss alone.",
        ),
    ]
