"""Variants' names where there is little room: without what all of them repeat."""

from __future__ import annotations

from collections.abc import Sequence


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


def in_common(names: Sequence[str]) -> str:
    """The parts of names that are equal in all: "2d" of "2d, 1" and "2d, 2"."""
    parts = [name.split(", ") for name in names]
    if len({len(each) for each in parts}) != 1:
        return ""
    return ", ".join(texts[0] for texts in zip(*parts, strict=True) if len(set(texts)) == 1)
