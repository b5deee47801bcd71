"""What a plugin says about a component, without importing it."""

from __future__ import annotations

import importlib
import operator
import traceback
from collections.abc import Iterable
from typing import Any

import attrs
from attrs import field, frozen, validators

from prologue_bench.errors import UserError
from prologue_bench.guard import of_component, prints_aside, short, shown
from prologue_bench.process_state import process_state_kept

_REFERENCE = validators.matches_re(r"[\w.]+:\w+")
ROLES = ("prior", "metrics", "search", "measure", "evaluate", "files")
"""In which a component can stand where none is named."""
OWN = "prologue-bench "
"""What the origins of this project's own components begin with."""


@frozen(kw_only=True)
class NoSettings:
    """The settings of a component that has none."""


def _each(validator: Any) -> Any:
    return validators.deep_iterable(validator, validators.instance_of(tuple))


def _one_line(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"found {shown(text)}, expected a text")
    return short(text)


@frozen(kw_only=True)
class Component:
    """A named component: where its class and settings live ("module:Object"), and its version.

    The module of `settings` should import nothing heavy, so that specifications are checked without
    torch. `version` is part of the key of every artifact made with the component: raise it when
    results change.
    """

    name: str = field(validator=validators.matches_re(r"[a-z0-9][a-z0-9_.-]{0,99}"))
    target: str = field(validator=_REFERENCE)
    summary: str = field(converter=_one_line)
    settings: str = field(
        default="prologue_bench.contracts.components:NoSettings", validator=_REFERENCE
    )
    version: int = field(default=1, converter=operator.index, validator=validators.ge(1))
    builds_on: bool = field(default=False, validator=validators.instance_of(bool))
    """Of a tokenizer: whether it builds on another one, see `Tokenizer.foundation`."""
    takes_offers: bool = field(default=True, validator=validators.instance_of(bool))
    """Whether a profile's `offers` reach its settings. Not those of a published tokenizer: its
    released weights say what its sizes are."""
    steps_alike: bool = field(default=False, validator=validators.instance_of(bool))
    """Whether each step of its training does the same with every batch, so that a GPU may record
    one and repeat it: nothing is counted from step to step in Python, and nothing decided by a
    tensor's values."""
    requires: str = field(default="", converter=_one_line)
    """What to install where the component's module cannot be imported, such as
    prologue-bench[vq]."""
    default_for: tuple[str, ...] = field(default=(), validator=_each(validators.in_(ROLES)))
    """Where it is taken if none is named: a generator as an ablation's "prior", a metric among its
    "metrics" or for its "search", a metric of images for "measure". A metric for "evaluate" is
    measured there of all tokens, whatever else is named. A data source for "files" is given what
    `measure` reads, in its settings `root` and `size`."""
    numbers: tuple[str, ...] = field(default=(), validator=_each(validators.instance_of(str)))
    """Of a metric: how names of its numbers begin, up to a "_", where not as its own name does. An
    ablation's `primary` and `leaderboard` are held to both."""
    weights: tuple[str, ...] = field(default=(), validator=_each(_REFERENCE))
    """Each `PublishedFile` that it may have to fetch ("module:OBJECT"), for `doctor` to look
    for."""
    source: str = field(default="", validator=validators.instance_of(str))
    """Checksum of the file, for a component of a plugin that is a single file; a part of every key
    like `version`."""
    origin: str = field(default="", eq=False)
    """The distribution or file that brought it, which the registry knows."""

    def load(self) -> type[Any]:
        """Import the component's class. Raises UserError when that fails."""
        return _load(self.target, self.requires)

    def load_settings(self) -> type[Any]:
        """Import the component's settings, an attrs class. Raises UserError when that fails."""
        settings = _load(self.settings, self.requires)
        if not isinstance(settings, type) or not attrs.has(settings):
            raise UserError(f"{self.settings} is {shown(settings)}, expected a frozen attrs class")
        return settings

    def load_weights(self) -> tuple[Any, ...]:
        """Import the component's `PublishedFile`s. Raises UserError when that fails."""
        return tuple(_load(each, self.requires) for each in self.weights)

    def called(self, kind: str) -> str:
        """The component as a message names it, with its origin if it is not this project's."""
        of = "" if self.is_own else f" of {self.origin}"
        return f"{kind} {self.name!r}{of}"

    @property
    def is_own(self) -> bool:
        """Whether it is this project's own."""
        return not self.origin or self.origin.startswith(OWN)


@frozen(kw_only=True)
class Command:
    """A command of the command line.

    It says where its click command lives ("module:object"), imported when it is called.
    """

    name: str = field(validator=validators.matches_re(r"[a-z][a-z-]{0,99}"))
    target: str = field(validator=_REFERENCE)
    summary: str = field(converter=_one_line)

    def load(self) -> Any:
        """Import the click command. Raises UserError when that fails."""
        return _load(self.target)


def culprit(error: BaseException, components: Iterable[tuple[str, Component]]) -> str:
    """Which of these components of plugins an error came out of, by its traceback; empty for none.

    It is the one that lives in the module, or else whoever brought another module of the same
    package.
    """
    homes: dict[str, str] = {}
    packages: dict[str, str] = {}
    for kind, component in components:
        for reference in (component.target, component.settings) if not component.is_own else ():
            module = reference.partition(":")[0]
            if not module.startswith("prologue_bench."):
                homes.setdefault(module, component.called(kind))
                packages.setdefault(module.partition(".")[0], component.origin)
    found = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        found = homes.get(module) or packages.get(module.partition(".")[0]) or found
    return found


def _load(reference: str, requires: str = "") -> type[Any]:
    module, _, name = reference.partition(":")
    try:
        # Whatever a plugin's module does.
        with (
            of_component(f"{reference} cannot be imported"),
            prints_aside(),
            process_state_kept(reference),
        ):
            loaded: type[Any] = getattr(importlib.import_module(module), name)
    except UserError as error:
        if not isinstance(missing := error.__cause__, ModuleNotFoundError):
            raise
        hint = f"; pip install '{requires}'" if requires else ""
        raise UserError(
            f"{reference} cannot be imported: there is no module {missing.name!r}{hint}"
        ) from missing
    return loaded
