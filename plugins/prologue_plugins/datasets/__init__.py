"""Data sources: published data sets, images of your own wherever they are, and test shapes."""

from __future__ import annotations

from prologue_bench.contracts import Component, hookimpl


@hookimpl
def prologue_data_sources() -> list[Component]:
    return [
        Component(
            name="fashion-mnist",
            target="prologue_plugins.datasets.fashion_mnist:FashionMnist",
            settings="prologue_plugins.datasets.settings:FashionMnistSettings",
            summary="70,000 grey images of clothes, 28 x 28 pixels, 10 classes.",
        ),
        Component(
            name="fashion-mnist-embedded",
            target="prologue_plugins.datasets.fashion_mnist:EmbeddedFashionMnist",
            summary="10,000 of the same images, class-balanced, inside the package: no download.",
        ),
        Component(
            name="imagenet",
            target="prologue_plugins.datasets.imagenet:ImageNet",
            settings="prologue_plugins.datasets.settings:ImageNetSettings",
            summary=(
                "ImageNet-1k at 256 x 256 pixels, from a folder or straight from the Kaggle zip."
            ),
            version=3,
        ),
        Component(
            name="image-folder",
            target="prologue_plugins.datasets.imagenet:ClassFolders",
            settings="prologue_plugins.datasets.settings:ImageFolderSettings",
            summary="Your own images: a folder or zip with one subfolder per class.",
            version=3,
        ),
        Component(
            name="webdataset",
            target="prologue_plugins.datasets.webdataset:WebDataset",
            settings="prologue_plugins.datasets.settings:WebDatasetSettings",
            summary="Your own images: tar shards, read in place.",
        ),
        Component(
            name="huggingface",
            target="prologue_plugins.datasets.huggingface:HuggingFace",
            settings="prologue_plugins.datasets.settings:HuggingFaceSettings",
            summary="A data set of the Hugging Face hub, by name, revision and columns.",
        ),
        Component(
            name="cifar10",
            target="prologue_plugins.datasets.cifar10:Cifar10",
            settings="prologue_plugins.datasets.settings:Cifar10Settings",
            summary="60,000 colour photographs, 32 x 32 pixels, 10 classes, by torchvision.",
        ),
        Component(
            name="image-files",
            default_for=("files",),
            target="prologue_plugins.datasets.files:ImageFiles",
            settings="prologue_plugins.datasets.settings:ImageFilesSettings",
            summary="All images of a folder, zip, tar or .npz, to be measured.",
        ),
        Component(
            name="shapes",
            target="prologue_plugins.datasets.shapes:Shapes",
            settings="prologue_plugins.datasets.settings:ShapesSettings",
            summary="Procedural scenes of coloured shapes with known factors.",
        ),
    ]
