"""A variant's name tells it from every other one, and what is one variant is not run as two."""

from __future__ import annotations

import json
from collections.abc import Callable

import attrs
import pytest

from prologue_bench.config.ablation import Ablation
from prologue_bench.errors import Interrupted
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import Plan, make_plan
from prologue_bench.pipeline.stages import SEARCH
from prologue_bench.pipeline.steps.sampling import search_sampling
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from prologue_bench.training.context import StageContext
from tests.conftest import Recorder

Load = Callable[..., Ablation]
FEW = "images: 8, few_samples: shrink, resize: 32"


def test_a_search_goes_on_with_its_own_points_when_the_grid_is_reordered(
    load: Load, store: Store
) -> None:
    def planned(grid: str) -> Plan:
        search = (
            f"sampling.search={{grid: {grid}, samples: 8, validation_images: 8, metric: {{use: "
            f"gfid, {FEW}}}}}"
        )
        return make_plan(
            load("vary={}", "baseline=", f"metrics=[{{use: gfid, {FEW}}}]", search),
            Workspace(store),
        )

    first = planned("{temperature: [0.5, 1.0], top_k: [2, 4]}")
    other = planned("{top_k: [2, 4], temperature: [0.5, 1.0]}")
    stage, again = (plan.pipelines[0].samples.search for plan in (first, other))
    assert stage is not None
    assert again is not None
    assert stage.key == again.key
    before = [
        each
        for each in first.stages
        if each.stage.kind in ("train-tokenizer", "encode", "train-generator")
    ]
    outcome = execute(
        attrs.evolve(first, stages=tuple(before)), Workspace(store), Recorder(), lambda: False
    )
    assert not outcome.failures
    work, output = store.work(stage.key), store.work(stage.key) / "output"
    output.mkdir(parents=True)

    def stop() -> bool:
        return len(list(work.glob("point-*.json"))) == 2

    with pytest.raises(Interrupted):
        search_sampling(
            stage, Workspace(store), StageContext(work=work, output=output, stop_requested=stop)
        )
    assert stop(), "two of four are done"
    search_sampling(again, Workspace(store), StageContext(work=work, output=output))
    found = json.loads((output / SEARCH).read_text())
    tried = [(each["point"]["temperature"], each["point"]["top_k"]) for each in found["points"]]
    assert sorted(tried) == [(0.5, 2), (0.5, 4), (1.0, 2), (1.0, 4)], "each point once"
