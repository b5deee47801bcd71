"""How many images numbers are of: by their protocols, and by the data that these are of.

How many samples a generator drew, its settings say (`results.restated`). How many images the file
of a reference has cannot be known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, TypeGuard

from prologue_bench.contracts.subsets import SUBSETS
from prologue_bench.results.findings import Findings, number, place_of
from prologue_bench.results.known import foreign_metrics, known_numbers
from prologue_bench.results.schema import DataRecord, MeasurementRecord, Results, Scalar
from prologue_bench.results.sources import source_of

TEXTS = (
    *SUBSETS,
    re.compile(r"the first (?P<some>\d+)(?: images)? of the (?P<split>train|test) split"),
)
"""How protocols say which images of the data they are of; the last one is of older versions."""
COUNTED = ("images", "test")
"""Details that tell the images that a number counts. Others tell those that it is held against."""
GROUPS = ("groups_per_class", "group_size")
RECONSTRUCTIONS = "rfid"
"""How numbers begin whose `samples` are reconstructions of test images."""
Images = tuple[str, int, int | None]
"""A split, how many of its images, and how many it has; None where a protocol does not say it."""


def images_counted(results: Results, findings: Findings) -> None:
    """Tells numbers of more images than there are, or of others than their protocol says."""
    foreign = foreign_metrics(results)
    data = {each.name: source_of(results, each.name).data for each in results.variants}
    numbers = [(run, each) for run in results.runs for each in known_numbers(run, foreign)]
    findings.tell_together(
        (place_of(run, each.name), text, number(run, each))
        for run, each in numbers
        for text in _beyond(each, data[run.variant])
    )
    findings.tell_together(
        (place_of(run, each.name), text, number(run, each))
        for run, each in numbers
        if each.value is not None and not findings.refused(number(run, each))
        for text in _uncounted(each, data[run.variant])
    )


def _beyond(each: MeasurementRecord, data: DataRecord) -> Iterator[str]:
    """What a protocol says of the data that is not so; only the first mistake."""
    sizes = {"train": data.train, "test": data.test}
    told = [images for detail in each.protocol.details.values() if (images := _images(detail))]
    samples = each.protocol.details.get("samples")
    if each.name.startswith(RECONSTRUCTIONS) and is_count(samples):
        told.append(("test", samples, None))
    for split, some, whole in told:
        size = sizes[split]
        if some > size or whole not in (None, size):
            found = some if whole in (None, size) else whole
            yield f"found {found} {split} images in the protocol, expected {size} as in the data"
            return


def _images(detail: Scalar) -> Images | None:
    matches = (text.match(detail) for text in TEXTS) if isinstance(detail, str) else ()
    for told in (dict[str, Any](found.groupdict()) for found in matches if found):
        whole = int(told["whole"]) if "whole" in told else None
        return told["split"], int(told["some"] if "some" in told else told["whole"]), whole
    return None


def _uncounted(each: MeasurementRecord, data: DataRecord) -> Iterator[str]:
    """Why a number cannot count as many images as it says."""
    details = each.protocol.details
    samples = details.get("samples")
    groups = [size for name in GROUPS if is_count(size := details.get(name))]
    told = [images for name in COUNTED if (images := _images(details.get(name)))]
    if told:
        expected, what = told[0][1], "images"
    elif is_count(samples):
        expected, what = samples, "samples"
    elif len(groups) == len(GROUPS):
        classes = max(1, len(data.classes))
        expected, what = classes * math.prod(groups), "samples"
    else:
        return
    if each.count != expected:
        more = "more" if each.count > expected else "fewer"
        yield f"measured on {each.count}, {more} than the {expected} {what} of the protocol"


def is_count(value: object) -> TypeGuard[int]:
    """Whether a detail of a protocol is a number of things."""
    return isinstance(value, int) and not isinstance(value, bool)
