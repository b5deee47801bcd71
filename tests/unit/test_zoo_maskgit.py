"""Published tokenizers of the MaskGIT family, TiTok, BSQ-ViT and Cosmos, against golden tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

from prologue_bench.config.presets import find_preset
from prologue_bench.config.structure import structure
from prologue_bench.contracts import ImageSpec
from prologue_bench.errors import UserError
from prologue_bench.registry import Registry
from prologue_plugins.zoo.base import ZooTokenizer
from prologue_plugins.zoo.bsq import BsqVit
from prologue_plugins.zoo.cosmos import CosmosDi, haar, inverse_haar
from prologue_plugins.zoo.golden import check_zoo_folder
from prologue_plugins.zoo.maskbit import MaskBit, VqganPlus
from prologue_plugins.zoo.maskgit import MaskGitVqgan
from prologue_plugins.zoo.settings_maskgit import (
    BsqVitSettings,
    CosmosDiSettings,
    MaskBitSettings,
    MaskGitVqganSettings,
    PixelDecoderSettings,
    TiTokSettings,
    VitSize,
    VqganPlusSettings,
)
from prologue_plugins.zoo.titok import TiTok

GOLDEN = Path(__file__).parent.parent / "golden_zoo"
OUTPUTS = {
    "maskgit_vqgan": 5,
    "maskbit": 5,
    "vqgan_plus": 5,
    "titok_two_stage": 7,
    "titok_one_stage": 5,
    "bsq_vit": 6,
    "cosmos_di": 6,
}
"""Tensors that each folder holds, inputs not counted."""
RELEASED = {
    "maskgit-vqgan-f16": ("maskgit_vqgan", "maskgit-vqgan-imagenet-f16-256"),
    **{f"titok-{size}": ("titok_two_stage", f"titok_{size}") for size in ("l32", "b64", "s128")},
    **{
        f"titok-{size}": ("titok_one_stage", f"titok_{size}_vq8k")
        for size in ("bl64", "bl128", "sl256")
    },
    **{f"maskbit-{n}bit": ("maskbit", f"maskbit_tokenizer_{n}bit") for n in (10, 12, 14, 16, 18)},
    **{f"vqgan-plus-{n}bit": ("vqgan_plus", f"vqgan_plus_{n}bit") for n in (10, 12)},
    "bsq-vit-18": ("bsq_vit", "imagenet_256x256_b18g2"),
    "bsq-vit-18-approx": ("bsq_vit", "imagenet_256x256_b18g18"),
    "bsq-vit-36": ("bsq_vit", "imagenet_256x256_b36g36"),
    "bsq-vit-128": ("bsq_vit", "imagenet_128x128_b18"),
    "cosmos-di8x8": ("cosmos_di", "Cosmos-0.1-Tokenizer-DI8x8"),
    "cosmos-di16x16": ("cosmos_di", "Cosmos-0.1-Tokenizer-DI16x16"),
    "cosmos-di8x8-lowres": ("cosmos_di", "Cosmos-1.0-Tokenizer-DI8x8-LowRes"),
    "cosmos-di16x16-lowres": ("cosmos_di", "Cosmos-1.0-Tokenizer-DI16x16-LowRes"),
}
IMAGES = ImageSpec(channels=3, height=16, width=16)
PIXEL = PixelDecoderSettings()
FAMILIES: dict[type[ZooTokenizer[Any]], Any] = {
    MaskGitVqgan: MaskGitVqganSettings(),
    MaskBit: MaskBitSettings(),
    VqganPlus: VqganPlusSettings(),
    TiTok: TiTokSettings(),
    BsqVit: BsqVitSettings(embed_dim=12, token_bits=6, embed_group_size=3),
    CosmosDi: CosmosDiSettings(),
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.load()


@pytest.mark.parametrize("folder", OUTPUTS)
def test_golden_tensors_are_reproduced(folder: str) -> None:
    comparisons = check_zoo_folder(GOLDEN / folder, 1e-4)
    assert [each for each in comparisons if not each.holds(1e-4)] == []
    assert len(comparisons) == OUTPUTS[folder]


def test_every_released_size_has_a_preset() -> None:
    there = {
        (folder, variant)
        for folder in OUTPUTS
        for variant in json.loads((GOLDEN / folder / "keys.json").read_text())
    }
    assert set(RELEASED.values()) == there


@pytest.mark.parametrize("preset", RELEASED)
def test_presets_have_names_and_shapes_of_the_released_files(
    preset: str, registry: Registry
) -> None:
    card = find_preset("tokenizer", preset, registry)
    assert card is not None
    component = registry.find("tokenizer", card.use)
    settings = structure(component.load_settings(), card.settings, preset)
    folder, variant = RELEASED[preset]
    expected = json.loads((GOLDEN / folder / "keys.json").read_text())[variant]
    found = component.load().shapes(settings)
    assert found == {name: tuple(shape) for name, shape in expected.items()}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_ids_fit_the_layout_and_are_decoded_alone(family: type[ZooTokenizer[Any]]) -> None:
    tokenizer = family(FAMILIES[family], IMAGES)
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ids = tokenizer.encode(images)
    tokenizer.layout.check(ids, count=3)
    assert tokenizer.decode(ids).shape == images.shape
    # No image depends on its neighbours, nor on how many there are.
    assert torch.equal(tokenizer.encode(images[1:2]), ids[1:2])
    assert torch.allclose(tokenizer.decode(ids[1:2]), tokenizer.decode(ids)[1:2], atol=1e-5)


@pytest.mark.parametrize("family", [MaskBit, BsqVit], ids=lambda family: family.name)
def test_bits_quantize_to_their_own_ids(family: type[ZooTokenizer[Any]]) -> None:
    tokenizer = family(FAMILIES[family], IMAGES)
    segment = tokenizer.layout.segments[0]
    ids = torch.arange(2 * segment.length).reshape(2, -1) % segment.vocabulary
    assert torch.equal(tokenizer.ids_of(tokenizer.codes_of(ids)), ids)


def test_channel_0_is_the_lowest_bit_of_maskbit_and_the_highest_of_bsq() -> None:
    maskbit = MaskBit(MaskBitSettings(token_size=4), IMAGES)
    bsq = BsqVit(BsqVitSettings(embed_dim=4, token_bits=4), IMAGES)
    assert maskbit.codes_of(torch.ones(1, 16, dtype=torch.int64))[0, :, 0, 0].tolist() == [
        1,
        -1,
        -1,
        -1,
    ]
    assert (2 * bsq.codes_of(torch.ones(1, 16, dtype=torch.int64)))[0, 0].tolist() == [
        -1,
        -1,
        -1,
        1,
    ]


def test_36_bits_are_counted_exactly_and_may_be_several_tokens() -> None:
    whole, halves = (
        BsqVit(BsqVitSettings(embed_dim=36, token_bits=bits), IMAGES) for bits in (36, 18)
    )
    latents = torch.randn(2, 16, 36, generator=torch.Generator().manual_seed(0))
    first, second = halves.ids_of(latents).unflatten(1, (16, 2)).unbind(-1)
    exact = [
        [sum((value > 0) << (35 - c) for c, value in enumerate(row)) for row in image]
        for image in latents.tolist()
    ]
    assert whole.ids_of(latents).tolist() == exact
    assert (first * 2**18 + second).tolist() == exact
    assert (halves.layout.length, halves.layout.segments[0].codebooks) == (32, 2)
    assert torch.equal(
        halves.codes_of(halves.ids_of(latents)), whole.codes_of(whole.ids_of(latents))
    )


def test_fsq_digits_begin_with_channel_0() -> None:
    tokenizer = CosmosDi(
        CosmosDiSettings(levels=(4, 3)), ImageSpec(channels=3, height=12, width=16)
    )
    codes = tokenizer.codes_of(torch.arange(12)[None])[0].flatten(1).T
    expected = [(c / 2 - 1, r - 1.0) for r in range(3) for c in range(4)]
    assert codes.tolist() == [list(row) for row in expected]
    # An even number of levels has one more below zero than above it.
    grid = torch.empty(1, 2, 3, 4)
    grid[:, 0] = torch.tensor([-9.0, -0.5, 0.0, 9.0])
    grid[:, 1] = torch.tensor([-9.0, 0.0, 9.0])[:, None]
    assert tokenizer.ids_of(grid).tolist() == [list(range(12))]


def test_haar_passes_are_undone_and_begin_with_means() -> None:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    once = haar(images)
    assert torch.allclose(once[:, :3], torch.nn.functional.avg_pool2d(images, 2), atol=1e-6)
    assert torch.allclose(inverse_haar(inverse_haar(haar(once))), images, atol=1e-6)
    columns = torch.tensor([1.0, -1.0]).expand(1, 1, 2, 2)  # differ along the width alone
    assert haar(columns).flatten().tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"encoder.conv_out.bias": None}, "encoder.conv_out.bias"),
        ({"encoder.conv_out.bias": torch.zeros(9)}, "encoder.conv_out.bias"),
        ({"more.weight": torch.zeros(1)}, "more.weight"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named_in_one_line(change: dict[str, Any], text: str) -> None:
    state = MaskBit(MaskBitSettings(), IMAGES).state_dict() | change
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(UserError, match=text) as caught:
        MaskBit(MaskBitSettings(weights=""), IMAGES, state)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", [TiTok, BsqVit], ids=lambda family: family.name)
def test_learned_positions_take_images_of_one_size(family: type[ZooTokenizer[Any]]) -> None:
    with pytest.raises(UserError, match="found images of 32 x 32, expected 16 x 16"):
        family(FAMILIES[family], ImageSpec(channels=3, height=32, width=32))


@pytest.mark.parametrize(
    ("settings", "values", "text"),
    [
        (MaskBitSettings, {"norm_groups": 3}, "norm_groups: must divide"),
        (VitSize, {"heads": 5}, "heads: must divide"),
        (TiTokSettings, {"patch_size": 5}, "patch_size: must divide 'image_size'"),
        (TiTokSettings, {"patch_size": 8, "pixel": {}}, "pixel: must enlarge"),
        (BsqVitSettings, {"token_bits": 3}, "token_bits: must divide 'embed_dim'"),
        (CosmosDiSettings, {"levels": [8, 1]}, "levels: must be whole numbers from 2"),
        (CosmosDiSettings, {"patch_size": 3}, "patch_size: must be a power of two"),
        (CosmosDiSettings, {"spatial_compression": 1}, "spatial_compression: must be"),
    ],
)
def test_sizes_that_fit_no_model_are_refused(
    settings: type[Any], values: dict[str, Any], text: str
) -> None:
    with pytest.raises(UserError, match=text):
        structure(settings, values, "tokenizer")


def test_a_second_stage_is_part_of_the_model() -> None:
    tokenizer = TiTok(TiTokSettings(pixel=PIXEL), IMAGES)
    ids = tokenizer.encode(torch.zeros(1, 3, 16, 16))
    assert tokenizer.decode(ids).shape == (1, 3, 16, 16)
    assert not hasattr(TiTok(attrs.evolve(tokenizer.settings, pixel=None), IMAGES), "pixel_decoder")
