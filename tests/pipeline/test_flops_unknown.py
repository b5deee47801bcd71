"""What is not known of a cost is not zero: not in plans, manifests, metrics, totals or plots."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from prologue_bench.cli.console.plan_table import plan_records, show_plan
from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from tests.conftest import Recorder

Load = Callable[..., Ablation]

UNCOUNTABLE = """
import torch

from prologue_bench.contracts import (
    Component, Segment, TokenLayout, Tokenizer, TokenizerOutput, hookimpl
)


@hookimpl
def prologue_tokenizers():
    target = f"{__name__}:Uncountable"
    return [Component(name="uncountable", target=target, summary="No matrix product is in it.")]


class Uncountable(Tokenizer):
    def __init__(self, settings, images):
        super().__init__()
        self.shape = (images.channels, images.height, images.width)
        self.layout = TokenLayout((Segment("visual", 4, 8, (2, 2)),))
        self.bias = torch.nn.Parameter(torch.zeros(()))

    def encode(self, images):
        pooled = torch.nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 2)
        return ((pooled.flatten(1) + 1) * 3.9).long().clamp(0, 7)

    def decode(self, ids):
        coarse = (ids.float() / 4 - 1 + self.bias).reshape(-1, 1, 2, 2)
        whole = torch.nn.functional.interpolate(coarse, self.shape[1:])
        return whole.expand(-1, self.shape[0], -1, -1)

    def losses(self, images):
        ids = self.encode(images)
        return TokenizerOutput(self.decode(ids), {}, ids)
"""


@pytest.fixture
def uncountable(load: Load, tmp_path: Path) -> Ablation:
    (tmp_path / "uncountable.py").write_text(UNCOUNTABLE)
    return load(
        "plugins=[./uncountable.py]",
        "tokenizer={use: uncountable}",
        "vary={}",
        "baseline=",
        "metrics=[cost, rate]",
    )


def test_what_cannot_be_counted_is_not_counted_anywhere(
    uncountable: Ablation, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(uncountable, Workspace(store))
    found = {record["stage"]: record["flops"] for record in plan_records(plan)}
    assert found["train-tokenizer"] is found["encode"] is found["reconstruct"] is None
    assert found["train-generator"]
    show_plan(plan, store.root, by_stage=True)
    shown = " ".join(capsys.readouterr().out.split())
    assert "not counted" in shown
    assert "or more hours of one" in shown
    assert execute(plan, Workspace(store), Recorder(), lambda: False).failures == {}
    pipeline = plan.pipelines[0]
    assert store.get(pipeline.tokenizer.key).manifest["flops"] is None
    measured = json.loads((store.get(pipeline.measures[0].key) / "measurements.json").read_text())
    assert [each["name"] for each in measured] == ["training_seconds"]
    again = {
        planned.stage.kind: planned.flops
        for planned in make_plan(uncountable, Workspace(store)).stages
    }
    assert again["train-tokenizer"] is None
