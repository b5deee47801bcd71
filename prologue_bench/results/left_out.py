"""Which metrics do not apply to which variants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def notes_on(left_out: Iterable[tuple[str, str, str]], variants: int) -> list[str]:
    """A line for each metric and reason, which names the variants that it holds for.

    `left_out` has metric, variant and reason; there are `variants` variants in all.
    """
    held: dict[tuple[str, str], dict[str, None]] = {}
    for metric, variant, reason in left_out:
        held.setdefault((metric, reason), {})[variant] = None
    return [
        f"{metric}: does not apply{_to(list(of), variants)}: {reason}"
        for (metric, reason), of in held.items()
    ]


def _to(of: Sequence[str], variants: int) -> str:
    if len(of) == variants:
        return " to any variant" if variants > 1 else ""
    return f" to variant{'s' if len(of) > 1 else ''} {', '.join(of)}"
