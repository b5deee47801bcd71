"""The paper itself: its checkpoints, parity with its implementation, and its claims.

The commands that take others' models too stand in `prologue_plugins/commands.py`.
"""

from __future__ import annotations

from prologue_bench.contracts import Command, hookimpl


@hookimpl
def prologue_commands() -> list[Command]:
    return [
        Command(
            name="import-checkpoint",
            target="prologue_plugins.commands:import_checkpoint",
            summary="Import a released checkpoint of the paper into the store.",
        ),
        Command(
            name="claims",
            target="prologue_plugins.official.commands:claims",
            summary="Test the paper's claims on the results of an ablation.",
        ),
        Command(
            name="check-golden",
            target="prologue_plugins.commands:check_golden",
            summary="Compare the models with tensors from the paper's implementation.",
        ),
    ]
