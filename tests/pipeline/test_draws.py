"""What is drawn at random.

Apart for each seed, step, purpose and process, and the same however a batch is cut.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prologue_bench.config.settings import GeneratorTraining
from prologue_bench.contracts import TokenLayout
from prologue_bench.training.batches import ArrayDataset
from prologue_bench.training.context import StageContext
from prologue_bench.training.hooks import CURVES, read_curves
from prologue_bench.training.models import GeneratorModel
from prologue_bench.training.runner import TrainingJob, train
from tests.conftest import ROOT, SMOKE, run_tiny
from tests.factories.models import LAYOUTS, rar
from tests.factories.training import FAST


def distinct(values: list[Any]) -> bool:
    return len(set(values)) == len(values)


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


PROCESS = """
import json, sys
import torch, torch.distributed as dist
from mmengine.optim import OptimWrapper
from prologue_bench.training import distributed
from prologue_bench.config.settings import GeneratorTraining
from prologue_bench.training.models import DistributedLossModel, GeneratorModel
from tests.factories.models import LAYOUTS, rar

if int(sys.argv[1]) > 1:
    dist.init_process_group("gloo")
world, rank = distributed.world_size(), distributed.rank()
generator, seen = rar(LAYOUTS[1]), []
forward = generator._ordered_logits
def recording(sequence, order, labels, relaxed, dropped):
    seen.extend((place, label) for place, label in zip(order.tolist(), labels.tolist()))
    return forward(sequence, order, labels, relaxed, dropped)
generator._ordered_logits = recording
generator.train()
training = GeneratorTraining(label_dropout=0.5, accumulate=int(sys.argv[2]))
model = GeneratorModel(generator, training, none_label=3)
model.begin_step(5, 7)
ids, labels = torch.arange(16 * 6).reshape(16, 6) % 5, torch.arange(16) % 3
data = {"ids": ids[rank::world], "labels": labels[rank::world]}
wrapped = DistributedLossModel(module=model, broadcast_buffers=False) if world > 1 else model
wrapped.train_step(data, OptimWrapper(torch.optim.SGD(generator.parameters(), 0.1)))
everyone = [None] * world
if world > 1:
    dist.all_gather_object(everyone, seen)
else:
    everyone = [seen]
if rank == 0:
    whole = [None] * 16
    for index, part in enumerate(everyone):
        whole[index::world] = part
    print(json.dumps(whole))
"""


def drawn_by(folder: Path, processes: int, parts: int) -> list[tuple[list[int], int]]:
    """Order and label of each of 16 images in one training step."""
    script = folder / "step.py"
    script.write_text(PROCESS)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [
        sys.executable,
        *(launch if processes > 1 else []),
        str(script),
        str(processes),
        str(parts),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env=environment(), cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    found: list[tuple[list[int], int]] = json.loads(done.stdout.splitlines()[-1])
    return found


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"}


def test_two_processes_draw_the_orders_and_labels_that_one_draws(tmp_path: Path) -> None:
    one = drawn_by(tmp_path, 1, 1)
    assert drawn_by(tmp_path, 2, 2) == one
    assert distinct([tuple(order) for order, _ in one[:3]])
    assert any(label == 3 for _, label in one)
