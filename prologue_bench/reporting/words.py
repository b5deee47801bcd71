"""Metrics in plain words: short titles for a page, and a sentence on what each tells.

Results keep the metrics' own names and titles. What is not listed here is shown by its title.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import evolve, frozen

from prologue_bench.reporting.summary import MetricInfo
from prologue_bench.results.caveats import measurements_of
from prologue_bench.results.schema import Numbers
from prologue_bench.texts.lines import joined

PLAIN = (
    (r"rF(I?)D\b", r"Reconstruction distance (rF\1D)"),
    (r"gF(I?)D minus rF(I?)D\b", r"Sample distance minus reconstruction distance"),
    (r"gF(I?)D\b", r"Sample distance (gF\1D)"),
    (r"F(I?)D of samples from reconstructions\b", r"Distance of samples from reconstructions"),
    (r"K(I?)D\b", r"Kernel distance of samples (K\1D)"),
    (r"rate, (.+)", r"Rate of \1 tokens"),
    (r"probe, (.+)", r"Class probe on the \1"),
    (r"(\w+) from ([\w-]+) (?=\(chance )", r"\1 probe on the \2 tokens "),
    (r"layout persistence, (\w+), (.+)", r"Layout fixed by the \2 (\1)"),
    (r"-ELBO\b", r"Negative ELBO"),
    (r"codebook use per position, (.+)", r"Codes in use per position, \1"),
    (r"codebook use, (.+)", r"Codes in use, \1"),
)
"""Beginnings of titles, and what they are in plain words."""


@frozen
class Explained:
    """What a kind of metric tells, and where docs/metrics.md says more."""

    title: str
    text: str


EXPLAINED = {
    "rfid": Explained(
        "Reconstruction distance",
        "Fréchet distance of reconstructions from the test images: what the tokenizer loses.",
    ),
    "gfid": Explained(
        "Sample distance",
        "Fréchet distance of generated samples from the test images: the whole model.",
    ),
    "generation_gap": Explained(
        "Generation gap",
        "Fréchet distance of samples from reconstructions: what the generator loses beyond the "
        "decoder. Also sample distance minus reconstruction distance.",
    ),
    "rate": Explained(
        "Rate",
        "Bits that the generator needs for the tokens of a test image, given its class.",
    ),
    "elbo": Explained(
        "Negative ELBO",
        "Bits for a test image in all: its tokens (rate) and its pixels given them (distortion).",
    ),
    "probe": Explained(
        "Class probe",
        "Test accuracy of a linear classifier that sees the first tokens alone.",
    ),
    "factor": Explained(
        "Factor probes",
        "How well known facts of an image, such as a shape, are read from its tokens.",
    ),
    "layout": Explained(
        "Layout",
        "How much more alike samples of a class are if they share their first tokens.",
    ),
    "attention": Explained(
        "Attention", "Share of the generator's attention that later tokens pay to the first ones."
    ),
    "codebook": Explained(
        "Codebook",
        "Share of codes that occur, and their perplexity, on the test images.",
    ),
    "bits": Explained("Joint bits", "What a segment's tokens together can tell of a test image."),
    "redundancy": Explained("Redundancy", "Bits that tokens of a segment repeat of each other."),
    "conditional_entropy": Explained(
        "Conditional entropy",
        "Bits that each token adds to the class and the tokens before it, on training images.",
    ),
    "inception_score": Explained("Inception Score", "How clear and how varied the samples are."),
    "kid": Explained("Kernel distance", "As the sample distance, by an unbiased kernel estimate."),
    "precision": Explained("Precision", "Share of samples that lie among the test images."),
    "recall": Explained("Recall", "Share of test images that lie among the samples."),
    "density": Explained("Density", "As precision, with less weight on outliers."),
    "coverage": Explained("Coverage", "As recall, with less weight on outliers."),
    "psnr": Explained("PSNR", "Closeness of reconstructions to their images, pixel by pixel."),
    "mse": Explained(
        "Squared error", "Mean squared difference of reconstructions from their images."
    ),
    "ssim": Explained("SSIM", "Closeness of reconstructions to their images in local structure."),
    "lpips": Explained("LPIPS", "Distance of reconstructions as a trained network sees it."),
    "training": Explained(
        "Cost of training", "Operations and seconds of training tokenizer and generator."
    ),
    "sampling_speed": Explained("Sampling speed", "Images drawn and decoded in a second."),
}
"""By the beginning of a measurement's name."""


def in_plain_words(infos: Sequence[MetricInfo], results: Numbers) -> list[MetricInfo]:
    """The metrics with plain titles.

    The features that most distances are over are left out of them: the page says once which.
    """
    features = main_features(results)
    return [
        evolve(info, plain=_plain(info.title, features), kind=kind_of(info.name)) for info in infos
    ]


def main_features(results: Numbers) -> str:
    """The features that the first distance is over, as titles name them; empty without any."""
    for each in measurements_of(results):
        extractor = str(each.protocol.details.get("extractor", "")).casefold()
        for name in re.findall(r"\(([^()]+)\)", each.title):
            if extractor and name.casefold() == extractor:
                return str(name)
    return ""


def _plain(title: str, features: str) -> str:
    text = title.replace(f" ({features})", "") if features else title
    for pattern, words in PLAIN:
        if found := re.match(pattern, text):
            text = found.expand(words).replace("_", " ") + text[found.end() :]
            break
    return text[:1].upper() + text[1:]


def kind_of(name: str) -> str:
    """The kind in EXPLAINED of a measurement; empty where it is none of those."""
    kinds = [kind for kind in EXPLAINED if f"{name}_".startswith(f"{kind}_")]
    return max(kinds, key=len, default="")


def scale_notes(results: Numbers) -> list[str]:
    """On which scales the numbers are, in a sentence for each with which they are not comparable.

    Protocols say in what else they differ from published ones.
    """
    found: dict[str, dict[str, None]] = {}
    for each in measurements_of(results):
        if each.protocol.counterpart and each.protocol.note:
            scale = each.protocol.note.partition("; ")[0]
            found.setdefault(scale, {})[each.protocol.counterpart] = None
    alike: dict[tuple[str, ...], list[str]] = {}
    for scale, of in found.items():
        alike.setdefault(tuple(of), []).append(scale)
    texts = {of: "; ".join(scales) for of, scales in alike.items()}
    return [
        f"{text[:1].upper()}{text[1:]}: not comparable with published {joined(list(of))}."
        for of, text in texts.items()
    ]
