"""What metrics are given, and how their measurements are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from prologue_bench.contracts import Measurement, MetricInputs, Segment, TokenLayout
from prologue_plugins.datasets.settings import ShapesSettings
from prologue_plugins.datasets.shapes import Shapes

LAYOUT = TokenLayout((Segment("prologue", 2, 5), Segment("visual", 4, 6)))


DATA = Shapes(ShapesSettings(size=32, train_images=200, test_images=120))


def inputs(tmp_path: Path, **changes: Any) -> MetricInputs:
    base = MetricInputs(
        data=DATA,
        layout=LAYOUT,
        cache=tmp_path,
        batch_size=50,
        device=torch.device("cpu"),
        prefixes=(2,),
        advance=lambda done, total: None,
        sampling={"temperature": 1.0},
    )
    return attrs.evolve(base, **changes)


def ids(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.integers(s.vocabulary, size=(count, s.length)) for s in LAYOUT], axis=1
    )


def by_name(found: list[Measurement]) -> dict[str, float]:
    return {measurement.name: measurement.value for measurement in found}


def noisy(images: np.ndarray, amount: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(-amount, amount + 1, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)
