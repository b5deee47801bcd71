"""Released tokenizers in the library diffusers' format, as they are: the extra `diffusers`."""

from __future__ import annotations

from prologue_bench.contracts import Component, hookimpl

INTERFACE_VERSION = 2


@hookimpl
def prologue_tokenizers() -> list[Component]:
    return [
        Component(
            name="diffusers-vq",
            target="prologue_plugins.diffusers.tokenizer:DiffusersVq",
            settings="prologue_plugins.diffusers.settings:DiffusersVqSettings",
            version=2,
            summary="A VQModel of diffusers with its weights, frozen.",
            requires="prologue-bench[diffusers]",
        ),
        Component(
            name="diffusers-kl",
            target="prologue_plugins.diffusers.tokenizer:DiffusersKl",
            settings="prologue_plugins.diffusers.settings:DiffusersKlSettings",
            summary="A continuous AutoencoderKL of diffusers (SD-VAE, SD3, FLUX), frozen.",
            requires="prologue-bench[diffusers]",
        ),
    ]
