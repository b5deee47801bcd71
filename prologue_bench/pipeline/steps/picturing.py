"""Drawing the grids of images that a report shows.

They show the same images, classes and seeds for every variant.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench.contracts.images import to_float
from prologue_bench.errors import StageError
from prologue_bench.pipeline import stages
from prologue_bench.pipeline.pictures import (
    ATTENTION_IMAGES,
    COLUMNS,
    MOST_TILES,
    RECONSTRUCTION_ROWS,
    SAMPLE_ROWS,
    attention_sheet,
    heat_map_sheet,
    sheet,
    spread_over_classes,
    to_png,
)
from prologue_bench.pipeline.precision import as_trained
from prologue_bench.pipeline.steps.coding import Decoder
from prologue_bench.pipeline.steps.sampling import chosen_sampling
from prologue_bench.pipeline.tokens import open_tokens
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.sampling.decoding import draw_ids
from prologue_bench.sampling.grids import row_labels, sharing_tokens
from prologue_bench.seeds import stream
from prologue_bench.storage.files import write_bytes
from prologue_bench.training.context import INFERENCE_BATCH, StageContext


def picture_reconstructions(
    stage: stages.PictureReconstructions, workspace: Workspace, context: StageContext
) -> None:
    """Draw test images, and what the tokenizer makes of them."""
    data = workspace.open_data(stage.reconstructions.tokens.tokenizer.data.resolved)
    chosen = spread_over_classes(data.labels("test"), COLUMNS * RECONSTRUCTION_ROWS)
    made = np.load(workspace.store.get(stage.reconstructions.key) / stages.IMAGES, mmap_mode="r")
    _write(context, "originals", data.images("test")[chosen])
    _write(context, "reconstructions", made[chosen])


def picture_samples(
    stage: stages.PictureSamples, workspace: Workspace, context: StageContext
) -> None:
    """Draw samples of all classes and, where tokens are shared, rows that share their first."""
    samples = workspace.store.get(stage.samples.key)
    labels = np.load(samples / "labels.npy")
    images = np.load(samples / stages.IMAGES, mmap_mode="r")
    _write(context, "samples", images[spread_over_classes(labels, COLUMNS * SAMPLE_ROWS)])
    if stage.shared:
        _write(context, "prefixes", _sharing_first_tokens(stage, workspace, context))


def picture_tokens(
    stage: stages.PictureTokens, workspace: Workspace, context: StageContext
) -> None:
    """Draw rows that share one token each with one sample of the first class."""
    artist = _Artist(stage.samples, workspace, context)
    labels = torch.zeros(COLUMNS * (len(stage.places) + 1), dtype=torch.int64)
    given = artist.draw(labels[:1], stream("one image", 0), None)[0]
    shared = [[place] for place in stage.places]
    ids = sharing_tokens(artist.draw, labels, COLUMNS, shared, seed=0, given=given)
    _write(context, "tokens", artist.images(ids))


def _sharing_first_tokens(
    stage: stages.PictureSamples, workspace: Workspace, context: StageContext
) -> NDArray[Any]:
    """uint8 images [N, C, H, W] in rows that share their first tokens."""
    artist = _Artist(stage.samples, workspace, context)
    labels = row_labels(SAMPLE_ROWS, COLUMNS, artist.classes)
    shared = [range(stage.shared)] * (SAMPLE_ROWS - 1)
    return artist.images(sharing_tokens(artist.draw, labels, COLUMNS, shared, seed=0))


class _Artist:
    """Draws images as samples are drawn."""

    def __init__(
        self, stage: stages.SampleImages, workspace: Workspace, context: StageContext
    ) -> None:
        tokens = stage.generator.tokens
        spec = workspace.open_data(tokens.tokenizer.data.resolved).spec
        self.classes = len(spec.class_names)
        self._stage, self._context = stage, context
        self.images = Decoder(
            tokens.tokenizer,
            workspace.load_tokenizer(tokens.tokenizer, context.device),
            spec,
            context.device,
        ).decode
        self._drawn = partial(
            draw_ids,
            workspace.load_generator(stage.generator, context.device),
            chosen_sampling(stage, workspace.store),
            spec.none_label,
        )

    def draw(self, labels: Tensor, seed: int, fixed: Tensor | None) -> Tensor:
        """Ids [B, L] for labels [B]."""
        self._context.check_stop()
        with as_trained(self._stage.generator, self._context.device):
            return self._drawn(labels, fixed, "drawn", seed)


@torch.inference_mode()
def picture_attention(
    stage: stages.PictureAttention, workspace: Workspace, context: StageContext
) -> None:
    """Draw the generator's attention, and heat maps of the first tokens over the image."""
    tokenizer = stage.tokens.tokenizer
    data, layout = workspace.data_of(tokenizer), workspace.layout_of(tokenizer)
    chosen = data.subset("test", ATTENTION_IMAGES)
    labels = torch.from_numpy(data.labels("test")[chosen])
    ids = torch.from_numpy(
        np.asarray(open_tokens(workspace.store.get(stage.tokens.key), "test")[chosen])
    ).long()
    generator = workspace.load_generator(stage.generator, context.device)

    def attention(rows: slice) -> Tensor:
        with as_trained(stage.generator, context.device):
            found = generator.attention(
                ids[rows].to(context.device), labels[rows].to(context.device)
            )
        if found is None:
            raise StageError("`attention` of the generator gave None, expected [layers, L, L]")
        return found

    maps = _mean(attention, len(ids), context)
    lengths = [segment.length for segment in layout]
    _save(context, "attention", attention_sheet(maps, lengths))
    grids = [segment for segment in layout if segment.grid is not None]
    if not stage.first or not grids:
        return
    segment, first = grids[-1], min(stage.first, MOST_TILES)
    assert segment.grid is not None
    attended = maps[-1][layout.span(segment.name), :first].T
    attended = attended.reshape(first, *segment.grid, segment.codebooks).mean(axis=-1)
    rows = [attended]
    model = workspace.load_tokenizer(tokenizer, context.device)
    images = np.asarray(data.images("test")[chosen])

    def reading(part: slice) -> Tensor | None:
        with as_trained(tokenizer, context.device):
            return model.patch_attention(
                to_float(torch.from_numpy(images[part]).to(context.device))
            )

    if layout.leading and reading(slice(0, 1)) is not None:
        rows.append(_mean(reading, len(images), context)[:first])
    _save(context, "heatmaps", heat_map_sheet(rows))


def _mean(
    of: Callable[[slice], Tensor | None], count: int, context: StageContext
) -> NDArray[np.float64]:
    """The mean over `count` images of what is itself the mean over those of a slice."""
    total: NDArray[np.float64] | float = 0.0
    for start in range(0, count, INFERENCE_BATCH):
        context.check_stop()
        rows = slice(start, min(start + INFERENCE_BATCH, count))
        part = of(rows)
        assert part is not None
        total = total + part.double().cpu().numpy() * (rows.stop - start)
    found: NDArray[np.float64] = np.asarray(total) / count
    return found


def _save(context: StageContext, name: str, image: NDArray[Any]) -> None:
    write_bytes(context.output / f"{name}.png", to_png(image))


def _write(context: StageContext, name: str, images: NDArray[Any]) -> None:
    _save(context, name, sheet(images))
