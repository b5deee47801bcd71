"""Every tensor of a golden folder of a published model, computed anew.

Such a folder holds config.json, weights.safetensors and io.safetensors with inputs and outputs of
the official implementation. The configuration does not say whose it is: each family looks whether
it knows it, by a function `golden(config, weights, io)`, which gives the outputs by name, or None
for a configuration of another family.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prologue_bench.config.structure import structure
from prologue_bench.contracts import ImageSpec
from prologue_bench.errors import UserError, shortened
from prologue_bench.results.documents import LARGEST_CONFIG
from prologue_bench.results.reading import read_json
from prologue_bench.storage.weights import at_most, read_tensors
from prologue_plugins.layers.golden import Comparison, compare
from prologue_plugins.zoo.reading import State

FAMILIES = (
    "prologue_plugins.zoo.llamagen",
    "prologue_plugins.zoo.taming",
    "prologue_plugins.zoo.ibq",
    "prologue_plugins.zoo.magvit2",
    "prologue_plugins.zoo.var",
    "prologue_plugins.zoo.maskgit",
    "prologue_plugins.zoo.titok",
    "prologue_plugins.zoo.maskbit",
    "prologue_plugins.zoo.bsq",
    "prologue_plugins.zoo.cosmos",
    "prologue_plugins.zoo.gpt",
    "prologue_plugins.zoo.rar",
)
"""Modules with a function `golden`. Several may know a configuration: taming VQGAN and IBQ differ
in no setting and no name of a tensor, only in which code they choose."""
WEIGHTS, OUTPUTS, CONFIG = "weights.safetensors", "io.safetensors", "config.json"
INPUTS = ("images", "native_images", "labels", "orders")
OF_GENERATORS = "ar_logits"
"""An output that generators have; of those, ids are an input."""


def check_zoo_folder(folder: Path, tolerance: float) -> list[Comparison]:
    """Compare every output in the folder's io.safetensors.

    Raises UserError when the folder cannot be read, or no family knows its configuration.
    """
    config = read_json(
        folder / CONFIG, "the configuration of a published model", LARGEST_CONFIG, True
    )
    if not isinstance(config, Mapping):
        raise UserError(f"{folder / CONFIG}: expected a mapping of settings")
    weights = {
        name: value.float() if value.is_floating_point() else value
        for name, value in read_tensors(folder / WEIGHTS).items()
    }
    io = read_tensors(folder / OUTPUTS)
    inputs = (*INPUTS, *(("ids",) if OF_GENERATORS in io else ()))
    found = [
        [compare(name, io[name], outputs.get(name)) for name in sorted(io) if name not in inputs]
        for module in FAMILIES
        if (outputs := _outputs(module, config, weights, io, folder)) is not None
    ]
    if not found:
        raise UserError(f"{folder / CONFIG}: found the settings of no published model known here")
    return max(found, key=lambda each: sum(one.holds(tolerance) for one in each))


def _outputs(
    module: str, config: Mapping[str, Any], weights: State, io: State, folder: Path
) -> Mapping[str, Tensor] | None:
    try:
        with torch.inference_mode(), at_most(4 * len(weights) + 1000, str(folder / CONFIG)):
            found: Mapping[str, Tensor] | None = importlib.import_module(module).golden(
                config, weights, io
            )
            return found
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    except (RuntimeError, LookupError, ValueError, TypeError, ArithmeticError) as error:
        raise UserError(
            f"{folder}: its model cannot be computed: {shortened(str(error), 160)}"
        ) from error


def computed(
    tokenizer: Any, settings: type[Any], values: Mapping[str, Any], weights: State, io: State
) -> dict[str, Tensor]:
    """The outputs of a tokenizer's class for settings by name, by its method `golden`."""
    images = io.get("images")
    if images is None or images.ndim != 4 or not images.is_floating_point():
        raise UserError(f"{OUTPUTS}: found no floats 'images' [B, 3, H, W], expected the input")
    _, channels, height, width = images.shape
    made = tokenizer(
        structure(settings, values, f"{CONFIG}:"),
        ImageSpec(channels=channels, height=height, width=width),
        weights,
    )
    return dict(made.golden(images))
