"""Several codebooks, levels, huge vocabularies, no ids and other ways to draw enter by one door."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.config.ablation import Ablation
from prologue_bench.config.settings import Guidance, Sampling
from prologue_bench.conformance import Skipped, checks_of
from prologue_bench.contracts import ContinuousTokenizer, Segment, TokenLayout, fixed_at
from prologue_bench.errors import StageError, UserError
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.flops import stage_flops
from prologue_bench.pipeline.planner import Plan, make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.sampling.decoding import draw_ids, sample_ids
from prologue_bench.storage.store import Store
from prologue_plugins.generators.ar import Vocabulary
from prologue_plugins.metrics.codebook import Codebook
from prologue_plugins.metrics.probe import one_hots, seen_columns
from tests.conftest import Recorder, run_tiny
from tests.examples import wider_contracts
from tests.examples.wider_contracts import Masked, WholePositions, WholeSegments
from tests.factories.measuring import by_name, inputs
from tests.factories.models import ar, random_ids

Load = Callable[..., Ablation]
FILE = Path(wider_contracts.__file__)
EXAMPLES = f"plugins=[{FILE}]"
COMPONENTS = [
    *[("tokenizer", name) for name in ("two-codebooks", "levels", "many-codes", "continuous")],
    *[("generator", name) for name in ("whole-segments", "whole-positions", "masked", "bits")],
]
TWO = TokenLayout((Segment("visual", 8, 5, (2, 2), codebooks=2),))
LEVELS = TokenLayout((Segment("a", 1, 5), Segment("b", 4, 6), Segment("c", 9, 7)), separator=False)
LABELS = torch.tensor([0, 1, 2])
NONE = 3


@pytest.fixture(scope="module")
def known() -> Registry:
    registry = Registry.load()
    registry.add_plugin(wider_contracts, "a test")
    return registry


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_the_examples_keep_their_contracts(kind: Any, name: str, known: Registry) -> None:
    ran = 0
    for check in checks_of(kind, name, registry=known):
        try:
            check.run()
            ran += 1
        except Skipped:
            pass
    assert ran >= 5


# Several codebooks


def test_a_segment_of_several_codebooks_counts_tokens_and_positions() -> None:
    segment = TWO.segment("visual")
    assert (segment.length, segment.positions, TWO.length) == (8, 4, 8)
    with pytest.raises(ValueError, match="9 tokens are no whole positions of 2 codebooks"):
        Segment("visual", 9, 5, codebooks=2)
    with pytest.raises(ValueError, match=r"a grid of \(2, 4\) does not hold 4 positions"):
        Segment("visual", 8, 5, (2, 4), codebooks=2)


def test_codebooks_are_measured_alone(tmp_path: Path) -> None:
    ids = np.array([[0, 4, 1, 4, 2, 4, 3, 4], [0, 4, 1, 4, 2, 4, 3, 4]])
    metric = Codebook(None)
    found = {each.name: each for each in metric.measure(inputs(tmp_path, layout=TWO, test_ids=ids))}
    # The first codebook uses 4 of its 5 codes equally, the second one code.
    assert found["codebook_use_visual"].value == pytest.approx((80 + 20) / 2)
    assert found["codebook_perplexity_visual"].value == pytest.approx((4 + 1) / 2)
    positions = found["codebook_perplexity_position_visual"]
    assert positions.positions == (1.0,) * 4, "one number per position, for a map over the grid"
    assert "codebooks" in positions.protocol.details


def test_ar_keeps_the_codes_of_codebooks_apart() -> None:
    vocabulary = Vocabulary(TWO)
    assert vocabulary.size == 10
    assert vocabulary.sequence(torch.zeros(1, 8).long()).tolist() == [[0, 5] * 4]
    generator = ar(TWO)
    ids = random_ids(TWO)
    relaxed = {"visual": F.one_hot(ids, 5).float()}
    plain = generator.token_losses(ids, LABELS)
    assert torch.allclose(generator.token_losses(ids, LABELS, relaxed), plain, atol=1e-5)
    drawn = sample_ids(generator, LABELS, Sampling(), torch.Generator(), NONE)
    TWO.check(drawn, 3)


def test_a_codebook_at_its_default_changes_no_key(load: Load, store: Store) -> None:
    measure = make_plan(load(), Workspace(store)).pipelines[0].measures[0]
    assert "codebooks" not in json.dumps(measure.reads())


# Steps of several tokens


@pytest.mark.parametrize("layout", [LEVELS, TWO])
@pytest.mark.parametrize("kind", [WholeSegments, WholePositions])
def test_a_step_draws_all_of_its_tokens_from_one_pass(
    kind: type[WholeSegments], layout: TokenLayout
) -> None:
    torch.manual_seed(0)
    generator = kind(None, layout, 4)
    sampling = Sampling(top_k=1, guidance={"all": Guidance(scale=2.0)})
    ids = sample_ids(generator, LABELS, sampling, torch.Generator(), NONE)
    for step, (start, count) in enumerate(zip(generator.starts(), generator.steps, strict=True)):
        one, other = (
            generator.logits(step, labels, ids[:, :start])
            for labels in (LABELS, torch.full_like(LABELS, NONE))
        )
        assert torch.equal((2 * one - other).argmax(-1), ids[:, start : start + count])
    for fixed in range(layout.length + 1):  # also in the middle of a step
        again = sample_ids(
            generator, LABELS, sampling, torch.Generator(), NONE, fixed=ids[:, :fixed]
        )
        assert torch.equal(again, ids)


class TooShort(WholeSegments):
    def decode_step(self, state: list[torch.Tensor], chosen: torch.Tensor | None) -> torch.Tensor:
        return super().decode_step(state, chosen)[:, :1]


def test_logits_of_another_shape_are_one_line() -> None:
    with pytest.raises(StageError, match=r"gave \[3, 1, 6\], expected logits \[3, 4, 6\] of 4 to"):
        sample_ids(TooShort(None, LEVELS, 4), LABELS, Sampling(), torch.Generator(), NONE)


# Huge vocabularies


def test_nothing_is_as_large_as_a_huge_vocabulary(tmp_path: Path) -> None:
    layout = TokenLayout((Segment("visual", 3, 2**60),))
    ids = np.array([[0, 2**59, 5], [7, 2**59, 2**60 - 1]])
    found = by_name(Codebook(None).measure(inputs(tmp_path, layout=layout, test_ids=ids)))
    assert found["codebook_perplexity_position_visual"] == pytest.approx((2 + 1 + 2) / 3)
    layout = TokenLayout((Segment("visual", 3, 2**40),))
    ids = ids % 2**40
    seen = seen_columns(ids[:1], layout)
    assert seen is not None
    assert one_hots(ids, layout, seen).toarray().tolist() == [[1, 1, 1], [0, 1, 0]]


def test_few_columns_are_all_held() -> None:
    assert seen_columns(np.zeros((1, 8), int), TWO) is None


# Other ways to draw


class Stubborn(Masked):
    def draw(self, drawing: Any) -> torch.Tensor:
        return super().draw(drawing) * 0 + 1


def test_a_parallel_generator_is_held_to_its_prefix_and_vocabulary() -> None:
    prefix = torch.zeros(3, 2).long()
    ids = draw_ids(Masked(None, LEVELS, 4), Sampling(), NONE, LABELS, prefix, "x")
    assert ids[:, :2].eq(0).all()
    anywhere = fixed_at(ids, [2, 5])
    again = draw_ids(Masked(None, LEVELS, 4), Sampling(), NONE, LABELS, anywhere, "y")
    assert torch.equal(again[:, [2, 5]], ids[:, [2, 5]])
    assert not torch.equal(again, ids)
    with pytest.raises(StageError, match="found another id for token 0, counted from 0"):
        draw_ids(Stubborn(None, LEVELS, 4), Sampling(), NONE, LABELS, prefix, "x")


# In ablations


def planned(load: Load, store: Store, *values: str) -> Plan:
    return make_plan(load("vary={}", "baseline=", *values), Workspace(store))


@pytest.mark.parametrize(
    ("tokenizer", "generator", "notes"),
    [
        ("two-codebooks", "whole-positions", []),
        ("two-codebooks", "ar", []),
        ("levels", "whole-segments", []),
        ("many-codes", "bits", []),
        (
            "levels",
            "masked",
            ["rate: does not apply: generator 'masked' of wider_contracts.py has no likelihood"],
        ),
    ],
)
def test_an_ablation_runs_from_the_tokenizer_to_the_measurements(
    load: Load,
    store: Store,
    recorder: Recorder,
    tokenizer: str,
    generator: str,
    notes: list[str],
) -> None:
    plan = planned(
        load,
        store,
        EXAMPLES,
        f"tokenizer={{use: {tokenizer}}}",
        f"generator={{use: {generator}}}",
        "metrics=[rate, codebook, psnr, speed, {use: gfid, few_samples: shrink}]",
        "tokenizer_training.steps=2",
        "generator_training.steps=2",
    )
    assert list(plan.notes) == notes
    for stage in plan.stages:
        if stage.stage.kind in ("train-generator", "sample"):
            assert stage_flops(stage.stage, Workspace(store)) == stage.flops
    assert execute(plan, Workspace(store), recorder, lambda: False).failures == {}
    measured = [store.get(measure.key) for measure in plan.pipelines[0].measures]
    numbers = [json.loads((each / "measurements.json").read_text()) for each in measured]
    assert len(numbers) == 5 - len(notes)
    assert all(numbers)


def test_a_tokenizer_without_ids_is_measured_and_all_else_does_not_apply(
    tmp_path: Path, load: Load, store: Store
) -> None:
    text = """
name: tiny
title: With and without ids
data: {use: shapes, size: 14, train_images: 96, test_images: 64}
plugins: [FILE]
profile: smoke
tokenizer: {use: levels}
generator: {use: ar}
variants: {ids: {tokenizer: levels}, latents: {tokenizer: continuous}}
seeds: [0]
baseline: ids
tokenizer_training: {steps: 2}
generator_training: {steps: 2}
sampling: {samples: 24, batch_size: 12}
metrics: [psnr, rate, codebook, probe]
"""
    reason = "tokenizer 'continuous' of wider_contracts.py has no ids"
    run_tiny(tmp_path, text=text.replace("FILE", str(FILE)))
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    run = next(each for each in results["runs"] if each["variant"] == "latents")
    assert run["left_out"] == dict.fromkeys(("generator", "rate", "codebook", "probe"), reason)
    assert run["failures"] == {}
    assert not run["unfinished"]
    assert [each["name"] for each in run["measurements"]] == ["psnr"]
    assert [each["stage"] for each in run["stages"]] == [
        "train-tokenizer",
        "reconstruct",
        "measure psnr",
        "picture-reconstructions",
    ]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "generator: does not apply to variant latents" in page
    assert "no tokens" in page
    shown = CliRunner().invoke(
        cli, ["plan", str(tmp_path / "tiny.yaml"), "--store", str(tmp_path / "store")]
    )
    assert shown.exit_code == 0, shown.output
    said = " ".join(shown.output.split())
    assert f"rate: does not apply to variant latents: {reason}" in said
    sampled = CliRunner().invoke(
        cli,
        [
            *("sample", str(tmp_path / "report"), "--variant", "latents"),
            *("--store", str(tmp_path / "store"), "--out", str(tmp_path / "samples.png")),
        ],
    )
    assert str(sampled.exception) == "variant 'latents' has no generator: its tokenizer has no ids"


class Trained(ContinuousTokenizer):
    frozen = False

    def __init__(self, *_: object) -> None:
        super().__init__()

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        return images


class Empty(wider_contracts.Levels):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.layout = TokenLayout(())


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Trained, "only released ones can be measured"),
        (Empty, "found 0 segments, expected at least one"),
    ],
)
def test_what_cannot_enter_is_one_line(
    load: Load, store: Store, monkeypatch: pytest.MonkeyPatch, cls: type, message: str
) -> None:
    ablation = load(EXAMPLES, "vary={}", "baseline=", "tokenizer={use: levels}", "metrics=[psnr]")
    monkeypatch.setattr("wider_contracts.Levels", cls)
    with pytest.raises(UserError, match=message) as caught:
        make_plan(ablation, Workspace(store))
    assert "\n" not in str(caught.value)
