"""How several processes were started, as their environment says."""

from __future__ import annotations

import os
from typing import Literal

from prologue_bench.errors import UserError

Launcher = Literal["none", "pytorch", "slurm", "mpi"]
VARIABLES: dict[Launcher, tuple[str, ...]] = {
    "none": (),
    "pytorch": ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"),
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST"),
    "mpi": ("OMPI_COMM_WORLD_LOCAL_RANK",),
}
"""What each launcher sets for every process, and mmengine or torch reads."""
TEXTS = ("MASTER_ADDR", "SLURM_NODELIST")
"""The variables that are no numbers."""


def launcher_of(named: Launcher | None) -> Launcher:
    """The launcher that is named, or the one that the environment tells of.

    That is torchrun with several processes, or none. Raises UserError where the launcher's
    variables are missing, or are no numbers.
    """
    several = os.environ.get("WORLD_SIZE", "1") not in ("", "1") and "RANK" in os.environ
    launcher: Launcher = named or ("pytorch" if several else "none")
    where = f"--launcher {launcher}" if named else "torchrun's variables"
    for name in VARIABLES[launcher]:
        value = os.environ.get(name, "")
        if not value:
            raise UserError(
                f"{where}: {name} is not set; start the processes with their launcher, "
                "as docs/ablations.md"
            )
        if name not in TEXTS and not (value.isascii() and value.isdigit()):
            raise UserError(f"{where}: {name}: found {value[:60]!r}, expected a number")
    if launcher == "pytorch" and int(os.environ["RANK"]) >= int(os.environ["WORLD_SIZE"]):
        raise UserError(f"{where}: RANK: found {os.environ['RANK']}, expected less than WORLD_SIZE")
    return launcher
