"""The benchmark of the paper's Base size, with tiny models in place of it."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

Run = Callable[..., dict[str, list[str]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the benchmark; gives the cells of each part's line, by its name, and what it said."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    main = runpy.run_path(str(ROOT / "benchmarks" / "base_size.py"))["main"]

    def rows(*arguments: str) -> dict[str, list[str]]:
        monkeypatch.setattr(
            sys, "argv", ["base_size.py", *arguments, "--small", "--work", str(tmp_path / "work")]
        )
        main()
        said = capsys.readouterr().out
        lines = [line for line in said.splitlines() if line.startswith("| ")][2:]
        cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
        return {"said": said.split(), **{row[0]: row[1:] for row in cells}}

    return rows


def test_every_part_has_its_line(run: Run) -> None:
    rows = run("--images", "6", "--precision", "bfloat16")
    assert {"rFD", "gFD", "PSNR:", "SSIM:"} <= {*rows.pop("said")}
    assert len(rows) == 8
    for name, (images, *numbers, flops, share, peak) in rows.items():
        assert images == ("18" if name.startswith("features") else "6")
        assert min(float(each.replace(",", "")) for each in (*numbers, peak)) > 0
        assert (flops == "–") == (share == "–") == name.startswith(("Fréchet", "PSNR"))


def test_a_stopped_part_goes_on(run: Run, tmp_path: Path) -> None:
    asked = ("sample", "guided", "--images", "4")
    first = run(*asked)
    kept = tmp_path / "work" / "guided" / "0.npz"
    (tmp_path / "work" / "sample" / "0.npz").unlink()
    before = kept.stat().st_mtime_ns
    again = run(*asked)
    assert kept.stat().st_mtime_ns == before
    assert again["sampling with guidance"][:5] == first["sampling with guidance"][:5]


def test_other_images_and_missing_parts_are_refused(run: Run) -> None:
    run("sample", "--images", "4")
    with pytest.raises(SystemExit, match="name another folder"):
        run("sample", "--images", "5")
    with pytest.raises(SystemExit, match="expected that part encode came before"):
        run("reconstruct", "--images", "4")
