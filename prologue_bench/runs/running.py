"""An ablation from Python: plan, run what is missing, collect."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from prologue_bench.config.ablation import load_ablation
from prologue_bench.config.files import Overrides
from prologue_bench.config.packaged import find_ablation
from prologue_bench.errors import PrologueBenchError, UserError
from prologue_bench.guard import shown
from prologue_bench.notices import notice
from prologue_bench.pipeline.collect import collect
from prologue_bench.pipeline.executor import Outcome, execute
from prologue_bench.pipeline.executors.jobs import choose_jobs, this_machine
from prologue_bench.pipeline.executors.watcher import Silent
from prologue_bench.pipeline.needs import check_disk, estimate_needs
from prologue_bench.pipeline.planner import Plan, PlannedStage, make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.reporting.replacing import check_place, keep_remarks, report_in
from prologue_bench.reporting.tables import render_markdown, summary_table
from prologue_bench.results.frame import frame
from prologue_bench.results.pictures import Pictures, picture_names
from prologue_bench.results.schema import Results
from prologue_bench.storage.files import user_path
from prologue_bench.storage.store import Store, default_store

if TYPE_CHECKING:
    import pandas as pd

MOST_REASONS = 3
"""Why stages failed, in the line that ends a run."""


@frozen(kw_only=True)
class AblationRun:
    """What an ablation found. A notebook shows the table of its report."""

    results: Results = field(repr=False)
    pictures: Pictures = field(repr=False)
    failed: str = ""
    """How many stages failed, and why; empty where none did."""
    report: Path | None = None
    """The page, where a report was written."""

    def frame(self) -> pd.DataFrame:
        """One row per number: variant, seed, metric, value, half_width, count, protocol, ..."""
        return frame(self.results)

    def write_report(self, folder: str | Path, force: bool = False) -> Path:
        """Write the report to a folder, and return its page.

        Raises UserError where results of other runs lie there, unless there is `force`.
        """
        from prologue_bench.reporting.report import write_report  # brings altair

        place = user_path(folder, "folder")
        return write_report(keep_remarks(self.results, place), self.pictures, place, force)

    def __str__(self) -> str:
        return render_markdown(self.results)

    def _repr_html_(self) -> str:
        sentences, head, rows = summary_table(self.results)
        cells = [[f"<th>{escape(each)}</th>" for each in head]]
        cells += [[f"<td>{escape(each)}</td>" for each in row] for row in rows]
        first, *others = ("".join(row) for row in cells)
        below = [*sentences, *([self.failed] if self.failed else [])]
        return (
            f"<table><caption>{escape(self.results.title)}</caption>"
            f"<thead><tr>{first}</tr></thead>"
            f"<tbody>{''.join(f'<tr>{row}</tr>' for row in others)}</tbody></table>"
            f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in below)}</ul>"
        )


def run(
    ablation: str | Path,
    *,
    profile: str | None = None,
    seeds: int | Sequence[int] | None = None,
    set: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    jobs: int | None = 1,
    force: bool = False,
    progress: bool = True,
    registry: Registry | None = None,
) -> AblationRun:
    """Train, sample and measure what an ablation needs and the store lacks.

    Args:
        ablation: the name of an installed ablation, as `prologue-bench list ablation` shows them,
            or the path of a YAML file.
        profile: takes the place of the file's.
        seeds: training seeds, in place of the file's.
        set: settings by dotted name, such as {"tokenizer.prologue_codebook": 256}.
        out: folder to which the report is written; None writes none.
        store: folder of artifacts; by default $PROLOGUE_BENCH_STORE or the user's cache.
        jobs: stages that run side by side, each in a process of its own; 1 runs all in this one,
            and None chooses what is fastest.
        force: write the report also over results of other runs.
        progress: say in a line on standard error what begins.
        registry: of components; by default all that are installed.

    Where some stages fail, the result holds what the others found, and `failed` says why. Raises
    UserError in one line for every mistake in what was given, and PrologueBenchError where nothing
    at all was measured.
    """
    registry = registry or _installed()
    chosen = Overrides(values=_assignments(set or {}), profile=profile, seeds=_seeds(seeds))
    checked = load_ablation(find_ablation(ablation, registry), registry, chosen)
    workspace = Workspace(Store(default_store() if store is None else user_path(store, "store")))
    with checked.registry.blaming(PrologueBenchError), checked.document.naming_lines():
        plan = make_plan(checked, workspace)
        folder = None if out is None else user_path(out, "out")
        if folder is not None:
            check_report_place(plan, folder, force)
        outcome = _executed(plan, workspace, jobs, progress)
        results, pictures = collect(plan, outcome, workspace)
    found = AblationRun(results=results, pictures=pictures, failed=what_failed(plan, outcome))
    if not any(each.measurements for each in results.runs):
        raise PrologueBenchError(found.failed or f"{checked.name}: nothing was measured")
    if folder is None:
        return found
    return evolve(found, report=found.write_report(folder, force))


def _installed() -> Registry:
    registry = Registry.load()
    for problem in registry.problems:
        notice(problem)
    return registry


def _assignments(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Settings as --set takes them; JSON is YAML. Raises UserError."""
    if not isinstance(values, Mapping):
        raise UserError(
            f"set: found {shown(values)}, expected a mapping, such as "
            '{"tokenizer.prologue_tokens": 4}'
        )
    found = []
    for key, value in values.items():
        try:
            found.append(f"{key}={json.dumps(value)}")
        except (TypeError, ValueError):
            raise UserError(
                f"set: {key}: found {shown(value)}, expected a number, a text, true, false, None, "
                "or lists and mappings of these"
            ) from None
    return tuple(found)


def _seeds(given: int | Sequence[int] | None) -> tuple[int, ...] | None:
    if given is None:
        return None
    try:
        return (given,) if isinstance(given, int) else tuple(int(each) for each in given)
    except (TypeError, ValueError):
        raise UserError(
            f"seeds: found {shown(given)}, expected whole numbers, such as [0, 1, 2]"
        ) from None


def _executed(plan: Plan, workspace: Workspace, jobs: int | None, progress: bool) -> Outcome:
    """Run what is missing. Raises UserError for jobs that this machine has not the cores for."""
    if jobs is not None and (not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1):
        raise UserError(f"jobs: found {shown(jobs)}, expected a whole number from 1 on, or None")
    needs, way = estimate_needs(plan, workspace), None
    if jobs != 1:
        machine = this_machine()
        machine.check(jobs or 1)
        way = choose_jobs(plan, jobs, machine, needs.memory)
    check_disk(needs, way.count if way else 1, workspace.store.root)
    watcher = _Lines() if progress else _Failures()
    for note in plan.notes if progress else ():
        notice(note)
    return execute(plan, workspace, watcher, lambda: False, way)


class _Failures(Silent):
    """Says what went wrong, and nothing else."""

    def failed(self, planned: PlannedStage, reason: str) -> None:
        notice(f"{planned.stage.title} of {planned.experiment} failed: {reason}")


class _Lines(_Failures):
    """A line when a stage begins."""

    def started(self, planned: PlannedStage, index: int, total: int) -> None:
        notice(f"{index + 1} of {total}: {planned.stage.title} of {planned.experiment}")


def check_report_place(plan: Plan, folder: Path, force: bool) -> None:
    """As `check_place` of reports, before anything is run. Raises UserError."""
    keys = {measure.key for pipeline in plan.pipelines for measure in pipeline.measures}
    names = picture_names(len(plan.first_pipelines), 0)
    check_place(folder, plan.ablation.name, keys, names, force, report_in(folder))


def what_failed(plan: Plan, outcome: Outcome) -> str:
    """How many stages failed, how many did not run because of those, and why, each reason once.

    Of many reasons the first are enough; the report has all.
    """
    if not outcome.failures:
        return ""
    over = [stage for each in plan.stages if (stage := each.stage).key in outcome.failures]
    behind = sum(any(each.key in outcome.failures for each in stage.inputs) for stage in over)
    failed = len(over) - behind
    text = f"{failed} stage{'s' * (failed > 1)} failed"
    if behind:
        text += f", and {behind} behind {'it' if failed == 1 else 'them'} did not run"
    reasons = list(dict.fromkeys(outcome.failures.values()))
    if (more := len(reasons) - MOST_REASONS) > 0:
        reasons[MOST_REASONS:] = [f"and {more} more, which the report lists"]
    return f"{text}: {'; '.join(reasons)}"
