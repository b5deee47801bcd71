"""A training that goes on reads no batch again, and ends with the curves of one never stopped."""

from __future__ import annotations

import itertools
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.dataset import InfiniteSampler
from numpy.typing import NDArray

from prologue_bench.config.settings import GeneratorTraining
from prologue_bench.errors import Interrupted
from prologue_bench.storage.artifacts import CURVES
from prologue_bench.training.batches import ArrayDataset, Shuffled
from prologue_bench.training.context import StageContext
from prologue_bench.training.curves import read_curves
from prologue_bench.training.models import GeneratorModel
from prologue_bench.training.runner import TrainingJob, latest_checkpoint, train
from tests.factories.models import LAYOUTS, ar, random_ids
from tests.factories.training import FAST

COUNT, BATCH = 10, 4


class Counting:
    """Ids that remember which of them were read."""

    def __init__(self) -> None:
        self.ids = random_ids(LAYOUTS[0], batch=COUNT).numpy()
        self.read: list[int] = []

    def __deepcopy__(self, memo: object) -> Counting:
        """mmengine copies what it is given."""
        return self

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: list[int]) -> NDArray[Any]:
        self.read += index
        found: NDArray[Any] = self.ids[index]
        return found


def run(
    folder: Path, steps: int, stop_after: int = 10**9, workers: int = 0, checkpoint_steps: int = 7
) -> list[int]:
    """Train a generator; returns which images were read."""
    done = 0

    def advance(step: int, total: int) -> None:
        nonlocal done
        done = step

    (folder / "output").mkdir(parents=True, exist_ok=True)
    context = StageContext(
        work=folder,
        output=folder / "output",
        advance=advance,
        stop_requested=lambda: done >= stop_after,
    )
    torch.manual_seed(0)
    generator, ids = ar(LAYOUTS[0]), Counting()
    training = GeneratorTraining(
        steps=steps,
        batch_size=BATCH,
        ema_half_life_steps=3,
        checkpoint_steps=checkpoint_steps,
        workers=workers,
    )
    job = TrainingJob(
        model=GeneratorModel(generator, training, 3),
        data=ArrayDataset({"ids": ids, "labels": torch.zeros(COUNT).long().numpy()}),
        training=training,
        parts={"generator": (list(generator.parameters()), FAST)},
        seed=3,
        context=context,
    )
    try:
        train(job)
    except Interrupted:
        assert done == stop_after
    return ids.read


def points(folder: Path) -> list[dict[str, float]]:
    """The curve without the seconds, which no two runs have in common."""
    return [
        {k: v for k, v in p.items() if k != "seconds"}
        for p in read_curves(folder / "output" / CURVES)
    ]


def test_a_resumed_training_reads_what_an_undisturbed_one_has_left(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 12)
    first = run(tmp_path / "parts", 12, stop_after=5)
    rest = run(tmp_path / "parts", 12)
    assert len(whole) == 12 * BATCH
    assert first + rest == whole
    assert points(tmp_path / "parts") == points(tmp_path / "whole")


def test_after_a_kill_nothing_before_the_checkpoint_is_read(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 12)
    run(tmp_path / "killed", 12, stop_after=9)
    newest = latest_checkpoint(tmp_path / "killed" / "run")
    assert newest is not None
    newest.unlink()  # a kill at step 9 leaves the checkpoint of step 7
    assert run(tmp_path / "killed", 12) == whole[7 * BATCH :]
    assert points(tmp_path / "killed") == points(tmp_path / "whole")


@pytest.mark.parametrize("stop", [4, 8])
def test_points_over_several_steps_stay_the_same_wherever_a_training_stops(
    tmp_path: Path, stop: int
) -> None:
    """Of 310 steps a point has three, and neither stop is at one."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, 310, stop_after=12)
    run(parts, 310, stop_after=stop)
    run(parts, 310, stop_after=12)
    assert points(parts) == points(whole)
    assert [point["step"] for point in points(parts)] == [3, 6, 9, 12]


def test_a_curve_that_was_damaged_meanwhile_is_written_anew(tmp_path: Path) -> None:
    run(tmp_path / "whole", 12)
    run(tmp_path / "parts", 12, stop_after=5)
    (tmp_path / "parts" / "output" / CURVES).write_bytes(b'{"step": 1}\n\xff\xfe[')
    run(tmp_path / "parts", 12)
    assert points(tmp_path / "parts") == points(tmp_path / "whole")


def test_reading_processes_begin_behind_the_checkpoint_too(tmp_path: Path) -> None:
    run(tmp_path / "whole", 12)
    for stop_after in (5, 10**9):
        run(tmp_path / "parts", 12, stop_after=stop_after, workers=1)
        assert multiprocessing.active_children() == [], "they end with the training"
    assert points(tmp_path / "parts") == points(tmp_path / "whole")


def test_the_order_is_the_one_that_finished_trainings_had() -> None:
    """mmengine's, so that keys stay valid."""
    old = InfiniteSampler(range(COUNT), seed=5)  # type: ignore[arg-type]
    assert list(itertools.islice(Shuffled(COUNT, 5), 35)) == list(itertools.islice(old, 35))


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("start", [0, 4, 12, 32])
def test_any_number_of_processes_goes_on_behind_the_same_images(world: int, start: int) -> None:
    whole = list(itertools.islice(Shuffled(COUNT, 5), 60))
    parts = [
        itertools.islice(Shuffled(COUNT, 5, start, rank, world), (60 - start) // world)
        for rank in range(world)
    ]
    together = [index for turn in zip(*parts, strict=True) for index in turn]
    assert together == whole[start : start + len(together)]


def test_no_images_are_an_error_and_no_endless_loop() -> None:
    with pytest.raises(ValueError, match="found no training images"):
        Shuffled(0, 5)


def test_a_resumed_training_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, steps=10, stop_after=5)
    run(tmp_path, steps=10)
    assert capfd.readouterr().out == ""
    assert "resumed epoch: 0, iter: 5" in (tmp_path / "output" / "log.txt").read_text()
