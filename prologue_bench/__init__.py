"""prologue-bench: a benchmark for image tokenizers and autoregressive generators built on them."""

__version__ = "0.1.0"
