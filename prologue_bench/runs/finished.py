"""The models of a finished run, to draw from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench.config.settings import Sampling
from prologue_bench.contracts.generator import Generator
from prologue_bench.contracts.images import ImageSpec, to_bytes, to_float
from prologue_bench.contracts.tokenizer import Tokenizer
from prologue_bench.errors import StageError, shortened
from prologue_bench.results.schema import Precisions
from prologue_bench.sampling.decoding import draw_ids
from prologue_bench.training.precision import Precision, autocast


@frozen
class FinishedRun:
    """Tokenizer, generator and sampling settings of one variant and seed.

    Both models are in evaluation mode.
    """

    variant: str
    seed: int
    images: ImageSpec
    tokenizer: Tokenizer
    generator: Generator
    sampling: Sampling
    precisions: Precisions = Precisions()

    def draw(
        self, labels: Tensor, seed: int, fixed: Tensor | None = None, first: int = 0
    ) -> Tensor:
        """Ids [B, L] for labels [B].

        `fixed` [B, n] has ids that are given for the first n tokens, and FREE where one is drawn
        all the same. The images have the random numbers of the images `first`, `first` + 1 ... of
        that seed. Raises StageError where the models compute nothing that can be drawn from.
        """
        none = self.images.none_label
        with self._computing("draw tokens", self.precisions.generator):
            return draw_ids(
                self.generator, self.sampling, none, labels, fixed, "drawn", seed, first=first
            )

    @torch.inference_mode()
    def encode(self, images: NDArray[np.uint8]) -> Tensor:
        """Ids [L] of one uint8 image [1, C, H, W]. Raises StageError as `draw` does."""
        with self._computing("encode an image", self.precisions.tokenizer):
            ids = self.tokenizer.encode(to_float(torch.from_numpy(np.array(images))))
            self.tokenizer.layout.check(ids, 1)
        return ids[0]

    @torch.inference_mode()
    def decode(self, ids: Tensor) -> NDArray[Any]:
        """uint8 images [B, C, H, W]. Raises StageError as `draw` does."""
        with self._computing("decode tokens", self.precisions.tokenizer):
            images: NDArray[Any] = to_bytes(self.tokenizer.decode(ids)).cpu().numpy()
        return images

    @contextmanager
    def _computing(self, what: str, precision: Precision) -> Iterator[None]:
        """As it was trained, and what goes wrong in one line."""
        try:
            with autocast(precision, next(self.generator.parameters()).device):
                yield
        except (
            RuntimeError,
            IndexError,
            ValueError,
            OverflowError,
            MemoryError,
        ) as error:  # of weights without sense
            raise StageError(
                f"the models of {shortened(self.variant)!r} cannot {what}: "
                f"{shortened(str(error), 160)}"
            ) from error

    @property
    def leading(self) -> int:
        """Length of the first segment where there are several, the prologue; 0 without."""
        return self.tokenizer.layout.leading
