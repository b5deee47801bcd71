"""Drawing the grids of images that a report shows.

They show the same images, classes and seeds for every variant.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench.contracts.images import to_bytes
from prologue_bench.pipeline import stages
from prologue_bench.pipeline.pictures import (
    COLUMNS,
    RECONSTRUCTION_ROWS,
    SAMPLE_ROWS,
    sheet,
    spread_over_classes,
    to_png,
)
from prologue_bench.pipeline.precision import as_trained
from prologue_bench.pipeline.steps.sampling import chosen_sampling
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.sampling.decoding import draw_ids
from prologue_bench.sampling.grids import row_labels, sharing_tokens
from prologue_bench.storage.files import write_bytes
from prologue_bench.training.context import StageContext


def picture_reconstructions(
    stage: stages.PictureReconstructions, workspace: Workspace, context: StageContext
) -> None:
    """Draw test images, and what the tokenizer makes of them."""
    data = workspace.open_data(stage.reconstructions.tokens.tokenizer.data.resolved)
    chosen = spread_over_classes(data.labels("test"), COLUMNS * RECONSTRUCTION_ROWS)
    made = np.load(workspace.store.get(stage.reconstructions.key) / "images.npy", mmap_mode="r")
    _write(context, "originals", data.images("test")[chosen])
    _write(context, "reconstructions", made[chosen])


def picture_samples(
    stage: stages.PictureSamples, workspace: Workspace, context: StageContext
) -> None:
    """Draw samples of all classes and, where tokens are shared, rows that share their first."""
    samples = workspace.store.get(stage.samples.key)
    labels = np.load(samples / "labels.npy")
    images = np.load(samples / "images.npy", mmap_mode="r")
    _write(context, "samples", images[spread_over_classes(labels, COLUMNS * SAMPLE_ROWS)])
    if stage.shared:
        _write(context, "prefixes", _sharing_first_tokens(stage, workspace, context))


def _sharing_first_tokens(
    stage: stages.PictureSamples, workspace: Workspace, context: StageContext
) -> NDArray[Any]:
    """uint8 images [N, C, H, W] in rows that share their first tokens."""
    tokens = stage.samples.generator.tokens
    spec = workspace.open_data(tokens.tokenizer.data.resolved).spec
    tokenizer = workspace.load_tokenizer(tokens.tokenizer, context.device)
    generator = workspace.load_generator(stage.samples.generator, context.device)
    drawn = partial(
        draw_ids, generator, chosen_sampling(stage.samples, workspace.store), spec.none_label
    )

    def draw(labels: Tensor, seed: int, prefix: Tensor | None) -> Tensor:
        context.check_stop()
        with as_trained(stage.samples.generator, context.device):
            return drawn(labels, prefix, "drawn", seed)

    labels = row_labels(SAMPLE_ROWS, COLUMNS, len(spec.class_names))
    ids = sharing_tokens(draw, labels, COLUMNS, [range(stage.shared)] * (SAMPLE_ROWS - 1), seed=0)
    with torch.inference_mode():
        images: NDArray[Any] = to_bytes(tokenizer.decode(ids)).cpu().numpy()
    return images


def _write(context: StageContext, name: str, images: NDArray[Any]) -> None:
    write_bytes(context.output / f"{name}.png", to_png(sheet(images)))
