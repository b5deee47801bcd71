"""Names to components, filled from plugins; and the cards of registry/.

Nothing is imported until it is used: `Registry.load` reads the plugins' entry points, whose modules only describe
components.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pluggy
import yaml
from attrs import define, field, frozen

from prologue_bench import hookspecs
from prologue_bench.commands import BUILT_IN
from prologue_bench.components import Command, Component
from prologue_bench.errors import UserError, nearest

Kind = Literal["tokenizer", "generator", "metric", "data", "loss"]
KINDS: dict[Kind, str] = {
    "tokenizer": "prologue_tokenizers",
    "generator": "prologue_generators",
    "metric": "prologue_metrics",
    "data": "prologue_data_sources",
    "loss": "prologue_losses",
}
PRESET_FOLDERS: dict[Kind, str] = {"tokenizer": "tokenizers", "generator": "generators"}
"""Folders of cards that name a component with settings."""
ENTRY_POINT_GROUP = "prologue_bench"


@frozen
class Entry:
    """A component with the distribution that brought it."""

    component: Component
    origin: str


@define
class Registry:
    """All components by kind and name, the card folders, and the plugins that could not be used."""

    entries: dict[Kind, dict[str, Entry]] = field(factory=lambda: {kind: {} for kind in KINDS})
    card_folders: list[Path] = field(factory=list)
    commands: dict[str, Command] = field(factory=lambda: {command.name: command for command in BUILT_IN})
    problems: list[str] = field(factory=list)

    @classmethod
    def load(cls) -> Registry:
        """Everything that the installed plugins bring. A broken plugin becomes a line in `problems`."""
        registry = cls()
        found = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
        for point in sorted(found, key=lambda point: point.name):
            origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.name
            try:
                registry.add_plugin(point.load(), f"{origin} ({point.name})")
            except Exception as error:
                registry.problems.append(
                    f"plugin {point.name!r} of {origin} is left out: {type(error).__name__}: {error}"
                )
        return registry

    def add_plugin(self, plugin: Any, origin: str) -> None:
        """Take in one plugin, a module or object with hook implementations."""
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin)
        manager.check_pending()
        for kind, hook in KINDS.items():
            for components in getattr(manager.hook, hook)():
                for component in components:
                    self.add(kind, component, origin)
        for commands in manager.hook.prologue_commands():
            for command in commands:
                if self.commands.setdefault(command.name, command) is not command:
                    self.problems.append(f"command {command.name!r} of {origin} is left out: the name is taken")
        for folders in manager.hook.prologue_cards():
            self.card_folders.extend(folders)

    def add(self, kind: Kind, component: Component, origin: str) -> None:
        """Register one component. A name that is taken stays with the first, and the clash is recorded."""
        known = self.entries[kind]
        if component.name in known:
            self.problems.append(
                f"{kind} {component.name!r} of {origin} is left out: {known[component.name].origin} has that name"
            )
            return
        known[component.name] = Entry(component, origin)

    def find(self, kind: Kind, name: str, where: str = "") -> Component:
        """The component of that name. Raises UserError with the nearest names when there is none."""
        return self.find_entry(kind, name, where).component

    def find_entry(self, kind: Kind, name: str, where: str = "") -> Entry:
        """As `find`, with the component's origin."""
        known = self.entries[kind]
        if name not in known:
            prefix = f"{where}: " if where else ""
            raise UserError(f"{prefix}unknown {kind} {name!r}; {nearest(name, known)}")
        return known[name]

    def __iter__(self) -> Iterator[tuple[Kind, Entry]]:
        for kind, known in self.entries.items():
            for name in sorted(known):
                yield kind, known[name]

    def card(self, folder: str, name: str) -> dict[str, Any]:
        """One card's content; empty when there is none of that name."""
        path = self.cards(folder).get(name)
        return {} if path is None else dict(yaml.safe_load(path.read_text(encoding="utf-8")))

    def cards(self, folder: str) -> dict[str, Path]:
        """The YAML cards of one folder of registry/, by name, built-in ones first."""
        found: dict[str, Path] = {}
        for root in [built_in_cards(), *self.card_folders]:
            for path in sorted((root / folder).glob("*.yaml")):
                found.setdefault(path.stem, path)
        return found


@functools.cache
def built_in_cards() -> Path:
    """The folder registry/, in the checkout or as packed into the wheel."""
    package = Path(__file__).parent
    for candidate in (package / "_registry", package.parent / "registry"):
        if candidate.is_dir():
            return candidate
    raise UserError("the folder registry/ is missing from this installation; install prologue-bench again")
