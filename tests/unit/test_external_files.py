"""What files outside the project hold is part of every key, and where they lie is not."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import field, frozen

from prologue_bench.config.ablation import Ablation
from prologue_bench.config.resolving import resolve_alone
from prologue_bench.config.settings import key_values
from prologue_bench.contracts import A_FILE, PublishedFile, existing_file, external_file
from prologue_bench.contracts.external import content
from prologue_bench.errors import MissingDataError, StageError, UserError
from prologue_bench.pipeline.stages import component_key
from prologue_bench.registry import Registry
from prologue_bench.storage.checksums import fingerprint, known_checksum
from prologue_bench.storage.files import checksum
from prologue_plugins.losses.settings import (
    CONVNEXT,
    VGG,
    ConvNextLogitsSettings,
    LpipsMetricSettings,
    LpipsSettings,
)
from prologue_plugins.metrics.extractors import weights_of
from prologue_plugins.metrics.settings import (
    INCEPTION,
    FeatureSettings,
    FidSettings,
    InceptionScoreSettings,
)

Load = Callable[..., Ablation]
MADE = [
    (LpipsSettings, VGG),
    (LpipsMetricSettings, VGG),
    (ConvNextLogitsSettings, CONVNEXT),
    (InceptionScoreSettings, INCEPTION),
]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("INCEPTION_WEIGHTS", raising=False)


def in_torch_cache(file: PublishedFile, content: bytes) -> Path:
    path = file.path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("settings", "file"), MADE)
def test_weights_are_in_the_key_by_content_also_where_they_are_found_by_default(
    settings: type[Any], file: PublishedFile, tmp_path: Path
) -> None:
    to_be_fetched = key_values(settings())
    assert to_be_fetched["weights"] == file.digits
    in_torch_cache(file, b"one")
    one = key_values(settings())
    in_torch_cache(file, b"two")
    two = key_values(settings())
    assert len({keys["weights"] for keys in (to_be_fetched, one, two)}) == 3
    named = tmp_path / "elsewhere.pth"
    named.write_bytes(b"two")
    assert key_values(settings(weights=str(named))) == two, (
        "the same content elsewhere has the same key"
    )
    moved = named.rename(tmp_path / "moved.pth")
    assert key_values(settings(weights=str(moved))) == two
    moved.write_bytes(b"three")
    assert key_values(settings(weights=str(moved))) != two


def test_the_published_content_has_one_key_before_and_after_it_is_fetched(tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(b"the published content")
    file = PublishedFile(f"weights-{checksum(sent)[:8]}.pth")
    before = file.identity()
    assert file.fetch(sent.as_uri()).read_bytes() == sent.read_bytes()
    assert file.identity() == before == file.digits
    assert file.identity(str(sent)) == before


def test_what_is_fetched_is_held_to_the_published_hash(tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(b"another content")
    file = PublishedFile("weights-00000000.pth")
    with pytest.raises(RuntimeError, match="invalid hash value"):
        file.fetch(sent.as_uri())
    assert not file.path().exists()


def test_weights_of_a_loss_and_of_metrics_change_the_keys_of_their_stages(load: Load) -> None:
    def keys() -> dict[str, Any]:
        experiment = load(
            "tokenizer_training.losses=[lpips]",
            (
                "metrics=[rate, lpips, {use: gfid, extractor: inception-v3-compat, few_samples: "
                "shrink}]"
            ),
        ).experiments[0]
        measures = {metric.name: component_key(metric) for metric in experiment.metrics}
        return {"loss": component_key(experiment.losses[0]), **measures}

    in_torch_cache(VGG, b"one")
    in_torch_cache(INCEPTION, b"one")
    before = keys()
    in_torch_cache(INCEPTION, b"two")
    after = keys()
    assert {name for name in before if before[name] != after[name]} == {"gfid"}
    in_torch_cache(VGG, b"two")
    assert {name for name, key in keys().items() if key != after[name]} == {"loss", "lpips"}


@pytest.mark.parametrize("extractor", ["efficientnet-lite0", "fashion-mnist-cnn"])
def test_other_weights_of_a_classifier_are_another_perceptual_loss(
    extractor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key() -> Any:
        given = {"extractor": extractor}
        return component_key(resolve_alone("loss", "perceptual", given, None, Registry.load()))

    known = key()
    assert known["settings"].get("extractor") in (None, extractor), "earlier keys stay"
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"other weights")
    monkeypatch.setattr("prologue_plugins.losses.settings.weights_of", lambda name: other)
    assert key() != known
    assert key()["settings"]["extractor"].startswith(f"{extractor} ")


def test_the_variable_names_a_file_whose_content_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "inception.pth"
    named.write_bytes(b"one")
    monkeypatch.setenv("INCEPTION_WEIGHTS", str(named))
    one = key_values(InceptionScoreSettings())
    named.write_bytes(b"two")
    assert key_values(InceptionScoreSettings()) != one
    monkeypatch.setenv("INCEPTION_WEIGHTS", str(tmp_path / "none.pth"))
    with pytest.raises(
        UserError, match=r"INCEPTION_WEIGHTS: found no file .*none\.pth, expected weights-inception"
    ):
        key_values(InceptionScoreSettings())


def test_the_extractor_that_is_not_used_has_no_say(tmp_path: Path) -> None:
    named = tmp_path / "inception.pth"
    named.write_bytes(b"one")
    assert key_values(FeatureSettings(weights=str(named))) == key_values(FeatureSettings())

    assert key_values(FeatureSettings()) == {
        "weights": fingerprint(weights_of("efficientnet-lite0"))
    }
    resized = InceptionScoreSettings(resize=96)
    assert key_values(resized) == key_values(InceptionScoreSettings()), (
        "Inception always sees 299 pixels"
    )


def test_inception_s_weights_in_torch_s_cache_are_nothing_but_tensors(tmp_path: Path) -> None:
    from prologue_plugins.metrics.features import extract_features

    ran = tmp_path / "ran"

    class Malice:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (ran,))

    in_torch_cache(INCEPTION, pickle.dumps({"weights": Malice()}))
    images = np.zeros((1, 3, 32, 32), np.uint8)
    with pytest.raises(
        StageError, match=r"'inception-v3-compat' cannot be made: .*put weights-inception"
    ):
        extract_features(
            images, InceptionScoreSettings(), torch.device("cpu"), lambda done, total: None
        )
    assert not ran.exists()


# Settings of third parties


@frozen(kw_only=True)
class Nested:
    weights: str = external_file(lambda settings, named: VGG.identity(named))


@frozen(kw_only=True)
class Foreign:
    """As plugins declare them: nested, several, and by the metadata alone."""

    nested: Nested = Nested()
    parts: tuple[Nested, ...] = (Nested(),)
    files: tuple[str, ...] = field(default=(), validator=existing_file, metadata=A_FILE)
    folder: str = field(default="", metadata=A_FILE)
    width: int = 3


def test_files_in_nested_settings_at_their_default_count_too() -> None:
    in_torch_cache(VGG, b"one")
    one = key_values(Foreign())
    in_torch_cache(VGG, b"two")
    two = key_values(Foreign())
    assert one.keys() == two.keys() == {"nested", "parts"}
    assert one["nested"] != two["nested"]
    assert one["parts"] != two["parts"]


def test_lists_of_files_and_folders_count_by_content(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/a.txt").write_text("a")
    one = key_values(Foreign(folder=str(folder), files=(str(folder / "deep/a.txt"),)))
    assert one["files"] == known_checksum(folder / "deep/a.txt")[:16]
    shutil.copytree(folder, tmp_path / "copy")
    assert key_values(Foreign(folder=str(tmp_path / "copy")))["folder"] == one["folder"]
    (folder / "deep/a.txt").write_text("b")
    two = key_values(Foreign(folder=str(folder), files=(str(folder / "deep/a.txt"),)))
    assert (two["folder"] != one["folder"], two["files"] != one["files"]) == (True, True)
    assert content(None, "") is None


def test_every_setting_of_built_in_components_that_names_a_file_counts_by_content(
    registry: Registry,
) -> None:
    """Whoever adds a setting called so adds what it stands for too."""
    import attrs

    named = {
        (entry.component.name, attribute.name): attribute.metadata
        for _, entry in registry
        for attribute in attrs.fields(entry.component.load_settings())
        if attribute.name in ("weights", "reference", "pretrained", "checkpoint", "path", "file")
    }
    assert len(named) >= 9
    assert [where for where, metadata in named.items() if "file" not in metadata] == []


# diffusers


def diffusers(**settings: Any) -> Any:
    return resolve_alone("tokenizer", "diffusers-vq", settings, "smoke", Registry.load()).settings


def model_folder(path: Path, text: str = "weights") -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "diffusion_pytorch_model.safetensors").write_text(text)
    return path


def test_a_model_s_folder_counts_by_the_files_that_are_read(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "one")
    before = key_values(diffusers(pretrained=str(folder)))
    (folder / "README.md").write_text("notes")
    assert key_values(diffusers(pretrained=str(folder))) == before
    shutil.copytree(folder, tmp_path / "pipeline/vqvae")
    assert key_values(diffusers(pretrained=str(tmp_path / "pipeline"), subfolder="vqvae")) == before
    assert key_values(diffusers(pretrained=str(folder), random_seed=5)) == before, "it is not read"
    (folder / "diffusion_pytorch_model.safetensors").write_text("others_")
    assert key_values(diffusers(pretrained=str(folder))) != before
    (folder / "config.json").unlink()
    with pytest.raises(
        UserError, match=r"tokenizer.pretrained: .*one holds no config.json with diffusion_pytorch"
    ):
        key_values(diffusers(pretrained=str(folder)))


def test_a_name_on_the_hub_needs_a_commit(tmp_path: Path) -> None:
    commit = hashlib.sha1(b"", usedforsecurity=False).hexdigest()
    for revision in ("", "main", commit[:12]):
        with pytest.raises(
            UserError,
            match=r"revision: must be the hash of a commit for 'someone/model' of the hub",
        ):
            diffusers(pretrained="someone/model", revision=revision)
    one = key_values(diffusers(pretrained="someone/model", revision=commit))
    assert one == {"pretrained": f"someone/model@{commit}"}
    other = key_values(diffusers(pretrained="someone/model", revision="0" * 40))
    assert other != one
    assert (
        key_values(diffusers(pretrained="someone/model", revision=commit, subfolder="vqvae")) != one
    )
    with pytest.raises(UserError, match="revision: must be empty without a name on the hub"):
        diffusers(pretrained=str(model_folder(tmp_path / "one")), revision=commit)
    with pytest.raises(UserError, match="pretrained: must be a folder that is there or a name on"):
        diffusers(pretrained="no such/folder")
    from diffusers import VQModel

    from prologue_plugins.diffusers.tokenizer import _load

    missing = diffusers(pretrained="/no/such/folder")
    with pytest.raises(MissingDataError, match="found no folder /no/such/folder, expected one"):
        _load(VQModel, missing)


def test_the_commit_is_what_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import VQModel

    from prologue_plugins.diffusers.tokenizer import _load

    asked: list[dict[str, Any]] = []

    def loaded(name: str, **options: Any) -> None:
        asked.append({"name": name, **options})

    monkeypatch.setattr(VQModel, "from_pretrained", loaded)
    _load(VQModel, diffusers(pretrained="someone/model", revision="0" * 40, subfolder="vqvae"))
    assert asked == [
        {
            "name": "someone/model",
            "use_safetensors": True,
            "subfolder": "vqvae",
            "revision": "0" * 40,
        }
    ]


def test_reference_files_count_by_content(tmp_path: Path) -> None:
    one, other = tmp_path / "one.npz", tmp_path / "other.npz"
    one.write_bytes(b"one")
    other.write_bytes(b"one")
    assert key_values(FidSettings(reference=str(one))) == key_values(
        FidSettings(reference=str(other))
    )
    other.write_bytes(b"two")
    assert key_values(FidSettings(reference=str(one))) != key_values(
        FidSettings(reference=str(other))
    )
