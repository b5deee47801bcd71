"""What a report says beside numbers: missing runs, protocols, settings, searches, wall times."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from attrs import field, frozen

from prologue_bench.reporting.formatting import plain, setting_text
from prologue_bench.results.caveats import measurements_of
from prologue_bench.results.frame import flat_settings
from prologue_bench.results.left_out import notes_on
from prologue_bench.results.protocols import protocol_hash
from prologue_bench.results.schema import ProtocolRecord, Results, RunRecord, VariantRecord
from prologue_bench.results.sources import source_of
from prologue_bench.texts.lines import one_line
from prologue_bench.texts.ranges import seeds_text

FEW = 3
"""Numbers that are named of those that the same runs lack."""


@frozen
class Failure:
    """What failed in one run, for one reason."""

    variant: str
    seeds: str
    stage: str
    reason: str


def failed_runs(results: Results) -> list[Failure]:
    """Each reason why stages failed, with those stages.

    Stages that failed with one before them have its reason.
    """
    failed = []
    for run in results.runs:
        stages: dict[str, list[str]] = defaultdict(list)
        for stage, reason in run.failures.items():
            stages[reason].append(stage)
        failed += [
            Failure(run.variant, run.seeds_text, ", ".join(of), reason)
            for reason, of in stages.items()
        ]
    return failed


def missing_numbers(results: Results) -> list[str]:
    """Numbers that measuring did not give, with the runs and the reason.

    Those that the same runs lack for the same reason stand together.
    """
    runs: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, run in enumerate(results.runs):
        for each in run.measurements:
            if each.value is None:
                title = f"{each.title} ({each.unit})" if each.unit else each.title
                runs[title, each.reason or "not a finite number"].append(index)
    titles: dict[tuple[str, tuple[int, ...]], list[str]] = defaultdict(list)
    for (title, reason), of in runs.items():
        titles[reason, tuple(of)].append(title)
    return [
        f"{_first_of(of)}: no number {_in_runs(results, lacking)}: {reason}"
        for (reason, lacking), of in titles.items()
    ]


def _first_of(titles: Sequence[str]) -> str:
    more = len(titles) - FEW
    return "; ".join(titles[:FEW]) + (f"; and {more} more" if more > 0 else "")


def _in_runs(results: Results, indices: Sequence[int]) -> str:
    if len(indices) == len(results.runs):
        return "in any run"
    return f"of {'; '.join(_by_variant(results.runs[index] for index in indices))}"


def _by_variant(runs: Iterable[RunRecord]) -> list[str]:
    """Variants with the training seeds of their runs, each once."""
    seeds: dict[str, dict[int, None]] = defaultdict(dict)
    for run in runs:
        seeds[run.variant][run.seed] = None
    return [f"{variant}, {seeds_text(of)}" for variant, of in seeds.items()]


def left_out(results: Results) -> list[str]:
    """Which metrics do not apply to which variants, and why; nothing in older results."""
    found = [
        (metric, run.variant, reason)
        for run in results.runs
        for metric, reason in run.left_out.items()
    ]
    return notes_on(found, len(results.variants))


def unfinished_runs(results: Results) -> list[str]:
    """Variants with the training seeds of which stages are still missing."""
    return _by_variant(run for run in results.runs if run.unfinished and not run.failures)


def reused_runs(results: Results) -> dict[str, int]:
    """From which earlier results how many runs were taken."""
    return Counter(
        f"{run.reused.results} of {run.reused.created[:16].replace('T', ' ')} UTC"
        for run in results.runs
        if run.reused is not None
    )


@frozen
class UsedProtocol:
    """A protocol with the metrics that were measured by it."""

    hash: str
    protocol: ProtocolRecord
    metrics: dict[str, None] = field(factory=dict)


def protocols(results: Results) -> list[UsedProtocol]:
    """Each protocol once."""
    found: dict[str, UsedProtocol] = {}
    for run in results.runs:
        for each in run.measurements:
            key = protocol_hash(each.protocol)
            found.setdefault(key, UsedProtocol(key, each.protocol)).metrics[each.name] = None
    return list(found.values())


def stage_seconds(results: Results) -> dict[str, dict[str, float]]:
    """Mean wall time of each stage by variant, over seeds."""
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in results.runs:
        for stage in run.stages:
            if stage.seconds is not None:
                seconds[stage.stage][run.variant].append(stage.seconds)
    return {
        stage: {variant: sum(values) / len(values) for variant, values in by_variant.items()}
        for stage, by_variant in seconds.items()
    }


def setting_differences(results: Results) -> dict[str, list[str]]:
    """The settings in which variants differ, one value per variant."""
    flat = [
        {**_data_of(variant, results), **flat_settings(variant)} for variant in results.variants
    ]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    shown = {key: [plain(settings.get(key)) for settings in flat] for key in keys}
    return {key: values for key, values in shown.items() if len(set(values)) > 1}


def _data_of(variant: VariantRecord, results: Results) -> dict[str, str]:
    data = source_of(results, variant.name).data
    return {"data": f"{data.name}, fingerprint {data.fingerprint}"}


def commands(results: Results) -> list[str]:
    """What makes the results again, from the ablation's file: a line for each run of one."""
    found = []
    for source in results.origins:
        own = [source.name, source.profile, *map(str, source.seeds)]
        name, profile = map(shlex.quote, own[:2])
        sets = "".join(f" --set {shlex.quote(each)}" for each in source.overrides)
        seeds = ",".join(own[2:])
        found.append(f"prologue-bench run {name}.yaml --profile {profile} --seeds {seeds}{sets}")
    return found


CITATION = """\
@software{{prologue_bench,
  title = {{prologue-bench: {title}}},
  version = {{{version}}},
  year = {{{year}}}
}}
@article{{prologue,
  title = {{Autoregressive Visual Generation Needs a Prologue}},
  year = {{2026}},
  eprint = {{2605.06137}},
  archivePrefix = {{arXiv}}
}}"""


def citation(results: Results) -> str:
    """How to cite the results and the paper, in BibTeX."""
    software = results.origins[0].software
    return CITATION.format(
        title=_without_braces(results.title),
        version=_without_braces(str(software.get("prologue-bench", software.get("git", "")))),
        year=results.created[:4],
    )


def _without_braces(text: str) -> str:
    return one_line(text).translate({ord(each): None for each in "{}\\"})


def split_remarks(results: Results) -> list[tuple[str, str]]:
    """The first sentence of each remark, and the rest of it."""
    return [
        (f"{head}.", rest) if rest else (remark, "")
        for remark in results.remarks
        for head, _, rest in [remark.partition(". ")]
    ]


def published_notes(results: Results) -> dict[str, list[str]]:
    """In what numbers differ from published ones, once, with the metrics that do."""
    found: dict[str, dict[str, None]] = {}
    for each in measurements_of(results):
        if each.protocol.note:
            found.setdefault(each.protocol.note, {})[each.title] = None
    return {note: list(of) for note, of in found.items()}


@frozen
class SearchRow:
    """One point of the sampling grid."""

    point: str
    metric: str
    values: Mapping[str, float]
    """Of each variant, the mean over seeds."""
    chosen: Mapping[str, int]
    """By variant, in how many seeds the point was chosen."""


def searches(results: Results) -> list[SearchRow]:
    """Each point of the sampling grid; none where nothing was searched for."""
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    chosen: dict[tuple[str, str], Counter[str]] = {}
    # All sampling seeds of a training have one search.
    for run in {(run.variant, run.seed): run for run in results.runs if run.search}.values():
        assert run.search is not None
        for each in run.search.points:
            key = setting_text(each.point), each.metric
            values.setdefault(key, {}).setdefault(run.variant, []).append(each.value)
            is_chosen = each.point == run.search.chosen
            chosen.setdefault(key, Counter())[run.variant] += is_chosen
    return [
        SearchRow(*key, {name: sum(of) / len(of) for name, of in by_variant.items()}, chosen[key])
        for key, by_variant in values.items()
    ]
