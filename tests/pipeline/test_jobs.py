"""Stages side by side in worker processes: the same results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline.executor import Outcome, execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from tests.factories.jobs import TWO, Listener, children, contents, never

Load = Callable[..., Ablation]


def test_two_jobs_give_the_results_of_one_bit_by_bit(
    load: Load, store: Store, finished: Path
) -> None:
    listener, workspace = Listener(), Workspace(store)
    assert execute(make_plan(load(), workspace), workspace, listener, never, TWO) == Outcome()
    one = Store(finished / "store")
    assert contents(store) == contents(one)
    kinds = {name.partition("/")[2] for name in contents(store)}
    assert {"tokenizer.safetensors", "images.npy", "measurements.json", "tokens.npy"} <= kinds
    assert listener.most == 2
    assert {"loss_l1", "loss_ce"} <= listener.losses
    manifests = list(store.manifests())
    assert len(manifests) == 20 == len(list(store.root.glob("artifacts/*/log.txt")))
    assert all(each["machine"].startswith("cpu x 1 on") for each in manifests)
    assert all(2e8 < each["peak_memory"] < 4e9 for each in manifests)
    assert not children()
