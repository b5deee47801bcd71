"""A tokenizer of any make, called batch by batch: each of its answers is held to what is expected.

That may be an implementation of the contract, or two functions of which nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from attrs import define, field, frozen
from numpy.typing import NDArray
from torch import Tensor, nn

from prologue_bench.contracts.checked import check_tokenizer
from prologue_bench.contracts.images import (
    FAR,
    RANGE,
    ImageArray,
    outside_range,
    to_bytes,
    to_float,
)
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.segments import Segment
from prologue_bench.contracts.tokenizer import ContinuousTokenizer, Tokenizer
from prologue_bench.errors import UserError
from prologue_bench.guard import of_component, shown
from prologue_bench.training.modes import evaluating

Encode = Callable[[Tensor], Any]
Decode = Callable[[Any], Any]
Progress = Callable[[int, int], None]


@frozen
class Coder:
    """What encodes and decodes."""

    encode: Encode
    decode: Decode
    names: tuple[str, str] = ("encode", "decode")
    """What messages call the two."""
    layout: TokenLayout | None = None
    """Of the ids; None of functions, whose ids alone tell it."""
    tokenizer: Tokenizer | None = None

    @property
    def modules(self) -> list[nn.Module]:
        """The models behind the functions, as far as they can be seen."""
        owners = [getattr(each, "__self__", each) for each in (self.encode, self.decode)]
        found = [self.tokenizer, *owners]
        return list({id(each): each for each in found if isinstance(each, nn.Module)}.values())

    @property
    def device(self) -> torch.device:
        """Where the first of the models has its weights; the CPU where none has any."""
        for module in self.modules:
            for weights in (*module.parameters(), *module.buffers()):
                return weights.device
        return torch.device("cpu")


def coder_of(encode: object, decode: object) -> Coder:
    """What was given, as a coder. Raises UserError for anything but a tokenizer or functions."""
    if isinstance(encode, Tokenizer):
        if decode is not None:
            raise UserError("decode: found one beside a Tokenizer, which has its own; leave it out")
        name = type(encode).__name__
        tokenizer = check_tokenizer(encode, name)
        if isinstance(tokenizer, ContinuousTokenizer):
            names = (f"{name}.encode", f"{name}.reconstruct")
            return Coder(lambda images: images, tokenizer.reconstruct, names, None, tokenizer)
        names = (f"{name}.encode", f"{name}.decode")
        return Coder(tokenizer.encode, tokenizer.decode, names, tokenizer.layout, tokenizer)
    if isinstance(encode, type) and issubclass(encode, Tokenizer):
        raise UserError(f"encode: found the class {encode.__name__}, expected an instance of it")
    if not callable(encode):
        raise UserError(f"encode: found {shown(encode)}, expected a function or a Tokenizer")
    if not callable(decode):
        raise UserError(
            f"decode: found {'none' if decode is None else shown(decode)}, expected a function "
            "that turns what encode gives into images [B, C, H, W]"
        )
    return Coder(encode, decode)


@frozen(eq=False)
class Coded:
    """Images that went through a tokenizer."""

    images: NDArray[np.uint8]
    """Reconstructions [N, C, H, W]."""
    ids: NDArray[np.int64] | None
    """[N, L]; None where `encode` gives anything but integers."""
    latents: str
    """What `encode` gives, in words."""
    grid: tuple[int, int] | None
    """Rows and columns of the ids, where they came as such: [B, H, W]."""


@define
class Coding:
    """Calls a coder on images, and keeps what it saw of the values that come back."""

    coder: Coder
    device: torch.device
    batch: int
    value_range: tuple[float, float] | None
    """Of what the coder takes and gives; None for `RANGE`, if the values do not look otherwise."""
    _seen: list[tuple[float, float, float]] = field(factory=list, init=False)
    """Lowest, highest, and how far outside on average, of each batch decoded."""

    def reconstruct(self, images: ImageArray, room: NDArray[Any], advance: Progress) -> Coded:
        """Encode and decode uint8 images [N, C, H, W] into `room`, of the same shape.

        Raises UserError, in one line, for whatever the functions do wrong.
        """
        ids: list[NDArray[np.int64]] = []
        with evaluating(self.coder.modules):
            for start, codes, own, given in self._encoded(images):
                count = len(given)
                with self._calling(self.coder.names[1], codes):
                    decoded = self.coder.decode(codes)
                room[start : start + count] = self._bytes(decoded, given)
                if own is not None:
                    ids.append(own)
                advance(start + count, len(images))
        self._check_range()
        grid = tuple(codes.shape[1:]) if ids and codes.ndim == 3 else None
        return Coded(room, _joined(ids) if ids else None, described(codes), grid)

    def ids(self, images: ImageArray) -> NDArray[np.int64]:
        """The ids [N, L] of images, of a coder that has some."""
        with evaluating(self.coder.modules):
            return _joined([own for _, _, own, _ in self._encoded(images) if own is not None])

    def _encoded(
        self, images: ImageArray
    ) -> Iterator[tuple[int, Any, NDArray[np.int64] | None, Tensor]]:
        """Where each batch begins, its codes, these as ids, and the batch as it was given."""
        for start in range(0, len(images), self.batch):
            pixels = np.array(images[start : start + self.batch])
            given = self._scaled(to_float(torch.from_numpy(pixels))).to(self.device)
            with self._calling(self.coder.names[0], given):
                codes = self.coder.encode(given)
            yield start, codes, self._ids(codes, len(given)), given

    @contextmanager
    def _calling(self, name: str, given: object) -> Iterator[None]:
        with of_component(f"{name}, given {described(given)}"):
            yield

    def _scaled(self, images: Tensor) -> Tensor:
        """Images of `RANGE`, in that of the coder."""
        if self.value_range is None:
            return images
        low, high = self.value_range
        return (images + 1) / 2 * (high - low) + low

    def _bytes(self, decoded: object, given: Tensor) -> NDArray[np.uint8]:
        """What was decoded of a batch, as uint8. Raises UserError for what is no such images."""
        name = self.coder.names[1]
        found = torch.from_numpy(decoded) if isinstance(decoded, np.ndarray) else decoded
        expected = f"floats {list(given.shape)}"
        if (
            not isinstance(found, Tensor)
            or not found.is_floating_point()
            or found.shape != given.shape
        ):
            raise UserError(f"{name} gave {described(decoded)}, expected {expected}")
        found = found.detach().float().cpu()
        if not bool(torch.isfinite(found).all()):
            broken = int((~torch.isfinite(found)).flatten(1).any(dim=1).sum())
            raise UserError(
                f"{name} gave NaN or infinity in {broken} of {len(found)} images, "
                f"expected {expected}"
            )
        if self.value_range is not None:
            low, high = self.value_range
            found = (found - low) / (high - low) * 2 - 1
        outside = outside_range(found)
        self._seen.append((float(found.min()), float(found.max()), outside))
        if outside > FAR:
            self._check_range()
        pixels: NDArray[np.uint8] = to_bytes(found).numpy()
        return pixels

    def _check_range(self) -> None:
        """Raises UserError for values that are of another range than that of the images given."""
        low, high = (pick(each[at] for each in self._seen) for at, pick in ((0, min), (1, max)))
        outside = max(each[2] for each in self._seen)
        is_half = self.value_range is None and low >= 0 and high <= 1 and high - low > FAR
        if outside <= FAR and not is_half:
            return
        start, end = self.value_range or RANGE
        shown_low, shown_high = ((x + 1) / 2 * (end - start) + start for x in (low, high))
        advice = (
            "say value_range=(0, 1) if encode takes and decode gives such"
            if is_half
            else "say with value_range=(LOW, HIGH) which range encode takes and decode gives"
        )
        raise UserError(
            f"{self.coder.names[1]} gave values from {shown_low:.4g} to {shown_high:.4g}, expected "
            f"images in [{start:g}, {end:g}], the range of those that encode was given; {advice}"
        )

    def _ids(self, codes: object, count: int) -> NDArray[np.int64] | None:
        """Integers as ids int64 [count, L]; None for anything else. Raises UserError."""
        name, layout = self.coder.names[0], self.coder.layout
        if layout is not None:
            with of_component(name):
                layout.check(codes, count)  # type: ignore[arg-type] # it is what is checked
        if isinstance(codes, Tensor) and codes.is_floating_point():
            return None  # of types that numpy may lack
        found = codes.detach().cpu().numpy() if isinstance(codes, Tensor) else codes
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "iu":
            return None
        if found.ndim < 2 or len(found) != count or not found[0].size:
            raise UserError(
                f"{name} gave {described(codes)}, expected ids of each image: [{count}, ...]"
            )
        if found.min() < 0:
            raise UserError(f"{name} gave the id {found.min()}, expected ids from 0 on")
        return found.reshape(count, -1).astype(np.int64)


def layout_of(coded: Coded, codes: int | None) -> TokenLayout:
    """One segment for the ids of functions.

    `codes` says how many there are; without it, the largest id tells. Raises UserError for ids
    beyond that.
    """
    assert coded.ids is not None
    largest = int(coded.ids.max())
    if codes is not None and largest >= codes:
        raise UserError(
            f"encode gave the id {largest}, expected ids from 0 to {codes - 1}, as codes={codes}"
        )
    vocabulary = max(2, largest + 1) if codes is None else codes
    return TokenLayout((Segment("tokens", coded.ids.shape[1], vocabulary, coded.grid),))


def described(value: object) -> str:
    """A value for a message: type and shape of arrays, what others are."""
    if isinstance(value, Tensor | np.ndarray):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return shown(value)


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Ids of all batches. Raises UserError where their numbers of tokens differ."""
    lengths = sorted({part.shape[1] for part in parts})
    if len(lengths) > 1:
        raise UserError(
            f"encode gave {lengths[0]} ids of some images and {lengths[-1]} of others, expected "
            "equally many of each"
        )
    return np.concatenate(parts)
