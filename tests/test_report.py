"""The report as a reader meets it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prologue_bench.pipeline.executor import Outcome, execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.store import Store
from prologue_bench.registry import Registry
from prologue_bench.reporting.report import load_pictures, render_html, setting_differences, write_report
from prologue_bench.reporting.results import collect, frame, load_results
from prologue_bench.spec.ablation import Ablation
from tests.conftest import Recorder

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "<script>document.title = 'owned'</script> & \"quotes\""


@pytest.fixture
def written(load: Callable[..., Ablation], store: Store, tmp_path: Path) -> Path:
    """A report of two variants and two seeds with a title that tries to be HTML."""
    ablation = load("seeds=[0, 1]", f"title={json.dumps(EVIL)}")
    plan = make_plan(ablation, store)
    outcome = execute(plan, store, Recorder(), lambda: False)
    return write_report(*collect(plan, outcome, store, Registry.load()), tmp_path / "report")


@pytest.fixture
def page(written: Path) -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser.new_page()
        browser.close()


@pytest.mark.parametrize("width", [1440, 390])
def test_the_report_opens_offline_without_errors_or_overflow(page: Any, written: Path, width: int) -> None:
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(written.as_uri())
    assert messages == []
    assert [url for url in requests if not url.startswith(("data:", written.as_uri()))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert page.evaluate(broken) == 0
    assert page.locator("img").count() == 5, "originals, and two grids for each of two variants"
    assert page.locator("#summary tbody tr").first.inner_text().startswith("prologue_tokens=0")


def test_strings_from_the_yaml_show_as_text(page: Any, written: Path) -> None:
    page.goto(written.as_uri())
    assert page.title().startswith(EVIL)
    assert page.locator("h1").inner_text() == EVIL


def test_the_report_names_data_protocols_and_provenance(written: Path) -> None:
    results = load_results(written.parent)
    html = written.read_text()
    for text in (results["data"]["fingerprint"], results["software"]["torch"], results["hardware"]["processor"]):
        assert text in html
    assert "class-conditional" in html, "the rate's protocol"
    for run in results["runs"]:
        for stage in run["stages"]:
            assert stage["key"] in html
            assert stage["seconds"] > 0


def test_the_frame_is_tidy(written: Path) -> None:
    rows = frame(load_results(written.parent))
    assert len(rows) == 2 * 2 * (2 + 3), "rate and one rate a segment, in two units, for two seeds"
    assert not rows.duplicated(["variant", "seed", "metric"]).any()


def test_only_what_was_varied_is_listed_as_different(written: Path) -> None:
    differences = setting_differences(load_results(written.parent))
    assert differences == {"tokenizer.prologue_tokens": ["0", "2"]}


def test_a_report_is_rendered_again_from_its_files(written: Path) -> None:
    results = load_results(written.parent)
    assert render_html(results, load_pictures(written.parent)) == written.read_text()


def test_a_run_of_which_nothing_succeeded_still_gives_a_report(
    load: Callable[..., Ablation], store: Store, tmp_path: Path
) -> None:
    plan = make_plan(load(), store)
    outcome = Outcome({planned.stage.key: "the loss is nan" for planned in plan.stages})
    path = write_report(*collect(plan, outcome, store, Registry.load()), tmp_path / "report")
    assert "2 runs failed" in path.read_text()
