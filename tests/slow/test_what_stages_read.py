"""Every stage opens what its key declares, its inputs, data and settings' files, nothing else."""

from __future__ import annotations

import shutil
import site
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import numpy as np
import pytest

from prologue_bench.config.ablation import Ablation
from prologue_bench.contracts import Measurement, MetricInputs
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import Plan, PlannedStage, make_plan
from prologue_bench.pipeline.stages import Stage
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.files import user_cache
from prologue_bench.storage.store import Store
from prologue_plugins.metrics.pixels import Psnr
from tests.conftest import ROOT, Recorder
from tests.factories.image_folders import make_images
from tests.opened import opened_files

LIBRARIES = (
    sys.prefix,
    sys.base_prefix,
    *site.getsitepackages(),
    str(ROOT),
    "/usr",
    "/lib",
    "/proc",
    "/sys",
    "/dev",
    "/etc",
)
"""Code and system: no part of what a stage is about."""

pytestmark = pytest.mark.usefixtures("own_cache")


def plan_of_all_kinds(load: Callable[..., Ablation], tmp_path: Path, store: Store) -> Plan:
    """Every kind of stage that trains nothing for long.

    Data, a model and a reference are in files of their own.
    """
    from diffusers import VQModel

    VQModel(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=2,
        num_vq_embeddings=8,
        norm_num_groups=2,
    ).save_pretrained(tmp_path / "model")
    reference = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "reference.npz", arr_0=reference)
    gfid = "{use: gfid, few_samples: shrink, resize: 32}"
    ablation = load(
        f"data={{use: image-folder, root: {make_images(tmp_path / 'data')}, size: 8}}",
        "vary={}",
        "baseline=post",
        "tokenizer.patch_size=4",
        "tokenizer_training.prior_labels=true",
        "tokenizer_training.losses=[{use: patchgan, width: 8, layers: 1}]",
        "tokenizer_training.steps=2",
        "tokenizer_training.batch_size=4",
        "generator_training.steps=2",
        "generator_training.batch_size=4",
        "sampling.samples=4",
        "sampling.batch_size=4",
        (
            "sampling.search={grid: {temperature: [0.5, 1.0]}, samples: 4, validation_images: 4, "
            f"metric: {gfid}}}"
        ),
        "variants={post: {tokenizer: {use: prologue-post, prologue_tokens: 2, patch_size: 4}}, "
        "joint: {tokenizer.prologue_tokens: 2, generator_training.joint: true}, "
        f"frozen: {{tokenizer: {{use: diffusers-vq, pretrained: {tmp_path / 'model'}}}}}}}",
        "metrics=[psnr, {use: rfid, few_samples: shrink, resize: 32, reference: "
        f"{tmp_path / 'reference.npz'}}}, {gfid}, rate, codebook, "
        "{use: layout, groups_per_class: 2, group_size: 2, resize: 32}, cost]",
    )
    return make_plan(ablation, Workspace(store))


def behind(stage: Stage) -> Iterator[Stage]:
    """The stage and all before it."""
    yield stage
    for each in stage.inputs:
        yield from behind(each)


def declared(stage: Stage, tmp_path: Path) -> set[Path]:
    """Data and files that the keys of a stage and of those before it hold."""
    held = [each.reads() for each in behind(stage)]
    files = {tmp_path / "data"} if any("data" in reads for reads in held) else set()
    if "pretrained" in str(held):
        files.add(tmp_path / "model")
    if "'reference'" in str(held[0]):
        files.add(tmp_path / "reference.npz")
    return files


def run_alone(planned: PlannedStage, plan: Plan, whole: Store, tmp_path: Path) -> list[str]:
    """Run a stage in a store that holds its inputs and nothing else.

    Returns what it did against its key.
    """
    stage = planned.stage
    store = Store(tmp_path / "alone" / stage.key)
    (store.root / "artifacts").mkdir(parents=True)
    absent = [
        each.kind for each in stage.inputs if not (whole.root / "artifacts" / each.key).is_dir()
    ]
    if absent:
        return [f"{stage.kind} lacks {', '.join(absent)}"]
    for each in stage.inputs:
        shutil.copytree(whole.root / "artifacts" / each.key, store.root / "artifacts" / each.key)
    with opened_files() as opened:
        outcome = execute(
            attrs.evolve(plan, stages=(planned,)), Workspace(store), Recorder(), lambda: False
        )
    wrong = [f"{stage.kind}: {reason}" for reason in outcome.failures.values()]
    own = {store.root, user_cache().parent, *declared(stage, tmp_path), *map(Path, LIBRARIES)}
    wrong += [
        f"{stage.kind} opens {path}"
        for path in sorted(set(opened))
        if not any(path == each or each in path.parents for each in own)
    ]
    for each in stage.inputs:
        folder = store.root / "artifacts" / each.key
        if not any(folder in path.parents for path in opened):
            wrong.append(
                f"{stage.kind} {getattr(stage, 'metric', '')} never opens its input {each.kind}"
            )
    if not outcome.failures:
        shutil.copytree(store.root / "artifacts" / stage.key, whole.root / "artifacts" / stage.key)
    return wrong


def features(images: np.ndarray, *_: object) -> np.ndarray:
    """Some that differ from image to image, which those of models after two steps do not."""
    few = np.asarray(images[:]).reshape(len(images), -1)[:, :4]
    return (few + np.random.default_rng(0).normal(size=few.shape)).astype(np.float32)


def test_stages_open_what_their_keys_declare(
    load: Callable[..., Ablation], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prologue_plugins.metrics.features.extract_features", features)
    plan = plan_of_all_kinds(load, tmp_path, store)
    kinds = {planned.stage.kind for planned in plan.stages}
    assert kinds == {
        "train-tokenizer",
        "encode",
        "reconstruct",
        "train-generator",
        "take-prior",
        "search",
        "sample",
        "measure",
        "picture-reconstructions",
        "picture-samples",
        "picture-tokens",
        "picture-attention",
    }
    assert [
        wrong for planned in plan.stages for wrong in run_alone(planned, plan, store, tmp_path)
    ] == []


def test_a_stage_that_opens_more_than_it_declares_is_found_out(
    load: Callable[..., Ablation], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray = tmp_path / "stray.txt"
    stray.write_text("not in the key")
    measure = Psnr.measure

    def nosy(self: Psnr, inputs: MetricInputs) -> list[Measurement]:
        stray.read_text()
        return measure(self, inputs)

    monkeypatch.setattr(Psnr, "measure", nosy)
    plan = make_plan(load("vary={}", "baseline=", "metrics=[psnr]"), Workspace(store))
    wrong = [
        wrong for planned in plan.stages for wrong in run_alone(planned, plan, store, tmp_path)
    ]
    assert wrong == [f"measure opens {stray}"]
