"""Components leave their inputs as they were: what follows them computes from the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from prologue_bench.errors import StageError


@contextmanager
def left_alone(of: nn.Module, what: str, **inputs: Tensor) -> Iterator[None]:
    """Raises StageError where the component changes any of these inputs in place.

    Tensors count such changes, so that nothing is copied or compared; those of inference mode do
    not, but no training can write to them.
    """
    before = {name: tensor._version for name, tensor in inputs.items() if not tensor.is_inference()}
    yield
    changed = [name for name, version in before.items() if inputs[name]._version != version]
    if changed:
        raise StageError(
            f"{type(of).__name__}: {what} changes its {' and '.join(changed)} in place, expected "
            f"them as they were; work on a copy, such as {changed[0]}.clone()"
        )
