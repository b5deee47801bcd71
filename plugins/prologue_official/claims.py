"""The paper's claims, put to the test on the results of ablations.

A claim is tested on differences between two variants, paired by training seed. Where several variants speak of one
claim, their p-values are corrected by Holm's method (1979), so that one of many is not significant by chance. That two
variants are about equal is not shown by finding no difference: it holds where the whole 95% interval lies
within a tenth of the reference, and fails where all of it lies outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from attrs import evolve, frozen

from prologue_bench.reporting.formatting import short, signed
from prologue_bench.reporting.results import flat_settings, frame
from prologue_bench.reporting.statistics import LEVEL, Difference, holm, paired, points_of

MARGIN = 0.1
"""Relative difference within which two variants count as about equal."""
Expected = Literal["lower", "higher", "equal", "different"]
Verdict = Literal["holds", "fails", "cannot tell"]


@frozen
class Evidence:
    """One difference between two variants, and the reference's mean that it is relative to."""

    metric: str
    variant: str
    against: str
    difference: Difference
    reference: float
    expected: Expected

    @property
    def relative(self) -> float:
        """The difference as a share of the reference."""
        return self.difference.mean / abs(self.reference)

    def verdict(self) -> Verdict:
        """What this difference alone says; nothing where it is not taken over training seeds."""
        found = self.difference
        if found.basis != "training seeds" or found.p_value is None or found.half_width is None:
            return "cannot tell"
        if self.expected == "equal":
            margin = MARGIN * abs(self.reference)
            if abs(found.mean) + found.half_width <= margin:
                return "holds"
            return "fails" if abs(found.mean) - found.half_width > margin else "cannot tell"
        if found.p_value >= 1 - LEVEL:
            return "cannot tell"
        if self.expected == "different":
            return "holds"
        return "holds" if (found.mean < 0) == (self.expected == "lower") else "fails"

    def __str__(self) -> str:
        found = self.difference
        interval = f" ± {short(found.half_width)}" if found.half_width is not None else ""
        tested = found.basis == "training seeds"
        p = f"p = {found.p_value:.2g} over {found.count} {found.basis}" if tested else "one training seed"
        return (
            f"{self.metric}: {self.variant} less {self.against} = {signed(found.mean)}{interval} "
            f"({100 * self.relative:+.1f}%, {p})"
        )


@frozen
class Claim:
    """A claim with its evidence and what that comes to."""

    number: str
    text: str
    evidence: tuple[Evidence, ...]
    missing: str = ""

    @property
    def verdict(self) -> Verdict:
        """Holds where some evidence does and none fails; fails where some fails and none holds; else cannot tell.

        That variants are about equal must hold for each.
        """
        verdicts = {each.verdict() for each in self.evidence}
        if self.evidence and all(each.expected == "equal" for each in self.evidence):
            return "fails" if "fails" in verdicts else "cannot tell" if "cannot tell" in verdicts else "holds"
        if "holds" in verdicts and "fails" not in verdicts:
            return "holds"
        if "fails" in verdicts and "holds" not in verdicts:
            return "fails"
        return "cannot tell"


def examine(*results: Mapping[str, Any]) -> list[Claim]:
    """Every claim on these results; one that they say nothing of has no evidence, and says what is missing.

    Each difference is within one of the results; the evidence of all is put together and corrected together.
    """
    found: dict[str, list[Claim]] = {}
    for each in results:
        for claim in _claims(_Study(each)):
            found.setdefault(claim.number, []).append(claim)
    return [_together(parts) for parts in found.values()]


def markdown(claims: Sequence[Claim]) -> str:
    """The claims that were tested as a table; of several differences, the one that tells most is shown."""
    lines = ["| claim | evidence | verdict |", "| --- | --- | --- |"]
    for claim in claims:
        if not claim.evidence:
            continue
        shown = min(claim.evidence, key=lambda each: (each.verdict() != claim.verdict, each.difference.p_value or 1.0))
        evidence = f"{shown}{_others(claim, shown)}".replace("|", "\\|")
        lines.append(f"| {claim.number} {claim.text} | {evidence} | **{claim.verdict}** |")
    return "\n".join(lines) + "\n"


def _others(claim: Claim, shown: Evidence) -> str:
    """What the differences say that are not shown, such as "; of 3 more 1 holds and 2 cannot tell"."""
    verdicts = Counter(each.verdict() for each in claim.evidence if each is not shown)
    plural: dict[Verdict, str] = {"holds": "hold", "fails": "fail", "cannot tell": "cannot tell"}
    said = [
        f"{count} {verdict if count == 1 else plural[verdict]}" for verdict in plural if (count := verdicts[verdict])
    ]
    if len(said) < 2:
        return "".join(f"; {each.replace(' ', ' more ', 1)}" for each in said)
    return f"; of {verdicts.total()} more {', '.join(said[:-1])} and {said[-1]}"


def _together(parts: Sequence[Claim]) -> Claim:
    evidence = [each for part in parts for each in part.evidence]
    corrected = holm(each.difference.p_value for each in evidence)
    return evolve(
        parts[0],
        evidence=tuple(
            evolve(each, difference=evolve(each.difference, p_value=p))
            for each, p in zip(evidence, corrected, strict=True)
        ),
        missing="" if evidence else parts[0].missing,
    )


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
    prologues = study.prologues()
    yield study.claim("1a", "gFID falls with prologue tokens.", "gfid", "lower", study.baseline_pairs(prologues))
    yield study.claim("1b", "rFID stays about the same.", "rfid", "equal", study.baseline_pairs(prologues))
    yield study.claim(
        "2a", "CE on the visual tokens themselves hurts reconstruction.", "rfid", "higher",
        study.baseline_pairs(study.where(lambda settings: settings["tokenizer"].get("visual_ce_weight", 0) > 0)),
    )  # fmt: skip
    joint = study.where(lambda settings: settings["generator_training"].get("joint", False))
    yield study.claim("2b", "OneStage gains little over the baseline.", "gfid", "equal", study.baseline_pairs(joint))
    post = study.where(lambda settings: settings["tokenizer"]["use"] == "prologue-post")
    yield study.claim(
        "2c", "Post gains about as much as joint training.", "gfid", "equal",
        [(one, other) for one in post for other in prologues],
    )  # fmt: skip
    yield study.by_length("3", "The probe on prologue tokens beats that on equally many visual tokens.", "probe_{n}")
    yield study.by_length("4a", "A fixed prologue fixes the layout (pixels).", "layout_pixels_{n}")
    yield study.by_length("4b", "A fixed prologue fixes the layout (features).", "layout_features_{n}")
    yield study.claim("5", "The rate falls.", "rate", "lower", study.baseline_pairs(prologues))
    for index, (key, title) in enumerate(DIALS.items()):
        pairs = study.differing_in(key)
        yield study.claim(f"6{LETTERS[2 * index]}", f"gFID depends on {title}.", "gfid", "different", pairs)
        yield study.claim(f"6{LETTERS[2 * index + 1]}", f"The rate depends on {title}.", "rate", "different", pairs)


class _Study:
    """Results with the questions that claims ask of them."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.results = results
        self.points = points_of(frame(results))
        self.variants: Sequence[Mapping[str, Any]] = results["variants"]
        self.names = [variant["name"] for variant in self.variants]

    def where(self, holds: Callable[[Mapping[str, Any]], bool]) -> list[str]:
        """The variants whose settings are such."""
        return [variant["name"] for variant in self.variants if holds(variant["settings"])]

    def prologues(self) -> list[str]:
        """Variants with a prologue, jointly trained, and with a generator of their own."""
        special = self.where(
            lambda settings: (
                settings["tokenizer"]["use"] == "prologue-post"
                or settings["tokenizer"].get("visual_ce_weight", 0) > 0
                or settings["generator_training"].get("joint", False)
            )
        )
        return [name for name in self._leading() if name not in special]

    def baseline_pairs(self, variants: Sequence[str]) -> list[tuple[str, str]]:
        """Each variant with the baseline."""
        baseline = self.results["baseline"]
        return [(name, baseline) for name in variants if baseline is not None and name != baseline]

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
                pairs.append((variant["name"], first[rest]))
            first.setdefault(rest, variant["name"])
        return pairs

    def claim(self, number: str, text: str, metric: str, expected: Expected, pairs: Sequence[tuple[str, str]]) -> Claim:
        """A claim about one metric of pairs of variants."""
        if not pairs:
            return Claim(number, text, (), "these results have no such variant beside a baseline")
        evidence = [self._evidence(metric, one, other, expected) for one, other in pairs]
        found = tuple(each for each in evidence if each is not None)
        return Claim(number, text, found, "" if found else f"these results have no {metric}")

    def by_length(self, number: str, text: str, metric: str) -> Claim:
        """A claim about a metric of the first n tokens, n the length of each variant's own prologue."""
        lengths = self._leading()
        baseline = self.results["baseline"]
        evidence = [
            self._evidence(metric.format(n=lengths[name]), name, baseline, "higher")
            for name in self.prologues()
            if baseline is not None
        ]
        found = tuple(each for each in evidence if each is not None)
        missing = "" if found else f"these results have no {metric.format(n='N')} of a prologue and a baseline"
        return Claim(number, text, found, missing)

    def _leading(self) -> dict[str, int]:
        """Length of the first segment of the variants that have several."""
        return {
            variant["name"]: variant["layout"][0]["length"] for variant in self.variants if len(variant["layout"]) > 1
        }

    def _evidence(self, metric: str, variant: str, against: str, expected: Expected) -> Evidence | None:
        one, other = (self.points.get(metric, {}).get(name, {}) for name in (variant, against))
        shared = [key for key in one if key in other]
        if not shared or any(one[key].protocol != other[key].protocol for key in shared):
            return None
        reference = sum(other[key].value for key in shared) / len(shared)
        return Evidence(metric, variant, against, paired(one, other), reference, expected)
