"""Every metric against an independent computation."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch

from prologue_bench.contracts import to_bytes
from prologue_bench.errors import StageError
from prologue_bench.stats.intervals import half_width, share_half_width
from prologue_plugins.metrics.codebook import Codebook
from prologue_plugins.metrics.conditional import ConditionalEntropy
from prologue_plugins.metrics.extractors import efficientnet_lite0, weights_of
from prologue_plugins.metrics.fid import GenerationFid, ReconstructionFid
from prologue_plugins.metrics.probe import Probe, classifier, one_hots
from prologue_plugins.metrics.rate import Rate
from prologue_plugins.metrics.references import read_reference
from prologue_plugins.metrics.settings import FidSettings, ProbeSettings
from tests.factories.measuring import DATA, LAYOUT, by_name, ids, inputs, noisy
from tests.factories.models import ar


def test_fid_matches_scipy_s_matrix_square_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    features = {
        "a": rng.normal(size=(120, 6)) @ rng.normal(size=(6, 6)),
        "b": rng.normal(1, 2, size=(120, 6)),
    }
    reconstructions = noisy(DATA.images("test"), 8)

    def fake(images: np.ndarray, *_: object) -> np.ndarray:
        return features["a" if images is reconstructions else "b"]

    monkeypatch.setattr("prologue_plugins.metrics.features.extract_features", fake)
    found = ReconstructionFid(FidSettings()).measure(
        inputs(tmp_path, reconstructions=reconstructions)
    )
    mean = [part.mean(0) for part in features.values()]
    covariance = [np.cov(part, rowvar=False) for part in features.values()]
    root = scipy.linalg.sqrtm(covariance[0] @ covariance[1]).real
    expected = ((mean[0] - mean[1]) ** 2).sum() + np.trace(covariance[0] + covariance[1] - 2 * root)
    assert by_name(found)["rfid"] == pytest.approx(expected, rel=1e-6)


def test_features_of_the_same_images_are_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(images: np.ndarray, *_: object) -> np.ndarray:
        calls.append(len(images))
        return np.random.default_rng(len(calls)).normal(size=(len(images), 4))

    monkeypatch.setattr("prologue_plugins.metrics.features.extract_features", counted)
    for amount in (5, 9, 5):
        samples = noisy(DATA.images("test"), amount)
        GenerationFid(FidSettings()).measure(inputs(tmp_path, samples=samples))
    assert len(calls) == 3, "two sets of samples and one reference"


def test_one_image_is_too_few_for_a_distance(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="gfid: found 1 images, all with the same features"):
        GenerationFid(FidSettings()).measure(inputs(tmp_path, samples=DATA.images("test")[:1]))


def test_folded_batch_norms_give_what_the_layers_one_by_one_give() -> None:
    """The first block, computed from the raw weights with explicit convolutions and batch norms."""
    weights = torch.load(weights_of("efficientnet-lite0"), weights_only=True)
    model = efficientnet_lite0.EfficientNetLite0()
    model.load(weights)
    x = torch.randn(2, 3, 32, 32)

    def conv_norm(x: torch.Tensor, conv: str, norm: str, stride: int, groups: int) -> torch.Tensor:
        kernel = weights[f"{conv}.weight"]
        if stride == 2:
            x = torch.nn.functional.pad(x, (0, 1, 0, 1))
        y = torch.nn.functional.conv2d(
            x, kernel, stride=stride, groups=groups, padding="valid" if stride == 2 else "same"
        )
        names = ("running_mean", "running_var", "weight", "bias")
        return torch.nn.functional.batch_norm(
            y, *(weights[f"{norm}.{name}"] for name in names), eps=1e-3
        )

    y = conv_norm(x, "_conv_stem", "_bn0", 2, 1).clamp(0, 6)
    y = conv_norm(y, "_blocks.0._depthwise_conv", "_blocks.0._bn1", 1, 32).clamp(0, 6)
    y = conv_norm(y, "_blocks.0._project_conv", "_blocks.0._bn2", 1, 1)
    with torch.no_grad():
        found = model.blocks[0](model.stem(x).clamp(0, 6))
    assert torch.allclose(found, y, atol=1e-4)


def test_the_features_know_a_daisy_and_a_palace() -> None:
    """scikit-learn's photographs, classified by the same weights: palace (698) and daisy (985)."""
    from sklearn.datasets import load_sample_images

    weights = torch.load(weights_of("efficientnet-lite0"), weights_only=True)
    extractor = efficientnet_lite0.EfficientNetLite0Extractor("efficientnet-lite0", ["1280"]).eval()
    found = []
    for image in load_sample_images().images:
        square = torch.from_numpy(image[:, 106 : 106 + 427].copy()).permute(2, 0, 1)[None]
        with torch.no_grad():
            features = extractor(square)[0]
        found.append(int((features @ weights["_fc.weight"].T + weights["_fc.bias"]).argmax()))
    assert found == [698, 985]


def test_the_rate_is_the_nll_in_bits(tmp_path: Path) -> None:
    generator = ar(LAYOUT)
    generator = type(generator)(_settings(), LAYOUT, labels=5).eval()
    test_ids = ids(120)
    with torch.inference_mode():
        found = by_name(
            Rate(None).measure(inputs(tmp_path, generator=generator, test_ids=test_ids))
        )
        labels = torch.from_numpy(DATA.labels("test"))
        log_probabilities = generator.logits(torch.from_numpy(test_ids), labels).log_softmax(-1)
    sequence = generator.vocabulary.sequence(torch.from_numpy(test_ids))
    total = -log_probabilities.gather(2, sequence.unsqueeze(2)).sum(dim=(1, 2)).mean() / math.log(2)
    assert found["rate"] == pytest.approx(float(total), rel=1e-4)
    assert found["rate_prologue"] + found["rate_visual"] == pytest.approx(found["rate"])
    assert found["rate_visual_per_dimension"] * 3 * 32 * 32 == pytest.approx(found["rate_visual"])


def test_the_rate_of_a_segment_is_the_sum_over_its_tokens(tmp_path: Path) -> None:
    generator = type(ar(LAYOUT))(_settings(), LAYOUT, labels=5).eval()
    test_ids = ids(120)
    with torch.inference_mode():
        found = Rate(None).measure(inputs(tmp_path, generator=generator, test_ids=test_ids))
        costs = generator.nll(torch.from_numpy(test_ids), torch.from_numpy(DATA.labels("test")))
    told = {each.positions_of: each for each in found if each.positions}
    assert told.keys() == {"prologue", "visual"}
    for name, of in told.items():
        assert of.name == f"rate_{name}"
        assert of.positions == pytest.approx((costs[name].mean(0) / math.log(2)).tolist(), rel=1e-5)
        assert sum(of.positions) == pytest.approx(of.value)


def _settings() -> Any:
    from prologue_plugins.generators.settings import ArSettings, ArTransformerSettings

    return ArSettings(transformer=ArTransformerSettings(width=16, layers=1, heads=2))


def test_codebook_use_and_perplexity_by_hand(tmp_path: Path) -> None:
    test_ids = np.zeros((120, 6), dtype=np.int64)
    test_ids[:, 1] = 3  # prologue: two codes of five, equally often; visual: one code of six
    found = by_name(Codebook(None).measure(inputs(tmp_path, test_ids=test_ids)))
    assert found["codebook_use_prologue"] == pytest.approx(40)
    assert found["codebook_perplexity_prologue"] == pytest.approx(2)
    assert found["codebook_use_visual"] == pytest.approx(100 / 6)
    assert found["codebook_perplexity_visual"] == pytest.approx(1)
    assert found["codebook_perplexity_position_prologue"] == pytest.approx(1)
    assert found["codebook_use_position_prologue"] == pytest.approx(20)


def test_joint_bits_and_redundancy_of_a_leading_segment_by_hand(tmp_path: Path) -> None:
    test_ids = ids(120)
    halves, thirds = np.arange(120) % 2, np.arange(120) % 3
    for second, joint, redundancy in ((halves, 1, 1), (thirds, 1 + math.log2(3), 0)):
        test_ids[:, :2] = np.stack([halves, second], axis=1)
        found = by_name(Codebook(None).measure(inputs(tmp_path, test_ids=test_ids)))
        assert found["bits_joint_prologue"] == pytest.approx(joint)
        assert found["bits_positions_prologue"] == pytest.approx(joint + redundancy)
        assert found["redundancy_prologue"] == pytest.approx(redundancy, abs=1e-12)
        assert "bits_joint_visual" not in found, "nothing follows it"


def test_conditional_entropies_are_those_of_a_brute_force_and_add_up(tmp_path: Path) -> None:
    train_ids = ids(200)
    train_ids[:, 1] = train_ids[:, 0]  # says nothing more
    measured = ConditionalEntropy(None).measure(inputs(tmp_path, train_ids=train_ids))
    rows = [(label, *row) for label, row in zip(DATA.labels("train"), train_ids, strict=True)]

    def joint(length: int) -> float:
        counts = Counter(row[: 1 + length] for row in rows).values()
        return -sum(count / 200 * math.log2(count / 200) for count in counts)

    bits = np.diff([joint(length) for length in range(7)])
    found = by_name(measured)
    assert found["conditional_entropy_prologue"] == pytest.approx(bits[:2].sum())
    assert found["conditional_entropy_visual"] == pytest.approx(bits[2:].sum())
    assert found["conditional_entropy_alike_prologue"] == pytest.approx(
        2 ** np.mean([math.log2(sum(row[:3] == other[:3] for other in rows)) for row in rows])
    )
    positions = {each.positions_of: each.positions for each in measured if each.positions_of}
    assert positions["prologue"][0] == pytest.approx(bits[0])
    assert positions["prologue"][1:] in ((), (pytest.approx(0, abs=1e-12),))
    assert positions["visual"] == (), "about ten images share what is before, under sixteen"


def test_the_probe_reads_the_class_where_it_is_and_guesses_where_it_is_not(tmp_path: Path) -> None:
    train_ids, test_ids = ids(200, 1), ids(120, 2)
    metric = Probe(ProbeSettings())
    blind = by_name(metric.measure(inputs(tmp_path, train_ids=train_ids, test_ids=test_ids)))
    assert blind["probe_2"] < 40
    train_ids[:, 0], test_ids[:, 0] = DATA.labels("train"), DATA.labels("test")
    seeing = by_name(metric.measure(inputs(tmp_path, train_ids=train_ids, test_ids=test_ids)))
    assert seeing["probe_2"] == 100
    assert seeing.keys() == {"probe_2"}


def test_the_probe_s_regularisation_is_chosen_on_validation_images_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = []

    def watched(strength: float, vectors: Any, labels: np.ndarray) -> Any:
        fitted.append((strength, len(labels)))
        return classifier(strength, vectors, labels)

    monkeypatch.setattr("prologue_plugins.metrics.probe.classifier", watched)
    train_ids, test_ids = ids(200, 1), ids(120, 2)
    train_ids[:, 0] = DATA.labels("train")
    settings = ProbeSettings(inverse_regularisation=(1e-6, 100.0))
    _, validated = Probe(settings).selection(inputs(tmp_path))
    train_ids[validated, 0] = 4  # the validation images say that the first token is worth nothing
    Probe(settings).measure(inputs(tmp_path, train_ids=train_ids, test_ids=test_ids))
    assert fitted[:2] == [(1e-6, 160), (100.0, 160)]
    assert fitted[2][1] == 200


def test_images_give_intervals_that_shrink_with_their_number() -> None:
    values = np.random.default_rng(0).normal(size=4000)
    whole, part = half_width(values), half_width(values[:1000])
    assert whole == pytest.approx(1.96 / np.sqrt(4000), rel=0.1)
    assert part == pytest.approx(2 * whole, rel=0.15)
    assert share_half_width(0.3, 4000) == pytest.approx(1.96 * np.sqrt(0.21 / 4000), rel=0.1)
    assert half_width(values[:1]) is None
    assert half_width(np.ones(9)) is None, "equal values tell nothing of the noise"


def test_decoded_images_that_are_no_numbers_are_one_line() -> None:
    images = torch.zeros(5, 1, 2, 2)
    images[3, 0, 1, 1] = torch.nan
    with pytest.raises(StageError, match="1 of 5 decoded images hold NaN or infinity"):
        to_bytes(images)


def test_reference_files_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mean, covariance = np.arange(3.0), np.eye(3)
    path = tmp_path / "adm.npz"

    def read(**arrays: np.ndarray) -> Any:
        np.savez(path, **arrays)
        return read_reference(path, FidSettings(reference=str(path)), inputs(tmp_path))

    found, checksum = read(mu=mean, sigma=covariance)
    assert np.array_equal(found.covariance, covariance)
    assert len(checksum) == 16
    with pytest.raises(
        StageError, match=r"adm.npz: found mean; mu and sigma missing, and so is arr_0"
    ):
        read(mean=mean)
    with pytest.raises(StageError, match=r"mu has shape \(3,\) and sigma \(2, 2\)"):
        read(mu=mean, sigma=np.eye(2))
    with pytest.raises(StageError, match="hold NaN or infinity"):
        read(mu=mean * np.nan, sigma=covariance)
    # Images serve any extractor, mu and sigma of another one notwithstanding.
    features = np.random.default_rng(0).normal(size=(50, 4))
    monkeypatch.setattr(
        "prologue_plugins.metrics.features.extract_features", lambda images, *_: features
    )
    images = np.asarray(DATA.images("test")[:50]).transpose(0, 2, 3, 1)
    found, _ = read(arr_0=images, mu=mean, sigma=covariance)
    assert np.allclose(found.mean, features.mean(0))
    for wrong in (images[:, :16], images[..., :1], images.astype(np.float32)):
        with pytest.raises(
            StageError,
            match=r"arr_0 of .*expected uint8 \[N, H, W, C\] with images of \[32, 32, 3\]",
        ):
            read(arr_0=wrong)
    path.write_text("no")
    with pytest.raises(StageError, match=r"adm.npz: cannot be read as .npz"):
        read_reference(path, FidSettings(), inputs(tmp_path))
    with pytest.raises(StageError, match="no such file"):
        read_reference(tmp_path / "none.npz", FidSettings(), inputs(tmp_path))


def test_one_hots_stand_in_their_segments_columns() -> None:
    dense = one_hots(np.array([[4, 0, 5], [1, 2, 0]]), LAYOUT).toarray()
    assert dense.shape == (2, 5 + 5 + 6)
    assert dense.nonzero()[1].tolist() == [4, 5, 15, 1, 7, 10]


def test_a_distance_of_fewer_images_is_that_of_a_class_balanced_subset_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(images: np.ndarray, *_: object) -> np.ndarray:
        flat = images[:].reshape(len(images), -1)[:, :4].astype(np.float32)
        return flat + np.random.default_rng(len(images)).normal(size=flat.shape).astype(np.float32)

    monkeypatch.setattr("prologue_plugins.metrics.features.extract_features", fake)
    samples = noisy(np.asarray(DATA.images("test")), 8)
    part = GenerationFid(FidSettings(images=60)).measure(inputs(tmp_path / "a", samples=samples))[0]
    alone = GenerationFid(FidSettings()).measure(
        inputs(tmp_path / "b", samples=samples[DATA.subset("test", 60)])
    )[0]
    assert (part.value, part.count) == (alone.value, 60)
