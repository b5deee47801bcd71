"""The commands, one module each, which is imported when the command is called."""

from __future__ import annotations

from prologue_bench.contracts.components import Command

SUMMARIES = {
    "bless": "Turn results, and optionally benchmarks, into a baseline for `regress`.",
    "check-plugin": "Check that a component keeps its contract.",
    "compare": "Compare the results of two runs, variant by variant.",
    "demo": "Draw samples from finished runs on a web page.",
    "doctor": "Check what is installed, found and missing: data, weights, devices.",
    "export": "Write a finished run's models, with a model card, to a folder.",
    "list": "List the components, presets, profiles and ablations that are installed.",
    "measure": "Measure images against a reference, without an ablation.",
    "new": "Write a tokenizer, generator, metric, data source or ablation to start from.",
    "plan": "Show the stages of an ablation, what is cached and how long the rest takes.",
    "regress": "Compare results and speed with a baseline; exit code 1 on a regression.",
    "report": "Rewrite the report of results, or combine several results in one report.",
    "run": "Train, sample and measure what an ablation asks for, and write its report.",
    "sample": "Draw a grid of images from a finished run.",
    "show": "Show a component's settings, defaults, docs and source.",
    "store": "List, verify, clean, send and fetch the artifacts of the store.",
    "validate": "Check results before others rely on them: form, protocols, numbers, checksums.",
}
FUNCTIONS = {"list": "list_components"}
"""Where the function's name is not the command's; `list` is Python's."""


def _command(name: str) -> Command:
    module = name.replace("-", "_")
    target = f"{__name__}.{module}:{FUNCTIONS.get(name, module)}"
    return Command(name=name, target=target, summary=SUMMARIES[name])


COMMANDS = {name: _command(name) for name in SUMMARIES}
