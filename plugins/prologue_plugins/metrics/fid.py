"""Fréchet distances between sets of images, over features shared with all other metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from prologue_bench.contracts import (
    ImageArray,
    Measurement,
    Metric,
    MetricInputs,
    Need,
    Picked,
    PlannedInputs,
    Procedure,
    compared,
    images_differ,
    over_features,
)
from prologue_bench.stats.intervals import half_width
from prologue_bench.storage.files import user_path
from prologue_plugins.metrics.features import (
    check_features,
    chosen_samples,
    extractor_details,
    load_features,
    part_of,
    refuse,
    sampling_details,
    sampling_note,
    shares_note,
)
from prologue_plugins.metrics.frechet import (
    Moments,
    distance_at_infinity,
    distance_influences,
    frechet_distance,
    moments,
    too_few,
    too_few_to_extrapolate,
)
from prologue_plugins.metrics.published import features_differ, features_name, reference_differs
from prologue_plugins.metrics.references import check_reference, read_reference
from prologue_plugins.metrics.settings import DistanceSettings, FidSettings

GENERATION_AGAINST = MappingProxyType(
    {"rfid": "Reconstruction against generation", "training_flops": "Cost against quality"}
)
"""What reports plot the distance of samples against."""


class Fid(Metric):
    """The Fréchet distance of a set of images from a reference (Heusel et al. 2017)."""

    name: str
    title: str
    against: Mapping[str, str] = MappingProxyType({})
    artifact: Need
    paired = False

    def __init__(self, settings: FidSettings) -> None:
        self.settings = settings

    def check(self, planned: PlannedInputs) -> None:
        for _, settings in self.settings.by_extractor(planned.data.spec.channels):
            self._check(settings, planned)

    def _check(self, settings: FidSettings, planned: PlannedInputs) -> None:
        features = check_features(settings, planned)
        if settings.images and planned.reconstructions is not None:
            refuse(
                f"{self.name}: images", "found a setting for ablations; expected a limit instead"
            )
        given = planned.reconstructions if self.artifact == "reconstructions" else planned.samples
        count = len(planned.data.labels("test")) if given is None else given
        count = min(count, settings.images or count)
        refuse(self.name, too_few(count, features, settings.few_samples))
        if settings.reference:
            path = user_path(settings.reference)
            check_reference(path, settings, planned.data.spec, features)
        else:
            test = len(planned.data.labels("test"))
            refuse(f"{self.name}: the test images", too_few(test, features, settings.few_samples))
        if settings.extrapolate:
            refuse(self.name, too_few_to_extrapolate(count, features))

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        return [
            each
            for suffix, settings in self.settings.by_extractor(inputs.data.spec.channels)
            for each in self._measure(settings, f"{self.name}{suffix}", inputs)
        ]

    def _measure(
        self, settings: FidSettings, measured: str, inputs: MetricInputs
    ) -> list[Measurement]:
        """The numbers over one extractor's features; `measured` begins their names."""
        images, whole, known = self._images(inputs)
        features = load_features(images, settings, inputs, known)
        own = moments(features, self.name, settings.few_samples, made=True)
        reference, details = reference_of(settings, inputs)
        distance = frechet_distance(own, reference)
        spread = None if own.shrunk else half_width(distance_influences(features, own, reference))
        title = over_features(self.title, features_name(settings))
        distances = [(measured, title, distance, spread)]
        if settings.extrapolate:
            value = distance_at_infinity(features, reference, self.name)
            # What is extrapolated varies more than the distance does, by how much is not known.
            distances.append((f"{measured}_infinity", f"{title}, infinitely many", value, None))
        uneven = sampling_note(inputs, len(images)) if self.artifact == "samples" else []
        if self.artifact == "samples" and not settings.reference:
            uneven += shares_note(inputs)
        shrunk = own.shrunk or reference.shrunk
        if shrunk:
            details["covariance"] = "shrunk (Ledoit and Wolf)"
        differences = [
            *features_differ(settings),
            *reference_differs(settings),
            *images_differ(inputs.data.spec, len(images), self.artifact),
            *uneven,
            *(["a shrunk covariance"] if shrunk else []),
        ]
        protocol = compared(
            "frechet-distance",
            {
                **extractor_details(settings),
                "samples": len(images),
                **chosen_samples(len(images), whole),
                **details,
                "quantization": "uint8, rounded",
                **(sampling_details(inputs) if self.artifact == "samples" else {}),
            },
            "FID",
            differences,
        )
        return [
            Measurement(
                name=name,
                title=title,
                value=value,
                unit="",
                direction="lower",
                count=len(images),
                protocol=protocol,
                half_width=spread,
                warning=own.warning,
                against=self.against if name == self.name else {},
            )
            for name, title, value, spread in distances
        ]

    def _images(self, inputs: MetricInputs) -> tuple[ImageArray, int, str]:
        """The images that are measured, how many there are in all, and a text for their content."""
        images = inputs.reconstructions if self.artifact == "reconstructions" else inputs.samples
        count, whole = self.settings.images, len(images)
        if not 0 < count < whole:
            return images, whole, inputs.known.get(self.artifact, "")
        of_samples = self.artifact == "samples"
        chosen = inputs.sample_subset(count) if of_samples else inputs.data.subset("test", count)
        return Picked(images, chosen), whole, part_of(inputs.known.get(self.artifact, ""), chosen)


def reference_of(settings: FidSettings, inputs: MetricInputs) -> tuple[Moments, dict[str, str]]:
    """The reference's moments, and what the protocol says of it."""
    if settings.reference:
        path = user_path(settings.reference)
        loaded, checksum = read_reference(path, settings, inputs)
        return loaded, {"reference": path.name, "reference_fingerprint": checksum}
    images = inputs.data.images("test")
    features = load_features(images, settings, inputs, inputs.known.get("test", ""))
    found = moments(features, "the test images", settings.few_samples)
    details = {
        "reference": f"test split, {len(images)} images",
        "reference_fingerprint": inputs.data.fingerprint,
    }
    return found, details


class ReconstructionFid(Fid):
    """rFID, over Inception's features, else rFD: what tokenizing and decoding costs."""

    name = "rfid"
    title = "rFID"
    artifact = "reconstructions"
    needs = ("reconstructions",)


class GenerationFid(Fid):
    """gFID, over Inception's features, else gFD: how far samples are from images."""

    name = "gfid"
    title = "gFID"
    artifact = "samples"
    against = GENERATION_AGAINST
    needs = ("samples",)


class GenerationGap(Metric):
    """What the generator loses beyond the decoder: samples against reconstructions.

    The distance of the samples from the reconstructions of the test images, and the samples'
    distance from the test images minus that of the reconstructions. A seed that decodes badly moves
    samples and reconstructions alike, so that both numbers vary less than the samples' distance
    itself.
    """

    needs = ("samples", "reconstructions")

    def __init__(self, settings: DistanceSettings) -> None:
        self.settings = settings

    def check(self, planned: PlannedInputs) -> None:
        test = len(planned.data.labels("test"))
        for _, settings in self.settings.by_extractor(planned.data.spec.channels):
            features = check_features(settings, planned)
            for what, count in (("the samples", planned.samples), ("the test images", test)):
                problem = too_few(count, features, settings.few_samples)
                refuse(f"generation-gap: {what}", problem)

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        return [
            each
            for suffix, settings in self.settings.by_extractor(inputs.data.spec.channels)
            for each in self._measure(settings, suffix, inputs)
        ]

    def _measure(
        self, settings: DistanceSettings, suffix: str, inputs: MetricInputs
    ) -> list[Measurement]:
        """The numbers over one extractor's features; `suffix` ends their names."""

        def seen(what: str, images: ImageArray) -> tuple[Moments, NDArray[Any]]:
            features = load_features(images, settings, inputs, inputs.known.get(what, ""))
            named = f"generation-gap: {what}"
            return moments(features, named, settings.few_samples, what != "test"), features

        samples, of_samples = seen("samples", inputs.samples)
        decoded, of_decoded = seen("reconstructions", inputs.reconstructions)
        test, _ = seen("test", inputs.data.images("test"))
        # Samples and reconstructions are independent sets of images: their influences add up.
        own = half_width(distance_influences(of_samples, samples, test))
        other = half_width(distance_influences(of_decoded, decoded, test))
        both = None if own is None or other is None else math.hypot(own, other)
        found = (
            (
                "generation_gap",
                "FID of samples from reconstructions",
                frechet_distance(samples, decoded),
                half_width(distance_influences(of_samples, samples, decoded)),
            ),
            (
                "generation_gap_difference",
                "gFID minus rFID",
                frechet_distance(samples, test) - frechet_distance(decoded, test),
                both,
            ),
        )
        shrunk = samples.shrunk or decoded.shrunk or test.shrunk
        details = {
            **extractor_details(settings),
            "samples": len(inputs.samples),
            "reconstructions": f"test split, {len(inputs.reconstructions)} images",
            "reference_fingerprint": inputs.data.fingerprint,
            "quantization": "uint8, rounded",
            **({"covariance": "shrunk (Ledoit and Wolf)"} if shrunk else {}),
            **sampling_details(inputs),
        }
        features = features_name(settings)
        return [
            Measurement(
                name=f"{name}{suffix}",
                title=_both_named(title, features),
                value=value,
                unit="",
                direction="lower",
                count=len(inputs.samples),
                half_width=None if shrunk else spread,
                warning=samples.warning or decoded.warning,
                protocol=Procedure(name=name.replace("_", "-"), details=details),
            )
            for name, title, value, spread in found
        ]


def _both_named(title: str, features: str) -> str:
    """As `over_features`, where the title may hold two distances over the same features."""
    return over_features(title.replace("FID", "FD") if features else title, features)
