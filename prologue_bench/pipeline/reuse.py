"""Runs that earlier results hold already, so that nothing of them is trained or measured again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve, field, frozen

from prologue_bench.errors import UserError
from prologue_bench.pipeline.planner import Pipeline, Plan
from prologue_bench.results.frame import measured_seeds
from prologue_bench.results.loading import load_results
from prologue_bench.results.pictures import ORIGINALS, VARIANT_PICTURES, Pictures, load_pictures
from prologue_bench.results.schema import MEASURE, Origin, Results, RunRecord


@frozen
class EarlierRun:
    """A run without failures, and the pictures of its variant where they are of this run."""

    record: RunRecord
    pictures: Mapping[str, bytes]


@frozen
class EarlierRuns:
    """The complete runs of earlier results by the keys of their measurements.

    A key holds every setting, version and input of what was measured, so that a run with equal keys
    is the same run.
    """

    by_keys: Mapping[frozenset[str], EarlierRun] = field(factory=dict)
    left_out: Sequence[str] = ()
    """One line for each picture that could not be read."""

    def __contains__(self, pipeline: Pipeline) -> bool:
        return self.find(pipeline) is not None

    def find(self, pipeline: Pipeline) -> EarlierRun | None:
        """The earlier run with the measurements of a pipeline."""
        return self.by_keys.get(frozenset(measure.key for measure in pipeline.measures))

    def check_used(self, plan: Plan, folders: Sequence[Path]) -> None:
        """Raises UserError when not one run of the folders is of the plan."""
        if not any(pipeline in self for pipeline in plan.pipelines):
            raise UserError(
                f"--reuse {', '.join(map(str, folders))}: none of {len(self.by_keys)} complete "
                "runs belongs to this ablation; expected runs with the same settings, seeds, "
                "data and versions of the components"
            )


def fill_in(results: Results, pictures: Pictures, plan: Plan, earlier: EarlierRuns) -> Results:
    """The results with earlier runs in place of planned runs that the store lacks.

    Their pictures are put among the others.
    """
    runs = list(results.runs)
    for index, pipeline in enumerate(plan.pipelines):
        found = earlier.find(pipeline)
        if found is not None and runs[index].unfinished:
            runs[index] = evolve(found.record, variant=pipeline.experiment.variant.name)
    for index, pipeline in enumerate(plan.first_pipelines):
        found = earlier.find(pipeline)
        for kind, content in found.pictures.items() if found is not None else ():
            name = kind if kind == ORIGINALS else f"{kind}-{index}"
            pictures.files.setdefault(name, content)
    seeds = measured_seeds(runs, plan.ablation.seeds)
    return evolve(results, runs=tuple(runs), seeds=tuple(seeds))


def load_earlier_runs(folders: Sequence[Path]) -> EarlierRuns:
    """The complete runs in folders that `run` wrote.

    Raises UserError for a folder without results.
    """
    found: dict[frozenset[str], EarlierRun] = {}
    left_out: list[str] = []
    for folder in folders:
        results = load_results(folder)
        pictures = load_pictures(folder if folder.is_dir() else folder.parent, results)
        left_out += pictures.left_out
        origin = Origin(results=results.name, created=results.created)
        drawn: set[str] = set()
        for run in results.runs:
            is_drawn = run.variant not in drawn  # the pictures are of a variant's first run
            drawn.add(run.variant)
            if run.failures or run.unfinished:
                continue
            keys = frozenset(stage.key for stage in run.stages if stage.stage.startswith(MEASURE))
            own = _pictures_of(run.variant, results, pictures) if is_drawn else {}
            found.setdefault(keys, EarlierRun(evolve(run, reused=run.reused or origin), own))
    return EarlierRuns(found, left_out)


def _pictures_of(variant: str, results: Results, pictures: Pictures) -> dict[str, bytes]:
    index = [each.name for each in results.variants].index(variant)
    names = {kind: f"{kind}-{index}" for kind in VARIANT_PICTURES} | {ORIGINALS: ORIGINALS}
    return {kind: pictures.files[name] for kind, name in names.items() if name in pictures.files}
