"""Images that sampling settings are searched on are in no training, of any variant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from prologue_bench.config.ablation import Ablation
from prologue_bench.config.settings import Sampling, Search
from prologue_bench.errors import UserError
from prologue_bench.pipeline import stages
from prologue_bench.pipeline.collect import _search_notes
from prologue_bench.pipeline.held_out import HeldOut, WithoutHeldOut
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.stages import sampling_told
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from prologue_plugins.datasets.imagenet import ImageNet
from prologue_plugins.datasets.settings import ImageNetSettings, ShapesSettings
from prologue_plugins.datasets.shapes import Shapes
from tests.factories.imagenet import make_zip

Load = Callable[..., Ablation]
SEARCH = "sampling.search={grid: {temperature: [0.5, 1.0]}, samples: 30, validation_images: 41}"


def rows(images: Any) -> list[bytes]:
    return [image.tobytes() for image in np.asarray(images[:])]


def test_variants_that_do_not_search_leave_the_same_images_out(load: Load, store: Store) -> None:
    ablation = load(
        "vary={}",
        "baseline=one",
        f"variants={{one: {{}}, two: {{{SEARCH.replace('=', ': ', 1)}}}}}",
    )
    pipelines = make_plan(ablation, Workspace(store)).pipelines
    assert [pipeline.samples.search is not None for pipeline in pipelines] == [False, True]
    assert [pipeline.tokenizer.data.held_out for pipeline in pipelines] == [41, 41]
    assert pipelines[0].tokenizer.key == pipelines[1].tokenizer.key
    without = make_plan(load(), Workspace(store)).pipelines[0]
    assert without.tokenizer.data.held_out == 0
    assert "held_out" not in without.tokenizer.data.key()
    assert without.tokenizer.key not in {pipeline.tokenizer.key for pipeline in pipelines}
    other = make_plan(load(SEARCH.replace("41", "40")), Workspace(store)).pipelines[0]
    assert other.tokenizer.key not in {pipeline.tokenizer.key for pipeline in pipelines}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            (SEARCH.replace("41", "49"),),
            "found 49, expected at most half of the 96 training images",
        ),
        (
            (SEARCH.replace(", validation_images: 41", ""),),
            "found 5000, expected at most half of the 96",
        ),
        (
            (SEARCH, "vary={sampling.search.validation_images: [8, 12]}", "baseline="),
            "found 8 and 12, expected one number: all variants learn from the same images",
        ),
    ],
)
def test_a_number_that_cannot_be_held_out_is_one_line(
    load: Load, store: Store, settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError) as raised:
        make_plan(load(*settings), Workspace(store))
    assert f"sampling.search.validation_images: {message}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_two_parts_are_class_balanced_and_make_up_the_whole() -> None:
    data = Shapes(ShapesSettings(size=14, train_images=30, test_images=5))
    rest, held_out = WithoutHeldOut(data, 8), HeldOut(data, 8)
    assert np.bincount(held_out.labels("test")).tolist() == [2, 2, 2, 2]
    assert sorted(rows(rest.images("train")) + rows(held_out.images("test"))) == sorted(
        rows(data.images("train"))
    )
    assert rows(rest.images("test")) == rows(data.images("test"))
    assert rest.labels("test").tolist() == data.labels("test").tolist()
    assert len({part.fingerprint for part in (data, rest, held_out, WithoutHeldOut(data, 9))}) == 4


def test_all_views_of_an_image_are_held_out_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = ImageNet(ImageNetSettings(root=str(make_zip(tmp_path / "a.zip")), size=16))
    rest = WithoutHeldOut(data, 5)
    assert (rest.views, len(rest.training_views()), len(rest.labels("train"))) == (10, 70, 7)
    views = data.training_views()[:].reshape(12, 10, 3, 16, 16)
    assert np.array_equal(rest.training_views()[:].reshape(7, 10, 3, 16, 16), views[rest.kept])
    assert np.array_equal(rest.training_views()[[69, 0]], views[rest.kept[[6, 0]], [9, 0]])
    assert rest.labels("train").tolist() == data.labels("train")[rest.kept].tolist()
    assert np.bincount(data.labels("train")[rest.held_out]).max() == 2


def test_an_imported_tokenizer_may_have_seen_them_and_a_note_says_so(
    load: Load, store: Store
) -> None:
    plan = make_plan(load(SEARCH), Workspace(store))
    assert _search_notes(plan) == []
    first = plan.pipelines[0]
    tokenizer = stages.ImportedTokenizer(
        data=first.tokenizer.data, tokenizer=first.tokenizer.tokenizer, imported="elsewhere"
    )
    imported = attrs.evolve(
        plan, pipelines=(attrs.evolve(first, tokenizer=tokenizer), *plan.pipelines[1:])
    )
    assert _search_notes(imported) == [
        (
            "imported models may have been trained on the images held out for the search: "
            "prologue_tokens=0"
        )
    ]


def test_protocols_of_a_searched_variant_hold_single_values() -> None:
    grid = {"temperature": (0.9, {"prologue": 0.7, "default": 0.8}), "top_k": (0, 5)}
    told = sampling_told(Sampling(search=Search(grid=grid, samples=100)))
    assert told["search.grid.temperature"] == '[0.9, {"prologue": 0.7, "default": 0.8}]'
    assert told["search.grid.top_k"] == "[0, 5]"
    assert all(isinstance(value, str | int | float | bool | None) for value in told.values())
