"""LPIPS as a metric of a whole run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from prologue_bench.contracts import to_float
from prologue_plugins.losses.lpips_metric import LpipsMetric
from prologue_plugins.losses.perceptual import Lpips
from prologue_plugins.losses.settings import LpipsMetricSettings, LpipsSettings
from tests.factories.measuring import DATA, inputs, noisy
from tests.factories.models import IMAGES


def test_lpips_as_a_metric_is_the_mean_of_the_loss(random_vgg: Path, tmp_path: Path) -> None:
    originals = np.asarray(DATA.images("test"))
    changed = noisy(originals, 30)
    metric = LpipsMetric(LpipsMetricSettings(weights=str(random_vgg)))
    found = metric.measure(inputs(tmp_path, reconstructions=changed))[0]
    loss = Lpips(LpipsSettings(weights=str(random_vgg)), IMAGES)
    one, other = (to_float(torch.from_numpy(part)) for part in (changed, originals))
    assert found.value == pytest.approx(float(loss(one, other, 0)["distance"]), rel=1e-5)
    assert found.half_width is not None
    with pytest.raises(ValueError, match=r"'weights' must be a file that is there: nowhere\.pth"):
        LpipsMetricSettings(weights="nowhere.pth")
