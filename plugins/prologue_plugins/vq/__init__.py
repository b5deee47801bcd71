"""Quantizers of vector-quantize-pytorch in the standard encoder and decoder: the extra `vq`."""

from __future__ import annotations

from prologue_bench.contracts import Component, hookimpl

INTERFACE_VERSION = 2
EXTRA = "prologue-bench[vq]"


@hookimpl
def prologue_tokenizers() -> list[Component]:
    return [
        Component(
            name="fsq",
            target="prologue_plugins.vq.tokenizers:FsqTokenizer",
            settings="prologue_plugins.vq.settings:FsqSettings",
            summary="Finite scalar quantization (Mentzer et al. 2023).",
            version=3,
            requires=EXTRA,
        ),
        Component(
            name="lfq",
            target="prologue_plugins.vq.tokenizers:LfqTokenizer",
            settings="prologue_plugins.vq.settings:LfqSettings",
            summary="Lookup-free quantization (Yu et al. 2023).",
            version=3,
            requires=EXTRA,
        ),
        Component(
            name="residual-vq",
            target="prologue_plugins.vq.tokenizers:ResidualVqTokenizer",
            settings="prologue_plugins.vq.settings:ResidualVqSettings",
            summary="Residual vector quantization, one segment per level (Lee et al. 2022).",
            version=3,
            requires=EXTRA,
        ),
        Component(
            name="simvq",
            target="prologue_plugins.vq.tokenizers:SimVqTokenizer",
            settings="prologue_plugins.vq.settings:SimVqSettings",
            summary="A frozen codebook behind one linear map (Zhu et al. 2024).",
            version=3,
            requires=EXTRA,
        ),
    ]
