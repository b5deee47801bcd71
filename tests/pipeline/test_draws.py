"""What is drawn at random.

Apart for each seed, step, purpose and process, and the same however a batch is cut.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prologue_bench.config.settings import GeneratorTraining
from prologue_bench.contracts import TokenLayout
from prologue_bench.storage.artifacts import CURVES
from prologue_bench.training.batches import ArrayDataset
from prologue_bench.training.context import StageContext
from prologue_bench.training.curves import read_curves
from prologue_bench.training.models import GeneratorModel
from prologue_bench.training.runner import TrainingJob, train
from tests.conftest import SMOKE, run_tiny
from tests.factories.models import LAYOUTS, rar
from tests.factories.training import FAST


def tokens(folder: Path) -> dict[int, Any]:
    """The drawn tokens of each sampling seed in a store."""
    [results] = (folder / "report").glob("results.json")
    runs = json.loads(results.read_text())["runs"]
    keys = {
        run["sampling_seed"]: stage["key"]
        for run in runs
        for stage in run["stages"]
        if stage["stage"] == "sample"
    }
    return {
        seed: np.load(folder / "store/artifacts" / key / "tokens.npy") for seed, key in keys.items()
    }


ONE_VARIANT = SMOKE.replace("[0, 2]", "[2]").replace("baseline: {tokenizer.prologue_tokens: 0}", "")
SAMPLED = ONE_VARIANT.replace("[rate]", "[{use: gfid, images: 24}]")


def test_sampling_seeds_draw_other_images(tmp_path: Path) -> None:
    run_tiny(tmp_path, text=SAMPLED + "sampling_seeds: [0, 4294967296]\n")
    drawn = tokens(tmp_path)
    assert (drawn[0] != drawn[2**32]).mean() > 0.5
    # The second batch is no copy of the first.
    assert (drawn[0][:12] != drawn[0][12:]).mean() > 0.5


@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_orders_do_not_depend_on_the_parts_of_a_batch(tmp_path: Path, layout: TokenLayout) -> None:
    curves = []
    rng = np.random.default_rng(0)
    ids = np.concatenate([rng.integers(s.vocabulary, size=(64, s.length)) for s in layout], axis=1)
    for parts in (1, 4):
        folder = tmp_path / str(parts)
        (folder / "output").mkdir(parents=True)
        generator = rar(layout)
        training = GeneratorTraining(steps=12, batch_size=16, accumulate=parts)
        train(
            TrainingJob(
                model=GeneratorModel(generator, training, none_label=3),
                data=ArrayDataset({"ids": ids, "labels": np.arange(64) % 3}),
                training=training,
                parts={"generator": (list(generator.parameters()), FAST)},
                seed=3,
                context=StageContext(work=folder, output=folder / "output"),
            )
        )
        curves.append([point["loss_ce"] for point in read_curves(folder / "output" / CURVES)])
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)
