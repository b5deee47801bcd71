"""What a plugin says of a component, without importing it."""

from __future__ import annotations

import importlib
from typing import Any

from attrs import field, frozen, validators

from prologue_bench.errors import UserError

_REFERENCE = validators.matches_re(r"[\w.]+:\w+")


@frozen(kw_only=True)
class NoSettings:
    """The settings of a component that has none."""


@frozen(kw_only=True)
class Component:
    """A named component: where its class and its settings live ("module:Object"), and which version it is.

    The module of `settings` should import nothing heavy, so that specifications are checked without torch.
    `version` is part of the key of every artifact made with the component: raise it when results change.
    """

    name: str = field(validator=validators.matches_re(r"[a-z0-9][a-z0-9_.-]*"))
    target: str = field(validator=_REFERENCE)
    summary: str
    settings: str = field(default="prologue_bench.components:NoSettings", validator=_REFERENCE)
    version: int = field(default=1, validator=validators.ge(1))
    builds_on: bool = False
    """Of a tokenizer: whether it builds on another one, see `Tokenizer.foundation`."""
    requires: str = ""
    """What to install where the component's module cannot be imported, such as prologue-bench[vq]."""
    source: str = ""
    """Checksum of the file, for a component of a plugin that is a single file; a part of every key like `version`."""

    def load(self) -> type[Any]:
        """Import the component's class. Raises UserError when that fails."""
        return _load(self.target, self.requires)

    def load_settings(self) -> type[Any]:
        """Import the component's settings class. Raises UserError when that fails."""
        return _load(self.settings, self.requires)


@frozen(kw_only=True)
class Command:
    """A command of the command line: where its click command lives ("module:object"), imported when it is called."""

    name: str = field(validator=validators.matches_re(r"[a-z][a-z-]*"))
    target: str = field(validator=_REFERENCE)
    summary: str

    def load(self) -> Any:
        """Import the click command. Raises UserError when that fails."""
        return _load(self.target)


def _load(reference: str, requires: str = "") -> type[Any]:
    module, _, name = reference.partition(":")
    try:
        loaded: type[Any] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        hint = f"; pip install '{requires}'" if requires else ""
        raise UserError(f"{reference} cannot be imported: there is no module {error.name!r}{hint}") from error
    except (Exception, SystemExit) as error:  # whatever a plugin's module does when it is imported
        raise UserError(f"{reference} cannot be imported: {type(error).__name__}: {error}") from error
    return loaded
