"""How many stages run at a time, and what of the machine each of them has."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Mapping

from attrs import field, frozen

from prologue_bench.errors import UserError, listed
from prologue_bench.pipeline.executors.schedule import makespan, widest
from prologue_bench.pipeline.memory import available_memory
from prologue_bench.pipeline.planner import Plan

START_SECONDS = 8.0
"""Of a worker, to import what stages need."""
THREADS_EXPONENT = 0.58
"""A stage on n threads takes n ** -0.58 of its time on one, as docs/performance.md measures."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
CAN_START_WORKERS = hasattr(signal, "pthread_sigmask")
"""Workers are given open files and hold signals back, neither of which Windows can."""


@frozen
class Jobs:
    """How many stages run at a time, and what each of them has."""

    count: int
    threads: int = 1
    gpus: tuple[str, ...] = ()
    """One per job, as CUDA_VISIBLE_DEVICES names them; empty where there are none."""
    memory: Mapping[str, int] = field(factory=dict)
    """Bytes that stages are expected to hold, by key."""


@frozen
class Machine:
    """What stages can be given."""

    cores: int
    """That this process may use, by its affinity and any quota; two threads of one count twice."""
    physical_cores: int
    gpus: tuple[str, ...] = ()

    def check(self, jobs: int) -> None:
        """Raises UserError for more jobs than there are cores, or GPUs to give them."""
        if jobs > 1 and not CAN_START_WORKERS:
            raise UserError(
                f"--jobs {jobs}: found Windows, where stages run one after the other; "
                "leave --jobs out"
            )
        if jobs > self.cores:
            raise UserError(
                f"--jobs {jobs}: found {self.cores} core{'s' * (self.cores > 1)}, expected at most "
                f"as many jobs; use --jobs {self.cores}, or leave it to --jobs auto"
            )
        if jobs > len(self.gpus) > 0:
            raise UserError(
                f"--jobs {jobs}: found {len(self.gpus)} GPU{'s' * (len(self.gpus) > 1)}, expected "
                f"at most as many jobs; use --jobs {len(self.gpus)}, or name GPUs several times to "
                "share them, such as --gpus 0,0"
            )


def this_machine(gpus: tuple[int, ...] | None = None) -> Machine:
    """The cores and GPUs of this process, of which `gpus` names those to use by number.

    One that is named several times is given to as many jobs. They are those that torch sees here
    from then on. Raises UserError for one that there is not.
    """
    import joblib

    cores, physical = joblib.cpu_count(), joblib.cpu_count(only_physical_cores=True)
    names = _visible_gpus()
    if gpus is not None:
        where = f"--gpus {','.join(map(str, gpus))}"
        if not names:
            raise UserError(f"{where}: found no GPU on this machine; leave --gpus out")
        for each in gpus:
            if each >= len(names):
                raise UserError(
                    f"{where}: found no GPU {each}, expected some of {listed(range(len(names)))}"
                )
        names = tuple(names[each] for each in gpus)
        os.environ[VISIBLE] = ",".join(dict.fromkeys(names))
    return Machine(cores, min(cores, physical), names)


def _visible_gpus() -> tuple[str, ...]:
    """The GPUs that torch sees, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = [each.strip() for each in os.environ.get(VISIBLE, "").split(",") if each.strip()]
    return tuple((named or list(map(str, range(count))))[:count])


def choose_jobs(
    plan: Plan, asked: int | None, machine: Machine, memory: Mapping[str, int]
) -> Jobs | None:
    """How to run a plan: so many jobs as are asked for, or as take the least time and fit.

    None where its stages run one after the other in this process. `memory` is what stages are
    expected to hold, by key.
    """
    count = asked if asked is not None else _fastest(plan, machine, memory)
    if count <= 1 or not plan.missing:
        return None
    return Jobs(count, threads_of(count, machine), machine.gpus[:count], memory)


def threads_of(jobs: int, machine: Machine) -> int:
    """Threads of each of so many jobs: never more than this process would use alone."""
    import torch

    return max(1, min(torch.get_num_threads(), machine.cores // jobs))


def _fastest(plan: Plan, machine: Machine, memory: Mapping[str, int]) -> int:
    """The number of jobs that takes the least time by the stages' estimates."""
    if not CAN_START_WORKERS:
        return 1
    most = min(len(machine.gpus) or machine.physical_cores, machine.physical_cores)
    most = min(widest(plan.missing, most), _that_fit(plan, memory))

    def seconds(jobs: int) -> float:
        # A GPU is as fast for one of several jobs as for one alone.
        shared = 1.0 if machine.gpus else threads_of(1, machine) / threads_of(jobs, machine)
        start = START_SECONDS if jobs > 1 else 0.0
        return makespan(plan.missing, jobs) * math.pow(shared, THREADS_EXPONENT) + start

    return min(range(1, most + 1), key=seconds, default=1)


def _that_fit(plan: Plan, memory: Mapping[str, int]) -> int:
    """How many of the stages that need the most memory fit into what is free, at least one."""
    free = available_memory()
    sizes = sorted((memory.get(each.stage.key, 0) for each in plan.missing), reverse=True)
    count = 0
    while count < len(sizes) and sum(sizes[: count + 1]) <= free:
        count += 1
    return max(1, count)
