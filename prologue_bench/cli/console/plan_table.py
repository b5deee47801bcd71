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


def show_plan(plan: Plan, root: Path, by_stage: bool = False) -> None:
    """Print what a plan takes: a row per variant, or with `by_stage` a row per stage."""
    console = open_console()
    console.width = max(console.width, 150 if by_stage else 100)
    console.print(_by_stage(plan) if by_stage else _by_variant(plan))
    missing, runs = plan.missing, len(plan.pipelines)
    console.print(
        f"\n{runs} run{'s' * (runs != 1)}, {len(plan.stages)} stages, "
        f"{len(plan.stages) - len(missing)} cached; {_rest(missing)}"
        f"Store: {one_line(str(root))}"
    )
    if not by_stage:
        console.print("`prologue-bench plan --all` lists each stage.")
    for note in plan.notes:
        console.print(one_line(note))


def _by_stage(plan: Plan) -> Table:
    """Each stage with its key, parameters, FLOPs, GPU hours, and time on this machine."""
    table = _table(("stage", "key"), ("parameters", "FLOPs", "GPU hours", "on this machine"))
    for planned in plan.stages:
        table.add_row(
            one_line(label(planned)),
            planned.stage.key,
            _parameters(planned.parameters),
            _flops([planned]),
            _gpu_hours(planned.flops) if planned.flops and not planned.cached else "",
            _state(planned),
        )
    return table


def _by_variant(plan: Plan) -> Table:
    """What each variant adds: stages that variants share count for the first of them."""
    first: dict[str, str] = {}
    for pipeline in plan.pipelines:
        for stage in pipeline.stages():
            first.setdefault(stage.key, pipeline.experiment.variant.name)
    table = _table(
        ("variant",),
        ("runs", "stages", "to run", "parameters", "FLOPs", "GPU hours", "on this machine"),
    )
    for variant in plan.ablation.variants:
        own = [each for each in plan.stages if first.get(each.stage.key) == variant.name]
        missing = [each for each in own if not each.cached]
        counted = [each.flops for each in missing if each.flops]
        of_one_run = {each.stage.kind: each.parameters for each in own}
        table.add_row(
            one_line(variant.name),
            str(sum(each.experiment.variant == variant for each in plan.pipelines)),
            str(len(own)),
            str(len(missing)),
            _parameters(sum(of_one_run.values())),
            _flops(missing),
            _gpu_hours(sum(counted)) if counted else "",
            _time(missing) if own else "counted above",
        )
    return table


def _table(left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    return table


def _time(missing: Sequence[PlannedStage]) -> str:
    """About how long stages take, of which some may not be known."""
    if not missing:
        return "cached"
    known = [each.seconds for each in missing if each.seconds is not None]
    if not known:
        return "not known yet"
    more = " or more" if len(known) < len(missing) else ""
    return f"about {duration(sum(known))}{more}"


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


def _parameters(count: int) -> str:
    return f"{count / 1e6:.2f}M" if count else ""


def _flops(stages: Sequence[PlannedStage]) -> str:
    """FLOPs of what is to run; "not counted" where those of nothing are known."""
    models = [each for each in stages if not (each.cached or isinstance(each.stage, Measure))]
    if not models:
        return ""
    counted = [each.flops for each in models if each.flops is not None]
    return f"{sum(counted):.2g}" if counted else "not counted"


def _gpu_hours(flops: float) -> str:
    hours = flops / (GPU_FLOPS * GPU_EFFICIENCY) / 3600
    if not flops:
        return "no"
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 0.05 else "<0.1"


def _state(planned: PlannedStage) -> str:
    if planned.cached:
        return "cached"
    return f"about {duration(planned.seconds)}" if planned.seconds is not None else "not known yet"
