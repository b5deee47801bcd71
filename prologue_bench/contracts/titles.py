"""What a number is called, after the features that it is measured over."""

from __future__ import annotations

import re

INCEPTION_DISTANCE = re.compile(r"\b[a-z]?([FK])ID\b")
"""The Fréchet and the kernel *Inception* distance, with a letter before it such as in rFID."""


def over_features(title: str, features: str) -> str:
    """A title that names the features.

    FID and KID are the distances' names over Inception's features alone.

    >>> over_features("gFID, infinitely many", "EfficientNet-Lite0")
    'gFD (EfficientNet-Lite0), infinitely many'
    """
    if not features or f"({features})" in title:
        return title
    found = INCEPTION_DISTANCE.search(title)
    if found is None:
        return f"{title} ({features})"
    return f"{title[: found.end() - 2]}D ({features}){title[found.end() :]}"


def counterpart_of(title: str) -> str:
    """The published quantity of a title: "FID" of "rFID"."""
    found = INCEPTION_DISTANCE.search(title)
    return f"{found[1]}ID" if found else title
