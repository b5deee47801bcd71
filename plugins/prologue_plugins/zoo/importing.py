"""Released files of published models as artifacts of the store."""

from __future__ import annotations

from typing import get_args

from attrs import frozen

from prologue_bench.config.experiments import Resolved
from prologue_bench.config.presets import find_preset
from prologue_bench.config.resolving import resolve_alone
from prologue_bench.errors import UserError
from prologue_bench.pipeline.imported import Part, add_imported, generator_fits
from prologue_bench.pipeline.models import count_parameters
from prologue_bench.registry import Registry
from prologue_bench.storage.files import checksum
from prologue_bench.storage.store import Store
from prologue_plugins.importing import Import, Weights
from prologue_plugins.zoo.base import ZooTokenizer
from prologue_plugins.zoo.generating import ZooGenerator
from prologue_plugins.zoo.hub import SCHEME, HubFile
from prologue_plugins.zoo.reading import read_state, released_file


@frozen
class Published:
    """A preset of a model that others published."""

    part: Part
    resolved: Resolved


def published(name: str, registry: Registry) -> Published | None:
    """The preset of that name; None where it is none of a published model that is known here."""
    for part in get_args(Part):
        preset = find_preset(part, name, registry)
        if preset is not None and preset.release is not None:
            resolved = resolve_alone(part, name, {}, None, registry)
            if issubclass(resolved.component.load(), ZooTokenizer | ZooGenerator):
                return Published(part, resolved)
    return None


def import_released(
    checkpoint: str, preset: Published, name: str, store: Store, weights: Weights | None = None
) -> Import:
    """Import the released file at a path or on the hub; `name` is what settings then call it by.

    `weights` picks the moving average or the raw weights where a file has both; None is what the
    preset prefers. Raises UserError where the file does not fit, and MissingDataError where it is
    not to be had.
    """
    if checkpoint.startswith(SCHEME):
        try:
            HubFile.parse(checkpoint)
        except ValueError as error:
            raise UserError(f"{checkpoint}: {error}") from None
    path = released_file(checkpoint)
    assert path is not None  # as a command may fetch
    settings = preset.resolved.settings
    average = getattr(settings, "average", None) if weights is None else bool(weights == "average")
    family = preset.resolved.component.load()
    model = family.holding(settings, read_state(path, average), str(path))
    fits = {}  # a tokenizer is for any images that its settings allow
    if isinstance(model, ZooGenerator):
        fits = generator_fits(model.layout, model.classes + 1)
    source = {
        "files": {path.name: checksum(path)},
        "weights": weights or "as the preset prefers",
        **({"hub": checkpoint} if checkpoint.startswith(SCHEME) else {}),
    }
    artifact = add_imported(store, preset.part, name, preset.resolved, fits, model, source)
    return Import(
        part=preset.part,
        name=name,
        files=(path,),
        parameters=count_parameters(model),
        artifact=artifact,
    )
