"""What a run found, as one record that reports are made from and others can read."""

from __future__ import annotations

import json
import math
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve

from prologue_bench.config.experiments import Resolved
from prologue_bench.config.settings import plain_values
from prologue_bench.pipeline.estimates import machine
from prologue_bench.pipeline.executor import Outcome
from prologue_bench.pipeline.flops import parameters, recorded_flops
from prologue_bench.pipeline.planner import Pipeline, Plan
from prologue_bench.pipeline.provenance import software
from prologue_bench.pipeline.stages import (
    MEASUREMENTS,
    SEARCH,
    Imported,
    Measure,
    Stage,
    TrainTokenizer,
)
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Kind, Registry
from prologue_bench.results.frame import measured_seeds
from prologue_bench.results.migration import fill_in_figures
from prologue_bench.results.pictures import ORIGINALS, VARIANT_PICTURES, Pictures
from prologue_bench.results.plain import plain, record
from prologue_bench.results.schema import (
    Columns,
    ComponentRecord,
    ComponentSettings,
    DataRecord,
    HardwareRecord,
    MeasurementRecord,
    ReferenceRecord,
    Results,
    RunRecord,
    SearchRecord,
    SegmentRecord,
    StageRecord,
    VariantRecord,
    VariantSettings,
)
from prologue_bench.storage.artifacts import CURVES, INSIDE, Artifact
from prologue_bench.storage.store import Store
from prologue_bench.training.curves import read_curves


def collect(plan: Plan, outcome: Outcome, workspace: Workspace) -> tuple[Results, Pictures]:
    """Everything that the report shows, from the artifacts of a plan."""
    ablation, store = plan.ablation, workspace.store
    registry = ablation.registry
    runs = [_run(pipeline, outcome, store) for pipeline in plan.pipelines]
    first = plan.pipelines[0]
    data = workspace.data_of(first.tokenizer)
    card = registry.card("datasets", first.experiment.data.name)
    results = Results(
        name=ablation.name,
        title=ablation.title,
        description=ablation.description,
        profile=ablation.profile,
        baseline=ablation.baseline,
        seeds=tuple(measured_seeds(runs, ablation.seeds)),
        sampling_seeds=tuple(ablation.sampling_seeds),
        varied=tuple(ablation.varied),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        equivalence_margin=ablation.equivalence_margin,
        data=DataRecord(
            name=first.experiment.data.name,
            settings=plain_values(first.experiment.data.settings),
            fingerprint=data.fingerprint,
            train=len(data.labels("train")),
            test=len(data.labels("test")),
            shape=data.spec.shape,
            classes=tuple(data.spec.class_names),
            notes=(*data.notes, *_search_notes(plan), *ablation.skipped),
            card={key: card[key] for key in ("source", "paper", "licence") if key in card},
        ),
        primary=ablation.primary,
        leaderboard=ablation.leaderboard,
        overrides=ablation.overrides.values,
        variants=tuple(_variant(each, workspace) for each in plan.first_pipelines),
        runs=tuple(runs),
        components=components(plan, registry),
        references=tuple(record(plain(each), ReferenceRecord) for each in ablation.references),
        software=dict(software()),
        hardware=HardwareRecord(
            machine=machine(), processor=processor(), system=platform.platform(terse=True)
        ),
    )
    return results, _pictures(plan, store)


def _pictures(plan: Plan, store: Store) -> Pictures:
    """The pictures that are drawn."""
    found = Pictures()
    for index, pipeline in enumerate(plan.first_pipelines):
        for stage in pipeline.pictures:
            if (artifact := store.find(stage.key)) is None:
                continue
            for name in sorted(artifact.files):
                if (kind := name.removesuffix(".png")) == ORIGINALS:
                    found.files.setdefault(kind, (artifact / name).read_bytes())
                elif kind in VARIANT_PICTURES:
                    found.files[f"{kind}-{index}"] = (artifact / name).read_bytes()
    return found


def _search_notes(plan: Plan) -> list[str]:
    """Where an imported model may have seen the images that sampling settings are searched on."""
    searching = [pipeline for pipeline in plan.first_pipelines if pipeline.samples.search]
    imported = [
        pipeline.experiment.variant.name
        for pipeline in searching
        if any(isinstance(stage, Imported) for stage in pipeline.stages())
    ]
    if not imported:
        return []
    return [
        (
            "imported models may have been trained on the images held out for the search: "
            f"{', '.join(imported)}"
        )
    ]


def components(plan: Plan, registry: Registry) -> tuple[ComponentRecord, ...]:
    """Every component in use with its version and where it is from."""
    used: dict[tuple[Kind, str], None] = {}
    for pipeline in plan.first_pipelines:
        experiment = pipeline.experiment
        used[("data", experiment.data.name)] = None
        used[("tokenizer", experiment.tokenizer.name)] = None
        if pipeline.generates:
            used[("generator", experiment.generator.name)] = None
        trained = [each for each in pipeline.stages() if isinstance(each, TrainTokenizer)]
        used.update({("tokenizer", stage.tokenizer.name): None for stage in trained})
        used.update({("generator", each.prior.name): None for each in trained if each.prior})
        if pipeline.samples.search:
            used[("metric", pipeline.samples.search.metric.name)] = None
        used.update({("loss", loss.name): None for loss in experiment.losses})
        used.update({("metric", metric.name): None for metric in experiment.metrics})
    entries = [(kind, registry.find_entry(kind, name)) for kind, name in used]
    return tuple(
        ComponentRecord(
            kind=kind,
            name=each.component.name,
            version=each.component.version,
            origin=each.origin,
        )
        for kind, each in entries
    )


def processor() -> str:
    """The processor's name where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _variant(pipeline: Pipeline, workspace: Workspace) -> VariantRecord:
    experiment = pipeline.experiment
    return VariantRecord(
        name=experiment.variant.name,
        values={key: plain_values(value) for key, value in experiment.variant.values.items()},
        layout=tuple(
            SegmentRecord(
                name=each.name, length=each.length, vocabulary=each.vocabulary, grid=each.grid
            )
            for each in pipeline.layout
        ),
        parameters=_parameters(pipeline, workspace),
        settings=VariantSettings(
            tokenizer=_component(experiment.tokenizer),
            tokenizer_training=plain_values(experiment.tokenizer_training),
            generator=_component(experiment.generator),
            generator_training=plain_values(experiment.generator_training),
            sampling=plain_values(experiment.sampling),
        ),
    )


def _parameters(pipeline: Pipeline, workspace: Workspace) -> dict[str, int]:
    """Of tokenizer and generator, as far as the pipeline has them."""
    found = {"tokenizer": parameters(pipeline.tokenizer, workspace)}
    if pipeline.generates:
        found["generator"] = parameters(pipeline.generator, workspace)
    return {name: count for name, count in found.items() if count}


def _component(resolved: Resolved) -> ComponentSettings:
    return ComponentSettings(use=resolved.name, settings=plain_values(resolved.settings))


def _run(pipeline: Pipeline, outcome: Outcome, store: Store) -> RunRecord:
    measurements: list[MeasurementRecord] = []
    stages = []
    curves = {}
    inside: Columns = {}
    failures = {}
    unfinished = False
    search: SearchRecord | None = None
    for stage in pipeline.stages():
        is_picture = stage in pipeline.pictures
        if stage.key in outcome.failures and not is_picture:
            failures[stage.title] = outcome.failures[stage.key]
            continue
        artifact = store.find(stage.key)
        if artifact is None:
            # A run is whole without its pictures, and without what its measurements were made from.
            needed = isinstance(stage, Measure) or not pipeline.measures
            unfinished = unfinished or (needed and not is_picture)
            continue
        if isinstance(stage, Measure):
            names = {each.name for each in measurements}
            found = [
                evolve(record(each, MeasurementRecord), artifact=stage.key)
                for each in read_measurements(artifact.folder)
            ]
            if taken := sorted(each.name for each in found if each.name in names):
                reason = f"another metric gives {', '.join(taken)} too; left out here"
                # The run has failed in part, whatever it measured, and ends as such.
                failures[stage.title] = outcome.failures[stage.key] = reason
            measurements += [each for each in found if each.name not in names]
        if SEARCH in artifact.files:
            search = record(json.loads((artifact / SEARCH).read_text()), SearchRecord)
        if CURVES in artifact.files:
            curves[stage.kind] = _columns(read_curves(artifact / CURVES))
        if INSIDE in artifact.files:
            inside = _columns(read_curves(artifact / INSIDE))
        stages.append(_stage(stage, artifact))
    return RunRecord(
        variant=pipeline.experiment.variant.name,
        seed=pipeline.experiment.seed,
        sampling_seed=pipeline.experiment.sampling_seed,
        failures=failures,
        left_out={each.metric: each.reason for each in pipeline.left_out},
        unfinished=unfinished,
        measurements=tuple(measurements),
        stages=tuple(stages),
        curves=curves,
        inside=inside,
        search=search,
    )


def read_measurements(folder: Path) -> list[dict[str, Any]]:
    """The measurements of a finished Measure stage."""
    measurements: list[dict[str, Any]] = json.loads((folder / MEASUREMENTS).read_text())
    fill_in_figures(measurements)
    return measurements


def _stage(stage: Stage, artifact: Artifact) -> StageRecord:
    manifest = artifact.manifest
    return StageRecord(
        stage=stage.title,
        key=stage.key,
        finished=manifest.get("finished"),
        machine=manifest.get("machine"),
        seconds=None if isinstance(stage, Imported) else manifest.get("seconds"),
        flops=recorded_flops(manifest),
        git=manifest.get("software", {}).get("git"),
    )


def _columns(points: list[dict[str, Any]]) -> Columns:
    """Points as columns, rounded to five digits to keep the document small.

    None where a point has no such number. Lists, of a number for each position, stay in the
    artifact.
    """
    names = dict.fromkeys(
        name for point in points for name, value in point.items() if not isinstance(value, list)
    )
    return {name: tuple(_rounded(point.get(name)) for point in points) for name in names}


def _rounded(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(np.format_float_positional(value, 5, fractional=False))
