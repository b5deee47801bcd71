"""A tensor of another implementation beside the one computed here."""

from __future__ import annotations

import math

import torch
from attrs import frozen
from torch import Tensor


@frozen
class Comparison:
    """One tensor: its largest absolute error, or for ids whether all are equal.

    Else `problem` says why there is neither.
    """

    name: str
    error: float | None = None
    equal: bool | None = None
    problem: str = ""

    def holds(self, tolerance: float) -> bool:
        """Whether the two tensors agree."""
        if self.error is not None:
            return self.error < tolerance
        return self.equal is True


def compare(name: str, expected: Tensor, found: Tensor | None) -> Comparison:
    """A golden tensor beside what was computed, None where that is nothing."""
    if found is None:
        return Comparison(name, problem="not known here")
    if found.shape != expected.shape:
        return Comparison(
            name, problem=f"shape {list(found.shape)}, expected {list(expected.shape)}"
        )
    if found.is_floating_point() != expected.is_floating_point():
        return Comparison(name, problem=f"type {found.dtype}, expected {expected.dtype}")
    if not expected.is_floating_point():
        return Comparison(name, equal=bool(torch.equal(found.long(), expected.long())))
    error = float((found.double() - expected.double()).abs().max()) if expected.numel() else 0.0
    return Comparison(name, error=math.inf if math.isnan(error) else error)
