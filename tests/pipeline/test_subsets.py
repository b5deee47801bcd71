"""There is one way to take fewer images: equally many of every class, the same ones each time."""

from __future__ import annotations

import ast
import typing
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from prologue_bench.conformance import checks_of
from prologue_bench.contracts import (
    Component,
    ImageSpec,
    Measurement,
    Metric,
    MetricInputs,
    Need,
    Picked,
    Procedure,
    class_balanced,
    describe_subset,
    stratified,
)
from prologue_bench.pipeline.pictures import spread_over_classes
from prologue_bench.registry import Registry
from prologue_plugins.datasets.imagenet import ClassFolders
from prologue_plugins.datasets.settings import ImageFolderSettings
from prologue_plugins.generators.ar import Ar
from prologue_plugins.generators.settings import ArSettings, ArTransformerSettings
from prologue_plugins.metrics.attention import Attention
from prologue_plugins.metrics.codebook import Codebook
from prologue_plugins.metrics.conditional import ConditionalEntropy
from prologue_plugins.metrics.elbo import Elbo
from prologue_plugins.metrics.features import shares_note
from prologue_plugins.metrics.fid import GenerationFid, ReconstructionFid
from prologue_plugins.metrics.fidelity import DensityCoverage, Kid, PrecisionRecall
from prologue_plugins.metrics.pixels import Mse, Psnr, Ssim
from prologue_plugins.metrics.probe import Probe
from prologue_plugins.metrics.rate import Rate
from prologue_plugins.metrics.settings import (
    AttentionSettings,
    DensityCoverageSettings,
    ElboSettings,
    FidSettings,
    KidSettings,
    PrecisionRecallSettings,
    ProbeSettings,
)
from tests.conftest import ROOT
from tests.factories.measuring import LAYOUT, by_name, ids, noisy

CLASSES, TRAIN, TEST = 10, 12, 9
LABELS = st.lists(st.integers(0, 5), max_size=60).map(
    lambda labels: np.array(labels, dtype=np.int64)
)


def filled(sizes: Counter[int], count: int) -> Counter[int]:
    """By hand: a class after the other gives one, until there are enough, in any order."""
    given_: Counter[int] = Counter()
    while given_.total() < min(count, sizes.total()):
        fewest = min(given_[label] for label in sizes if given_[label] < sizes[label])
        given_[next(label for label in sizes if given_[label] == fewest < sizes[label])] += 1
    return given_


@given(LABELS, st.integers(0, 70), st.integers(0, 3))
def test_classes_give_equally_many_and_small_ones_all_that_they_have(
    labels: np.ndarray, count: int, seed: int
) -> None:
    chosen = class_balanced(labels, count, seed)
    assert chosen.dtype == np.int64
    assert (np.diff(chosen) > 0).all()
    sizes, found = Counter(labels.tolist()), Counter(labels[chosen].tolist())
    assert len(chosen) == min(count, len(labels))
    assert sorted(found.values()) == sorted(
        value for value in filled(sizes, count).values() if value
    )
    most = max(found.values(), default=0)
    assert all(found[label] >= min(size, most - 1) for label, size in sizes.items())


@given(LABELS, st.integers(0, 70), st.integers(0, 70), st.integers(0, 3))
def test_equal_labels_give_equal_indices_and_fewer_are_a_part_of_more(
    labels: np.ndarray, few: int, many: int, seed: int
) -> None:
    few, many = sorted((few, many))
    assert (
        class_balanced(labels, few, seed).tolist()
        == class_balanced(labels.copy(), few, seed).tolist()
    )
    assert set(class_balanced(labels, few, seed)) <= set(class_balanced(labels, many, seed))


def test_the_indices_are_fixed_for_ever() -> None:
    assert class_balanced(np.repeat(np.arange(4), 5), 6).tolist() == FIXED
    assert class_balanced(np.repeat(np.arange(4), 5), 6, seed=1).tolist() != FIXED


FIXED = [0, 5, 13, 14, 17, 19]


def test_the_same_classes_give_one_more_in_every_set() -> None:
    in_turn, in_rows = np.arange(200) % 20, np.repeat(np.arange(20), 7)
    for count in (5, 30):
        one, other = (
            Counter(labels[class_balanced(labels, count)].tolist()) for labels in (in_turn, in_rows)
        )
        assert one == other
    assert set(in_turn[class_balanced(in_turn, 5)]) != set(range(5))


@given(LABELS, st.floats(0, 1))
def test_a_stratified_part_has_the_classes_in_their_proportions(
    labels: np.ndarray, share: float
) -> None:
    count = round(share * len(labels))
    chosen = stratified(labels, count)
    assert len(set(chosen)) == count
    rest = np.delete(labels, chosen)
    if count <= len(labels) - len(set(labels)):
        assert set(rest) == set(labels)  # every class can still be learned
        for label, size in Counter(labels.tolist()).items():
            part = (labels[chosen] == label).sum()
            assert abs(part - size * count / len(labels)) <= len(set(labels))


def test_counts_that_cannot_be_are_errors() -> None:
    with pytest.raises(ValueError, match="count must be >= 0: -1"):
        class_balanced(np.zeros(3), -1)
    with pytest.raises(ValueError, match="count must be from 0 to 3: 4"):
        stratified(np.zeros(3), 4)


def test_picked_images_are_read_when_they_are_asked_for() -> None:
    array = np.arange(40)[:, None]
    picked = Picked(array, np.array([1, 3, 8]), views=2)
    expected = array[[2, 3, 6, 7, 16, 17]]
    assert len(picked) == 6
    assert np.array_equal(picked[:], expected)
    assert np.array_equal(picked[1:4], expected[1:4])
    assert np.array_equal(picked[[5, 0]], expected[[5, 0]])
    assert np.array_equal(picked[np.array([4])], expected[[4]])
    assert len(picked[6:]) == 0


# Every metric on a folder of ten classes, which lie one after the other.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClassFolders]:
    root = tmp_path_factory.mktemp("folder")
    rng = np.random.default_rng(0)
    for split, count in (("train", TRAIN), ("val", TEST)):
        for label in range(CLASSES):
            folder = root / split / f"class-{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                levels = np.clip(25 * label + rng.integers(0, 25, (16, 16, 3)), 0, 255).astype(
                    np.uint8
                )
                Image.fromarray(levels).save(folder / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        source = ClassFolders(ImageFolderSettings(root=str(root), size=16))
        assert source.labels("test").tolist() == sorted(source.labels("test"))  # class by class
        yield source


def everything(data: ClassFolders, cache: Path) -> MetricInputs:
    images = np.asarray(data.images("test")[:])
    torch.manual_seed(1)
    size = ArTransformerSettings(width=16, layers=1, heads=2, dropout=0.0)
    generator = Ar(ArSettings(transformer=size), LAYOUT, labels=CLASSES + 1).eval()
    tokens = {"train": ids(CLASSES * TRAIN, 1), "test": ids(CLASSES * TEST, 2)}
    for split, part in tokens.items():  # the first two tokens say which class it is
        part[:, 0], part[:, 1] = data.labels(split) % 5, data.labels(split) // 5  # type: ignore[arg-type]
    return MetricInputs(
        metric="tested",
        needs=typing.get_args(Need),
        data=data,
        layout=LAYOUT,
        cache=cache,
        batch_size=25,
        device=torch.device("cpu"),
        prefixes=(2,),
        advance=lambda done, total: None,
        sampling={},
        reconstructions=noisy(images, 9),
        samples=noisy(images[np.argsort(np.arange(len(images)) % TEST, kind="stable")], 9),
        train_ids=tokens["train"],
        test_ids=tokens["test"],
        generator=generator,
    )


METRICS: dict[str, tuple[Metric, tuple[str, ...]]] = {
    "attention": (Attention(AttentionSettings(images=20)), ("test_ids",)),
    "probe": (Probe(ProbeSettings(train_images=50, selection_images=40)), ("train_ids",)),
    "rfid": (ReconstructionFid(FidSettings(images=30)), ("reconstructions",)),
    "gfid": (GenerationFid(FidSettings(images=30)), ("samples",)),
    "kid": (Kid(KidSettings(subset_size=60, subsets=20)), ("samples",)),
    "precision-recall": (PrecisionRecall(PrecisionRecallSettings(images=40)), ("samples",)),
    "density-coverage": (DensityCoverage(DensityCoverageSettings(images=40)), ("samples",)),
    "psnr": (Psnr(None), ("reconstructions",)),
    "mse": (Mse(None), ("reconstructions",)),
    "ssim": (Ssim(None), ("reconstructions",)),
    "elbo": (Elbo(ElboSettings()), ("reconstructions", "test_ids")),
    "rate": (Rate(None), ("test_ids",)),
    "codebook": (Codebook(None), ("test_ids",)),
    "conditional-entropy": (ConditionalEntropy(None), ("train_ids",)),
}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_sees_every_class_of_a_folder(
    name: str, data: ClassFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other artifacts of a class, whichever it is, are another number."""

    def corners(images: Any, *_: object) -> np.ndarray:
        found: np.ndarray = (
            np.asarray(images[:])[:, :, :2, :2].reshape(len(images), -1).astype(np.float32)
        )
        return found

    monkeypatch.setattr("prologue_plugins.metrics.features.extract_features", corners)
    metric, artifacts = METRICS[name]
    inputs = everything(data, tmp_path)
    with torch.inference_mode():
        before = by_name(metric.measure(inputs))
        for label in range(CLASSES):
            changed = {}
            for artifact in artifacts:
                array = getattr(inputs, artifact).copy()
                of = data.labels("train" if artifact == "train_ids" else "test")
                rows = (np.arange(len(array)) % CLASSES if artifact == "samples" else of) == label
                # Of ids places, of images channels.
                array[rows, ::2] = 0 if "ids" in artifact else 255
                array[rows, 1::2] = 3 if "ids" in artifact else 0
                changed[artifact] = array
            after = by_name(metric.measure(attrs.evolve(inputs, **changed)))
            assert after != before, f"{name} does not see class {label}"


def test_the_probe_learns_and_chooses_from_every_class(data: ClassFolders, tmp_path: Path) -> None:
    inputs = everything(data, tmp_path)
    metric = Probe(
        ProbeSettings(train_images=50, selection_images=40, inverse_regularisation=(1e-6, 100.0))
    )
    [found] = metric.measure(inputs)
    assert found.value == 100
    learned, validated = metric.selection(inputs)
    labels = data.labels("train")
    assert np.bincount(labels[metric.training(inputs)]).tolist() == [5] * CLASSES
    assert sorted(np.bincount(labels[validated], minlength=CLASSES)) == [0] * 2 + [1] * 8
    assert not set(learned) & set(validated)
    assert (
        found.protocol.details["train"]
        == "class-balanced subset of 50 of the 120 images of the train split, seed 0"
    )


def test_protocols_say_what_was_chosen(data: ClassFolders, tmp_path: Path) -> None:
    inputs = everything(data, tmp_path)
    with torch.inference_mode():
        [whole, *_] = Attention(AttentionSettings(images=500)).measure(inputs)
        [part, *_] = Attention(AttentionSettings(images=20)).measure(inputs)
    assert (
        whole.protocol.details["images"]
        == describe_subset("test split", 90, 90)
        == "test split, 90 images"
    )
    assert (
        part.protocol.details["images"]
        == "class-balanced subset of 20 of the 90 images of the test split, seed 0"
    )


def test_samples_are_of_the_classes_in_turn_and_a_note_says_where_that_is_uneven(
    data: ClassFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ImageSpec(channels=3, height=8, width=8, class_names=("a", "b", "c", "d"))
    assert np.bincount(spec.labels_in_turn(23)).tolist() == [6, 6, 6, 5]
    assert attrs.evolve(spec, class_names=()).labels_in_turn(3).tolist() == [0, 0, 0]
    monkeypatch.setattr(
        "prologue_plugins.metrics.features.extract_features",
        lambda images, *_: np.asarray(images[:]).reshape(len(images), -1)[:, :4].astype(np.float32),
    )
    inputs = everything(data, tmp_path)

    def note(count: int, images: int = 0) -> str:
        assert inputs.samples is not None
        fewer = attrs.evolve(inputs, samples=inputs.samples[:count])
        return GenerationFid(FidSettings(images=images)).measure(fewer)[0].protocol.note

    assert "80 samples of" not in note(80)
    assert "83 samples of 10 classes: some classes have one more" in note(83)
    assert "samples of 7 of the 10 classes only" in note(80, images=7)


def test_numbers_of_samples_say_where_classes_have_other_shares_in_the_test_images() -> None:
    def note(labels: list[int], test: list[int]) -> list[str]:
        data = SimpleNamespace(
            spec=ImageSpec(channels=1, height=8, width=8, class_names=("a", "b")),
            labels=lambda split: np.array(test if split == "test" else []),
        )
        inputs = SimpleNamespace(sample_labels=np.array(labels), data=data)
        return shares_note(inputs)  # type: ignore[arg-type]

    assert note([0, 1] * 10, [0] * 21 + [1] * 19) == [], "2.5% are near enough"
    (told,) = note([0, 1] * 10, [0] * 15 + [1] * 5)
    assert "25% of the samples be of other classes" in told


def test_pictures_of_many_classes_are_not_of_the_first_ones() -> None:
    assert spread_over_classes(np.array([1, 0, 0, 1, 1]), 4).tolist() == [1, 0, 2, 3]
    shown = np.arange(100)[spread_over_classes(np.repeat(np.arange(100), 3), 20) // 3]
    assert len(set(shown)) == 20
    assert shown.max() > 50


class FirstImages(Metric):
    """What the contract forbids."""

    needs = ("reconstructions",)

    def __init__(self, settings: object) -> None:
        pass

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        return [
            Measurement(
                name="mean",
                title="mean",
                unit="",
                direction="neutral",
                count=200,
                value=float(self.chosen(inputs, inputs.reconstructions).mean()),
                protocol=Procedure(name="mean", details={"images": 200}),
            )
        ]

    def chosen(self, inputs: MetricInputs, images: np.ndarray) -> np.ndarray:
        return images[:200]


class LastImages(FirstImages):
    def chosen(self, inputs: MetricInputs, images: np.ndarray) -> np.ndarray:
        return images[-200:]


class Balanced(FirstImages):
    def chosen(self, inputs: MetricInputs, images: np.ndarray) -> np.ndarray:
        return images[inputs.data.subset("test", 200)]


@pytest.mark.parametrize(
    ("cls", "kept"), [(FirstImages, False), (LastImages, False), (Balanced, True)]
)
def test_the_contract_of_metrics_finds_what_takes_the_first_or_last_images(
    cls: type[Metric], kept: bool
) -> None:
    registry = Registry.load()
    registry.add(
        "metric",
        Component(name="some", target=f"{__name__}:{cls.__name__}", summary="some"),
        "a test",
    )
    [check] = [
        each for each in checks_of("metric", "some", registry=registry) if each.name == "classes"
    ]
    if kept:
        check.run()
        return
    with pytest.raises(Exception, match=r"nothing changes when all images of class \d do"):
        check.run()


SETTINGS = {
    "images",
    "train_images",
    "selection_images",
    "validation_images",
    "validation_share",
    "count",
}


def cut_by_a_setting(source: str) -> list[int]:
    """Lines that cut something at a setting of how many images are wanted."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Slice)
        for bound in (node.lower, node.upper)
        if bound is not None
        and any(isinstance(n, ast.Attribute) and n.attr in SETTINGS for n in ast.walk(bound))
    ]


def test_no_other_way_to_take_fewer_is_left() -> None:
    sources = [
        path for folder in ("plugins", "prologue_bench") for path in (ROOT / folder).rglob("*.py")
    ]
    assert {
        path.name: lines for path in sources if (lines := cut_by_a_setting(path.read_text()))
    } == {}
    assert (
        cut_by_a_setting("x[: self.settings.images]") == cut_by_a_setting("x[-self.count :]") == [1]
    )
