"""The sizes of a profile's models and batches, which benchmarks give to an older revision too."""

from __future__ import annotations

import argparse
import json
from typing import Any, NamedTuple, Self

import yaml
from revisions import ROOT

PROLOGUE_TOKENS = 16
"""As many as the longest prologue of ablations/prologue_count.yaml."""


class Sizes(NamedTuple):
    """Settings of three transformers, and images per training step."""

    encoder: dict[str, Any]
    decoder: dict[str, Any]
    transformer: dict[str, Any]
    """The generator's."""
    batch: int

    @classmethod
    def of_profile(cls, name: str) -> Self:
        """Those of registry/profiles/NAME.yaml as it is in this checkout."""
        found = yaml.safe_load((ROOT / "registry" / "profiles" / f"{name}.yaml").read_text())
        offers = found["offers"]
        parts = (offers[part] for part in ("encoder", "decoder", "transformer"))
        return cls(*parts, found["tokenizer_training"]["batch_size"])

    @classmethod
    def read(cls, text: str) -> Self:
        """The inverse of `text`."""
        return cls(*json.loads(text))

    def text(self) -> str:
        """One line, for the process of a revision."""
        return json.dumps(self)


def add_profile(parser: argparse.ArgumentParser) -> None:
    """The option `--profile`."""
    parser.add_argument(
        "--profile",
        default="micro",
        type=Sizes.of_profile,
        dest="sizes",
        metavar="NAME",
        help="whose sizes both revisions get (micro)",
    )
