"""Several processes on one run: the first leads, and the others join it for shared stages.

Started by torchrun, Slurm or MPI through mmengine's launchers. The leader walks the plan and
announces each stage that all processes take part in; the others wait for announcements. All of them
need the same files: on several machines the store must be on a shared disk.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from prologue_bench.config.settings import Training
from prologue_bench.errors import UserError
from prologue_bench.guard import brief
from prologue_bench.training.launchers import Launcher
from prologue_bench.training.watch import GRACE_SECONDS, Watch, open_watch

PATIENCE = datetime.timedelta(days=30)
"""How long the others wait for the leader, which may be busy with stages of its own."""

_control: Any = None
_watch: Watch | None = None


def start(launcher: Launcher) -> None:
    """Join the other processes: NCCL where there are GPUs, gloo elsewhere.

    Raises UserError for launchers other than torchrun where there are no GPUs, and where the others
    are not found.
    """
    global _control, _watch
    from prologue_bench.training.engine import init_dist

    if not torch.cuda.is_available() and launcher != "pytorch":
        raise UserError(
            f"--launcher {launcher}: found no GPU, expected one for each process; "
            "use torchrun on CPUs"
        )
    try:
        if torch.cuda.is_available():
            init_dist(launcher, backend="nccl")
        else:  # mmengine's launchers take GPUs for granted
            torch.distributed.init_process_group("gloo")
        # Announcements may be hours apart, which a GPU backend does not wait for.
        _control = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)
        _watch = open_watch(rank(), world_size(), _share)
    except (
        Exception
    ) as error:  # variables of the launcher that are missing or wrong, a process that does not come
        raise UserError(
            f"--launcher {launcher}: the processes cannot be joined: {brief(error)}; "
            "start them by torchrun"
        ) from error


def stop() -> None:
    """Leave the other processes."""
    if _watch is not None:
        _watch.leave()
    torch.distributed.destroy_process_group()


STOPPED = "stopped"
"""The reason of a process that was asked to stop, which is no failure."""


def end_of_stage(reason: str) -> str:
    """Meet all others at the end of a shared stage, with why it failed here, or an empty text.

    Returns that of the first process for which it failed, or STOPPED. Where not all of them come,
    as when one fails alone, the watch ends this process.
    """
    if world_size() == 1:
        return reason
    assert _watch is not None
    if reason and reason != STOPPED:
        _watch.failed(reason)
    reasons: list[str] = [""] * world_size()
    with _together():
        torch.distributed.all_gather_object(reasons, reason, group=_control)
    _watch.stage_over()
    failed = [
        f"process {number}: {each}"
        for number, each in enumerate(reasons)
        if each and each != STOPPED
    ]
    return failed[0] if failed else STOPPED if STOPPED in reasons else ""


@contextmanager
def _together() -> Iterator[None]:
    """What all processes do.

    One that is gone breaks it, and then the watch ends this one with the reason.
    """
    try:
        yield
    except RuntimeError:
        time.sleep(2 * GRACE_SECONDS)
        raise


def _share(value: Any) -> Any:
    """The leader's value."""
    box = [value]
    torch.distributed.broadcast_object_list(box, src=0, group=_control)
    return box[0]


def check_batch_size(training: Training) -> None:
    """Raises UserError for a batch that cannot be cut into equal parts."""
    if training.batch_size % (world_size() * training.accumulate):
        raise UserError(
            f"batch_size: found {training.batch_size}, expected a multiple of {world_size()} "
            f"processes x {training.accumulate} parts of a batch"
        )


def world_size() -> int:
    """Processes on this run."""
    return torch.distributed.get_world_size() if _started() else 1


def rank() -> int:
    """This process's number; the leader's is 0."""
    return torch.distributed.get_rank() if _started() else 0


def is_leader() -> bool:
    """Whether this process walks the plan and writes the artifacts."""
    return rank() == 0


def is_mine(number: int) -> bool:
    """Whether a part of shared work, by its number, falls to this process."""
    return number % world_size() == rank()


def announce(message: Any) -> None:
    """Hand a message to all others, which wait in `follow`. Does nothing where there are none."""
    if world_size() > 1:
        with _together():
            _share(message)


def follow(act: Callable[[Any], None]) -> None:
    """Act on the leader's messages until it says None."""
    while True:
        with _together():
            message = _share(None)
        if message is None:
            return
        try:
            act(message)
        except BaseException as error:
            if _watch is not None:
                _watch.failed(brief(error))
            raise


def mean(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean over processes of scalars that each of them has."""
    if world_size() == 1 or not values:
        return values
    together = torch.stack([value.detach().float() for value in values.values()])
    torch.distributed.all_reduce(together)
    return dict(zip(values, together / world_size(), strict=True))


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process; all of them must ask."""
    if world_size() == 1:
        return flag
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    count = torch.tensor(int(flag), device=device)
    torch.distributed.all_reduce(count)
    return bool(count.item())


def _started() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
