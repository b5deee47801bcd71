"""FID, IS, precision and recall of `measure` on given features: torch-fidelity's, and ADM's own.

ADM's definitions (Dhariwal and Nichol 2021, after Heusel et al. 2017, Salimans et al. 2016 and
Kynkaanniemi et al. 2019) are written out here with NumPy and SciPy alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.special
import torch
from numpy.typing import NDArray
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

import prologue_bench as pb
from prologue_bench.registry import Registry
from prologue_plugins.metrics import fid, fidelity

Features = NDArray[np.float32]
REGISTRY = Registry.load()
SAMPLES, REFERENCE, WIDTH = 120, 150, 12
NEIGHBOURS, SPLITS = 3, 10


def features(count: int, seed: int, shift: float = 0.0) -> Features:
    """Correlated features [count, WIDTH]."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(WIDTH, WIDTH))
    return (rng.normal(size=(count, WIDTH)) @ mixing + shift).astype(np.float32)


OWN, OTHERS = features(SAMPLES, 0, 0.4), features(REFERENCE, 1)


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What `measure` says, where images have these features."""

    def given(images: Any, *_: Any) -> Features:
        return {SAMPLES: OWN, REFERENCE: OTHERS}[len(images)]

    for module in (fid, fidelity):
        monkeypatch.setattr(module, "load_features", given)
        monkeypatch.setattr(module, "check_features", lambda *_: WIDTH)
    rng = np.random.default_rng(2)
    images, reference = (
        rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8) for count in (SAMPLES, REFERENCE)
    )
    found = pb.measure(
        images,
        reference,
        ["gfid", "rfid", "inception-score", "precision-recall"],
        settings={"neighbours": NEIGHBOURS, "inception-score.splits": SPLITS},
        registry=REGISTRY,
        cache=tmp_path,
    )
    return {each.name: float(each.value or 0) for each in found.records}


def adm_fid(own: Features, others: Features) -> float:
    """|m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2)), by a square root of the product."""
    (m1, s1), (m2, s2) = (
        (each.mean(axis=0), np.cov(each, rowvar=False))
        for each in (own.astype(np.float64), others.astype(np.float64))
    )
    root = scipy.linalg.sqrtm(s1 @ s2)
    return float(np.sum((m1 - m2) ** 2) + np.trace(s1) + np.trace(s2) - 2 * np.trace(root).real)


def adm_inception_score(logits: Features, size: int) -> float:
    """The mean over parts of `size` images of exp(E KL(p(y|x) || p(y)))."""
    scores = []
    for start in range(0, len(logits), size):
        part = scipy.special.softmax(logits[start : start + size].astype(np.float64), axis=1)
        divergence = part * (np.log(part) - np.log(part.mean(axis=0, keepdims=True)))
        scores.append(np.exp(divergence.sum(axis=1).mean()))
    return float(np.mean(scores))


def adm_precision(samples: Features, reference: Features) -> float:
    """The share of samples that lie no farther from an image than its third neighbour does."""

    def distances(rows: Features, columns: Features) -> NDArray[np.float64]:
        apart = rows[:, None].astype(np.float64) - columns[None].astype(np.float64)
        return np.sqrt((apart**2).sum(axis=2))

    radii = np.sort(distances(reference, reference), axis=1)[:, NEIGHBOURS]
    return float((distances(samples, reference) <= radii).any(axis=1).mean())


def test_the_numbers_are_torch_fidelity_s_on_the_same_features(measured: dict[str, float]) -> None:
    own, others = torch.from_numpy(OWN), torch.from_numpy(OTHERS)
    distance = fid_statistics_to_metric(
        fid_features_to_statistics(own), fid_features_to_statistics(others), verbose=False
    )["frechet_inception_distance"]
    assert measured["gfid"] == pytest.approx(distance, rel=1e-6)
    assert measured["rfid"] == measured["gfid"]
    score = isc_features_to_metric(own, splits=SPLITS)["inception_score_mean"]
    assert measured["inception_score"] == pytest.approx(score, rel=1e-6)
    both = prc_features_to_metric(
        own,
        others,
        prc_neighborhood=NEIGHBOURS,
        prc_batch_size=1000,
        save_cpu_ram=False,
        verbose=False,
    )
    assert measured["precision"] == pytest.approx(both["precision"], abs=1e-6)
    assert measured["recall"] == pytest.approx(both["recall"], abs=1e-6)


def test_the_numbers_are_adm_s_on_the_same_features(measured: dict[str, float]) -> None:
    assert measured["gfid"] == pytest.approx(adm_fid(OWN, OTHERS), rel=1e-6)
    # torch-fidelity takes the parts of a permutation of its own, and ADM those in order.
    shuffled = OWN[np.random.RandomState(2020).permutation(SAMPLES)]
    score = adm_inception_score(shuffled, SAMPLES // SPLITS)
    assert measured["inception_score"] == pytest.approx(score, rel=1e-6)
    assert measured["precision"] == pytest.approx(adm_precision(OWN, OTHERS), abs=1e-6)
    assert measured["recall"] == pytest.approx(adm_precision(OTHERS, OWN), abs=1e-6)
    assert 0.2 < measured["precision"] < 1
