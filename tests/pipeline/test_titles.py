"""A number is called after what it measures, and says how it differs from published ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.contracts import (
    ImageSpec,
    Measurement,
    MetricInputs,
    Procedure,
    counterpart_of,
    images_differ,
    over_features,
)
from prologue_bench.reporting.figures import tradeoffs
from prologue_bench.reporting.report import render_html
from prologue_bench.reporting.tables import render_latex, render_markdown
from prologue_bench.results.caveats import caveats, measurements_of
from prologue_bench.results.frame import frame
from prologue_bench.results.loading import load_results
from prologue_bench.results.migration import name_true_scales, with_true_titles
from prologue_bench.results.pictures import Pictures
from prologue_plugins.datasets.settings import ShapesSettings
from prologue_plugins.datasets.shapes import Shapes
from prologue_plugins.metrics import fid, fidelity, pixels
from prologue_plugins.metrics.published import ADM_BATCH, reference_differs
from prologue_plugins.metrics.settings import (
    DensityCoverageSettings,
    FidSettings,
    InceptionScoreSettings,
    KidSettings,
    PrecisionRecallSettings,
)
from tests.conftest import OLD_REPORTS, ROOT
from tests.documents import in_short, loaded, results_of
from tests.factories.measuring import LAYOUT

DATA = Shapes(ShapesSettings(size=32, train_images=40, test_images=40))
OURS: dict[str, Any] = {"extractor": "efficientnet-lite0"}
THEIRS: dict[str, Any] = {"extractor": "inception-v3-compat"}
KID = {"subsets": 3, "subset_size": 20}
REPORTS = sorted(path.name for path in OLD_REPORTS.iterdir())
LITE = "EfficientNet-Lite0"


def measure(metric: Any, folder: Path, count: int = 40) -> list[Measurement]:
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return list(
        metric.measure(
            MetricInputs(
                metric="tested",
                needs=("samples", "reconstructions"),
                data=DATA,
                layout=LAYOUT,
                cache=folder,
                batch_size=50,
                device=torch.device("cpu"),
                advance=lambda done, total: None,
                sampling={},
                samples=images,
                reconstructions=images,
            )
        )
    )


@pytest.fixture
def any_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight random features an image.

    No extractor's weights are needed to ask for titles and notes.
    """

    def features(images: Any, *_: Any) -> Any:
        return np.random.default_rng(len(images)).normal(size=(len(images), 8)).astype(np.float32)

    monkeypatch.setattr(fidelity, "load_features", features)
    monkeypatch.setattr(fid, "load_features", features)


CASES = [
    (fid.ReconstructionFid, FidSettings(**OURS), [f"rFD ({LITE})"]),
    (fid.ReconstructionFid, FidSettings(**THEIRS), ["rFID"]),
    (fid.GenerationFid, FidSettings(**OURS, extrapolate=False), [f"gFD ({LITE})"]),
    (fid.GenerationFid, FidSettings(**THEIRS), ["gFID"]),
    (fid.GenerationFid, FidSettings(**THEIRS, layer="2048"), ["gFID"]),
    (fid.GenerationFid, FidSettings(**THEIRS, layer="768"), ["gFD (Inception-v3, layer 768)"]),
    (fid.GenerationFid, FidSettings(**OURS, layer="320"), [f"gFD ({LITE}, layer 320)"]),
    (fidelity.Kid, KidSettings(**OURS, **KID), [f"KD ({LITE}) x 1000"]),
    (fidelity.Kid, KidSettings(**THEIRS, **KID), ["KID x 1000"]),
    (
        fidelity.PrecisionRecall,
        PrecisionRecallSettings(**OURS),
        [f"precision ({LITE})", f"recall ({LITE})"],
    ),
    (fidelity.PrecisionRecall, PrecisionRecallSettings(**THEIRS), ["precision", "recall"]),
    (
        fidelity.DensityCoverage,
        DensityCoverageSettings(**OURS),
        [f"density ({LITE})", f"coverage ({LITE})"],
    ),
    (fidelity.InceptionScore, InceptionScoreSettings(splits=2), ["IS"]),
    (pixels.Psnr, None, ["PSNR"]),
    (pixels.Mse, None, ["squared error"]),
    (pixels.Ssim, None, ["SSIM"]),
]


@pytest.mark.usefixtures("any_features")
@pytest.mark.parametrize(("metric", "settings", "titles"), CASES)
def test_a_number_is_titled_after_its_features_and_has_a_note(
    metric: Any, settings: Any, titles: list[str], tmp_path: Path
) -> None:
    found = measure(metric(settings), tmp_path)
    assert [each.title for each in found] == titles
    for each in found:
        assert not each.protocol.published
        assert each.protocol.counterpart
        assert "images of 3 x 32 x 32 instead of 3 x 256 x 256" in each.protocol.note
        assert "40 " in each.protocol.note, "how many there are"
        named = re.search(r"\((EfficientNet|Inception)", each.title)
        assert bool(named) == ("instead of Inception's" in each.protocol.note)


@pytest.mark.usefixtures("any_features")
def test_an_extrapolated_distance_is_titled_alike(tmp_path: Path) -> None:
    found = measure(fid.GenerationFid(FidSettings(extrapolate=True)), tmp_path)
    assert [each.title for each in found] == [f"gFD ({LITE})", f"gFD ({LITE}), infinitely many"]


@pytest.mark.usefixtures("any_features")
def test_distances_over_other_layers_are_of_other_protocols(tmp_path: Path) -> None:
    usual, same, other = (
        measure(fid.GenerationFid(FidSettings(layer=layer)), tmp_path)[0].protocol
        for layer in ("", "1280", "320")
    )
    assert usual.differences(same) == []
    assert usual.differences(other) == ["layer"]


def test_lpips_says_in_what_it_differs() -> None:
    source = (ROOT / "plugins" / "prologue_plugins" / "losses" / "lpips_metric.py").read_text()
    assert 'images_differ(inputs.data.spec, count, "images")' in source


IMAGENET = ImageSpec(3, 256, 256, tuple(map(str, range(1000))))


@pytest.mark.parametrize(
    ("spec", "count", "differences"),
    [
        (IMAGENET, 50_000, []),
        (IMAGENET, 10_000, ["10,000 samples instead of 50,000"]),
        (ImageSpec(3, 256, 256, ("cat",)), 50_000, ["other classes than ImageNet's"]),
        (
            ImageSpec(1, 28, 28, IMAGENET.class_names),
            50_000,
            ["images of 1 x 28 x 28 instead of 3 x 256 x 256"],
        ),
    ],
)
def test_only_as_many_images_of_imagenet_are_as_published(
    spec: ImageSpec, count: int, differences: list[str]
) -> None:
    assert images_differ(spec, count) == differences


def test_only_adm_s_batch_is_the_published_reference(tmp_path: Path) -> None:
    assert reference_differs(FidSettings()) == ["the test images as reference"]
    for name, differs in ((ADM_BATCH, False), ("statistics.npz", True)):
        (tmp_path / name).write_bytes(b"")
        assert bool(reference_differs(FidSettings(reference=str(tmp_path / name)))) == differs


def test_a_protocol_either_is_the_published_one_or_says_how_it_differs() -> None:
    assert Procedure(name="a", counterpart="FID", published=True).note == ""
    for wrong in ({"published": False, "note": ""}, {"published": True, "note": "of few samples"}):
        with pytest.raises(ValueError, match="say in `note` how it differs from published FID"):
            Procedure(name="a", counterpart="FID", **wrong)


@pytest.mark.parametrize(
    ("title", "over", "counterpart"),
    [
        ("rFID", "rFD (X)", "FID"),
        ("gFID, infinitely many", "gFD (X), infinitely many", "FID"),
        ("FID", "FD (X)", "FID"),
        ("KID x 1000", "KD (X) x 1000", "KID"),
        ("precision", "precision (X)", "precision"),
        ("gFD (X)", "gFD (X)", "gFD (X)"),
    ],
)
def test_fid_and_kid_lose_their_i_with_inception(title: str, over: str, counterpart: str) -> None:
    assert over_features(title, "X") == over
    assert over_features(title, "") == title
    assert counterpart_of(title) == counterpart


@pytest.mark.parametrize("name", REPORTS)
def test_reports_of_earlier_versions_are_read_with_true_titles(name: str) -> None:
    results = load_results(OLD_REPORTS / name)
    page = render_html(results_of(in_short(loaded(OLD_REPORTS / name))), Pictures())
    shown = [render_markdown(results), render_latex(results), page]
    for text in shown:
        assert not re.search(r"\b[rg]?FID\b", text.replace("published FID", ""))
    scale = f"{LITE} features at 64 pixels instead of Inception"
    for text in shown[:2]:
        assert f"not comparable with published FID: {scale}" in text
    assert shown[2].count(f'class="scale">{scale}') == 1, "once, in the page's header"
    assert shown[0].index("not comparable with published FID") < shown[0].index("| variant")
    for title, spec in tradeoffs(frame(results), results):
        assert "FID" not in title + json.dumps(spec)
    assert [each.name for each in results.runs[0].measurements[:2]] == ["rfid", "gfid"], (
        "names stay"
    )


def test_a_published_flag_of_earlier_versions_is_not_believed() -> None:
    protocol = {
        "name": "inception-score",
        "details": {"samples": 10},
        "published": True,
        "note": "",
    }
    measurement = {"name": "inception_score", "title": "IS", "protocol": protocol}
    results = {"runs": [{"variant": "a", "seed": 0, "measurements": [measurement]}]}
    (found,) = with_true_titles(results)["runs"][0]["measurements"]
    assert not found["protocol"]["published"]
    assert caveats(measurements_of(results_of(results)))[0].startswith(
        "IS is not comparable with published IS: "
    )


def test_searches_of_earlier_versions_are_retitled_too() -> None:
    protocol = {
        "name": "frechet-distance",
        "details": {},
        "note": "EfficientNet-Lite0 features at 64 pixels",
    }
    run = {
        "measurements": [{"name": "gfid", "title": "gFID", "protocol": protocol}],
        "search": {"points": [{"metric": "gFID"}, {"metric": "PSNR"}]},
    }
    points = with_true_titles({"runs": [run]})["runs"][0]["search"]["points"]
    assert [point["metric"] for point in points] == [f"gFD ({LITE})", "PSNR"]


def test_scales_of_the_elbo_are_named_that_earlier_versions_took_for_the_likeliest() -> None:
    def read(likelihood: str) -> str:
        details = {"likelihood": f"{likelihood}, discretised, one scale fitted to the test images"}
        measurement = {"name": "elbo", "protocol": {"name": "elbo", "details": details}}
        name_true_scales([measurement])
        once = str(details["likelihood"])
        name_true_scales([measurement])
        assert details["likelihood"] == once
        return once

    assert read("laplace") == "laplace, its scale the mean absolute error, discretised"
    assert read("gaussian") == "gaussian, its scale the root mean squared error, discretised"


def test_published_rows_share_no_table_with_measured_ones() -> None:
    results = loaded(OLD_REPORTS / "prologue_count")
    results["references"] = [
        {
            "name": "x",
            "summary": "",
            "source": "",
            "protocol": "",
            "columns": ["rFID", "gFID"],
            "rows": {"a": {"title": "A", "values": ["1", "2"]}},
        }
    ]
    lines = render_markdown(results_of(results)).splitlines()
    measured = next(line for line in lines if line.startswith("| variant"))
    published = next(line for line in lines if line.startswith("| model"))
    assert "FID" not in measured
    assert published == "| model | rFID | gFID |"


def test_pages_say_beside_the_first_distance_that_it_is_no_published_fid() -> None:
    for page in (
        "README.md",
        "docs/results.md",
        "docs/metrics.md",
        "docs/decisions.md",
        "docs/paper.md",
    ):
        text = " ".join((ROOT / page).read_text().split())
        first = re.search(r"\b[rg]FD\b|`gfid`", text)
        if page == "README.md":  # the table of components names settings only
            first = re.search(r"\b[rg]FD\b", text)
        assert first is not None
        assert abs(text.index("not comparable with published FID") - first.start()) < 600, page


def test_commands_name_the_quantity_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    compared = (
        CliRunner()
        .invoke(
            cli, ["compare", "tests/old_reports/prologue_count", "tests/old_reports/prologue_count"]
        )
        .output
    )
    assert f"gFD ({LITE})" in compared
    assert "not comparable with published FID" in compared
    rates = (
        CliRunner()
        .invoke(cli, ["compare", *["tests/old_reports/prologue_count"] * 2, "--metric", "rate"])
        .output
    )
    assert "FID" not in rates
    claims = CliRunner().invoke(cli, ["claims", "tests/old_reports/prologue_count"]).output
    assert f"1a gFD ({LITE}) falls with prologue tokens." in " ".join(claims.split())
