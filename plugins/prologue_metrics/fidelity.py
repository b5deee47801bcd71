"""Fréchet distances, computed by torch-fidelity on features that are extracted once for each set of images.

torch-fidelity is imported where it is used: planning asks for this module only to know what the metrics need.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prologue_bench.errors import StageError
from prologue_bench.interfaces import ImageArray, Measurement, Metric, MetricInputs, Need, Protocol
from prologue_metrics.settings import FidSettings

BATCH = 50
LAYERS = {"efficientnet-lite0": "1280", "inception-v3-compat": "2048"}
Advance = Callable[[int, int], None]


def frechet_distance(first: NDArray[Any], second: NDArray[Any]) -> float:
    """torch-fidelity's distance of two sets of features [N, F], in float64."""
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(torch.from_numpy(part).double()) for part in (first, second)]
    return float(fid_statistics_to_metric(*statistics, False)[KEY_METRIC_FID])


class Fid(Metric):
    """The Fréchet distance of a set of images from the test images (Heusel et al. 2017)."""

    name: str
    title: str
    artifact: Need

    def __init__(self, settings: FidSettings) -> None:
        self.settings = settings

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        images = inputs.reconstructions if self.artifact == "reconstructions" else inputs.samples
        assert images is not None
        reference = inputs.data.images("test")
        if len(images) < 2 or len(reference) < 2:
            raise StageError(f"{self.name}: found {min(len(images), len(reference))} images, expected at least 2")
        value = frechet_distance(*(self._features(part, inputs) for part in (images, reference)))
        return [
            Measurement(
                name=self.name,
                title=self.title,
                value=value,
                unit="",
                direction="lower",
                count=len(images),
                protocol=self._protocol(inputs, len(images), len(reference)),
            )
        ]

    def _protocol(self, inputs: MetricInputs, count: int, reference: int) -> Protocol:
        from prologue_metrics import efficientnet

        ours = self.settings.extractor == "efficientnet-lite0"
        notes = ["the test images as reference"]
        if ours:
            notes.insert(0, f"EfficientNet-Lite0 features at {self.settings.resize} pixels instead of Inception's")
        return Protocol(
            name="frechet-distance",
            details={
                "extractor": self.settings.extractor,
                "weights": efficientnet.weights_checksum() if ours else "torch-fidelity",
                "resize": self.settings.resize if ours else 299,
                "samples": count,
                "reference": f"test split, {reference} images",
                "reference_fingerprint": inputs.data.fingerprint,
                "quantization": "uint8, rounded",
                **({f"sampling.{k}": v for k, v in inputs.sampling.items()} if self.artifact == "samples" else {}),
            },
            published=False,
            note="; ".join(notes),
        )

    def _features(self, images: ImageArray, inputs: MetricInputs) -> NDArray[Any]:
        """Features [N, F], from the cache where the same images were seen before."""
        from prologue_metrics import efficientnet

        key = hashlib.sha256()
        for start in range(0, len(images), BATCH):
            key.update(np.ascontiguousarray(images[start : start + BATCH]).tobytes())
        key.update(f"{self.settings.extractor} {self.settings.resize} {efficientnet.weights_checksum()}".encode())
        path = inputs.cache / "features" / f"{key.hexdigest()[:32]}.npy"
        if path.exists():
            cached: NDArray[Any] = np.load(path)
            if len(cached) == len(images):
                return cached
        features = extract_features(images, self.settings, inputs.device, inputs.advance)
        _save_atomically(path, features)
        return features


class ReconstructionFid(Fid):
    """rFID: what tokenizing and decoding costs."""

    name = "rfid"
    title = "rFID"
    artifact = "reconstructions"
    needs = ("reconstructions",)


class GenerationFid(Fid):
    """gFID: how far samples are from images."""

    name = "gfid"
    title = "gFID"
    artifact = "samples"
    needs = ("samples",)


def extract_features(images: ImageArray, settings: FidSettings, device: torch.device, advance: Advance) -> NDArray[Any]:
    """Features float32 [N, F] of uint8 images [N, C, H, W]; one channel is repeated to three."""
    from torch_fidelity.utils import create_feature_extractor

    from prologue_metrics import efficientnet

    efficientnet.register()
    layer = LAYERS[settings.extractor]
    try:
        extractor = create_feature_extractor(
            settings.extractor, [layer], cuda=device.type == "cuda", verbose=False, resize=settings.resize
        )
    except Exception as error:
        raise StageError(f"feature extractor {settings.extractor!r} cannot be made: {error}") from None
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(np.array(images[start : start + BATCH]))
            batch = batch.expand(-1, 3, -1, -1) if batch.shape[1] == 1 else batch
            parts.append(extractor(batch.to(device))[0].float().cpu().numpy())
            advance(start + len(batch), len(images))
    return np.concatenate(parts)


def _save_atomically(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".{os.getpid()}.tmp")
    with aside.open("wb") as file:
        np.save(file, array)
    os.replace(aside, path)
