"""The demo: its page opens in a browser, and its buttons do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.errors import UserError
from prologue_bench.registry import Registry
from prologue_bench.results.loading import load_results
from prologue_bench.storage.store import Store
from tests.conftest import run_tiny

pytest.importorskip("gradio")

from prologue_bench.runs.demo.studio import Studio, tokens_table


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("demo")
    run_tiny(folder)
    return Studio(load_results(folder / "report"), Store(folder / "store"), Registry.load())


def test_a_redraw_keeps_the_first_tokens_and_changes_others(studio: Studio) -> None:
    variant = "prologue_tokens=2"
    assert studio.kept(variant, 0) == (2, studio.run(variant, 0).tokenizer.layout.length - 1)
    before = studio.draw(variant, 0, studio.classes[1], 6, 3)
    assert before.labels.tolist() == [0] * 6
    after = studio.redraw(variant, 0, before, 2, 4)
    assert torch.equal(after.ids[:, :2], before.ids[:, :2])
    assert not torch.equal(after.ids, before.ids)
    assert all(image.shape == before.images[0].shape for image in after.images)
    again = studio.draw(variant, 0, studio.classes[1], 6, 3)
    assert torch.equal(again.ids, before.ids), "the same seed draws the same"
    none_kept = studio.redraw(variant, 0, before, 0, 4)
    assert not torch.equal(none_kept.ids[:, :2], before.ids[:, :2])


def test_the_table_marks_what_a_redraw_changed(studio: Studio) -> None:
    before = studio.draw("prologue_tokens=2", 0, studio.classes[0], 1, 0)
    after = studio.redraw("prologue_tokens=2", 0, before, 2, 1)
    changed = int((after.ids != before.ids).sum())
    assert changed
    assert tokens_table(after, 0, before).count("<mark>") == changed
    assert "<mark>" not in tokens_table(before, 0)
    assert "prologue: 2 tokens" in tokens_table(before, 0)


def test_a_run_that_is_no_longer_in_the_store_is_said_at_once(
    studio: Studio, tmp_path: Path
) -> None:
    empty = Studio(studio.results, Store(tmp_path), studio.registry)
    with pytest.raises(UserError, match="is not there; name its store, or run it again"):
        empty.run("prologue_tokens=2", 0)


def test_without_gradio_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = CliRunner().invoke(cli, ["demo", str(tmp_path)])
    assert "pip install 'prologue-bench[demo]'" in str(found.exception)
