"""What a tokenizer is, and what it gives to a training step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen
from torch import Tensor, nn

from prologue_bench.contracts.layout import TokenLayout


@frozen
class PriorRequest:
    """What a tokenizer asks of the joint autoregressive prior during its training.

    `weights` names the segments that learn from the prior's cross-entropy, through their
    straight-through one-hots, and how much it weighs for them; `input_dropout` is, for a segment,
    the share of images whose inputs of that segment are all replaced by the separator, in each
    batch, rounded to whole images.
    `target_weights` says how much the cross-entropy of a segment's own tokens counts in what they
    learn from, one where a segment is not named; a separator counts to the segment that it ends.
    The prior itself learns from all tokens alike.
    """

    weights: Mapping[str, float]
    input_dropout: Mapping[str, float] = field(factory=dict)
    target_weights: Mapping[str, float] = field(factory=dict)

    def check(self, layout: TokenLayout) -> None:
        """Raises ValueError when a segment is named that the layout does not have."""
        for what in ("weights", "input_dropout", "target_weights"):
            for name in getattr(self, what):
                if name not in layout.names:
                    raise ValueError(
                        f"the prior's {what} name a segment {name!r}, expected one of: "
                        f"{', '.join(layout.names)}"
                    )


@define  # not frozen: torch.compile cannot trace the constructor of a frozen class
class TokenizerOutput:
    """What a training step needs of a tokenizer.

    `reconstruction` is [B, C, H, W], or None of a tokenizer that does not train its reconstruction;
    `losses` are the tokenizer's own terms (scalars, already weighted, such as codebook losses),
    under any names; `ids` are [B, L]; `relaxed` holds, for each segment that the prior teaches, the
    straight-through one-hot [B, n, K], whose value is the hard one-hot of `ids` and whose gradient
    reaches the tokenizer.
    """

    reconstruction: Tensor | None
    losses: Mapping[str, Tensor]
    ids: Tensor
    relaxed: Mapping[str, Tensor] = field(factory=dict)


@frozen
class InspectedTokens:
    """What a tokenizer shows of itself while it is trained.

    `ids` [B, L] are those of `encode`. `latents` holds, for segments by name, the vectors [B, n, c]
    of n positions from which the codes are chosen, before they are normalised; it may lack any.
    """

    ids: Tensor
    latents: Mapping[str, Tensor] = field(factory=dict)


class Tokenizer(nn.Module, ABC):
    """Images to discrete tokens and back. Set `layout` in the constructor.

    The constructor takes the component's settings and the data set's `ImageSpec`.
    """

    layout: TokenLayout
    prior: PriorRequest | None = None
    reconstructs: bool = True
    """Whether training changes the reconstruction. If not, losses of the reconstruction are left
    out."""
    frozen: bool = False
    """Whether there is nothing to learn, as in a released tokenizer: training is left out, `losses`
    never called."""

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Ids [B, L] of images [B, C, H, W]; deterministic."""

    @abstractmethod
    def decode(self, ids: Tensor) -> Tensor:
        """Images [B, C, H, W] of ids [B, L]; not clamped."""

    @abstractmethod
    def losses(self, images: Tensor) -> TokenizerOutput:
        """Reconstruction, losses, ids, relaxed one-hots of images [B, C, H, W], with gradients."""

    def inspect(self, images: Tensor) -> InspectedTokens:
        """Ids of images [B, C, H, W], and latents where the tokenizer has some to show.

        Called between training steps, in evaluation and without gradients. Only figures that
        describe the training are made of it.
        """
        return InspectedTokens(self.encode(images))

    def patch_attention(self, images: Tensor) -> Tensor | None:
        """How strongly each token of the first segment reads each patch: [n, rows, columns].

        Attention of the tokens' queries in the encoder's last layer, averaged over heads and
        images [B, C, H, W]. None where there is no such thing.
        """
        return None

    @classmethod
    def foundation(cls, settings: Any) -> tuple[str, Mapping[str, Any]] | None:
        """The tokenizer, by name and settings, that must be trained before this one; None for most.

        Its trained weights are loaded into the parts of this tokenizer that have the same names.
        """
        return None


class ContinuousTokenizer(Tokenizer):
    """A released autoencoder without ids, such as a continuous VAE. Give `reconstruct`.

    It is frozen, and its reconstructions are measured beside those of tokenizers with ids. Nothing
    is encoded or generated: whatever needs tokens does not apply to it.
    """

    layout = TokenLayout(())
    frozen = True

    @abstractmethod
    def reconstruct(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] encoded and decoded, deterministic and not clamped."""

    def encode(self, images: Tensor) -> Tensor:
        raise TypeError("a ContinuousTokenizer has no ids")

    def decode(self, ids: Tensor) -> Tensor:
        raise TypeError("a ContinuousTokenizer has no ids")

    def losses(self, images: Tensor) -> TokenizerOutput:
        raise TypeError("a ContinuousTokenizer is not trained")
