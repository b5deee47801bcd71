"""Tells prologue-bench what this package brings; imports nothing heavy."""

from prologue_bench.contracts import Component, hookimpl

INTERFACE_VERSION = 2


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
