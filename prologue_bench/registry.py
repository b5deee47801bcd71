"""Names to components, filled from plugins; and the cards of registry/.

Nothing is imported until it is used: `Registry.load` reads the plugins' entry points, whose modules
only describe components.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

import pluggy
from attrs import define, evolve, field, frozen

from prologue_bench.contracts import hooks
from prologue_bench.contracts.components import Command, Component, culprit
from prologue_bench.errors import PrologueBenchError, UserError, nearest
from prologue_bench.guard import (
    brief,
    left_out,
    of_component,
    pass_interrupt,
    place_of,
    prints_aside,
    short,
    shown,
)
from prologue_bench.process_state import process_state_kept
from prologue_bench.stopping import is_interrupt

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
ABLATIONS = "ablations"
"""The folder of ablations, where they are installed."""
ENTRY_POINT_GROUP = "prologue_bench"
MOST_ITEMS = 1000
"""What one hook may give."""
LARGEST_FILE = 10_000_000
"""Bytes of a plugin in one file, which is read and parsed whole."""
_MARK = "__prologue_bench_plugin__"
"""In the module of a plugin's file: its path and checksum."""
T = TypeVar("T")
C = TypeVar("C", Component, Command)


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
    commands: dict[str, Command] = field(factory=dict)
    """Of plugins, by name."""
    brought: dict[str, list[tuple[str, str]]] = field(factory=dict)
    """What each plugin brings, by its origin: kinds and names of components, commands and cards."""
    problems: list[str] = field(factory=list)
    files: list[Path] = field(factory=list)
    """Plugins that are single files."""
    taken: frozenset[str] = frozenset()
    """Names of commands that no plugin can have."""

    @classmethod
    def load(cls, taken: Iterable[str] = ()) -> Registry:
        """Everything that the installed plugins bring.

        A broken plugin becomes a line in `problems`. Commands of the names in `taken` are left out.
        """
        registry = cls(taken=frozenset(taken))
        for point in sorted(registry._entry_points(), key=lambda point: point.name):
            origin = point.name
            with left_out(f"plugin {short(repr(point.name))}", registry.problems.append):
                origin = (
                    short(f"{point.dist.name} {point.dist.version}") if point.dist else point.name
                )
            with left_out(
                f"plugin {short(repr(point.name))} of {origin}", registry.problems.append
            ):
                who = f"plugin {short(repr(point.name))} of {origin}"
                with _of_this_interface(), prints_aside(), process_state_kept(who):
                    plugin = point.load()
                registry.add_plugin(plugin, f"{origin} ({short(point.name)})")
        return registry

    def copy(self) -> Registry:
        """The same components, to which others can be added without being seen here."""
        return evolve(
            self,
            entries={kind: dict(known) for kind, known in self.entries.items()},
            card_folders=list(self.card_folders),
            commands=dict(self.commands),
            problems=list(self.problems),
            files=list(self.files),
            brought={origin: list(what) for origin, what in self.brought.items()},
        )

    def _entry_points(self) -> Iterable[importlib.metadata.EntryPoint]:
        """The entry points of all distributions, but of those whose own files are broken."""
        try:
            return importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
        except Exception:  # one of them cannot be read
            found: dict[str, importlib.metadata.EntryPoint] = {}
            for distribution in importlib.metadata.distributions():
                with left_out(
                    f"a distribution in {distribution.locate_file('')}", self.problems.append
                ):
                    for point in distribution.entry_points.select(group=ENTRY_POINT_GROUP):
                        found.setdefault(point.name, point)
            return found.values()

    def add_plugin(self, plugin: Any, origin: str, file: _PluginFile | None = None) -> None:
        """Take in one plugin, a module or object with hook implementations.

        A hook that raises, or returns anything but what it is for, loses only its own components;
        `problems` gets a line. Raises UserError for a plugin that is written for another interface
        or has a hook without @hookimpl or none at all, and pluggy's PluginValidationError for a
        hook that there is none of.
        """
        written_for = getattr(plugin, "INTERFACE_VERSION", hooks.INTERFACE_VERSION)
        if type(written_for) is not int:
            raise UserError(
                f"INTERFACE_VERSION is {shown(written_for)}, expected the number "
                f"{hooks.INTERFACE_VERSION}"
            )
        if written_for != hooks.INTERFACE_VERSION:
            raise UserError(
                f"it is written for interface {short(str(written_for))} and this is interface "
                f"{hooks.INTERFACE_VERSION}; install a version that fits"
            )
        manager = pluggy.PluginManager(hooks.PROJECT)
        manager.add_hookspecs(hooks)
        manager.register(plugin)
        manager.check_pending()
        _check_hooks(plugin, manager)

        def call(hook: str, kind: type[T]) -> list[T]:
            found: list[T] = []
            with left_out(f"{hook} of {origin}", self.problems.append), prints_aside():
                found = [
                    item for items in getattr(manager.hook, hook)() for item in _items(items, kind)
                ]
            return found

        for kind, hook in KINDS.items():
            for component in call(hook, Component):
                if file is not None:
                    file.check_own(kind, component)
                    component = file.renamed(component, plugin.__name__)
                    component = evolve(component, source=file.checksum)
                self.add(kind, component, origin)
        for command in call("prologue_commands", Command):
            if file is not None:
                command = file.renamed(command, plugin.__name__)
            if (
                command.name in self.taken
                or self.commands.setdefault(command.name, command) is not command
            ):
                self.problems.append(
                    f"command {command.name!r} of {origin} is left out: the name is taken"
                )
            else:
                self.brought.setdefault(origin, []).append(("command", command.name))
        for folder in call("prologue_cards", Path):
            with left_out(f"cards of {origin}", self.problems.append):
                if not folder.is_dir():
                    raise UserError(
                        f"{folder}: found no such folder, expected one laid out like registry/"
                    )
                self._tell_taken(folder, origin)
                self.card_folders.append(folder)
                self.brought.setdefault(origin, []).append(("cards", folder.name))

    def _tell_taken(self, folder: Path, origin: str) -> None:
        """A line for each card of a plugin whose name another one has, which counts."""
        paths = {*folder.glob("*/*.yaml"), *(folder / ABLATIONS).rglob("*.yaml")}
        for path in sorted(paths):
            kind, _, name = path.relative_to(folder).with_suffix("").as_posix().partition("/")
            if (first := self._first_of(kind, name)) is not None:
                self.problems.append(
                    f"card {kind}/{name} of {origin} is left out: {first} has that name"
                )

    def _first_of(self, folder: str, name: str) -> object:
        """What has the name of a card already; None where nothing has."""
        if folder == ABLATIONS:
            roots = [built_in_ablations(), *(each / ABLATIONS for each in self.card_folders)]
            paths = [path for root in roots if (path := root / f"{name}.yaml").is_file()]
            return paths[0] if paths else None
        kind = next((kind for kind, of in PRESET_FOLDERS.items() if of == folder), None)
        if kind is not None and name in self.entries[kind]:
            return f"a {kind} of {self.entries[kind][name].origin}"
        return self.cards(folder).get(name)

    def add_file(self, path: Path | str, where: str) -> None:
        """Take in a plugin that is a single Python file. A second time does nothing.

        Its components carry the checksum of the file and of those beside it that it imports, so
        that a change of any makes their artifacts anew. Raises UserError, in one line, for
        everything that is wrong with it.
        """
        with of_component(f"{where}: {short(str(path))}"):
            path = _plugin_file(Path(path), where)
        if path in self.files:
            return
        problems = len(self.problems)
        try:
            file = _PluginFile.read(path)
            with _of_this_interface():
                module = file.module()
            self.add_plugin(module, f"{path} {file.checksum[:8]}", file)
        except BaseException as error:
            pass_interrupt(error)
            raise UserError(f"{where}: {path}: {brief(error)}") from error
        if len(self.problems) > problems:
            raise UserError(f"{where}: {self.problems[problems]}")
        self.files.append(path)

    def add(self, kind: Kind, component: Component, origin: str) -> None:
        """Register one component.

        A name that is taken stays with the first, and the clash is recorded.
        """
        known = self.entries[kind]
        if component.name in known:
            self.problems.append(
                f"{kind} {component.name!r} of {origin} is left out: "
                f"{known[component.name].origin} has that name"
            )
            return
        of = Path(origin.rpartition(" ")[0]).name if component.source else origin
        known[component.name] = Entry(evolve(component, origin=short(of)), origin)
        self.brought.setdefault(origin, []).append((kind, component.name))

    def culprit(self, error: BaseException) -> str:
        """The component of a plugin whose code an error came out of; empty for none."""
        return culprit(error, ((kind, entry.component) for kind, entry in self))

    @contextmanager
    def blaming(self, raises: type[PrologueBenchError]) -> Iterator[None]:
        """Errors out of a plugin's code name its component in one line; others pass."""
        try:
            yield
        except BaseException as error:
            if (
                isinstance(error, PrologueBenchError)
                or is_interrupt(error)
                or not (who := self.culprit(error))
            ):
                raise
            raise raises(f"{who}: {brief(error)}{place_of(error)}") from error

    def find(self, kind: Kind, name: str, where: str = "") -> Component:
        """The component of that name.

        Raises UserError with the nearest names when there is none.
        """
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
        if path is None:
            return {}
        # What lists components only reads no card.
        from prologue_bench.documents.reading import read_document

        return dict(read_document(path, str(path)).values)

    def defaults(self, kind: Kind, role: str) -> tuple[str, ...]:
        """The components that declare to be the default in a role.

        Those of third parties count only if no own component declares it.
        """
        found = [
            each.component
            for each in self.entries[kind].values()
            if role in each.component.default_for
        ]
        own = [each for each in found if each.is_own]
        return tuple(each.name for each in own or found)

    def cards(self, folder: str) -> dict[str, Path]:
        """The YAML cards of one folder of registry/, by name, built-in ones first."""
        found: dict[str, Path] = {}
        for root in [built_in_cards(), *self.card_folders]:
            for path in sorted((root / folder).glob("*.yaml")):
                if path.is_file():
                    found.setdefault(path.stem, path)
        return found


@frozen
class ImportedFile:
    """A plugin's file as a process has imported it."""

    path: Path
    checksum: str
    module: str
    """The name by which components and pickled settings refer to it."""


def imported_files() -> tuple[ImportedFile, ...]:
    """The plugins in single files that this process has imported, for another to import, too."""
    return tuple(
        ImportedFile(*mark, name)
        for name, known in list(sys.modules.items())
        if (mark := _mark_of(known))
    )


def import_files(files: Iterable[ImportedFile]) -> dict[str, str]:
    """Import the plugins' files of another process under the same names.

    Returns, by module, why some could not be, in one line each: a file that is another by now would
    stand under the checksum of the one that was planned with.
    """
    problems: dict[str, str] = {}
    for each in files:
        try:
            file = _PluginFile.read(each.path)
            if file.checksum != each.checksum:
                raise UserError("it changed since the run was planned; run the same command again")
            if each.module not in sys.modules:
                file._import(each.module)
        except BaseException as error:
            pass_interrupt(error)
            problems[each.module] = f"{each.path}: {brief(error)}"
    return problems


@frozen
class _PluginFile:
    """A plugin in one file, as it is on disk."""

    path: Path
    sources: frozenset[Path]
    """The file, and those beside it that it imports.

    These are the modules and packages in the same folder that it names in an import, and what those
    name in turn.
    """
    checksum: str
    """First 16 digits of the SHA-256 of all of them."""

    @classmethod
    def read(cls, path: Path) -> _PluginFile:
        folder, sources = path.parent, _sources(path)
        digest = hashlib.sha256(sources[path])
        for each in sorted(set(sources) - {path}):
            digest.update(f"\0{each.relative_to(folder)}\0".encode() + sources[each])
        return cls(path, frozenset(sources), digest.hexdigest()[:16])

    def module(self) -> ModuleType:
        """The module of the file, imported where it is not, or was before the file changed.

        It has the file's own name, which pickling and `Component.target` go by. Where another
        plugin's file has that name already, or the same one as it was before, a hash of path and
        content is put behind it.
        """
        stem = self.path.stem
        of = hashlib.sha256(f"{self.path} {self.checksum}".encode()).hexdigest()[:16]
        for name in (stem, f"{stem}_{of}"):
            known = sys.modules.get(name)
            if known is None:
                return self._import(name)
            if _mark_of(known) == (self.path, self.checksum):
                return known
        raise UserError(f"there is a module {stem!r} already; give the file another name")

    def _import(self, name: str) -> ModuleType:
        """Import the file under a name, and with it the files beside it as they are now."""
        beside = self.sources - {self.path}
        names = {each.relative_to(self.path.parent).parts[0].removesuffix(".py") for each in beside}
        folders = _plugin_folders()
        for other, known in list(sys.modules.items()):
            place = Path(getattr(known, "__dict__", {}).get("__file__") or "")
            if other.partition(".")[0] in names and not folders.isdisjoint(place.parents):
                del sys.modules[other]
        spec = importlib.util.spec_from_file_location(name, self.path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        setattr(module, _MARK, (self.path, self.checksum))
        sys.modules[name] = module
        folder = str(self.path.parent)
        if folder not in sys.path:
            sys.path.append(folder)  # for imports later on, behind all others
        sys.path.insert(0, folder)
        try:
            with prints_aside(), process_state_kept(f"plugin {self.path}"):
                spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        finally:
            sys.path.remove(folder)
        return module

    def check_own(self, kind: Kind, component: Component) -> None:
        """Raises UserError where a component lives in another file beside this one or in none.

        As that of a copy does that was not changed: the checksum would stand for code that is not
        in it.
        """
        stem, folder = self.path.stem, self.path.parent
        for reference in (component.target, component.settings):
            module, _, name = reference.partition(":")
            place = Path(*module.split(".")).with_suffix(".py")
            folders = (folder, Path.cwd()) if "." not in module else (folder,)
            is_other = any((each / place).is_file() for each in folders) and (
                folder / place not in self.sources
            )
            is_nowhere = importlib.util.find_spec(module.partition(".")[0]) is None
            if module != stem and (is_other or (is_nowhere and not component.requires)):
                raise UserError(
                    f"{kind} {component.name!r}: found {reference!r}, which is not in this file; "
                    f"expected '{stem}:{name}'"
                )

    def renamed(self, item: C, module: str) -> C:
        """What the file says of itself by its own name, by the name that it was imported as."""

        def moved(reference: str) -> str:
            return re.sub(rf"^{self.path.stem}:", f"{module}:", reference)

        if isinstance(item, Command):
            return evolve(item, target=moved(item.target))
        return evolve(
            item,
            target=moved(item.target),
            settings=moved(item.settings),
            weights=tuple(map(moved, item.weights)),
        )


def _sources(path: Path) -> dict[Path, bytes]:
    """What a Python file, and the files beside it that it imports, hold."""
    folder, sources, waiting = path.parent, dict[Path, bytes](), [path]
    while waiting:
        each = waiting.pop()
        content = each.read_bytes()
        sources[each] = content
        for name in _imported_names(ast.parse(content, each.name), each.relative_to(folder)):
            place = folder.joinpath(*name.split("."))
            found = [place.with_suffix(".py"), place / "__init__.py"]
            waiting += [
                one for one in found if one.is_file() and one not in sources and one not in waiting
            ]
    return sources


def _imported_names(tree: ast.AST, place: Path) -> Iterator[str]:
    """Dotted names of modules that a file imports or may import from, at any depth of its code."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = (
                list(place.parent.parts)[: len(place.parent.parts) - node.level + 1]
                if node.level
                else []
            )
            base = ".".join([*package, *filter(None, [node.module])])
            names = [
                base,
                *(f"{base}.{alias.name}" if base else alias.name for alias in node.names),
            ]
        for name in filter(None, names):
            parts = name.split(".")
            yield from (".".join(parts[: end + 1]) for end in range(len(parts)))


def _plugin_folders() -> set[Path]:
    """Where the plugins in single files lie that were imported so far."""
    return {mark[0].parent for known in list(sys.modules.values()) if (mark := _mark_of(known))}


def _mark_of(module: object) -> tuple[Path, str] | None:
    """Path and checksum of a plugin's file; None of other modules, some of which have any name."""
    found: tuple[Path, str] | None = getattr(module, "__dict__", {}).get(_MARK)
    return found


@contextmanager
def _of_this_interface() -> Iterator[None]:
    """Says of a plugin that asks for modules of an earlier interface where their names are now."""
    try:
        yield
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("prologue_bench."):
            raise
        raise UserError(
            f"it is written for an earlier interface: there is no {error.name}; 'Interface 2' in "
            "docs/plugins.md says where its names are now"
        ) from None


def _plugin_file(path: Path, where: str) -> Path:
    """The whole path of a plugin's file.

    Raises UserError if it is not a plugin's file, and for a name that is taken.
    """
    path = path.expanduser().resolve()
    if path.suffix != ".py" or not path.is_file():
        found = "no such file" if not path.exists() else "no Python file"
        raise UserError(
            f"{where}: {short(str(path))}: {found}; expected a .py file with hook implementations"
        )
    if not path.stem.isidentifier():
        raise UserError(
            f"{where}: {path}: found the name {path.stem!r}, expected letters, "
            "digits and '_' that Python can import"
        )
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise UserError(
            f"{where}: {path}: found {size / 1e6:.0f} MB, expected a Python file of at most "
            f"{LARGEST_FILE / 1e6:.0f} MB"
        )
    if is_module_elsewhere(path):
        raise UserError(
            f"{where}: {path}: there is a module {path.stem!r} already; give the file another name"
        )
    return path


def is_module_elsewhere(path: Path) -> bool:
    """Whether a module that is no plugin's file has the name of this file already."""
    known = sys.modules.get(path.stem) or importlib.util.find_spec(path.stem)
    place = getattr(known, "__file__", None) or getattr(known, "origin", None)
    return (
        known is not None
        and _mark_of(known) is None
        and (place is None or Path(place).resolve() != path.resolve())
    )


def _check_hooks(plugin: Any, manager: pluggy.PluginManager) -> None:
    """Raises UserError where a plugin brings nothing by a function, or at all, without a word."""
    known = [name for name in vars(hooks) if name.startswith("prologue_")]
    forgotten = [
        name
        for name in known
        if callable(getattr(plugin, name, None))
        and manager.parse_hookimpl_opts(plugin, name) is None
    ]
    advice = "write @hookimpl of prologue_bench.contracts above it"
    if forgotten:
        raise UserError(f"{forgotten[0]} brings nothing: it is no hook; {advice}")
    if not manager.get_hookcallers(plugin):
        alike = [name for name in dir(plugin) if name.startswith("prologue_")]
        if alike:
            raise UserError(
                f"{alike[0]} brings nothing: there is no such hook, {nearest(alike[0], known)}"
            )
        raise UserError(
            f"it brings nothing: found no hook, expected a function such as {known[0]}; {advice}"
        )


def _items(found: Any, kind: type[T]) -> list[T]:
    """What a hook gave, each of the kind that the hook is for. Raises TypeError."""
    if isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable):
        raise TypeError(f"found {shown(found)}, expected a list of {kind.__name__}s")
    items = list(itertools.islice(found, MOST_ITEMS + 1))
    if len(items) > MOST_ITEMS:
        raise ValueError(f"found more than {MOST_ITEMS} items, expected a list of {kind.__name__}s")
    for item in items:
        if not isinstance(item, kind):
            raise TypeError(f"found {shown(item)}, expected a {kind.__name__}")
    return items


def built_in_ablations() -> Path:
    """The folder ablations/, in the checkout or as packed into the wheel."""
    packed = Path(__file__).parent / "_ablations"
    return packed if packed.is_dir() else packed.parent.parent / ABLATIONS


@functools.cache
def built_in_cards() -> Path:
    """The folder registry/, in the checkout or as packed into the wheel."""
    package = Path(__file__).parent
    for candidate in (package / "_registry", package.parent / "registry"):
        if candidate.is_dir():
            return candidate
    raise UserError(
        "the folder registry/ is missing from this installation; install prologue-bench again"
    )
