"""Features of a small classifier of Fashion-MNIST as a feature extractor of torch-fidelity.

They tell clothes apart where ImageNet's features see mostly blur. The weights are beside this file;
`make_fashion_mnist_cnn` trains them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from prologue_plugins.metrics.extractors import weights_of

FEATURES, CLASSES, SIZE = 64, 10, 28
CHANNELS = (32, 64, 64, FEATURES)
"""Outputs of the convolutions; the second and third halve the image."""


class FashionMnistCnn(nn.Module):
    """Grey images [B, 1, 28, 28] from -1 to 1, to features [B, 64] and logits [B, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1)
            for inputs, outputs, stride in zip((1, *CHANNELS), CHANNELS, (1, 2, 2, 1), strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in CHANNELS)
        self.classifier = nn.Linear(FEATURES, CLASSES)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Outputs of the convolutions: [B, 32, 28, 28], [B, 64, 14, 14], and two [B, 64, 7, 7]."""
        found, x = [], images
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm(convolution(x)).relu()
            found.append(x)
        return found

    def features(self, images: Tensor) -> Tensor:
        """Means over the image of the last convolution's channels."""
        return self.maps(images)[-1].mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images))
        return logits


def trained() -> FashionMnistCnn:
    """The network with its weights, in evaluation mode."""
    model = FashionMnistCnn()
    model.load_state_dict(load_file(weights_of("fashion-mnist-cnn")))
    return model.eval()


class FashionMnistCnnExtractor(FeatureExtractorBase):  # type: ignore[misc]
    """uint8 images [B, 3, H, W], grey ones repeated, to a tuple of features [B, 64]."""

    def __init__(self, name: str, features_list: list[str], **kwargs: Any) -> None:
        super().__init__(name, features_list)
        self.model = trained()

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return (str(FEATURES),)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return str(FEATURES)

    @staticmethod
    def can_be_compiled() -> bool:
        return True

    @staticmethod
    def get_dummy_input_for_compile() -> Tensor:
        return torch.zeros(4, 3, SIZE, SIZE, dtype=torch.uint8)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = images[:, :1].float() / 127.5 - 1
        if x.shape[-2:] != (SIZE, SIZE):
            x = F.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True)
        return (self.model.features(x),)
