"""Initial weights that variants share wherever they have them in common.

Drawn one after another from one generator, all weights behind a part that only one variant has
would differ. Here each draw has a stream of its own, named by the path of the parameter or buffer
that it goes into.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Self, TypeVar

import torch
from attrs import define, field
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from prologue_bench import seeds
from prologue_bench.seeds import Name

M = TypeVar("M", bound=nn.Module)
PURPOSE = "initial weights"


def draw_weights(build: Callable[[], M], *names: Name) -> M:
    """The module that `build` makes, its random weights drawn from streams.

    A stream is of (*names, path, number of the draw). So modules built under the same names share
    every weight of the same path and shape that their constructors draw alike. Nothing is asked of
    the constructors: PyTorch's operations are watched. The module is built twice, since only when
    it is complete is it known where a weight stands in it. Three kinds of draws are left as they
    are: those with a generator of their own, those after a constructor has seeded PyTorch itself,
    and those of NumPy and Python. The global generators are afterwards as they were before.
    """
    with seeds.seeded(PURPOSE, *names), _Recorder() as recorder:
        module = build()
    found = recorder.found(module)
    del module, recorder
    with seeds.seeded(PURPOSE, *names), _Drawer(found, names):
        return build()


@define
class _Found:
    """What the first building tells the second.

    `registered` has the path of each tensor in the order in which modules registered them, "" where
    it was replaced. `loose` has the draws into other tensors: for each stretch of the building,
    what they looked like and the path that their values went into.
    """

    registered: list[str]
    loose: dict[int, list[tuple[str, str]]] = field(factory=dict)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation, and every parameter and buffer that a module registers.

    A stretch of the building ends where a tensor is registered, or another registered tensor is
    drawn into. The count of stretches says where the building is, however often a draw was rejected
    and repeated.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.registered: list[Any] = []
        """Storages in order. They are held fast, so that no other gets the address of one."""
        self.places: dict[int, int] = {}
        """The last place of each in `registered`."""
        self.stretch = 0
        self.drawn_into: int | None = None
        self._hooks = ExitStack()

    def __enter__(self) -> Self:
        for register in (
            register_module_parameter_registration_hook,
            register_module_buffer_registration_hook,
        ):
            handle = register(self._register)
            self._hooks.callback(handle.remove)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.close()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def _register(self, module: nn.Module, name: str, tensor: Tensor | None) -> None:
        for key, storage in _storages(tensor).items():
            self.places[key] = len(self.registered)
            self.registered.append(storage)
        self.stretch += 1
        self.drawn_into = None

    def place_of(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int | None:
        """The place of the registered tensor that a random operation is about to fill.

        None for any other tensor.
        """
        filled = _storages(kwargs.get("out", args[0] if func._schema.is_mutable else None))
        place = next((self.places[key] for key in filled if key in self.places), None)
        if place is not None and place != self.drawn_into:
            self.stretch += 1
            self.drawn_into = place
        return place


class _Recorder(_Watch):  # type: ignore[no-untyped-call]
    """Follows what is drawn at random, and what is computed from it, to where it is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.loose: list[tuple[int, str, int, list[int]]] = []
        """Of each loose draw: stretch, looks, number of steps recorded before, and the storages
        that hold it."""
        self.steps: list[tuple[int, int]] = []
        """Storages that were read, and those that were then written."""
        self.followed: dict[int, Any] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        is_draw = _is_draw(func, kwargs)
        is_loose = is_draw and self.place_of(func, args, kwargs) is None
        result = func(*args, **kwargs)
        written = _storages(result)
        if is_loose:
            self.loose.append(
                (self.stretch, _looks(func, args, kwargs), len(self.steps), list(written))
            )
        if is_draw:
            self.followed |= written
        read = [key for key in _storages((args, kwargs)) if key in self.followed]
        for source, target in itertools.product(read, written):
            if source != target:
                self.steps.append((source, target))
                self.followed[target] = written[target]
        return result

    def found(self, module: nn.Module) -> _Found:
        """What the building of this module was like."""
        paths: dict[int, str] = {}
        for path, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
            for key in _storages(tensor):
                paths.setdefault(key, path)
        found = _Found([paths.get(storage._cdata, "") for storage in self.registered])
        for stretch, looks, start, filled in self.loose:
            found.loose.setdefault(stretch, []).append((looks, self._kept_at(paths, start, filled)))
        return found

    def _kept_at(self, paths: Mapping[int, str], start: int, filled: list[int]) -> str:
        """The first path that a draw reached, directly or through what was computed from it."""
        reached = set(filled)
        for key in filled:
            if key in paths:
                return paths[key]
        for source, target in self.steps[start:]:
            if source in reached:
                if target in paths:
                    return paths[target]
                reached.add(target)
        return ""


class _Drawer(_Watch):  # type: ignore[no-untyped-call]
    """Seeds PyTorch's global generators before each draw, by where it goes."""

    def __init__(self, found: _Found, names: tuple[Name, ...]) -> None:
        super().__init__()
        self.found = found
        self.names = names
        self.numbers: dict[str, int] = {}
        self.last = ("", "")
        """Looks and path of the last draw."""
        self.states = {_state()}
        """Those that this object left behind: in any other, the constructor has seeded PyTorch
        itself."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not _is_draw(func, kwargs):
            return func(*args, **kwargs)
        path = self._path(func, args, kwargs)
        if _state() not in self.states:
            return func(*args, **kwargs)
        number = self.numbers[path] = self.numbers.get(path, -1) + 1
        seeds.seed_torch(PURPOSE, *self.names, path, number)
        result = func(*args, **kwargs)
        self.states.add(_state())
        return result

    def _path(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        place, looks = self.place_of(func, args, kwargs), _looks(func, args, kwargs)
        if place is not None:
            known = self.found.registered
            path = known[place] if place < len(known) else ""
        else:
            path = self._loose_path(looks)
        self.last = (looks, path)
        return path

    def _loose_path(self, looks: str) -> str:
        """That of the next draw of the same looks in this stretch of the first building.

        Where there is none, a draw is repeated that was rejected: it goes where the last one went.
        """
        expected = self.found.loose.get(self.stretch, [])
        for index, (other, path) in enumerate(expected):
            if other == looks:
                del expected[: index + 1]
                return path
        return self.last[1]


def _is_draw(func: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether an operation draws from a global generator."""
    return torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None


def _looks(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """An operation with its arguments, tensors by their shapes."""
    return str(
        (
            func,
            tree_map(
                lambda x: tuple(x.shape) if isinstance(x, Tensor) else x, (args, dict(kwargs))
            ),
        )
    )


def _storages(values: Any) -> dict[int, Any]:
    """The memory of all tensors among the values, by address."""
    found = {}
    for value in tree_leaves(values):
        if isinstance(value, Tensor) and value.layout == torch.strided:
            storage = value.untyped_storage()
            found[storage._cdata] = storage
    return found


def _state() -> int:
    """A hash of the state of PyTorch's generator."""
    return hash(torch.default_generator.get_state().numpy().tobytes())
