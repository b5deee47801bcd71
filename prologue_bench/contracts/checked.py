"""What components must be, checked where they enter.

An error names the component and not what breaks later.
"""

from __future__ import annotations

import itertools
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from prologue_bench.contracts.data import DataSource, Factor, Split
from prologue_bench.contracts.generator import (
    AutoregressiveGenerator,
    Generator,
    InspectedPrior,
    JointPrior,
    ParallelGenerator,
)
from prologue_bench.contracts.images import ImageArray, ImageSpec
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.loss import ReconstructionLoss
from prologue_bench.contracts.metric import Direction, Measurement, Metric, Need, Procedure
from prologue_bench.contracts.tokenizer import (
    ContinuousTokenizer,
    InspectedTokens,
    PriorRequest,
    Tokenizer,
)
from prologue_bench.errors import StageError, UserError
from prologue_bench.guard import of_component, short, shown

T = TypeVar("T")


def expect(found: object, kind: type[T], who: str, what: str = "") -> T:
    """What was found, if it is of that kind. Raises UserError."""
    if not isinstance(found, kind) and not what:
        raise UserError(
            f"{who}: found a {type(found).__name__}, expected a subclass of "
            f"{kind.__module__}.{kind.__name__}"
        )
    if not isinstance(found, kind):
        place = f"{who}: {what}" if what else who
        raise UserError(f"{place}: found {shown(found)}, expected {_called(kind)}")
    return found


def _called(kind: type[Any]) -> str:
    own = kind.__module__.startswith("prologue_bench")
    return f"a {kind.__module__}.{kind.__name__}" if own else f"a {kind.__name__}"


def check_tokenizer(tokenizer: object, who: str) -> Tokenizer:
    """A tokenizer with a layout, and a prior that fits it. Raises UserError."""
    found = expect(tokenizer, Tokenizer, who)  # type: ignore[type-abstract]
    with of_component(who):
        layout, prior = getattr(found, "layout", None), found.prior
        expect(layout, TokenLayout, who, "`layout`")
        if prior is not None:
            expect(prior, PriorRequest, who, "`prior`")
        for name in ("reconstructs", "frozen"):
            expect(getattr(found, name), bool, who, f"`{name}`")
    continuous = isinstance(found, ContinuousTokenizer)
    if continuous == bool(found.layout.segments):
        raise UserError(
            f"{who}: `layout`: found {len(found.layout.segments)} segments, expected "
            f"{'none of a ContinuousTokenizer' if continuous else 'at least one'}"
        )
    if continuous and not found.frozen:
        raise UserError(
            f"{who}: found a ContinuousTokenizer that is to be trained, expected `frozen = True`: "
            "only released ones can be measured"
        )
    return found


def check_generator(generator: object, who: str) -> Generator:
    """A generator that says how it draws. Raises UserError."""
    found = expect(generator, Generator, who)  # type: ignore[type-abstract]
    if not isinstance(found, AutoregressiveGenerator | ParallelGenerator):
        raise UserError(
            f"{who}: found a {type(found).__name__} that does not say how it draws, expected a "
            "subclass of AutoregressiveGenerator or ParallelGenerator of prologue_bench.contracts"
        )
    if isinstance(found, AutoregressiveGenerator):
        with of_component(who):
            problem = _problem_of_steps(
                found.steps, expect(found.layout, TokenLayout, who, "`layout`")
            )
        if problem:
            raise UserError(f"{who}: `steps`: {problem}")
    return found


def _problem_of_steps(steps: Sequence[int], layout: TokenLayout) -> str:
    """What is wrong with the numbers of tokens that are drawn at each step; empty for nothing."""
    stops = list(itertools.accumulate(steps))
    if min(steps, default=0) < 1 or stops[-1] != layout.length:
        return f"found {shown(list(steps))}, expected numbers that add up to {layout.length} tokens"
    for segment in layout:
        if layout.span(segment.name).stop not in stops:
            return f"a step goes beyond segment {segment.name!r}, expected steps within a segment"
    return ""


def check_prior(generator: Generator, who: str) -> JointPrior:
    """A generator that a tokenizer can learn from. Raises UserError."""
    if not isinstance(generator, JointPrior):
        raise UserError(
            f"{who} cannot be a tokenizer's prior: it is no prologue_bench.contracts.JointPrior, "
            "whose inputs can be relaxed and dropped; choose another in tokenizer_training.prior"
        )
    return generator


def check_loss(loss: object, who: str) -> ReconstructionLoss:
    """A loss of reconstructions. Raises UserError."""
    return expect(loss, ReconstructionLoss, who)  # type: ignore[type-abstract]


def check_class(cls: object, kind: type[nn.Module] | type[Metric], who: str) -> None:
    """Raises UserError if a component's class is not a class of its kind."""
    if not isinstance(cls, type) or not issubclass(cls, kind):
        raise UserError(
            f"{who}: found {shown(cls)}, expected a subclass of {kind.__module__}.{kind.__name__}"
        )


def check_needs(needs: object, who: str) -> tuple[str, ...]:
    """The names of what a metric reads. Raises UserError for a name that does not exist."""
    known = typing.get_args(Need)
    if isinstance(needs, str) or not isinstance(needs, Sequence):
        raise UserError(f"{who}: `needs` is {shown(needs)}, expected some of: {', '.join(known)}")
    for name in needs:
        if name not in known:
            raise UserError(
                f"{who} needs {short(repr(name))}, expected some of: {', '.join(known)}"
            )
    return tuple(needs)


def _is_text_pair(pair: tuple[object, object]) -> bool:
    return all(isinstance(text, str) for text in pair)


def problem_of_measurement(each: object) -> str:
    """What is wrong with one measurement; empty if nothing is."""
    if not isinstance(each, Measurement):
        return f"found {shown(each)}, expected a prologue_bench.contracts.metric.Measurement"
    for name in ("name", "title", "unit", "warning", "positions_of"):
        if not isinstance(value := getattr(each, name), str):
            return f"{name} is {shown(value)}, expected a text"
    if not each.name:
        return "found a measurement without a name"
    if not isinstance(each.against, Mapping) or not all(map(_is_text_pair, each.against.items())):
        return (
            f"{each.name}: against is {shown(each.against)}, expected names of numbers with titles"
        )
    if each.direction not in typing.get_args(Direction):
        return (
            f"{each.name}: direction is {shown(each.direction)}, "
            f"expected {', '.join(typing.get_args(Direction))}"
        )
    if not isinstance(each.protocol, Procedure):
        return f"{each.name}: protocol is {shown(each.protocol)}, expected a Procedure"
    for name, value in each.protocol.details.items():
        if not isinstance(value, str | int | float | bool | None):
            return (
                f"{each.name}: {name} of its protocol is {shown(value)}, "
                "expected a text, a number, true, false or None"
            )
    for name in ("value", "half_width", "count"):
        value = getattr(each, name)
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number and not (name == "half_width" and value is None):
            return f"{each.name}: {name} is {shown(value)}, expected a number"
    if not np.isfinite(each.value):
        return f"{each.name} is not a finite number"
    if each.half_width is not None and not (np.isfinite(each.half_width) and each.half_width > 0):
        return (
            f"{each.name}: half_width is {each.half_width}, expected a positive number, "
            "or None where it is not known"
        )
    if each.count < 1:
        return f"{each.name}: count is {each.count}, expected at least 1"
    return ""


def check_measurements(found: object, who: str) -> list[Measurement]:
    """What a metric gave, each name once. Raises StageError."""
    if isinstance(found, str | bytes | Mapping) or not hasattr(found, "__iter__"):
        raise StageError(f"{who}: `measure` gave {shown(found)}, expected a list of Measurements")
    with of_component(who, StageError):
        measurements: list[Any] = list(typing.cast(Any, found))
    for each in measurements:
        if problem := problem_of_measurement(each):
            raise StageError(f"{who}: {problem}")
    names = [each.name for each in measurements]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise StageError(f"{who}: found {', '.join(twice)} twice, expected each name once")
    return measurements


def check_inspected_tokens(tokens: object, layout: TokenLayout, count: int) -> InspectedTokens:
    """What a tokenizer's `inspect` gives. Raises StageError for what it cannot be.

    A tokenizer that has none of its own gives the ids of its `encode` there.
    """
    who = "tokenizer: `inspect`, or `encode` where it has none of its own"
    if not isinstance(tokens, InspectedTokens):
        raise StageError(f"{who} gives {shown(tokens)}, expected InspectedTokens")
    try:
        layout.check(tokens.ids, count)
    except ValueError as error:
        raise StageError(f"{who}: {error}") from None
    for name, vectors in tokens.latents.items():
        if name not in layout.names:
            raise StageError(
                f"{who}: found latents of {name!r}, expected segments: {', '.join(layout.names)}"
            )
        if vectors.ndim != 3 or len(vectors) != count:
            raise StageError(
                f"{who}: latents of {name!r} have shape {tuple(vectors.shape)}, "
                f"expected [{count}, positions, channels]"
            )
    return tokens


def check_inspected_prior(found: object, count: int) -> InspectedPrior:
    """What a prior's `inspect` gives. Raises StageError for what it cannot be."""
    who = "generator: `inspect`"
    if not isinstance(found, InspectedPrior):
        raise StageError(f"{who} gives {shown(found)}, expected an InspectedPrior")
    shape = tuple(found.losses.shape)
    if len(shape) != 2 or shape[0] != count:
        raise StageError(f"{who}: losses have shape {shape}, expected [{count}, positions]")
    if found.hits is not None and tuple(found.hits.shape) != shape:
        raise StageError(
            f"{who}: hits have shape {tuple(found.hits.shape)}, expected {shape}, that of losses"
        )
    return found


def problem_of_factor(factor: Factor, count: int) -> str:
    """What is wrong with a factor of `count` images; empty if nothing is."""
    kind: type[np.integer[Any] | np.floating[Any]] = np.int64 if factor.names else np.floating
    values: object = factor.values
    if not isinstance(values, np.ndarray) or not np.issubdtype(values.dtype, kind):
        of = f"{values.dtype} {list(values.shape)}" if isinstance(values, np.ndarray) else ""
        expected = "int64 [N], places in its names" if factor.names else "floats [N]"
        return f"values are {of or shown(values)}, expected {expected}"
    if values.shape != (count,):
        return f"values are {list(values.shape)}, expected [{count}], one for each label"
    if not isinstance(factor.names, tuple) or not all(isinstance(n, str) for n in factor.names):
        return f"names are {shown(factor.names)}, expected a tuple of texts"
    if factor.names and not (values.min() >= 0 and values.max() < len(factor.names)):
        return (
            f"values go from {values.min()} to {values.max()}, "
            f"expected 0 to {len(factor.names) - 1}, places in its names"
        )
    return "" if np.isfinite(values).all() else "values hold NaN or infinity"


class CheckedData(DataSource):
    """A data source whose every answer is checked against the contract.

    Errors of its own, and wrong answers, name it.
    """

    def __init__(self, data: object, who: str) -> None:
        self.who = who
        self.data = expect(data, DataSource, who)  # type: ignore[type-abstract]
        self.views = self._asked("views", lambda: self.data.views, int)
        if self.views < 1:
            raise UserError(f"{who}: `views` is {self.views}, expected at least 1")

    def __getattr__(self, name: str) -> Any:
        """What a source has beside the contract."""
        if name in ("data", "who"):
            raise AttributeError(name)
        return getattr(self.data, name)

    def _asked(self, what: str, ask: Callable[[], object], kind: type[T]) -> T:
        with of_component(self.who):
            found = ask()
        return expect(found, kind, self.who, f"`{what}`")

    def outline(self) -> DataSource:
        found = self._asked("outline()", self.data.outline, DataSource)  # type: ignore[type-abstract]
        return self if found is self.data else CheckedData(found, self.who)

    @property
    def spec(self) -> ImageSpec:
        return self._asked("spec", lambda: self.data.spec, ImageSpec)

    @property
    def fingerprint(self) -> str:
        found = self._asked("fingerprint", lambda: self.data.fingerprint, str)
        if not found:
            raise UserError(
                f"{self.who}: `fingerprint` is empty, expected a text that changes with the images"
            )
        return found

    @property
    def notes(self) -> tuple[str, ...]:
        found = self._asked("notes", lambda: self.data.notes, tuple)
        return tuple(expect(each, str, self.who, "`notes`") for each in found)

    def labels(self, split: Split) -> NDArray[Any]:
        found = self._asked(f"labels({split!r})", lambda: self.data.labels(split), np.ndarray)
        if found.dtype != np.int64 or found.ndim != 1:
            raise UserError(
                f"{self.who}: `labels({split!r})` gave {found.dtype} {list(found.shape)}, "
                "expected int64 [N]"
            )
        return found

    def names(self, split: Split) -> tuple[str, ...]:
        found = self._asked(f"names({split!r})", lambda: self.data.names(split), tuple)
        if found and len(found) != len(self.labels(split)):
            raise UserError(
                f"{self.who}: `names({split!r})` gave {len(found)} names, expected one for each "
                "image, or none"
            )
        return tuple(expect(each, str, self.who, "`names`") for each in found)

    def factors(self, split: Split) -> Mapping[str, Factor]:
        found = {each: self._factors(each) for each in typing.get_args(Split)}
        kinds = [{name: f.names for name, f in each.items()} for each in found.values()]
        if kinds[0] != kinds[1]:
            raise UserError(
                f"{self.who}: `factors` of the two splits differ in name or names of values: "
                f"found {shown(kinds[0])} and {shown(kinds[1])}, expected the same"
            )
        return found[split]

    def _factors(self, split: Split) -> Mapping[str, Factor]:
        what = f"factors({split!r})"
        found = self._asked(what, lambda: self.data.factors(split), Mapping)  # type: ignore[type-abstract]
        for name, factor in found.items():
            expect(name, str, f"{self.who}: `{what}`", "the name of a factor")
            place = f"{self.who}: `{what}`: {short(repr(name))}"
            expect(factor, Factor, place, "its value")
            if problem := problem_of_factor(factor, len(self.labels(split))):
                raise UserError(f"{place}: {problem}")
        return found

    def images(self, split: Split) -> ImageArray:
        return self._images(
            f"images({split!r})", lambda: self.data.images(split), len(self.labels(split))
        )

    def training_views(self) -> ImageArray:
        count = len(self.labels("train")) * self.views
        return self._images("training_views()", self.data.training_views, count)

    def _images(self, what: str, ask: Callable[[], object], count: int) -> ImageArray:
        with of_component(self.who):
            found: Any = ask()
            if not hasattr(found, "__getitem__") or not hasattr(found, "__len__"):
                raise TypeError(f"`{what}` gave {shown(found)}, expected images [N, C, H, W]")
            length = len(found)
        if length != count:
            raise UserError(
                f"{self.who}: `{what}` gave {length} images, expected {count}, "
                "as many as there are labels"
            )
        checked = CheckedImages(found, self.spec, f"{self.who}: `{what}`")
        if isinstance(found, np.ndarray):  # all are alike, and stay an array
            checked.check(found, count)
            return found
        return checked

    def subset(self, split: Split, count: int, seed: int = 0) -> NDArray[np.int64]:
        found = self._asked("subset", lambda: self.data.subset(split, count, seed), np.ndarray)
        if found.dtype != np.int64 or found.ndim != 1:
            raise UserError(
                f"{self.who}: `subset` gave {found.dtype} {list(found.shape)}, expected int64 [n]"
            )
        return found


class CheckedImages:
    """Images that are read when they are asked for, each batch held to the data's shape."""

    def __init__(self, images: ImageArray, spec: ImageSpec, who: str) -> None:
        self.images, self.spec, self.who = images, spec, who

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        with of_component(self.who):
            found = self.images[index]
        count = len(range(*index.indices(len(self)))) if isinstance(index, slice) else len(index)
        self.check(found, count)
        return found

    def check(self, found: object, count: int) -> None:
        """Raises UserError for images of another type or shape, or another number of them."""
        array = expect(found, np.ndarray, self.who)
        shape = (count, *self.spec.shape)
        if array.dtype != np.uint8 or array.shape != shape:
            raise UserError(
                f"{self.who} gave {array.dtype} {list(array.shape)}, expected uint8 {list(shape)}"
            )
