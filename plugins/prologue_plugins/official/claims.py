"""The paper's claims, put to the test on the results of ablations.

A claim is tested on differences between two variants, paired by training seed. A difference from
the baseline has the interval that the report shows for it: simultaneous over all variants that are
compared with the baseline in this metric. Other differences, such as that of two variants of a
prologue, are a family of their own for each claim and report. What the claim comes to says how many
of its differences do so.

That there is no effect is not shown by finding none. Results state beforehand how small a
difference counts as none, as a share of the reference (`equivalence_margin`; a tenth in results
that state none). Two variants are about equal where the whole 95% interval lies within that margin,
and are not where all of it lies outside. An effect that a claim asserts is "equivalent" to none
where the interval includes zero and lies within the margin. What is neither is open, and the number
of seeds that would settle it is estimated. A model that has collapsed is near to its own
reconstructions and cheap to code: of its differences those alone count that show harm, and none
counts from a reference that has collapsed. What a recipe gains is no merit of a prologue: a variant
is held only to one that was trained and sampled alike (`official.recipes`). Where seeds were added
until a metric was decided, its intervals are corrected for that, here too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from attrs import evolve, frozen

from prologue_bench.results.collapse import collapsed, collapsed_segments, in_seeds
from prologue_bench.results.frame import flat_settings, looks_of, measured, summary
from prologue_bench.results.plain import Document, plain
from prologue_bench.results.schema import MEASURE, Results, VariantSettings
from prologue_bench.results.sources import source_of
from prologue_bench.stats.differences import (
    Difference,
    Margin,
    conflict,
    looks_between,
    mean_of,
    paired,
    points_of,
)
from prologue_bench.stats.settling import seeds_to_settle, seeds_until
from prologue_bench.stats.wording import difference_text, share_text
from prologue_plugins.official.recipes import differ_in_prologue_alone

MARGIN = 0.1
"""Relative difference within which two variants count as about equal in results that state none."""
Expected = Literal["lower", "higher", "equal", "different"]
Verdict = Literal["holds", "contradicted", "equivalent", "cannot tell"]
"""What one difference says."""
ClaimVerdict = Literal["holds", "contradicted", "mixed", "equivalent", "cannot tell"]
Seeds = tuple[int, int]
"""Of training and of sampling."""


@frozen
class Evidence:
    """One difference between two variants, and the reference's mean that it is relative to."""

    metric: str
    variant: str
    against: str
    difference: Difference
    reference: float
    expected: Expected
    values: tuple[tuple[Seeds, float, float], ...]
    """Both numbers of each seed."""
    artifacts: frozenset[tuple[str, str]] = frozenset()
    """The keys of what both were measured on, for each seed, where results hold them."""
    collapsed: str = ""
    """Which of the two models has collapsed; empty where neither has."""
    dead: tuple[str, ...] = ()
    """Segments that have collapsed in some of the seeds, such as "softmax 0.03: prologue collapsed
    in seed 1"."""
    direction: str = "neutral"
    """Which way the metric is better."""

    @property
    def relative(self) -> float | None:
        """The difference as a share of the reference; None where that is 0."""
        share = self.difference.mean / abs(self.reference) if self.reference else math.nan
        return share if math.isfinite(share) else None

    def verdict(self) -> Verdict:
        """What this difference alone says.

        Nothing where it is not taken over training seeds, or where a collapse could be why.
        """
        return "cannot tell" if self._is_of_collapse() else self._verdict()

    def _is_of_collapse(self) -> bool:
        """Whether a model has collapsed, and the difference shows no harm of that."""
        harm = {"lower": 1, "higher": -1}.get(self.direction, 0) * self.difference.mean
        is_harm = bool(self.difference.leaves_zero_out) and harm > 0
        if self.expected == "different":
            return False
        return bool(self.collapsed) and (self.collapsed != self.variant or not is_harm)

    def _verdict(self) -> Verdict:
        found = self.difference
        if found.identical and found.basis == "training seeds":
            return "holds" if self.expected == "equal" else "equivalent"
        if found.leaves_zero_out is None or found.half_width is None:
            return "cannot tell"
        if self.expected == "equal":
            margin = self._margin()
            if abs(found.mean) + found.half_width <= margin.limit(found.half_width):
                return "holds"
            is_beyond = abs(found.mean) - found.half_width > margin.end(found.half_width)
            return "contradicted" if is_beyond else "cannot tell"
        if not found.leaves_zero_out:
            return "equivalent" if found.is_equivalent else "cannot tell"
        if self.expected == "different":
            return "holds"
        return "holds" if (found.mean < 0) == (self.expected == "lower") else "contradicted"

    def _margin(self) -> Margin:
        """Within what it is about equal: as stated, else a share of what was found."""
        return self.difference.margin or Margin(MARGIN, MARGIN * abs(self.reference))

    def seeds_to_settle(self) -> int | None:
        """About how many seeds would settle an open difference, if what was found stays as it is.

        None where it is not open, or no number that can be asked for would.
        """
        found = self.difference
        if self.verdict() != "cannot tell" or self._is_of_collapse():
            return None
        if self.expected != "equal":
            return seeds_to_settle(found)
        size, margin = abs(found.mean), self._margin()

        def settles(width: float) -> bool:
            return size + width <= margin.limit(width) or size - width > margin.end(width)

        return seeds_until(found, settles)

    def __str__(self) -> str:
        found = self.difference
        told = []
        if share := share_text(found.mean, self.reference):
            told.append(share)
        if found.basis != "training seeds":
            told.append("one training seed")
        elif found.p_value is not None:
            family = f", simultaneous over {found.family}" if found.family > 1 else ""
            family += ", at all looks" if found.looks else ""
            told.append(f"p = {found.p_value:.2g} over {found.count} {found.basis}{family}")
        else:
            told.append(f"over {found.count} {found.basis}")
        if self.collapsed:
            told.append(f"{self.collapsed} has collapsed")
        told += self.dead
        return (
            f"{self.metric}: {self.variant} minus {self.against} {_equals(found)} "
            f"({', '.join(told)})"
        )


def _equals(found: Difference) -> str:
    text = difference_text(found)
    return text if found.identical else f"= {text}"


@frozen
class Claim:
    """A claim with its evidence and what that comes to."""

    number: str
    text: str
    evidence: tuple[Evidence, ...]
    missing: str = ""
    """Why it has no evidence, or what is no part of it."""

    @property
    def verdict(self) -> ClaimVerdict:
        """Holds where some evidence does and none contradicts it, and the other way round.

        Mixed where some holds and some contradicts it: no more seeds would settle that. Equivalent
        where all evidence is; else cannot tell. That variants are about equal must hold for each.
        """
        verdicts = {each.verdict() for each in self.evidence}
        if self.evidence and all(each.expected == "equal" for each in self.evidence):
            return next(
                each for each in ("contradicted", "cannot tell", "holds") if each in verdicts
            )
        if verdicts >= {"holds", "contradicted"}:
            return "mixed"
        if {"holds", "contradicted"} & verdicts:
            return "holds" if "holds" in verdicts else "contradicted"
        return "equivalent" if verdicts == {"equivalent"} else "cannot tell"

    @property
    def seeds_to_settle(self) -> int | None:
        """About how many seeds would settle an open claim; None where it is not open, or unknown.

        About equal must hold for each difference, so the slowest counts; an effect needs one.
        """
        if self.verdict != "cannot tell":
            return None
        needed = [
            each.seeds_to_settle() for each in self.evidence if each.verdict() == "cannot tell"
        ]
        known = [each for each in needed if each is not None]
        if all(each.expected == "equal" for each in self.evidence):
            return max(known) if known and len(known) == len(needed) else None
        return min(known, default=None)

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many of the differences say what."""
        said = Counter(each.verdict() for each in self.evidence)
        return {verdict: said[verdict] for verdict in PLURAL}

    @property
    def verdict_text(self) -> str:
        """The verdict with how many of the differences say so, such as "holds (1 of 4)"."""
        counts, total = self.counts, len(self.evidence)
        if self.verdict == "cannot tell":
            told = (
                f"of {total}, {_listed(counts)}"
                if counts["cannot tell"] < total
                else (f"{total} of {total}")
            )
            seeds = self.seeds_to_settle
            settled = f"; about {seeds} seeds would" if seeds else ""
            return f"cannot tell ({told}{settled})"
        if self.verdict == "mixed":
            return f"mixed (of {total}, {_listed(counts)})"
        return f"{self.verdict} ({counts[self.verdict]} of {total})"


PLURAL: dict[Verdict, str] = {
    "holds": "hold",
    "contradicted": "contradict it",
    "equivalent": "are equivalent",
    "cannot tell": "cannot tell",
}
SINGULAR: dict[Verdict, str] = {
    "holds": "holds",
    "contradicted": "contradicts it",
    "equivalent": "is equivalent",
    "cannot tell": "cannot tell",
}


def _listed(counts: Mapping[Verdict, int]) -> str:
    """Such as "1 holds and 2 cannot tell"."""
    said = [
        f"{count} {(SINGULAR if count == 1 else PLURAL)[verdict]}"
        for verdict, count in counts.items()
        if count
    ]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def examine(*results: Results) -> list[Claim]:
    """Every claim on these results; without evidence it says what is missing.

    Each difference is within one of the results, with its interval there; the evidence of all is
    put together. What was measured on the same artifacts counts once.
    """
    found: dict[str, list[Claim]] = {}
    for each in results:
        for claim in _claims(_Study(each)):
            found.setdefault(claim.number, []).append(claim)
    return [_together(found[number]) for number in sorted(found)]


def as_json(claims: Sequence[Claim]) -> list[Document]:
    """The claims as plain values."""
    return [
        {
            "number": claim.number,
            "text": claim.text,
            "missing": claim.missing,
            "evidence": [
                {
                    "metric": each.metric,
                    "variant": each.variant,
                    "against": each.against,
                    "difference": plain(each.difference),
                    "reference": each.reference,
                    "expected": each.expected,
                    "collapsed": [*([each.collapsed] if each.collapsed else []), *each.dead],
                    "verdict": each.verdict(),
                }
                for each in claim.evidence
            ],
            "verdict": claim.verdict,
            "counts": claim.counts,
            "seeds_to_settle": claim.seeds_to_settle,
        }
        for claim in claims
    ]


def markdown(claims: Sequence[Claim]) -> str:
    """The claims that were tested as a table.

    Of several differences, the one that tells most is shown.
    """
    lines = ["| claim | evidence | verdict |", "| --- | --- | --- |"]
    for claim in claims:
        if not claim.evidence:
            continue
        evidence = _told(claim).replace("|", "\\|")
        lines.append(f"| {claim.number} {claim.text} | {evidence} | **{claim.verdict_text}** |")
    return "\n".join(lines) + "\n"


def _told(claim: Claim) -> str:
    """The difference that tells most, and what the others say.

    Of a mixed claim, one that holds and one that contradicts it.
    """
    kinds = ("holds", "contradicted") if claim.verdict == "mixed" else (claim.verdict,)
    shown = [
        min(claim.evidence, key=lambda each: (each.verdict() != kind, _p_value(each)))
        for kind in kinds
    ]
    return "; ".join(map(str, shown)) + _others(claim, shown)


def _p_value(evidence: Evidence) -> float:
    return 1.0 if evidence.difference.p_value is None else evidence.difference.p_value


def _others(claim: Claim, shown: Sequence[Evidence]) -> str:
    """What the other differences say, such as "; of 3 others, 1 holds and 2 cannot tell"."""
    counts = Counter(claim.counts)
    counts.subtract(each.verdict() for each in shown)
    said = sum(count > 0 for count in counts.values())
    if said < 2:
        return f"; {_listed(counts).replace(' ', ' more ', 1)}" if said else ""
    return f"; of {sum(counts.values())} others, {_listed(counts)}"


def _together(parts: Sequence[Claim]) -> Claim:
    """All evidence of one claim; of the same artifacts, that of the most seeds.

    Numbers of two results that are equal in all seeds are the same ones, whatever their keys.
    """
    evidence = [(index, each) for index, part in enumerate(parts) for each in part.evidence]
    kept: list[tuple[int, Evidence]] = []
    for index, each in sorted(evidence, key=lambda pair: -len(pair[1].values)):
        if not any(
            each.metric == other.metric
            and (
                each.artifacts & other.artifacts or (index != part and each.values == other.values)
            )
            for part, other in kept
        ):
            kept.append((index, each))
    counted = tuple(each for _, each in evidence if any(each is other for _, other in kept))
    told = [part for part in parts if part.evidence] or list(parts[:1])
    text, missing = (
        " ".join(dict.fromkeys(filter(None, texts)))
        for texts in ((part.text for part in told), (part.missing for part in told))
    )
    return evolve(told[0], text=text, evidence=counted, missing=missing)


DIALS = {
    "tokenizer.prologue_tokens": "the number of prologue tokens",
    "tokenizer.prologue_codebook": "the prologue's codebook size",
    "tokenizer.ce_weight": "the weight of the cross-entropy",
    "tokenizer.visual_dropout": "the dropout of visual tokens",
    "tokenizer.straight_through": "the straight-through estimator",
    "tokenizer.straight_through_temperature": "the straight-through temperature",
    "generator.transformer.layers": "the generator's depth",
}
"""What claim 6 is about, by setting."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _claims(study: _Study) -> Iterator[Claim]:
    prologues, post = study.prologues(), study.where(_is_post)
    gfid, rfid = study.title("gfid", "gFID"), study.title("rfid", "rFID")

    def to_baseline(
        number: str, text: str, metric: str, expected: Expected, variants: Sequence[str]
    ) -> Claim:
        pairs = study.baseline_pairs(variants)
        left_out = study.without_twin(variants, pairs)
        return study.claim(number, text, metric, expected, pairs, left_out)

    # A prologue that is added afterwards leaves the baseline's visual tokens and decoder as they
    # are, so that its differences have less noise; whether it does what a jointly trained one does
    # is a question of its own.
    for mark, who, variants in (("", "", prologues), ("-post", "Prologue-Post: ", post)):
        yield to_baseline(
            f"1a{mark}", f"{who}{gfid} falls with prologue tokens.", "gfid", "lower", variants
        )
        if not mark:
            yield to_baseline("1b", f"{rfid} stays about the same.", "rfid", "equal", variants)
        yield to_baseline(
            f"1c{mark}",
            f"{who}Samples come closer to reconstructions (the generation gap falls).",
            "generation_gap",
            "lower",
            variants,
        )
        yield study.by_length(
            f"3{mark}",
            f"{who}The probe on prologue tokens beats that on equally many visual tokens.",
            "probe_{n}",
            variants,
        )
        for letter, features in (("a", "pixels"), ("b", "features")):
            yield study.by_length(
                f"4{letter}{mark}",
                f"{who}A fixed prologue fixes the layout ({features}).",
                f"layout_{features}_{{n}}",
                variants,
            )
        yield to_baseline(f"5{mark}", f"{who}The rate falls.", "rate", "lower", variants)
    yield to_baseline(
        "2a",
        "CE on the visual tokens themselves hurts reconstruction.",
        "rfid",
        "higher",
        study.where(_trains_visual_tokens),
    )
    yield to_baseline(
        "2b", "OneStage gains little over the baseline.", "gfid", "equal", study.where(_is_joint)
    )
    yield study.claim(
        "2c",
        "Post gains about as much as joint training.",
        "gfid",
        "equal",
        study.alike(post, prologues),
    )
    for index, (key, title) in enumerate(DIALS.items()):
        pairs = study.differing_in(key)
        yield study.claim(
            f"6{LETTERS[2 * index]}", f"{gfid} depends on {title}.", "gfid", "different", pairs
        )
        yield study.claim(
            f"6{LETTERS[2 * index + 1]}",
            f"The rate depends on {title}.",
            "rate",
            "different",
            pairs,
        )


def _is_joint(settings: VariantSettings) -> bool:
    return bool(settings.generator_training.get("joint", False))


def _is_post(settings: VariantSettings) -> bool:
    return settings.tokenizer.use == "prologue-post"


def _trains_visual_tokens(settings: VariantSettings) -> bool:
    """Whether the cross-entropy reaches the visual tokens.

    Another tokenizer's setting of that name may be anything.
    """
    weight = settings.tokenizer.settings.get("visual_ce_weight", 0)
    return isinstance(weight, int | float) and weight > 0


class _Study:
    """Results with the questions that claims ask of them."""

    def __init__(self, results: Results) -> None:
        rows = measured(results)
        self.baseline = results.baseline
        self.points = points_of(rows)
        self.measured = {(each.variant, each.metric) for each in rows}
        self.titles = {each.metric: each.title for each in rows}
        self.directions = {each.metric: each.direction for each in rows}
        self.collapsed = collapsed(results)
        self.segments = collapsed_segments(results)
        self.cells = summary(results)
        self.looks = looks_of(results)
        self.margin = results.equivalence_margin
        self.keys = _keys(results)
        self.variants = results.variants
        self.settings = {variant.name: variant.settings for variant in results.variants}
        self.data = {
            variant.name: source_of(results, variant.name).data.fingerprint
            for variant in results.variants
        }

    def title(self, metric: str, unmeasured: str) -> str:
        """What a metric is called in these results, for a distance with its features."""
        found = self.titles.get(metric, metric)
        return unmeasured if found == metric else found

    def where(self, holds: Callable[[VariantSettings], bool]) -> list[str]:
        """The variants whose settings are such."""
        return [variant.name for variant in self.variants if holds(variant.settings)]

    def prologues(self) -> list[str]:
        """Variants with a prologue, jointly trained, and with a generator of their own."""
        special = self.where(
            lambda settings: (
                _is_post(settings) or _trains_visual_tokens(settings) or _is_joint(settings)
            )
        )
        return [name for name in self._leading() if name not in special]

    def baseline_pairs(self, variants: Sequence[str]) -> list[tuple[str, str]]:
        """Each variant with one of the baseline's kind that differs from it in the prologue alone.

        That is the baseline itself, if it does. Of a variant without such a twin there is no pair.
        """
        twins = self._twins()
        pairs = ((name, self.alike([name], twins)) for name in variants)
        return [found[0] for name, found in pairs if found]

    def without_twin(self, variants: Sequence[str], pairs: Sequence[tuple[str, str]]) -> str:
        """A sentence on the variants that `baseline_pairs` leaves out; empty where it has all."""
        paired_ones = {name for name, _ in pairs}
        left = [name for name in variants if name not in paired_ones]
        if not left or not self._twins():
            return ""
        return f"no baseline is trained and sampled as {', '.join(left)}"

    def _twins(self) -> list[str]:
        """What a prologue may be held to: variants of the baseline's kind, that first."""
        if self.baseline is None:
            return []
        kind = self.settings[self.baseline].tokenizer.use
        special = self.where(lambda found: _trains_visual_tokens(found) or _is_joint(found))
        plain_ones = [
            name
            for name in self.where(lambda found: found.tokenizer.use == kind)
            if name not in special and name not in self._leading()
        ]
        return sorted(plain_ones, key=lambda name: name != self.baseline)

    def alike(self, ones: Sequence[str], others: Sequence[str]) -> list[tuple[str, str]]:
        """The pairs of two variants that differ in the prologue alone, on the same images."""
        return [
            (one, other)
            for one in ones
            for other in others
            if one != other
            and self.data[one] == self.data[other]
            and differ_in_prologue_alone(self.settings[one], self.settings[other])
        ]

    def differing_in(self, key: str) -> list[tuple[str, str]]:
        """Pairs of variants that differ in this setting alone, each with the first of its kind."""
        first: dict[tuple[tuple[str, str], ...], str] = {}
        pairs = []
        for variant in self.variants:
            flat = flat_settings(variant)
            if key not in flat:
                continue
            rest = tuple(sorted((name, str(value)) for name, value in flat.items() if name != key))
            if rest in first:
                pairs.append((variant.name, first[rest]))
            first.setdefault(rest, variant.name)
        return pairs

    def claim(
        self,
        number: str,
        text: str,
        metric: str,
        expected: Expected,
        pairs: Sequence[tuple[str, str]],
        left_out: str = "",
    ) -> Claim:
        """A claim about one metric of pairs of variants, and which others are `left_out`."""
        if not pairs:
            missing = left_out or "these results have no such variant beside a baseline"
            return Claim(number, text, (), missing)
        found = self._evidence([(metric, one, other) for one, other in pairs], expected)
        if found:
            return Claim(number, text, found, left_out)
        references = dict.fromkeys(other for _, other in pairs)
        lacking = [name for name in references if (name, metric) not in self.measured]
        if metric in self.titles and lacking:
            return Claim(number, text, (), f"{', '.join(lacking)}: has no {metric}")
        return Claim(number, text, (), f"these results have no {metric}")

    def by_length(self, number: str, text: str, metric: str, variants: Sequence[str]) -> Claim:
        """A claim about a metric of the first n tokens, n the length of a variant's prologue."""
        lengths = self._leading()
        pairs = self.baseline_pairs(variants)
        found = self._evidence(
            [(metric.format(n=lengths[one]), one, other) for one, other in pairs if one in lengths],
            "higher",
        )
        missing = self.without_twin(variants, pairs)
        if not found and not missing:
            missing = f"these results have no {metric.format(n='N')} of a prologue and a baseline"
        return Claim(number, text, found, missing)

    def _leading(self) -> dict[str, int]:
        """Length of the first segment of the variants that have several."""
        return {
            variant.name: variant.layout[0].length
            for variant in self.variants
            if len(variant.layout) > 1
        }

    def _evidence(
        self, pairs: Sequence[tuple[str, str, str]], expected: Expected
    ) -> tuple[Evidence, ...]:
        """What metrics of pairs of variants differ by, where protocols allow it."""
        comparable = [pair for pair in pairs if self._shared(*pair)]
        family = sum(self.baseline not in pair[1:] for pair in comparable)
        return tuple(self._one(*pair, expected, family) for pair in comparable)

    def _one(
        self, metric: str, variant: str, against: str, expected: Expected, family: int
    ) -> Evidence:
        one, other = self.points[metric][variant], self.points[metric][against]
        shared = self._shared(metric, variant, against)
        keys = [
            (self.keys.get((metric, variant, seeds)), self.keys.get((metric, against, seeds)))
            for seeds in shared
        ]
        return Evidence(
            metric=metric,
            variant=variant,
            against=against,
            difference=self._difference(metric, variant, against, family),
            reference=mean_of(other, shared),
            expected=expected,
            values=tuple((seeds, one[seeds].value, other[seeds].value) for seeds in shared),
            artifacts=frozenset((mine, theirs) for mine, theirs in keys if mine and theirs),
            collapsed=next((name for name in (against, variant) if name in self.collapsed), ""),
            dead=tuple(self._dead([variant, against], {seed for seed, _ in shared})),
            direction=self.directions[metric],
        )

    def _dead(self, variants: Sequence[str], seeds: set[int]) -> Iterator[str]:
        """Which segments of the variants have collapsed in some of the seeds."""
        for name in variants:
            for segment, of in self.segments.get(name, {}).items():
                if of & seeds:
                    yield f"{name}: {in_seeds(segment, of & seeds)}"

    def _shared(self, metric: str, variant: str, against: str) -> list[Seeds]:
        """The seeds in which both were measured; none where these may not be compared."""
        one, other = (self.points.get(metric, {}).get(name, {}) for name in (variant, against))
        shared = [key for key in one if key in other]
        return [] if conflict(one, other) else shared

    def _difference(self, metric: str, variant: str, against: str, family: int) -> Difference:
        """As the report has it, if one of the two is the baseline; else of a family of so many."""
        if self.baseline in (variant, against):
            is_baseline = variant == self.baseline
            shown = self.cells[against if is_baseline else variant][metric].difference
            assert shown is not None, "seeds are shared, and protocols are equal"
            return -shown if is_baseline else shown
        one, other = self.points[metric][variant], self.points[metric][against]
        looked = looks_between(self.looks.get(metric, {}), self.points[metric], variant, against)
        return paired(one, other, family, looked, self.margin)


def _keys(results: Results) -> dict[tuple[str, str, Seeds], str]:
    """The artifact that each number is from, by metric, variant and seeds.

    That is the stage that measured it, whose key holds all that the number comes from. Where its
    name does not tell which stage that was, all models and samples of the run stand for it.
    """
    found: dict[tuple[str, str, Seeds], str] = {}
    for run in results.runs:
        keys = {stage.stage: stage.key for stage in run.stages}
        made = " ".join(key for stage, key in keys.items() if not stage.startswith(MEASURE))
        for each in run.measurements:
            stages = [stage for stage in keys if _is_of(each.name, stage)]
            place = each.name, run.variant, (run.seed, run.sampling_seed)
            found[place] = keys[max(stages, key=len)] if stages else made
    return found


def _is_of(metric: str, stage: str) -> bool:
    """Whether a metric is named after a stage's component, as `probe_4` after `measure probe`."""
    component = stage.removeprefix(MEASURE).replace("-", "_")
    return stage.startswith(MEASURE) and f"{metric}_".startswith(f"{component}_")
