from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from filelock import FileLock
from hypothesis import settings

from prologue_bench.cli.app import cli
from prologue_bench.config.ablation import Ablation, load_ablation
from prologue_bench.config.files import Overrides
from prologue_bench.pipeline import flops
from prologue_bench.pipeline.executor import Watcher
from prologue_bench.pipeline.planner import PlannedStage
from prologue_bench.pipeline.stages import Stage
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.storage.store import Store

# A shell lets what it starts in the background ignore Ctrl-C, and so would what the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# What tests put in the place of parts of the program is in no other process.
os.environ["PROLOGUE_BENCH_JOBS"] = "1"
# The same examples each time; `--hypothesis-profile default --hypothesis-seed N` draws others.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")
ROOT = Path(__file__).parent.parent
PUBLISHED = [
    ROOT / "reports" / each.stem for each in sorted(ROOT.glob("registry/baselines/*.json"))
]
"""Reports with a baseline: others beside them, such as that of `make demo`, are their writers'."""
OLD_REPORTS = ROOT / "tests" / "old_reports"
"""Results of an earlier version, with fewer steps and wider models; they are read as ever."""
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


def run_tiny(folder: Path, *options: str, text: str = SMOKE, trained: Path | None = None) -> None:
    """Run an ablation from tiny.yaml in a folder, with its store and its report there.

    What the finished run `trained` has in its store is not run again.
    """
    if trained is not None:
        shutil.copytree(trained / "store", folder / "store")
    (folder / "tiny.yaml").write_text(text)
    where = ["--out", str(folder / "report"), "--force", "--store", str(folder / "store")]
    found = CliRunner().invoke(cli, ["run", str(folder / "tiny.yaml"), *where, *options])
    assert found.exit_code == 0, (found.output, found.exception)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Models this small are slower with more."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _flops_counted_once() -> Iterator[None]:
    """Counting a tiny stage's FLOPs takes as long as running it, and most tests plan the same."""
    known: dict[str, float | None] = {}
    count = flops.stage_flops

    def once(stage: Stage, workspace: Workspace) -> float | None:
        if stage.key not in known:
            known[stage.key] = count(stage, workspace)
        return known[stage.key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flops, "stage_flops", once)
        yield


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry.load()


def _once(base: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first process to ask for it makes for those of all workers."""
    shared = base.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / name, shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke ablation's tiny.yaml, store and report, run once for all tests; read only."""
    return _once(tmp_path_factory, "finished", run_tiny)


@pytest.fixture(scope="session")
def two_seeds(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """As `finished`, of seeds 0 and 1."""

    def run(folder: Path) -> None:
        run_tiny(folder, "--seeds", "0,1", trained=finished)

    return _once(tmp_path_factory, "two-seeds", run)


@pytest.fixture
def trained(finished: Path, tmp_path: Path) -> Store:
    """A store with all stages of the smoke ablation, for the test to change."""
    return Store(shutil.copytree(finished / "store", tmp_path / "trained"))


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
        self.lines: list[str] = []

    @property
    def kinds(self) -> list[str]:
        """Of the stages that ran."""
        return [line.split()[0] for line in self.ran]

    def started(self, planned: PlannedStage, index: int, total: int) -> None:
        self.ran.append(f"{planned.stage.kind} {planned.experiment}")

    def advanced(
        self, planned: PlannedStage, done: int, total: int, losses: Mapping[str, float]
    ) -> None:
        self.steps.append((done, total))

    def printed(self, planned: PlannedStage | None, line: str) -> None:
        self.lines.append(line)

    def waiting(self, planned: PlannedStage) -> None:
        pass

    def finished(self, planned: PlannedStage, seconds: float) -> None:
        pass

    def failed(self, planned: PlannedStage, reason: str) -> None:
        self.failures[planned.experiment] = reason


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="session")
def random_vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of VGG-16's weights as they are drawn."""
    from torchvision import models  # takes long to import

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(models.vgg16(weights=None).state_dict(), path)
    return path
