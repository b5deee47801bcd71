"""mmengine hooks: repeatable draws, curves, a guard over the run, and small checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from prologue_bench import seeds
from prologue_bench.errors import Interrupted, StageError
from prologue_bench.storage.files import write_text
from prologue_bench.training import distributed
from prologue_bench.training.context import StageContext
from prologue_bench.training.curves import read_curves
from prologue_bench.training.engine import Hook, Runner, is_model_wrapper

CURVE_POINTS = 100
"""Points of a learning curve."""


def is_curve_point(step: int, steps: int) -> bool:
    """Whether the learning curves have a point at a step, from 1 on."""
    return step % max(1, steps // CURVE_POINTS) == 0 or step == steps


class StepSeedHook(Hook):
    """Seeds every step by its number, so that a resumed run draws what a whole one would."""

    priority = "VERY_HIGH"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        # Layers draw for the images of their own process, and apart from those of the others.
        seeds.seed_all(model.purpose, "layers", self.seed, runner.iter, runner.rank)
        model.begin_step(runner.iter, self.seed)


class GuardHook(Hook):
    """Stops at a loss that is no number, before anything of it is saved."""

    priority = "VERY_HIGH"

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        for name, value in _numbers(outputs).items():
            if not math.isfinite(value):
                raise StageError(
                    f"{name} is {value} at step {runner.iter + 1}; a lower learning rate may help"
                )


class ProgressHook(Hook):
    """Reports each step, and leaves with a checkpoint when the user asks to stop."""

    priority = "LOWEST"

    LOSSES_EVERY = 0.5
    """Seconds between two readings of the losses, which a GPU would be waited for."""

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self.read = 0.0

    def before_train(self, runner: Runner) -> None:
        self.context.advance(runner.iter, runner.max_iters)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if time.monotonic() - self.read >= self.LOSSES_EVERY:
            self.read = time.monotonic()
            self.context.show_losses(_numbers(outputs))
        self.context.advance(runner.iter + 1, runner.max_iters)
        if distributed.any_of(self.context.stop_requested()) and runner.iter + 1 < runner.max_iters:
            runner.save_checkpoint(runner.work_dir, f"iter_{runner.iter + 1}.pth", by_epoch=False)
            raise Interrupted(f"stopped after step {runner.iter + 1}")


class PointsHook(Hook):
    """Appends points to a file of JSON lines.

    Checkpoints hold the points and the state between two of them, so that a training that was
    stopped anywhere has the points of one that was not.
    """

    priority = "BELOW_NORMAL"
    saved_as: ClassVar[str]
    """Name in checkpoints."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.points: list[dict[str, Any]] = []

    def state(self) -> dict[str, Any]:
        """What is known since the last point, as plain values."""
        raise NotImplementedError

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; it is empty in the checkpoints of older versions."""
        raise NotImplementedError

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint[self.saved_as] = {"points": self.points, **self.state()}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        saved = checkpoint.get(self.saved_as, {})
        if saved:
            self.points = saved["points"]
        else:
            done = checkpoint["meta"]["iter"]
            self.points = [each for each in read_curves(self.path) if each["step"] <= done]
        self.restore(saved)

    def before_train(self, runner: Runner) -> None:
        """Begin the file with the points up to this run's checkpoint, whatever it holds."""
        if runner.rank == 0:
            write_text(self.path, "".join(json.dumps(point) + "\n" for point in self.points))

    def add(self, runner: Runner, point: dict[str, Any]) -> None:
        """One more point."""
        self.points.append(point)
        if runner.rank == 0:
            with self.path.open("a") as file:
                file.write(json.dumps(point) + "\n")


class CurveHook(PointsHook):
    """Mean losses, about a hundred points over the run.

    A line is {"step", "seconds", losses...}. A loss that is not computed in every step has its mean
    over the steps in which it was, and stands in those lines alone that have any.
    """

    saved_as = "curves"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.sums: dict[str, float] = {}
        self.counts: Counter[str] = Counter()
        self.seconds_before = 0.0
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """What training has taken, the time before the checkpoint included."""
        return self.seconds_before + time.monotonic() - self.started

    def state(self) -> dict[str, Any]:
        return {"sums": self.sums, "counts": dict(self.counts), "seconds": self.seconds}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.sums, self.counts = state.get("sums", {}), Counter(state.get("counts", {}))
        at_last_point = self.points[-1]["seconds"] if self.points else 0.0
        self.seconds_before = state.get("seconds", at_last_point)

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self.started = time.monotonic()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        for name, value in _numbers(outputs).items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] += 1
        step = runner.iter + 1
        if is_curve_point(step, runner.max_iters):
            means = {name: total / self.counts[name] for name, total in self.sums.items()}
            self.add(runner, {"step": step, "seconds": round(self.seconds, 2), **means})
            self.sums, self.counts = {}, Counter()


class SlimCheckpointHook(Hook):
    """Leaves mmengine's message history out of checkpoints.

    It holds objects that torch.load refuses with weights_only, and the curves are kept elsewhere.
    """

    priority = "LOWEST"

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint["message_hub"] = {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}}


def _numbers(outputs: Mapping[str, Tensor]) -> dict[str, float]:
    """The losses of a step as plain numbers."""
    return {name: value.detach().item() for name, value in outputs.items()}
