"""What a check is, and what checks of several kinds of components share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from attrs import frozen
from torch import Tensor, nn

from prologue_bench.contracts.images import ImageSpec
from prologue_bench.errors import UserError
from prologue_bench.guard import shown


def made_up(side: int, channels: int = 3) -> ImageSpec:
    """Images of five classes that components are checked on."""
    names = ("a", "b", "c", "d", "e")
    return ImageSpec(channels=channels, height=side, width=side, class_names=names)


IMAGES = made_up(28)
"""Made-up images that components are checked on: small, in colour, with a side that 4 and 7
divide."""
BATCH = 6
M = TypeVar("M")
TOLERANCE = 1e-4


class Broken(Exception):  # noqa: N818 - a contract is broken
    """A contract that the component does not keep: what was found, and what was expected."""


class ConstructorFailed(Broken):
    """There is no instance to check; the cause is what the constructor raised, if it did."""


class Skipped(Exception):  # noqa: N818 - nothing went wrong
    """Why a check says nothing here."""


@frozen
class Check:
    """One contract of one component.

    `run` raises Broken where it is not kept and Skipped where it cannot be told.
    """

    name: str
    contract: str
    run: Callable[[], None]


def require(holds: bool | Tensor, message: str) -> None:
    """Raise Broken where it does not hold."""
    if not bool(holds):
        raise Broken(message)


def made(build: Callable[[], M]) -> M:
    """An instance. Raises ConstructorFailed where there is none of its kind."""
    try:
        return build()
    except UserError as error:
        raise ConstructorFailed(str(error)) from error.__cause__


def a_tensor(found: object, what: str) -> Tensor:
    """What was found. Raises Broken where it is no tensor."""
    if not isinstance(found, Tensor):
        raise Broken(f"{what} gives {shown(found)}, expected a tensor")
    return found


def random_images(images: ImageSpec, seed: int = 0) -> Tensor:
    """Float images [B, C, H, W] in [-1, 1], smooth enough for tokenizers to tell them apart."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(BATCH, images.channels, 4, 4, generator=rng) * 2 - 1
    return nn.functional.interpolate(coarse, (images.height, images.width), mode="bilinear")


def same_shapes(found: object, expected: tuple[int, ...], what: str) -> None:
    """Raise Broken for another shape, and for what is no tensor."""
    shape = tuple(a_tensor(found, what).shape)
    require(shape == expected, f"{what}: found shape {shape}, expected {expected}")


@contextmanager
def left_as_they_were(what: str, **inputs: Tensor) -> Iterator[None]:
    """Raise Broken where any of these inputs is written to, or has other values at the end."""
    before = {name: (each.clone(), each._version) for name, each in inputs.items()}
    yield
    changed = [
        name
        for name, each in inputs.items()
        if each._version != before[name][1] or not torch.equal(each, before[name][0])
    ]
    require(
        not changed,
        f"{what} changes its {' and '.join(changed)} in place; work on a copy, such as "
        f"{''.join(changed[:1])}.clone()",
    )


def parameters_without_gradient(module: nn.Module) -> list[str]:
    """Names of parameters that want a gradient and have none."""
    return [
        name for name, each in module.named_parameters() if each.requires_grad and each.grad is None
    ]


def check_pickling(module: nn.Module, answer: Callable[[Any], Tensor]) -> None:
    """A pickled copy must give the same answer: workers get their components so."""
    import pickle

    try:
        copy = pickle.loads(pickle.dumps(module))
    except Exception as error:
        raise Broken(f"cannot be pickled for a worker: {type(error).__name__}: {error}") from None
    require(torch.equal(answer(copy), answer(module)), "a pickled copy gives other results")


def check_state(
    make: Callable[[int], nn.Module],
    answer: Callable[[Any], Tensor],
    train: Callable[[Any], object] = lambda module: None,
) -> None:
    """Weights saved as safetensors and loaded into another instance must give the same answer.

    `train` takes a few steps before: what training changes must be among them.
    """
    import tempfile
    from pathlib import Path

    from prologue_bench.pipeline.restoring import unsaved
    from prologue_bench.storage.weights import load_weights, save_weights

    module, other = make(0), make(1)
    train(module)
    module.eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_weights(module, path)
        try:
            load_weights(other, path)
        except RuntimeError as error:
            raise Broken(
                f"its weights do not load into another instance: {str(error).splitlines()[0]}"
            ) from None
    if torch.allclose(answer(other).float(), answer(module).float(), atol=TOLERANCE):
        return
    named = ", ".join(unsaved(module, other))
    raise Broken(
        "an instance with the same weights gives other results"
        f"{f' ({named} differs)' if named else ''}; something that matters is neither parameter "
        "nor saved buffer: register_buffer(name, tensor), not with persistent=False"
    )


def check_devices(module: nn.Module, answer: Callable[[Any, torch.device], Any]) -> None:
    """Everything must move with the module: on a GPU if there is one, else on the meta device."""
    device = torch.device("cuda" if torch.cuda.is_available() else "meta")
    try:
        answer(module.to(device), device)
    except NotImplementedError as error:
        raise Skipped(f"only a GPU can tell: {str(error).splitlines()[0]}") from None
    except RuntimeError as error:
        text = str(error).splitlines()[0]
        if "meta" in text and "item" in text:  # control flow that depends on data
            raise Skipped(f"only a GPU can tell: {text}") from None
        raise Broken(
            f"cannot run on another device: {text}; register constants as buffers, "
            "and make new tensors on the input's device"
        ) from None
