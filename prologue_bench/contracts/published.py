"""How a measurement differs from published ones of its kind, mostly of ImageNet at 256 pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prologue_bench.contracts.images import ImageSpec
from prologue_bench.contracts.metric import Procedure

IMAGES = 50_000
"""Samples, or validation images of ImageNet."""
CLASSES = 1000
SIZE = 256


def compared(
    name: str,
    details: Mapping[str, str | int | float | bool | None],
    counterpart: str,
    differences: Sequence[str],
) -> Procedure:
    """A protocol that says how it differs from the published one of its kind, the counterpart."""
    return Procedure(
        name=name,
        details=details,
        counterpart=counterpart,
        published=not differences,
        note="; ".join(differences),
    )


def images_differ(spec: ImageSpec, count: int, what: str = "samples") -> list[str]:
    """How a set of images differs from those of published numbers on ImageNet at 256 pixels."""
    found = []
    if spec.shape != (3, SIZE, SIZE):
        found.append(
            f"images of {spec.channels} x {spec.height} x {spec.width} instead of 3 x {SIZE} x "
            f"{SIZE}"
        )
    if not spec.class_names:
        found.append("classes that are not known")
    elif len(spec.class_names) != CLASSES:
        found.append("other classes than ImageNet's")
    if count != IMAGES:
        found.append(f"{count:,} {what} instead of {IMAGES:,}")
    return found
