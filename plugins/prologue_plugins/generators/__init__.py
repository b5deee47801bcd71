"""Generators over discrete tokens."""

from __future__ import annotations

from prologue_bench.contracts import Component, hookimpl


@hookimpl
def prologue_generators() -> list[Component]:
    return [
        Component(
            name="ar",
            default_for=("prior",),
            target="prologue_plugins.generators.ar:Ar",
            settings="prologue_plugins.generators.settings:ArSettings",
            summary="A class-conditional causal transformer over one vocabulary of all segments.",
            version=3,
            steps_alike=True,
        ),
        Component(
            name="rar",
            target="prologue_plugins.generators.rar:Rar",
            settings="prologue_plugins.generators.settings:RarSettings",
            summary="The same, trained on tokens in random order within their segments.",
            version=3,
            steps_alike=True,
        ),
    ]
