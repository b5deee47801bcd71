"""Training seeds that are added until a metric is decided: `run --until-decided`.

The seeds of the ablation are run first. Then, while any variant is undecided, one seed more is run
of all variants, so that differences stay paired. What the looks say follows from the numbers alone:
a run that goes on after an interruption, or with a higher limit, makes the same looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import evolve, frozen

from prologue_bench.config.ablation import Ablation
from prologue_bench.errors import PrologueBenchError, UserError, nearest
from prologue_bench.pipeline.checks import check_measurement
from prologue_bench.pipeline.executor import Outcome
from prologue_bench.pipeline.planner import Plan
from prologue_bench.results.frame import measured, summary
from prologue_bench.results.pictures import Pictures
from prologue_bench.results.schema import AddedSeeds, LookRecord, Results
from prologue_bench.stats.differences import Cell
from prologue_bench.stats.intervals import LEVEL
from prologue_bench.stats.looks import LEAST_PAIRS, MOST_SEEDS, Looks
from prologue_bench.storage.store import Store

Finish = Callable[[Plan, Outcome], tuple[Results, Pictures]]
"""Runs what is missing of a plan, puts what failed into the outcome, and collects the results."""


@frozen
class Rule:
    """Which metric is to be decided, and with how many training seeds at most."""

    metric: str
    most: int

    def check(self, ablation: Ablation) -> None:
        """Raises UserError where the rule cannot decide anything, before anything is trained."""
        option = f"--until-decided {self.metric}"
        if len(ablation.variants) < 2:
            raise UserError(
                f"{ablation.path}: {option}: found one variant, expected others to compare it with"
            )
        if ablation.baseline is None:
            raise UserError(
                f"{ablation.path}: {option}: there is no baseline to compare variants with; "
                "name one of them in `baseline`"
            )
        least = max(LEAST_PAIRS, len(ablation.seeds))
        if not least <= self.most <= MOST_SEEDS:
            have = f"the ablation has {len(ablation.seeds)} seed{'s' * (len(ablation.seeds) > 1)}"
            raise UserError(
                f"--max-seeds {self.most}: {have}; expected a number from {least} to {MOST_SEEDS}"
            )
        check_measurement(ablation, self.metric, "--until-decided")

    def with_all_seeds(self, ablation: Ablation) -> Ablation:
        """The ablation with every seed that the rule may come to."""
        return ablation.with_more_seeds(self.most)


class UndecidableError(PrologueBenchError):
    """A metric that decides nothing; what was run is there, for a report without the rule."""

    def __init__(self, text: str, results: Results, pictures: Pictures) -> None:
        super().__init__(f"{text}; no seeds were added")
        self.results, self.pictures = results, pictures


def until_decided(
    plan: Plan,
    seeds: int,
    rule: Rule,
    finish: Finish,
    say: Callable[[str], None],
    outcome: Outcome,
) -> tuple[Results, Pictures]:
    """Run a plan of all seeds that may be needed, the first ones at once and then one by one.

    Each look is said in a line. Raises UndecidableError, with what was found, where there is no
    such metric among what was measured, or none with a better direction.
    """
    ablation = plan.ablation
    added = AddedSeeds(
        metric=rule.metric,
        first=max(LEAST_PAIRS, seeds),
        most=rule.most,
        margin=ablation.equivalence_margin,
        looks=(),
    )
    before: Mapping[str, int] = {}
    for count in range(seeds, rule.most + 1):
        results, pictures = finish(part_of(plan, ablation.seeds[:count]), outcome)
        plan = evolve(plan, notes=())  # they are said once
        if count < added.first:
            continue
        try:
            looked, pairs = look(results, added, count)
        except UserError as error:
            raise UndecidableError(str(error), results, pictures) from None
        added = evolve(added, looks=(*added.looks, looked))
        say(_told(added, looked))
        waiting = [name for name in looked.undecided if pairs[name] > before.get(name, 0)]
        if not waiting or any(run.unfinished for run in results.runs):
            break
        before = pairs
    return evolve(results, added_seeds=(added,)), pictures


def part_of(plan: Plan, seeds: tuple[int, ...]) -> Plan:
    """The plan of some of its seeds alone."""
    pipelines = tuple(each for each in plan.pipelines if each.experiment.seed in seeds)
    needed = {stage.key for pipeline in pipelines for stage in pipeline.stages()}
    return evolve(
        plan,
        ablation=plan.ablation.with_seeds(seeds),
        pipelines=pipelines,
        stages=tuple(each for each in plan.stages if each.stage.key in needed),
    )


def left_to_run(plan: Plan, outcome: Outcome, store: Store) -> Plan:
    """The plan without what failed in earlier rounds, and what stands behind that."""
    kept = []
    for planned in plan.stages:
        stage = planned.stage
        failures = outcome.failures
        broken = [failures[each.key] for each in stage.inputs if each.key in failures]
        if broken:
            failures.setdefault(stage.key, broken[0])
        if stage.key not in failures:
            cached = planned.cached or store.find(stage.key) is not None
            kept.append(evolve(planned, cached=cached, seconds=0.0 if cached else planned.seconds))
    return evolve(plan, stages=tuple(kept))


def look(results: Results, added: AddedSeeds, seeds: int) -> tuple[LookRecord, dict[str, int]]:
    """Who is undecided at so many seeds, and how many pairs each variant has.

    More seeds would not decide a variant whose difference is the same in all of them, that is
    measured by another protocol, or whose metric does not apply: it keeps nobody waiting. Raises
    UserError where there is nothing to decide.
    """
    _check_measured(results, added.metric)
    cells = summary(evolve(results, added_seeds=(added,)))
    failed = {run.variant for run in results.runs if run.failures or run.unfinished}
    of_metric = {
        each.name: cells.get(each.name, {}).get(added.metric)
        for each in results.variants
        if each.name != results.baseline
    }
    if not any(cell and cell.difference for cell in of_metric.values()) and not failed:
        raise UserError(
            f"--until-decided {added.metric}: no variant can be compared with {results.baseline} "
            "in it; the report says why without --until-decided"
        )
    assert results.baseline is not None, "the rule is checked"
    reference = cells.get(results.baseline, {}).get(added.metric)
    undecided = tuple(
        name
        for name, cell in of_metric.items()
        if _waits(cell, reference, bool(failed & {name, results.baseline}))
    )
    family = max(
        (cell.difference.family for cell in of_metric.values() if cell and cell.difference),
        default=1,
    )
    rule = Looks(added.first, added.most, added.margin)
    pairs = {name: _pairs(cell) for name, cell in of_metric.items()}
    level = rule.level((1 - LEVEL) / family, seeds)
    return LookRecord(seeds=seeds, level=level, undecided=undecided), pairs


def _waits(cell: Cell | None, reference: Cell | None, failed: bool) -> bool:
    """Whether more seeds could decide a variant; after a failure, they may give its first pair."""
    if cell is None or reference is None or (cell.difference is None and not cell.conflict):
        return failed
    if cell.same_everywhere and reference.same_everywhere:
        return False
    return cell.waits_for_seeds


def _pairs(cell: Cell | None) -> int:
    """The training seeds that a difference is over."""
    if cell is None or cell.difference is None:
        return 0
    return cell.difference.count if cell.difference.basis == "training seeds" else 1


def _check_measured(results: Results, metric: str) -> None:
    """Raises UserError for a metric that was not measured, or that has no better direction."""
    rows = measured(results)
    names = {each.metric: each.direction for each in rows}
    if not names:
        return
    if metric not in names:
        directed = [name for name, direction in names.items() if direction != "neutral"]
        known = nearest(metric, directed) if directed else "none that was made has a direction"
        raise UserError(f"--until-decided: no measurement is called {metric!r}; {known}")
    if names[metric] == "neutral":
        raise UserError(
            f"--until-decided {metric}: neither lower nor higher is better in it, so that it has "
            "no verdicts; name a metric that has"
        )


def _told(added: AddedSeeds, looked: LookRecord) -> str:
    """A look in a line."""
    what = f"{added.metric}, {looked.seeds} seeds"
    if not looked.undecided:
        return f"{what}: decided"
    return f"{what}: undecided: {', '.join(looked.undecided)}"
