"""Training tokenizers and generators, and taking over a joint prior."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench import seeds
from prologue_bench.config.experiments import Resolved
from prologue_bench.config.settings import TokenizerTraining
from prologue_bench.contracts.data import DataSource
from prologue_bench.contracts.generator import Generator
from prologue_bench.contracts.images import to_float
from prologue_bench.contracts.tokenizer import Tokenizer
from prologue_bench.errors import StageError
from prologue_bench.pipeline import models, stages
from prologue_bench.pipeline.flops import counted_flops
from prologue_bench.pipeline.repeating import LOOKED_AT, check_repeats
from prologue_bench.pipeline.restoring import check_restored
from prologue_bench.pipeline.tokens import open_tokens
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.weights import load_state, save_weights
from prologue_bench.training import compiling, distributed, terms
from prologue_bench.training.batches import ArrayDataset
from prologue_bench.training.context import StageContext
from prologue_bench.training.initial import draw_weights
from prologue_bench.training.inside import IMAGES, LookedAt
from prologue_bench.training.models import GeneratorModel, LossModel, TokenizerModel
from prologue_bench.training.recording import can_be_recorded
from prologue_bench.training.runner import TrainingJob, train


def train_tokenizer(
    stage: stages.TrainTokenizer, workspace: Workspace, context: StageContext
) -> None:
    """Train a tokenizer, with its joint prior where it asks for one."""
    data = workspace.data_of(stage)
    tokenizer = draw_weights(
        partial(models.build_tokenizer, stage.tokenizer, data.spec), "tokenizer", stage.seed
    )
    if stage.foundation is not None:
        models.load_foundation(
            tokenizer, workspace.store.get(stage.foundation.key) / models.TOKENIZER_WEIGHTS
        )
    if tokenizer.frozen:
        if distributed.is_leader():
            save_weights(tokenizer, context.output / models.TOKENIZER_WEIGHTS)
        return
    parts = {"autoencoder": (list(tokenizer.parameters()), stage.training.autoencoder)}
    prior = None
    if stage.prior is not None:
        prior = draw_weights(
            partial(models.build_prior, stage.prior, tokenizer.layout, data.spec.labels),
            "prior",
            stage.seed,
        )
        parts["prior"] = (list(prior.parameters()), stage.training.prior_optimisation)
    labels = terms.labels(loss.name for loss in stage.losses)
    built = [
        draw_weights(partial(models.build_loss, loss, data.spec), "loss", label, stage.seed)
        for label, loss in zip(labels, stage.losses, strict=True)
    ]
    losses = dict(zip(labels, built, strict=True))
    learning = [
        parameter for loss in built for parameter in loss.parameters() if parameter.requires_grad
    ]
    if learning and not stage.losses_learn:
        names = ", ".join(losses)
        raise StageError(
            f"losses {names}: found parameters to train, expected none of a loss that says learns "
            "= False"
        )
    if learning:
        parts["losses"] = (learning, stage.training.loss_optimisation)
    arrays: dict[str, Any] = {"images": data.training_views()}
    if prior is not None and stage.training.prior_labels:
        arrays["labels"] = np.repeat(data.labels("train"), data.views)
    training = compiling.decided(
        stage.training,
        partial(counted_flops, stage, workspace),
        [tokenizer, *([prior] if prior else [])],
        context,
    )
    model = TokenizerModel(tokenizer, prior, training, data.spec.none_label, losses)
    _record_steps(
        model, [stage.tokenizer, *([stage.prior] if stage.prior else []), *stage.losses], context
    )
    called = {"tokenizer": stage.tokenizer.component.called("tokenizer")}
    if stage.prior is not None:
        called["prior"] = stage.prior.component.called("generator")
    for index, loss in enumerate(stage.losses):
        called[f"reconstruction_losses.{index}"] = loss.component.called("loss")
    check_repeats(
        model.tokenizer.to(context.device),
        _first_images(data).to(context.device),
        called["tokenizer"],
        model.autocast(),
        alone=False,
    )
    averaged = train(
        TrainingJob(
            model=model,
            data=ArrayDataset(arrays),
            training=training,
            parts=parts,
            seed=stage.seed,
            context=context,
            looked_at=_looked_at(data, training),
            called=called,
        )
    )
    assert isinstance(averaged, TokenizerModel)
    if distributed.is_leader():
        _check_restored(stage, model, data)
        save_weights(averaged.tokenizer, context.output / models.TOKENIZER_WEIGHTS)
        if averaged.prior is not None:
            save_weights(averaged.prior, context.output / models.PRIOR_WEIGHTS)


def _check_restored(stage: stages.TrainTokenizer, model: TokenizerModel, data: DataSource) -> None:
    """Raises StageError where the weights of tokenizer or prior are not all that was trained.

    The model itself is looked at: its moving average was never asked for losses, which is where
    components change what is no weight.
    """
    images = _first_images(data).to(model.device)
    firsts: list[Tensor] = []

    def answers(tokenizer: Tokenizer) -> dict[str, Tensor]:
        ids = tokenizer.encode(images)
        firsts.append(ids)
        # Of the trained model's ids: one that rounding flips would change the whole of its image.
        return {"ids": ids, "reconstructions": tokenizer.decode(firsts[0])}

    check_restored(
        model.tokenizer,
        partial(models.build_tokenizer, stage.tokenizer, data.spec),
        answers,
        stage.tokenizer.component.called("tokenizer"),
        model.autocast(),
    )
    if stage.prior is None or model.prior is None or not firsts:
        return
    check_restored(
        model.prior,
        partial(models.build_prior, stage.prior, model.tokenizer.layout, data.spec.labels),
        partial(_generator_answers, model, firsts[0].cpu().numpy(), _labels(data)),
        stage.prior.component.called("generator"),
        model.autocast(),
    )


def _first_images(data: DataSource) -> Tensor:
    """The first views of training images, by which models are told apart."""
    return to_float(torch.tensor(np.asarray(data.training_views()[:LOOKED_AT])))


def _labels(data: DataSource) -> NDArray[np.int64]:
    """Of the first training images, by which restored models are told apart."""
    return np.repeat(data.labels("train")[:LOOKED_AT], data.views)[:LOOKED_AT]


def _generator_answers(
    model: LossModel, ids: NDArray[Any], labels: NDArray[np.int64], generator: Generator
) -> dict[str, Tensor]:
    """Losses and likelihoods of ids, with what a last step would draw."""
    of = torch.tensor(ids).long().to(model.device)
    classes = torch.from_numpy(labels).to(model.device)
    drawn = generator.draws(len(ids), partial(seeds.generator, "saved weights"), 1.0)
    losses: Callable[..., Tensor] = generator.losses
    on_device = {name: value.to(model.device) for name, value in drawn.items()}
    found = {"losses": losses(of, classes, **on_device)}
    if generator.has_likelihood and (nll := generator.nll(of, classes)) is not None:
        found |= {"likelihoods": generator.layout.join(nll)}
    return found


def _record_steps(model: LossModel, used: Sequence[Resolved], context: StageContext) -> None:
    """Have a GPU record the model's steps where that can be, and say so in the log."""
    components = [each.component for each in used]
    if can_be_recorded(model.training_settings, components, context.device):
        model.record_steps()
        with context.log.open("a") as log:
            log.write("steps: recorded once on the GPU, and repeated\n")


def _looked_at(data: DataSource, training: TokenizerTraining) -> LookedAt | None:
    """The test images by which a training is watched; nothing is chosen by them."""
    if not training.inspect_steps or not distributed.is_leader():
        return None
    chosen = data.subset("test", IMAGES)
    return LookedAt(images=data.images("test")[chosen], labels=data.labels("test")[chosen])


def train_generator(
    stage: stages.TrainGenerator, workspace: Workspace, context: StageContext
) -> None:
    """Train a generator on the cached tokens."""
    data = workspace.data_of(stage.tokens.tokenizer)
    ids = open_tokens(workspace.store.get(stage.tokens.key), "train")
    layout = workspace.layout_of(stage.tokens.tokenizer)
    generator = draw_weights(
        partial(models.build_generator, stage.generator, layout, data.spec.labels),
        "generator",
        stage.seed,
    )
    if stage.from_prior:
        path = workspace.store.get(stage.tokens.tokenizer.key) / models.PRIOR_WEIGHTS
        generator.load_state_dict(load_state(path))
    training = compiling.decided(
        stage.training, partial(counted_flops, stage, workspace), [generator], context
    )
    model = GeneratorModel(generator, training, data.spec.none_label)
    _record_steps(model, [stage.generator], context)
    averaged = train(
        TrainingJob(
            model=model,
            data=ArrayDataset({"ids": ids, "labels": np.repeat(data.labels("train"), data.views)}),
            training=training,
            parts={"generator": (list(generator.parameters()), stage.training.optimisation)},
            seed=stage.seed,
            context=context,
            called={"generator": stage.generator.component.called("generator")},
        )
    )
    assert isinstance(averaged, GeneratorModel)
    if distributed.is_leader():
        check_restored(
            generator,
            partial(models.build_generator, stage.generator, layout, data.spec.labels),
            partial(_generator_answers, model, np.asarray(ids[:LOOKED_AT]), _labels(data)),
            stage.generator.component.called("generator"),
            model.autocast(),
        )
        save_weights(averaged.generator, context.output / models.GENERATOR_WEIGHTS)


def take_prior(stage: stages.TakePrior, workspace: Workspace, context: StageContext) -> None:
    """The joint prior becomes the generator."""
    shutil.copyfile(
        workspace.store.get(stage.tokens.tokenizer.key) / models.PRIOR_WEIGHTS,
        context.output / models.GENERATOR_WEIGHTS,
    )
