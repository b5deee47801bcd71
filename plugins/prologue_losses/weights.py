"""Weights of torchvision's classifiers: a path, torch's cache, or a download."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.files import fetch_problem


def load_classifier(build: Any, weights: Any, path: str, owner: str) -> nn.Module:
    """A torchvision classifier with weights, frozen and in evaluation mode.

    Raises UserError, in the name of the owner such as "loss 'lpips'", that says where to put the weights when they
    can neither be found nor fetched.
    """
    file = _file(weights, path, owner)
    if file.is_file():
        return _load(build, weights, file, owner, "cpu").eval().requires_grad_(False)
    try:
        torch.hub.load_state_dict_from_url(weights.url, map_location="cpu", progress=False, weights_only=True)
    except OSError as error:
        raise _missing(weights, file, owner, str(error)) from None
    return _load(build, weights, file, owner, "cpu").eval().requires_grad_(False)


def check_classifier(build: Any, weights: Any, path: str, owner: str) -> None:
    """Raises UserError where `load_classifier` would; nothing is loaded or fetched."""
    file = _file(weights, path, owner)
    if file.is_file():
        _load(build, weights, file, owner, "meta")
    elif problem := fetch_problem(weights.url):
        raise _missing(weights, file, owner, problem)


def _file(weights: Any, path: str, owner: str) -> Path:
    """Where the weights are, or belong. Raises UserError when a file that was named is not there."""
    name = Path(weights.url).name
    file = Path(path).expanduser() if path else Path(torch.hub.get_dir()) / "checkpoints" / name
    if path and not file.is_file():
        raise UserError(f"{owner}: weights: found no file {file}, expected torchvision's {name}")
    return file


def _load(build: Any, weights: Any, file: Path, owner: str, device: str) -> nn.Module:
    try:
        with torch.device(device):
            model: nn.Module = build(weights=None)
        model.load_state_dict(torch.load(file, map_location=device, weights_only=True))
    except (RuntimeError, TypeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise UserError(
            f"{owner}: {file} does not hold torchvision's {Path(weights.url).name}: {str(error).splitlines()[0]}"
        ) from None
    return model


def _missing(weights: Any, file: Path, owner: str, problem: str) -> MissingDataError:
    return MissingDataError(
        f"{owner}: its weights {file.name} are not at {file} and cannot be fetched ({problem}); "
        f"put {weights.url} there, or name the file in its setting 'weights'"
    )
