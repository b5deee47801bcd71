"""IBQ (Shi et al. 2024): the modules of taming VQGAN, and the code with the largest product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from prologue_plugins.zoo.golden import computed
from prologue_plugins.zoo.parts.codebooks import largest_product
from prologue_plugins.zoo.reading import State
from prologue_plugins.zoo.settings import IbqSettings
from prologue_plugins.zoo.taming import TamingVqgan, official_settings


class Ibq(TamingVqgan):
    """One token for each place of the grid: the code with the largest dot product."""

    name = "ibq"

    def choose(self, vectors: Tensor) -> Tensor:
        return largest_product(vectors, self.codebook)


def golden(config: Mapping[str, Any], weights: State, io: State) -> Mapping[str, Tensor] | None:
    """The tensors of a golden folder, see `prologue_plugins.zoo.golden`."""
    values = official_settings(config)
    return None if values is None else computed(Ibq, IbqSettings, values, weights, io)
