"""Released weights as a mapping of tensors, whatever they are wrapped in; no pickle runs code.

Files are safetensors, or PyTorch's with nothing in them but tensors and plain values: others are
refused, with the way to convert them.
"""

from __future__ import annotations

import functools
import math
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prologue_bench.contracts import may_fetch
from prologue_bench.errors import MissingDataError, UserError, listed, shortened
from prologue_bench.notices import notice
from prologue_bench.storage.files import user_path
from prologue_bench.storage.weights import UNREADABLE, Shapes, check_shapes, read_tensors
from prologue_plugins.zoo.hub import SCHEME, HubFile

State = Mapping[str, Tensor]
CONTAINERS = ("ema", "model", "state_dict")
"""Entries that may hold the state dict, in order of preference."""
AVERAGES = "model_ema."
"""In front of moving averages, whose names have no dots after it."""
TRAINING = ("loss.",)
"""Beginnings of names that only training has: discriminator and LPIPS."""
LFS = b"version https://git-lfs"
"""How a pointer of Git LFS begins."""
DATA_PARALLEL = "module."
SMALLEST = 10_000_000
"""Numbers in the smallest released file, roughly: what holds fewer is none of them."""
CONVERT = (
    "where you trust it, load it with torch, pick out its state dict, and write that by "
    "safetensors.torch.save_file"
)


def released_file(named: str) -> Path | None:
    """The file at a path, or on the hub; None for one to be fetched while nothing may be.

    Raises MissingDataError where there is none.
    """
    if named.startswith(SCHEME):
        file = HubFile.parse(named)
        return file.fetch() if may_fetch() else file.cached()
    path = user_path(named)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise MissingDataError(f"weights: found {found} {path}, expected the released file")
    return path


def read_state(path: Path, average: bool | None = None) -> State:
    """The tensors of a released file under their official names.

    Where a file holds a moving average beside raw weights, it is taken unless `average` is false.
    If it is true and there is none, that is said in a line. Raises UserError for a file that is
    none, and for one that could run code.
    """
    state = _tensors(_content(path), path)
    while state and all(name.startswith(DATA_PARALLEL) for name in state):
        state = {name.removeprefix(DATA_PARALLEL): value for name, value in state.items()}
    plain = {
        name: value for name, value in state.items() if not name.startswith((AVERAGES, *TRAINING))
    }
    averages = {name: value for name, value in state.items() if name.startswith(AVERAGES)}
    if average is False:
        return plain
    if average and not averages:
        _say_no_average(path)
    return {
        name: averages.get(AVERAGES + name.replace(".", ""), value) for name, value in plain.items()
    }


@functools.cache
def _say_no_average(path: Path) -> None:
    """Once of each file."""
    notice(
        f"{path}: found no moving average ({AVERAGES}...), of which the published numbers are; "
        "its only weights are taken"
    )


def _content(path: Path) -> Any:
    with path.open("rb") as file:
        start = file.read(len(LFS))
    if start[8:9] == b"{":
        return read_tensors(path)
    if start == LFS:
        raise UserError(f"{path}: a pointer of Git LFS; fetch the file that it stands for")
    if start[:2] != b"PK" and start[:1] != b"\x80":
        raise UserError(f"{path}: found neither safetensors nor weights of PyTorch")
    zipped = zipfile.is_zipfile(path)
    names = _members(path) if zipped else []
    if any(name.endswith("constants.pkl") for name in names):
        raise UserError(f"{path}: a TorchScript archive, which holds code, is refused; {CONVERT}")
    if any(name.endswith(".npy") for name in names):
        raise UserError(
            f"{path}: found arrays of numpy, expected safetensors or weights of PyTorch; write "
            "them by safetensors.numpy.save_file"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it does not load is said here
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)
    except pickle.UnpicklingError as error:
        found = _global(str(error))
        raise UserError(
            f"{path}: a pickle with {found}, which could run code, is refused; {CONVERT}"
        ) from None
    except (*UNREADABLE, EOFError) as error:
        raise UserError(
            f"{path}: found neither safetensors nor weights of PyTorch: "
            f"{shortened(str(error) or type(error).__name__, 100)}"
        ) from None


def _members(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def _global(text: str) -> str:
    """What PyTorch did not load, from the text of its error."""
    for mark in ("Unsupported global: GLOBAL ", "Unsupported class "):
        if mark in text:
            return shortened(text.split(mark, 1)[1].split()[0])
    return "more than tensors"


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in what a file holds."""
    for name in CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: found {type(content).__name__}, expected a state dict of tensors")
    other = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if other or not content:
        found = f"also {listed(map(shortened, other[:3]))}" if other else "no tensors"
        raise UserError(
            f"{path}: found {found}, expected a state dict of tensors, or one under "
            f"{' or '.join(CONTAINERS)}"
        )
    return {str(name): value for name, value in content.items()}


def fitting(value: Tensor, where: str) -> Tensor:
    """A tensor in float32 where it is of floats. Raises UserError when it is not finite."""
    if not value.is_floating_point():
        return value
    if not torch.isfinite(value).all():
        raise UserError(f"{where} holds NaN or infinity, expected finite numbers")
    return value.float().contiguous()


def check_fit(expected: Shapes, found: Shapes, where: str) -> None:
    """Raises UserError with what is missing, left over or of another shape.

    Where a preset has these shapes, it is named.
    """
    try:
        check_shapes(expected, found, where)
    except UserError as error:
        if sum(math.prod(shape) for shape in found.values()) < SMALLEST:
            raise
        known = _preset_shapes()
        presets, wanted = (
            " or ".join(name for name, shapes in known.items() if shapes == each)
            for each in (found, expected)
        )
        if not presets:
            raise
        raise UserError(
            f"{where}: these are weights of {presets}{f', not of {wanted}' if wanted else ''}; "
            f"{str(error).removeprefix(f'{where}: ')}"
        ) from None


def _preset_shapes() -> dict[str, Shapes]:
    """Names and shapes of the released file of each preset of a published model."""
    from prologue_bench.config.presets import find_preset, preset_cards
    from prologue_bench.config.structure import structure
    from prologue_bench.registry import Registry
    from prologue_plugins.zoo.base import ZooTokenizer
    from prologue_plugins.zoo.generating import ZooGenerator

    registry, found = Registry.load(), {}
    for kind, name in preset_cards(registry):
        preset = find_preset(kind, name, registry)
        if preset is None or preset.release is None:
            continue
        component = registry.find(kind, preset.use)
        settings = structure(component.load_settings(), preset.settings, f"preset {name}")
        if issubclass(cls := component.load(), ZooTokenizer | ZooGenerator):
            found[name] = cls.shapes(settings)
    return found
