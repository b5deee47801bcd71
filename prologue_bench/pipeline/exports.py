"""The models of one finished run as a folder that needs no store: weights, and a description to build them from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from prologue_bench.errors import UserError
from prologue_bench.files import write_text
from prologue_bench.interfaces import ImageSpec
from prologue_bench.pipeline.finished import FinishedRun, build_run, describe_run, find_run
from prologue_bench.pipeline.models import GENERATOR_WEIGHTS, TOKENIZER_WEIGHTS, load_weights, save_weights
from prologue_bench.provenance import own_name, source_of
from prologue_bench.registry import Registry

CONFIG = "config.json"
FORMAT = 1


def export_run(run: FinishedRun, results: Mapping[str, Any], folder: Path, registry: Registry) -> dict[str, Any]:
    """Write the run's weights and config.json, and return what is in the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    description = describe_run(results, run.variant, run.seed)
    source = source_of(results, run.variant)
    record = find_run(results, run.variant, run.seed)
    config = {
        "format": FORMAT,
        **description,
        "variant": own_name(results, run.variant),
        "versions": {
            kind: registry.find(kind, description[kind]["use"]).version for kind in ("tokenizer", "generator")
        },
        "images": attrs.asdict(run.images),
        "ablation": {name: source[name] for name in ("name", "title", "created")},
        "data": source["data"],
        "measurements": record["measurements"],
        "stages": record["stages"],
        "software": source["software"],
    }
    save_weights(run.tokenizer, folder / TOKENIZER_WEIGHTS)
    save_weights(run.generator, folder / GENERATOR_WEIGHTS)
    write_text(folder / CONFIG, json.dumps(config, indent=1) + "\n")
    return config


def is_export(folder: Path) -> bool:
    """Whether `export_run` wrote the folder."""
    return (folder / CONFIG).is_file() and (folder / TOKENIZER_WEIGHTS).is_file()


def load_export(folder: Path, registry: Registry | None = None) -> FinishedRun:
    """The models of a folder that `prologue-bench export` wrote.

    Raises UserError when it is no such folder, or a component is missing here or of another version.
    """
    registry = registry or Registry.load()
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{path}: found no description, expected a folder written by 'prologue-bench export'") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise UserError(f"{path}: found another format, expected {FORMAT}; export the run again")
    for kind in ("tokenizer", "generator"):
        name, expected = config[kind]["use"], config["versions"][kind]
        found = registry.find(kind, name).version
        if found != expected:
            raise UserError(
                f"{path}: {kind} {name!r} has version {found} here and {expected} in the export; its results would "
                "differ. Install the version of the package that made it, or export the run again"
            )
    images = ImageSpec(**{**config["images"], "class_names": tuple(config["images"]["class_names"])})
    run = build_run(config, images, registry)
    load_weights(run.tokenizer, folder / TOKENIZER_WEIGHTS)
    load_weights(run.generator, folder / GENERATOR_WEIGHTS)
    return run
