"""FLOPs of stages, counted on models without memory, or on one image where a model needs it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import attrs
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from prologue_bench import seeds
from prologue_bench.config.experiments import Resolved
from prologue_bench.config.search import tried
from prologue_bench.config.settings import Sampling, Training
from prologue_bench.contracts.checked import check_prior
from prologue_bench.contracts.generator import AutoregressiveGenerator, Generator, JointPrior
from prologue_bench.contracts.images import ImageSpec, to_float
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.tokenizer import ContinuousTokenizer, Tokenizer
from prologue_bench.errors import MissingDataError
from prologue_bench.guard import pass_interrupt
from prologue_bench.pipeline import models, stages
from prologue_bench.pipeline.pictures import ATTENTION_IMAGES, COLUMNS, SAMPLE_ROWS
from prologue_bench.pipeline.workspace import SMALL, Workspace, identity
from prologue_bench.sampling.decoding import draw_ids, guidance_scales, is_guided

M = TypeVar("M", bound=nn.Module)
aten = torch.ops.aten


class FlopsBySize:
    """`counted_flops`, counted once for all stages of one size, since a plan may have thousands.

    Stages are of one size where their models have equally many parameters and their settings are
    equal but for seeds and for fractions of how to train or sample, of which only whether they are
    zero or one matters: rates, temperatures, guidance. A fraction of a component may be a size.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._flops: dict[str, float | None] = {}
        self._sizes: dict[str, str] = {}

    def of(self, stage: stages.Stage) -> float | None:
        """The count; None if it cannot be made."""
        size = self._size(stage)
        if size not in self._flops:
            self._flops[size] = counted_flops(stage, self._workspace)
        return self._flops[size]

    def _size(self, stage: stages.Stage) -> str:
        if stage.key not in self._sizes:
            own = _of_size(stage.reads())
            before = [self._size(each) for each in stage.inputs]
            text = json.dumps(
                [stage.kind, own, parameters(stage, self._workspace), before], sort_keys=True
            )
            self._sizes[stage.key] = hashlib.sha256(text.encode()).hexdigest()
        return self._sizes[stage.key]


def counted_flops(stage: stages.Stage, workspace: Workspace) -> float | None:
    """As `stage_flops`; None where a model can run neither without memory nor on the CPU."""
    try:
        return stage_flops(stage, workspace)
    except BaseException as error:  # a plugin's model may raise anything here, and still run later
        pass_interrupt(error)
        return None


def stage_flops(stage: stages.Stage, workspace: Workspace) -> float | None:
    """FLOPs of a whole stage (matrix products and attention).

    None for metrics, and for what has none to count. One image is put forward through the models,
    and the count multiplied. A training step counts three times its forward pass: the backward pass
    has a product for the inputs and one for the weights. Small models are put forward on the CPU,
    with made-up pixels, and others on tensors without memory. What can run neither way, since what
    it does depends on values, gets the first training image on the CPU. 0 stands only for stages
    that have no work to do: taking over a prior, the training of a frozen tokenizer, and
    pictures of what is there.
    """
    if type(stage) in _WITHOUT_WORK or _is_frozen(stage, workspace) or _draws_nothing(stage):
        return 0.0
    counted = _COUNTERS.get(type(stage))
    if counted is None:
        return None
    # The CPU's own attention kernel is none that torch counts.
    with torch.no_grad(), torch.random.fork_rng(devices=[]), sdpa_kernel(SDPBackend.MATH):
        try:
            return counted(stage, _Small(workspace)) or None
        except Exception:  # too large, or one that does not go with made-up pixels
            pass
        try:
            with torch.device("meta"):
                return counted(stage, _OnMeta(workspace)) or None
        except Exception:  # such as one whose control flow depends on values
            return counted(stage, _OnCpu(workspace)) or None


def generator_to_look_at(stage: stages.GeneratorStage, workspace: Workspace) -> Generator:
    """The generator of a stage with random weights, or without memory where it is large.

    For the simplest operations without memory, PyTorch imports its compiler.
    """
    images, tokenizer = _tokenizer(stage.tokens, _OnMeta(workspace))
    asked = (stage.generator, tokenizer.layout, images.labels)
    with torch.random.fork_rng(devices=[]):
        try:
            return _Small(workspace).generator(*asked)
        except Exception:  # too large
            return _OnMeta(workspace).generator(*asked)


def recorded_flops(manifest: Mapping[str, Any]) -> float | None:
    """The FLOPs that an artifact's manifest holds; None where they were not counted."""
    flops = manifest.get("flops")
    return None if flops is None else float(flops)


def parameters(stage: stages.Stage, workspace: Workspace) -> int:
    """Parameters of the models that a stage trains or takes over; 0 for the other stages."""
    with torch.device("meta"):
        if isinstance(stage, stages.TokenizerStage):
            return models.count_parameters(
                workspace.tokenizer_on_meta(stage.tokenizer, stage.data.resolved)
            )
        if isinstance(stage, stages.GeneratorStage):
            images, tokenizer = _tokenizer(stage.tokens, _OnMeta(workspace))
            return models.count_parameters(
                workspace.generator_on_meta(stage.generator, tokenizer.layout, images.labels)
            )
    return 0


class _OnMeta:
    """Models and images without memory."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def tokenizer(self, tokenizer: Resolved, data: Resolved) -> Tokenizer:
        return self.workspace.tokenizer_on_meta(tokenizer, data)

    def generator(self, generator: Resolved, layout: TokenLayout, labels: int) -> Generator:
        return self.workspace.generator_on_meta(generator, layout, labels)

    def prior(self, generator: Resolved, layout: TokenLayout, labels: int) -> JointPrior:
        return check_prior(self.generator(generator, layout, labels), generator.name)

    def counted(self, what: str, *components: Resolved, of: Callable[[], object]) -> float:
        """FLOPs of a function that does one thing with components.

        Stages that do the same are counted once.
        """
        name = (type(self).__name__, what, *map(identity, components))
        return self.workspace.once(name, lambda: _count(of))

    def image(self, data: Resolved) -> torch.Tensor:
        """One image, uint8 [1, C, H, W]."""
        images = self.workspace.open_data(data).spec
        return torch.zeros(1, *images.shape, dtype=torch.uint8)


MOST_ON_CPU = 200_000_000
"""Parameters of a model that is made for counting alone."""
LONGEST_ON_CPU = 4096
"""Tokens of an image that is put forward for counting alone."""


class _OnCpu(_OnMeta):
    """Models with new weights, each made once, and the first training image.

    Raises ValueError for a model that would take more memory and time than a count is worth.
    """

    most_parameters = MOST_ON_CPU

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._made: dict[tuple[object, ...], Any] = {}

    def tokenizer(self, tokenizer: Resolved, data: Resolved) -> Tokenizer:
        images = self.workspace.open_data(data).spec
        self._check_size(self.workspace.tokenizer_on_meta(tokenizer, data))
        name = (identity(tokenizer), images)
        return self.kept(name, lambda: models.build_tokenizer(tokenizer, images))

    def generator(self, generator: Resolved, layout: TokenLayout, labels: int) -> Generator:
        self._check_size(self.workspace.generator_on_meta(generator, layout, labels))
        name = (identity(generator), layout, labels)
        return self.kept(name, lambda: models.build_generator(generator, layout, labels))

    def image(self, data: Resolved) -> torch.Tensor:
        try:
            return torch.from_numpy(self.workspace.open_data(data).images("train")[0:1].copy())
        except MissingDataError:  # planned from the data set's card
            return torch.randint(256, super().image(data).shape).to(torch.uint8)

    def kept(self, name: tuple[object, ...], make: Callable[[], M]) -> M:
        """A model, kept as long as this."""
        if name not in self._made:
            self._made[name] = make()
        made: M = self._made[name]
        return made

    def _check_size(self, model: Tokenizer | Generator) -> None:
        length = model.layout.length if isinstance(model, Tokenizer) else 0
        if models.count_parameters(model) > self.most_parameters or length > LONGEST_ON_CPU:
            raise ValueError("the model is too large to be counted on the CPU")


class _Small(_OnCpu):
    """As `_OnCpu` for small models, with made-up pixels: no image is opened."""

    most_parameters = SMALL

    def kept(self, name: tuple[object, ...], make: Callable[[], M]) -> M:
        """A model, kept for the stages that follow."""
        return self.workspace.lately(name, make)

    def image(self, data: Resolved) -> torch.Tensor:
        return torch.randint(256, super(_OnCpu, self).image(data).shape).to(torch.uint8)


def _draws_nothing(stage: stages.Stage) -> bool:
    """Whether a picture is of samples that are there."""
    return isinstance(stage, stages.PictureSamples) and not stage.shared


def _is_frozen(stage: stages.Stage, workspace: Workspace) -> bool:
    return (
        isinstance(stage, stages.TrainTokenizer)
        and workspace.tokenizer_on_meta(stage.tokenizer, stage.data.resolved).frozen
    )


def _tokenizer_training(stage: stages.TrainTokenizer, at: _OnMeta) -> float:
    # Brings the engine of trainings, which whatever else is counted does without.
    from prologue_bench.training.models import TokenizerModel

    data = stage.data.resolved
    images = at.workspace.open_data(data).spec
    tokenizer = at.tokenizer(stage.tokenizer, data)
    prior = at.prior(stage.prior, tokenizer.layout, images.labels) if stage.prior else None
    model = TokenizerModel(
        tokenizer, prior, attrs.evolve(stage.training, compile=False), images.none_label
    )
    return _training(stage.training, _count(lambda: model.losses(images=at.image(data))))


def _generator_training(stage: stages.TrainGenerator, at: _OnMeta) -> float:
    generator, ids, label = _one_sequence(stage, at)
    with torch.device("cpu"):
        drawn = generator.draws(1, partial(seeds.generator, "counting"), 0.0)
    moved = {name: value.to(label.device) for name, value in drawn.items()}
    losses: Callable[..., torch.Tensor] = generator.losses
    return _training(stage.training, _count(lambda: losses(ids, label, **moved)))


def _encoding(stage: stages.EncodeImages, at: _OnMeta) -> float:
    _, tokenizer = _tokenizer(stage, at)
    data = at.workspace.data_of(stage.tokenizer)
    image = to_float(at.image(stage.tokenizer.data.resolved))
    each = at.counted("encode", *_components(stage), of=lambda: tokenizer.encode(image))
    return stage.count(data) * each


def _reconstruction(stage: stages.Reconstruct, at: _OnMeta) -> float:
    data = stage.tokens.tokenizer.data.resolved
    count = len(at.workspace.open_data(data).labels("test"))
    _, tokenizer = _tokenizer(stage.tokens, at)
    if isinstance(tokenizer, ContinuousTokenizer):
        image = to_float(at.image(data))
        components = _components(stage.tokens)
        each = at.counted("reconstruct", *components, of=lambda: tokenizer.reconstruct(image))
        return count * each
    return count * _decoding(stage.tokens, at)


def _sampling(stage: stages.SampleImages, at: _OnMeta) -> float:
    each = _drawn(stage, at) + _decoding(stage.generator.tokens, at)
    return stage.sampling.samples * each


def _searching(stage: stages.SearchSampling, at: _OnMeta) -> float:
    search = stage.sampling.search
    assert search is not None
    each = [_drawing(stage.generator, sampling, at) for sampling in tried(stage.sampling)]
    return search.samples * sum(each)


def _drawn(stage: stages.SampleImages, at: _OnMeta) -> float:
    """One image's tokens, by the dearest settings that a search may choose."""
    layout = _one_sequence(stage.generator, at)[0].layout
    # Of all settings that are searched, guidance alone changes what a draw takes.
    by_guidance = {tuple(guidance_scales(layout, each)): each for each in tried(stage.sampling)}
    return max(_tokens(stage.generator, each, at) for each in by_guidance.values())


def _drawing(generator: stages.GeneratorStage, sampling: Sampling, at: _OnMeta) -> float:
    """One image's tokens, and the image."""
    return _tokens(generator, sampling, at) + _decoding(generator.tokens, at)


def _picturing(stage: stages.PictureSamples, at: _OnMeta) -> float:
    """Tokens for the first tokens that a row shares, tokens that go on from them, and images."""
    each = 2 * _drawn(stage.samples, at) + _decoding(stage.samples.generator.tokens, at)
    return COLUMNS * SAMPLE_ROWS * each


def _picturing_tokens(stage: stages.PictureTokens, at: _OnMeta) -> float:
    each = 2 * _drawn(stage.samples, at) + _decoding(stage.samples.generator.tokens, at)
    return COLUMNS * (len(stage.places) + 1) * each


def _picturing_attention(stage: stages.PictureAttention, at: _OnMeta) -> float:
    """About a pass over each sequence."""
    generator, ids, label = _one_sequence(stage.generator, at)
    components = (stage.generator.generator, *_components(stage.generator.tokens))
    each = at.counted("losses", *components, of=lambda: generator.losses(ids, label))
    return ATTENTION_IMAGES * each


_COUNTERS: dict[type[stages.Stage], Callable[[Any, _OnMeta], float]] = {
    stages.TrainTokenizer: _tokenizer_training,
    stages.TrainGenerator: _generator_training,
    stages.EncodeImages: _encoding,
    stages.Reconstruct: _reconstruction,
    stages.SampleImages: _sampling,
    stages.SearchSampling: _searching,
    stages.PictureSamples: _picturing,
    stages.PictureTokens: _picturing_tokens,
    stages.PictureAttention: _picturing_attention,
}

_WITHOUT_WORK = (stages.TakePrior, stages.PictureReconstructions)
"""Stages that compute nothing."""


def _training(training: Training, forward: float) -> float:
    return 3 * forward * training.batch_size * training.steps


def _tokens(stage: stages.GeneratorStage, sampling: Sampling, at: _OnMeta) -> float:
    """One image's tokens.

    With cached keys and values, drawing step by step costs about one pass over the whole sequence.
    Other generators are counted while they draw.
    """
    generator, ids, label = _one_sequence(stage, at)
    if isinstance(generator, AutoregressiveGenerator) and generator.has_likelihood:
        passes = 2 if is_guided(guidance_scales(generator.layout, sampling)) else 1
        components = (stage.generator, *_components(stage.tokens))
        return passes * at.counted("nll", *components, of=lambda: generator.nll(ids, label))
    return _count(lambda: draw_ids(generator, sampling, 0, label, None, "counting"))


def _one_sequence(
    stage: stages.GeneratorStage, at: _OnMeta
) -> tuple[Generator, torch.Tensor, torch.Tensor]:
    """The generator, and ids [1, L] and label [1] of one image."""
    images, tokenizer = _tokenizer(stage.tokens, at)
    generator = at.generator(stage.generator, tokenizer.layout, images.labels)
    return generator, torch.zeros(1, tokenizer.layout.length).long(), torch.zeros(1).long()


def _decoding(tokens: stages.EncodeImages, at: _OnMeta) -> float:
    """One image from its tokens."""
    _, tokenizer = _tokenizer(tokens, at)
    ids = torch.zeros(1, tokenizer.layout.length).long()
    return at.counted("decode", *_components(tokens), of=lambda: tokenizer.decode(ids))


def _components(tokens: stages.EncodeImages) -> tuple[Resolved, Resolved]:
    """What tokenizes, and the data."""
    return tokens.tokenizer.tokenizer, tokens.tokenizer.data.resolved


def _tokenizer(tokens: stages.EncodeImages, at: _OnMeta) -> tuple[ImageSpec, Tokenizer]:
    stage = tokens.tokenizer
    return at.workspace.open_data(stage.data.resolved).spec, at.tokenizer(
        stage.tokenizer, stage.data.resolved
    )


def _count(function: Callable[[], object]) -> float:
    with _FlopCounter() as counter:
        function()
    return float(counter.flops)


def _product(*operands: torch.Tensor, out: torch.Tensor) -> int:
    """Of matrices, the last two operands: each output sums up so many products."""
    return 2 * out.numel() * operands[-1].shape[-2]


def _convolution(
    image: torch.Tensor, filters: torch.Tensor, *settings: Any, out: torch.Tensor
) -> int:
    """Each number of the output, or of the input where that is transposed, meets one filter."""
    transposed = settings[4]
    return 2 * (image if transposed else out).numel() * filters[0].numel()


_FORMULAS: dict[Any, Callable[..., int]] = {
    **dict.fromkeys(
        (aten.mm, aten.addmm, aten.addmm_, aten.bmm, aten.baddbmm, aten.baddbmm_), _product
    ),
    aten.convolution: _convolution,
}


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what torch's `FlopCounterMode` counts, in a fifth of the time.

    That one looks for a decomposition of every operation, keeps counts by module, and imports a
    compiler. Attention is counted by its products, since it is computed by them (`sdpa_kernel`).
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch asks; skipping imports its compiler, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        out = func(*args, **(kwargs or {}))
        if (formula := _FORMULAS.get(func.overloadpacket)) is not None:
            self.flops += formula(*args, out=out)
        return out


def _of_size(value: Any) -> Any:
    """Settings without seeds, and with one text for all fractions other than zero and one.

    Those of components stay as they are.
    """
    if isinstance(value, Mapping):
        if "settings" in value:
            return value
        return {name: _of_size(each) for name, each in value.items() if name != "seed"}
    if isinstance(value, list | tuple):
        return [_of_size(each) for each in value]
    return "fraction" if isinstance(value, float) and value not in (0, 1) else value
