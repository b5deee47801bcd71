"""Released tokenizers in the format of the library diffusers, as they are: the extra `diffusers`."""

from __future__ import annotations

from prologue_bench.components import Component
from prologue_bench.hookspecs import hookimpl

INTERFACE_VERSION = 1


@hookimpl
def prologue_tokenizers() -> list[Component]:
    return [
        Component(
            name="diffusers-vq",
            target="prologue_diffusers.tokenizer:DiffusersVq",
            settings="prologue_diffusers.settings:DiffusersVqSettings",
            version=2,
            summary="A VQModel of diffusers with its weights, frozen.",
            requires="prologue-bench[diffusers]",
        )
    ]
