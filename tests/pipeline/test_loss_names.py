"""No loss term, loss or measurement replaces another of the same name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from prologue_bench.config.ablation import Ablation, load_ablation
from prologue_bench.contracts import (
    Component,
    Measurement,
    Metric,
    MetricInputs,
    Procedure,
)
from prologue_bench.pipeline.collect import collect
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.reporting.figures import curve_plots
from prologue_bench.results.frame import frame
from prologue_bench.results.plain import plain
from prologue_bench.runs.running import what_failed
from prologue_bench.storage.store import Store
from tests.conftest import Recorder, run_tiny

LOAD = Callable[..., Ablation]


def test_two_losses_of_one_component_both_train_and_both_have_curves(
    load: LOAD, store: Store, recorder: Recorder, registry: Registry
) -> None:
    ablation = load(
        "vary.tokenizer.prologue_tokens=[2]",
        "baseline=null",
        "tokenizer_training.losses=[{use: patchgan, width: 8, layers: 1, r1_every_steps: 3}, "
        "{use: patchgan, width: 16, layers: 1, r1_every_steps: 30}]",
    )
    plan = make_plan(ablation, Workspace(store))
    outcome = execute(plan, Workspace(store), recorder, lambda: False)
    assert outcome.failures == {}
    results, _ = collect(plan, outcome, Workspace(store))
    curves = results.runs[0].curves["train-tokenizer"]
    one, other = curves["loss_patchgan/discriminator"], curves["loss_patchgan-2/discriminator"]
    assert len(one) == len(other) == 20
    assert one != other
    # A term that is computed in some steps only has a value there and none elsewhere.
    penalty = curves["loss_patchgan/r1"]
    assert [
        step for step, value in zip(curves["step"], penalty, strict=True) if value is not None
    ] == [3, 6, 9, 12, 15, 18]
    assert "loss_patchgan-2/r1" not in curves
    titles = [title for title, _ in curve_plots(results)]
    assert "Tokenizer: patchgan/r1" in titles
    json.dumps(plain(results), allow_nan=False)


def measurement(name: str, value: float) -> Measurement:
    return Measurement(
        name=name,
        title=name,
        value=value,
        unit="",
        direction="lower",
        count=1,
        protocol=Procedure(name=name),
    )


class Twice(Metric):
    """Gives one name to two numbers."""

    def __init__(self, settings: object) -> None:
        pass

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        return [measurement("height", 1.0), measurement("height", 2.0)]


class Height(Metric):
    """Gives a number that `Depth` gives too."""

    value = 1.0

    def __init__(self, settings: object) -> None:
        pass

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        return [measurement("height", self.value)]


class Depth(Height):
    """Gives a number that `Height` gives too, and one of its own."""

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        return [measurement("height", 2.0), measurement("depth", 3.0)]


def test_numbers_of_one_name_are_never_overwritten_without_a_word(
    smoke_file: Path, store: Store
) -> None:
    registry = Registry.load()
    for name, cls in (("twice", Twice), ("height", Height), ("depth", Depth)):
        target = f"{__name__}:{cls.__name__}"
        registry.add("metric", Component(name=name, target=target, summary="for a test"), "a test")
    text = smoke_file.read_text().replace("metrics: [rate]", "metrics: [twice, height, depth]")
    smoke_file.write_text(
        text.replace("[0, 2]", "[2]").replace("baseline: {tokenizer.prologue_tokens: 0}", "")
    )
    plan = make_plan(load_ablation(smoke_file, registry), Workspace(store))
    outcome = execute(plan, Workspace(store), Recorder(), lambda: False)
    assert list(outcome.failures.values()) == [
        "metric 'twice' of a test: found height twice, expected each name once"
    ]
    results, _ = collect(plan, outcome, Workspace(store))
    values = dict(zip(frame(results).metric, frame(results).value, strict=True))
    assert values == {"height": 1.0, "depth": 3.0}
    assert "another metric gives height too" in results.runs[0].failures["measure depth"]
    assert "2 stages failed" in what_failed(plan, outcome), "the command ends as after a failure"


def test_through_the_command_line_both_losses_are_in_the_report(tmp_path: Path) -> None:
    losses = "[{use: patchgan, width: 8, layers: 1}, {use: patchgan, width: 16, layers: 1}]"
    run_tiny(
        tmp_path,
        "--set",
        "vary.tokenizer.prologue_tokens=[2]",
        "--set",
        "baseline=null",
        "--set",
        f"tokenizer_training.losses={losses}",
    )
    page = (tmp_path / "report" / "report.html").read_text()
    for title in (
        "Tokenizer: vq",
        "Tokenizer: patchgan/generator",
        "Tokenizer: patchgan-2/generator",
    ):
        assert title in page
