"""Commands beside `run`, `report` and `list`, each imported when it is called."""

from __future__ import annotations

from prologue_bench.components import Command

BUILT_IN = tuple(
    Command(name=name, target=f"prologue_bench.commands.{module}", summary=summary)
    for name, module, summary in (
        ("check-plugin", "conformance:check_plugin", "Check that a component keeps its contract."),
        ("compare", "comparison:compare", "Compare the results of two runs, variant by variant."),
        ("regress", "regression:regress", "Hold results and speed against a baseline; exit code 1 on a regression."),
        ("bless", "regression:bless", "Make results, and optionally benchmarks, a baseline to regress against."),
    )
)
