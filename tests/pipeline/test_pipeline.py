"""Whole runs at the smallest size: caching, sharing, resuming, damage, failures."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch

from prologue_bench.cli.console.progress import Pace
from prologue_bench.config.ablation import Ablation
from prologue_bench.errors import Interrupted, StageError, UserError
from prologue_bench.pipeline import estimates, flops
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.flops import stage_flops
from prologue_bench.pipeline.planner import PlannedStage, make_plan
from prologue_bench.pipeline.provenance import git_revision
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from prologue_plugins.metrics.rate import Rate
from tests.conftest import ROOT, Recorder

Load = Callable[..., Ablation]


def never() -> bool:
    return False


def test_a_second_run_does_nothing(load: Load, store: Store, recorder: Recorder) -> None:
    outcome = execute(make_plan(load(), Workspace(store)), Workspace(store), recorder, never)
    assert outcome.failures == {}
    assert len(recorder.ran) == 20
    again = Recorder()
    plan = make_plan(load(), Workspace(Store(store.root)))
    assert plan.missing == ()
    execute(plan, Workspace(store), again, never)
    assert again.ran == []


def test_the_same_seed_gives_the_same_artifacts(load: Load, store: Store, trained: Store) -> None:
    checksums = []
    for each in (store, trained):
        plan = make_plan(load(), Workspace(each))
        assert bool(plan.missing) == (each is store)
        execute(plan, Workspace(each), Recorder(), never)
        checksums.append(
            {
                (planned.stage.key, file): entry
                for planned in plan.stages
                for file, entry in each.get(planned.stage.key).manifest["files"].items()
                if file.endswith(("safetensors", "npy"))
            }
        )
    assert checksums[0] == checksums[1]


def test_variants_share_what_they_have_in_common(load: Load, store: Store) -> None:
    plan = make_plan(
        load("vary={generator_training.steps: [20, 30]}", "baseline="), Workspace(store)
    )
    kinds = [planned.stage.kind for planned in plan.stages]
    assert kinds.count("train-tokenizer") == kinds.count("encode") == 1
    assert kinds.count("train-generator") == 2


def test_sampling_seeds_share_the_training_and_a_search(load: Load, store: Store) -> None:
    plan = make_plan(
        load(
            "sampling_seeds=[0, 7]",
            "sampling.search={validation_images: 8, grid: {temperature: [0.9, 1.0]}}",
        ),
        Workspace(store),
    )
    kinds = [planned.stage.kind for planned in plan.stages]
    assert (
        kinds.count("train-tokenizer")
        == kinds.count("train-generator")
        == kinds.count("search")
        == 2
    )
    assert kinds.count("sample") == 4
    assert [pipeline.experiment.sampling_seed for pipeline in plan.pipelines] == [0, 7, 0, 7]
    assert len(plan.first_pipelines) == 2
    alone = make_plan(load(), Workspace(store))
    seeded = make_plan(load("sampling_seeds=[0]"), Workspace(store))
    assert [p.stage.key for p in alone.stages] == [p.stage.key for p in seeded.stages]


def test_a_generator_is_trained_only_where_a_metric_looks_at_it(load: Load, store: Store) -> None:
    def kinds(metrics: str) -> set[str]:
        return {
            planned.stage.kind
            for planned in make_plan(load(f"metrics={metrics}"), Workspace(store)).stages
        }

    tokenizer = {"train-tokenizer", "encode", "reconstruct", "measure", "picture-reconstructions"}
    generation = {"train-generator", "sample", "picture-samples", "picture-tokens"}
    generation.add("picture-attention")
    assert kinds("[psnr, codebook, probe]") == tokenizer
    for metric in ("gfid", "rate", "layout", "cost"):
        assert kinds(f"[psnr, {metric}]") == tokenizer | generation
    assert kinds("[]") == (tokenizer | generation) - {"measure"}


def test_keys_depend_on_what_is_read_and_on_nothing_else(load: Load, store: Store) -> None:
    def keys(*values: str) -> dict[str, str]:
        return {
            p.stage.kind + p.experiment: p.stage.key
            for p in make_plan(load(*values), Workspace(store)).stages
        }

    base = keys()
    assert keys("title=Another title", "tokenizer_training.checkpoint_steps=3") == base
    changed = keys("sampling.temperature=0.5")
    differing = {name for name in base if base[name] != changed[name]}
    assert {name.split("prologue")[0] for name in differing} == {
        *("sample", "picture-samples", "picture-tokens")
    }
    changed = keys("tokenizer_training.prior_optimisation.weight_decay=0.5")
    assert (
        changed["train-tokenizerprologue_tokens=0 seed 0"]
        == base["train-tokenizerprologue_tokens=0 seed 0"]
    )
    assert (
        changed["train-tokenizerprologue_tokens=2 seed 0"]
        != base["train-tokenizerprologue_tokens=2 seed 0"]
    )


def test_a_file_is_part_of_keys_by_what_it_holds(load: Load, store: Store, tmp_path: Path) -> None:
    def key(name: str) -> str:
        plan = make_plan(
            load(f"metrics=[{{use: gfid, reference: {tmp_path / name}}}]"), Workspace(store)
        )
        return plan.pipelines[0].measures[0].key

    for level, name in enumerate(("one.npz", "two.npz", "three.npz")):
        np.savez(tmp_path / name, arr_0=np.full((2, 14, 14, 3), level, np.uint8))
    before = key("one.npz")
    assert key("two.npz") != before
    (tmp_path / "one.npz").rename(tmp_path / "moved.npz")
    assert key("moved.npz") == before
    (tmp_path / "moved.npz").write_bytes((tmp_path / "three.npz").read_bytes())
    assert key("moved.npz") != before
    with pytest.raises(
        UserError, match=r"metrics\[0\]\.reference: must be a file that is there: .*one\.npz"
    ):
        key("one.npz")


def test_a_damaged_artifact_is_found_and_rebuilt(load: Load, trained: Store) -> None:
    plan = make_plan(load(), Workspace(trained))
    sample = next(p.stage for p in plan.stages if p.stage.kind == "sample")
    path = trained.get(sample.key) / "images.npy"
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    fresh, recorder = Store(trained.root), Recorder()
    plan = make_plan(load(), Workspace(fresh))
    assert [p.stage.key for p in plan.missing] == [sample.key]
    execute(plan, Workspace(fresh), recorder, never)
    assert path.read_bytes() == before


class Shares(Recorder):
    """The shares of each stage that were reported as done, in order.

    Metrics report on each of their passes over the images; they are left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shares: dict[str, list[float]] = {}

    def advanced(
        self, planned: PlannedStage, done: int, total: int, losses: Mapping[str, float]
    ) -> None:
        if planned.stage.kind != "measure":
            name = f"{planned.stage.kind} {planned.stage.key}"
            self.shares.setdefault(name, []).append(done / total)


def test_what_is_left_of_a_stage_never_grows(load: Load, store: Store) -> None:
    shares = Shares()
    execute(make_plan(load("metrics=[gfid]"), Workspace(store)), Workspace(store), shares, never)
    assert {"sample", "reconstruct"} <= {name.split()[0] for name in shares.shares}
    for name, found in shares.shares.items():
        assert found == sorted(found), name
        assert found[-1] == 1, name


class StopAfter(Recorder):
    """Asks to stop after so many steps of one kind of stage."""

    def __init__(self, kind: str, steps: int) -> None:
        super().__init__()
        self.kind, self.left = kind, steps

    def advanced(
        self, planned: PlannedStage, done: int, total: int, losses: Mapping[str, float]
    ) -> None:
        if self.ran[-1].startswith(self.kind):
            self.left -= 1

    def requested(self) -> bool:
        return self.left <= 0


@pytest.mark.parametrize("kind", ["train-tokenizer", "train-generator"])
def test_a_stopped_run_goes_on_from_its_last_step(load: Load, store: Store, kind: str) -> None:
    stopper = StopAfter(kind, 9)
    with pytest.raises(Interrupted):
        execute(make_plan(load(), Workspace(store)), Workspace(store), stopper, stopper.requested)
    recorder = Recorder()
    execute(make_plan(load(), Workspace(store)), Workspace(store), recorder, never)
    assert recorder.ran[0].startswith(kind)
    logs = [path.read_text() for path in store.root.glob("artifacts/*/log.txt")]
    assert len(logs) == 20, "every stage has a log"
    assert sum("ended by Interrupted: stopped after step" in log for log in logs) == 1
    assert recorder.steps[0][0] >= 8, "the first report is of the step it went on from"


class ThreadsOf(StopAfter):
    """Remembers with how many threads the steps were made."""

    def __init__(self, kind: str, steps: int) -> None:
        super().__init__(kind, steps)
        self.threads: set[int] = set()

    def advanced(
        self, planned: PlannedStage, done: int, total: int, losses: Mapping[str, float]
    ) -> None:
        super().advanced(planned, done, total, losses)
        self.threads.add(torch.get_num_threads())


@pytest.mark.parametrize(
    ("cores", "began", "now", "expected"), [(8, 3, 1, 3), (8, 1, 3, 1), (1, 3, 1, 1), (8, 2, 2, 2)]
)
def test_a_stopped_training_goes_on_with_the_threads_that_it_began_with(
    load: Load,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cores: int,
    began: int,
    now: int,
    expected: int,
) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: cores)
    plan = make_plan(load(), Workspace(store))
    first = attrs.evolve(plan, stages=plan.stages[:1])
    kind = plan.stages[0].stage.kind
    stopped, resumed = ThreadsOf(kind, 9), ThreadsOf(kind, 10**9)
    torch.set_num_threads(began)
    with pytest.raises(Interrupted):
        execute(first, Workspace(store), stopped, stopped.requested)
    torch.set_num_threads(now)
    execute(first, Workspace(store), resumed, never)
    assert (stopped.threads, resumed.threads) == ({began}, {expected})
    assert torch.get_num_threads() == now, "for the stages after it"
    artifact = store.get(plan.stages[0].stage.key)
    assert str(artifact.manifest["machine"]).startswith(f"cpu x {expected} ")
    told = capsys.readouterr().err
    assert ("began with 3 threads and goes on with 1" in told) == (cores < began)
    assert ("differ in their last digits" in told) == (cores < began)


def test_a_failed_variant_is_reported_and_the_rest_goes_on(
    load: Load, store: Store, recorder: Recorder
) -> None:
    ablation = load(
        "vary={tokenizer_training.autoencoder.learning_rate: [1.0e-3, 1.0e+30]}", "baseline="
    )
    outcome = execute(make_plan(ablation, Workspace(store)), Workspace(store), recorder, never)
    assert set(recorder.failures) == {"learning_rate=1e+30 seed 0"}
    assert "is nan at step" in next(iter(recorder.failures.values())) or "inf" in str(
        recorder.failures
    )
    assert len(outcome.failures) == 10, "the stages behind the failed one fail with it"
    assert any(line.startswith("measure") for line in recorder.ran if "0.001" in line)


@pytest.fixture
def unmeasured(load: Load, trained: Store) -> Store:
    """A store in which nothing but the measurements is missing."""
    for planned in make_plan(load(), Workspace(trained)).stages:
        if planned.stage.kind == "measure":
            shutil.rmtree(trained.artifact(planned.stage.key))
    return Store(trained.root)


def test_an_error_in_a_component_becomes_one_line_with_its_traceback_in_a_file(
    load: Load, unmeasured: Store, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("metric divides by zero")

    monkeypatch.setattr("prologue_plugins.metrics.rate.Rate.measure", broken)
    execute(make_plan(load(), Workspace(unmeasured)), Workspace(unmeasured), recorder, never)
    reason = recorder.failures["prologue_tokens=0 seed 0"]
    assert reason.startswith("ZeroDivisionError: metric divides by zero (traceback in ")
    assert "in broken" in Path(reason.split("traceback in ")[1].rstrip(")")).read_text()


def test_a_full_disk_stops_the_run_with_what_to_do(
    load: Load, store: Store, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(
        StageError, match="no space is left on the disk; free some and run the same command again"
    ):
        execute(make_plan(load(), Workspace(store)), Workspace(store), recorder, never)


def test_a_full_disk_is_seen_behind_another_error(
    load: Load, store: Store, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("I/O error")

    monkeypatch.setattr("prologue_bench.storage.weights.save_file", fails)
    monkeypatch.setattr(Store, "is_full", lambda self: True)
    with pytest.raises(StageError, match="no space is left on the disk"):
        execute(make_plan(load(), Workspace(store)), Workspace(store), recorder, never)


def test_a_metric_that_is_no_number_is_a_failure(
    load: Load, unmeasured: Store, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Rate.measure
    monkeypatch.setattr(
        Rate, "measure", lambda *a: [attrs.evolve(m, value=float("nan")) for m in measure(*a)]
    )
    execute(make_plan(load(), Workspace(unmeasured)), Workspace(unmeasured), recorder, never)
    assert "is not a finite number" in recorder.failures["prologue_tokens=0 seed 0"]


def test_estimates_come_from_earlier_timings(load: Load, store: Store, trained: Store) -> None:
    typical = make_plan(load(), Workspace(store))
    assert all(p.seconds for p in typical.missing if not p.stage.kind.startswith("picture"))
    later = make_plan(load("seeds=[1]"), Workspace(trained))
    assert all(p.seconds is not None for p in later.missing)


def test_timings_with_other_threads_are_estimated_from_where_there_are_none_nearer(
    load: Load, trained: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = estimates.machine().rpartition(" on ")[2]
    later = load("seeds=[1]")
    own = {
        p.stage.kind: p.seconds
        for p in make_plan(later, Workspace(trained)).missing
        if p.stage.kind != "measure"
    }
    monkeypatch.setattr(estimates, "machine", lambda: f"cpu x 99 on {host}")
    apart = make_plan(later, Workspace(trained)).missing
    assert {p.stage.kind: p.seconds for p in apart if p.stage.kind != "measure"} == own
    assert all(p.seconds is not None for p in apart)
    monkeypatch.setattr(estimates, "machine", lambda: "cpu x 99 on elsewhere")
    elsewhere = make_plan(later, Workspace(trained)).missing
    measures = [p for p in elsewhere if p.stage.kind == "measure"]
    timed = {p.stage.key: p.seconds for p in apart}
    assert measures
    assert all(p.seconds and p.seconds != timed[p.stage.key] for p in measures), "typical"


def test_guided_sampling_counts_the_pass_without_a_class(load: Load, store: Store) -> None:
    def counted(*overrides: str) -> dict[str, float]:
        values = (
            "vary={}",
            "baseline=",
            "sampling.samples=64",
            "tokenizer.prologue_tokens=2",
            *overrides,
        )
        plan = make_plan(load(*values), Workspace(store))
        return {planned.stage.kind: planned.flops for planned in plan.stages}

    plain, guided = counted(), counted("sampling.guidance={visual: {scale: 2.0}}")
    search = (
        "sampling.search={samples: 64, validation_images: 8, grid: {guidance.visual.scale: [1.0, "
        "2.0, 4.0]}}"
    )
    assert counted("sampling.guidance={visual: {scale: 1.0}}")["sample"] == plain["sample"]
    # An image is decoded once all the same.
    assert plain["sample"] < guided["sample"] < 2 * plain["sample"]
    searched = counted(search)
    assert searched["search"] == plain["sample"] + 2 * guided["sample"]
    assert searched["sample"] == guided["sample"], "the dearest settings may be chosen"


def test_flops_of_a_tokenizer_step_match_a_count_by_hand(load: Load, store: Store) -> None:
    stage = next(
        p.stage for p in make_plan(load(), Workspace(store)).stages if p.stage.kind == "reconstruct"
    )
    # Smoke on 14 x 14 RGB, patch 7: 4 tokens through a decoder of width 32, one layer, hidden 85.
    tokens, width, hidden, patch = 4, 32, 85, 7 * 7 * 3
    linear = 14 * width + 4 * width * width + 2 * hidden * width + hidden * width + width * patch
    attention = 2 * tokens * width
    # Scales and gates from the condition, once an image here.
    condition = 5 * width * width + (4 + 1) * 32
    counted = stage_flops(stage, Workspace(store)) / 64
    assert counted == pytest.approx(2 * tokens * (linear + attention), abs=2 * condition + 1)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a checkout")
def test_the_revision_is_that_of_the_checkout() -> None:
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    found = git_revision().removesuffix("-dirty")
    assert len(found) >= 12
    assert head.startswith(found)


def test_a_plan_counts_each_size_once_and_counts_what_each_takes(
    load: Load, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A joint prior changes the count, and so may any fraction of a component; rates do not."""
    counted = []
    monkeypatch.setattr(
        flops, "stage_flops", lambda stage, at: counted.append(stage) or stage_flops(stage, at)
    )
    weights = (
        "vary={tokenizer.ce_weight: [0.0, 0.5, 1.0, 2.0], tokenizer.encoder.ffn_ratio: [2.0, 3.0]}"
    )
    plan = make_plan(load("tokenizer.prologue_tokens=2", weights, "baseline="), Workspace(store))
    trainings = [planned for planned in plan.stages if planned.stage.kind == "train-tokenizer"]
    assert len(trainings) == 8
    assert sum(stage.kind == "train-tokenizer" for stage in counted) == 8
    assert [planned.flops for planned in trainings] == [
        stage_flops(planned.stage, Workspace(store)) for planned in trainings
    ]
    counted.clear()
    rates = "vary={tokenizer_training.autoencoder.learning_rate: [0.1, 0.2, 0.3]}"
    plan = make_plan(load("tokenizer.prologue_tokens=2", rates, "baseline="), Workspace(store))
    trainings = [planned for planned in plan.stages if planned.stage.kind == "train-tokenizer"]
    assert len(trainings) == 3
    assert sum(stage.kind == "train-tokenizer" for stage in counted) == 1


def test_samples_of_many_seeds_are_of_one_size(
    load: Load, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    monkeypatch.setattr(
        flops, "stage_flops", lambda stage, at: counted.append(stage) or stage_flops(stage, at)
    )
    plan = make_plan(
        load("sampling_seeds=[0, 1, 2, 3]", "seeds=[0, 1]", "vary={}", "baseline="),
        Workspace(store),
    )
    samples = [planned.flops for planned in plan.stages if planned.stage.kind == "sample"]
    assert len(samples) == 8
    assert len({*samples}) == 1
    assert sum(stage.kind == "sample" for stage in counted) == 1


def test_the_pace_starts_anew_where_a_stage_counts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 0.0}
    monkeypatch.setattr("prologue_bench.cli.console.progress.time.monotonic", lambda: clock["now"])
    pace = Pace()
    said = []
    for clock["now"], done, total in (
        (0, 0, 2000),
        (10, 1000, 2000),
        (20, 5, 10_000),
        (30, 105, 10_000),
    ):
        said.append(pace.text(done, total))
    assert said == ["", "100/s, 10 s left", "", "10.0/s, 16 min 30 s left"]
