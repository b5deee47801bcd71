"""What stages hold in memory that put images through models: weights, and the state of a draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch

from prologue_bench.contracts.generator import AutoregressiveGenerator
from prologue_bench.guard import pass_interrupt
from prologue_bench.pipeline import stages
from prologue_bench.pipeline.flops import generator_to_look_at
from prologue_bench.pipeline.workspace import Workspace, identity
from prologue_bench.sampling.decoding import ROWS, guidance_scales, is_guided


def held_by_a_draw(stage: stages.SampleImages | stages.SearchSampling, workspace: Workspace) -> int:
    """Bytes of the state with which the stage's generator begins a draw, keys and values above all.

    0 for generators that draw in a way of their own, and where it cannot be told beforehand.
    """
    try:
        return _held(stage, workspace)
    except BaseException as error:  # a plugin's model may raise anything here, and still run later
        pass_interrupt(error)
        return 0


def _held(stage: stages.SampleImages | stages.SearchSampling, workspace: Workspace) -> int:
    sampling = stage.sampling
    generator = generator_to_look_at(stage.generator, workspace)
    if not isinstance(generator, AutoregressiveGenerator):
        return 0
    passes = 2 if is_guided(guidance_scales(generator.layout, sampling)) else 1
    rows = passes * min(sampling.batch_size, sampling.samples)
    if not torch.cuda.is_available():
        rows = min(rows, ROWS)
    name = ("state", identity(stage.generator.generator), generator.layout)
    one, two = (
        int(workspace.once((*name, count), partial(_state_bytes, generator, count)))
        for count in (1, 2)
    )
    return one + (rows - 1) * (two - one)


def _state_bytes(generator: AutoregressiveGenerator[Any], rows: int) -> int:
    """Of the state for so many images, without the generator's own weights."""
    device = next(generator.parameters(), torch.empty(0)).device
    with torch.no_grad(), device:
        state = generator.start(torch.zeros(rows, dtype=torch.int64))
    held = _storages(_tensors(state, set()))
    for own in _storages((*generator.parameters(), *generator.buffers())):
        held.pop(own, None)
    return sum(held.values())


def _tensors(within: Any, seen: set[int]) -> Iterator[torch.Tensor]:
    """All tensors that something holds, in its attributes and in what these hold."""
    if id(within) in seen:
        return
    seen.add(id(within))
    if isinstance(within, torch.Tensor):
        yield within
    elif isinstance(within, Mapping):
        for each in within.values():
            yield from _tensors(each, seen)
    elif isinstance(within, list | tuple | set):
        for each in within:
            yield from _tensors(each, seen)
    else:
        slots = [name for cls in type(within).__mro__ for name in getattr(cls, "__slots__", ())]
        for name in (*getattr(within, "__dict__", ()), *slots):
            yield from _tensors(getattr(within, name, None), seen)


def _storages(tensors: Iterable[torch.Tensor]) -> dict[int, int]:
    """Bytes by storage: views of a tensor share its own."""
    found = [each.untyped_storage() for each in tensors]
    return {each._cdata: each.nbytes() for each in found}
