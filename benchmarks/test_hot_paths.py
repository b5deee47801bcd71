"""Times of the hot paths at 96 channels and 3 layers: make bench."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from prologue_bench.config.ablation import load_ablation
from prologue_bench.config.files import Overrides
from prologue_bench.config.settings import (
    GeneratorTraining,
    Guidance,
    Optimisation,
    Sampling,
    TokenizerTraining,
)
from prologue_bench.contracts import DataSource, Generator, NoSettings, Tokenizer, to_float
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.sampling.decoding import sample_ids
from prologue_bench.storage.store import Store
from prologue_bench.training.models import GeneratorModel, LossModel, TokenizerModel
from prologue_bench.training.optimisation import optimizer_wrapper
from prologue_plugins.datasets.fashion_mnist import EmbeddedFashionMnist
from prologue_plugins.generators.ar import Ar
from prologue_plugins.generators.settings import ArSettings, ArTransformerSettings
from prologue_plugins.layers.settings import TransformerSettings
from prologue_plugins.metrics.features import extract_features
from prologue_plugins.metrics.frechet import frechet_distance, moments
from prologue_plugins.metrics.settings import FidSettings
from prologue_plugins.tokenizers.prologue import Prologue
from prologue_plugins.tokenizers.settings import PrologueSettings

BATCH = 64
SIZE = TransformerSettings(width=96, layers=3, heads=3)
AR = ArSettings(transformer=ArTransformerSettings(width=96, layers=3, heads=3, dropout=0.0))


@pytest.fixture(scope="module")
def data() -> DataSource:
    return EmbeddedFashionMnist(NoSettings())


@pytest.fixture(scope="module")
def images(data: DataSource) -> torch.Tensor:
    return torch.from_numpy(data.images("train")[:BATCH].copy())


def tokenizer(data: DataSource, prologue_tokens: int) -> Tokenizer:
    torch.manual_seed(0)
    settings = PrologueSettings(
        patch_size=4,
        encoder=SIZE,
        decoder=SIZE,
        visual_codebook=256,
        prologue_codebook=128,
        prologue_tokens=prologue_tokens,
    )
    return Prologue(settings, data.spec)


def generator(data: DataSource, of: Tokenizer) -> Generator:
    return Ar(AR, of.layout, data.spec.labels)


def training_step(model: LossModel, batch: dict[str, Any]) -> Iterator[None]:
    wrapper = optimizer_wrapper(model.parameters(), Optimisation())
    while True:
        model.begin_step(0, seed=0)
        model.train_step(batch, wrapper)
        yield


@pytest.mark.parametrize("prologue_tokens", [0, 8])
def test_tokenizer_step(
    benchmark: BenchmarkFixture, data: DataSource, images: torch.Tensor, prologue_tokens: int
) -> None:
    model = tokenizer(data, prologue_tokens)
    prior = generator(data, model) if model.prior else None
    step = training_step(
        TokenizerModel(model, prior, TokenizerTraining(l2_weight=1.0), data.spec.none_label),
        {"images": images},
    )
    benchmark(next, step)


def test_generator_step(
    benchmark: BenchmarkFixture, data: DataSource, images: torch.Tensor
) -> None:
    model = tokenizer(data, 8)
    labels = torch.from_numpy(data.labels("train")[:BATCH])
    with torch.no_grad():
        ids = model.encode(to_float(images))
    step = training_step(
        GeneratorModel(generator(data, model), GeneratorTraining(), data.spec.none_label),
        {"ids": ids, "labels": labels},
    )
    benchmark(next, step)


def test_encode(benchmark: BenchmarkFixture, data: DataSource, images: torch.Tensor) -> None:
    model = tokenizer(data, 8).eval()
    with torch.inference_mode():
        benchmark(model.encode, to_float(images))


def test_decode(benchmark: BenchmarkFixture, data: DataSource, images: torch.Tensor) -> None:
    model = tokenizer(data, 8).eval()
    with torch.inference_mode():
        ids = model.encode(to_float(images))
        benchmark(model.decode, ids)


@pytest.mark.parametrize("guidance", [{}, {"all": Guidance(scale=2.0)}], ids=["plain", "guided"])
def test_sampling(
    benchmark: BenchmarkFixture, data: DataSource, guidance: dict[str, Guidance]
) -> None:
    model = generator(data, tokenizer(data, 8)).eval()
    arguments = (model, torch.arange(500) % 10, Sampling(guidance=guidance), torch.Generator(), 10)
    benchmark.pedantic(sample_ids, args=arguments, rounds=5, warmup_rounds=1)


def test_features(benchmark: BenchmarkFixture, data: DataSource) -> None:
    arguments = (
        data.images("test")[:200],
        FidSettings(),
        torch.device("cpu"),
        lambda done, total: None,
    )
    benchmark.pedantic(extract_features, args=arguments, rounds=3, warmup_rounds=1)


def test_frechet_distance(benchmark: BenchmarkFixture) -> None:
    rng = torch.Generator().manual_seed(0)
    first, second = (torch.randn(2000, 1280, generator=rng).numpy() for _ in range(2))
    arguments = (moments(first, "first"), moments(second, "second"))
    benchmark.pedantic(frechet_distance, args=arguments, rounds=2)


def test_registry(benchmark: BenchmarkFixture) -> None:
    benchmark(Registry.load)


def test_planning_a_thousand_variants(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    registry, store = Registry.load(), Store(tmp_path / "store")
    weights = [round(0.01 * index, 2) for index in range(1000)]
    values = (f"vary={{tokenizer.ce_weight: {weights}}}", "seeds=[0]", "baseline=")
    path = Path(__file__).parent.parent / "ablations" / "prologue_count.yaml"

    def plan() -> None:
        make_plan(
            load_ablation(
                path, registry, Overrides(values=(*values, "data=fashion-mnist-embedded"))
            ),
            Workspace(store),
        )

    benchmark.pedantic(plan, rounds=1)


def test_start_up(benchmark: BenchmarkFixture) -> None:
    command = [sys.executable, "-m", "prologue_bench.cli", "list"]
    benchmark.pedantic(
        subprocess.run, args=(command,), kwargs={"capture_output": True, "check": True}, rounds=5
    )


def cpu_seconds() -> float:
    """What processes that this one started and waited for have computed, user and system."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.benchmark(timer=cpu_seconds)
def test_reading_and_comparing_two_results(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """CPU seconds of the process, which are to stay below one, on a quiet machine."""
    published = Path(__file__).parent.parent / "reports" / "prologue_count"
    changed = json.loads((published / "results.json").read_text())
    for index, run in enumerate(changed["runs"]):  # so that there are intervals to compute
        for each in run["measurements"]:
            each["value"] *= 1 + 0.01 * (index % 3)
    (tmp_path / "results.json").write_text(json.dumps(changed))
    command = [sys.executable, "-m", "prologue_bench", "compare", published, tmp_path]
    benchmark.pedantic(
        subprocess.run, args=(command,), kwargs={"capture_output": True, "check": True}, rounds=5
    )
