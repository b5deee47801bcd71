"""Variants of one seed share what they have in common.

Initial weights, data order, masks and sampling noise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from prologue_bench.config.settings import TokenizerTraining
from prologue_bench.training.batches import ArrayDataset
from prologue_bench.training.context import StageContext
from prologue_bench.training.models import TokenizerModel
from prologue_bench.training.runner import TrainingJob, train
from tests.conftest import SMOKE, run_tiny
from tests.factories.models import ar, prologue
from tests.factories.training import FAST, byte_images


def test_the_variants_of_an_ablation_start_from_shared_weights(tmp_path: Path) -> None:
    """One step at a rate that moves nothing leaves the initial weights in the artifacts."""
    from safetensors.torch import load_file

    still = {"learning_rate": "1.0e-30", "warmup_steps": 0, "weight_decay": 0}
    values = {
        f"tokenizer_training.{part}.{name}": value
        for part in ("autoencoder", "prior_optimisation")
        for name, value in still.items()
    }
    values |= {f"generator_training.optimisation.{name}": value for name, value in still.items()}
    values |= {"tokenizer_training.steps": 1, "generator_training.steps": 1}
    run_tiny(
        tmp_path, *[part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    )
    for name in ("tokenizer.safetensors", "generator.safetensors"):
        one, other = (
            load_file(path) for path in sorted((tmp_path / "store/artifacts").glob(f"*/{name}"))
        )
        both = [key for key in one if key in other and one[key].shape == other[key].shape]
        assert len(both) > 15
        assert [
            key for key in both if not torch.allclose(one[key], other[key], atol=1e-20)
        ] == [], name


class Recording(ArrayDataset):
    """Remembers which images were asked for; mmengine copies it."""

    asked: ClassVar[list[int]] = []

    def __getitems__(self, indices: list[int]) -> Any:
        self.asked += indices
        return super().__getitems__(indices)


def data_order(folder: Path, seed: int, **changes: Any) -> list[int]:
    (folder / "output").mkdir(parents=True)
    made = prologue(**changes)
    training = TokenizerTraining(steps=3, batch_size=8)
    prior = ar(made.layout) if made.prior else None
    model = TokenizerModel(made, prior, training, none_label=3)
    Recording.asked.clear()
    data = Recording({"images": byte_images().numpy()})
    parts = {"autoencoder": (list(made.parameters()), FAST)}
    if prior is not None:
        parts["prior"] = (list(prior.parameters()), FAST)
    context = StageContext(work=folder, output=folder / "output")
    train(
        TrainingJob(
            model=model, data=data, training=training, parts=parts, seed=seed, context=context
        )
    )
    return Recording.asked[:24]


def test_the_data_order_is_that_of_the_seed(tmp_path: Path) -> None:
    one = data_order(tmp_path / "1", seed=3)
    assert data_order(tmp_path / "2", seed=3, prologue_tokens=0) == one
    assert data_order(tmp_path / "3", seed=4) != one
    assert data_order(tmp_path / "4", seed=3 + 2**32) != one


def test_drawn_tokens_do_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    text = SMOKE.replace("[0, 2]", "[2]").replace("baseline: {tokenizer.prologue_tokens: 0}", "")
    text = text.replace("[rate]", "[{use: gfid, images: 24}]")
    run_tiny(tmp_path, text=text)
    run_tiny(tmp_path, "--set", "sampling.batch_size=7", text=text)
    one, other = (np.load(path) for path in (tmp_path / "store/artifacts").glob("*/tokens.npy"))
    # Sums of floating-point numbers may be rounded otherwise, and single tokens flip.
    assert (one != other).mean() < 0.02
