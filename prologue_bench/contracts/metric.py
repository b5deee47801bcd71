"""What a metric is, what it reads, and the numbers that it gives."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor

from prologue_bench.contracts.subsets import class_balanced
from prologue_bench.numbers import plain_number, plain_value

if TYPE_CHECKING:
    from numpy.typing import NDArray
from prologue_bench.contracts.data import DataSource
from prologue_bench.contracts.generator import Generator
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.shapes import check_shape
from prologue_bench.contracts.tokenizer import Tokenizer
from prologue_bench.errors import StageError

T = TypeVar("T")


@frozen(kw_only=True)
class Procedure:
    """The protocol of a number: how it was measured.

    Two numbers may be compared only when their protocols are equal. `counterpart` is the published
    quantity that the number could be taken for, such as "FID"; empty where there is none.
    `published` says that it is measured as that is, and else `note` says in what it differs. The
    three are no part of what is compared.
    """

    name: str
    details: Mapping[str, str | int | float | bool | None] = field(factory=dict)
    published: bool = False
    note: str = ""
    counterpart: str = ""

    def __attrs_post_init__(self) -> None:
        if isinstance(self.details, Mapping):
            object.__setattr__(self, "details", plain_value(self.details))
        if self.counterpart and self.published == bool(self.note):
            raise ValueError(
                f"protocol {self.name!r}: say in `note` how it differs from published "
                f"{self.counterpart}, or that it does not, by `published`"
            )

    def differences(self, other: Procedure) -> list[str]:
        """The fields in which the two differ, empty when they are comparable."""
        mine, theirs = {"name": self.name, **self.details}, {"name": other.name, **other.details}
        return sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key))


Direction = Literal["lower", "higher", "neutral"]


@frozen(kw_only=True)
class Measurement:
    """One number, with what is needed to read it: unit, direction of better, count and protocol.

    `name` is for columns and settings, `title` for people. `half_width` is half of the 95% interval
    over the images measured (bootstrap; for shares Wilson's), where the metric knows it: the noise
    that is left when there is one training seed only. It is None where it is not known, never 0.
    `positions` holds the values at each token of a segment, for plots, of which `value` is the
    mean or the sum; they may end before the segment where later ones tell nothing. `warning` says
    in words what is wrong with what was measured, such as a collapsed codebook; the report's
    summary names it with the variant and the seed. `against` names other numbers that a report
    plots this one against, with the title of each plot: value against value, or, where this one has
    `positions_of` a segment, both along the tokens.

    Numbers may be those of numpy and torch. A `half_width` that is not a number is one that is not
    known.
    """

    name: str
    title: str
    value: float
    unit: str
    direction: Direction
    count: int
    protocol: Procedure
    detail: bool = False
    """Shown below the summary, among the details."""
    half_width: float | None = None
    positions: tuple[float, ...] = ()
    positions_of: str = ""
    """The segment that `positions` are of, where a report shows them: as a map over its grid, or
    along the tokens if they are `against` others."""
    warning: str = ""
    against: Mapping[str, str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        width = plain_number(self.half_width)
        object.__setattr__(self, "value", plain_number(self.value))
        object.__setattr__(self, "count", plain_number(self.count))
        object.__setattr__(
            self, "half_width", None if isinstance(width, float) and math.isnan(width) else width
        )
        if isinstance(self.against, Mapping):
            object.__setattr__(self, "against", dict(self.against))
        if np.ndim(self.positions) == 1:
            object.__setattr__(self, "positions", tuple(map(plain_number, self.positions)))


@frozen(kw_only=True)
class StageCost:
    """What making one artifact took.

    Seconds on the machine that made it, and counted floating-point operations. None stands for what
    is not known: operations that could not be counted, and all of a checkpoint from elsewhere.
    """

    seconds: float | None
    flops: float | None
    machine: str


Need = Literal[
    "reconstructions",
    "samples",
    "tokens",
    "test_tokens",
    "generator",
    "likelihood",
    "attention",
    "tokenizer",
    "draw",
    "prefixes",
    "costs",
]
"""What a metric can ask for: artifacts, models and what they compute, the prefix lengths that the
variants have in common, and what stages took. "test_tokens" are the tokens of the test images
alone: where nothing needs more of a released tokenizer, the training images are not encoded."""


@frozen(kw_only=True)
class MetricInputs:
    """What a metric may read.

    Each property may be read only if `needs` declares it; reading what was not declared raises
    StageError with a line that says what to add. `metric` and `needs` are the metric's own,
    for that line. A metric that needs fewer images takes `data.subset(split, count)` or
    `sample_subset(count)`, never the first ones. `cache` is a folder for what runs share, kept and
    checked by `prologue_bench.storage.kept`. A metric that takes long calls `advance(done, total)`
    now and then. `sampling` holds the variant's sampling settings for metrics of samples and those
    that draw, and nothing for others. `machine` is what runs the metric, as in `costs`. `known`
    stands for the content of the images "reconstructions", "samples" and "test", where it is known
    without reading them: equal texts mean equal images. `as_trained` gives the precision in which
    the tokenizer was trained, for `encode` and `decode`.
    """

    metric: str
    needs: tuple[str, ...]
    data: DataSource
    layout: TokenLayout
    cache: Path
    batch_size: int
    device: torch.device
    advance: Callable[[int, int], None]
    sampling: Mapping[str, str | int | float | bool | None]
    machine: str = ""
    known: Mapping[str, str] = field(factory=dict)
    as_trained: Callable[[], AbstractContextManager[None]] = nullcontext
    _reconstructions: NDArray[Any] | None = None
    _samples: NDArray[Any] | None = None
    _sample_labels: NDArray[Any] | None = None
    _train_ids: NDArray[Any] | None = None
    _test_ids: NDArray[Any] | None = None
    _tokenizer: Tokenizer | None = None
    _generator: Generator | None = None
    _draw: Callable[[Tensor, Tensor | None, int], Tensor] | None = None
    _prefixes: tuple[int, ...] | None = None
    _costs: Mapping[str, StageCost] | None = None

    @property
    def reconstructions(self) -> NDArray[Any]:
        """Images of the whole test split in order, uint8 [N, C, H, W]."""
        return self._declared("reconstructions", "reconstructions", self._reconstructions)

    @property
    def samples(self) -> NDArray[Any]:
        """Images of the classes that `sample_labels` says: uint8 [N, C, H, W]."""
        return self._declared("samples", "samples", self._samples)

    @property
    def train_ids(self) -> NDArray[Any]:
        """Tokens of the training split, [N, L]."""
        return self._declared("train_ids", "tokens", self._train_ids)

    @property
    def test_ids(self) -> NDArray[Any]:
        """Tokens of the test split, [N, L]."""
        need: Need = "test_tokens" if "test_tokens" in self.needs else "tokens"
        return self._declared("test_ids", need, self._test_ids)

    @property
    def tokenizer(self) -> Tokenizer:
        """The trained tokenizer, in evaluation mode."""
        return self._declared("tokenizer", "tokenizer", self._tokenizer)

    def encode(self, images: Tensor) -> Tensor:
        """As `Tokenizer.encode`, in the precision of its training, on `device`."""
        with self.as_trained():
            return self.tokenizer.encode(images.to(self.device))

    def decode(self, ids: Tensor) -> Tensor:
        """As `Tokenizer.decode`, in the precision of its training, on `device`."""
        with self.as_trained():
            return self.tokenizer.decode(ids.to(self.device))

    @property
    def generator(self) -> Generator:
        """The trained generator, in evaluation mode."""
        return self._declared("generator", "generator", self._generator)

    def nll(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """As `Generator.nll`, for metrics that need "likelihood"."""
        generator = self._declared("nll", "likelihood", self._generator)
        costs = self._there("likelihood", generator.nll(ids, labels))
        for name, each in costs.items():
            check_shape(each, generator, f"`nll` of segment {name!r}", ids.shape[:1], "n")
        return costs

    def attention(self, ids: Tensor, labels: Tensor) -> Tensor:
        """As `Generator.attention`, for metrics that need "attention"."""
        maps = self._declared("attention", "attention", self._generator).attention(ids, labels)
        return self._there("attention", maps)

    @property
    def draw(self) -> Callable[[Tensor, Tensor | None, int], Tensor]:
        """`draw(labels, fixed, seed)` gives ids [B, L] of samples.

        The sampling settings are the variant's. `fixed` [B, n] has ids that are given for the first
        n tokens, and FREE where one is drawn all the same; `fixed_at` makes it from ids.
        """
        return self._declared("draw", "draw", self._draw)

    @property
    def prefixes(self) -> tuple[int, ...]:
        """Lengths of the variants' leading segments, to compare equally many first tokens."""
        return self._declared("prefixes", "prefixes", self._prefixes)

    @property
    def costs(self) -> Mapping[str, StageCost]:
        """Those of the trainings before the metric, by kind of stage (`stage_kinds.TRAINED`).

        Those that a tokenizer builds on are added to its own; a sum is None where a part is not
        known.
        """
        return self._declared("costs", "costs", self._costs)

    @property
    def sample_labels(self) -> NDArray[np.int64]:
        """The labels of the samples, int64 [N]: the classes in turn, if nothing else is known."""
        if self._sample_labels is not None:
            return self._sample_labels
        return self.data.spec.labels_in_turn(len(self.samples))

    def sample_subset(self, count: int, seed: int = 0) -> NDArray[np.int64]:
        """As `DataSource.subset`, of the samples."""
        return class_balanced(self.sample_labels, count, seed)

    def _declared(self, reads: str, need: Need, value: T | None) -> T:
        """What was asked for. Raises StageError where the metric does not declare that."""
        if need not in self.needs:
            declared = f"only {', '.join(self.needs)}" if self.needs else "nothing"
            raise StageError(
                f"metric {self.metric!r} reads {reads}, but declares {declared}; "
                f"add {need!r} to its needs"
            )
        return self._there(need, value)

    def _there(self, need: Need, value: T | None) -> T:
        if value is None:
            raise StageError(f"metric {self.metric!r} needs {need}, and there is none here")
        return value


@frozen(kw_only=True)
class PlannedInputs:
    """What is known of a metric's inputs before anything is trained.

    Ask `data` for its spec and labels, whose number is that of the images, and not for images,
    which may take long to read. `samples` says how many will be drawn. `tokenizer` and `generator`
    are models without memory for their weights (on torch's meta device, where they allow that);
    `generator` is None where no metric needs one, and both are where images alone are measured.
    `imported` names those of the two that were trained elsewhere. `layout` and `prefixes` are those
    of `MetricInputs`. `reconstructions` says how many there are, where they are not of the whole
    test split.
    """

    data: DataSource
    layout: TokenLayout
    prefixes: tuple[int, ...]
    samples: int
    tokenizer: Tokenizer | None = None
    generator: Generator | None = None
    imported: frozenset[Literal["tokenizer", "generator"]] = frozenset()
    reconstructions: int | None = None


class Metric(ABC):
    """A measurement of finished artifacts. The constructor takes the component's settings."""

    needs: Sequence[Need] = ()
    paired: bool = True
    """Whether reconstructions are compared with their images one by one. A metric that compares the
    two sets as a whole says False, so that `measure` takes any images for it."""

    def check(self, planned: PlannedInputs) -> None:  # noqa: B027 - optional
        """Say before anything is trained what `measure` could not do; nothing for most metrics.

        Raises UserError in one line where the settings cannot work with these data, samples or
        files: then nothing is run. Raises DoesNotApply with the reason where there is nothing to
        measure of this variant or in these data: then the metric is left out with a note, and all
        else goes on.
        """

    @abstractmethod
    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        """Compute the numbers. Raises StageError with one line when the inputs do not allow it."""
