"""The outcome of a gate: for the terminal, for a pull request, and for continuous integration."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from prologue_bench.errors import listed
from prologue_bench.regression.check import Check
from prologue_bench.results.caveats import caveats, measurements_of
from prologue_bench.results.schema import Numbers
from prologue_bench.texts.markdown import markdown_line
from prologue_bench.texts.numbers import number, short, signed

MARKS = {
    "ok": "ok",
    "better": "better",
    "regression": "REGRESSION",
    "missing": "MISSING",
    "not gated": "not gated",
}


def change(check: Check) -> str:
    """The change with its share of the baseline."""
    if check.before is None or check.after is None:
        return "–"
    difference = check.after - check.before
    share = f" ({100 * difference / abs(check.before):+.1f}%)" if check.before else ""
    return f"{signed(difference)}{share}"


def cells(check: Check) -> tuple[str, ...]:
    """Metric, variant, before, after, change, tolerance, verdict."""
    unit = f" ({check.unit})" if check.unit else ""
    sides = (("+", check.rise), ("−", check.fall))
    limits = " ".join(f"{sign}{short(limit)}" for sign, limit in sides if limit is not None)
    tolerance = f"{limits}, {check.basis}" if limits else "–"
    before, after = (
        "–" if value is None else number(value) for value in (check.before, check.after)
    )
    return (
        f"{check.title}{unit}",
        check.variant,
        before,
        after,
        change(check),
        tolerance,
        MARKS[check.status],
    )


HEADERS = ("metric", "variant", "baseline", "now", "change", "tolerance", "verdict")


def summary(checks: Sequence[Check]) -> str:
    """One sentence."""
    failed = [check for check in checks if check.failed]
    gated = [check for check in checks if check.status != "not gated"]
    if not failed:
        return (
            f"No regression among {len(gated)} numbers "
            f"({len(checks) - len(gated)} more are not gated)."
        )
    return (
        f"{len(failed)} of {len(gated)} numbers fail: "
        f"{listed((f'{c.title}, {c.variant}' for c in failed), 400)}."
    )


def as_markdown(checks: Sequence[Check], baseline: Numbers, note: str = "") -> str:
    """For a pull request: what fails first, all of it in a fold. A note stands above both."""
    revision = baseline.software.get("git", "unknown")
    head = (
        f"### {baseline.title}: "
        f"{'regression' if any(c.failed for c in checks) else 'no regression'}"
    )
    lines = [
        head,
        "",
        f"{summary(checks)} Baseline of revision {revision}, {baseline.created[:10]}.",
        "",
    ]
    notes = [*filter(None, [note]), *caveats(measurements_of(baseline))]
    lines += [line for sentence in notes for line in (markdown_line(sentence), "")]
    if failed := [check for check in checks if check.failed]:
        lines += [*_table(failed), ""]
    lines += ["<details><summary>All numbers</summary>", "", *_table(checks), "", "</details>", ""]
    return "\n".join(lines)


def _table(checks: Sequence[Check]) -> list[str]:
    rows = [
        "| " + " | ".join(HEADERS) + " |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    return rows + ["| " + " | ".join(map(markdown_line, cells(check))) + " |" for check in checks]


def as_junit(checks: Sequence[Check], name: str) -> str:
    """JUnit XML: one test case per number; those that are not gated are skipped."""
    suite = ET.Element(
        "testsuite",
        name=name,
        tests=str(len(checks)),
        failures=str(sum(check.failed for check in checks)),
        skipped=str(sum(check.status == "not gated" for check in checks)),
    )
    for check in checks:
        case = ET.SubElement(suite, "testcase", classname=check.variant, name=check.title)
        message = " | ".join(cells(check)[2:])
        if check.failed:
            ET.SubElement(case, "failure", message=message)
        elif check.status == "not gated":
            ET.SubElement(case, "skipped", message=message)
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
