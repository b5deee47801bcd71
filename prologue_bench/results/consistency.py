"""What must agree within one document of results, beyond the types of its fields."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prologue_bench.results.checking import Mismatch, shown
from prologue_bench.results.plain import Document

OF_ONE_RUN = ("profile", "data", "software", "hardware")
"""What results without `sources` say of themselves."""


def check_numbers(results: Document) -> None:
    """Raises Mismatch where names stand twice, or stand for nothing."""
    for wrong in numbers_mismatches(results):
        raise wrong


def check_results(results: Document) -> None:
    """Raises Mismatch where a table's columns differ in length, a source is unknown, or a number
    has more values at tokens than there are tokens."""
    for wrong in itertools.chain(results_mismatches(results), positions_mismatches(results)):
        raise wrong


def check_benchmarks(benchmarks: Sequence[Document]) -> None:
    """Raises Mismatch for two benchmarks of one name."""
    for wrong in _once((each["name"] for each in benchmarks), "benchmarks", "name"):
        raise wrong


def numbers_mismatches(results: Document) -> Iterator[Mismatch]:
    """Names that stand twice, or stand for nothing."""
    yield from _once((each["name"] for each in results["variants"]), "variants", "name")
    for index, variant in enumerate(results["variants"]):
        for wrong in _once((each["name"] for each in variant.get("layout", ())), "layout", "name"):
            yield wrong.within(index).within("variants")
    names = {each["name"] for each in results["variants"]}
    if results["baseline"] is not None:
        yield from _known(results["baseline"], names, "variant", "baseline")
    for index, added in enumerate(results.get("added_seeds", ())):
        if added["most"] < added["first"]:
            yield Mismatch(
                f"found less than `first`, {added['first']}", "added_seeds", index, "most"
            )
        for number, look in enumerate(added["looks"]):
            at = ("added_seeds", index, "looks", number, "undecided")
            for name in look["undecided"]:
                yield from _known(name, names, "variant", *at)
    places: set[tuple[str, int, int]] = set()
    for index, run in enumerate(results["runs"]):
        yield from _known(run["variant"], names, "variant", "runs", index, "variant")
        place = (run["variant"], run["seed"], run.get("sampling_seed", 0))
        if place in places:
            yield Mismatch(
                f"a second run of {shown(place[0])}, seed {place[1]}, sampling seed {place[2]}",
                "runs",
                index,
            )
        places.add(place)
        for wrong in _once((each["name"] for each in run["measurements"]), "measurements", "name"):
            yield wrong.within(index).within("runs")


def results_mismatches(results: Document) -> Iterator[Mismatch]:
    """The same, columns of a table that differ in length, and sources that are unknown."""
    sources = results.get("sources")
    for name in () if sources is not None else OF_ONE_RUN:
        if results.get(name) is None:
            yield Mismatch("missing", name)
    yield from numbers_mismatches(results)
    labels = {each["label"] for each in sources} if sources is not None else {""}
    yield from _once((each["label"] for each in sources or ()), "sources", "label")
    for index, variant in enumerate(results["variants"]):
        at = ("variants", index, "source")
        yield from _known(variant.get("source") or "", labels, "source", *at)
    for index, added in enumerate(results.get("added_seeds", ())):
        at = ("added_seeds", index, "source")
        yield from _known(added.get("source", ""), labels, "source", *at)
    for index, reference in enumerate(results.get("references", ())):
        for key, row in reference["rows"].items():
            yield from _alike(
                len(row["values"]),
                len(reference["columns"]),
                "references",
                index,
                "rows",
                key,
                "values",
            )
    for index, run in enumerate(results["runs"]):
        for stage, columns in run.get("curves", {}).items():
            yield from _curves(columns, "runs", index, "curves", stage)
        yield from _curves(run.get("inside", {}), "runs", index, "inside")


def positions_mismatches(results: Document) -> Iterator[Mismatch]:
    """Numbers with more values at tokens than their segment has tokens."""
    lengths = {
        (variant["name"], segment["name"]): segment["length"]
        for variant in results["variants"]
        for segment in variant.get("layout", ())
    }
    for index, run in enumerate(results["runs"]):
        for number, each in enumerate(run["measurements"]):
            most = lengths.get((run["variant"], each.get("positions_of")))
            # They may end before the segment does, and elsewhere for each seed.
            if most is not None and len(each["positions"]) > most:
                yield Mismatch(
                    f"found a list of {len(each['positions'])}, expected at most {most}, "
                    "the tokens of the segment",
                    "runs",
                    index,
                    "measurements",
                    number,
                    "positions",
                )


def _curves(columns: Mapping[str, list[float | None]], *place: str | int) -> Iterator[Mismatch]:
    if columns and "step" not in columns:
        yield Mismatch("missing", *place, "step")
        return
    for name, values in columns.items():
        yield from _alike(len(values), len(columns["step"]), *place, name)


def _alike(found: int, expected: int, *place: str | int) -> Iterator[Mismatch]:
    if found != expected:
        yield Mismatch(f"found a list of {found}, expected {expected} as in the others", *place)


def _once(names: Iterable[str], *place: str) -> Iterator[Mismatch]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield Mismatch(
                f"found {shown(name)} twice, expected it once", place[0], index, *place[1:]
            )
        seen.add(name)


def _known(name: str, known: Iterable[str], what: str, *place: str | int) -> Iterator[Mismatch]:
    if name not in known:
        yield Mismatch(f"found {shown(name)}, which is no {what} of these results", *place)
