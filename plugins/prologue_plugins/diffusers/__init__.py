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
        )
    ]
