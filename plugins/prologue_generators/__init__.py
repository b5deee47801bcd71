"""Generators over discrete tokens."""

from __future__ import annotations

from prologue_bench.components import Component
from prologue_bench.hookspecs import hookimpl


@hookimpl
def prologue_generators() -> list[Component]:
    return [
        Component(
            name="ar",
            target="prologue_generators.ar:Ar",
            settings="prologue_generators.settings:ArSettings",
            summary="A class-conditional causal transformer over one vocabulary of all segments.",
            version=2,
        ),
        Component(
            name="rar",
            target="prologue_generators.rar:Rar",
            settings="prologue_generators.settings:RarSettings",
            summary="The same, trained on tokens in random order within their segments.",
            version=2,
        ),
    ]
