"""docs/zoo.md, made from the cards of published models: python -m pages.zoo writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from prologue_bench.config.presets import PUBLISHED, Preset, Release, find_preset
from prologue_bench.registry import PRESET_FOLDERS, Kind, Registry

PAGE = Path(__file__).parent.parent / "docs" / "zoo.md"
START = """\
# Published models

Tokenizers and generators that others published, with presets at their released sizes.
[plugins.md](plugins.md#published-tokenizers) says how weights are given and imported. Numbers are
those of the authors, as printed, and differ in their protocols: `ablations/zoo.yaml` measures all
whose weights are found in one way. This page is made from the cards in `registry/` by
`python -m pages.zoo`; check licences at the source.

    hf download FoundationVision/LlamaGen vq_ds16_c2i.pt --local-dir weights/llamagen-vq16
    prologue-bench run ablations/zoo.yaml

`ablations/zoo_generation.yaml` trains one small generator on the tokens of each, for equally many
steps, and `ablations/zoo_generation_flops.yaml` for as many as cost the same.
"""


def page(registry: Registry) -> str:
    """The page."""
    return START + "".join(
        part for kind, columns in PUBLISHED.values() for part in _section(kind, columns, registry)
    )


def _section(kind: Kind, columns: tuple[str, ...], registry: Registry) -> Iterator[str]:
    found = [
        (preset, preset.release)
        for name in registry.cards(PRESET_FOLDERS[kind])
        if (preset := find_preset(kind, name, registry)) is not None and preset.release is not None
    ]
    yield f"\n## {kind.capitalize()}s\n\n"
    yield f"| preset | what it is | {' | '.join(columns)} |\n"
    yield f"| {' | '.join(['---'] * (2 + len(columns)))} |\n"
    for preset, release in found:
        numbers = [release.results.get(column, "") for column in columns]
        summary = preset.summary.removesuffix(".")
        yield f"| [`{preset.name}`](#{anchor(preset.name)}) | {summary} | {' | '.join(numbers)} |\n"
    for preset, release in found:
        yield from _details(preset, release)


def _details(preset: Preset, release: Release) -> Iterator[str]:
    yield f"\n### {preset.name}\n\n"
    yield f"- component `{preset.use}`, code <{release.code}>\n"
    yield f"- files: {'; '.join(f'`{each}`' for each in release.files)}\n"
    yield f"- licence: {release.licence}\n"
    if release.protocol:
        yield f"- {release.protocol.strip()}\n"


def anchor(preset: str) -> str:
    """Of a preset's heading, as sites and hubs make it."""
    return re.sub(r"[^\w-]", "", preset.lower())


if __name__ == "__main__":
    PAGE.write_text(page(Registry.load()), encoding="utf-8")
