"""What a number can be: by its protocol, its unit and the layout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from attrs import frozen

from prologue_bench.results.schema import (
    Direction,
    MeasurementRecord,
    ProtocolRecord,
    SegmentRecord,
)
from prologue_bench.texts.numbers import number

SLACK = 1e-9
"""Share of a bound by which rounding may pass it."""


@frozen
class Range:
    """Between which two numbers a value can be, and why not below and not above.

    `slack` is by how much rounding may pass a bound. `is_open` where the lower bound itself is too
    low.
    """

    low: float = -math.inf
    high: float = math.inf
    below: str = ""
    above: str = ""
    slack: float = 0.0
    is_open: bool = False

    def problem(self, value: float) -> str:
        """What was expected; empty where the value is possible."""
        if self.is_open and value == self.low:
            return f"more than {number(self.low)}: {self.below}"
        if value < self.low - self.slack - SLACK * abs(self.low):
            return f"at least {number(self.low)}: {self.below}"
        if value > self.high + self.slack + SLACK * abs(self.high):
            return f"at most {number(self.high)}: {self.above}"
        return ""


def _share(most: float, what: str) -> Range:
    return Range(0, most, what, what)


def _at_least_zero(what: str, slack: float = 0.0) -> Range:
    return Range(low=0, below=what, slack=slack)


BITS = _at_least_zero("no code has fewer bits than none")
OF_UNITS: Mapping[str, Range] = {
    "%": _share(100, "it is a percentage"),
    "R²": Range(high=1, above="it is a share of a variance"),
    **{
        unit: Range(0, below=f"it is an amount of {unit}", is_open=True)
        for unit in ("s", "TFLOP", "images/s")
    },
}
"""Of the numbers of `KNOWN` protocols. What a unit means elsewhere, its metric alone knows."""
KNOWN: Mapping[str, Range] = {
    # Roots of eigenvalues that are rounded to 1e-13 are off by 3e-7 each, over thousands of them.
    "frechet-distance": _at_least_zero("it is a distance", slack=1e-3),
    "generation-gap": _at_least_zero("it is a distance", slack=1e-3),
    "generation-gap-difference": Range(),
    "kernel-distance": Range(),  # estimated without bias, and so below zero at times
    "lpips": _at_least_zero("it is a distance"),
    "inception-score": Range(low=1, below="samples that are all alike have 1"),
    "precision-recall": _share(1, "it is a share of the images"),
    "density-coverage": _at_least_zero("it counts images"),
    "psnr": _at_least_zero("images differ by their whole range at most"),
    "mse": _share(4, "it is a mean square of differences from -2 to 2"),
    "ssim": Range(-1, 1, "it is a correlation", "it is a correlation"),
    "layout-persistence": Range(),  # how high it can be depends on its groups
    "rate": BITS,
    "elbo": BITS,  # its likelihoods are discretised, which densities in bits/dim need not be
    "token-bits": BITS,
    **{
        name: Range()  # the units of their numbers tell
        for name in (
            *("token-entropy", "conditional-entropy", "codebook", "attention-share"),
            *("linear-probe", "factor-probe"),
            *("training-cost", "sampling-speed", "coding-speed"),
        )
    },
}
"""The protocols of this project's metrics, by the name up to a comma. Of others nothing is known:
their metrics may give any number."""
_LOWER = (
    *("frechet-distance", "generation-gap", "generation-gap-difference", "kernel-distance"),
    *("lpips", "mse", "rate", "elbo", "training-cost"),
)
_HIGHER = (
    *("inception-score", "precision-recall", "density-coverage", "psnr", "ssim"),
    *("layout-persistence", "linear-probe", "factor-probe", "sampling-speed", "coding-speed"),
)
BETTER: Mapping[str, Direction] = {
    **dict.fromkeys(KNOWN, "neutral"),
    **dict.fromkeys(_LOWER, "lower"),
    **dict.fromkeys(_HIGHER, "higher"),
}
"""Where numbers of known protocols are better."""
UNITS: Mapping[str, frozenset[str]] = {
    "rate": frozenset({"bits/image", "bits/dim"}),
    "elbo": frozenset({"bits/dim"}),
    "token-bits": frozenset({"bits/image", "bits/dim", "bits/pixel"}),
    "psnr": frozenset({"dB"}),
}
"""In what the numbers of a protocol are that has a bound of its own; without unit where none stands
here. In another unit, it is another's metric of that name."""
ENTROPIES = ("token-entropy", "conditional-entropy", "token-bits")
"""What the tokens can hold bounds these. A generator's cross-entropy can be higher."""
OF_ONE_TUPLE, OF_EACH_TOKEN = (
    ("bits_joint", "conditional_entropy"),
    ("bits_positions", "redundancy"),
)
"""Names of entropies of observed frequencies: of a segment's tokens together, or of each alone,
added up. Over N images none is above log2 N."""
FAR_FROM_A_GUESS = 2
"""Times what a guess among all codes takes, a cross-entropy may take before it is not believed."""
PERPLEXITY, AT = "codebook_perplexity_", "position_"
"""Begins the names of perplexities; what follows it in those of one token of each image."""
OF_A_POSITION = PERPLEXITY + AT
"""Begins the names of perplexities of one token of each image."""
ROUNDED = 1e-9
"""Bits by which rounding may move an entropy, also below zero."""
EXTRAPOLATED = "_infinity"
"""Ends the names of distances that are drawn out beyond what was measured, perhaps too far."""


def is_known(protocol: ProtocolRecord) -> bool:
    """Whether it is a protocol of this project's metrics."""
    return _known_name(protocol) in KNOWN


def _known_name(protocol: ProtocolRecord) -> str:
    return protocol.name.partition(",")[0]


def better(each: MeasurementRecord, layout: Sequence[SegmentRecord]) -> Direction | None:
    """Where a number of a known protocol is better; None where nothing tells it."""
    possible = possible_range(each, layout)
    return None if possible is None else BETTER[_known_name(each.protocol)]


def possible_range(each: MeasurementRecord, layout: Sequence[SegmentRecord]) -> Range | None:
    """What a number of a known protocol can be; None where nothing tells it."""
    name = _known_name(each.protocol)
    if name == "frechet-distance" and each.name.endswith(EXTRAPOLATED):
        return None
    segment = segment_of(each, layout)
    segments = [segment] if segment else layout
    if each.unit == "bits/image" and segments:
        return _of_bits(each, segments, layout)
    if each.unit == "codes":
        return _of_codes(each, segments)
    if each.unit == "images":
        return Range(0, each.count, "it is an amount of images", "no more images were counted")
    if name == "layout-persistence" and not each.unit:
        return _of_persistence(each.protocol.details.get("groups_per_class"))
    if KNOWN[name] == Range():
        return OF_UNITS.get(each.unit, KNOWN[name])
    return KNOWN[name] if each.unit in UNITS.get(name, {""}) else None


def _of_bits(
    each: MeasurementRecord, segments: Sequence[SegmentRecord], layout: Sequence[SegmentRecord]
) -> Range:
    name = _known_name(each.protocol)
    if name in ENTROPIES:
        return _of_entropy(each, segments, math.log2(max(each.count, 1)))
    codes = sum(one.vocabulary for one in layout) + len(layout)
    guess = sum(one.length for one in segments) * math.log2(codes)
    told = f"{FAR_FROM_A_GUESS} times the {number(guess)} that a guess among all codes takes"
    return Range(0, FAR_FROM_A_GUESS * guess, BITS.below, told)


def _of_entropy(each: MeasurementRecord, segments: Sequence[SegmentRecord], of_all: float) -> Range:
    """`of_all` is the entropy of images that all differ."""
    held = sum(one.length * math.log2(one.vocabulary) for one in segments)
    least = held if _known_name(each.protocol) == "token-bits" else 0
    tokens = sum(one.length * min(math.log2(one.vocabulary), of_all) for one in segments)
    seen = of_all if each.name.startswith(OF_ONE_TUPLE) else math.inf
    seen = tokens if each.name.startswith(OF_EACH_TOKEN) else seen
    if seen < held:
        told = f"frequencies over {each.count:,} images have no more"
        return Range(0, seen, BITS.below, told, slack=ROUNDED)
    below = "the tokens can hold as much" if least else BITS.below
    return Range(least, held, below, "the tokens can hold no more", slack=ROUNDED)


def _of_codes(each: MeasurementRecord, segments: Sequence[SegmentRecord]) -> Range:
    """Of a perplexity: codes that occur are no more than tokens that were counted."""
    codes = max((one.vocabulary for one in segments), default=math.inf)
    alone = each.name.startswith(OF_A_POSITION)
    places = 1 if alone else sum(one.length for one in segments)
    tokens = each.count * places if segments else math.inf
    told = "the codebook has no more codes" if codes <= tokens else "no more tokens were counted"
    return Range(1, min(codes, tokens), "one code alone counts as 1", told)


def _of_persistence(groups: object) -> Range:
    """Means of a class are taken away, so that groups of unlike images correlate below zero."""
    several = groups if isinstance(groups, int) and groups > 1 else 2
    what = "images are no more alike than equal, and no less than opposite"
    return Range(high=1 + 1 / (several - 1), above=what)


def segment_of(each: MeasurementRecord, layout: Sequence[SegmentRecord]) -> SegmentRecord | None:
    """The segment that a number of a known protocol is of; None where it is of all tokens."""
    for segment in sorted(layout, key=lambda one: -len(one.name)):
        if segment.name == each.positions_of or each.name.endswith(f"_{segment.name}"):
            return segment
    return None
