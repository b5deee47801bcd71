"""The decoding loop: one step after the other, each from its own segment's vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor

from prologue_bench import seeds
from prologue_bench.config.settings import ALL_TOKENS, Sampling
from prologue_bench.contracts.generator import (
    FREE,
    AutoregressiveGenerator,
    Drawing,
    Generator,
    ParallelGenerator,
    State,
)
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.segments import Segment
from prologue_bench.errors import StageError
from prologue_bench.guard import of_component, shown


@torch.inference_mode()
def sample_ids(
    generator: AutoregressiveGenerator[Any],
    labels: Tensor,
    sampling: Sampling,
    rng: torch.Generator,
    none_label: int,
    fixed: Tensor | None = None,
) -> Tensor:
    """Draw ids [B, L] for labels [B], as `ids_of_noise` does from noise of `rng`."""
    shape = (len(labels), generator.layout.length)
    noise = torch.rand(shape, generator=rng, device=rng.device, dtype=torch.float64)
    return ids_of_noise(generator, labels, sampling, noise.to(labels.device), none_label, fixed)


ROWS = 512
"""Sequences that are drawn at once on a CPU, both of guidance counted.

The keys and values of more stay in no processor's caches; of fewer, the single operations become so
small that what is around them takes longer.
"""


@torch.inference_mode()
def ids_of_noise(
    generator: AutoregressiveGenerator[Any],
    labels: Tensor,
    sampling: Sampling,
    noise: Tensor,
    none_label: int,
    fixed: Tensor | None = None,
) -> Tensor:
    """Ids [B, L] for labels [B], each token chosen by its own number of the uniform noise [B, L].

    Logits are guided, divided by the segment's temperature, cut to the `top_k` likeliest and then
    to `top_p`; only ids of the segment at hand have any. `fixed` [B, n] has ids that are given for
    the first n tokens, and FREE where one is drawn all the same. A token is drawn given all tokens
    before it, drawn or fixed; what is fixed behind it has no influence. Steps before the first
    drawn token are read at once, and a step that is fixed in part is drawn around what is fixed.
    Conditional and unconditional logits come from one pass over a batch of 2 B. On a CPU, the
    images are drawn in equal parts of at most `ROWS`.
    """
    ids = labels.new_full((len(labels), generator.layout.length), FREE)
    if fixed is not None:
        ids[:, : fixed.shape[1]] = fixed
    steps = _planned_steps(generator, sampling, None if fixed is None else ids, labels.device)
    parts = 1
    if labels.device.type == "cpu":
        guided = any(step.guided for step in steps)
        parts = max(1, -(-len(labels) * (1 + guided) // ROWS))
    state = None
    for part in zip(*(each.tensor_split(parts) for each in (labels, noise, ids)), strict=True):
        state = _draw_part(generator, state, sampling, none_label, steps, *part)
    return ids


@frozen
class _Step:
    """One step of drawing, with what is the same for all images."""

    segment: Segment
    span: slice
    """Where its tokens stand among the L."""
    read: slice
    """The tokens before it that no step has seen."""
    fixed: Literal["none", "some", "all"]
    """How many of its tokens are given."""
    guided: bool
    """Whether the unconditional logits are computed, in this step and all others."""
    factors: tuple[Tensor, Tensor] | None
    """What conditional and unconditional logits [B, n, K] are multiplied by, [n, 1] each."""
    temperature: float
    """What logits are divided by without guidance."""


def _planned_steps(
    generator: AutoregressiveGenerator[Any],
    sampling: Sampling,
    fixed: Tensor | None,
    device: torch.device,
) -> list[_Step]:
    """The steps from the first to the last that draws, for ids [B, L], FREE where that is done."""
    scales = guidance_scales(generator.layout, sampling)
    drawn = whole = [True] * len(scales)
    if fixed is not None:
        free = fixed == FREE
        drawn, whole = free.any(dim=0).tolist(), free.all(dim=0).tolist()
    guided = is_guided([scale for scale, is_drawn in zip(scales, drawn, strict=True) if is_drawn])
    planned: list[_Step] = []
    last = max((place for place, is_drawn in enumerate(drawn) if is_drawn), default=-1)
    for segment, span in step_spans(generator):
        draws = any(drawn[span])
        if span.start > last or not (planned or draws):
            continue
        temperature, factors = sampling.temperature_of(segment.name), None
        if guided:
            own = torch.tensor(scales[span], dtype=torch.float64)[:, None]
            conditional, unconditional = (
                (each / temperature).float().to(device) for each in (own, 1 - own)
            )
            factors = conditional, unconditional
        read = slice(planned[-1].span.start if planned else 0, span.start)
        given: Literal["none", "some", "all"] = "none" if all(whole[span]) else "some"
        planned.append(
            _Step(segment, span, read, given if draws else "all", guided, factors, temperature)
        )
    return planned


def _draw_part(
    generator: AutoregressiveGenerator[State],
    before: State | None,
    sampling: Sampling,
    none_label: int,
    steps: Sequence[_Step],
    labels: Tensor,
    noise: Tensor,
    ids: Tensor,
) -> State:
    """Put an id wherever the ids [B, L] of labels [B] are FREE.

    The state of the part before is used up, and that of this part given back.
    """
    guided = any(step.guided for step in steps)
    if guided:
        labels = torch.cat((labels, torch.full_like(labels, none_label)))
    state = generator.start(labels) if before is None else generator.restart(before, labels)
    for step in steps:
        read = ids[:, step.read] if step.span.start else None
        if guided and read is not None:
            read = torch.cat((read, read))
        logits = generator.decode_step(state, read)
        count = step.span.stop - step.span.start
        _check_logits(logits, (len(labels), count, step.segment))
        if step.fixed == "all":
            continue
        if step.factors is not None:
            conditional, unconditional = logits.chunk(2)
            logits = torch.addcmul(unconditional * step.factors[1], conditional, step.factors[0])
        elif step.temperature != 1:
            logits = logits / step.temperature
        logits = restrict(logits.flatten(0, 1), sampling.top_k, sampling.top_p)
        probabilities = logits.softmax(dim=-1, dtype=torch.float32)
        chosen = choose(probabilities, noise[:, step.span].reshape(-1, 1)).view(len(ids), -1)
        if step.fixed == "some":
            there = ids[:, step.span]
            chosen = torch.where(there == FREE, chosen, there)
        ids[:, step.span] = chosen
    return state


def step_spans(generator: AutoregressiveGenerator[Any]) -> list[tuple[Segment, slice]]:
    """The segment of each of the generator's steps, and where its tokens stand among the L."""
    segments = [segment for segment in generator.layout for _ in range(segment.length)]
    stops = np.cumsum(generator.steps).tolist()
    return [
        (segments[start], slice(start, stop))
        for start, stop in zip([0, *stops], stops, strict=False)
    ]


def _check_logits(logits: object, expected: tuple[int, int, Segment]) -> None:
    """Raises StageError for what is no logits [B, n, K] of a step."""
    images, tokens, segment = expected
    shape = (images, tokens, segment.vocabulary)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != shape:
        found = list(logits.shape) if isinstance(logits, Tensor) else shown(logits)
        raise StageError(
            f"`decode_step` gave {found}, expected logits {list(shape)} of {tokens} tokens of "
            f"segment {segment.name!r}"
        )


def choose(probabilities: Tensor, noise: Tensor) -> Tensor:
    """Ids [B, 1] by the inverse of the cumulative distribution.

    Of probabilities [B, K] and noise in [0, 1) [B, 1]. One uniform number per token, whatever the
    vocabulary, is what variants can share. Ids with probability zero are never chosen.
    """
    cumulative = probabilities.cumsum(dim=-1, dtype=torch.float64)
    total = cumulative[:, -1:].contiguous()
    # The product may be rounded up to the total, beyond the last id that has any probability.
    target = torch.minimum(noise * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulative, target, right=True)


def image_noise(layout: TokenLayout, images: range, *names: seeds.Name) -> Tensor:
    """Uniform noise [B, L], float64 for images by number, from streams of (*names, segment, image).

    So an image has the same noise in every batch, and its tokens at the same place of a segment of
    the same name have the same in every variant.
    """
    rows = [
        np.concatenate(
            [seeds.uniform(segment.length, *names, segment.name, image) for segment in layout]
        )
        for image in images
    ]
    return torch.from_numpy(np.array(rows).reshape(len(images), layout.length))


def is_guided(scales: Sequence[float]) -> bool:
    """Whether any token with these guidance scales needs the unconditional logits too."""
    return any(scale != 1 for scale in scales)


def guidance_scales(layout: TokenLayout, sampling: Sampling) -> list[float]:
    """The guidance scale of each of the L tokens.

    Progress is the index in the segment over its length, or the step over all steps, and a
    separator counts as the first index of the segment that it opens.
    """
    scales, step = [], 0
    separators = (len(layout.segments) - 1) if layout.separator else 0
    for number, segment in enumerate(layout):
        opening = int(layout.separator and number > 0)
        step += opening
        for index in range(segment.length):
            if ALL_TOKENS in sampling.guidance:
                scale = sampling.guidance[ALL_TOKENS].at(step / (layout.length + separators))
            else:
                scale = sampling.guidance_of(segment.name).at(
                    (index + opening) / (segment.length + opening)
                )
            scales.append(scale)
            step += 1
    return scales


def restrict(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Logits [B, K] with all but the k likeliest at -inf.

    Of those, all but the likeliest that hold `top_p` are too. The likeliest token always stays. 0
    and 1.0 switch the two off.
    """
    if 0 < top_k < logits.shape[-1]:
        kth = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < kth, float("-inf"))
    if top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        probabilities = ordered.softmax(dim=-1, dtype=torch.float32)
        before = probabilities.cumsum(dim=-1) - probabilities
        logits = logits.masked_fill(
            (before >= top_p).scatter(-1, order, before >= top_p), float("-inf")
        )
    return logits


def draw_ids(
    generator: Generator,
    sampling: Sampling,
    none_label: int,
    labels: Tensor,
    fixed: Tensor | None,
    *names: seeds.Name,
    first: int = 0,
) -> Tensor:
    """Ids [B, L] for labels [B] of images `first`, `first` + 1 ..., tensors being on any device.

    `fixed` [B, n] has ids that are given for the first n tokens, FREE where one is drawn.
    `names` say what is drawn for, such as ("samples", sampling seed): the noise is that of
    `image_noise`, or of streams of (*names, purpose, image) for a generator that draws in a way of
    its own. Raises StageError for ids that are none.
    """
    device = next(generator.parameters()).device
    labels, images = labels.to(device), range(first, first + len(labels))
    fixed = None if fixed is None else fixed.to(device)
    if isinstance(generator, AutoregressiveGenerator):
        noise = image_noise(generator.layout, images, *names).to(device)
        return ids_of_noise(generator, labels, sampling, noise, none_label, fixed)
    if isinstance(generator, ParallelGenerator):
        return _drawn_in_parallel(generator, labels, sampling, none_label, fixed, images, names)
    raise StageError(f"found a {type(generator).__name__}, expected a generator that can be drawn")


@torch.inference_mode()
def _drawn_in_parallel(
    generator: ParallelGenerator,
    labels: Tensor,
    sampling: Sampling,
    none_label: int,
    fixed: Tensor | None,
    images: range,
    names: tuple[seeds.Name, ...],
) -> Tensor:
    def noise(purpose: str, count: int) -> Tensor:
        rows = [seeds.uniform(count, *names, purpose, image) for image in images]
        return torch.from_numpy(np.array(rows).reshape(len(images), count)).to(labels.device)

    layout = generator.layout
    if fixed is not None:
        fixed = F.pad(fixed, (0, layout.length - fixed.shape[1]), value=FREE)
    ids = generator.draw(
        Drawing(
            labels=labels,
            none_label=none_label,
            prefix=None if fixed is None else _prefix(fixed),
            fixed=fixed,
            temperatures={name: sampling.temperature_of(name) for name in layout.names},
            guidance=tuple(guidance_scales(layout, sampling)),
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            noise=noise,
        )
    )
    if isinstance(ids, Tensor) and ids.is_meta:  # only counted
        return ids
    with of_component("`draw`", StageError):
        layout.check(ids, len(labels))
        wrong = [] if fixed is None else ((fixed != FREE) & (ids != fixed)).any(dim=0).tolist()
        if any(wrong):
            raise ValueError(
                f"found another id for token {wrong.index(True)}, counted from 0, expected that of "
                "`fixed` in its Drawing"
            )
    return ids


def _prefix(fixed: Tensor) -> Tensor | None:
    """The first ids [B, n] of fixed ids [B, L]; None where not just these are fixed."""
    given = fixed != FREE
    length = int(given.all(dim=0).sum())
    is_prefix = bool(given[:, :length].all()) and not bool(given[:, length:].any())
    return fixed[:, :length] if is_prefix else None
