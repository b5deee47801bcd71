"""What is seen inside a tokenizer's training: names of its figures, and what they warn of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prologue_bench.results.schema import Columns
from prologue_bench.stats.collapse import LEAST_BITS, collapsed_segment

BITS = "joint_bits"
"""Entropy of a segment's ids together over the images, of segments that learn from the prior."""
REDUNDANCY = "redundancy"
"""Sum of the positions' entropies minus `joint_bits`."""
CODES, PERPLEXITY = "codes", "perplexity"
POSITION_CODES, POSITION_PERPLEXITY = "position_codes", "position_perplexity"
"""Means over positions, each taken alone."""
CROSS_ENTROPY, ACCURACY = "cross_entropy", "accuracy"
"""Of the joint prior; per segment, and for separators."""
NORM, VARYING = "norm", "varying"
"""Of latents before they are normalised: their mean norm, and the share of their power that varies
with the image."""
GRADIENT = "gradient"
"""Norm of the gradient of a part of the model."""
JUMPS = "jumps"
"""Jumps of L1 so far."""
SEPARATOR = "separator"

TITLES = {
    BITS: "Joint bits, {what}",
    CODES: "Codes in use, {what}",
    PERPLEXITY: "Perplexity, {what}",
    CROSS_ENTROPY: "Cross-entropy of the prior in nats, {what}",
    ACCURACY: "Accuracy of the prior, {what}",
}
"""Of plots; `what` is a segment, the separators, or a part of the model."""
DETAIL_TITLES = {
    POSITION_CODES: "Codes in use per position, {what}",
    POSITION_PERPLEXITY: "Perplexity per position, {what}",
    REDUNDANCY: "Bits that positions say twice, {what}",
    NORM: "Norm of the latents, {what}",
    VARYING: "Share of the latents that varies, {what}",
    GRADIENT: "Gradient norm, {what}",
    JUMPS: "Jumps of L1 so far",
}


def of(figure: str, what: str) -> str:
    """The name of a figure of a segment or of a part of the model."""
    return f"{figure}/{what}"


def by_position(figure: str) -> str:
    """The name of a figure's list with a number for each token of a segment."""
    return f"{figure}_by_position"


def titled(names: Iterable[str], titles: Mapping[str, str]) -> dict[str, str]:
    """The titles of those of the named figures that have one, in the order of the titles."""
    parts = [(name, *name.partition("/")[::2]) for name in names]
    return {
        name: title.format(what=what)
        for titled, title in titles.items()
        for name, figure, what in parts
        if figure == titled
    }


def last(columns: Columns, name: str) -> float | None:
    """The latest number of that name; None where there is none."""
    return next((each for each in reversed(columns.get(name, ())) if each is not None), None)


def warnings_of(columns: Columns, told: tuple[str, ...] = ()) -> list[str]:
    """What a training's figures warn of: segments that carry nearly nothing, and jumps of L1.

    A segment whose collapse is `told` of already is left out.
    """
    found = []
    for name in columns:
        figure, _, segment = name.partition("/")
        if figure != BITS or segment in map(collapsed_segment, told):
            continue
        bits = last(columns, name)
        if bits is not None and bits < LEAST_BITS:
            found.append(f"the {segment} carries {bits:.1f} bits: collapsed")
    jumps = int(last(columns, JUMPS) or 0)
    if jumps:
        often = {1: "once", 2: "twice"}.get(jumps, f"{jumps} times")
        found.append(f"the reconstruction loss jumped {often} in training")
    return found
