"""The report as a reader meets it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.results.loading import load_results
from tests.browser.conftest import PATIENCE
from tests.conftest import ROOT, run_tiny

EVIL = "<script>document.title = 'owned'</script> & \"quotes\""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, two_seeds: Path) -> Path:
    """A report of two variants and two seeds with a title that tries to be HTML; read only."""
    folder = tmp_path_factory.mktemp("written")
    run_tiny(folder, "--seeds", "0,1", "--set", f"title={json.dumps(EVIL)}", trained=two_seeds)
    return folder / "report" / "report.html"


@pytest.mark.parametrize("width", [1440, 390])
def test_the_report_opens_offline_without_errors_or_overflow(
    page: Any, written: Path, width: int
) -> None:
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(written.as_uri())
    page.wait_for_selector("html.ready", state="attached")
    assert messages == []
    assert page.locator(".plot svg.marks").count() == page.locator(".plot").count() > 4, (
        "also those that are not in view, for print"
    )
    assert [url for url in requests if not url.startswith(("data:", written.as_uri()))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#images svg.sheet").count() == 13, (
        "originals, and six grids for each of two variants"
    )
    missing = "all => all.filter(u => !document.querySelector(u.getAttribute('href'))).length"
    assert page.locator("svg.sheet use, .tiles use").evaluate_all(missing) == 0
    names = page.locator("table.board tbody th").all_inner_texts()
    assert sorted(name.split()[0] for name in names) == ["prologue_tokens=0", "prologue_tokens=2"]
    assert page.locator(".verdict .sentence").bounding_box()["y"] < 900 * 1440 / width


def test_strings_from_the_yaml_show_as_text(page: Any, written: Path) -> None:
    page.goto(written.as_uri())
    assert page.title().startswith(EVIL)
    assert page.locator("h1").inner_text() == EVIL


def test_tables_sort_by_a_header_with_the_keyboard_and_links_open_settings(
    page: Any, written: Path
) -> None:
    page.goto(written.as_uri())
    table = page.locator("table.board")
    head = table.locator("thead th[data-metric]").first
    column = head.evaluate("head => head.cellIndex")
    for order in ("ascending", "descending"):
        head.locator("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == order
        values = table.locator("tbody tr").evaluate_all(
            f"rows => rows.map(row => Number(row.cells[{column}].dataset.value))"
        )
        assert values == sorted(values, reverse=order == "descending")
    assert len(values) == 2
    table.locator("tbody a").first.click()
    assert page.locator("details[id^=settings][open]").count() == 1
    assert page.locator("#settings").is_visible()
    assert not page.locator("#metrics").is_visible()


def test_further_metrics_are_columns_on_demand(page: Any, written: Path) -> None:
    page.goto(written.as_uri())
    hidden = page.locator("table.board thead th[hidden]")
    before = hidden.count()
    page.locator(".chooser summary").click()
    page.locator(".chooser input").first.check()
    assert hidden.count() == before - 1 >= 0
    assert page.locator("table.board tbody td[hidden]").count() == 2 * (before - 1)


def test_the_tabs_work_by_keyboard_and_print_shows_all_of_them(page: Any, written: Path) -> None:
    page.goto(written.as_uri())
    page.locator("#tab-metrics").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tab-images").get_attribute("aria-selected") == "true"
    assert page.locator("section.panel:visible").count() == 1
    page.wait_for_selector("html.ready", state="attached")
    page.set_viewport_size({"width": 1030, "height": 720})
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("section.panel:visible").count() == page.locator("section.panel").count()
    assert page.locator("details:not([open])").count() == 0
    cut = "all => all.filter(each => each.scrollWidth > each.clientWidth + 1).length"
    assert page.locator(".scroll").evaluate_all(cut) == 0, "no table is cut"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 0


def test_a_sample_is_enlarged_across_variants(page: Any, written: Path) -> None:
    page.goto(written.as_uri())
    page.get_by_role("button", name="Enlarge reconstructions of").first.click()
    assert page.locator("dialog[open] svg").count() == 3, "the original and two variants"
    assert "prologue_tokens=2" in page.locator("dialog").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_a_plot_is_saved_with_its_title_under_a_name_of_its_own(page: Any, written: Path) -> None:
    page.goto(written.as_uri())
    page.wait_for_selector("html.drawn", state="attached")
    figure = page.locator("#answer figure").first
    figure.hover()
    with page.expect_download() as saved:
        figure.get_by_role("button", name="SVG").click()
    title = figure.locator(".plot").get_attribute("data-title")
    assert saved.value.suggested_filename.startswith("tiny-")
    assert saved.value.suggested_filename.endswith(".svg")
    text = Path(saved.value.path()).read_text()
    assert title in text
    assert "Dots: training seeds" in text
    assert "currentColor" not in text, "what is saved has no page around it"


def test_a_dot_tells_its_numbers_and_stands_out_with_its_seed(page: Any, written: Path) -> None:
    page.goto(written.as_uri())
    page.wait_for_selector("html.ready", state="attached")
    page.locator("#plots > summary").click()
    plot = page.locator("#plots .plot").first
    dots = plot.locator("svg .mark-symbol").first.locator("path")
    assert dots.count() == 4, "two variants, two seeds"
    dots.first.dispatch_event("pointerover")  # a diamond may lie over the dot
    dots.first.dispatch_event("pointermove")
    tip = page.locator("#vg-tooltip-element")
    results = load_results(written.parent)
    run = next(run for run in results.runs if run.seed == 0)
    for text in (run.variant, f"{run.measurements[0].value:.5g}", "seed", "over images"):
        assert text in tip.inner_text()
    opacities = dots.evaluate_all("all => all.map(each => each.getAttribute('opacity'))")
    assert opacities == ["0.7" if run.seed == 0 else "0.12" for run in results.runs], (
        "seed 0 stays in view"
    )


def test_a_click_in_a_legend_leaves_one_variant_in_view(page: Any, written: Path) -> None:
    page.goto(written.as_uri())
    page.wait_for_selector("html.ready", state="attached")
    page.locator("#tab-training").click()
    plot = page.locator("#training .plot").first
    lines = plot.locator("svg path[aria-roledescription='line mark'][stroke-width='2']")
    read = "all => all.map(each => each.getAttribute('opacity') ?? '1')"
    assert lines.evaluate_all(read) == ["1", "1"]
    plot.locator(".mark-text.role-legend-label text").first.click(force=True)
    assert lines.evaluate_all(read) == ["1", "0.06"]


def test_reconstructions_are_wiped_over_one_another(page: Any, written: Path) -> None:
    page.goto(written.as_uri())
    page.locator("#tab-images").click()
    box = page.locator(".compare")
    below, above = (box.locator("svg").nth(index) for index in (0, 1))
    shown = "each => each.firstElementChild.getAttribute('href')"
    assert above.evaluate(shown) == "#picture-originals"
    box.get_by_label("Right").select_option("prologue_tokens=0")
    assert below.evaluate(shown) == "#picture-reconstructions-0"
    box.get_by_label("Wipe").focus()
    page.keyboard.press("End")
    assert "0px 0% 0px 0px" in above.evaluate("each => getComputedStyle(each).clipPath")
    page.keyboard.press("Home")
    assert "100%" in above.evaluate("each => getComputedStyle(each).clipPath")
    assert box.get_by_label("Wipe").input_value() == "0"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_has_no_violation_of_accessibility(
    page: Any, written: Path, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    page.goto(written.as_uri())
    page.wait_for_selector("html.ready", state="attached")
    page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
    page.locator("section.panel").evaluate_all("all => all.forEach(each => each.hidden = false)")
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []


def test_several_results_go_into_one_report(written: Path, tmp_path: Path, page: Any) -> None:
    first = json.loads((written.parent / "results.json").read_text())
    other = {**first, "name": "other", "title": "Another"}
    shutil.copytree(written.parent, tmp_path / "other")
    (tmp_path / "other" / "results.json").write_text(json.dumps(other))
    out = tmp_path / "both"
    run = CliRunner()
    arguments = ["report", str(written.parent), str(tmp_path / "other")]
    found = run.invoke(cli, [*arguments, "--out", str(out)])
    assert found.exit_code == 0, found.exception
    merged = load_results(out)
    assert [variant.name for variant in merged.variants] == [
        "tiny: prologue_tokens=0",
        "tiny: prologue_tokens=2",
        "other: prologue_tokens=0",
        "other: prologue_tokens=2",
    ]
    assert merged.baseline == "tiny: prologue_tokens=0"
    page.goto((out / "report.html").as_uri())
    assert page.locator("table.board tbody tr").count() == 4
    assert page.locator("#images svg.sheet").count() == 1 + 6 * 4
    assert "name its folder with --out" in str(run.invoke(cli, arguments).exception)
    assert "no such variant" in str(
        run.invoke(cli, [*arguments, "--out", str(out), "--baseline", "x"]).exception
    )
    twice = run.invoke(cli, ["report", str(written.parent), str(written.parent), "--out", str(out)])
    assert "two of the results are both called 'tiny'" in str(twice.exception)


def test_long_names_of_variants_go_beyond_neither_the_window_nor_their_plots(
    written: Path, tmp_path: Path, page: Any
) -> None:
    text = (written.parent / "results.json").read_text()
    for count in (0, 2):
        name = f"tokenizer_training.some_setting_of_a_long_name={count}_{'x' * 60}"
        text = text.replace(f'"prologue_tokens={count}"', json.dumps(name))
    folder = tmp_path / "long"
    shutil.copytree(written.parent, folder)
    (folder / "results.json").write_text(text)
    CliRunner().invoke(cli, ["report", str(folder), "--force"], catch_exceptions=False)
    page.goto((folder / "report.html").as_uri())
    page.wait_for_selector("html.ready", state="attached")
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    beyond = """svgs => svgs.flatMap(svg => {
        const { left, right } = svg.getBoundingClientRect();
        return [...svg.querySelectorAll("text")].filter(text => {
            const its = text.getBoundingClientRect();
            return its.width && (its.left < left - 1 || its.right > right + 1);
        }).map(text => text.textContent);
    })"""
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        seen = 0
        for tab in page.locator("[role=tab]").all():
            tab.click()
            page.wait_for_timeout(500)  # plots take the width that they have now
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            shown = page.locator(".plot svg.marks:visible")
            assert shown.evaluate_all(beyond) == []
            seen += shown.count()
        assert seen > 10


REPORT = ROOT / "reports" / "tokenizers"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of variants with long names of which one has collapsed, as it is drawn today."""
    folder = tmp_path_factory.mktemp("published") / "tokenizers"
    arguments = ["report", str(REPORT), "--out", str(folder)]
    CliRunner().invoke(cli, arguments, catch_exceptions=False)
    return folder / "report.html"


@pytest.fixture(scope="module")
def drawn(browser: Any, published: Path) -> Iterator[Any]:
    """A page with that report, opened once, as drawing it takes seconds."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(published.as_uri())
    page.wait_for_selector("html.ready", state="attached")
    yield page
    page.close()


@pytest.fixture
def report(drawn: Any) -> Iterator[Any]:
    """That page, 1440 pixels wide, on its first tab and in the light."""
    drawn.set_viewport_size({"width": 1440, "height": 900})
    yield drawn
    drawn.emulate_media(media="null", color_scheme="null")


def test_on_a_phone_the_primary_metric_stands_beside_the_name(report: Any) -> None:
    report.set_viewport_size({"width": 390, "height": 844})
    board = report.locator("table.board")
    column = board.locator("thead th[data-metric=gfid]").evaluate("head => head.cellIndex")
    rows = board.locator("tbody tr")
    assert rows.count() == 6
    for index in range(rows.count()):
        name = rows.nth(index).locator("th").bounding_box()
        value = rows.nth(index).locator("th, td").nth(column)
        box = value.bounding_box()
        assert box["x"] >= name["x"] + name["width"] - 1, "not under the column that stays"
        assert box["x"] + box["width"] <= 390
        assert re.match(r"[\d,.]+$", value.inner_text().split()[0])


@pytest.mark.parametrize("width", [1440, 390])
def test_headings_over_pictures_and_names_break_between_words(report: Any, width: int) -> None:
    report.set_viewport_size({"width": width, "height": 900})
    # The text of a word that is broken has several boxes.
    broken = """all => all.flatMap(each => {
      const range = document.createRange(), text = each.firstChild, found = [];
      for (const word of text.data.matchAll(/[^ -]+-?/g)) {
        range.setStart(text, word.index);
        range.setEnd(text, word.index + word[0].length);
        if (range.getClientRects().length > 1) found.push(word[0]);
      }
      return found;
    })"""
    for places in (".tiles .column", "table.board tbody th a"):
        found = report.locator(places)
        assert found.count() > 5
        assert found.evaluate_all(broken) == []
    cut = "all => all.filter(each => each.scrollHeight > each.clientHeight + 1).length"
    assert report.locator(".tiles .column").evaluate_all(cut) == 0


def test_the_rows_of_plots_beside_each_other_are_at_one_height(report: Any) -> None:
    tops = report.locator(".forests .plot").evaluate_all(
        "all => all.map(each => Math.round(each.getBoundingClientRect().top))"
    )
    assert len(tops) == 4
    assert len(set(tops)) == 1


def test_what_lies_beyond_an_axis_is_an_arrow_with_its_value(report: Any) -> None:
    told = report.locator(".forests .plot").first.locator("[aria-label$='beyond the axis']")
    labels = told.evaluate_all("all => all.map(each => each.getAttribute('aria-label'))")
    assert "2d, CE on visual, mean: +3,235, beyond the axis" in labels
    assert len(labels) == 4, "three seeds and their mean"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 1100, 390])
def test_a_table_that_goes_on_to_the_right_says_so(report: Any, width: int, scheme: Any) -> None:
    report.set_viewport_size({"width": width, "height": 900})
    report.emulate_media(color_scheme=scheme)
    board = report.locator(".wide:has(table.board)")
    shadow = "each => getComputedStyle(each, '::after').backgroundImage"
    is_cut = board.locator(".scroll").evaluate("each => each.scrollWidth > each.clientWidth + 1")
    assert is_cut == (width < 1440)
    report.wait_for_selector(f".wide{'.more' if is_cut else ':not(.more)'}:has(table.board)")
    assert board.evaluate(shadow).startswith("linear-gradient") == is_cut
    board.locator(".scroll").evaluate("each => each.scrollTo(each.scrollWidth, 0)")
    report.wait_for_selector(".wide:not(.more):has(table.board)")
    assert board.evaluate(shadow) == "none", "nothing is left to the right"


def test_the_first_printed_page_is_the_answer_and_its_plots(report: Any) -> None:
    report.set_viewport_size({"width": 1047, "height": 718})  # A4 across, without its margins
    report.emulate_media(media="print")
    report.evaluate("window.fits = 0; addEventListener('resize', () => window.fits++)")
    report.evaluate("dispatchEvent(new Event('beforeprint'))")
    bottom = "each => each.getBoundingClientRect().bottom"
    assert report.locator(".verdict").evaluate(bottom) < 718
    assert report.locator(".forests").evaluate(bottom) < 718
    assert report.locator(".commands[open]").evaluate("each => each.parentNode.tagName") == "MAIN"
    axes = report.locator(".forests .role-axis-title text, .forests .role-axis-label text")
    cut = """all => all.filter(each => {
      const [place, box] = [each.closest("figure"), each].map((one) => one.getBoundingClientRect());
      return box.left < place.left || box.right > place.right;
    }).map(each => each.textContent)"""
    assert axes.count() > 12
    report.wait_for_function("window.fits > 0")
    assert report.evaluate("window.fits") == 1, "plots are fitted once, not for every fold"
    assert axes.evaluate_all(cut) == []
    report.evaluate("dispatchEvent(new Event('afterprint'))")
    assert report.locator(".commands").evaluate("each => each.parentNode.tagName") == "HEADER"
