"""How long stages will take.

A part for each step and a part for its FLOPs, and nothing concluded from afar.
"""

from __future__ import annotations

import io
import itertools
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prologue_bench.cli.console.plan_table import show_plan
from prologue_bench.cli.console.progress import PlainProgress
from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline import estimates
from prologue_bench.pipeline.estimates import (
    IMAGE_FLOPS,
    LEAST_SECONDS,
    Estimator,
    count_steps,
    machine,
)
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.stages import Measure, Stage, TrainGenerator, TrainTokenizer
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.artifacts import seal_artifact
from prologue_bench.storage.store import Store

Load = Callable[..., Ablation]
Training = TrainGenerator | TrainTokenizer
SPEED = 1e9
"""FLOP/s of the made-up machine's matrix products."""


own_speed = estimates.matrix_product_speed


def test_the_speed_of_the_machine_is_its_own_whatever_else_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    of_cpu, of_clock = itertools.count(), itertools.count()
    seconds = 0.02 * torch.get_num_threads()
    monkeypatch.setattr(time, "process_time", lambda: seconds * next(of_cpu))
    monkeypatch.setattr(time, "perf_counter", lambda: 60.0 * next(of_clock))
    assert own_speed.__wrapped__() == pytest.approx(2 * 1024**3 / 0.02)


@pytest.fixture(autouse=True)
def _made_up_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "matrix_product_speed", lambda: SPEED)


@pytest.fixture
def training(load: Load, store: Store) -> Stage:
    """The training of a generator, 20 steps."""
    plan = make_plan(load(), Workspace(store))
    return next(planned.stage for planned in plan.stages if planned.stage.kind == "train-generator")


def note(store: Store, number: int, **manifest: Any) -> None:
    folder = store.root / "artifacts" / f"made-up-{number}"
    folder.mkdir(parents=True)
    seal_artifact(
        folder, folder.name, {"kind": "train-generator", "machine": machine(), **manifest}
    )


def flops_of(stage: Stage) -> float:
    found = Estimator(Workspace(Store(Path("nowhere")))).flops(stage)
    assert found is not None
    return found


def test_the_fixed_part_and_that_of_the_flops_are_told_apart(store: Store, training: Stage) -> None:
    flops = flops_of(training)
    for number, factor in enumerate((0.02, 0.5, 8, 60)):
        note(store, number, steps=20, flops=factor * flops, seconds=20 * 0.1 + factor * 3)
    assert Estimator(Workspace(store)).seconds(training) == pytest.approx(2 + 3)


def test_twice_the_steps_cost_the_fixed_part_twice(
    load: Load, store: Store, training: Stage
) -> None:
    flops = flops_of(training)
    for number, (factor, steps) in enumerate(((0.05, 10), (4, 40), (9, 20))):
        note(store, number, steps=steps, flops=factor * flops, seconds=steps * 0.1 + factor * 3)
    twice = make_plan(
        load("generator_training.steps=40"), Workspace(Store(store.root / "elsewhere"))
    )
    stage = next(
        planned.stage for planned in twice.stages if planned.stage.kind == "train-generator"
    )
    assert count_steps(stage, Workspace(store)) == 40
    assert Estimator(Workspace(store)).seconds(stage) == pytest.approx(40 * 0.1 + 2 * 3)


def test_neither_part_is_negative(store: Store, training: Stage) -> None:
    flops = flops_of(training)
    note(store, 0, steps=20, flops=flops / 10, seconds=50.0)
    note(store, 1, steps=20, flops=10 * flops, seconds=5.0)
    found = Estimator(Workspace(store)).seconds(training)
    assert found is not None
    assert 5 <= found <= 50


def test_of_one_size_the_flops_take_what_they_take_in_a_matrix_product(
    load: Load, store: Store, training: Stage
) -> None:
    """A training of 20 steps in 10 s.

    At 40% of the matrix product's speed its FLOPs take their share of that.
    """
    flops = flops_of(training)
    note(store, 0, steps=20, flops=flops, seconds=10.0)
    share = flops / (0.4 * SPEED)
    assert 0.1 < share < 9
    assert Estimator(Workspace(store)).seconds(training) == pytest.approx(10.0)
    longer = make_plan(
        load("generator_training.steps=200"), Workspace(Store(store.root / "elsewhere"))
    )
    stage = next(
        planned.stage for planned in longer.stages if planned.stage.kind == "train-generator"
    )
    assert Estimator(Workspace(store)).seconds(stage) == pytest.approx(100.0)
    larger = make_plan(
        load("generator_training.batch_size=128"), Workspace(Store(store.root / "elsewhere"))
    )
    stage = next(
        planned.stage for planned in larger.stages if planned.stage.kind == "train-generator"
    )
    assert Estimator(Workspace(store)).seconds(stage) == pytest.approx(10.0 + 3 * share)


@pytest.mark.parametrize(
    ("factor", "known"), [(99, True), (101, False), (1 / 99, True), (1 / 101, False)]
)
def test_nothing_is_concluded_from_a_hundred_times_the_flops(
    store: Store, training: Stage, factor: float, known: bool
) -> None:
    typical = Estimator(Workspace(store)).seconds(training)
    note(store, 0, steps=20, flops=factor * flops_of(training), seconds=1e5)
    assert (Estimator(Workspace(store)).seconds(training) != typical) == known


def test_timings_that_say_nothing_are_passed_over(store: Store, training: Stage) -> None:
    flops = flops_of(training)
    before = Estimator(Workspace(store)).seconds(training)
    note(store, 0, steps=20, flops=0.0, seconds=1.0)
    note(store, 1, steps=20, flops=None, seconds=1.0)
    note(store, 2, steps=20, flops=flops, seconds=None)
    note(store, 3, steps=20, flops=flops, seconds=1.0, machine="cpu x 1 on elsewhere")
    assert (
        Estimator(Workspace(store)).seconds(training)
        == before
        == pytest.approx(LEAST_SECONDS["train-generator"] + flops / (0.4 * SPEED))
    )


def test_what_was_never_timed_takes_more_than_its_flops_and_as_much_as_its_images(
    load: Load, store: Store
) -> None:
    def metrics(*values: str) -> dict[str, float]:
        plan = make_plan(load("metrics=[psnr, codebook, gfid]", *values), Workspace(store))
        assert all(each.seconds is not None for each in plan.stages)
        assert all(
            each.seconds >= LEAST_SECONDS.get(each.stage.kind, 0.0)  # type: ignore[operator]
            for each in plan.stages
        )
        own = [each for each in plan.stages if isinstance(each.stage, Measure)]
        return {each.stage.metric.name: each.seconds for each in own}  # type: ignore[union-attr, misc]

    found = metrics("sampling.samples=200")
    more = metrics("sampling.samples=400")
    assert found["codebook"] == LEAST_SECONDS["measure"], "it looks at no image"
    assert more["gfid"] - found["gfid"] == pytest.approx(200 * IMAGE_FLOPS / (0.4 * SPEED))
    assert more["psnr"] == found["psnr"] > found["codebook"]


def test_timings_with_other_threads_count_a_third(store: Store, training: Stage) -> None:
    """Two timings of the stage itself: the mean of 6 s and 30 s with weights 1 and 1/3."""
    flops = flops_of(training)
    host = machine().rpartition(" on ")[2]
    note(store, 0, steps=20, flops=flops, seconds=6.0)
    note(store, 1, steps=20, flops=flops, seconds=30.0, machine=f"cpu x 99 on {host}")
    assert Estimator(Workspace(store)).seconds(training) == pytest.approx((3 * 6 + 30) / 4)


def test_a_plan_with_unknown_parts_says_how_many(
    load: Load, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Estimator.flops

    def flops(self: Estimator, stage: Stage) -> float | None:
        """None of a training, whose operations cannot be counted."""
        return None if isinstance(stage, Training) else count(self, stage)

    monkeypatch.setattr(Estimator, "flops", flops)
    plan = make_plan(load(), Workspace(store))
    monkeypatch.undo()
    show_plan(plan, store.root, by_stage=True)
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(r"the rest takes about [\d.]+ m?s, plus 4 stages of unknown length", text)
    assert len(re.findall(r"train-generator .* not known yet", text.replace("measure", "\n"))) >= 1
    out = io.StringIO()
    progress = PlainProgress(plan, out)
    progress.started(plan.missing[0], 0, len(plan.missing))
    said = out.getvalue()
    assert re.search(r"starts; about .* left in total, plus 4 stages of unknown length", said)
    whole = make_plan(
        load("metrics=[]", "vary={}", "baseline="), Workspace(Store(store.root / "elsewhere"))
    )
    show_plan(whole, store.root)
    assert "unknown length" not in capsys.readouterr().out
