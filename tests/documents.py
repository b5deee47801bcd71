"""Documents that are whole, with little in them."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prologue_bench.results.documents import results_file
from prologue_bench.results.loading import load_results
from prologue_bench.results.plain import plain, record
from prologue_bench.results.schema import Results

DATA = {
    "name": "shapes",
    "settings": {},
    "fingerprint": "f",
    "train": 8,
    "test": 4,
    "shape": [3, 14, 14],
    "classes": ["circle", "square"],
    "notes": [],
    "card": {},
}
SETTINGS = {
    "tokenizer": {"use": "vq-2d"},
    "tokenizer_training": {},
    "generator": {"use": "ar"},
    "generator_training": {},
    "sampling": {},
}
VARIANT = {
    "values": {},
    "layout": [{"name": "visual", "length": 4, "vocabulary": 8, "grid": [2, 2]}],
    "settings": SETTINGS,
}
RUN = {
    "sampling_seed": 0,
    "failures": {},
    "unfinished": False,
    "measurements": [],
    "stages": [],
    "curves": {},
}
MEASUREMENT = {
    "name": "m",
    "title": "m",
    "value": 1.0,
    "unit": "",
    "direction": "lower",
    "count": 1,
    "protocol": {"name": "p", "details": {}},
    "detail": False,
}
STAGE = {
    "stage": "sample",
    "key": "k",
    "seconds": 1.0,
    "flops": 1e9,
    "finished": "2026-01-02T00:00:00",
    "machine": "cpu",
    "git": "abc",
}
RESULTS = {
    "schema": 1,
    "name": "study",
    "title": "A study",
    "description": "",
    "profile": "smoke",
    "baseline": None,
    "seeds": [0],
    "sampling_seeds": [0],
    "varied": [],
    "created": "2026-01-02T00:00:00",
    "data": DATA,
    "components": [],
    "references": [],
    "software": {"git": "abc"},
    "hardware": {"machine": "cpu", "processor": "cpu", "system": "Linux"},
}


SEGMENT = {"vocabulary": 8, "grid": None}


def results_of(document: Mapping[str, Any]) -> Results:
    """Results as records, with what is missing put in."""
    return record(whole(document), Results)


def loaded(path: Path) -> dict[str, Any]:
    """Results as they are read, as a document that can be changed."""
    document: dict[str, Any] = json.loads(_text(path, results_file(path).stat().st_mtime_ns))
    return document


@functools.cache
def _text(path: Path, changed_at: int) -> str:
    """Published results are read by many tests, and checking them takes longer than decoding."""
    return json.dumps(plain(load_results(path)))


def in_short(document: dict[str, Any]) -> dict[str, Any]:
    """Results without what a page draws most of its plots from: curves, and details of metrics."""
    runs = [
        {
            **run,
            "curves": {},
            "measurements": [each for each in run["measurements"] if not each["detail"]],
        }
        for run in document["runs"]
    ]
    return {**document, "runs": runs}


def whole(results: Mapping[str, Any]) -> dict[str, Any]:
    """Results with what is missing put in, and the variants of their runs."""
    names = dict.fromkeys(run["variant"] for run in results["runs"])
    variants = results.get("variants", [{"name": name} for name in names])
    return {
        **RESULTS,
        **results,
        "runs": list(map(_run, results["runs"])),
        "variants": list(map(_variant, variants)),
    }


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **RUN,
        **run,
        "stages": [{**STAGE, **stage} for stage in run.get("stages", [])],
        "measurements": [{**MEASUREMENT, **each} for each in run.get("measurements", [])],
    }


def _variant(variant: Mapping[str, Any]) -> dict[str, Any]:
    settings = {**SETTINGS, **variant.get("settings", {})}
    layout = [{**SEGMENT, **segment} for segment in variant.get("layout", VARIANT["layout"])]
    return {**VARIANT, **variant, "settings": settings, "layout": layout}
