"""Metrics of samples, pixels, tokens and attention, each against an independent computation."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from scipy.spatial.distance import cdist
from scipy.stats import laplace

from prologue_bench.config.settings import Sampling
from prologue_bench.contracts import FREE, PlannedInputs, StageCost, to_bytes, to_float
from prologue_bench.errors import DoesNotApply, StageError
from prologue_bench.sampling.decoding import sample_ids
from prologue_bench.texts.ranges import parse_ranges, ranges
from prologue_plugins.metrics import features
from prologue_plugins.metrics.attention import Attention
from prologue_plugins.metrics.cost import Cost, Speed
from prologue_plugins.metrics.elbo import Elbo, likeliest_scale, pixel_bits
from prologue_plugins.metrics.fidelity import (
    DensityCoverage,
    Kid,
    PrecisionRecall,
    density_coverage,
    divergences,
    kernel_influences,
)
from prologue_plugins.metrics.layout import Layout, persistence
from prologue_plugins.metrics.pixels import Mse, Psnr, Ssim
from prologue_plugins.metrics.settings import (
    AttentionSettings,
    DensityCoverageSettings,
    ElboSettings,
    KidSettings,
    LayoutSettings,
    PrecisionRecallSettings,
    SpeedSettings,
)
from tests.factories.measuring import DATA, LAYOUT, by_name, ids, inputs, noisy
from tests.factories.models import ar, prologue

TEST = DATA.images("test")


def known_features(
    monkeypatch: pytest.MonkeyPatch, samples: np.ndarray, reference: np.ndarray
) -> np.ndarray:
    """Let the samples' features be the first array and the test images' the second.

    Returns images to measure.
    """
    images = noisy(np.asarray(TEST), 5)[: len(samples)]

    def fake(asked: np.ndarray, *_: object) -> np.ndarray:
        return samples if asked is images else reference

    monkeypatch.setattr(features, "extract_features", fake)
    return images


def points(count: int, shift: float, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(count, 3)) + shift).astype(np.float32)


def test_kid_is_the_unbiased_cubic_kernel_distance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = points(120, 0.4, 0), points(120, 0.0, 1)
    images = known_features(monkeypatch, x, y)
    settings = KidSettings(subsets=1, subset_size=120)
    value = by_name(Kid(settings).measure(inputs(tmp_path, samples=images)))["kid"]
    kernel = lambda a, b: (a.astype(np.float64) @ b.T / 3 + 1) ** 3  # noqa: E731
    n = 120
    off = lambda k: (k.sum() - np.trace(k)) / (n * (n - 1))  # noqa: E731
    assert value / 1000 == pytest.approx(
        off(kernel(x, x)) + off(kernel(y, y)) - 2 * kernel(x, y).mean(), rel=1e-4
    )
    with pytest.raises(StageError, match="found 120 images, expected at least subset_size 1000"):
        Kid(KidSettings()).measure(inputs(tmp_path, samples=images))


def test_precision_and_recall_match_a_brute_force_over_balls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = points(100, 1.0, 0), points(120, 0.0, 1)
    images = known_features(monkeypatch, x, y)
    found = by_name(
        PrecisionRecall(PrecisionRecallSettings()).measure(inputs(tmp_path, samples=images))
    )

    def inside(points: np.ndarray, centres: np.ndarray) -> float:
        radii = np.sort(cdist(centres, centres), axis=1)[:, 3]
        return float((cdist(points, centres) <= radii).any(axis=1).mean())

    assert found["precision"] == pytest.approx(inside(x, y), abs=0.011)
    assert found["recall"] == pytest.approx(inside(y, x), abs=0.011)


def test_density_and_coverage_match_a_brute_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = points(90, 0.7, 0), points(110, 0.0, 1)
    radii = np.sort(cdist(y, y), axis=1)[:, 5]
    within = cdist(y, x) < radii[:, None]
    density, coverage = density_coverage(x, y, 5)
    assert density.tolist() == pytest.approx((within.sum(axis=0) / 5).tolist())
    assert coverage.tolist() == within.any(axis=1).tolist()
    found = by_name(
        DensityCoverage(DensityCoverageSettings()).measure(
            inputs(tmp_path / "other", samples=known_features(monkeypatch, x, y))
        )
    )
    assert found == pytest.approx(
        {"density": within.sum() / (5 * 90), "coverage": within.any(axis=1).mean()}
    )
    same = known_features(monkeypatch, np.ones((90, 3), np.float32), y)
    with pytest.raises(StageError, match="all images have the same features"):
        DensityCoverage(DensityCoverageSettings()).measure(inputs(tmp_path, samples=same))


def test_psnr_mse_and_ssim_match_their_formulas(tmp_path: Path) -> None:
    images, other = np.asarray(TEST), noisy(np.asarray(TEST), 20)
    found = by_name(Psnr(None).measure(inputs(tmp_path, reconstructions=other)))["psnr"]
    errors = ((images.astype(float) - other) ** 2).mean(axis=(1, 2, 3))
    assert found == pytest.approx(np.mean([10 * math.log10(255**2 / error) for error in errors]))
    mse = by_name(Mse(None).measure(inputs(tmp_path, reconstructions=other)))["mse"]
    as_floats = [to_float(torch.from_numpy(np.asarray(each))) for each in (images, other)]
    assert mse == pytest.approx(torch.nn.functional.mse_loss(*as_floats).item(), rel=1e-5)
    assert by_name(Ssim(None).measure(inputs(tmp_path, reconstructions=images)))[
        "ssim"
    ] == pytest.approx(1.0)
    noisier = noisy(images, 60)
    values = [
        by_name(Ssim(None).measure(inputs(tmp_path, reconstructions=part)))["ssim"]
        for part in (other, noisier)
    ]
    assert 0 < values[1] < values[0] < 1


def test_the_elbo_is_distortion_plus_rate_and_its_likelihood_adds_up(tmp_path: Path) -> None:
    histogram = np.zeros((256, 256))
    histogram[100, 98], histogram[100, 103], histogram[0, 4] = 3, 2, 1
    scale = 2.5
    cdf = laplace(loc=[100, 100, 0], scale=scale).cdf
    masses = cdf(np.array([98.5, 103.5, 4.5])) - cdf(np.array([97.5, 102.5, 3.5]))
    expected = -(3 * np.log2(masses[0]) + 2 * np.log2(masses[1]) + np.log2(masses[2])) / 6
    bits = pixel_bits(scale, "laplace")
    assert (histogram * bits).sum() / histogram.sum() == pytest.approx(expected)
    # The masses of all levels, whatever the reconstruction.
    for likelihood in ("laplace", "gaussian"):
        assert (2.0 ** -pixel_bits(9.0, likelihood)).sum(axis=1) == pytest.approx(np.ones(256))
    generator = ar(LAYOUT)
    found = by_name(
        Elbo(ElboSettings()).measure(
            inputs(
                tmp_path,
                reconstructions=noisy(np.asarray(TEST), 6),
                test_ids=ids(len(TEST)),
                generator=generator,
            )
        )
    )
    assert found["elbo"] == pytest.approx(found["elbo_distortion"] + found["elbo_rate"])
    labels = torch.from_numpy(DATA.labels("test"))
    with torch.inference_mode():
        nats = sum(
            part.sum() for part in generator.nll(torch.from_numpy(ids(len(TEST))), labels).values()
        )
    dimensions = TEST[0].size
    assert found["elbo_rate"] == pytest.approx(
        float(nats) / len(TEST) / math.log(2) / dimensions, rel=1e-5
    )


@pytest.mark.parametrize("likelihood", ["laplace", "gaussian"])
@pytest.mark.parametrize("black", [0.0, 0.5, 0.9])
def test_the_scale_of_the_elbo_is_the_likeliest(likelihood: str, black: float) -> None:
    """No other scale takes fewer bits, whatever share of pixels is black."""
    rng = np.random.default_rng(3)
    truth = np.where(rng.random(20_000) < black, 0, rng.integers(20, 236, 20_000))
    found = np.clip(np.round(truth + rng.laplace(scale=9, size=truth.shape)), 0, 255)
    histogram = np.zeros((256, 256))
    np.add.at(histogram, (found.astype(int), truth), 1)

    def bits(scale: float) -> float:
        return float((histogram * pixel_bits(scale, likelihood)).sum())

    best = likeliest_scale(histogram, likelihood)
    others = np.geomspace(0.1, 256, 1000)
    assert bits(best) <= min(map(bits, others)) * (1 + 1e-9)
    if likelihood == "laplace" and black == 0:  # then the tails are hardly there
        assert best == pytest.approx(np.abs(found - truth).mean(), rel=0.01)


@pytest.mark.parametrize("likelihood", ["laplace", "gaussian"])
@pytest.mark.parametrize("scale", [0.1, 2.0, 256.0])
def test_a_likelihood_is_the_same_for_images_with_their_levels_reversed(
    likelihood: str, scale: float
) -> None:
    bits = pixel_bits(scale, likelihood)
    assert np.isfinite(bits).all()
    np.testing.assert_allclose(bits, bits[::-1, ::-1], rtol=1e-12)
    np.testing.assert_allclose(np.exp2(-bits).sum(axis=1), 1, rtol=1e-9)


def test_far_errors_cost_what_their_likelihood_says() -> None:
    # Of a Laplace distribution, the tails fall by 1 / (scale ln 2) bits per level.
    brighter = pixel_bits(0.5, "laplace")[0, [200, 201]]
    assert brighter[1] - brighter[0] == pytest.approx(2 / math.log(2))
    # Of a Gaussian one, log2 of the mass is about that of the density (Mills's ratio aside).
    density = 180**2 / 2 / math.log(2)
    assert pixel_bits(1.0, "gaussian")[20, 200] == pytest.approx(density, rel=0.01)


def test_a_likelihood_that_is_not_of_all_images_is_told(tmp_path: Path) -> None:
    class OfOne(torch.nn.Module):
        def nll(self, ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"visual": torch.ones(1, ids.shape[1])}

    given = inputs(tmp_path, generator=OfOne())
    text = r"OfOne: `nll` of segment 'visual' gives shape \[1, 4\], expected \[3, n\]"
    with pytest.raises(StageError, match=text):
        given.nll(torch.zeros(3, 4).long(), torch.zeros(3).long())


def test_layout_persistence_is_one_for_copies_and_zero_for_strangers() -> None:
    rng = np.random.default_rng(0)
    shape = (3, 10, 4)
    groups = rng.normal(size=(30, 1, 50))
    copies = np.broadcast_to(groups, (30, 4, 50)).reshape(120, 50)
    assert persistence(copies, shape).mean() == pytest.approx(1.0, abs=0.15)
    assert persistence(rng.normal(size=(120, 50)), shape).mean() == pytest.approx(0.0, abs=0.02)
    # What a whole class shares does not count.
    of_class = np.repeat(rng.normal(size=(3, 50)), 40, axis=0)
    assert persistence(rng.normal(size=(120, 50)) + 100 * of_class, shape).mean() == pytest.approx(
        0.0, abs=0.02
    )


def test_persistence_is_the_mean_over_pairs_by_brute_force() -> None:
    classes, groups, size = 2, 3, 4
    x = np.random.default_rng(1).normal(size=(classes, groups * size, 7))
    x[:, ::4] += x[:, 1::4]
    centred = x - x.mean(axis=1, keepdims=True)
    inside, between = [], []
    for members in centred:
        for a, b in itertools.permutations(range(groups * size), 2):
            similarity = (
                members[a] @ members[b] / np.linalg.norm(members[a]) / np.linalg.norm(members[b])
            )
            (inside if a // size == b // size else between).append(similarity)
    found = persistence(x.reshape(-1, 7), (classes, groups, size))
    assert found.shape == (6,)
    assert found.mean() == pytest.approx(np.mean(inside) - np.mean(between))


@pytest.mark.parametrize(
    ("settings", "name", "places"),
    [
        ({}, "3", [0, 1, 2]),
        ({"positions": (0, 2)}, "at_0_2", [0, 2]),
        ({"positions": (1, 2, 5), "segment": "visual"}, "visual_at_1-2_5", [4, 5, 8]),
        ({"segment": "prologue"}, "prologue", [0, 1, 2]),
    ],
)
def test_layout_resamples_around_the_shared_tokens_and_measures_what_they_fix(
    settings: dict[str, Any],
    name: str,
    places: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = prologue().eval()
    for parameter in tokenizer.decoder.parameters():  # else all tokens decode to one grey
        torch.nn.init.normal_(parameter, std=0.5)
    generator = ar(tokenizer.layout)
    drawn = []

    def draw(labels: torch.Tensor, fixed: torch.Tensor | None, seed: int) -> torch.Tensor:
        ids = sample_ids(
            generator, labels % 3, Sampling(), torch.Generator().manual_seed(seed), 3, fixed
        )
        drawn.append((ids, fixed))
        return ids

    monkeypatch.setattr(
        "prologue_plugins.metrics.layout.extract_features",
        lambda images, *_: images.reshape(len(images), -1).astype(float),
    )
    with torch.inference_mode():
        found = Layout(
            LayoutSettings(groups_per_class=2, group_size=3, lowpass=2, **settings)
        ).measure(
            inputs(
                tmp_path,
                layout=tokenizer.layout,
                prefixes=(3,),
                tokenizer=tokenizer,
                generator=generator,
                draw=draw,
            )
        )
    assert [m.name for m in found] == [f"layout_pixels_{name}", f"layout_features_{name}"]
    ids, fixed = drawn[-1]
    assert fixed is not None
    with torch.inference_mode():
        pixels = to_bytes(tokenizer.decode(ids)).reshape(len(ids), -1).numpy().astype(float)
    shape = (len(DATA.spec.class_names), 2, 3)
    assert found[1].value == pytest.approx(persistence(pixels, shape).mean())
    assert found[1].value != 0
    assert torch.equal(ids[:, places], fixed[:, places])
    assert torch.equal(ids[0, places], ids[2, places])
    assert int((fixed != FREE).sum(dim=1).max()) == len(places)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"segment": "prolog"}, "found no segment 'prolog', but prologue, visual"),
        ({"segment": "prologue", "positions": (0, 2)}, "found 2 tokens of segment 'prologue', exp"),
        ({"positions": (6,)}, "found 6 tokens of an image, expected more than 6"),
        ({"positions": tuple(range(6))}, "nothing is left to be drawn"),
    ],
)
def test_layout_of_tokens_that_are_not_there_does_not_apply(
    settings: dict[str, Any], message: str
) -> None:
    planned = PlannedInputs(data=DATA, layout=LAYOUT, prefixes=(), samples=10, tokenizer=None)
    with pytest.raises(DoesNotApply, match=message):
        Layout(LayoutSettings(**settings)).check(planned)


def test_positions_rise_and_are_counted_from_0() -> None:
    for wrong in ((1, 0), (0, 0), (-1,)):
        with pytest.raises(ValueError, match="must be different numbers that rise"):
            LayoutSettings(positions=wrong)


@pytest.mark.parametrize("text", ["0", "0,3-5", "1-3", "0,2,4"])
def test_ranges_are_read_as_they_are_written(text: str) -> None:
    assert ranges(parse_ranges(text, 6)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found '', expected a number"),
        ("1,x", "found 'x', expected a number or a range"),
        ("5-3", "found the range 5-3, expected 3-5"),
        ("0,6", "found 6, expected numbers from 0 to 5"),
    ],
)
def test_a_text_that_is_no_ranges_says_what_was_found(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_ranges(text, 6)


@torch.inference_mode()
def test_attention_shares_are_those_of_an_explicit_softmax(tmp_path: Path) -> None:
    generator = ar(LAYOUT).eval()
    all_ids, chosen = ids(len(TEST)), DATA.subset("test", 5)
    test_ids, labels = all_ids[chosen], torch.from_numpy(DATA.labels("test")[chosen])
    maps = generator.attention(torch.from_numpy(test_ids), labels)
    assert maps is not None
    assert maps.shape == (2, 6, 6)
    assert maps.triu().abs().max() == 0  # no token attends to itself or to later ones
    assert (maps.sum(2) < 1).all()
    # The first layer by hand: rows are predicted places, columns the inputs, the class first.
    x = generator._inputs(torch.from_numpy(test_ids), labels, {}, {})
    block = generator.transformer.blocks[0]
    from prologue_plugins.layers.passes import normalise, rotate

    scaled = normalise(x) * block.attention_scale(generator.transformer.condition())  # type: ignore[operator]
    query, key, _ = block.attention.qkv(scaled).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)  # type: ignore[union-attr,operator]
    query = rotate(block.attention.query_norm(query), generator.positions())  # type: ignore[union-attr,operator]
    key = rotate(block.attention.key_norm(key), generator.positions())  # type: ignore[union-attr,operator]
    scores = torch.einsum("bhqc,bhkc->bhqk", query, key) / math.sqrt(8)
    scores = scores + torch.full((7, 7), -math.inf).triu(1)
    weights = scores.softmax(-1).mean((0, 1))
    # Place 4 (the second visual token) attends to the first prologue token, whose input stands
    # behind the class.
    assert maps[0, 3, 0].item() == pytest.approx(weights[4, 1].item(), abs=1e-6)
    found = by_name(
        Attention(AttentionSettings(images=5)).measure(
            inputs(tmp_path, test_ids=all_ids, generator=generator)
        )
    )
    assert found["attention_2"] == pytest.approx(
        100 * maps[:, 2:, :2].sum(2).mean().item(), rel=1e-4
    )


def test_cost_adds_up_the_trainings(tmp_path: Path) -> None:
    costs = {
        "train-tokenizer": StageCost(seconds=100, flops=3e12, machine="m"),
        "train-generator": StageCost(seconds=50, flops=1e12, machine="m"),
    }
    found = by_name(Cost(None).measure(inputs(tmp_path, costs=costs)))
    assert found == {"training_flops": 4, "training_seconds": 150}
    joint = {"train-tokenizer": costs["train-tokenizer"]}
    assert by_name(Cost(None).measure(inputs(tmp_path, costs=joint)))["training_flops"] == 3
    with pytest.raises(StageError, match="cost: a model is imported"):
        Cost(None).measure(inputs(tmp_path, costs={}))


def test_speed_is_the_best_of_its_repeats(tmp_path: Path) -> None:
    waits = iter([0.2, 0.05, 0.1])

    def draw(labels: torch.Tensor, prefix: torch.Tensor | None, seed: int) -> torch.Tensor:
        time.sleep(next(waits))
        return torch.zeros(len(labels), 13, dtype=torch.int64)

    tokenizer = prologue().eval()
    measured = Speed(SpeedSettings(images=10)).measure(
        inputs(tmp_path, draw=draw, tokenizer=tokenizer, machine="m")
    )
    assert 10 / 0.1 < measured[0].value < 10 / 0.05
    assert measured[0].protocol.details["machine"] == "m"


def test_inception_s_score_and_its_interval_follow_the_logits() -> None:
    logits = np.random.default_rng(0).normal(size=(200, 10)).astype(np.float32)
    probabilities = scipy.special.softmax(logits.astype(np.float64), axis=1)
    expected = [scipy.stats.entropy(row, probabilities.mean(axis=0)) for row in probabilities]
    assert divergences(logits) == pytest.approx(np.array(expected))


def test_kernel_influences_are_those_of_leaving_images_out() -> None:
    x, y = points(60, 0.4, 0).astype(np.float64), points(80, 0.0, 1).astype(np.float64)
    kernel = lambda a, b: (a @ b.T / 3 + 1) ** 3  # noqa: E731

    def distance(weights: np.ndarray) -> float:
        return float(weights @ kernel(x, x) @ weights - 2 * weights @ kernel(x, y).mean(axis=1))

    even = np.full(60, 1 / 60)
    found = kernel_influences(x, y)
    for index in (0, 30):
        more = even * (1 - 1e-6)
        more[index] += 1e-6
        assert found[index] - found.mean() == pytest.approx(
            (distance(more) - distance(even)) / 1e-6, rel=1e-3
        )
