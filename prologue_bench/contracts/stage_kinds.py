"""The kinds of stages, as keys of costs, results, manifests and commands name them; no torch."""

from __future__ import annotations

TRAIN_TOKENIZER = "train-tokenizer"
TRAIN_GENERATOR = "train-generator"
TAKE_PRIOR = "take-prior"
IMPORTED_TOKENIZER = "imported-tokenizer"
IMPORTED_GENERATOR = "imported-generator"
ENCODE = "encode"
RECONSTRUCT = "reconstruct"
SEARCH = "search"
SAMPLE = "sample"
MEASURE = "measure"
PICTURE_RECONSTRUCTIONS = "picture-reconstructions"
PICTURE_SAMPLES = "picture-samples"
PICTURE_TOKENS = "picture-tokens"
PICTURE_ATTENTION = "picture-attention"

TRAINED = (TRAIN_TOKENIZER, TRAIN_GENERATOR)
"""The stages that train, a tokenizer and a generator."""
IMPORTED = (IMPORTED_TOKENIZER, IMPORTED_GENERATOR)
"""Those that stand in their places for what was trained elsewhere."""
TOKENIZERS = (TRAIN_TOKENIZER, IMPORTED_TOKENIZER)
"""Those that leave a tokenizer."""
GENERATORS = (TRAIN_GENERATOR, TAKE_PRIOR, IMPORTED_GENERATOR)
"""Those that leave a generator."""
ALL = (
    TRAIN_TOKENIZER,
    ENCODE,
    RECONSTRUCT,
    TRAIN_GENERATOR,
    TAKE_PRIOR,
    SEARCH,
    SAMPLE,
    MEASURE,
    PICTURE_RECONSTRUCTIONS,
    PICTURE_SAMPLES,
    PICTURE_TOKENS,
    PICTURE_ATTENTION,
    *IMPORTED,
)
"""All of them, roughly as a run makes them."""
