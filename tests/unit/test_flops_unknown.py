"""What is not known of a cost is not zero: not in plans, manifests, metrics, totals or plots."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from prologue_bench.config.ablation import Ablation
from prologue_bench.contracts import StageCost
from prologue_bench.errors import StageError
from prologue_bench.pipeline.flops import stage_flops
from prologue_bench.pipeline.imported import add_imported, generator_fits, tokenizer_fits
from prologue_bench.pipeline.models import build_generator, build_tokenizer
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.results.loading import load_results
from prologue_bench.storage.store import Store
from prologue_plugins.metrics.cost import Cost
from tests.documents import whole
from tests.factories.measuring import by_name, inputs

Load = Callable[..., Ablation]


def flops_of(load: Load, store: Store, tokenizer: str, *values: str) -> dict[str, float | None]:
    plan = make_plan(
        load(f"tokenizer={{use: {tokenizer}}}", "vary={}", "baseline=", *values), Workspace(store)
    )
    return {planned.stage.kind: planned.flops for planned in plan.stages}


@pytest.mark.parametrize("name", ["fsq", "residual-vq"])
def test_tokenizers_that_cannot_run_without_memory_are_counted_on_an_image(
    load: Load, store: Store, name: str
) -> None:
    """`lfq` has the same encoder and decoder, and can be counted either way."""
    pytest.importorskip("vector_quantize_pytorch")
    reference, found = flops_of(load, store, "lfq"), flops_of(load, store, name)
    for kind in ("train-tokenizer", "encode", "reconstruct", "sample"):
        flops, expected = found[kind], reference[kind]
        assert flops is not None
        assert expected is not None
        assert 0.7 * expected < flops < 3 * expected


def test_a_fraction_of_a_component_may_be_a_size(load: Load, store: Store) -> None:
    """Both variants have as many parameters, on sequences of other lengths."""
    many = {"tokenizer.prologue_tokens": 32}
    wide = {"encoder.ffn_ratio": 6.0, "decoder.ffn_ratio": 1.5}
    ratios = [wide, dict(zip(wide, reversed(wide.values()), strict=True))]
    variants = [many | {f"tokenizer.{key}": each for key, each in of.items()} for of in ratios]
    named = {"encoder": variants[0], "decoder": variants[1]}

    def trainings(*names: str) -> list[float | None]:
        chosen = json.dumps({name: named[name] for name in names})
        values = (f"variants={chosen}", "vary={}", "baseline=")
        plan = make_plan(load("tokenizer={use: prologue}", *values), Workspace(store))
        kind = "train-tokenizer"
        return [each.flops for each in plan.stages if each.stage.kind == kind]

    encoder, decoder = trainings("encoder", "decoder")
    assert [encoder] == trainings("encoder")
    assert [decoder] == trainings("decoder")
    assert encoder != decoder


def test_frozen_tokenizers_train_for_nothing_and_encode_for_something(
    load: Load, store: Store
) -> None:
    pytest.importorskip("diffusers")
    found = flops_of(load, store, "diffusers-vq", "data.size=16")
    assert found["train-tokenizer"] == 0
    for kind in ("encode", "reconstruct", "sample"):
        assert found[kind]


def test_counting_on_the_cpu_leaves_the_random_numbers_alone(load: Load, store: Store) -> None:
    pytest.importorskip("vector_quantize_pytorch")
    workspace = Workspace(store)
    plan = make_plan(load("tokenizer={use: fsq}", "vary={}", "baseline="), workspace)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert stage_flops(plan.stages[0].stage, workspace)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("closed", [("_Small",), ("_Small", "_OnMeta")])
def test_all_ways_of_counting_agree(
    closed: tuple[str, ...], load: Load, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prologue_bench.pipeline import flops

    plan = make_plan(load("vary.tokenizer.prologue_tokens=[2]", "baseline="), Workspace(store))
    stages = [planned.stage for planned in plan.stages if planned.stage.kind != "measure"]
    expected = [stage_flops(stage, Workspace(store)) for stage in stages]
    for way in closed:
        monkeypatch.setattr(flops, way, lambda workspace: None)  # nothing can be counted with it
    assert [stage_flops(stage, Workspace(store)) for stage in stages] == expected


def test_the_counter_counts_what_torch_s_own_counts(load: Load, store: Store) -> None:
    from prologue_bench.pipeline import flops

    workspace = Workspace(store)
    plan = make_plan(load("vary.tokenizer.prologue_tokens=[2]", "baseline="), workspace)
    pipeline = plan.pipelines[0]
    tokenizer = workspace.tokenizer_on_meta(pipeline.tokenizer.tokenizer, pipeline.experiment.data)
    images = workspace.open_data(pipeline.experiment.data).spec
    shape = images.channels, images.height, images.width
    generator = workspace.generator_on_meta(
        pipeline.generator.generator, pipeline.layout, images.labels
    )

    def forward() -> None:
        with torch.device("meta"), torch.no_grad():
            tokenizer.decode(tokenizer.encode(torch.zeros(2, *shape)))
            generator.nll(torch.zeros(2, pipeline.layout.length).long(), torch.zeros(2).long())

    with FlopCounterMode(display=False) as counter:
        forward()
    assert flops._count(forward) == counter.get_total_flops() > 0


def test_the_counter_knows_every_product() -> None:
    from prologue_bench.pipeline import flops

    def forward() -> None:
        with torch.no_grad():
            images = torch.randn(2, 8, 10, 10)
            F.conv2d(images, torch.randn(12, 4, 3, 3), torch.randn(12), stride=2, groups=2)
            F.conv_transpose2d(images, torch.randn(8, 3, 4, 4), stride=2, groups=2)
            F.conv3d(images[None], torch.randn(5, 2, 1, 3, 3))
            F.linear(images, torch.randn(7, 10), torch.randn(7))
            torch.einsum("bchw,cd->bdhw", images, torch.randn(8, 3))
            torch.randn(4, 5) @ torch.randn(2, 5, 6)

    with FlopCounterMode(display=False) as counter:
        forward()
    assert flops._count(forward) == counter.get_total_flops() > 0


def test_products_in_place_count_as_those_that_are_not() -> None:
    from prologue_bench.pipeline import flops

    one, many = torch.zeros(4, 6), torch.zeros(2, 4, 6)

    def forward() -> None:
        one.addmm_(torch.zeros(4, 5), torch.zeros(5, 6))
        many.baddbmm_(torch.zeros(2, 4, 5), torch.zeros(2, 5, 6))

    assert flops._count(forward) == 2 * 4 * 5 * 6 * (1 + 2)


def test_a_total_is_unknown_where_a_part_is(tmp_path: Path) -> None:
    def cost(**changes: float | None) -> dict[str, float]:
        tokenizer = attrs.evolve(StageCost(seconds=100, flops=3e12, machine="m"), **changes)
        generator = StageCost(seconds=50, flops=1e12, machine="m")
        costs = {"train-tokenizer": tokenizer, "train-generator": generator}
        return by_name(Cost(None).measure(inputs(tmp_path, costs=costs)))

    assert cost() == {"training_flops": 4, "training_seconds": 150}
    assert cost(flops=None) == {"training_seconds": 150}
    assert cost(seconds=None) == {"training_flops": 4}
    with pytest.raises(StageError, match="cost: a model is imported"):
        cost(seconds=None, flops=None)


def imported(load: Load, store: Store, *parts: str) -> Ablation:
    """An ablation with models under the name "mine" that were trained elsewhere."""
    ablation = load("vary.tokenizer.prologue_tokens=[2]", "baseline=", "metrics=[cost, psnr, gfid]")
    experiment = ablation.experiments[0]
    images = Workspace(store).open_data(experiment.data).spec
    tokenizer = build_tokenizer(experiment.tokenizer, images)
    generator = build_generator(experiment.generator, tokenizer.layout, images.labels)
    if "tokenizer" in parts:
        add_imported(
            store, "tokenizer", "mine", experiment.tokenizer, tokenizer_fits(images), tokenizer, {}
        )
    if "generator" in parts:
        fits = generator_fits(tokenizer.layout, images.labels)
        add_imported(store, "generator", "mine", experiment.generator, fits, generator, {})
    return load(
        "vary.tokenizer.prologue_tokens=[2]",
        "baseline=",
        "metrics=[cost, psnr, gfid]",
        *(f"{part}_training.imported=mine" for part in parts),
    )


@pytest.mark.parametrize("part", ["tokenizer", "generator"])
def test_what_was_trained_elsewhere_has_no_cost_here(load: Load, store: Store, part: str) -> None:
    plan = make_plan(imported(load, store, part), Workspace(store))
    assert plan.notes == (
        "cost: does not apply: a model is imported, so that the cost of its training is not known",
    )
    assert [planned.stage.kind for planned in plan.stages].count("measure") == 2
    costs = {"tokenizer": plan.pipelines[0].tokenizer, "generator": plan.pipelines[0].generator}
    assert store.get(costs[part].key).manifest["seconds"] is None


def older_results(path: Path, trained: bool) -> Path:
    stages = [
        {"stage": "train-tokenizer", "key": "a", "seconds": 9.0, "flops": 0.0},
        {"stage": "encode", "key": "b", "seconds": 1.0, "flops": 0.0},
        {"stage": "train-generator", "key": "c", "seconds": 9.0, "flops": 1e12},
        {"stage": "take-prior", "key": "d", "seconds": 0.1, "flops": 0.0},
    ]
    protocol = {"name": "cost", "details": {}, "published": False, "note": ""}
    measurements = [
        {
            "name": name,
            "title": name,
            "value": value,
            "protocol": protocol,
            "unit": "",
            "direction": "lower",
            "count": 1,
            "detail": False,
        }
        for name, value in (("training_flops", 1.0), ("training_seconds", 18.0))
    ]
    curves: dict[str, Any] = {"train-generator": {}, **({"train-tokenizer": {}} if trained else {})}
    run = {
        "variant": "a",
        "seed": 0,
        "stages": stages,
        "measurements": measurements,
        "curves": curves,
    }
    path.write_text(json.dumps(whole({"runs": [run]})))
    return path


def test_results_of_older_versions_lose_the_totals_without_a_part(tmp_path: Path) -> None:
    (run,) = load_results(older_results(tmp_path / "trained.json", trained=True)).runs
    assert [stage.flops for stage in run.stages] == [None, None, 1e12, 0.0]
    assert [each.name for each in run.measurements] == ["training_seconds"]
    (run,) = load_results(older_results(tmp_path / "frozen.json", trained=False)).runs
    assert [stage.flops for stage in run.stages] == [0.0, None, 1e12, 0.0]
    assert [each.name for each in run.measurements] == ["training_flops", "training_seconds"]
