"""The demo: its page opens in a browser, and its buttons do what they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from prologue_bench.registry import Registry
from prologue_bench.results.loading import load_results
from prologue_bench.storage.store import Store
from tests.conftest import run_tiny

pytest.importorskip("gradio")

from prologue_bench.runs.demo.page import build_page, serve
from prologue_bench.runs.demo.studio import Studio


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("demo")
    run_tiny(folder)
    return Studio(load_results(folder / "report"), Store(folder / "store"), Registry.load())


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
