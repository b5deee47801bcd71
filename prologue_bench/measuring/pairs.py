"""Which image is the reconstruction of which, by the names of their files."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prologue_bench.errors import UserError, shortened
from prologue_bench.measuring.sources import Source

Order = NDArray[np.int64]
"""The place among the images of the partner of each image of the reference."""
BY_NAME = "paired by the names of their files"


def partners(images: Source, reference: Source, must: bool) -> tuple[Order | None, str]:
    """The order of the images in which they fit the reference, and how that is known.

    They fit by their names, without endings and the folders above all of them. Where one of the two
    has no names, there is no order, unless there `must` be: then names of files are numbers in the
    order of the other, and two sets without names are taken in their own. Raises UserError, in one
    line, where there must be an order and is none.
    """
    own, others = (_names(each) for each in (images, reference))
    if not must:
        found = _matched(own, others) if own and others else None
        return found, "" if found is None else BY_NAME
    counts = len(images.data.labels("test")), len(reference.data.labels("test"))
    if own and others:
        found = _matched(own, others)
        if found is None:
            raise UserError(_unmatched(images, reference, own, others))
        return found, BY_NAME
    if counts[0] != counts[1]:
        raise UserError(
            f"{images.title}: found {counts[0]:,} images, expected a reconstruction of each of the "
            f"{counts[1]:,} of {reference.title}"
        )
    named, nameless = (images, reference) if own else (reference, images)
    if not (own or others):
        return np.arange(counts[0]), "paired in their order: neither has names"
    numbers = [posixpath.basename(each) for each in own or others]
    if not all(each.isascii() and each.isdecimal() and len(each) < 10 for each in numbers):
        raise UserError(
            f"{named.title}: found the name {shortened(numbers[0])}; {nameless.title} has no names "
            "to pair with, expected numbers in its order: 0.png, 1.png and so on"
        )
    places = np.array([int(each) for each in numbers], dtype=np.int64)
    if sorted(places) != list(range(counts[0])):
        raise UserError(
            f"{named.title}: found numbers from {places.min()} to {places.max()}, expected each "
            f"from 0 to {counts[0] - 1}, in the order of {nameless.title}"
        )
    # Sorting by number puts what has names into the order of what has none.
    order = np.argsort(places) if own else places
    return order, "paired by the numbers in the names of files"


def _names(source: Source) -> list[str]:
    """Names without endings and the folders that all images lie in."""
    names = [posixpath.splitext(each)[0] for each in source.data.names("test")]
    if not names:
        return []
    above = posixpath.commonpath([posixpath.dirname(f"/{each}") for each in names])
    return [f"/{each}"[len(above) :].lstrip("/") for each in names]


def _matched(own: Sequence[str], others: Sequence[str]) -> Order | None:
    """The place among `own` of each of `others`: by whole names, else by those of files alone."""
    for kind in (str, posixpath.basename):
        mine, theirs = [kind(each) for each in own], [kind(each) for each in others]
        place = {name: index for index, name in enumerate(mine)}
        if len(place) == len(mine) == len(theirs) and place.keys() == set(theirs):
            return np.array([place[name] for name in theirs], dtype=np.int64)
    return None


def _unmatched(images: Source, reference: Source, own: Sequence[str], others: Sequence[str]) -> str:
    extra, missing = set(own) - set(others), set(others) - set(own)
    if not extra and not missing:
        source, names = (images, own) if len(set(own)) < len(own) else (reference, others)
        twice = shortened(next(name for name, count in Counter(names).items() if count > 1))
        return f"{source.title}: found two files {twice}, endings aside, expected each image once"
    parts = [
        f"{len(names):,} of {source.title} without a partner, such as {shortened(min(names))}"
        for names, source in ((extra, images), (missing, reference))
        if names
    ]
    return f"found {' and '.join(parts)}; expected files of the same names, endings aside"
