"""What results come to on their primary metric, in plain words.

Better and worse are what an interval over training seeds shows, and nothing else: a variant with a
better mean alone is open, and is told with the seeds that would settle it. One that has collapsed
is told as such, and is better in nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import evolve, frozen

from prologue_bench.reporting.headline import leaderboard_metrics, primary_metric
from prologue_bench.reporting.names import listed_names
from prologue_bench.reporting.summary import Cells, MetricInfo, why_not_judged
from prologue_bench.results.collapse import Collapse, collapsed
from prologue_bench.results.schema import Results
from prologue_bench.stats.differences import Cell, Difference, Verdict
from prologue_bench.stats.looks import MOST_SEEDS
from prologue_bench.stats.settling import seeds_to_settle
from prologue_bench.stats.wording import difference_text, interval_text, share_text
from prologue_bench.texts.numbers import number, signed

WORDS: Mapping[Verdict, str] = {
    "better": "better",
    "worse": "worse",
    "equivalent": "equivalent",
    "same": "same",
    "noise": "open",
    "collapsed": "collapsed",
    "baseline collapsed": "baseline collapsed",
    "unknown": "no verdict",
}
"""What a reader is told of a cell's verdict, in every form of the report.

"Same" is said of equal values alone.
"""


def cell_word(cell: Cell, judged: bool) -> str:
    """What is said of a cell in a word; nothing where no variant has a verdict."""
    return WORDS.get(cell.verdict, "") if judged else ""


@frozen
class Headline:
    """The answer in one sentence, what else there is to say, and how many variants are what."""

    sentence: str
    more: tuple[str, ...] = ()
    counts: Mapping[str, int] = {}
    """By word, of the variants that are compared with the baseline; empty without a verdict."""
    tone: str = ""
    """The word that the sentence is about."""


def headline(cells: Cells, main: Sequence[MetricInfo], results: Results) -> Headline:
    """The answer of the results on their primary metric, and which variants have no part in it."""
    info = primary_metric(results, main)
    answer = _answer(cells, main, results, info)
    failed = _failed(cells, info, results)
    more = (*failed, *answer.more, *_of_two_seeds(cells, info), *_missing(cells, info, results))
    return evolve(answer, more=more)


def _failed(cells: Cells, info: MetricInfo | None, results: Results) -> list[str]:
    """A sentence for each variant that has a number on the primary metric although it failed.

    What a variant shares with others, such as a tokenizer, is measured where its own part failed,
    and looks as good there as theirs.
    """
    found = []
    for variant in results.variants:
        failed = any(run.failures for run in results.runs if run.variant == variant.name)
        if failed and info is not None and info.name in cells.get(variant.name, {}):
            found.append(f"Failed: {variant.name}{_reason(variant.name, results)}.")
    return found


def _missing(cells: Cells, info: MetricInfo | None, results: Results) -> Iterator[str]:
    """A sentence for each variant without a number that others have, and why it has none."""
    for variant in results.variants:
        row = cells.get(variant.name, {})
        if variant.name == results.baseline and info is not None:
            continue  # the answer itself says so
        if not row:
            yield f"Without any number: {variant.name}{_reason(variant.name, results)}."
        elif info is not None and info.name not in row:
            what = in_sentence(info)
            yield f"Without a number on {what}: {variant.name}{_reason(variant.name, results)}."


def _reason(variant: str, results: Results) -> str:
    """Why a variant lacks numbers, such as ", all its 3 runs failed (sample: out of memory)"."""
    runs = [run for run in results.runs if run.variant == variant]
    failed = [run for run in runs if run.failures]
    if failed:
        stage, reason = next(iter(failed[0].failures.items()))
        of = len(runs)
        all_of = "its run" if of == 1 else f"all its {of} runs"
        which = all_of if len(failed) == of else f"{len(failed)} of its {of} runs"
        return f", {which} failed ({stage}: {reason})"
    if any(run.unfinished for run in runs):
        return ", not finished yet"
    reasons = [
        *(reason for run in runs for reason in run.left_out.values()),
        *(each.reason for run in runs for each in run.measurements if each.value is None),
    ]
    if told := next(filter(None, reasons), ""):
        return f" ({told})"
    return "" if runs else ", it has no run"


def _answer(
    cells: Cells, main: Sequence[MetricInfo], results: Results, info: MetricInfo | None
) -> Headline:
    if info is None:
        return Headline("No verdict: no metric was measured of which lower or higher is better.")
    known = {name: row[info.name] for name, row in cells.items() if info.name in row}
    compared = {name: cell for name, cell in known.items() if cell.difference is not None}
    collapses = collapsed(results)
    broken = _broken(collapses)
    if results.baseline is not None and results.baseline not in known:
        sentence = _without_baseline(results.baseline, cells, info, results)
        return Headline(sentence, (*_of_one_seed(known, info), *broken))
    words = {name: WORDS.get(cell.verdict, "no verdict") for name, cell in compared.items()}
    if not set(words.values()) - {"no verdict"} or results.baseline is None:
        return Headline(_no_verdict(known, info, results), (*_of_one_seed(known, info), *broken))
    if results.baseline in collapses:
        sentence = f"No verdict: the baseline, {results.baseline}, has collapsed."
        return Headline(sentence, broken, tone="collapsed")
    counts = {word: list(words.values()).count(word) for word in dict.fromkeys(WORDS.values())}
    of = {
        word: _best_first({n: c for n, c in compared.items() if words[n] == word}, info)
        for word in counts
    }
    tell = _Teller(info, results.baseline)
    counts = {word: count for word, count in counts.items() if count}
    if of["better"]:
        (name, cell), *others = of["better"].items()
        sentence = f"{name} is better than {results.baseline} on {tell.what}: {tell.how(cell)}."
        more = [
            tell.named("Also better", dict(others)),
            *tell.decided(of),
            *broken,
            *tell.undecided(of),
        ]
        return Headline(sentence, tuple(filter(None, more)), counts, "better")
    beside = leaderboard_metrics(results, info, main, main)[1:]
    more = [
        *tell.decided(of),
        _decided(cells, beside, results.baseline),
        *broken,
        *tell.undecided(of),
    ]
    if counts.keys() <= {"equivalent", "same"}:
        sentence = f"On {tell.what}, every variant is {tell.no_difference(of)}."
        return Headline(sentence, tuple(filter(None, more)), counts, next(iter(counts)))
    shown = "shown to be " if of["open"] or of["no verdict"] else ""
    sentence = f"No variant is {shown}better than {results.baseline} on {tell.what}."
    tone = "open" if of["open"] else next(iter(counts))
    return Headline(sentence, tuple(filter(None, more)), counts, tone)


def _broken(collapses: Mapping[str, Collapse]) -> tuple[str, ...]:
    """A sentence for the variants that have collapsed."""
    found = [f"{name}, {where}" for name, where in collapses.items()]
    if not found:
        return ()
    return (f"Collapsed, so it counts as better on no metric: {'; '.join(found)}.",)


def _decided(cells: Cells, others: Sequence[MetricInfo], baseline: str) -> str:
    """Which variants are better or worse on other metrics, and by how much.

    Nothing where none is.
    """
    told = []
    for info in others:
        words = {
            name: WORDS.get(row[info.name].verdict, "")
            for name, row in cells.items()
            if info.name in row and row[info.name].difference is not None
        }
        found = []
        for word in ("better", "worse"):
            names = listed_names([name for name, each in words.items() if each == word])
            shares = [
                f"{shown} by {_by_how_much(cells[name][info.name], info)}"
                for name, shown in names.items()
            ]
            if shares:
                found.append(f"{word}: {', '.join(shares)}")
        if found:
            told.append(f"{in_sentence(info)} ({'; '.join(found)})")
    return f"Decided on other metrics: {'; '.join(told)}." if told else ""


def _by_how_much(cell: Cell, info: MetricInfo) -> str:
    """A variant's difference, as a share of the baseline where that says something.

    A share of a percentage would be taken for a difference in points.
    """
    difference = cell.difference
    assert difference is not None
    assert cell.shared is not None
    if info.unit == "%":
        return f"{signed(difference.mean)} points"
    return share_text(difference.mean, cell.shared[1]) or signed(difference.mean)


def in_sentence(info: MetricInfo) -> str:
    """A metric's title within a sentence: "the rate", but "PSNR".

    Without what a guess would reach, which its column says.
    """
    label = re.sub(r" \(chance [^()]*\)$", "", info.label)
    return label if label[1:2].isupper() else f"the {label[:1].lower()}{label[1:]}"


def _best_first(found: Mapping[str, Cell], info: MetricInfo) -> dict[str, Cell]:
    sign = -1 if info.direction == "higher" else 1
    return dict(sorted(found.items(), key=lambda each: sign * each[1].mean))


@frozen
class _Teller:
    """Tells of variants against the baseline, on one metric."""

    info: MetricInfo
    baseline: str

    @property
    def what(self) -> str:
        """The metric within a sentence."""
        return in_sentence(self.info)

    def how(self, cell: Cell) -> str:
        """Both means and the difference."""
        assert cell.difference is not None
        assert cell.shared is not None
        unit = f" {self.info.unit}" if self.info.unit else ""
        own, reference = cell.shared
        share = share_text(cell.difference.mean, reference)
        return (
            f"{number(own)}{unit} against {number(reference)}, "
            f"a difference of {difference_text(cell.difference)}{f' ({share})' if share else ''}"
        )

    def named(self, word: str, found: Mapping[str, Cell]) -> str:
        """Such as "Worse: a (+10 ± 0.33); b (+12 ± 1)."; nothing where there are none."""
        told = _listed(found, difference_text)
        return f"{word}: {told}." if told else ""

    def decided(self, of: Mapping[str, Mapping[str, Cell]]) -> list[str]:
        """What is worse, what is equivalent, and what is the same."""
        return [
            self.named("Worse", of["worse"]),
            self.named(f"Equivalent{_within(of['equivalent'])}", of["equivalent"]),
            self.named("Same", of["same"]),
        ]

    def no_difference(self, of: Mapping[str, Mapping[str, Cell]]) -> str:
        """Such as "equivalent to base within ±5%", of variants that are that or the same."""
        within = _within(of["equivalent"])
        if not of["same"]:
            return f"equivalent to {self.baseline}{within}"
        return f"the same as {self.baseline}{f' or equivalent{within}' if within else ''}"

    def undecided(self, of: Mapping[str, Mapping[str, Cell]]) -> list[str]:
        """What is open, with the seeds that would settle it, and what has no verdict."""
        return [self._open(of["open"]), self.named("No verdict", of["no verdict"])]

    def _open(self, found: Mapping[str, Cell]) -> str:
        if not found:
            return ""
        (name, cell), *others = found.items()
        difference = cell.difference
        assert difference is not None
        assert cell.shared is not None
        own, reference = cell.shared
        share = share_text(difference.mean, reference)
        text = (
            f"Open: {name}, {number(own)} against {number(reference)}"
            f"{f' ({share})' if share else ''}, could be noise: the interval of the difference is "
            f"{interval_text(difference)}; {_seeds(difference)} would settle it."
        )
        told = _listed(dict(others), lambda each: f"{signed(each.mean)}, {_seeds(each)}")
        return f"{text} Also open: {told}." if told else text


def _within(equivalent: Mapping[str, Cell]) -> str:
    """The margin by which variants are equivalent, such as " within ±5%"; empty without any."""
    margins = {
        cell.difference.margin.share
        for cell in equivalent.values()
        if cell.difference is not None and cell.difference.margin is not None
    }
    return f" within ±{100 * max(margins):g}%" if margins else ""


def _listed(found: Mapping[str, Cell], tell: Callable[[Difference], str]) -> str:
    """Such as "a (+10 ± 0.33); b (+12 ± 1)"."""
    shown = listed_names(list(found))
    return "; ".join(
        f"{shown[name]} ({tell(cell.difference)})"
        for name, cell in found.items()
        if cell.difference is not None
    )


def _seeds(difference: Difference) -> str:
    count = seeds_to_settle(difference)
    return f"about {count} seeds" if count else f"more than {MOST_SEEDS} seeds"


def _without_baseline(baseline: str, cells: Cells, info: MetricInfo, results: Results) -> str:
    """That the baseline has no number, and why."""
    what = f" on {in_sentence(info)}" if cells.get(baseline) else ""
    reason = _reason(baseline, results)
    why = f": {reason.removeprefix(', ')}" if reason.startswith(", ") else reason
    return f"No verdict: the baseline, {baseline}, has no number{what}{why}."


def _no_verdict(known: Mapping[str, Cell], info: MetricInfo, results: Results) -> str:
    """Why there is no verdict on a metric."""
    differences = [cell.difference for cell in known.values() if cell.difference is not None]
    if any(each.basis == "training seeds" for each in differences):
        return f"No verdict on {in_sentence(info)}: the noise of training is not known."
    return why_not_judged({name: {info.name: cell} for name, cell in known.items()}, results)


def _of_two_seeds(cells: Cells, info: MetricInfo | None) -> Iterator[str]:
    """What to think of verdicts on the primary metric that rest on two seeds."""
    decided = {"better", "worse", "equivalent"}
    found = [row[info.name] for row in cells.values() if info is not None and info.name in row]
    if any(
        cell.verdict in decided and cell.difference is not None and cell.difference.count == 2
        for cell in found
    ):
        yield (
            "Two training seeds can agree by chance; run three or more (--seeds 0-2) for a verdict "
            "that stands more firmly."
        )


def _of_one_seed(known: Mapping[str, Cell], info: MetricInfo) -> tuple[str, ...]:
    if max((cell.seeds for cell in known.values()), default=1) > 1:
        return ()
    return (
        f"With other training seeds, differences on {in_sentence(info)} could change sign; "
        "run three seeds or more (--seeds 0-2) to learn how much of them is noise.",
    )
