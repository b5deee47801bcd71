"""Images against a reference, without an ablation: what `prologue-bench measure` does."""

from __future__ import annotations

from prologue_bench.measuring.measure import measure
from prologue_bench.measuring.result import ImageMeasurements

__all__ = ["ImageMeasurements", "measure"]
