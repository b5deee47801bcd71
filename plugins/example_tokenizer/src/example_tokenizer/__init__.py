"""Tells prologue-bench what this package brings; imports nothing heavy."""

from prologue_bench.components import Component
from prologue_bench.hookspecs import hookimpl

INTERFACE_VERSION = 1


@hookimpl
def prologue_tokenizers() -> list[Component]:
    return [
        Component(
            name="example-fsq",
            target="example_tokenizer.tokenizer:ExampleFsq",
            settings="example_tokenizer.settings:ExampleFsqSettings",
            summary="Convolutions around finite scalar quantization, from the tutorial.",
        )
    ]
