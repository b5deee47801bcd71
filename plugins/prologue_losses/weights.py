"""Weights of torchvision's classifiers: a path, torch's cache, or a download."""

from __future__ import annotations

import pickle
import urllib.error
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prologue_bench.errors import UserError


def load_classifier(build: Any, weights: Any, path: str, owner: str) -> nn.Module:
    """A torchvision classifier with weights, frozen and in evaluation mode.

    Raises UserError, in the name of the owner such as "loss 'lpips'", that says where to put the weights when they
    can neither be found nor fetched.
    """
    name = Path(weights.url).name
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    file = Path(path).expanduser() if path else cached
    if path and not file.is_file():
        raise UserError(f"{owner}: weights: found no file {file}, expected torchvision's {name}")
    try:
        state = (
            torch.load(file, map_location="cpu", weights_only=True)
            if file.is_file()
            else torch.hub.load_state_dict_from_url(weights.url, map_location="cpu", progress=False, weights_only=True)
        )
        model: nn.Module = build(weights=None)
        model.load_state_dict(state)
    except (urllib.error.URLError, OSError) as error:
        raise UserError(
            f"{owner}: its weights {name} are not at {cached} and cannot be fetched ({error}); "
            f"put {weights.url} there, or name the file in its setting 'weights'"
        ) from None
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise UserError(f"{owner}: {file} does not hold torchvision's {name}: {str(error).splitlines()[0]}") from None
    return model.eval().requires_grad_(False)
