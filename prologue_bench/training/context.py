"""What a running stage is given: its folders, and a line to whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from attrs import frozen

from prologue_bench.errors import Interrupted
from prologue_bench.storage.artifacts import LOG
from prologue_bench.storage.unfinished import seal

INFERENCE_BATCH = 125
"""Images that go through trained models at once."""


def _ignore(done: int, total: int) -> None:
    pass


def _show_nowhere(losses: Mapping[str, float]) -> None:
    pass


def _never() -> bool:
    return False


def first_device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@frozen(kw_only=True)
class StageContext:
    """The surroundings of one stage.

    `work` outlives an interruption and holds checkpoints; what is put into `output` becomes the
    artifact. Of both only what was sealed is there when the stage goes on. `log` is a text file in
    `output`, and `label` names the stage for people. `advance(done, total)` reports progress in
    steps, `show_losses(losses)` the latest losses by name, before the steps that they are of, and
    other figures beside them, whose names do not begin with "loss";
    `stop_requested()` says whether to save and leave.
    """

    work: Path
    output: Path
    label: str = ""
    advance: Callable[[int, int], None] = _ignore
    show_losses: Callable[[Mapping[str, float]], None] = _show_nowhere
    stop_requested: Callable[[], bool] = _never

    @property
    def log(self) -> Path:
        """The stage's log file."""
        return self.output / LOG

    @property
    def device(self) -> torch.device:
        """Where the stage computes."""
        return first_device()

    def seal(self, path: Path) -> None:
        """Say that a file in `work` or `output` is complete, to be kept if the stage stops."""
        seal(self.work, path)

    def check_stop(self) -> None:
        """Raises Interrupted when the user asked to stop; for stages that have nothing to save."""
        if self.stop_requested():
            raise Interrupted("stopped")
