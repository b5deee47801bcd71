"""Checkpoints from elsewhere as artifacts of the store, found by the name under which they were imported."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from torch import nn

from prologue_bench import __version__
from prologue_bench.errors import UserError, nearest
from prologue_bench.pipeline.models import save_weights
from prologue_bench.pipeline.stages import KEY_LENGTH, component_key
from prologue_bench.pipeline.store import Artifact, Store, checksum
from prologue_bench.spec.ablation import Resolved

Part = Literal["tokenizer", "generator"]


def add_imported(
    store: Store, part: Part, name: str, resolved: Resolved, module: nn.Module, source: Mapping[str, Any]
) -> Artifact:
    """Make a model with loaded weights an artifact; the same weights give the same key."""
    work = store.root / "work" / f"import-{part}-{name}"
    output = work / "output"
    shutil.rmtree(work, ignore_errors=True)
    output.mkdir(parents=True)
    weights = output / f"{part}.safetensors"
    save_weights(module, weights)
    component = component_key(resolved)
    text = json.dumps([part, component, checksum(weights)], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]
    details = {
        "kind": f"imported-{part}",
        "name": name,
        "component": component,
        "source": dict(source),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": {"prologue-bench": __version__},
        "seconds": 0.0,
    }
    with store.lock(key):
        artifact = store.commit(key, output, details)
    shutil.rmtree(work, ignore_errors=True)
    return artifact


def find_imported(store: Store, part: Part, name: str, resolved: Resolved) -> str:
    """The key of the newest artifact of that name.

    Raises UserError when there is none, or when it is of a component with other settings.
    """
    found = [manifest for manifest in store.manifests() if manifest.get("kind") == f"imported-{part}"]
    named = [manifest for manifest in found if manifest["name"] == name]
    if not named:
        names = sorted({str(manifest["name"]) for manifest in found})
        known = nearest(name, names) if names else "none is there"
        raise UserError(
            f"{part}_training.imported: no imported {part} {name!r} in {store.root}; {known}. "
            f"Import it with: prologue-bench import-checkpoint DIR --preset {name} --out {store.root}"
        )
    newest = max(named, key=lambda manifest: str(manifest["finished"]))
    expected, component = component_key(resolved), newest["component"]
    if component != expected:
        raise UserError(
            f"{part}_training.imported: {name!r} is a {part} with other settings than the experiment's; "
            f"found {_difference(component, expected)}"
        )
    return str(newest["key"])


def _difference(found: Any, expected: Any, path: str = "") -> str:
    """The first place where two nested values differ."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for name in sorted({*found, *expected}):
            if found.get(name) != expected.get(name):
                return _difference(found.get(name), expected.get(name), f"{path}.{name}" if path else name)
    absent = "its default"
    return f"{path} = {absent if found is None else found}, expected {absent if expected is None else expected}"
