"""Released checkpoints as artifacts: which file is what, and which preset it fits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch
from attrs import frozen
from torch import Tensor

from prologue_bench.errors import UserError, nearest
from prologue_bench.interfaces import Generator, ImageSpec, Tokenizer
from prologue_bench.pipeline.imports import add_imported
from prologue_bench.pipeline.models import build_generator, build_tokenizer
from prologue_bench.pipeline.store import Artifact, Store, checksum
from prologue_bench.registry import Kind, Registry
from prologue_bench.spec.ablation import Resolved
from prologue_bench.spec.presets import Preset, find_preset
from prologue_bench.spec.structure import structure
from prologue_official.files import PICKLES, read_shapes, read_tensors
from prologue_official.names import Part, Shapes, check_shapes, load_official, official_shapes

IMAGENET = ImageSpec(channels=3, height=256, width=256, class_names=tuple(str(index) for index in range(1000)))
"""What the released models were trained on; names of classes do not matter here."""

Weights = Literal["average", "raw"]
_MARKS: dict[Part, str] = {"encoder": "enc.", "decoder": "dec.", "ar": "ar_model."}


@frozen
class PartFile:
    """A safetensors file with the part of a model that its names show, and its shapes."""

    path: Path
    part: Part
    shapes: Shapes

    @property
    def number(self) -> int:
        """N of model_N.safetensors, 0 of model.safetensors; moving averages have higher numbers than raw weights."""
        found = re.search(r"_(\d+)$", self.path.stem)
        return int(found[1]) if found else 0


@frozen
class Import:
    """What an import did."""

    part: str
    preset: str
    files: tuple[Path, ...]
    parameters: int
    artifact: Artifact


def import_presets(
    folder: Path,
    preset_name: str,
    parts: tuple[str, ...],
    weights: Weights | None,
    store: Store,
    registry: Registry,
) -> Iterator[Import]:
    """Import what the preset stands for: a generator, or a tokenizer, with its joint generator where it has one."""
    tokenizer, generator = (find_preset(kind, preset_name, registry) for kind in ("tokenizer", "generator"))
    known = [*registry.cards("tokenizers"), *registry.cards("generators")]
    if tokenizer is None and generator is None:
        raise UserError(f"--preset {preset_name}: unknown preset; {nearest(preset_name, known)}")
    if tokenizer is not None and "generator" in tokenizer.checkpoint:
        generator = find_preset("generator", tokenizer.checkpoint["generator"], registry)
    chosen = {"tokenizer": tokenizer, "generator": generator}
    for part in parts:
        if chosen.get(part) is None:
            offered = [name for name, preset in chosen.items() if preset]
            raise UserError(f"--part {part}: preset {preset_name!r} has no {part}; expected {' or '.join(offered)}")
    files = list(find_parts(folder))
    if tokenizer is not None and (not parts or "tokenizer" in parts):
        yield _import_tokenizer(folder, files, tokenizer, weights, store, registry)
    if generator is not None and (not parts or "generator" in parts):
        yield _import_generator(folder, files, generator, preset_name, weights, store, registry)


def find_parts(folder: Path) -> Iterator[PartFile]:
    """The safetensors files of a folder by what is in them. Raises UserError when there is none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        pickles = [path.name for path in sorted(folder.iterdir()) if path.suffix in PICKLES]
        found = f"found {', '.join(pickles[:3])}, pickles, which are never loaded" if pickles else "found none"
        raise UserError(f"{folder}: {found}; expected safetensors files such as model.safetensors")
    for path in paths:
        shapes = read_shapes(path)
        for part, mark in _MARKS.items():
            if any(name.startswith(mark) for name in shapes):
                yield PartFile(path, part, shapes)


def _import_tokenizer(
    folder: Path, files: list[PartFile], preset: Preset, weights: Weights | None, store: Store, registry: Registry
) -> Import:
    resolved = _resolve("tokenizer", preset, registry)
    with torch.device("meta"):
        model: Tokenizer = build_tokenizer(resolved, IMAGENET)
    wanted = official_shapes(model, IMAGENET.labels)
    kind: Weights = weights or preset.checkpoint.get("tokenizer_weights", "average")
    chosen = {part: _choose(folder, files, part, wanted[part], kind) for part in ("encoder", "decoder")}
    model = build_tokenizer(resolved, IMAGENET)
    return _add("tokenizer", preset.name, resolved, model, chosen, kind, store)


def _import_generator(
    folder: Path,
    files: list[PartFile],
    preset: Preset,
    name: str,
    weights: Weights | None,
    store: Store,
    registry: Registry,
) -> Import:
    resolved = _resolve("generator", preset, registry)
    rows = {file.shapes["semantic_emb.weight"][0] for file in files if "semantic_emb.weight" in file.shapes}
    if not rows:
        raise UserError(f"{folder}: no file has an autoregressive model (semantic_emb.weight); expected one")
    tokenizers = _tokenizers_by_vocabulary(resolved, registry)
    if not rows & tokenizers.keys():
        raise UserError(
            f"{folder}: an autoregressive model over {min(rows)} tokens fits no tokenizer preset; "
            f"known sizes: {', '.join(str(size) for size in sorted(tokenizers))}"
        )
    tokenizer = tokenizers[min(rows & tokenizers.keys())]
    with torch.device("meta"):
        model: Generator = build_generator(resolved, tokenizer.layout, IMAGENET.labels)
    kind: Weights = weights or preset.checkpoint.get("generator_weights", "raw")
    chosen = {"ar": _choose(folder, files, "ar", official_shapes(model, IMAGENET.labels)["ar"], kind)}
    model = build_generator(resolved, tokenizer.layout, IMAGENET.labels)
    return _add("generator", name, resolved, model, chosen, kind, store)


def _tokenizers_by_vocabulary(generator: Resolved, registry: Registry) -> dict[int, Tokenizer]:
    """A tokenizer preset, without weights, for each size of the autoregressive vocabulary."""
    found: dict[int, Tokenizer] = {}
    for name in registry.cards("tokenizers"):
        preset = find_preset("tokenizer", name, registry)
        assert preset is not None
        try:
            with torch.device("meta"):
                tokenizer = build_tokenizer(_resolve("tokenizer", preset, registry), IMAGENET)
        except UserError:  # a preset for other images
            continue
        layout = tokenizer.layout
        size = sum(segment.vocabulary for segment in layout) + (len(layout.segments) > 1)
        found.setdefault(size, tokenizer)
    return found


def _resolve(kind: Kind, preset: Preset, registry: Registry) -> Resolved:
    component = registry.find(kind, preset.use)
    return Resolved(component, structure(component.load_settings(), preset.settings, f"preset {preset.name}"))


def _choose(folder: Path, files: list[PartFile], part: Part, wanted: Shapes, weights: Weights) -> PartFile:
    """The file of a part: that with the highest number is the moving average, with the lowest the raw weights."""
    of_part = [file for file in files if file.part == part]
    if not of_part:
        raise UserError(f"{folder}: no file has the {part}'s weights ({_MARKS[part]}...); expected one")
    fitting = [file for file in of_part if file.shapes == wanted]
    if not fitting:
        closest = max(of_part, key=lambda file: len(file.shapes.items() & wanted.items()))
        check_shapes(wanted, closest.shapes, str(closest.path))
    return (max if weights == "average" else min)(fitting, key=lambda file: file.number)


def _add(
    part: Literal["tokenizer", "generator"],
    name: str,
    resolved: Resolved,
    model: Tokenizer | Generator,
    chosen: Mapping[str, PartFile],
    weights: Weights,
    store: Store,
) -> Import:
    tensors: dict[str, Mapping[str, Tensor]] = {kind: read_tensors(file.path) for kind, file in chosen.items()}
    load_official(model, tensors, IMAGENET.labels)  # type: ignore[arg-type]
    source = {
        "files": {file.path.name: checksum(file.path) for file in chosen.values()},
        "weights": weights,
    }
    artifact = add_imported(store, part, name, resolved, model, source)
    return Import(
        part=part,
        preset=name,
        files=tuple(file.path for file in chosen.values()),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        artifact=artifact,
    )
