"""Data sources: Fashion-MNIST, whole and as a subset in the package, and procedural shapes for tests."""

from __future__ import annotations

from prologue_bench.components import Component
from prologue_bench.hookspecs import hookimpl


@hookimpl
def prologue_data_sources() -> list[Component]:
    return [
        Component(
            name="fashion-mnist",
            target="prologue_datasets.fashion_mnist:FashionMnist",
            settings="prologue_datasets.settings:FashionMnistSettings",
            summary="70,000 grey images of clothes, 28 x 28 pixels, 10 classes.",
        ),
        Component(
            name="fashion-mnist-embedded",
            target="prologue_datasets.fashion_mnist:EmbeddedFashionMnist",
            summary="10,000 of the same images, class-balanced, inside the package: no download.",
        ),
        Component(
            name="shapes",
            target="prologue_datasets.shapes:Shapes",
            settings="prologue_datasets.settings:ShapesSettings",
            summary="Procedural coloured shapes with known factors, for tests.",
        ),
    ]
