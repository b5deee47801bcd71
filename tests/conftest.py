from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import settings

from prologue_bench.cli.app import cli
from prologue_bench.config.ablation import Ablation, load_ablation
from prologue_bench.config.files import Overrides
from prologue_bench.pipeline.executor import Watcher
from prologue_bench.pipeline.planner import PlannedStage
from prologue_bench.registry import Registry
from prologue_bench.storage.store import Store

# A shell lets what it starts in the background ignore Ctrl-C, and so would what the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The same examples each time; `--hypothesis-profile default --hypothesis-seed N` draws others.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")
ROOT = Path(__file__).parent.parent
SMOKE = """
name: tiny
title: A tiny comparison
data: {use: shapes, size: 14, train_images: 96, test_images: 64}
profile: smoke
tokenizer: {use: prologue}
generator: {use: ar}
vary:
  tokenizer.prologue_tokens: [0, 2]
seeds: [0]
baseline: {tokenizer.prologue_tokens: 0}
sampling: {samples: 24, batch_size: 12}
metrics: [rate]
"""


def run_tiny(folder: Path, *options: str, text: str = SMOKE) -> None:
    """Run an ablation from tiny.yaml in a folder, with its store and its report there."""
    (folder / "tiny.yaml").write_text(text)
    where = ["--out", str(folder / "report"), "--force", "--store", str(folder / "store")]
    found = CliRunner().invoke(cli, ["run", str(folder / "tiny.yaml"), *where, *options])
    assert found.exit_code == 0, (found.output, found.exception)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Models this small are slower with more."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry.load()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, where nothing is known of any file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def smoke_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SMOKE)
    return path


@pytest.fixture
def load(smoke_file: Path, registry: Registry) -> Callable[..., Ablation]:
    """Load the smoke ablation with --set values."""

    def loader(*values: str) -> Ablation:
        return load_ablation(smoke_file, registry, Overrides(values=values))

    return loader


class Recorder(Watcher):
    """Remembers which stages ran and how."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.failures: dict[str, str] = {}
        self.steps: list[tuple[int, int]] = []

    def started(self, planned: PlannedStage, index: int, total: int) -> None:
        self.ran.append(f"{planned.stage.kind} {planned.experiment}")

    def advanced(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def waiting(self, planned: PlannedStage) -> None:
        pass

    def finished(self, planned: PlannedStage, seconds: float) -> None:
        pass

    def failed(self, planned: PlannedStage, reason: str) -> None:
        self.failures[planned.experiment] = reason


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()
