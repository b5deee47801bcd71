"""Weights of torchvision's classifiers: a path, torch's cache, or a download."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prologue_bench.contracts import PublishedFile
from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.storage.files import fetch_problem


def load_classifier(
    build: Any, weights: Any, file: PublishedFile, named: str, owner: str
) -> nn.Module:
    """A torchvision classifier with weights, frozen and in evaluation mode.

    Raises UserError, in the name of the owner such as "loss 'lpips'", that says where to put the
    weights when they can neither be found nor fetched.
    """
    path = _path(file, named, owner)
    if not path.is_file():
        try:
            file.fetch(weights.url, named)
        except OSError as error:
            raise _missing(weights, path, owner, str(error)) from None
        except RuntimeError as error:  # another content was sent, and is not kept
            raise UserError(
                f"{owner}: {weights.url} did not send {file.name}: {str(error).splitlines()[0]}"
            ) from None
    return _load(build, file, path, owner, "cpu").eval().requires_grad_(False)


def check_classifier(build: Any, weights: Any, file: PublishedFile, named: str, owner: str) -> None:
    """Raises UserError where `load_classifier` would; nothing is loaded or fetched."""
    path = _path(file, named, owner)
    if path.is_file():
        _load(build, file, path, owner, "meta")
    elif problem := fetch_problem(weights.url):
        raise _missing(weights, path, owner, problem)


def _path(file: PublishedFile, named: str, owner: str) -> Path:
    """Where the weights are, or belong.

    Raises UserError when a file that was named is not there.
    """
    try:
        return file.path(named)
    except UserError as error:
        raise UserError(f"{owner}: {error}") from None


def _load(build: Any, file: PublishedFile, path: Path, owner: str, device: str) -> nn.Module:
    try:
        with torch.device(device):
            model: nn.Module = build(weights=None)
        model.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    except (RuntimeError, TypeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise UserError(
            f"{owner}: {path} does not hold torchvision's {file.name}: {str(error).splitlines()[0]}"
        ) from None
    return model


def _missing(weights: Any, path: Path, owner: str, problem: str) -> MissingDataError:
    return MissingDataError(
        f"{owner}: its weights {path.name} are not at {path} and cannot be fetched ({problem}); "
        f"put {weights.url} there, or name the file in its setting 'weights'"
    )
