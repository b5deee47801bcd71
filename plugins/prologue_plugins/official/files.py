"""Reading safetensors files, and nothing else: a pickle is refused before any of it is loaded."""

from __future__ import annotations

from prologue_bench.storage.weights import PICKLES, read_shapes, read_tensors

__all__ = ["PICKLES", "read_shapes", "read_tensors"]
