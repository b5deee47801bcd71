"""Images that sampling settings are searched on are in no training, of any variant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve

from prologue_bench.config.ablation import Ablation
from prologue_bench.contracts import MetricInputs, to_float
from prologue_bench.pipeline.collect import collect
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.steps import training
from prologue_bench.pipeline.tokens import open_tokens
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from prologue_bench.training.batches import ArrayDataset
from prologue_plugins.datasets.settings import ShapesSettings
from prologue_plugins.datasets.shapes import Shapes
from prologue_plugins.metrics.fid import GenerationFid
from tests.conftest import Recorder

Load = Callable[..., Ablation]
SEARCH = "sampling.search={grid: {temperature: [0.5, 1.0]}, samples: 30, validation_images: 41}"


def rows(images: Any) -> list[bytes]:
    return [image.tobytes() for image in np.asarray(images[:])]


def test_no_image_that_settings_are_searched_on_was_trained_on(
    load: Load, store: Store, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: dict[str, list[Any]] = {"images": [], "ids": []}
    searched: list[list[bytes]] = []

    def watched_data(arrays: dict[str, Any]) -> ArrayDataset:
        for name, array in arrays.items():
            trained.setdefault(name, []).append(array)
        return ArrayDataset(arrays)

    measure = GenerationFid.measure

    def watched(self: GenerationFid, inputs: MetricInputs) -> Any:
        searched.append(rows(inputs.data.images("test")))
        return measure(self, inputs)

    monkeypatch.setattr(training, "ArrayDataset", watched_data)
    monkeypatch.setattr(GenerationFid, "measure", watched)
    plan = make_plan(load(SEARCH), Workspace(store))
    outcome = execute(plan, Workspace(store), recorder, lambda: False)
    assert outcome.failures == {}
    whole = Shapes(ShapesSettings(size=14, train_images=96, test_images=64))
    assert len(set(rows(whole.images("train")))) == 96
    assert len(searched) == 4  # two points of two variants
    assert len(trained["images"]) == len(trained["ids"]) == 2
    for found in searched:
        assert len(found) == 41
        assert set(found) <= set(rows(whole.images("train")))
        assert found == searched[0]
    for images in trained["images"]:
        assert set(rows(images)) == set(rows(whole.images("train"))) - set(searched[0])
    assert [len(array) for array in trained["ids"]] == [55, 55]
    # A token of the training split is that of the image beside its label.
    pipeline = plan.pipelines[0]
    tokenizer = Workspace(store).load_tokenizer(pipeline.tokenizer, torch.device("cpu"))
    part = Workspace(store).data_of(pipeline.tokenizer)
    kept = torch.from_numpy(np.asarray(part.images("train")[:]))
    ids = open_tokens(store.get(pipeline.tokens.key).folder, "train")
    assert np.array_equal(ids, tokenizer.encode(to_float(kept)).numpy())
    results, _ = collect(plan, outcome, Workspace(store))
    assert results.data is not None
    assert (results.data.train, results.data.test) == (55, 64)
    assert results.data.notes == (
        "41 training images, a class-balanced subset with seed 0, are held out of all training; "
        "sampling settings are searched for on them",
    )


def test_a_search_needs_a_number_that_is_better_in_one_direction(
    load: Load, store: Store, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = GenerationFid.measure

    def neutral(self: GenerationFid, inputs: MetricInputs) -> Any:
        return [evolve(each, direction="neutral") for each in measure(self, inputs)]

    monkeypatch.setattr(GenerationFid, "measure", neutral)
    plan = make_plan(load(SEARCH, "vary={}", "baseline="), Workspace(store))
    failures = execute(plan, Workspace(store), recorder, lambda: False).failures
    told = "found 'gFD (EfficientNet-Lite0)', which is better neither lower nor higher, expected a"
    assert failures
    assert all(told in str(failure) for failure in failures.values())
