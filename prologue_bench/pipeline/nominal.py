"""What stands for a data set's images in a plan: their outline, or the data set's card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from prologue_bench.config.ablation import Ablation
from prologue_bench.config.structure import structure
from prologue_bench.contracts.data import DataSource, Split
from prologue_bench.contracts.fetching import nothing_fetched
from prologue_bench.contracts.images import ImageSpec
from prologue_bench.errors import MissingDataError
from prologue_bench.pipeline.workspace import Workspace, identity


@frozen(kw_only=True)
class Nominal:
    """Sizes of a data set, from the `nominal` part of its card in registry/datasets."""

    channels: int
    height: int
    width: int
    classes: int
    train: int
    test: int
    views: int = 1


class NominalData(DataSource):
    """As many images of the same shape as the data set has, which cannot be read."""

    def __init__(self, sizes: Nominal, reason: MissingDataError) -> None:
        self.sizes, self.reason = sizes, reason
        self.views = sizes.views

    @property
    def spec(self) -> ImageSpec:
        classes = tuple(str(index) for index in range(self.sizes.classes))
        sizes = self.sizes
        return ImageSpec(
            channels=sizes.channels, height=sizes.height, width=sizes.width, class_names=classes
        )

    @property
    def fingerprint(self) -> str:
        return "missing"

    def images(self, split: Split) -> NoReturn:
        raise self.reason

    def labels(self, split: Split) -> NDArray[Any]:
        count = self.sizes.train if split == "train" else self.sizes.test
        return np.arange(count, dtype=np.int64) % max(1, self.sizes.classes)


@contextmanager
def planned_data(ablation: Ablation, workspace: Workspace) -> Iterator[str]:
    """Inside, nothing is fetched, and data sets are outlines: no image is decoded.

    Yields notes on them, in lines. Raises MissingDataError for a data set that is not at hand and
    whose card gives no sizes.
    """
    with nothing_fetched(), workspace.assumptions():
        yield assume_missing_data(ablation, workspace)


def assume_missing_data(ablation: Ablation, workspace: Workspace) -> str:
    """Let outlines stand for data sets, and cards for those that are not at hand.

    Returns lines that say so, if any. Raises MissingDataError where the card gives no sizes.
    """
    notes = {}
    for experiment in ablation.experiments:
        name, of = experiment.data.name, identity(experiment.data)
        if of in notes:
            continue
        try:
            source = workspace.open_data(experiment.data)
            outline = source.outline()
            _ = outline.spec
        except MissingDataError as error:
            sizes: Mapping[str, Any] | None = ablation.registry.card("datasets", name).get(
                "nominal"
            )
            if sizes is None:
                raise
            where = f"registry/datasets/{name}.yaml: nominal"
            outline = NominalData(structure(Nominal, sizes, where), error)
            notes[of] = (
                f"Planned without the images of {name!r}, from its card; keys depend on them. "
                f"{error}"
            )
        else:
            notes[of] = "\n".join(outline.notes) if outline is not source else ""
        workspace.assume_data(experiment.data, outline)
    return "\n".join(filter(None, notes.values()))
