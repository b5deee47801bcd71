"""What is drawn at random.

Apart for each seed, step, purpose and process, and the same however a batch is cut.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT


def distinct(values: list[Any]) -> bool:
    return len(set(values)) == len(values)


PROCESS = """
import json, sys
import torch, torch.distributed as dist
from mmengine.optim import OptimWrapper
from prologue_bench.training import distributed
from prologue_bench.config.settings import GeneratorTraining
from prologue_bench.training.distributed_models import DistributedLossModel
from prologue_bench.training.models import GeneratorModel
from tests.factories.models import LAYOUTS, rar

if int(sys.argv[1]) > 1:
    dist.init_process_group("gloo")
world, rank = distributed.world_size(), distributed.rank()
generator, seen = rar(LAYOUTS[1]), []
forward = generator._ordered_inputs
def recording(sequence, order, labels, relaxed, dropped):
    seen.extend((place, label) for place, label in zip(order.tolist(), labels.tolist()))
    return forward(sequence, order, labels, relaxed, dropped)
generator._ordered_inputs = recording
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
