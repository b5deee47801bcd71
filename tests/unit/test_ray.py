"""What is known of a Ray cluster, and what runs on its nodes, without one."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import astuple
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.config.ablation import Ablation
from prologue_bench.errors import StageError, UserError
from prologue_bench.pipeline.executors import on_ray, ray_cluster, ray_node
from prologue_bench.pipeline.executors.messages import Ending
from prologue_bench.pipeline.executors.ray_cluster import (
    Node,
    Share,
    check_fits,
    check_nodes,
    cluster_line,
    connect,
    lost_and_new,
    problem_of,
    share_of,
)
from prologue_bench.pipeline.planner import Plan, make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.locks import release, try_lock
from prologue_bench.storage.store import Store
from tests.conftest import ROOT

GB = 1e9
SMALL, LARGE = Node("a", "small", 4, 0, 8 * GB), Node("b", "large", 16, 0, 64 * GB)
GPUS = Node("c", "gpus", 32, 4, 256 * GB)
SBATCH = sorted((ROOT / "docs" / "slurm").glob("*.sbatch"))


@pytest.fixture
def plan(load: Callable[..., Ablation], store: Store) -> Plan:
    return make_plan(load(), Workspace(store))


def test_what_a_node_has_is_read_from_ray() -> None:
    record = {
        "NodeID": "a",
        "NodeManagerHostname": "host",
        "Resources": {"CPU": 2.0, "memory": 5.0, "node:192.0.2.1": 1.0},
    }
    assert Node.of(record) == Node("a", "host", 2.0, 0.0, 5.0)
    assert Node.of({"NodeID": "a"}) == Node("a", "?", 0.0, 0.0, 0.0)


def test_stages_share_cpus_and_gpus(plan: Plan) -> None:
    assert share_of([SMALL, LARGE], plan.missing, 3) == Share(3)
    # Ten stages can run at once, and 20 CPUs are there.
    assert share_of([SMALL, LARGE], plan.missing, None) == Share(2)
    assert share_of([SMALL], plan.missing, None) == Share(1)
    assert share_of([SMALL, GPUS], plan.missing, None) == Share(8, 1)
    assert Share(3).at_a_time([SMALL, LARGE]) == 1 + 5
    assert Share(8, 1).at_a_time([SMALL, GPUS]) == 4


@pytest.mark.parametrize(
    ("share", "memory", "needs"),
    [
        (Share(17), 1, "17 CPUs and 1 byte of memory"),
        (Share(1, 1), 1, "1 CPU, 1 GPU and 1 byte of memory"),
        (Share(1), 65 * GB, "1 CPU and 65.0 GB of memory"),
    ],
)
def test_a_stage_that_no_node_can_hold_is_one_line(
    plan: Plan, share: Share, memory: float, needs: str
) -> None:
    first = plan.missing[0].stage.key
    with pytest.raises(UserError) as raised:
        check_fits(plan.missing, [SMALL, LARGE], share, {first: int(memory)})
    assert f"train-tokenizer of {plan.missing[0].experiment} needs {needs}" in str(raised.value)
    assert "the largest, large, has 16 CPUs and 64.0 GB" in str(raised.value)
    with pytest.raises(UserError, match="it has no node"):
        check_fits(plan.missing, [], Share(1), {})


def test_a_stage_that_one_node_can_hold_fits(plan: Plan) -> None:
    first = plan.missing[0].stage.key
    check_fits(plan.missing, [SMALL, LARGE], Share(16), {first: int(64 * GB)})


HERE = {"prologue-bench": "1.0", "torch": "2.6.0"}
SOUND = {"versions": HERE, "store": "/s", "sees": "yes", "locks": True}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (SOUND, ""),
        (
            {**SOUND, "versions": {**HERE, "torch": "2.5.1"}},
            "found torch 2.5.1, expected 2.6.0 as here; install the same on all nodes",
        ),
        ({**SOUND, "versions": {"torch": "2.6.0"}}, "found prologue-bench not installed"),
        ({**SOUND, "sees": "No such file or directory"}, "/s is not the store that this machine"),
        ({**SOUND, "locks": False}, "file locks in /s do not reach it"),
    ],
)
def test_a_node_that_cannot_take_part_is_one_line(found: dict[str, Any], said: str) -> None:
    assert problem_of(found, HERE).startswith(said)
    if said:
        with pytest.raises(UserError, match=f"--executor ray: node large: {re.escape(said)}"):
            check_nodes([SMALL, LARGE], {"a": SOUND, "b": found}, HERE)
    else:
        assert not problem_of(found, HERE)
        check_nodes([SMALL, LARGE], {"a": SOUND, "b": found}, HERE)


def test_a_node_that_does_not_answer_is_one_line() -> None:
    with pytest.raises(UserError, match="node small: has not answered"):
        check_nodes([SMALL], {"a": "has not answered in 90 seconds"}, HERE)


def test_a_node_looks_for_packages_and_for_a_store_with_its_locks(tmp_path: Path) -> None:
    find = ray_node.node_facts()
    lock = tmp_path / "locks" / "probe"
    gone = find(sys.path, ray_node.PACKAGES, str(tmp_path), str(lock))
    assert gone["sees"] == "No such file or directory"
    held = try_lock(lock)
    assert held is not None
    found = find(sys.path, ("torch", "no-such-package"), str(tmp_path), str(lock))
    assert found["versions"]["torch"]
    assert found["versions"]["no-such-package"] is None
    assert (found["sees"], found["locks"]) == ("yes", True)
    release(lock, held)
    lock.touch()  # as where locks hold for one node alone
    assert not find(sys.path, (), str(tmp_path), str(lock))["locks"]


def test_nodes_that_come_and_go_are_said() -> None:
    lines = list(lost_and_new([SMALL, LARGE], [LARGE, GPUS]))
    assert len(lines) == 2
    assert lines[0].startswith("node small is lost; what ran there goes on elsewhere")
    assert lines[1] == "node gpus has joined (32 CPUs, 4 GPUs)"
    assert cluster_line([SMALL, LARGE], Share(2)) == (
        "Ray: 2 nodes (large, small) with 20 CPUs; 10 stages at a time at most, each with 2 CPUs"
    )


def no_cluster(address: str) -> str:
    with pytest.raises(UserError) as raised, connect(address):
        pass
    return str(raised.value)


def test_without_ray_the_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster.importlib.util, "find_spec", lambda name: None)
    assert no_cluster("auto") == (
        "--executor ray: Ray is not installed; pip install 'prologue-bench[ray]'"
    )


def test_an_address_is_checked_before_ray_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "here")
    for address, shown in (("nowhere", "nowhere"), ("auto", "here"), ("host:99999",) * 2):
        assert no_cluster(address) == (
            f"--ray-address {shown}: expected auto, or HOST:PORT of the head node"
        )
    assert "found the address of a Ray client server" in no_cluster("ray://host:10001")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{free.getsockname()[1]}"
    assert f"--ray-address {closed}: no Ray cluster could be reached" in no_cluster(closed)


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("Could not find any running Ray instance. Please", "found no Ray cluster on this machine"),
        ("log\nVersion mismatch: The cluster was", "different versions of Ray or Python"),
        ("This node has an IP address of 1, and", "this machine is no node of that cluster"),
        ("", "no Ray cluster could be reached (exit code 1)"),
        (None, "no answer in 20 seconds"),
    ],
)
def test_a_cluster_that_cannot_be_reached_is_one_line(
    stderr: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **options: Any) -> SimpleNamespace:
        assert options["timeout"] == ray_cluster.ANSWER_SECONDS
        assert options["env"]["RAY_USAGE_STATS_ENABLED"] == "0"
        if stderr is None:
            raise subprocess.TimeoutExpired(command, options["timeout"])
        return SimpleNamespace(returncode=1, stderr=stderr)

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_cluster.subprocess, "run", run)
    line = no_cluster("auto")
    assert line.startswith("--ray-address auto: ")
    assert said in line
    assert "\n" not in line


def where(threads: int) -> tuple[int, str, list[str]]:
    return threads, os.environ["OMP_NUM_THREADS"], sys.path


def test_a_node_looks_for_modules_where_the_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    before = list(sys.path)
    monkeypatch.setattr(sys, "path", list(before))
    call = ray_node.on_node()
    path = [str(tmp_path), "/no/such/folder"]
    lock = tmp_path / "locks" / "run.lock"
    own = (__name__, where.__name__, 5)
    ending = call(path, 3, {}, str(tmp_path), str(lock), *own)
    assert Ending(*ending).is_unfinished  # a node that joined late and has another store
    _, facts = ending[-1]
    assert "is not the store that this machine has" in problem_of(facts, {})
    held = try_lock(lock)
    assert held is not None
    found = call(path, 3, {}, str(tmp_path), str(lock), *own)
    assert found == (5, "3", [str(tmp_path), *dict.fromkeys(before)])
    other = {"torch": "0.1"}
    _, facts = call(path, 3, other, str(tmp_path), str(lock), *own)[-1]
    assert re.match(r"found torch \S+, expected 0\.1", problem_of(facts, other))
    release(lock, held)


class Desk:
    """A desk whose methods are called as those of an actor."""

    def __init__(self) -> None:
        self.own = ray_node.desk_class()()

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: Any) -> Any:
            found = getattr(self.own, name)(*arguments)
            return SimpleNamespace(future=lambda: SimpleNamespace(result=lambda timeout: found))

        return SimpleNamespace(remote=remote)


def test_no_stage_begins_once_the_run_is_to_stop() -> None:
    desk = ray_node.desk_class()()
    assert desk.begin("one", "node")
    assert not desk.say("one", [("waits",), ("steps", 1, 2, {})])
    assert desk.take() == [
        ("one", ("node", "node")),
        ("one", ("waits",)),
        ("one", ("steps", 1, 2, {})),
    ]
    assert desk.take() == []
    assert desk.stop() == ["one"]
    assert not desk.begin("two", "node")
    assert desk.say("one", [])
    assert desk.take() == []


def test_a_task_behind_one_that_is_not_finished_does_nothing() -> None:
    desk = Desk()
    failed = astuple(Ending(failure="for a reason"))
    ending = Ending(*ray_node.work(b"", b"", "key", desk, astuple(Ending(1.0)), failed))
    assert ending.stopped
    assert desk.own.take() == []
    desk.own.stop()
    assert Ending(*ray_node.work(b"", b"", "key", desk)).stopped


def test_a_stage_says_its_lines_and_steps_and_hears_when_to_stop() -> None:
    desk = Desk()
    with ray_node._Link("key", desk) as link:
        with link.printed():
            print("one\ntwo", end="")
            print("warning", file=sys.stderr)
            print("rest", end="")
        link.waiting()
        link.advanced(3, 9, {"loss": 0.5})
        link.advanced(4, 9, {"loss": 0.4})
        assert not link.stopping
        desk.own.stop()
    assert link.stopping
    said = [what for _, what in desk.own.take()]
    assert said[:3] == [("line", "one"), ("line", "twowarning"), ("line", "rest")]
    assert said[3:] == [("waits",), ("steps", 4, 9, {"loss": 0.4})]


def test_a_stage_whose_run_is_gone_stops() -> None:
    def say(*_: Any) -> Any:
        raise TimeoutError

    with ray_node._Link("key", SimpleNamespace(say=SimpleNamespace(remote=say))) as link:
        pass
    assert link.stopping


def test_who_reads_an_artifact_of_another_node_waits_for_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([None, None, "there"])
    monkeypatch.setattr(Store, "find", lambda self, key: next(looks))
    monkeypatch.setattr(ray_node.time, "sleep", lambda seconds: None)
    ray_node.await_artifacts(store, ["key"], seconds=60)
    assert next(looks, "no more") == "no more"
    looks = iter([None] * 2)
    ray_node.await_artifacts(store, ["key"], seconds=0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ray-address", "host:1"], "--ray-address: expected --executor ray beside it"),
        (["--executor", "ray", "--jobs", "2"], "--executor ray: found --jobs"),
        (["--executor", "ray", "--gpus", "0"], "--executor ray: found --gpus"),
        (["--executor", "ray", "--launcher", "mpi"], "OMPI_COMM_WORLD_LOCAL_RANK is not set"),
        (["--only", "prologue_tokens=0", "--so-far"], "--only: found --so-far beside it"),
        (
            ["--only", "prologue_tokens=0", "--out", "there"],
            "run it without --out, and then with --so-far in place of --only",
        ),
        (["--only", "prologue_tokens=0", "--open"], "run it without --open, and then with"),
        (["--quiet", "--verbose"], "--quiet: found --verbose beside it"),
        (
            ["--only", "prologue_tokens=1", "--jobs", "1"],
            "has no such variant; did you mean 'prologue_tokens=",
        ),
    ],
)
def test_options_that_contradict_each_other_are_one_line(
    options: list[str], said: str, smoke_file: Path, tmp_path: Path
) -> None:
    where = ["--store", str(tmp_path / "store")]
    found = CliRunner().invoke(cli, ["run", str(smoke_file), *where, *options])
    assert isinstance(found.exception, UserError), found.output
    assert said in str(found.exception)


def test_only_keeps_the_stages_of_some_variants(plan: Plan) -> None:
    two = plan.of_variants(["prologue_tokens=2"])
    assert {each.experiment for each in two.stages} == {"prologue_tokens=2 seed 0"}
    assert 2 * len(two.stages) == len(plan.stages)
    both = plan.of_variants(["prologue_tokens=2", "prologue_tokens=0"])
    assert both.stages == plan.stages


def tasks_of(plan: Plan, store: Store) -> on_ray._Tasks:
    """The tasks of a plan on a cluster whose nodes are all gone."""
    run = SimpleNamespace(
        nodes=[SMALL],
        share=Share(1),
        memory={},
        versions={},
        cluster=SimpleNamespace(nodes=list, address="auto"),
        desk=SimpleNamespace,
        task=lambda planned: SimpleNamespace(remote=lambda *arguments: arguments),
    )
    return on_ray._Tasks(plan, store, run, "probe")  # type: ignore[arg-type]


def test_a_task_is_given_those_of_its_inputs(plan: Plan, store: Store) -> None:
    tasks = tasks_of(plan, store)
    for planned in plan.missing:
        arguments = tasks._refs[planned.stage.key]
        before = [each.key for each in planned.stage.inputs]
        assert [each[9] for each in arguments[11:]] == before
        assert arguments[9] == planned.stage.key


def test_a_run_does_not_wait_for_ever_for_a_node(
    plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = tasks_of(plan, store)
    assert list(tasks.look()) == []  # not yet
    monkeypatch.setattr(on_ray, "LOOK_SECONDS", -1.0)
    lost, alone = tasks.look()
    assert lost.startswith("node small is lost")
    assert alone == "no node is left that could take a stage; waits 180 s for one"
    assert list(tasks.look()) == []  # once is enough
    monkeypatch.setattr(on_ray, "ALONE_SECONDS", -1.0)
    with pytest.raises(StageError, match="no node of the cluster is left that could take a stage"):
        list(tasks.look())


def test_a_stage_that_cannot_be_sent_fails_and_those_behind_it_are_not_sent(
    plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plan.missing[0]

    def dumps(value: object) -> bytes:
        if value == first:
            raise TypeError("cannot pickle 'generator' object")
        return b""

    monkeypatch.setattr(on_ray, "pickle", SimpleNamespace(dumps=dumps))
    tasks = tasks_of(plan, store)
    [(planned, ending)] = tasks.unsent
    assert planned == first
    assert "its settings cannot be sent to a node (TypeError: cannot pickle" in ending.failure
    others = {each.stage.key for each in plan.missing if each.experiment != first.experiment}
    assert tasks._refs.keys() == others


def commands(path: Path) -> list[list[str]]:
    """The commands of a script that are ours or Ray's, as words."""
    lines = path.read_text().replace("\\\n", " ").splitlines()
    words = [shlex.split(re.sub(r"^# +", "", line).rstrip("&"), comments=False) for line in lines]
    found = []
    for line in words:
        for place, word in enumerate(line[:-1]):
            if (word, line[place + 1]) in (("ray", "start"), ("prologue-bench", "run")):
                found.append(line[place:])
    return found


def options_of(program: str) -> set[str]:
    if program == "ray":
        scripts = pytest.importorskip("ray.scripts.scripts", reason="needs the extra ray")
        command = scripts.start
    else:
        command = cli.get_command(None, "run")  # type: ignore[arg-type]
    return {name for each in command.params for name in (*each.opts, *each.secondary_opts)}


@pytest.mark.parametrize("path", SBATCH, ids=lambda path: path.name)
def test_the_options_of_batch_files_exist(path: Path) -> None:
    found = commands(path)
    assert found
    for program, _, *words in found:
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= options_of(program), (program, used)


def test_the_options_of_the_page_on_clusters_exist() -> None:
    page = ROOT / "docs" / "cluster.md"
    lines = [line.strip() for line in page.read_text().splitlines() if line.startswith("    ")]
    for program in ("ray start", "prologue-bench run"):
        used = [line for line in lines if line.startswith(f"{program} ")]
        assert used
        for line in used:
            words = line.partition("#")[0].split()
            names = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert names <= options_of(program.split()[0]), line
    for path in SBATCH:
        assert f"(slurm/{path.name})" in page.read_text()
