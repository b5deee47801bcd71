"""The models of one finished run as a folder that needs no store.

Weights, and a description to build them from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import attrs

from prologue_bench.contracts.images import ImageSpec
from prologue_bench.errors import UserError
from prologue_bench.pipeline.models import GENERATOR_WEIGHTS, TOKENIZER_WEIGHTS
from prologue_bench.registry import Kind, Registry
from prologue_bench.results.documents import RESULTS, read_export
from prologue_bench.results.plain import plain
from prologue_bench.results.schema import (
    AblationRecord,
    Checksums,
    Export,
    ImagesRecord,
    Results,
    Versions,
)
from prologue_bench.results.sources import own_name, source_of
from prologue_bench.runs.finished import FinishedRun
from prologue_bench.runs.loading import Weights, build_run, describe_run, find_run
from prologue_bench.runs.origins import check_origin
from prologue_bench.storage.files import checksum
from prologue_bench.storage.placing import checksums, is_inside, not_own, recover
from prologue_bench.storage.weights import save_weights

CONFIG = "config.json"


def describe_export(run: FinishedRun, results: Results, registry: Registry) -> Export:
    """What config.json says of a run: all that its models are built from, and their origin."""
    description = describe_run(results, run.variant, run.seed)
    source = source_of(results, run.variant)
    record = find_run(results, run.variant, run.seed)
    used = {("tokenizer", description.tokenizer.use), ("generator", description.generator.use)}
    return Export(
        variant=own_name(results, run.variant),
        training_seed=description.training_seed,
        profile=description.profile,
        tokenizer=description.tokenizer,
        generator=description.generator,
        sampling=description.sampling,
        precisions=description.precisions,
        versions=Versions(
            tokenizer=registry.find("tokenizer", description.tokenizer.use).version,
            generator=registry.find("generator", description.generator.use).version,
        ),
        components=tuple(each for each in source.components if (each.kind, each.name) in used),
        images=ImagesRecord(**attrs.asdict(run.images)),
        ablation=AblationRecord(name=source.name, title=source.title, created=source.created),
        data=source.data,
        measurements=record.measurements,
        stages=record.stages,
        software=source.software,
    )


def write_weights(run: FinishedRun, folder: Path) -> None:
    """Write the weights of an export."""
    save_weights(run.tokenizer, folder / TOKENIZER_WEIGHTS)
    save_weights(run.generator, folder / GENERATOR_WEIGHTS)


def check_export_place(
    folder: Path, config: Export, names: Iterable[str], force: bool
) -> dict[str, str]:
    """SHA-256, by name, of the files of the export in a folder, which a new one may replace.

    Raises UserError where files of others would be overwritten, or the models of another run,
    unless `force` says so.
    """
    there = _export_in(folder)
    listed = (there.files if there is not None else None) or {}
    own = {name: text for name, text in listed.items() if is_inside(name)}
    taken = {CONFIG: None, **own} if own else dict.fromkeys(names if there is not None else ())
    foreign = not_own(folder, names, taken)
    if force:
        return own
    if os.path.lexists(folder / RESULTS):
        raise UserError(
            f"{folder}: holds {RESULTS}, and the files of a report and of an export would be "
            "mixed; name another folder with --out, or write them there with --force"
        )
    if foreign:
        raise UserError(
            f"{folder}: {', '.join(foreign)} would be overwritten, "
            "and is not as an export wrote it; name another folder with --out, "
            "or overwrite with --force"
        )
    if there is not None and _identity(there) != _identity(config):
        raise UserError(
            f"{folder}: holds the export of another run "
            f"({there.variant:.60}, training seed {there.training_seed}); "
            "name another folder with --out, or overwrite it with --force"
        )
    return own


def _identity(config: Export) -> tuple[str, int, list[str]]:
    """What two exports of one run have in common."""
    return config.variant, config.training_seed, [stage.key for stage in config.stages]


def _export_in(folder: Path) -> Export | None:
    """The description of the export in a folder; None where there is none."""
    recover(folder, CONFIG)
    try:
        return read_export(folder / CONFIG)
    except UserError:
        return None


def write_config(config: Export, folder: Path) -> None:
    """Write config.json beside the other files of an export, which it lists."""
    weights = Checksums(
        tokenizer=checksum(folder / TOKENIZER_WEIGHTS),
        generator=checksum(folder / GENERATOR_WEIGHTS),
    )
    listed = plain(attrs.evolve(config, weights=weights, files=checksums(folder)))
    (folder / CONFIG).write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")


def is_export(folder: Path) -> bool:
    """Whether a folder has something of an export, whole or not; results have no such names."""
    return any(os.path.lexists(folder / name) for name in (CONFIG, TOKENIZER_WEIGHTS))


def load_export(folder: Path, registry: Registry | None = None) -> FinishedRun:
    """The models of a folder that `prologue-bench export` wrote.

    Raises UserError when it is no such folder, or a component is missing here or of another
    version.
    """
    registry = registry or Registry.load()
    path = folder / CONFIG
    config = read_export(path)
    made_of: tuple[tuple[Kind, str, int], ...] = (
        ("tokenizer", config.tokenizer.use, config.versions.tokenizer),
        ("generator", config.generator.use, config.versions.generator),
    )
    for kind, name, expected in made_of:
        check_origin(config.components, kind, name, registry)
        found = registry.find(kind, name).version
        if found != expected:
            raise UserError(
                f"{path}: {kind} {name!r} has version {found} here and {expected} in the export; "
                "its results would differ. Install the version of the package that made it, "
                "or export the run again"
            )
    images = ImageSpec(**attrs.asdict(config.images))
    digests = config.weights
    weights = Weights(
        folder / TOKENIZER_WEIGHTS,
        folder / GENERATOR_WEIGHTS,
        (None, None) if digests is None else (digests.tokenizer, digests.generator),
        follow=False,
    )
    try:
        return build_run(config, images, registry, weights)
    except UserError as error:
        raise (
            error if str(error).startswith(str(folder)) else UserError(f"{path}: {error}")
        ) from None
