"""The stages of runs: their keys, the numbers that they measured, and the curves that they drew."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from prologue_bench.contracts.stage_kinds import TRAIN_GENERATOR, TRAIN_TOKENIZER
from prologue_bench.results import findings as parts
from prologue_bench.results.findings import Doubt, Findings, place_of
from prologue_bench.results.schema import Results, RunRecord
from prologue_bench.texts.numbers import number

STEP, STEPS = "step", "steps"
INSIDE_TRAINING = "inside"
"""What is told of curves from inside a tokenizer's training, as if of a stage."""


def wrong_stages(results: Results, findings: Findings) -> None:
    """Tells keys that two stages of a run have, and numbers that no stage of it measured."""
    findings.tell_together(doubt for run in results.runs for doubt in _keys(run))
    findings.tell_together(
        doubt
        for run in results.runs
        if not findings.refused(parts.stages(run))
        for doubt in _artifacts(run)
    )


def _keys(run: RunRecord) -> Iterator[Doubt]:
    firsts: dict[str, str] = {}
    for stage in run.stages:
        place, part = f"{place_of(run)}, {stage.stage}", parts.stages(run)
        if (first := firsts.get(stage.key)) == stage.stage:
            yield place, f"found twice with the key {stage.key}, expected it once", part
        elif first is not None:
            text = f"found the key {stage.key}, which {first} has too; each stage has its own"
            yield place, text, part
        firsts.setdefault(stage.key, stage.stage)


def _artifacts(run: RunRecord) -> Iterator[Doubt]:
    """Numbers of no stage's artifact, or without one where others of the run have one."""
    keys = {stage.key for stage in run.stages}
    with_artifacts = any(each.artifact for each in run.measurements)
    for each in run.measurements:
        place, part = place_of(run, each.name), parts.number(run, each)
        if each.artifact and each.artifact not in keys:
            yield place, "its artifact is of none of the run's stages", part
        elif with_artifacts and not each.artifact:
            yield place, "found no artifact, and others of the run have one", part


def backward_curves(results: Results, findings: Findings) -> None:
    """Tells curves whose steps do not rise, or are none of the training's."""
    trainings = {
        variant.name: {
            TRAIN_TOKENIZER: variant.settings.tokenizer_training.get(STEPS),
            TRAIN_GENERATOR: variant.settings.generator_training.get(STEPS),
        }
        for variant in results.variants
    }
    findings.tell_together(
        (f"{place_of(run)}, {name}", problem)
        for run in results.runs
        for name, columns in (*run.curves.items(), (INSIDE_TRAINING, run.inside))
        for problem in _wrong_steps(
            columns.get(STEP, ()),
            trainings[run.variant].get(TRAIN_TOKENIZER if name == INSIDE_TRAINING else name),
        )
    )


def _wrong_steps(steps: Sequence[float | None], last: object) -> Iterator[str]:
    """The first step that does not come after the one before it, or is beyond the last."""
    for one, other in itertools.pairwise(steps):
        if one is None or other is None or other <= one:
            found = ("none" if each is None else number(each) for each in (one, other))
            yield "found step {} before step {}, expected steps that rise".format(*found)
            return
    known = [each for each in steps if each is not None]
    if known and known[0] < 0:
        yield f"found step {number(known[0])}, expected steps from 0"
    elif known and isinstance(last, int) and known[-1] > last:
        yield f"found step {number(known[-1])}, expected at most {last} as in the settings"
