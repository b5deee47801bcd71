"""Fréchet distances over several extractors, and the generation gap."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from prologue_bench.config.settings import key_values
from prologue_bench.contracts import NoSettings, PlannedInputs, to_float
from prologue_bench.errors import UserError
from prologue_plugins.datasets.fashion_mnist import EmbeddedFashionMnist
from prologue_plugins.metrics.extractors import weights_of
from prologue_plugins.metrics.extractors.fashion_mnist_cnn import FashionMnistCnn
from prologue_plugins.metrics.features import extract_features
from prologue_plugins.metrics.fid import GenerationFid, GenerationGap, ReconstructionFid
from prologue_plugins.metrics.settings import FeatureSettings, FidSettings
from tests.factories.measuring import DATA, LAYOUT, by_name, inputs, noisy
from tests.factories.models import prologue


def test_the_generation_gap_takes_the_decoder_out(tmp_path: Path) -> None:
    data = EmbeddedFashionMnist(NoSettings())
    images = np.array(data.images("test"))
    blurred, drawn = noisy(images, 12), noisy(images, 30)
    given = inputs(tmp_path, data=data, samples=blurred, reconstructions=blurred)
    settings = FidSettings(extractor="fashion-mnist-cnn")
    metric = GenerationGap(settings)
    no_loss = by_name(metric.measure(given))
    assert no_loss["generation_gap"] == pytest.approx(0, abs=1e-3)
    assert no_loss["generation_gap_difference"] == pytest.approx(0, abs=1e-3)
    measured = metric.measure(attrs.evolve(given, samples=drawn))
    (generated,) = GenerationFid(settings).measure(attrs.evolve(given, samples=drawn))
    (decoded,) = ReconstructionFid(settings).measure(given)
    gap = by_name(measured)
    assert gap["generation_gap"] > 1
    assert gap["generation_gap_difference"] == pytest.approx(
        generated.value - decoded.value, rel=1e-6
    )
    assert [each.title for each in measured] == [
        "FD of samples from reconstructions (Fashion-MNIST CNN)",
        "gFD minus rFD (Fashion-MNIST CNN)",
    ]


def test_the_classifier_of_clothes_tells_them_apart_and_gives_its_features() -> None:
    data = EmbeddedFashionMnist(NoSettings())
    images = torch.from_numpy(np.array(data.images("test")))
    model = FashionMnistCnn().eval()
    model.load_state_dict(load_file(weights_of("fashion-mnist-cnn")))
    assert weights_of("fashion-mnist-cnn").stat().st_size < 1e6
    with torch.inference_mode():
        right = model(to_float(images)).argmax(dim=1).numpy() == data.labels("test")
        features = model.features(to_float(images[:50])).numpy()
    assert right.mean() > 0.9
    settings = FeatureSettings(extractor="fashion-mnist-cnn")
    extracted = extract_features(
        images[:50].numpy(), settings, torch.device("cpu"), lambda done, total: None
    )
    np.testing.assert_allclose(extracted, features, atol=1e-5)


def test_distances_over_several_extractors_are_named_after_them(tmp_path: Path) -> None:
    data = EmbeddedFashionMnist(NoSettings())
    settings = FidSettings(resize=32, few_samples="shrink", beside=("fashion-mnist-cnn",))
    measured = GenerationFid(settings).measure(
        inputs(tmp_path, data=data, samples=noisy(data.images("test")[:100], 5))
    )
    assert [each.name for each in measured] == ["gfid", "gfid_fashion_mnist_cnn"]
    assert measured[1].title == "gFD (Fashion-MNIST CNN)"
    alone = GenerationFid(FidSettings(extractor="fashion-mnist-cnn", few_samples="shrink"))
    (again,) = alone.measure(
        inputs(tmp_path, data=data, samples=noisy(data.images("test")[:100], 5))
    )
    assert again.value == measured[1].value
    assert again.protocol == measured[1].protocol
    keys = [key_values(FidSettings(beside=each)) for each in ((), ("fashion-mnist-cnn",))]
    assert keys[0]["weights"] != keys[1]["weights"], "its weights are in the key"


def test_an_extractor_that_is_named_twice_counts_once() -> None:
    twice = FidSettings(
        extractor="fashion-mnist-cnn", beside=("fashion-mnist-cnn", "efficientnet-lite0") * 2
    )
    assert [name for name, _ in twice.by_extractor(1)] == ["", "_efficientnet_lite0"]
    once = FidSettings(extractor="fashion-mnist-cnn", beside=("efficientnet-lite0",))
    assert key_values(twice) == key_values(once)


def test_colours_are_not_for_the_classifier_of_clothes(tmp_path: Path) -> None:
    planned = PlannedInputs(
        data=DATA, layout=LAYOUT, prefixes=(), samples=100, tokenizer=prologue()
    )
    settings = FidSettings(extractor="fashion-mnist-cnn", few_samples="shrink")
    message = "^extractor: found images of 3 channels, expected 1, which fashion-mnist-cnn sees$"
    with pytest.raises(UserError, match=message):
        GenerationFid(settings).check(planned)
    beside = FidSettings(resize=32, few_samples="shrink", beside=("fashion-mnist-cnn",))
    GenerationFid(beside).check(planned)
    measured = GenerationFid(beside).measure(
        inputs(tmp_path, samples=noisy(DATA.images("test"), 5))
    )
    assert [each.name for each in measured] == ["gfid"]
