"""How much memory and disk the missing stages of a plan will take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from prologue_bench.errors import UserError
from prologue_bench.pipeline import models, stages
from prologue_bench.pipeline.estimates import count_steps, metric_label
from prologue_bench.pipeline.flops import parameters, recorded_flops
from prologue_bench.pipeline.held import held_by_a_draw
from prologue_bench.pipeline.planner import Plan, PlannedStage
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.files import free_disk
from prologue_bench.storage.leftovers import bytes_in

PROCESS = 900_000_000
"""Bytes of a process that has imported torch and the metrics' libraries and does nothing."""
NUMBER = 4
"""Bytes of a weight, or of one of its companions."""
TRAINED = 5
"""Numbers per weight that is trained: itself, its gradient, two of the optimizer, the average."""
SAVED = 4
"""Numbers per weight in a checkpoint: all but the gradient."""
CHECKPOINTS = 3
"""On the disk at once: the two that are kept, and the one that is written."""
KEPT_PER_FLOP = 1 / 60
"""Bytes of activations per FLOP of a forward pass that a training step keeps: fewer the wider its
layers are, and this is of narrow ones."""
READ_AT_ONCE = 2_000_000_000
"""Bytes of images beyond which data sources read them as they are needed."""
SMALL = 200_000
"""Bytes of an artifact's logs, curves and manifest."""
ALIKE = 1.5
"""Stages of one kind hold equally much where their FLOPs per step differ by no larger factor."""


@frozen
class Needs:
    """What one stage is expected to take, in bytes."""

    memory: int
    disk: int
    """Its artifact."""
    unfinished: int = 0
    """On the disk while it runs, checkpoints above all."""
    there: int = 0
    """Of that on the disk already."""


@frozen
class PlanNeeds:
    """What the missing stages take, by key."""

    stages: Mapping[str, Needs] = field(factory=dict)

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that each stage is expected to hold, by key."""
        return {key: needs.memory for key, needs in self.stages.items()}

    def memory_of(self, jobs: int) -> int:
        """The most that so many at a time hold together."""
        return sum(sorted((each.memory for each in self.stages.values()), reverse=True)[:jobs])

    def disk_of(self, jobs: int) -> int:
        """What their artifacts will take, and the unfinished work of so many at a time.

        What a stage has there already makes room for no other.
        """
        unfinished = sorted(
            (max(0, each.unfinished - each.there) for each in self.stages.values()), reverse=True
        )
        return sum(each.disk for each in self.stages.values()) + sum(unfinished[:jobs])


def check_disk(needs: PlanNeeds, jobs: int, root: Path) -> None:
    """Raises UserError where the disk of a store cannot hold what the stages take."""
    free, needed = free_disk(root), needs.disk_of(jobs)
    if needed > free:
        raise UserError(
            f"{root}: found {free / 1e9:.1f} GB of free disk, and the run needs about "
            f"{needed / 1e9:.1f} GB; free some, or take a store on another disk (--store)"
        )


def estimate_needs(plan: Plan, workspace: Workspace) -> PlanNeeds:
    """What the missing stages of a plan will take.

    By earlier stages of the same kind and size in the store, and else by counting numbers.
    """
    if not plan.missing:
        return PlanNeeds()
    store, known = workspace.store, _Known(workspace)
    needs = {}
    for planned in plan.missing:
        key, own = planned.stage.key, known.of(planned) or _counted(planned, workspace)
        folder = store.work(key)
        needs[key] = evolve(own, there=bytes_in(folder) if folder.is_dir() else 0)
    return PlanNeeds(needs)


class _Known:
    """What finished stages in the store have taken."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._found: dict[str, list[tuple[float | None, Needs]]] = defaultdict(list)
        for manifest in workspace.store.manifests():
            if manifest.get("peak_memory") is None:
                continue
            kind = str(manifest.get("metric") or manifest["kind"])
            flops, steps = recorded_flops(manifest), manifest.get("steps")
            disk = sum(each["bytes"] for each in manifest["files"].values())
            size = None if flops is None else flops / (steps or 1)
            self._found[kind].append((size, Needs(int(manifest["peak_memory"]), disk)))

    def of(self, planned: PlannedStage) -> Needs | None:
        """The most that one of its kind and size took; None where there was none."""
        stage = planned.stage
        if isinstance(stage, stages.Measure):
            alike = [each for _, each in self._found[metric_label(stage, self._workspace)]]
        else:
            steps = count_steps(stage, self._workspace) or 1
            size = None if planned.flops is None else planned.flops / steps
            alike = [each for other, each in self._found[stage.kind] if _is_alike(size, other)]
        if not alike:
            return None
        counted = _counted(planned, self._workspace)
        return Needs(
            max(each.memory for each in alike),
            max(each.disk for each in alike),
            counted.unfinished,
        )


def _is_alike(size: float | None, other: float | None) -> bool:
    if not size or not other:
        return size == other
    return max(size / other, other / size) <= ALIKE


def _counted(planned: PlannedStage, workspace: Workspace) -> Needs:
    """By what the stage reads, makes and writes."""
    stage = planned.stage
    memory, disk, unfinished = PROCESS, SMALL, 0
    if isinstance(stage, stages.TrainTokenizer | stages.TrainGenerator):
        weights = planned.parameters + _prior_parameters(stage, workspace)
        per_step = (planned.flops or 0.0) / stage.training.steps / stage.training.accumulate
        memory += TRAINED * NUMBER * weights + int(per_step / 3 * KEPT_PER_FLOP)
        disk += NUMBER * weights
        unfinished = CHECKPOINTS * SAVED * NUMBER * weights
    elif isinstance(stage, stages.TakePrior):
        disk += NUMBER * planned.parameters
    else:
        models_read = [
            each
            for each in stage.inputs
            if isinstance(each, stages.TokenizerStage | stages.GeneratorStage)
        ]
        memory += NUMBER * sum(parameters(each, workspace) for each in models_read)
    tokenizer = _tokenizer_of(stage)
    if tokenizer is None:
        return Needs(memory, disk, unfinished)
    data = workspace.data_of(tokenizer)
    image, views = data.spec.dimensions, data.views
    train, test = len(data.labels("train")), len(data.labels("test"))
    if isinstance(stage, stages.EncodeImages):
        train = train if stage.train else 0
    if not isinstance(stage, stages.TrainGenerator):
        memory += min(READ_AT_ONCE, (train * views + test) * image)
    if isinstance(stage, stages.EncodeImages | stages.TrainGenerator):
        ids = NUMBER * (train * views + test) * workspace.layout_of(tokenizer).length
        memory += ids
        disk += ids if isinstance(stage, stages.EncodeImages) else 0
    elif isinstance(stage, stages.Reconstruct):
        disk += test * image
    elif isinstance(stage, stages.SearchSampling):
        memory += held_by_a_draw(stage, workspace)
    elif isinstance(stage, stages.SampleImages):
        memory += held_by_a_draw(stage, workspace)
        drawn = stage.sampling.samples
        disk += drawn * (image + NUMBER * workspace.layout_of(tokenizer).length)
    return Needs(memory, disk, unfinished)


def _prior_parameters(
    stage: stages.TrainTokenizer | stages.TrainGenerator, workspace: Workspace
) -> int:
    """Of the joint prior that a tokenizer is trained with."""
    if isinstance(stage, stages.TrainGenerator) or stage.prior is None:
        return 0
    labels = workspace.data_of(stage).spec.labels
    prior = workspace.prior_on_meta(stage.prior, workspace.layout_of(stage), labels)
    return models.count_parameters(prior)


def _tokenizer_of(stage: Any) -> stages.TokenizerStage | None:
    """The tokenizer whose images a stage reads or makes."""
    if isinstance(stage, stages.TrainTokenizer):
        return stage
    if isinstance(stage, stages.EncodeImages):
        return stage.tokenizer
    if isinstance(stage, stages.Reconstruct | stages.TrainGenerator):
        return stage.tokens.tokenizer
    if isinstance(stage, stages.SampleImages | stages.SearchSampling):
        return stage.generator.tokens.tokenizer
    if isinstance(stage, stages.Measure):
        return stage.tokens.tokenizer
    return None
