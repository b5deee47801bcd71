"""Quantizers of the library vector-quantize-pytorch in the standard encoder and decoder: the extra `vq`."""

from __future__ import annotations

from prologue_bench.components import Component
from prologue_bench.hookspecs import hookimpl

INTERFACE_VERSION = 1
EXTRA = "prologue-bench[vq]"


@hookimpl
def prologue_tokenizers() -> list[Component]:
    return [
        Component(
            name="fsq",
            target="prologue_vq.tokenizers:FsqTokenizer",
            settings="prologue_vq.settings:FsqSettings",
            summary="Finite scalar quantization (Mentzer et al. 2023).",
            version=2,
            requires=EXTRA,
        ),
        Component(
            name="lfq",
            target="prologue_vq.tokenizers:LfqTokenizer",
            settings="prologue_vq.settings:LfqSettings",
            summary="Lookup-free quantization (Yu et al. 2023).",
            version=2,
            requires=EXTRA,
        ),
        Component(
            name="residual-vq",
            target="prologue_vq.tokenizers:ResidualVqTokenizer",
            settings="prologue_vq.settings:ResidualVqSettings",
            summary="Residual vector quantization, a segment a level (Lee et al. 2022).",
            version=2,
            requires=EXTRA,
        ),
        Component(
            name="simvq",
            target="prologue_vq.tokenizers:SimVqTokenizer",
            settings="prologue_vq.settings:SimVqSettings",
            summary="A frozen codebook behind one linear map (Zhu et al. 2024).",
            version=2,
            requires=EXTRA,
        ),
    ]
