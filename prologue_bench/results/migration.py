"""Results of earlier versions, as they are written today.

What they lack is told from what they have: the fields that a version added have no default there.
"""

from __future__ import annotations

import math

from prologue_bench.contracts.stage_kinds import TRAINED
from prologue_bench.contracts.titles import counterpart_of, over_features
from prologue_bench.results.plain import Document
from prologue_bench.stats.collapse import collapse_warning


def as_today(results: Document) -> Document:
    """Results as they are written today."""
    forget_uncounted(results)
    for run in results["runs"]:
        fill_in_figures(run["measurements"])
        fill_in_warnings(run["measurements"])
        name_true_scales(run["measurements"])
    return with_true_titles(results)


def forget_uncounted(results: Document) -> None:
    """Put None where 0 stands for uncounted operations, and leave out the totals with them."""
    for run in results["runs"]:
        uncounted = [
            stage
            for stage in run.get("stages", [])
            if stage.get("flops") == 0 and not _is_idle(stage, run)
        ]
        for stage in uncounted:
            stage["flops"] = None
        if any(stage["stage"] in TRAINED for stage in uncounted):
            run["measurements"] = [
                each for each in run["measurements"] if each["name"] != "training_flops"
            ]


def _is_idle(stage: Document, run: Document) -> bool:
    """Whether the stage computed nothing.

    So it is with a prior that was taken over, pictures of what is there, which no version left
    uncounted, or a frozen tokenizer, which leaves no curves.
    """
    return stage["stage"] in ("take-prior", "picture-reconstructions", "picture-samples") or (
        stage["stage"] == "train-tokenizer" and "train-tokenizer" not in run.get("curves", {})
    )


UNCHECKED = "measured by a version that did not compare its protocol with the published one"


def with_true_titles(results: Document) -> Document:
    """Results as written today: earlier versions called a distance FID over whatever features.

    Their protocols say over which; the names of measurements, by which settings and commands go,
    stay. Searches took their title from the metric that decided.
    """
    renamed: dict[str, str] = {}
    for measurement in (each for run in results["runs"] for each in run["measurements"]):
        if measurement["name"].startswith("codebook_"):
            measurement["title"] = measurement["title"].replace(" a position, ", " per position, ")
        protocol = measurement["protocol"]
        protocol.update(published=protocol.get("published", False), note=protocol.get("note", ""))
        if "counterpart" in protocol:
            continue
        title, note = measurement["title"], protocol.get("note", "")
        features, told, _ = note.partition(" features ")
        if told:
            measurement["title"] = renamed[title] = over_features(title, features)
        if protocol.get("published") and not note:
            note = UNCHECKED
        protocol.update(
            published=False, note=note, counterpart=counterpart_of(title) if note else ""
        )
    for run in results["runs"]:
        for point in (run.get("search") or {}).get("points", []):
            point["metric"] = renamed.get(point["metric"], point["metric"])
    return results


PLOTTED_AGAINST = {
    "gfid": {"rfid": "Reconstruction against generation", "training_flops": "Cost against quality"},
    "elbo_distortion": {"elbo_rate": "Rate against distortion, the two terms of the -ELBO"},
}
"""Which numbers of earlier versions are plotted against which others. Today's say so themselves."""
MAPPED = "codebook_perplexity_position_"
"""How the names of numbers of earlier versions begin that are shown as maps."""


FITTED = ", one scale fitted to the test images"
"""How earlier versions called the scale of the likelihood in the -ELBO."""
SCALES = {
    "laplace": ", its scale the mean absolute error",
    "gaussian": ", its scale the root mean squared error",
}
"""What they took. It is the likeliest of a density, and not where pixels are discrete."""


def name_true_scales(measurements: list[Document]) -> None:
    """Say which scale the likelihood in the -ELBO had in versions that did not search for it."""
    for each in measurements:
        details = each["protocol"]["details"]
        family, fitted, rest = str(details.get("likelihood", "")).partition(FITTED)
        if fitted and not rest:
            name, _, how = family.partition(",")
            details["likelihood"] = f"{name}{SCALES.get(name, '')},{how}"


def fill_in_figures(measurements: list[Document]) -> None:
    """Put what figures need into measurements of versions whose metrics did not say it."""
    for each in measurements:
        each.setdefault("against", PLOTTED_AGAINST.get(each["name"], {}))
        segment = each["name"].removeprefix(MAPPED) if each["name"].startswith(MAPPED) else ""
        each.setdefault("positions_of", segment if each.get("positions") else "")


def fill_in_warnings(measurements: list[Document]) -> None:
    """Put the warnings of collapsed codebooks into measurements.

    For versions whose metric did not yet warn itself.
    """
    wordless = {
        each["name"]: each
        for each in measurements
        if "warning" not in each and each["value"] is not None
    }
    uses, perplexities = "codebook_use_", "codebook_perplexity_"
    segments = dict.fromkeys(
        name.removeprefix(prefix)
        for name, each in wordless.items()
        for prefix in (uses, perplexities)
        if name.startswith(prefix) and not name.startswith(f"{prefix}position_")
    )
    for segment in segments:
        use, perplexity, alone = (
            wordless.get(f"{name}{segment}")
            for name in (uses, perplexities, f"{perplexities}position_")
        )
        positions = alone.get("positions") if alone is not None else None
        known = use or perplexity or {}
        known["warning"] = collapse_warning(
            segment,
            use=use["value"] if use is not None else None,
            codes=_number_of_codes(known["protocol"]["details"].get("codes")),
            token_bits=math.log2(max(1.0, perplexity["value"])) if perplexity is not None else None,
            segment_bits=sum(math.log2(max(1.0, value)) for value in positions)
            if positions
            else None,
        )


def _number_of_codes(told: object) -> int | None:
    """What a protocol says, if it is a number: another's metric of this name may say anything."""
    return told if isinstance(told, int) and told > 0 else None
