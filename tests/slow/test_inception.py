"""Metrics over Inception-v3 against torch-fidelity as a whole, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from prologue_bench.contracts import PublishedFile
from prologue_bench.errors import StageError, UserError
from prologue_bench.storage.files import checksum
from prologue_plugins.datasets.settings import ShapesSettings
from prologue_plugins.datasets.shapes import Shapes
from prologue_plugins.metrics import features, settings
from prologue_plugins.metrics.features import extract_features
from prologue_plugins.metrics.fid import GenerationFid
from prologue_plugins.metrics.fidelity import InceptionScore
from prologue_plugins.metrics.settings import FidSettings, InceptionScoreSettings
from tests.factories.measuring import inputs, noisy

QUIET = {"cuda": False, "verbose": False, "cache": False, "save_cpu_ram": True}
DATA = Shapes(ShapesSettings(size=32, train_images=10, test_images=70))


class Images(TensorDataset):
    """uint8 images one by one, as torch-fidelity takes them."""

    def __getitem__(self, index: int) -> torch.Tensor:
        image: torch.Tensor = super().__getitem__(index)[0]
        return image


def dataset(images: np.ndarray) -> Images:
    return Images(torch.from_numpy(np.array(images)))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in a file as torch-fidelity reads it, with logits that tell images apart."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save({}, path)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        extractor = FeatureExtractorInceptionV3(
            "random", ["logits"], feature_extractor_weights_path=str(path)
        )
    for module in extractor.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    torch.nn.init.normal_(extractor.fc.weight)
    torch.save(extractor.state_dict(), path)
    return path


def test_the_distance_is_what_torch_fidelity_says(weights: Path, tmp_path: Path) -> None:
    from torch_fidelity import calculate_metrics

    samples, reference = noisy(DATA.images("test"), 40), np.asarray(DATA.images("test"))
    own = FidSettings(extractor="inception-v3-compat", weights=str(weights), layer="64")
    found = GenerationFid(own).measure(inputs(tmp_path, data=DATA, samples=samples))[0]
    expected = calculate_metrics(
        input1=dataset(samples),
        input2=dataset(reference),
        fid=True,
        **QUIET,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights),
        feature_layer_fid="64",
    )
    assert found.value == pytest.approx(expected["frechet_inception_distance"], rel=1e-4)
    assert found.protocol.details["resize"] == 299
    assert found.protocol.note == (
        "Inception-v3, layer 64 features instead of Inception's; the test images as reference; "
        "images of 3 x 32 x 32 instead of 3 x 256 x 256; other classes than ImageNet's; "
        "70 samples instead of 50,000; 70 samples of 4 classes: some classes have one more"
    )


def test_the_score_is_what_torch_fidelity_says(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch_fidelity import calculate_metrics

    monkeypatch.setenv("INCEPTION_WEIGHTS", str(weights))
    samples = np.array(DATA.images("test")[:12])
    own = InceptionScoreSettings(splits=2)
    found = InceptionScore(own).measure(inputs(tmp_path, data=DATA, samples=samples))[0]
    expected = calculate_metrics(
        input1=dataset(samples),
        isc=True,
        isc_splits=2,
        **QUIET,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights),
    )
    assert found.value == pytest.approx(expected["inception_score_mean"], rel=1e-4)
    assert found.value > 1.05, "all images look alike: the test says nothing"


def test_weights_that_are_missing_or_not_weights_are_one_line(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(file: Path | str) -> None:
        own = InceptionScoreSettings(splits=2, weights=str(file))
        InceptionScore(own).measure(
            inputs(tmp_path, data=DATA, samples=np.array(DATA.images("test")[:4]))
        )

    monkeypatch.delenv("INCEPTION_WEIGHTS", raising=False)
    with pytest.raises(ValueError, match=r"'weights' must be a file that is there: .*none\.pth"):
        measure(tmp_path / "none.pth")
    with monkeypatch.context() as patch:
        patch.setenv("INCEPTION_WEIGHTS", str(tmp_path / "none.pth"))
        with pytest.raises(
            UserError,
            match=r"INCEPTION_WEIGHTS: found no file .*none\.pth, expected weights-inception",
        ):
            measure("")
    torch.save({"weights": Path("a.txt")}, tmp_path / "pickle.pth")
    with pytest.raises(
        StageError, match=r"'inception-v3-compat' cannot be made: .*put weights-inception-.* into"
    ):
        measure(tmp_path / "pickle.pth")

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(
        StageError,
        match=r"cannot be made: no route to host; put weights-inception-.* or set weights",
    ):
        measure("")


def test_features_are_kept_under_the_checksum_of_weights_that_were_just_fetched(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is fetched for the first measurement serves the second."""
    monkeypatch.delenv("INCEPTION_WEIGHTS", raising=False)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    published = PublishedFile(f"weights-{checksum(weights)[:8]}.pth")
    monkeypatch.setattr(settings, "INCEPTION", published)
    monkeypatch.setattr(features, "INCEPTION", published)
    monkeypatch.setattr(
        "torch_fidelity.feature_extractor_inceptionv3.URL_INCEPTION_V3", weights.as_uri()
    )
    extracted = []

    def counted(images: np.ndarray, *arguments: Any) -> np.ndarray:
        extracted.append(len(images))
        return extract_features(images, *arguments)

    monkeypatch.setattr("prologue_plugins.metrics.features.extract_features", counted)
    for _ in range(2):
        found = InceptionScore(InceptionScoreSettings(splits=2)).measure(
            inputs(tmp_path, data=DATA, samples=np.array(DATA.images("test")[:12]))
        )
    assert extracted == [12]
    assert found[0].protocol.details["weights"] == checksum(weights)[:16]
    assert checksum(tmp_path / "hub/checkpoints" / published.name) == checksum(weights)
