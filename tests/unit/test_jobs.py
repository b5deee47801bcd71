"""How many stages run at a time, in what order, and what they take."""

from __future__ import annotations

import io
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from prologue_bench.cli.app import cli
from prologue_bench.cli.console.needs import needs_line
from prologue_bench.cli.console.progress import (
    LiveProgress,
    PlainProgress,
    QuietProgress,
    VerboseProgress,
)
from prologue_bench.config.ablation import Ablation
from prologue_bench.contracts import AutoregressiveGenerator, Segment, TokenLayout
from prologue_bench.errors import Interrupted, StageError, UserError
from prologue_bench.pipeline import memory
from prologue_bench.pipeline.executors import jobs as choosing
from prologue_bench.pipeline.executors.graph import Outcome, StageGraph
from prologue_bench.pipeline.executors.jobs import Machine, choose_jobs, this_machine
from prologue_bench.pipeline.executors.messages import Ending
from prologue_bench.pipeline.executors.schedule import critical_paths, makespan, widest
from prologue_bench.pipeline.held import state_bytes
from prologue_bench.pipeline.memory import PeakMemory, available_memory
from prologue_bench.pipeline.needs import Needs, PlanNeeds, check_disk, estimate_needs
from prologue_bench.pipeline.planner import Plan, PlannedStage, make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.runs.running import what_failed
from prologue_bench.storage.artifacts import seal_artifact
from prologue_bench.storage.store import Store
from prologue_plugins.generators.ar import Ar
from tests.conftest import Recorder

Load = Callable[..., Ablation]
SECONDS = {"train-tokenizer": 100.0, "train-generator": 50.0, "encode": 2.0, "sample": 3.0}
GB = 1_000_000_000


@pytest.fixture
def plan(load: Load, store: Store) -> Plan:
    """Two chains of made-up lengths; metrics and pictures take a second each."""
    made = make_plan(load(), Workspace(store))
    return lengths(made, lambda each: SECONDS.get(each.stage.kind, 1.0))


def lengths(plan: Plan, seconds: Callable[[PlannedStage], float | None]) -> Plan:
    stages = tuple(attrs.evolve(each, seconds=seconds(each)) for each in plan.stages)
    return attrs.evolve(plan, stages=stages)


def name(planned: PlannedStage) -> str:
    return f"{planned.stage.kind} {planned.experiment[len('prologue_tokens=')]}"


def test_what_is_ready_has_its_inputs_and_the_longest_way_to_go(plan: Plan) -> None:
    longer = lengths(plan, lambda each: (each.seconds or 0) * (1 + ("=2 " in each.experiment)))
    graph = StageGraph(longer, Recorder())
    first, second = graph.ready()
    assert [name(first), name(second)] == ["train-tokenizer 2", "train-tokenizer 0"]
    graph.start(first)
    assert graph.ready() == [second]
    graph.start(second)
    assert graph.ready() == []
    graph.end(second, Ending(seconds=1.0))
    assert [name(each) for each in graph.ready()] == ["encode 0"]
    assert graph.running == (first,)


def test_a_failed_stage_takes_those_behind_it_along(plan: Plan) -> None:
    recorder = Recorder()
    graph = StageGraph(plan, recorder)
    first = graph.ready()[0]
    graph.start(first)
    graph.end(first, Ending(failure="for a reason"))
    assert set(graph.outcome.failures.values()) == {"for a reason"}
    assert len(graph.outcome.failures) == 10
    assert recorder.failures == {first.experiment: "for a reason"}
    while (ready := graph.ready()) and graph.start(ready[0]) is None:
        graph.end(ready[0], Ending())
    assert graph.is_done
    assert len(recorder.ran) == 1 + 10


@pytest.mark.parametrize(
    ("ending", "raised"),
    [(Ending(stopped="stopped"), Interrupted), (Ending(fatal="no space"), StageError)],
)
def test_an_ending_can_end_the_run(plan: Plan, ending: Ending, raised: type[Exception]) -> None:
    graph = StageGraph(plan, Recorder())
    first = graph.ready()[0]
    graph.start(first)
    with pytest.raises(raised):
        graph.end(first, ending)


def test_two_jobs_take_as_long_as_one_of_two_equal_chains(plan: Plan) -> None:
    everything = sum(each.seconds or 0 for each in plan.missing)
    assert makespan(plan.missing, 1) == pytest.approx(everything)
    assert makespan(plan.missing, 2) == pytest.approx(everything / 2)
    longest = max(critical_paths(plan.missing).values())
    assert longest == makespan(plan.missing, 16) == 100 + 2 + 50 + 3 + 1
    assert widest(plan.missing, 16) == 10, "of each variant a metric and four pictures"
    assert widest(plan.missing, 2) == 2
    assert makespan((), 2) == 0 == widest((), 2)


def test_a_stage_of_unknown_length_counts_as_the_middle_one(plan: Plan) -> None:
    unknown = lengths(plan, lambda each: None if each.stage.kind == "measure" else 7.0)
    assert makespan(unknown.missing, 1) == 20 * 7
    nothing = lengths(plan, lambda each: None)
    assert makespan(nothing.missing, 1) == 20 * 60


MACHINE = Machine(cores=8, physical_cores=4)


@pytest.fixture(autouse=True)
def _much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "available_memory", lambda: 64 * GB)


def test_auto_takes_what_is_fastest(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    two = choose_jobs(plan, None, MACHINE, {})
    assert two is not None
    assert (two.count, two.threads) == (2, 4), "eight logical cores, and never more than alone"
    short = lengths(plan, lambda each: (each.seconds or 0) / 100)
    assert choose_jobs(short, None, MACHINE, {}) is None, "starting workers takes longer"
    chain = lengths(plan, lambda each: (each.seconds or 0) * ("=2 " in each.experiment))
    assert choose_jobs(chain, None, MACHINE, {}) is None, "one chain has all threads"
    assert choose_jobs(plan, None, Machine(1, 1), {}) is None
    done = attrs.evolve(plan, stages=())
    assert choose_jobs(done, 2, MACHINE, {}) is None


def test_auto_takes_no_more_than_memory_holds(plan: Plan) -> None:
    sizes = {each.stage.key: 40 * GB for each in plan.missing}
    assert choose_jobs(plan, None, MACHINE, sizes) is None
    asked = choose_jobs(plan, 2, MACHINE, sizes)
    assert asked is not None
    assert asked.memory == sizes


def test_each_job_has_a_gpu_of_its_own(plan: Plan) -> None:
    jobs = choose_jobs(plan, None, attrs.evolve(MACHINE, gpus=("3", "5")), {})
    assert jobs is not None
    assert (jobs.count, jobs.gpus) == (2, ("3", "5"))
    assert choose_jobs(plan, None, attrs.evolve(MACHINE, gpus=("3",)), {}) is None


def test_gpus_are_those_that_torch_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda only_physical_cores=False: 4)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,GPU-abc")
    assert this_machine().gpus == ("4", "6", "GPU-abc")
    with pytest.raises(UserError, match="--gpus 0,3: found no GPU 3, expected some of 0, 1, 2"):
        this_machine((0, 3))
    assert this_machine((2, 0)).gpus == ("GPU-abc", "4")
    assert choosing.os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-abc,4"


def test_jobs_share_a_gpu_that_is_named_twice(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda only_physical_cores=False: 4)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    machine = this_machine((1, 1))
    machine.check(2)
    assert choosing.os.environ["CUDA_VISIBLE_DEVICES"] == "6"
    jobs = choose_jobs(plan, 2, machine, {})
    assert jobs is not None
    assert jobs.gpus == ("6", "6")


def test_more_jobs_than_cores_or_gpus_are_refused() -> None:
    with pytest.raises(UserError, match="--jobs 9: found 8 cores, expected at most as many jobs"):
        MACHINE.check(9)
    with pytest.raises(UserError, match=r"--jobs 2: found 1 GPU, .* such as --gpus 0,0"):
        attrs.evolve(MACHINE, gpus=("0",)).check(2)
    with pytest.raises(UserError, match=r"such as --gpus 0,0$"):  # numbers, not names
        attrs.evolve(MACHINE, gpus=("GPU-abc",)).check(2)
    MACHINE.check(8)


JOBS = "--jobs or $PROLOGUE_BENCH_JOBS: found"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--jobs", "0"], f"{JOBS} '0', expected a whole number from 1 on, or auto"),
        (["--jobs", "1.5"], f"{JOBS} '1.5', expected a whole number from 1 on, or auto"),
        (["--jobs", "-2"], f"{JOBS} '-2', expected a whole number from 1 on, or auto"),
        (["--gpus", "a"], "--gpus: found 'a', expected the numbers of GPUs, such as 0,1"),
        (["--gpus", ""], "--gpus: found '', expected the numbers of GPUs, such as 0,1"),
    ],
)
def test_jobs_and_gpus_are_checked(smoke_file: Path, options: list[str], line: str) -> None:
    found = CliRunner().invoke(cli, ["run", str(smoke_file), *options])
    assert isinstance(found.exception, UserError)
    assert str(found.exception) == line


def test_jobs_and_a_launcher_exclude_each_other(
    smoke_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost"}
    for variable, value in {**launched, "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(variable, value)
    found = CliRunner().invoke(cli, ["run", str(smoke_file), "--jobs", "2"])
    assert isinstance(found.exception, UserError)
    assert str(found.exception).startswith(
        "--jobs: the processes of --launcher pytorch share each stage and have their own GPUs"
    )


def test_needs_are_those_of_finished_stages_of_the_same_size(load: Load, store: Store) -> None:
    workspace = Workspace(store)
    plan = make_plan(load(), workspace)
    training = next(each for each in plan.missing if each.stage.kind == "train-generator")
    assert training.flops is not None
    counted = estimate_needs(plan, workspace).stages[training.stage.key]
    assert counted.unfinished > 0
    for number, (factor, steps, peak) in enumerate(
        ((1, 20, 2 * GB), (10, 200, 3 * GB), (9, 20, 1))
    ):
        folder = store.root / "artifacts" / f"made-up-{number}"
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(bytes(1000 + number))
        details = {
            "kind": "train-generator",
            "peak_memory": peak,
            "flops": factor * training.flops,
            "steps": steps,
        }
        seal_artifact(folder, folder.name, details)
    known = estimate_needs(plan, Workspace(store)).stages[training.stage.key]
    assert known == Needs(memory=3 * GB, disk=1001, unfinished=counted.unfinished)


def test_a_draw_holds_the_models_and_the_keys_and_values_of_a_batch(load: Load) -> None:
    def counted(rows: int, scale: float) -> int:
        workspace = Workspace(Store(Path("nowhere")))
        sampling = [f"sampling.batch_size={rows}", f"sampling.guidance={{all: {{scale: {scale}}}}}"]
        plan = make_plan(load("sampling.samples=64", *sampling), workspace)
        drawn = plan.missing[[each.stage.kind for each in plan.missing].index("sample")]
        return estimate_needs(plan, workspace).stages[drawn.stage.key].memory

    more = counted(32, 1.0) - counted(16, 1.0)
    # Of one layer of 32 channels: keys and values of 4 tokens and the class, in float32.
    keys_and_values = 16 * 2 * 5 * 32 * 4
    assert keys_and_values <= more <= 8 * keys_and_values, "and buffers of a step's results"
    assert counted(16, 2.0) - counted(16, 1.0) == more, "guidance draws two rows per image"


def test_a_search_holds_what_its_guided_points_hold(load: Load) -> None:
    def counted(samples: int, scales: str) -> dict[str, int]:
        workspace = Workspace(Store(Path("nowhere")))
        grid = f"grid: {{guidance.all.scale: {scales}}}"
        search = f"sampling.search={{samples: {samples}, validation_images: 8, {grid}}}"
        plan = make_plan(load("sampling.batch_size=16", "sampling.samples=64", search), workspace)
        needs = estimate_needs(plan, workspace).stages
        return {each.stage.kind: needs[each.stage.key].memory for each in plan.missing}

    plain, guided, both = (counted(64, scales) for scales in ("[1]", "[2]", "[1, 2]"))
    for kind in ("search", "sample"):
        assert plain[kind] < guided[kind] == both[kind]
    assert counted(4, "[2]")["search"] < guided["search"], "it draws fewer images than a batch"


class Growing(AutoregressiveGenerator[list[torch.Tensor]]):
    """Its state takes up the tokens of each step, 7 numbers each, beside 3 of its start."""

    def __init__(self, steps: tuple[int, ...]) -> None:
        super().__init__()
        self.layout = TokenLayout((Segment("visual", sum(steps), 5),))
        self._steps = steps

    @property
    def steps(self) -> tuple[int, ...]:
        return self._steps

    def losses(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def start(self, labels: torch.Tensor) -> list[torch.Tensor]:
        return [torch.zeros(len(labels), 3)]

    def decode_step(self, state: list[torch.Tensor], chosen: torch.Tensor | None) -> torch.Tensor:
        if chosen is not None:
            state[0] = torch.cat((state[0], torch.zeros(len(chosen), 7 * chosen.shape[1])), dim=1)
        return torch.zeros(len(state[0]), 1, 5)


@pytest.mark.parametrize("steps", [(1,), (1, 1), (1,) * 9, (2, 3, 4)])
def test_a_state_that_grows_counts_as_large_as_it_gets(steps: tuple[int, ...]) -> None:
    generator, chosen = Growing(steps), None
    state = generator.start(torch.zeros(6, dtype=torch.int64))
    for count in steps:
        generator.decode_step(state, chosen)
        chosen = torch.zeros(6, count, dtype=torch.int64)
    assert state_bytes(generator, 6) == state[0].nbytes


def test_a_draw_whose_beginning_fails_is_planned_all_the_same(
    load: Load, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Ar, labels: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Ar, "start", fail)
    workspace = Workspace(store)
    plan = make_plan(load(), workspace)
    assert estimate_needs(plan, workspace).stages.keys() == {
        each.stage.key for each in plan.missing
    }


def test_unfinished_work_that_is_there_counts_no_second_time(load: Load, store: Store) -> None:
    workspace = Workspace(store)
    plan = make_plan(load(), workspace)
    jobs = len(plan.missing)
    before = estimate_needs(plan, workspace)
    folder = store.begin(plan.missing[0].stage.key)
    (folder / "iter_1.pth").write_bytes(bytes(5000))
    assert estimate_needs(plan, workspace).disk_of(jobs) == before.disk_of(jobs) - 5000


def test_what_one_stage_left_makes_no_room_for_others(load: Load, store: Store) -> None:
    workspace = Workspace(store)
    plan = make_plan(load(), workspace)
    first, *others = [planned.stage.key for planned in plan.missing]
    (store.begin(first) / "iter_1.pth").write_bytes(bytes(50_000_000))
    needs = estimate_needs(plan, workspace)
    assert needs.stages[first].there > needs.stages[first].unfinished
    own = needs.stages
    unfinished = max(own[key].unfinished for key in others)
    assert needs.disk_of(1) == sum(each.disk for each in own.values()) + unfinished


def test_a_disk_that_cannot_hold_the_run_is_refused_before_it_begins(
    load: Load, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(store)
    needs = estimate_needs(make_plan(load(), workspace), workspace)
    needed = needs.disk_of(2)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, needed))
    check_disk(needs, 2, store.root)
    assert "of memory for 2 stages at a time" in needs_line(needs, 2, store.root)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, needed - 1))
    with pytest.raises(UserError, match=r"found 0\.0 GB of free disk, and the run needs about"):
        check_disk(needs, 2, store.root)
    check_disk(PlanNeeds(), 2, store.root)


def test_the_peak_of_memory_is_that_of_the_time_watched() -> None:
    held = bytes(300_000_000)
    assert PeakMemory().bytes() > 300_000_000
    del held
    watched = PeakMemory()
    low = watched.bytes()
    more = b"x" * 200_000_000
    assert watched.bytes() >= low + 150_000_000
    del more
    assert PeakMemory().bytes() < low + 100_000_000


def test_a_limit_on_memory_counts(tmp_path: Path) -> None:
    assert 0 < available_memory() < 1 << 50
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 100\n")
    assert memory._left_in(tmp_path) == [400]
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._left_in(tmp_path) == []


def test_lines_of_several_stages_carry_their_names_and_losses(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    out = io.StringIO()
    progress = PlainProgress(plan, out, jobs=2)
    first, second = StageGraph(plan, Recorder()).ready()[:2]
    for index, each in enumerate((first, second)):
        progress.started(each, index, 16)
        progress.advanced(each, 0, 100, {})
    now = 40.0
    progress.advanced(second, 20, 100, {"loss_l1": 0.12345})
    progress.advanced(first, 10, 100, {})
    progress.printed(first, "a line")
    progress.finished(first, 50.0)
    progress.failed(second, "a reason")
    said = out.getvalue().splitlines()
    assert "about 2 min 41 s left in total" in said[0]
    assert said[2:] == [
        "[2/16] train-tokenizer · prologue_tokens=2 seed 0: 20/100, 0.5/s, 2 min 40 s left, "
        "loss_l1 0.123",
        "[1/16] train-tokenizer · prologue_tokens=0 seed 0: 10/100, 0.2/s, 6 min 00 s left",
        "a line",
        "[1/16] train-tokenizer · prologue_tokens=0 seed 0: done in 50 s",
        "[2/16] train-tokenizer · prologue_tokens=2 seed 0: failed: a reason",
    ]


def test_a_quiet_run_says_what_failed_and_nothing_else(plan: Plan) -> None:
    out = io.StringIO()
    progress = QuietProgress(plan, out)
    first, second = StageGraph(plan, Recorder()).ready()[:2]
    for index, each in enumerate((first, second)):
        progress.started(each, index, 16)
        progress.waiting(each)
        progress.advanced(each, 50, 100, {"loss_l1": 0.5})
        progress.printed(each, "a line")
    progress.finished(first, 50.0)
    progress.failed(second, "a reason")
    assert out.getvalue() == "train-tokenizer · prologue_tokens=2 seed 0: failed: a reason\n"


def test_a_line_at_the_end_of_a_run_has_the_first_of_many_reasons(plan: Plan) -> None:
    failures = {each.stage.key: f"reason {place}" for place, each in enumerate(plan.stages)}
    text = what_failed(plan, Outcome(failures))
    assert text.endswith(f"reason 2; and {len(plan.stages) - 3} more, which the report lists")
    same = dict.fromkeys(failures, "a reason")
    assert what_failed(plan, Outcome(same)).endswith("did not run: a reason")


def test_a_verbose_run_shows_each_line_of_a_log_once(
    plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    out = io.StringIO()
    planned = StageGraph(plan, Recorder()).ready()[0]
    work = store.work(planned.stage.key)
    log, training = work / "output" / "log.txt", work / "run" / "1" / "1.log"
    for file in (log, training):
        file.parent.mkdir(parents=True)
    log.write_text("an earlier attempt\n")
    progress = VerboseProgress(plan, store, out)
    progress.started(planned, 0, 16)
    log.write_text("an earlier attempt\nstarts\n")
    training.write_text("step\nstep\n")
    progress.advanced(planned, 1, 100, {})
    assert "step" not in out.getvalue(), "files are not read at every step"
    now = 2.0
    progress.advanced(planned, 2, 100, {})
    shutil.copytree(work / "output", store.artifact(planned.stage.key))
    shutil.rmtree(work)
    whole = "an earlier attempt\nstarts\nstep\nstep\nfinished\n"
    (store.artifact(planned.stage.key) / "log.txt").write_text(whole)
    progress.finished(planned, 2.0)
    said = [line.split(": ")[-1] for line in out.getvalue().splitlines()]
    assert said[1:] == ["starts", "step", "step", "finished", "done in 2 s"]


def test_the_live_display_has_a_line_for_each_running_stage(plan: Plan) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=200)
    first, second = StageGraph(plan, Recorder()).ready()[:2]
    with LiveProgress(plan, console, jobs=2) as progress:
        for index, each in enumerate((first, second)):
            progress.started(each, index, 16)
        progress.advanced(first, 0, 100, {})
        progress.advanced(first, 50, 100, {"loss_l1": 0.5})
        progress.advanced(second, 50, 100, {"loss_[ce]": 2.5})
        shown = [str(task.description) for task in progress.bars.tasks]
        notes = [str(task.fields["note"]) for task in progress.bars.tasks]
        assert shown[1:] == [f"train-tokenizer · {each.experiment}" for each in (first, second)]
        assert notes[1].endswith("loss_l1 0.5")
        progress._say_budget()
        whole = str(progress.bars.tasks[0].fields["note"])
        assert whole == "stage 2 of 16, about 1 min 51 s left in total", "both are half done"
        progress.finished(first, 10.0)
        assert len(progress.bars.tasks) == 2
