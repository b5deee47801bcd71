"""A run of an image's tokens, without importing torch."""

from __future__ import annotations

import operator

from attrs import field, frozen, validators


@frozen
class Segment:
    """A run of tokens of one kind.

    With several `codebooks`, each position has a token of each of them, one behind the other: token
    i is of codebook i modulo `codebooks`, and of the position i divided by it. `length` counts the
    tokens, `grid` the positions, and each codebook has a `vocabulary` of that size.
    """

    name: str = field(validator=validators.instance_of(str))
    length: int = field(converter=operator.index, validator=validators.ge(1))
    vocabulary: int = field(
        converter=operator.index, validator=[validators.ge(2), validators.le(2**63)]
    )
    grid: tuple[int, int] | None = None
    codebooks: int = field(default=1, converter=operator.index, validator=validators.ge(1))

    def __attrs_post_init__(self) -> None:
        if self.length % self.codebooks:
            raise ValueError(
                f"segment {self.name!r}: {self.length} tokens are no whole positions of "
                f"{self.codebooks} codebooks"
            )
        if self.grid is not None and self.grid[0] * self.grid[1] != self.positions:
            tokens = (
                f"{self.positions} positions" if self.codebooks > 1 else f"{self.length} tokens"
            )
            raise ValueError(f"segment {self.name!r}: a grid of {self.grid} does not hold {tokens}")

    @property
    def positions(self) -> int:
        """How many places have tokens, each of all codebooks."""
        return self.length // self.codebooks
