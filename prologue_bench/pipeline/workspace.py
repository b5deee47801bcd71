"""What the stages of plans share: the store, the data that are open, and models without memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from prologue_bench.config.experiments import Resolved
from prologue_bench.config.settings import plain_values
from prologue_bench.contracts import checked as contracts
from prologue_bench.contracts.data import DataSource
from prologue_bench.contracts.generator import Generator, JointPrior
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.tokenizer import Tokenizer
from prologue_bench.errors import PrologueBenchError, UserError
from prologue_bench.pipeline import models, stages
from prologue_bench.pipeline.held_out import WithoutHeldOut
from prologue_bench.storage.giving import giving_weights
from prologue_bench.storage.store import Store
from prologue_bench.storage.weights import load_weights

M = TypeVar("M", bound=nn.Module)
LATELY = 8
"""Models that are kept for counting: as many as the stages of a few variants share."""


class Workspace:
    """A store, and what was opened or built for it, each once.

    Plans made in one workspace share the data sets that they open and the models that they build
    for counting. Two workspaces share nothing in memory.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._sources: dict[str, DataSource] = {}
        self._without_held_out: dict[tuple[str, int], WithoutHeldOut] = {}
        self._tokenizers: dict[str, Tokenizer] = {}
        self._with_weights: set[str] = set()
        self._generators: dict[tuple[str, TokenLayout, int], Generator] = {}
        self._counts: dict[tuple[object, ...], float] = {}
        self._lately: dict[tuple[object, ...], Any] = {}

    def once(self, name: tuple[object, ...], count: Callable[[], float]) -> float:
        """A number, counted the first time it is asked for."""
        if name not in self._counts:
            self._counts[name] = count()
        return self._counts[name]

    def lately(self, name: tuple[object, ...], make: Callable[[], M]) -> M:
        """A model, made where it is none of the last that were asked for."""
        made: M = self._lately.pop(name) if name in self._lately else make()
        self._lately[name] = made
        if len(self._lately) > LATELY:
            del self._lately[next(iter(self._lately))]
        return made

    def open_data(self, resolved: Resolved) -> DataSource:
        """The data source, kept for the stages that follow."""
        name = identity(resolved)
        if name not in self._sources:
            made = models.build_data(resolved)
            self._sources[name] = contracts.CheckedData(made, resolved.component.called("data"))
        return self._sources[name]

    def data_of(self, stage: stages.TokenizerStage) -> DataSource:
        """The data that a tokenizer, and all that follows from it, learns from and is measured
        on."""
        whole, held_out = self.open_data(stage.data.resolved), stage.data.held_out
        if not held_out:
            return whole
        name = (identity(stage.data.resolved), held_out)
        known = self._without_held_out.get(name)
        if known is None or known.data is not whole:
            known = self._without_held_out[name] = WithoutHeldOut(whole, held_out)
        return known

    def assume_data(self, resolved: Resolved, source: DataSource) -> None:
        """Let a source stand for the data."""
        self._sources[identity(resolved)] = source

    @contextmanager
    def assumptions(self) -> Iterator[None]:
        """What is assumed inside is forgotten afterwards."""
        before = dict(self._sources)
        try:
            yield
        finally:
            self._sources = before

    def tokenizer_on_meta(self, tokenizer: Resolved, data: Resolved) -> Tokenizer:
        """An instance for its layout and for counting.

        It takes no memory for its weights where the tokenizer allows that. Raises UserError when
        the tokenizer cannot be made with these settings for these images.
        """
        name = identity(tokenizer) + identity(data)
        if name not in self._tokenizers:
            with giving_weights():
                self._tokenizers[name] = self._tokenizer_without_memory(tokenizer, data)
        return self._tokenizers[name]

    def check_weights(self, tokenizer: Resolved, data: Resolved) -> None:
        """Hold a tokenizer against the released weights that its settings name, if they do.

        Raises UserError where they do not fit, and MissingDataError where they are not to be had.
        """
        name = identity(tokenizer) + identity(data)
        if name not in self._with_weights:
            self._tokenizers[name] = self._tokenizer_without_memory(tokenizer, data)
            self._with_weights.add(name)

    def _tokenizer_without_memory(self, tokenizer: Resolved, data: Resolved) -> Tokenizer:
        images = self.open_data(data).spec
        return _without_memory(lambda: models.build_tokenizer(tokenizer, images))

    def generator_on_meta(self, resolved: Resolved, layout: TokenLayout, labels: int) -> Generator:
        """An instance for counting, without memory for its weights where it allows that.

        Raises UserError when the generator cannot be made with these settings for these tokens.
        """
        name = (identity(resolved), layout, labels)
        if name not in self._generators:
            self._generators[name] = _without_memory(
                lambda: models.build_generator(resolved, layout, labels)
            )
        return self._generators[name]

    def small_generator(
        self, resolved: Resolved, layout: TokenLayout, labels: int
    ) -> Generator | None:
        """A new instance with weights on the CPU; None of one with more than SMALL parameters."""
        if models.count_parameters(self.generator_on_meta(resolved, layout, labels)) > SMALL:
            return None
        with torch.random.fork_rng(devices=[]):
            return models.build_generator(resolved, layout, labels)

    def prior_on_meta(self, resolved: Resolved, layout: TokenLayout, labels: int) -> JointPrior:
        """As `generator_on_meta`, of a generator that a tokenizer can learn from."""
        made = self.generator_on_meta(resolved, layout, labels)
        return contracts.check_prior(made, resolved.component.called("generator"))

    def layout_of(self, stage: stages.TokenizerStage) -> TokenLayout:
        """The token layout of a stage's tokenizer."""
        return self.tokenizer_on_meta(stage.tokenizer, stage.data.resolved).layout

    def load_tokenizer(self, stage: stages.TokenizerStage, device: torch.device) -> Tokenizer:
        """The trained tokenizer, in evaluation mode."""
        images = self.open_data(stage.data.resolved).spec
        with giving_weights():
            tokenizer = models.build_tokenizer(stage.tokenizer, images)
        path = self.store.get(stage.key) / models.TOKENIZER_WEIGHTS
        return load_weights(tokenizer, path, device)

    def load_generator(self, stage: stages.GeneratorStage, device: torch.device) -> Generator:
        """The trained generator, in evaluation mode."""
        tokenizer = stage.tokens.tokenizer
        labels = self.open_data(tokenizer.data.resolved).spec.labels
        with giving_weights():
            generator = models.build_generator(stage.generator, self.layout_of(tokenizer), labels)
        path = self.store.get(stage.key) / models.GENERATOR_WEIGHTS
        return load_weights(generator, path, device)


def identity(resolved: Resolved) -> str:
    """Tells a component with its settings from others, for what is kept in memory."""
    return json.dumps([resolved.component.target, plain_values(resolved.settings)], sort_keys=True)


SMALL = 5_000_000
"""Parameters of a model that is made on the CPU even where its values are not asked for.

Of small models that is faster. Without memory, torch computes in Python what an `__init__`
computes, and imports its compiler for that, which takes seconds.
"""


def _without_memory(build: Callable[[], M]) -> M:
    """A model on the meta device, or as it is where that cannot be, as where it loads weights."""
    try:
        with small_models(), torch.device("cpu"):
            return build().to("meta")
    except TooManyParametersError:
        pass
    try:
        with torch.device("meta"):
            return build()
    except UserError as error:
        if error.__cause__ is None:  # the component says so itself
            raise
    return build()


class TooManyParametersError(PrologueBenchError):
    """A model has more than SMALL parameters."""


@contextmanager
def small_models() -> Iterator[None]:
    """Inside, making a model of more than SMALL parameters ends; the random state stays as it is.

    Raises TooManyParametersError.
    """
    count = 0

    def add(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        count += parameter.numel() if parameter is not None else 0
        if count > SMALL:
            raise TooManyParametersError

    hook = register_module_parameter_registration_hook(add)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        hook.remove()
