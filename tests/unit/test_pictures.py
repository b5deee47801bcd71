"""Pictures of attention, and the attention that they show."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prologue_bench.pipeline.pictures import (
    BORDER,
    GAP,
    LARGEST_MAP,
    SQUARE,
    TILE,
    attention_sheet,
    heat_map_sheet,
    shaded,
    spread,
    to_png,
)
from prologue_plugins.layers.vit import to_patches
from tests.factories.models import images, prologue

WHITE, DARK = [255, 255, 255], [8, 48, 107]


def causal(layers: int, length: int) -> np.ndarray:
    maps = np.tril(np.random.default_rng(0).random((layers, length, length)), -1)
    return maps / np.maximum(maps.sum(axis=2, keepdims=True), 1e-9)


def test_shades_go_from_white_at_nothing_to_dark_at_the_most() -> None:
    found = shaded(np.array([[0.0, 0.25, 1.0, 7.0]]), 1.0)
    assert found[:, 0, 0].tolist() == WHITE
    assert found[:, 0, 2].tolist() == found[:, 0, 3].tolist() == DARK
    # The square root of a quarter is the middle of the scale.
    assert np.abs(found[:, 0, 1].astype(int) - [107, 174, 214]).max() < 8
    assert shaded(np.zeros((1, 1)), 0.0).ravel().tolist() == WHITE


def test_each_layer_s_attention_is_a_square_with_lines_between_segments() -> None:
    found = attention_sheet(causal(3, 6), [2, 4])
    side = SQUARE // 6
    assert found.shape == (SQUARE + 1, 3 * (SQUARE + 1) + 2 * GAP, 3)
    assert (found[2 * side, : SQUARE + 1] == BORDER).all()
    assert (found[:, 2 * side] == BORDER).all()
    assert found[0, 0].tolist() == WHITE  # the first token attends to no token
    assert found[side, 0].tolist() != WHITE
    assert found[side, 3 * side].tolist() == WHITE  # no token attends to later ones


def test_long_sequences_give_small_pictures() -> None:
    found = attention_sheet(causal(2, 300), [44, 256])
    assert found.shape[0] <= LARGEST_MAP + 1
    assert len(to_png(found)) < 40_000


def test_the_mean_of_a_pixel_s_tokens_is_shown() -> None:
    maps = np.zeros((1, 2 * LARGEST_MAP, 2 * LARGEST_MAP))
    maps[0, 5, 2] = 4.0
    found = attention_sheet(maps, [2 * LARGEST_MAP])
    assert found.shape == (LARGEST_MAP, LARGEST_MAP, 3)
    assert (found != 255).any(axis=2).nonzero() == (np.array([2]), np.array([1]))


def test_heat_maps_stand_in_rows_with_scales_of_their_own() -> None:
    first = np.zeros((3, 7, 7))
    first[1, 2, 4] = 0.5
    found = heat_map_sheet([first, 10 * first])
    factor = TILE // 7
    tile = TILE + 2
    height = 2 * tile + 3 * GAP
    assert found.shape == (height, 3 * tile + 2 * GAP, 3)
    top, left = 1 + 2 * factor, tile + GAP + 1 + 4 * factor
    for start in (0, tile + 3 * GAP):
        assert found[start + top, left].tolist() == DARK
        assert found[start + top, left - 1].tolist() == WHITE


@pytest.mark.parametrize(
    ("count", "most", "expected"), [(3, 8, (0, 1, 2)), (1, 8, (0,)), (16, 4, (0, 5, 10, 15))]
)
def test_numbers_are_spread_evenly(count: int, most: int, expected: tuple[int, ...]) -> None:
    assert spread(count, most) == expected


@torch.inference_mode()
def test_the_queries_attention_to_patches_is_that_of_an_explicit_softmax() -> None:
    tokenizer = prologue().eval()
    found = tokenizer.patch_attention(images())
    assert found is not None
    encoder, count = tokenizer.encoder, len(found)
    assert found.shape == (tokenizer.layout.leading, *tokenizer.grid)
    assert ((found >= 0) & (found < 1)).all()
    assert (found.sum(dim=(1, 2)) < 1).all()  # the rest goes to queries
    maps = encoder.transformer.attention(
        encoder._inputs(to_patches(images(), tokenizer.patch_size)), encoder.positions()
    )
    assert maps[-1].sum(1) == pytest.approx(np.ones(len(maps[-1])), abs=1e-5)
    assert torch.equal(found.flatten(1), maps[-1, -count:, :-count])
    assert prologue(prologue_tokens=0).patch_attention(images()) is None
