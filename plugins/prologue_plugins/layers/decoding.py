"""A causal transformer that gets one position after the other, with all memory allocated before.

Letters as in `transformer`: B batch, D width, H heads, C channels of a head. n are the positions so
far, P those of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from prologue_plugins.layers.inference import FoldedTransformer, Room
from prologue_plugins.layers.transformer import full_precision

BLOCK = 16
"""Positions whose keys of all images lie one behind the other in a CPU's memory.

What attention reads is then read in order, as memory is fastest, and little of it for nothing.
Products of fewer positions would take a slow way.
"""


class Place(NamedTuple):
    """Where a layer's keys and values of one position go, and those of all positions so far."""

    key: Tensor
    value: Tensor
    """[B, H, C] each."""
    keys: Sequence[Tensor]
    values: Sequence[Tensor]
    """[B H, P, C] each, the last with what is not used yet."""
    weights: Tensor
    """What values are weighed with, [B H, 1, n]; behind it are zeros."""
    parts: Sequence[Tensor]
    """The same by blocks, [B H, 1, P] each."""


class Decoder:
    """Folded weights, keys and values of all layers, and room for what is between them.

    Everything is looked up once and written in place: a single position is so small that nothing
    else should be done for it. Products are in the transformer's type, all else is in float32.
    """

    def __init__(self, transformer: FoldedTransformer, batch: int) -> None:
        self.transformer = transformer
        self.batch = batch
        """How many sequences, B."""
        self.used = 0
        """Positions so far, n."""
        length, pairs = transformer.rotation.shape
        on_cpu = transformer.rotation.device.type == "cpu"
        self.block = BLOCK if on_cpu else length
        blocks, layers = -(-length // self.block), len(transformer.blocks)
        shape = (layers, blocks, batch * transformer.heads, self.block, 2 * pairs)
        self.keys, self.values = (self.room(*shape, dtype=transformer.dtype) for _ in range(2))
        self.step = Step(self)
        self._keys, self._values = (
            [layer.unbind() for layer in each.unbind()] for each in (self.keys, self.values)
        )
        self._parts = torch.split(self.step.weights, self.block, dim=2)
        self._places: dict[tuple[int, int], Place] = {}

    def room(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Memory on the transformer's device."""
        return self.transformer.rotation.new_empty(shape, dtype=dtype)

    def restart(self) -> None:
        """Begin other sequences in the same memory."""
        self.used = 0
        self.step.weights.zero_()

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Output [B, D] of the last of the next positions, for their inputs [B, n, D].

        It is good until the next call.
        """
        with full_precision(x):
            if x.shape[1] > 1:
                out = self.transformer(x, self.used, self._kept)[:, -1]
            else:
                out = self.step(self, x[:, 0])
        self.used += x.shape[1]
        return out

    def _kept(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put [B, H, n, C] of new positions behind those before, and give all."""
        stop = self.used + keys.shape[2]
        for index in range(keys.shape[2]):
            place = self.place(layer, self.used + index)
            place.key.copy_(keys[:, :, index])
            place.value.copy_(values[:, :, index])
        keys, values = (
            torch.unflatten(torch.cat(list(each), dim=1)[:, :stop], 0, (self.batch, -1))
            for each in (place.keys, place.values)
        )
        return keys, values

    def place(self, layer: int, position: int) -> Place:
        """Of a position."""
        found = self._places.get((layer, position))
        if found is None:
            found = self._places[layer, position] = self._new_place(layer, position)
        return found

    def _new_place(self, layer: int, position: int) -> Place:
        block, index = divmod(position, self.block)
        keys, values = self._keys[layer][: block + 1], self._values[layer][: block + 1]
        if index == 0:  # what has no weight yet must be finite all the same
            values[-1].zero_()
        key, value = (
            torch.unflatten(each[-1], 0, (self.batch, -1))[:, :, index] for each in (keys, values)
        )
        weights = self.step.weights[:, :, : position + 1]
        return Place(key, value, keys, values, weights, self._parts[: block + 1])


class Step:
    """Room for one position of a decoder, and what is done there.

    It does not hold the decoder, whose memory is then free as soon as nobody draws with it.
    """

    def __init__(self, decoder: Decoder) -> None:
        transformer, keys = decoder.transformer, decoder.keys[0]
        self.room = Room(transformer, decoder.batch)
        self.query = self.room.query.view(-1, 1, keys.shape[-1])
        self.weights = keys.new_zeros(keys.shape[1], 1, keys.shape[0] * decoder.block)
        self.heads = torch.empty_like(keys[0, :, :1], memory_format=torch.contiguous_format)
        self.seen = self.heads.view(decoder.batch, -1)

    def __call__(self, decoder: Decoder, x: Tensor) -> Tensor:
        """Output [B, D] for inputs [B, D] of the decoder's next position."""
        room = self.room
        rotation = decoder.transformer.rotation[decoder.used]
        room.rows.copy_(x)
        for layer, block in enumerate(decoder.transformer.blocks):
            room.project(block)
            room.pairs.mul_(rotation)
            self._attend(decoder.place(layer, decoder.used))
            block.out.add_to(room.rows, self.seen)
            room.feed_forward(block)
        return room.rows

    def _attend(self, place: Place) -> None:
        place.key.copy_(self.room.key)
        place.value.copy_(self.room.value)
        query = self.query.to(self.heads.dtype)
        if query.device.type == "cpu":
            self._attend_by_blocks(query, place)
            return
        heads = place.key.shape[:2]
        query, keys, values = (
            torch.unflatten(each, 0, heads)[:, :, : place.weights.shape[2]]
            for each in (query, place.keys[0], place.values[0])
        )
        seen = F.scaled_dot_product_attention(query, keys, values, scale=1.0)
        self.heads.copy_(seen.flatten(0, 1))

    def _attend_by_blocks(self, query: Tensor, place: Place) -> None:
        """SDPA on a CPU is made for many queries, and takes twice as long for one."""
        scores = [torch.bmm(query, keys.transpose(1, 2)) for keys in place.keys]
        both = scores[0] if len(scores) == 1 else torch.cat(scores, dim=2)
        torch.softmax(both[:, :, : place.weights.shape[2]], -1, out=place.weights)
        torch.bmm(place.parts[0], place.values[0], out=self.heads)
        for weights, values in zip(place.parts[1:], place.values[1:], strict=True):
            self.heads.baddbmm_(weights, values)
