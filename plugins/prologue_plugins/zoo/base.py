"""What published tokenizers have in common: frozen, with ids, and weights from a released file."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from prologue_bench.contracts import (
    ImageSpec,
    Segment,
    Tokenizer,
    TokenizerOutput,
    TokenLayout,
    weights_given,
)
from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.seeds import seeded
from prologue_bench.storage.weights import Shapes
from prologue_plugins.layers.transformer import full_precision
from prologue_plugins.zoo.reading import State, check_fit, fitting, read_state, released_file
from prologue_plugins.zoo.settings import RANDOM, ZooSettings

S = TypeVar("S", bound=ZooSettings)
CHANNELS = 3


class ZooTokenizer(Tokenizer, Generic[S]):
    """A published tokenizer with its weights, as it is.

    A family gives its modules (`build`), the sides of its grid by `factor`, and the four steps from
    images to ids and back. Grey images are given to it three times over, and its colours averaged.
    Constants that are not in the released files are computed where they are used: modules are made
    without memory, and hold nothing but what is read.
    """

    frozen = True
    name: ClassVar[str]
    """As messages call the family."""
    input_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    """Of the images that the model takes and gives."""
    unread: ClassVar[tuple[str, ...]] = ()
    """Beginnings of names of tensors in released files that no model reads."""

    def __init__(self, settings: S, images: ImageSpec, state: State | None = None) -> None:
        """With `state`, the weights are these, under their official names."""
        super().__init__()
        self.settings, self.images = settings, images
        self._check(images)
        if state is None and settings.weights == RANDOM and not weights_given():
            with seeded("zoo", self.name, settings.random_seed):
                self.build(settings)
        else:
            planned = torch.empty(0).is_meta
            with torch.device("meta"):
                self.build(settings)
            self._take(state, planned)
        self.requires_grad_(False).eval()
        self.layout = self.make_layout()

    @abstractmethod
    def build(self, settings: S) -> None:
        """Make the modules, under the official names or those that `official_name` knows."""

    @property
    def factor(self) -> int:
        """Pixels on a side of an image for each place on a side of the grid."""
        raise NotImplementedError

    @property
    def vocabulary(self) -> int:
        """Codes."""
        raise NotImplementedError

    @abstractmethod
    def latents(self, images: Tensor) -> Tensor:
        """What is quantized of images [B, 3, H, W] in the model's range, in its official layout."""

    @abstractmethod
    def ids_of(self, latents: Tensor) -> Tensor:
        """Ids [B, L] of latents."""

    @abstractmethod
    def codes_of(self, ids: Tensor) -> Tensor:
        """The quantized latents of ids [B, L], in their official layout."""

    @abstractmethod
    def images_of(self, codes: Tensor) -> Tensor:
        """Images [B, 3, H, W] in the model's range of quantized latents."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the tokens."""
        return self.images.height // self.factor, self.images.width // self.factor

    def make_layout(self) -> TokenLayout:
        """One grid of tokens, unless overridden."""
        return TokenLayout((Segment("visual", math.prod(self.grid), self.vocabulary, self.grid),))

    @staticmethod
    def official_name(name: str, settings: Any) -> str:
        """What the released files call the tensor of that name here."""
        return name

    def prepare(self, state: State) -> State:
        """The tensors of a file, changed where files of the family differ in what is not read."""
        return state

    @classmethod
    def shapes(cls, settings: S) -> Shapes:
        """Names and shapes of a released file's tensors for these settings."""
        return cls._bare(settings)._shapes()

    @classmethod
    def holding(cls, settings: S, state: State, where: str) -> ZooTokenizer[S]:
        """The modules with the weights of a released file, to be saved: they know of no images.

        Raises UserError, which begins with `where`, for weights that do not fit.
        """
        bare = cls._bare(settings)
        bare._fill(state, where, planned=False)
        return bare

    @classmethod
    def _bare(cls, settings: S) -> ZooTokenizer[S]:
        bare = cls.__new__(cls)
        torch.nn.Module.__init__(bare)
        bare.settings = settings
        with torch.device("meta"):
            bare.build(settings)
        return bare

    def encode(self, images: Tensor) -> Tensor:
        latents = self.latents(self._native(images))
        with full_precision(latents):
            return self.ids_of(latents.float())

    def decode(self, ids: Tensor) -> Tensor:
        low, high = self.input_range
        decoded = (self.images_of(self.codes_of(ids)) - low) * (2 / (high - low)) - 1
        return decoded.mean(dim=1, keepdim=True) if self.images.channels == 1 else decoded

    def losses(self, images: Tensor) -> TokenizerOutput:
        raise UserError(f"tokenizer {self.name!r} is frozen and has nothing to learn")

    def golden(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The tensors that golden folders hold for images [B, 3, H, W], by name."""
        latents = self.latents(self._native(images))
        yield "latents", latents
        ids = self.ids_of(latents)
        yield "ids", ids
        codes = self.codes_of(ids)
        yield "quant", codes
        yield "reconstructions", self.decode(ids)
        if self.input_range != ZooTokenizer.input_range:
            yield "native_reconstructions", self.images_of(codes)

    def _native(self, images: Tensor) -> Tensor:
        low, high = self.input_range
        return (images.expand(-1, CHANNELS, -1, -1) + 1) * ((high - low) / 2) + low

    def _check(self, images: ImageSpec) -> None:
        if images.channels not in (1, CHANNELS):
            raise UserError(
                f"tokenizer {self.name!r}: found images of {images.channels} channels, "
                f"expected 1 or {CHANNELS}"
            )
        if images.height % self.factor or images.width % self.factor:
            raise UserError(
                f"tokenizer {self.name!r}: found images of {images.height} x {images.width}, "
                f"expected a height and width that {self.factor} divides"
            )

    def _file(self) -> Path | None:
        if not self.settings.weights:
            raise MissingDataError(
                f"tokenizer {self.name!r}: no weights are named; give the released file as "
                "`weights: PATH`, or `weights: random` for new ones that reconstruct nothing"
            )
        return released_file(self.settings.weights)

    def _shapes(self) -> Shapes:
        return {
            self.official_name(name, self.settings): tuple(value.shape)
            for name, value in self.state_dict().items()
        }

    def _take(self, state: State | None, planned: bool) -> None:
        """Check the weights, and take them unless the run is only planned.

        Where they are given later, or not there while a run is planned, memory is all that is made.
        """
        where = "weights"
        if state is None:
            path = None if weights_given() else self._file()
            if path is None:
                if not planned:
                    self.to_empty(device="cpu")
                return
            where = str(path)
            state = read_state(path, average=getattr(self.settings, "average", None))
        self._fill(state, where, planned)

    def _fill(self, state: State, where: str, planned: bool) -> None:
        state = self.prepare(
            {name: value for name, value in state.items() if not name.startswith(self.unread)}
        )
        check_fit(self._shapes(), {name: tuple(each.shape) for name, each in state.items()}, where)
        if planned:
            return
        own = self.state_dict()
        self.load_state_dict(
            {
                name: fitting(state[there], f"{where}: {there}")
                for name in own
                for there in [self.official_name(name, self.settings)]
            },
            assign=True,
        )
