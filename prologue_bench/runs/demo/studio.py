"""What the demo's page does: draw, keep first tokens and redraw, swap prologues, encode a picture.

All of it is a function of what the page asks for, so that nothing has to be remembered for whoever
looks at it; what was made last is kept, so that it is not made twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from attrs import define, evolve, field, frozen
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench.config.settings import ALL_TOKENS, Guidance, Sampling
from prologue_bench.contracts.generator import ParallelGenerator
from prologue_bench.contracts.images import ImageSpec
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.errors import UserError, nearest, shortened
from prologue_bench.numbers import LARGEST_INTEGER
from prologue_bench.registry import Registry
from prologue_bench.results.schema import Results
from prologue_bench.results.sources import find_variant
from prologue_bench.runs.finished import FinishedRun
from prologue_bench.runs.loading import images_of, load_run
from prologue_bench.runs.published import HERE, Elsewhere
from prologue_bench.sampling.decoding import guidance_scales
from prologue_bench.seeds import stream
from prologue_bench.storage.store import Store

MOST_IMAGES = 40
"""In a draw."""
ALL_CLASSES = "all in turn"
DEFAULT_KEPT = 8
"""First tokens kept of a variant without a prologue where no other has one."""
MOST_REMEMBERED = 64
"""Draws; those made first are forgotten."""

Made = TypeVar("Made")


@frozen
class ByHand:
    """Temperature and guidance scale of all tokens, in place of a run's own."""

    temperature: float
    guidance: float


@frozen(kw_only=True)
class Request:
    """What is drawn, of every run alike."""

    label: str = ALL_CLASSES
    seed: int = 0
    count: int = 12
    by_hand: ByHand | None = None
    """None: as the samples of the report."""

    def check(self) -> None:
        """Raises UserError for what cannot be drawn."""
        if not 1 <= self.count <= MOST_IMAGES:
            raise UserError(f"{self.count} images, expected 1 to {MOST_IMAGES}")
        if not 0 <= self.seed <= LARGEST_INTEGER:
            raise UserError(f"the seed of a draw must be from 0 to {LARGEST_INTEGER}")


@frozen(eq=False)
class Drawn:
    """Images of one run, and their tokens."""

    name: str
    """Of the run."""
    request: Request
    ids: Tensor
    """[B, L]."""
    labels: Tensor | None
    """[B]; None where no class is known."""
    layout: TokenLayout
    images: NDArray[Any]
    """uint8 [B, C, H, W]."""
    classes: tuple[str, ...]
    sampling: Sampling

    def class_of(self, index: int) -> str:
        """The name of an image's class; empty where there is none."""
        if self.labels is None or not self.classes:
            return ""
        return self.classes[int(self.labels[index])]


@define(eq=False)
class Studio:
    """The runs of results, each loaded when it is first drawn from."""

    results: Results
    store: Store
    registry: Registry
    elsewhere: Elsewhere = HERE
    _known: dict[str, tuple[str, int]] = field(init=False)
    """Variant and training seed of each run, by its name."""
    _runs: dict[str, FinishedRun] = field(factory=dict)
    _made: dict[tuple[Any, ...], Drawn] = field(factory=dict)
    _busy: threading.RLock = field(factory=threading.RLock)
    """Held while a model computes: models are not made for two threads."""

    def __attrs_post_init__(self) -> None:
        self._known = dict(_identities(self.results))

    @property
    def names(self) -> list[str]:
        """A name for each run: its variant, and its training seed where that has several."""
        return list(self._known)

    def opening(self) -> tuple[str, ...]:
        """The runs that the page opens with: two that are compared, or the only one.

        They are the baseline and the last variant with a prologue, of one training seed. Raises
        PrologueBenchError when nothing can be drawn from any run.
        """
        places = {each.name: place for place, each in enumerate(self.results.variants)}
        latest = sorted(
            self.names,
            key=lambda name: (not self._prologue(name), -places[self._known[name][0]]),
        )
        right, problem = self._first_that_loads(latest)
        if right is None:
            raise problem or UserError("these results have no runs")
        seed, baseline = self._known[right][1], self.results.baseline
        others = sorted(
            (name for name in self.names if name != right),
            key=lambda name: (self._known[name][0] != baseline, self._known[name][1] != seed),
        )
        left, _ = self._first_that_loads(others)
        return (right,) if left is None else (left, right)

    def run(self, name: str) -> FinishedRun:
        """The models of a run. Raises UserError when they are not in the store."""
        with self._busy:
            if name not in self._runs:
                variant, seed = self._identity(name)
                self._runs[name] = load_run(
                    self.results, self.store, self.registry, variant, seed, self.elsewhere
                )
            return self._runs[name]

    def images_of(self, name: str) -> ImageSpec:
        """What a run's images look like."""
        return images_of(self.results, self._identity(name)[0])

    def classes(self, names: Sequence[str]) -> list[str]:
        """The choices of a class that all these runs have; the first is every class in turn."""
        known = [self.images_of(name).class_names for name in names]
        common = [each for each in known[0] if all(each in others for others in known)]
        return [ALL_CLASSES, *common]

    def kept(self, name: str) -> tuple[int, int]:
        """How many first tokens are kept by default, and how many can be: one less than all.

        The default is the prologue; of a run without one, as many tokens as the longest prologue of
        these results has, but no more than half of all.
        """
        layout = self.run(name).tokenizer.layout
        longest = max(map(self._prologue, self.names)) or DEFAULT_KEPT
        return layout.leading or min(longest, layout.length // 2), layout.length - 1

    def has_prologues(self) -> bool:
        """Whether any run has a prologue."""
        return any(map(self._prologue, self.names))

    def measured(self, name: str) -> ByHand:
        """The run's own temperature and guidance where they are plain numbers, otherwise none."""
        run = self.run(name)
        layout, sampling = run.tokenizer.layout, run.sampling
        temperatures = {sampling.temperature_of(each) for each in layout.names}
        scales = set(guidance_scales(layout, sampling))
        return ByHand(*(each.pop() if len(each) == 1 else 1.0 for each in (temperatures, scales)))

    def draws_its_own_way(self, name: str) -> bool:
        """Whether the generator may leave temperature and guidance unread."""
        return isinstance(self.run(name).generator, ParallelGenerator)

    def draw(self, name: str, request: Request) -> Drawn:
        """New images of a class, or of all in turn.

        An image has the same random numbers in every run. Raises PrologueBenchError.
        """
        request.check()
        run = self.run(name)

        def make() -> Drawn:
            labels = _labels(run.images, request)
            ids = _sampled_by(run, request).draw(labels, request.seed)
            return self._drawn(name, request, ids, labels)

        return self._once(("draw", name, request), make)

    def redraw(self, before: Drawn, index: int, kept: int, round_: int, request: Request) -> Drawn:
        """One image again and again: its first `kept` tokens, and what is behind them drawn anew.

        Each round has other random numbers. The image's class stays; where that is not known, it is
        the request's. Raises PrologueBenchError.
        """
        request.check()
        if not 0 <= kept < before.layout.length:
            most = before.layout.length - 1
            raise UserError(f"{kept} first tokens, expected 0 to {most}, so that some are drawn")
        run = self.run(before.name)

        def make() -> Drawn:
            labels = _labels(run.images, request)
            if before.labels is not None:
                labels = before.labels[index].expand(request.count)
            fixed = before.ids[index, :kept].expand(request.count, -1) if kept else None
            seed = stream("redrawn", request.seed, round_)
            ids = _sampled_by(run, request).draw(labels, seed, fixed)
            return self._drawn(before.name, request, ids, labels)

        return self._once(("redraw", before, index, kept, round_, request), make)

    def swap(self, before: Drawn, one: int, other: int) -> Drawn:
        """Two images of a draw, each with the prologue of the other.

        The class of an image and its random numbers stay. Raises PrologueBenchError, a UserError
        where there is no prologue.
        """
        leading = before.layout.leading
        if not leading:
            raise UserError(f"{before.name} has no prologue, so there is nothing to swap")
        if one == other or not {one, other} <= set(range(len(before.ids))):
            raise UserError("choose another image to swap with: it takes two")
        if before.labels is None:
            raise UserError("prologues are swapped between drawn images")
        run = _sampled_by(self.run(before.name), before.request)
        labels, seed = before.labels, before.request.seed
        with self._busy:
            ids = [
                run.draw(labels[own, None], seed, before.ids[from_, None, :leading], first=own)
                for own, from_ in ((one, other), (other, one))
            ]
            return self._drawn(before.name, before.request, torch.cat(ids), labels[[one, other]])

    def encode(self, name: str, picture: NDArray[np.uint8]) -> Drawn:
        """A picture [1, C, H, W] as the tokenizer keeps it. Raises PrologueBenchError."""

        def make() -> Drawn:
            return self._drawn(name, Request(), self.run(name).encode(picture)[None], None)

        return self._once(("encode", name, picture.shape, picture.tobytes()), make)

    def _drawn(self, name: str, request: Request, ids: Tensor, labels: Tensor | None) -> Drawn:
        run = self.run(name)
        return Drawn(
            name=name,
            request=request,
            ids=ids.cpu(),
            labels=labels,
            layout=run.tokenizer.layout,
            images=run.decode(ids),
            classes=run.images.class_names,
            sampling=_sampled_by(run, request).sampling,
        )

    def _once(self, what: tuple[Any, ...], make: Callable[[], Drawn]) -> Drawn:
        with self._busy:
            if what not in self._made:
                made = make()
                while len(self._made) >= MOST_REMEMBERED:
                    del self._made[next(iter(self._made))]
                self._made[what] = made
            return self._made[what]

    def _identity(self, name: str) -> tuple[str, int]:
        known = self._known
        if name not in known:
            raise UserError(f"no run {shortened(str(name))!r}; {nearest(str(name), known)}")
        return known[name]

    def _prologue(self, name: str) -> int:
        """Length of a run's prologue, by the results: its models need not be loaded; 0 without."""
        layout = find_variant(self.results, self._identity(name)[0]).layout
        return layout[0].length if len(layout) > 1 else 0

    def _first_that_loads(self, names: Sequence[str]) -> tuple[str | None, UserError | None]:
        """The first run whose models are there, and what was wrong with the first of all.

        What fails on the way, such as a transfer, would fail for all others as well.
        """
        problem = None
        for name in names:
            try:
                self.run(name)
                return name, problem
            except UserError as error:
                problem = problem or error
        return None, problem


def _identities(results: Results) -> Iterator[tuple[str, tuple[str, int]]]:
    """The name, variant and training seed of each run."""
    trained = {(run.variant, run.seed) for run in results.runs}
    for variant in results.variants:
        seeds = [seed for seed in results.seeds if (variant.name, seed) in trained]
        for seed in seeds:
            several = f", training seed {seed}" if len(seeds) > 1 else ""
            yield f"{variant.name}{several}", (variant.name, seed)


def _labels(images: ImageSpec, request: Request) -> Tensor:
    """Labels [count]. Raises UserError for a class that there is not."""
    if request.label == ALL_CLASSES:
        return torch.from_numpy(images.labels_in_turn(request.count))
    if request.label not in images.class_names:
        known = nearest(str(request.label), images.class_names)
        raise UserError(f"no class {shortened(str(request.label))!r}; {known}")
    return torch.full((request.count,), images.class_names.index(request.label))


def _sampled_by(run: FinishedRun, request: Request) -> FinishedRun:
    """The run with the temperature and guidance that were asked for. Raises UserError."""
    if request.by_hand is None:
        return run
    try:
        sampling = evolve(
            run.sampling,
            temperature=float(request.by_hand.temperature),
            guidance={ALL_TOKENS: Guidance(scale=float(request.by_hand.guidance))},
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"temperature and guidance: {error}") from None
    return evolve(run, sampling=sampling)
