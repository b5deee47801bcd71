"""The paper's own checkpoints: their format, their import, and the check of these models against them."""

from __future__ import annotations

from prologue_bench.components import Command
from prologue_bench.hookspecs import hookimpl


@hookimpl
def prologue_commands() -> list[Command]:
    return [
        Command(
            name="import-checkpoint",
            target="prologue_official.commands:import_checkpoint",
            summary="Make a released checkpoint of the paper an artifact of the store.",
        ),
        Command(
            name="check-golden",
            target="prologue_official.commands:check_golden",
            summary="Compare the models with tensors from the paper's implementation.",
        ),
    ]
