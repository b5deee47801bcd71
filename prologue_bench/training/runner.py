"""One training stage as an mmengine Runner, resumed from its last good checkpoint."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import field, frozen

from prologue_bench import seeds
from prologue_bench.config.settings import Optimisation, Training, plain_values
from prologue_bench.errors import StageError
from prologue_bench.storage.artifacts import CURVES, INSIDE
from prologue_bench.storage.unfinished import seal
from prologue_bench.training import distributed
from prologue_bench.training.averaging import MovingAverage
from prologue_bench.training.batches import ArrayDataset, Shuffled, loading, whole_batch
from prologue_bench.training.context import StageContext
from prologue_bench.training.distributed_models import DistributedLossModel
from prologue_bench.training.engine import (
    Config,
    EMAHook,
    IterBasedTrainLoop,
    MMLogger,
    OptimWrapper,
    Runner,
    is_model_wrapper,
    master_only,
    revert_sync_batchnorm,
)
from prologue_bench.training.hooks import (
    CurveHook,
    GuardHook,
    ProgressHook,
    SlimCheckpointHook,
    StepSeedHook,
)
from prologue_bench.training.inside import InsideHook, LookedAt
from prologue_bench.training.learning import LearningHook
from prologue_bench.training.memory import keep_freed_memory
from prologue_bench.training.models import LossModel, TokenizerModel
from prologue_bench.training.optimisation import (
    JointOptimWrapper,
    check_apart,
    norm_parameters,
    optimizer_wrapper,
    schedule,
)
from prologue_bench.training.tracking import visualizer


def _tells_of_the_run(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Hooks will be executed")


class QuietRunner(Runner):
    """A Runner that logs to its file, leaves the terminal to the display, and seals checkpoints."""

    def wrap_model(self, model_wrapper_cfg: Any, model: torch.nn.Module) -> torch.nn.Module:
        """The model is on its device, and wrapped where there are several processes.

        mmengine would move it to an Apple GPU, where the images are not.
        """
        return model if is_model_wrapper(model) else revert_sync_batchnorm(model)

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Read a checkpoint to the model's device, for the same reason."""
        device = next(self.model.parameters()).device
        super().resume(filename, *args, **{"map_location": str(device), **kwargs})

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Logs go to the file alone, without the list of hooks: it is the same for every run."""
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(_tells_of_the_run)
        for handler in list(logger.handlers):
            if not isinstance(handler, logging.FileHandler):
                logger.removeHandler(handler)
        return logger

    @master_only  # type: ignore[untyped-decorator]
    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        super().save_checkpoint(out_dir, filename, *args, **kwargs)
        seal(Path(self.work_dir).parent, Path(out_dir, filename))

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints which file it loads
            return super().load_checkpoint(*args, **kwargs)

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """Nothing: asking compilers takes seconds, and each artifact records its software."""


class PlainConfig(Config):
    """A Config whose text is JSON: mmengine's own layout of it takes longer than a checkpoint."""

    @property
    def pretty_text(self) -> str:
        return json.dumps(self.to_dict(), indent=2, default=str)


class Loop(IterBasedTrainLoop):
    """mmengine's loop without the batches of steps done already, which it would read again."""

    def run(self) -> torch.nn.Module:
        """Train from the step of the checkpoint; the sampler begins there too."""
        try:
            self.runner.call_hook("before_train")
            self.runner.call_hook("before_train_epoch")
            self.runner.model.train()  # once: what looks into a training puts its modes back
            while self._iter < self._max_iters:
                self.run_iter(next(self.dataloader_iterator))
            self.runner.call_hook("after_train_epoch")
            self.runner.call_hook("after_train")
        finally:
            # Reading processes end with the last reference to their loader. They would outlive the
            # training, and keep open what this process had open when they began.
            del self.dataloader_iterator, self.dataloader
        model: torch.nn.Module = self.runner.model
        return model


@frozen(kw_only=True)
class TrainingJob:
    """What one Runner trains. `parts` gives each optimizer its parameters and settings.

    `looked_at` are images by which a tokenizer's training is watched from inside. `called` says, by
    their paths in the model, what messages call its components.
    """

    model: LossModel
    data: ArrayDataset
    training: Training
    parts: Mapping[str, tuple[list[torch.nn.Parameter], Optimisation]]
    seed: int
    context: StageContext
    looked_at: LookedAt | None = None
    called: Mapping[str, str] = field(factory=dict)


def train(job: TrainingJob) -> LossModel:
    """Train the job's model and return its moving average.

    The run goes on from the newest checkpoint in `context.work` that can be read. Raises StageError
    when a loss turns NaN and Interrupted when the user asks to stop.
    """
    if job.context.device.type == "cpu":
        keep_freed_memory()
    runner = make_runner(job)
    try:
        runner.train()
    except BaseException:  # else its trackers would take what the next training says for this one's
        runner.visualizer.close()
        raise
    averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    averaged: LossModel = averages[0].ema_model.module
    if distributed.is_leader():
        _keep_log(Path(runner.log_dir), job.context)
    return averaged


def make_runner(job: TrainingJob) -> Runner:
    """The Runner of one training stage."""
    training, context, seed = job.training, job.context, job.seed
    world = distributed.world_size()
    distributed.check_batch_size(training)
    model: torch.nn.Module = job.model.to(context.device)
    if world > 1:
        devices = [context.device] if context.device.type == "cuda" else None
        model = DistributedLossModel(module=model, device_ids=devices, broadcast_buffers=False)
    folder = context.work / "run"
    checkpoint = latest_checkpoint(folder)
    learning = {
        name: [p for p in parameters if p.requires_grad]
        for name, (parameters, _) in job.parts.items()
    }
    check_apart(learning)
    norms = norm_parameters(job.model)
    wrappers: dict[str, OptimWrapper] = {
        name: optimizer_wrapper(learning[name], settings, norms)
        for name, (_, settings) in job.parts.items()
    }
    schedules = {
        name: schedule(settings, training.steps) for name, (_, settings) in job.parts.items()
    }
    single = len(job.parts) == 1
    experiment = f"{context.work.name}-{time.time_ns()}"
    name = next(iter(job.parts))
    return QuietRunner(
        model=model,
        work_dir=str(folder),
        experiment_name=experiment,
        visualizer=visualizer(training, context, experiment),
        train_dataloader={
            "dataset": job.data,
            "batch_size": training.batch_size // world,
            **loading(training.workers, context.device),
            "sampler": Shuffled(
                len(job.data),
                seeds.stream(job.model.purpose, "data order", seed),
                start=training.batch_size * (steps_of(checkpoint) if checkpoint else 0),
                rank=distributed.rank(),
                world=world,
            ),
            "collate_fn": whole_batch,
        },
        train_cfg={"type": Loop, "max_iters": training.steps, "val_interval": training.steps + 1},
        optim_wrapper=wrappers[name] if single else JointOptimWrapper(**wrappers),
        param_scheduler=(schedules[name] if single else schedules) or None,
        log_processor={"by_epoch": False},
        default_hooks={
            "logger": {
                "type": "LoggerHook",
                "interval": max(1, training.steps // 100),
                "log_metric_by_epoch": False,
            },
            "checkpoint": {
                "type": "CheckpointHook",
                "by_epoch": False,
                "interval": training.checkpoint_steps,
                "max_keep_ckpts": 2,
                "save_last": False,
            },
        },
        custom_hooks=[
            StepSeedHook(seed),
            GuardHook(),
            LearningHook(job.model, itertools.chain(*learning.values()), job.called),
            CurveHook(context.output / CURVES),
            *_watching(job),
            EMAHook(MovingAverage, momentum=1 - 0.5 ** (1 / training.ema_half_life_steps)),
            ProgressHook(context),
            SlimCheckpointHook(),
        ],
        load_from=str(checkpoint) if checkpoint else None,
        resume=checkpoint is not None,
        launcher="pytorch" if world > 1 else "none",
        # Steps seed themselves; mmengine adds numbers of processes to this one, which 32 bits must
        # hold.
        randomness={"seed": seeds.stream(job.model.purpose, "runner", seed) >> 1},
        cfg=PlainConfig(
            {"training": plain_values(training), "seed": seed, "work_dir": str(folder)}
        ),
    )


def _watching(job: TrainingJob) -> list[InsideHook]:
    """What watches the training from inside, in the leader alone; the others need not look too."""
    model, looked_at = job.model, job.looked_at
    if looked_at is None or not isinstance(model, TokenizerModel) or not distributed.is_leader():
        return []
    return [InsideHook(job.context.output / INSIDE, model, looked_at, job.context)]


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that can be read; one cut off while written is passed over."""
    found = sorted(
        folder.glob("iter_*.pth"),
        key=lambda path: int(path.stem.removeprefix("iter_")),
        reverse=True,
    )
    for path in found:
        try:
            torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
            continue
        return path
    return None


def steps_of(checkpoint: Path) -> int:
    """How many steps of training a checkpoint holds, by its content."""
    steps: int = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["meta"][
        "iter"
    ]
    return steps


def _keep_log(folder: Path, context: StageContext) -> None:
    """Put mmengine's logs, one for each time the stage was started, into the artifact."""
    logs = sorted(folder.parent.glob("*/*.log"))
    if not logs:
        raise StageError(f"{folder}: the training left no log")
    with context.log.open("a") as out:
        for log in logs:
            out.write(log.read_text(errors="replace"))
