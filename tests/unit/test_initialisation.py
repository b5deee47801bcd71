"""How networks start.

`paper` as in the paper's implementation, all of it together, and `open` with open gates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import attrs
import pytest
import torch
from torch import Tensor, nn

from prologue_bench.config.ablation import Ablation, load_ablation
from prologue_bench.config.files import Overrides
from prologue_bench.config.presets import find_preset, preset_cards
from prologue_bench.contracts import Generator, ImageSpec, Segment, Tokenizer, TokenLayout
from prologue_bench.registry import Registry
from prologue_plugins.generators.ar import Ar
from prologue_plugins.generators.rar import Rar
from prologue_plugins.generators.settings import ArSettings, ArTransformerSettings, RarSettings
from prologue_plugins.layers.settings import Initialisation, TransformerSettings
from prologue_plugins.layers.transformer import ConditionalScale, Transformer, rotation
from prologue_plugins.layers.vit import to_patches
from prologue_plugins.tokenizers.prologue import Prologue
from prologue_plugins.tokenizers.prologue_post import ProloguePost
from prologue_plugins.tokenizers.settings import (
    ProloguePostSettings,
    PrologueSettings,
    Vq1dSettings,
    Vq2dSettings,
)
from prologue_plugins.tokenizers.vq_1d import Vq1d
from prologue_plugins.tokenizers.vq_2d import Vq2d
from prologue_plugins.vq.settings import FsqSettings, SimVqSettings
from prologue_plugins.vq.tokenizers import FsqTokenizer, SimVqTokenizer
from tests.conftest import ROOT

IMAGES = ImageSpec(channels=3, height=16, width=16, class_names=tuple("abcdefghi"))
LAYOUT = TokenLayout((Segment("prologue", 4, 32), Segment("visual", 16, 64)))
SIZE = TransformerSettings(width=64, layers=2, heads=2)
AR_SIZE = ArTransformerSettings(width=64, layers=2, heads=2, dropout=0.0)
VISUAL = {"patch_size": 4, "encoder": SIZE, "decoder": SIZE, "visual_codebook": 64}
PROLOGUE = {**VISUAL, "prologue_tokens": 4, "prologue_codebook": 32}
SECOND = {"prologue_encoder": TransformerSettings(width=48, layers=1, heads=2)}

TOKENIZERS: dict[str, Callable[[Initialisation], Tokenizer]] = {
    "vq-1d": lambda how: Vq1d(Vq1dSettings(**VISUAL, tokens=8, initialisation=how), IMAGES),
    "vq-2d": lambda how: Vq2d(Vq2dSettings(**VISUAL, initialisation=how), IMAGES),
    "prologue": lambda how: Prologue(PrologueSettings(**PROLOGUE, initialisation=how), IMAGES),
    "shared": lambda how: Prologue(
        PrologueSettings(**PROLOGUE, shared_codebook=True, initialisation=how), IMAGES
    ),
    "post": lambda how: ProloguePost(
        ProloguePostSettings(**PROLOGUE, **SECOND, initialisation=how), IMAGES
    ),
}
GENERATORS: dict[str, Callable[[Initialisation], Generator]] = {
    "ar": lambda how: Ar(ArSettings(transformer=AR_SIZE, initialisation=how), LAYOUT, 10),
    "tied": lambda how: Ar(
        ArSettings(transformer=AR_SIZE, tied=True, initialisation=how), LAYOUT, 10
    ),
    "rar": lambda how: Rar(RarSettings(transformer=AR_SIZE, initialisation=how), LAYOUT, 10),
}
MODELS: dict[str, Callable[[Initialisation], nn.Module]] = {**TOKENIZERS, **GENERATORS}
NEXT_TO_ZERO = r"_gate\.weight|scale\.affine\.weight|decoder\.head\.linear\.weight"
NORMS = r"(query_norm|key_norm|condition\.norm)\.weight"


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def build(name: str, how: Initialisation = "paper") -> nn.Module:
    torch.manual_seed(0)
    return MODELS[name](how)


def some_images(count: int = 8) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def spread(x: Tensor) -> float:
    """The largest distance of an entry from the first one."""
    return float((x - x[:1]).flatten(1).norm(dim=1).max())


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_of_the_paper_s_start_is_drawn_as_it_draws_it(name: str) -> None:
    for parameter, value in build(name).named_parameters():
        if parameter.endswith("bias") or re.search(NORMS, parameter):
            assert value.abs().max() == 0, parameter
        elif parameter.endswith("codebook.weight"):
            assert value.std() == pytest.approx(14**-0.5, rel=0.15), parameter
        else:
            expected = 2e-7 if re.search(NEXT_TO_ZERO, parameter) else 0.02
            assert value.std() == pytest.approx(expected, rel=0.2), parameter
            assert abs(value.mean()) < expected / 4, parameter


@pytest.mark.parametrize("name", MODELS)
def test_both_starts_have_the_same_parameters(name: str) -> None:
    shapes = [
        {key: value.shape for key, value in build(name, how).state_dict().items()}
        for how in ("open", "paper")
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", MODELS)
def test_every_transformer_starts_as_the_identity(name: str) -> None:
    transformers = [module for module in build(name).modules() if isinstance(module, Transformer)]
    assert len(transformers) == {"post": 3}.get(name, 1 if name in GENERATORS else 2)
    for transformer in transformers:
        x = torch.randn(2, 20, transformer.settings.width)
        positions = rotation(torch.zeros(20, transformer.settings.head_channels // 2))
        out, _ = transformer(x, positions)
        assert torch.allclose(out, x, atol=1e-5)


@pytest.mark.parametrize("name", ["vq-2d", "prologue", "post"])
def test_a_tokenizer_starts_as_a_linear_quantizer_of_its_patches(name: str) -> None:
    tokenizer = build(name)
    assert isinstance(tokenizer, Vq2d | Prologue)
    patches = to_patches(some_images(), 4)
    linear = tokenizer.encoder.project(patches)
    assert torch.equal(
        tokenizer.encode(some_images())[:, -16:], tokenizer.quantizer.codebook.nearest(linear)
    )
    grey = tokenizer.decode(tokenizer.encode(some_images()))
    assert 0 < grey.abs().max() < 1e-4  # so small, but not stuck at zero


@pytest.mark.parametrize(
    "reads", ["same encoder", "encoder-output", "patches", "before-quantization"]
)
def test_the_prologue_starts_alike_for_all_images_and_different_at_each_position(
    reads: str,
) -> None:
    torch.manual_seed(0)
    if reads == "same encoder":
        tokenizer = Prologue(PrologueSettings(**PROLOGUE, initialisation="paper"), IMAGES)  # type: ignore[arg-type]
    else:
        settings = ProloguePostSettings(
            **PROLOGUE, **SECOND, prologue_input=reads, initialisation="paper"
        )  # type: ignore[arg-type]
        tokenizer = ProloguePost(settings, IMAGES)
    assert tokenizer.prologue_quantizer is not None
    latents = tokenizer.prologue_quantizer.codebook.latents(tokenizer.features(some_images())[1])
    assert spread(latents) < 1e-3
    assert min((latents[0, i] - latents[0, j]).norm() for i in range(4) for j in range(i)) > 0.3
    assert len(tokenizer.encode(some_images())[:, :4].unique(dim=0)) == 1


@pytest.mark.parametrize("how", ["open", "paper"])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_all_codes_start_with_a_length_of_about_one(name: str, how: Initialisation) -> None:
    codebooks = [
        value
        for key, value in build(name, how).state_dict().items()
        if key.endswith("codebook.weight")
    ]
    assert codebooks
    for codes in codebooks:
        assert float(codes.norm(dim=1).mean()) == pytest.approx(1, abs=0.1)


def test_the_length_of_codes_does_not_depend_on_their_width() -> None:
    for width in (4, 64):
        tokenizer = Vq2d(Vq2dSettings(**{**VISUAL, "code_width": width}), IMAGES)  # type: ignore[arg-type]
        assert float(tokenizer.quantizer.codebook.weight.square().sum(1).mean()) == pytest.approx(
            1, abs=0.2
        )


@pytest.mark.parametrize("name", MODELS)
def test_open_gates_start_at_one_and_output_layers_smaller_with_depth(name: str) -> None:
    for module in build(name, "open").modules():
        if isinstance(module, Transformer):
            for block in module.blocks:
                assert torch.allclose(
                    block.attention_gate(module.condition()), torch.ones(()), atol=1e-5
                )
                assert torch.allclose(block.ffn_gate(module.condition()), torch.ones(()), atol=1e-5)
                expected = 0.02 / (2 * module.settings.layers) ** 0.5
                assert block.ffn.fc2.weight.std() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda how: FsqTokenizer(
            FsqSettings(patch_size=4, encoder=SIZE, decoder=SIZE, initialisation=how), IMAGES
        ),
        lambda how: SimVqTokenizer(
            SimVqSettings(patch_size=4, encoder=SIZE, decoder=SIZE, initialisation=how), IMAGES
        ),
    ],
)
def test_quantizers_of_libraries_stand_between_networks_that_start_alike(
    make: Callable[[str], Tokenizer],
) -> None:
    tokenizer = make("paper")
    patches = to_patches(some_images(), 4)
    assert torch.allclose(
        tokenizer.encoder(patches)[0], tokenizer.encoder.project(patches), atol=1e-5
    )
    assert tokenizer.encoder.project.bias.abs().max() == 0
    if isinstance(tokenizer, SimVqTokenizer):
        assert tokenizer.project.weight.std() == pytest.approx(0.02, rel=0.2)


def test_a_norm_s_scale_next_to_one_is_not_rounded_away_in_bfloat16() -> None:
    scale = ConditionalScale(8, 4)
    nn.init.constant_(scale.affine.bias, 1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(scale(torch.zeros(1, 4)), torch.tensor(1.001), atol=1e-5)


def load(path: str, registry: Registry, **overrides: str) -> Ablation:
    return load_ablation(ROOT / path, registry, Overrides(**overrides))  # type: ignore[arg-type]


def starts(ablation: Ablation) -> set[str]:
    """How all networks of an ablation start."""
    found = set()
    for experiment in ablation.experiments:
        parts = [
            experiment.tokenizer,
            experiment.generator,
            experiment.prior,
            experiment.foundation,
        ]
        found |= {part.settings.initialisation for part in parts if part is not None}
    return found


@pytest.mark.parametrize(
    "path", sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("ablations/paper/*.yaml"))
)
def test_every_row_of_the_paper_s_table_starts_as_in_the_paper(
    path: str, registry: Registry
) -> None:
    assert starts(load(path, registry)) == {"paper"}


@pytest.mark.parametrize(
    ("profile", "how"),
    [
        ("base", "paper"),
        ("large", "paper"),
        ("micro", "open"),
        ("quick", "open"),
        ("smoke", "open"),
    ],
)
def test_profiles_of_the_paper_s_sizes_start_as_in_the_paper(
    profile: str, how: str, registry: Registry
) -> None:
    assert starts(load("ablations/tokenizers.yaml", registry, profile=profile)) == {how}


def test_every_preset_starts_as_in_the_paper(registry: Registry) -> None:
    presets = [
        preset
        for card in preset_cards(registry)
        if (preset := find_preset(*card, registry)) and preset.release is None
    ]
    assert len(presets) >= 10
    for preset in presets:
        assert preset.settings["initialisation"] == "paper", preset.name


def test_the_foundation_of_post_starts_as_post_does() -> None:
    settings = ProloguePostSettings(initialisation="paper")
    name, values = ProloguePost.foundation(settings)
    assert (name, values["initialisation"]) == ("vq-2d", "paper")
    assert attrs.evolve(Vq2dSettings(), **values).initialisation == "paper"


def test_queries_of_the_1d_baseline_start_as_far_apart_as_asked() -> None:
    def started(deviation: float) -> Vq1d:
        torch.manual_seed(0)
        settings = Vq1dSettings(**VISUAL, tokens=8, query_deviation=deviation)
        return Vq1d(settings, IMAGES)

    near, far = started(0.02), started(1.0)
    for name, weight in near.state_dict().items():
        factor = 50.0 if name.endswith("queries") else 1.0
        assert torch.allclose(far.state_dict()[name], factor * weight), name
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    codes = [len(each.encode(images)[0].unique()) for each in (near, far)]
    assert codes[0] < codes[1]
