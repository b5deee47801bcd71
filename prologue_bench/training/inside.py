"""What is seen inside a tokenizer's training: codes, latents, predictions, gradients, jumps of L1.

Nothing of it changes the training: it is looked at between steps, in evaluation and without
gradients, and what components draw there comes before the next step's seeds.

Letters: N images, L tokens, T predicted positions, n positions of a segment, c channels of a
latent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from attrs import define, frozen
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench.contracts.checked import check_inspected_prior, check_inspected_tokens
from prologue_bench.contracts.generator import InspectedPrior
from prologue_bench.contracts.images import ImageArray, to_float
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.segments import Segment
from prologue_bench.results import inside
from prologue_bench.stats import codes
from prologue_bench.stats.jumps import Jumps
from prologue_bench.training import terms
from prologue_bench.training.context import INFERENCE_BATCH, StageContext
from prologue_bench.training.engine import OptimWrapperDict, Runner
from prologue_bench.training.hooks import PointsHook
from prologue_bench.training.models import TokenizerModel
from prologue_bench.training.modes import evaluating

IMAGES = 1000
"""Test images that are looked at, the same ones every time."""
MOST_POINTS = 200
"""Of a training at most, the last step aside."""
PREDICTED = 250
"""Of them at least, evenly spread, go through the prior, which takes longer than the encoder."""
LOOKED_AT = 1 / 8
"""Images looked at for each one trained on, at most. A step takes an image several times as long as
a look does, so that looking takes a few percent of the time; benchmarks/inside_cost.py measures it.
"""
DIGITS = 5

Figures = dict[str, Any]
"""By name; a number, or a list with one for each position."""


@frozen(kw_only=True)
class LookedAt:
    """The images that a training looks at, uint8 [N, C, H, W], and their labels [N]."""

    images: ImageArray
    labels: NDArray[np.int64]


@frozen
class Timetable:
    """At which steps there are points, and at which of them the images are looked at.

    There is a point every `asked` steps, fewer where there would be more than MOST_POINTS. The
    images are looked at at every so many of the points that LOOKED_AT holds. The last step has all.
    """

    asked: int
    steps: int
    batch_size: int
    images: int

    @property
    def interval(self) -> int:
        """Steps from one point to the next."""
        return max(self.asked, -(-self.steps // MOST_POINTS))

    @property
    def look_interval(self) -> int:
        """Steps from one look at the images to the next."""
        trained_on = LOOKED_AT * self.interval * self.batch_size
        return self.interval * max(1, math.ceil(self.images / trained_on))

    def has_point(self, step: int) -> bool:
        """Whether a step, from 1 on, has a point."""
        return step % self.interval == 0 or step == self.steps

    def has_look(self, step: int) -> bool:
        """Whether a step, from 1 on, has a look at the images."""
        return bool(self.images) and (step % self.look_interval == 0 or step == self.steps)


class InsideHook(PointsHook):
    """Appends what is seen inside to a file of JSON lines, {"step", figures...}.

    Figures that need the images stand in those lines alone in which they were looked at. In a
    training of several processes the leader alone has this hook.
    """

    saved_as = "inside"

    def __init__(
        self, path: Path, model: TokenizerModel, looked_at: LookedAt, context: StageContext
    ) -> None:
        super().__init__(path)
        training = model.training_settings
        self.model, self.looked_at, self.context = model, looked_at, context
        self.timetable = Timetable(
            training.inspect_steps, training.steps, training.batch_size, len(looked_at.labels)
        )
        self.jumps = Jumps()
        self.jump_steps: list[int] = []
        """Since the last point."""
        self.gradients: Figures = {}

    def state(self) -> dict[str, Any]:
        return {"jumps": attrs.asdict(self.jumps), "jump_steps": self.jump_steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.jumps = Jumps(**state.get("jumps", {}))
        self.jump_steps = list(state.get("jump_steps", ()))
        for point in self.points:
            self._show(point)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self.timetable.has_point(runner.iter + 1):
            wrapper = runner.optim_wrapper
            if isinstance(wrapper, OptimWrapperDict):  # which have one backward pass
                wrapper = next(iter(wrapper.optim_wrappers.values()))
            wrapper.before_step = self._read_gradients

    def _read_gradients(self) -> None:
        self.gradients = gradient_norms(self.model)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        step = runner.iter + 1
        has_l1 = terms.L1 in outputs
        if has_l1 and self.jumps.add(
            outputs[terms.L1].item() / self.model.training_settings.l1_weight
        ):
            self.jump_steps.append(step)
        if not self.timetable.has_point(step):
            return
        point: Figures = {"step": step}
        if has_l1:
            point |= {inside.JUMPS: self.jumps.count, "jump_steps": self.jump_steps}
        point |= self.gradients
        if self.timetable.has_look(step):
            point |= figures_of_images(self.model, self.looked_at)
        self.jump_steps, self.gradients = [], {}
        self.add(runner, rounded(point))
        self._show(point)

    def _show(self, point: Figures) -> None:
        """Show two figures beside the losses: the bits of what the prior teaches, and codes."""
        layout = self.model.tokenizer.layout
        taught = next((name for name in layout.names if inside.of(inside.BITS, name) in point), "")
        names = {inside.of(inside.CODES, layout.names[-1]): f"{layout.names[-1]} codes"}
        if taught:
            names = {inside.of(inside.BITS, taught): f"{taught} bits", **names}
        self.context.show_losses(
            {shown: point[name] for name, shown in names.items() if name in point}
        )


def gradient_norms(model: TokenizerModel) -> Figures:
    """Norms of the gradients of encoder, decoder, the tokenizer's other parts, and the prior.

    What a tokenizer calls ...encoder or ...decoder counts as such. A part without gradients is left
    out.
    """
    parts: dict[str, list[Tensor]] = {}
    for name, parameter in model.tokenizer.named_parameters():
        child = name.partition(".")[0]
        part = next((each for each in ("encoder", "decoder") if child.endswith(each)), "rest")
        if parameter.grad is not None:
            parts.setdefault(part, []).append(parameter.grad)
    for parameter in model.prior.parameters() if model.prior is not None else ():
        if parameter.grad is not None:
            parts.setdefault("prior", []).append(parameter.grad)
    return {inside.of(inside.GRADIENT, part): _norm(of) for part, of in parts.items()}


def _norm(gradients: Iterable[Tensor]) -> float:
    norms = [torch.linalg.vector_norm(each.detach(), dtype=torch.float32) for each in gradients]
    return float(torch.linalg.vector_norm(torch.stack(norms)))


def figures_of_images(model: TokenizerModel, looked_at: LookedAt) -> Figures:
    """Figures of codes, latents and the prior's predictions on the images.

    Raises StageError where a component shows what it cannot have.
    """
    layout, prior, training = model.tokenizer.layout, model.prior, model.training_settings
    taught = model.tokenizer.prior.weights if model.tokenizer.prior is not None else {}
    device = next(model.parameters()).device
    found: list[NDArray[np.int64]] = []
    latents = {name: _Latents() for name in layout.names}
    predicted = _Predicted(layout)
    spread = slice(None, None, max(1, len(looked_at.labels) // PREDICTED))
    with evaluating([model]), model.autocast():
        for start in range(0, len(looked_at.labels), INFERENCE_BATCH):
            batch = slice(start, start + INFERENCE_BATCH)
            images = to_float(torch.from_numpy(np.asarray(looked_at.images[batch])).to(device))
            tokens = check_inspected_tokens(model.tokenizer.inspect(images), layout, len(images))
            found.append(tokens.ids.cpu().numpy())
            for name, vectors in tokens.latents.items():
                latents[name].add(vectors)
            if prior is not None:
                ids = tokens.ids[spread]
                labels = torch.from_numpy(looked_at.labels[batch][spread]).to(device)
                if not training.prior_labels:
                    labels = torch.full_like(labels, model.none_label)
                predicted.add(check_inspected_prior(prior.inspect(ids, labels), len(ids)))
    whole = np.concatenate(found)
    figures: Figures = {}
    for segment in layout:
        of_segment = whole[:, layout.span(segment.name)]
        own = figures_of_codes(of_segment, segment) | latents[segment.name].figures()
        if segment.name in taught:
            own[inside.BITS] = codes.joint_bits(of_segment)
            own[inside.REDUNDANCY] = codes.redundancy(of_segment)
        figures |= {inside.of(name, segment.name): value for name, value in own.items()}
    return figures | predicted.figures()


def figures_of_codes(ids: NDArray[Any], segment: Segment) -> Figures:
    """Codes in use and perplexity of a segment's ids [N, length], and of each token alone.

    With several codebooks, each is taken alone, and the numbers are their means.
    """
    whole = [
        codes.codes_and_perplexity(ids[:, book :: segment.codebooks])
        for book in range(segment.codebooks)
    ]
    alone = [codes.codes_and_perplexity(column) for column in ids.T]
    used, perplexity = np.mean(whole, axis=0).tolist()
    used_alone, perplexity_alone = np.mean(alone, axis=0).tolist()
    return {
        inside.CODES: used,
        inside.PERPLEXITY: perplexity,
        inside.POSITION_CODES: used_alone,
        inside.POSITION_PERPLEXITY: perplexity_alone,
        inside.by_position(inside.CODES): [each for each, _ in alone],
        inside.by_position(inside.PERPLEXITY): [each for _, each in alone],
    }


@define
class _Latents:
    """Sums over latents [N, n, c] for their mean norm, and for what of them varies."""

    count: int = 0
    norm: float = 0.0
    power: Any = 0.0
    """Of each position, [n]."""
    total: Any = 0.0
    """Of each position, [n, c]."""

    def add(self, vectors: Tensor) -> None:
        z = vectors.double()
        self.count += len(z)
        self.norm += float(torch.linalg.vector_norm(z, dim=-1).mean(dim=1).sum())
        self.power = self.power + z.square().sum(dim=(0, 2))
        self.total = self.total + z.sum(dim=0)

    def figures(self) -> Figures:
        """The share is 1 - |mean of z|^2 / mean of |z|^2 of each position, averaged."""
        if not self.count:
            return {}
        power = self.power / self.count
        constant = (self.total / self.count).square().sum(dim=-1)
        varying = 1 - constant / power.clamp_min(torch.finfo(torch.float64).tiny)
        share = torch.where(power > 0, varying, 0.0).clamp_min(0.0).mean()
        return {inside.NORM: self.norm / self.count, inside.VARYING: float(share)}


@define
class _Predicted:
    """Sums over predicted positions, of each segment and of separators."""

    layout: TokenLayout
    count: int = 0
    losses: Any = 0.0
    hits: Any = 0.0
    tells_hits: bool = True

    def add(self, found: InspectedPrior) -> None:
        self.count += len(found.losses)
        self.losses = self.losses + found.losses.double().sum(dim=0)
        if found.hits is None:
            self.tells_hits = False
        else:
            self.hits = self.hits + found.hits.double().sum(dim=0)

    def figures(self) -> Figures:
        """Means by segment; none where the predicted positions are not those of the layout."""
        if not self.count:
            return {}
        try:
            targets = self.layout.targets(len(self.losses))
        except ValueError:
            return {}
        names = [inside.SEPARATOR if ends else self.layout.names[i] for i, ends in targets]
        sums = {inside.CROSS_ENTROPY: self.losses}
        if self.tells_hits:
            sums[inside.ACCURACY] = self.hits
        return {
            inside.of(figure, name): float(
                total[[i for i, each in enumerate(names) if each == name]].mean() / self.count
            )
            for figure, total in sums.items()
            for name in dict.fromkeys(names)
        }


def rounded(point: Figures) -> Figures:
    """Numbers with a few digits, to keep files small."""
    return {name: _rounded(value) for name, value in point.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
