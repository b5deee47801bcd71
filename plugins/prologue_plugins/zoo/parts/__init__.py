"""Layers that several published tokenizers share, each written once."""
