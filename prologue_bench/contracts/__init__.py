"""What plugins implement and exchange with the framework. Start here to write one.

Letters used throughout: B batch, L tokens of an image, K vocabulary of a segment. Images are
float32 in [-1, 1], [B, C, H, W]; ids are int64, each inside the vocabulary of its own segment;
labels are int64, and the last label, `ImageSpec.none_label`, stands for "no class".

All of it can be imported from here: `from prologue_bench.contracts import Tokenizer`. A module is
loaded when one of its names is used, so that what only describes components imports no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
