"""What stages hold in memory that put images through models: weights, and the state of a draw."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prologue_bench.contracts.generator import AutoregressiveGenerator
from prologue_bench.pipeline import stages
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.sampling.decoding import ROWS, guidance_scales, is_guided


def held_by_a_draw(stage: stages.SampleImages | stages.SearchSampling, workspace: Workspace) -> int:
    """Bytes of the state with which the stage's generator begins a draw, keys and values above all.

    0 for generators that draw in a way of their own.
    """
    tokenizer, sampling = stage.generator.tokens.tokenizer, stage.sampling
    layout = workspace.layout_of(tokenizer)
    labels = workspace.data_of(tokenizer).spec.labels
    generator = workspace.generator_on_meta(stage.generator.generator, layout, labels)
    if not isinstance(generator, AutoregressiveGenerator):
        return 0
    passes = 2 if is_guided(guidance_scales(layout, sampling)) else 1
    rows = passes * min(sampling.batch_size, sampling.samples)
    if not torch.cuda.is_available():
        rows = min(rows, ROWS)
    with torch.no_grad(), torch.device("meta"), _Made() as made:
        state = generator.start(torch.zeros(rows, dtype=torch.int64))
        held = _storages(made.alive())
    del state
    for own in _storages(generator.state_dict().values()):
        held.pop(own, None)
    return sum(held.values())


class _Made(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps in mind which tensors were made, without keeping them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._made: list[weakref.ref[torch.Tensor]] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        made = function(*arguments, **(options or {}))
        self._made += [weakref.ref(each) for each in tree_leaves(made) if torch.is_tensor(each)]
        return made

    def alive(self) -> list[torch.Tensor]:
        return [each for each in (made() for made in self._made) if each is not None]


def _storages(tensors: Iterable[torch.Tensor]) -> dict[int, int]:
    """Bytes by storage: views of a tensor share its own."""
    found = [each.untyped_storage() for each in tensors]
    return {each._cdata: each.nbytes() for each in found}
