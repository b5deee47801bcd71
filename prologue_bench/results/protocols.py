"""Which numbers may be compared: those measured by the same protocol."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from prologue_bench.results.schema import MeasurementRecord, Numbers, ProtocolRecord, Scalar
from prologue_bench.stats.differences import WAYS


def protocol_hash(protocol: ProtocolRecord, varied: Iterable[str] = ()) -> str:
    """Eight digits that are equal for equal protocols, apart from the settings in `varied`."""
    details = fields(protocol, varied)
    text = json.dumps([details.pop("name"), details], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def fields(protocol: ProtocolRecord, varied: Iterable[str] = ()) -> dict[str, Scalar]:
    """The name and the details of a protocol, without the settings that are varied.

    These are dotted names of sampling.
    """
    names = tuple(varied)
    kept = {
        key: value
        for key, value in protocol.details.items()
        if not any(key == name or key.startswith(f"{name}.") for name in names)
    }
    return {"name": protocol.name, **kept}


def differences(
    one: ProtocolRecord, other: ProtocolRecord, varied: Sequence[str] = ()
) -> list[str]:
    """Each field in which two protocols differ, with both values.

    Such as "resize: 64 and 224"; empty when comparable.
    """
    mine, theirs = fields(one, varied), fields(other, varied)
    keys = dict.fromkeys((*mine, *theirs))
    return [
        f"{key}: {_shown(mine.get(key))} and {_shown(theirs.get(key))}"
        for key in keys
        if mine.get(key) != theirs.get(key)
    ]


def differences_of(
    one: MeasurementRecord, other: MeasurementRecord, varied: Sequence[str] = ()
) -> list[str]:
    """As `differences`, of two numbers: their units, and where they are better, differ too."""
    told = [
        f"{name}: {_shown(mine or None)} and {_shown(theirs or None)}"
        for name in WAYS
        if (mine := getattr(one, name)) != (theirs := getattr(other, name))
    ]
    return told + differences(one.protocol, other.protocol, varied)


def what_differs(told: Sequence[str]) -> str:
    """What `differences_of` tells of: the "protocol", or the "unit" or "direction" alone."""
    names = [text.partition(":")[0] for text in told]
    return "protocol" if set(names) - set(WAYS) else names[0]


def differ_in(told: Sequence[str]) -> str:
    """Such as "their protocols differ in resize: 64 and 224"; "they" do where units are apart."""
    who = "their protocols" if what_differs(told) == "protocol" else "they"
    return f"{who} differ in {'; '.join(told)}"


def _shown(value: Scalar) -> str:
    return "none" if value is None else str(value)


def conflicts(results: Numbers) -> list[str]:
    """One sentence for each metric and variant whose protocol is not the baseline's.

    It names the fields that differ. And one for each variant that has no seed in common with the
    baseline.
    """
    baseline, varied = results.baseline, results.varied
    if baseline is None:
        return []
    found: dict[str, None] = {}
    reference = _measured(results, baseline)
    for variant in results.variants:
        own = _measured(results, variant.name)
        if own and reference and not {key[:2] for key in own} & {key[:2] for key in reference}:
            found.setdefault(
                f"{variant.name} and {baseline} are not compared, they have no seed in common."
            )
        for key, each in own.items():
            if key in reference and (differing := differences_of(each, reference[key], varied)):
                found.setdefault(
                    f"{each.title}: {variant.name} and {baseline} are not compared, "
                    f"{differ_in(differing)}."
                )
    return list(found)


def _measured(results: Numbers, variant: str) -> dict[tuple[int, int, str], MeasurementRecord]:
    """Each measurement of a variant, by seed, sampling seed and metric."""
    return {
        (run.seed, run.sampling_seed, each.name): each
        for run in results.runs
        if run.variant == variant
        for each in run.measurements
    }
