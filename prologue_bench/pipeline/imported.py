"""Checkpoints from elsewhere as artifacts of the store, found by the name of their import."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from torch import nn

from prologue_bench import __version__
from prologue_bench.config.experiments import Resolved
from prologue_bench.contracts.images import ImageSpec
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.stage_kinds import IMPORTED_GENERATOR, IMPORTED_TOKENIZER
from prologue_bench.errors import UserError, nearest
from prologue_bench.pipeline.models import GENERATOR_WEIGHTS, TOKENIZER_WEIGHTS
from prologue_bench.pipeline.stages import KEY_LENGTH, component_key
from prologue_bench.storage.artifacts import Artifact
from prologue_bench.storage.files import checksum
from prologue_bench.storage.leftovers import remove_entry
from prologue_bench.storage.names import named_path
from prologue_bench.storage.store import Store
from prologue_bench.storage.weights import save_weights

Part = Literal["tokenizer", "generator"]
KINDS: Mapping[Part, str] = {"tokenizer": IMPORTED_TOKENIZER, "generator": IMPORTED_GENERATOR}
WEIGHTS: Mapping[Part, str] = {"tokenizer": TOKENIZER_WEIGHTS, "generator": GENERATOR_WEIGHTS}


def tokenizer_fits(images: ImageSpec) -> dict[str, Any]:
    """What images a tokenizer is for."""
    return {"images": list(images.shape), "labels": images.labels}


def generator_fits(layout: TokenLayout, labels: int) -> dict[str, Any]:
    """What tokens a generator is for."""
    return {
        "layout": [
            [
                *(segment.name, segment.length, segment.vocabulary),
                *([segment.codebooks] if segment.codebooks > 1 else []),
            ]
            for segment in layout
        ],
        "labels": labels,
    }


def add_imported(
    store: Store,
    part: Part,
    name: str,
    resolved: Resolved,
    fits: Mapping[str, Any],
    module: nn.Module,
    source: Mapping[str, Any],
) -> Artifact:
    """Make a model with loaded weights an artifact; the same weights give the same key.

    Raises UserError when the name stands for other weights, or is none.
    """
    named_path(store.root / "work", name, "--name")
    work = f"import-{part}-{name}"
    with store.lock(work):
        remove_entry(store.work(work))
        output = store.begin(work) / "output"
        weights = output / WEIGHTS[part]
        save_weights(module, weights)
        component = component_key(resolved)
        text = json.dumps([part, component, fits, checksum(weights)], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]
        for other in _imported(store, part):
            if other.get("name") == name and other["key"] != key:
                remove_entry(store.work(work))
                raise UserError(
                    f"{part} {name!r} was imported before with other weights, as "
                    f"{store.artifact(other['key'])}; give this one a name of its own with --name, "
                    "or remove that folder"
                )
        details = {
            "kind": KINDS[part],
            "name": name,
            "component": component,
            "fits": dict(fits),
            "source": dict(source),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "software": {"prologue-bench": __version__},
            "seconds": None,  # nor is anything known of its FLOPs
        }
        with store.lock(key):
            artifact = store.commit(key, output, details)
        remove_entry(store.work(work))
        return artifact


def find_imported(
    store: Store, part: Part, name: str, resolved: Resolved, fits: Mapping[str, Any]
) -> str:
    """The key of the artifact of that name.

    Raises UserError when there is none, or when it has other settings, or is for other images or
    tokens.
    """
    found = {str(manifest.get("name")): manifest for manifest in _imported(store, part)}
    if name not in found:
        names = sorted(found)
        known = nearest(name, names) if names else "none is there"
        raise UserError(
            f"{part}_training.imported: no imported {part} {name!r} in {store.root}; {known}. "
            f"Import it with: prologue-bench import-checkpoint DIR --preset {name} --out "
            f"{store.root}"
        )
    for_these = found[name].get("fits", {})  # a released tokenizer is for any that it can take
    expected = {
        **component_key(resolved),
        **{key: value for key, value in fits.items() if key in for_these or part == "generator"},
    }
    imported = {**found[name].get("component", {}), **for_these}
    if imported != expected:
        raise UserError(
            f"{part}_training.imported: {name!r} is a {part} with other settings than the "
            f"experiment's; found {_difference(imported, expected)}"
        )
    return str(found[name]["key"])


def _imported(store: Store, part: Part) -> Iterator[Mapping[str, Any]]:
    return (manifest for manifest in store.manifests() if manifest.get("kind") == KINDS[part])


def _difference(found: Any, expected: Any, path: str = "") -> str:
    """The first place where two nested values differ."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for name in sorted({*found, *expected}):
            if found.get(name) != expected.get(name):
                return _difference(
                    found.get(name), expected.get(name), f"{path}.{name}" if path else name
                )
    absent = "its default"
    return (
        f"{path} = {absent if found is None else found}, expected "
        f"{absent if expected is None else expected}"
    )
