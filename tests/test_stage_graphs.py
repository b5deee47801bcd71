"""Experiments whose stages are not those of the plain pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from prologue_bench.config.ablation import Ablation, load_ablation
from prologue_bench.config.files import Overrides
from prologue_bench.errors import UserError
from prologue_bench.pipeline.collect import collect
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.stages import TakePrior, TrainTokenizer
from prologue_bench.pipeline.steps.sampling import chosen_sampling
from prologue_bench.registry import Registry
from prologue_bench.reporting.sections import searches
from prologue_bench.storage.store import Store
from tests.conftest import ROOT, Recorder


def kinds(recorder: Recorder) -> list[str]:
    return [line.split()[0] for line in recorder.ran]


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
        store,
    )
    assert execute(plan, store, recorder, lambda: False).failures == {}
    assert kinds(recorder) == [
        "train-tokenizer",
        "encode",
        "reconstruct",
        "take-prior",
        "sample",
        "measure",
    ]
    pipeline = plan.pipelines[0]
    assert isinstance(pipeline.generator, TakePrior)
    prior = load_file(store.get(pipeline.tokenizer.key) / "prior.safetensors")
    taken = load_file(store.get(pipeline.generator.key) / "generator.safetensors")
    assert prior.keys() == taken.keys()
    labels = prior["label_embedding.weight"]
    fresh = load_file(store.get(pipeline.tokenizer.key) / "prior.safetensors")[
        "label_embedding.weight"
    ]
    assert labels.shape == fresh.shape


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["vary.tokenizer.prologue_tokens=[0]"], "has no joint prior"),
        (["vary.tokenizer.prologue_tokens=[2]"], "set tokenizer_training.prior_labels: true"),
    ],
)
def test_one_stage_needs_a_conditional_prior(
    load: Callable[..., Ablation], store: Store, values: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(load(*values, "baseline=null", "generator_training.joint=true"), store)


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
    plan = make_plan(ablation, store)
    baseline, post = (pipeline.tokenizer for pipeline in plan.pipelines)
    assert isinstance(post, TrainTokenizer)
    assert post.foundation is not None
    assert post.foundation.key == baseline.key
    assert execute(plan, store, recorder, lambda: False).failures == {}
    assert kinds(recorder).count("train-tokenizer") == 2
    before = load_file(store.get(baseline.key) / "tokenizer.safetensors")
    after = load_file(store.get(post.key) / "tokenizer.safetensors")
    assert all(after[name].equal(value) for name, value in before.items())
    assert after.keys() > before.keys()


def test_every_tokenizer_and_generator_goes_through_the_pipeline(
    load: Callable[..., Ablation], store: Store, recorder: Recorder
) -> None:
    ablation = load(
        "vary={}",
        "baseline=1d",
        "metrics=[rate, codebook]",
        "variants={1d: {tokenizer: {use: vq-1d, tokens: 5}}, ce: {tokenizer: {use: vq-2d, "
        "visual_ce_weight: 1.0}}, shared: {tokenizer: {use: prologue, prologue_tokens: 2, "
        "shared_codebook: true}}, vq: {tokenizer: {use: prologue, prologue_tokens: 2, "
        "straight_through: vq}}, rar: {tokenizer.prologue_tokens: 2, generator: rar}}",
        (
            "sampling.guidance={prologue: {scale: 0.7}, visual: {schedule: cosine, scale: 3.0, "
            "power: 0.2}}"
        ),
    )
    plan = make_plan(ablation, store)
    assert execute(plan, store, recorder, lambda: False).failures == {}


def test_a_segment_that_no_variant_has_is_a_user_error(
    load: Callable[..., Ablation], store: Store
) -> None:
    with pytest.raises(
        UserError,
        match="sampling: no variant's tokens have a segment 'prolog'; did you mean 'prologue'",
    ):
        make_plan(load("sampling.temperature={prolog: 0.7}"), store)


def test_every_paper_ablation_loads_with_its_reference_row(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted((ROOT / "ablations" / "paper").glob("*.yaml"))
    assert len(paths) == len(load_references_rows(registry)) == 10
    for path in paths:
        ablation = load_ablation(path, registry)
        assert [list(reference.rows) for reference in ablation.references] == [[path.stem]]
        guided, unguided = ablation.experiments
        assert guided.sampling.guidance
        assert not unguided.sampling.guidance
        assert guided.sampling.samples == 50000
        assert guided.tokenizer_training.steps >= 750000


@pytest.mark.parametrize(
    "path", sorted((ROOT / "ablations").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_ablation_plans_with_its_own_baseline(
    path: Path, registry: Registry, store: Store
) -> None:
    overrides = Overrides(values=("data=fashion-mnist-embedded",), profile="smoke")
    ablation = load_ablation(path, registry, overrides)
    plan = make_plan(ablation, store)
    assert ablation.name == path.stem
    assert ablation.baseline in [variant.name for variant in ablation.variants]
    assert len(plan.pipelines) == len(ablation.seeds) * len(ablation.variants)
    load_ablation(path, registry)  # with the profile of the file too


def load_references_rows(registry: Registry) -> list[str]:
    from prologue_bench.config.presets import load_references

    [card] = load_references(["imagenet-256"], registry, "test")
    return list(card.rows)


def test_a_search_gives_every_variant_the_same_grid_and_the_best_point(
    load: Callable[..., Ablation], store: Store, recorder: Recorder
) -> None:
    grid = (
        "sampling.search={grid: {temperature: [0.5, 1.0, 30.0]}, samples: 30, validation_images: "
        "40}"
    )
    ablation = load(grid, "seeds=[0, 1]")
    plan = make_plan(ablation, store)
    outcome = execute(plan, store, recorder, lambda: False)
    assert outcome.failures == {}
    assert kinds(recorder).count("search") == 4
    results, _ = collect(plan, outcome, store, Registry.load())
    for run in results.runs:
        assert run.search is not None
        values = [each.value for each in run.search.points]
        assert [each.point["temperature"] for each in run.search.points] == [
            0.5,
            1.0,
            30.0,
        ]
        best = values.index(min(values))
        assert run.search.chosen == run.search.points[best].point
    for pipeline in plan.pipelines:
        chosen = chosen_sampling(pipeline.samples, store)
        assert chosen.search is None
        assert chosen.temperature in (0.5, 1.0, 30.0)
    rows = searches(results)
    assert [row.point for row in rows] == [
        "temperature 0.5",
        "temperature 1.0",
        "temperature 30.0",
    ]
    assert sum(row.chosen["prologue_tokens=0"] for row in rows) == 2
    # Without a search nothing changes, and the search's metric is no part of the samples' own
    # settings.
    plain = make_plan(load(), store).pipelines[0].samples
    assert plain.search is None
    assert plain.key != plan.pipelines[0].samples.key


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("{grid: {temprature: [1.0]}}", "sampling.search.grid.temprature: unknown setting"),
        ("{grid: {temperature: [0.0]}}", "temperature: must be > 0"),
        ("{grid: {}}", "grid: must have at least one setting"),
        (
            "{grid: {temperature: [1.0]}, validation_images: 8, metric: rate}",
            "'rate' needs tokens, generator; expected a metric of samples",
        ),
    ],
)
def test_a_search_that_cannot_be_is_one_line(
    load: Callable[..., Ablation], store: Store, search: str, message: str
) -> None:
    with pytest.raises(UserError) as raised:
        make_plan(load(f"sampling.search={search}"), store)
    assert message in str(raised.value)
