"""A search over a grid, for every variant."""

from __future__ import annotations

from collections.abc import Callable

from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline.collect import collect
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.steps.sampling import chosen_sampling
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.reporting.sections import searches
from prologue_bench.storage.store import Store
from tests.conftest import Recorder


def test_a_search_gives_every_variant_the_same_grid_and_the_best_point(
    load: Callable[..., Ablation], store: Store, recorder: Recorder
) -> None:
    grid = (
        "sampling.search={grid: {temperature: [0.5, 1.0, 30.0]}, samples: 30, validation_images: "
        "40}"
    )
    ablation = load(grid, "seeds=[0, 1]")
    plan = make_plan(ablation, Workspace(store))
    outcome = execute(plan, Workspace(store), recorder, lambda: False)
    assert outcome.failures == {}
    assert recorder.kinds.count("search") == 4
    results, _ = collect(plan, outcome, Workspace(store))
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
    plain = make_plan(load(), Workspace(store)).pipelines[0].samples
    assert plain.search is None
    assert plain.key != plan.pipelines[0].samples.key
