"""From images to tokens and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench.contracts.images import (
    ImageArray,
    ImageSpec,
    is_of_bytes,
    to_bytes,
    to_float,
)
from prologue_bench.contracts.tokenizer import ContinuousTokenizer, Tokenizer
from prologue_bench.errors import StageError
from prologue_bench.guard import of_component, shown
from prologue_bench.pipeline import stages
from prologue_bench.pipeline.precision import as_trained
from prologue_bench.pipeline.repeating import LOOKED_AT, check_repeats
from prologue_bench.pipeline.tokens import Shards, kind_of_ids, open_tokens, write_shards
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.training import distributed
from prologue_bench.training.context import INFERENCE_BATCH, StageContext


def encode_images(stage: stages.EncodeImages, workspace: Workspace, context: StageContext) -> None:
    """Encode the views of the training images, and the test images."""
    data = workspace.data_of(stage.tokenizer)
    tokenizer = workspace.load_tokenizer(stage.tokenizer, context.device)
    splits = {"train": data.training_views()} if stage.train else {}
    splits["test"] = data.images("test")
    total = sum(map(len, splits.values()))
    called = stage.tokenizer.tokenizer.component.called("tokenizer")
    who = f"{called}: `encode`"
    few = torch.from_numpy(np.array(splits["test"][:LOOKED_AT])).to(context.device)
    precision = as_trained(stage.tokenizer, context.device)
    check_repeats(tokenizer, to_float(few), called, precision)
    before = 0
    for name, images in splits.items():

        def encode(
            start: int, stop: int, images: ImageArray = images, before: int = before
        ) -> NDArray[Any]:
            parts = []
            for first, batch in batches(images, context, start, stop):
                with as_trained(stage.tokenizer, context.device):
                    ids = tokenizer.encode(to_float(batch))
                with of_component(who, StageError):
                    tokenizer.layout.check(ids, len(batch))
                parts.append(ids.cpu().numpy())
                context.advance(before + first + len(batch), total)
            return np.concatenate(parts)

        write_shards(
            context.output,
            name,
            len(images),
            encode,
            distributed.is_mine,
            context.seal,
            kind_of_ids(tokenizer.layout),
        )
        before += len(images)


def reconstruct(stage: stages.Reconstruct, workspace: Workspace, context: StageContext) -> None:
    """Decode the tokens of the test split, or reconstruct its images where there are none."""
    tokenizer = workspace.load_tokenizer(stage.tokens.tokenizer, context.device)
    spec = workspace.open_data(stage.tokens.tokenizer.data.resolved).spec
    decoder = Decoder(stage.tokens.tokenizer, tokenizer, spec, context.device)
    if isinstance(tokenizer, ContinuousTokenizer):
        images = workspace.data_of(stage.tokens.tokenizer).images("test")
        write_images(decoder.reconstruct, images, spec, context)
    else:
        ids = open_tokens(workspace.store.get(stage.tokens.key), "test")
        write_images(decoder.decode, ids, spec, context)


@frozen(eq=False)
class Decoder:
    """Makes bytes of what a trained tokenizer gives, in the precision of its training.

    Raises StageError for images of another shape than the data's, and for values that are no
    numbers.
    """

    stage: stages.TokenizerStage
    tokenizer: Tokenizer
    spec: ImageSpec
    device: torch.device

    @torch.inference_mode()
    def decode(self, ids: Tensor) -> NDArray[Any]:
        """uint8 images [B, C, H, W] of ids [B, L]."""
        with as_trained(self.stage, self.device):
            decoded = self.tokenizer.decode(ids.long())
        return self._bytes("decode", decoded, len(ids))

    @torch.inference_mode()
    def reconstruct(self, images: Tensor) -> NDArray[Any]:
        """uint8 images [B, C, H, W] of such, by a tokenizer without tokens."""
        assert isinstance(self.tokenizer, ContinuousTokenizer)
        with as_trained(self.stage, self.device):
            made = self.tokenizer.reconstruct(to_float(images))
        return self._bytes("reconstruct", made, len(images))

    def _bytes(self, method: str, made: object, count: int) -> NDArray[Any]:
        who = f"{self.stage.tokenizer.component.called('tokenizer')}: `{method}` gave"
        shape = (count, *self.spec.shape)
        if not isinstance(made, Tensor):
            raise StageError(f"{who} {shown(made)}, expected floats {list(shape)}")
        if not made.is_floating_point() or tuple(made.shape) != shape:
            found = f"{made.dtype} {list(made.shape)}"
            raise StageError(f"{who} {found}, expected floats {list(shape)}")
        if not bool(torch.isfinite(made).all()):
            raise StageError(f"{who} values that are not finite numbers")
        if is_of_bytes(made):
            raise StageError(
                f"{who} values from {float(made.min()):.3g} to {float(made.max()):.3g}, "
                "expected about -1 to 1"
            )
        images: NDArray[Any] = to_bytes(made).cpu().numpy()
        return images


def write_images(
    images_of: Callable[[Tensor], NDArray[Any]],
    inputs: ImageArray | Shards,
    spec: ImageSpec,
    context: StageContext,
) -> None:
    """Write images.npy, the images of N inputs, without holding all of them in memory."""
    images = np.lib.format.open_memmap(
        context.output / stages.IMAGES, "w+", np.uint8, (len(inputs), *spec.shape)
    )
    for start, batch in batches(inputs, context, 0, len(inputs)):
        images[start : start + len(batch)] = images_of(batch)
        context.advance(start + len(batch), len(inputs))


def batches(
    array: ImageArray | Shards, context: StageContext, start: int, stop: int
) -> Iterator[tuple[int, Tensor]]:
    """The first index of each batch and the batch on the device.

    Leaves between two when the user asks to stop.
    """
    with torch.inference_mode():
        for first in range(start, stop, INFERENCE_BATCH):
            context.check_stop()
            batch = np.array(array[first : min(first + INFERENCE_BATCH, stop)])
            yield first, torch.from_numpy(batch).to(context.device)
