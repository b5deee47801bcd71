"""Everything that a plugin can add.

Each hook is a function without arguments; see docs/plugins.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pluggy

from prologue_bench.contracts.components import Command, Component

PROJECT = "prologue_bench"
INTERFACE_VERSION = 2
"""Raised if a contract changes so that plugins must change too; otherwise contracts only grow.

A plugin says in its module which version it is written for: `INTERFACE_VERSION = 2`. Without
that line, it counts as written for this one.
"""
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def prologue_tokenizers() -> Iterable[Component]:  # type: ignore[empty-body]
    """Tokenizers: classes of `prologue_bench.contracts.tokenizer.Tokenizer`."""


@hookspec
def prologue_generators() -> Iterable[Component]:  # type: ignore[empty-body]
    """Generators: classes of `prologue_bench.contracts.generator.Generator`."""


@hookspec
def prologue_metrics() -> Iterable[Component]:  # type: ignore[empty-body]
    """Metrics: classes of `prologue_bench.contracts.metric.Metric`."""


@hookspec
def prologue_data_sources() -> Iterable[Component]:  # type: ignore[empty-body]
    """Data sources: classes of `prologue_bench.contracts.data.DataSource`."""


@hookspec
def prologue_losses() -> Iterable[Component]:  # type: ignore[empty-body]
    """Losses of reconstructions: classes of `prologue_bench.contracts.loss.ReconstructionLoss`."""


@hookspec
def prologue_commands() -> Iterable[Command]:  # type: ignore[empty-body]
    """Commands of the command line."""


@hookspec
def prologue_cards() -> Iterable[Path]:  # type: ignore[empty-body]
    """Folders of cards (profiles and other YAML files), laid out like registry/."""
