"""Ten crops of a centred square, as tokens are cached of them."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import five_crop

from prologue_bench.config.ablation import Ablation
from prologue_bench.config.resolving import resolve_alone
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.stages import DataRef
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.storage.store import Store
from prologue_plugins.datasets.crops import centre_crop, ten_crops


def picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def bars(width: int, height: int) -> Image.Image:
    """White but for the centred square, which is black."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    edge = min(width, height)
    top, left = (height - edge) // 2, (width - edge) // 2
    pixels[top : top + edge, left : left + edge] = 0
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", [(900, 281), (281, 900), (1600, 600), (400, 1100)])
def test_no_view_shows_what_is_outside_the_centred_square(size: tuple[int, int]) -> None:
    views = ten_crops(bars(*size), 256)
    assert (views > 128).mean() < 0.01  # one blurred row of pixels at most


@pytest.mark.parametrize("size", [(900, 281), (300, 500), (281, 281), (2000, 1500), (100, 60)])
def test_views_are_the_centre_and_the_corners_of_a_square_of_281_pixels(
    size: tuple[int, int],
) -> None:
    views = ten_crops(picture(*size), 256)
    square = centre_crop(picture(*size), 281)
    assert (square.shape, views.shape, views.dtype) == ((3, 281, 281), (10, 3, 256, 256), np.uint8)
    *corners, centre = five_crop(torch.from_numpy(square.copy()), [256, 256])
    assert np.array_equal(views[:5], torch.stack([centre, *corners]).numpy())
    assert np.array_equal(views[5:], views[:5, ..., ::-1])


@pytest.mark.parametrize(("size", "edge"), [(256, 281), (32, 35), (8, 8), (9, 9), (10, 11)])
def test_the_square_s_edge_is_a_tenth_longer_rounded_down(size: int, edge: int) -> None:
    square = centre_crop(picture(90, 60), edge)
    views = ten_crops(picture(90, 60), size)
    assert np.array_equal(views[1], square[:, :size, :size])
    assert np.array_equal(views[4], square[:, -size:, -size:])


def test_new_views_of_the_same_images_are_no_old_artifacts(registry: Registry) -> None:
    data = resolve_alone("data", "imagenet", {}, "smoke", registry)
    assert data.component.version > 1  # 1 had corners of the whole image
    before = attrs.evolve(data, component=attrs.evolve(data.component, version=1))
    keys = [
        DataRef(resolved=resolved, fingerprint="the same images").key()
        for resolved in (data, before)
    ]
    assert keys[0] != keys[1]


def test_the_version_of_a_data_source_is_in_the_keys_of_its_stages(
    load: Callable[..., Ablation], store: Store
) -> None:
    ablation = load("vary={}", "baseline=null")
    data = ablation.experiments[0].data
    newer = attrs.evolve(
        data, component=attrs.evolve(data.component, version=data.component.version + 1)
    )
    other = attrs.evolve(ablation, experiments=(attrs.evolve(ablation.experiments[0], data=newer),))
    one, two = (make_plan(each, Workspace(store)).pipelines[0] for each in (ablation, other))
    assert one.tokenizer.data.fingerprint == two.tokenizer.data.fingerprint
    for name in ("tokenizer", "tokens", "generator", "samples"):
        assert getattr(one, name).key != getattr(two, name).key
