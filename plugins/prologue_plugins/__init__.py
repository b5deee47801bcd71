"""The tokenizers, generators, metrics, data sources and losses that ship here.

Each folder is a plugin.
"""
