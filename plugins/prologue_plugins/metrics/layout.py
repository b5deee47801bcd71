"""Layout persistence: how much of an image its first tokens fix."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from prologue_bench.contracts import (
    Measurement,
    Metric,
    MetricInputs,
    PlannedInputs,
    Procedure,
    to_bytes,
)
from prologue_bench.seeds import Name, stream
from prologue_bench.stats.intervals import half_width
from prologue_plugins.metrics.features import check_features, extract_features, extractor_details
from prologue_plugins.metrics.prefixes import check_prefixes
from prologue_plugins.metrics.settings import LayoutSettings


class Layout(Metric):
    """Similarity of samples that share their first n tokens, minus that of others of their class.

    n runs over the lengths of the variants' leading segments, so that a prologue is compared with
    equally many first tokens of the baseline. Similarity is the correlation of low-pass pixels, and
    of features, around the mean of the class; so what the class fixes does not count.
    """

    needs = ("tokenizer", "draw", "prefixes")

    def __init__(self, settings: LayoutSettings) -> None:
        self.settings = settings

    def check(self, planned: PlannedInputs) -> None:
        check_prefixes(planned, planned.layout.length - 1)
        check_features(self.settings, planned)

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        lengths = [n for n in inputs.prefixes if n < inputs.layout.length]
        found = []
        for index, length in enumerate(lengths):
            images = self._resampled(inputs, length)
            pixels = adaptive_avg_pool2d(torch.from_numpy(images).float(), self.settings.lowpass)
            features = extract_features(
                images, self.settings, inputs.device, lambda done, total: None
            )
            for space, vectors in (("pixels", pixels.flatten(1).numpy()), ("features", features)):
                values = persistence(vectors, self._shape(inputs))
                found.append(self._measurement(inputs, length, space, values, len(images)))
            inputs.advance(index + 1, len(lengths))
        return found

    def _shape(self, inputs: MetricInputs) -> tuple[int, int, int]:
        classes = max(1, len(inputs.data.spec.class_names))
        return classes, self.settings.groups_per_class, self.settings.group_size

    def _resampled(self, inputs: MetricInputs, length: int) -> NDArray[Any]:
        """uint8 images, class by class and group by group; a group shares its first tokens."""
        classes, groups, size = self._shape(inputs)
        labels = torch.arange(classes).repeat_interleave(groups)
        first = _draw(inputs, labels, None, "shared tokens", self.settings.seed)[:, :length]
        ids = _draw(
            inputs,
            labels.repeat_interleave(size),
            first.repeat_interleave(size, dim=0),
            "other tokens",
            self.settings.seed,
        )
        parts = torch.split(ids, 250)
        images = [to_bytes(inputs.tokenizer.decode(part.to(inputs.device))).cpu() for part in parts]
        return torch.cat(images).numpy()

    def _measurement(
        self, inputs: MetricInputs, length: int, space: str, values: NDArray[Any], count: int
    ) -> Measurement:
        details: dict[str, str | int | float | bool | None] = {
            "tokens": f"the first {length}",
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
            name=f"layout_{space}_{length}",
            title=f"layout persistence, {space}, first {length} tokens",
            value=float(values.mean()),
            half_width=half_width(values),
            unit="",
            direction="higher",
            count=count,
            detail=space == "features",
            protocol=Procedure(name=f"layout-persistence, {space}", details=details),
        )


def _draw(inputs: MetricInputs, labels: Tensor, prefix: Tensor | None, *names: Name) -> Tensor:
    """Ids of samples in batches, each with a seed of its own."""
    parts = []
    for start in range(0, len(labels), 250):
        rows = slice(start, start + 250)
        parts.append(
            inputs.draw(
                labels[rows], None if prefix is None else prefix[rows], stream(*names, start)
            )
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
