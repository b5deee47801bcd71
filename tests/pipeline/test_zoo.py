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
from prologue_bench.config.ablation import Ablation, load_ablation
from prologue_bench.config.experiments import Resolved
from prologue_bench.config.files import Overrides
from prologue_bench.config.presets import find_preset
from prologue_bench.errors import UserError
from prologue_bench.pipeline.flops import stage_flops
from prologue_bench.pipeline.nominal import planned_data
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.stages import (
    DataRef,
    EncodeImages,
    ImportedGenerator,
    TrainGenerator,
    TrainTokenizer,
)
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.results.loading import load_results
from prologue_bench.storage.store import Store
from prologue_plugins.zoo.gpt import LlamaGenGpt
from prologue_plugins.zoo.importing import Published, import_released
from prologue_plugins.zoo.llamagen import LlamaGenVq
from prologue_plugins.zoo.reading import check_fit
from prologue_plugins.zoo.settings import LlamaGenVqSettings
from prologue_plugins.zoo.settings_generators import LlamaGenGptSettings
from tests.conftest import ROOT, run_tiny
from tests.factories.image_folders import make_images
from tests.factories.presets import shapes_of

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


def test_rows_of_the_zoo_are_measured_on_a_folder_of_images(tmp_path: Path) -> None:
    """As ablations/zoo.yaml has them, with small random models in place of the released ones."""
    images = make_images(tmp_path / "images")
    text = (ROOT / "ablations" / "zoo.yaml").read_text()
    rows = {
        "llamagen-vq16": "{tokenizer: {use: llamagen-vq, weights: random}}",
        "titok-l32": "{tokenizer: {use: titok, weights: random}}",
        "sd-vae-mse": "{tokenizer: diffusers-kl}",
        "ibq-1024": "{tokenizer: {use: ibq-1024, weights: weights/ibq-1024/x.ckpt}}",
    }
    run_tiny(
        tmp_path,
        *("--set", f"data={{use: image-folder, root: {images}, size: 16}}"),
        *("--set", f"variants={{{', '.join(map(': '.join, rows.items()))}}}"),
        *("--set", "metrics=[psnr, ssim, token-bits]"),
        text=text,
    )
    results = load_results(tmp_path / "report")
    assert [each.name for each in results.variants] == ["llamagen-vq16", "titok-l32", "sd-vae-mse"]
    named = [{each.name for each in run.measurements} for run in results.runs]
    assert {"ssim", "token_bits"} <= named[0] & named[1]
    assert "ssim" in named[2]
    assert "token_bits" not in named[2]
    assert "skipped ibq-1024: weights: found no file" in "\n".join(results.data.notes)
    assert results.references[0].rows["llamagen-vq16"].values == ("2.19", "20.79", "0.675", None)


def test_rows_name_released_files_and_cost_generators_the_same(
    tmp_path: Path, registry: Registry
) -> None:
    rows = {
        path.stem: load_ablation(path, registry, Overrides())
        for path in sorted((ROOT / "ablations").glob("zoo*.yaml"))
    }
    for variant in rows["zoo"].variants:
        choice = variant.values["tokenizer"]
        if choice["use"] == "diffusers-kl":
            continue
        preset = find_preset("tokenizer", choice["use"], registry)
        assert preset is not None
        assert preset.release is not None
        *_, folder, name = choice["weights"].split("/")
        assert folder == variant.name
        assert name == "model.safetensors" or name in preset.release.files[0].split("/")[-1]
    by_steps, by_flops = rows["zoo_generation"], rows["zoo_generation_flops"]
    assert [each.name for each in by_steps.variants] == [each.name for each in by_flops.variants]
    workspace, costs = Workspace(Store(tmp_path / "store")), {}
    with planned_data(by_flops, workspace):
        for each in by_flops.experiments:
            if each.variant.name in ("titok-l32", "llamagen-vq16"):
                data = DataRef(resolved=each.data, fingerprint="")
                tokenizer = TrainTokenizer(
                    data=data,
                    tokenizer=each.tokenizer,
                    training=each.tokenizer_training,
                    prior=None,
                    seed=0,
                )
                stage = TrainGenerator(
                    tokens=EncodeImages(tokenizer=tokenizer),
                    generator=each.generator,
                    training=each.generator_training,
                    seed=0,
                )
                costs[each.variant.name] = stage_flops(stage, workspace)
    assert costs["titok-l32"] == pytest.approx(costs["llamagen-vq16"], rel=0.02)


def test_a_generator_enters_by_import(
    tmp_path: Path, registry: Registry, load: Callable[..., Ablation]
) -> None:
    settings = LlamaGenGptSettings(vocab_size=64, block_size=16, num_classes=4)
    made = LlamaGenGpt._bare(settings).to_empty(device="cpu")
    for weight in made.parameters():
        torch.nn.init.normal_(weight)
    save_file(made.state_dict(), path := tmp_path / "weights.safetensors")
    store = Store((tmp_path / "store").resolve())
    resolved = Resolved(registry.find("generator", "llamagen-gpt"), settings)
    import_released(str(path), Published("generator", resolved), "gpt", store)
    ablation = load(
        "data.size=16",
        "vary={}",
        "baseline=null",
        "tokenizer={use: llamagen-vq}",
        "generator={use: llamagen-gpt, vocab_size: 64, block_size: 16, num_classes: 4}",
        "generator_training.imported=gpt",
    )
    plan = make_plan(ablation, workspace := Workspace(store))
    (stage,) = (each.stage for each in plan.stages if isinstance(each.stage, ImportedGenerator))
    loaded = workspace.load_generator(stage, torch.device("cpu"))
    ids = torch.zeros(1, 16).long()
    assert torch.equal(loaded.losses(ids, ids[:, 0]), made.losses(ids, ids[:, 0]))


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


@pytest.mark.parametrize(
    ("preset", "part", "offered"),
    [("llamagen-vq16", "generator", "tokenizer"), ("llamagen-gpt-b", "tokenizer", "generator")],
)
def test_a_part_that_a_published_model_has_not_is_refused(
    tmp_path: Path, preset: str, part: str, offered: str
) -> None:
    path = weights(tmp_path / "weights.safetensors")
    arguments = [str(path), "--preset", preset, "--part", part, "--out", str(tmp_path / "store")]
    found = CliRunner().invoke(cli, ["import-checkpoint", *arguments])
    assert isinstance(found.exception, UserError)
    assert str(found.exception) == (
        f"--part {part}: preset {preset!r} has no {part}; expected {offered}"
    )


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("llamagen-vq8", "llamagen-vq16"), ("maskbit-12bit", "maskbit-10bit")],
)
def test_weights_of_another_preset_are_named(given: str, wanted: str, registry: Registry) -> None:
    """The shapes of all presets are looked at, which takes seconds."""
    found, expected = (shapes_of(name, registry) for name in (given, wanted))
    with pytest.raises(UserError, match=f"x: these are weights of {given}, not of {wanted}"):
        check_fit(expected, found, "x")
