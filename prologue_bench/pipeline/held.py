"""What stages hold in memory that put images through models: weights, and the state of a draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch

from prologue_bench.config.search import tried
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
    layout = generator.layout
    guided = any(is_guided(guidance_scales(layout, each)) for each in tried(sampling))
    searched = sampling.search if isinstance(stage, stages.SearchSampling) else None
    samples = searched.samples if searched else sampling.samples
    rows = (1 + guided) * min(sampling.batch_size, samples)
    if not torch.cuda.is_available():
        rows = min(rows, ROWS)
    name = ("state", identity(stage.generator.generator), layout)
    one, two = (
        int(workspace.once((*name, count), partial(state_bytes, generator, count)))
        for count in (1, 2)
    )
    return one + (rows - 1) * (two - one)


def state_bytes(generator: AutoregressiveGenerator[Any], rows: int) -> int:
    """Of the state for so many images when all is drawn, without the generator's own weights.

    A state that grows from step to step grows by as much with each token.
    """
    device = next(generator.parameters(), torch.empty(0)).device
    weights = _storages((*generator.parameters(), *generator.buffers()))
    steps = generator.steps
    with torch.no_grad(), device:
        state = generator.start(torch.zeros(rows, dtype=torch.int64))
        sizes = [_bytes_of(state, weights)]
        for chosen in (None, torch.zeros(rows, steps[0], dtype=torch.int64))[: len(steps)]:
            generator.decode_step(state, chosen)
            sizes.append(_bytes_of(state, weights))
    per_token = (sizes[-1] - sizes[1]) / steps[0]
    return max(sizes[0], round(sizes[1] + per_token * (sum(steps) - steps[-1])))


def _bytes_of(state: Any, apart_from: Mapping[int, int]) -> int:
    held = _storages(_tensors(state, set()))
    return sum(size for storage, size in held.items() if storage not in apart_from)


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
