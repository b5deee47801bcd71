"""The paper's claims, put to the test on the results of an ablation.

A claim is tested on differences between two variants, paired by training seed. Where several variants speak of one
claim, their p-values are corrected by Holm's method (1979), so that one of many is not significant by chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from attrs import evolve, frozen
from scipy.special import stdtr, stdtrit

from prologue_bench.reporting.results import frame

LEVEL = 0.95
Expected = Literal["lower", "higher", "equal"]
Verdict = Literal["holds", "fails", "cannot tell"]


@frozen
class Evidence:
    """One difference between two variants, with its 95% interval (None with one seed) and two-sided p-value."""

    metric: str
    variant: str
    against: str
    difference: float
    relative: float
    half_width: float | None
    p_value: float | None
    seeds: int
    expected: Expected

    def verdict(self) -> Verdict:
        """What this difference alone says."""
        if self.p_value is None:
            return "cannot tell"
        significant = self.p_value < 1 - LEVEL
        if self.expected == "equal":
            return "fails" if significant else "holds"
        if not significant:
            return "cannot tell"
        return "holds" if (self.difference < 0) == (self.expected == "lower") else "fails"

    def __str__(self) -> str:
        interval = f" ± {self.half_width:.3g}" if self.half_width is not None else ""
        p = f", p = {self.p_value:.2g}" if self.p_value is not None else ", one seed"
        return (
            f"{self.metric}: {self.variant} less {self.against} = {self.difference:+.3g}{interval} "
            f"({100 * self.relative:+.1f}%{p})"
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
        """Holds where some evidence does and none fails; fails where some fails and none holds; else cannot tell."""
        verdicts = {each.verdict() for each in self.evidence}
        if self.evidence and all(each.expected == "equal" for each in self.evidence):
            return "fails" if "fails" in verdicts else "cannot tell" if "cannot tell" in verdicts else "holds"
        if "holds" in verdicts and "fails" not in verdicts:
            return "holds"
        if "fails" in verdicts and "holds" not in verdicts:
            return "fails"
        return "cannot tell"


def examine(results: Mapping[str, Any]) -> list[Claim]:
    """Every claim on these results; one that they say nothing of has no evidence, and says what is missing."""
    study = _Study(results)
    return list(_claims(study))


def _claims(study: _Study) -> Iterator[Claim]:
    prologues = study.prologues()
    yield study.claim("1a", "gFID falls with prologue tokens.", "gfid", "lower", study.baseline_pairs(prologues))
    yield study.claim("1b", "rFID stays within noise.", "rfid", "equal", study.baseline_pairs(prologues))
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


class _Study:
    """Results with the questions that claims ask of them."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.results = results
        self.frame = frame(results)
        self.variants: Sequence[Mapping[str, Any]] = results["variants"]

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

    def claim(self, number: str, text: str, metric: str, expected: Expected, pairs: Sequence[tuple[str, str]]) -> Claim:
        """A claim about one metric of pairs of variants."""
        if not pairs:
            return Claim(number, text, (), "these results have no such variant beside a baseline")
        evidence = [self._evidence(metric, one, other, expected) for one, other in pairs]
        found = [each for each in evidence if each is not None]
        return Claim(number, text, tuple(holm(found)), "" if found else f"these results have no {metric}")

    def by_length(self, number: str, text: str, metric: str) -> Claim:
        """A claim about a metric of the first n tokens, n the length of each variant's own prologue."""
        lengths = self._leading()
        baseline = self.results["baseline"]
        evidence = [
            self._evidence(metric.format(n=lengths[name]), name, baseline, "higher")
            for name in self.prologues()
            if baseline is not None
        ]
        found = [each for each in evidence if each is not None]
        missing = "" if found else f"these results have no {metric.format(n='N')} of a prologue and a baseline"
        return Claim(number, text, tuple(holm(found)), missing)

    def _leading(self) -> dict[str, int]:
        """Length of the first segment of the variants that have several."""
        return {
            variant["name"]: variant["layout"][0]["length"] for variant in self.variants if len(variant["layout"]) > 1
        }

    def _evidence(self, metric: str, variant: str, against: str, expected: Expected) -> Evidence | None:
        rows = self.frame[self.frame.metric == metric]
        one, other = (rows[rows.variant == name].set_index("seed") for name in (variant, against))
        shared = one.index.intersection(other.index)
        if not len(shared) or not (one.protocol[shared] == other.protocol[shared]).all():
            return None
        return paired(metric, variant, against, one.value[shared], other.value[shared], expected)


def paired(
    metric: str, variant: str, against: str, values: pd.Series, reference: pd.Series, expected: Expected
) -> Evidence:
    """The mean difference of two series over the same seeds, with Student's t interval and p-value."""
    differences = values - reference
    difference, seeds = float(differences.mean()), len(differences)
    half_width = p_value = None
    if seeds > 1:
        error = float(differences.std(ddof=1)) / math.sqrt(seeds)
        half_width = float(stdtrit(seeds - 1, (1 + LEVEL) / 2)) * error
        p_value = float(2 * stdtr(seeds - 1, -abs(difference) / error)) if error else float(difference == 0)
    return Evidence(
        metric, variant, against, difference, difference / abs(float(reference.mean())), half_width, p_value, seeds,
        expected,
    )  # fmt: skip


def holm(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The same with p-values corrected for their number: the k-th smallest of m times m - k + 1, never falling."""
    order = sorted(
        (index for index, each in enumerate(evidence) if each.p_value is not None),
        key=lambda index: evidence[index].p_value or 0.0,
    )
    corrected = list(evidence)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (evidence[index].p_value or 0.0) * (len(order) - rank)))
        corrected[index] = evolve(evidence[index], p_value=largest)
    return corrected
