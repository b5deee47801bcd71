"""Files that others wrote are checked on reading, and whatever is wrong with them is one line."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import field, frozen
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from prologue_bench.cli.app import cli
from prologue_bench.errors import UserError, listed, nearest
from prologue_bench.regression.check import read_benchmarks
from prologue_bench.results.checking import Mismatch, check
from prologue_bench.results.loading import load_numbers, load_results
from prologue_bench.results.pictures import load_pictures
from prologue_bench.results.reading import parse, read_bytes
from prologue_bench.results.strict import to_json
from prologue_bench.storage.weights import built_for, read_headers
from prologue_plugins.metrics.references import check_reference
from prologue_plugins.metrics.settings import FidSettings
from tests.conftest import OLD_REPORTS, ROOT
from tests.documents import whole

PROTOCOL = {"name": "p", "details": {"size": 14}, "published": False, "note": "", "counterpart": ""}
NUMBER = {
    "name": "rate",
    "title": "Rate",
    "value": 2.5,
    "unit": "bits",
    "direction": "lower",
    "count": 4,
    "protocol": PROTOCOL,
    "detail": False,
}
STAGE = {"stage": "encode", "key": "abc"}


def document(**changes: Any) -> dict[str, Any]:
    run = {"variant": "a", "seed": 0, "measurements": [NUMBER], "stages": [STAGE]}
    return whole({"runs": [run], **changes})


def written(folder: Path, content: Any) -> Path:
    (folder / "results.json").write_bytes(
        content if isinstance(content, bytes) else json.dumps(content).encode()
    )
    return folder


def problem(read: Callable[[Path], object], path: Path) -> str:
    """The one line that reading ends in, without the path."""
    with pytest.raises(UserError) as found:
        read(path)
    text = str(found.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert len(text) < 500
    return text.removeprefix(str(path)).removeprefix("/results.json").removeprefix(": ")


def set_at(document: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    holder: Any = document
    *outer, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    for part in outer:
        holder = holder[part]
    if value is KeyError:
        del holder[last]
    else:
        holder[last] = value
    return document


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("runs.0.measurements", KeyError, "runs[0].measurements: missing"),
        ("runs", None, "runs: found null, expected a list"),
        (
            "runs.0.measurements.0.value",
            "2.5",
            "runs[0].measurements[0].value: found '2.5', expected a number or null",
        ),
        (
            "runs.0.measurements.0.value",
            float("nan"),
            "runs[0].measurements[0].value: found nan, expected a finite",
        ),
        ("runs.0.measurements.0.value", 10**400, "runs[0].measurements[0].value: found 1000"),
        (
            "runs.0.measurements.0.direction",
            "x",
            "found 'x', expected one of lower, higher, neutral",
        ),
        (
            "runs.0.measurements.0.count",
            -1,
            "runs[0].measurements[0].count: found -1, expected at least 0",
        ),
        ("runs.0.measurements.0.count", True, "found true, expected a whole number"),
        (
            "runs.0.measurements",
            [NUMBER, NUMBER],
            "runs[0].measurements[1].name: found 'rate' twice",
        ),
        ("runs.0.variant", "b", "runs[0].variant: found 'b', which is no variant of these results"),
        ("runs.0.stages.0.key", KeyError, "runs[0].stages[0].key: missing"),
        (
            "runs.0.curves",
            {"train-tokenizer": {"step": [1.0], "loss_ce": [1.0, 2.0]}},
            "found a list of 2, expected 1",
        ),
        ("baseline", "b", "baseline: found 'b', which is no variant of these results"),
        ("variants.0.name", "", "variants[0].name: found '', expected something in it"),
        ("data.shape", [3, 0, 14], "data.shape[1]: found 0, expected at least 1"),
        ("data.shape", [3, 14], "data.shape: found a list of 2, expected a list of 3"),
        ("seeds", [], "seeds: found a list of 0, expected something in it"),
        ("seeds", ["0"], "seeds[0]: found '0', expected a whole number"),
        ("title", "\ud800", "title: found '\\ud800', half of a character"),
        (
            "schema",
            2,
            (
                "schema is 2, written by a later version of prologue-bench; "
                "this one reads schema 1: update it"
            ),
        ),
        ("schema", True, "found another format"),
        ("hardware", KeyError, "hardware: missing"),
        ("note to self", [[[]]] * 9, ""),
        ("x" * 900, {"y": float("inf")}, ".y: found inf, expected a finite number"),
    ],
)
def test_the_first_mistake_is_told_with_its_place(
    tmp_path: Path, place: str, value: Any, expected: str
) -> None:
    folder = written(tmp_path, set_at(json.loads(json.dumps(document())), place, value))
    if not expected:  # what later versions may add
        found = load_results(folder)
        assert found.others[place] == value
        assert json.loads(to_json(found))[place] == value, "and nothing of it is lost"
        return
    assert expected in problem(load_results, folder)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "found no JSON at line 1, column 1"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 60 + b"1" + b"}" * 60, "nested more than 40 levels deep"),
        (b'{"schema": 1, "schema": 1}', "the name 'schema' occurs twice"),
        (b'{"schema": ' + b"9" * 5000 + b"}", "found no JSON that can be read"),
        ("é".encode("latin-1"), "not UTF-8 at byte 0"),
        (json.dumps(document()).encode("utf-16"), "not UTF-8 at byte 0"),
        (b"[1]", "found another format"),
    ],
)
def test_what_is_no_json_of_ours_is_said(tmp_path: Path, content: bytes, expected: str) -> None:
    assert expected in problem(load_results, written(tmp_path, content))


def test_only_files_themselves_are_read(tmp_path: Path) -> None:
    real = written(tmp_path, document()) / "results.json"
    report = tmp_path / "report"
    report.mkdir()
    path = report / "results.json"
    path.symlink_to(real)
    assert "a link, which is not followed" in problem(load_results, report)
    assert load_results(str(path)).name == "study", "as in a notebook"
    assert load_results(path).name == "study", (
        "a file that the user names may be a link of the user's own"
    )
    for make, expected in (
        (lambda: os.mkfifo(path), "found a pipe, not a file"),
        (lambda: path.symlink_to("/dev/zero"), "a link, which is not followed"),
        (path.mkdir, "found a folder, not a file"),
    ):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        make()
        assert expected in problem(load_results, report)
    assert "found a device, not a file" in problem(load_results, Path("/dev/zero"))
    with pytest.raises(UserError, match="larger than 0 MB"):
        read_bytes(real, most=10)


def test_pictures_are_whole_and_the_reports_own(tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    png = next((OLD_REPORTS / "guidance/assets").glob("*.png")).read_bytes()
    for name in ("originals", "samples-0", "samples-1", "mine"):
        (assets / f"{name}.png").write_bytes(png)
    secret = tmp_path / "secret.png"
    secret.write_bytes(png)
    (assets / "samples-2.png").symlink_to(secret)
    (assets / "samples-3.png").symlink_to("/dev/zero")
    os.mkfifo(assets / "samples-4.png")
    (assets / "samples-5.png").write_bytes(png[:-20])
    (assets / "samples-6.png").write_bytes(b"<svg/>")
    (assets / "samples-7.png").mkdir()
    found = load_pictures(tmp_path)
    assert sorted(found.files) == ["originals", "samples-0", "samples-1"]
    assert [line.split(": ")[0][-5] for line in found.left_out] == list("234567")
    assets.rename(tmp_path / "elsewhere")
    assets.symlink_to(tmp_path / "elsewhere")
    found = load_pictures(tmp_path)
    assert not found.files
    assert len(found.left_out) == 1


def test_a_baseline_is_compared_and_regressed_but_is_no_report(tmp_path: Path) -> None:
    baseline = ROOT / "registry/baselines/prologue_count.json"
    found = CliRunner().invoke(cli, ["compare", str(OLD_REPORTS / "prologue_count"), str(baseline)])
    assert found.exit_code == 0, found.output
    found = CliRunner().invoke(cli, ["report", str(baseline), "--out", str(tmp_path)])
    assert "description: missing" in str(found.exception)


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("runs.0.stages", "x", "runs[0].stages: found 'x', expected a list"),
        ("runs.0.stages", ["x"], "runs[0].stages[0]: found 'x', expected an object"),
        ("runs.0.curves", [1], "runs[0].curves: found a list of 1, expected an object"),
        ("runs.0.search", {"points": 1}, "runs[0].search.points: found 1, expected a list"),
    ],
)
def test_what_a_baseline_need_not_have_is_checked_where_it_is(
    tmp_path: Path, place: str, value: Any, expected: str
) -> None:
    folder = written(tmp_path, set_at(json.loads(json.dumps(document())), place, value))
    with pytest.raises(UserError, match=re.escape(expected)):
        load_numbers(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"extra_info": {"calibration_seconds": 0}},
            "extra_info.calibration_seconds: found 0, expected at least 1e-12",
        ),
        ({"stats": {"min": 1, "median": 0, "iqr": 0}}, "stats.median: found 0, expected at least"),
        ({"stats": None}, "stats: found null, expected an object"),
        ({"name": 3}, "name: found 3, expected a text"),
    ],
)
def test_benchmarks_are_checked(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    each = {
        "name": "x",
        "stats": {"min": 1, "median": 1, "iqr": 0},
        "extra_info": {"calibration_seconds": 1},
    }
    path = tmp_path / "speed.json"
    path.write_text(json.dumps({"benchmarks": [{**each, **change}]}))
    assert f"benchmarks[0].{expected}" in problem(read_benchmarks, path)


def model(width: int = 4, layers: int = 1) -> nn.Module:
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(layers)))


def test_weights_are_taken_only_where_they_fit(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    state = dict(model().state_dict())
    save_file(state, path)
    assert torch.equal(built_for(path, "it", model).state_dict()["0.bias"], state["0.bias"])
    for settings_of, expected in (
        (
            lambda: model(width=10**7),
            "expected F32 [10000000",
        ),
        (lambda: model(layers=2), "1.bias is missing|1.weight is missing"),
        (lambda: model(layers=10**9), "the settings ask for more weights than the file holds"),
        (lambda: nn.Linear(-1, 2), "cannot be made"),
    ):
        with pytest.raises(UserError) as found:
            built_for(path, "it", settings_of)
        assert any(each in str(found.value) for each in expected.split("|")), found.value
    with pytest.raises(UserError, match="changed since it was written"):
        built_for(path, "it", model, digest="0" * 64)
    save_file({**state, "0.bias": torch.full((4,), torch.nan)}, path)
    with pytest.raises(UserError, match=r"0\.bias holds NaN or infinity"):
        built_for(path, "it", model)
    save_file({**state, "0.bias": state["0.bias"].half()}, path)
    with pytest.raises(UserError, match=r"0.bias is F16 \[4\], expected F32 \[4\]"):
        built_for(path, "it", model)
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    assert read_headers(link), "a hub's cache is made of links"
    with pytest.raises(UserError, match="a link, which is not followed"):
        built_for(link, "it", model, follow=False)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (
            {"mu": np.zeros(2), "sigma": np.array([[1.0, 0.5], [0.0, 1.0]])},
            "sigma is not a covariance",
        ),
        ({"mu": np.zeros(2), "sigma": -np.eye(2)}, "sigma is not a covariance"),
        (
            {"mu": np.zeros(2), "sigma": np.full((2, 2), "x")},
            "found sigma of <U1, expected numbers",
        ),
        ({"mu": np.zeros(2) * 1j, "sigma": np.eye(2)}, "found mu of complex128, expected numbers"),
        ({"mu": np.zeros(2)}, "sigma missing"),
    ],
)
def test_moments_are_those_of_a_distribution(
    tmp_path: Path, arrays: dict[str, Any], expected: str
) -> None:
    from prologue_bench.contracts import ImageSpec

    path = tmp_path / "reference.npz"
    np.savez(path, **arrays)
    found = FidSettings(extractor="inception-v3-compat")
    assert expected in problem(
        lambda path: check_reference(path, found, ImageSpec(3, 14, 14, ()), 2), path
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seed", "1" * 30],
        ["--rows", "10000000"],
        ["--rows", "100", "--columns", "100"],
        ["--columns", "0"],
    ],
)
def test_odd_options_of_sample_are_refused(arguments: list[str]) -> None:
    found = CliRunner().invoke(cli, ["sample", str(OLD_REPORTS / "guidance"), *arguments])
    assert found.exit_code in (1, 2)
    assert isinstance(found.exception, SystemExit | UserError)


def test_names_in_messages_are_few_and_short() -> None:
    names = [f"{index}" * 90 for index in range(1000)]
    assert len(listed(names)) < 300
    assert len(nearest("x" * 100_000, names)) < 400


@frozen
class Inner:
    """A part."""

    name: str
    size: int | None = None


@frozen
class Outer:
    """A whole."""

    parts: tuple[Inner, ...]
    table: dict[str, float] = field(factory=dict)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(PLAIN)
@settings(max_examples=200, deadline=None)
def test_any_plain_value_is_right_or_a_mistake_of_one_line(value: Any) -> None:
    for description in (Inner, tuple[Inner, ...], Inner | None, Outer):
        text = mistake(functools.partial(check, value, description))
        assert len(text) < 300
        assert "\n" not in text


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_json_or_a_mistake_of_the_user(content: bytes) -> None:
    text = mistake(lambda: parse(content, Path("x.json"), "results"))
    assert len(text) < 500
    assert "\n" not in text


def mistake(act: Callable[[], object]) -> str:
    """What a mistake is told as; empty where there is none."""
    try:
        act()
    except (Mismatch, UserError) as error:
        return str(error)
    return ""
