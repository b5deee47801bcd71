"""A run with a remote: what it fetches and sends, and that a remote that fails costs no run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline.planner import Plan, make_plan
from prologue_bench.pipeline.sharing import Sharing
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.remotes.errors import RemoteError
from prologue_bench.storage.remotes.remote import Remote, open_remote
from prologue_bench.storage.remotes.transfer import Exchange, Progress, Quiet
from prologue_bench.storage.store import Store
from tests.conftest import Recorder
from tests.factories.stores import put

URL = "memory://bucket/run"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def sharing(store: Store, said: list[str]) -> Sharing:
    fsspec.filesystem("memory").store.clear()
    return Sharing(open_remote(URL), store, said.append)


@pytest.fixture
def plan(load: object, store: Store) -> Plan:
    assert callable(load)
    ablation: Ablation = load()
    return make_plan(ablation, Workspace(store))


def quietly(exchange: Exchange) -> AbstractContextManager[Progress]:
    return nullcontext(Quiet())


def go_on() -> bool:
    return False


def perform(plan: Plan, store: Store, kinds: tuple[str, ...] = ()) -> None:
    """Put something in the place of what stages would make."""
    for planned in plan.stages:
        stage = planned.stage
        if not kinds or stage.kind in kinds:
            put(store, stage.key, kind=stage.kind, inputs=[each.key for each in stage.inputs])


def unreachable(*_: object) -> None:
    raise RemoteError(f"{URL}: cannot be reached")


def test_what_the_remote_has_need_not_be_run(
    plan: Plan, sharing: Sharing, said: list[str], tmp_path: Path
) -> None:
    other = Store(tmp_path / "other")
    perform(plan, other)
    there = Sharing(open_remote(URL), other, said.append)
    assert there.finish(plan, quietly) == ""
    assert len(sharing.there(plan).going) == len(plan.stages)
    fetched = sharing.fetch(plan, quietly)
    assert (fetched.missing, said) == ((), [])


def test_a_plan_says_how_many_of_its_stages_are_there(
    plan: Plan, said: list[str], smoke_file: Path, store: Store, tmp_path: Path
) -> None:
    fsspec.filesystem("memory").store.clear()
    other = Store(tmp_path / "other")
    perform(plan, other, ("train-tokenizer", "encode"))
    arguments = ["plan", str(smoke_file), "--remote", URL, "--store", str(store.root)]
    nothing = CliRunner().invoke(cli, arguments)
    assert "there is no remote here" in str(nothing.exception)
    Sharing(open_remote(URL), other, said.append).finish(plan, quietly)
    found = CliRunner().invoke(cli, arguments)
    assert found.output.endswith(f"4 of {len(plan.stages)} missing stages are in {URL}\n")


def test_a_stage_is_fetched_only_with_what_it_is_made_from(
    plan: Plan, sharing: Sharing, said: list[str], tmp_path: Path
) -> None:
    other = Store(tmp_path / "other")
    perform(plan, other)
    there = Sharing(open_remote(URL), other, said.append)
    there.finish(plan, quietly)
    missing = next(each.stage for each in plan.stages if each.stage.kind == "train-tokenizer")
    sharing.remote._fs.rm_file(sharing.remote._path("artifacts", f"{missing.key}.json"))
    left = {each.stage.key for each in sharing.fetch(plan, quietly).missing}
    assert missing.key in left
    for planned in plan.stages:
        if any(each.key in left for each in planned.stage.inputs):
            assert planned.stage.key in left
    assert len(left) < len(plan.stages)


def test_each_finished_stage_is_sent_and_everything_else_is_handed_on(
    plan: Plan, sharing: Sharing, store: Store, recorder: Recorder
) -> None:
    perform(plan, store, ("train-tokenizer",))
    watcher = sharing.watching(recorder, go_on)
    first = plan.stages[0]
    watcher.started(first, 0, 1)
    watcher.finished(first, 1.0)
    assert len(recorder.ran) == 1
    assert sharing.remote.keys() == [first.stage.key]


def test_a_remote_that_fails_is_said_once_and_tried_again_at_the_end(
    plan: Plan,
    sharing: Sharing,
    store: Store,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    perform(plan, store)
    keys = [each.stage.key for each in plan.stages]
    with monkeypatch.context() as patch:
        patch.setattr(Remote, "is_made", unreachable)
        assert sharing.fetch(plan, quietly).stages == tuple(map(sharing._looked_up, plan.stages))
        sharing.send(keys[:1], go_on)
        sharing.send(keys[1:], go_on)
        assert len(said) == 2
        assert said[0].endswith("the run goes on without what is there")
        assert said[1].endswith("the run goes on, and what is finished is sent at its end")
        assert sharing.finish(plan, quietly) == f"{URL}: cannot be reached"
    assert sharing.finish(plan, quietly) == ""
    assert sharing.remote.keys() == sorted(keys)


def test_other_contents_there_are_said_and_left(
    plan: Plan, sharing: Sharing, store: Store, said: list[str], tmp_path: Path
) -> None:
    other = Store(tmp_path / "other")
    perform(plan, other, ("train-tokenizer",))
    there = Sharing(open_remote(URL), other, said.append)
    there.finish(plan, quietly)
    for planned in plan.stages:
        put(
            store,
            planned.stage.key,
            "made here",
            inputs=[each.key for each in planned.stage.inputs],
        )
    assert "not sent to memory://" in sharing.finish(plan, quietly)
    assert sum("other contents under this key" in line for line in said) == 2
    assert len(sharing.remote.keys()) == 2


def test_to_stop_ends_a_transfer_without_a_word(
    plan: Plan, sharing: Sharing, store: Store, said: list[str]
) -> None:
    perform(plan, store, ("train-tokenizer",))
    sharing.send([plan.stages[0].stage.key], lambda: True)
    assert (sharing.remote.keys(), said) == ([], [])


def test_a_remote_that_can_only_be_read_gets_nothing(
    plan: Plan, store: Store, said: list[str]
) -> None:
    sharing = Sharing(open_remote("https://127.0.0.1:9/x"), store, said.append)
    sharing.send([plan.stages[0].stage.key], go_on)
    assert sharing.finish(plan, quietly) == ""
    assert said == ["https://127.0.0.1:9/x: can be read only; nothing is sent there"]
