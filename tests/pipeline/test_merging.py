"""Several results in one report.

Each variant keeps where it comes from, and nothing is dropped without a word.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from prologue_bench.cli.app import cli
from prologue_bench.errors import UserError
from prologue_bench.registry import Registry
from prologue_bench.reporting.sections import commands
from prologue_bench.reporting.tables import render_markdown
from prologue_bench.results.frame import measured
from prologue_bench.results.loading import load_results
from prologue_bench.results.merge import labels_of, merge_results
from prologue_bench.results.pictures import Pictures
from prologue_bench.results.plain import plain, record
from prologue_bench.results.protocols import conflicts
from prologue_bench.results.schema import Results
from prologue_bench.runs.loading import chosen_run, describe_run, images_of, load_run
from prologue_bench.stats.differences import summarise
from prologue_bench.storage.store import Store
from tests.conftest import ROOT, SMOKE, run_tiny
from tests.documents import loaded

OTHER = SMOKE.replace("size: 14", "size: 28").replace("seeds: [0]", "seeds: [3]")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """Results on two image sizes, of two profiles and seeds, in one store; both in one report."""
    folder = tmp_path_factory.mktemp("merging")
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    shutil.move(folder / "report", folder / "small")
    quick = (
        "tokenizer_training.steps=4",
        "generator_training.steps=4",
        "metrics=[rate,psnr]",
        "name=large",
    )
    options = [word for value in quick for word in ("--set", value)]
    run_tiny(folder, "--profile", "quick", *options, text=OTHER)
    shutil.move(folder / "report", folder / "large")
    merged = invoke("report", folder / "small", folder / "large", "--out", folder / "both")
    assert merged.exit_code == 0, (merged.output, merged.exception)
    return folder


@pytest.fixture
def small(folder: Path) -> dict[str, Any]:
    return loaded(folder / "small")


@pytest.fixture
def large(folder: Path) -> dict[str, Any]:
    return loaded(folder / "large")


def merge(*parts: dict[str, Any], baseline: str | None = None) -> Results:
    return merge_results([(record(part, Results), Pictures()) for part in parts], baseline)[0]


def test_each_variant_is_drawn_from_with_its_own_profile_data_and_seed(
    folder: Path, tmp_path: Path
) -> None:
    merged, store, registry = (
        load_results(folder / "both"),
        Store(folder / "store"),
        Registry.load(),
    )
    for name, own, size, profile in (
        ("tiny", "small", 14, "smoke"),
        ("large", "large", 28, "quick"),
    ):
        variant = f"{name}: prologue_tokens=2"
        chosen, seed = chosen_run(merged, variant, None)
        assert (chosen, seed) == (variant, {"tiny": 0, "large": 3}[name])
        run = load_run(merged, store, registry, variant, seed)
        assert (run.images.height, describe_run(merged, variant, seed).profile) == (
            size,
            profile,
        )
        pictures = []
        for results, called in (("both", variant), (own, "prologue_tokens=2")):
            picture = tmp_path / f"{results}-{name}.png"
            options = ("--rows", 1, "--columns", 2, "--store", folder / "store", "--out", picture)
            found = invoke("sample", folder / results, "--variant", called, *options)
            assert found.exit_code == 0, found.exception
            pictures.append(picture.read_bytes())
        assert pictures[0] == pictures[1]


def test_an_export_from_a_merged_report_is_of_the_run_s_own_ablation(
    folder: Path, tmp_path: Path
) -> None:
    where = ("--store", folder / "store", "--out", tmp_path / "export")
    found = invoke("export", folder / "both", "--variant", "large: prologue_tokens=2", *where)
    assert found.exit_code == 0, found.exception
    config = json.loads((tmp_path / "export" / "config.json").read_text())
    assert (config["variant"], config["ablation"]["name"], config["profile"]) == (
        "prologue_tokens=2",
        "large",
        "quick",
    )
    assert config["data"]["shape"][1:] == [28, 28]


def test_models_are_loaded_where_the_data_and_the_profile_are_not(
    folder: Path, small: dict[str, Any]
) -> None:
    small["data"]["settings"] = {"root": "/gone"}
    small["data"]["name"] = "a data set of another machine"
    small["profile"] = "a profile of another machine"
    results = record(small, Results)
    run = load_run(results, Store(folder / "store"), Registry.load(), "prologue_tokens=2", 0)
    assert (run.images.height, run.images.class_names) == (
        14,
        images_of(results, "prologue_tokens=2").class_names,
    )


def test_the_report_shows_every_source(
    folder: Path, small: dict[str, Any], large: dict[str, Any]
) -> None:
    html = (folder / "both" / "report.html").read_text()
    for results in (small, large):
        assert results["data"]["fingerprint"] in html
        assert f"profile <b>{results['profile']}</b>" in html
    assert "<b>1</b> training seed</li>" in " ".join(html.split()), "of each, and not two of either"
    assert "originals, tiny" in html
    assert "originals, large" in html
    text = (folder / "both" / "results.md").read_text()
    assert (
        "tiny: data shapes 14 × 14, profile smoke, 1 seed; large: data shapes 28 × 28, "
        "profile quick, 1 seed."
    ) in text
    assert (
        "large: prologue_tokens=2 and tiny: prologue_tokens=0 are not compared, "
        "they have no seed in common."
    ) in text
    assert "| PSNR ↑ (dB) |" in text, "what only one of the results has"


def test_numbers_of_other_data_are_never_compared(small: dict[str, Any]) -> None:
    other = json.loads(json.dumps(small))
    other["name"] = "other"
    other["data"]["fingerprint"] = "0" * 16
    same_seed_and_protocol = merge(small, other)
    cells = summarise(measured(same_seed_and_protocol), same_seed_and_protocol.baseline)
    assert cells["tiny: prologue_tokens=2"]["rate"].difference is not None
    assert cells["other: prologue_tokens=2"]["rate"].difference is None
    assert any("data: " in sentence for sentence in conflicts(same_seed_and_protocol))


def test_the_commands_of_a_merged_report_make_each_of_its_results(
    small: dict[str, Any], large: dict[str, Any]
) -> None:
    small = {**small, "overrides": ["seeds=[0]"]}
    merged = merge(small, large)
    told = commands(merged)
    assert told[:1] == commands(record(small, Results))
    assert told[1:] == commands(record(large, Results))
    assert told[0].endswith(" --set 'seeds=[0]'")
    assert " --set generator_training.steps=4" in told[1]
    assert commands(record(plain(merged), Results)) == told


def test_a_merged_report_can_be_merged_again(small: dict[str, Any], large: dict[str, Any]) -> None:
    both = plain(merge(small, large))
    again = merge({**both, "name": "both"}, {**small, "name": "third"})
    assert [source.label for source in again.origins] == [
        "both: tiny",
        "both: large",
        "third",
    ]
    assert images_of(again, "both: large: prologue_tokens=2").height == 28


@pytest.mark.parametrize(
    "kept", [("results.json",), ("results.json", "assets/reconstructions-0.png")]
)
def test_results_alone_make_a_report(folder: Path, tmp_path: Path, kept: tuple[str, ...]) -> None:
    for name in kept:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "small" / name, tmp_path / name)
    found = invoke("report", tmp_path)
    assert found.exit_code == 0, found.exception
    html = (tmp_path / "report.html").read_text()
    assert ("No pictures are kept beside these results." in html) == (len(kept) == 1)


def test_a_report_can_compare_with_another_variant(tmp_path: Path) -> None:
    published, asked = ROOT / "reports" / "steady", "prologue_tokens=8"
    found = invoke("report", published, "--baseline", asked, "--out", tmp_path / "other")
    assert found.exit_code == 0, found.exception
    before, after = (
        summarise(measured(load_results(folder)), name)
        for folder, name in ((published, "prologue_tokens=0"), (tmp_path / "other", asked))
    )
    assert load_results(tmp_path / "other").baseline == asked
    one, other = before[asked]["gfid"].difference, after["prologue_tokens=0"]["gfid"].difference
    assert one is not None
    assert other is not None
    assert (other.mean, other.half_width) == pytest.approx((-one.mean, one.half_width))
    page = (tmp_path / "other" / "results.md").read_text()
    assert f"Compared with {asked}; the baseline of the ablation is prologue_tokens=0." in page
    for options, text in (
        (("--baseline", asked), "name its folder, --out"),
        (("--baseline", "prologue", "--out", tmp_path / "none"), "have no variant 'prologue'"),
    ):
        assert text in str(invoke("report", published, *options).exception)
    assert not (tmp_path / "none").exists()


def test_results_of_one_name_are_told_apart_by_their_folders(small: dict[str, Any]) -> None:
    one, other = record(small, Results), record({**small, "name": "other"}, Results)
    assert labels_of([one, one], [Path("a/seed-0"), Path("a/seed-1")]) == ["seed-0", "seed-1"]
    assert labels_of([one, one], [Path("a/report"), Path("b/report")]) == ["a/report", "b/report"]
    assert labels_of([one, other], [Path("x"), Path("x")]) == ["tiny", "other"]
    with pytest.raises(UserError, match="two of the results are both called 'tiny'"):
        labels_of([one, one], [Path("a"), Path("b/../a")])


def test_a_run_that_stands_twice_in_results_is_refused(
    small: dict[str, Any], large: dict[str, Any]
) -> None:
    small["runs"].append(small["runs"][0])
    with pytest.raises(UserError, match="tiny: holds the run of prologue_tokens=0, seed 0 twice"):
        merge(small, large)


def test_two_quantities_of_one_name_get_columns_of_their_own(
    small: dict[str, Any], large: dict[str, Any]
) -> None:
    for run in large["runs"]:
        run["measurements"][0]["title"] = "rate of another kind"
    text = render_markdown(merge(small, large))
    head = next(line for line in text.splitlines() if line.startswith("| variant"))
    assert "| rate ↓ (bits/image) |" in head
    assert "| rate of another kind ↓ (bits/image) |" in head


def test_rows_of_one_card_and_remarks_and_other_versions_are_kept(
    small: dict[str, Any], large: dict[str, Any]
) -> None:
    card = {"name": "card", "summary": "", "source": "", "protocol": "", "columns": ["a"]}
    small["references"] = [{**card, "rows": {"one": {"title": "One", "values": ["1"]}}}]
    large["references"] = [{**card, "rows": {"two": {"title": "Two", "values": ["2"]}}}]
    small["remarks"] = ["do not use"]
    next(each for each in large["components"] if each["name"] == "rate")["version"] = 99
    found = merge(small, large)
    assert list(found.references[0].rows) == ["one", "two"]
    assert found.remarks[0] == "tiny: do not use"
    assert any(
        text.startswith("metric rate is of version") and "99 in large" in text
        for text in found.remarks
    )
