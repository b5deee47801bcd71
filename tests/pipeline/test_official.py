"""The paper's checkpoints: parity with tensors of its implementation, presets, and import."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import Tensor

from prologue_bench.config.ablation import Ablation
from prologue_bench.config.experiments import Resolved
from prologue_bench.config.presets import find_preset
from prologue_bench.config.structure import structure
from prologue_bench.errors import PrologueBenchError, UserError
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.models import build_generator, build_tokenizer
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.storage.store import Store
from prologue_plugins.commands import check_golden
from prologue_plugins.importing import Import
from prologue_plugins.official import checkpoint
from prologue_plugins.official.checkpoint import IMAGENET, Importer
from prologue_plugins.official.files import read_shapes
from prologue_plugins.official.golden import check_folder
from prologue_plugins.official.names import official_names, official_shapes
from tests.conftest import Recorder

GOLDEN = Path(__file__).parent.parent / "golden"
MODES = ["1d", "2d", "prologue", "prologue_post"]
PARAMETERS = json.loads((GOLDEN / "param_counts.json").read_text())
GENERATORS = {
    "ar-2d-b": ("ar-b", "2d-b"),
    **{
        f"ar-prologue-{t}-{g}": (f"ar-{g}", f"prologue-{t}") for t in "bl" for g in ("b", "l", "xl")
    },
}


@pytest.mark.parametrize("mode", MODES)
def test_every_golden_tensor_is_reproduced(mode: str) -> None:
    comparisons = check_folder(GOLDEN / mode)
    assert len(comparisons) == len(load_file(GOLDEN / mode / "io.safetensors")) - 2
    assert [each for each in comparisons if not each.holds(1e-4)] == []


def test_check_golden_fails_on_a_changed_weight_and_names_what_differs(tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(GOLDEN / "prologue", folder)
    weights = load_file(folder / "decoder.safetensors")
    weights["dec.out.bias"] = weights["dec.out.bias"] + 0.01
    save_file(weights, folder / "decoder.safetensors")
    result = CliRunner().invoke(check_golden, [str(folder)])
    assert isinstance(result.exception, PrologueBenchError)
    assert "2 of" in str(result.exception)
    assert "images_hat" in str(result.exception)


def test_check_golden_reports_a_tensor_that_it_does_not_know(tmp_path: Path) -> None:
    folder = tmp_path / "more"
    shutil.copytree(GOLDEN / "2d", folder)
    save_file(
        {**load_file(folder / "io.safetensors"), "mystery": torch.zeros(1)},
        folder / "io.safetensors",
    )
    [failed] = [each for each in check_folder(folder) if not each.holds(1e-4)]
    assert (failed.name, failed.problem) == ("mystery", "not known here")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (("Encoder", "ffn_type"), "swiglu", "Encoder.ffn_type: found 'swiglu', expected 'geglu'"),
        (
            ("Encoder", "rope_axes_dim"),
            [4, 4, 4],
            "'rotary_axes' must be even and add up to the 16 channels",
        ),
        (("ARModel", "rope_theta"), 500, "ARModel.rope_theta: found 500, expected 10000"),
        (("Encoder", "layer_num"), 3, "missing enc.layers.2"),
    ],
)
def test_a_config_that_cannot_be_met_is_one_line(
    tmp_path: Path, key: tuple[str, str], value: object, message: str
) -> None:
    folder = tmp_path / "config"
    shutil.copytree(GOLDEN / "prologue", folder)
    config = json.loads((folder / "config.json").read_text())
    config[key[0]][key[1]] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message.replace("[", "\\[")):
        check_folder(folder)


def preset(kind: str, name: str, registry: Registry) -> Resolved:
    found = find_preset(kind, name, registry)  # type: ignore[arg-type]
    assert found is not None
    component = registry.find(kind, found.use)  # type: ignore[arg-type]
    return Resolved(component, structure(component.load_settings(), found.settings, name))


def parameters_of(model: torch.nn.Module) -> dict[str, int]:
    counts: dict[str, int] = {}
    state = model.state_dict()
    for name, (part, _) in official_names(model).items():
        counts[part] = counts.get(part, 0) + state[name].numel()
    return counts


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("1d-b", "1d"),
        ("2d-b", "2d"),
        *((n, n) for n in ("prologue-b", "prologue-l", "prologue-post")),
    ],
)
def test_tokenizer_presets_are_the_paper_s_to_the_last_parameter(
    name: str, there: str, registry: Registry
) -> None:
    with torch.device("meta"):
        model = build_tokenizer(preset("tokenizer", name, registry), IMAGENET)
    for part, shapes in official_shapes(model, IMAGENET.labels).items():
        expected = json.loads((GOLDEN / "state_dict_keys" / f"{there}.{part}.json").read_text())
        assert {key: list(shape) for key, shape in shapes.items()} == expected
        assert parameters_of(model)[part] == PARAMETERS[f"{there}.{part}"]


@pytest.mark.parametrize("there", GENERATORS)
def test_generator_presets_are_the_paper_s_to_the_last_parameter(
    there: str, registry: Registry
) -> None:
    name, tokenizer = GENERATORS[there]
    with torch.device("meta"):
        layout = build_tokenizer(preset("tokenizer", tokenizer, registry), IMAGENET).layout
        model = build_generator(preset("generator", name, registry), layout, IMAGENET.labels)
    expected = json.loads((GOLDEN / "state_dict_keys" / f"{there}.json").read_text())
    shapes = official_shapes(model, IMAGENET.labels)["ar"]
    assert {key: list(shape) for key, shape in shapes.items()} == expected
    assert parameters_of(model)["ar"] == PARAMETERS[there]


def test_the_paper_s_rotary_channels_are_in_the_presets(registry: Registry) -> None:
    assert preset("generator", "ar-xl", registry).settings.transformer.rotary_axes == (24, 20, 20)
    assert preset("tokenizer", "prologue-post", registry).settings.prologue_encoder.rotary_axes == (
        20,
        20,
        24,
    )


TINY = """
summary: A tiny Prologue.
use: prologue
settings:
  patch_size: 64
  encoder: {width: 16, layers: 1, heads: 1}
  decoder: {width: 16, layers: 1, heads: 1}
  visual_codebook: 8
  prologue_codebook: 4
  prologue_tokens: 2
"""
TINY_AR = """
summary: A tiny generator.
use: ar
settings:
  transformer: {width: 16, layers: 1, heads: 1}
"""


@pytest.fixture
def tiny_registry(tmp_path: Path) -> Registry:
    """A registry whose only presets are tiny ones, so that a whole checkpoint fits into a test."""
    registry = Registry.load()
    cards = tmp_path / "cards"
    for folder, name, text in (("tokenizers", "tiny", TINY), ("generators", "tiny-ar", TINY_AR)):
        (cards / folder).mkdir(parents=True)
        (cards / folder / f"{name}.yaml").write_text(text)
    registry.card_folders.append(cards)
    return registry


def official_state(model: torch.nn.Module, labels: int) -> dict[str, dict[str, Tensor]]:
    """Random weights under the paper's names."""
    shapes = official_shapes(model, labels)  # type: ignore[arg-type]
    return {
        part: {name: torch.randn(shape) for name, shape in own.items()}
        for part, own in shapes.items()
    }


@pytest.fixture
def released(tmp_path: Path, tiny_registry: Registry) -> Path:
    """A folder as the paper's.

    Encoder, decoder, their moving averages, and a generator in a folder beside.
    """
    tokenizer = build_tokenizer(preset("tokenizer", "tiny", tiny_registry), IMAGENET)
    folder = tmp_path / "released"
    (folder / "ar").mkdir(parents=True)
    for first in (0, 2):
        state = official_state(tokenizer, IMAGENET.labels)
        save_file(
            state["encoder"],
            folder / ("model.safetensors" if first == 0 else "model_2.safetensors"),
        )
        save_file(state["decoder"], folder / f"model_{first + 1}.safetensors")
    generator = build_generator(
        preset("generator", "tiny-ar", tiny_registry), tokenizer.layout, IMAGENET.labels
    )
    for number in ("model", "model_1"):
        save_file(
            official_state(generator, IMAGENET.labels)["ar"],
            folder / "ar" / f"{number}.safetensors",
        )
    return folder


def import_all(
    folder: Path,
    preset: str,
    store: Store,
    registry: Registry,
    parts: tuple[str, ...] = (),
    weights: Literal["average", "raw"] | None = None,
    name: str = "",
) -> list[Import]:
    importer = Importer(
        folder=folder, name=name or preset, store=store, registry=registry, weights=weights
    )
    return list(importer.run(preset, parts))


def test_layouts_of_generators_are_those_of_the_paper_s_tokenizers(registry: Registry) -> None:
    # IBQ and Open-MAGVIT2 have 262,144 codes, MaskGIT's VQGAN 1,024, Cosmos 64,000.
    assert not checkpoint._layouts_by_vocabulary(registry).keys() & {1024, 64000, 262144}


def test_import_takes_the_average_of_the_tokenizer_and_the_raw_generator(
    released: Path, tiny_registry: Registry, store: Store
) -> None:
    [tokenizer] = import_all(released, "tiny", store, tiny_registry)
    assert [path.name for path in tokenizer.files] == ["model_2.safetensors", "model_3.safetensors"]
    weights = load_file(tokenizer.artifact / "tokenizer.safetensors")
    there = load_file(released / "model_2.safetensors")
    assert torch.equal(weights["encoder.queries"], there["enc.learnable_query"])
    assert torch.equal(
        weights["encoder.transformer.blocks.0.attention.qkv.weight"][:16],
        there["enc.layers.0.attn1.to_q.weight"],
    )
    [generator] = import_all(released / "ar", "tiny-ar", store, tiny_registry)
    assert [path.name for path in generator.files] == ["model.safetensors"]
    with pytest.raises(
        UserError, match=r"generator 'tiny-ar' was imported before with other weights.*--name"
    ):
        import_all(released / "ar", "tiny-ar", store, tiny_registry, weights="average")
    [averaged] = import_all(
        released / "ar", "tiny-ar", store, tiny_registry, weights="average", name="averaged"
    )
    [again] = import_all(released / "ar", "tiny-ar", store, tiny_registry)
    assert again.artifact.folder == generator.artifact.folder
    assert [path.name for path in averaged.files] == ["model_1.safetensors"]
    assert averaged.artifact.folder != generator.artifact.folder


def test_a_lone_file_is_not_recorded_as_the_moving_average(
    released: Path, tiny_registry: Registry, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    import_all(released / "ar", "tiny-ar", store, tiny_registry, weights="average")
    assert "no moving average" not in capsys.readouterr().err
    (released / "ar" / "model_1.safetensors").unlink()
    [alone] = import_all(
        released / "ar", "tiny-ar", store, tiny_registry, weights="average", name="alone"
    )
    told = f"{released / 'ar' / 'model.safetensors'}: found no other file with the same part"
    assert told in capsys.readouterr().err
    recorded = {each["name"]: each["source"]["weights"] for each in store.manifests()}
    assert recorded == {"tiny-ar": "average", alone.name: "the only ones"}


def test_an_imported_checkpoint_is_sampled_and_measured_without_training(
    released: Path,
    tiny_registry: Registry,
    store: Store,
    load: Callable[..., Ablation],
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The checkpoint's images have to be those of the data: 14 pixels and the classes of the test's
    # shapes.
    plan = make_plan(
        load("tokenizer.prologue_tokens=2", "vary={}", "baseline=null"), Workspace(store)
    )
    experiment = plan.pipelines[0].experiment
    spec = checkpoint.ImageSpec(channels=3, height=14, width=14, class_names=_classes(plan))
    monkeypatch.setattr(checkpoint, "IMAGENET", spec)
    for kind, resolved in (
        ("tokenizers", experiment.tokenizer),
        ("generators", experiment.generator),
    ):
        import attrs

        from prologue_bench.config.settings import plain_values
        from prologue_bench.documents import yaml_values

        assert attrs.has(type(resolved.settings))
        card = {
            "summary": "tiny",
            "use": resolved.name,
            "settings": plain_values(resolved.settings),
        }
        name = "tiny" if kind == "tokenizers" else "tiny-ar"
        (tiny_registry.card_folders[-1] / kind / f"{name}.yaml").write_text(yaml_values.dump(card))
    tokenizer = build_tokenizer(preset("tokenizer", "tiny", tiny_registry), spec)
    generator = build_generator(
        preset("generator", "tiny-ar", tiny_registry), tokenizer.layout, spec.labels
    )
    for path in [*released.glob("*.safetensors"), *(released / "ar").glob("*.safetensors")]:
        path.unlink()
    state = official_state(tokenizer, spec.labels)
    save_file(state["encoder"], released / "model.safetensors")
    save_file(state["decoder"], released / "model_1.safetensors")
    save_file(official_state(generator, spec.labels)["ar"], released / "ar" / "model.safetensors")
    import_all(released, "tiny", store, tiny_registry)
    import_all(released / "ar", "tiny-ar", store, tiny_registry)
    ablation = load(
        "tokenizer.prologue_tokens=2",
        "vary={}",
        "baseline=null",
        "tokenizer_training.imported=tiny",
        "generator_training.imported=tiny-ar",
    )
    outcome = execute(
        make_plan(ablation, Workspace(store)), Workspace(store), recorder, lambda: False
    )
    assert outcome.failures == {}
    assert recorder.kinds == [
        "encode",
        "reconstruct",
        "sample",
        "measure",
        "picture-reconstructions",
        "picture-samples",
        "picture-tokens",
        "picture-attention",
    ]
    with pytest.raises(
        UserError, match=r"other settings than the experiment's; found settings.prologue_codebook"
    ):
        make_plan(
            load(
                "vary={}",
                "baseline=null",
                "tokenizer.prologue_tokens=2",
                "tokenizer.prologue_codebook=99",
                "tokenizer_training.imported=tiny",
            ),
            Workspace(store),
        )
    with pytest.raises(
        UserError, match=r"no imported tokenizer 'tinny' in .*; did you mean 'tiny'"
    ):
        make_plan(
            load("vary={}", "baseline=null", "tokenizer_training.imported=tinny"), Workspace(store)
        )


def _classes(plan: object) -> tuple[str, ...]:
    data = plan.pipelines[0].experiment.data  # type: ignore[attr-defined]
    return Workspace(Store(Path("nowhere"))).open_data(data).spec.class_names


def test_a_wrong_preset_says_what_does_not_fit(
    released: Path, registry: Registry, store: Store
) -> None:
    with pytest.raises(UserError, match=r"model.safetensors: does not fit: missing enc\.layers\.1"):
        import_all(released, "prologue-b", store, registry)
    with pytest.raises(UserError, match="--preset prologue-x: unknown preset; did you mean"):
        import_all(released, "prologue-x", store, registry)
    with pytest.raises(UserError, match="--part generator: preset 'prologue-b' has no generator"):
        import_all(released, "prologue-b", store, registry, parts=("generator",))
    with pytest.raises(UserError, match=r"no file has an autoregressive model"):
        import_all(released, "ar-b", store, registry)
    assert list(store.manifests()) == []


def test_a_truncated_file_and_a_pickle_are_refused(
    tmp_path: Path, registry: Registry, store: Store
) -> None:
    whole = tmp_path / "whole.safetensors"
    save_file({"enc.x": torch.zeros(100)}, whole)
    cut = tmp_path / "model.safetensors"
    cut.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(UserError, match="truncated or damaged"):
        read_shapes(cut)
    torch.save({"enc.x": torch.zeros(1)}, cut)
    with pytest.raises(UserError, match="a pickle, which could run code, is never loaded"):
        read_shapes(cut)
    cut.write_bytes(b"no")
    with pytest.raises(UserError, match="found no safetensors header"):
        read_shapes(cut)
    only = tmp_path / "pickles"
    only.mkdir()
    torch.save({}, only / "pytorch_model.bin")
    with pytest.raises(
        UserError, match=r"found pytorch_model.bin, pickles, which are never loaded"
    ):
        import_all(only, "2d-b", store, registry)
