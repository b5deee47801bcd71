"""Ablations beside one another in one process, as in a notebook."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from prologue_bench.config.ablation import Ablation, load_ablation
from prologue_bench.errors import UserError
from prologue_bench.pipeline import workspace as workspaces
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.storage.store import Store

PLUGIN = """
from prologue_bench.contracts import Component, hookimpl
from prologue_plugins.tokenizers.vq_2d import Vq2d
from helping import WIDTH

class Mine(Vq2d):
    width = WIDTH

    @staticmethod
    def fail() -> None:
        raise RuntimeError("broken")

@hookimpl
def prologue_tokenizers():
    return [
        Component(
            name="mine",
            target="my_plugin:Mine",
            settings="prologue_plugins.tokenizers.settings:Vq2dSettings",
            summary="mine",
        )
    ]
"""
ABLATION = """
name: one
data: {use: shapes, size: 14, train_images: 32, test_images: 16}
profile: smoke
plugins: [my_plugin.py]
tokenizer: {use: mine}
generator: {use: ar}
metrics: [psnr]
"""


def written(folder: Path, width: int) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "my_plugin.py").write_text(PLUGIN.replace("WIDTH\n\n", f"WIDTH  # {width}\n\n"))
    (folder / "helping.py").write_text(f"WIDTH = {width}\n")
    (folder / "one.yaml").write_text(ABLATION)
    return folder / "one.yaml"


def width(ablation: Ablation) -> int:
    found: int = ablation.experiments[0].tokenizer.component.load().width
    return found


def test_plugins_of_one_ablation_are_not_seen_by_another(
    tmp_path: Path, registry: Registry
) -> None:
    """Both files have one name, and so have their components."""
    before, origins = [entry.component.name for _, entry in registry], list(registry.brought)
    found = []
    for name, value in (("a", 1), ("b", 2)):
        path = written(tmp_path / name, value)
        found.append(load_ablation(path, registry))
    assert [width(each) for each in found] == [1, 2]
    assert [entry.component.name for _, entry in registry] == before
    assert list(registry.brought) == origins
    with pytest.raises(UserError, match="unknown tokenizer 'mine'"):
        registry.find("tokenizer", "mine")


def test_files_of_one_name_and_content_in_two_folders_are_two_plugins(
    tmp_path: Path, registry: Registry
) -> None:
    found = [load_ablation(written(tmp_path / name, 7), registry) for name in ("c", "d", "e", "c")]
    assert {width(each) for each in found} == {7}
    modules = [each.experiments[0].tokenizer.component.target for each in found]
    assert len(set(modules)) == 3


def test_a_plugin_that_was_edited_is_imported_anew(tmp_path: Path, registry: Registry) -> None:
    """With the file beside it, and what was loaded before stays as it was."""
    first = load_ablation(written(tmp_path, 3), registry)
    assert width(first) == 3
    (tmp_path / "helping.py").write_text("WIDTH = 4444\n")
    second = load_ablation(tmp_path / "one.yaml", registry)
    assert (width(first), width(second)) == (3, 4444)
    workspace = Workspace(Store(tmp_path / "store"))
    keys = [make_plan(each, workspace).pipelines[0].tokenizer.key for each in (first, second)]
    assert keys[0] != keys[1]
    third = load_ablation(tmp_path / "one.yaml", registry)
    assert third.experiments[0].tokenizer == second.experiments[0].tokenizer


@pytest.mark.parametrize("beside", [False, True])
def test_a_copy_that_still_names_its_original_is_refused(
    tmp_path: Path, registry: Registry, beside: bool
) -> None:
    """Otherwise the checksum of one file would stand for the code of another."""
    written(tmp_path, 6)
    text = PLUGIN.replace("my_plugin:", "the_original:")
    (tmp_path / "my_plugin.py").write_text(text)
    if beside:
        (tmp_path / "the_original.py").write_text(text)
    with pytest.raises(
        UserError,
        match=r"my_plugin.py: tokenizer 'mine': found 'the_original:Mine', which is not in this "
        "file; expected 'my_plugin:Mine'",
    ):
        load_ablation(tmp_path / "one.yaml", registry)


def test_an_error_out_of_an_ablations_own_plugin_names_it(
    tmp_path: Path, registry: Registry
) -> None:
    ablation = load_ablation(written(tmp_path, 5), registry)
    mine = ablation.experiments[0].tokenizer.component.load()
    with pytest.raises(RuntimeError), registry.blaming(UserError):
        mine.fail()
    with (
        pytest.raises(UserError, match=r"tokenizer 'mine' of my_plugin.py: RuntimeError: broken"),
        ablation.registry.blaming(UserError),
    ):
        mine.fail()


def test_workspaces_share_nothing_in_memory(load: object, tmp_path: Path) -> None:
    experiment = load("vary={}", "baseline=").experiments[0]  # type: ignore[operator]
    one, other = (Workspace(Store(tmp_path / name)) for name in ("one", "other"))
    assert one.open_data(experiment.data) is one.open_data(experiment.data)
    assert one.open_data(experiment.data) is not other.open_data(experiment.data)
    made = one.tokenizer_on_meta(experiment.tokenizer, experiment.data)
    assert made is one.tokenizer_on_meta(experiment.tokenizer, experiment.data)
    assert made is not other.tokenizer_on_meta(experiment.tokenizer, experiment.data)
    with one.assumptions():
        one.assume_data(experiment.data, other.open_data(experiment.data))
        assert one.open_data(experiment.data) is other.open_data(experiment.data)
    assert one.open_data(experiment.data) is not other.open_data(experiment.data)


def built(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.Linear(width, width))


@pytest.mark.parametrize("width", [8, 4096])
def test_a_model_for_counting_takes_no_memory_and_draws_nothing(width: int) -> None:
    before = torch.get_rng_state()
    made = workspaces._without_memory(lambda: built(width))
    assert {each.device.type for each in made.parameters()} == {"meta"}
    assert torch.equal(torch.get_rng_state(), before)


def test_a_large_model_is_not_made_on_the_cpu() -> None:
    made = []

    def build() -> nn.Module:
        made.append(torch.zeros(()).device.type)
        return built(4096)

    workspaces._without_memory(build)
    assert made == ["cpu", "meta"]
    with pytest.raises(workspaces.TooManyParametersError), workspaces.small_models():
        build()
