"""The documentation as a site.

Every page builds, every link leads somewhere, nothing is fetched from elsewhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click import Context
from playwright.sync_api import Page

from prologue_bench.cli.app import cli
from tests.conftest import ROOT

pytest.importorskip("mkdocs")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_pages_link_to_pages_that_are_there(site: Path) -> None:
    pages = [
        path
        for path in site.rglob("*.html")
        if "reports" not in path.parts and path.name != "404.html"
    ]
    assert len(pages) > 15
    for page in pages:
        for target in re.findall(r'(?:href|src)="([^"#]+)', page.read_text()):
            if not target.startswith(("http", "data:", "mailto:")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
    assert (site / "reports" / "prologue_count" / "report.html").exists()


def test_api_pages_come_from_docstrings(site: Path) -> None:
    text = (site / "api" / "contracts.html").read_text()
    assert "Ids [B, L] of images [B, C, H, W]; deterministic." in text
    assert "prologue_bench.contracts.tokenizer.Tokenizer.encode" in text


def test_the_command_line_page_has_every_command(site: Path) -> None:
    text = (site / "cli.html").read_text()
    for name in cli.list_commands(Context(cli)):
        assert f'<h2 id="{name}">' in text, name


def test_the_search_works_on_pages_that_are_opened_from_disk(page: Page, site: Path) -> None:
    page.goto((site / "api" / "contracts.html").as_uri())
    page.locator(".md-search__input").click()
    page.keyboard.type("own metric")
    link = f'.md-search-result__link[href*="{(site / "own-metric.html").as_uri()}"]'
    page.locator(link).first.wait_for(state="attached")


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    fetched = re.compile(
        r'<(?:script|img|iframe)[^>]*src="http|<link[^>]*stylesheet[^>]*href="http'
    )
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        assert "reports" in page.parts or not fetched.search(page.read_text()), page.name
