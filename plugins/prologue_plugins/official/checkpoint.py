"""Released checkpoints as artifacts: which file is what, and which preset it fits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch
from attrs import frozen

from prologue_bench.config.experiments import Resolved
from prologue_bench.config.presets import Preset, find_preset
from prologue_bench.config.structure import structure
from prologue_bench.contracts import Generator, ImageSpec, Tokenizer, TokenLayout
from prologue_bench.errors import UserError, nearest
from prologue_bench.notices import notice
from prologue_bench.pipeline.imported import add_imported, generator_fits, tokenizer_fits
from prologue_bench.pipeline.models import build_generator, build_tokenizer, count_parameters
from prologue_bench.registry import Kind, Registry
from prologue_bench.storage.files import checksum
from prologue_bench.storage.store import Store
from prologue_bench.storage.weights import Shapes, check_shapes
from prologue_plugins.importing import Import, Weights, check_parts
from prologue_plugins.official.files import PICKLES, read_shapes, read_tensors
from prologue_plugins.official.names import Part, load_official, official_shapes

IMAGENET = ImageSpec(
    channels=3, height=256, width=256, class_names=tuple(str(index) for index in range(1000))
)
"""What the released models were trained on; names of classes do not matter here."""

_MARKS: dict[Part, str] = {"encoder": "enc.", "decoder": "dec.", "ar": "ar_model."}


@frozen
class PartFile:
    """A safetensors file with the part of a model that its names show, and its shapes."""

    path: Path
    part: Part
    shapes: Shapes

    @property
    def number(self) -> int:
        """N of model_N.safetensors, 0 of model.safetensors.

        Moving averages have higher numbers than raw weights.
        """
        found = re.search(r"_(\d+)$", self.path.stem)
        return int(found[1]) if found else 0


@frozen(kw_only=True)
class Importer:
    """Imports the checkpoint in a folder; `name` is what settings then call it by.

    `weights` picks the moving average or the raw weights; None is what the published results are
    of.
    """

    folder: Path
    name: str
    store: Store
    registry: Registry
    weights: Weights | None = None

    def run(self, preset_name: str, parts: tuple[str, ...] = ()) -> Iterator[Import]:
        """Import what a preset stands for.

        That is a generator, or a tokenizer with its joint generator where it has one. Raises
        UserError when the preset is unknown, has no such part, or does not fit the files.
        """
        tokenizer, generator = (
            find_preset(kind, preset_name, self.registry) for kind in ("tokenizer", "generator")
        )
        if tokenizer is None and generator is None:
            known = [*self.registry.cards("tokenizers"), *self.registry.cards("generators")]
            raise UserError(
                f"--preset {preset_name}: unknown preset; {nearest(preset_name, known)}"
            )
        if tokenizer is not None and "generator" in tokenizer.checkpoint:
            generator = find_preset("generator", tokenizer.checkpoint["generator"], self.registry)
        has = {"tokenizer": tokenizer, "generator": generator}
        check_parts(parts, preset_name, [name for name, preset in has.items() if preset])
        files = list(find_parts(self.folder))
        if tokenizer is not None and (not parts or "tokenizer" in parts):
            yield self._tokenizer(files, tokenizer)
        if generator is not None and (not parts or "generator" in parts):
            yield self._generator(files, generator)

    def _tokenizer(self, files: list[PartFile], preset: Preset) -> Import:
        resolved = _resolve("tokenizer", preset, self.registry)
        with torch.device("meta"):
            shapes = official_shapes(build_tokenizer(resolved, IMAGENET), IMAGENET.labels)
        weights: Weights = self.weights or preset.checkpoint.get("tokenizer_weights", "average")
        kinds: tuple[Part, ...] = ("encoder", "decoder")
        fitting = {part: self._fitting(files, part, shapes[part]) for part in kinds}
        model = build_tokenizer(resolved, IMAGENET)
        return self._add("tokenizer", resolved, tokenizer_fits(IMAGENET), model, fitting, weights)

    def _generator(self, files: list[PartFile], preset: Preset) -> Import:
        resolved = _resolve("generator", preset, self.registry)
        layout = self._layout(files)
        with torch.device("meta"):
            shapes = official_shapes(
                build_generator(resolved, layout, IMAGENET.labels), IMAGENET.labels
            )
        weights: Weights = self.weights or preset.checkpoint.get("generator_weights", "raw")
        fitting: dict[Part, list[PartFile]] = {"ar": self._fitting(files, "ar", shapes["ar"])}
        model = build_generator(resolved, layout, IMAGENET.labels)
        return self._add(
            "generator", resolved, generator_fits(layout, IMAGENET.labels), model, fitting, weights
        )

    def _layout(self, files: list[PartFile]) -> TokenLayout:
        """The layout of a tokenizer preset whose vocabulary fits the checkpoint's embedding."""
        rows = {
            file.shapes["semantic_emb.weight"][0]
            for file in files
            if file.shapes.get("semantic_emb.weight")
        }
        if not rows:
            raise UserError(
                f"{self.folder}: no file has an autoregressive model (semantic_emb.weight); "
                "expected one"
            )
        layouts = _layouts_by_vocabulary(self.registry)
        if not rows & layouts.keys():
            sizes = ", ".join(str(size) for size in sorted(layouts))
            raise UserError(
                f"{self.folder}: an autoregressive model over {min(rows)} tokens fits no tokenizer "
                f"preset; known sizes: {sizes}"
            )
        return layouts[min(rows & layouts.keys())]

    def _fitting(self, files: list[PartFile], part: Part, wanted: Shapes) -> list[PartFile]:
        """The files with a part in its shapes, one at least."""
        of_part = [file for file in files if file.part == part]
        if not of_part:
            raise UserError(
                f"{self.folder}: no file has the {part}'s weights ({_MARKS[part]}...); expected one"
            )
        fitting = [file for file in of_part if file.shapes == wanted]
        if not fitting:
            closest = max(of_part, key=lambda file: len(file.shapes.items() & wanted.items()))
            check_shapes(wanted, closest.shapes, str(closest.path))
        return fitting

    def _add(
        self,
        part: Literal["tokenizer", "generator"],
        resolved: Resolved,
        fits: Mapping[str, object],
        model: Tokenizer | Generator,
        fitting: Mapping[Part, list[PartFile]],
        weights: Weights,
    ) -> Import:
        """Take of each part the file with the weights that are wanted.

        That with the highest number is the moving average, with the lowest the raw weights.
        """
        choose = max if weights == "average" else min
        chosen = {
            kind: choose(files, key=lambda file: file.number) for kind, files in fitting.items()
        }
        alone = [chosen[kind].path for kind, files in fitting.items() if len(files) == 1]
        if alone and weights == "average":
            names = " and ".join(str(path) for path in alone)
            notice(
                f"{names}: found no other file with the same part, so no moving average beside raw "
                "weights; these only weights are taken"
            )
        load_official(
            model, {kind: read_tensors(file.path) for kind, file in chosen.items()}, IMAGENET.labels
        )
        files = [file.path for file in chosen.values()]
        source = {
            "files": {path.name: checksum(path) for path in files},
            "weights": "the only ones" if alone else weights,  # a lone file does not say which
        }
        artifact = add_imported(self.store, part, self.name, resolved, fits, model, source)
        parameters = count_parameters(model)
        return Import(
            part=part, name=self.name, files=tuple(files), parameters=parameters, artifact=artifact
        )


def find_parts(folder: Path) -> Iterator[PartFile]:
    """The safetensors files of a folder by what is in them. Raises UserError when there is none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        pickles = [path.name for path in sorted(folder.iterdir()) if path.suffix in PICKLES]
        found = (
            f"found {', '.join(pickles[:3])}, pickles, which are never loaded"
            if pickles
            else "found none"
        )
        raise UserError(f"{folder}: {found}; expected safetensors files such as model.safetensors")
    for path in paths:
        shapes = read_shapes(path)
        for part, mark in _MARKS.items():
            if any(name.startswith(mark) for name in shapes):
                yield PartFile(path, part, shapes)


def _layouts_by_vocabulary(registry: Registry) -> dict[int, TokenLayout]:
    """A token layout for each size of autoregressive vocabulary that a tokenizer preset gives.

    Presets of other publications are left out: the paper's generators were not trained on them.
    """
    found: dict[int, TokenLayout] = {}
    for name in registry.cards("tokenizers"):
        preset = find_preset("tokenizer", name, registry)
        assert preset is not None
        if preset.release is not None:
            continue
        try:
            with torch.device("meta"):
                layout = build_tokenizer(_resolve("tokenizer", preset, registry), IMAGENET).layout
        except UserError:  # a preset for other images
            continue
        size = sum(segment.vocabulary for segment in layout) + (len(layout.segments) > 1)
        found.setdefault(size, layout)
    return found


def _resolve(kind: Kind, preset: Preset, registry: Registry) -> Resolved:
    component = registry.find(kind, preset.use)
    return Resolved(
        component, structure(component.load_settings(), preset.settings, f"preset {preset.name}")
    )
