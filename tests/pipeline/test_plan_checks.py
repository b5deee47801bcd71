"""What cannot work is said in plans; what does not apply to a variant is left out with a note."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from prologue_bench.config.ablation import load_ablation
from prologue_bench.pipeline.nominal import assume_missing_data
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.storage import files
from prologue_bench.storage.store import Store
from tests.conftest import ROOT, SMOKE
from tests.factories.image_files import image_folder
from tests.slow.harness import Ending

Call = Callable[..., Ending]
ONE = ("vary={}", "baseline=", "tokenizer.prologue_tokens=2")


@pytest.mark.parametrize("arguments", [["plan"], ["run", "--dry-run"], ["run"]])
def test_the_command_line_refuses_with_one_line_and_code_2(
    tmp_path: Path, arguments: list[str], call: Call
) -> None:
    (tmp_path / "tiny.yaml").write_text(SMOKE)
    found = call(*arguments, "tiny.yaml", "--set", "metrics=[rate, kid]")
    assert found.code == 2
    assert found.err.splitlines() == [
        "prologue-bench: tiny.yaml: variant 'prologue_tokens=0': metrics[1]: kid: found 24 images, "
        "expected at least subset_size 1000"
    ]
    assert not (tmp_path / "store").exists()


def test_one_class_leaves_the_probe_out_and_the_run_succeeds(tmp_path: Path, call: Call) -> None:
    (tmp_path / "tiny.yaml").write_text(SMOKE)
    root = image_folder(tmp_path / "images", {"all": (20, 12)})
    values = [
        f"data={{use: image-folder, size: 28, root: {root}}}",
        "metrics=[probe, rate, psnr]",
        *ONE,
    ]
    options = [part for value in values for part in ("--set", value)]
    note = (
        "probe: does not apply: the training images are of one class, "
        "so there is nothing to tell apart"
    )
    planned = call("plan", "tiny.yaml", *options)
    assert planned.code == 0
    assert note in " ".join(planned.out.split())
    ran = call("run", "tiny.yaml", "--out", "report", *options)
    assert ran.code == 0, ran.err
    assert note in ran.err
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results["runs"][0]["failures"] == {}
    assert list(results["runs"][0]["left_out"]) == ["probe"]
    assert note in (tmp_path / "report" / "results.md").read_text()
    assert note in (tmp_path / "report" / "report.html").read_text()


def test_missing_weights_do_not_hinder_a_plan_from_a_data_set_s_card(
    store: Store, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("IMAGENET", raising=False)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    files.fetch_problem.cache_clear()
    ablation = load_ablation(ROOT / "ablations" / "paper" / "2d.yaml", registry)
    workspace = Workspace(store)
    assert assume_missing_data(ablation, workspace)
    notes = make_plan(ablation, workspace).notes
    files.fetch_problem.cache_clear()
    assert any("loss 'lpips': its weights" in line for line in notes)
