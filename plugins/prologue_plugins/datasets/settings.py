"""Settings of the data sources."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs import field, frozen, validators

MOST_PIXELS = 4096
"""Along an edge."""
MOST_OBJECTS = 16
"""In a scene."""
MOST_DRAWN = 2 * 10**8
"""Pixels of all scenes of a split, which are drawn at once."""


def _fit_memory(instance: ShapesSettings, attribute: attrs.Attribute[int], value: int) -> None:
    if value * instance.size**2 > MOST_DRAWN:
        most = MOST_DRAWN // instance.size**2
        raise ValueError(f"{attribute.name!r} must be <= {most} at {instance.size} pixels: {value}")


@frozen(kw_only=True)
class FashionMnistSettings:
    """Where to look.

    Without `root`, the environment variable FASHION_MNIST, the Debian package and the cache.
    """

    root: str | None = None
    """Folder of the four idx files, as .gz or unpacked."""
    download: bool = True
    """Let torchvision download the files when they are nowhere else."""


@frozen(kw_only=True)
class ShapesSettings:
    """Scenes of shapes: circles, squares, triangles and crosses, in any of six colours."""

    size: int = field(default=32, validator=[validators.ge(8), validators.le(MOST_PIXELS)])
    """Edge of an image in pixels."""
    train_images: int = field(default=2048, validator=[validators.ge(1), _fit_memory])
    test_images: int = field(default=512, validator=[validators.ge(1), _fit_memory])
    seed: int = field(default=0, validator=validators.ge(0))
    objects: int = field(default=1, validator=[validators.ge(1), validators.le(MOST_OBJECTS)])
    """Most shapes in a scene. Above 1 each scene has from 1 to so many: the largest in front, and
    the others around it."""
    texture: bool = False
    """Stripe the shapes in any of four directions, and let the background's brightness vary."""


@frozen(kw_only=True)
class CropSettings:
    """How images become squares."""

    size: int = field(default=256, validator=[validators.ge(8), validators.le(MOST_PIXELS)])
    """Edge of the square crops in pixels."""
    crops: Literal["centre", "ten"] = "centre"
    """Views of each training image: the centre, or the centre and four corners, each also
    mirrored."""


@frozen(kw_only=True)
class ImageFolderSettings(CropSettings):
    """A folder or zip with one subfolder per class under train/ and under val/ or test/."""

    root: str | None = None
    test_split: Literal["val", "test"] | None = None
    """Folder of the test images; must be said where there are both."""


@frozen(kw_only=True)
class WebDatasetSettings(CropSettings):
    """A folder of tar shards that are not compressed."""

    root: str | None = None
    train: str = "*train*.tar"
    """Pattern of the names of the training shards, relative to `root`."""
    test: str = "*val*.tar"


@frozen(kw_only=True)
class HuggingFaceSettings(CropSettings):
    """A data set of the Hugging Face hub that is kept as Parquet files."""

    name: str | None = None
    """ORG/NAME on the hub, or a folder that holds the files."""
    revision: str | None = None
    """Its commit or tag on the hub; none for a folder."""
    config: str = ""
    """The folder of the files of one configuration, where there are several."""
    train: str = "train"
    """The split that has the training images."""
    test: str = "test"
    image: str = "image"
    """The column of the images."""
    label: str = "label"
    """The column of the classes, numbers or texts; empty takes all images as one class."""


@frozen(kw_only=True)
class Cifar10Settings:
    """Where to look; without `root`, the environment variable CIFAR10 and the cache."""

    root: str | None = None
    """The folder that holds cifar-10-batches-py, as torchvision unpacks it."""
    download: bool = True
    """Let torchvision download it when it is nowhere else."""


@frozen(kw_only=True)
class ImageFilesSettings:
    """Images wherever they are kept."""

    root: str | None = None
    """A folder, with all that is below it; a zip or tar; an .npz or .npy of uint8."""
    size: int = field(default=0, validator=[validators.ge(0), validators.le(MOST_PIXELS)])
    """Edge in pixels to which all images are cropped and resized, by ADM's centre crop; 0 takes
    them as they are, if all have one size."""


@frozen(kw_only=True)
class ImageNetSettings(ImageFolderSettings):
    """Without `root`, the environment variable IMAGENET is the folder or zip."""

    crops: Literal["centre", "ten"] = "ten"
