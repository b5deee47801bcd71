"""The demo: its page opens in a browser, and its buttons do what they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

from prologue_bench.runs.demo.page import build_page, serve
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


@pytest.fixture(scope="module")
def address(studio: Studio) -> Iterator[str]:
    page = build_page(studio)
    yield serve(page, "127.0.0.1", None, show=False, wait=False)
    page.close()


def sources(page: Any, name: str) -> list[str]:
    found: list[str] = page.locator(f"#{name} img").evaluate_all("all => all.map(each => each.src)")
    return found


def pictures(page: Any, name: str, unlike: list[str]) -> list[str]:
    """The addresses of a gallery's images once they are others than before."""
    page.wait_for_function(
        "([name, unlike]) => { const found = [...document.querySelectorAll(`#${name} "
        "img`)].map(each => each.src); return found.length === 20 && found.join() !== "
        "unlike.join() }",
        arg=[name, unlike],
        timeout=60_000,
    )
    return sources(page, name)


def test_both_buttons_change_the_images(page: Any, address: str) -> None:
    from playwright.sync_api import expect

    errors: list[str] = []
    requests: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    expect(page.locator("#redraw")).to_be_disabled(timeout=60_000)
    page.locator("#draw").click()
    first = pictures(page, "drawn", [])
    page.locator("#draw").click()
    second = pictures(page, "drawn", first)
    page.locator("#redraw").click()
    redrawn = pictures(page, "redrawn", [])
    assert sources(page, "drawn") == second, "a redraw leaves what was drawn"
    assert set(redrawn) != set(second)
    prologue, visual = (page.locator("#tokens table").nth(index) for index in (0, 1))
    assert prologue.locator("mark").count() == 0, "the prologue is kept"
    assert visual.locator("mark").count() > 0, "visual tokens are not"
    page.locator("#redraw").click()
    pictures(page, "redrawn", redrawn)
    page.locator("#drawn button:has(img)").nth(3).click()
    expect(page.locator("#tokens mark")).to_have_count(0)
    assert errors == []
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []


def test_without_gradio_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = CliRunner().invoke(cli, ["demo", str(tmp_path)])
    assert "pip install 'prologue-bench[demo]'" in str(found.exception)
