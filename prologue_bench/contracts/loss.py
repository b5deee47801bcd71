"""What a loss of reconstructions is, beyond pixel distances."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from prologue_bench.contracts.images import ImageSpec


class ReconstructionLoss(nn.Module, ABC):
    """A loss of reconstructions beyond pixel distances, such as a perceptual or adversarial one.

    The constructor takes the component's settings and the data set's `ImageSpec`. Parameters that
    require a gradient (a discriminator's) get an optimizer of their own, and their gradient must
    come from a loss that reaches nothing else; the other losses must not reach them.
    """

    learns: bool = True
    """Whether there are such parameters. Without any, the settings of their optimizer count for
    nothing."""

    @classmethod
    def check(cls, settings: Any, images: ImageSpec) -> None:
        """Say before anything is trained what could not work; here whether an instance can be made.

        A loss that loads weights says whether they are there, without loading them. Raises
        UserError in one line.
        """
        with torch.device("meta"):
            cls(settings, images)

    @abstractmethod
    def forward(self, reconstruction: Tensor, images: Tensor, step: int) -> dict[str, Tensor]:
        """Scalars by name, weighted, for images [B, C, H, W] at a training step (counted from 0).

        Terms may be left out in steps in which they are not computed.
        """
