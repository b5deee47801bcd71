"""Whether saved weights give the model that was trained.

Weights are parameters and persistent buffers. What else a component changes while it is trained, in
a buffer with persistent=False or in an attribute, is lost where they are loaded into a new
instance, and all numbers would be those of another model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from prologue_bench import seeds
from prologue_bench.errors import StageError
from prologue_bench.guard import short
from prologue_bench.storage.giving import giving_weights
from prologue_bench.training.modes import evaluating

M = TypeVar("M", bound=nn.Module)
Answers = Mapping[str, Tensor]
"""What a model gives of a few inputs, by what messages call it."""
FLIPPED, NOISE = 0.02, 1e-4
"""The share of ids, and of the largest value, in which two equal models may differ: devices may
take other kernels for other places in memory, and a training of days must not end by that."""


def check_restored(
    trained: M,
    build: Callable[[], M],
    answers: Callable[[M], Answers],
    who: str,
    precision: AbstractContextManager[None] | None = None,
) -> None:
    """Raises StageError where a new instance with the trained weights gives other answers.

    Nothing is said of a model that gives other answers the second time, or none: what reads the
    weights next says what is wrong. Random streams are afterwards as they were.
    """
    with seeds.seeded("saved weights"), precision or nullcontext():
        try:
            with evaluating([trained]):
                found, again = answers(trained), answers(trained)
            if differing(found, again):
                return
            with giving_weights():
                fresh = build()
            _load(fresh, trained.state_dict(), who)
            fresh.to(next(iter(found.values())).device)
            with evaluating([fresh]):
                restored = answers(fresh)
        except StageError:
            raise
        except Exception:  # such as no memory for two; the weights are kept for who mends the rest
            return
    if problem := lost(trained, fresh, found, restored):
        raise StageError(f"{who}: {problem}")


def _load(fresh: nn.Module, state: Mapping[str, Tensor], who: str) -> None:
    try:
        fresh.load_state_dict(state)
    except RuntimeError as error:
        told = short(" ".join(str(error).split()))
        raise StageError(
            f"{who}: its trained weights do not fit a new instance ({told}); keep the names and "
            "the shapes that the constructor makes"
        ) from None


def lost(trained: nn.Module, fresh: nn.Module, found: Answers, restored: Answers) -> str:
    """What is lost where weights are loaded into a new instance; empty where nothing is."""
    wrong = differing(found, restored)
    if not wrong:
        return ""
    named = short(", ".join(unsaved(trained, fresh)))
    return (
        f"its saved weights are not all that training changed: loaded into a new instance, they "
        f"give other {wrong}{f'; {named} differs' if named else ''}; keep it in a parameter, or by "
        "register_buffer(name, tensor), not with persistent=False and in no attribute"
    )


def differing(found: Answers, other: Answers) -> str:
    """The first answer that differs by more than noise; empty where none does."""
    for name, values in found.items():
        others = other[name]
        if values.shape != others.shape:
            return name
        if not values.is_floating_point():
            if float((values != others).float().mean()) > FLIPPED:
                return name
            continue
        allowed = NOISE * float(values.abs().max()) if values.numel() else 0.0
        if not torch.allclose(values, others, rtol=0.0, atol=allowed, equal_nan=True):
            return name
    return ""


def unsaved(trained: nn.Module, fresh: nn.Module) -> Iterator[str]:
    """Names of buffers and attributes that differ though the weights are the same, three at most.

    Only plain numbers and tensors are looked at.
    """
    left = 3
    others = dict(fresh.named_modules())
    for path, module in trained.named_modules():
        if (other := others.get(path)) is None:
            continue
        kept = {name for name in module._buffers if name not in module._non_persistent_buffers_set}
        own = {**vars(module), **module._buffers}
        for name, value in own.items():
            if name in kept or name == "training" or name.startswith("__"):
                continue
            if left and not _same(value, getattr(other, name, None)):
                left -= 1
                yield f"{path}.{name}" if path else name


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, Tensor) and isinstance(other, Tensor):
        return value.shape == other.shape and torch.equal(value, other.to(value.device))
    return (
        not isinstance(value, bool | int | float | Tensor)
        or bool(value is other)
        or (
            not isinstance(value, Tensor) and not isinstance(other, Tensor) and bool(value == other)
        )
    )
