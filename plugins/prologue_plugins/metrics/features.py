"""Features of images, extracted once for each set of images and shared by all metrics and runs.

torch-fidelity is imported where it is used: planning asks for metrics only to know what they need.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prologue_bench.contracts import ImageArray, MetricInputs, PlannedInputs, describe_choice
from prologue_bench.errors import MissingDataError, StageError, UserError, nearest
from prologue_bench.storage.checksums import fingerprint
from prologue_bench.storage.files import fetch_problem
from prologue_bench.storage.kept import find_kept, keep
from prologue_plugins.metrics.extractors import (
    EXTRACTORS,
    INCEPTION_NAME,
    check_channels,
    register,
    weights_of,
)
from prologue_plugins.metrics.settings import INCEPTION, FeatureSettings, extractor_weights

BATCH = 50
KIND, FILE = "features", "features.npy"
"""How they are kept."""
INCEPTION_URL = (
    f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION.name}"
)
"""Where torch-fidelity fetches it from."""
Advance = Callable[[int, int], None]


def load_features(
    images: ImageArray | Callable[[], ImageArray],
    settings: FeatureSettings,
    inputs: MetricInputs,
    known: str = "",
) -> NDArray[Any]:
    """Features float32 [N, F], from the cache where the same images were seen before.

    `known` is a text that stands for the content of the images, such as one of
    `MetricInputs.known`, with what tells a part from the whole. With it, images in the cache are
    not looked at, and a function that reads them not called.
    """
    if not known:
        images = images() if callable(images) else images
        known = _content(images)
    layer = f" {settings.layer}" if settings.layer else ""
    text = f"{known} {settings.extractor} {settings.resize} {weights_identity(settings)}{layer}"
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    if (cached := _read(inputs.cache, key)) is not None:
        return cached
    images = images() if callable(images) else images
    features = extract_features(images, settings, inputs.device, inputs.advance)
    keep(
        inputs.cache,
        KIND,
        key,
        lambda folder: np.save(folder / FILE, features),
        f"{len(images)} images",
    )
    return features


def _content(images: ImageArray) -> str:
    seen = hashlib.sha256()
    for start in range(0, len(images), BATCH):
        seen.update(np.ascontiguousarray(images[start : start + BATCH]).tobytes())
    return seen.hexdigest()


def _read(cache: Path, key: str) -> NDArray[Any] | None:
    """Features that were kept; None where there are none, or they are damaged."""
    try:
        kept = find_kept(cache, KIND, key)
        array: NDArray[Any] | None = None if kept is None else np.load(kept / FILE)
    except (OSError, ValueError):  # removed meanwhile
        return None
    return array


def part_of(known: str, chosen: NDArray[np.int64]) -> str:
    """What stands for the chosen ones of images whose content is known; empty for others."""
    return f"{hashlib.sha256(chosen.tobytes()).hexdigest()} of {known}" if known else ""


def extract_features(
    images: ImageArray, settings: FeatureSettings, device: torch.device, advance: Advance
) -> NDArray[Any]:
    """Features float32 [N, F] of uint8 images [N, C, H, W]; one channel is repeated to three."""
    from torch_fidelity.utils import create_feature_extractor

    register(settings.extractor)
    layer = settings.layer or EXTRACTORS[settings.extractor].usual_layer
    ours = settings.extractor != INCEPTION_NAME
    where = (
        ""
        if ours
        else f"; put {INCEPTION.name} into {torch.hub.get_dir()}/checkpoints or set weights"
    )
    try:
        options: dict[str, Any] = {"resize": settings.resize}
        if not ours:
            options = {"feature_extractor_weights_path": inception_weights(settings)}
        extractor = create_feature_extractor(
            settings.extractor, [layer], cuda=device.type == "cuda", verbose=False, **options
        )
    except Exception as error:
        raise StageError(
            f"feature extractor {settings.extractor!r} cannot be made: {_line(error)}{where}"
        ) from None
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(np.array(images[start : start + BATCH]))
            batch = batch.expand(-1, 3, -1, -1) if batch.shape[1] == 1 else batch
            parts.append(extractor(batch.to(device))[0].float().cpu().numpy())
            advance(start + len(batch), len(images))
    return np.concatenate(parts)


def check_features(settings: FeatureSettings, planned: PlannedInputs) -> int:
    """The number of features, F, once it is known that they can be had.

    Raises UserError where they cannot. Weights are looked for and not loaded; where torch-fidelity
    has to fetch them, it is asked whether they are there.
    """
    extractor = EXTRACTORS[settings.extractor]
    check_channels(settings.extractor, planned.data.spec.channels, "extractor")
    layer = settings.layer or extractor.usual_layer
    if layer not in extractor.layers:
        raise UserError(
            f"layer: {settings.extractor} has no layer {layer!r}; "
            f"{nearest(layer, extractor.layers)}"
        )
    if settings.extractor == INCEPTION_NAME:
        _check_inception(settings)
    return extractor.layers[layer]


def refuse(what: str, problem: str) -> None:
    """Raises UserError where there is a problem."""
    if problem:
        raise UserError(f"{what}: {problem}")


def _check_inception(settings: FeatureSettings) -> None:
    try:
        file = INCEPTION.path(settings.weights)
    except UserError as error:
        raise UserError(f"inception-v3-compat: {error}") from None
    if not file.is_file():
        if problem := fetch_problem(INCEPTION_URL):
            raise MissingDataError(
                f"inception-v3-compat: its weights {INCEPTION.name} are not at {file} and cannot "
                f"be fetched ({problem}); put {INCEPTION_URL} there, "
                "or name the file in its setting 'weights'"
            )
        return
    try:
        found = torch.load(file, map_location="meta", weights_only=True)
    except Exception as error:
        raise UserError(
            f"inception-v3-compat: {file} cannot be read as weights: {_line(error)}"
        ) from None
    if not isinstance(found, dict) or "fc.weight" not in found:
        raise UserError(
            f"inception-v3-compat: {file} does not hold torch-fidelity's {INCEPTION.name}"
        )


def inception_weights(settings: FeatureSettings) -> io.BytesIO:
    """Inception's weights, fetched where they are missing, as a file of nothing but tensors.

    torch-fidelity loads whatever a file holds, so that it gets one that is written here.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    file = INCEPTION.fetch(URL_INCEPTION_V3, settings.weights)
    written = io.BytesIO()
    torch.save(torch.load(file, map_location="cpu", weights_only=True), written)
    written.seek(0)
    return written


def weights_identity(settings: FeatureSettings) -> str:
    """What stands for the extractor's weights and code, also before they are fetched."""
    weights = extractor_weights(settings, settings.weights)
    version = EXTRACTORS[settings.extractor].version
    return f"{weights} v{version}" if version else weights


def weights_checksum(settings: FeatureSettings) -> str:
    """First 16 digits of the SHA-256 of the extractor's weights, or that they must be fetched."""
    if settings.extractor != INCEPTION_NAME:
        return fingerprint(weights_of(settings.extractor))
    file = INCEPTION.path(settings.weights)
    return fingerprint(file) if file.is_file() else "to be fetched"


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def extractor_details(
    settings: FeatureSettings, usual_layer: str = ""
) -> dict[str, str | int | float | bool | None]:
    """What a protocol says about the extractor, with the layer if it is not the usual one."""
    extractor = EXTRACTORS[settings.extractor]
    layer = settings.layer or extractor.usual_layer
    return {
        "extractor": settings.extractor,
        "weights": weights_checksum(settings),
        "resize": settings.resize if extractor.size is None else extractor.size,
        **({} if layer == (usual_layer or extractor.usual_layer) else {"layer": layer}),
    }


def sampling_details(inputs: MetricInputs) -> dict[str, str | int | float | bool | None]:
    """What a protocol says about the sampling settings."""
    return {f"sampling.{name}": value for name, value in inputs.sampling.items()}


def chosen_samples(count: int, whole: int) -> dict[str, str]:
    """What a protocol says about a choice among a set's images; nothing if all are measured."""
    return {} if count >= whole else {"chosen": describe_choice(count, whole)}


def sampling_note(inputs: MetricInputs, count: int) -> list[str]:
    """Whether this number of samples is not equally many of every class."""
    classes = max(1, len(inputs.data.spec.class_names))
    labels = inputs.sample_labels
    chosen = labels if count >= len(labels) else labels[inputs.sample_subset(count)]
    counts = np.bincount(chosen, minlength=classes)
    least, most = int(counts.min()), int(counts.max())
    if not least:
        return [f"samples of {np.count_nonzero(counts)} of the {classes} classes only"]
    if most - least == 1:
        return [f"{count} samples of {classes} classes: some classes have one more"]
    return [f"from {least} to {most} samples of each class"] if most > least else []


UNLIKE = 0.05
"""The share of samples of the wrong class above which numbers say so."""


def shares_note(inputs: MetricInputs) -> list[str]:
    """Whether samples, drawn for the classes in turn, have other shares of them than test images.

    What then differs in shares alone counts as distance, however good the samples are.
    """
    classes = max(1, len(inputs.data.spec.class_names))
    found, wanted = (
        np.bincount(labels, minlength=classes) / len(labels)
        for labels in (inputs.sample_labels, inputs.data.labels("test"))
    )
    wrong = float(np.abs(found - wanted).sum()) / 2
    if wrong <= UNLIKE:
        return []
    return [
        f"classes equally often, where test images would have {100 * wrong:.0f}% of the samples "
        "be of other classes"
    ]
