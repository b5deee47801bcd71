"""Experiments whose stages are not those of the plain pipeline."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prologue_bench.config.ablation import Ablation, load_ablation
from prologue_bench.errors import UserError
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.stages import TrainGenerator
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.storage.store import Store
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["vary.tokenizer.prologue_tokens=[0]"], "has no joint prior"),
        (["vary.tokenizer.prologue_tokens=[2]"], "set tokenizer_training.prior_labels: true"),
        (
            [
                *("vary.tokenizer.prologue_tokens=[2]", "tokenizer.visual_dropout=1"),
                "tokenizer_training.prior_labels=true",
            ],
            "the joint prior never sees visual tokens, and cannot draw by them",
        ),
    ],
)
def test_one_stage_needs_a_conditional_prior_that_sees_all_tokens(
    load: Callable[..., Ablation], store: Store, values: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(load(*values, "baseline=null", "generator_training.joint=true"), Workspace(store))


def planned(load: Callable[..., Ablation], store: Store, *values: str) -> TrainGenerator:
    """The generator's stage of one variant with a prologue."""
    plan = make_plan(
        load("vary.tokenizer.prologue_tokens=[2]", "baseline=null", *values), Workspace(store)
    )
    stage = plan.pipelines[0].generator
    assert isinstance(stage, TrainGenerator)
    return stage


ALIKE = "tokenizer_training.prior={use: ar, transformer: {width: 16, layers: 1, heads: 1}}"
START = "generator_training.start=joint-prior"


def test_a_generator_that_starts_from_the_prior_is_another_training_that_reads_it(
    load: Callable[..., Ablation], store: Store
) -> None:
    small = "generator={use: ar, transformer: {width: 16, layers: 1, heads: 1, dropout: 0.2}}"
    new, continued = (planned(load, store, ALIKE, small, *more) for more in ((), (START,)))
    assert new.inputs == (new.tokens,)
    assert continued.inputs == (continued.tokens, continued.tokens.tokenizer)
    assert new.key != continued.key
    assert new.tokens.key == continued.tokens.key


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["generator={use: ar, tied: true, transformer: {width: 32, layers: 1, heads: 1}}"],
            "of its kind and size; they differ in transformer.width, tied",
        ),
        (["generator={use: rar}"], "of its kind and size; they are 'rar' and 'ar'"),
        (
            ["vary.tokenizer.prologue_tokens=[0]"],
            "start: tokenizer .prologue. with these settings has no joint prior",
        ),
    ],
)
def test_a_generator_unlike_the_prior_cannot_start_from_it(
    load: Callable[..., Ablation], store: Store, values: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        planned(load, store, ALIKE, START, *values)


def test_a_segment_that_no_variant_has_is_a_user_error(
    load: Callable[..., Ablation], store: Store
) -> None:
    with pytest.raises(
        UserError,
        match="sampling: no variant's tokens have a segment 'prolog'; did you mean 'prologue'",
    ):
        make_plan(load("sampling.temperature={prolog: 0.7}"), Workspace(store))


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


def load_references_rows(registry: Registry) -> list[str]:
    from prologue_bench.config.presets import load_references

    [card] = load_references(["imagenet-256"], registry, "test")
    return list(card.rows)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("{grid: {temprature: [1.0]}}", "sampling.search.grid.temprature: unknown setting"),
        ("{grid: {temperature: [0.0]}}", "temperature: must be > 0"),
        (
            "{grid: {temperature: [0.9], seed: [0, 1]}}",
            "grid: must have none of samples, seed, batch_size, search: seed",
        ),
        ("{grid: {search.samples: [4, 8]}}", "grid: must have none of samples, seed, batch_size"),
        ("{grid: {}}", "grid: must have at least one setting"),
        (
            "{grid: {temperature: [1.0]}, validation_images: 8, metric: rate}",
            "'rate' needs tokens, likelihood; expected a metric of samples",
        ),
    ],
)
def test_a_search_that_cannot_be_is_one_line(
    load: Callable[..., Ablation], store: Store, search: str, message: str
) -> None:
    with pytest.raises(UserError) as raised:
        make_plan(load(f"sampling.search={search}"), Workspace(store))
    assert message in str(raised.value)
