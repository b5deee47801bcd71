"""Several processes on one run: the first leads, and the others join it for the stages that are shared.

Started by torchrun, Slurm or MPI through mmengine's launchers. The leader walks the plan and announces each stage that
all processes take part in; the others wait for announcements. All of them need the same files: on several machines
the store must be on a shared disk.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from prologue_bench.errors import UserError
from prologue_bench.launchers import Launcher
from prologue_bench.spec.settings import Training

PATIENCE = datetime.timedelta(days=30)
"""How long the others wait for the leader, which may be busy with stages of its own."""

_control: Any = None


def start(launcher: Launcher) -> None:
    """Join the other processes: NCCL where there are GPUs, gloo elsewhere.

    Raises UserError for launchers other than torchrun where there are no GPUs.
    """
    global _control
    from mmengine.dist import init_dist

    if torch.cuda.is_available():
        init_dist(launcher, backend="nccl")
    elif launcher == "pytorch":  # mmengine's launchers take GPUs for granted
        torch.distributed.init_process_group("gloo")
    else:
        raise UserError(f"--launcher {launcher}: found no GPU, expected one for each process; use torchrun on CPUs")
    # Announcements may be hours apart, which a GPU backend does not wait for.
    _control = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)


def stop() -> None:
    """Leave the other processes."""
    torch.distributed.destroy_process_group()


def check_batch_size(training: Training) -> None:
    """Raises UserError for a batch that cannot be cut into equal parts."""
    if training.batch_size % (world_size() * training.accumulate):
        raise UserError(
            f"batch_size: found {training.batch_size}, expected a multiple of {world_size()} processes "
            f"x {training.accumulate} parts of a batch"
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


def wait() -> None:
    """Wait until all processes are here."""
    if world_size() > 1:
        torch.distributed.barrier(group=_control)


def announce(message: Any) -> None:
    """Hand a message to all others, which wait in `follow`. Does nothing where there are none."""
    if world_size() > 1:
        torch.distributed.broadcast_object_list([message], src=0, group=_control)


def follow(act: Callable[[Any], None]) -> None:
    """Act on the leader's messages until it says None."""
    while True:
        box: list[Any] = [None]
        torch.distributed.broadcast_object_list(box, src=0, group=_control)
        if box[0] is None:
            return
        act(box[0])


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
