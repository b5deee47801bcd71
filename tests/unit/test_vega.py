"""The library that draws plots, which is kept in the user's cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from prologue_bench.reporting import vega


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(vega, "user_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(vega.vl_convert, "javascript_bundle", lambda *a, **k: "</script> draw();")
    return tmp_path / "cache"


def bundled() -> str:
    return vega.library.__wrapped__()


def test_it_is_bundled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bundled()
    assert first == "<\\/script> draw();"
    monkeypatch.setattr(vega.vl_convert, "javascript_bundle", None)
    assert bundled() == first


def test_a_damaged_one_is_bundled_anew(cache: Path) -> None:
    first = bundled()
    (kept,) = cache.iterdir()
    kept.write_text(kept.read_text().replace("draw", "steal"))
    assert bundled() == first
    assert "steal" not in kept.read_text()


def test_a_cache_that_cannot_be_written_does_without(cache: Path) -> None:
    cache.write_text("a file")
    assert "draw();" in bundled()
