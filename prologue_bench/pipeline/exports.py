"""The models of one finished run as a folder that needs no store: weights, and a description to build them from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from prologue_bench.errors import UserError
from prologue_bench.files import checksum, write_text
from prologue_bench.interfaces import ImageSpec
from prologue_bench.pipeline.finished import FinishedRun, Weights, build_run, describe_run, find_run
from prologue_bench.pipeline.models import GENERATOR_WEIGHTS, TOKENIZER_WEIGHTS, save_weights
from prologue_bench.provenance import own_name, source_of
from prologue_bench.registry import Registry
from prologue_bench.results.documents import read_export
from prologue_bench.results.schema import EXPORT_FORMAT

CONFIG = "config.json"
FORMAT = EXPORT_FORMAT


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
    config["weights"] = {
        "tokenizer": checksum(folder / TOKENIZER_WEIGHTS),
        "generator": checksum(folder / GENERATOR_WEIGHTS),
    }
    write_text(folder / CONFIG, json.dumps(config, indent=1) + "\n")
    return config


def is_export(folder: Path) -> bool:
    """Whether a folder has something of an export, whole or not; results have nothing of that name."""
    return any(os.path.lexists(folder / name) for name in (CONFIG, TOKENIZER_WEIGHTS))


def load_export(folder: Path, registry: Registry | None = None) -> FinishedRun:
    """The models of a folder that `prologue-bench export` wrote.

    Raises UserError when it is no such folder, or a component is missing here or of another version.
    """
    registry = registry or Registry.load()
    path = folder / CONFIG
    config = read_export(path)
    for kind in ("tokenizer", "generator"):
        name, expected = config[kind]["use"], config["versions"][kind]
        found = registry.find(kind, name).version
        if found != expected:
            raise UserError(
                f"{path}: {kind} {name!r} has version {found} here and {expected} in the export; its results would "
                "differ. Install the version of the package that made it, or export the run again"
            )
    images = ImageSpec(**{**config["images"], "class_names": tuple(config["images"]["class_names"])})
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
        raise error if str(error).startswith(str(folder)) else UserError(f"{path}: {error}") from None
