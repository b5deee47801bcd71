"""How long stages will take.

A part for each step and a part for its FLOPs, and nothing concluded from afar.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pytest
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline import estimates
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from tests.conftest import ROOT, Recorder

Load = Callable[..., Ablation]
SPEED = 1e9
"""FLOP/s of the made-up machine's matrix products."""


@pytest.fixture(autouse=True)
def _made_up_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "matrix_product_speed", lambda: SPEED)


def test_a_metric_on_other_images_or_with_other_settings_is_taken_to_be_typical(
    load: Load, store: Store
) -> None:
    plan = make_plan(load("metrics=[psnr, probe]"), Workspace(store))
    assert execute(plan, Workspace(store), Recorder(), lambda: False).failures == {}

    def seconds(*values: str) -> Mapping[str, float | None]:
        missing = make_plan(
            load("seeds=[1]", "metrics=[psnr, probe]", *values), Workspace(store)
        ).missing
        return {p.stage.metric.name: p.seconds for p in missing if p.stage.kind == "measure"}  # type: ignore[attr-defined]

    known = seconds()
    least = estimates.LEAST_SECONDS["measure"]
    of_images = estimates.IMAGE_FLOPS / (0.4 * SPEED)
    fewer = seconds("data.test_images=63")
    assert fewer == {"psnr": pytest.approx(least + 63 * of_images), "probe": least}
    assert seconds("data.size=28")["probe"] == least
    other = seconds("metrics=[psnr, {use: probe, train_images: 50}]")
    assert other["psnr"] == known["psnr"] != fewer["psnr"]
    assert other["probe"] == least != known["probe"]


def test_a_plan_after_a_smoke_run_takes_no_hours_from_seconds(
    load: Load, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 minutes of the micro profile on two cores are not 6 hours after a training of a second."""
    monkeypatch.undo()
    assert execute(
        make_plan(load("metrics=[psnr]", "vary={}", "baseline="), Workspace(store)),
        Workspace(store),
        Recorder(),
        lambda: False,
    )
    shown = CliRunner().invoke(
        cli,
        [
            "plan",
            str(ROOT / "ablations" / "prologue_count.yaml"),
            "--store",
            str(store.root),
            "--json",
            "--set",
            "data=fashion-mnist-embedded",
            "--set",
            "sampling.search=null",
            "--set",
            "vary.tokenizer.prologue_tokens=[0]",
            "--set",
            "metrics=[rfid, gfid]",
            "--seeds",
            "0",
        ],
    )
    assert shown.exit_code == 0, shown.output
    found = {each["stage"]: each["seconds"] for each in json.loads(shown.stdout)}
    assert None not in found.values()
    assert all(seconds < 3 * 12 * 60 for seconds in found.values())
