"""What the tokens of an image look like: segments, in the order in which they are generated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from attrs import field, frozen
from torch import Tensor

from prologue_bench.contracts.segments import Segment


def _in_order(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    found = tuple(segments)
    if not all(isinstance(each, Segment) for each in found):
        raise TypeError("'segments' must be Segments")
    return found


@frozen
class TokenLayout:
    """The segments of an image's tokens, in the order in which they are generated.

    Only a `ContinuousTokenizer`, which has no tokens, has a layout without segments. With
    `separator`, generators put a separator token, which is forced and never sampled, before
    every segment but the first.
    """

    segments: tuple[Segment, ...] = field(converter=_in_order)
    separator: bool = True

    def __attrs_post_init__(self) -> None:
        names = [segment.name for segment in self.segments]
        if len(set(names)) != len(names):
            raise ValueError(f"two segments share a name: {names}")

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    @property
    def length(self) -> int:
        """Tokens of one image, L, separators not counted."""
        return sum(segment.length for segment in self.segments)

    @property
    def names(self) -> tuple[str, ...]:
        """The segments' names in order."""
        return tuple(segment.name for segment in self.segments)

    @property
    def leading(self) -> int:
        """Length of the first of several segments, such as a prologue; 0 if there is only one."""
        return self.segments[0].length if len(self.segments) > 1 else 0

    def segment(self, name: str) -> Segment:
        """The segment of that name. Raises KeyError when there is none."""
        for segment in self.segments:
            if segment.name == name:
                return segment
        raise KeyError(f"no segment {name!r} among {self.names}")

    def segment_at(self, token: int) -> tuple[str, int]:
        """The name of a token's segment, and the token's index in it.

        Raises IndexError where an image has no such token.
        """
        index = token
        for segment in self.segments if token >= 0 else ():
            if index < segment.length:
                return segment.name, index
            index -= segment.length
        raise IndexError(f"no token {token} among the {self.length} of an image")

    def targets(self, positions: int) -> list[tuple[int, bool]]:
        """What each predicted position of a sequence is: its segment's index, and if a separator.

        A separator counts to the segment that it ends. Raises ValueError where `positions` is
        neither the number of tokens nor that with a separator between segments.
        """
        between = len(self.segments) - 1
        separators = positions - self.length
        if separators not in (0, between):
            raise ValueError(
                f"found {positions} predicted positions for {self.length} tokens; "
                f"expected {self.length}, or {self.length + between} with separators"
            )
        found = []
        for index, segment in enumerate(self.segments):
            ends = 1 if separators and index < between else 0
            found += [(index, False)] * segment.length + [(index, True)] * ends
        return found

    def span(self, name: str) -> slice:
        """Where the segment stands in the L tokens."""
        start = 0
        for segment in self.segments:
            if segment.name == name:
                return slice(start, start + segment.length)
            start += segment.length
        raise KeyError(f"no segment {name!r} among {self.names}")

    def split(self, tokens: Tensor) -> dict[str, Tensor]:
        """Cut [B, L, ...] into one [B, n, ...] per segment."""
        return {name: tokens[:, self.span(name)] for name in self.names}

    def join(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The inverse of `split`."""
        return torch.cat([parts[name] for name in self.names], dim=1)

    def check(self, ids: Tensor, count: int | None = None) -> None:
        """Raises ValueError unless ids [B, L] are integers of this shape in their vocabularies."""
        if (
            not isinstance(ids, Tensor)
            or ids.is_floating_point()
            or ids.is_complex()
            or ids.dtype == torch.bool
        ):
            raise ValueError(
                f"ids are {getattr(ids, 'dtype', type(ids).__name__)}, expected torch.int64"
            )
        if count is not None and ids.shape[:1] != (count,):
            raise ValueError(
                f"ids have shape {tuple(ids.shape)}, expected [{count}, {self.length}]"
            )
        if ids.ndim != 2 or ids.shape[1] != self.length:
            raise ValueError(f"ids have shape {tuple(ids.shape)}, expected [B, {self.length}]")
        for segment in self.segments:
            part = ids[:, self.span(segment.name)]
            if part.numel() and (int(part.min()) < 0 or int(part.max()) >= segment.vocabulary):
                raise ValueError(
                    f"segment {segment.name!r} has ids from {int(part.min())} to "
                    f"{int(part.max())}, expected 0 to {segment.vocabulary - 1}"
                )
