"""The pages of the published reports are those that their results give."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from prologue_bench.reporting.report import render_html
from prologue_bench.results.loading import load_results
from prologue_bench.results.pictures import load_pictures
from tests.conftest import PUBLISHED


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_a_published_page_is_drawn_from_its_results(folder: Path) -> None:
    results = load_results(folder)
    pictures = load_pictures(folder, results)
    page = render_html(results, pictures)
    assert page == (folder / "report.html").read_text(encoding="utf-8"), (
        f"run prologue-bench report reports/{folder.name}"
    )
    with_checked_plots = inspect.unwrap(render_html)
    assert with_checked_plots(results, pictures) == page
