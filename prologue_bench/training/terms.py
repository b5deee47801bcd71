"""Names of loss terms in logs and curves: no term of one source can replace one of another.

`loss_l1`, `loss_l2` and `loss_ce` are the framework's own. A tokenizer's are `loss_own/NAME`, those
of a loss of reconstructions `loss_LABEL/NAME`, where each loss has a label of its own. All of them
are added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from prologue_bench.contracts.tokenizer import TokenizerOutput
from prologue_bench.errors import StageError
from prologue_bench.guard import shown

L1, L2, CROSS_ENTROPY = "loss_l1", "loss_l2", "loss_ce"
TOKENIZER_CROSS_ENTROPY = "loss_ce/tokenizer"
"""What the tokenizer learns from, where targets weigh differently and it is a pass of its own."""
OWN = "own"
OBJECTIVE = f"loss_{OWN}/objective"
"""What a generator without a likelihood learns from."""
_RESERVED = {OWN, "ce"}


def labels(components: Iterable[str]) -> list[str]:
    """A label for each loss: its component's name, with a number behind it where that is taken."""
    taken = set(_RESERVED)
    found = []
    for component in components:
        label, number = component, 2
        while label in taken:
            label, number = f"{component}-{number}", number + 1
        taken.add(label)
        found.append(label)
    return found


def checked_output(found: object) -> TokenizerOutput:
    """What a tokenizer's `losses` gives. Raises StageError for something else."""
    if not isinstance(found, TokenizerOutput):
        raise StageError(f"tokenizer: `losses` gives {shown(found)}, expected a TokenizerOutput")
    return found


def named(label: str, terms: Mapping[str, Any]) -> dict[str, Tensor]:
    """The terms of one source under their names.

    Raises StageError where they are no mapping, and for one that is no scalar tensor.
    """
    if not isinstance(terms, Mapping):
        raise StageError(
            f"loss {label}: found {shown(terms)}, expected a mapping of names to scalar tensors"
        )
    for name, value in terms.items():
        if problem := problem_of(name, value):
            raise StageError(f"loss {label}: {problem}")
    return {f"loss_{label}/{name}": value for name, value in terms.items()}


def problem_of(name: object, value: object) -> str | None:
    """What is wrong with a loss term, None where nothing is."""
    if not isinstance(name, str) or not name:
        return f"found a term named {name!r}, expected a text"
    if not isinstance(value, Tensor):
        return f"term {name!r} is {value!r} ({type(value).__name__}), expected a scalar tensor"
    if value.ndim:
        return f"term {name!r} has shape {tuple(value.shape)}, expected a scalar tensor"
    return None
