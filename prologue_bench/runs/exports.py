"""The models of one finished run as a folder that needs no store.

Weights, and a description to build them from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from prologue_bench.contracts.images import ImageSpec
from prologue_bench.errors import UserError
from prologue_bench.pipeline.finished import FinishedRun
from prologue_bench.pipeline.models import GENERATOR_WEIGHTS, TOKENIZER_WEIGHTS, save_weights
from prologue_bench.registry import Registry
from prologue_bench.results.documents import read_export
from prologue_bench.results.schema import EXPORT_FORMAT
from prologue_bench.results.sources import own_name, source_of
from prologue_bench.runs.loading import Weights, build_run, describe_run, find_run
from prologue_bench.storage.files import checksum
from prologue_bench.storage.placing import checksums, is_inside, not_own, recover

CONFIG = "config.json"
FORMAT = EXPORT_FORMAT
FILES = "files"
"""Under which config.json lists the other files, with checksums."""


def describe_export(
    run: FinishedRun, results: Mapping[str, Any], registry: Registry
) -> dict[str, Any]:
    """What config.json says of a run: all that its models are built from, and their origin."""
    description = describe_run(results, run.variant, run.seed)
    source = source_of(results, run.variant)
    record = find_run(results, run.variant, run.seed)
    return {
        "format": FORMAT,
        **description,
        "variant": own_name(results, run.variant),
        "versions": {
            kind: registry.find(kind, description[kind]["use"]).version
            for kind in ("tokenizer", "generator")
        },
        "images": attrs.asdict(run.images),
        "ablation": {name: source[name] for name in ("name", "title", "created")},
        "data": source["data"],
        "measurements": record["measurements"],
        "stages": record["stages"],
        "software": source["software"],
    }


def write_weights(run: FinishedRun, folder: Path) -> None:
    """Write the weights of an export."""
    save_weights(run.tokenizer, folder / TOKENIZER_WEIGHTS)
    save_weights(run.generator, folder / GENERATOR_WEIGHTS)


def check_export_place(
    folder: Path, config: Mapping[str, Any], names: Iterable[str], force: bool
) -> dict[str, str]:
    """SHA-256, by name, of the files of the export in a folder, which a new one may replace.

    Raises UserError where files of others would be overwritten, or the models of another run,
    unless `force` says so.
    """
    there = _export_in(folder)
    listed = there.get(FILES) if there is not None else None
    own = (
        {name: text for name, text in listed.items() if is_inside(name)}
        if isinstance(listed, dict)
        else {}
    )
    taken = {CONFIG: None, **own} if own else dict.fromkeys(names if there is not None else ())
    foreign = not_own(folder, names, taken)
    if force:
        return own
    if foreign:
        raise UserError(
            f"{folder}: {', '.join(foreign)} would be overwritten, "
            "and is not as an export wrote it; name another folder with --out, "
            "or overwrite with --force"
        )
    if there is not None and _identity(there) != _identity(config):
        raise UserError(
            f"{folder}: holds the export of another run "
            f"({there.get('variant')!s:.60}, training seed {there.get('training_seed')!s:.20}); "
            "name another folder by --out, or lose it by --force"
        )
    return own


def _identity(config: Mapping[str, Any]) -> list[Any]:
    """What two exports of one run have in common."""
    stages = config.get("stages")
    keys = (
        [each.get("key") for each in stages if isinstance(each, dict)]
        if isinstance(stages, list)
        else None
    )
    return [config.get("variant"), config.get("training_seed"), keys]


def _export_in(folder: Path) -> Mapping[str, Any] | None:
    """The description of the export in a folder; None where there is none."""
    recover(folder, CONFIG)
    path = folder / CONFIG
    if path.is_symlink() or not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) and config.get("format") == FORMAT else None


def write_config(config: Mapping[str, Any], folder: Path) -> None:
    """Write config.json beside the other files of an export, which it lists."""
    weights = {
        "tokenizer": checksum(folder / TOKENIZER_WEIGHTS),
        "generator": checksum(folder / GENERATOR_WEIGHTS),
    }
    listed = {**config, "weights": weights, FILES: checksums(folder)}
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
    for kind in ("tokenizer", "generator"):
        name, expected = config[kind]["use"], config["versions"][kind]
        found = registry.find(kind, name).version
        if found != expected:
            raise UserError(
                f"{path}: {kind} {name!r} has version {found} here and {expected} in the export; "
                "its results would differ. Install the version of the package that made it, "
                "or export the run again"
            )
    images = ImageSpec(
        **{**config["images"], "class_names": tuple(config["images"]["class_names"])}
    )
    digests = config.get("weights") or {}
    weights = Weights(
        folder / TOKENIZER_WEIGHTS,
        folder / GENERATOR_WEIGHTS,
        (digests.get("tokenizer"), digests.get("generator")),
        follow=False,
    )
    try:
        return build_run(config, images, registry, weights)
    except UserError as error:
        raise (
            error if str(error).startswith(str(folder)) else UserError(f"{path}: {error}")
        ) from None
