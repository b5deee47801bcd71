"""Data sources and models of stages.

They are made from settings or loaded from the store, each kept where that saves time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from prologue_bench.config.ablation import Resolved
from prologue_bench.config.settings import plain_values
from prologue_bench.contracts import checked as contracts
from prologue_bench.contracts.data import DataSource
from prologue_bench.contracts.generator import Generator
from prologue_bench.contracts.images import ImageSpec
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.loss import ReconstructionLoss
from prologue_bench.contracts.metric import Metric
from prologue_bench.contracts.tokenizer import Tokenizer
from prologue_bench.errors import StageError, UserError
from prologue_bench.guard import of_component
from prologue_bench.pipeline import stages
from prologue_bench.pipeline.held_out import WithoutHeldOut
from prologue_bench.storage.files import follow_umask
from prologue_bench.storage.store import Store

M = TypeVar("M", bound=nn.Module)
TOKENIZER_WEIGHTS, GENERATOR_WEIGHTS = "tokenizer.safetensors", "generator.safetensors"
"""Names of the weights in artifacts and exports."""
_sources: dict[str, DataSource] = {}
_without_held_out: dict[tuple[str, int], WithoutHeldOut] = {}
_on_meta: dict[str, Tokenizer] = {}
_generators_on_meta: dict[tuple[str, TokenLayout, int], Generator] = {}


def open_data(resolved: Resolved) -> DataSource:
    """The data source, kept for the stages that follow."""
    name = identity(resolved)
    if name not in _sources:
        who = resolved.component.called("data")
        with of_component(who):
            made = resolved.component.load()(resolved.settings)
        _sources[name] = contracts.CheckedData(made, who)
    return _sources[name]


def data_of(stage: stages.TokenizerStage) -> DataSource:
    """The data that a tokenizer, and all that follows from it, learns from and is measured on."""
    whole, held_out = open_data(stage.data.resolved), stage.data.held_out
    if not held_out:
        return whole
    name = (identity(stage.data.resolved), held_out)
    if name not in _without_held_out or _without_held_out[name].data is not whole:
        _without_held_out[name] = WithoutHeldOut(whole, held_out)
    return _without_held_out[name]


def assume_data(resolved: Resolved, source: DataSource) -> None:
    """Let a source stand for the data in this process."""
    _sources[identity(resolved)] = source


@contextmanager
def assumptions() -> Iterator[None]:
    """What is assumed inside is forgotten afterwards."""
    before = dict(_sources)
    try:
        yield
    finally:
        _sources.clear()
        _sources.update(before)


def build_tokenizer(resolved: Resolved, images: ImageSpec) -> Tokenizer:
    """A tokenizer with new weights. Raises UserError when it cannot be made, or is none."""
    made = _built("tokenizer", resolved, resolved.settings, images)
    return contracts.check_tokenizer(made, resolved.component.called("tokenizer"))


def tokenizer_on_meta(tokenizer: Resolved, data: Resolved) -> Tokenizer:
    """An instance for its layout and for counting.

    It takes no memory for its weights where the tokenizer allows that. Raises UserError when the
    tokenizer cannot be made with these settings for these images.
    """
    name = identity(tokenizer) + identity(data)
    if name not in _on_meta:
        images = open_data(data).spec
        _on_meta[name] = _without_memory(lambda: build_tokenizer(tokenizer, images))
    return _on_meta[name]


def _without_memory(build: Callable[[], M]) -> M:
    """A model on the meta device, or as it is where that cannot be, as where it loads weights."""
    try:
        with torch.device("meta"):
            return build()
    except UserError as error:
        if error.__cause__ is None:  # the component says so itself
            raise
    return build()


def _built(kind: str, resolved: Resolved, *arguments: object) -> object:
    """An instance of a component. Raises UserError for whatever goes wrong."""
    cls = resolved.component.load()
    with of_component(f"{resolved.component.called(kind)} cannot be made"):
        return cls(*arguments)


def build_generator(resolved: Resolved, layout: TokenLayout, labels: int) -> Generator:
    """A generator with new weights. Raises UserError when it cannot be made, or is none."""
    made = _built("generator", resolved, resolved.settings, layout, labels)
    return contracts.check_generator(made, resolved.component.called("generator"))


def generator_on_meta(resolved: Resolved, layout: TokenLayout, labels: int) -> Generator:
    """An instance for counting, without memory for its weights where the generator allows that.

    Raises UserError when the generator cannot be made with these settings for these tokens.
    """
    name = (identity(resolved), layout, labels)
    if name not in _generators_on_meta:
        _generators_on_meta[name] = _without_memory(
            lambda: build_generator(resolved, layout, labels)
        )
    return _generators_on_meta[name]


def build_loss(resolved: Resolved, images: ImageSpec) -> ReconstructionLoss:
    """A loss of reconstructions.

    Raises UserError when it cannot be made, as without weights that it needs.
    """
    made = _built("loss", resolved, resolved.settings, images)
    return contracts.check_loss(made, resolved.component.called("loss"))


def loss_class(resolved: Resolved) -> type[ReconstructionLoss]:
    """The class of a loss of reconstructions. Raises UserError for another one."""
    loss: type[ReconstructionLoss] = resolved.component.load()
    who = resolved.component.called("loss")
    contracts.check_class(loss, ReconstructionLoss, who)
    contracts.expect(loss.learns, bool, who, "`learns`")
    return loss


def check_loss(resolved: Resolved, images: ImageSpec) -> None:
    """Raises UserError when a loss cannot work with these settings for these images."""
    loss = loss_class(resolved)
    try:
        with of_component(resolved.component.called("loss")):
            loss.check(resolved.settings, images)
    except UserError as error:
        if error.__cause__ is None:  # the loss says so itself
            raise
        build_loss(resolved, images)  # such as one that loads weights in its constructor


def build_metric(resolved: Resolved) -> Metric:
    """A metric. Raises UserError when it cannot be made, or is none."""
    made = _built("metric", resolved, resolved.settings)
    return contracts.expect(made, Metric, resolved.component.called("metric"))  # type: ignore[type-abstract]


def needs_of(metric: Resolved) -> tuple[str, ...]:
    """What a metric asks for. Raises UserError for a name that does not exist."""
    cls: type[Metric] = metric.component.load()
    who = metric.component.called("metric")
    contracts.check_class(cls, Metric, who)
    return contracts.check_needs(cls.needs, who)


def load_foundation(tokenizer: Tokenizer, path: Path) -> None:
    """Load the weights of the tokenizer that this builds on into its parts of the same names."""
    result = tokenizer.load_state_dict(load_file(path), strict=False)
    if result.unexpected_keys:
        raise StageError(
            f"{path}: {result.unexpected_keys[0]!r} has no place in the tokenizer that builds on it"
        )


def load_tokenizer(stage: stages.TokenizerStage, store: Store, device: torch.device) -> Tokenizer:
    """The trained tokenizer, in evaluation mode."""
    tokenizer = build_tokenizer(stage.tokenizer, open_data(stage.data.resolved).spec)
    return load_weights(tokenizer, store.get(stage.key) / TOKENIZER_WEIGHTS, device)


def load_generator(stage: stages.GeneratorStage, store: Store, device: torch.device) -> Generator:
    """The trained generator, in evaluation mode."""
    tokenizer = stage.tokens.tokenizer
    labels = open_data(tokenizer.data.resolved).spec.labels
    generator = build_generator(stage.generator, layout_of(tokenizer), labels)
    return load_weights(generator, store.get(stage.key) / GENERATOR_WEIGHTS, device)


def layout_of(stage: stages.TokenizerStage) -> TokenLayout:
    """The token layout of a stage's tokenizer."""
    return tokenizer_on_meta(stage.tokenizer, stage.data.resolved).layout


def count_parameters(module: nn.Module) -> int:
    """How many numbers a module learns."""
    return sum(parameter.numel() for parameter in module.parameters())


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's weights as safetensors."""
    # Shared tensors (tied embeddings) are stored once under each name.
    save_file(
        {
            name: value.detach().cpu().clone().contiguous()
            for name, value in module.state_dict().items()
        },
        path,
    )
    follow_umask(path)


def load_weights(module: M, path: Path, device: torch.device | str = "cpu") -> M:
    """The module with the weights of a safetensors file, in evaluation mode."""
    module.load_state_dict(load_file(path))
    return module.to(device).eval()


def identity(resolved: Resolved) -> str:
    """Tells a component with its settings from others, for what is kept in this process."""
    return json.dumps([resolved.component.target, plain_values(resolved.settings)], sort_keys=True)
