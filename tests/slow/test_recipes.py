"""The numbers of the paper's recipes, and no L2 where the paper has none."""

from __future__ import annotations

from prologue_bench.config.ablation import load_ablation
from prologue_bench.pipeline.nominal import assume_missing_data
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.stages import TrainTokenizer
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.storage.store import Store
from tests.conftest import ROOT


def test_post_and_its_foundation_have_the_joint_model_of_their_recipe(
    registry: Registry, store: Store
) -> None:
    ablation = load_ablation(ROOT / "ablations" / "paper" / "prologue-post.yaml", registry)
    workspace = Workspace(store)
    assume_missing_data(ablation, workspace)
    tokenizer = make_plan(ablation, workspace).pipelines[0].tokenizer
    assert isinstance(tokenizer, TrainTokenizer)
    assert tokenizer.prior is not None
    assert tokenizer.prior.settings.transformer.width == 512
    assert isinstance(tokenizer.foundation, TrainTokenizer)
    assert tokenizer.foundation.prior is None
