"""Published tokenizers in the pipeline: imports, variants without weights, what is not encoded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from prologue_bench.cli.app import cli
from prologue_bench.config.ablation import Ablation, Resolved
from prologue_bench.errors import UserError
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.stages import EncodeImages
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.results.loading import load_results
from prologue_bench.storage.store import Store
from prologue_plugins.zoo.importing import Published, import_released
from prologue_plugins.zoo.llamagen import LlamaGenVq
from prologue_plugins.zoo.settings import LlamaGenVqSettings
from tests.conftest import run_tiny

ZOO = """
name: tiny
data: {use: shapes, size: 16, train_images: 20, test_images: 20}
profile: smoke
tokenizer: {use: llamagen-vq, weights: random}
generator: {use: ar}
variants:
  given: {tokenizer.weights: WEIGHTS}
  unnamed: {tokenizer.weights: ""}
  nowhere: {tokenizer.weights: nowhere.pt}
  imported: {tokenizer.weights: "", tokenizer_training.imported: mine}
seeds: [0]
skip_missing_weights: true
metrics: [psnr, codebook, token-bits, {use: coding-speed, images: 4, repeats: 1}]
"""


def weights(path: Path, seed: int = 3) -> Path:
    """A released file with random weights of the default settings."""
    settings = LlamaGenVqSettings(random_seed=seed)
    bare = LlamaGenVq._bare(settings)
    torch.manual_seed(seed)
    state = {name: torch.randn(shape) / 4 for name, shape in bare._shapes().items()}
    save_file(state, path)
    return path


def test_tokenizers_enter_by_file_and_by_import_and_others_are_listed(
    tmp_path: Path, registry: Registry
) -> None:
    path = weights(tmp_path / "weights.safetensors")
    resolved = Resolved(registry.find("tokenizer", "llamagen-vq"), LlamaGenVqSettings(weights=""))
    store = Store((tmp_path / "store").resolve())
    done = import_released(str(path), Published("tokenizer", resolved), "mine", store)
    assert done.parameters == sum(
        each.numel() for each in LlamaGenVq._bare(resolved.settings).parameters()
    )
    run_tiny(tmp_path, text=ZOO.replace("WEIGHTS", str(path)))
    results = load_results(tmp_path / "report")
    assert [each.name for each in results.variants] == ["given", "imported"]
    assert [note.partition(":")[0] for note in results.data.notes] == [
        "skipped unnamed",
        "skipped nowhere",
    ]
    values = [
        {each.name: each.value for each in run.measurements if not each.unit.endswith("images/s")}
        for run in results.runs
    ]
    assert values[0] == values[1]
    assert values[0]["token_bits"] == 16 * 6
    assert values[0]["token_bits_per_pixel"] == 16 * 6 / 256
    # The training images of a frozen tokenizer are not encoded for reconstructions alone.
    manifest = next(each for each in store.manifests() if each["kind"] == "encode")
    assert not any("train" in name for name in manifest["files"])
    # Without skipping, the first missing file is a mistake of the variant.
    options = ["--store", str(store.root), "--set", "skip_missing_weights=false"]
    found = CliRunner().invoke(cli, ["plan", str(tmp_path / "tiny.yaml"), *options])
    assert isinstance(found.exception, UserError)
    assert "variant 'unnamed': tokenizer 'llamagen-vq': no weights are named" in str(
        found.exception
    )


def test_training_images_are_encoded_where_something_reads_their_tokens(
    tmp_path: Path, load: Callable[..., Ablation]
) -> None:
    for metrics, train in (("[psnr]", False), ("[probe]", True), ("[psnr, gfid]", True)):
        ablation = load(
            "data.size=16",
            "tokenizer={use: llamagen-vq}",
            "vary={}",
            "baseline=null",
            f"metrics={metrics}",
        )
        plan = make_plan(ablation, Workspace(Store(tmp_path / "store")))
        encoded = [each.stage for each in plan.stages if isinstance(each.stage, EncodeImages)]
        assert [stage.train for stage in encoded] == [train]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.pt", "weights: found no file nowhere.pt, expected the released file"),
        ("hf:org/name", "hf:org/name: must name a revision"),
        ("weights.safetensors", "weights.safetensors: does not fit: missing"),
    ],
)
def test_an_import_that_cannot_be_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    weights(tmp_path / "weights.safetensors")
    found = CliRunner().invoke(
        cli, ["import-checkpoint", path, "--preset", "llamagen-vq16", "--out", "store"]
    )
    assert isinstance(found.exception, UserError)
    assert str(found.exception).startswith(message)
    assert json.dumps(str(found.exception)).count("\\n") == 0
