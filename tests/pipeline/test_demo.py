"""The demo: what its buttons do, without a page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from prologue_bench.cli.app import cli
from prologue_bench.errors import PrologueBenchError, UserError
from prologue_bench.registry import Registry
from prologue_bench.results.loading import load_results
from prologue_bench.runs.demo.answers import REDRAWN, Answers, Form, Redraw
from prologue_bench.runs.demo.studio import ALL_CLASSES, ByHand, Request, Studio
from prologue_bench.storage.store import Store
from tests.conftest import SMOKE, run_tiny
from tests.examples import wider_contracts

PLAIN, PROLOGUE = "prologue_tokens=0", "prologue_tokens=2"
ASKED = Request(count=6, seed=3)


def opened(folder: Path, registry: Registry) -> Studio:
    return Studio(load_results(folder / "report"), Store(folder / "store"), registry)


@pytest.fixture(scope="module")
def studio(finished: Path, registry: Registry) -> Studio:
    return opened(finished, registry)


def form(**changes: Any) -> Form:
    found = Form(
        label=ALL_CLASSES, seed=3, count=6, as_measured=True, temperature=1.0, guidance=1.0
    )
    return attrs.evolve(found, **changes)


def test_the_page_opens_with_the_baseline_beside_the_last_prologue(
    studio: Studio, two_seeds: Path, registry: Registry
) -> None:
    assert studio.opening() == (PLAIN, PROLOGUE)
    assert studio.has_prologues()
    several = opened(two_seeds, registry)
    assert several.names == [
        f"{variant}, training seed {seed}" for variant in (PLAIN, PROLOGUE) for seed in (0, 1)
    ]
    assert several.opening() == (f"{PLAIN}, training seed 0", f"{PROLOGUE}, training seed 0")


def test_images_of_one_number_have_the_same_random_numbers(studio: Studio) -> None:
    one, other = (studio.draw(name, ASKED) for name in (PLAIN, PROLOGUE))
    assert torch.equal(one.labels, other.labels)
    again = Studio(studio.results, studio.store, studio.registry).draw(PLAIN, ASKED)
    assert torch.equal(again.ids, one.ids), "the same seed draws the same"
    fewer = studio.draw(PLAIN, Request(count=3, seed=3))
    assert torch.equal(fewer.ids, one.ids[:3])
    assert not torch.equal(studio.draw(PLAIN, attrs.evolve(ASKED, seed=4)).ids, one.ids)
    label = studio.classes([PLAIN])[2]
    of_a_class = studio.draw(PLAIN, attrs.evolve(ASKED, label=label))
    assert of_a_class.labels is not None
    assert of_a_class.labels.tolist() == [1] * 6
    assert of_a_class.class_of(0) == label


def test_temperature_and_guidance_take_the_place_of_the_runs_own(studio: Studio) -> None:
    own = studio.draw(PLAIN, ASKED)
    assert studio.measured(PLAIN) == ByHand(1.0, 1.0)
    same = studio.draw(PLAIN, attrs.evolve(ASKED, by_hand=ByHand(1.0, 1.0)))
    assert torch.equal(same.ids, own.ids)
    for by_hand in (ByHand(0.1, 1.0), ByHand(1.0, 8.0)):
        changed = studio.draw(PLAIN, attrs.evolve(ASKED, by_hand=by_hand))
        assert not torch.equal(changed.ids, own.ids), by_hand
    cold = attrs.evolve(ASKED, label=studio.classes([PLAIN])[1], by_hand=ByHand(1e-9, 1.0))
    assert len(studio.draw(PLAIN, cold).ids.unique(dim=0)) == 1, "the likeliest tokens alone"
    with pytest.raises(UserError, match="temperature and guidance: 'temperature' must be > 0"):
        studio.draw(PLAIN, attrs.evolve(ASKED, by_hand=ByHand(0.0, 1.0)))


def test_a_redraw_keeps_first_tokens_and_the_class(studio: Studio) -> None:
    before = studio.draw(PROLOGUE, ASKED)
    assert studio.kept(PROLOGUE) == (2, before.layout.length - 1)
    assert studio.kept(PLAIN)[0] == 2, "as many as the other's prologue"
    request = attrs.evolve(ASKED, count=5)
    after = studio.redraw(before, 4, 2, 0, request)
    assert (after.ids[:, :2] == before.ids[4, :2]).all()
    assert len(after.ids.unique(dim=0)) > 1
    assert after.labels is not None
    assert before.labels is not None
    assert (after.labels == before.labels[4]).all()
    other_round = studio.redraw(before, 4, 2, 1, request)
    assert not torch.equal(after.ids, other_round.ids)
    none_kept = studio.redraw(before, 4, 0, 0, request)
    assert len(none_kept.ids[:, :2].unique(dim=0)) > 1
    for kept in (-1, before.layout.length):
        with pytest.raises(UserError, match=f"{kept} first tokens, expected 0 to"):
            studio.redraw(before, 4, kept, 0, request)


def test_swapped_images_keep_everything_but_their_prologue(studio: Studio) -> None:
    before = studio.draw(PROLOGUE, ASKED)
    differing = next(
        index for index in range(1, 6) if not torch.equal(before.ids[index, :2], before.ids[0, :2])
    )
    after = studio.swap(before, 0, differing)
    assert torch.equal(after.ids[0, :2], before.ids[differing, :2])
    assert torch.equal(after.ids[1, :2], before.ids[0, :2])
    assert before.labels is not None
    assert after.labels is not None
    assert after.labels.tolist() == before.labels[[0, differing]].tolist()
    # The random numbers are the images' own: behind its own prologue, an image is as it was.
    run = studio.run(PROLOGUE)
    same = run.draw(before.labels[[5]], ASKED.seed, before.ids[[5], :2], first=5)
    assert torch.equal(same[0], before.ids[5])


def test_a_swap_without_a_prologue_or_a_second_image_is_refused(studio: Studio) -> None:
    with pytest.raises(UserError, match=f"{PLAIN} has no prologue, so there is nothing to swap"):
        studio.swap(studio.draw(PLAIN, ASKED), 0, 1)
    for other in (0, 6, -1):
        with pytest.raises(UserError, match="it takes two"):
            studio.swap(studio.draw(PROLOGUE, ASKED), 0, other)


def test_a_picture_is_encoded_and_its_prologue_kept_for_the_class_asked_for(
    studio: Studio,
) -> None:
    spec = studio.images_of(PROLOGUE)
    picture = np.zeros((1, spec.channels, spec.height, spec.width), dtype=np.uint8)
    found = studio.encode(PROLOGUE, picture)
    assert torch.equal(found.ids[0], studio.run(PROLOGUE).encode(picture))
    assert found.images.shape == picture.shape
    after = studio.redraw(found, 0, 2, 0, attrs.evolve(ASKED, label=spec.class_names[2]))
    assert (after.ids[:, :2] == found.ids[0, :2]).all()
    assert after.labels is not None
    assert (after.labels == 2).all()


@pytest.fixture
def answers(studio: Studio) -> Answers:
    return Answers(studio)


def images(html: str) -> int:
    return html.count("<img")


def test_answers_are_galleries_and_tokens(answers: Answers, tmp_path: Path) -> None:
    shown, tokens = answers.drawn(PROLOGUE, form(), 1, "drawn-1")
    assert images(shown) == 6
    assert "temperature 1, no guidance" in shown
    assert f"{PROLOGUE}: image 2" in tokens
    shown, tokens = answers.redrawn(PROLOGUE, form(), 1, Redraw(2, 0, 3, "redrawn-1"))
    assert images(shown) == REDRAWN
    assert "Image 2 with the 2 prologue tokens kept" in shown
    assert "redraw 4" in tokens
    assert "prologue: 2 tokens of" in tokens
    assert re.search(r"prologue: 2 tokens of [\d,]+ codes, \d changed", tokens) is None
    assert images(answers.swapped(PROLOGUE, form(), 0, 2)) == 4
    path = tmp_path / "picture.png"
    Image.new("RGB", (50, 30), "red").save(path)
    assert "decoded from its tokens" in answers.own(PROLOGUE, str(path), False)
    assert images(answers.own_as_given(PROLOGUE, str(path), False)) == 1
    again = answers.own_redrawn(
        PROLOGUE, str(path), False, form(), Redraw(2, 0, 0, "own-redrawn-1")
    )
    assert "Your picture with the 2 prologue tokens kept, class by class" in again[0]


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        (lambda a: a.drawn("else", form(), 0, "g")[0], "no run &#x27;else&#x27;"),
        (lambda a: a.drawn(PLAIN, form(label="cat"), 0, "g")[0], "no class &#x27;cat&#x27;"),
        (lambda a: a.drawn(PLAIN, form(seed=None), 0, "g")[0], "seed: found no number"),
        (lambda a: a.swapped(PLAIN, form(), 0, 2), "has no prologue"),
        (lambda a: a.swapped(PROLOGUE, form(), 0, 1), "it takes two"),
        (lambda a: a.own(PLAIN, None, False), "no picture is chosen yet"),
        (lambda a: a.own_as_given(PLAIN, "/nowhere.png", False), "nowhere.png: cannot be read"),
    ],
)
def test_a_refusal_is_one_line_in_the_place_of_images(
    answers: Answers, ask: Callable[[Answers], str], why: str
) -> None:
    found = ask(answers)
    assert why in found
    assert found.startswith('<p class="message">')
    assert found.count("<") == 2


def test_a_single_run_without_a_prologue_has_a_page(
    finished: Path, tmp_path: Path, registry: Registry
) -> None:
    run_tiny(tmp_path, text=SMOKE.replace("[0, 2]", "[0]"), trained=finished)
    studio = opened(tmp_path, registry)
    assert studio.opening() == (PLAIN,)
    assert not studio.has_prologues()
    before = studio.draw(PLAIN, ASKED)
    kept, most = studio.kept(PLAIN)
    assert kept == min(8, before.layout.length // 2)
    assert most == before.layout.length - 1
    after = studio.redraw(before, 0, kept, 0, ASKED)
    assert (after.ids[:, :kept] == before.ids[0, :kept]).all()


@pytest.mark.parametrize(
    ("tokenizer", "generator"),
    [("levels", "whole-segments"), ("two-codebooks", "masked"), ("many-codes", "bits")],
)
def test_other_ways_to_draw_and_layouts_have_a_page(
    tokenizer: str, generator: str, tmp_path: Path
) -> None:
    text = f"""
name: other
title: Another
plugins: [{wider_contracts.__file__}]
data: {{use: shapes, size: 14, train_images: 96, test_images: 64}}
profile: smoke
tokenizer: {{use: {tokenizer}}}
generator: {{use: {generator}}}
seeds: [0]
sampling: {{samples: 24, batch_size: 12}}
metrics: [gfid]
"""
    run_tiny(tmp_path, text=text)
    known = Registry.load()
    known.add_plugin(wider_contracts, "a test")
    answers = Answers(opened(tmp_path, known))
    (name,) = answers.studio.opening()
    by_hand = form(as_measured=False, guidance=2.0)
    shown, tokens = answers.drawn(name, by_hand, 0, "drawn-0")
    assert images(shown) == 6
    assert "<svg" in tokens
    assert ("draws in its own way" in shown) is (generator in ("masked", "bits"))
    assert images(answers.redrawn(name, by_hand, 0, Redraw(1, 0, 0, "g"))[0]) == REDRAWN
    assert (images(answers.swapped(name, by_hand, 0, 2)) == 4) is (tokenizer == "levels")


def test_what_is_no_longer_in_the_store_is_said_at_once(studio: Studio, tmp_path: Path) -> None:
    empty = Studio(studio.results, Store(tmp_path / "store"), studio.registry)
    with pytest.raises(PrologueBenchError, match="is not there; name its store, or run it again"):
        empty.opening()


def test_the_page_opens_with_what_is_there(studio: Studio, finished: Path, tmp_path: Path) -> None:
    store = Store(shutil.copytree(finished / "store", tmp_path / "store"))
    (last,) = [run for run in studio.results.runs if run.variant == PROLOGUE]
    (key,) = [stage.key for stage in last.stages if stage.stage == "train-generator"]
    found = store.find(key)
    assert found is not None
    shutil.rmtree(found.folder)
    partial = Studio(studio.results, Store(store.root), studio.registry)
    assert partial.opening() == (PLAIN,)
    assert "is not there" in Answers(partial).drawn(PROLOGUE, form(), 0, "drawn-0")[0]
    assert Answers(partial).kept(PROLOGUE) == (0, 0)


def test_without_gradio_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = CliRunner().invoke(cli, ["demo", str(tmp_path)])
    assert "pip install 'prologue-bench[demo]'" in str(found.exception)
