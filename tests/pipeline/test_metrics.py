"""Every metric against an independent computation."""

from __future__ import annotations

from pathlib import Path

import pytest

from prologue_bench.storage.checksums import fingerprint
from prologue_plugins.metrics.extractors import weights_of
from prologue_plugins.metrics.fid import GenerationFid, ReconstructionFid
from prologue_plugins.metrics.settings import FidSettings
from tests.factories.measuring import DATA, by_name, inputs, noisy


def test_fid_is_zero_for_the_same_images_and_grows_with_noise(tmp_path: Path) -> None:
    images = DATA.images("test")
    metric = ReconstructionFid(FidSettings(resize=32, few_samples="shrink"))
    values = [
        by_name(metric.measure(inputs(tmp_path, reconstructions=noisy(images, amount))))["rfid"]
        for amount in (0, 3, 12)
    ]
    assert values[0] == pytest.approx(0, abs=1e-3)
    assert values[0] < values[1] < values[2]


def test_fid_says_how_it_was_measured(tmp_path: Path) -> None:
    found = GenerationFid(FidSettings(resize=32, few_samples="shrink")).measure(
        inputs(tmp_path, samples=noisy(DATA.images("test"), 9))
    )
    protocol = found[0].protocol
    assert protocol.details["resize"] == 32
    assert protocol.details["sampling.temperature"] == 1.0
    assert protocol.details["weights"] == fingerprint(weights_of("efficientnet-lite0"))
    assert not protocol.published
    assert "instead of Inception's" in protocol.note
