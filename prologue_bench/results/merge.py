"""Several results as one, so that one report shows them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import evolve

from prologue_bench.errors import UserError, listed
from prologue_bench.results.pictures import VARIANT_PICTURES, Pictures
from prologue_bench.results.schema import (
    AddedSeeds,
    DataRecord,
    MeasurementRecord,
    ReferenceRecord,
    Results,
    RunRecord,
    SourceRecord,
    VariantRecord,
)

Part = tuple[Results, Pictures]


def labels_of(results: Sequence[Results], folders: Sequence[Path]) -> list[str]:
    """What each result is called among others: its name, or where two share one, its folder.

    Raises UserError where the folders do not tell them apart either, as for one folder given twice.
    """
    names = [each.name for each in results]
    found = []
    for name, folder in zip(names, folders, strict=True):
        alike = [
            other.resolve() for other, named in zip(folders, names, strict=True) if named == name
        ]
        if len(alike) > 1:
            name = _shortest_end(folder.resolve(), alike, name)
        found.append(name)
    if len(set(found)) < len(found):
        raise UserError(
            f"two of the results are both called {_twice(found)!r}; "
            "give one of the folders another name"
        )
    return found


def _shortest_end(folder: Path, others: Sequence[Path], name: str) -> str:
    """The last parts of a path that no other path ends in."""
    for count in range(1, len(folder.parts) + 1):
        if sum(other.parts[-count:] == folder.parts[-count:] for other in others) == 1:
            return "/".join(folder.parts[-count:])
    raise UserError(
        f"two of the results are both called {name!r}; their variants could not be told apart"
    )


def _twice(names: Sequence[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def merge_results(
    parts: Sequence[Part], baseline: str | None, labels: Sequence[str] | None = None
) -> tuple[Results, Pictures]:
    """All variants of all results, each named "label: variant", against one baseline.

    The labels are the results' names unless they are given. The baseline is a name so made, or else
    that of the first results that has one. Every variant names its source, which holds data,
    profile, seeds, components, software and hardware. What protocols or seeds do not allow to be
    compared, the report leaves out and says so; numbers of other data are never compared. Raises
    UserError for an unknown baseline, for two results of one name, and for results that hold a run
    twice.
    """
    found = [results for results, _ in parts]
    labels = [results.name for results in found] if labels is None else labels
    if len(set(labels)) < len(labels):
        raise UserError(
            f"two of the results are both called {_twice(labels)!r}; "
            "their variants could not be told apart"
        )
    origins = [
        evolve(source, label=merged_name(label, source.label) if source.label else label)
        for results, label in zip(found, labels, strict=True)
        for source in results.origins
    ]
    data = {origin.label: origin.data for origin in origins}
    apart = len({each.fingerprint for each in data.values()}) > 1
    variants: list[VariantRecord] = []
    runs: list[RunRecord] = []
    titles: dict[str, str] = {}
    for results, label in zip(found, labels, strict=True):
        _check_runs(results, label)
        own = {variant.name: _renamed(variant, label) for variant in results.variants}
        variants += own.values()
        for run in results.runs:
            variant = own[run.variant]
            assert variant.source is not None
            record = evolve(_by_title(run, titles), variant=variant.name)
            runs.append(_of_its_data(record, data[variant.source]) if apart else record)
    merged = Results(
        schema=found[0].schema,
        name="-".join(results.name for results in found),
        title=" · ".join(results.title for results in found),
        description=f"Several results in one report: {', '.join(labels)}.",
        baseline=_baseline(found, labels, baseline, [variant.name for variant in variants]),
        seeds=_union(results.seeds for results in found),
        sampling_seeds=_union(results.sampling_seeds for results in found),
        varied=tuple(dict.fromkeys(key for results in found for key in results.varied)),
        created=max(results.created for results in found),
        variants=tuple(variants),
        runs=tuple(runs),
        references=_references(found),
        remarks=(
            *(
                f"{label}: {remark}"
                for results, label in zip(found, labels, strict=True)
                for remark in results.remarks
            ),
            *_other_versions(origins),
        ),
        sources=tuple(origins),
        added_seeds=tuple(
            _added(added, results, label, titles)
            for results, label in zip(found, labels, strict=True)
            for added in results.added_seeds
        ),
        equivalence_margin=_smallest_margin(found),
        primary=next((each.primary for each in found if each.primary), ""),
        leaderboard=next((each.leaderboard for each in found if each.leaderboard), ()),
        remotes=tuple(remote for results in found for remote in results.remotes),
    )
    return merged, _pictures(parts)


def _smallest_margin(found: Sequence[Results]) -> float | None:
    """None where any of the results states none: its differences were not looked at with one."""
    margins = [results.equivalence_margin for results in found]
    return None if None in margins else min(margin for margin in margins if margin is not None)


def merged_name(label: str, variant: str) -> str:
    """The name of a variant among those of other results."""
    return f"{label}: {variant}"


def _renamed(variant: VariantRecord, label: str) -> VariantRecord:
    """A variant among those of other results, with its source."""
    source = merged_name(label, variant.source) if variant.source else label
    return evolve(variant, name=merged_name(label, variant.name), source=source)


def _check_runs(results: Results, label: str) -> None:
    """Raises UserError for results that hold a run twice: tables would show only the last."""
    seen = set()
    for run in results.runs:
        if run.place in seen:
            raise UserError(
                f"{label}: holds the run of {run.variant}, {run.seeds_text} twice; expected it once"
            )
        seen.add(run.place)


def _by_title(run: RunRecord, titles: dict[str, str]) -> RunRecord:
    """The run with another name for what has the name of another quantity.

    Such as a distance over other features.
    """

    def named(each: MeasurementRecord) -> MeasurementRecord:
        is_first = titles.setdefault(each.name, each.title) == each.title
        return each if is_first else evolve(each, name=f"{each.name}, {each.title}")

    return evolve(run, measurements=tuple(map(named, run.measurements)))


def _added(
    added: AddedSeeds, results: Results, label: str, titles: Mapping[str, str]
) -> AddedSeeds:
    """What is known of seeds that were added, with the names that its metric and variants have."""
    title = next(
        (
            each.title
            for run in results.runs
            for each in run.measurements
            if each.name == added.metric
        ),
        added.metric,
    )
    is_first = titles.get(added.metric, title) == title
    return evolve(
        added,
        metric=added.metric if is_first else f"{added.metric}, {title}",
        source=merged_name(label, added.source) if added.source else label,
        looks=tuple(
            evolve(look, undecided=tuple(merged_name(label, name) for name in look.undecided))
            for look in added.looks
        ),
    )


def _of_its_data(run: RunRecord, data: DataRecord) -> RunRecord:
    """The run with its data in every protocol, also of numbers of no image, such as costs."""

    def marked(each: MeasurementRecord) -> MeasurementRecord:
        details = each.protocol.details
        if data.fingerprint in details.values():
            return each
        details = {**details, "data": f"{data.name}, {data.fingerprint}"}
        return evolve(each, protocol=evolve(each.protocol, details=details))

    return evolve(run, measurements=tuple(map(marked, run.measurements)))


def _baseline(
    found: Sequence[Results], labels: Sequence[str], asked: str | None, names: Sequence[str]
) -> str | None:
    own = [
        merged_name(label, results.baseline)
        for results, label in zip(found, labels, strict=True)
        if results.baseline is not None
    ]
    chosen = asked if asked is not None else next(iter(own), None)
    if chosen is not None and chosen not in names:
        raise UserError(f"--baseline {chosen}: no such variant; expected one of: {listed(names)}")
    return chosen


def _union(seeds: Iterable[Sequence[int]]) -> tuple[int, ...]:
    return tuple(sorted({each for of in seeds for each in of}))


def _references(found: Sequence[Results]) -> tuple[ReferenceRecord, ...]:
    """Each card of published results once, with the rows of all."""
    cards: dict[str, ReferenceRecord] = {}
    for card in (card for results in found for card in results.references):
        before = cards[card.name].rows if card.name in cards else {}
        cards[card.name] = evolve(card, rows={**before, **card.rows})
    return tuple(cards.values())


def _other_versions(origins: Sequence[SourceRecord]) -> list[str]:
    """A sentence for each component that is of other versions in other results."""
    versions: dict[tuple[str, str], dict[int, list[str]]] = {}
    for origin in origins:
        for each in origin.components:
            versions.setdefault((each.kind, each.name), {}).setdefault(each.version, []).append(
                origin.label
            )
    return [
        f"{kind} {name} is of version "
        + " and ".join(f"{version} in {', '.join(labels)}" for version, labels in found.items())
        + "; differences may come from that."
        for (kind, name), found in versions.items()
        if len(found) > 1
    ]


def _pictures(parts: Sequence[Part]) -> Pictures:
    """The grids of all variants under their new numbers, and the originals.

    Those are there once, or for each data set.
    """
    files: dict[str, bytes] = {}
    variants = 0
    originals: dict[str, tuple[int, bytes]] = {}
    for results, pictures in parts:
        for index in range(len(results.variants)):
            for kind in VARIANT_PICTURES:
                if f"{kind}-{index}" in pictures.files:
                    files[f"{kind}-{variants + index}"] = pictures.files[f"{kind}-{index}"]
        variants += len(results.variants)
    place = 0
    for results, pictures in parts:
        for index, source in enumerate(results.origins):
            content = pictures.files.get(f"originals-{index}", pictures.files.get("originals"))
            if content is not None:
                originals.setdefault(source.data.fingerprint, (place, content))
            place += 1
    fingerprints = {source.data.fingerprint for results, _ in parts for source in results.origins}
    for number, content in originals.values():
        files[f"originals-{number}" if len(fingerprints) > 1 else "originals"] = content
    return Pictures(files)
