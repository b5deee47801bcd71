"""The contracts between the framework and its plugins, and the records they exchange.

Letters used throughout: B batch, L tokens of an image, K vocabulary of a segment.
Images are float32 in [-1, 1], [B, C, H, W]; ids are int64, each inside the vocabulary of its own segment; labels
are int64, and the last label, `ImageSpec.none_label`, stands for "no class".
"""

from __future__ import annotations

import math
import operator
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from attrs import define, field, frozen, validators
from torch import Tensor, nn

from prologue_bench.numbers import plain_number, plain_value
from prologue_bench.subsets import class_balanced

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _texts(names: Iterable[str]) -> tuple[str, ...]:
    found = (names,) if isinstance(names, str) else tuple(names)
    if isinstance(names, str) or not all(isinstance(name, str) for name in found):
        raise TypeError("'class_names' must be texts")
    return found


@frozen
class ImageSpec:
    """What the images of a data set look like."""

    channels: int = field(converter=operator.index, validator=validators.ge(1))
    height: int = field(converter=operator.index, validator=validators.ge(1))
    width: int = field(converter=operator.index, validator=validators.ge(1))
    class_names: tuple[str, ...] = field(default=(), converter=_texts)

    @property
    def none_label(self) -> int:
        """The label that stands for "no class"; real labels are smaller."""
        return len(self.class_names)

    @property
    def labels(self) -> int:
        """How many labels there are, "none" among them."""
        return len(self.class_names) + 1

    @property
    def dimensions(self) -> int:
        """Numbers in one image, C * H * W."""
        return self.channels * self.height * self.width

    def labels_in_turn(self, count: int) -> NDArray[np.int64]:
        """The labels of samples, int64 [count]: the classes in turn, the first ones once more at the end."""
        return np.arange(count, dtype=np.int64) % max(1, len(self.class_names))


@frozen
class Segment:
    """A run of tokens of one kind."""

    name: str = field(validator=validators.instance_of(str))
    length: int = field(converter=operator.index, validator=validators.ge(1))
    vocabulary: int = field(converter=operator.index, validator=validators.ge(2))
    grid: tuple[int, int] | None = None

    def __attrs_post_init__(self) -> None:
        if self.grid is not None and self.grid[0] * self.grid[1] != self.length:
            raise ValueError(f"segment {self.name!r}: a grid of {self.grid} does not hold {self.length} tokens")


def _in_order(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    found = tuple(segments)
    if not all(isinstance(each, Segment) for each in found):
        raise TypeError("'segments' must be Segments")
    return found


@frozen
class TokenLayout:
    """The segments of an image's tokens, in the order in which they are generated.

    With `separator`, generators put a separator token, which is forced and never sampled, before every segment
    but the first.
    """

    segments: tuple[Segment, ...] = field(converter=_in_order, validator=validators.min_len(1))
    separator: bool = True

    def __attrs_post_init__(self) -> None:
        names = [segment.name for segment in self.segments]
        if len(set(names)) != len(names):
            raise ValueError(f"two segments share a name: {names}")

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    @property
    def length(self) -> int:
        """Tokens of one image, L, separators not counted."""
        return sum(segment.length for segment in self.segments)

    @property
    def names(self) -> tuple[str, ...]:
        """The segments' names in order."""
        return tuple(segment.name for segment in self.segments)

    @property
    def leading(self) -> int:
        """Length of the first of several segments, such as a prologue; 0 of a layout with one segment."""
        return self.segments[0].length if len(self.segments) > 1 else 0

    def segment(self, name: str) -> Segment:
        """The segment of that name. Raises KeyError when there is none."""
        for segment in self.segments:
            if segment.name == name:
                return segment
        raise KeyError(f"no segment {name!r} among {self.names}")

    def span(self, name: str) -> slice:
        """Where the segment stands in the L tokens."""
        start = 0
        for segment in self.segments:
            if segment.name == name:
                return slice(start, start + segment.length)
            start += segment.length
        raise KeyError(f"no segment {name!r} among {self.names}")

    def split(self, tokens: Tensor) -> dict[str, Tensor]:
        """Cut [B, L, ...] into one [B, n, ...] a segment."""
        return {name: tokens[:, self.span(name)] for name in self.names}

    def join(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The inverse of `split`."""
        return torch.cat([parts[name] for name in self.names], dim=1)

    def check(self, ids: Tensor, count: int | None = None) -> None:
        """Raises ValueError when ids [B, L] are no integers, have another shape or leave a segment's vocabulary."""
        if not isinstance(ids, Tensor) or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
            raise ValueError(f"ids are {getattr(ids, 'dtype', type(ids).__name__)}, expected torch.int64")
        if count is not None and ids.shape[:1] != (count,):
            raise ValueError(f"ids have shape {tuple(ids.shape)}, expected [{count}, {self.length}]")
        if ids.ndim != 2 or ids.shape[1] != self.length:
            raise ValueError(f"ids have shape {tuple(ids.shape)}, expected [B, {self.length}]")
        for segment in self.segments:
            part = ids[:, self.span(segment.name)]
            if part.numel() and (int(part.min()) < 0 or int(part.max()) >= segment.vocabulary):
                raise ValueError(
                    f"segment {segment.name!r} has ids from {int(part.min())} to {int(part.max())}, "
                    f"expected 0 to {segment.vocabulary - 1}"
                )


@frozen
class PriorRequest:
    """What a tokenizer asks of the joint autoregressive prior during its training.

    `weights` names the segments that learn from the prior's cross-entropy, through their straight-through one-hots,
    and how much it weighs for them; `input_dropout` is, for a segment, the share of images whose inputs of that
    segment are all replaced by the separator. `target_weights` says how much the cross-entropy of a segment's own
    tokens counts in what they learn from, one where a segment is not named; a separator counts to the segment that it
    ends. The prior itself learns from all tokens alike.
    """

    weights: Mapping[str, float]
    input_dropout: Mapping[str, float] = field(factory=dict)
    target_weights: Mapping[str, float] = field(factory=dict)

    def check(self, layout: TokenLayout) -> None:
        """Raises ValueError when a segment is named that the layout does not have."""
        for what in ("weights", "input_dropout", "target_weights"):
            for name in getattr(self, what):
                if name not in layout.names:
                    raise ValueError(
                        f"the prior's {what} name a segment {name!r}, expected one of: {', '.join(layout.names)}"
                    )


@define  # not frozen: torch.compile cannot trace the constructor of a frozen class
class TokenizerOutput:
    """What a training step needs of a tokenizer.

    `reconstruction` is [B, C, H, W], or None of a tokenizer that does not train its reconstruction; `losses` are the
    tokenizer's own terms (scalars, already weighted, such as codebook losses), under any names; `ids` are [B, L];
    `relaxed` holds, for each segment that the prior teaches, the straight-through one-hot [B, n, K], whose value is the
    hard one-hot of `ids` and whose gradient reaches the tokenizer.
    """

    reconstruction: Tensor | None
    losses: Mapping[str, Tensor]
    ids: Tensor
    relaxed: Mapping[str, Tensor] = field(factory=dict)


class Tokenizer(nn.Module, ABC):
    """Images to discrete tokens and back. Set `layout` in the constructor.

    The constructor takes the component's settings and the data set's `ImageSpec`.
    """

    layout: TokenLayout
    prior: PriorRequest | None = None
    reconstructs: bool = True
    """Whether training changes the reconstruction. Without, losses of the reconstruction are left out."""
    frozen: bool = False
    """Whether there is nothing to learn, as in a released tokenizer: training is left out, `losses` never called."""

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Ids [B, L] of images [B, C, H, W]; deterministic."""

    @abstractmethod
    def decode(self, ids: Tensor) -> Tensor:
        """Images [B, C, H, W] of ids [B, L]; not clamped."""

    @abstractmethod
    def losses(self, images: Tensor) -> TokenizerOutput:
        """Reconstruction, own losses, ids and relaxed one-hots of images [B, C, H, W], with gradients."""

    @classmethod
    def foundation(cls, settings: Any) -> tuple[str, Mapping[str, Any]] | None:
        """The tokenizer, by name and settings, that must be trained before this one; None for most.

        Its trained weights are loaded into the parts of this tokenizer that have the same names.
        """
        return None


class ReconstructionLoss(nn.Module, ABC):
    """A loss between images and their reconstructions beyond pixel distances, such as a perceptual or adversarial one.

    The constructor takes the component's settings and the data set's `ImageSpec`. Parameters that require a gradient
    (a discriminator's) get an optimizer of their own, and their gradient must come from a loss that reaches nothing
    else; the other losses must not reach them.
    """

    learns: bool = True
    """Whether there are such parameters. Without any, the settings of their optimizer count for nothing."""

    @classmethod
    def check(cls, settings: Any, images: ImageSpec) -> None:
        """Say before anything is trained what could not work; here, whether an instance can be made.

        A loss that loads weights says whether they are there, without loading them. Raises UserError in one line.
        """
        with torch.device("meta"):
            cls(settings, images)

    @abstractmethod
    def forward(self, reconstruction: Tensor, images: Tensor, step: int) -> dict[str, Tensor]:
        """Scalars by name, already weighted, for images [B, C, H, W] at a training step (counted from 0).

        Terms may be left out in steps in which they are not computed.
        """


class DecodingState:
    """What a generator remembers between decoding steps (a KV cache, say). Made by `Generator.start`."""


class Generator(nn.Module, ABC):
    """A distribution over token ids given a label. Set `layout` in the constructor.

    The constructor takes the component's settings, the token layout and the number of labels ("none" included).
    How separators enter the sequence is the generator's own affair; its arguments never hold them.
    """

    layout: TokenLayout
    progress: float = 0.0
    """How much of the training is done, from 0 to 1; set before each step for generators that anneal something."""

    def draws(self, count: int, random: Callable[..., torch.Generator]) -> Mapping[str, Tensor]:
        """What a training step of `count` images draws at random, such as orders: tensors with one entry per image.

        They come back to `token_losses` as keyword arguments of the same names, cut to the images at hand, so that
        they depend neither on processes nor on parts of a batch. `random(*names)` makes the CPU generator of one
        purpose in this step: draw for each segment from a generator that its name names, and variants with other
        segments beside it draw alike. Nothing is drawn unless a generator says so.
        """
        return {}

    @abstractmethod
    def token_losses(
        self,
        ids: Tensor,
        labels: Tensor,
        relaxed: Mapping[str, Tensor] | None = None,
        dropped: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Cross-entropies in nats of every predicted position, separators included: [B, T].

        Positions are in the layout's order, a separator between the segments that it stands between.
        ids [B, L], labels [B]. `relaxed` gives, for a segment, the one-hot [B, n, K] that replaces its input
        embeddings' lookup. `dropped` gives, for a segment of a layout with several, a mask [B] of the images whose
        inputs of that segment are replaced by the separator. Targets stay the ids in both cases.
        """

    @abstractmethod
    def logits(
        self,
        ids: Tensor,
        labels: Tensor,
        relaxed: Mapping[str, Tensor] | None = None,
        dropped: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Logits [B, T, V] of every predicted position over the whole vocabulary, arguments as in `token_losses`."""

    @abstractmethod
    def nll(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Negative log-likelihood in nats of each token, one [B, n] a segment.

        A separator's cost is charged to the first token of the segment that it opens.
        """

    def attention(self, ids: Tensor, labels: Tensor) -> Tensor | None:
        """Mean attention over images and heads [layers, L, L], rows the tokens predicted, columns those attended to.

        Rows add up to less than one where class tokens and separators are attended to. None where there is no such
        thing.
        """
        return None

    @abstractmethod
    def start(self, labels: Tensor) -> DecodingState:
        """The state before the first token, for labels [B]."""

    @abstractmethod
    def decode_step(self, state: DecodingState, chosen: Tensor | None) -> Tensor:
        """Logits [B, K] of the next token over its own segment's vocabulary.

        `chosen` [B, n] holds the ids chosen since the last step: one each time, None before the first token, or a
        whole prefix to begin with. Impossible tokens never appear: only the ids of the segment at hand have logits.
        """


Split = Literal["train", "test"]


class ImageArray(typing.Protocol):
    """Images by number: an array, a memory map, or files that are decoded when they are asked for."""

    def __len__(self) -> int:
        """How many there are, N."""

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """uint8 [n, C, H, W] for a slice or a list of numbers."""


class DataSource(ABC):
    """Splits of images and labels. The constructor takes the component's settings.

    The order of a split is the source's own affair, and is often class by class: whoever needs fewer images
    takes a `subset`, never the first or last ones.

    Raises MissingDataError, from `spec` at the latest, when the images cannot be found. Where
    `prologue_bench.fetching.may_fetch()` is false, a run is only planned, and images that would have to be fetched
    are missing.
    """

    def outline(self) -> DataSource:
        """What a plan sees of the data: the source itself, where `spec`, `fingerprint` and `labels` decode no image.

        Others return a source that knows these without decoding, such as from names of files. Where they may turn out
        otherwise, its `notes` say so, and its `fingerprint` is a text that no source has. Its `images` raise
        MissingDataError.
        """
        return self

    @property
    @abstractmethod
    def spec(self) -> ImageSpec:
        """Shape of the images and names of the classes."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A short text that changes when any image, label or their order changes."""

    @abstractmethod
    def images(self, split: Split) -> ImageArray:
        """All images of a split, uint8 [N, C, H, W]; may be memory-mapped, or read when they are asked for."""

    @abstractmethod
    def labels(self, split: Split) -> NDArray[Any]:
        """The labels of a split, int64 [N]."""

    def subset(self, split: Split, count: int, seed: int = 0) -> NDArray[np.int64]:
        """Sorted indices of `count` images of a split, equally many of every class; of all where there are no more.

        The classes' counts differ by at most one; a class with too few images gives all of them, and the others
        the rest. Equal labels and seeds (0 or more) give equal indices, and a smaller count a part of a larger one's.
        """
        return class_balanced(self.labels(split), count, seed)

    views: int = 1
    """Views of each training image in `training_views`, V."""

    def training_views(self) -> ImageArray:
        """What tokenizers train on and generators get tokens of: uint8 [N * V, C, H, W], image by image.

        Several views are crops and flips; the first is the central one.
        """
        return self.images("train")

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results should know of the data, such as images left out."""
        return ()


@frozen(kw_only=True)
class Protocol:
    """How a number was measured. Two numbers may be compared only when their protocols are equal.

    `counterpart` is the published quantity that the number could be taken for, such as "FID"; empty where there is
    none. `published` says that it is measured as that is, and else `note` says in what it differs. The three are no
    part of what is compared.
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
                f"protocol {self.name!r}: say in `note` how it differs from published {self.counterpart}, or that it "
                "does not, by `published`"
            )

    def differences(self, other: Protocol) -> list[str]:
        """The fields in which the two differ, empty when they are comparable."""
        mine, theirs = {"name": self.name, **self.details}, {"name": other.name, **other.details}
        return sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key))


Direction = Literal["lower", "higher", "neutral"]


@frozen(kw_only=True)
class Measurement:
    """One number, with what is needed to read it: unit, direction of better, sample count and protocol.

    `name` is for columns and settings, `title` for people. `half_width` is half of the 95% interval
    over the images measured (bootstrap; for shares Wilson's), where the metric knows it: the noise
    that is left when there is one training seed only. It is None where it is not known, never 0.
    `positions` holds the values at each token of a segment, for plots, of which `value` is the
    mean. `warning` says in words what is wrong with what was measured, such as a collapsed
    codebook; the report's summary names it with the variant and the seed.

    Numbers may be those of numpy and torch. A `half_width` that is not a number is one that is not known.
    """

    name: str
    title: str
    value: float
    unit: str
    direction: Direction
    count: int
    protocol: Protocol
    detail: bool = False
    """Shown below the summary, among the details."""
    half_width: float | None = None
    positions: tuple[float, ...] = ()
    warning: str = ""

    def __attrs_post_init__(self) -> None:
        width = plain_number(self.half_width)
        object.__setattr__(self, "value", plain_number(self.value))
        object.__setattr__(self, "count", plain_number(self.count))
        object.__setattr__(self, "half_width", None if isinstance(width, float) and math.isnan(width) else width)
        if np.ndim(self.positions) == 1:
            object.__setattr__(self, "positions", tuple(map(plain_number, self.positions)))


@frozen(kw_only=True)
class StageCost:
    """What making one artifact took: seconds on the machine that made it, and counted floating-point operations.

    None stands for what is not known: operations that could not be counted, and all of a checkpoint from elsewhere.
    """

    seconds: float | None
    flops: float | None
    machine: str


Need = Literal["reconstructions", "samples", "tokens", "generator", "tokenizer", "draw", "prefixes", "costs"]
"""What a metric can ask for: artifacts, a way to draw samples, the prefix lengths that the variants have in common, and
what stages took."""


@frozen(kw_only=True)
class MetricInputs:
    """What a metric may read; fields of artifacts that it did not ask for are None.

    `reconstructions` and `samples` are uint8 [N, C, H, W], the former of the whole test split in order, the latter
    of the classes in turn, as `sample_labels` says; `train_ids` and `test_ids` are [N, L] of the data set's splits.
    A metric that needs fewer takes `data.subset(split, count)` or `sample_subset(count)`, never the first ones.
    `cache` is a folder for what runs share, kept and checked by `prologue_bench.kept`. `prefixes` are the lengths of
    the variants' leading segments, so that equally many first tokens can be compared. A metric that takes long calls
    `advance(done, total)` now and then.
    `draw(labels, prefix, seed)` gives ids [B, L] of samples, with the variant's sampling settings and the first
    tokens fixed to `prefix` [B, n]. `sampling` holds those settings for metrics of samples and those that draw, and
    nothing for others. `costs` are those of the trainings before the metric, by kind, those that a tokenizer builds on
    added to its own (a sum is None where a part is not known); `machine` is what runs the metric, as in those.
    `known` stands for the content of the images "reconstructions", "samples" and "test", where it is known without
    reading them: equal texts mean equal images.
    """

    data: DataSource
    layout: TokenLayout
    cache: Path
    batch_size: int
    device: torch.device
    prefixes: tuple[int, ...]
    advance: Callable[[int, int], None]
    sampling: Mapping[str, str | int | float | bool | None]
    machine: str = ""
    draw: Callable[[Tensor, Tensor | None, int], Tensor] | None = None
    reconstructions: NDArray[Any] | None = None
    samples: NDArray[Any] | None = None
    train_ids: NDArray[Any] | None = None
    test_ids: NDArray[Any] | None = None
    tokenizer: Tokenizer | None = None
    generator: Generator | None = None
    costs: Mapping[str, StageCost] | None = None
    known: Mapping[str, str] = field(factory=dict)

    @property
    def sample_labels(self) -> NDArray[np.int64]:
        """The labels of the samples, int64 [N]; [0] without samples."""
        return self.data.spec.labels_in_turn(0 if self.samples is None else len(self.samples))

    def sample_subset(self, count: int, seed: int = 0) -> NDArray[np.int64]:
        """As `DataSource.subset`, of the samples."""
        return class_balanced(self.sample_labels, count, seed)


@frozen(kw_only=True)
class PlannedInputs:
    """What is known of a metric's inputs before anything is trained.

    Ask `data` for its spec and labels, whose number is that of the images, and not for images, which may take long to
    read. `samples` says how many will be drawn. `tokenizer` and `generator` are models without memory for their weights
    (on torch's meta device, where they allow that); `generator` is None where no metric needs one. `imported` names
    those of the two that were trained elsewhere. `layout` and `prefixes` are those of `MetricInputs`.
    """

    data: DataSource
    layout: TokenLayout
    prefixes: tuple[int, ...]
    samples: int
    tokenizer: Tokenizer
    generator: Generator | None = None
    imported: frozenset[Literal["tokenizer", "generator"]] = frozenset()


class Metric(ABC):
    """A measurement of finished artifacts. The constructor takes the component's settings."""

    needs: Sequence[Need] = ()

    def check(self, planned: PlannedInputs) -> None:  # noqa: B027 - optional
        """Say before anything is trained what `measure` could not do; nothing to say for most metrics.

        Raises UserError in one line where the settings cannot work with these data, samples or files: then nothing is
        run. Raises DoesNotApply with the reason where there is nothing to measure of this variant or in these data:
        then the metric is left out with a note, and all else goes on.
        """

    @abstractmethod
    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        """Compute the numbers. Raises StageError with one line when the inputs do not allow it."""
