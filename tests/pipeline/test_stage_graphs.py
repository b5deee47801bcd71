"""Experiments whose stages are not those of the plain pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from prologue_bench.config.ablation import Ablation, load_ablation
from prologue_bench.config.files import Overrides
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.stages import TakePrior, TrainTokenizer
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.storage.store import Store
from tests.conftest import ROOT, Recorder


def test_one_stage_samples_from_the_joint_prior(
    load: Callable[..., Ablation], store: Store, recorder: Recorder
) -> None:
    plan = make_plan(
        load(
            "vary.tokenizer.prologue_tokens=[2]",
            "baseline=null",
            "tokenizer_training.prior_labels=true",
            "generator_training.joint=true",
        ),
        Workspace(store),
    )
    assert execute(plan, Workspace(store), recorder, lambda: False).failures == {}
    assert recorder.kinds == [
        "train-tokenizer",
        "encode",
        "reconstruct",
        "take-prior",
        "sample",
        "measure",
        "picture-reconstructions",
        "picture-samples",
        "picture-tokens",
        "picture-attention",
    ]
    pipeline = plan.pipelines[0]
    assert isinstance(pipeline.generator, TakePrior)
    prior = load_file(store.get(pipeline.tokenizer.key) / "prior.safetensors")
    taken = load_file(store.get(pipeline.generator.key) / "generator.safetensors")
    assert prior.keys() == taken.keys()
    assert all(taken[name].equal(value) for name, value in prior.items())


def test_a_generator_continues_from_the_weights_of_the_joint_prior(
    load: Callable[..., Ablation], store: Store, recorder: Recorder
) -> None:
    """A training of one step that is too small to change a weight leaves the prior's."""
    same = "{use: ar, transformer: {width: 16, layers: 1, heads: 1}}"
    plan = make_plan(
        load(
            "vary.tokenizer.prologue_tokens=[2]",
            "baseline=null",
            "metrics=[rate]",
            f"tokenizer_training.prior={same}",
            f"generator={same}",
            "generator_training.start=joint-prior",
            "generator_training.steps=1",
            "generator_training.optimisation.learning_rate=1e-30",
        ),
        Workspace(store),
    )
    assert execute(plan, Workspace(store), recorder, lambda: False).failures == {}
    pipeline = plan.pipelines[0]
    prior = load_file(store.get(pipeline.tokenizer.key) / "prior.safetensors")
    continued = load_file(store.get(pipeline.generator.key) / "generator.safetensors")
    assert prior.keys() == continued.keys()
    assert all(torch.allclose(continued[name], value, atol=1e-6) for name, value in prior.items())


def test_post_trains_its_foundation_once_and_keeps_it(
    load: Callable[..., Ablation], store: Store, recorder: Recorder
) -> None:
    ablation = load(
        "tokenizer={use: vq-2d}",
        "vary={}",
        "baseline=2d",
        "variants={2d: {tokenizer: vq-2d}, post: {tokenizer: {use: prologue-post, prologue_tokens: "
        "2, prologue_encoder: {width: 16, layers: 1, heads: 1}}}}",
    )
    plan = make_plan(ablation, Workspace(store))
    baseline, post = (pipeline.tokenizer for pipeline in plan.pipelines)
    assert isinstance(post, TrainTokenizer)
    assert post.foundation is not None
    assert post.foundation.key == baseline.key
    assert execute(plan, Workspace(store), recorder, lambda: False).failures == {}
    assert recorder.kinds.count("train-tokenizer") == 2
    before = load_file(store.get(baseline.key) / "tokenizer.safetensors")
    after = load_file(store.get(post.key) / "tokenizer.safetensors")
    assert all(after[name].equal(value) for name, value in before.items())
    assert after.keys() > before.keys()


@pytest.mark.parametrize(
    "path",
    # What needs released weights has tests of its own.
    sorted(set((ROOT / "ablations").glob("*.yaml")) - set((ROOT / "ablations").glob("zoo*.yaml"))),
    ids=lambda path: path.stem,
)
def test_every_ablation_plans_with_its_own_baseline(
    path: Path, registry: Registry, store: Store
) -> None:
    one_seed = ("data=fashion-mnist-embedded", "seeds=[0]")
    overrides = Overrides(values=one_seed, profile="smoke")
    ablation = load_ablation(path, registry, overrides)
    plan = make_plan(ablation, Workspace(store))
    assert ablation.name == path.stem
    assert ablation.baseline in [variant.name for variant in ablation.variants]
    assert len(plan.pipelines) == len(ablation.seeds) * len(ablation.variants)
    load_ablation(path, registry)  # with the profile of the file too


@pytest.mark.parametrize(
    "path", sorted((ROOT / "ablations").glob("*.yaml")), ids=lambda path: path.stem
)
@pytest.mark.parametrize("profile", ["smoke", "quick", "micro"])
def test_every_ablation_that_ships_loads_with_every_profile(
    registry: Registry, path: Path, profile: str
) -> None:
    ablation = load_ablation(path, registry, Overrides(profile=profile))
    assert ablation.name == path.stem
