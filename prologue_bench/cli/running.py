"""What `run` does once its options are checked: fetch, run, collect, report, send."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click
from attrs import frozen

from prologue_bench.cli.commands import plan as planning
from prologue_bench.cli.options import Verbosity
from prologue_bench.cli.signals import stop_signals
from prologue_bench.errors import Interrupted, PrologueBenchError, UserError

if TYPE_CHECKING:
    from prologue_bench.config.ablation import Ablation
    from prologue_bench.pipeline.deciding import Rule
    from prologue_bench.pipeline.executor import Outcome, RayRun
    from prologue_bench.pipeline.executors.jobs import Jobs
    from prologue_bench.pipeline.executors.watcher import Watcher
    from prologue_bench.pipeline.needs import PlanNeeds
    from prologue_bench.pipeline.planner import Plan
    from prologue_bench.pipeline.sharing import Sharing, Showing
    from prologue_bench.pipeline.workspace import Workspace
    from prologue_bench.results.pictures import Pictures
    from prologue_bench.results.schema import Results
    from prologue_bench.storage.store import Store

ChooseWay: TypeAlias = "Callable[[Plan, PlanNeeds], Jobs | RayRun | None]"
"""How a plan is run that needs so much; None for one stage at a time in this process."""


@frozen(kw_only=True)
class Running:
    """A run of an ablation, as it was asked for."""

    ablation: Ablation
    folder: Path
    """Of the report."""
    store: Store
    reuse: tuple[Path, ...] = ()
    force: bool = False
    opened: bool = False
    """Whether the report is opened in the browser at the end."""
    only: tuple[str, ...] = ()
    """The variants whose stages are run, without a report; all where none are named."""
    rule: Rule | None = None
    """By which seeds are added."""
    verbosity: Verbosity = "normal"
    choose_way: ChooseWay
    sharing: Sharing | None = None

    def start(self, so_far: bool) -> None:
        """Run what is missing, write the report, and send what is finished.

        With `so_far` nothing is run, and the report is of what is there. Raises PrologueBenchError,
        at the end, where stages failed or could not be sent.
        """
        from prologue_bench.cli.console.needs import store_line
        from prologue_bench.pipeline.collect import collect
        from prologue_bench.pipeline.deciding import UndecidableError, left_to_run, until_decided
        from prologue_bench.pipeline.executor import Outcome
        from prologue_bench.pipeline.reuse import fill_in
        from prologue_bench.pipeline.workspace import Workspace
        from prologue_bench.reporting.replacing import keep_remarks
        from prologue_bench.runs.running import check_report_place, what_failed

        workspace, outcome = Workspace(self.store), Outcome()
        seeds, rule = len(self.ablation.seeds), self.rule
        every = self.ablation if rule is None else rule.with_all_seeds(self.ablation)
        plan, earlier = planning.make_plan_with(every, workspace, self.reuse)
        if self.only:
            self._run_only(plan.of_variants(self.only), workspace)
            return
        if not so_far:
            check_report_place(plan, self.folder, self.force)

        def finish(part: Plan, outcome: Outcome) -> tuple[Results, Pictures]:
            part = self._fetch(part)
            if not so_far:
                left = left_to_run(part, outcome, self.store)
                outcome.failures.update(self._execute(left, workspace).failures)
            results, pictures = collect(part, outcome, workspace)
            return fill_in(results, pictures, part, earlier), pictures

        undecidable = ""
        if rule is None:
            results, pictures = finish(plan, outcome)
        else:
            try:
                results, pictures = until_decided(plan, seeds, rule, finish, self._say, outcome)
            except UndecidableError as error:  # what was run has its report all the same
                results, pictures, undecidable = error.results, error.pictures, str(error)
        if so_far and not any(run.stages for run in results.runs):
            raise UserError(
                f"nothing of {self.ablation.name} is finished in {self.store.root}; "
                "no report is written"
            )
        failed = what_failed(plan, outcome)
        place = self._report(keep_remarks(results, self.folder), pictures, failed, shown=not so_far)
        if not so_far and plan.missing and not self._is_quiet:
            click.echo(store_line(self.store), err=True)
        if self.opened:
            click.launch(place.resolve().as_uri())
        unsent = "" if so_far else self._send(plan)
        if problems := "; ".join(filter(None, (undecidable, failed, unsent))):
            raise PrologueBenchError(problems)

    def _run_only(self, plan: Plan, workspace: Workspace) -> None:
        """Run some variants' stages. Raises PrologueBenchError where some failed."""
        from prologue_bench.runs.running import what_failed

        plan = self._fetch(plan)
        failed = what_failed(plan, self._execute(plan, workspace))
        if problems := "; ".join(filter(None, (failed, self._send(plan)))):
            raise PrologueBenchError(problems)
        click.echo(
            f"Finished: {', '.join(self.only)}; for a report of what is finished, "
            "run with --so-far in place of --only"
        )

    def _fetch(self, plan: Plan) -> Plan:
        """The plan with what the remote has of it."""
        if self.sharing is None:
            return plan
        return self.sharing.fetch(plan, self._showing("fetched"))

    def _send(self, plan: Plan) -> str:
        """Send what the remote lacks; returns what could not be sent, and how to do it later."""
        if self.sharing is None:
            return ""
        unsent = self.sharing.finish(plan, self._showing("sent"))
        if not unsent:
            return ""
        command = f"prologue-bench store push {self.sharing.remote.url} --for {self.folder}"
        return f"{unsent}; `{command}` sends the rest"

    def _showing(self, done: str) -> Showing:
        """How transfers are shown."""
        from prologue_bench.cli.console.transfers import hidden, showing

        return hidden if self._is_quiet else partial(showing, done=done)

    @property
    def _is_quiet(self) -> bool:
        return self.verbosity == "quiet"

    def _say(self, text: str) -> None:
        """Say how the run goes on."""
        if not self._is_quiet:
            click.echo(f"prologue-bench: {text}", err=True)

    def _execute(self, plan: Plan, workspace: Workspace) -> Outcome:
        """Run the missing stages, and show how it goes."""
        from prologue_bench.cli.console.needs import disk_line, needs_line
        from prologue_bench.cli.console.progress import open_progress
        from prologue_bench.pipeline.executor import RayRun, execute
        from prologue_bench.pipeline.needs import check_disk, estimate_needs

        needs = estimate_needs(plan, workspace)
        way = self.choose_way(plan, needs)
        count = way.count if way else 1
        lines = [needs_line(needs, count, self.store.root)]
        if isinstance(way, RayRun):
            lines = [way.line, disk_line(needs, count, self.store.root)]
        check_disk(needs, count, self.store.root)
        opened = open_progress(plan, count, self.verbosity, self.store)
        with opened as progress, stop_signals(progress.say) as stop:
            for line in () if self._is_quiet else (*plan.notes, *(lines if plan.missing else ())):
                progress.say(line)
            watcher: Watcher = progress
            if self.sharing is not None:
                watcher = self.sharing.watching(progress, stop.requested)
            try:
                return execute(plan, workspace, watcher, stop.requested, way)
            except Interrupted as error:
                raise Interrupted(
                    f"{error}; nothing is lost, the same command goes on from here"
                ) from None

    def _report(self, results: Results, pictures: Pictures, failed: str, shown: bool) -> Path:
        """Write the report, if it is another than is there, and show its table."""
        from prologue_bench.cli.console.results import show_brief
        from prologue_bench.reporting.brief import brief
        from prologue_bench.reporting.replacing import REPORT, is_current
        from prologue_bench.reporting.tables import render_markdown

        table = render_markdown(results)
        if not failed and is_current(self.folder, results, table):
            place, said = self.folder / REPORT, " (as it was)"
        else:
            from prologue_bench.reporting.report import write_report  # brings pandas and altair

            try:
                place, said = write_report(results, pictures, self.folder, self.force), ""
            except UserError as error:
                if not failed:
                    raise
                raise PrologueBenchError(
                    f"{failed}; the report is left as it is: {error}"
                ) from None
        if shown:
            show_brief(brief(results), answer_only=self._is_quiet)
        click.echo(f"Report: {place}{said}")
        return place
