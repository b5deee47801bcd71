"""The demo: its page opens with images, and its fields and buttons do what they say."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from prologue_bench.registry import Registry
from prologue_bench.results.loading import load_results
from prologue_bench.runs.demo.answers import REDRAWN
from prologue_bench.runs.demo.studio import Studio
from prologue_bench.storage.store import Store
from tests.conftest import SMOKE, run_tiny

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="needs the extra demo"
)
EVIL = "<script>document.title = 'owned'</script> ${1 + 1} {{value}} & `quotes`"


def served(folder: Path) -> Iterator[str]:
    # Gradio takes seconds to import, and most processes that collect this file do not run it.
    from prologue_bench.runs.demo.page import build_page, serve

    studio = Studio(load_results(folder / "report"), Store(folder / "store"), Registry.load())
    page = build_page(studio)
    yield serve(page, "127.0.0.1", None, show=False, wait=False)
    page.close()


@pytest.fixture(scope="module")
def address(finished: Path) -> Iterator[str]:
    yield from served(finished)


@pytest.fixture(scope="module")
def alone(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page of one run without a prologue, whose title tries to be HTML and a template."""
    folder = tmp_path_factory.mktemp("alone")
    text = SMOKE.replace("[0, 2]", "[0]")
    run_tiny(folder, "--set", f"title={json.dumps(EVIL)}", text=text, trained=finished)
    yield from served(folder)


@pytest.fixture
def messages(page: Any) -> list[str]:
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def sources(page: Any, name: str) -> list[str]:
    found: list[str] = page.locator(f"#{name} img").evaluate_all("all => all.map(each => each.src)")
    return found


def opened(page: Any, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("#drawn-0 img")


def changed(page: Any, name: str, before: list[str], count: int) -> list[str]:
    """The addresses of a gallery's images once they are as many, and others than before."""
    page.wait_for_function(
        "([name, before, count]) => { const found = [...document.querySelectorAll(`#${name} img`)]"
        ".map(each => each.src); return found.length === count && found.join() !== before.join() }",
        arg=[name, before, count],
    )
    return sources(page, name)


def try_everything(page: Any, folder: Path) -> None:
    """Press what there is, until all sections have something to show."""
    Image.new("RGB", (30, 20), "red").save(folder / "own.png")
    page.locator("#redraw").click()
    changed(page, "redrawn-1", [], REDRAWN)
    page.locator("#swap").click()
    changed(page, "swapped-1", [], 4)
    page.locator("input[type=file]").set_input_files(folder / "own.png")
    page.wait_for_selector("#own-1 svg")
    page.locator("#redraw-own").click()
    changed(page, "own-redrawn-1", [], REDRAWN)


def test_the_page_opens_with_two_variants_and_their_tokens(
    page: Any, address: str, messages: list[str]
) -> None:
    from playwright.sync_api import expect

    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    opened(page, address)
    assert len(sources(page, "drawn-0")) == len(sources(page, "drawn-1")) == 12
    for side, variant in enumerate(("prologue_tokens=0", "prologue_tokens=2")):
        expect(page.locator(f"#tokens-{side} figcaption")).to_contain_text(f"{variant}: image 1")
    assert page.locator("#tokens-1 svg text").count() == page.locator("#tokens-0 svg text").count()
    expect(page.locator("#tokens-1 .chips li")).to_have_count(2)
    assert messages == []
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []


def test_the_buttons_draw_redraw_and_swap(page: Any, address: str, messages: list[str]) -> None:
    from playwright.sync_api import expect

    opened(page, address)
    first = sources(page, "drawn-1")
    page.get_by_role("button", name="Draw the next seed").click()
    second = changed(page, "drawn-1", first, 12)
    expect(page.get_by_label("Seed of the draw")).to_have_value("1")
    page.locator("#drawn-0 label").nth(2).click()
    for side in (0, 1):
        expect(page.locator(f"#tokens-{side} figcaption")).to_contain_text("image 3")
        expect(page.locator(f"#drawn-{side} input").nth(2)).to_be_checked()
    page.locator("#redraw").click()
    redrawn = changed(page, "redrawn-1", [], REDRAWN)
    assert sources(page, "drawn-1") == second, "a redraw leaves what was drawn"
    expect(page.locator("#redrawn-tokens-1 .chips mark")).to_have_count(0)
    assert page.locator("#redrawn-tokens-1 rect.changed").count() > 0
    page.locator("#redraw").click()
    again = changed(page, "redrawn-1", redrawn, REDRAWN)
    page.locator("#redrawn-1 label").nth(3).click()
    expect(page.locator("#redrawn-tokens-1 figcaption")).to_contain_text("redraw 4")
    drawn = page.locator("#redrawn-tokens-1 svg image").get_attribute("href")
    assert drawn == again[3], "the tokens are those of the image that was clicked"
    page.locator("#swap").click()
    assert second[2] in changed(page, "swapped-1", [], 4)
    expect(page.locator("#swapped-0")).to_contain_text("has no prologue")
    page.locator("#drawn-1 label").nth(4).click()
    expect(page.locator("#redrawn-1 img")).to_have_count(0)
    assert messages == []


def test_a_picture_of_ones_own_comes_in_and_keeps_its_prologue(
    page: Any, address: str, tmp_path: Path, messages: list[str]
) -> None:
    from playwright.sync_api import expect

    opened(page, address)
    page.locator("#redraw-own").click()
    expect(page.locator("#own-redrawn-0")).to_contain_text("no picture is chosen yet")
    try_everything(page, tmp_path)
    expect(page.locator("#own-redrawn-tokens-1 .chips mark")).to_have_count(0)
    given = sources(page, "own-given")
    page.get_by_label("Swap light and dark").check()
    changed(page, "own-given", given, 1)
    expect(page.locator("#own-redrawn-1 img")).to_have_count(0)
    (tmp_path / "notes.png").write_text("not a picture")
    page.locator("input[type=file]").set_input_files(tmp_path / "notes.png")
    expect(page.locator("#own-0")).to_contain_text("notes.png: cannot be read")
    assert messages == []


def test_another_variant_takes_a_side(page: Any, address: str) -> None:
    from playwright.sync_api import expect

    opened(page, address)
    right = sources(page, "drawn-1")
    page.get_by_label("Left").click()
    page.get_by_role("option", name="prologue_tokens=2").click()
    page.wait_for_function("document.querySelectorAll('#tokens-0 .chips li').length === 2")
    assert sources(page, "drawn-0") == right, "the same variant, class and seed"
    expect(page.locator("#kept-0 input[type=number]")).to_have_value("2")


def test_everything_can_be_done_by_keyboard(page: Any, address: str) -> None:
    from playwright.sync_api import expect

    opened(page, address)
    before = sources(page, "drawn-1")
    page.locator("#drawn-1 input:checked").focus()
    for number in (2, 3):
        page.keyboard.press("ArrowRight")
        expect(page.locator("#tokens-1 figcaption")).to_contain_text(f"image {number}")
    assert page.evaluate("document.activeElement.value") == "2", "the focus stays in the gallery"
    report = page.get_by_label("Temperature and guidance as in the report")
    expect(report).to_be_checked()
    page.locator("#temperature input[type=range]").focus()
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
    expect(report).not_to_be_checked()
    expect(page.locator("#drawn-1 legend")).to_contain_text("temperature 0.6")
    colder = changed(page, "drawn-1", before, 12)
    report.focus()
    page.keyboard.press("Space")
    assert changed(page, "drawn-1", colder, 12) == before
    page.locator("#redraw").focus()
    page.keyboard.press("Enter")
    changed(page, "redrawn-1", [], REDRAWN)
    page.locator("#redrawn-1 input:checked").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#redrawn-tokens-1 figcaption")).to_contain_text("redraw 2")
    page.locator("#tokens-1 summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#tokens-1 table").first).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_has_no_violation_of_accessibility_and_no_overflow(
    page: Any, address: str, tmp_path: Path, width: int, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    opened(page, address)
    try_everything(page, tmp_path)
    page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = "([all, width]) => all.filter(e => e.getBoundingClientRect().right > width + 1).length"
    fields = page.locator("input[type=range], input[type=checkbox], .images img, svg[role=img]")
    assert fields.evaluate_all(f"all => ({beyond})([all, {width}])") == 0, "nothing is cut off"
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []


def test_a_single_run_says_what_it_cannot_show(page: Any, alone: str, messages: list[str]) -> None:
    from playwright.sync_api import expect

    opened(page, alone)
    assert page.locator("h1").inner_text() == EVIL
    assert page.title().startswith("<script>")
    expect(
        page.get_by_text("These results have one run, so none stands beside it.")
    ).to_be_visible()
    expect(page.get_by_text("No run here has a prologue, so there is nothing")).to_be_visible()
    expect(page.locator("#swap")).not_to_be_visible()
    page.locator("#redraw").click()
    changed(page, "redrawn-0", [], REDRAWN)
    assert page.locator("#redrawn-tokens-0 rect.changed").count() > 0
    assert messages == []
