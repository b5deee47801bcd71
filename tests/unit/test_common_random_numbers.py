"""Variants of one seed share what they have in common.

Initial weights, data order, masks and sampling noise.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor, nn

from prologue_bench import seeds
from prologue_bench.config.settings import Guidance, Sampling, TokenizerTraining
from prologue_bench.contracts import Generator, Segment, TokenLayout
from prologue_bench.sampling.decoding import choose, draw_ids, ids_of_noise, image_noise, sample_ids
from prologue_bench.training.initial import draw_weights
from prologue_bench.training.models import TokenizerModel
from prologue_plugins.generators.ar import Ar
from prologue_plugins.generators.rar import Rar
from prologue_plugins.generators.settings import ArSettings, ArTransformerSettings, RarSettings
from prologue_plugins.losses.adversarial import PatchGan
from prologue_plugins.losses.settings import PatchGanSettings
from prologue_plugins.tokenizers.prologue import Prologue
from prologue_plugins.tokenizers.prologue_post import ProloguePost
from prologue_plugins.tokenizers.settings import (
    ProloguePostSettings,
    PrologueSettings,
    Vq1dSettings,
)
from prologue_plugins.tokenizers.vq_1d import Vq1d
from tests.factories.models import IMAGES, LAYOUTS, PROLOGUE, SIZE, ar, prologue

Weights = dict[str, Tensor]


def weights(module: nn.Module) -> Weights:
    found = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers()),
    }
    return {name: value.detach() for name, value in found.items()}


def differing(one: nn.Module, other: nn.Module) -> list[str]:
    """Names of weights of the same shape that differ.

    At least half of the smaller model's must be comparable.
    """
    first, second = weights(one), weights(other)
    both = [name for name in first if name in second and first[name].shape == second[name].shape]
    assert len(both) > 0.5 * min(len(first), len(second))
    return [name for name in both if not torch.equal(first[name], second[name])]


def tokenizer(seed: int = 0, **changes: Any) -> Prologue:
    return draw_weights(
        lambda: Prologue(attrs.evolve(PROLOGUE, **changes), IMAGES), "tokenizer", seed
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"prologue_tokens": 0},
        {"prologue_tokens": 7},
        {"visual_codebook": 64},
        {"prologue_codebook": 4},
        {"shared_codebook": True},
        {"code_width": 5},
        {"visual_ce_weight": 1.0},
        {"decoder": attrs.evolve(SIZE, ffn_ratio=3)},
    ],
)
def test_tokenizers_of_one_seed_share_every_weight_that_they_have_in_common(
    changes: dict[str, Any],
) -> None:
    different = differing(tokenizer(), tokenizer(**changes))
    # A bias is drawn in the range of its layer's inputs.
    scaled = ["decoder.project.bias"] if "code_width" in changes else []
    shared = [f"prologue_quantizer.codebook.project.{name}" for name in ("weight", "bias")]
    assert different == scaled + (shared if "shared_codebook" in changes else [])


def test_the_paper_s_initialisation_is_shared_too() -> None:
    one = tokenizer(initialisation="paper")
    for changes in ({"prologue_tokens": 7}, {"prologue_tokens": 0}, {"prologue_codebook": 4}):
        assert not differing(one, tokenizer(initialisation="paper", **changes))


def test_more_layers_change_what_is_scaled_to_their_number_alone() -> None:
    few, many = tokenizer(), tokenizer(encoder=attrs.evolve(SIZE, layers=5))
    different = differing(few, many)
    assert {name.split(".", 4)[-1] for name in different} == {
        "attention.out.weight",
        "ffn.fc2.weight",
    }
    for name in different:
        assert torch.allclose(
            weights(few)[name], weights(many)[name] * (5 / 2) ** 0.5, atol=1e-7
        ), name


def test_other_kinds_of_tokenizers_share_too() -> None:
    def made(kind: Any, settings: Any) -> Any:
        return draw_weights(lambda: kind(settings, IMAGES), "tokenizer", 0)

    base = {
        name: getattr(PROLOGUE, name)
        for name in ("patch_size", "encoder", "decoder", "visual_codebook")
    }
    post = ProloguePostSettings(**base, prologue_tokens=3, prologue_encoder=SIZE)
    longer = attrs.evolve(post, prologue_tokens=9, prologue_codebook=9)
    assert not differing(made(ProloguePost, post), made(ProloguePost, longer))
    assert not differing(
        made(ProloguePost, post), made(Prologue, PrologueSettings(**base, prologue_tokens=0))
    )
    assert not differing(
        made(Vq1d, Vq1dSettings(**base, tokens=5)), made(Vq1d, Vq1dSettings(**base, tokens=9))
    )


@pytest.mark.parametrize(
    ("name", "one", "other", "scaled"),
    [
        ("ResidualVq", {"levels": 1, "codes": 16}, {"levels": 3, "codes": 16}, []),
        ("ResidualVq", {"levels": 2, "codes": 16}, {"levels": 2, "codes": 32}, []),
        ("SimVq", {"codes": 16}, {"codes": 64}, []),
        ("Lfq", {"bits": 4}, {"bits": 6}, ["quantizer.project_out.bias"]),
        ("Fsq", {"levels": (4, 4)}, {"levels": (4, 4, 4)}, ["quantizer.project_out.bias"]),
    ],
)
def test_a_library_s_quantizers_share_too(
    name: str, one: Any, other: Any, scaled: list[str]
) -> None:
    pytest.importorskip("vector_quantize_pytorch")
    from prologue_plugins.vq import settings, tokenizers

    def made(changes: Any) -> Any:
        chosen = getattr(settings, f"{name}Settings")(
            patch_size=4, encoder=SIZE, decoder=SIZE, **changes
        )
        return draw_weights(
            lambda: getattr(tokenizers, f"{name}Tokenizer")(chosen, IMAGES), "tokenizer", 0
        )

    assert differing(made(one), made(other)) == scaled


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", [Ar, Rar])
def test_generators_share_too(kind: Any, tied: bool) -> None:
    size = ArTransformerSettings(width=16, layers=2, heads=2)

    def made(layout: TokenLayout, tied: bool) -> Generator:
        settings = (RarSettings if kind is Rar else ArSettings)(transformer=size, tied=tied)
        return draw_weights(lambda: kind(settings, layout, 4), "generator", 0)

    assert not differing(made(LAYOUTS[0], tied), made(LAYOUTS[1], tied))
    one, other = made(LAYOUTS[0], tied), made(LAYOUTS[0], not tied)
    assert set(differing(one, other)) == {"head.linear.weight"}
    assert (one.head.linear.weight is one.embedding.weight) == tied  # type: ignore[attr-defined, union-attr]


def test_a_discriminator_shares_too() -> None:
    def made(layers: int) -> PatchGan:
        settings = PatchGanSettings(width=8, layers=layers)
        return draw_weights(
            lambda: PatchGan(settings, attrs.evolve(IMAGES, height=32, width=32)),
            "loss",
            "patchgan",
            0,
        )

    assert {name.split(".")[1] for name in differing(made(2), made(3))} <= {"8"}


class Foreign(nn.Module):
    """Others' modules: temporaries, rejection, copies, orthogonal, normalised weights, buffers."""

    def __init__(self, layers: int, extra: int) -> None:
        super().__init__()
        self.extra = nn.Parameter(0.1 * torch.randn(extra)) if extra else None
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(layers))
        for layer in self.layers:
            nn.init.orthogonal_(layer.weight)
        for layer in self.layers:
            nn.init.trunc_normal_(layer.bias)  # drawn again until all are inside
        self.queries = nn.Parameter(torch.randn(3, 4) / 2)
        self.norm = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))
        self.copies = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), layers
        )
        self.register_buffer("shift", torch.randint(0, 9, (5,)) / 2, persistent=False)
        self.half = nn.Linear(4, 4).to(torch.bfloat16)
        self.last = nn.Parameter(torch.empty(40))
        nn.init.trunc_normal_(self.last, a=-0.5, b=0.5)


def foreign(layers: int, extra: int, seed: int = 0) -> Foreign:
    return draw_weights(lambda: Foreign(layers, extra), "tokenizer", seed)


def test_modules_of_others_share_too() -> None:
    one = foreign(2, 0)
    assert not differing(one, foreign(5, 7))
    assert not differing(foreign(1, 3), foreign(5, 7))
    for value in weights(one).values():
        assert (
            value.float().std() > 0 or not value.is_floating_point() or value.unique().numel() == 1
        )
    assert torch.allclose(one.layers[0].weight @ one.layers[0].weight.T, torch.eye(4), atol=1e-5)  # type: ignore[operator]


def test_weights_of_two_seeds_purposes_or_places_differ_and_repeat() -> None:
    random = [
        name
        for name, value in weights(tokenizer()).items()
        if value.numel() > 3 and value.unique().numel() > 3 and not name.endswith(("cos", "sin"))
    ]
    assert set(random) <= set(differing(tokenizer(), tokenizer(seed=1)))
    assert not differing(tokenizer(seed=5), tokenizer(seed=5))
    blocks = tokenizer().encoder.transformer.blocks
    assert not torch.equal(blocks[0].attention.qkv.weight, blocks[1].attention.qkv.weight)
    other = draw_weights(lambda: Prologue(PROLOGUE, IMAGES), "prior", 0)
    assert set(random) <= set(differing(tokenizer(), other))
    # Their spread is that of the constructor's own draws.
    torch.manual_seed(0)
    drawn = weights(tokenizer())
    for name, value in weights(Prologue(PROLOGUE, IMAGES)).items():
        if name in random and value.numel() > 500 and "gate" not in name:
            spread = pytest.approx(float(value.std()), rel=0.15)
            assert float(drawn[name].std()) == spread, name


class Seeding(nn.Module):
    """Draws from a seed of its own in the middle, and from a generator of its own at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            self.fixed = nn.Linear(3, 3)
        self.third = nn.Linear(3, 3)
        own = torch.Generator().manual_seed(6)
        self.fourth = nn.Parameter(torch.rand(3, generator=own))


def test_a_constructor_that_seeds_by_itself_keeps_its_draws() -> None:
    one, other = (draw_weights(Seeding, "tokenizer", seed) for seed in (0, 1))
    torch.manual_seed(5)
    assert torch.equal(one.fixed.weight, nn.Linear(3, 3).weight)
    same = {"fixed.weight", "fixed.bias", "fourth"}
    assert set(differing(one, other)) == set(weights(one)) - same


def test_building_leaves_the_global_generators_as_they_were() -> None:
    seeds.seed_all("here")
    expected = torch.rand(4), np.random.rand()
    seeds.seed_all("here")
    foreign(2, 3)
    assert torch.equal(torch.rand(4), expected[0])
    assert np.random.rand() == expected[1]


def drawn(
    seed: int, step: int, training: TokenizerTraining | None = None, **changes: Any
) -> dict[str, Tensor]:
    made = prologue(visual_ce_weight=1.0, **changes)
    training = training or TokenizerTraining(prior_labels=True, label_dropout=0.3)
    model = TokenizerModel(made, ar(made.layout), training, none_label=3)
    model.begin_step(step, seed)
    return model.draws(64)


def test_masks_and_labels_are_those_of_the_seed_whatever_else_is_drawn() -> None:
    plain, dropping = drawn(0, 5, prologue_tokens=0), drawn(0, 5, visual_dropout=0.5)
    assert plain.keys() == {"unlabelled"}
    assert torch.equal(plain["unlabelled"], dropping["unlabelled"])
    assert torch.equal(
        dropping["dropped_visual"], drawn(0, 5, prologue_codebook=4)["dropped_visual"]
    )
    # What a small share leaves out, a larger one leaves out too.
    more = drawn(0, 5, TokenizerTraining(prior_labels=True, label_dropout=0.6), visual_dropout=0.75)
    for name, mask in dropping.items():
        assert (mask & ~more[name]).sum() == 0
        assert more[name].sum() > mask.sum()


def test_orders_of_a_segment_are_those_of_the_seed_with_and_without_a_prologue() -> None:
    def orders(layout: TokenLayout) -> Tensor:
        generator = Rar(
            RarSettings(transformer=ArTransformerSettings(width=16, layers=1, heads=2)), layout, 4
        )
        span = generator.vocabulary.spans["visual"]
        order = generator.draws(32, lambda *names: seeds.generator(*names, 0), 0.6)["order"]
        return order[:, span] - span.start

    assert torch.equal(orders(LAYOUTS[0]), orders(LAYOUTS[1]))


VISUAL = Segment("visual", 4, 6)
SEVERAL = [
    TokenLayout((VISUAL,)),
    TokenLayout((Segment("prologue", 2, 5), VISUAL)),
    TokenLayout((Segment("prologue", 3, 50), VISUAL), separator=False),
]


def test_an_image_has_the_same_noise_in_every_batch_and_variant() -> None:
    whole = SEVERAL[1].split(image_noise(SEVERAL[1], range(20), "samples", 3))
    for layout in SEVERAL:
        noise = layout.split(image_noise(layout, range(5, 12), "samples", 3))
        assert torch.equal(noise["visual"], whole["visual"][5:12])
    # Fewer tokens of a segment have the noise of the first.
    short = TokenLayout((Segment("visual", 2, 9),))
    assert torch.equal(image_noise(short, range(20), "samples", 3), whole["visual"][:, :2])
    everything = torch.cat(
        [
            image_noise(SEVERAL[1], range(20), *names).flatten()
            for names in (("samples", 3), ("samples", 4), ("samples", 3 + 2**32), ("search", 3))
        ]
    )
    assert everything.unique().numel() == everything.numel()
    assert ((everything >= 0) & (everything < 1)).all()


def even(layout: TokenLayout) -> Ar:
    """A generator for which all tokens of a segment are alike."""
    generator = ar(layout)
    nn.init.zeros_(generator.head.linear.weight)
    return generator


def test_visual_tokens_share_their_noise_across_layouts_and_vocabularies() -> None:
    labels = torch.arange(40) % 3
    ids = [
        layout.split(draw_ids(even(layout), Sampling(), 3, labels, None, "samples", 0))["visual"]
        for layout in SEVERAL
    ]
    assert torch.equal(ids[0], ids[1])
    assert torch.equal(ids[0], ids[2])


@pytest.mark.parametrize("guidance", [{}, {"all": Guidance(scale=3.0)}])
def test_samples_do_not_depend_on_the_batch_that_they_are_drawn_in(
    guidance: dict[str, Guidance],
) -> None:
    generator = ar(LAYOUTS[1])
    labels = torch.arange(48) % 3
    sampling = Sampling(top_p=0.9, temperature=1.3, guidance=guidance)
    whole = draw_ids(generator, sampling, 3, labels, None, "samples", 0)
    for size in (1, 7, 48):
        parts = [
            draw_ids(
                generator,
                sampling,
                3,
                labels[start : start + size],
                None,
                "samples",
                0,
                first=start,
            )
            for start in range(0, 48, size)
        ]
        assert torch.equal(torch.cat(parts), whole)


def test_a_search_s_points_share_their_noise_and_no_other_does() -> None:
    """Two settings that differ in nothing draw the same; samples of the same seed are others."""
    generator, labels = even(LAYOUTS[1]), torch.zeros(30, dtype=torch.int64)
    points = [
        draw_ids(generator, Sampling(temperature=t), 3, labels, None, "search", 0)
        for t in (0.5, 2.0)
    ]
    assert torch.equal(*points)
    assert not torch.equal(
        points[0], draw_ids(generator, Sampling(), 3, labels, None, "samples", 0)
    )


def test_chosen_ids_follow_their_distribution() -> None:
    weights = torch.tensor([0.0, 4.0, 0.5, 0.0, 0.0, 1.0, 2.5, 0.02, 0.0])
    noise = torch.rand(200_000, 1, generator=seeds.generator("test"), dtype=torch.float64)
    ids = choose((weights / weights.sum()).expand(len(noise), -1), noise)
    assert ids.shape == (200_000, 1)
    counts = ids.flatten().bincount(minlength=9)
    assert counts[weights == 0].sum() == 0
    kept = weights > 0
    expected = weights[kept].double() / weights.sum() * len(noise)
    assert (
        chisquare(
            counts[kept].numpy(), expected.numpy() * len(noise) / expected.sum().item()
        ).pvalue
        > 0.001
    )


@pytest.mark.parametrize("noise", [0.0, 2.0**-60, 0.5, 1 - 2.0**-53])
@pytest.mark.parametrize("total", [1.0, 0.9999999, 1.0000001, 3e-30])
def test_ids_without_probability_are_never_chosen(noise: float, total: float) -> None:
    probabilities = total * torch.tensor([[0.0, 0.0, 0.25, 0.0, 0.75, 0.0, 0.0]])
    chosen = choose(probabilities, torch.tensor([[noise]], dtype=torch.float64))
    assert chosen.item() in (2, 4)
    certain = torch.tensor([[0.0, 0.0, total, 0.0]])
    assert choose(certain, torch.tensor([[noise]], dtype=torch.float64)).item() == 2


@pytest.mark.parametrize("draw", ["generator", "named"])
def test_samples_follow_the_generator_s_distribution(draw: str) -> None:
    layout = TokenLayout((Segment("a", 1, 4), Segment("b", 1, 3)))
    generator = ar(layout)
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.3, generator=seeds.generator("weights", parameter.numel()))
    sampling = Sampling(temperature=0.7)
    count = 8000
    labels = torch.zeros(count, dtype=torch.int64)
    if draw == "named":
        ids = draw_ids(generator, sampling, 3, labels, None, "samples", 0)
    else:
        ids = sample_ids(generator, labels, sampling, seeds.generator("samples"), 3)
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(3))
    logits = generator.logits(pairs, torch.zeros(12, dtype=torch.int64)).double().detach() / 0.7
    places = generator.vocabulary.spans
    expected = torch.ones(12, dtype=torch.float64)
    for column, name in enumerate(layout.names):
        own = logits[:, places[name].start, generator.vocabulary.rows(name)].softmax(-1)
        expected *= own.gather(1, pairs[:, column, None])[:, 0]
    counts = (ids[:, 0] * 3 + ids[:, 1]).bincount(minlength=12)
    assert (
        chisquare(counts.numpy(), expected.numpy() / expected.sum().item() * count).pvalue > 0.001
    )


def test_noise_of_another_place_changes_nothing_before_it() -> None:
    generator, layout = ar(LAYOUTS[1]), LAYOUTS[1]
    labels = torch.arange(9) % 3
    noise = image_noise(layout, range(9), "samples", 0)
    other = noise.clone()
    other[:, 3:] = 1 - other[:, 3:]
    one, two = (ids_of_noise(generator, labels, Sampling(), each, 3) for each in (noise, other))
    assert torch.equal(one[:, :3], two[:, :3])
    assert not torch.equal(one, two)
