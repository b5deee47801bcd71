"""The contract of data sources."""

from __future__ import annotations

import typing
from collections.abc import Callable
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from prologue_bench.config.experiments import Resolved
from prologue_bench.conformance.checks import Broken, Check, ConstructorFailed, Skipped, require
from prologue_bench.conformance.varying import MOST, varied
from prologue_bench.contracts.checked import CheckedData
from prologue_bench.contracts.data import SPLITS, Split
from prologue_bench.contracts.fetching import nothing_fetched
from prologue_bench.contracts.images import ImageArray, ImageSpec
from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.guard import of_component

LOOKED_AT = 16
"""Images of a split that are read."""
COMPARED = 256
"""Images of a split that are compared with those of other settings, which may change only some."""


def checks(resolved: Resolved, images: ImageSpec) -> list[Check]:
    """All checks of one data source, on its own images."""
    subject = _Subject(resolved)
    return [
        Check("spec", "`spec` is an ImageSpec, the same each time", subject.spec),
        Check(
            "splits",
            "`labels` are int64 [N] of the classes, with images in both splits",
            subject.splits,
        ),
        Check("images", "`images` are uint8 [N, C, H, W], as many as labels", subject.images),
        Check("views", "`training_views` are uint8 [N * views, C, H, W]", subject.views),
        Check("fingerprint", "`fingerprint` is a text that stays the same", subject.fingerprint),
        Check(
            "settings",
            "`fingerprint` changes with each setting that changes images or labels",
            subject.settings,
        ),
        Check(
            "repeats",
            "the same images and labels come each time, alone or together",
            subject.repeats,
        ),
        Check(
            "factors",
            "`factors` are int64 with names, or floats, and the same each time and in both splits",
            subject.factors,
        ),
        Check(
            "subset",
            "`subset` is sorted, balanced, seeded, and part of a larger one",
            subject.subset,
        ),
    ]


class _Subject:
    def __init__(self, resolved: Resolved) -> None:
        self.resolved = resolved

    def make(self, settings: object = None) -> CheckedData:
        """A new instance, whose answers are held to what a run holds them to.

        With other settings than those that it is checked with, if they are given.
        """
        try:
            with of_component("it"):
                source = self.resolved.component.load()(settings or self.resolved.settings)
        except MissingDataError as error:
            raise Skipped(f"its images are not at hand: {error}") from None
        except UserError as error:
            raise ConstructorFailed(str(error)) from error.__cause__
        try:
            made = CheckedData(source, "it")
            _ = made.spec
        except MissingDataError as error:
            raise Skipped(f"its images are not at hand: {error}") from None
        except UserError as error:
            raise Broken(str(error)) from None
        return made

    def spec(self) -> None:
        spec = self.make().spec
        require(spec == self.make().spec, "another instance has another `spec`")
        unnamed = [label for label, name in enumerate(spec.class_names) if not name.strip()]
        require(not unnamed, f"class {', '.join(map(str, unnamed[:3]))} has an empty name")

    def splits(self) -> None:
        data = self.make()
        classes = max(1, len(data.spec.class_names))
        for split in SPLITS:
            labels = self._labels(data, split)
            require(len(labels) > 0, f"found no {split} images")
            low, high = int(labels.min()), int(labels.max())
            require(
                low >= 0 and high < classes,
                f"{split} labels go from {low} to {high}, expected 0 to {classes - 1}",
            )

    def images(self) -> None:
        data = self.make()
        for split in SPLITS:
            images = self._images(partial(data.images, split))
            count = len(images)
            for index in (slice(0, min(3, count)), [count - 1, 0], slice(count - 1, count)):
                self._read(images, index)

    def views(self) -> None:
        data = self.make()
        views = self._images(data.training_views)
        self._read(views, slice(0, min(len(views), data.views)))
        self._read(views, [len(views) - 1])

    def fingerprint(self) -> None:
        try:
            made = self.make(), self.make()
            one, other = (each.fingerprint for each in made)
        except UserError as error:
            raise Broken(str(error)) from None
        require(one == other, f"`fingerprint` is {one!r} first and then {other!r}")

    def settings(self) -> None:
        made, tried = self.make(), 0
        for name, value, settings in islice(varied(self.resolved.settings), MOST):
            with nothing_fetched():
                try:
                    other = self.make(settings)
                    same = other.fingerprint == made.fingerprint
                    changed = self._changed(made, other) if same else ""
                except (Broken, ConstructorFailed, Skipped, UserError):
                    continue  # such as an option that other data have
            tried += 1
            require(
                not changed,
                f"`fingerprint` stays the same with {name} = {value!r}, which gives other "
                f"{changed}; numbers of one would be taken for the other's",
            )
        if not tried:
            raise Skipped("it has no setting of which another value is known")

    def _changed(self, one: CheckedData, other: CheckedData) -> str:
        """The first of what two sources give that differs; empty where nothing does."""
        if one.spec != other.spec:
            return "sizes, channels or classes"
        for split in SPLITS:
            labels, others = self._labels(one, split), self._labels(other, split)
            if not np.array_equal(labels, others):
                return f"{split} labels"
            if self._differ(partial(one.images, split), partial(other.images, split)):
                return f"{split} images"
            factors, known = one.factors(split), other.factors(split)
            if factors.keys() != known.keys() or any(
                not np.array_equal(each.values, known[name].values)
                for name, each in factors.items()
            ):
                return f"{split} factors"
        if one.views != other.views or self._differ(one.training_views, other.training_views):
            return "training views"
        return ""

    def _differ(self, one: Callable[[], ImageArray], other: Callable[[], ImageArray]) -> bool:
        both = [self._images(each) for each in (one, other)]
        if len(both[0]) != len(both[1]):
            return True
        chosen = self._some(len(both[0]), COMPARED)
        first, second = (self._read(each, chosen) for each in both)
        return not np.array_equal(first, second)

    def repeats(self) -> None:
        one, other = self.make(), self.make()
        given: dict[str, ImageArray] = {}
        for split in SPLITS:
            labels = self._labels(one, split)
            require(
                np.array_equal(labels, self._labels(other, split)),
                f"{split} labels differ the second time",
            )
            chosen = self._some(len(labels))
            first, again = (self._images(partial(each.images, split)) for each in (one, other))
            together = self._read(first, chosen)
            require(
                np.array_equal(together, self._read(again, chosen)),
                f"{split} images differ the second time",
            )
            alone = np.concatenate([self._read(first, [index]) for index in chosen])
            require(
                np.array_equal(together, alone),
                f"{split} images differ with those that are read beside them",
            )
            again = self._images(partial(one.images, split))
            require(
                np.array_equal(together, self._read(again, chosen))
                and np.array_equal(together, self._read(first, chosen)),
                f"{split} images differ when they are asked for a second time; give an array of "
                "its own at each call, or the same one unchanged",
            )
            given[split] = first
        require(
            not _share_memory(*given.values()),
            "test images share memory with train images; give each split images of its own",
        )

    def factors(self) -> None:
        one, other = self.make(), self.make()
        for split in SPLITS:
            try:
                found, again = one.factors(split), other.factors(split)
            except UserError as error:
                raise Broken(str(error)) from None
            if not found and not again:
                raise Skipped("it knows no factors of its images")
            require(found.keys() == again.keys(), f"other factors of {split} the second time")
            for name, factor in found.items():
                require(
                    np.array_equal(factor.values, again[name].values),
                    f"factor {name!r} of {split} differs the second time",
                )

    def subset(self) -> None:
        data = self.make()
        for split in SPLITS:
            labels = self._labels(data, split)
            try:
                whole = data.subset(split, len(labels) + 5)
                large, small = (data.subset(split, max(1, len(labels) // part)) for part in (2, 4))
                again = data.subset(split, len(small))
            except UserError as error:
                raise Broken(str(error)) from None
            require(
                np.array_equal(whole, np.arange(len(labels))),
                f"more than all of {split} is not all of it",
            )
            require(
                len(small) == max(1, len(labels) // 4),
                f"found {len(small)} of {split}, asked for another number",
            )
            require(np.array_equal(small, again), f"a subset of {split} differs the second time")
            require(
                bool((np.diff(small) > 0).all()),
                f"a subset of {split} is not sorted, or has an image twice",
            )
            require(
                bool(np.isin(small, large).all()),
                f"a subset of {split} is not part of a larger one",
            )
            _check_balance(labels, small, split)

    def _some(self, count: int, most: int = LOOKED_AT) -> list[int]:
        return sorted({int(index) for index in np.linspace(0, count - 1, min(most, count))})

    def _labels(self, data: CheckedData, split: Split) -> NDArray[np.int64]:
        try:
            return data.labels(split)
        except UserError as error:
            raise Broken(str(error)) from None

    def _images(self, ask: Callable[[], ImageArray]) -> ImageArray:
        try:
            return ask()
        except UserError as error:
            raise Broken(str(error)) from None

    def _read(self, images: ImageArray, index: typing.Any) -> NDArray[np.uint8]:
        """A copy: a source that fills one array at each call would be compared with itself."""
        try:
            return np.array(images[index])
        except UserError as error:
            raise Broken(str(error)) from None


def _share_memory(one: ImageArray, other: ImageArray) -> bool:
    """Whether two arrays have a number in common, as far as that can be told at once."""
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return False
    try:
        return np.shares_memory(one, other, max_work=100_000)  # type: ignore[arg-type]
    except RuntimeError:  # too hard to tell
        return False


def _check_balance(labels: NDArray[np.int64], chosen: NDArray[np.int64], split: str) -> None:
    """Classes may differ by one image, but for those that have no more."""
    known = np.unique(labels)
    counts = {int(label): int((labels[chosen] == label).sum()) for label in known}
    most = max(counts.values())
    for label, count in counts.items():
        has = int((labels == label).sum())
        require(
            count >= min(has, most - 1),
            f"a subset of {split} has {count} images of class {label} and {most} of another",
        )
