"""Runs that earlier results hold already, so that nothing of them is trained or measured again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from prologue_bench.errors import UserError
from prologue_bench.pipeline.planner import Pipeline, Plan
from prologue_bench.results.frame import measured_seeds
from prologue_bench.results.loading import load_results
from prologue_bench.results.pictures import VARIANT_PICTURES, Pictures, load_pictures


@frozen
class EarlierRun:
    """A run without failures, and the pictures of its variant where they are of this run."""

    record: Mapping[str, Any]
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


def fill_in(results: dict[str, Any], pictures: Pictures, plan: Plan, earlier: EarlierRuns) -> None:
    """Put earlier runs, and their pictures, in place of planned runs that the store lacks."""
    for index, pipeline in enumerate(plan.pipelines):
        found = earlier.find(pipeline)
        if found is not None and results["runs"][index]["unfinished"]:
            results["runs"][index] = {**found.record, "variant": pipeline.experiment.variant.name}
    results["seeds"] = measured_seeds(results["runs"], plan.ablation.seeds)
    for index, pipeline in enumerate(plan.first_pipelines):
        found = earlier.find(pipeline)
        for kind, content in found.pictures.items() if found is not None else ():
            pictures.files.setdefault(f"{kind}-{index}", content)


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
        origin = {"results": results["name"], "created": results["created"]}
        drawn: set[str] = set()
        for run in results["runs"]:
            is_drawn = run["variant"] not in drawn  # the pictures are of a variant's first run
            drawn.add(run["variant"])
            if run["failures"] or run.get("unfinished"):
                continue
            keys = frozenset(
                stage["key"] for stage in run["stages"] if stage["stage"].startswith("measure ")
            )
            own = _pictures_of(run["variant"], results, pictures) if is_drawn else {}
            found.setdefault(keys, EarlierRun({**run, "reused": run.get("reused") or origin}, own))
    return EarlierRuns(found, left_out)


def _pictures_of(variant: str, results: Mapping[str, Any], pictures: Pictures) -> dict[str, bytes]:
    index = [each["name"] for each in results["variants"]].index(variant)
    names = {kind: f"{kind}-{index}" for kind in VARIANT_PICTURES}
    return {kind: pictures.files[name] for kind, name in names.items() if name in pictures.files}
