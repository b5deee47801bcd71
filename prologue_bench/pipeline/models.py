"""Models, losses and metrics, made from settings and loaded from files."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from torch import nn

from prologue_bench.config.experiments import Resolved
from prologue_bench.contracts import checked as contracts
from prologue_bench.contracts.data import DataSource
from prologue_bench.contracts.generator import Generator, JointPrior
from prologue_bench.contracts.images import ImageSpec
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.loss import ReconstructionLoss
from prologue_bench.contracts.metric import Metric
from prologue_bench.contracts.tokenizer import Tokenizer
from prologue_bench.errors import StageError, UserError
from prologue_bench.guard import of_component
from prologue_bench.process_state import process_state_kept
from prologue_bench.storage.weights import load_state

M = TypeVar("M", bound=nn.Module)
TOKENIZER_WEIGHTS, GENERATOR_WEIGHTS = "tokenizer.safetensors", "generator.safetensors"
"""Names of the weights in artifacts and exports."""
PRIOR_WEIGHTS = "prior.safetensors"
"""Beside those of a tokenizer that was trained with a joint prior."""


def build_tokenizer(resolved: Resolved, images: ImageSpec) -> Tokenizer:
    """A tokenizer with new weights. Raises UserError when it cannot be made, or is none."""
    made = _built("tokenizer", resolved, resolved.settings, images)
    return contracts.check_tokenizer(made, resolved.component.called("tokenizer"))


def _built(kind: str, resolved: Resolved, *arguments: object) -> object:
    """An instance of a component. Raises UserError for whatever goes wrong."""
    cls = resolved.component.load()
    who = resolved.component.called(kind)
    with of_component(f"{who} cannot be made"), process_state_kept(who, "made"):
        return cls(*arguments)


def build_data(resolved: Resolved) -> DataSource:
    """A data source, whose answers are not checked yet. Raises UserError when it cannot be made."""
    who = resolved.component.called("data")
    with of_component(who), process_state_kept(who, "made"):
        made: DataSource = resolved.component.load()(resolved.settings)
    return made


def build_generator(resolved: Resolved, layout: TokenLayout, labels: int) -> Generator:
    """A generator with new weights. Raises UserError when it cannot be made, or is none."""
    made = _built("generator", resolved, resolved.settings, layout, labels)
    return contracts.check_generator(made, resolved.component.called("generator"))


def build_prior(resolved: Resolved, layout: TokenLayout, labels: int) -> JointPrior:
    """As `build_generator`, of a generator that a tokenizer can learn from."""
    made = build_generator(resolved, layout, labels)
    return contracts.check_prior(made, resolved.component.called("generator"))


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
    result = tokenizer.load_state_dict(load_state(path), strict=False)
    if result.unexpected_keys:
        raise StageError(
            f"{path}: {result.unexpected_keys[0]!r} has no place in the tokenizer that builds on it"
        )


def count_parameters(module: nn.Module) -> int:
    """How many numbers a module learns."""
    return sum(parameter.numel() for parameter in module.parameters())
