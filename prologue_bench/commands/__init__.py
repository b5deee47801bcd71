"""Commands beside `run`, `report` and `list`, each imported when it is called."""

from __future__ import annotations

from prologue_bench.components import Command

BUILT_IN = tuple(
    Command(name=name, target=f"prologue_bench.commands.{module}", summary=summary)
    for name, module, summary in (
        ("check-plugin", "conformance:check_plugin", "Check that a component keeps its contract."),
        ("compare", "comparison:compare", "Compare the results of two runs, variant by variant."),
        ("demo", "demo:demo", "Draw from finished runs on a web page."),
        ("doctor", "doctor:doctor", "Say what is installed, found and missing: data, weights, devices."),
        ("export", "export:export", "Write a finished run's models, with a model card, to a folder."),
        ("new", "scaffold:new", "Write a tokenizer or an ablation to start from."),
        ("plan", "planning:plan", "Show the stages of an ablation, what is cached and how long the rest takes."),
        ("sample", "sampling:sample", "Draw a grid of images from a finished run."),
        ("show", "components:show", "Show a component's settings, defaults, docs and source."),
        ("store", "store:store", "List, verify and clean the artifacts of the store."),
        ("regress", "regression:regress", "Hold results and speed against a baseline; exit code 1 on a regression."),
        ("bless", "regression:bless", "Make results, and optionally benchmarks, a baseline to regress against."),
    )
)
