"""The commands of daily use, on a tiny run of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from prologue_bench.cli.app import cli
from prologue_bench.config.resolving import resolve_alone
from prologue_bench.errors import UserError
from prologue_bench.pipeline.pictures import to_png
from prologue_bench.registry import Registry
from prologue_bench.results.loading import load_results
from tests.conftest import SMOKE
from tests.slow.harness import Ending

Invoke = Callable[..., Result]


@pytest.fixture(scope="module")
def finished(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that commands may write into."""
    return shutil.copytree(finished, tmp_path_factory.mktemp("commands") / "finished")


@pytest.fixture
def invoke(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setenv("PROLOGUE_BENCH_STORE", str(finished / "store"))
    monkeypatch.chdir(finished)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments, catch_exceptions=True)

    return call


def test_plan_shows_the_stages_for_people_and_for_scripts(invoke: Invoke) -> None:
    assert "20 stages, 20 cached" in invoke("plan", "tiny.yaml").output
    records = json.loads(invoke("plan", "tiny.yaml", "--set", "sampling.seed=3", "--json").output)
    assert {record["stage"] for record in records if not record["cached"]} == {
        "sample",
        "picture-samples",
    }
    assert all(record["seconds"] is not None for record in records)


def test_a_quiet_run_prints_its_answer_and_its_report(invoke: Invoke) -> None:
    measured = [
        folder
        for folder in Path("store", "artifacts").iterdir()
        if json.loads((folder / "manifest.json").read_text())["kind"] == "measure"
    ]
    where = ("--out", "quiet", "--store", str(shutil.copytree("store", "quiet-store")))
    for folder in measured:
        shutil.rmtree(Path("quiet-store", "artifacts", folder.name))
    first, *_, last = invoke("run", "tiny.yaml", "--quiet", *where).output.splitlines()
    assert first == "One training seed: no verdict."
    assert last == "Report: quiet/report.html"
    found = invoke("run", "tiny.yaml", "--quiet", *where)
    assert found.output.splitlines()[-1] == "Report: quiet/report.html (as it was)"
    assert not found.stderr


def test_a_benchmark_of_tokenizers_alone_reports_without_a_generator(
    invoke: Invoke, finished: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    store = ["--store", str(shutil.copytree(finished / "store", tmp_path / "store"))]
    result = invoke("run", "tiny.yaml", "--set", "metrics=[psnr]", "--out", str(report), *store)
    assert result.exit_code == 0, result.output
    html = (report / "report.html").read_text(encoding="utf-8")
    assert "<h3>Reconstructions</h3>" in html
    assert "<h3>Samples</h3>" not in html
    assert not list((report / "assets").glob("samples-*"))
    for command in (["sample"], ["export", "--out", str(tmp_path / "model")]):
        error = invoke(command[0], str(report), *command[1:], *store).exception
        assert (
            "has no generator, since no metric needed one; add one that does, such as gfid"
            in str(error)
        )


def test_show_gives_settings_with_defaults_and_docs(invoke: Invoke) -> None:
    text = invoke("show", "prologue").output
    assert "prologue_tokens: int = 16" in text
    assert "encoder.width: int = 768" in text
    assert "Weight of the autoregressive cross-entropy in the encoder's loss." in text
    found = json.loads(invoke("show", "ar", "--json").output)[0]
    assert found["source"].endswith("ar.py")
    assert "steps: 4000" in invoke("show", "micro").output
    assert "unknown name 'prologu'; did you mean 'prologue'" in str(
        invoke("show", "prologu").exception
    )


@pytest.mark.parametrize(
    ("typo", "name"),
    [
        ("prologue-l-xl-ungided", "prologue-l-xl-unguided"),
        ("fashion-mnist-embeded", "fashion-mnist-embedded"),
        ("imagenet-265", "imagenet-256"),
        ("mirco", "micro"),
    ],
)
def test_show_suggests_a_card_of_every_folder_that_it_shows(
    invoke: Invoke, typo: str, name: str
) -> None:
    assert invoke("show", name).exit_code == 0
    told = str(invoke("show", typo).exception)
    assert told.startswith(f"unknown name {typo!r}; did you mean ")
    assert repr(name) in told


def test_doctor_finds_what_is_there(invoke: Invoke) -> None:
    found = json.loads(invoke("doctor", "--json").output)
    assert {"what": "prologue-bench", "state": "ok"}.items() <= found["installation"][0].items()
    states = {line["what"]: line["state"] for lines in found.values() for line in lines}
    assert states["shapes"] == "ok"
    assert states["image-folder"] == "missing"
    assert "broken" not in states.values()
    plugins = {line["what"].rpartition(" ")[2]: line["says"] for line in found["plugins"]}
    assert plugins["(official)"] == "command import-checkpoint, claims, check-golden"
    lines = invoke("doctor").output.splitlines()
    for line in (line for section in found.values() for line in section):
        assert any(
            line["what"] in shown and shown.endswith(line["says"].strip()) for shown in lines
        ), line


def test_the_store_lists_verifies_and_removes(
    invoke: Invoke, finished: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "store"
    shutil.copytree(finished / "store", copy)
    rows = json.loads(invoke("store", "ls", "--json", "--store", str(copy)).output)
    assert len(rows) == 20
    assert sum(row["bytes"] for row in rows) > 0
    *lines, total = invoke("store", "ls", "--store", str(copy)).output.splitlines()
    assert [line.split()[0] for line in lines] == [row["key"] for row in rows]
    assert all(line.endswith(row["experiment"]) for line, row in zip(lines, rows, strict=True))
    assert total.endswith(f"kB, in {copy}")
    assert (
        "2 artifacts" in invoke("store", "ls", "--kind", "*-tokenizer", "--store", str(copy)).output
    )
    assert (
        "all 20 artifacts are as they were written"
        in invoke("store", "verify", "--store", str(copy)).output
    )

    tokenizer = next(row["key"] for row in rows if row["kind"] == "train-tokenizer")
    with (copy / "artifacts" / tokenizer / "tokenizer.safetensors").open("ab") as file:
        file.write(b"x")
    shown = invoke("store", "verify", "--store", str(copy))
    assert f"{tokenizer}: tokenizer.safetensors is not what was written" in shown.output
    assert "1 of 20 artifacts are damaged" in str(shown.exception)

    (copy / "work" / "old").mkdir(parents=True)
    dry = invoke("store", "gc", "--older-than", "0", "--store", str(copy))
    assert "would be removed; --yes removes them" in dry.output
    assert (copy / "work" / "old").exists()
    invoke("store", "gc", "--older-than", "0", "--yes", "--store", str(copy))
    assert not (copy / "work" / "old").exists()
    assert not (copy / "artifacts" / tokenizer).exists()

    kept = invoke("store", "gc", "--keep", "report", "--yes", "--store", str(copy))
    assert "0 items" in kept.output, "everything else is in the results"
    key = next(row["key"] for row in rows if row["kind"] == "sample")
    assert f"removed {key}" in invoke("store", "rm", key[:8], "--store", str(copy)).output
    assert "found 0 artifacts with keys that begin so" in str(
        invoke("store", "rm", "zz", "--store", str(copy)).exception
    )


def cells(path: Path, rows: int, columns: int, size: int = 14) -> np.ndarray:
    """The images of a grid, [rows, columns, size, size, C]."""
    sheet = np.asarray(Image.open(path))
    step = size + 2
    return np.array(
        [
            [sheet[r * step : r * step + size, c * step : c * step + size] for c in range(columns)]
            for r in range(rows)
        ]
    )


def test_sample_draws_what_was_asked_for(invoke: Invoke, tmp_path: Path) -> None:
    def draw(name: str, *options: str) -> np.ndarray:
        found = invoke(
            "sample",
            "report",
            "--rows",
            "3",
            "--columns",
            "4",
            "--out",
            str(tmp_path / name),
            *options,
        )
        assert found.exit_code == 0, found.exception
        return cells(tmp_path / name, 3, 4)

    first = draw("a.png")
    assert np.array_equal(first, draw("b.png"))
    assert not np.array_equal(first, draw("c.png", "--seed", "5"))
    assert draw("d.png", "--class", "0", "--variant", "prologue_tokens=0").shape[:2] == (3, 4)
    fixed = draw("e.png", "--fix-prologue")
    assert not np.array_equal(fixed, first)
    for options, message in (
        (("--variant", "none"), "these results have no variant 'none'"),
        (("--class", "cat"), "--class cat: no such class"),
        (("--training-seed", "7"), "has no training seed 7; it has 0"),
        (("--variant", "prologue_tokens=0", "--fix-prologue"), "are of one segment"),
        (
            ("--fix", "prolog"),
            "--fix prolog: there is no segment 'prolog'; did you mean 'prologue'",
        ),
        (("--fix", "prologue:0,2"), "--fix prologue:0,2: found 2, expected numbers from 0 to 1"),
        (("--fix", "prologue", "--fix", "visual"), "--fix: found all tokens, expected some that"),
        (("--fix", "prologue", "--rows", "1"), "--rows 1: the last row shares no tokens"),
        (("--of", "3"), "--of: says whose tokens are shared; say which ones with --fix"),
        (("--of", "60", "--fix", "prologue"), "--of 60: the grid has 60 images, counted from 0"),
        (("--of", "test:900000", "--fix", "prologue"), "--of test:900000: found "),
        (("--of", "none.png", "--fix", "prologue"), "--of none.png: cannot be read (No such file"),
        (("--of", str(tmp_path / "a.png"), "--fix", "prologue"), "pixels, expected 14 x 14, as t"),
    ):
        assert message in str(invoke("sample", "report", *options).exception)


def test_tokens_of_one_image_are_shared_by_all_rows_but_the_last(
    invoke: Invoke, finished: Path, tmp_path: Path
) -> None:
    """The image itself stands first in each row: a sample, a test image, or that in a file."""

    def draw(name: str, *options: str) -> np.ndarray:
        where = ("--rows", "3", "--columns", "4", "--out", str(tmp_path / name))
        found = invoke("sample", "report", *where, *options)
        assert found.exit_code == 0, found.exception
        return cells(tmp_path / name, 3, 4)

    plain = draw("plain.png")
    shared = draw("shared.png", "--fix", "prologue:1", "--of", "6")
    sixth = plain[1, 2]
    assert np.array_equal(shared[0, 0], sixth)
    assert np.array_equal(shared[1, 0], sixth)
    assert not np.array_equal(shared[2, 0], sixth)
    from_test = draw("test.png", "--fix", "prologue", "--of", "test:5")
    results = json.loads((finished / "report" / "results.json").read_text())
    image = (
        Registry.load()
        .find("data", results["data"]["name"])
        .load()(
            resolve_alone(
                "data", results["data"]["name"], results["data"]["settings"], None, Registry.load()
            ).settings
        )
    )
    pixels = np.asarray(image.images("test")[5:6])[0].transpose(1, 2, 0)
    (tmp_path / "own.png").write_bytes(to_png(pixels))
    label = str(image.labels("test")[5])
    own = ("--of", str(tmp_path / "own.png"), "--class", label)
    assert np.array_equal(draw("file.png", "--fix", "prologue", *own), from_test)


def test_a_fixed_prologue_is_shared_by_a_row(finished: Path, registry: object) -> None:
    import torch

    from prologue_bench.runs.loading import load_run
    from prologue_bench.storage.store import Store

    results = load_results(finished / "report")
    run = load_run(results, Store(finished / "store"), Registry.load(), "prologue_tokens=2", 0)
    prefix = run.draw(torch.zeros(1, dtype=torch.int64), 0)[:, : run.leading].expand(5, -1)
    ids = run.draw(torch.zeros(5, dtype=torch.int64), 1, prefix)
    assert run.leading == 2
    assert torch.equal(ids[:, :2], prefix)
    with pytest.raises(UserError, match=r"the artifact .* of this run is not there"):
        load_run(results, Store(finished / "nowhere"), Registry.load(), "prologue_tokens=2", 0)


@pytest.mark.parametrize("kind", ["tokenizer", "generator", "metric", "data"])
def test_new_writes_a_component_that_keeps_its_contract(
    invoke: Invoke, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"my_new_{kind}.py"
    assert invoke("new", kind, f"my-new-{kind}", "--out", str(path)).exit_code == 0
    checked = invoke("check-plugin", f"my-new-{kind}", "--plugin", str(path))
    assert checked.exit_code == 0, checked.output
    assert "keeps all contracts" in checked.output


def test_new_components_work_together_in_an_ablation(invoke: Invoke, tmp_path: Path) -> None:
    kinds = ("tokenizer", "generator", "metric", "data")
    for kind in kinds:
        invoke("new", kind, f"all-{kind}", "--out", str(tmp_path / f"all_{kind}.py"))
    (tmp_path / "all.yaml").write_text(
        f"""
name: all
title: All new
plugins: {json.dumps([f"./all_{kind}.py" for kind in kinds])}
data: {{use: all-data, train_images: 96, test_images: 64}}
profile: smoke
tokenizer: {{use: all-tokenizer}}
generator: {{use: all-generator}}
seeds: [0]
sampling: {{samples: 24, batch_size: 12}}
metrics: [all-metric, rate]
"""
    )
    found = invoke("run", str(tmp_path / "all.yaml"), "--out", str(tmp_path / "report"))
    assert found.exit_code == 0, found.output
    [run] = load_results(tmp_path / "report").runs
    assert {"all_metric", "rate"} <= {each.name for each in run.measurements}
    assert run.failures == {}


def test_new_writes_what_works_and_overwrites_nothing(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "my_scaffold.py"
    assert invoke("new", "tokenizer", "my-scaffold", "--out", str(path)).exit_code == 0
    again = invoke("new", "tokenizer", "my-scaffold", "--out", str(path))
    assert "this file exists already" in str(again.exception)
    assert "expected small letters" in str(invoke("new", "tokenizer", "Bad Name").exception)
    assert "there is a module 'torch' already" in str(invoke("new", "metric", "torch").exception)
    assert "there is a tokenizer of that name already" in str(
        invoke("new", "tokenizer", "fsq", "--out", str(tmp_path / "other.py")).exception
    )
    yaml = tmp_path / "trial.yaml"
    assert (
        invoke("new", "ablation", "trial", "--tokenizer", "fsq", "--out", str(yaml)).exit_code == 0
    )
    assert "stages" in invoke("plan", str(yaml)).output
    assert "unknown tokenizer 'fsk'" in str(
        invoke("new", "ablation", "x", "--tokenizer", "fsk").exception
    )


@pytest.mark.parametrize("exported", [False, True])
def test_sample_asks_for_the_plugin_of_the_results_and_says_if_it_changed(
    call: Callable[..., Ending], smoke_file: Path, tmp_path: Path, exported: bool
) -> None:
    file = tmp_path / "own_generator.py"
    assert call("new", "generator", "own-generator", "--out", str(file)).code == 0
    settings = ("generator=own-generator", "vary={}", "baseline=", "metrics=[rate]")
    changes = [part for each in settings for part in ("--set", each)]
    done = call("run", str(smoke_file), *changes, "--out", "report", "--plugin", str(file))
    assert done.code == 0, done.text
    if exported:
        made = call("export", "report", "--out", "models", "--plugin", str(file))
        assert made.code == 0, made.text
    sample = ("sample", "models" if exported else "report", "--rows", "1", "--columns", "1")
    unknown = call(*sample)
    assert unknown.code == 2
    assert unknown.err == (
        f"prologue-bench: unknown generator 'own-generator'; the results have it from {file}: "
        "give that file with --plugin FILE\n"
    )
    as_it_was = call(*sample, "--plugin", str(file))
    assert (as_it_was.code, as_it_was.err) == (0, "")
    file.write_text(f"{file.read_text()}\n# changed")
    changed = call(*sample, "--plugin", str(file))
    assert changed.code == 0
    assert "generator 'own-generator' is not as it was for the results" in changed.err


def test_a_plugin_in_a_yaml_is_found_beside_it_and_named_in_the_report(
    invoke: Invoke, tmp_path: Path
) -> None:
    invoke("new", "tokenizer", "yaml-scaffold", "--out", str(tmp_path / "yaml_scaffold.py"))
    text = SMOKE.replace(
        "tokenizer: {use: prologue}",
        "tokenizer: {use: yaml-scaffold}\nplugins: [./yaml_scaffold.py]",
    )
    text = text.replace("vary:\n  tokenizer.prologue_tokens: [0, 2]\n", "").replace(
        "baseline: {tokenizer.prologue_tokens: 0}\n", ""
    )
    (tmp_path / "own.yaml").write_text(text)
    found = invoke("run", str(tmp_path / "own.yaml"), "--out", str(tmp_path / "report"))
    assert found.exit_code == 0, found.output
    components = {each.name: each for each in load_results(tmp_path / "report").components}
    assert components["yaml-scaffold"].origin.startswith(f"{tmp_path / 'yaml_scaffold.py'} ")
    assert "yaml_scaffold.py" in (tmp_path / "report" / "report.html").read_text()
    (tmp_path / "wrong.yaml").write_text(text.replace("yaml_scaffold.py", "nowhere.py"))
    assert "plugins[0]" in str(invoke("run", str(tmp_path / "wrong.yaml")).exception)
