"""Images against a reference, and tokenizers on a data set, without an ablation.

`measure` is what `prologue-bench measure` does; `evaluate` takes two functions or a Tokenizer.
"""

from __future__ import annotations

from prologue_bench.measuring.evaluate import evaluate
from prologue_bench.measuring.measure import measure
from prologue_bench.measuring.result import ImageMeasurements

__all__ = ["ImageMeasurements", "evaluate", "measure"]
