"""Whatever is in a name, title or reason is text: in Markdown, CSV, LaTeX and on the terminal."""

from __future__ import annotations

import io
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import markdown
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from prologue_bench.cli.app import cli
from prologue_bench.reporting.tables import render_csv, render_latex, render_markdown
from prologue_bench.results.frame import frame
from prologue_bench.texts.lines import CONTROLS, plain_text
from prologue_bench.texts.markdown import markdown_line
from tests.conftest import OLD_REPORTS, ROOT
from tests.documents import loaded, results_of

PAYLOADS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "![x](file:///etc/passwd)",
    "**bold** _it_ `code` ~~gone~~ $x$",
    "one | two\n| --- | --- |\n# three",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    "＝1+1",
    "[ours]",
    "* starred",
    "\\input{/etc/passwd} % {} & # _ ^ ~",
    "line\n\\input{x}",
    "1. first\n- second",
    "&lt;b&gt; &amp;",
    "{: onclick=alert(1)}",
    "\x1b[2J\x1b]0;owned\x07\x1b[31mred",
    "\u202egnirts\u202c \u2066x\u2069",
    "\x9b31m\x08\x08\x7f",
    "```\nfence",
)
COUNT = json.dumps(loaded(OLD_REPORTS / "prologue_count"))
DIALECTS = {
    "commonmark": lambda text: MarkdownIt("commonmark").render(text),
    "github": lambda text: MarkdownIt("gfm-like", {"linkify": False}).render(text),
    "mkdocs": lambda text: markdown.markdown(
        text, extensions=["tables", "attr_list", "admonition"]
    ),
}
OURS = {"h1", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "blockquote"}
"""The elements that results.md is made of."""


def hostile(payload: str) -> dict[str, Any]:
    """Small results with a text of a stranger in every place that is a text for people."""
    results: dict[str, Any] = json.loads(COUNT)
    kept = [variant["name"] for variant in results["variants"]][:2]
    names = {name: f"{payload} {index}" for index, name in enumerate(kept)}
    results["variants"] = [each for each in results["variants"] if each["name"] in names]
    results["runs"] = [each for each in results["runs"] if each["variant"] in names][:4]
    for record, key in [
        *((each, "name") for each in results["variants"]),
        *((e, "variant") for e in results["runs"]),
    ]:
        record[key] = names[record[key]]
    results["baseline"] = names.get(results["baseline"], next(iter(names.values())))
    for key in ("title", "description", "profile"):
        results[key] = payload
    results["data"].update(name=payload, classes=[payload] * 10, notes=[payload])
    results["remarks"] = [payload]
    for run in results["runs"]:
        run["curves"] = {}
        run["failures"] = {"measure x": payload}
        run["left_out"] = {"y": payload}
        for measurement in run["measurements"]:
            measurement["title"] = f"{payload} {measurement['title']}"
            measurement["unit"] = measurement["warning"] = measurement["protocol"]["name"] = payload
    row = {"title": payload, "values": [payload, None]}
    texts = dict.fromkeys(("name", "summary", "source", "protocol"), payload)
    results["references"] = [{**texts, "columns": [payload, payload], "rows": {"a": row}}]
    return results


@pytest.fixture(scope="module", params=PAYLOADS, ids=ascii)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    results = results_of(hostile(request.param))
    (folder / "results.md").write_text(render_markdown(results), newline="")
    (folder / "results.tex").write_text(render_latex(results), newline="")
    (folder / "results.csv").write_text(render_csv(frame(results)), newline="")
    (folder / "payload").write_text(json.dumps(request.param))
    return folder


def payload_of(folder: Path) -> str:
    found: str = json.loads((folder / "payload").read_text())
    return found


def elements(html: str) -> set[str]:
    return set(re.findall(r"<([a-z0-9]+)", html))


def visible(html: str) -> str:
    import html as entities

    return " ".join(entities.unescape(re.sub(r"<[^>]*>", " ", html)).split())


def test_results_md_has_no_elements_but_its_own(written: Path) -> None:
    text = (written / "results.md").read_bytes().decode()
    for name in ("github", "mkdocs"):
        html = DIALECTS[name](text)
        assert elements(html) <= OURS, (name, elements(html) - OURS)
        assert html.count("<table>") == 2, name
        assert html.count("<h1") == 1, name
        assert " ".join(plain_text(" ".join(payload_of(written).split())).split()) in visible(
            html
        ), name
    assert not CONTROLS.search(text)


def test_results_csv_has_no_cell_that_is_a_formula(written: Path) -> None:
    text = (written / "results.csv").read_bytes().decode()
    table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    for name in ("variant", "title", "unit", "metric"):
        for cell in table[name]:
            assert not cell.lstrip().startswith(tuple("=+-@＝")), (name, cell)
    assert not CONTROLS.search(text)
    assert pd.to_numeric(table["value"]).notna().all()


def test_results_tex_has_no_command_of_others(written: Path) -> None:
    text = (written / "results.tex").read_bytes().decode()
    body = [line for line in text.split("\n") if not line.startswith("%")]
    commands = set(re.findall(r"\\([a-zA-Z]+)", "\n".join(body)))
    assert commands <= {
        *("begin", "end", "toprule", "midrule", "bottomrule", "downarrow", "uparrow", "pm", "char"),
        *("textasciitilde", "textasciicircum", "textbackslash", "textless", "textgreater"),
        *("textbar", "textasciigrave"),
    }
    columns = {len(re.findall(r"(?<!\\)&", line)) for line in body if line.endswith(r"\\")}
    assert len(columns) == 1, "each row has the same cells"
    for before, line in pairwise(body):
        if before.endswith(r"\\") or before.startswith("\\midrule"):
            assert not line.lstrip().startswith(("[", "*")), (
                "a line break would take it as its argument"
            )
    for line in body:
        assert line.count("{") - line.count(r"\{") == line.count("}") - line.count(r"\}")
        assert not re.search(r"(?<!\\)%", line)
    assert not CONTROLS.search(text)


@example("123. a")
@example("- - -")
@example("+9 (+81%)")
@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_text_is_one_paragraph_of_plain_markdown(text: str) -> None:
    shown = " ".join(plain_text(" ".join(text.split())).split())
    for name, render in DIALECTS.items():
        html = render(markdown_line(text))
        assert elements(html) <= {"p"}, (name, html)
        assert visible(html) == shown, name


def test_nothing_but_text_reaches_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = "\x1b[2J\x1b]0;owned\x07\u202e\rfake\x9b"
    results = hostile(bad)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(results))
    monkeypatch.chdir(tmp_path)
    for command in (["compare", "a", "b"], ["claims", "a"], ["sample", "a", "--variant", bad]):
        found = CliRunner().invoke(cli, command, color=True)
        assert not CONTROLS.search(found.output.replace("\r\n", "\n")), (command, found.output)


def test_nothing_but_text_of_an_ablation_reaches_a_terminal(tmp_path: Path) -> None:
    text = (ROOT / "tests" / "conftest.py").read_text().split('SMOKE = """')[1].split('"""')[0]
    bad = '"\\e[2J\\e]0;owned\\a \\u202E[red]x"'
    (tmp_path / "a.yaml").write_text(
        text.replace("title: A tiny comparison", f"title: {bad}")
        .replace(
            "vary:\n  tokenizer.prologue_tokens: [0, 2]\n",
            f"variants: {{{bad}: {{tokenizer.prologue_tokens: 2}}}}\n",
        )
        .replace("baseline: {tokenizer.prologue_tokens: 0}\n", "")
    )
    found = CliRunner().invoke(
        cli, ["plan", str(tmp_path / "a.yaml"), "--store", str(tmp_path / "s")], color=True
    )
    assert found.exit_code == 0, found.exception
    assert not CONTROLS.search(found.output)
    assert r"\x1b[2J" in found.output
