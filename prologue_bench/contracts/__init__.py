"""What plugins implement and exchange with the framework. Start here to write one.

Letters used throughout: B batch, L tokens of an image, K vocabulary of a segment. Images are
float32 in [-1, 1], [B, C, H, W]; ids are int64, each inside the vocabulary of its own segment;
labels are int64, and the last label, `ImageSpec.none_label`, stands for "no class".

All of it can be imported from here: `from prologue_bench.contracts import Tokenizer`. A module is
loaded when one of its names is used, so that what only describes components imports no torch.
"""

from typing import Any

import lazy_loader

_attached, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
RENAMED = {
    "Protocol": "it is Procedure now",
    "DecodingState": "the state of an AutoregressiveGenerator[State] may be any class",
}
"""Names of earlier interfaces, and what stands for them."""


def __getattr__(name: str) -> Any:
    if name in RENAMED:
        raise ImportError(
            f"there is no {name} in {__name__}: {RENAMED[name]}; see 'Interface 2' in "
            "docs/plugins.md"
        )
    return _attached(name)
