"""What the demo's page says of prologues, of sampling, and of tokens that are kept."""

from __future__ import annotations

from collections.abc import Callable

from prologue_bench.config.settings import ALL_TOKENS, Guidance, Sampling
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.texts.numbers import number

PROLOGUE = (
    "A prologue is a short prefix of tokens that the generator draws first, before the visual "
    "tokens, which stand for the patches of the image. The prologue learns from the "
    "autoregressive loss alone; the visual tokens serve reconstruction."
)
"""What a prologue is, in two sentences."""


def sampling_words(sampling: Sampling, layout: TokenLayout) -> str:
    """How tokens are drawn, such as "temperature 0.9, guidance 1 to 3 (linear)"."""
    words = [
        _per_segment("temperature", layout, lambda name: number(sampling.temperature_of(name))),
        _guidance_words(sampling, layout),
    ]
    if sampling.top_k:
        words.append(f"top-k {sampling.top_k:,}")
    if sampling.top_p < 1:
        words.append(f"top-p {number(sampling.top_p)}")
    return ", ".join(words)


def kept_words(layout: TokenLayout, kept: int) -> str:
    """Which tokens the first ones are, such as "the 8 prologue tokens and 3 of 49 visual tokens".

    >>> from prologue_bench.contracts import Segment
    >>> kept_words(TokenLayout((Segment("prologue", 8, 16), Segment("visual", 49, 16))), 11)
    'the 8 prologue tokens and 3 of 49 visual tokens'
    """
    words = []
    for segment in layout:
        own = min(segment.length, kept)
        kept -= own
        if own == segment.length:
            words.append(f"the {counted(own, f'{segment.name} token')}")
        elif own:
            words.append(f"{own} of {segment.length} {segment.name} tokens")
    return " and ".join(words) or "no token"


def counted(count: int, noun: str) -> str:
    """The noun with its number.

    >>> counted(1, "token"), counted(2, "token")
    ('1 token', '2 tokens')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _guidance_words(sampling: Sampling, layout: TokenLayout) -> str:
    if ALL_TOKENS in sampling.guidance:
        found = _schedule(sampling.guidance[ALL_TOKENS])
    else:
        found = _per_segment("", layout, lambda name: _schedule(sampling.guidance_of(name)))
    return "no guidance" if found == _schedule(Guidance()) else f"guidance {found}"


def _schedule(guidance: Guidance) -> str:
    if guidance.schedule == "constant":
        return number(guidance.scale)
    return f"{number(guidance.start)} to {number(guidance.scale)} ({guidance.schedule})"


def _per_segment(what: str, layout: TokenLayout, of: Callable[[str], str]) -> str:
    """One value where all segments have the same, and one per segment otherwise."""
    values = {name: of(name) for name in layout.names}
    if len(set(values.values())) == 1:
        found = next(iter(values.values()))
    else:
        found = " and ".join(f"{value} for {name}" for name, value in values.items())
    return f"{what} {found}".strip()
