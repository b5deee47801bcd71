"""Every way in which stages in worker processes end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from prologue_bench.config.ablation import Ablation
from prologue_bench.errors import Interrupted, StageError
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import PlannedStage, make_plan
from prologue_bench.pipeline.stages import Measure
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.locks import release, try_lock
from prologue_bench.storage.store import Store
from tests.conftest import Recorder
from tests.factories.jobs import TWO, Listener, children, never
from tests.factories.misbehaving import behaving, unmeasured

Load = Callable[..., Ablation]


def test_what_a_component_does_to_its_process_is_one_failed_stage(
    tmp_path: Path, trained: Store
) -> None:
    hows = ("prints", "raises", "exits", "killed", "crashes", "well")
    ablation = behaving(tmp_path, *hows)
    workspace, listener = Workspace(unmeasured(trained)), Listener()
    plan = make_plan(ablation, workspace)
    outcome = execute(plan, workspace, listener, never, TWO)
    reasons = {
        planned.stage.metric.name: outcome.failures.get(planned.stage.key)
        for planned in plan.missing
        if isinstance(planned.stage, Measure)
    }
    goes_on = "; the same command goes on from where the stage last saved its state"
    who = "metric '{}' of how_metric.py: {}".format
    raised = reasons.pop("raises") or ""
    assert raised.startswith(who("raises", "ZeroDivisionError: divided (traceback in "))
    assert reasons == {
        "rate": None,
        "prints": None,
        "well": None,
        "exits": who("exits", f"its process was ended by its own code, with exit code 7{goes_on}"),
        "killed": f"its process was killed by signal 9, as when memory runs out{goes_on}",
        "crashes": who(
            "crashes", f"its process was ended by signal 11, Segmentation fault{goes_on}"
        ),
    }
    assert len(outcome.failures) == 4
    assert "words of a component" in listener.lines
    assert "words of its child" in listener.lines
    warned = [line for line in listener.lines if "a warning of a component" in line]
    assert len(warned) == 1
    assert re.fullmatch(r"prologue-bench: UserWarning: .* \(how_metric.py:\d+\)", warned[0])
    logs = [path.read_text() for path in workspace.store.root.glob("work/*/output/log.txt")]
    assert sum("was killed by signal 9" in log for log in logs) == 1
    assert not children()


def test_a_worker_killed_while_it_commits_loses_nothing(tmp_path: Path, trained: Store) -> None:
    ablation = behaving(tmp_path, "killed_at_commit")
    workspace = Workspace(unmeasured(trained))
    outcome = execute(make_plan(ablation, workspace), workspace, Recorder(), never, TWO)
    assert {"as when memory runs out" in each for each in outcome.failures.values()} == {True}
    again = Workspace(Store(trained.root))
    plan = make_plan(ablation, again)
    assert len(plan.missing) == 1
    assert execute(plan, again, Recorder(), never).failures == {}
    assert all(Store(trained.root).find(planned.stage.key) for planned in plan.stages)
    assert not list((trained.root / "work").iterdir())


def test_a_full_disk_in_a_worker_ends_the_run(tmp_path: Path, trained: Store) -> None:
    ablation = behaving(tmp_path, "full")
    workspace = Workspace(unmeasured(trained))
    with pytest.raises(StageError, match="no space is left on the disk; free some and run the"):
        execute(make_plan(ablation, workspace), workspace, Recorder(), never, TWO)
    assert not children()


def test_a_plugin_s_file_that_changed_fails_its_stages_alone(
    tmp_path: Path, trained: Store
) -> None:
    ablation = behaving(tmp_path, "well")
    workspace = Workspace(unmeasured(trained))
    plan = make_plan(ablation, workspace)
    path = tmp_path / "how_metric.py"
    path.write_text(path.read_text() + "\n# changed\n")
    failures = execute(plan, workspace, Recorder(), never, TWO).failures
    assert len(failures) == 1
    assert all("it changed since the run was planned" in each for each in failures.values())


class StopsWhileWaiting(Recorder):
    """Asks to stop when a stage waits for another run."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = False

    def waiting(self, planned: PlannedStage) -> None:
        self.waits = True


def test_a_run_can_be_stopped_while_its_workers_wait_for_another(load: Load, store: Store) -> None:
    workspace, watcher = Workspace(store), StopsWhileWaiting()
    plan = make_plan(load(), workspace)
    locks = [
        store.lock_of(store.artifact(planned.stage.key))
        for planned in plan.missing
        if planned.stage.kind == "train-tokenizer"
    ]
    held = {lock: try_lock(lock) for lock in locks}
    try:
        with pytest.raises(Interrupted, match="stopped while another run had the stage"):
            execute(plan, workspace, watcher, lambda: watcher.waits, TWO)
    finally:
        for lock, descriptor in held.items():
            assert descriptor is not None
            release(lock, descriptor)
    assert not children()
