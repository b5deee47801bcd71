"""From images to tokens and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench.contracts.images import ImageArray, ImageSpec, to_bytes, to_float
from prologue_bench.contracts.tokenizer import ContinuousTokenizer, Tokenizer
from prologue_bench.errors import StageError
from prologue_bench.guard import of_component, shown
from prologue_bench.pipeline import stages
from prologue_bench.pipeline.precision import as_trained
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
    who = f"{stage.tokenizer.tokenizer.component.called('tokenizer')}: `encode`"
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
    if isinstance(tokenizer, ContinuousTokenizer):
        images = workspace.data_of(stage.tokens.tokenizer).images("test")
        write_images(
            spec,
            stage.tokens.tokenizer,
            images,
            lambda batch: tokenizer.reconstruct(to_float(batch)),
            context,
            len(images),
        )
        return
    ids = open_tokens(workspace.store.get(stage.tokens.key), "test")
    decode_images(spec, stage.tokens.tokenizer, tokenizer, ids, context, len(ids), 0)


def decode_images(
    spec: ImageSpec,
    stage: stages.TokenizerStage,
    tokenizer: Tokenizer,
    ids: NDArray[Any] | Shards,
    context: StageContext,
    total: int,
    done: int,
) -> None:
    """Write images.npy, the images of ids [N, L], as `write_images` does."""
    write_images(
        spec, stage, ids, lambda batch: tokenizer.decode(batch.long()), context, total, done
    )


@torch.inference_mode()
def write_images(
    spec: ImageSpec,
    stage: stages.TokenizerStage,
    inputs: ImageArray | Shards,
    images_of: Callable[[Tensor], Tensor],
    context: StageContext,
    total: int,
    done: int = 0,
) -> None:
    """Write images.npy, the images of N inputs, without holding all of them in memory.

    Raises StageError for images of another shape than the data's, and for values that are no
    numbers.
    """
    who = stage.tokenizer.component.called("tokenizer")
    images = np.lib.format.open_memmap(
        context.output / "images.npy", "w+", np.uint8, (len(inputs), *spec.shape)
    )
    for start, batch in batches(inputs, context, 0, len(inputs)):
        with as_trained(stage, context.device):
            decoded = images_of(batch)
        check_decoded(decoded, (len(batch), *spec.shape), who)
        images[start : start + len(batch)] = to_bytes(decoded).cpu().numpy()
        context.advance(min(total, done + start + len(batch)), max(total, done + len(inputs)))
    context.advance(total, total)


def check_decoded(decoded: object, shape: tuple[int, ...], who: str) -> None:
    """Raises StageError for what is no images [B, C, H, W] of this shape."""
    if (
        not isinstance(decoded, Tensor)
        or not decoded.is_floating_point()
        or tuple(decoded.shape) != shape
    ):
        is_tensor = isinstance(decoded, Tensor)
        found = f"{decoded.dtype} {list(decoded.shape)}" if is_tensor else shown(decoded)  # type: ignore[attr-defined]
        raise StageError(f"{who}: `decode` gave {found}, expected floats {list(shape)}")
    if not bool(torch.isfinite(decoded).all()):
        raise StageError(f"{who}: `decode` gave values that are not finite numbers")


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
