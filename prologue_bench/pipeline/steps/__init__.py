"""What the stages do. Imported when a stage runs, because it needs torch."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from prologue_bench.errors import Interrupted, PrologueBenchError, StageError
from prologue_bench.guard import brief, pass_interrupt
from prologue_bench.pipeline import stages
from prologue_bench.pipeline.steps.coding import encode_images, reconstruct
from prologue_bench.pipeline.steps.measuring import measure
from prologue_bench.pipeline.steps.picturing import (
    picture_attention,
    picture_reconstructions,
    picture_samples,
    picture_tokens,
)
from prologue_bench.pipeline.steps.sampling import decode_samples, draw_tokens, search_sampling
from prologue_bench.pipeline.steps.training import take_prior, train_generator, train_tokenizer
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from prologue_bench.training import distributed
from prologue_bench.training.context import StageContext


def missing(stage: stages.Imported, workspace: Workspace, context: StageContext) -> None:
    """An imported artifact that is needed is not there, or damaged."""
    raise StageError(
        f"the imported artifact {stage.key} is gone from {workspace.store.root}; "
        "import the checkpoint again"
    )


_WORK: dict[type[stages.Stage], Callable[[Any, Workspace, StageContext], None]] = {
    stages.TrainTokenizer: train_tokenizer,
    stages.ImportedTokenizer: missing,
    stages.EncodeImages: encode_images,
    stages.Reconstruct: reconstruct,
    stages.TrainGenerator: train_generator,
    stages.TakePrior: take_prior,
    stages.ImportedGenerator: missing,
    stages.SearchSampling: search_sampling,
    stages.SampleImages: draw_tokens,
    stages.Measure: measure,
    stages.PictureReconstructions: picture_reconstructions,
    stages.PictureSamples: picture_samples,
    stages.PictureTokens: picture_tokens,
    stages.PictureAttention: picture_attention,
}

_SHARED = (stages.TrainTokenizer, stages.TrainGenerator, stages.EncodeImages, stages.SampleImages)
"""Stages that all processes of a distributed run take part in."""

_AFTERWARDS: dict[type[stages.Stage], Callable[[Any, Workspace, StageContext], None]] = {
    stages.SampleImages: decode_samples,
}
"""What the leader does once all processes have done their part."""


def perform(stage: stages.Stage, workspace: Workspace, context: StageContext) -> None:
    """Write the files of a stage's artifact into `context.output`; its inputs are in the store.

    A shared stage that fails for all processes, or in which they all come to an end, has failed,
    and the run goes on; where one fails alone, all processes end.
    """
    if not isinstance(stage, _SHARED):
        _WORK[type(stage)](stage, workspace, context)
        return
    if distributed.is_leader():
        distributed.announce(Task(stage, workspace.store.root, context.work, context.output))
    reason = ""
    try:
        _WORK[type(stage)](stage, workspace, context)
    except Interrupted:
        reason = distributed.STOPPED
        raise
    except BaseException as error:
        reason = _reason(error, context)
        raise
    finally:
        failed = distributed.end_of_stage(reason)
    if failed == distributed.STOPPED:
        raise Interrupted("stopped")
    if failed:
        raise StageError(failed)
    if distributed.is_leader() and type(stage) in _AFTERWARDS:
        _AFTERWARDS[type(stage)](stage, workspace, context)


def _reason(error: BaseException, context: StageContext) -> str:
    """What the other processes are told, whose own end would leave no traceback."""
    if distributed.world_size() == 1 or isinstance(error, PrologueBenchError):
        return brief(error)
    trace = context.work / f"traceback-{distributed.rank()}.txt"
    with contextlib.suppress(OSError):
        trace.write_text(
            "".join(traceback.format_exception(error)), encoding="utf-8", errors="replace"
        )
    return f"{brief(error)} (traceback in {trace})"


@frozen
class Task:
    """A stage that the leader asks the other processes to take part in."""

    stage: stages.Stage
    store: Path
    work: Path
    output: Path


class Follower:
    """Takes part in the leader's stages, with what one of them opened kept for the next."""

    def __init__(self, stop_requested: Callable[[], bool]) -> None:
        self.stop_requested = stop_requested
        self._workspaces: dict[Path, Workspace] = {}

    def join(self, task: Task) -> None:
        """Take part in one stage. What fails here fails there too, and the leader reports it."""
        context = StageContext(
            work=task.work, output=task.output, stop_requested=self.stop_requested
        )
        if task.store not in self._workspaces:
            self._workspaces[task.store] = Workspace(Store(task.store))
        try:
            perform(task.stage, self._workspaces[task.store], context)
        except BaseException as error:
            pass_interrupt(error)
