"""Modules in evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Without gradients, and with modules in evaluation mode; afterwards all is as before."""
    before = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in before:
            part.training = training
