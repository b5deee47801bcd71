"""Variants' names where there is little room: without what all of them repeat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile


def common_setting(names: Sequence[str]) -> str:
    """The one setting after whose value all variants are named; empty where they are not."""
    starts = {name.partition("=")[0] for name in names}
    if len(starts) > 1 or any("=" not in name or ", " in name for name in names):
        return ""
    return next(iter(starts), "")


def short_names(names: Sequence[str]) -> dict[str, str]:
    """What tells the variants apart: "4" of "tokens=4", where all are named after one setting."""
    if not common_setting(names):
        return {name: name for name in names}
    return {name: name.partition("=")[2] for name in names}


def shortest_names(names: Sequence[str]) -> dict[str, str]:
    """Names for a place with little room: "2d, 4" of "2d, layers=4", where all have layers there.

    A plot with the whole names stands beside it, in the same order.
    """
    parts = [name.split(", ") for name in names]
    if len({len(each) for each in parts}) != 1:
        return short_names(names)
    shown = []
    for texts in zip(*parts, strict=True):
        pairs = [text.partition("=") for text in texts]
        is_setting = len({key for key, *_ in pairs}) == 1 and all(sign for _, sign, _ in pairs)
        shown.append([value for *_, value in pairs] if is_setting else texts)
    return {
        name: ", ".join(each) for name, each in zip(names, zip(*shown, strict=True), strict=True)
    }


def listed_names(names: Sequence[str]) -> dict[str, str]:
    """Names in a list: "tokens=4, 8", where all are named after one setting.

    >>> list(listed_names(["tokens=4", "tokens=8"]).values())
    ['tokens=4', '8']
    """
    short = short_names(names)
    return {name: short[name] if index else name for index, name in enumerate(names)}


def fitted_names(names: Sequence[str], most: int) -> dict[str, str]:
    """Names of at most so many characters, which tell apart what the whole ones do.

    A longer one loses its middle, or, where that is what differs, its beginning and end.

    >>> list(fitted_names(["first report: tokens=4", "first report: tokens=8"], 14).values())
    ['firs… tokens=4', 'firs… tokens=8']
    """
    alike = defaultdict(list)
    for name in dict.fromkeys(names):
        alike[_without_middle(name, most)].append(name)
    return {
        name: shown if len(group) == 1 else _around_difference(name, group, most)
        for shown, group in alike.items()
        for name in group
    }


def _without_middle(name: str, most: int) -> str:
    if len(name) <= most:
        return name
    head = (most - 1) // 3
    return f"{name[:head]}…{name[len(name) - (most - 1 - head) :]}"


def _around_difference(name: str, alike: Sequence[str], most: int) -> str:
    """The part of a name that others do not have, with what stands around it."""
    start = _alike_from_the_left(alike)
    end = len(name) - _alike_from_the_left([each[start:][::-1] for each in alike])
    spare = most - 2 - (end - start)
    if spare < 0:
        return _without_middle(name[start:end], most)
    left = max(0, start - spare // 2)
    right = min(len(name), left + most - 2)
    return f"{'…' * (left > 0)}{name[left:right]}{'…' * (right < len(name))}"


def _alike_from_the_left(texts: Sequence[str]) -> int:
    columns = zip(*texts, strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def in_common(names: Sequence[str]) -> str:
    """The parts of names that are equal in all: "2d" of "2d, 1" and "2d, 2"."""
    parts = [name.split(", ") for name in names]
    if len({len(each) for each in parts}) != 1:
        return ""
    return ", ".join(texts[0] for texts in zip(*parts, strict=True) if len(set(texts)) == 1)
