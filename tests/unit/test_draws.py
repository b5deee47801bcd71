"""What is drawn at random.

Apart for each seed, step, purpose and process, and the same however a batch is cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from prologue_bench import seeds
from prologue_bench.config.ablation import Ablation
from prologue_bench.config.settings import GeneratorTraining, TokenizerTraining
from prologue_bench.sampling.grids import sharing_tokens
from prologue_bench.training.hooks import StepSeedHook
from prologue_bench.training.models import GeneratorModel, TokenizerModel
from tests.conftest import ROOT
from tests.factories.models import LAYOUTS, ar, prologue, rar

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    ),
]
STEPS = (*range(40), 4096, 8192, 2**20, 2**24, 2**32, 2**44)
SEEDS = (0, 1, 2, 2**19, 2**20, 2**32, 2**44)


def distinct(values: list[Any]) -> bool:
    return len(set(values)) == len(values)


def names() -> list[tuple[seeds.Name, ...]]:
    return [
        (purpose, seed, step, rank)
        for purpose in ("labels", "layers")
        for seed in SEEDS
        for step in STEPS
        for rank in range(3)
    ]


@pytest.mark.parametrize("device", DEVICES)
def test_every_purpose_seed_step_and_rank_draws_apart(device: str) -> None:
    drawn = [
        tuple(
            torch.rand(3, generator=seeds.generator(*name, device=device), device=device).tolist()
        )
        for name in names()
    ]
    assert distinct(drawn)


@pytest.mark.parametrize("device", DEVICES)
def test_a_stream_is_a_seed_that_both_devices_use_in_full(device: str) -> None:
    found = [seeds.stream(*name) for name in names()]
    assert all(0 <= seed < 2**32 for seed in found)
    assert distinct(found)
    drawn = [
        tuple(
            torch.rand(
                3, generator=torch.Generator(device).manual_seed(seed), device=device
            ).tolist()
        )
        for seed in found
    ]
    assert distinct(drawn)


def test_a_stream_depends_on_its_whole_name() -> None:
    apart = [
        ("a", 1, 2),
        ("a", 2, 1),
        ("a", 12),
        ("a", "1", 2),
        ("a1", 2),
        ("a", 1),
        ("a", 1, 2, 0),
        (1, 2),
        (),
    ]
    assert distinct([seeds.stream(*name) for name in apart])
    assert (
        seeds.stream("a", 1) == seeds.stream("a", np.int64(1)) == seeds.stream("a", torch.tensor(1))
    )


def test_the_whole_state_of_the_cpu_s_generator_is_filled() -> None:
    """It then draws what NumPy's Mersenne Twister of the same state does."""
    twister = np.random.MT19937(seeds._sequence(("a", 1)))
    twister.random_raw()  # the last word of the state, where PyTorch begins with the next state
    expected = twister.random_raw(2000) % 2**24
    found = torch.rand(2000, generator=seeds.generator("a", 1)).double() * 2**24
    assert np.array_equal(found.numpy(), expected)


def test_many_steps_draw_apart_where_32_bits_would_meet() -> None:
    """The first steps of these names that have the same 32 bits draw apart."""
    met: dict[int, int] = {}
    for step in range(400_000):
        before = met.setdefault(seeds.stream("labels", step), step)
        if before != step:
            one, other = (
                torch.rand(3, generator=seeds.generator("labels", each)) for each in (before, step)
            )
            assert not torch.equal(one, other)
            return
    raise AssertionError("no two streams met")


@pytest.mark.parametrize("device", DEVICES)
def test_seeding_inside_leaves_no_trace_outside(device: str) -> None:
    def drawn() -> tuple[Any, ...]:
        import random

        return (
            random.random(),
            np.random.rand(),
            torch.rand(1).item(),
            torch.rand(1, device=device).item(),
        )

    seeds.seed_all("outside")
    expected = drawn()
    seeds.seed_all("outside")
    with seeds.seeded("inside"):
        inside = drawn()
    assert drawn() == expected
    seeds.seed_all("inside")
    assert drawn() == inside
    assert distinct([*inside, *expected])


def test_no_seed_is_made_by_shifting_adding_or_by_hand() -> None:
    """`torch.manual_seed` is called by `seeds`, by the checks of plugins, which want a fixed
    number, and by the sampler, which is given one that `seeds` made.
    """
    checks = ("checks", "generators", "losses", "tokenizers")
    allowed = {f"prologue_bench/conformance/{name}.py" for name in checks}
    allowed |= {"prologue_bench/seeds.py", "prologue_bench/training/batches.py"}
    shifting = {"prologue_bench/runs/demo/page.py"}  # which offers the next seed after each draw
    shifted = re.compile(r"seed\w*\)? *(<<|\+) |\+ *\w*seed\b")
    texts = {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for package in ("prologue_bench", "plugins")
        for path in (ROOT / package).rglob("*.py")
    }
    assert {name for name, text in texts.items() if shifted.search(text)} == shifting
    assert {name for name, text in texts.items() if "manual_seed" in text} == allowed


def global_draw(model: Any, seed: int, step: int, rank: int, device: str) -> tuple[float, ...]:
    """What a layer would draw first in a step."""
    StepSeedHook(seed).before_train_iter(SimpleNamespace(iter=step, rank=rank, model=model), 0)  # type: ignore[arg-type]
    return tuple(torch.rand(3, device=device).tolist())


@pytest.mark.parametrize("device", DEVICES)
def test_layers_draw_apart_in_every_seed_step_process_and_training(device: str) -> None:
    models = (generator_model(ar(LAYOUTS[0])), tokenizer_model())
    drawn = [
        global_draw(model, seed, step, rank, device)
        for model in models
        for seed in SEEDS
        for step in STEPS
        for rank in range(2)
    ]
    assert distinct(drawn)


def tokenizer_model(**changes: Any) -> TokenizerModel:
    tokenizer = prologue()
    training = TokenizerTraining(prior_labels=True, label_dropout=0.5, **changes)
    return TokenizerModel(tokenizer, ar(tokenizer.layout), training, none_label=3)


def generator_model(generator: Any, **changes: Any) -> GeneratorModel:
    return GeneratorModel(generator, GeneratorTraining(label_dropout=0.5, **changes), none_label=3)


@pytest.mark.parametrize(
    "make", [tokenizer_model, lambda: generator_model(rar(LAYOUTS[1]), steps=2**50)]
)
def test_masks_labels_and_orders_differ_in_every_seed_and_step(make: Callable[[], Any]) -> None:
    model = make()
    found: dict[str, list[bytes]] = {}
    for seed in SEEDS:
        for step in STEPS:
            model.begin_step(step, seed)
            for name, drawn in model.draws(64).items():
                found.setdefault(name, []).append(drawn.numpy().tobytes())
    assert len(found) == 2
    for name, drawn in found.items():
        assert distinct(drawn), name


def test_two_purposes_of_a_step_do_not_share_their_draws() -> None:
    model = tokenizer_model()
    model.begin_step(3, 7)
    drawn = model.draws(256)
    agree = (drawn["dropped_visual"] == drawn["unlabelled"]).float().mean()
    assert 0.3 < agree < 0.7
    other = generator_model(ar(LAYOUTS[1]))
    other.begin_step(3, 7)
    assert not torch.equal(other.draws(256)["unlabelled"], drawn["unlabelled"])


def test_shared_tokens_of_neighbouring_seeds_have_nothing_in_common() -> None:
    used: list[int] = []

    def draw(labels: Tensor, seed: int, prefix: Tensor | None) -> Tensor:
        used.append(seed)
        return torch.zeros(len(labels), 4, dtype=torch.int64)

    for seed in range(20):
        sharing_tokens(draw, torch.zeros(6, dtype=torch.int64), 3, [range(2)], seed)
    assert len(used) == 40
    assert distinct(used)


def test_training_seeds_may_be_large(load: Callable[..., Ablation]) -> None:
    assert load(f"seeds=[0,{2**40}]").experiments[-1].seed == 2**40
