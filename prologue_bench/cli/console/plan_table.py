"""The plan as `--dry-run` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from prologue_bench.cli.console.progress import label
from prologue_bench.cli.console.tables import open_console
from prologue_bench.pipeline.deciding import Rule
from prologue_bench.pipeline.planner import Plan, PlannedStage
from prologue_bench.pipeline.stages import Measure
from prologue_bench.texts.durations import duration
from prologue_bench.texts.lines import one_line

GPU_FLOPS = 989e12
GPU_EFFICIENCY = 0.4
GPU_NAME = "H100 at 40% of its 989 TFLOP/s in bfloat16"
"""What GPU hours are estimated for (NVIDIA H100 SXM data sheet, dense), and a share that large
trainings reach."""


def show_plan(plan: Plan, root: Path) -> None:
    """Print each stage with its key, parameters, FLOPs, GPU hours, and time on this machine."""
    table = Table(box=None, pad_edge=False)
    for name in ("stage", "key"):
        table.add_column(name)
    for name in ("parameters", "FLOPs", "GPU hours", "on this machine"):
        table.add_column(name, justify="right")
    for planned in plan.stages:
        table.add_row(
            one_line(label(planned)),
            planned.stage.key,
            _parameters(planned),
            _flops(planned),
            _gpu_hours(planned.flops) if planned.flops and not planned.cached else "",
            _state(planned),
        )
    console = open_console()
    console.width = max(console.width, 150)
    console.print(table)
    missing = plan.missing
    console.print(
        f"\n{len(plan.stages)} stages, {len(plan.stages) - len(missing)} cached; {_rest(missing)}"
        f"Store: {one_line(str(root))}"
    )
    for note in plan.notes:
        console.print(one_line(note))


def what_may_be_added(rule: Rule, first: Plan, whole: Plan) -> str:
    """What --until-decided may add to a plan at most, to that of all seeds."""
    known = {planned.stage.key for planned in first.stages}
    missing = [each for each in whole.missing if each.stage.key not in known]
    begun, added = first.ablation.seeds, whole.ablation.seeds[len(first.ablation.seeds) :]
    text = f"--until-decided {rule.metric} begins with {len(begun)} seed{'s' * (len(begun) > 1)}"
    if not added:
        return f"{text} and may add none."
    seeds = (
        f"seed {added[0]}" if len(added) == 1 else f"seeds {added[0]} to {added[-1]}, one by one"
    )
    seconds = [each.seconds for each in missing if each.seconds is not None]
    unknown = len(missing) - len(seconds)
    time = [f"about {duration(sum(seconds))}"] if seconds else []
    time += [f"{unknown} stage{'s' * (unknown > 1)} of unknown length"] if unknown else []
    return (
        f"{text} and may add {seeds}: at most {len(missing)} stages more"
        f"{', ' * bool(time)}{' plus '.join(time)}."
    )


def _rest(missing: Sequence[PlannedStage]) -> str:
    """What the missing stages take together, of which some may not be known."""
    if not missing:
        return "nothing is left to run. "
    known = [planned.seconds for planned in missing if planned.seconds is not None]
    unknown = len(missing) - len(known)
    parts = [f"about {duration(sum(known))}"] if known else []
    if unknown:
        parts.append(f"{unknown} stage{'s' * (unknown > 1)} of unknown length")
    text = f"the rest takes {', plus '.join(parts)}"
    models = [planned for planned in missing if not isinstance(planned.stage, Measure)]
    counted = [planned.flops for planned in models if planned.flops is not None]
    if models:
        hours = _gpu_hours(sum(counted)) if counted else "an unknown number of"
        text += (
            f", or {hours}{' or more' if counted and len(counted) < len(models) else ''} hours of "
            f"one {GPU_NAME}"
        )
    return (
        f"{text}. FLOPs are of the tokenizer, the joint prior and the generator; "
        "metrics and losses such as LPIPS are not counted. "
    )


def plan_records(plan: Plan) -> list[dict[str, Any]]:
    """The same as plain values, one record per stage.

    Seconds and flops are None where they are not known.
    """
    return [
        {
            "stage": planned.stage.kind,
            "experiment": planned.experiment,
            "label": label(planned),
            "key": planned.stage.key,
            "cached": planned.cached,
            "parameters": planned.parameters,
            "flops": planned.flops,
            "seconds": planned.seconds,
        }
        for planned in plan.stages
    ]


def _parameters(planned: PlannedStage) -> str:
    count = planned.parameters
    return f"{count / 1e6:.2f}M" if count else ""


def _flops(planned: PlannedStage) -> str:
    if planned.cached or isinstance(planned.stage, Measure):
        return ""
    return "not counted" if planned.flops is None else f"{planned.flops:.2g}"


def _gpu_hours(flops: float) -> str:
    hours = flops / (GPU_FLOPS * GPU_EFFICIENCY) / 3600
    if not flops:
        return "no"
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 0.05 else "<0.1"


def _state(planned: PlannedStage) -> str:
    if planned.cached:
        return "cached"
    return f"about {duration(planned.seconds)}" if planned.seconds is not None else "not known yet"
