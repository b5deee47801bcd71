"""Layout persistence: how much of an image its first tokens, or others, fix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from prologue_bench.contracts import (
    Measurement,
    Metric,
    MetricInputs,
    PlannedInputs,
    Procedure,
    TokenLayout,
    fixed_at,
    to_bytes,
)
from prologue_bench.errors import DoesNotApply, listed
from prologue_bench.seeds import Name, stream
from prologue_bench.stats.intervals import half_width
from prologue_bench.texts.ranges import ranges
from prologue_plugins.metrics.features import check_features, extract_features, extractor_details
from prologue_plugins.metrics.prefixes import check_prefixes
from prologue_plugins.metrics.settings import LayoutSettings


@frozen
class _Shared:
    """The tokens that a group shares."""

    places: Sequence[int]
    """Among the L."""
    name: str
    title: str
    text: str
    """As the procedure has it."""


def _first(length: int) -> _Shared:
    return _Shared(range(length), str(length), f"first {length} tokens", f"the first {length}")


def _chosen(settings: LayoutSettings, layout: TokenLayout) -> _Shared:
    """The tokens that settings name."""
    numbers, of = ranges(settings.positions), f" of {settings.segment}" if settings.segment else ""
    parts = [settings.segment, f"at_{numbers.replace(',', '_')}" if numbers else ""]
    text = f"{'tokens' if numbers else 'all tokens'}{f' {numbers}' if numbers else ''}{of}"
    return _Shared(
        _places(settings, layout),
        "_".join(filter(None, parts)),
        text,
        f"{text}, counted from 0" if numbers else text,
    )


def _places(settings: LayoutSettings, layout: TokenLayout) -> list[int]:
    """Where the tokens that settings name stand among the L.

    Raises DoesNotApply where a layout does not have them, or no others.
    """
    if settings.segment and settings.segment not in layout.names:
        raise DoesNotApply(f"found no segment {settings.segment!r}, but {listed(layout.names)}")
    span = layout.span(settings.segment) if settings.segment else slice(0, layout.length)
    count = span.stop - span.start
    if settings.positions and settings.positions[-1] >= count:
        where = f"segment {settings.segment!r}" if settings.segment else "an image"
        raise DoesNotApply(
            f"found {count} tokens of {where}, expected more than {settings.positions[-1]}"
        )
    places = [span.start + each for each in settings.positions or range(count)]
    if len(places) == layout.length:
        raise DoesNotApply("all tokens would be shared, so that nothing is left to be drawn")
    return places


class Layout(Metric):
    """Similarity of samples that share their first n tokens, minus that of others of their class.

    n runs over the lengths of the variants' leading segments, so that a prologue is compared with
    equally many first tokens of the baseline. Similarity is the correlation of low-pass pixels, and
    of features, around the mean of the class; so what the class fixes does not count. Instead of
    the first n, any other tokens can be shared: tokens before them are then drawn as without them.
    """

    needs = ("tokenizer", "draw", "prefixes")

    def __init__(self, settings: LayoutSettings) -> None:
        self.settings = settings

    def check(self, planned: PlannedInputs) -> None:
        if self._chooses:
            _places(self.settings, planned.layout)
        else:
            check_prefixes(planned, planned.layout.length - 1)
        check_features(self.settings, planned)

    @property
    def _chooses(self) -> bool:
        """Whether the settings say which tokens are shared."""
        return bool(self.settings.positions or self.settings.segment)

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        shared = (
            [_chosen(self.settings, inputs.layout)]
            if self._chooses
            else [_first(n) for n in inputs.prefixes if n < inputs.layout.length]
        )
        found = []
        for index, tokens in enumerate(shared):
            images = self._resampled(inputs, tokens.places)
            pixels = adaptive_avg_pool2d(torch.from_numpy(images).float(), self.settings.lowpass)
            features = extract_features(
                images, self.settings, inputs.device, lambda done, total: None
            )
            for space, vectors in (("pixels", pixels.flatten(1).numpy()), ("features", features)):
                values = persistence(vectors, self._shape(inputs))
                found.append(self._measurement(inputs, tokens, space, values, len(images)))
            inputs.advance(index + 1, len(shared))
        return found

    def _shape(self, inputs: MetricInputs) -> tuple[int, int, int]:
        classes = max(1, len(inputs.data.spec.class_names))
        return classes, self.settings.groups_per_class, self.settings.group_size

    def _resampled(self, inputs: MetricInputs, places: Sequence[int]) -> NDArray[Any]:
        """uint8 images, class by class and group by group; a group shares the tokens there."""
        classes, groups, size = self._shape(inputs)
        labels = torch.arange(classes).repeat_interleave(groups)
        first = _draw(inputs, labels, None, "shared tokens", self.settings.seed)
        ids = _draw(
            inputs,
            labels.repeat_interleave(size),
            fixed_at(first, places).repeat_interleave(size, dim=0),
            "other tokens",
            self.settings.seed,
        )
        parts = torch.split(ids, 250)
        images = [to_bytes(inputs.decode(part)).cpu() for part in parts]
        return torch.cat(images).numpy()

    def _measurement(
        self, inputs: MetricInputs, shared: _Shared, space: str, values: NDArray[Any], count: int
    ) -> Measurement:
        details: dict[str, str | int | float | bool | None] = {
            "tokens": shared.text,
            "groups_per_class": self.settings.groups_per_class,
            "group_size": self.settings.group_size,
            "seed": self.settings.seed,
            "fingerprint": inputs.data.fingerprint,
            **{
                f"sampling.{key}": item
                for key, item in inputs.sampling.items()
                if key not in ("samples", "seed")
            },
        }
        if space == "pixels":
            details["lowpass"] = self.settings.lowpass
        else:
            details.update(extractor_details(self.settings))
        return Measurement(
            name=f"layout_{space}_{shared.name}",
            title=f"layout persistence, {space}, {shared.title}",
            value=float(values.mean()),
            half_width=half_width(values),
            unit="",
            direction="higher",
            count=count,
            detail=space == "features",
            protocol=Procedure(name=f"layout-persistence, {space}", details=details),
        )


def _draw(inputs: MetricInputs, labels: Tensor, fixed: Tensor | None, *names: Name) -> Tensor:
    """Ids of samples in batches, each with a seed of its own."""
    parts = []
    for start in range(0, len(labels), 250):
        rows = slice(start, start + 250)
        parts.append(
            inputs.draw(labels[rows], None if fixed is None else fixed[rows], stream(*names, start))
        )
    return torch.cat(parts)


def persistence(vectors: NDArray[Any], shape: tuple[int, int, int]) -> NDArray[Any]:
    """Mean correlation inside each group minus that with others of its class: [classes * groups].

    Vectors [classes * groups * size, F] are centred on the mean of their class. The groups' mean is
    the persistence.
    """
    classes, groups, size = shape
    x = vectors.reshape(classes, groups * size, -1).astype(np.float64)
    x = x - x.mean(axis=1, keepdims=True)
    x /= np.maximum(np.linalg.norm(x, axis=2, keepdims=True), 1e-12)
    similarity = np.einsum("cif,cjf->cij", x, x).reshape(classes, groups, size, groups, size)
    own = np.einsum("cgigj->cgij", similarity)
    whole, inside = similarity.sum(axis=(2, 3, 4)), own.sum(axis=(2, 3))
    pairs = inside - np.einsum("cgii->cg", own)
    between = (whole - inside) / (size * size * (groups - 1))
    values: NDArray[Any] = (pairs / (size * (size - 1)) - between).ravel()
    return values
