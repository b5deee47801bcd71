"""What the demo's page does: draw images, keep first tokens and redraw the rest, show tokens."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import torch
from attrs import define, field, frozen
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench.contracts.layout import Segment, TokenLayout
from prologue_bench.errors import UserError, nearest, shortened
from prologue_bench.registry import Registry
from prologue_bench.results.schema import Results
from prologue_bench.runs.finished import FinishedRun
from prologue_bench.runs.loading import chosen_run, images_of, load_run
from prologue_bench.runs.published import HERE, Elsewhere
from prologue_bench.storage.store import Store

MOST_IMAGES = 40
"""In a draw."""
MOST_SEED = 2**53 - 1
ALL_CLASSES = "all in turn"
SHOWN_PIXELS = 112
"""Images are enlarged by whole numbers to at least this height."""
DEFAULT_KEPT = 8
"""First tokens kept of a variant without a prologue."""


@frozen
class Drawn:
    """Tokens that were drawn, and what for."""

    ids: Tensor
    """[B, L]."""
    labels: Tensor
    """[B]."""
    layout: TokenLayout
    images: tuple[NDArray[Any], ...]
    """uint8 [height, width, 3], enlarged."""


@define
class Studio:
    """The runs of results, each loaded when it is first drawn from."""

    results: Results
    store: Store
    registry: Registry
    elsewhere: Elsewhere = HERE
    _runs: dict[tuple[str, int], FinishedRun] = field(factory=dict)

    @property
    def variants(self) -> list[str]:
        """The names of all variants."""
        return [variant.name for variant in self.results.variants]

    @property
    def seeds(self) -> list[int]:
        """The training seeds."""
        return list(self.results.seeds)

    @property
    def first(self) -> tuple[str, int]:
        """The variant and training seed that the page opens with."""
        return chosen_run(self.results, None, None)

    @property
    def classes(self) -> list[str]:
        """The choices of a class for the variant that the page opens with."""
        return self.classes_of(self.first[0])

    def classes_of(self, variant: str) -> list[str]:
        """The choices of a class; the first is every class in turn."""
        return [ALL_CLASSES, *images_of(self.results, variant).class_names]

    def seeds_of(self, variant: str) -> list[int]:
        """The training seeds of a variant."""
        return [
            seed
            for seed in self.seeds
            if any((run.variant, run.seed) == (variant, seed) for run in self.results.runs)
        ]

    def run(self, variant: str, seed: int) -> FinishedRun:
        """The models of a variant and training seed.

        Raises UserError when they are not in the store.
        """
        if (variant, seed) not in self._runs:
            self._runs[variant, seed] = load_run(
                self.results, self.store, self.registry, variant, seed, self.elsewhere
            )
        return self._runs[variant, seed]

    def kept(self, variant: str, seed: int) -> tuple[int, int]:
        """How many first tokens are kept by default, and how many can be: one less than all."""
        run = self.run(variant, seed)
        most = run.tokenizer.layout.length - 1
        return min(run.leading or DEFAULT_KEPT, most), most

    def draw(self, variant: str, seed: int, label: str, count: int, sampling_seed: int) -> Drawn:
        """New images of a class, or of all in turn."""
        run = self.run(variant, seed)
        classes = self.classes_of(variant)
        if label not in classes:
            raise UserError(f"no class {shortened(str(label))!r}; {nearest(str(label), classes)}")
        if not 1 <= count <= MOST_IMAGES:
            raise UserError(f"{count} images, expected 1 to {MOST_IMAGES}")
        check_seed(sampling_seed)
        index = classes.index(label) - 1
        labels = (
            torch.arange(count) % max(1, len(classes) - 1)
            if index < 0
            else torch.full((count,), index)
        )
        return _drawn(run, run.draw(labels, sampling_seed), labels)

    def redraw(
        self, variant: str, seed: int, before: Drawn, kept: int, sampling_seed: int
    ) -> Drawn:
        """Each image again with its first `kept` tokens and everything behind them drawn anew."""
        run = self.run(variant, seed)
        check_seed(sampling_seed)
        ids = run.draw(before.labels, sampling_seed, before.ids[:, :kept] if kept else None)
        return _drawn(run, ids, before.labels)


def check_seed(seed: int) -> None:
    """Raises UserError for a seed that a page cannot hold: JavaScript's whole numbers end there."""
    if not 0 <= seed < MOST_SEED:
        raise UserError(f"the seed of a draw must be from 0 to {MOST_SEED - 1}")


def _drawn(run: FinishedRun, ids: Tensor, labels: Tensor) -> Drawn:
    images = tuple(_enlarged(image) for image in run.decode(ids))
    return Drawn(ids.cpu(), labels, run.tokenizer.layout, images)


def _enlarged(image: NDArray[Any]) -> NDArray[Any]:
    """uint8 [C, H, W] as [height, width, 3], each pixel a square."""
    factor = max(1, -(-SHOWN_PIXELS // image.shape[1]))
    large = np.repeat(np.repeat(image.transpose(1, 2, 0), factor, axis=0), factor, axis=1)
    return np.broadcast_to(large, (*large.shape[:2], 3)).copy()


def tokens_table(drawn: Drawn, index: int, before: Drawn | None = None) -> str:
    """HTML with the ids of one image, one table per segment; ids that have changed are marked."""
    now = drawn.layout.split(drawn.ids)
    then = drawn.layout.split((before or drawn).ids)
    return "".join(
        _segment_table(
            segment, now[segment.name][index].tolist(), then[segment.name][index].tolist()
        )
        for segment in drawn.layout
    )


def _segment_table(segment: Segment, ids: list[int], old: list[int]) -> str:
    columns = segment.grid[1] * segment.codebooks if segment.grid else min(segment.length, 16)
    differs = [now != then for now, then in zip(ids, old, strict=True)]
    cells = [
        f"<td>{f'<mark>{now}</mark>' if new else now}</td>"
        for now, new in zip(ids, differs, strict=True)
    ]
    rows = "".join(
        f"<tr>{''.join(cells[i : i + columns])}</tr>" for i in range(0, len(cells), columns)
    )
    note = f", {sum(differs)} of {segment.length} changed" if any(differs) else ""
    caption = f"{escape(segment.name)}: {segment.length} tokens of {segment.vocabulary} codes{note}"
    return f'<table class="tokens"><caption>{caption}</caption><tbody>{rows}</tbody></table>'
